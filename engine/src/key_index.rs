//! Key index of one shard: message key -> positions in the shard's commitlog.

use crate::IndexError;
use std::ops::Range;
use std::path::PathBuf;

/// How the key index of a shard is kept.
#[derive(Clone, Debug)]
pub struct KeyIndexOptions {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The shard, below 128.
    pub shard: u8,
    /// Entries gathered in memory before they become a run.
    pub table_entries: usize,
    /// Bytes of pages kept in memory for queries.
    pub cache_bytes: usize,
    /// Bytes a second that merging may read and write together.
    pub merge_bytes_per_second: u64,
}

/// Key index as opened.
#[derive(Debug)]
pub struct OpenedKeyIndex {
    /// The index.
    pub index: KeyIndex,
    /// Every record from this position on must be fed again ([`KeyIndex::add`]).
    pub rebuilt_from: u64,
    /// When the recovered commitlog ends below this, [`KeyIndex::truncate`] must be called before feeding.
    pub end_position: u64,
    /// What was damaged; for the log.
    pub reports: Vec<String>,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    /// Topic of the messages.
    pub topic: &'a str,
    /// One of their keys, or their unique key.
    pub key: &'a str,
    /// Store times in milliseconds since 1970, both inclusive; whole seconds are compared, so check the record's own.
    pub store_time_ms: (i64, i64),
    /// Only records below this position: to go on after a first answer.
    pub below: u64,
    /// Most positions wanted.
    pub max: usize,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyIndexStats {
    /// Runs on disk.
    pub runs: usize,
    /// Entries in memory.
    pub unwritten_entries: usize,
    /// Bytes of memory, roughly.
    pub memory_bytes: usize,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// The key index of one shard. All methods take `&self`; no borrow outlives a call.
#[derive(Debug)]
pub struct KeyIndex {}

#[expect(
    clippy::unused_self,
    clippy::unused_async,
    unused_variables,
    reason = "interim: signatures for the shard"
)]
impl KeyIndex {
    /// Opens the directory.
    pub async fn open(options: KeyIndexOptions) -> Result<OpenedKeyIndex, IndexError> {
        unimplemented!()
    }
    /// Notes that the record at `position` has `key`. No I/O; also for feeding again (doubles do no harm).
    pub fn add(&self, topic: &str, key: &str, position: u64, store_time_ms: i64) {
        unimplemented!()
    }
    /// Positions of records that may have the key (a hash is compared: check the record), greatest position first.
    pub async fn query(&self, query: KeyQuery<'_>) -> Result<Vec<u64>, IndexError> {
        unimplemented!()
    }
    /// Store time in ms (whole seconds) and position of the last entry; RocketMQ's indexLastUpdateTimestamp and -Phyoffset.
    pub fn last(&self) -> Option<(i64, u64)> {
        unimplemented!()
    }
    /// Whether a full table waits for [`KeyIndex::write_runs`].
    pub fn wants_write(&self) -> bool {
        unimplemented!()
    }
    /// Writes full tables as runs (sorted off the core).
    pub async fn write_runs(&self) -> Result<(), IndexError> {
        unimplemented!()
    }
    /// As `ConsumeQueues::checkpoint`.
    pub async fn checkpoint(&self, target: u64, indexed_to: u64) -> Result<u64, IndexError> {
        unimplemented!()
    }
    /// Merges small runs once, if there are enough, within the I/O budget. Returns whether it did something.
    pub async fn merge(&self) -> Result<bool, IndexError> {
        unimplemented!()
    }
    /// The commitlog begins at `log_min` now: deletes runs wholly below. Returns how many.
    pub async fn drop_below(&self, log_min: u64) -> Result<usize, IndexError> {
        unimplemented!()
    }
    /// The commitlog ends at `log_end` now, durably. Returns the new `rebuilt_from`.
    pub async fn truncate(&self, log_end: u64) -> Result<u64, IndexError> {
        unimplemented!()
    }
    /// Positions whose entries were in runs that turned out damaged: feed the records in them again, then call
    /// [`KeyIndex::refed`].
    pub fn missing(&self) -> Vec<Range<u64>> {
        unimplemented!()
    }
    /// All records of a range of [`KeyIndex::missing`] have been fed again.
    pub fn refed(&self, range: Range<u64>) {
        unimplemented!()
    }
    /// Figures.
    pub fn stats(&self) -> KeyIndexStats {
        unimplemented!()
    }
}
