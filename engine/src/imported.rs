//! Records that another broker's log has given their places already: they keep queue, queue offset and every other byte, only
//! the physical offset becomes the one they have here.
//!
//! What a call brings is one group commit, together with a record that says up to where the other log has been imported into this shard.
//! So a crash leaves both or neither, and who goes on from [`Shard::source_position`] neither loses nor repeats a message.
//!
//! Queue offsets are taken as they are:
//! - a queue without messages begins wherever its first one says (the other broker has deleted the ones before);
//! - one that is further on than the next leaves a hole, which is counted: the other log had lost messages;
//! - offset 0 in a queue that is further says that its topic was deleted and made again there: so it is here;
//! - a queue whose messages are all deleted there goes on where it was ([`Shard::begin_queue`]);
//! - any other that is taken already is left out and counted. The other broker's consume queue had no place for it either.

use crate::QueueSlot;
use crate::control_record::{KIND_DELETE_TOPIC, KIND_QUEUE_BEGIN, KIND_SOURCE_POSITION, META_HEADER_SIZE};
use crate::error::AppendError;
use crate::inner::{Inner, add};
use crate::message::{Arrival, BatchId, MetaRecord, in_consume_queue, index_keys};
use crate::shard::Shard;
use protocol::message::record::{RecordError, RecordView};
use protocol::model::QueueOffset;
use std::ops::Range;

/// Why records of another log were not taken. Nothing of the call is left then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// Bytes that are no record.
    #[error("record {index} of those to import cannot be read: {reason}")]
    Unreadable {
        /// Which one of the call.
        index: usize,
        /// What is wrong.
        reason: RecordError,
    },
    /// The consume queues cannot take its queue.
    #[error("the queue of record {index} of those to import cannot be made: {reason}")]
    NoQueue {
        /// Which one of the call.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// The part of the other log does not follow what was imported of it.
    #[error("the other log was imported up to {imported}, so its part from {found} on is not the next one")]
    NotNext {
        /// Up to where it was imported, committed or not.
        imported: u64,
        /// Where the part begins.
        found: u64,
    },
    /// The store has no room for it now, or no more at all; [`AppendError::Busy`] passes.
    #[error(transparent)]
    Refused(#[from] AppendError),
}

/// What became of the records of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The group commit that they belong to.
    pub batch: BatchId,
    /// Records taken.
    pub taken: u64,
    /// Queue offsets that were passed over inside of queues.
    pub missing: u64,
    /// Records that were left out, since their queue has passed their offset.
    pub passed: u64,
    /// Topics deleted, since the other broker had deleted and made them again.
    pub begun_again: u64,
}

impl Shard {
    /// From now on, or no longer, messages come from another broker's log by [`Shard::append_imported`] alone.
    pub fn set_importing(&self, importing: bool) {
        self.0.imports.set(importing);
    }

    /// Up to which position of the other broker's log its records are here, as far as that is committed; `None` if nothing was ever
    /// imported.
    #[must_use]
    pub fn source_position(&self) -> Option<u64> {
        self.0.source_position.get()
    }

    /// A queue that has no messages here, since the other broker has deleted all that it had, goes on at `next`. Nothing happens to a queue that has
    /// messages, or is as far: `None`.
    ///
    /// # Errors
    /// [`ImportError::Refused`]
    ///
    /// # Panics
    /// Unless [`Shard::set_importing`] was called.
    pub fn begin_queue(&self, topic: &str, queue_id: u32, next: QueueOffset) -> Result<Option<BatchId>, ImportError> {
        assert!(self.0.imports.get(), "shard {} does not import", self.0.id);
        self.0.begin_queue(topic, queue_id, next.0)
    }

    /// Takes the records of a part of another broker's log, in its order, and notes that all below the part's end are here. There may be none: then
    /// only that is noted. The first part begins at 0, or wherever; each other one where the one before ended, committed or not.
    ///
    /// # Errors
    /// [`ImportError`]
    ///
    /// # Panics
    /// Unless [`Shard::set_importing`] was called.
    pub fn append_imported(&self, records: &[&[u8]], part: Range<u64>) -> Result<Imported, ImportError> {
        assert!(self.0.imports.get(), "shard {} does not import", self.0.id);
        self.0.append_imported(records, part)
    }
}

/// A queue without messages that goes on at an offset, as a record of the log says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueBegin {
    pub(crate) topic: String,
    pub(crate) queue_id: u32,
    pub(crate) queue_offset: i64,
}

impl QueueBegin {
    fn encode(&self) -> Vec<u8> {
        let (queue_offset, queue_id) = (self.queue_offset.to_be_bytes(), self.queue_id.to_be_bytes());
        [&queue_offset[..], &queue_id, self.topic.as_bytes()].concat()
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<QueueBegin> {
        let (queue_offset, rest) = payload.split_first_chunk()?;
        let (queue_id, topic) = rest.split_first_chunk()?;
        Some(QueueBegin {
            topic: std::str::from_utf8(topic).ok()?.to_owned(),
            queue_id: u32::from_be_bytes(*queue_id),
            queue_offset: i64::from_be_bytes(*queue_offset),
        })
    }
}

struct Incoming<'a> {
    view: RecordView<'a>,
    queue: QueueSlot,
    in_queue: bool,
}

impl Inner {
    fn append_imported(&self, records: &[&[u8]], part: Range<u64>) -> Result<Imported, ImportError> {
        let imported = self.imported_to.get();
        if imported.is_some_and(|imported| imported != part.start) {
            return Err(ImportError::NotNext {
                imported: imported.unwrap_or(0),
                found: part.start,
            });
        }
        let (incoming, size) = self.look_at(records)?;
        self.make_room(size)?;
        let mut done = Imported {
            batch: BatchId(0),
            taken: 0,
            missing: 0,
            passed: 0,
            begun_again: 0,
        };
        for record in &incoming {
            if self.settle_offset(record, &mut done) {
                self.place_imported(record);
                done.taken += 1;
            } else {
                done.passed += 1;
            }
        }
        done.batch = self.push_engine_meta(KIND_SOURCE_POSITION, &part.end.to_be_bytes());
        self.imported_to.set(Some(part.end));
        self.wake_writer();
        Ok(done)
    }

    fn begin_queue(&self, topic: &str, queue_id: u32, next: i64) -> Result<Option<BatchId>, ImportError> {
        let queue = self.queues.queue(topic, queue_id);
        let queue = queue.map_err(|error| ImportError::NoQueue {
            index: 0,
            reason: error.to_string(),
        })?;
        let bounds = self.queues.bounds(queue);
        let has_messages = !bounds.is_empty() || self.next_offset(queue) > bounds.end;
        if has_messages || next <= bounds.end {
            return Ok(None);
        }
        let begin = QueueBegin {
            topic: topic.to_owned(),
            queue_id,
            queue_offset: next,
        };
        let payload = begin.encode();
        self.make_room(META_HEADER_SIZE + payload.len())?;
        let batch = self.push_engine_meta(KIND_QUEUE_BEGIN, &payload);
        self.set_next_offset(queue, next);
        self.wake_writer();
        Ok(Some(batch))
    }

    /// The records, their queues, and bytes that suffice for all that they may become.
    fn look_at<'a>(&self, records: &[&'a [u8]]) -> Result<(Vec<Incoming<'a>>, usize), ImportError> {
        let mut incoming = Vec::with_capacity(records.len());
        let mut size = META_HEADER_SIZE + size_of::<u64>();
        for (index, bytes) in records.iter().enumerate() {
            let view = RecordView::decode(bytes).map_err(|reason| ImportError::Unreadable { index, reason })?;
            let queue = self.queues.queue(view.topic, view.queue_id.get());
            let queue = queue.map_err(|error| ImportError::NoQueue {
                index,
                reason: error.to_string(),
            })?;
            let in_queue = in_consume_queue(&view);
            size = size.saturating_add(view.bytes.len());
            if in_queue && view.queue_offset.0 == 0 {
                // Its topic may have to be deleted first.
                size = size.saturating_add(META_HEADER_SIZE + view.topic.len());
            }
            incoming.push(Incoming { view, queue, in_queue });
        }
        Ok((incoming, size))
    }

    /// Makes the queue ready for the record's offset; false if it has passed that.
    fn settle_offset(&self, record: &Incoming<'_>, done: &mut Imported) -> bool {
        if !record.in_queue {
            return true;
        }
        let found = record.view.queue_offset.0;
        let next = self.next_offset(record.queue);
        if found < next {
            if found != 0 {
                return false;
            }
            runtime::mark!("imported topic begins again");
            self.push_engine_meta(KIND_DELETE_TOPIC, record.view.topic.as_bytes());
            self.begin_offsets_again(record.view.topic);
            done.begun_again += 1;
        } else if found > next && (next > 0 || !self.queues.bounds(record.queue).is_empty()) {
            done.missing += (found - next).unsigned_abs();
        }
        self.set_next_offset(record.queue, found.saturating_add(1));
        true
    }

    fn place_imported(&self, record: &Incoming<'_>) {
        let view = &record.view;
        let tag_hash = (self.hooks.tag_hash)(view);
        let arrival = |physical_offset| {
            record.in_queue.then(|| Arrival {
                queue: record.queue,
                queue_offset: view.queue_offset,
                physical_offset,
                size: u32::try_from(view.bytes.len()).unwrap_or(u32::MAX),
                tag_hash,
                store_timestamp: view.store_timestamp,
            })
        };
        let position = self.staging.borrow_mut().push_record(view.bytes, arrival);
        if let Some(keys) = &self.keys {
            for key in index_keys(view) {
                keys.add(view.topic, key, position, view.store_timestamp);
            }
        }
        add(&self.counters.puts, 1);
        add(&self.counters.put_bytes, view.bytes.len() as u64);
    }

    /// There is room.
    fn push_engine_meta(&self, kind: u16, payload: &[u8]) -> BatchId {
        let size = i32::try_from(META_HEADER_SIZE + payload.len()).expect("a topic's name and a number are short");
        let now = runtime::wall_clock_ms();
        self.staging.borrow_mut().push_meta(kind, payload, size, now)
    }
}

/// What a checkpoint keeps of the position.
pub(crate) fn position_record(position: u64) -> MetaRecord {
    MetaRecord {
        kind: KIND_SOURCE_POSITION,
        payload: position.to_be_bytes().to_vec(),
    }
}

pub(crate) fn decode_position(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

/// Takes the engine's own records out of what a start has found; the last position counts.
pub(crate) fn take_positions(found: &mut Vec<MetaRecord>) -> Option<u64> {
    let mut last = None;
    found.retain(|record| {
        if record.kind == KIND_SOURCE_POSITION {
            last = decode_position(&record.payload).or(last);
        }
        record.kind != KIND_SOURCE_POSITION
    });
    last
}
