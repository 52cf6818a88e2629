//! Verify: everything in a shard that has a checksum or a rule, against it.
//!
//! 1. Checkpoints, then the consume queues' manifest: what the broker relied on when this began.
//! 2. The log, batch by batch; in sound batches each record's fields, its body's CRC, and that queue offsets of a queue
//!    follow each other. It goes on behind damage.
//! 3. The pages that the manifest vouches for: their CRC; every entry against the record that it points to; that every
//!    message which the manifest says is in pages is there. Then the key index in the same way.
//!
//! A broker may be running: it only adds to what was there at 1., and what retention deletes meanwhile is left out.
//! Memory: one window of the log, some bytes for each queue, and sums of the key index that do not grow with the log.

mod keys;
mod queues;

use super::entry_sums::EntrySums;
use super::files::{Error, StoreFiles, read_if_there};
use super::findings::{Counts, Finding, Part};
use super::intervals::Intervals;
use super::key_pages;
use super::key_sums::{Covered, KeySums};
use super::quarantine::Quarantine;
use super::walk::{Batch, DamagedRange, LogWalk, Step};
use engine::inspect::{Checkpoint, KIND_DELETE_TOPIC, Manifest, Metadata, RecordKind, key_entries_of};
use engine::{in_consume_queue, tag_hash_of};
use protocol::message::record::RecordView;
use protocol::model::ShardId;
use protocol::model::names::SCHEDULE_TOPIC;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is told while it goes on.
pub trait Watcher {
    /// Something is wrong.
    ///
    /// # Errors
    /// Nobody listens any more.
    fn found(&mut self, finding: &Finding) -> std::io::Result<()>;

    /// A shard's log is at `position` of about `end`, counted from `min`.
    fn at(&mut self, shard: ShardId, min: u64, position: u64, end: u64);
}

/// Why a look through a store ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// An import.
    #[error(transparent)]
    Import(#[from] super::import::Error),
    /// An export.
    #[error(transparent)]
    Export(#[from] super::export::Error),
    /// The result cannot be told.
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
}

/// What the log says of a queue.
#[derive(Debug, Default)]
struct QueueSeen {
    /// The next queue offset; `None` behind damage, where some may be missing.
    next: Option<i64>,
    /// Queue offsets of messages that must be in pages.
    in_pages: Intervals,
    /// The entries that its messages ask for.
    sums: EntrySums,
}

/// The newest checkpoint of a shard that can be read.
///
/// # Errors
/// A file is there and cannot be read.
pub fn checkpoint_of(files: &StoreFiles, shard: ShardId) -> Result<Option<Checkpoint>, Error> {
    for name in ["checkpoint", "checkpoint.previous"] {
        let bytes = read_if_there(&files.shard_dir(shard).join(name))?;
        let found = bytes.and_then(|bytes| Checkpoint::decode(&bytes).ok());
        let is_ours = |found: &Checkpoint| found.store_id == files.description.store_id && found.shard == shard.get();
        if let Some(mut found) = found.filter(is_ours) {
            // The log may have grown since a start followed the one before.
            found.clean &= name == "checkpoint";
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Something for each queue, by topic and number.
pub(super) type Queues<T> = BTreeMap<String, BTreeMap<u32, T>>;

/// Looks through one shard.
///
/// # Errors
/// [`Stopped`]; damage is none, it goes to `watcher`.
pub fn verify_shard(files: &StoreFiles, shard: ShardId, watcher: &mut dyn Watcher) -> Result<Counts, Stopped> {
    let mut verify = Verify {
        files,
        shard,
        watcher,
        counts: Counts {
            shard: shard.get(),
            ..Counts::default()
        },
        seen: BTreeMap::new(),
        damage: Vec::new(),
        rebuilt_from: 0,
        covered: Covered::default(),
        key_sums: KeySums::default(),
        quarantine: Quarantine::read(files.root())?,
    };
    let checkpoint = verify.checkpoints()?;
    let manifest = verify.manifest()?;
    verify.rebuilt_from = manifest.as_ref().map_or(0, |manifest| manifest.rebuilt_from);
    let mut walk = LogWalk::new(
        files.log(shard)?,
        shard,
        files.description.store_id,
        checkpoint.as_ref(),
    );
    verify.covered = verify.covered_keys(checkpoint.as_ref())?;
    verify.key_sums = KeySums::new(&verify.covered, walk.position());
    verify.log(&mut walk, checkpoint.as_ref())?;
    if let Some(manifest) = manifest {
        verify.consume_queues(&manifest, &mut walk)?;
    }
    verify.key_index(checkpoint.as_ref())?;
    Ok(verify.counts)
}

struct Verify<'a> {
    files: &'a StoreFiles,
    shard: ShardId,
    watcher: &'a mut dyn Watcher,
    counts: Counts,
    seen: Queues<QueueSeen>,
    damage: Vec<DamagedRange>,
    /// Messages below must have their entries in pages.
    rebuilt_from: u64,
    /// Messages whose keys must be in the key index, and sums over those keys.
    covered: Covered,
    key_sums: KeySums,
    /// Damage that a repair has given up already.
    quarantine: Quarantine,
}

impl Verify<'_> {
    fn found(&mut self, part: Part, range: Option<(u64, u64)>, reason: String) -> Result<(), Stopped> {
        self.counts.findings += 1;
        let finding = Finding {
            shard: self.shard.get(),
            part,
            from: range.map(|(from, _)| from),
            to: range.map(|(_, to)| to),
            reason,
        };
        Ok(self.watcher.found(&finding)?)
    }

    fn found_in_file(&mut self, part: Part, path: &Path, reason: &str) -> Result<(), Stopped> {
        self.found(part, None, format!("{}: {reason}", path.display()))
    }

    fn checkpoints(&mut self) -> Result<Option<Checkpoint>, Stopped> {
        let mut newest = None;
        for name in ["checkpoint", "checkpoint.previous"] {
            let path = self.files.shard_dir(self.shard).join(name);
            let Some(bytes) = read_if_there(&path)? else { continue };
            match Checkpoint::decode(&bytes) {
                Ok(found) if found.store_id != self.files.description.store_id || found.shard != self.shard.get() => {
                    self.found_in_file(Part::Checkpoint, &path, "it is of another store or shard")?;
                }
                Ok(found) => newest = newest.or(Some(found)),
                Err(reason) => self.found_in_file(Part::Checkpoint, &path, reason)?,
            }
        }
        Ok(newest)
    }

    fn queue_dir(&self) -> PathBuf {
        self.files.shard_dir(self.shard).join("consumequeue")
    }

    fn manifest(&mut self) -> Result<Option<Manifest>, Stopped> {
        let path = self.queue_dir().join(Manifest::NAME);
        let Some(bytes) = read_if_there(&path)? else {
            if self.queue_dir().is_dir() && self.has_pages()? {
                self.found_in_file(Part::ConsumeQueue, &path, "it is missing, so that no page counts")?;
            }
            return Ok(None);
        };
        let reason = match Manifest::decode(&bytes) {
            Ok(manifest) if manifest.shard != self.shard.get() => "it is of another shard",
            Ok(manifest) => return Ok(Some(manifest)),
            Err(reason) => reason,
        };
        self.found_in_file(Part::ConsumeQueue, &path, reason)?;
        Ok(None)
    }

    fn has_pages(&self) -> Result<bool, Stopped> {
        let directory = self.queue_dir();
        let list = std::fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
        let mut names = list.flatten().map(|entry| entry.file_name());
        Ok(names.any(|name| name.to_str().and_then(super::files::twenty_digits).is_some()))
    }
}

/// The log.
impl Verify<'_> {
    fn log(&mut self, walk: &mut LogWalk, checkpoint: Option<&Checkpoint>) -> Result<(), Stopped> {
        self.counts.min = walk.position();
        let end = checkpoint.map_or(0, |checkpoint| checkpoint.end);
        loop {
            let position = walk.position();
            match walk.step()? {
                Step::Batch(batch) => {
                    // Retention has overtaken the walk.
                    if batch.seal.start != position {
                        self.forget_next_offsets();
                    }
                    self.batch(walk, &batch)?;
                }
                Step::Damage(range) => {
                    let (from, to) = (range.from, range.to);
                    if self
                        .quarantine
                        .holds(self.shard.get(), (from, to), || walk.crc_of_range(from, to))
                    {
                        self.counts.quarantined += 1;
                    } else {
                        self.found(Part::Log, Some((from, to)), range.reason.clone())?;
                    }
                    self.covered.leave_out(&(from..to));
                    self.damage.push(range);
                    self.forget_next_offsets();
                }
                Step::End(end) => {
                    (self.counts.end, self.counts.torn_bytes) = (end.position, end.torn_bytes);
                    self.counts.synced = walk.synced;
                    return Ok(());
                }
            }
            self.watcher
                .at(self.shard, self.counts.min, walk.position(), end.max(walk.position()));
        }
    }

    /// Which messages were passed over nobody knows.
    fn forget_next_offsets(&mut self) {
        let queues = self.seen.values_mut().flat_map(BTreeMap::values_mut);
        queues.for_each(|queue| queue.next = None);
    }

    fn batch(&mut self, walk: &mut LogWalk, batch: &Batch) -> Result<(), Stopped> {
        self.counts.batches += 1;
        self.counts.bytes += u64::from(batch.seal.length);
        walk.records(batch, |kind, position, bytes| match kind {
            RecordKind::Message => self.message(position, bytes),
            RecordKind::Metadata => self.metadata(position, bytes),
            RecordKind::Seal => Ok(()),
        })
    }

    fn message(&mut self, position: u64, bytes: &[u8]) -> Result<(), Stopped> {
        self.counts.messages += 1;
        let range = (position, position + bytes.len() as u64);
        let decoded = RecordView::decode(bytes);
        if let Ok(record) = &decoded
            && self.covered.holds(position)
        {
            self.key_sums.add_message(key_entries_of(record, position));
        }
        let record = match decoded.and_then(|record| record.check_body().map(|()| record)) {
            Ok(record) => record,
            Err(error) => return self.found(Part::Record, Some(range), error.to_string()),
        };
        if !in_consume_queue(&record) {
            return Ok(());
        }
        let rebuilt_from = self.rebuilt_from;
        let queue = queue_mut(&mut self.seen, record.topic, record.queue_id.get());
        let (offset, expected) = (record.queue_offset.0, queue.next);
        queue.next = offset.checked_add(1);
        if position < rebuilt_from {
            queue.in_pages.add(offset, offset.saturating_add(1));
        }
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        queue.sums.add(offset, position, size, tag_hash_for_sum(&record));
        match expected {
            Some(expected) if expected != offset => {
                let reason = format!(
                    "queue {} of topic {}: queue offset {offset} came where {expected} was next",
                    record.queue_id, record.topic
                );
                self.found(Part::QueueOffset, Some(range), reason)
            }
            _ => Ok(()),
        }
    }

    fn metadata(&mut self, position: u64, bytes: &[u8]) -> Result<(), Stopped> {
        self.counts.metadata += 1;
        let Some(metadata) = Metadata::decode(bytes) else {
            let range = (position, position + bytes.len() as u64);
            return self.found(
                Part::Record,
                Some(range),
                "a metadata record that does not parse".to_owned(),
            );
        };
        if metadata.kind == KIND_DELETE_TOPIC
            && let Ok(topic) = std::str::from_utf8(metadata.payload)
        {
            self.seen.remove(topic);
        }
        Ok(())
    }
}

/// Entries of delayed messages hold the time of delivery instead, which the record does not tell.
pub(super) fn tag_hash_for_sum(record: &RecordView<'_>) -> i64 {
    if record.topic == SCHEDULE_TOPIC {
        0
    } else {
        tag_hash_of(record)
    }
}

pub(super) fn queue_mut<'a, T: Default>(queues: &'a mut Queues<T>, topic: &str, queue_id: u32) -> &'a mut T {
    if !queues.contains_key(topic) {
        queues.insert(topic.to_owned(), BTreeMap::new());
    }
    let of_topic = queues.get_mut(topic).expect("it was put in above");
    of_topic.entry(queue_id).or_default()
}
