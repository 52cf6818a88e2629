//! What can go wrong in a store, by what was asked of it.

use crate::IndexError;
use protocol::message::record::RecordError;
use protocol::model::{PhysicalOffset, QueueOffset, ShardId};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a store or a shard cannot be opened, or a task of upkeep failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error(
        "{} is in use by another process (its file `lock` is held); stop that one or give this one another directory",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory holds a store of Apache RocketMQ.
    #[error(
        "{} holds a store of Apache RocketMQ (there is {found} in it); give this broker a directory of its own",
        directory.display()
    )]
    ForeignStore {
        /// The directory.
        directory: PathBuf,
        /// What gave it away.
        found: String,
    },
    /// `store.json` cannot be understood.
    #[error("{} does not describe a store: {reason}", path.display())]
    BadDescription {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Root and commitlog directory belong to different stores.
    #[error(
        "{} belongs to store {found:016x}, but {} is store {expected:016x}; check storePathCommitLog",
        commitlog.display(), root.display()
    )]
    MixedStores {
        /// Directory of the commitlogs.
        commitlog: PathBuf,
        /// Directory of the store.
        root: PathBuf,
        /// Store that the commitlogs belong to.
        found: u64,
        /// Store of the root directory.
        expected: u64,
    },
    /// An import into the store has not come to its end.
    #[error(
        "{} is being filled by an import that has not come to its end: run the same import again, it goes on where it was; or delete the directory",
        directory.display()
    )]
    UnfinishedImport {
        /// The directory.
        directory: PathBuf,
    },
    /// There is a store already, and an import makes its own.
    #[error("{} holds a store already; give the import a directory of its own", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// The store is no copy of the one that it should be a copy of.
    #[error(
        "{} holds store {found:016x}, and should be a copy of store {expected:016x}: it is another master's, or this master's from before it was \
         made anew; give this broker another directory, or move that one away",
        directory.display()
    )]
    OtherStore {
        /// Its directory.
        directory: PathBuf,
        /// Which store it is.
        found: u64,
        /// Which it should be.
        expected: u64,
    },
    /// An option that cannot be.
    #[error("{option} is {value}: {reason}")]
    BadOption {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        reason: &'static str,
    },
    /// No such shard.
    #[error("shard {shard} is not one of the {shards} of this store")]
    NoSuchShard {
        /// What was asked for.
        shard: ShardId,
        /// How many there are.
        shards: u8,
    },
    /// An index said no.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The shard takes no more data; see [`FenceReason`].
    #[error(transparent)]
    Fenced(#[from] FenceReason),
    /// A part of the log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}

/// Why a shard takes no more data until it is opened again. What was acknowledged before can still be read.
///
/// After a failed write or sync nobody knows which bytes are on the disk, and a later sync would not say: the kernel has
/// marked the pages clean. So nothing is tried twice on the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceReason {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the file system answered.
    pub answer: String,
}

impl fmt::Display for FenceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the log takes no more messages since it could not {} {} ({}); mend the disk and restart the broker",
            self.action,
            self.path.display(),
            self.answer
        )
    }
}

impl std::error::Error for FenceReason {}

/// Why a message was not taken, or not committed. Nothing of it is left unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It does not fit into a segment.
    #[error("a record of {size} bytes does not fit into a segment, which takes {size_max}")]
    TooLarge {
        /// Bytes it would have.
        size: usize,
        /// Bytes a record may have.
        size_max: usize,
    },
    /// A field does not fit into a record.
    #[error(transparent)]
    Unfit(#[from] RecordError),
    /// The store is full for now: try again, or elsewhere.
    #[error("too much waits for the disk: {resource} at {used} of {limit}; try again later")]
    Busy {
        /// What is used up.
        resource: &'static str,
        /// How much is used.
        used: u64,
        /// How much may be.
        limit: u64,
    },
    /// The disk is full. Appends go on by themselves when there is space again.
    #[error("the disk of {} is full: {available} bytes free, {used_percent}% used; free space or add a disk", path.display())]
    DiskFull {
        /// A directory on it.
        path: PathBuf,
        /// Bytes that are free.
        available: u64,
        /// Used share in percent.
        used_percent: u8,
    },
    /// The shard takes no more data. A message that waited for its commit may or may not be there after a restart.
    #[error(transparent)]
    Fenced(#[from] FenceReason),
    /// The shard follows another one, and takes copies alone.
    #[error("this broker is a slave and takes no messages; send to its master")]
    Follows,
    /// The shard is closing.
    #[error("the store is closing")]
    Closing,
}

/// Why a message cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system said no.
    #[error("cannot read {size} bytes at {physical_offset} of {}: {reason}", path.display())]
    Io {
        /// Where in the log.
        physical_offset: PhysicalOffset,
        /// How much.
        size: usize,
        /// The file.
        path: PathBuf,
        /// What it answered.
        reason: String,
    },
    /// The bytes in the log are not what was stored there. `next` is the queue offset after it, where there is one.
    #[error("the message at {physical_offset} is damaged: {reason}")]
    Damaged {
        /// Where in the log.
        physical_offset: PhysicalOffset,
        /// What is wrong.
        reason: String,
        /// Where a reader of the queue can go on who gives the message up.
        next: Option<QueueOffset>,
    },
    /// The part of the log that held these messages is damaged.
    #[error("messages {}..{} of queue {queue_id} of topic {topic} are lost: {reason}", queue_offsets.start, queue_offsets.end)]
    Lost {
        /// The topic.
        topic: String,
        /// The queue.
        queue_id: u32,
        /// Their queue offsets; a reader who gives them up goes on at the end.
        queue_offsets: Range<i64>,
        /// What is wrong.
        reason: String,
    },
    /// An index said no.
    #[error("{0}")]
    Index(String),
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        ReadError::Index(error.to_string())
    }
}
