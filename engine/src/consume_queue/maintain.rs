//! Work on the files of the consume queues while the shard runs: writing, checkpoints, dropping what the log dropped.

use super::directory::{Directory, DirectoryBuilder, MANIFEST_NAME, Manifest};
use super::page::PageBuilder;
use super::page_log::PageError;
use super::queue::{Queue, RunRef};
use super::{ConsumeQueues, Entries, Entry, Packer, PageLog, QueueSlot, State, entries_of};
use crate::IndexError;
use crate::index_file::count_u32;
use runtime::file;
use std::ops::Range;
use std::sync::Arc;

/// Queues looked at between two looks at other tasks.
const QUEUES_A_TURN: usize = 1024;

impl ConsumeQueues {
    pub(super) async fn take_turn(&self) -> impl Drop + '_ {
        self.turn.acquire().await.expect("the semaphore is never closed")
    }

    /// Writes the pages that wait, into the page cache. For a background task; others wait meanwhile.
    ///
    /// # Errors
    /// The file system refuses: the pages still wait, and can be written later.
    pub async fn write_pages(&self) -> Result<(), IndexError> {
        let _turn = self.take_turn().await;
        self.log.write().await
    }

    /// Makes durable what is needed so that no record below `target` has to be fed again, with the rest of the queues
    /// concerned. Every record below `indexed_to` must have been fed or appended. Returns the new `rebuilt_from`: at most
    /// `indexed_to`, at least `target` if that is not higher.
    ///
    /// # Errors
    /// The file system refuses: the old `rebuilt_from` still holds. [`IndexError::Fenced`] after a sync has failed.
    pub async fn checkpoint(&self, target: u64, indexed_to: u64) -> Result<u64, IndexError> {
        let _turn = self.take_turn().await;
        self.log.check_fence()?;
        self.log.check_numbers()?;
        let first_unwritten = self.stage_tails(target).await;
        let rebuilt_from = first_unwritten.min(indexed_to);
        self.commit(rebuilt_from).await?;
        Ok(rebuilt_from)
    }

    /// Stages the tails that begin below `target`, and lets go of idle ones. Returns the first position that is in no page.
    async fn stage_tails(&self, target: u64) -> u64 {
        let mut first_unwritten = u64::MAX;
        // From the back: queues that are listed meanwhile come after these, and hold nothing that is asked for here.
        let mut end = self.state.borrow().listed.len();
        while end > 0 {
            let start = end.saturating_sub(QUEUES_A_TURN);
            let first = self.state.borrow_mut().stage_some_tails(start..end, target, &self.log);
            first_unwritten = first_unwritten.min(first);
            end = start;
            runtime::yield_now().await;
        }
        self.state.borrow_mut().stage_deletions(&self.log);
        first_unwritten
    }

    /// Makes all that is staged durable, and then the manifest.
    pub(super) async fn commit(&self, rebuilt_from: u64) -> Result<(), IndexError> {
        let durable_end = self.log.next_page();
        self.log.write().await?;
        self.log.sync().await?;
        self.write_directories(durable_end).await?;
        let manifest = Manifest {
            shard: self.log.shard,
            file_pages: self.log.file_pages,
            durable_end,
            rebuilt_from,
            files: {
                let files = self.log.files.borrow();
                let named = files.iter().filter(|file| file.first_page < durable_end);
                named.map(|file| file.first_page).collect()
            },
        };
        let path = self.log.directory.join(MANIFEST_NAME);
        file::replace(&path, manifest.encode())
            .await
            .map_err(IndexError::io("replace", &path))?;
        self.log.rebuilt_from.set(rebuilt_from);
        Ok(())
    }

    async fn write_directories(&self, durable_end: u32) -> Result<(), IndexError> {
        let full: Vec<(u32, u64)> = {
            let files = self.log.files.borrow();
            let full = |first_page: u32| first_page + self.log.file_pages <= durable_end;
            let without = files.iter().filter(|file| !file.has_directory && full(file.first_page));
            without.map(|file| (file.first_page, file.rebuilt_from)).collect()
        };
        for (first_page, rebuilt_from) in full {
            let (directory, damaged) = self.read_directory(first_page, u32::MAX).await?;
            if let Some((page, reason)) = damaged {
                tracing::error!(page, reason, "a consume queue page was damaged as it was written");
                return Err(IndexError::DamagedPage {
                    path: self.log.path(first_page),
                    page: u64::from(page - first_page),
                    reason: "it does not read back as it was written; restart to make the index again",
                });
            }
            let path = self.log.directory_path(first_page);
            let bytes = Directory {
                rebuilt_from,
                ..directory
            }
            .encode(self.log.shard, first_page);
            file::replace(&path, bytes)
                .await
                .map_err(IndexError::io("replace", &path))?;
            let mut files = self.log.files.borrow_mut();
            if let Some(file) = files.iter_mut().find(|file| file.first_page == first_page) {
                file.has_directory = true;
            }
        }
        Ok(())
    }

    /// What the pages of a file say, and the first page that is damaged.
    pub(super) async fn read_directory(
        &self,
        first_page: u32,
        end: u32,
    ) -> Result<(Directory, Option<(u32, String)>), IndexError> {
        let mut builder = DirectoryBuilder::new();
        let mut damaged = None;
        self.log
            .scan(first_page, end, |number, page| match page {
                Ok(page) => builder.add_page(number - first_page, page),
                Err(PageError::Damaged { reason, .. }) => {
                    damaged.get_or_insert((number, reason));
                }
                Err(PageError::Other(error)) => {
                    damaged.get_or_insert((number, error.to_string()));
                }
            })
            .await?;
        Ok((builder.directory, damaged))
    }

    /// The commitlog begins at `log_min` now: moves min offsets to the first entry at or above it, and deletes files
    /// whose entries all lie below. A queue whose entries are all gone keeps its max offset. Returns how many files went.
    ///
    /// To be called before the log deletes its segments below `log_min`, and after a checkpoint has returned a `rebuilt_from` that
    /// is not below it: until then the next offset of a queue may be known from the log alone. A start does this by itself.
    ///
    /// # Errors
    /// The file system refuses; it can be called again.
    pub async fn drop_below(&self, log_min: u64) -> Result<usize, IndexError> {
        let _turn = self.take_turn().await;
        self.log.check_fence()?;
        self.log.check_numbers()?;
        self.raise_mins(log_min).await?;
        let droppable: Vec<u32> = {
            let files = self.log.files.borrow();
            let all_but_last = files.iter().take(files.len().saturating_sub(1));
            let below = all_but_last.take_while(|file| file.end_position <= log_min && file.created);
            below.map(|file| file.first_page).collect()
        };
        let Some(last) = droppable.last() else {
            if self.wants_write() {
                self.commit(self.log.rebuilt_from.get()).await?;
            }
            return Ok(0);
        };
        let kept_from = last + self.log.file_pages;
        self.stage_lost_floors(kept_from).await;
        let names = self.log.files.borrow().clone();
        self.log.files.borrow_mut().retain(|file| file.first_page >= kept_from);
        let committed = self.commit(self.log.rebuilt_from.get()).await;
        if let Err(error) = committed {
            // The manifest may still name them.
            let mut files = self.log.files.borrow_mut();
            for file in names.into_iter().rev().filter(|file| file.first_page < kept_from) {
                files.push_front(file);
            }
            return Err(error);
        }
        for first_page in &droppable {
            self.log.remove(*first_page).await?;
        }
        Ok(droppable.len())
    }

    /// Queues that have no entries left then get a floor at once, so that their next offset is in two places.
    pub(super) async fn raise_mins(&self, log_min: u64) -> Result<(), IndexError> {
        self.state.borrow_mut().log_min = log_min;
        let count = self.state.borrow().queues.len();
        let mut floors = self.floors();
        for start in (0..count).step_by(QUEUES_A_TURN) {
            let slots: Vec<u32> = {
                let state = self.state.borrow();
                let some = (0_u32..).zip(&state.queues).skip(start).take(QUEUES_A_TURN);
                some.filter(|(_, queue)| queue.min_position < log_min)
                    .map(|(slot, _)| slot)
                    .collect()
            };
            for &slot in &slots {
                self.raise_min(QueueSlot(slot), log_min).await?;
            }
            self.stage_floors(&mut floors, &slots, |queue| queue.min == queue.max());
            runtime::yield_now().await;
        }
        Ok(())
    }

    pub(super) async fn raise_min(&self, slot: QueueSlot, log_min: u64) -> Result<(), IndexError> {
        let (runs, in_tail, generation) = {
            let state = self.state.borrow();
            let queue = state.queue(slot);
            (
                self.runs_perhaps_above(queue, log_min),
                first_in_tail(queue, log_min),
                queue.generation,
            )
        };
        let found = match self.first_at_or_above(slot, &runs, log_min).await? {
            Some(found) => found,
            None => in_tail,
        };
        let mut state = self.state.borrow_mut();
        let queue = state.queue_mut(slot);
        if queue.generation == generation {
            let appended_meanwhile = found.0 < queue.max() && found.1 == u64::MAX;
            queue.raise_min(found.0, if appended_meanwhile { log_min } else { found.1 });
        }
        Ok(())
    }

    /// The runs in files that reach to `log_min`; the others lie below it.
    fn runs_perhaps_above(&self, queue: &Queue, log_min: u64) -> Vec<RunRef> {
        let above = queue
            .runs
            .iter()
            .position(|run| self.log.end_position_of(run.page) > log_min);
        above.map_or_else(Vec::new, |at| queue.runs[at..].to_vec())
    }

    /// Queue offset and position of the first entry at or above `log_min`, by bisection of the runs.
    async fn first_at_or_above(
        &self,
        slot: QueueSlot,
        runs: &[RunRef],
        log_min: u64,
    ) -> Result<Option<(i64, u64)>, IndexError> {
        let mut below = 0;
        let mut above = runs.len();
        while below < above {
            let middle = usize::midpoint(below, above);
            let mut edge = self.look(slot, runs[middle], |entries| entries.last()).await?;
            if let (None, Some(&next)) = (edge, runs.get(middle + 1)) {
                edge = self.look(slot, next, |entries| entries.first()).await?;
                edge = edge.filter(|first| first.position < log_min);
            }
            // A damaged run may reach to there, unless the one after it does not: reading it says what is missing.
            if edge.is_none_or(|edge| edge.position >= log_min) {
                above = middle;
            } else {
                below = middle + 1;
            }
        }
        let Some(&run) = runs.get(below) else { return Ok(None) };
        let found = self
            .look(slot, run, |entries| {
                let found = (run.first..)
                    .zip(entries.iter())
                    .find(|(_, entry)| entry.position >= log_min);
                found.map(|(queue_offset, entry)| (queue_offset, entry.position))
            })
            .await?;
        Ok(Some(found.unwrap_or((run.first, log_min))))
    }

    async fn look<T>(
        &self,
        slot: QueueSlot,
        run: RunRef,
        pick: impl FnOnce(Entries<'_>) -> Option<T>,
    ) -> Result<Option<T>, IndexError> {
        let (topic, queue_id) = self.name(slot);
        match self.log.page(run.page).await {
            Ok(page) => Ok(entries_of(&page, &topic, queue_id, run).and_then(pick)),
            Err(PageError::Damaged { .. }) => Ok(None),
            Err(PageError::Other(error)) => Err(error),
        }
    }

    fn floors(&self) -> Floors {
        Floors::new(
            self.log.shard,
            self.log.files.borrow().back().map_or(0, |file| file.end_position),
        )
    }

    /// Notes the next offset of each queue that no page from `kept_from` on names.
    async fn stage_lost_floors(&self, kept_from: u32) {
        let count = self.state.borrow().queues.len();
        let mut floors = self.floors();
        for start in (0..count).step_by(QUEUES_A_TURN) {
            let end = (start + QUEUES_A_TURN).min(count);
            let slots: Vec<u32> = (count_u32(start)..count_u32(end)).collect();
            self.stage_floors(&mut floors, &slots, |queue| {
                queue.named_in.is_none_or(|page| page < kept_from)
            });
            runtime::yield_now().await;
        }
    }

    fn stage_floors(&self, floors: &mut Floors, slots: &[u32], needs_one: impl Fn(&Queue) -> bool) {
        let mut state = self.state.borrow_mut();
        state.stage_deletions(&self.log);
        for &slot in slots {
            let queue = state.queue(QueueSlot(slot));
            if queue.exists && needs_one(queue) {
                floors.add(&mut state, QueueSlot(slot), &self.log);
            }
        }
        floors.finish(&mut state, &self.log);
    }
}

impl State {
    fn stage_some_tails(&mut self, listed: Range<usize>, target: u64, log: &PageLog) -> u64 {
        let mut first_unwritten = u64::MAX;
        let mut packer = Packer::new();
        for index in listed.clone() {
            let slot = QueueSlot(self.listed[index]);
            let (first, unwritten) = self.queue(slot).unwritten();
            let Some(position) = unwritten.first().map(|entry| entry.position) else {
                continue;
            };
            if position >= target {
                first_unwritten = first_unwritten.min(position);
                continue;
            }
            let entries = unwritten.to_vec();
            self.pack(&mut packer, slot, first, &entries, log);
            let queue = self.queue_mut(slot);
            queue.tail_written = u16::try_from(queue.tail.len()).expect("a tail fits in a page");
        }
        // The runs must be known before a tail goes.
        self.finish(&mut packer, log);
        for index in listed.rev() {
            let queue = &mut self.queues[self.listed[index] as usize];
            queue.listed = keeps_tail(queue);
            if !queue.listed {
                self.listed.swap_remove(index);
            }
        }
        first_unwritten
    }
}

/// Collects floors into pages. Nothing else tells the next offset of a queue without entries, so each page is twice
/// in its file.
#[derive(Debug)]
pub(super) struct Floors {
    builder: PageBuilder,
    slots: Vec<QueueSlot>,
    shard: u8,
    /// Where the log was when they were written: they go when the log has gone that far.
    position: u64,
}

impl Floors {
    pub(super) fn new(shard: u8, position: u64) -> Floors {
        Floors {
            builder: PageBuilder::new(shard),
            slots: Vec::new(),
            shard,
            position,
        }
    }

    pub(super) fn add(&mut self, state: &mut State, slot: QueueSlot, log: &PageLog) {
        // Entries that are in no page yet are fed again after a start, if the log still has them then.
        let (next, _) = state.queue(slot).unwritten();
        if next == 0 {
            return;
        }
        let queue_id = state.queue(slot).queue_id;
        let topic = Arc::clone(&state.topic(state.queue(slot).topic).name);
        if !self.builder.push_floor(&topic, queue_id, next, self.position) {
            self.finish(state, log);
            let fits = self.builder.push_floor(&topic, queue_id, next, self.position);
            assert!(fits, "a topic fits in an empty page");
        }
        self.slots.push(slot);
    }

    pub(super) fn finish(&mut self, state: &mut State, log: &PageLog) {
        if self.builder.is_empty() {
            return;
        }
        let builder = std::mem::replace(&mut self.builder, PageBuilder::new(self.shard));
        log.stage(builder.clone());
        let mut page = log.stage(builder.clone());
        if log.next_file(page) == page {
            // It begins a new file, and outlives the one before.
            page = log.stage(builder);
        }
        for slot in self.slots.drain(..) {
            state.queue_mut(slot).named_in = Some(page);
        }
    }
}

fn keeps_tail(queue: &mut Queue) -> bool {
    let idle = !queue.touched && queue.unwritten().1.is_empty();
    queue.touched = false;
    if idle {
        queue.release_tail();
    }
    !idle && !queue.tail.is_empty()
}

fn first_in_tail(queue: &Queue, log_min: u64) -> (i64, u64) {
    let index = queue.tail.partition_point(|entry| entry.position < log_min);
    let queue_offset = queue.tail_first + i64::try_from(index).unwrap_or(0);
    let position = queue.tail.get(index).map_or(u64::MAX, |entry: &Entry| entry.position);
    (queue_offset, position)
}
