//! Cutting the consume queues where the commitlog was cut.
//!
//! Pages that hold an entry beyond the cut are emptied: what they hold below it moves to new pages first. Order: new pages,
//! sync, manifest; then directories of emptied files away, pages emptied, sync. After a crash in between, the old pages are
//! still named, `end_position` is still beyond the log's end, and the cut is done again.

use super::page::{self, Content};
use super::page_log::PageError;
use super::{ConsumeQueues, Entry, Packer, QueueSlot, State};
use crate::IndexError;
use crate::consume_queue::maintain::Floors;
use crate::consume_queue::page_log::remove_if_there;
use bytes::Bytes;
use runtime::file;
use std::collections::{BTreeMap, BTreeSet};

/// Pages to empty, and what is to be kept of them.
#[derive(Debug, Default)]
struct Emptied {
    pages: Vec<(u32, Bytes)>,
    /// What is there cannot be told, or tells of a deletion that did not happen.
    unusable: Option<String>,
}

impl ConsumeQueues {
    /// The commitlog ends at `log_end` now: removes the entries at and beyond it, durably. No append, feeding or reading may be
    /// under way. Returns the new `rebuilt_from`, from which records must be fed again.
    ///
    /// # Errors
    /// The file system refuses; the queues are not to be used then, and a start does it again.
    pub async fn truncate(&self, log_end: u64) -> Result<u64, IndexError> {
        let _turn = self.take_turn().await;
        self.log.write().await?;
        let files: Vec<u32> = {
            let files = self.log.files.borrow();
            // With all that follow, since what their directories vouch for moves behind them.
            let from_there = files
                .iter()
                .skip_while(|file| file.end_position <= log_end && file.rebuilt_from <= log_end);
            from_there.map(|file| file.first_page).collect()
        };
        let mut emptied = Emptied::default();
        for &first_page in &files {
            self.collect(first_page, log_end, &mut emptied).await?;
        }
        if let Some(reason) = &emptied.unusable {
            tracing::warn!(reason, log_end, "all consume queues are made again");
            return self.start_over(log_end).await;
        }
        self.state.borrow_mut().cut(log_end, &emptied.pages, &self.log);
        let rebuilt_from = self.log.rebuilt_from.get().min(log_end);
        for file in self.log.files.borrow_mut().iter_mut() {
            file.end_position = file.end_position.min(log_end);
            if files.first().is_some_and(|&first| file.first_page >= first) {
                file.rebuilt_from = 0;
            }
        }
        self.commit(rebuilt_from).await?;
        for &first_page in &files {
            remove_if_there(&self.log.directory_path(first_page)).await?;
        }
        file::sync_directory(&self.log.directory)
            .await
            .map_err(IndexError::io("sync", &self.log.directory))?;
        let pages: Vec<u32> = emptied.pages.iter().map(|(number, _)| *number).collect();
        self.log.empty(&pages).await?;
        for file in self.log.files.borrow_mut().iter_mut() {
            file.has_directory &= !files.contains(&file.first_page);
        }
        self.commit(rebuilt_from).await?;
        Ok(rebuilt_from)
    }

    async fn collect(&self, first_page: u32, log_end: u64, emptied: &mut Emptied) -> Result<(), IndexError> {
        let end = self.log.next_page();
        self.log
            .scan(first_page, end, |number, page| match page {
                Ok(page) if reaches_beyond(page, log_end) => {
                    if page::runs(page).any(|run| is_deletion_beyond(&run.content, log_end)) {
                        emptied.unusable = Some(format!("page {number} tells of a deletion beyond the log's end"));
                    }
                    emptied.pages.push((number, Bytes::copy_from_slice(page)));
                }
                Ok(_) => {}
                Err(PageError::Damaged { reason, .. }) => emptied.unusable = Some(reason),
                Err(PageError::Other(error)) => emptied.unusable = Some(error.to_string()),
            })
            .await
    }

    /// Throws everything away but the next offsets of queues without records. Queues of a topic whose deletion did not happen come back by
    /// feeding; their records alone know them until a checkpoint has written them.
    async fn start_over(&self, log_end: u64) -> Result<u64, IndexError> {
        let files: Vec<u32> = self.log.files.borrow().iter().map(|file| file.first_page).collect();
        self.log.set_next_page(self.log.next_file(self.log.next_page()));
        self.log.files.borrow_mut().clear();
        self.log.rebuilt_from.set(0);
        self.state.borrow_mut().start_over(log_end, &self.log);
        self.commit(0).await?;
        for first_page in files {
            self.log.remove(first_page).await?;
        }
        Ok(0)
    }
}

fn is_deletion_beyond(content: &Content<'_>, log_end: u64) -> bool {
    matches!(content, Content::Deleted { position } if *position >= log_end)
}

fn reaches_beyond(page: &[u8], log_end: u64) -> bool {
    page::runs(page).any(|run| match run.content {
        Content::Entries(entries) => entries.last().is_some_and(|last| last.position >= log_end),
        Content::Floor { position } => position > log_end,
        Content::Deleted { position } => position >= log_end,
    })
}

impl State {
    /// Cuts tails and runs, and stages again what the emptied pages had below the cut.
    fn cut(&mut self, log_end: u64, emptied: &[(u32, Bytes)], log: &super::PageLog) {
        let all = (0_u32..).zip(&self.queues);
        let filled: Vec<u32> = all
            .filter(|(_, queue)| queue.min < queue.max())
            .map(|(slot, _)| slot)
            .collect();
        for queue in &mut self.queues {
            let kept = queue.tail.partition_point(|entry| entry.position < log_end);
            queue.tail.truncate(kept);
            queue.tail_written = queue
                .tail_written
                .min(u16::try_from(kept).expect("a tail fits in a page"));
        }
        let mut packer = Packer::new();
        let mut ends: BTreeMap<u32, i64> = BTreeMap::new();
        for (number, page) in emptied {
            for run in page::runs(page) {
                let Some(slot) = self.slot(run.topic, run.queue_id) else {
                    continue;
                };
                let slot = QueueSlot(slot);
                let Content::Entries(entries) = run.content else {
                    continue;
                };
                for (first, kept, count) in self.take_runs(slot, *number, entries, log_end) {
                    if kept.len() < count {
                        let end = first + i64::try_from(kept.len()).unwrap_or(0);
                        ends.entry(slot.0)
                            .and_modify(|known| *known = end.min(*known))
                            .or_insert(end);
                    }
                    self.pack(&mut packer, slot, first, &kept, log);
                }
            }
        }
        self.finish(&mut packer, log);
        for (slot, end) in ends {
            let queue = self.queue_mut(QueueSlot(slot));
            if queue.tail.is_empty() {
                queue.tail_first = queue.tail_first.min(end);
            }
        }
        for queue in &mut self.queues {
            queue.settle_after_cut();
        }
        self.name_again(emptied, &filled, log_end, log);
    }

    /// Sees to it that kept pages name each queue. Where there are entries left, that is the page of the last ones; where there
    /// are none, or none since this cut, a floor. (Never a floor above entries: a start that has lost those would be misled.)
    fn name_again(&mut self, emptied: &[(u32, Bytes)], filled: &[u32], log_end: u64, log: &super::PageLog) {
        let emptied: BTreeSet<u32> = emptied.iter().map(|(number, _)| *number).collect();
        let mut needs_floor: BTreeSet<u32> = filled.iter().copied().collect();
        for (slot, queue) in (0_u32..).zip(&mut self.queues) {
            if queue.named_in.is_some_and(|page| emptied.contains(&page)) {
                queue.named_in = queue.runs.last().map(|run| run.page);
                needs_floor.insert(slot);
            }
        }
        let mut floors = Floors::new(log.shard, log_end);
        for slot in needs_floor {
            let queue = self.queue(QueueSlot(slot));
            if queue.exists && queue.min == queue.max() {
                floors.add(self, QueueSlot(slot), log);
            }
        }
        floors.finish(self, log);
    }

    /// Takes a queue's runs in a page away: for each the first queue offset, the entries below the cut, and how many it had.
    fn take_runs(
        &mut self,
        slot: QueueSlot,
        page: u32,
        entries: page::Entries<'_>,
        log_end: u64,
    ) -> Vec<(i64, Vec<Entry>, usize)> {
        let mut taken = Vec::new();
        self.queue_mut(slot).runs.retain(|run| {
            let part = (run.page == page).then(|| entries.part(run.at, run.count)).flatten();
            if let Some(part) = part {
                let kept = part.iter().take_while(|entry| entry.position < log_end).collect();
                taken.push((run.first, kept, part.len()));
            }
            part.is_none()
        });
        taken
    }

    fn start_over(&mut self, log_end: u64, log: &super::PageLog) {
        self.deletions.clear();
        let mut floors = Floors::new(log.shard, log_end);
        for topic in &mut self.topics {
            topic.deleted_below = 0;
        }
        for slot in 0..crate::index_file::count_u32(self.queues.len()) {
            let queue = self.queue_mut(QueueSlot(slot));
            // What lies below the cut is fed again; what went with the log before must not be forgotten.
            let (next, exists) = (queue.min, queue.exists);
            queue.delete();
            queue.exists = exists;
            if exists {
                queue.raise_max(next);
                floors.add(self, QueueSlot(slot), log);
            }
        }
        floors.finish(self, log);
    }
}
