//! A walk over Apache's commitlog, record by record, with memory that does not grow with it.
//!
//! 1. A record counts if its magic is a message's, its lengths add up to its size, and the physical offset that it says is
//!    where it lies. Its body's CRC is not looked at here: a body can be damaged without a doubt about the records around it.
//! 2. Where that fails, the next place is searched at which a record lies that says so; the bytes between are damaged. A
//!    broker that is writing can make a record look like that for a moment, so it is looked at again first.
//! 3. Where no record follows, the log ends. Bytes behind it that are not zero are a write that was cut short, or what a
//!    recovery of Apache's has left there: it moves the end back without wiping what lies behind.

use crate::store::files::{Error, LogFiles};
use crate::store::walk::{DamagedRange, LogEnd};
use crate::store::window::{SECTOR_SIZE, WINDOW_SIZE, Window, last_not_zero};
use protocol::message::record::{
    BLANK_SIZE_MIN, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, RECORD_SIZE_MIN, RecordView, decode_size_and_magic,
};
use std::time::Duration;

/// The first three bytes of both magics of a message.
const MAGIC_BEGIN: [u8; 3] = [0xda, 0xa3, 0x20];
/// Where the magic stands in a record.
const MAGIC_AT: usize = 4;
/// Bytes in which size, magic and physical offset stand.
const HEAD_SIZE: usize = 36;
/// Most bytes of a record that are believed. Apache's broker takes 4 MiB unless it is told otherwise.
const RECORD_SIZE_MAX: usize = 64 << 20;
/// How long a write that is under way may take to settle, and how often a walk waits for that in all.
const SETTLE_TIME: Duration = Duration::from_millis(5);
const SETTLE_WAITS_MAX: u32 = 20;

/// What the walk met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record; [`RecordWalk::record`] has it.
    Record(RecordPlace),
    /// Bytes that are no record.
    Damage(DamagedRange),
    /// The end.
    End(LogEnd),
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// Its physical offset.
    pub position: u64,
    /// Its bytes.
    pub size: usize,
}

/// A walk over a commitlog.
#[derive(Debug)]
pub struct RecordWalk {
    window: Window,
    position: u64,
    /// A broker may be writing.
    is_open: bool,
    waits: u32,
}

impl RecordWalk {
    /// From the first record that is kept.
    #[must_use]
    pub fn new(log: LogFiles, is_open: bool) -> RecordWalk {
        let position = log.min().unwrap_or(0);
        RecordWalk {
            window: Window::new(log),
            position,
            is_open,
            waits: 0,
        }
    }

    /// Goes on at `position` next, which is the begin of a record or of a segment, else what is between counts as damage.
    pub fn go_to(&mut self, position: u64) {
        self.position = position.max(self.window.log.min().unwrap_or(0));
    }

    /// Where the walk is.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The segments.
    #[must_use]
    pub fn log(&self) -> &LogFiles {
        &self.window.log
    }

    /// Whether a sound record has come behind the end that was met.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn has_more(&mut self) -> Result<bool, Error> {
        self.window.forget();
        self.window.log.refresh()?;
        Ok(self.window.log.has(self.position) && self.look(self.position).is_ok())
    }

    /// The next record, damage or the end. After the end it looks again: a broker may have written more.
    ///
    /// # Errors
    /// The directory cannot be listed any more. A file that cannot be read is damage.
    pub fn step(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(step) = self.skip_missing_segment()? {
                return Ok(step);
            }
            match self.look(self.position) {
                Ok(Look::Record(size)) => {
                    let position = self.position;
                    self.position += size as u64;
                    return Ok(Step::Record(RecordPlace { position, size }));
                }
                Ok(Look::Blank) => self.position = self.window.log.end_of(self.position),
                Err(reason) => {
                    if let Some(step) = self.judge(reason)? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    /// The bytes of a record that [`RecordWalk::step`] gave last, or any other.
    ///
    /// # Errors
    /// What is there instead, for people.
    pub fn record(&mut self, place: RecordPlace) -> Result<RecordView<'_>, String> {
        let bytes = self.window.bytes(place.position, place.size)?;
        RecordView::decode(bytes).map_err(|error| error.to_string())
    }

    /// The record at a position, read for itself: for places far from each other.
    ///
    /// # Errors
    /// What is there instead, for people.
    pub fn record_at(&mut self, position: u64, size: usize) -> Result<RecordView<'_>, String> {
        if !(RECORD_SIZE_MIN..=RECORD_SIZE_MAX).contains(&size) {
            return Err(format!("no record has {size} bytes"));
        }
        self.window.fill(position, size)?;
        match self.look(position)? {
            Look::Record(found) if found == size => self.record(RecordPlace { position, size }),
            Look::Record(found) => Err(format!("the record at {position} has {found} bytes")),
            Look::Blank => Err(format!("the blank record at a file's end lies at {position}")),
        }
    }

    /// A segment that is not there is damage if one follows, unless retention has taken it while this walk was on its way.
    fn skip_missing_segment(&mut self) -> Result<Option<Step>, Error> {
        while !self.window.log.has(self.position) {
            self.window.log.refresh()?;
            if self.window.log.has(self.position) {
                break;
            }
            let is_deleted = self.window.log.min().is_none_or(|min| min > self.position);
            match self.window.log.first_from(self.position) {
                Some(next) if is_deleted => self.position = next,
                Some(next) => {
                    let base = self.window.log.base_of(self.position);
                    return Ok(Some(self.damage(next, format!("the segment {base:020} is missing"))));
                }
                None => return Ok(Some(self.end(0))),
            }
        }
        Ok(None)
    }

    fn look(&mut self, position: u64) -> Result<Look, String> {
        let rest = self.window.log.end_of(position) - position;
        let header = self.window.bytes(position, BLANK_SIZE_MIN)?;
        let (size, magic) = decode_size_and_magic(header).unwrap_or_default();
        let is_message = magic == MAGIC_V1 || magic == MAGIC_V2;
        if magic == MAGIC_BLANK && u64::try_from(size) == Ok(rest) {
            return Ok(Look::Blank);
        }
        if magic == MAGIC_BLANK {
            return Err(format!(
                "the blank record at {position} says {size} bytes, its file has {rest} left"
            ));
        }
        if !is_message {
            let hex: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(format!("no record begins at {position}: size and magic are {hex}"));
        }
        let size = usize::try_from(size).unwrap_or(0);
        if !(RECORD_SIZE_MIN..=RECORD_SIZE_MAX).contains(&size) || size as u64 > rest {
            return Err(format!(
                "the record at {position} says {size} bytes, its file has {rest} left"
            ));
        }
        let record = RecordView::decode(self.window.bytes(position, size)?);
        let record = record.map_err(|error| format!("the record at {position}: {error}"))?;
        match u64::try_from(record.physical_offset.to_wire()) {
            Ok(own) if own == position => Ok(Look::Record(size)),
            _ => Err(format!(
                "the record at {position} says that it lies at {}",
                record.physical_offset.to_wire()
            )),
        }
    }

    /// See 2. and 3. at the head of this file; `None` to look once more.
    fn judge(&mut self, reason: String) -> Result<Option<Step>, Error> {
        let from = self.position;
        if self.is_open && self.waits < SETTLE_WAITS_MAX && !self.is_blank(from) {
            self.waits += 1;
            std::thread::sleep(SETTLE_TIME);
            self.window.forget();
            self.window.log.refresh()?;
            return Ok(None);
        }
        let (next, last_used) = self.find_record(from + 1);
        self.window.forget();
        match next {
            Some(next) => Ok(Some(self.damage(next, reason))),
            None => Ok(Some(self.end(last_used.saturating_sub(from)))),
        }
    }

    /// Whether nothing was written there yet.
    fn is_blank(&mut self, position: u64) -> bool {
        let header = self.window.bytes(position, BLANK_SIZE_MIN);
        header.is_ok_and(|header| header.iter().all(|byte| *byte == 0))
    }

    /// The next place from `from` on at which a record lies that says so; and the position behind the last byte that is not
    /// zero, as far as was looked.
    fn find_record(&mut self, from: u64) -> (Option<u64>, u64) {
        let (mut position, mut last_used) = (from, from - 1);
        loop {
            if !self.window.log.has(position) {
                match self.window.log.first_from(position) {
                    Some(base) => position = base,
                    None => return (None, last_used),
                }
            }
            let segment_end = self.window.log.end_of(position);
            if self.window.fill(position, WINDOW_SIZE).is_err() {
                position = (position - position % SECTOR_SIZE + SECTOR_SIZE).min(segment_end);
                continue;
            }
            let read = self.window.content().len();
            if let Some(last) = last_not_zero(self.window.content()) {
                last_used = position + last as u64 + 1;
                if let Some(found) = self.record_in_window(position, last + 1) {
                    return (Some(found), last_used);
                }
            }
            // Windows overlap by less than a head, so that none is missed between two.
            position = match read {
                0..HEAD_SIZE => segment_end,
                _ if position + read as u64 >= segment_end => segment_end,
                _ => position + (read - (HEAD_SIZE - 1)) as u64,
            };
        }
    }

    fn record_in_window(&mut self, position: u64, used: usize) -> Option<u64> {
        let candidates = heads_in(self.window.content().get(..used)?, position);
        for candidate in candidates {
            if matches!(self.look(candidate), Ok(Look::Record(_))) {
                return Some(candidate);
            }
        }
        None
    }

    fn damage(&mut self, to: u64, reason: String) -> Step {
        let from = self.position;
        self.position = to;
        Step::Damage(DamagedRange { from, to, reason })
    }

    fn end(&self, torn_bytes: u64) -> Step {
        Step::End(LogEnd {
            position: self.position,
            torn_bytes,
        })
    }
}

/// What lies at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Record(usize),
    Blank,
}

/// Positions in these bytes, the first of which lies at `position`, at which a magic stands and the physical offset is its own.
fn heads_in(bytes: &[u8], position: u64) -> Vec<u64> {
    let mut heads = Vec::new();
    for at in 0..bytes.len().saturating_sub(HEAD_SIZE - 1) {
        if bytes.get(at + MAGIC_AT..at + MAGIC_AT + 3) != Some(&MAGIC_BEGIN) {
            continue;
        }
        let own = bytes
            .get(at + 28..at + HEAD_SIZE)
            .and_then(|bytes| bytes.try_into().ok());
        if own.map(u64::from_be_bytes) == Some(position + at as u64) {
            heads.push(position + at as u64);
        }
    }
    heads
}
