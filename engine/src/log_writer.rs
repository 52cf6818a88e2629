//! How batches reach the disk: one of two ways, the same for a store's whole life in a process.
//!
//! - Buffered: positioned writes into the page cache, off the core, since a file system that is frozen or whose journal is full
//!   lets the writer wait. What is written outlives the process; a sync through the ring makes it durable. Segments are fresh:
//!   a write into a part of a recycled one that is not cached would first read it.
//! - Direct: past the page cache, by the core's flusher thread. What is written is durable. Segments are recycled, see
//!   [`crate::spare_segments`], or written with zeros ahead of the log, see [`crate::zeros_ahead`].
//!
//! Direct writes are made of whole blocks, the log is not: the file is padded with zeros behind the last batch, and the next
//! write begins with the last block once more. The bytes that were in it before are written again unchanged, so a write that
//! power ends halfway cannot harm them, whichever sectors it leaves; and one write is under way at a time, so no block is
//! ever in two. Readers of such a log read past the page cache too: there is no cached page that could be older than the
//! disk, and in a block that is being written the bytes below the confirm offset are the same before, while and after.

use crate::segmented_log::{Segment, SegmentedLog};
use crate::staging::Batch;
use bytes::{Bytes, BytesMut};
use runtime::BLOCK_SIZE;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

/// Bytes of batches that one direct write makes durable; what waits behind them is acknowledged later.
pub(crate) const DIRECT_WRITE_SIZE: u64 = 4 << 20;

const BLOCK: u64 = BLOCK_SIZE as u64;
static ZEROS: [u8; BLOCK_SIZE] = [0; BLOCK_SIZE];

/// See the head of this file.
#[derive(Debug)]
pub(crate) enum LogWriter {
    Buffered,
    Direct(LastBlock),
}

/// Bytes of the log's last block that are written: from the block's begin to where the log's next batch will begin.
#[derive(Debug, Default)]
pub(crate) struct LastBlock(RefCell<Bytes>);

impl LogWriter {
    /// A writer that goes on at `end`, a position of the log.
    pub(crate) async fn open(log: &SegmentedLog, direct: bool, end: u64) -> io::Result<LogWriter> {
        if !direct {
            return Ok(LogWriter::Buffered);
        }
        let size = within_block(end);
        let begun = log.read_again(end - size as u64, size).await?;
        // Where the log goes on behind damage, its file may be shorter.
        let mut block = BytesMut::from(begun);
        block.resize(size, 0);
        Ok(LogWriter::Direct(LastBlock(RefCell::new(block.freeze()))))
    }

    /// Goes on at `to` instead of `from`: what is between stays as it is in the file, but for zeros in the block of `to`.
    pub(crate) fn skip_to(&self, from: u64, to: u64) {
        if let LogWriter::Direct(last) = self {
            let mut block = BytesMut::new();
            if from / BLOCK == to / BLOCK {
                block.extend_from_slice(&last.0.borrow());
            }
            block.resize(within_block(to), 0);
            last.0.replace(block.freeze());
        }
    }

    /// Whether what is written is durable.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, LogWriter::Direct(_))
    }

    /// How many of these batches are written and committed together, before the rest.
    pub(crate) fn batches_at_once(&self, batches: &VecDeque<Batch>) -> usize {
        match self {
            LogWriter::Buffered => batches.len(),
            LogWriter::Direct(_) => {
                let start = batches.front().map_or(0, |first| first.start);
                let together = batches.partition_point(|batch| batch.end <= start + DIRECT_WRITE_SIZE);
                together.max(1).min(batches.len())
            }
        }
    }

    /// Writes `parts`, which follow each other, to `position` of the log, within one segment.
    pub(crate) async fn write(&self, segment: &Segment, position: u64, parts: Vec<Bytes>) -> io::Result<()> {
        match self {
            LogWriter::Buffered => segment.write(position, parts).await,
            LogWriter::Direct(last) => {
                let begun = last.0.borrow().clone();
                let begun = if position.is_multiple_of(BLOCK) {
                    Bytes::new()
                } else {
                    begun
                };
                assert_eq!(begun.len(), within_block(position), "the last block ends at {position}");
                let (blocks, next) = whole_blocks(begun.clone(), parts);
                segment.write_direct(position - begun.len() as u64, blocks).await?;
                last.0.replace(next);
                Ok(())
            }
        }
    }
}

/// Bytes from the begin of its block to a position.
fn within_block(position: u64) -> usize {
    usize::try_from(position % BLOCK).expect("a block is small")
}

/// What is written: `begun`, the parts, zeros up to the block's end. And the bytes of the last block without the zeros.
fn whole_blocks(begun: Bytes, mut parts: Vec<Bytes>) -> (Vec<Bytes>, Bytes) {
    parts.insert(0, begun);
    let size: usize = parts.iter().map(Bytes::len).sum();
    let mut wanted = size % BLOCK_SIZE;
    let mut last = Vec::new();
    for part in parts.iter().rev() {
        let from = part.len().saturating_sub(wanted);
        last.push(part.slice(from..));
        wanted -= part.len() - from;
        if wanted == 0 {
            break;
        }
    }
    last.reverse();
    // A copy: a slice would hold the batch's whole memory.
    let next = Bytes::from(last.concat());
    parts.push(Bytes::from_static(&ZEROS).slice(..size.next_multiple_of(BLOCK_SIZE) - size));
    (parts, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(byte: u8, size: usize) -> Bytes {
        Bytes::from(vec![byte; size])
    }

    #[test]
    fn a_write_is_whole_blocks_and_the_next_one_begins_with_the_last_block() {
        for (begun, parts) in [
            (0, vec![100]),
            (100, vec![3_996]),
            (100, vec![50, 60, 70]),
            (4_000, vec![97, 5_000, 1]),
            (4_095, vec![1, 8_192]),
            (10, vec![4_086 + 4_096]),
        ] {
            let parts: Vec<Bytes> = (1..).zip(&parts).map(|(byte, size)| bytes(byte, *size)).collect();
            let log = [bytes(9, begun).to_vec(), parts.concat()].concat();
            let (blocks, next) = whole_blocks(bytes(9, begun), parts);
            let written = blocks.concat();
            assert!(written.len().is_multiple_of(BLOCK_SIZE) && written.len() - log.len() < BLOCK_SIZE);
            assert_eq!(written[..log.len()], log);
            assert!(written[log.len()..].iter().all(|byte| *byte == 0), "padding is zeros");
            assert_eq!(next, log[log.len() / BLOCK_SIZE * BLOCK_SIZE..], "begun {begun}");
        }
    }
}
