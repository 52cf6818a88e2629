//! Messages that cannot be read any more, since the disk gave back other bytes than were written: said once, counted, and
//! stepped over.
//!
//! A reader that is only told "damaged" stays where it is for ever. So a consumer is told to go on behind the damage, as with messages
//! that were deleted while it read; who must act is told by the log and by the counter `lostMessages` of the runtime info.

use crate::shard::CoreShard;
use engine::{QueueSlot, ReadError};
use protocol::model::QueueOffset;
use runtime::collections::{HashSet, hash_set};
use std::cell::{Cell, RefCell};
use std::ops::Range;

/// Ranges that are remembered as said: beyond this, the store is lost anyway and more lines would not help.
const SAID_MAX: usize = 65_536;

/// What was lost in one shard, as far as readers have met it since the start.
#[derive(Debug)]
pub struct LostMessages {
    /// Queue and first queue offset of each range.
    said: RefCell<HashSet<(usize, i64)>>,
    count: Cell<u64>,
}

impl Default for LostMessages {
    fn default() -> Self {
        LostMessages {
            said: RefCell::new(hash_set()),
            count: Cell::new(0),
        }
    }
}

impl LostMessages {
    /// How many messages readers have met that cannot be read.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Whether a range is met for the first time.
    fn note(&self, queue: usize, lost: &Range<i64>) -> bool {
        let mut said = self.said.borrow_mut();
        if said.len() >= SAID_MAX || !said.insert((queue, lost.start)) {
            return false;
        }
        let count = u64::try_from(lost.end.saturating_sub(lost.start)).unwrap_or(0);
        self.count.set(self.count.get().saturating_add(count));
        true
    }
}

impl CoreShard {
    /// A read of a queue from `from` on has failed. Where the reader can go on if these messages are lost for good; `None` if the
    /// error says nothing of that kind, and trying again may help.
    #[must_use]
    pub fn behind_damage(&self, queue: QueueSlot, from: QueueOffset, error: &ReadError) -> Option<QueueOffset> {
        let (lost, physical_offset) = match error {
            ReadError::Damaged {
                next, physical_offset, ..
            } => {
                // What is not durable is not lost for good: after a failed sync a restart may find it, or end the log before it.
                if physical_offset.position() >= self.engine.synced_position() {
                    return None;
                }
                let next = (*next)?.0;
                (next.saturating_sub(1)..next, physical_offset.to_wire())
            }
            // Nobody knows where they were.
            ReadError::Lost { queue_offsets, .. } => (queue_offsets.clone(), -1),
            ReadError::Io { .. } | ReadError::Index(_) => return None,
        };
        if lost.end <= from.0 {
            return None;
        }
        if self.lost.note(queue.index(), &lost) {
            let (topic, queue_id) = self.engine.queue_name(queue);
            tracing::error!(
                %topic,
                queue_id,
                first_queue_offset = lost.start,
                next_queue_offset = lost.end,
                physical_offset,
                %error,
                "messages are lost: consumers are sent to the next queue offset"
            );
        }
        Some(QueueOffset(lost.end))
    }
}
