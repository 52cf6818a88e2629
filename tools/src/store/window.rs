//! A window on a log: what was read of it at once, in large pieces, so that memory does not grow with the log.

use super::files::LogFiles;
use super::read_ahead::{ALIGNMENT, Piece, ReadAhead};
use std::fs::File;
use std::sync::Arc;

/// Bytes read at once.
pub const WINDOW_SIZE: usize = 4 << 20;
/// The unit in which a disk loses data.
pub const SECTOR_SIZE: u64 = 4096;

/// Some bytes of a log.
#[derive(Debug)]
pub struct Window {
    /// The log.
    pub log: LogFiles,
    content: Piece,
    position: u64,
    /// From here on what was read is wanted again.
    kept: u64,
    ahead: Option<ReadAhead>,
    /// The segment that is read ahead, opened for that.
    direct: Option<(u64, Arc<File>)>,
}

impl Window {
    /// On nothing yet.
    #[must_use]
    pub fn new(log: LogFiles) -> Window {
        Window {
            log,
            content: Piece::default(),
            position: 0,
            kept: u64::MAX,
            ahead: None,
            direct: None,
        }
    }

    /// What was read last.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.content.content()
    }

    /// What was read is read again when it is wanted again.
    pub fn forget(&mut self) {
        self.content.clear();
        if let Some(ahead) = &mut self.ahead {
            ahead.forget();
        }
    }

    /// Keeps what is there from `position` on while the window goes on, if there is space: a batch is looked at twice, and most
    /// windows end within one.
    pub fn keep_from(&mut self, position: u64) {
        self.kept = position;
    }

    /// `size` bytes at `position`.
    ///
    /// # Errors
    /// Why they cannot be had, for people.
    pub fn bytes(&mut self, position: u64, size: usize) -> Result<&[u8], String> {
        if !self.holds(position, size) {
            self.fill(position, size.max(WINDOW_SIZE))?;
            if !self.holds(position, size) {
                return Err(format!("the log's file ends within the record at {position}"));
            }
        }
        let from = usize::try_from(position - self.position).unwrap_or(usize::MAX);
        Ok(self.content().get(from..from.saturating_add(size)).unwrap_or_default())
    }

    fn holds(&self, position: u64, size: usize) -> bool {
        let end = self.position + self.content().len() as u64;
        position >= self.position && position.saturating_add(size as u64) <= end
    }

    /// Reads up to `size` bytes from `position`, as far as the segment goes and the disk gives them.
    ///
    /// # Errors
    /// Not even the first byte can be read.
    pub fn fill(&mut self, position: u64, size: usize) -> Result<(), String> {
        if size == WINDOW_SIZE && self.go_on(position) {
            return Ok(());
        }
        self.position = position;
        // Up to an aligned place, so that what is read ahead can follow.
        let unaligned = position % ALIGNMENT as u64;
        let wanted = size + usize::try_from((ALIGNMENT as u64 - unaligned) % ALIGNMENT as u64).unwrap_or(0);
        let wanted = if size == WINDOW_SIZE { wanted } else { size };
        let mut bytes = self.content.take();
        let read = self.log.read(position, wanted, &mut bytes);
        self.content.replace(bytes);
        match read {
            Ok(()) => {
                if size == WINDOW_SIZE {
                    self.read_ahead();
                }
                Ok(())
            }
            // One bad sector fails the whole read; what is before it may be all that is wanted.
            Err(error) => match self.read_sectors(position, size) {
                0 => Err(format!("the log cannot be read at {position}: {error}")),
                _ => Ok(()),
            },
        }
    }

    fn read_sectors(&mut self, position: u64, size: usize) -> usize {
        let end = position.saturating_add(size as u64).min(self.log.end_of(position));
        let (mut all, mut sector) = (Vec::new(), Vec::new());
        let mut at = position;
        while at < end {
            let next = (at - at % SECTOR_SIZE + SECTOR_SIZE).min(end);
            let wanted = usize::try_from(next - at).unwrap_or(0);
            match self.log.read(at, wanted, &mut sector) {
                Ok(()) if sector.len() == wanted => all.extend_from_slice(&sector),
                _ => break,
            }
            at = next;
        }
        self.content.replace(all);
        self.content().len()
    }

    /// Takes what was read ahead, if it follows what is there and `position` lies in that or at its end.
    fn go_on(&mut self, position: u64) -> bool {
        let end = self.position + self.content().len() as u64;
        let (Some(ahead), true) = (&mut self.ahead, (self.position..=end).contains(&position)) else {
            return false;
        };
        let Some(mut next) = ahead.take(end) else { return false };
        let content = self.content.content();
        let mut add = |from: u64| {
            let tail = usize::try_from(from - self.position).unwrap_or(usize::MAX);
            next.prepend(content.get(tail..).unwrap_or_default()).then_some(from)
        };
        let kept = self.kept.clamp(self.position, position);
        let Some(from) = add(kept).or_else(|| add(position)) else {
            ahead.give_back(next);
            return false;
        };
        let before = std::mem::replace(&mut self.content, next);
        ahead.give_back(before);
        self.position = from;
        self.read_ahead();
        true
    }

    /// Has what follows read by another thread.
    fn read_ahead(&mut self) {
        let next = self.position + self.content().len() as u64;
        let base = self.log.base_of(next);
        if !next.is_multiple_of(ALIGNMENT as u64) || self.content().is_empty() || !self.log.has(next) {
            return;
        }
        if self.direct.as_ref().is_none_or(|(open, _)| *open != base) {
            self.direct = self.log.open_direct(base).map(|file| (base, Arc::new(file)));
        }
        let Some((_, file)) = &self.direct else { return };
        let file = Arc::clone(file);
        if self.ahead.is_none() {
            self.ahead = ReadAhead::start().ok();
        }
        if let Some(ahead) = &mut self.ahead {
            let rest = usize::try_from(self.log.end_of(next) - next).unwrap_or(usize::MAX);
            ahead.request(file, next, next - base, WINDOW_SIZE.min(rest));
        }
    }
}

/// The last byte that is not zero. Most of what is searched is space never written to: looked at in large steps.
#[must_use]
pub fn last_not_zero(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 4096;
    let mut end = bytes.len();
    while let Some(start) = end.checked_sub(STEP) {
        if bytes.get(start..end) != Some(&[0_u8; STEP]) {
            break;
        }
        end = start;
    }
    bytes.get(..end)?.iter().rposition(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_joins_what_was_read_before() {
        const SEGMENT_SIZE: u64 = 12 << 20;
        let directory = tempfile::tempdir().unwrap();
        let words = (0..SEGMENT_SIZE).step_by(8).flat_map(u64::to_be_bytes);
        std::fs::write(directory.path().join(format!("{:020}", 0)), words.collect::<Vec<u8>>()).unwrap();
        for base in [SEGMENT_SIZE, 2 * SEGMENT_SIZE] {
            let file = File::create(directory.path().join(format!("{base:020}"))).unwrap();
            file.set_len(SEGMENT_SIZE).unwrap();
        }
        let log = LogFiles::find(vec![directory.path().to_owned()], SEGMENT_SIZE).unwrap();
        let can_be_direct = log.open_direct(0).is_some();
        let mut window = Window::new(log);
        // Of no size that divides a piece.
        for size in [3000_usize, 1_000_000] {
            for position in (0..SEGMENT_SIZE - size as u64).step_by(size) {
                let bytes = window.bytes(position, size).unwrap();
                assert_eq!(bytes.len(), size);
                assert_eq!(bytes[..8], position.to_be_bytes(), "at {position}");
                let last = position + size as u64 - 8;
                assert_eq!(bytes[size - 8..], last.to_be_bytes(), "at {last}");
            }
        }
        assert_eq!(window.ahead.is_some(), can_be_direct);
        // What is kept stays, as far as there is headroom.
        for kept in [0, 5 << 20] {
            window.forget();
            window.keep_from(kept);
            for position in (kept..kept + (6 << 20)).step_by(3000) {
                assert_eq!(window.bytes(position, 3000).unwrap()[..8], position.to_be_bytes());
            }
            assert_eq!(window.position == kept, can_be_direct);
            assert_eq!(window.bytes(kept, 8).unwrap(), kept.to_be_bytes());
        }
        window.keep_from(0);
        for position in (0..SEGMENT_SIZE - 3000).step_by(3000) {
            assert_eq!(window.bytes(position, 3000).unwrap()[..8], position.to_be_bytes());
        }
        assert!(window.position > 0, "not all of it");
        // A place far away, and back.
        for position in [8_u64 << 20, 80, 11 << 20] {
            assert_eq!(window.bytes(position, 8).unwrap(), position.to_be_bytes());
        }
    }
}
