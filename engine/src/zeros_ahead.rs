//! Zeros ahead of a log that is written directly.
//!
//! The first write into space that was only allocated changes the file's extents: each durable write of the log then takes the
//! file system's metadata along (a journal commit; without a journal, the inode in two more writes). Blocks that have been
//! written once are written again without any of that. So a task writes zeros into what is allocated and was never written, a
//! little ahead of the log's end; what a recycled segment has, or an earlier life has written, is left alone. Nothing depends on
//! it: where the log comes first, its write is slower and that is all.
//!
//! A write of zeros begins at the end of all that has been appended, rounded up to a block, or behind it, and holds the turn of
//! the log's own writes until it has ended: the two never meet.

use crate::inner::Inner;
use crate::segmented_log::Segment;
use bytes::Bytes;
use runtime::sync::race;
use runtime::{BLOCK_SIZE, Instant};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// Bytes ahead of the log's end; when half of it is used up, more is written.
const AHEAD: u64 = 16 << 20;
/// Bytes of one write: the log's own may have to wait for it.
const SIZE: usize = 256 << 10;
/// A log that writes so many bytes at a time hardly feels what the zeros would save, and would feel their writes.
const LARGE_WRITE: u64 = SIZE as u64;

/// From a page's begin on, as they are on the disk: so nobody copies them.
#[repr(align(4096))]
struct Zeros([u8; SIZE]);

static ZEROS: Zeros = Zeros([0; SIZE]);

/// Up to where the log's space has been looked at.
#[derive(Debug, Default)]
pub(crate) struct ZerosAhead(Cell<u64>);

impl ZerosAhead {
    /// Whether a log that has been written up to `end` wants more.
    pub(crate) fn wanted(&self, end: u64) -> bool {
        self.0.get() < end + AHEAD / 2
    }
}

/// Keeps zeros ahead of the log's end.
pub(crate) async fn run_zeros_ahead(inner: Rc<Inner>) {
    let mut space = Space::default();
    let (mut end, mut writes) = (inner.end(), inner.counters.syncs.get());
    while !inner.stopping() {
        let (last_end, last_writes) = (end, writes);
        (end, writes) = (inner.end(), inner.counters.syncs.get());
        let done = if (end - last_end) / (writes - last_writes).max(1) >= LARGE_WRITE {
            inner.zeros_ahead.0.set(end + AHEAD);
            Ok(())
        } else {
            inner.write_zeros_ahead(&mut space).await
        };
        if let Err(error) = done {
            tracing::warn!(
                shard = inner.id.get(), %error,
                "the space ahead of the log is no longer written in advance: durable writes may be slower"
            );
            return;
        }
        race(inner.wakes.zeros.notified(), inner.stopped()).await;
    }
}

/// What was never written of one segment, from the log's end on.
#[derive(Default)]
struct Space {
    segment: Option<Rc<Segment>>,
    unwritten: VecDeque<Range<u64>>,
}

impl Inner {
    async fn write_zeros_ahead(&self, space: &mut Space) -> io::Result<()> {
        while !self.stopping() {
            let from = self.zeros_ahead.0.get().max(self.end());
            if from >= (self.end() + AHEAD).min(self.positions.prepared.get()) {
                return Ok(());
            }
            let Some(segment) = self.log.get(from) else {
                return Ok(());
            };
            if space.segment.as_ref().is_none_or(|known| known.base != segment.base) {
                space.unwritten = holes(&segment, from..self.log.end_of(from)).await;
                space.segment = Some(Rc::clone(&segment));
            }
            let began = Instant::now();
            if self.write_zeros(&segment, space).await? {
                // At most half of the disk's time is for this.
                race(runtime::sleep(began.elapsed()), self.stopped()).await;
            }
        }
        Ok(())
    }

    /// Writes zeros once, if something of the segment is unwritten and near; says whether it has.
    async fn write_zeros(&self, segment: &Segment, space: &mut Space) -> io::Result<bool> {
        let _turn = self.wakes.write_turn.acquire().await;
        // Nothing that is appended later is written before the turn ends.
        let from = self.zeros_ahead.0.get().max(self.end());
        let limit = (self.end() + AHEAD).min(self.log.end_of(segment.base));
        let Some(range) = next_blocks(&mut space.unwritten, from..limit) else {
            self.zeros_ahead.0.set(limit);
            return Ok(false);
        };
        let size = usize::try_from(range.end - range.start).unwrap_or(SIZE);
        let zeros = Bytes::from_static(&ZEROS.0).slice(..size);
        segment.write_ahead(range.start, vec![zeros]).await?;
        self.zeros_ahead.0.set(range.end);
        Ok(true)
    }
}

/// The parts of a range of a segment that were never written, as far as the file system tells.
async fn holes(segment: &Segment, within: Range<u64>) -> VecDeque<Range<u64>> {
    let mut holes = VecDeque::new();
    let mut at = within.start;
    for data in segment.data_ranges(within.clone()).await {
        if at < data.start {
            holes.push_back(at..data.start);
        }
        at = data.end;
    }
    if at < within.end {
        holes.push_back(at..within.end);
    }
    holes
}

/// The first whole blocks of what is unwritten within a range, as many as one write takes. What lies before it is forgotten.
fn next_blocks(unwritten: &mut VecDeque<Range<u64>>, within: Range<u64>) -> Option<Range<u64>> {
    const BLOCK: u64 = BLOCK_SIZE as u64;
    while let Some(hole) = unwritten.front() {
        let start = hole.start.max(within.start).next_multiple_of(BLOCK);
        let end = hole.end.min(within.end).min(start + SIZE as u64);
        let end = end - end % BLOCK;
        if start < end {
            return Some(start..end);
        }
        if hole.end >= within.end {
            return None;
        }
        unwritten.pop_front();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_go_to_whole_unwritten_blocks_near_the_end_and_nowhere_else() {
        let mut unwritten: VecDeque<Range<u64>> = [100..9_000, 20_000..20_100, 40_960..10_000_000].into();
        let mut next = |from, to| next_blocks(&mut unwritten, from..to);
        assert_eq!(next(0, 4_000), None, "no whole block");
        assert_eq!(next(0, 100_000), Some(4_096..8_192));
        assert_eq!(
            next(5_000, 40_960),
            None,
            "what is left of the hole is less than a block"
        );
        assert_eq!(next(8_192, 50_000), Some(40_960..49_152));
        assert_eq!(next(49_152, 49_152), None);
        assert_eq!(next(49_152, 5_000_000), Some(49_152..49_152 + SIZE as u64));
        assert_eq!(next(9_999_000, 20_000_000), None);
        assert_eq!(next(9_999_000, 20_000_000), None);
    }
}
