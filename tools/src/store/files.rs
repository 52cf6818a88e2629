//! The files of a store that this process does not own: found and opened for reading only, never locked, so a running broker
//! is not in the way and not disturbed.

use engine::inspect::Description;
use protocol::model::ShardId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A segment that has not changed for so long is taken for one that nobody writes to.
const STILL_WRITTEN: Duration = Duration::from_secs(10);

/// Why a store cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No store is there.
    #[error("{} is no store: {reason}; give the broker's storePathRootDir", directory.display())]
    NoStore {
        /// The directory.
        directory: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// `store.json` cannot be understood.
    #[error("{} does not describe a store: {reason}; put a sound copy of it there", path.display())]
    BadDescription {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A store of ours has one directory of commitlogs.
    #[error("--commitlog {} is one too many: only a store of Apache RocketMQ may have its segments in several directories", directory.display())]
    TooManyDirectories {
        /// The second.
        directory: PathBuf,
    },
    /// A store of Apache's is to be changed.
    #[error("{} is a store of Apache RocketMQ, which is never written to; repair works on stores of RingMQ alone", directory.display())]
    NotOurs {
        /// The directory.
        directory: PathBuf,
    },
    /// A broker has the store open.
    #[error("{} is in use: a broker has it open; stop it first", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// A broker that was killed has left the end of the log in memory.
    #[error("{bytes} bytes of {} that a broker had acknowledged before it was killed are in shared memory and in no file yet; start the broker once, and stop it", directory.display())]
    LeftInMemory {
        /// The directory.
        directory: PathBuf,
        /// So many bytes.
        bytes: u64,
    },
    /// Two stores of ours that are no replicas of each other.
    #[error("the stores are no replicas: their ids are {:016x} and {:016x}; name two copies of one store", found.0, found.1)]
    NotReplicas {
        /// Their ids.
        found: (u64, u64),
    },
    /// Stores of two kinds.
    #[error("the first store is one of {}, the other one of {}: they cannot be compared", found.0, found.1)]
    KindsDiffer {
        /// What they are.
        found: (&'static str, &'static str),
    },
    /// A shard that the store does not have.
    #[error("the store has no shard {shard}; it has {shards}, from 0 on")]
    NoSuchShard {
        /// What was asked for.
        shard: u8,
        /// How many there are.
        shards: u8,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}; check that this user may read it", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}

/// A store as its directory has it.
#[derive(Clone, Debug)]
pub struct StoreFiles {
    root: PathBuf,
    commitlog: Option<PathBuf>,
    /// What `store.json` says.
    pub description: Description,
}

impl StoreFiles {
    /// Finds the store in `root`; its segments lie in `commitlog`, if that is another directory.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::BadDescription`], [`Error::Io`].
    pub fn find(root: &Path, commitlog: Option<&Path>) -> Result<StoreFiles, Error> {
        let path = root.join("store.json");
        let text = read_if_there(&path)?.ok_or_else(|| Error::NoStore {
            directory: root.to_owned(),
            reason: "there is no file store.json in it".to_owned(),
        })?;
        let description = Description::decode(&text).map_err(|reason| Error::BadDescription { path, reason })?;
        Ok(StoreFiles {
            root: root.to_owned(),
            commitlog: commitlog.map(Path::to_owned),
            description,
        })
    }

    /// That nothing of the log is in memory of a broker that was killed.
    ///
    /// # Errors
    /// [`Error::LeftInMemory`], [`Error::Io`].
    pub fn check_memory(&self) -> Result<(), Error> {
        let mut bytes = 0;
        for shard in self.description.shards.shards() {
            let handle = read_if_there(&self.shard_dir(shard).join("crash-memory"))?;
            let left = |handle: Vec<u8>| engine::inspect::left_in_memory(&handle, self.description.store_id, shard);
            bytes += handle.map_or(0, left);
        }
        let directory = self.root.clone();
        if bytes == 0 {
            Ok(())
        } else {
            Err(Error::LeftInMemory { directory, bytes })
        }
    }

    /// The directory that it is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a shard.
    #[must_use]
    pub fn shard_dir(&self, shard: ShardId) -> PathBuf {
        self.root.join(format!("shard-{:02}", shard.get()))
    }

    /// The segments of a shard.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn log(&self, shard: ShardId) -> Result<LogFiles, Error> {
        let directory = match &self.commitlog {
            Some(commitlog) => commitlog.join(format!("shard-{:02}", shard.get())),
            None => self.shard_dir(shard).join("commitlog"),
        };
        // A shard that was never opened has none.
        LogFiles::find(vec![directory], self.description.segment_size)
    }
}

/// The content of a small file.
///
/// # Errors
/// [`Error::Io`]
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Reads up to `size` bytes from `position` of a file; fewer at its end.
///
/// # Errors
/// The file system's.
pub fn read_at(file: &File, position: u64, size: usize, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    into.resize(size, 0);
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    into.truncate(done);
    Ok(())
}

/// The segments of a log, named by the 20 digits of their first position. They may be spread over several directories.
#[derive(Debug)]
pub struct LogFiles {
    directories: Vec<PathBuf>,
    segment_size: u64,
    /// First position of each segment, and the directory that it is in.
    bases: BTreeMap<u64, usize>,
    open: Option<(u64, Arc<File>)>,
}

impl LogFiles {
    /// Finds the segments in these directories.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn find(directories: Vec<PathBuf>, segment_size: u64) -> Result<LogFiles, Error> {
        let mut log = LogFiles {
            directories,
            segment_size: segment_size.max(1),
            bases: BTreeMap::new(),
            open: None,
        };
        log.refresh()?;
        Ok(log)
    }

    /// Looks again which segments there are: a running broker makes and deletes some.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.bases.clear();
        for (number, directory) in self.directories.iter().enumerate() {
            let bases = numbered_files(directory)?.into_iter();
            let bases = bases.filter(|base| base.is_multiple_of(self.segment_size));
            self.bases.extend(bases.map(|base| (base, number)));
        }
        Ok(())
    }

    /// Bytes of a segment.
    #[must_use]
    pub fn segment_size(&self) -> u64 {
        self.segment_size
    }

    /// Position of the first byte that is kept.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        self.bases.keys().next().copied()
    }

    /// Position behind the last segment.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.bases.keys().next_back().map(|&base| self.end_of(base))
    }

    /// Whether the segment that a position lies in is there.
    #[must_use]
    pub fn has(&self, position: u64) -> bool {
        self.bases.contains_key(&self.base_of(position))
    }

    /// The first segment that begins at `position` or later.
    #[must_use]
    pub fn first_from(&self, position: u64) -> Option<u64> {
        self.bases.range(position..).next().map(|(&base, _)| base)
    }

    /// The first position of each segment.
    pub fn bases(&self) -> impl Iterator<Item = u64> {
        self.bases.keys().copied()
    }

    /// Position of the first byte of the segment that a position lies in.
    #[must_use]
    pub fn base_of(&self, position: u64) -> u64 {
        position - position % self.segment_size
    }

    /// Position behind the segment that a position lies in.
    #[must_use]
    pub fn end_of(&self, position: u64) -> u64 {
        self.base_of(position).saturating_add(self.segment_size)
    }

    /// The file of the segment that a position lies in.
    #[must_use]
    pub fn path_of(&self, position: u64) -> Option<PathBuf> {
        let base = self.base_of(position);
        let directory = self.directories.get(*self.bases.get(&base)?)?;
        Some(directory.join(format!("{base:020}")))
    }

    /// Reads up to `size` bytes from `position`, not beyond its segment; fewer where the file ends, none without a file.
    ///
    /// # Errors
    /// The file system's.
    pub fn read(&mut self, position: u64, size: usize, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        let base = self.base_of(position);
        let Some(file) = self.segment(position)? else {
            return Ok(());
        };
        let rest = usize::try_from(self.end_of(position) - position).unwrap_or(usize::MAX);
        read_at(&file, position - base, size.min(rest), into)
    }

    /// The first position from there on, in the same segment, that something was written to; its end if there is none. A segment has all
    /// its space from the start, and file systems tell what of it was never used.
    pub fn data_from(&mut self, position: u64) -> u64 {
        let (base, end) = (self.base_of(position), self.end_of(position));
        let Ok(Some(file)) = self.segment(position) else {
            return position;
        };
        match rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(position - base)) {
            Ok(at) => (base + at).clamp(position, end),
            Err(rustix::io::Errno::NXIO) => end,
            // A file system that cannot tell.
            Err(_) => position,
        }
    }

    /// The open file of the segment that a position lies in, if it is there. The last one opened stays open.
    fn segment(&mut self, position: u64) -> io::Result<Option<Arc<File>>> {
        let base = self.base_of(position);
        if let Some((_, file)) = self.open.as_ref().filter(|(open, _)| *open == base) {
            return Ok(Some(Arc::clone(file)));
        }
        let file = self.open_segment(position)?.map(Arc::new);
        self.open = file.clone().map(|file| (base, file));
        Ok(file)
    }

    /// The file of the segment that a position lies in, opened for reading past the page cache: a scan of a log that is larger than the
    /// memory leaves to others what they have in there. Not where a broker may be writing through the page cache: the last two segments, if
    /// they have changed a moment ago; nor where the file system does not know such reads.
    #[must_use]
    pub fn open_direct(&self, position: u64) -> Option<File> {
        let base = self.base_of(position);
        if self.bases.range(base..).nth(2).is_none() && self.changed_just_now(base) {
            return None;
        }
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let mut options = std::fs::OpenOptions::new();
        options.read(true).custom_flags(flags).open(self.path_of(base)?).ok()
    }

    /// Whether a segment was written to within some seconds, as far as its time says; a broker makes durable what it writes at once or twice
    /// a second.
    fn changed_just_now(&self, base: u64) -> bool {
        let modified = self
            .path_of(base)
            .and_then(|path| path.metadata().ok()?.modified().ok());
        modified.is_none_or(|at| at.elapsed().is_ok_and(|age| age < STILL_WRITTEN))
    }

    fn open_segment(&self, position: u64) -> io::Result<Option<File>> {
        let Some(path) = self.path_of(position) else {
            return Ok(None);
        };
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The numbers that files of a directory have for names; none without the directory.
///
/// # Errors
/// [`Error::Io`]
pub fn numbered_files(directory: &Path) -> Result<Vec<u64>, Error> {
    let list = match std::fs::read_dir(directory) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut numbers = Vec::new();
    for entry in list {
        let name = entry.map_err(Error::io("list", directory))?.file_name();
        numbers.extend(name.to_str().and_then(twenty_digits));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number that a name of 20 decimal digits is.
#[must_use]
pub fn twenty_digits(name: &str) -> Option<u64> {
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok())?
}
