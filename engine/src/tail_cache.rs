//! The newest batches of a log, held in memory for readers: the very bytes that were written, shared and never copied.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Batches by position, the oldest first; between two there may be a gap where a segment ended.
#[derive(Debug)]
pub(crate) struct TailCache {
    batches: VecDeque<(u64, Bytes)>,
    bytes: usize,
    bytes_max: usize,
    block_size: usize,
    /// Memory of blocks whose batches have all gone, to be written into again: a fresh block costs a page fault for each
    /// 4 KiB.
    free: Vec<BytesMut>,
}

/// Blocks kept for reuse. Batches leave in order, so more than this many are free only after a lull.
const FREE_BLOCKS_MAX: usize = 2;

impl TailCache {
    /// Holds at most `bytes_max` bytes, and always the newest batch and what is not written.
    pub(crate) fn new(bytes_max: usize, block_size: usize) -> TailCache {
        TailCache {
            batches: VecDeque::new(),
            bytes: 0,
            bytes_max,
            block_size,
            free: Vec::new(),
        }
    }

    /// Adds the batch that begins at `start`, behind all others. What lies behind `written` is nowhere else.
    pub(crate) fn push(&mut self, start: u64, batch: Bytes, written: u64) {
        let last_end = self
            .batches
            .back()
            .map_or(0, |(start, bytes)| start + bytes.len() as u64);
        assert!(
            start >= last_end,
            "a batch at {start} came after one that ends at {last_end}"
        );
        self.bytes += batch.len();
        self.batches.push_back((start, batch));
        let may_go = |(start, batch): &(u64, Bytes)| start + batch.len() as u64 <= written;
        while self.bytes > self.bytes_max && self.batches.len() > 1 && self.batches.front().is_some_and(may_go) {
            if let Some((_, oldest)) = self.batches.pop_front() {
                self.bytes -= oldest.len();
                self.reclaim(oldest);
            }
        }
    }

    /// The whole block comes back with the last of its batches, if no reader holds one.
    fn reclaim(&mut self, batch: Bytes) {
        if self.free.len() >= FREE_BLOCKS_MAX {
            return;
        }
        if let Ok(mut block) = batch.try_into_mut() {
            block.clear();
            if block.try_reclaim(self.block_size) {
                self.free.push(block);
            }
        }
    }

    /// An empty block for at least `size` bytes.
    pub(crate) fn block(&mut self, size: usize) -> BytesMut {
        match self.free.pop() {
            Some(block) if block.capacity() >= size => block,
            _ => BytesMut::with_capacity(size.max(self.block_size)),
        }
    }

    /// `size` bytes from `position`, if they lie in one batch that is here.
    pub(crate) fn get(&self, position: u64, size: usize) -> Option<Bytes> {
        let after = self.batches.partition_point(|(start, _)| *start <= position);
        let (start, batch) = self.batches.get(after.checked_sub(1)?)?;
        let from = usize::try_from(position - start).ok()?;
        let to = from.checked_add(size)?;
        (to <= batch.len()).then(|| batch.slice(from..to))
    }

    /// The batch that begins at `start`.
    pub(crate) fn batch(&self, start: u64) -> Option<Bytes> {
        let found = self.batches.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        self.batches.get(found).map(|(_, batch)| batch.clone())
    }

    /// Everything from `position` to the end of its batch.
    pub(crate) fn rest_of_batch(&self, position: u64) -> Option<Bytes> {
        let after = self.batches.partition_point(|(start, _)| *start <= position);
        let (start, batch) = self.batches.get(after.checked_sub(1)?)?;
        let from = usize::try_from(position - start).ok()?;
        (from < batch.len()).then(|| batch.slice(from..))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(byte: u8, size: usize) -> Bytes {
        Bytes::from(vec![byte; size])
    }

    #[test]
    fn bytes_are_found_by_position_and_only_inside_one_batch() {
        let mut cache = TailCache::new(1_000, 64);
        cache.push(100, batch(1, 50), u64::MAX);
        cache.push(150, batch(2, 50), u64::MAX);
        cache.push(300, batch(3, 50), u64::MAX);
        assert_eq!(cache.get(100, 50).unwrap(), batch(1, 50));
        assert_eq!(cache.get(149, 1).unwrap(), batch(1, 1));
        assert_eq!(cache.get(160, 40).unwrap(), batch(2, 40));
        assert_eq!(cache.get(99, 1), None);
        assert_eq!(cache.get(149, 2), None, "it crosses into the next batch");
        assert_eq!(cache.get(200, 1), None, "a segment ended there");
        assert_eq!(cache.get(350, 1), None);
        assert_eq!(cache.rest_of_batch(340).unwrap(), batch(3, 10));
    }

    #[test]
    fn the_oldest_batches_go_when_the_bound_is_passed_and_the_newest_stays() {
        let mut cache = TailCache::new(100, 64);
        cache.push(0, batch(1, 60), u64::MAX);
        cache.push(60, batch(2, 60), u64::MAX);
        assert_eq!((cache.get(0, 1), cache.bytes()), (None, 60));
        cache.push(120, batch(3, 500), u64::MAX);
        assert_eq!((cache.get(60, 1), cache.bytes()), (None, 500));
        assert!(cache.get(120, 500).is_some());
    }

    #[test]
    fn a_block_comes_back_when_its_last_batch_has_gone_unless_a_reader_holds_one() {
        let mut cache = TailCache::new(100, 64);
        let mut block = BytesMut::with_capacity(64);
        for position in [0_u64, 20] {
            block.extend_from_slice(&[7; 20]);
            cache.push(position, block.split().freeze(), u64::MAX);
        }
        drop(block);
        let held = cache.get(20, 5);
        cache.push(40, batch(8, 100), u64::MAX);
        assert!(cache.free.is_empty(), "a reader holds a part of the block");
        drop(held);
        let mut block = BytesMut::with_capacity(64);
        let memory = block.as_ptr();
        block.extend_from_slice(&[7; 64]);
        cache.push(140, block.freeze(), u64::MAX);
        cache.push(204, batch(9, 100), u64::MAX);
        assert!(cache.free.iter().any(|free| free.as_ptr() == memory && free.is_empty()));
    }
}
