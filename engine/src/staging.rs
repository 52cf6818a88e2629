//! Messages that have their places and are not written yet: the open batch, and batches that are closed and wait.
//!
//! Records are encoded straight into the block that is written to the disk and held for readers. A batch is closed with its
//! seal when the writer takes it, when the block is full, or when its segment is. A batch never spans two segments: behind
//! each record [`RESERVED_SIZE`] bytes stay free, so that the segment can always be ended by a seal that says so.

use crate::control_record::{
    KIND_DELETE_TOPIC, KIND_QUEUE_BEGIN, KIND_SOURCE_POSITION, Meta, RESERVED_SIZE, SEAL_SIZE, Seal,
};
use crate::imported::{self, QueueBegin};
use crate::message::{Appended, Arrival, BatchId, MetaRecord, NewMessage};
use crate::replica::LogPosition;
use bytes::{Buf as _, Bytes, BytesMut};
use protocol::message::record::{self, RecordError};
use protocol::model::{PhysicalOffset, QueueOffset, ShardId};
use runtime::Instant;
use std::collections::VecDeque;

/// Bytes of a block: many batches share one.
pub(crate) const BLOCK_SIZE: usize = 2 << 20;

/// Bytes that a block has beside its room: where its memory begins is the allocator's choice, where its room does is not.
const BLOCK_PADDING: usize = runtime::BLOCK_SIZE - 1;

/// Most bytes of a record in a segment of any size: four times a frame of the remoting protocol.
pub(crate) const RECORD_SIZE_MAX: usize = 64 << 20;

/// A batch with its seal, ready to be written.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    /// Position of its first byte.
    pub(crate) start: u64,
    /// Records, seal, and a blank record where the segment ends.
    pub(crate) bytes: Bytes,
    /// Position of the next batch.
    pub(crate) end: u64,
    /// CRC of the seal before it, and of its own.
    pub(crate) previous_crc: u32,
    pub(crate) crc: u32,
    /// Messages that consumers can see.
    pub(crate) arrivals: Vec<Arrival>,
    /// Topics deleted: after how many of `arrivals`, at which position.
    pub(crate) deletions: Vec<(usize, u64, String)>,
    /// Metadata of the broker's that came with a copied batch: it has not heard of it yet.
    pub(crate) metadata: Vec<MetaRecord>,
    /// How far another broker's log has been imported with it.
    pub(crate) source_position: Option<u64>,
    /// Queues without messages that go on elsewhere from this position on, before any of `arrivals`.
    pub(crate) begins: Vec<(QueueBegin, u64)>,
    /// When its first record came.
    pub(crate) opened: Instant,
}

/// What of a batch goes to the disk.
#[derive(Clone, Debug)]
pub(crate) struct LogPart {
    /// Position of its first byte.
    pub(crate) start: u64,
    /// Position of what follows: further on than its bytes where they end a segment.
    pub(crate) end: u64,
    pub(crate) bytes: Bytes,
}

impl Batch {
    pub(crate) fn part(&self) -> LogPart {
        LogPart {
            start: self.start,
            end: self.end,
            bytes: self.bytes.clone(),
        }
    }
}

/// What a seal says besides the batch itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) confirmed: u64,
    pub(crate) synced: u64,
}

/// The end of a log in memory.
#[derive(Debug)]
pub(crate) struct Staging {
    shard: ShardId,
    store_id: u64,
    epoch: u32,
    segment_size: u64,
    /// The open batch's bytes, and behind them the rest of the block.
    block: BytesMut,
    open: OpenBatch,
    closed: VecDeque<Batch>,
    /// CRC of the last seal.
    chain: u32,
    /// Lists that were used and can be again.
    spare: Vec<Vec<Arrival>>,
}

#[derive(Debug)]
struct OpenBatch {
    id: BatchId,
    start: u64,
    opened: Instant,
    records: u32,
    arrivals: Vec<Arrival>,
    deletions: Vec<(usize, u64, String)>,
    source_position: Option<u64>,
    begins: Vec<(QueueBegin, u64)>,
}

impl OpenBatch {
    fn new(id: BatchId, start: u64, arrivals: Vec<Arrival>) -> OpenBatch {
        OpenBatch {
            id,
            start,
            opened: Instant::now(),
            records: 0,
            arrivals,
            deletions: Vec::new(),
            source_position: None,
            begins: Vec::new(),
        }
    }
}

/// Where a log goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StagingStart {
    pub(crate) shard: ShardId,
    pub(crate) store_id: u64,
    pub(crate) epoch: u32,
    pub(crate) segment_size: u64,
    /// Position of the next batch.
    pub(crate) end: u64,
    /// CRC of the last seal.
    pub(crate) chain: u32,
}

impl Staging {
    pub(crate) fn new(start: StagingStart) -> Staging {
        Staging {
            shard: start.shard,
            store_id: start.store_id,
            epoch: start.epoch,
            segment_size: start.segment_size,
            block: BytesMut::new(),
            open: OpenBatch::new(BatchId(1), start.end, Vec::new()),
            closed: VecDeque::new(),
            chain: start.chain,
            spare: Vec::new(),
        }
    }

    /// Most bytes that one record, or records that must stay together, may have.
    pub(crate) fn size_max(&self) -> usize {
        let room = self.segment_size.saturating_sub(RESERVED_SIZE as u64);
        usize::try_from(room).unwrap_or(usize::MAX).min(RECORD_SIZE_MAX)
    }

    /// Position of the next record.
    pub(crate) fn end(&self) -> u64 {
        self.open.start + self.block.len() as u64
    }

    /// Position behind the segment that the next record goes to.
    fn segment_end(&self) -> u64 {
        self.open.start - self.open.start % self.segment_size + self.segment_size
    }

    /// Whether `size` bytes of records fit into the segment, besides what must stay free. If they go into another block, the
    /// open batch's seal comes before them.
    pub(crate) fn fits_segment(&self, size: usize) -> bool {
        let ends_batch = self.open.records > 0 && !self.fits_block(size);
        let seal = if ends_batch { SEAL_SIZE } else { 0 };
        self.end() + (seal + size + RESERVED_SIZE) as u64 <= self.segment_end()
    }

    /// Position of the next segment.
    pub(crate) fn next_segment(&self) -> u64 {
        self.segment_end()
    }

    /// Whether `size` bytes of records fit into the block, with the seals that may follow.
    pub(crate) fn fits_block(&self, size: usize) -> bool {
        self.block.capacity() - self.block.len() >= size + RESERVED_SIZE
    }

    /// Ends the open batch, if there is anything in it, and goes on in a new block with room for `size` bytes of records. `memory` gives
    /// an empty one of at least so many bytes.
    pub(crate) fn change_block(&mut self, size: usize, marks: Marks, memory: impl FnOnce(usize) -> BytesMut) {
        self.close_open(false, marks);
        let room = (size + RESERVED_SIZE).max(BLOCK_SIZE - BLOCK_PADDING);
        self.block = as_on_disk(memory(room + BLOCK_PADDING), room, self.open.start);
    }

    /// Ends the segment and goes on in the next one.
    pub(crate) fn roll(&mut self, marks: Marks) {
        if !self.fits_block(0) {
            // The empty batch that ends the segment needs room too.
            self.change_block(0, marks, BytesMut::with_capacity);
        }
        self.close(true, marks);
    }

    /// Encodes a message behind all others. There must be room.
    pub(crate) fn push(
        &mut self,
        message: &NewMessage<'_>,
        queue_offset: QueueOffset,
        store_timestamp: i64,
    ) -> Result<Appended, RecordError> {
        let position = self.end();
        let physical_offset = PhysicalOffset::new(self.shard, position);
        let fields = message.record((queue_offset, physical_offset), store_timestamp);
        let size = fields.encode(&mut self.block)?.size;
        self.note_record();
        if message.in_consume_queue {
            self.open.arrivals.push(Arrival {
                queue: message.queue,
                queue_offset,
                physical_offset,
                // See `size_max`.
                size: u32::try_from(size).unwrap_or(u32::MAX),
                tag_hash: message.tag_hash,
                store_timestamp,
            });
        }
        Ok(Appended {
            batch: self.open.id,
            queue_offset,
            physical_offset,
            size,
            store_timestamp,
        })
    }

    /// Encodes a metadata record behind all others. There must be room.
    pub(crate) fn push_meta(&mut self, kind: u16, payload: &[u8], size: i32, wall_clock_ms: i64) -> BatchId {
        let position = self.end();
        let meta = Meta {
            physical_offset: PhysicalOffset::new(self.shard, position),
            wall_clock_ms,
            kind,
            payload,
        };
        meta.encode(size, &mut self.block);
        self.note_record();
        if kind == KIND_DELETE_TOPIC {
            let topic = String::from_utf8_lossy(payload).into_owned();
            self.open.deletions.push((self.open.arrivals.len(), position, topic));
        }
        if kind == KIND_SOURCE_POSITION {
            self.open.source_position = imported::decode_position(payload);
        }
        if kind == KIND_QUEUE_BEGIN {
            let begin = QueueBegin::decode(payload);
            self.open.begins.extend(begin.map(|begin| (begin, position)));
        }
        self.open.id
    }

    /// Puts a record of another log behind all others, with its new place; readers see it by `arrival`, which says how. There must
    /// be room.
    pub(crate) fn push_record(
        &mut self,
        record: &[u8],
        arrival: impl FnOnce(PhysicalOffset) -> Option<Arrival>,
    ) -> u64 {
        let position = self.end();
        let physical_offset = PhysicalOffset::new(self.shard, position);
        let start = self.block.len();
        self.block.extend_from_slice(record);
        let at = start + record::PHYSICAL_OFFSET_AT;
        let place = self.block.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>);
        *place.expect("a record that was read holds its place") = physical_offset.to_wire().to_be_bytes();
        self.note_record();
        self.open.arrivals.extend(arrival(physical_offset));
        position
    }

    fn note_record(&mut self) {
        if self.open.records == 0 {
            self.open.opened = Instant::now();
        }
        self.open.records += 1;
    }

    /// Takes all batches, the open one too, if there is anything in it.
    pub(crate) fn take(&mut self, marks: Marks) -> VecDeque<Batch> {
        self.close_open(false, marks);
        std::mem::take(&mut self.closed)
    }

    /// Hands a list back that a batch had.
    pub(crate) fn recycle(&mut self, mut arrivals: Vec<Arrival>) {
        const SPARE_MAX: usize = 4;
        if self.spare.len() < SPARE_MAX {
            arrivals.clear();
            self.spare.push(arrivals);
        }
    }

    fn close_open(&mut self, ends_segment: bool, marks: Marks) {
        if self.open.records > 0 {
            self.close(ends_segment, marks);
        }
    }

    fn close(&mut self, ends_segment: bool, marks: Marks) {
        let start = self.open.start;
        let segment_end = self.segment_end();
        let previous_crc = self.chain;
        let seal = Seal {
            ends_segment,
            shard: self.shard,
            epoch: self.epoch,
            store_id: self.store_id,
            start,
            // A batch is no longer than a block or than `size_max`.
            length: u32::try_from(self.block.len()).unwrap_or(u32::MAX),
            records: self.open.records,
            confirm_offset: marks.confirmed,
            synced_to: marks.synced,
            wall_clock_ms: runtime::wall_clock_ms(),
            previous: previous_crc,
            batch_crc: crc32fast::hash(&self.block),
            crc: 0,
        };
        self.chain = seal.encode(&mut self.block);
        let mut end = start + self.block.len() as u64;
        assert!(
            end <= segment_end,
            "a batch ends at {end}, beyond its segment's end {segment_end}"
        );
        if ends_segment {
            let rest = i32::try_from(segment_end - end).unwrap_or(i32::MAX);
            record::put_blank(&mut self.block, rest);
            end = segment_end;
        }
        let next = OpenBatch::new(BatchId(self.open.id.0 + 1), end, self.spare.pop().unwrap_or_default());
        let open = std::mem::replace(&mut self.open, next);
        self.closed.push_back(Batch {
            id: open.id,
            start,
            bytes: self.block.split().freeze(),
            end,
            previous_crc,
            crc: self.chain,
            arrivals: open.arrivals,
            deletions: open.deletions,
            metadata: Vec::new(),
            source_position: open.source_position,
            begins: open.begins,
            opened: open.opened,
        });
    }

    /// Where the log ends.
    pub(crate) fn log_end(&self) -> LogPosition {
        LogPosition {
            position: self.end(),
            chain: self.chain,
        }
    }

    /// Makes an empty log begin elsewhere than at 0.
    pub(crate) fn begin_at(&mut self, begin: LogPosition) {
        self.open.start = begin.position;
        self.chain = begin.chain;
    }

    /// Takes a batch of another log, which begins where this one ends. A log that follows another has no records of its own.
    pub(crate) fn push_copied(&mut self, mut batch: Batch) {
        assert!(
            self.open.records == 0 && batch.start == self.open.start,
            "a copied batch at {} comes into a log that goes on at {} with {} records",
            batch.start,
            self.open.start,
            self.open.records
        );
        batch.id = self.open.id;
        self.chain = batch.crc;
        self.open.id = BatchId(batch.id.0 + 1);
        self.open.start = batch.end;
        self.closed.push_back(batch);
    }
}

/// An empty block of `room` bytes that begins as far within a page of memory as `position` lies within a block of the disk: written
/// past the page cache, its batches need not be copied. Its room is the same wherever the memory lies, so that a run can be repeated.
fn as_on_disk(mut memory: BytesMut, room: usize, position: u64) -> BytesMut {
    const DISK_BLOCK: usize = runtime::BLOCK_SIZE;
    let within_block = usize::try_from(position % DISK_BLOCK as u64).unwrap_or(0);
    let before = (within_block + DISK_BLOCK - memory.as_ptr().addr() % DISK_BLOCK) % DISK_BLOCK;
    memory.resize(before, 0);
    memory.advance(before);
    let _unused = memory.split_off(room);
    memory
}

const _: () = assert!(RESERVED_SIZE >= 2 * SEAL_SIZE, "the segment's last seal has room");

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks {
        confirmed: 0,
        synced: 0,
    };
    const SEGMENT: u64 = 4096;
    const FIRST: usize = 3000;

    #[test]
    fn the_memory_of_a_block_lies_within_a_page_as_its_bytes_will_within_a_block_of_the_disk() {
        for position in [0, 1, 4095, 4096, 1_000_000_007] {
            for room in [1, 100_000] {
                let block = as_on_disk(BytesMut::with_capacity(room + BLOCK_PADDING), room, position);
                assert_eq!((block.len(), block.capacity()), (0, room));
                let disk_block = runtime::BLOCK_SIZE as u64;
                assert_eq!(block.as_ptr().addr() as u64 % disk_block, position % disk_block);
            }
        }
    }

    /// As an append does, see `Inner::make_room`.
    fn append(staging: &mut Staging, size: usize) {
        if !staging.fits_segment(size) {
            staging.roll(MARKS);
        }
        if !staging.fits_block(size) {
            staging.change_block(size, MARKS, BytesMut::with_capacity);
        }
        staging.push_record(&vec![0; size], |_place| None);
    }

    #[test]
    fn a_batch_that_ends_with_its_block_leaves_room_for_the_end_of_the_segment() {
        // The second record needs another block and has from nothing to plenty of room left in the segment.
        for second in 600..1000 {
            let mut staging = Staging::new(StagingStart {
                shard: ShardId::new(0).unwrap(),
                store_id: 1,
                epoch: 1,
                segment_size: SEGMENT,
                end: 0,
                chain: 0,
            });
            staging.block = BytesMut::with_capacity(FIRST + RESERVED_SIZE);
            append(&mut staging, FIRST);
            assert!(!staging.fits_block(second));
            append(&mut staging, second);
            let batches = staging.take(MARKS);
            staging.roll(MARKS);
            for batch in batches.into_iter().chain(staging.take(MARKS)) {
                assert_eq!(
                    batch.start / SEGMENT,
                    (batch.end - 1) / SEGMENT,
                    "a second record of {second} bytes: a batch from {} to {}",
                    batch.start,
                    batch.end
                );
            }
        }
    }
}
