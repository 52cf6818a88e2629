//! What readers ask for and what they get.

use crate::QueueSlot;
use bytes::Bytes;
use protocol::model::QueueOffset;
use std::sync::Arc;

/// Which messages of a queue are wanted.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The queue.
    pub queue: QueueSlot,
    /// The first queue offset.
    pub from: QueueOffset,
    /// Most messages; the store's own limits may be lower.
    pub max_messages: usize,
    /// Most bytes of records, if the reader has a limit of its own. The first message is given whatever its size.
    pub max_bytes: Option<usize>,
    /// Tag hashes that are wanted; `None` takes all. Other tags may have the same hash: the reader looks at the tags again.
    pub filter: Option<Arc<[i64]>>,
}

impl ReadRequest {
    pub(crate) fn wants(&self, tag_hash: i64) -> bool {
        self.filter.as_ref().is_none_or(|wanted| wanted.contains(&tag_hash))
    }
}

/// How a read ended: RocketMQ's GetMessageStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStatus {
    /// There are messages.
    Found,
    /// There are messages, but none that the filter wants.
    NoMatchedMessage,
    /// The messages were deleted while they were read.
    MessageWasRemoving,
    /// There is no such queue.
    NoMatchedLogicQueue,
    /// The queue has never had a message.
    NoMessageInQueue,
    /// The wanted one is the next that will come.
    OffsetOverflowOne,
    /// The wanted one lies beyond the next.
    OffsetOverflowBadly,
    /// The wanted one is older than the oldest.
    OffsetTooSmall,
    /// The wanted one is not there though its neighbours are.
    OffsetFoundNull,
}

/// Messages of a queue, as records one behind the other.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// How it ended.
    pub status: ReadStatus,
    /// Where to read on.
    pub next: QueueOffset,
    /// The oldest message there is; equal to `max` when there is none.
    pub min: QueueOffset,
    /// One more than the newest message.
    pub max: QueueOffset,
    /// The records' bytes, in parts that follow each other; a part holds whole records.
    pub records: Vec<Bytes>,
    /// How many messages.
    pub count: usize,
    /// How many bytes.
    pub size: usize,
    /// Bytes of the log between the last message given and the end: more than
    /// [`crate::StoreOptions::in_memory_distance`] means that the reader is slow and may be sent to a slave.
    pub behind: u64,
}

impl ReadResult {
    pub(crate) fn none(status: ReadStatus, next: i64, min: i64, max: i64) -> ReadResult {
        ReadResult {
            status,
            next: QueueOffset(next),
            min: QueueOffset(min),
            max: QueueOffset(max),
            records: Vec::new(),
            count: 0,
            size: 0,
            behind: 0,
        }
    }
}

/// Which message a search by time means when none, or more than one, has that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first that was stored at that time or later; the next that will come, if there is none.
    Lower,
    /// The last that was stored at that time or earlier; 0, if there is none.
    Upper,
}

/// Which messages with a key are wanted.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    /// Their topic.
    pub topic: &'a str,
    /// One of their keys, or the unique key.
    pub key: &'a str,
    /// Store times in milliseconds since 1970, both inclusive.
    pub store_time_ms: (i64, i64),
    /// Most messages.
    pub max: usize,
}

/// Messages with a key, the newest first.
#[derive(Clone, Debug, Default)]
pub struct KeyResult {
    /// Their records.
    pub records: Vec<Bytes>,
    /// Store time in milliseconds of the last message in the index; 0 when it is empty.
    pub index_last_timestamp: i64,
    /// Physical offset of the last message in the index; 0 when it is empty.
    pub index_last_offset: i64,
}
