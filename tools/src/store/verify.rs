//! Verify: everything in a shard that has a checksum or a rule, against it.
//!
//! 1. Checkpoints, then the consume queues' manifest: what the broker relied on when this began.
//! 2. The log, batch by batch; in sound batches each record's fields, its body's CRC, and that queue offsets of a queue
//!    follow each other. It goes on behind damage.
//! 3. The pages that the manifest vouches for: their CRC; every entry against the record that it points to; that every
//!    message which the manifest says is in pages is there. Then the pages of the key index.
//!
//! A broker may be running: it only adds to what was there at 1., and what retention deletes meanwhile is left out.
//! Memory: one window of the log, and some bytes for each queue.

use super::files::{Error, StoreFiles, read_at, read_if_there};
use super::findings::{Counts, Finding, Part};
use super::intervals::Intervals;
use super::key_pages;
use super::walk::{Batch, DamagedRange, LogWalk, Step};
use engine::inspect::{
    Checkpoint, KIND_DELETE_TOPIC, Manifest, Metadata, PAGE_SIZE, Page, PageRun, RecordKind, RunContent,
    decode_directory, page_is_blank,
};
use engine::{Entry, in_consume_queue, tag_hash_of};
use protocol::message::record::RecordView;
use protocol::model::ShardId;
use protocol::model::names::SCHEDULE_TOPIC;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Pages read at once.
const PAGES_AT_ONCE: u32 = 256;

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
}

type Queues<T> = BTreeMap<String, BTreeMap<u32, T>>;

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
    verify.log(&mut walk, checkpoint.as_ref())?;
    if let Some(manifest) = manifest {
        verify.consume_queues(&manifest, &mut walk)?;
    }
    verify.key_index()?;
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
            match walk.step()? {
                Step::Batch(batch) => self.batch(walk, &batch)?,
                Step::Damage(range) => {
                    self.found(Part::Log, Some((range.from, range.to)), range.reason.clone())?;
                    self.damage.push(range);
                    // Which messages were in it nobody knows.
                    let queues = self.seen.values_mut().flat_map(BTreeMap::values_mut);
                    queues.for_each(|queue| queue.next = None);
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
        let record = match RecordView::decode(bytes).and_then(|record| record.check_body().map(|()| record)) {
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

fn queue_mut<'a, T: Default>(queues: &'a mut Queues<T>, topic: &str, queue_id: u32) -> &'a mut T {
    if !queues.contains_key(topic) {
        queues.insert(topic.to_owned(), BTreeMap::new());
    }
    queues.entry(topic.to_owned()).or_default().entry(queue_id).or_default()
}

/// The consume queues.
impl Verify<'_> {
    fn consume_queues(&mut self, manifest: &Manifest, walk: &mut LogWalk) -> Result<(), Stopped> {
        let mut in_pages: Queues<Intervals> = BTreeMap::new();
        for &first_page in &manifest.files {
            self.directory(manifest, first_page)?;
            self.pages(manifest, first_page, walk, &mut in_pages)?;
        }
        for (topic, queues) in std::mem::take(&mut self.seen) {
            for (queue_id, queue) in queues {
                let nothing = Intervals::default();
                let there = in_pages.get(&topic).and_then(|queues| queues.get(&queue_id));
                for (from, to) in queue.in_pages.without(there.unwrap_or(&nothing)) {
                    let reason = format!(
                        "queue {queue_id} of topic {topic} lacks the entries {from} to {}",
                        to - 1
                    );
                    self.found(Part::ConsumeQueue, None, reason)?;
                }
            }
        }
        Ok(())
    }

    fn directory(&mut self, manifest: &Manifest, first_page: u32) -> Result<(), Stopped> {
        let path = self.queue_dir().join(format!("{first_page:020}.dir"));
        let is_full = first_page.saturating_add(manifest.file_pages) <= manifest.durable_end;
        match read_if_there(&path)? {
            Some(bytes) if is_full => match decode_directory(&bytes, self.shard.get(), first_page) {
                Ok(_runs) => Ok(()),
                Err(reason) => self.found_in_file(Part::ConsumeQueue, &path, reason),
            },
            _ => Ok(()),
        }
    }

    fn pages(
        &mut self,
        manifest: &Manifest,
        first_page: u32,
        walk: &mut LogWalk,
        in_pages: &mut Queues<Intervals>,
    ) -> Result<(), Stopped> {
        let path = self.queue_dir().join(format!("{first_page:020}"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return self.found_unless_replaced(manifest, &path, &error.to_string()),
        };
        let end = first_page.saturating_add(manifest.file_pages).min(manifest.durable_end);
        let (mut next, mut chunk) = (first_page, Vec::new());
        while next < end {
            let count = PAGES_AT_ONCE.min(end - next);
            let at = u64::from(next - first_page) * PAGE_SIZE as u64;
            if let Err(error) = read_at(&file, at, count as usize * PAGE_SIZE, &mut chunk) {
                self.found_in_file(
                    Part::ConsumeQueue,
                    &path,
                    &format!("page {next} cannot be read: {error}"),
                )?;
                chunk.clear();
            }
            for number in next..next + count {
                let start = (number - next) as usize * PAGE_SIZE;
                let page = chunk
                    .get(start..(start + PAGE_SIZE).min(chunk.len()))
                    .unwrap_or_default();
                match Page::check(page, number, self.shard.get()) {
                    Ok(_) if page_is_blank(page) => {}
                    Ok(page) => self.page(number, page, walk, in_pages)?,
                    Err(reason) => {
                        let reason = format!("page {number} is damaged: {reason}");
                        self.found_in_file(Part::ConsumeQueue, &path, &reason)?;
                    }
                }
            }
            next += count;
        }
        Ok(())
    }

    /// A broker that is running may have deleted the file, and says so in a newer manifest.
    fn found_unless_replaced(&mut self, manifest: &Manifest, path: &Path, reason: &str) -> Result<(), Stopped> {
        let now = read_if_there(&self.queue_dir().join(Manifest::NAME))?;
        match now.and_then(|bytes| Manifest::decode(&bytes).ok()) {
            Some(now) if now.files != manifest.files => Ok(()),
            _ => self.found_in_file(Part::ConsumeQueue, path, reason),
        }
    }

    fn page(
        &mut self,
        number: u32,
        page: Page<'_>,
        walk: &mut LogWalk,
        in_pages: &mut Queues<Intervals>,
    ) -> Result<(), Stopped> {
        self.counts.pages += 1;
        for run in page.runs() {
            match &run.content {
                RunContent::Deleted { .. } => {
                    in_pages.remove(run.topic);
                }
                RunContent::Floor { .. } => {}
                RunContent::Entries(entries) => {
                    let end = run.queue_offset.saturating_add_unsigned(entries.len() as u64);
                    queue_mut(in_pages, run.topic, run.queue_id).add(run.queue_offset, end);
                    for (offset, entry) in (run.queue_offset..).zip(entries) {
                        self.entry(number, &run, (offset, entry), walk)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        page: u32,
        run: &PageRun<'_>,
        (offset, entry): (i64, &Entry),
        walk: &mut LogWalk,
    ) -> Result<(), Stopped> {
        let position = entry.position;
        let is_damaged = |range: &DamagedRange| (range.from..range.to).contains(&position);
        if position < self.counts.min || self.damage.iter().any(is_damaged) {
            return Ok(());
        }
        self.counts.entries += 1;
        let size = usize::try_from(entry.record_size).unwrap_or(usize::MAX);
        let agrees = if position >= self.counts.end {
            Err("the log ends before".to_owned())
        } else if size > engine::inspect::RECORD_SIZE_MAX {
            Err(format!("no record has {size} bytes"))
        } else {
            let found = walk.record_at(position, size);
            found.and_then(|(kind, bytes)| agree(kind, bytes, run, offset, entry))
        };
        let Err(reason) = agrees else { return Ok(()) };
        if walk.is_deleted(position)? {
            return Ok(());
        }
        let reason = format!(
            "page {page}, queue {} of topic {}, entry {offset} points to {position}: {reason}",
            run.queue_id, run.topic
        );
        self.found(Part::ConsumeQueue, None, reason)
    }
}

/// Whether an entry says of a record what the record is.
fn agree(kind: RecordKind, bytes: &[u8], run: &PageRun<'_>, offset: i64, entry: &Entry) -> Result<(), String> {
    if kind != RecordKind::Message {
        return Err("no message lies there".to_owned());
    }
    let record = RecordView::decode(bytes).map_err(|error| error.to_string())?;
    let (topic, queue_id, queue_offset) = (record.topic, record.queue_id.get(), record.queue_offset.0);
    if (topic, queue_id, queue_offset) != (run.topic, run.queue_id, offset) {
        return Err(format!(
            "the message there is number {queue_offset} of queue {queue_id} of topic {topic}"
        ));
    }
    // Entries of delayed messages hold the time of delivery instead.
    if topic != SCHEDULE_TOPIC && entry.tag_hash != tag_hash_of(&record) {
        return Err(format!(
            "its tag hash is {}, that of the message there {}",
            entry.tag_hash,
            tag_hash_of(&record)
        ));
    }
    Ok(())
}

/// The key index.
impl Verify<'_> {
    fn key_index(&mut self) -> Result<(), Stopped> {
        let directory = self.files.shard_dir(self.shard).join("index");
        let mut findings = Vec::new();
        self.counts.key_pages = key_pages::check(&directory, self.shard, &mut findings)?;
        for (path, reason) in findings {
            self.found_in_file(Part::KeyIndex, &path, &reason)?;
        }
        Ok(())
    }
}
