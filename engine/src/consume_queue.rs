//! Consume queues of one shard: where each message of each queue lies in the shard's commitlog.

use crate::IndexError;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Handle of a queue in this shard, dense from 0; valid until the shard is closed, also when the topic is deleted and made
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueSlot(pub(crate) u32);

impl QueueSlot {
    /// The number, to find a queue's place in a table of one's own.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where one message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Byte position in this shard's commitlog.
    pub position: u64,
    /// Bytes of the record.
    pub record_size: u32,
    /// Hash of its tag; in the schedule topic the time of delivery.
    pub tag_hash: i64,
}

/// Entries of a queue that its pages do not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The queue.
    pub slot: QueueSlot,
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub queue_id: u32,
    /// The queue offsets that are missing.
    pub queue_offsets: Range<i64>,
    /// Their records lie within these positions of the commitlog (not below its begin nor beyond its end, though this may be).
    pub positions: Range<u64>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "queue {} of topic {} has no entries {}..{}: {}",
            self.queue_id, self.topic, self.queue_offsets.start, self.queue_offsets.end, self.reason
        )
    }
}

/// What became of an entry that recovery fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It was the next one.
    Appended,
    /// It was there, and equal.
    AlreadyThere,
    /// The topic was deleted after this record was written, or the queue's min offset lies above it.
    NotWanted,
    /// It is appended, but the entries before it never came.
    AppendedAfterGap {
        /// Queue offsets without an entry.
        missing: Range<i64>,
    },
    /// There was another entry with this queue offset. The commitlog is right, so the new one is in its place now.
    Replaced {
        /// The entry that was there.
        old: Entry,
    },
}

/// How the consume queues of a shard are kept.
#[derive(Clone, Debug)]
pub struct ConsumeQueueOptions {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The shard, below 128.
    pub shard: u8,
    /// 4 KiB pages a file.
    pub file_pages: u32,
    /// Bytes of pages kept in memory for readers.
    pub cache_bytes: usize,
}

/// Consume queues as opened.
#[derive(Debug)]
pub struct OpenedConsumeQueues {
    /// The queues.
    pub queues: ConsumeQueues,
    /// Every record of the commitlog from this position on must be fed again, in order, before appends begin.
    pub rebuilt_from: u64,
    /// No entry lies at or beyond this position. When the recovered commitlog ends below it,
    /// [`ConsumeQueues::truncate`] must be called before feeding.
    pub end_position: u64,
    /// What was damaged and is made again by feeding; for the log.
    pub reports: Vec<String>,
}

/// The queues of one shard. All methods take `&self`; no borrow outlives a call.
#[derive(Debug)]
pub struct ConsumeQueues {}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumeQueueStats {
    /// Queues that are there.
    pub queues: usize,
    /// Bytes of memory, roughly.
    pub memory_bytes: usize,
    /// Bytes of full pages that wait for [`ConsumeQueues::write_pages`].
    pub unwritten_bytes: usize,
    /// Files.
    pub files: usize,
}

#[expect(
    clippy::unused_self,
    clippy::unused_async,
    unused_variables,
    reason = "interim: signatures for the shard"
)]
impl ConsumeQueues {
    /// Opens the directory. `log_min` is the first kept position of the commitlog.
    pub async fn open(options: ConsumeQueueOptions, log_min: u64) -> Result<OpenedConsumeQueues, IndexError> {
        unimplemented!()
    }
    /// The queue, made if it is not there. One hash look-up.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Result<QueueSlot, IndexError> {
        unimplemented!()
    }
    /// The queue, if it is there.
    pub fn find(&self, topic: &str, queue_id: u32) -> Option<QueueSlot> {
        unimplemented!()
    }
    /// Topic and number.
    pub fn name(&self, slot: QueueSlot) -> (std::sync::Arc<str>, u32) {
        unimplemented!()
    }
    /// First kept queue offset and next queue offset.
    pub fn bounds(&self, slot: QueueSlot) -> Range<i64> {
        unimplemented!()
    }
    /// Every queue that is there.
    pub fn for_each(&self, visit: impl FnMut(QueueSlot, &str, u32, Range<i64>)) {
        unimplemented!()
    }
    /// The next entry of a queue. No I/O.
    pub fn append(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Result<(), IndexError> {
        unimplemented!()
    }
    /// Recovery: an entry from the commitlog that may be there already.
    pub async fn feed(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Result<Fed, IndexError> {
        unimplemented!()
    }
    /// Entries from memory only; returns how many were pushed to `out`, 0 when a page must be read.
    pub fn entries_hot(&self, slot: QueueSlot, from: i64, count_max: usize, out: &mut Vec<Entry>) -> usize {
        unimplemented!()
    }
    /// Entries `from..`, up to `count_max`; fewer at the end of the queue or before a hole.
    pub async fn entries(
        &self,
        slot: QueueSlot,
        from: i64,
        count_max: usize,
        out: &mut Vec<Entry>,
    ) -> Result<usize, IndexError> {
        unimplemented!()
    }
    /// Puts the missing entries of a hole in place (all of `hole.queue_offsets`, in order).
    pub fn fill(&self, hole: &Hole, entries: &[Entry]) -> Result<(), IndexError> {
        unimplemented!()
    }
    /// Whether full pages wait for [`ConsumeQueues::write_pages`].
    pub fn wants_write(&self) -> bool {
        unimplemented!()
    }
    /// Writes the full pages (page cache, no sync). For a background task; one at a time, others wait.
    pub async fn write_pages(&self) -> Result<(), IndexError> {
        unimplemented!()
    }
    /// Makes durable what is needed so that nothing below `target` has to be fed again, and as much more as is there.
    /// Every record below `indexed_to` must have been fed or appended. Returns the new `rebuilt_from`, at most `indexed_to`.
    pub async fn checkpoint(&self, target: u64, indexed_to: u64) -> Result<u64, IndexError> {
        unimplemented!()
    }
    /// The commitlog begins at `log_min` now: moves min offsets, deletes files whose entries all lie below. Returns the
    /// number of files deleted. A queue never loses its max offset by it.
    pub async fn drop_below(&self, log_min: u64) -> Result<usize, IndexError> {
        unimplemented!()
    }
    /// The commitlog ends at `log_end` now: removes entries at and beyond it, durably. No append may be under way.
    /// Returns the new `rebuilt_from`.
    pub async fn truncate(&self, log_end: u64) -> Result<u64, IndexError> {
        unimplemented!()
    }
    /// Deletes the queues of a topic as of `position`: entries of records below it will not come back by feeding. Log the
    /// deletion as a metadata record and call this, in order, when that record (at `position`) is committed or walked over
    /// in recovery. Queues made later start at offset 0.
    pub fn delete_topic(&self, topic: &str, position: u64) {
        unimplemented!()
    }
    /// Figures.
    pub fn stats(&self) -> ConsumeQueueStats {
        unimplemented!()
    }
}
