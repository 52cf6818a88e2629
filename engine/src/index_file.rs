//! What the files of both indexes share: their errors, big-endian numbers read with bounds, and a checksum around a small file.

use crate::consume_queue::Hole;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong in an index. None of it costs a message: indexes are made from the commitlog and can be made again.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
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
    /// A sync failed earlier. What was written since the last good one may be gone, and a later sync would not say so, so
    /// nothing more is promised; a restart makes the index again from its last good checkpoint.
    #[error("the index in {} is fenced since a sync failed ({reason}); mend the disk and restart", directory.display())]
    Fenced {
        /// The directory of the index.
        directory: PathBuf,
        /// The error of the sync that failed.
        reason: String,
    },
    /// Entries of a queue are missing or damaged; [`crate::consume_queue::ConsumeQueues::fill`] puts them back.
    #[error("{0}")]
    Hole(Hole),
    /// A page of an index file does not read as it was written.
    #[error("page {page} of {} is damaged: {reason}", path.display())]
    DamagedPage {
        /// The file.
        path: PathBuf,
        /// The page in the file, from 0.
        page: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry is not the next one of its queue.
    #[error("entry {found} of queue {queue_id} of topic {topic} came where {expected} was next")]
    NotNext {
        /// The topic.
        topic: String,
        /// The queue.
        queue_id: u32,
        /// Queue offset that was next.
        expected: i64,
        /// Queue offset that came.
        found: i64,
    },
    /// A topic that does not fit in a page of the index.
    #[error("a topic of {length} bytes is longer than the {length_max} that the consume queue can hold; shorten it")]
    TopicTooLong {
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        length_max: usize,
    },
    /// All page or slot numbers are used up.
    #[error("the {what} of {} are used up at {limit}; move the topics to a new store", directory.display())]
    UsedUp {
        /// Which kind of number.
        what: &'static str,
        /// The directory of the index.
        directory: PathBuf,
        /// The highest one.
        limit: u64,
    },
}

impl IndexError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
        let path = path.to_owned();
        move |source| IndexError::Io { action, path, source }
    }
}
