//! The consume queues of Apache's store against its log.

use super::super::entry_sums::{EntrySums, block_of};
use super::super::intervals::Intervals;
use super::{Part, QueueSeen, Stopped, Verify};
use crate::apache_store::consume_queue::{ConsumeQueue, Entry, QueueKind, QueueName, Slot};
use crate::apache_store::record_walk::RecordWalk;
use crate::store::files::Error;
use engine::tag_hash_of;
use protocol::model::names::SCHEDULE_TOPIC;

/// Queues of many topics at once point to records of others ("light message queues"); their entries are not compared.
const LIGHT_QUEUES: &str = "%LMQ%";

impl Verify<'_> {
    /// Position in the log up to which messages have been dispatched to consume queues.
    pub(super) fn dispatched_to(&self) -> Result<u64, Stopped> {
        let mut to = 0;
        for name in self.queues()? {
            let mut queue = self.store.consume_queue(&name)?;
            let end = queue.end().map_err(cannot_read(&name))?;
            let last = end.checked_sub(1).filter(|last| *last >= queue.first_slot());
            let Some(last) = last else { continue };
            let slots = queue.slots(last).map_err(cannot_read(&name))?;
            if let Some(Slot::Entry(entry)) = slots.first() {
                to = to.max(entry.position.saturating_add(u64::from(entry.record_size)));
            }
        }
        Ok(to)
    }

    fn queues(&self) -> Result<Vec<QueueName>, Stopped> {
        let queues = self.store.queues()?.into_iter();
        let single = queues.filter(|name| name.kind == QueueKind::Single && !name.topic.starts_with(LIGHT_QUEUES));
        Ok(single.collect())
    }

    pub(super) fn consume_queues(&mut self, walk: &mut RecordWalk) -> Result<(), Stopped> {
        for name in self.queues()? {
            let of_topic = self.seen.get_mut(&name.topic);
            let seen = of_topic
                .and_then(|queues| queues.remove(&name.queue_id))
                .unwrap_or_default();
            let there = self.queue(&name, &seen, walk)?;
            self.lacking(&name.topic, name.queue_id, &seen, &there)?;
        }
        let topics = self.store.topics();
        for (topic, queues) in std::mem::take(&mut self.seen) {
            // A topic that was deleted has no files; its messages are still in the log.
            let is_deleted = topics.as_ref().is_some_and(|topics| !topics.contains(&topic));
            for (queue_id, seen) in queues
                .iter()
                .filter(|_| !is_deleted && !self.store.has_database_queues())
            {
                self.lacking(&topic, *queue_id, seen, &Intervals::default())?;
            }
        }
        Ok(())
    }

    fn lacking(&mut self, topic: &str, queue_id: u32, seen: &QueueSeen, there: &Intervals) -> Result<(), Stopped> {
        for (from, to) in seen.offsets.without(there) {
            let reason = format!(
                "queue {queue_id} of topic {topic} lacks the entries {from} to {}",
                to - 1
            );
            self.found(Part::ConsumeQueue, None, reason)?;
        }
        Ok(())
    }

    /// Compares a queue, block by block; returns the queue offsets that it has an entry for.
    fn queue(&mut self, name: &QueueName, seen: &QueueSeen, walk: &mut RecordWalk) -> Result<Intervals, Stopped> {
        let mut queue = self.store.consume_queue(name)?;
        let end = queue.end().map_err(cannot_read(name))?;
        let (mut there, mut sums) = (Intervals::default(), EntrySums::default());
        let mut slot = queue.first_slot();
        while slot < end {
            let slots = queue.slots(slot).map_err(cannot_read(name))?;
            if slots.is_empty() {
                break;
            }
            for found in slots {
                let offset = i64::try_from(slot).unwrap_or(i64::MAX);
                match found {
                    Slot::Entry(entry) => {
                        there.add(offset, offset + 1);
                        if self.is_kept(entry.position) && entry.position < self.dispatched_to {
                            self.counts.entries += 1;
                            let tag_hash = self.tag_hash(name, &mut queue, &entry)?;
                            sums.add(offset, entry.position, entry.record_size, tag_hash);
                        }
                    }
                    Slot::Filler => {}
                    Slot::Empty | Slot::Nonsense if slot < end => {
                        let reason = format!("{}, entry {slot} is none: {found:?}", place(name));
                        self.found(Part::ConsumeQueue, None, reason)?;
                    }
                    Slot::Empty | Slot::Nonsense => {}
                }
                slot += 1;
            }
        }
        let doubtful = sums.differing(&seen.sums);
        self.entries_one_by_one(name, &mut queue, &doubtful, walk)?;
        Ok(there)
    }

    /// As the sums have it: nothing for delayed messages.
    fn tag_hash(&mut self, name: &QueueName, queue: &mut ConsumeQueue, entry: &Entry) -> Result<i64, Stopped> {
        if name.topic == SCHEDULE_TOPIC {
            return Ok(0);
        }
        Ok(queue.tag_hash(entry)?.unwrap_or(entry.tag_hash))
    }

    fn entries_one_by_one(
        &mut self,
        name: &QueueName,
        queue: &mut ConsumeQueue,
        blocks: &[i64],
        walk: &mut RecordWalk,
    ) -> Result<(), Stopped> {
        for &block in blocks {
            let from = u64::try_from(block * super::super::entry_sums::BLOCK).unwrap_or(0);
            let mut slot = from.max(queue.first_slot());
            loop {
                let slots = queue.slots(slot).map_err(cannot_read(name))?;
                let in_block = |slot: u64| block_of(i64::try_from(slot).unwrap_or(i64::MAX)) == block;
                if slots.is_empty() || !in_block(slot) {
                    break;
                }
                for found in slots {
                    if let Slot::Entry(entry) = found
                        && in_block(slot)
                    {
                        self.entry(name, queue, (slot, &entry), walk)?;
                    }
                    slot += 1;
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        name: &QueueName,
        queue: &mut ConsumeQueue,
        (slot, entry): (u64, &Entry),
        walk: &mut RecordWalk,
    ) -> Result<(), Stopped> {
        let position = entry.position;
        let is_newer = position >= self.dispatched_to && self.store.was_not_closed();
        if !self.is_kept(position) || is_newer {
            return Ok(());
        }
        let tag_hash = self.tag_hash(name, queue, entry)?;
        let size = usize::try_from(entry.record_size).unwrap_or(usize::MAX);
        let agrees = match walk.record_at(position, size) {
            _ if position >= self.counts.end => Err("the log ends before".to_owned()),
            Err(reason) => Err(reason),
            Ok(record) => {
                let own = (
                    record.topic,
                    record.queue_id.get(),
                    u64::try_from(record.queue_offset.0).ok(),
                );
                if own != (name.topic.as_str(), name.queue_id, Some(slot)) {
                    let (topic, queue_id, offset) = (record.topic, record.queue_id, record.queue_offset.0);
                    Err(format!(
                        "the message there is number {offset} of queue {queue_id} of topic {topic}"
                    ))
                } else if name.topic != SCHEDULE_TOPIC && tag_hash != tag_hash_of(&record) {
                    let own = tag_hash_of(&record);
                    Err(format!("its tag hash is {tag_hash}, that of the message there {own}"))
                } else {
                    Ok(())
                }
            }
        };
        match agrees {
            Err(reason) => {
                let reason = format!("{}, entry {slot} points to {position}: {reason}", place(name));
                self.found(Part::ConsumeQueue, None, reason)
            }
            Ok(()) => Ok(()),
        }
    }

    fn is_kept(&self, position: u64) -> bool {
        let is_damaged = self
            .damage
            .iter()
            .any(|range| (range.from..range.to).contains(&position));
        position >= self.counts.min && !is_damaged
    }
}

fn place(name: &QueueName) -> String {
    format!("queue {} of topic {}", name.queue_id, name.topic)
}

fn cannot_read(name: &QueueName) -> impl FnOnce(std::io::Error) -> Error {
    let path = format!("the files of {}", place(name)).into();
    move |source| Error::Io {
        action: "read",
        path,
        source,
    }
}
