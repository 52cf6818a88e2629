//! Feeding the indexes at a start: the log is walked once more and each index gets what it misses.
//!
//! Damage in that part of the log may have held messages which nothing else knows of, and their queue offsets must not be given
//! out again. How many there were is not known, but no record is shorter than `RECORD_SIZE_MIN`: a queue whose newest known
//! message lies before the damage goes on behind as many offsets as fit in there. Readers are told that those are lost.

use super::{Indexes, Recovered, known_damage, note};
use crate::QueueSlot;
use crate::checkpoint::{Checkpoint, DamagedRange};
use crate::consume_queue::Fed;
use crate::control_record::{KIND_DELETE_TOPIC, KIND_QUEUE_BEGIN, KIND_SOURCE_POSITION, Kind, Meta};
use crate::error::Error;
use crate::imported::QueueBegin;
use crate::log_walk::{LogWalk, SoundBatch, records};
use crate::message::{Hooks, META_KIND_MAX, MetaRecord, in_consume_queue, index_keys};
use crate::planted::{self, Bug};
use crate::segmented_log::SegmentedLog;
use protocol::message::record::{RECORD_SIZE_MIN, RecordView};
use runtime::collections::{HashMap, hash_map};
use std::collections::VecDeque;

/// How many messages at most were in these positions of the log.
fn messages_max(from: u64, to: u64) -> i64 {
    i64::try_from(to.saturating_sub(from).div_ceil(RECORD_SIZE_MIN as u64)).unwrap_or(i64::MAX)
}

/// How many messages at most were in all damage: a queue that nothing is known of may have had so many.
pub(super) fn damaged_messages_max(damage: &[DamagedRange]) -> i64 {
    let each = damage.iter().map(|range| messages_max(range.from, range.to));
    each.fold(0, i64::saturating_add)
}

/// Walks over the log once more and gives each index what it misses.
pub(super) struct Feed<'a> {
    indexes: &'a Indexes,
    hooks: &'a Hooks,
    snapshot_position: u64,
    end: u64,
    /// No message lay from here on, though the log may go on further behind.
    messages_end: u64,
    /// How many messages at most were in the damage met so far.
    passed: i64,
    /// The same when the newest message of a queue came by; 0 of those that are not in here.
    passed_before: HashMap<QueueSlot, i64>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(indexes: &'a Indexes, hooks: &'a Hooks, checkpoint: &Checkpoint, end: u64) -> Feed<'a> {
        let Checkpoint {
            snapshot_position,
            clean,
            end: closed_at,
            ..
        } = *checkpoint;
        Feed {
            indexes,
            hooks,
            snapshot_position,
            end,
            messages_end: if clean { closed_at } else { u64::MAX },
            passed: 0,
            passed_before: hash_map(),
        }
    }

    pub(super) async fn run(
        mut self,
        walk: &mut LogWalk<'_>,
        log: &SegmentedLog,
        boundaries: &VecDeque<(u64, u32)>,
        damage: &mut Vec<DamagedRange>,
        found: &mut Recovered,
    ) -> Result<(), Error> {
        let from = self
            .indexes
            .queues_from
            .min(self.indexes.keys_from)
            .min(self.snapshot_position)
            .max(found.min);
        if from >= self.end || planted::is(Bug::NoFeed) {
            return Ok(());
        }
        let from = if planted::is(Bug::FeedLastSegment) {
            from.max(log.base_of(self.end))
        } else {
            from
        };
        let after = boundaries.partition_point(|(start, _)| *start <= from);
        let boundary = after.checked_sub(1).and_then(|at| boundaries.get(at));
        let mut position = boundary.map_or(log.base_of(from), |(start, _)| *start).max(found.min);
        while position < self.end {
            if let Some(to) = known_damage(damage, position) {
                self.pass_damage(position, to);
                position = to;
                continue;
            }
            match walk.batch(position, None).await {
                Ok(batch) => {
                    self.batch(&batch, found).await?;
                    position = batch.next;
                }
                Err(reason) => {
                    let to = walk
                        .behind_damage(position)
                        .await
                        .map_or(self.end, |gap| gap.to.min(self.end));
                    tracing::error!(from = position, to, %reason, "the log is damaged");
                    damage.push(DamagedRange {
                        from: position,
                        to,
                        reason: reason.to_string(),
                    });
                    self.pass_damage(position, to);
                    position = to;
                }
            }
        }
        self.skip_lost_offsets(found);
        Ok(())
    }

    /// What lies below is known to the consume queues from their own pages.
    fn pass_damage(&mut self, from: u64, to: u64) {
        let lost = messages_max(from.max(self.indexes.queues_from), to.min(self.messages_end));
        self.passed = self.passed.saturating_add(lost);
    }

    fn skip_lost_offsets(&self, found: &mut Recovered) {
        if self.passed == 0 {
            return;
        }
        let queues = &self.indexes.queues;
        let before = |slot| self.passed_before.get(&slot).copied().unwrap_or(0);
        let skipped = queues.skip_offsets(self.end, |slot| self.passed - before(slot));
        if skipped > 0 {
            runtime::mark!("queue offsets skipped behind damage");
            note(found, || {
                format!(
                    "{skipped} queues may have had messages in damage that nothing else knows of; their offsets are not used again"
                )
            });
        }
    }

    async fn batch(&mut self, batch: &SoundBatch, found: &mut Recovered) -> Result<(), Error> {
        for (kind, position, bytes) in records(batch) {
            match kind {
                Kind::Meta => self.meta(position, &bytes, found)?,
                Kind::Message => self.message(position, &bytes, found).await?,
                Kind::Seal => {}
            }
        }
        Ok(())
    }

    fn meta(&self, position: u64, bytes: &[u8], found: &mut Recovered) -> Result<(), Error> {
        let Some(meta) = Meta::decode(bytes) else { return Ok(()) };
        if meta.kind == KIND_DELETE_TOPIC && position >= self.indexes.queues_from {
            self.indexes
                .queues
                .delete_topic(&String::from_utf8_lossy(meta.payload), position);
        }
        if meta.kind == KIND_QUEUE_BEGIN
            && position >= self.indexes.queues_from
            && let Some(begin) = QueueBegin::decode(meta.payload)
        {
            let queues = &self.indexes.queues;
            queues.begin_empty(&begin.topic, begin.queue_id, begin.queue_offset, position)?;
        }
        let is_kept = meta.kind <= META_KIND_MAX || meta.kind == KIND_SOURCE_POSITION;
        if is_kept && position >= self.snapshot_position && !planted::is(Bug::NoMetadataReplay) {
            found.metadata.push(MetaRecord {
                kind: meta.kind,
                payload: meta.payload.to_vec(),
            });
        }
        Ok(())
    }

    async fn message(&mut self, position: u64, bytes: &[u8], found: &mut Recovered) -> Result<(), Error> {
        let record = match RecordView::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                note(found, || {
                    format!("the record at {position} is in a sound batch, but unreadable: {error}")
                });
                return Ok(());
            }
        };
        if position >= self.indexes.queues_from && in_consume_queue(&record) {
            self.queue_entry(position, &record, found).await?;
        }
        if position >= self.indexes.keys_from
            && let Some(keys) = &self.indexes.keys
        {
            for key in index_keys(&record) {
                keys.add(record.topic, key, position, record.store_timestamp);
            }
        }
        Ok(())
    }

    async fn queue_entry(
        &mut self,
        position: u64,
        record: &RecordView<'_>,
        found: &mut Recovered,
    ) -> Result<(), Error> {
        let entry = crate::Entry {
            position,
            record_size: u32::try_from(record.size()).unwrap_or(u32::MAX),
            tag_hash: (self.hooks.tag_hash)(record),
        };
        let (topic, queue_id, queue_offset) = (record.topic, record.queue_id.get(), record.queue_offset.0);
        match self.indexes.queues.feed(topic, queue_id, queue_offset, entry).await? {
            Fed::AddedAfterGap { missing } => note(found, || {
                format!(
                    "queue {queue_id} of topic {topic} misses the messages {}..{}, before position {position}",
                    missing.start, missing.end
                )
            }),
            Fed::Replaced { old } => note(found, || {
                format!(
                    "message {queue_offset} of queue {queue_id} of topic {topic} is at {position}, its queue said {}",
                    old.position
                )
            }),
            Fed::Added | Fed::AlreadyThere | Fed::NotWanted => {}
        }
        if self.passed > 0
            && let Some(slot) = self.indexes.queues.find(topic, queue_id)
            && self.indexes.queues.bounds(slot).end == queue_offset + 1
        {
            self.passed_before.insert(slot, self.passed);
        }
        Ok(())
    }
}
