//! State of one queue in memory: its bounds, where its runs of entries lie in pages, and its tail.
//!
//! A million idle queues are usual, so this is small: about 100 bytes, and 16 for each run (a full page of about 200 entries).
//! Runs are sorted by queue offset and never overlap; the tail follows them. Between runs there may be holes, where entries
//! were damaged or never came. `min..max` may lie inside the first run.

use super::Entry;
use super::page::ENTRY_SIZE;
use std::ops::Range;

/// Consecutive entries in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunRef {
    /// Queue offset of the first.
    pub(super) first: i64,
    /// Page number.
    pub(super) page: u32,
    /// Where in the page they begin.
    pub(super) at: u16,
    pub(super) count: u16,
}

const _: () = assert!(size_of::<RunRef>() == 16, "runs are most of the memory of a long log");

impl RunRef {
    pub(super) fn end(self) -> i64 {
        self.first + i64::from(self.count)
    }

    /// The part of it within `range`, which must overlap it.
    fn part(self, range: Range<i64>) -> RunRef {
        let first = self.first.max(range.start);
        let end = self.end().min(range.end);
        assert!(first < end, "run {self:?} lies outside of {range:?}");
        let skipped = usize::try_from(first - self.first).expect("a run is shorter than a page");
        RunRef {
            first,
            page: self.page,
            at: self.at + u16::try_from(skipped * ENTRY_SIZE).expect("a page is shorter than 2^16"),
            count: u16::try_from(end - first).expect("no longer than before"),
        }
    }
}

/// Where entries are to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the tail from this index on.
    Tail(usize),
    /// In this run, cut so that it begins with the entry asked for.
    Run(RunRef),
    /// Nowhere: these are missing.
    Hole { first: i64, end: i64 },
    /// At or beyond the max offset, or below the min offset.
    Outside,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) topic: u32,
    pub(super) queue_id: u32,
    pub(super) min: i64,
    /// No entry from `min` on lies below this position; exact unless something was damaged. `u64::MAX` without entries.
    pub(super) min_position: u64,
    /// Queue offset of the first entry of the tail, and the next one if the tail is empty.
    pub(super) tail_first: i64,
    pub(super) tail: Vec<Entry>,
    pub(super) runs: Vec<RunRef>,
    /// Last page that names this queue; its max offset outlives a restart only through such a page.
    pub(super) named_in: Option<u32>,
    /// How many entries of the tail are in runs already.
    pub(super) tail_written: u16,
    /// Counts deletions, so that work that waited for the disk notices one.
    pub(super) generation: u16,
    /// False after its topic was deleted, until the queue is made again.
    pub(super) exists: bool,
    /// It is in the list of queues with a tail.
    pub(super) listed: bool,
    /// Something was appended since the last checkpoint.
    pub(super) touched: bool,
}

impl Queue {
    pub(super) fn new(topic: u32, queue_id: u32) -> Queue {
        Queue {
            topic,
            queue_id,
            min: 0,
            min_position: u64::MAX,
            tail_first: 0,
            tail: Vec::new(),
            runs: Vec::new(),
            named_in: None,
            tail_written: 0,
            generation: 0,
            exists: true,
            listed: false,
            touched: false,
        }
    }

    /// Forgets all, as if it had never been; a later queue of this name begins at 0.
    pub(super) fn delete(&mut self) {
        *self = Queue {
            exists: false,
            listed: self.listed,
            generation: self.generation.wrapping_add(1),
            ..Queue::new(self.topic, self.queue_id)
        };
    }

    pub(super) fn max(&self) -> i64 {
        self.tail_first + i64::try_from(self.tail.len()).unwrap_or(0)
    }

    /// Has no entries at all.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.tail.is_empty()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.tail.is_empty() && self.tail.capacity() == 0 {
            self.tail.reserve_exact(2);
        }
        if self.min_position == u64::MAX {
            self.min_position = entry.position;
        }
        self.tail.push(entry);
        self.touched = true;
    }

    /// The entries of the tail that are in no page, with the queue offset of the first.
    pub(super) fn unwritten(&self) -> (i64, &[Entry]) {
        let written = usize::from(self.tail_written).min(self.tail.len());
        (self.tail_first + i64::from(self.tail_written), &self.tail[written..])
    }

    pub(super) fn find(&self, queue_offset: i64) -> Place {
        if queue_offset < self.min || queue_offset >= self.max() {
            return Place::Outside;
        }
        if let Ok(index) = usize::try_from(queue_offset - self.tail_first) {
            return Place::Tail(index);
        }
        let after = self.runs.partition_point(|run| run.first <= queue_offset);
        let before = after.checked_sub(1).and_then(|index| self.runs.get(index));
        if let Some(run) = before.filter(|run| run.end() > queue_offset) {
            return Place::Run(run.part(queue_offset..i64::MAX));
        }
        Place::Hole {
            first: before.map_or(self.min, |run| run.end().max(self.min)),
            end: self.runs.get(after).map_or(self.tail_first, |run| run.first),
        }
    }

    /// The runs before and after `queue_offsets`, to bound where in the log they may be.
    pub(super) fn neighbours(&self, queue_offsets: &Range<i64>) -> (Option<RunRef>, Option<RunRef>) {
        let before = self.runs.iter().rev().find(|run| run.end() <= queue_offsets.start);
        let after = self.runs.iter().find(|run| run.first >= queue_offsets.end);
        (before.copied(), after.copied())
    }

    /// Takes a run in. Where it overlaps others it is right and they are cut: the later page holds more, or better.
    pub(super) fn insert_run(&mut self, run: RunRef) {
        assert!(run.count > 0, "an empty run");
        if self.runs.last().is_none_or(|last| last.end() <= run.first) {
            if self.runs.is_empty() {
                self.runs.reserve_exact(1);
            }
            self.runs.push(run);
            return;
        }
        let start = self.runs.partition_point(|old| old.end() <= run.first);
        let end = self.runs.partition_point(|old| old.first < run.end());
        let mut pieces: Vec<RunRef> = Vec::with_capacity(3);
        if let Some(old) = self.runs[start..end].first().filter(|old| old.first < run.first) {
            pieces.push(old.part(i64::MIN..run.first));
        }
        pieces.push(run);
        if let Some(old) = self.runs[start..end].last().filter(|old| old.end() > run.end()) {
            pieces.push(old.part(run.end()..i64::MAX));
        }
        self.runs.splice(start..end, pieces);
    }

    /// Moves the min offset up; runs wholly below go.
    pub(super) fn raise_min(&mut self, min: i64, min_position: u64) {
        if min < self.min {
            return;
        }
        self.min = min.min(self.max());
        self.min_position = min_position;
        let gone = self.runs.partition_point(|run| run.end() <= self.min);
        self.runs.drain(..gone);
        self.shrink();
        // Entries of the tail that are below the min offset stay until their page is written: no reader sees them.
    }

    fn shrink(&mut self) {
        if self.runs.capacity() > 8 && self.runs.capacity() / 4 > self.runs.len() {
            self.runs.shrink_to(self.runs.len() * 2);
        }
    }

    /// Gives the memory of a tail back whose entries are all in pages.
    pub(super) fn release_tail(&mut self) {
        assert!(self.unwritten().1.is_empty(), "entries of the tail are in no page");
        self.tail_first = self.max();
        self.tail = Vec::new();
        self.tail_written = 0;
    }

    /// All entries of the tail are in a page now that will not be written again.
    pub(super) fn tail_is_full(&mut self, run: RunRef) {
        self.insert_run(run);
        self.tail_first = self.max();
        self.tail.clear();
        self.tail_written = 0;
    }

    /// Sets the next offset, for a queue whose older entries are gone.
    pub(super) fn raise_max(&mut self, next: i64) {
        if next <= self.max() {
            return;
        }
        assert!(self.tail.is_empty(), "only before anything is fed");
        if self.runs.is_empty() {
            self.min = next;
        }
        self.tail_first = next;
    }

    /// Makes the bounds agree with what a cut of the log has left.
    pub(super) fn settle_after_cut(&mut self) {
        self.min = self.min.min(self.max());
        if self.min == self.max() {
            self.min_position = u64::MAX;
            self.runs.clear();
        }
    }

    /// Bytes of memory, with its part of the vectors.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Queue>() + self.runs.capacity() * size_of::<RunRef>() + self.tail.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(first: i64, count: u16, page: u32) -> RunRef {
        RunRef {
            first,
            page,
            at: 100,
            count,
        }
    }

    #[test]
    fn an_idle_queue_is_small() {
        assert!(size_of::<Queue>() <= 112, "{}", size_of::<Queue>());
    }

    #[test]
    fn what_lies_between_runs_is_a_hole() {
        let mut queue = Queue::new(0, 0);
        queue.insert_run(run(0, 10, 0));
        queue.insert_run(run(15, 10, 1));
        queue.tail_first = 30;
        queue.push(Entry {
            position: 1,
            record_size: 1,
            tag_hash: 0,
        });
        assert_eq!(
            queue.find(3),
            Place::Run(RunRef {
                first: 3,
                page: 0,
                at: 160,
                count: 7
            })
        );
        assert_eq!(queue.find(12), Place::Hole { first: 10, end: 15 });
        assert_eq!(queue.find(29), Place::Hole { first: 25, end: 30 });
        assert_eq!(queue.find(30), Place::Tail(0));
        assert_eq!((queue.find(31), queue.find(-1)), (Place::Outside, Place::Outside));
    }

    proptest! {
        /// Model: for each queue offset the page that was inserted last over it.
        #[test]
        fn the_run_inserted_last_wins_and_none_overlap(inserted in prop::collection::vec((0_i64..60, 1_u16..30), 1..30)) {
            let mut queue = Queue::new(0, 0);
            let mut model = [None; 100];
            for (page, (first, count)) in (0_u32..).zip(inserted) {
                queue.insert_run(run(first, count, page));
                for (index, at) in (first..first + i64::from(count)).zip((100_u16..).step_by(ENTRY_SIZE)) {
                    model[usize::try_from(index).unwrap()] = Some((page, at));
                }
            }
            prop_assert!(queue.runs.windows(2).all(|pair| pair[0].end() <= pair[1].first));
            queue.tail_first = 100;
            for (offset, expected) in (0_i64..).zip(model) {
                let found = match queue.find(offset) {
                    Place::Run(run) => Some((run.page, run.at)),
                    Place::Hole { first, end } => {
                        prop_assert!((first..end).contains(&offset));
                        None
                    }
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(found, expected, "offset {}", offset);
            }
        }
    }
}
