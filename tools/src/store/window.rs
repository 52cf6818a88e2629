//! A window on a log: what was read of it at once, in large pieces, so that memory does not grow with the log.

use super::files::LogFiles;

/// Bytes read at once.
pub const WINDOW_SIZE: usize = 4 << 20;
/// The unit in which a disk loses data.
pub const SECTOR_SIZE: u64 = 4096;

/// Some bytes of a log.
#[derive(Debug)]
pub struct Window {
    /// The log.
    pub log: LogFiles,
    content: Vec<u8>,
    position: u64,
}

impl Window {
    /// On nothing yet.
    #[must_use]
    pub fn new(log: LogFiles) -> Window {
        Window {
            log,
            content: Vec::new(),
            position: 0,
        }
    }

    /// What was read last.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// What was read is read again when it is wanted again.
    pub fn forget(&mut self) {
        self.content.clear();
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
        Ok(self.content.get(from..from.saturating_add(size)).unwrap_or_default())
    }

    fn holds(&self, position: u64, size: usize) -> bool {
        let end = self.position + self.content.len() as u64;
        position >= self.position && position.saturating_add(size as u64) <= end
    }

    /// Reads up to `size` bytes from `position`, as far as the segment goes and the disk gives them.
    ///
    /// # Errors
    /// Not even the first byte can be read.
    pub fn fill(&mut self, position: u64, size: usize) -> Result<(), String> {
        self.position = position;
        match self.log.read(position, size, &mut self.content) {
            Ok(()) => Ok(()),
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
        self.content = all;
        self.content.len()
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
