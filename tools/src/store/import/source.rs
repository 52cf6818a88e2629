//! The store of an Apache broker, as far as an import needs it: the records of its commitlog, where its queues end, its tables. Opened for reading
//! only.

use crate::store::files::{read_if_there, twenty_digits};
use bytes::Bytes;
use protocol::message::commitlog::{CommitlogError, CommitlogStream};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const READ_SIZE: usize = 256 << 10;
/// Bytes of a consume queue entry.
const ENTRY_SIZE: u64 = 20;

/// Why an Apache store cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such store.
    #[error("{} holds no commitlog of Apache RocketMQ: {reason}; give the storePathRootDir of its broker, and --commitlog if storePathCommitLog is elsewhere", directory.display())]
    NoStore {
        /// The directory.
        directory: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A broker runs on it, or was killed.
    #[error("{} is there: the Apache broker runs, or was killed; stop it in good order first, or import with --after-crash what it has written", path.display())]
    NotStopped {
        /// Its file `abort`.
        path: PathBuf,
    },
    /// A file of the log is missing.
    #[error("the commitlog has no file that begins at {position}, though there are later ones; put it back into {}", directory.display())]
    Hole {
        /// Where.
        position: u64,
        /// Where the files are.
        directory: PathBuf,
    },
    /// A part of the log that is no commitlog.
    #[error(
        "the commitlog is damaged: {0}; nothing behind it was imported. Repair the store with Apache's broker, or import a copy of it from a slave"
    )]
    Damaged(#[from] CommitlogError),
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io { action, path, source }
}

/// The files of a commitlog.
#[derive(Debug)]
pub struct ApacheLog {
    directory: PathBuf,
    /// First position to size.
    files: BTreeMap<u64, u64>,
    after_crash: bool,
    /// From here on nothing was written, as far as that was looked at: a file of 1 GiB is not read twice for it.
    unused_from: Cell<Option<u64>>,
}

impl ApacheLog {
    /// Finds the commitlog of the store in `root`.
    ///
    /// # Errors
    /// [`SourceError::NoStore`], [`SourceError::NotStopped`], [`SourceError::Hole`], [`SourceError::Io`].
    pub fn find(root: &Path, commitlog: Option<&Path>, after_crash: bool) -> Result<ApacheLog, SourceError> {
        let directory = commitlog.map_or_else(|| root.join("commitlog"), Path::to_owned);
        let abort = root.join("abort");
        if abort.exists() && !after_crash {
            return Err(SourceError::NotStopped { path: abort });
        }
        let files = numbered_files(&directory)?;
        if files.is_empty() {
            return Err(SourceError::NoStore {
                directory: root.to_owned(),
                reason: format!("there are no files in {}", directory.display()),
            });
        }
        let mut expected = None;
        for (begin, size) in &files {
            if let Some(position) = expected.filter(|expected| expected != begin) {
                return Err(SourceError::Hole { position, directory });
            }
            expected = Some(begin + size);
        }
        Ok(ApacheLog {
            directory,
            files,
            after_crash,
            unused_from: Cell::default(),
        })
    }

    /// Where the log begins.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.files.first_key_value().map_or(0, |(begin, _size)| *begin)
    }

    /// Where its last file ends; the log may end before.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.files.last_key_value().map_or(0, |(begin, size)| begin + size)
    }

    /// Where the file ends that a position lies in.
    fn file_end(&self, position: u64) -> u64 {
        let file = self.files.range(..=position).next_back();
        file.map_or(position, |(begin, size)| begin + size)
    }

    /// Whether nothing was written from a position on.
    fn is_unused_from(&self, position: u64) -> Result<bool, SourceError> {
        if self.unused_from.get().is_some_and(|known| known <= position) {
            return Ok(true);
        }
        let (zeros, mut buffer) = (vec![0; READ_SIZE], vec![0; READ_SIZE]);
        for (begin, _size) in self.files.iter().filter(|(begin, size)| *begin + *size > position) {
            let path = self.directory.join(format!("{begin:020}"));
            let mut file = File::open(&path).map_err(io_error("open", &path))?;
            let sought = file.seek(io::SeekFrom::Start(position.saturating_sub(*begin)));
            sought.map_err(io_error("read", &path))?;
            loop {
                let read = file.read(&mut buffer).map_err(io_error("read", &path))?;
                if read == 0 {
                    break;
                }
                if buffer.get(..read) != zeros.get(..read) {
                    return Ok(false);
                }
            }
        }
        self.unused_from.set(Some(position));
        Ok(true)
    }

    /// Its records from a position on, the begin of one.
    ///
    /// # Errors
    /// [`SourceError::Io`]
    pub fn from(&self, position: u64) -> Result<Reader<'_>, SourceError> {
        let mut reader = Reader {
            log: self,
            stream: CommitlogStream::new(position),
            file: None,
            buffer: vec![0; READ_SIZE],
            ended: false,
        };
        reader.open(position)?;
        Ok(reader)
    }
}

/// Records of a log, one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    log: &'a ApacheLog,
    stream: CommitlogStream,
    file: Option<(PathBuf, File)>,
    buffer: Vec<u8>,
    ended: bool,
}

impl Reader<'_> {
    /// Where the next record begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.stream.position()
    }

    /// The next record with its position; `None` at the log's end.
    ///
    /// # Errors
    /// [`SourceError::Damaged`], [`SourceError::Io`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would have to end after an error"
    )]
    pub fn next(&mut self) -> Result<Option<(u64, Bytes)>, SourceError> {
        while !self.ended {
            match self.stream.next_record() {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => self.ended = !self.fill()?,
                // Space that Apache's broker has made ready and not used, in this file and maybe the next.
                Err(error @ CommitlogError::NoRecord { size: 0, magic: 0, .. }) => {
                    if !self.log.after_crash && !self.log.is_unused_from(self.position())? {
                        return Err(error.into());
                    }
                    self.ended = true;
                }
                Err(error) => {
                    let torn = self.log.after_crash && self.log.is_unused_from(self.log.file_end(self.position()))?;
                    if !torn {
                        return Err(error.into());
                    }
                    self.ended = true;
                }
            }
        }
        Ok(None)
    }

    /// Reads more into the stream; false at the end of the last file.
    fn fill(&mut self) -> Result<bool, SourceError> {
        loop {
            let Some((path, file)) = &mut self.file else {
                return Ok(false);
            };
            let read = file.read(&mut self.buffer).map_err(io_error("read", path))?;
            if read > 0 {
                self.stream.push(self.buffer.get(..read).unwrap_or_default());
                return Ok(true);
            }
            self.open(self.stream.end())?;
        }
    }

    /// Opens the file that holds a position, if there is one.
    fn open(&mut self, position: u64) -> Result<(), SourceError> {
        self.file = None;
        let Some((begin, size)) = self.log.files.range(..=position).next_back() else {
            return Ok(());
        };
        if position - begin >= *size {
            return Ok(());
        }
        let path = self.log.directory.join(format!("{begin:020}"));
        let mut file = File::open(&path).map_err(io_error("open", &path))?;
        let sought = file.seek(io::SeekFrom::Start(position - begin));
        sought.map_err(io_error("read", &path))?;
        self.file = Some((path, file));
        Ok(())
    }
}

/// Where a queue ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEnd {
    /// The topic.
    pub topic: String,
    /// Its number.
    pub queue_id: u32,
    /// The next queue offset.
    pub queue_offset: i64,
}

/// Where the queues of the store end that have a consume queue file.
///
/// # Errors
/// [`SourceError::Io`]
pub fn queue_ends(root: &Path) -> Result<Vec<QueueEnd>, SourceError> {
    let mut ends = Vec::new();
    for (topic, topic_directory) in directories(&root.join("consumequeue"))? {
        for (queue_id, directory) in directories(&topic_directory)? {
            let Ok(queue_id) = queue_id.parse() else { continue };
            let queue_offset = queue_end(&directory)?;
            if queue_offset > 0 {
                ends.push(QueueEnd {
                    topic: topic.clone(),
                    queue_id,
                    queue_offset,
                });
            }
        }
    }
    Ok(ends)
}

/// Entries fill a file from its begin; what is not written yet is zero.
fn queue_end(directory: &Path) -> Result<i64, SourceError> {
    for (begin, size) in numbered_files(directory)?.into_iter().rev() {
        let path = directory.join(format!("{begin:020}"));
        let file = File::open(&path).map_err(io_error("open", &path))?;
        let is_used = |index: u64| {
            let mut entry = [0; 20];
            file.read_exact_at(&mut entry, index * ENTRY_SIZE)
                .map(|()| entry.iter().any(|byte| *byte != 0))
        };
        let (mut used, mut unused) = (0, size / ENTRY_SIZE);
        while used < unused {
            let middle = used.midpoint(unused);
            if is_used(middle).map_err(io_error("read", &path))? {
                used = middle + 1;
            } else {
                unused = middle;
            }
        }
        if used > 0 {
            return Ok(i64::try_from(begin / ENTRY_SIZE + used).unwrap_or(i64::MAX));
        }
    }
    Ok(0)
}

/// A table of the store, or the copy that Apache's broker keeps of the one before, where that is missing or empty.
///
/// # Errors
/// [`SourceError::Io`]
pub fn table(config: &Path, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
    for name in [name.to_owned(), format!("{name}.bak")] {
        let path = config.join(name);
        let text = read_if_there(&path).map_err(|error| SourceError::Io {
            action: "read",
            path,
            source: io::Error::other(error),
        })?;
        if let Some(text) = text.filter(|text| !text.trim_ascii().is_empty()) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Files named by 20 digits, and their sizes; none where there is no directory.
fn numbered_files(directory: &Path) -> Result<BTreeMap<u64, u64>, SourceError> {
    let mut files = BTreeMap::new();
    for entry in entries(directory)? {
        let Some(begin) = entry.file_name().to_str().and_then(twenty_digits) else {
            continue;
        };
        let size = entry.metadata().map_err(io_error("look at", &entry.path()))?.len();
        files.insert(begin, size);
    }
    Ok(files)
}

fn directories(directory: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let mut found = Vec::new();
    for entry in entries(directory)? {
        let is_directory = entry.file_type().map_err(io_error("look at", &entry.path()))?.is_dir();
        if let Some(name) = entry.file_name().to_str().filter(|_name| is_directory) {
            found.push((name.to_owned(), entry.path()));
        }
    }
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<std::fs::DirEntry>, SourceError> {
    match std::fs::read_dir(directory) {
        Ok(list) => list.collect::<Result<_, _>>().map_err(io_error("list", directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error("list", directory)(error)),
    }
}
