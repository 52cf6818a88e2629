//! Stats: how a store's bytes divide among topics and queues, how large and how old its messages are, and what of it no consumer
//! will ever see. Memory: some bytes for each queue.

use super::open::Store;
use super::scan::Item;
use super::verify::Stopped;
use engine::in_consume_queue;
use engine::inspect::{KIND_DELETE_TOPIC, Metadata, SEAL_SIZE};
use protocol::message::record::RecordView;
use protocol::model::ShardId;
use protocol::model::names::SCHEDULE_TOPIC;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Sizes are counted by powers of two, ages by powers of two of a second.
const BUCKETS: usize = 64;

/// What there is of something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Messages or other records.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Share {
    fn add(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }
}

/// A queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStats {
    /// Its messages.
    #[serde(flatten)]
    pub share: Share,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Queue offset of the first.
    pub min_offset: i64,
    /// Queue offset of the last.
    pub max_offset: i64,
    /// When the oldest was stored, in milliseconds since 1970.
    pub first_timestamp: i64,
    /// When the newest was.
    pub last_timestamp: i64,
}

/// Bytes that are no message a consumer can get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Garbage {
    /// Seals of batches (ours).
    pub seals: Share,
    /// Topics, groups, offsets and so on in the log (ours).
    pub metadata: Share,
    /// Half messages and rolled back ones.
    pub half: Share,
    /// Messages that waited for their time; each was stored again when it came.
    pub delayed: Share,
    /// Messages of topics that were deleted.
    pub deleted_topics: Share,
    /// Ranges that are damaged.
    pub damaged: Share,
    /// Ends of segments that are not used.
    pub unused: u64,
}

/// A store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Topic, queue.
    pub queues: BTreeMap<(String, u32), QueueStats>,
    /// What is none of theirs.
    pub garbage: Garbage,
    /// Bytes from the first position that is kept to the end, of all shards.
    pub log_bytes: u64,
    sizes: Histogram,
    ages: Histogram,
}

/// Counts by powers of two.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Histogram([u64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram([0; BUCKETS])
    }
}

impl Histogram {
    fn add(&mut self, value: u64) {
        let bucket = usize::try_from(u64::BITS - value.leading_zeros()).unwrap_or(0);
        if let Some(count) = self.0.get_mut(bucket.min(BUCKETS - 1)) {
            *count += 1;
        }
    }

    /// Upper bounds, not in the range, and how many lie below each and not below the one before.
    fn counts(&self) -> Vec<(u64, u64)> {
        let numbered = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        numbered
            .map(|(bucket, count)| {
                (
                    1_u64
                        .checked_shl(u32::try_from(bucket).unwrap_or(0))
                        .unwrap_or(u64::MAX),
                    *count,
                )
            })
            .collect()
    }
}

/// Something that tells how far it is: shard, position, about where it ends.
pub type Progress<'a> = &'a mut dyn FnMut(ShardId, u64, u64);

impl Stats {
    /// Reads the shards. Ages are counted to `now`, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn collect(store: &Store, shards: &[ShardId], now: i64, progress: Progress<'_>) -> Result<Stats, Stopped> {
        // Of our own, the log says when one was deleted.
        let known = match store {
            Store::Apache(store) => store.topics(),
            Store::Own(_) => None,
        };
        let mut stats = Stats::default();
        for &shard in shards {
            let mut scan = store.scan(shard)?;
            let (first, about_end) = (scan.position(), scan.about_end());
            let mut used = 0;
            let end = loop {
                let ended = scan.next(&mut |_, item| {
                    used += stats.take(&item, now, known.as_ref());
                    Ok(())
                })?;
                progress(shard, scan.position(), about_end);
                if let Some(end) = ended {
                    break end.position;
                }
            };
            stats.log_bytes += end - first.min(end);
            stats.garbage.unused += (end - first.min(end)).saturating_sub(used);
        }
        Ok(stats)
    }

    /// Returns the bytes that it took.
    fn take(&mut self, item: &Item<'_>, now: i64, known: Option<&BTreeSet<String>>) -> u64 {
        match item {
            Item::Message(bytes) => {
                let size = bytes.len() as u64;
                match RecordView::decode(bytes) {
                    Ok(record) => self.message(&record, size, now, known),
                    Err(_) => self.garbage.damaged.add(size),
                }
                size
            }
            Item::Metadata(bytes) => {
                self.garbage.metadata.add(bytes.len() as u64);
                self.metadata(bytes);
                bytes.len() as u64
            }
            Item::Seal(_) => {
                self.garbage.seals.add(SEAL_SIZE as u64);
                SEAL_SIZE as u64
            }
            Item::Damage(range) => {
                self.garbage.damaged.add(range.to - range.from);
                range.to - range.from
            }
        }
    }

    fn message(&mut self, record: &RecordView<'_>, size: u64, now: i64, known: Option<&BTreeSet<String>>) {
        self.sizes.add(size);
        let age = now.saturating_sub(record.store_timestamp).max(0);
        self.ages.add(u64::try_from(age / 1000).unwrap_or(0));
        if !in_consume_queue(record) {
            return self.garbage.half.add(size);
        }
        if record.topic == SCHEDULE_TOPIC {
            return self.garbage.delayed.add(size);
        }
        if known.is_some_and(|known| !known.contains(record.topic)) {
            return self.garbage.deleted_topics.add(size);
        }
        let offset = record.queue_offset.0;
        let queue = self
            .queues
            .entry((record.topic.to_owned(), record.queue_id.get()))
            .or_insert_with(|| QueueStats {
                min_offset: offset,
                first_timestamp: record.store_timestamp,
                ..QueueStats::default()
            });
        queue.share.add(size);
        queue.body_bytes += record.body.len() as u64;
        queue.min_offset = queue.min_offset.min(offset);
        queue.max_offset = queue.max_offset.max(offset);
        queue.first_timestamp = queue.first_timestamp.min(record.store_timestamp);
        queue.last_timestamp = queue.last_timestamp.max(record.store_timestamp);
    }

    fn metadata(&mut self, bytes: &[u8]) {
        let Some(metadata) = Metadata::decode(bytes).filter(|metadata| metadata.kind == KIND_DELETE_TOPIC) else {
            return;
        };
        let deleted = &mut self.garbage.deleted_topics;
        self.queues.retain(|(topic, _), queue| {
            let is_it = topic.as_bytes() == metadata.payload;
            if is_it {
                deleted.records += queue.share.records;
                deleted.bytes += queue.share.bytes;
            }
            !is_it
        });
    }

    /// Topics with the sums over their queues, the largest first.
    #[must_use]
    pub fn topics(&self) -> Vec<(&str, usize, Share)> {
        let mut topics: BTreeMap<&str, (usize, Share)> = BTreeMap::new();
        for ((topic, _), queue) in &self.queues {
            let (queues, share) = topics.entry(topic).or_default();
            *queues += 1;
            share.records += queue.share.records;
            share.bytes += queue.share.bytes;
        }
        let mut topics: Vec<(&str, usize, Share)> = topics
            .into_iter()
            .map(|(topic, (queues, share))| (topic, queues, share))
            .collect();
        topics.sort_by_key(|(_, _, share)| std::cmp::Reverse(share.bytes));
        topics
    }

    /// Sizes of records in bytes: below which power of two how many lie.
    #[must_use]
    pub fn sizes(&self) -> Vec<(u64, u64)> {
        self.sizes.counts()
    }

    /// Ages in seconds: below which power of two how many lie.
    #[must_use]
    pub fn ages(&self) -> Vec<(u64, u64)> {
        self.ages.counts()
    }
}
