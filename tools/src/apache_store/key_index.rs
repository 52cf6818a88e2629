//! A file of the key index: a hash table on the disk, filled in the order of the log.
//!
//! ```text
//! first time of storing i64 | last i64 | first physical offset i64 | last i64 | used slots i32 | number of the next entry i32
//! slots: number of the newest entry i32
//! entries, of which number 0 is not used: key hash i32 | physical offset i64 | seconds since the first i32 | the entry before
//!     in its slot i32
//! ```
//!
//! What is hashed is `TOPIC#KEY` for the unique id and each word of the keys; from 5.5 on, `TOPIC#T#TAG` too. Slot of a hash: the rest of its division by the
//! number of slots.

use crate::store::files::{Error, read_at};
use protocol::model::java_hash;
use std::fs::File;
use std::path::{Path, PathBuf};

const HEADER_SIZE: usize = 40;
const SLOT_SIZE: u64 = 4;
const ENTRY_SIZE: u64 = 20;
/// Entries a slot, by Apache's own settings (maxHashSlotNum, maxIndexNum); only the file's length tells how many there are.
const ENTRIES_A_SLOT: u64 = 4;
/// Entries read at once.
const ENTRIES_AT_ONCE: u64 = 4096;

/// A file of the key index.
#[derive(Debug)]
pub struct IndexFile {
    path: PathBuf,
    file: File,
    /// What its first bytes say; `None` if it is too short.
    pub header: Option<Header>,
    /// Slots of the table.
    pub slots: u64,
    /// Entries that it has space for.
    pub entries_max: u64,
}

/// What an index file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Time of storing of the first message, in milliseconds since 1970.
    pub begin_timestamp: i64,
    /// Of the last.
    pub end_timestamp: i64,
    /// Physical offset of the first message.
    pub begin_phy_offset: i64,
    /// Of the last.
    pub end_phy_offset: i64,
    /// Number of the entry that comes next.
    pub next_entry: u64,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// See [`key_hash`].
    pub key_hash: u32,
    /// Physical offset of the message.
    pub position: u64,
    /// Seconds from the file's first message to this one.
    pub seconds: i32,
    /// The entry before it in its slot, 0 for none.
    pub before: u32,
}

/// The hash that the index has of a key: Java's hash of the text without its sign, 0 for the one that has no opposite.
#[must_use]
pub fn key_hash(topic: &str, key: &str) -> u32 {
    let hash = java_hash(&format!("{topic}#{key}"));
    hash.checked_abs().unwrap_or(0).cast_unsigned()
}

/// The hash that the index has of a tag (from 5.5 on).
#[must_use]
pub fn tag_key_hash(topic: &str, tag: &str) -> u32 {
    let hash = java_hash(&format!("{topic}#T#{tag}"));
    hash.checked_abs().unwrap_or(0).cast_unsigned()
}

impl IndexFile {
    pub(super) fn open(path: PathBuf) -> Result<IndexFile, Error> {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let length = file.metadata().map_err(Error::io("look at", &path))?.len();
        let mut bytes = Vec::new();
        read_at(&file, 0, HEADER_SIZE, &mut bytes).map_err(Error::io("read", &path))?;
        let slots = length.saturating_sub(HEADER_SIZE as u64) / (SLOT_SIZE + ENTRIES_A_SLOT * ENTRY_SIZE);
        Ok(IndexFile {
            path,
            file,
            header: Header::decode(&bytes),
            slots,
            entries_max: slots * ENTRIES_A_SLOT,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The slots, each the number of its newest entry.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn slot_table(&self) -> Result<Vec<u32>, Error> {
        let size = usize::try_from(self.slots * SLOT_SIZE).unwrap_or(0);
        let mut bytes = Vec::new();
        read_at(&self.file, HEADER_SIZE as u64, size, &mut bytes).map_err(Error::io("read", &self.path))?;
        Ok(bytes
            .as_chunks()
            .0
            .iter()
            .map(|slot| u32::from_be_bytes(*slot))
            .collect())
    }

    /// The entries from number `first` on, some at once; none behind the last.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn entries(&self, first: u64) -> Result<Vec<IndexEntry>, Error> {
        let end = self.header.map_or(0, |header| header.next_entry).min(self.entries_max);
        let count = end.saturating_sub(first).min(ENTRIES_AT_ONCE);
        let at = HEADER_SIZE as u64 + self.slots * SLOT_SIZE + first * ENTRY_SIZE;
        let mut bytes = Vec::new();
        let size = usize::try_from(count * ENTRY_SIZE).unwrap_or(0);
        read_at(&self.file, at, size, &mut bytes).map_err(Error::io("read", &self.path))?;
        let entries = bytes.as_chunks::<20>().0.iter();
        Ok(entries.map(IndexEntry::decode).collect())
    }
}

impl Header {
    fn decode(bytes: &[u8]) -> Option<Header> {
        let number = |at: usize| Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let next_entry = i32::from_be_bytes(*bytes.get(36..)?.first_chunk()?);
        Some(Header {
            begin_timestamp: number(0)?,
            end_timestamp: number(8)?,
            begin_phy_offset: number(16)?,
            end_phy_offset: number(24)?,
            next_entry: u64::try_from(next_entry).unwrap_or(0),
        })
    }
}

impl IndexEntry {
    fn decode(bytes: &[u8; 20]) -> IndexEntry {
        let [a, b, c, d, rest @ ..] = *bytes;
        let [p0, p1, p2, p3, p4, p5, p6, p7, rest @ ..] = rest;
        let [s0, s1, s2, s3, b0, b1, b2, b3] = rest;
        IndexEntry {
            key_hash: u32::from_be_bytes([a, b, c, d]),
            position: u64::from_be_bytes([p0, p1, p2, p3, p4, p5, p6, p7]),
            seconds: i32::from_be_bytes([s0, s1, s2, s3]),
            before: u32::from_be_bytes([b0, b1, b2, b3]),
        }
    }
}
