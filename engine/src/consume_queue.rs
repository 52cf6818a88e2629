//! Consume queues of one shard: where each message of each queue lies in the shard's commitlog.
//!
//! Entries gather in memory, in the tail of their queue. A full tail becomes a page of the page log (see `page` for the format);
//! a checkpoint writes what would otherwise have to be fed again after a start, many tails to a page. What a page holds is
//! never looked for on disk: each queue knows its runs of entries (see `queue`), and a start reads that from the manifest and
//! the directories (see `directory`).
//!
//! All of this is made from the commitlog and can be made again. Order of events, so that a crash at any moment costs nothing:
//! 1. pages are written and synced;
//! 2. directories of files that are full now;
//! 3. the manifest, with the new durable end and "rebuilt from", the position from which records are fed again after a start;
//! 4. only then files are deleted that the manifest no longer names.
//!
//! No borrow is held over an await; work on files takes turns (`turn`), appends and reads go on meanwhile.

mod directory;
pub(crate) mod inspect;
mod maintain;
mod open;
mod page;
mod page_log;
mod queue;
mod truncate;

use crate::IndexError;
use maintain::Floors;
use page::{Content, Entries, PageBuilder};
use page_log::{PageError, PageLog};
use queue::{Place, Queue, RunRef};
use runtime::collections::{HashMap, hash_map};
use runtime::sync::Semaphore;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Handle of a queue in this shard, dense from 0; valid until the shard is closed, also when the topic is deleted and made
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueSlot(pub(crate) u32);

impl QueueSlot {
    /// The number, to find a queue's place in a table of one's own.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where one message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Byte position in this shard's commitlog, below 2^56.
    pub position: u64,
    /// Bytes of the record.
    pub record_size: u32,
    /// Hash of its tag; in the schedule topic the time of delivery.
    pub tag_hash: i64,
}

/// Entries of a queue that its pages do not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The queue.
    pub slot: QueueSlot,
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub queue_id: u32,
    /// The queue offsets that are missing.
    pub queue_offsets: Range<i64>,
    /// Their records start within these positions of the commitlog; the end is `u64::MAX` when it is not known.
    pub positions: Range<u64>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "queue {} of topic {} has no entries {}..{}: {}",
            self.queue_id, self.topic, self.queue_offsets.start, self.queue_offsets.end, self.reason
        )
    }
}

/// What became of an entry that recovery fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It was the next one, or was missing.
    Added,
    /// It was there, and equal.
    AlreadyThere,
    /// The topic was deleted after this record was written, or the queue's min offset lies above it.
    NotWanted,
    /// It is added, but the entries before it never came.
    AddedAfterGap {
        /// Queue offsets without an entry.
        missing: Range<i64>,
    },
    /// There was another entry with this queue offset. The commitlog is right, so the new one is in its place now.
    Replaced {
        /// The entry that was there.
        old: Entry,
    },
}

/// How the consume queues of a shard are kept.
#[derive(Clone, Debug)]
pub struct ConsumeQueueOptions {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The shard, below 128.
    pub shard: u8,
    /// 4 KiB pages a file, for new files; a store keeps the number it began with. 4096 is good.
    pub file_pages: u32,
    /// Bytes of pages kept in memory for readers.
    pub cache_bytes: usize,
}

/// Consume queues as opened.
#[derive(Debug)]
pub struct OpenedConsumeQueues {
    /// The queues.
    pub queues: ConsumeQueues,
    /// Every record of the commitlog from this position on must be fed again, in order, before appends begin. It may lie below
    /// the begin of the commitlog.
    pub rebuilt_from: u64,
    /// Nothing in here is of a record at or beyond this position. When the recovered commitlog ends below it,
    /// [`ConsumeQueues::truncate`] must be called before feeding.
    pub end_position: u64,
    /// What was damaged and is made again by feeding; to be logged.
    pub reports: Vec<String>,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumeQueueStats {
    /// Queues that are there.
    pub queues: usize,
    /// Bytes of pages that wait for [`ConsumeQueues::write_pages`].
    pub unwritten_bytes: usize,
    /// Bytes of pages kept for readers.
    pub cache_bytes: usize,
    /// Files of pages.
    pub files: usize,
}

/// The consume queues of one shard. All methods take `&self`; no borrow outlives a call.
#[derive(Debug)]
pub struct ConsumeQueues {
    log: PageLog,
    state: RefCell<State>,
    /// Held by whoever writes, syncs or deletes files.
    turn: Semaphore,
}

#[derive(Debug)]
struct State {
    topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, u32>,
    queues: Vec<Queue>,
    queue_count: usize,
    /// Slots of the queues with a tail.
    listed: Vec<u32>,
    /// Topics that were deleted, to be staged before anything else is.
    deletions: Vec<(Arc<str>, u64)>,
    /// Where the commitlog begins.
    log_min: u64,
    /// Where queues begin that are made from now on.
    first_offset: i64,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    queues: QueueIds,
    /// Records below this position are of an earlier topic of this name.
    deleted_below: u64,
}

/// Slots of a topic's queues by queue id.
#[derive(Debug)]
enum QueueIds {
    /// Sorted by queue id.
    Few(Vec<(u32, u32)>),
    Many(HashMap<u32, u32>),
}

/// From here on a sorted list is too slow to insert into.
const FEW_QUEUES_MAX: usize = 256;

impl QueueIds {
    fn get(&self, queue_id: u32) -> Option<u32> {
        match self {
            QueueIds::Few(queues) => {
                // Queues are mostly numbered from 0 on without gaps.
                let guess = queues.get(queue_id as usize).filter(|(id, _)| *id == queue_id);
                let found = guess.or_else(|| {
                    let at = queues.binary_search_by_key(&queue_id, |(id, _)| *id).ok()?;
                    queues.get(at)
                });
                found.map(|(_, slot)| *slot)
            }
            QueueIds::Many(queues) => queues.get(&queue_id).copied(),
        }
    }

    fn insert(&mut self, queue_id: u32, slot: u32) {
        match self {
            QueueIds::Few(queues) if queues.len() < FEW_QUEUES_MAX => {
                if queues.is_empty() {
                    queues.reserve_exact(1);
                }
                let at = queues.partition_point(|(id, _)| *id < queue_id);
                queues.insert(at, (queue_id, slot));
            }
            QueueIds::Few(queues) => {
                let mut many = hash_map();
                many.extend(queues.drain(..));
                many.insert(queue_id, slot);
                *self = QueueIds::Many(many);
            }
            QueueIds::Many(queues) => {
                queues.insert(queue_id, slot);
            }
        }
    }

    fn slots(&self) -> Vec<u32> {
        match self {
            QueueIds::Few(queues) => queues.iter().map(|(_, slot)| *slot).collect(),
            QueueIds::Many(queues) => queues.values().copied().collect(),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            QueueIds::Few(queues) => queues.capacity() * size_of::<(u32, u32)>(),
            QueueIds::Many(queues) => queues.capacity() * (size_of::<(u32, u32)>() + 1),
        }
    }
}

impl ConsumeQueues {
    /// The queue, made if it is not there: one hash look-up, two in a topic of very many queues.
    ///
    /// # Errors
    /// [`IndexError::TopicTooLong`]; [`IndexError::UsedUp`] at 2^32 queues.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Result<QueueSlot, IndexError> {
        let mut state = self.state.borrow_mut();
        if let Some(slot) = state.slot(topic, queue_id) {
            state.revive(slot);
            return Ok(QueueSlot(slot));
        }
        state.make(topic, queue_id, &self.log).map(QueueSlot)
    }

    /// The queue, if it is there.
    #[must_use]
    pub fn find(&self, topic: &str, queue_id: u32) -> Option<QueueSlot> {
        let state = self.state.borrow();
        let slot = state.slot(topic, queue_id)?;
        state.get(slot)?.exists.then_some(QueueSlot(slot))
    }

    /// Topic and queue id.
    ///
    /// # Panics
    /// When the slot is not of this shard.
    #[must_use]
    pub fn name(&self, slot: QueueSlot) -> (Arc<str>, u32) {
        let state = self.state.borrow();
        let queue = state.queue(slot);
        (Arc::clone(&state.topic(queue.topic).name), queue.queue_id)
    }

    /// First kept queue offset (min) and next queue offset (max).
    ///
    /// # Panics
    /// When the slot is not of this shard.
    #[must_use]
    pub fn bounds(&self, slot: QueueSlot) -> Range<i64> {
        let state = self.state.borrow();
        let queue = state.queue(slot);
        queue.min..queue.max()
    }

    /// Visits every queue that is there, with its bounds. `visit` must not call back.
    pub fn for_each(&self, mut visit: impl FnMut(QueueSlot, &Arc<str>, u32, Range<i64>)) {
        let state = self.state.borrow();
        for (slot, queue) in (0_u32..).zip(&state.queues).filter(|(_, queue)| queue.exists) {
            let topic = &state.topic(queue.topic).name;
            visit(QueueSlot(slot), topic, queue.queue_id, queue.min..queue.max());
        }
    }

    /// Adds the next entry of a queue. No I/O.
    ///
    /// # Errors
    /// [`IndexError::NotNext`]: nothing was added; [`IndexError::UsedUp`] at 2^32 pages.
    ///
    /// # Panics
    /// When the slot is not of this shard.
    pub fn append(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Result<(), IndexError> {
        let mut state = self.state.borrow_mut();
        let queue = state.queue(slot);
        if queue_offset != queue.max() || !queue.exists {
            return Err(IndexError::NotNext {
                topic: state.topic(queue.topic).name.to_string(),
                queue_id: queue.queue_id,
                expected: queue.max(),
                found: queue_offset,
            });
        }
        self.log.check_numbers()?;
        state.push(slot, entry, &self.log);
        Ok(())
    }

    /// Recovery: adds an entry of a record of the commitlog, which may be there already.
    ///
    /// # Errors
    /// As [`ConsumeQueues::queue`], and when a page must be read for comparison and the file system refuses.
    pub async fn feed(&self, topic: &str, queue_id: u32, queue_offset: i64, entry: Entry) -> Result<Fed, IndexError> {
        let Some(slot) = self.feed_in_memory(topic, queue_id, entry)? else {
            return Ok(Fed::NotWanted);
        };
        let bounds = self.bounds(slot);
        if queue_offset < bounds.start {
            return Ok(self.feed_below(slot, queue_offset, entry));
        }
        if queue_offset >= bounds.end {
            return Ok(self.feed_next(slot, queue_offset, entry));
        }
        let mut found = Vec::with_capacity(1);
        match self.entries(slot, queue_offset, 1, &mut found).await {
            Ok(_) if found.first() == Some(&entry) => return Ok(Fed::AlreadyThere),
            Ok(_) | Err(IndexError::Hole(_)) => {}
            Err(error) => return Err(error),
        }
        self.state.borrow_mut().patch(slot, queue_offset, entry, &self.log);
        Ok(found.first().map_or(Fed::Added, |&old| Fed::Replaced { old }))
    }

    /// Adds the entry of a message whose predecessors are not there: they were in a part of the log that is gone.
    ///
    /// # Errors
    /// [`IndexError::UsedUp`], and [`IndexError::NotNext`] when the queue has got so far already.
    pub fn append_after_gap(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Result<(), IndexError> {
        self.log.check_numbers()?;
        if queue_offset <= self.bounds(slot).end {
            return self.append(slot, queue_offset, entry);
        }
        if let Fed::AddedAfterGap { missing } = self.feed_next(slot, queue_offset, entry) {
            let (topic, queue_id) = self.name(slot);
            tracing::warn!(%topic, queue_id, ?missing, "a copied queue misses messages");
        }
        Ok(())
    }

    /// A queue without entries goes on at `next`, as of `position` of the log, durably with the next checkpoint; not one with entries, or one
    /// that is further. The metadata record at `position` says so until then.
    ///
    /// # Errors
    /// As [`ConsumeQueues::queue`].
    pub fn begin_empty(&self, topic: &str, queue_id: u32, next: i64, position: u64) -> Result<(), IndexError> {
        self.log.check_numbers()?;
        let slot = self.queue(topic, queue_id)?;
        let mut state = self.state.borrow_mut();
        let queue = state.queue_mut(slot);
        if !queue.is_empty() || next <= queue.max() {
            return Ok(());
        }
        queue.raise_max(next);
        let mut floors = Floors::new(self.log.shard, position);
        floors.add(&mut state, slot, &self.log);
        floors.finish(&mut state, &self.log);
        Ok(())
    }

    /// Recovery: queues that nothing is known of begin here from now on, since damage may have held their messages.
    pub fn set_first_offset(&self, first_offset: i64) {
        self.state.borrow_mut().first_offset = first_offset;
    }

    /// Recovery, when all is fed: the next message of each queue gets an offset that is higher by what `lost` says, durably
    /// with the next checkpoint. The log ends at `log_end`. Returns how many queues it concerned.
    pub fn skip_offsets(&self, log_end: u64, lost: impl Fn(QueueSlot) -> i64) -> usize {
        let mut state = self.state.borrow_mut();
        let mut floors = Floors::new(self.log.shard, log_end);
        let mut concerned = 0;
        for slot in (0..crate::index_file::count_u32(state.queues.len())).map(QueueSlot) {
            let lost = lost(slot);
            if lost == 0 || !state.queue(slot).exists {
                continue;
            }
            state.write_tail(slot, &self.log);
            let next = state.queue(slot).max().saturating_add(lost);
            state.queue_mut(slot).raise_max(next);
            floors.add(&mut state, slot, &self.log);
            concerned += 1;
        }
        floors.finish(&mut state, &self.log);
        concerned
    }

    /// Adds the entry of a message of another log where this one had skipped offsets behind damage: the other log is right.
    ///
    /// # Errors
    /// [`IndexError::UsedUp`], and [`IndexError::NotNext`] when there are entries from this offset on.
    pub fn append_in_skipped(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Result<(), IndexError> {
        {
            let mut state = self.state.borrow_mut();
            let queue = state.queue_mut(slot);
            let known_end = queue.runs.last().map_or(0, |run| run.end());
            if queue.tail.is_empty() && (known_end..queue.tail_first).contains(&queue_offset) {
                queue.tail_first = queue_offset;
                if queue.runs.is_empty() {
                    queue.min = queue_offset;
                }
            }
        }
        self.append(slot, queue_offset, entry)
    }

    fn feed_in_memory(&self, topic: &str, queue_id: u32, entry: Entry) -> Result<Option<QueueSlot>, IndexError> {
        self.log.check_numbers()?;
        let deleted_below = {
            let state = self.state.borrow();
            let index = state.by_name.get(topic);
            index.map_or(0, |&index| state.topic(index).deleted_below)
        };
        if entry.position < deleted_below {
            return Ok(None);
        }
        self.queue(topic, queue_id).map(Some)
    }

    /// After damage, the next offset of a queue without entries may be a guess that is too high: what the log has is right.
    fn feed_below(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Fed {
        let mut state = self.state.borrow_mut();
        if queue_offset < 0 || entry.position < state.log_min || !state.queue(slot).is_empty() {
            return Fed::NotWanted;
        }
        let queue = state.queue_mut(slot);
        queue.min = queue_offset;
        queue.tail_first = queue_offset;
        state.push(slot, entry, &self.log);
        Fed::Added
    }

    fn feed_next(&self, slot: QueueSlot, queue_offset: i64, entry: Entry) -> Fed {
        let mut state = self.state.borrow_mut();
        let next = state.queue(slot).max();
        if queue_offset == next {
            state.push(slot, entry, &self.log);
            return Fed::Added;
        }
        state.write_tail(slot, &self.log);
        let queue = state.queue_mut(slot);
        let is_empty = queue.min == next;
        if is_empty {
            // Its older entries went with the log's older segments.
            queue.min = queue_offset;
        }
        queue.tail_first = queue_offset;
        state.push(slot, entry, &self.log);
        if is_empty {
            Fed::Added
        } else {
            Fed::AddedAfterGap {
                missing: next..queue_offset,
            }
        }
    }

    /// Pushes entries from queue offset `from` on to `out`, as far as they are in memory, at most `count_max`. Returns how
    /// many; 0 when a page must be read for the first, or the queue has none there.
    pub fn entries_hot(&self, slot: QueueSlot, from: i64, count_max: usize, out: &mut Vec<Entry>) -> usize {
        let state = self.state.borrow();
        let Some(queue) = state.get(slot.0) else { return 0 };
        let topic = &state.topic(queue.topic).name;
        let before = out.len();
        let mut next = from;
        while out.len() - before < count_max {
            let wanted = count_max - (out.len() - before);
            let count = match queue.find(next) {
                Place::Tail(index) => push_tail(queue, index, wanted, out),
                Place::Run(run) => {
                    let page = self.log.page_in_memory(run.page);
                    page.map_or(0, |page| push_run(&page, topic, queue.queue_id, run, wanted, out))
                }
                Place::Hole { .. } | Place::Outside => 0,
            };
            if count == 0 {
                break;
            }
            next += i64::try_from(count).unwrap_or(0);
        }
        out.len() - before
    }

    /// Pushes entries from queue offset `from` on to `out`, at most `count_max`; reads pages where it must. Returns how many:
    /// fewer where the queue ends or before a hole, 0 when `from` lies outside of the queue's bounds.
    ///
    /// # Errors
    /// [`IndexError::Hole`] when the entry at `from` is missing or its page is damaged; or the file system refuses.
    pub async fn entries(
        &self,
        slot: QueueSlot,
        from: i64,
        count_max: usize,
        out: &mut Vec<Entry>,
    ) -> Result<usize, IndexError> {
        let before = out.len();
        while out.len() - before < count_max {
            let done = out.len() - before;
            let next = from + i64::try_from(done).unwrap_or(0);
            if self.entries_hot(slot, next, count_max - done, out) > 0 {
                continue;
            }
            let place = self.state.borrow().queue(slot).find(next);
            match place {
                Place::Outside => break,
                Place::Tail(_) => unreachable!("a tail is in memory"),
                Place::Hole { .. } if done > 0 => break,
                Place::Hole { first, end } => {
                    let reason = "they never came";
                    return Err(IndexError::Hole(self.hole(slot, first..end, reason.to_owned()).await));
                }
                Place::Run(run) => {
                    let (topic, queue_id) = self.name(slot);
                    let reason = match self.log.page(run.page).await {
                        Ok(page) if push_run(&page, &topic, queue_id, run, count_max - done, out) > 0 => continue,
                        Ok(_) => format!("page {} holds something else", run.page),
                        Err(PageError::Damaged { path, reason }) => format!("{}: {reason}", path.display()),
                        Err(PageError::Other(error)) => return Err(error),
                    };
                    // While the page was read its file may have been dropped, with the queue's entries in it.
                    let unchanged = self.state.borrow().queue(slot).find(next) == place;
                    if unchanged && done > 0 {
                        break;
                    } else if unchanged {
                        return Err(IndexError::Hole(self.hole(slot, run.first..run.end(), reason).await));
                    }
                }
            }
        }
        Ok(out.len() - before)
    }

    /// The hole at these queue offsets, with the bounds of where its records are.
    async fn hole(&self, slot: QueueSlot, queue_offsets: Range<i64>, reason: String) -> Hole {
        let (topic, queue_id) = self.name(slot);
        let (before, after, first_of_tail, min_position) = {
            let state = self.state.borrow();
            let queue = state.queue(slot);
            let (before, after) = queue.neighbours(&queue_offsets);
            (before, after, queue.tail.first().copied(), queue.min_position)
        };
        let mut positions = 0..u64::MAX;
        if let Some(last) = self.edge(before, &topic, queue_id, |entries| entries.last()).await {
            positions.start = last.position.saturating_add(u64::from(last.record_size));
        } else if min_position != u64::MAX {
            positions.start = min_position;
        }
        let first_after = match after {
            Some(_) => self.edge(after, &topic, queue_id, |entries| entries.first()).await,
            None => first_of_tail,
        };
        if let Some(first) = first_after {
            positions.end = first.position;
        }
        Hole {
            slot,
            topic: topic.to_string(),
            queue_id,
            queue_offsets,
            positions,
            reason,
        }
    }

    async fn edge(
        &self,
        run: Option<RunRef>,
        topic: &str,
        queue_id: u32,
        pick: impl Fn(Entries<'_>) -> Option<Entry>,
    ) -> Option<Entry> {
        let run = run?;
        let page = self.log.page(run.page).await.ok()?;
        pick(entries_of(&page, topic, queue_id, run)?)
    }

    /// Puts entries of a hole in place: all that were found in the log, sorted by queue offset. Others are ignored. When the
    /// hole is at the begin of the queue and its first entries were not found, they went with the log, and the min offset
    /// moves up, also over entries behind the hole whose messages went with the log. Elsewhere, what was not found stays missing: readers
    /// go on behind it.
    ///
    /// # Errors
    /// [`IndexError::UsedUp`] at 2^32 pages; or the file system refuses.
    pub async fn fill(&self, hole: &Hole, entries: &[(i64, Entry)]) -> Result<(), IndexError> {
        self.log.check_numbers()?;
        self.put_in_place(hole, entries);
        let (log_min, min_position) = {
            let state = self.state.borrow();
            (state.log_min, state.queue(hole.slot).min_position)
        };
        if min_position < log_min {
            self.raise_min(hole.slot, log_min).await?;
        }
        Ok(())
    }

    fn put_in_place(&self, hole: &Hole, entries: &[(i64, Entry)]) {
        let mut state = self.state.borrow_mut();
        let queue = state.queue(hole.slot);
        let wanted = hole.queue_offsets.start.max(queue.min)..hole.queue_offsets.end.min(queue.tail_first);
        let entries: Vec<(i64, Entry)> = entries
            .iter()
            .copied()
            .filter(|(queue_offset, _)| wanted.contains(queue_offset))
            .collect();
        let mut packer = Packer::new();
        for run in entries.chunk_by(|(before, _), (after, _)| before.checked_add(1) == Some(*after)) {
            let Some(&(first, _)) = run.first() else { continue };
            let run: Vec<Entry> = run.iter().map(|(_, entry)| *entry).collect();
            state.pack(&mut packer, hole.slot, first, &run, &self.log);
        }
        state.finish(&mut packer, &self.log);
        let queue = state.queue_mut(hole.slot);
        if hole.queue_offsets.start <= queue.min {
            let (min, min_position) = entries
                .first()
                .map_or((wanted.end, hole.positions.end), |(queue_offset, entry)| {
                    (*queue_offset, entry.position)
                });
            queue.raise_min(min, min_position);
        }
    }

    /// Deletes the queues of a topic as of `position`, in memory: entries of records below it do not come back by feeding.
    /// The deletion itself must be a metadata record of the commitlog, at `position`; recovery calls this again, in order, when
    /// it walks over that record. If a crash takes that record away, all queues are fed again, which undoes the deletion.
    /// Queues made later start at offset 0.
    pub fn delete_topic(&self, topic: &str, position: u64) {
        let mut state = self.state.borrow_mut();
        let Some(&index) = state.by_name.get(topic) else { return };
        if state.topic(index).deleted_below >= position {
            return;
        }
        state.forget_topic(index, position);
        let name = Arc::clone(&state.topic(index).name);
        state.deletions.push((name, position));
    }

    /// Whether pages wait for [`ConsumeQueues::write_pages`].
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.log.staged_bytes() > 0
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> ConsumeQueueStats {
        ConsumeQueueStats {
            queues: self.state.borrow().queue_count,
            unwritten_bytes: self.log.staged_bytes(),
            cache_bytes: self.log.cache_bytes(),
            files: self.log.files.borrow().len(),
        }
    }

    /// Bytes of memory that the queues take, without the cache. Walks all queues, so not for every second.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let state = self.state.borrow();
        let queues: usize = state.queues.iter().map(Queue::memory_bytes).sum();
        let topics: usize = state
            .topics
            .iter()
            .map(|topic| size_of::<Topic>() + topic.name.len() + 16 + topic.queues.memory_bytes())
            .sum();
        queues + topics + state.by_name.capacity() * (size_of::<(Arc<str>, u32)>() + 1)
    }
}

fn push_tail(queue: &Queue, index: usize, wanted: usize, out: &mut Vec<Entry>) -> usize {
    let entries = queue.tail.get(index..).unwrap_or_default();
    let entries = &entries[..entries.len().min(wanted)];
    out.extend_from_slice(entries);
    entries.len()
}

fn push_run(page: &[u8], topic: &str, queue_id: u32, run: RunRef, wanted: usize, out: &mut Vec<Entry>) -> usize {
    let Some(entries) = entries_of(page, topic, queue_id, run) else {
        return 0;
    };
    let before = out.len();
    out.extend(entries.iter().take(wanted));
    out.len() - before
}

/// The entries of a run, if the page has this run of this queue. It has another one when a write to the page was lost that the
/// disk said it had done, and older, once valid bytes are still there.
fn entries_of<'a>(page: &'a [u8], topic: &str, queue_id: u32, run: RunRef) -> Option<Entries<'a>> {
    page::runs(page).find_map(|found| {
        let Content::Entries(entries) = found.content else {
            return None;
        };
        let part = entries.part(run.at, run.count)?;
        let skipped = i64::from(run.at - entries.at) / i64::try_from(page::ENTRY_SIZE).ok()?;
        let is_it = found.queue_id == queue_id && found.topic == topic && found.queue_offset + skipped == run.first;
        is_it.then_some(part)
    })
}

/// Puts runs of several queues into shared pages.
#[derive(Debug)]
struct Packer {
    builder: Option<PageBuilder>,
    runs: Vec<(QueueSlot, RunRef)>,
}

impl Packer {
    fn new() -> Packer {
        Packer {
            builder: None,
            runs: Vec::new(),
        }
    }
}

impl State {
    fn new() -> State {
        State {
            topics: Vec::new(),
            by_name: hash_map(),
            queues: Vec::new(),
            queue_count: 0,
            listed: Vec::new(),
            deletions: Vec::new(),
            log_min: 0,
            first_offset: 0,
        }
    }

    fn get(&self, slot: u32) -> Option<&Queue> {
        self.queues.get(slot as usize)
    }

    fn queue(&self, slot: QueueSlot) -> &Queue {
        &self.queues[slot.index()]
    }

    fn queue_mut(&mut self, slot: QueueSlot) -> &mut Queue {
        &mut self.queues[slot.index()]
    }

    fn topic(&self, topic: u32) -> &Topic {
        &self.topics[topic as usize]
    }

    fn slot(&self, topic: &str, queue_id: u32) -> Option<u32> {
        self.topic(*self.by_name.get(topic)?).queues.get(queue_id)
    }

    fn revive(&mut self, slot: u32) {
        let queue = &mut self.queues[slot as usize];
        if !queue.exists {
            queue.exists = true;
            self.queue_count += 1;
        }
    }

    fn make(&mut self, topic: &str, queue_id: u32, log: &PageLog) -> Result<u32, IndexError> {
        let slot = u32::try_from(self.queues.len()).map_err(|_error| IndexError::UsedUp {
            what: "queue slots",
            directory: log.directory.clone(),
            limit: u64::from(u32::MAX),
        })?;
        let topic = self.intern(topic)?;
        self.topics[topic as usize].queues.insert(queue_id, slot);
        let mut queue = Queue::new(topic, queue_id);
        queue.raise_max(self.first_offset);
        self.queues.push(queue);
        self.queue_count += 1;
        Ok(slot)
    }

    fn intern(&mut self, topic: &str) -> Result<u32, IndexError> {
        if let Some(&index) = self.by_name.get(topic) {
            return Ok(index);
        }
        if topic.len() > page::TOPIC_LENGTH_MAX {
            return Err(IndexError::TopicTooLong {
                length: topic.len(),
                length_max: page::TOPIC_LENGTH_MAX,
            });
        }
        let name: Arc<str> = Arc::from(topic);
        let index = crate::index_file::count_u32(self.topics.len());
        self.topics.push(Topic {
            name: Arc::clone(&name),
            queues: QueueIds::Few(Vec::new()),
            deleted_below: 0,
        });
        self.by_name.insert(name, index);
        Ok(index)
    }

    /// Its queues are gone, as of `position`.
    fn forget_topic(&mut self, topic: u32, position: u64) {
        let topic = &mut self.topics[topic as usize];
        topic.deleted_below = position;
        for slot in topic.queues.slots() {
            let queue = &mut self.queues[slot as usize];
            self.queue_count -= usize::from(queue.exists);
            queue.delete();
        }
    }

    /// Adds to the tail; a tail that is full becomes a page.
    fn push(&mut self, slot: QueueSlot, entry: Entry, log: &PageLog) {
        let queue = &mut self.queues[slot.index()];
        queue.push(entry);
        if !queue.listed {
            queue.listed = true;
            self.listed.push(slot.0);
        }
        if queue.tail.len() >= page::capacity(&self.topics[queue.topic as usize].name) {
            self.stage_full_tail(slot, log);
        }
    }

    fn stage_full_tail(&mut self, slot: QueueSlot, log: &PageLog) {
        self.stage_deletions(log);
        let queue = &mut self.queues[slot.index()];
        let topic = &self.topics[queue.topic as usize].name;
        let mut builder = PageBuilder::new(log.shard);
        let at = builder.push_entries(topic, queue.queue_id, queue.tail_first, &queue.tail);
        let count = u16::try_from(queue.tail.len()).expect("a tail fits in a page");
        let page = log.stage(builder);
        queue.named_in = Some(page);
        queue.tail_is_full(RunRef {
            first: queue.tail_first,
            page,
            at,
            count,
        });
    }

    /// A deletion voids what earlier pages say of its topic, so it is staged before any page of a later topic of that name.
    fn stage_deletions(&mut self, log: &PageLog) {
        if self.deletions.is_empty() {
            return;
        }
        let mut builder = PageBuilder::new(log.shard);
        for (topic, position) in std::mem::take(&mut self.deletions) {
            if !builder.push_deleted(&topic, position) {
                log.stage(std::mem::replace(&mut builder, PageBuilder::new(log.shard)));
                let fits = builder.push_deleted(&topic, position);
                assert!(fits, "a topic fits in an empty page");
            }
        }
        log.stage(builder);
    }

    /// Entries of one queue go into shared pages; they are found there after [`State::finish`].
    fn pack(&mut self, packer: &mut Packer, slot: QueueSlot, first: i64, entries: &[Entry], log: &PageLog) {
        let mut first = first;
        let mut rest = entries;
        while !rest.is_empty() {
            let builder = packer.builder.get_or_insert_with(|| PageBuilder::new(log.shard));
            let queue = &self.queues[slot.index()];
            let topic = &self.topics[queue.topic as usize].name;
            let room = builder.room(topic, rest.len());
            if room == 0 {
                self.finish(packer, log);
                continue;
            }
            let (now, later) = rest.split_at(room);
            let at = builder.push_entries(topic, queue.queue_id, first, now);
            let count = u16::try_from(room).expect("a run is shorter than a page");
            packer.runs.push((
                slot,
                RunRef {
                    first,
                    page: 0,
                    at,
                    count,
                },
            ));
            first += i64::from(count);
            rest = later;
        }
    }

    /// Stages the page that the packer has begun.
    fn finish(&mut self, packer: &mut Packer, log: &PageLog) {
        let Some(builder) = packer.builder.take() else { return };
        self.stage_deletions(log);
        let page = log.stage(builder);
        for (slot, run) in packer.runs.drain(..) {
            let queue = self.queue_mut(slot);
            queue.named_in = Some(page);
            queue.insert_run(RunRef { page, ..run });
        }
    }

    /// Writes the rest of a tail, which begins anew then.
    fn write_tail(&mut self, slot: QueueSlot, log: &PageLog) {
        let (first, entries) = self.queue(slot).unwritten();
        let entries = entries.to_vec();
        let mut packer = Packer::new();
        self.pack(&mut packer, slot, first, &entries, log);
        self.finish(&mut packer, log);
        let queue = self.queue_mut(slot);
        queue.tail_written = u16::try_from(queue.tail.len()).expect("a tail fits in a page");
        queue.release_tail();
    }

    /// Puts one entry in the place of another.
    fn patch(&mut self, slot: QueueSlot, queue_offset: i64, entry: Entry, log: &PageLog) {
        let queue = self.queue_mut(slot);
        if let Place::Tail(index) = queue.find(queue_offset) {
            queue.tail[index] = entry;
            if index >= usize::from(queue.tail_written) {
                return;
            }
        }
        let mut packer = Packer::new();
        self.pack(&mut packer, slot, queue_offset, &[entry], log);
        self.finish(&mut packer, log);
    }
}

#[cfg(test)]
mod tests;
