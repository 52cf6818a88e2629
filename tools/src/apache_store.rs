//! A store that Apache RocketMQ wrote, read as it lies on the disk: never written to, never locked, whether its broker runs
//! or not.
//!
//! ```text
//! commitlog/<20 digits>                       records, one behind the other; a blank record fills the end of a file
//! consumequeue/TOPIC/QUEUE/<20 digits>        20 bytes for each message, at queue offset * 20
//! consumequeue_ext/TOPIC/QUEUE/<20 digits>    filter bit maps, and the tag hash of entries that point here instead
//! batchconsumequeue/TOPIC/QUEUE/<20 digits>   46 bytes for each batch
//! index/<17 digits>                           a hash file each
//! checkpoint                                  how far each kind of file was flushed, as times of storing
//! abort                                       there while a broker runs, and after one that was not stopped in good order
//! config/*.json, config/*.json.bak            topics, groups, offsets; numeric keys without quotes
//! ```
//!
//! Memory does not grow with the store: a window on the log, some pages of an index.

pub mod consume_queue;
pub mod key_index;
pub mod record_walk;
#[cfg(test)]
pub(crate) mod tests;

use crate::store::files::{Error, LogFiles, numbered_files, read_if_there};
use consume_queue::{ConsumeQueue, QueueKind, QueueName};
use key_index::IndexFile;
use protocol::body::BodyError;
use record_walk::RecordWalk;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A store that Apache RocketMQ wrote.
#[derive(Clone, Debug)]
pub struct ApacheStore {
    root: PathBuf,
    commitlogs: Vec<PathBuf>,
}

/// How far each kind of file was flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Time of storing of the last message that the commitlog had on the disk, in milliseconds since 1970.
    pub physic_msg_timestamp: i64,
    /// The same of the consume queues.
    pub logics_msg_timestamp: i64,
    /// The same of the key index.
    pub index_msg_timestamp: i64,
    /// How far the master of a slave had flushed.
    pub master_flushed_offset: i64,
    /// What readers might see.
    pub confirm_phy_offset: i64,
}

/// Whether a configuration file was used, or the copy that Apache keeps of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<T> {
    /// What it says.
    pub value: T,
    /// Which file said it.
    pub path: PathBuf,
}

/// Why a configuration file is of no use; its copy is not either.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file system said no.
    #[error(transparent)]
    Store(#[from] Error),
    /// It does not say what it should.
    #[error("{}: {source}; put a sound copy of it there", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BodyError,
    },
}

impl ApacheStore {
    /// Whether a directory looks like one: it has a commitlog of files with names of 20 digits, or what Apache keeps beside it.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        let has_segments = numbered_files(&root.join("commitlog")).is_ok_and(|files| !files.is_empty());
        let beside = ["consumequeue", "checkpoint"];
        has_segments || beside.iter().all(|name| root.join(name).exists())
    }

    /// The store in `root`. Its segments lie in `commitlogs`, if those are other directories (storePathCommitLog, which may name
    /// several).
    ///
    /// # Errors
    /// [`Error::NoStore`]: there are no segments.
    pub fn open(root: &Path, commitlogs: &[PathBuf]) -> Result<ApacheStore, Error> {
        let commitlogs = match commitlogs {
            [] => vec![root.join("commitlog")],
            some => some.to_vec(),
        };
        let mut segments = 0;
        for directory in &commitlogs {
            segments += numbered_files(directory)?.len();
        }
        if segments == 0 && !ApacheStore::is_at(root) {
            return Err(Error::NoStore {
                directory: root.to_owned(),
                reason: "there are no files with names of 20 digits in its commitlog".to_owned(),
            });
        }
        Ok(ApacheStore {
            root: root.to_owned(),
            commitlogs,
        })
    }

    /// The directory that it is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a broker has the store open, or had and was not stopped in good order.
    #[must_use]
    pub fn was_not_closed(&self) -> bool {
        self.root.join("abort").exists()
    }

    /// The segments of the commitlog.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn log(&self) -> Result<LogFiles, Error> {
        log_files(self.commitlogs.clone())
    }

    /// A walk over the commitlog from its first record on.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn walk(&self) -> Result<RecordWalk, Error> {
        Ok(RecordWalk::new(self.log()?, self.was_not_closed()))
    }

    /// The queues that have files, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn queues(&self) -> Result<Vec<QueueName>, Error> {
        let mut queues = Vec::new();
        for kind in [QueueKind::Single, QueueKind::Batch] {
            let directory = self.root.join(kind.directory());
            for topic in names(&directory)? {
                for queue_id in names(&directory.join(&topic))? {
                    let Ok(queue_id) = queue_id.parse() else { continue };
                    let topic = topic.clone();
                    queues.push(QueueName { topic, queue_id, kind });
                }
            }
        }
        queues.sort();
        Ok(queues)
    }

    /// Whether the consume queues are a database (`storeType=defaultRocksDB`), which is not read here.
    #[must_use]
    pub fn has_database_queues(&self) -> bool {
        let in_place = self.root.join(QueueKind::Single.directory()).join("CURRENT");
        in_place.exists() || self.root.join("consumequeue_r").join("CURRENT").exists()
    }

    /// The files of a queue.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn consume_queue(&self, name: &QueueName) -> Result<ConsumeQueue, Error> {
        ConsumeQueue::open(&self.root, name)
    }

    /// The files of the key index, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn index_files(&self) -> Result<Vec<IndexFile>, Error> {
        let directory = self.root.join("index");
        let mut files = Vec::new();
        for name in names(&directory)? {
            if name.len() == 17 && name.bytes().all(|byte| byte.is_ascii_digit()) {
                files.push(IndexFile::open(directory.join(name))?);
            }
        }
        Ok(files)
    }

    /// The checkpoint, if there is one that is long enough.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let Some(bytes) = read_if_there(&self.root.join("checkpoint"))? else {
            return Ok(None);
        };
        let field = |number: usize| {
            let bytes = bytes.get(number * 8..number * 8 + 8)?;
            Some(i64::from_be_bytes(bytes.try_into().ok()?))
        };
        Ok((|| {
            Some(Checkpoint {
                physic_msg_timestamp: field(0)?,
                logics_msg_timestamp: field(1)?,
                index_msg_timestamp: field(2)?,
                master_flushed_offset: field(3)?,
                confirm_phy_offset: field(4)?,
            })
        })())
    }

    /// The names of the topics that the broker knows, if its configuration says so.
    #[must_use]
    pub fn topics(&self) -> Option<BTreeSet<String>> {
        let config = self.config::<TopicsFile>("topics.json").ok()??;
        Some(config.value.topic_config_table.into_keys().collect())
    }

    /// What `config/NAME` says, or, where that is missing or broken, its copy `NAME.bak`, as a start of Apache's does.
    ///
    /// # Errors
    /// [`ConfigError`]: it is broken, and so is the copy, if there is one.
    pub fn config<T: DeserializeOwned>(&self, name: &str) -> Result<Option<Config<T>>, ConfigError> {
        let mut first_error = None;
        for name in [name.to_owned(), format!("{name}.bak")] {
            let path = self.root.join("config").join(name);
            let Some(bytes) = read_if_there(&path)? else { continue };
            match protocol::body::from_slice(&bytes) {
                Ok(value) => return Ok(Some(Config { value, path })),
                Err(source) => first_error = first_error.or(Some(ConfigError::Content { path, source })),
            }
        }
        first_error.map_or(Ok(None), Err)
    }
}

/// `topics.json`, as far as it is of use here.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TopicsFile {
    topic_config_table: BTreeMap<String, serde::de::IgnoredAny>,
}

/// The files of a log. Its segments are as large as the largest file: of those that were cut off by a copy, or lost, nothing can
/// be learned.
fn log_files(directories: Vec<PathBuf>) -> Result<LogFiles, Error> {
    let mut segment_size = 0;
    for directory in &directories {
        for base in numbered_files(directory)? {
            let path = directory.join(format!("{base:020}"));
            match std::fs::metadata(&path) {
                Ok(found) => segment_size = found.len().max(segment_size),
                // Retention has taken it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("look at", &path)(error)),
            }
        }
    }
    LogFiles::find(directories, segment_size)
}

/// The names in a directory, in order; none without it.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let list = match std::fs::read_dir(directory) {
        Ok(list) => list,
        Err(error) if [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in list {
        let name = entry.map_err(Error::io("list", directory))?.file_name();
        names.extend(name.into_string());
    }
    names.sort();
    Ok(names)
}
