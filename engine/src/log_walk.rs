//! Walking over a log that nobody writes: batch by batch, each checked against its seal; and the search for the next sound
//! seal behind damage.
//!
//! A batch counts only if its records follow each other up to a seal, each record says that it lies where it lies, the seal
//! says where the batch began, is of this store and shard, follows the seal before, and its CRC covers the bytes.

use crate::control_record::{Kind, MAGIC_SEAL, SEAL_SIZE, Seal, kind_and_size, own_offset};
use crate::planted::{self, Bug};
use crate::segmented_log::SegmentedLog;
use bytes::Bytes;
use protocol::model::{PhysicalOffset, ShardId};
use std::fmt;

/// Bytes read at once.
const WINDOW_SIZE: usize = 4 << 20;
/// The unit in which a disk loses data.
const SECTOR_SIZE: u64 = 4096;

/// Reads a log of one shard from the disk.
#[derive(Debug)]
pub(crate) struct LogWalk<'a> {
    log: &'a SegmentedLog,
    shard: ShardId,
    store_id: u64,
    window: Window,
    window_size: usize,
    /// Bytes read so far.
    pub(crate) bytes_read: u64,
    /// Where the last record ends that the last [`LogWalk::batch`] has found in its place; at least that batch's begin.
    pub(crate) reached: u64,
}

#[derive(Debug, Default)]
struct Window {
    position: u64,
    bytes: Bytes,
    /// Why it ends where it does, when that is a sector that cannot be read.
    unreadable: Option<String>,
}

/// Why there is no sound batch at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsound {
    /// What is there is none.
    Contents(String),
    /// The disk does not say what is there.
    Unreadable(String),
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsound::Contents(reason) | Unsound::Unreadable(reason) => f.write_str(reason),
        }
    }
}

fn unsound<T>(reason: String) -> Result<T, Unsound> {
    Err(Unsound::Contents(reason))
}

/// A batch that is as it was written.
#[derive(Debug)]
pub(crate) struct SoundBatch {
    pub(crate) seal: Seal,
    /// Its records, without the seal.
    pub(crate) records: Bytes,
    /// Records and seal.
    pub(crate) whole: Bytes,
    /// Position of the next batch.
    pub(crate) next: u64,
}

impl<'a> LogWalk<'a> {
    pub(crate) fn new(log: &'a SegmentedLog, shard: ShardId, store_id: u64) -> LogWalk<'a> {
        LogWalk::with_window(log, shard, store_id, WINDOW_SIZE)
    }

    /// Reads `window_size` bytes at once, more where a batch is longer.
    pub(crate) fn with_window(log: &'a SegmentedLog, shard: ShardId, store_id: u64, window_size: usize) -> LogWalk<'a> {
        LogWalk {
            log,
            shard,
            store_id,
            window: Window::default(),
            window_size,
            bytes_read: 0,
            reached: 0,
        }
    }

    /// The batch that begins at `start`; `previous` is the CRC of the seal before, if that is known. Else what is wrong.
    pub(crate) async fn batch(&mut self, start: u64, previous: Option<u32>) -> Result<SoundBatch, Unsound> {
        let mut position = start;
        let mut records = 0_u32;
        loop {
            self.reached = position;
            let header = self.bytes(start, position, 8).await?;
            let Some((kind, size)) = kind_and_size(&header) else {
                return unsound(format!("no record begins at {position}"));
            };
            let record = self.bytes(start, position, size).await?;
            if kind == Kind::Seal {
                let seal = self
                    .seal_at(&record, position)
                    .ok_or_else(|| Unsound::Contents(format!("the seal at {position} is damaged")))?;
                return self.check(start, records, seal, previous);
            }
            if own_offset(kind, &record) != Some(PhysicalOffset::new(self.shard, position)) {
                return unsound(format!("the record at {position} says that it lies elsewhere"));
            }
            position += size as u64;
            records += 1;
        }
    }

    fn check(&self, start: u64, records: u32, seal: Seal, previous: Option<u32>) -> Result<SoundBatch, Unsound> {
        if seal.start != start || seal.records != records {
            return unsound(format!("the seal at {} is of another batch", seal.position()));
        }
        if previous.is_some_and(|previous| previous != seal.previous) && !planted::is(Bug::NoChain) {
            return unsound(format!("the batch at {start} does not follow the one before it"));
        }
        let bytes = self
            .in_window(start, seal.length as usize)
            .ok_or_else(|| Unsound::Contents("the batch was not read as a whole".to_owned()))?;
        if crc32fast::hash(&bytes) != seal.batch_crc && !planted::is(Bug::UncheckedBatches) {
            return unsound(format!("the checksum of the batch at {start} does not match"));
        }
        let whole = self
            .in_window(start, seal.length as usize + SEAL_SIZE)
            .ok_or_else(|| Unsound::Contents("the seal was not read as a whole".to_owned()))?;
        Ok(SoundBatch {
            records: bytes,
            whole,
            next: self.next_after(&seal),
            seal,
        })
    }

    fn next_after(&self, seal: &Seal) -> u64 {
        if seal.ends_segment {
            self.log.end_of(seal.start)
        } else {
            seal.end()
        }
    }

    /// A seal of this log, at its place.
    fn seal_at(&self, bytes: &[u8], position: u64) -> Option<Seal> {
        let seal = Seal::decode(bytes)?;
        let is_ours = seal.shard == self.shard && seal.store_id == self.store_id && seal.position() == position;
        is_ours.then_some(seal)
    }

    /// `size` bytes at `position`, with the window beginning at or before `keep_from`.
    async fn bytes(&mut self, keep_from: u64, position: u64, size: usize) -> Result<Bytes, Unsound> {
        if let Some(bytes) = self.in_window(position, size) {
            return Ok(bytes);
        }
        let end = position + size as u64;
        if end > self.log.end_of(keep_from) {
            return unsound(format!("the record at {position} leads out of its segment"));
        }
        // The whole batch stays in one window, and most of what follows comes with it.
        let wanted = usize::try_from(end - keep_from).unwrap_or(usize::MAX);
        self.read(keep_from, wanted.saturating_add(self.window_size)).await?;
        if let Some(bytes) = self.in_window(position, size) {
            return Ok(bytes);
        }
        match &self.window.unreadable {
            Some(reason) => Err(Unsound::Unreadable(reason.clone())),
            None => unsound(format!("the log's file ends within the record at {position}")),
        }
    }

    async fn read(&mut self, position: u64, size: usize) -> Result<(), Unsound> {
        let (bytes, unreadable) = match self.log.read_again(position, size).await {
            Ok(bytes) => (bytes, None),
            // One bad sector fails the whole read; what is before it may be all that is wanted.
            Err(error) => {
                let reason = format!("the log cannot be read at {position}: {error}");
                match self.read_sectors(position, size).await {
                    bytes if bytes.is_empty() => return Err(Unsound::Unreadable(reason)),
                    bytes => (bytes, Some(reason)),
                }
            }
        };
        self.bytes_read += bytes.len() as u64;
        self.window = Window {
            position,
            bytes,
            unreadable,
        };
        Ok(())
    }

    /// What can be read before the first sector that cannot.
    async fn read_sectors(&self, position: u64, size: usize) -> Bytes {
        let end = position.saturating_add(size as u64).min(self.log.end_of(position));
        let mut all = Vec::new();
        let mut at = position;
        while at < end {
            let next = (at - at % SECTOR_SIZE + SECTOR_SIZE).min(end);
            let wanted = usize::try_from(next - at).unwrap_or(0);
            match self.log.read_again(at, wanted).await {
                Ok(bytes) if bytes.len() == wanted => all.extend_from_slice(&bytes),
                _ => break,
            }
            at = next;
        }
        Bytes::from(all)
    }

    fn in_window(&self, position: u64, size: usize) -> Option<Bytes> {
        let from = usize::try_from(position.checked_sub(self.window.position)?).ok()?;
        let to = from.checked_add(size)?;
        (to <= self.window.bytes.len()).then(|| self.window.bytes.slice(from..to))
    }

    /// Looks from `from` on, through all segments up to `to`, for seals of this log that are sound in themselves. `visit` gets
    /// each, in order, and says whether to stop there. Returns the position behind the last byte that is not zero.
    pub(crate) async fn scan_seals(&mut self, from: u64, to: u64, mut visit: impl FnMut(&Seal) -> bool) -> u64 {
        let mut last_used = from;
        let mut position = from;
        while let Some(segment) = self.log.get(position).or_else(|| self.log.first_from(position)) {
            position = position.max(segment.base);
            if position >= to {
                break;
            }
            let segment_end = self.log.end_of(position).min(to);
            // Segments are made with all their space; what was never written need not be read, and that is hundreds of MiB.
            for data in segment.data_ranges(position..segment_end).await {
                // A seal begins with zeros, which may be in front of the first data that the file system knows of.
                let start = data.start.saturating_sub(SEAL_SIZE as u64 - 1).max(position);
                let end = (data.end + SEAL_SIZE as u64).min(segment_end);
                if self.scan_range(start, end, &mut last_used, &mut visit).await {
                    return last_used;
                }
            }
            position = self.log.end_of(segment.base);
        }
        last_used
    }

    /// Scans a part of one segment; says whether `visit` has seen enough.
    async fn scan_range(
        &mut self,
        start: u64,
        end: u64,
        last_used: &mut u64,
        visit: &mut impl FnMut(&Seal) -> bool,
    ) -> bool {
        let mut position = start;
        while position < end {
            // Windows overlap by less than a seal, so that none is missed between two.
            let wanted = usize::try_from(end - position).unwrap_or(WINDOW_SIZE).min(WINDOW_SIZE);
            if self.read(position, wanted).await.is_err() {
                position = (position - position % SECTOR_SIZE + SECTOR_SIZE).min(end);
                continue;
            }
            let bytes = self.window.bytes.clone();
            if let Some(at) = last_not_zero(&bytes) {
                *last_used = (*last_used).max(position + at as u64 + 1);
                if self.visit_seals(&bytes, position, visit) {
                    return true;
                }
            }
            if position + bytes.len() as u64 >= end || bytes.len() < SEAL_SIZE {
                break;
            }
            position += bytes.len() as u64 - (SEAL_SIZE as u64 - 1);
        }
        false
    }

    fn visit_seals(&self, bytes: &[u8], position: u64, visit: &mut impl FnMut(&Seal) -> bool) -> bool {
        let magic = MAGIC_SEAL.to_be_bytes();
        let mut at = 0;
        while let Some(found) = find(bytes.get(at..).unwrap_or_default(), magic) {
            at += found;
            // The magic follows the size.
            if let Some(start) = at.checked_sub(4)
                && let Some(seal) = bytes
                    .get(start..)
                    .and_then(|rest| self.seal_at(rest, position + start as u64))
                && visit(&seal)
            {
                return true;
            }
            at += 1;
        }
        false
    }

    /// The next seal at or behind `from`.
    pub(crate) async fn next_seal(&mut self, from: u64) -> Option<Seal> {
        let mut found = None;
        self.scan_seals(from, u64::MAX, |seal| {
            found = Some(*seal);
            true
        })
        .await;
        found
    }
}

/// Where `pattern` is in `bytes` first.
fn find(bytes: &[u8], pattern: [u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|window| window == pattern)
}

/// Most of what is scanned is space never written to: looked at in large steps.
fn last_not_zero(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 4096;
    let zeros = [0_u8; STEP];
    let mut end = bytes.len();
    while let Some(start) = end.checked_sub(STEP) {
        if bytes.get(start..end) != Some(&zeros) {
            break;
        }
        end = start;
    }
    bytes.get(..end)?.iter().rposition(|byte| *byte != 0)
}

/// The records of a sound batch: kind, position, bytes.
pub(crate) fn records(batch: &SoundBatch) -> impl Iterator<Item = (Kind, u64, Bytes)> + use<> {
    let mut position = batch.seal.start;
    let mut rest = batch.records.clone();
    std::iter::from_fn(move || {
        let (kind, size) = kind_and_size(&rest)?;
        if size > rest.len() {
            return None;
        }
        let record = rest.split_to(size);
        let at = position;
        position += size as u64;
        Some((kind, at, record))
    })
}

/// Damage that a walk met, and how to go on behind it.
#[derive(Debug)]
pub(crate) struct Gap {
    /// Where sound data begins again.
    pub(crate) to: u64,
    /// CRC of the seal before, if that seal is sound.
    pub(crate) previous: Option<u32>,
}

impl LogWalk<'_> {
    /// Where the walk goes on behind damage that begins at `from`, a batch's begin: at the next batch whose seal is sound.
    pub(crate) async fn behind_damage(&mut self, from: u64) -> Option<Gap> {
        let mut search = from;
        loop {
            let seal = self.next_seal(search).await?;
            if seal.start > from && self.batch(seal.start, None).await.is_ok() {
                return Some(Gap {
                    to: seal.start,
                    previous: None,
                });
            }
            // Its own batch is the damaged one, or one of them.
            if seal.start >= from {
                return Some(Gap {
                    to: self.next_after(&seal),
                    previous: Some(seal.crc),
                });
            }
            search = seal.position() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_byte_is_found_wherever_it_is() {
        for size in [1, 4095, 4096, 4097, 20_000] {
            let mut bytes = vec![0; size];
            assert_eq!(last_not_zero(&bytes), None);
            for at in [0, size / 2, size - 1] {
                bytes[at] = 1;
                assert_eq!(last_not_zero(&bytes), Some(at), "of {size}");
            }
        }
    }
}
