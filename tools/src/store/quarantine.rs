//! Ranges of the logs that are known to be lost: `quarantine.json` in the store. `repair --apply` writes it; verify takes a range that
//! stands in it for settled, as long as the bytes in it are still the same. No broker reads it.

use super::files::{Error, read_if_there};
use super::window::{WINDOW_SIZE, Window};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file's name.
pub const NAME: &str = "quarantine.json";

/// What is known to be lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The ranges, in the order in which they were found.
    pub ranges: Vec<LostRange>,
}

/// A range that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LostRange {
    /// The shard.
    pub shard: u8,
    /// Where it begins in the shard's log.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// CRC-32 of what can be read of it: later damage in the range is noticed.
    pub crc32: u32,
    /// What is wrong with it.
    pub reason: String,
    /// Where its bytes are kept, in the store.
    pub kept_in: String,
}

impl Quarantine {
    /// Of a store; empty without the file.
    ///
    /// # Errors
    /// [`Error::BadDescription`], [`Error::Io`].
    pub fn read(root: &Path) -> Result<Quarantine, Error> {
        let path = path(root);
        let Some(bytes) = read_if_there(&path)? else {
            return Ok(Quarantine::default());
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::BadDescription {
            path,
            reason: error.to_string(),
        })
    }

    /// Whether a range stands in it, with these bytes.
    #[must_use]
    pub fn holds(&self, shard: u8, (from, to): (u64, u64), crc32: impl FnOnce() -> u32) -> bool {
        let found = self
            .ranges
            .iter()
            .find(|range| (range.shard, range.from, range.to) == (shard, from, to));
        found.is_some_and(|range| range.crc32 == crc32())
    }
}

/// Where it is.
#[must_use]
pub fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}

/// Visits the bytes of a range, piece by piece, as far as they can be read; what cannot be, or is not there, is left out.
///
/// # Errors
/// What `visit` says.
pub fn visit_range<E>(
    window: &mut Window,
    from: u64,
    to: u64,
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut position = from;
    while position < to {
        let Some(base) = window
            .log
            .first_from(window.log.base_of(position))
            .filter(|base| *base < to)
        else {
            break;
        };
        position = position.max(base);
        let wanted = usize::try_from(to - position).unwrap_or(usize::MAX).min(WINDOW_SIZE);
        let read = match window.fill(position, wanted) {
            Ok(()) => window.content().len(),
            Err(_) => 0,
        };
        if read > 0 {
            visit(position, window.content())?;
        }
        position = match read {
            // A sector that cannot be read, or the file's end.
            0 => (position + super::window::SECTOR_SIZE).min(window.log.end_of(position)),
            read => position + read as u64,
        };
    }
    Ok(())
}

/// CRC-32 of a range, as far as it can be read.
pub fn crc_of_range(window: &mut Window, from: u64, to: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let visited: Result<(), std::convert::Infallible> = visit_range(window, from, to, |_, bytes| {
        crc.update(bytes);
        Ok(())
    });
    let Ok(()) = visited;
    crc.finalize()
}
