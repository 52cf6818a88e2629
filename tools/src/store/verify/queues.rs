//! The consume queues: their pages, and their entries against the log.

use super::super::entry_sums::{EntrySums, block_of};
use super::super::files::{read_at, read_if_there};
use super::super::findings::Part;
use super::super::intervals::Intervals;
use super::super::walk::{DamagedRange, LogWalk};
use super::{Queues, Stopped, Verify, queue_mut};
use engine::inspect::{Manifest, PAGE_SIZE, Page, PageRun, RecordKind, RunContent, decode_directory};
use engine::{Entry, tag_hash_of};
use protocol::message::record::RecordView;
use protocol::model::names::SCHEDULE_TOPIC;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

/// Pages read at once.
const PAGES_AT_ONCE: u32 = 256;

/// What the pages say of a queue.
#[derive(Debug, Default)]
struct PagesSeen {
    offsets: Intervals,
    sums: EntrySums,
}

/// The consume queues.
impl Verify<'_> {
    pub(super) fn consume_queues(&mut self, manifest: &Manifest, walk: &mut LogWalk) -> Result<(), Stopped> {
        let mut in_pages: Queues<PagesSeen> = BTreeMap::new();
        for &first_page in &manifest.files {
            self.directory(manifest, first_page)?;
            self.pages(manifest, first_page, true, &mut |verify, _, page| {
                verify.page(page, &mut in_pages);
                Ok(())
            })?;
        }
        self.entries_one_by_one(manifest, walk, &in_pages)?;
        for (topic, queues) in std::mem::take(&mut self.seen) {
            for (queue_id, queue) in queues {
                let nothing = PagesSeen::default();
                let there = in_pages.get(&topic).and_then(|queues| queues.get(&queue_id));
                for (from, to) in queue.in_pages.without(&there.unwrap_or(&nothing).offsets) {
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

    /// Looks up the entries of those blocks that do not have the same sum in the pages and in the log.
    fn entries_one_by_one(
        &mut self,
        manifest: &Manifest,
        walk: &mut LogWalk,
        in_pages: &Queues<PagesSeen>,
    ) -> Result<(), Stopped> {
        let nothing = EntrySums::default();
        let mut doubtful: Queues<BTreeSet<i64>> = BTreeMap::new();
        for (topic, queues) in in_pages {
            for (&queue_id, pages) in queues {
                let seen = self.seen.get(topic).and_then(|queues| queues.get(&queue_id));
                let differing = pages.sums.differing(seen.map_or(&nothing, |seen| &seen.sums));
                if !differing.is_empty() {
                    queue_mut(&mut doubtful, topic, queue_id).extend(differing);
                }
            }
        }
        if doubtful.is_empty() {
            return Ok(());
        }
        for &first_page in &manifest.files {
            self.pages(manifest, first_page, false, &mut |verify, number, page| {
                for run in page.runs() {
                    let RunContent::Entries(entries) = &run.content else {
                        continue;
                    };
                    let blocks = doubtful.get(run.topic).and_then(|queues| queues.get(&run.queue_id));
                    let Some(blocks) = blocks else { continue };
                    let numbered = (run.queue_offset..).zip(entries);
                    for (offset, entry) in numbered.filter(|(offset, _)| blocks.contains(&block_of(*offset))) {
                        verify.entry(number, &run, (offset, entry), walk)?;
                    }
                }
                Ok(())
            })?;
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
        tell: bool,
        visit: &mut dyn FnMut(&mut Self, u32, Page<'_>) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let path = self.queue_dir().join(format!("{first_page:020}"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if tell => return self.found_unless_replaced(manifest, &path, &error.to_string()),
            Err(_) => return Ok(()),
        };
        let end = first_page.saturating_add(manifest.file_pages).min(manifest.durable_end);
        let (mut next, mut chunk) = (first_page, Vec::new());
        while next < end {
            let count = PAGES_AT_ONCE.min(end - next);
            let at = u64::from(next - first_page) * PAGE_SIZE as u64;
            if let Err(error) = read_at(&file, at, count as usize * PAGE_SIZE, &mut chunk) {
                if tell {
                    let reason = format!("page {next} cannot be read: {error}");
                    self.found_in_file(Part::ConsumeQueue, &path, &reason)?;
                }
                chunk.clear();
            }
            for number in next..next + count {
                let start = (number - next) as usize * PAGE_SIZE;
                let page = chunk
                    .get(start..(start + PAGE_SIZE).min(chunk.len()))
                    .unwrap_or_default();
                match Page::check(page, number, self.shard.get()) {
                    Ok(page) => visit(self, number, page)?,
                    Err(_) if !tell => {}
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

    fn page(&mut self, page: Page<'_>, in_pages: &mut Queues<PagesSeen>) {
        self.counts.pages += 1;
        for run in page.runs() {
            match &run.content {
                RunContent::Deleted { .. } => {
                    in_pages.remove(run.topic);
                }
                RunContent::Floor { .. } => {}
                RunContent::Entries(entries) => {
                    let end = run.queue_offset.saturating_add_unsigned(entries.len() as u64);
                    let seen = queue_mut(in_pages, run.topic, run.queue_id);
                    let is_delayed = run.topic == SCHEDULE_TOPIC;
                    for (offset, entry) in (run.queue_offset..).zip(entries) {
                        // A page that was not full at a checkpoint is written again, further on: its entries count once.
                        if !self.is_kept(entry.position) || seen.offsets.contains(offset) {
                            continue;
                        }
                        self.counts.entries += 1;
                        let tag_hash = if is_delayed { 0 } else { entry.tag_hash };
                        seen.sums.add(offset, entry.position, entry.record_size, tag_hash);
                    }
                    seen.offsets.add(run.queue_offset, end);
                }
            }
        }
    }

    /// Whether the log has what lies there, as far as that is known.
    fn is_kept(&self, position: u64) -> bool {
        let is_damaged = |range: &DamagedRange| (range.from..range.to).contains(&position);
        position >= self.counts.min && !self.damage.iter().any(is_damaged)
    }

    fn entry(
        &mut self,
        page: u32,
        run: &PageRun<'_>,
        (offset, entry): (i64, &Entry),
        walk: &mut LogWalk,
    ) -> Result<(), Stopped> {
        let position = entry.position;
        if !self.is_kept(position) {
            return Ok(());
        }
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
