//! A walk over the log of one shard, batch by batch, as a start of the broker does it, but with nothing changed and with
//! memory that does not grow with the log or with a batch.
//!
//! 1. A batch counts if its records follow each other up to a seal that says where the batch began, how many records it
//!    has, what their CRC is and which seal came before. The records are given out only after all of that was checked.
//! 2. Where that fails and a sound seal of this log lies further on, the bytes between are damaged, and the walk goes on
//!    there. A broker that is writing can make a batch look like that for a moment, so it is looked at again first.
//! 3. Where no seal follows, the log ends. What lies behind is a torn write or one under way: no damage, unless the
//!    checkpoint or a seal says that the log was durable further than that.

use super::files::{Error, LogFiles};
use super::quarantine::crc_of_range;
use super::window::{SECTOR_SIZE, WINDOW_SIZE, Window, last_not_zero};
use engine::inspect::{Checkpoint, RecordKind, SEAL_SIZE, Seal, kind_and_size, own_offset};
use protocol::model::{PhysicalOffset, ShardId};
use std::io;
use std::time::Duration;

/// How long a write that is under way may take to settle, and how often a walk waits for that.
const SETTLE_TIME: Duration = Duration::from_millis(20);
const SETTLE_WAITS_MAX: u32 = 50;

/// What the walk met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A batch that is as it was written.
    Batch(Batch),
    /// Bytes that are not what was written there.
    Damage(DamagedRange),
    /// The end.
    End(LogEnd),
}

/// A sound batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its seal.
    pub seal: Seal,
    /// Position of the seal.
    pub seal_position: u64,
}

/// A part of the log that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Where the batch begins that is damaged.
    pub from: u64,
    /// Where the walk goes on.
    pub to: u64,
    /// What is wrong, at the first place.
    pub reason: String,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Behind the last sound batch.
    pub position: u64,
    /// Bytes behind it that a write was cut short of, or is under way with.
    pub torn_bytes: u64,
}

/// A walk over one shard's log.
#[derive(Debug)]
pub struct LogWalk {
    window: Window,
    shard: ShardId,
    store_id: u64,
    position: u64,
    previous: Option<u32>,
    /// Where the checkpoint says that the log ends, if it was closed in good order.
    clean_end: Option<u64>,
    /// How far behind what is durable a write can have been.
    reach: u64,
    /// Everything below is known to have been durable.
    pub synced: u64,
    waits: u32,
}

impl LogWalk {
    /// From the first byte that is kept.
    #[must_use]
    pub fn new(log: LogFiles, shard: ShardId, store_id: u64, checkpoint: Option<&Checkpoint>) -> LogWalk {
        let position = log.min().unwrap_or(0);
        LogWalk {
            window: Window::new(log),
            shard,
            store_id,
            position,
            previous: None,
            clean_end: checkpoint.filter(|found| found.clean).map(|found| found.end),
            reach: checkpoint.map_or(u64::MAX, |found| found.unsynced_max),
            synced: checkpoint.map_or(0, |found| found.synced),
            waits: 0,
        }
    }

    /// Where the walk is.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Position behind the last segment.
    #[must_use]
    pub fn about_end(&self) -> u64 {
        self.window.log.max().unwrap_or(0)
    }

    /// Leaves out the segments before the one that `position` lies in. Segments begin with a batch.
    pub fn skip_to_segment_of(&mut self, position: u64) {
        let base = self.window.log.base_of(position);
        if base > self.position {
            (self.position, self.previous) = (base, None);
        }
    }

    /// Whether a sound batch has come behind the end that was met.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn has_more(&mut self) -> Result<bool, Error> {
        self.window.forget();
        self.window.log.refresh()?;
        if !self.window.log.has(self.position) {
            return Ok(false);
        }
        // A shard that is closed while it is followed has written a last batch, not this checkpoint.
        self.clean_end = None;
        Ok(self.check_batch(self.position, self.previous).is_ok())
    }

    /// The next batch, damage or the end; after the end, the end.
    ///
    /// # Errors
    /// The directory cannot be listed any more. A file that cannot be read is damage.
    pub fn step(&mut self) -> Result<Step, Error> {
        if let Some(step) = self.skip_missing_segment()? {
            return Ok(step);
        }
        match self.check_batch(self.position, self.previous) {
            Ok(batch) => Ok(self.go_on(batch)),
            Err(_) if self.clean_end == Some(self.position) => Ok(self.end(0)),
            Err(reason) => self.judge(reason),
        }
    }

    fn go_on(&mut self, batch: Batch) -> Step {
        self.position = self.behind(&batch.seal, batch.seal_position);
        self.previous = Some(batch.seal.crc);
        self.synced = self.synced.max(batch.seal.synced_to);
        Step::Batch(batch)
    }

    fn end(&self, torn_bytes: u64) -> Step {
        Step::End(LogEnd {
            position: self.position,
            torn_bytes,
        })
    }

    fn damage(&mut self, to: u64, previous: Option<u32>, reason: String) -> Step {
        let from = self.position;
        (self.position, self.previous) = (to, previous);
        Step::Damage(DamagedRange { from, to, reason })
    }

    /// A segment that is not there is damage if one follows, unless retention has taken it while this walk was on its way.
    fn skip_missing_segment(&mut self) -> Result<Option<Step>, Error> {
        while !self.window.log.has(self.position) {
            let was_first = self.window.log.min().is_none_or(|min| min >= self.position);
            self.window.log.refresh()?;
            if self.window.log.has(self.position) {
                break;
            }
            let is_first = self.window.log.min().is_none_or(|min| min > self.position);
            match self.window.log.first_from(self.position) {
                Some(next) if is_first || was_first => {
                    (self.position, self.previous) = (next, None);
                }
                Some(next) => {
                    let reason = format!("the segment {:020} is missing", self.window.log.base_of(self.position));
                    return Ok(Some(self.damage(next, None, reason)));
                }
                None if self.position < self.synced => {
                    let reason = "the log was durable up to there, but its last segments are missing".to_owned();
                    return Ok(Some(self.damage(self.synced, None, reason)));
                }
                None => return Ok(Some(self.end(0))),
            }
        }
        Ok(None)
    }

    /// See 2. and 3. at the head of this file.
    fn judge(&mut self, reason: String) -> Result<Step, Error> {
        let from = self.position;
        if self.is_gone(from)? {
            return self.step();
        }
        let to = if from < self.synced {
            u64::MAX
        } else {
            from.saturating_add(self.reach)
        };
        let (seal, last_used) = self.find_seal(from, to);
        if seal.is_none() && from >= self.synced {
            return Ok(self.end(last_used.saturating_sub(from)));
        }
        if let Some(batch) = self.look_again(from) {
            return Ok(self.go_on(batch));
        }
        // That took a while.
        if self.is_gone(from)? {
            return self.step();
        }
        let reason = self.explain(from, reason);
        let Some((to, previous)) = self.behind_damage(from) else {
            let to = self.synced.max(from);
            let reason = format!("{reason}; nothing sound follows, though the log was durable up to {to}");
            return Ok(self.damage(to, None, reason));
        };
        Ok(self.damage(to, previous, reason))
    }

    /// Retention may have taken the segment that a position lies in.
    fn is_gone(&mut self, position: u64) -> Result<bool, Error> {
        self.window.log.refresh()?;
        Ok(!self.window.log.has(position))
    }

    fn look_again(&mut self, from: u64) -> Option<Batch> {
        loop {
            self.window.forget();
            if let Ok(batch) = self.check_batch(from, self.previous) {
                return Some(batch);
            }
            if self.waits == SETTLE_WAITS_MAX || self.clean_end.is_some() {
                return None;
            }
            self.waits += 1;
            std::thread::sleep(SETTLE_TIME);
        }
    }

    /// Where the walk goes on behind damage that begins at `from`, and the CRC of the seal before if that is known.
    fn behind_damage(&mut self, from: u64) -> Option<(u64, Option<u32>)> {
        let mut search = from;
        loop {
            let (seal, position) = self.find_seal(search, u64::MAX).0?;
            if seal.start > from && self.check_batch(seal.start, None).is_ok() {
                return Some((seal.start, None));
            }
            // Its own batch is the damaged one, or one of them.
            if seal.start >= from {
                return Some((self.behind(&seal, position), Some(seal.crc)));
            }
            search = position + 1;
        }
    }

    fn behind(&self, seal: &Seal, position: u64) -> u64 {
        if seal.ends_segment {
            self.window.log.end_of(position)
        } else {
            position + SEAL_SIZE as u64
        }
    }

    /// The batch that begins at `start`, if it is sound; else what is wrong.
    fn check_batch(&mut self, start: u64, previous: Option<u32>) -> Result<Batch, String> {
        let mut crc = crc32fast::Hasher::new();
        let (mut position, mut records) = (start, 0_u32);
        // Its records are visited afterwards.
        self.window.keep_from(start);
        loop {
            let (kind, size) = self.record_size(position)?;
            let (shard, store_id) = (self.shard, self.store_id);
            let record = self.window.bytes(position, size)?;
            if kind == RecordKind::Seal {
                let seal = seal_at(record, position, shard, store_id)
                    .ok_or_else(|| format!("the seal at {position} is damaged"))?;
                check_seal(&seal, (start, records), crc.finalize(), previous)?;
                return Ok(Batch {
                    seal,
                    seal_position: position,
                });
            }
            match own_offset(kind, record) {
                Some(own) if own == PhysicalOffset::new(shard, position) => {}
                own => {
                    let says = own.map_or("nowhere".to_owned(), |own| {
                        format!("at {} of shard {}", own.position(), own.shard())
                    });
                    return Err(format!("the record at {position} says that it lies {says}"));
                }
            }
            crc.update(record);
            position += size as u64;
            records = records.saturating_add(1);
        }
    }

    fn record_size(&mut self, position: u64) -> Result<(RecordKind, usize), String> {
        let segment_end = self.window.log.end_of(position);
        let header = self.window.bytes(position, 8)?;
        let (kind, size) = kind_and_size(header).ok_or_else(|| {
            let hex: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("no record begins at {position}: size and magic are {hex}")
        })?;
        if position + size as u64 > segment_end {
            return Err(format!(
                "the record at {position} of {size} bytes leads out of its segment"
            ));
        }
        Ok((kind, size))
    }

    /// Visits the records of a sound batch, without its seal.
    ///
    /// # Errors
    /// What `visit` says, or that the log has gone in the meantime.
    pub fn records<E: From<Error>>(
        &mut self,
        batch: &Batch,
        mut visit: impl FnMut(RecordKind, u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut position = batch.seal.start;
        while position < batch.seal_position {
            let (kind, size) = self.record_size(position).map_err(gone)?;
            visit(kind, position, self.window.bytes(position, size).map_err(gone)?)?;
            position += size as u64;
        }
        Ok(())
    }

    /// A record of the log, if one of that size is at `position`.
    ///
    /// # Errors
    /// What is there instead.
    pub fn record_at(&mut self, position: u64, size: usize) -> Result<(RecordKind, &[u8]), String> {
        self.window.fill(position, size.max(8))?;
        let (kind, found) = self.record_size(position)?;
        if found != size {
            return Err(format!("the record at {position} has {found} bytes"));
        }
        Ok((kind, self.window.bytes(position, size)?))
    }

    /// CRC-32 of a range, as far as it can be read.
    pub fn crc_of_range(&mut self, from: u64, to: u64) -> u32 {
        crc_of_range(&mut self.window, from, to)
    }

    /// Whether a position lies below the first segment, as it is now.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn is_deleted(&mut self, position: u64) -> Result<bool, Error> {
        // What was listed before may have been deleted since.
        let path = self.window.log.path_of(position);
        if path.is_none_or(|path| !path.exists()) {
            self.window.log.refresh()?;
        }
        Ok(self.window.log.min().is_none_or(|min| position < min))
    }

    /// Which record of a damaged batch it is, if one can be told.
    fn explain(&mut self, start: u64, reason: String) -> String {
        let mut position = start;
        while let Ok((kind, size)) = self.record_size(position) {
            if kind == RecordKind::Seal {
                break;
            }
            let Ok(bytes) = self.window.bytes(position, size) else {
                break;
            };
            if kind == RecordKind::Message {
                let record = protocol::message::record::RecordView::decode(bytes);
                if let Err(error) = record.and_then(|record| record.check_body()) {
                    return format!("{reason}; the message at {position}: {error}");
                }
            }
            position += size as u64;
        }
        reason
    }

    /// The first seal of this log from `from` on and before `to` that is sound in itself, with its position; and the position
    /// behind the last byte that is not zero, as far as was looked.
    fn find_seal(&mut self, from: u64, to: u64) -> (Option<(Seal, u64)>, u64) {
        let (mut position, mut last_used) = (from, from);
        loop {
            if !self.window.log.has(position) {
                match self.window.log.first_from(position) {
                    Some(base) => position = base,
                    None => return (None, last_used),
                }
            }
            let segment_end = self.window.log.end_of(position);
            if position >= to {
                return (None, last_used);
            }
            let written = self.window.log.data_from(position);
            if written > position {
                // Nothing was ever written before that place, so no seal begins there.
                position = written;
                continue;
            }
            if self.window.fill(position, WINDOW_SIZE).is_err() {
                position = (position - position % SECTOR_SIZE + SECTOR_SIZE).min(segment_end);
                continue;
            }
            if let Some(last) = last_not_zero(self.window.content()) {
                let content = self.window.content();
                let used = content.get(..(last + SEAL_SIZE).min(content.len())).unwrap_or_default();
                let is_ours = |seal: &Seal| seal.shard == self.shard && seal.store_id == self.store_id;
                if let Some(found) = seal_in(used, position, |seal, at| is_ours(seal) && seal.position() == Some(at)) {
                    return (Some(found), last_used);
                }
                // A segment that is used again is full of what it held before; that is no write that was cut short.
                if seal_in(used, position, |seal, at| is_ours(seal) && seal.position() < Some(at)).is_none() {
                    last_used = position + last as u64 + 1;
                }
            }
            let read = self.window.content().len();
            // Windows overlap by less than a seal, so that none is missed between two.
            position = match read {
                0..SEAL_SIZE => segment_end,
                _ if position + read as u64 >= segment_end => segment_end,
                _ => position + (read - (SEAL_SIZE - 1)) as u64,
            };
        }
    }
}

fn gone<E: From<Error>>(reason: String) -> E {
    let source = io::Error::other(reason);
    E::from(Error::Io {
        action: "read once more",
        path: "the log".into(),
        source,
    })
}

fn check_seal(seal: &Seal, (start, records): (u64, u32), batch_crc: u32, previous: Option<u32>) -> Result<(), String> {
    if seal.start != start || seal.records != records {
        return Err(format!(
            "a batch of {records} records begins at {start}, but its seal is of {} records from {} on",
            seal.records, seal.start
        ));
    }
    if previous.is_some_and(|previous| previous != seal.previous) {
        return Err(format!("the batch at {start} does not follow the one before it"));
    }
    if seal.batch_crc != batch_crc {
        return Err(format!("the checksum of the batch at {start} does not match"));
    }
    Ok(())
}

/// A seal of this log, at its place.
fn seal_at(bytes: &[u8], position: u64, shard: ShardId, store_id: u64) -> Option<Seal> {
    let seal = Seal::decode(bytes)?;
    let is_ours = seal.shard == shard && seal.store_id == store_id && seal.position() == Some(position);
    is_ours.then_some(seal)
}

/// The first seal that is sound in itself and wanted, by what it says and where it lies.
fn seal_in(window: &[u8], position: u64, wanted: impl Fn(&Seal, u64) -> bool) -> Option<(Seal, u64)> {
    const SIZE_FIELD: [u8; 4] = 80_u32.to_be_bytes();
    const _: () = assert!(SEAL_SIZE == 80, "a seal begins with its size");
    let starts = window.windows(8).enumerate();
    let starts = starts.filter(|(_, header)| header.starts_with(&SIZE_FIELD));
    starts
        .filter_map(|(at, _)| {
            let at_position = position + at as u64;
            let seal = Seal::decode(window.get(at..)?)?;
            wanted(&seal, at_position).then_some((seal, at_position))
        })
        .next()
}
