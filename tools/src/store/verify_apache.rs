//! Verify, for a store that Apache wrote. Its records have a checksum over the body alone, so that the rest is checked against
//! what says the same elsewhere: lengths, places, the order of queue offsets, consume queues and key index.
//!
//! 1. How far the consume queues go: what is behind was not dispatched yet, and the broker's next start does it.
//! 2. The log, record by record; beside it the entries of the key index, which lie in the same order.
//! 3. The consume queues: each entry against the record that it points to, by sums as in [`super::entry_sums`], and one by one
//!    where those differ; that each message has its entry.
//!
//! Memory: a window of the log, some bytes for a thousand messages, the slots of one index file (20 MB).

mod index;
mod queues;
#[cfg(test)]
mod tests;

use super::entry_sums::EntrySums;
use super::findings::{Counts, Finding, Part};
use super::intervals::Intervals;
use super::verify::{Queues, Stopped, Watcher, queue_mut, tag_hash_for_sum};
use super::walk::{DamagedRange, LogEnd};
use crate::apache_store::ApacheStore;
use crate::apache_store::record_walk::{RecordPlace, RecordWalk, Step};
use engine::in_consume_queue;
use index::IndexCursor;
use protocol::message::record::RecordView;
use protocol::message::sys_flag::INNER_BATCH;
use protocol::model::ShardId;
use std::collections::BTreeMap;

/// What a record that has a checksum over all of it ends with (`enabledAppendPropCRC`): the name, then ten digits, the last first.
const CRC_PROPERTY: &[u8] = b"__CRC32#\x01";
const CRC_PROPERTY_SIZE: usize = 20;

/// What the log says of a queue.
#[derive(Debug, Default)]
struct QueueSeen {
    /// The next queue offset; `None` behind damage, where some may be missing.
    next: Option<i64>,
    /// Queue offsets of messages that have been dispatched.
    offsets: Intervals,
    /// The entries that they ask for.
    sums: EntrySums,
}

/// Looks through a store of Apache's.
///
/// # Errors
/// [`Stopped`]; damage is none, it goes to `watcher`.
pub fn verify_apache(store: &ApacheStore, watcher: &mut dyn Watcher) -> Result<Counts, Stopped> {
    let mut verify = Verify {
        store,
        watcher,
        counts: Counts::default(),
        seen: BTreeMap::new(),
        damage: Vec::new(),
        dispatched_to: 0,
    };
    if store.checkpoint()?.is_none() {
        let reason = "the file checkpoint is missing or too short".to_owned();
        verify.found(Part::Checkpoint, None, reason)?;
    }
    verify.dispatched_to = verify.dispatched_to()?;
    let mut walk = store.walk()?;
    verify.log(&mut walk)?;
    verify.consume_queues(&mut walk)?;
    Ok(verify.counts)
}

struct Verify<'a> {
    store: &'a ApacheStore,
    watcher: &'a mut dyn Watcher,
    counts: Counts,
    seen: Queues<QueueSeen>,
    damage: Vec<DamagedRange>,
    /// Messages below must have their entries in the consume queues.
    dispatched_to: u64,
}

impl Verify<'_> {
    fn found(&mut self, part: Part, range: Option<(u64, u64)>, reason: String) -> Result<(), Stopped> {
        self.counts.findings += 1;
        let finding = Finding {
            shard: 0,
            part,
            from: range.map(|(from, _)| from),
            to: range.map(|(_, to)| to),
            reason,
        };
        Ok(self.watcher.found(&finding)?)
    }

    fn log(&mut self, walk: &mut RecordWalk) -> Result<(), Stopped> {
        self.counts.min = walk.position();
        let about_end = walk.log().max().unwrap_or(0);
        let mut index = IndexCursor::open(self.store)?;
        loop {
            match walk.step()? {
                Step::Record(place) => self.record(walk, place, &mut index)?,
                Step::Damage(range) => {
                    self.found(Part::Log, Some((range.from, range.to)), range.reason.clone())?;
                    index.skip_to(range.to)?;
                    self.damage.push(range);
                    // Which messages were in it nobody knows.
                    let queues = self.seen.values_mut().flat_map(BTreeMap::values_mut);
                    queues.for_each(|queue| queue.next = None);
                }
                Step::End(end) => {
                    self.end(end)?;
                    return self.index(index, walk);
                }
            }
            self.watcher
                .at(ShardId::ZERO, self.counts.min, walk.position(), about_end);
        }
    }

    fn end(&mut self, end: LogEnd) -> Result<(), Stopped> {
        (self.counts.end, self.counts.torn_bytes) = (end.position, end.torn_bytes);
        if end.torn_bytes > 0 && !self.store.was_not_closed() {
            let range = (end.position, end.position + end.torn_bytes);
            let reason = "no record begins there, and none follows, though the store was closed in good order";
            self.found(Part::Log, Some(range), reason.to_owned())?;
        }
        Ok(())
    }

    fn record(&mut self, walk: &mut RecordWalk, place: RecordPlace, index: &mut IndexCursor) -> Result<(), Stopped> {
        let position = place.position;
        let range = (position, position + place.size as u64);
        self.counts.messages += 1;
        self.counts.bytes += place.size as u64;
        let record = match walk.record(place) {
            Ok(record) => record,
            Err(reason) => return self.found(Part::Record, Some(range), reason),
        };
        if let Err(error) = record.check_body() {
            self.found(Part::Record, Some(range), error.to_string())?;
        } else if let Err(reason) = check_crc_property(record.bytes) {
            self.found(Part::Record, Some(range), reason)?;
        }
        if let Err(reason) = index.compare(&record, position)? {
            self.found(Part::KeyIndex, Some(range), reason)?;
        }
        // A batch of `queue.type=BatchCQ` is one record with several queue offsets.
        if !in_consume_queue(&record) || record.sys_flag & INNER_BATCH != 0 {
            return Ok(());
        }
        if position >= self.dispatched_to {
            self.counts.undispatched += 1;
        }
        match self.take(&record, position) {
            Some(reason) => self.found(Part::QueueOffset, Some(range), reason),
            None => Ok(()),
        }
    }

    /// Takes a message into what is seen of its queue; what is wrong with its queue offset, if something is.
    fn take(&mut self, record: &RecordView<'_>, position: u64) -> Option<String> {
        let dispatched = position < self.dispatched_to;
        let queue = queue_mut(&mut self.seen, record.topic, record.queue_id.get());
        let offset = record.queue_offset.0;
        let expected = queue.next;
        if offset == 0 && expected.is_some_and(|expected| expected > 0) {
            // The topic was deleted and has begun again; its files were deleted too.
            *queue = QueueSeen::default();
        }
        queue.next = offset.checked_add(1);
        if dispatched {
            queue.offsets.add(offset, offset.saturating_add(1));
            let size = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
            queue.sums.add(offset, position, size, tag_hash_for_sum(record));
        }
        let expected = expected.filter(|expected| *expected != offset && offset != 0)?;
        Some(format!(
            "queue {} of topic {}: queue offset {offset} came where {expected} was next",
            record.queue_id, record.topic
        ))
    }
}

/// Checks the checksum over all of a record, if it has one.
fn check_crc_property(bytes: &[u8]) -> Result<(), String> {
    let Some((record, property)) = bytes
        .len()
        .checked_sub(CRC_PROPERTY_SIZE)
        .and_then(|at| bytes.split_at_checked(at))
    else {
        return Ok(());
    };
    let Some(digits) = property.strip_prefix(CRC_PROPERTY).and_then(|rest| rest.get(..10)) else {
        return Ok(());
    };
    let stored = digits.iter().rev().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    });
    let found = u64::from(crc32fast::hash(record) & 0x7fff_ffff);
    if stored == Some(found) {
        return Ok(());
    }
    Err(format!(
        "the record's CRC32 is {found:#010x}, its property __CRC32# says {}",
        stored.map_or("no number".to_owned(), |stored| format!("{stored:#010x}"))
    ))
}
