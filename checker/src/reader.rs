//! Readers: where each stands in each queue, and what a poll may give it.

use crate::body::{BodyError, Identity};
use crate::history::{History, MessageId, QueueIndex, Tick};
use crate::queue::{Content, Slot};
use crate::report::{Class, Violation};
use std::collections::BTreeMap;

/// One consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderIndex(pub(crate) usize);

/// Why a reader stands where it stands; duplicates are counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its first place.
    Start,
    /// It was started again and asked how far its group had come.
    Restart,
    /// The queue came from another member of its group.
    Rebalance,
    /// Its user wanted another place.
    Seek,
    /// The broker said that the place does not exist.
    Corrected,
    /// Only of duplicates: a producer sent again what it had no answer to.
    SendRetry,
}

/// One answered poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// When it was asked.
    pub began: Tick,
    /// When the answer was there.
    pub ended: Tick,
    /// The queue offset that was asked for.
    pub from: u64,
    /// The queue offset at which the broker says to go on.
    pub next: u64,
    /// The queue's begin as the answer says.
    pub queue_begin: u64,
    /// The queue's end as the answer says.
    pub queue_end: u64,
}

#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) group: u32,
    /// Takes all messages, so that one which it is not given is missing.
    pub(crate) takes_all: bool,
    pub(crate) positions: BTreeMap<QueueIndex, Position>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) next: u64,
    pub(crate) cause: Cause,
}

impl History {
    /// A reader of a group takes its place in a queue anew.
    pub fn positioned(&mut self, reader: ReaderIndex, queue: QueueIndex, queue_offset: u64, cause: Cause) {
        let reader = &mut self.readers[reader.0];
        let position = Position {
            next: queue_offset,
            cause,
        };
        reader.positions.insert(queue, position);
        // Who goes on where its group was must not leave anything out.
        if reader.takes_all && matches!(cause, Cause::Restart | Cause::Rebalance) {
            let state = &mut self.queues[queue.index()];
            let epoch = self.brokers[state.broker].epochs();
            if let Some(&delivered) = state.delivered.get(&reader.group) {
                state.add_hole(delivered, queue_offset, epoch);
            }
        }
    }

    /// A poll was answered, with these messages: queue offset, and what the body says.
    pub fn polled(
        &mut self,
        reader: ReaderIndex,
        queue: QueueIndex,
        poll: &Poll,
        messages: impl IntoIterator<Item = (u64, Result<Identity, BodyError>)>,
    ) {
        let position = self.readers[reader.0].positions.get(&queue).copied();
        let position = position.unwrap_or(Position {
            next: poll.from,
            cause: Cause::Start,
        });
        if poll.from != position.next {
            let detail = format!("it stood at {} and asked from {}", position.next, poll.from);
            self.found_in(Class::NonMonotonicPoll, queue, poll.from, None, detail);
        }
        self.queue_begin_seen(queue, poll.queue_begin);
        self.queue_end_seen(queue, poll.began, poll.ended, poll.queue_end);
        let began_epoch = self.epoch_at(queue, poll.began);
        let takes_all = self.readers[reader.0].takes_all;
        let mut expected = poll.from;
        for (offset, body) in messages {
            self.report.reads += 1;
            if offset < expected {
                let detail = format!("the poll from {} gave it where {expected} was the least", poll.from);
                let id = body.as_ref().ok().map(|identity| identity.id);
                self.found_in(Class::NonMonotonicPoll, queue, offset, id, detail);
            } else if takes_all {
                let state = &mut self.queues[queue.index()];
                state.add_hole(expected.max(poll.queue_begin), offset, began_epoch);
            }
            self.given(reader, queue, offset, &body, began_epoch, position.cause);
            expected = expected.max(offset.saturating_add(1));
        }
        if poll.next < expected {
            let detail = format!(
                "after a poll up to {expected} the broker says to go on at {}",
                poll.next
            );
            self.found_in(Class::NonMonotonicPoll, queue, poll.next, None, detail);
        } else if takes_all {
            let state = &mut self.queues[queue.index()];
            state.add_hole(expected.max(poll.queue_begin), poll.next, began_epoch);
        }
        let next = Position {
            next: poll.next,
            ..position
        };
        self.readers[reader.0].positions.insert(queue, next);
    }

    /// One message of a poll.
    fn given(
        &mut self,
        reader: ReaderIndex,
        queue: QueueIndex,
        offset: u64,
        body: &Result<Identity, BodyError>,
        epoch: u16,
        cause: Cause,
    ) {
        let group = self.readers[reader.0].group;
        let drained = self.draining;
        let state = &mut self.queues[queue.index()];
        let now_epoch = self.brokers[state.broker].epochs();
        state.seen_end = state.seen_end.max(offset.saturating_add(1));
        let delivered = state.delivered.entry(group).or_insert(0);
        let again = offset < *delivered;
        *delivered = (*delivered).max(offset.saturating_add(1));
        let slot = *state.slots.get(offset);
        let identity = match body {
            Ok(identity) => identity,
            Err(error) => {
                *state.slots.get_mut(offset) = Slot {
                    content: Content::Corrupt,
                    epoch,
                    drained,
                    ..slot
                };
                return self.found_in(Class::CorruptBody, queue, offset, None, error.to_string());
            }
        };
        if !state.returned && identity.topic != state.topic {
            let detail = format!("its body says that the topic's checksum is {:#010x}", identity.topic);
            self.found_in(Class::WrongQueue, queue, offset, Some(identity.id), detail);
        }
        if slot.holds(identity.id) && again {
            self.report.duplicate(cause);
        }
        if slot.content == Content::Message && !slot.holds(identity.id) {
            if slot.epoch == epoch && slot.epoch == now_epoch {
                let other = slot.id();
                let detail = format!(
                    "message {} of producer {} was read there before",
                    other.sequence, other.producer
                );
                return self.found_in(Class::DuplicateOffset, queue, offset, Some(identity.id), detail);
            }
            if epoch < slot.epoch {
                // The answer was under way while the power was cut: what is known is newer.
                return;
            }
        }
        let MessageId { producer, sequence } = identity.id;
        *self.queues[queue.index()].slots.get_mut(offset) = Slot {
            sequence,
            producer,
            epoch: epoch.max(slot.epoch),
            content: Content::Message,
            drained: drained || (slot.holds(identity.id) && slot.drained),
        };
    }

    pub(crate) fn found_in(
        &mut self,
        class: Class,
        queue: QueueIndex,
        queue_offset: u64,
        id: Option<MessageId>,
        detail: String,
    ) {
        let queue = self.queues[queue.index()].label.clone();
        self.report.found(Violation {
            class,
            queue,
            queue_offset,
            id,
            detail,
        });
    }
}
