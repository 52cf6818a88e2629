//! The files of one queue: entries of a fixed size, at queue offset times that size.
//!
//! ```text
//! consumequeue        physical offset i64 | record size i32 | tag hash i64
//! batchconsumequeue   the same | time of storing i64 | queue offset of the first i64 | messages i16 | compact offset i32 | 4 unused
//! consumequeue_ext    size i16 | tag hash i64 | time of storing i64 | bytes of the bit map i16 | bit map
//! ```
//!
//! A tag hash below -2^31 - 1 is no hash but a place in `consumequeue_ext`, counted from -2^63 on; the hash stands there. A queue
//! that begins further up begins with fillers: physical offset 0, size 2^31 - 1, tag hash 0. What was never written is zero.

use super::log_files;
use crate::store::files::{Error, LogFiles};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of an entry.
const ENTRY_SIZE: usize = 20;
/// Bytes of an entry of batches.
const BATCH_ENTRY_SIZE: usize = 46;
/// Tag hashes up to this are places in `consumequeue_ext`.
const EXT_ADDRESS_MAX: i64 = i32::MIN as i64 - 1;
/// Entries read at once.
const ENTRIES_AT_ONCE: usize = 4096;

/// Which kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueKind {
    /// An entry a message.
    Single,
    /// An entry a batch (`queue.type=BatchCQ`).
    Batch,
}

impl QueueKind {
    pub(super) fn directory(self) -> &'static str {
        match self {
            QueueKind::Single => "consumequeue",
            QueueKind::Batch => "batchconsumequeue",
        }
    }

    fn entry_size(self) -> usize {
        match self {
            QueueKind::Single => ENTRY_SIZE,
            QueueKind::Batch => BATCH_ENTRY_SIZE,
        }
    }
}

/// A queue that has files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName {
    /// The topic.
    pub topic: String,
    /// The queue in it.
    pub queue_id: u32,
    /// Which kind.
    pub kind: QueueKind,
}

/// What an entry says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its record lies.
    pub position: u64,
    /// Bytes of the record.
    pub record_size: u32,
    /// Its tag hash, or where that stands.
    pub tag_hash: i64,
    /// Messages in the record: more than 1 in a queue of batches.
    pub messages: u16,
}

/// What lies where an entry can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An entry.
    Entry(Entry),
    /// Nothing: the queue begins further up.
    Filler,
    /// Nothing was written there.
    Empty,
    /// What cannot be.
    Nonsense,
}

/// The files of a queue.
#[derive(Debug)]
pub struct ConsumeQueue {
    kind: QueueKind,
    files: LogFiles,
    ext: PathBuf,
    ext_files: Option<LogFiles>,
    buffer: Vec<u8>,
}

impl ConsumeQueue {
    pub(super) fn open(root: &Path, name: &QueueName) -> Result<ConsumeQueue, Error> {
        let of_queue = |directory: &str| root.join(directory).join(&name.topic).join(name.queue_id.to_string());
        Ok(ConsumeQueue {
            kind: name.kind,
            files: log_files(vec![of_queue(name.kind.directory())])?,
            ext: of_queue("consumequeue_ext"),
            ext_files: None,
            buffer: Vec::new(),
        })
    }

    fn entry_size(&self) -> u64 {
        self.kind.entry_size() as u64
    }

    /// Number of the first slot that there is a file for.
    #[must_use]
    pub fn first_slot(&self) -> u64 {
        self.files.min().unwrap_or(0) / self.entry_size()
    }

    /// Number of the slot behind the last that there is a file for.
    #[must_use]
    pub fn slots_end(&self) -> u64 {
        self.files.max().unwrap_or(0) / self.entry_size()
    }

    /// The slots from number `slot` on, some at once; none behind the last file. In a queue without batches their numbers are
    /// queue offsets.
    ///
    /// # Errors
    /// The file system's; a missing file in the middle is full of empty slots.
    pub fn slots(&mut self, slot: u64) -> io::Result<Vec<Slot>> {
        if slot >= self.slots_end() {
            return Ok(Vec::new());
        }
        let entry_size = self.kind.entry_size();
        let position = slot * entry_size as u64;
        if !self.files.has(position) {
            let missing = (self.files.end_of(position) - position) / entry_size as u64;
            let missing = usize::try_from(missing).unwrap_or(1).clamp(1, ENTRIES_AT_ONCE);
            return Ok(vec![Slot::Empty; missing]);
        }
        self.files
            .read(position, entry_size * ENTRIES_AT_ONCE, &mut self.buffer)?;
        let slots: Vec<Slot> = self
            .buffer
            .chunks_exact(entry_size)
            .map(|bytes| slot_of(self.kind, bytes))
            .collect();
        // A file that is cut off ends within its first slot here.
        Ok(if slots.is_empty() { vec![Slot::Empty] } else { slots })
    }

    /// Number of the slot behind the last that holds something, found by halving: slots are filled in order.
    ///
    /// # Errors
    /// The file system's.
    pub fn end(&mut self) -> io::Result<u64> {
        let Some(max) = self.files.max() else { return Ok(0) };
        let last_file = self.files.base_of(max - 1) / self.entry_size();
        let (mut low, mut high) = (last_file, self.slots_end());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.slot(middle)? == Slot::Empty {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    fn slot(&mut self, slot: u64) -> io::Result<Slot> {
        let entry_size = self.kind.entry_size();
        self.files
            .read(slot * entry_size as u64, entry_size, &mut self.buffer)?;
        let bytes = self.buffer.get(..entry_size);
        Ok(bytes.map_or(Slot::Empty, |bytes| slot_of(self.kind, bytes)))
    }

    /// The tag hash of an entry, fetched from `consumequeue_ext` if it stands there; `None` if there is nothing to fetch.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn tag_hash(&mut self, entry: &Entry) -> Result<Option<i64>, Error> {
        if entry.tag_hash > EXT_ADDRESS_MAX {
            return Ok(Some(entry.tag_hash));
        }
        let position = entry.tag_hash.wrapping_sub(i64::MIN).cast_unsigned();
        let files = match &mut self.ext_files {
            Some(files) => files,
            none => none.insert(log_files(vec![self.ext.clone()])?),
        };
        let mut unit = Vec::new();
        files
            .read(position, 20, &mut unit)
            .map_err(Error::io("read", &self.ext))?;
        let hash = unit
            .get(2..10)
            .and_then(|bytes| bytes.try_into().ok())
            .map(i64::from_be_bytes);
        let is_written = unit.first_chunk().is_some_and(|size| i16::from_be_bytes(*size) >= 20);
        Ok(hash.filter(|_| is_written))
    }
}

fn slot_of(kind: QueueKind, bytes: &[u8]) -> Slot {
    let fields = || {
        let position = i64::from_be_bytes(*bytes.first_chunk()?);
        let size = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        let tag_hash = i64::from_be_bytes(*bytes.get(12..)?.first_chunk()?);
        let messages = match kind {
            QueueKind::Single => 1,
            QueueKind::Batch => i16::from_be_bytes(*bytes.get(36..)?.first_chunk()?),
        };
        Some((position, size, tag_hash, messages))
    };
    match fields() {
        None | Some((0, 0, 0, _)) => Slot::Empty,
        Some((0, i32::MAX, 0, _)) => Slot::Filler,
        Some((position, size, tag_hash, messages)) => {
            let numbers = (u64::try_from(position), u32::try_from(size), u16::try_from(messages));
            let (Ok(position), Ok(record_size @ 1..), Ok(messages)) = numbers else {
                return Slot::Nonsense;
            };
            Slot::Entry(Entry {
                position,
                record_size,
                tag_hash,
                messages,
            })
        }
    }
}
