//! What the files of both indexes share: their errors, big-endian numbers read with bounds, and a checksum around a small file.

use crate::consume_queue::Hole;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong in an index. None of it costs a message: indexes are made from the commitlog and can be made again.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// A sync failed earlier. What was written since the last good one may be gone, and a later sync would not say so, so
    /// nothing more is promised; a restart makes the index again from its last good checkpoint.
    #[error("the index in {} is fenced since a sync failed ({reason}); mend the disk and restart", directory.display())]
    Fenced {
        /// The directory of the index.
        directory: PathBuf,
        /// The error of the sync that failed.
        reason: String,
    },
    /// Entries of a queue are missing or damaged; [`crate::consume_queue::ConsumeQueues::fill`] puts them back.
    #[error("{0}")]
    Hole(Hole),
    /// A page of an index file does not read as it was written.
    #[error("page {page} of {} is damaged: {reason}", path.display())]
    DamagedPage {
        /// The file.
        path: PathBuf,
        /// The page in the file, from 0.
        page: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry is not the next one of its queue.
    #[error("entry {found} of queue {queue_id} of topic {topic} came where {expected} was next")]
    NotNext {
        /// The topic.
        topic: String,
        /// The queue.
        queue_id: u32,
        /// Queue offset that was next.
        expected: i64,
        /// Queue offset that came.
        found: i64,
    },
    /// A topic that does not fit in a page of the index.
    #[error("a topic of {length} bytes is longer than the {length_max} that the consume queue can hold; shorten it")]
    TopicTooLong {
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        length_max: usize,
    },
    /// All page or slot numbers are used up.
    #[error("the {what} of {} are used up at {limit}; move the topics to a new store", directory.display())]
    UsedUp {
        /// Which kind of number.
        what: &'static str,
        /// The directory of the index.
        directory: PathBuf,
        /// The highest one.
        limit: u64,
    },
}

impl IndexError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
        let path = path.to_owned();
        move |source| IndexError::Io { action, path, source }
    }
}

/// Takes big-endian numbers off the front of bytes that may be damaged: every read says `None` at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }
}

/// Bytes of [`seal`] before what it seals.
const SEAL_SIZE: usize = 8;

/// A small file: `magic` | CRC-32 of the rest u32 | `contents`.
pub(crate) fn seal(magic: u32, contents: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SEAL_SIZE + contents.len());
    sealed.extend_from_slice(&magic.to_be_bytes());
    sealed.extend_from_slice(&crc32fast::hash(contents).to_be_bytes());
    sealed.extend_from_slice(contents);
    sealed
}

/// What [`seal`] sealed; else what is wrong.
pub(crate) fn unseal(magic: u32, sealed: &[u8]) -> Result<Reader<'_>, &'static str> {
    let mut reader = Reader(sealed);
    let (Some(found_magic), Some(crc)) = (reader.u32(), reader.u32()) else {
        return Err("it is too short");
    };
    if found_magic != magic {
        return Err("it is of another kind");
    }
    if crc32fast::hash(reader.0) != crc {
        return Err("its checksum does not match");
    }
    Ok(reader)
}

/// A number of things in memory as the formats' 32 bits.
pub(crate) fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("what is counted here is far below 2^32")
}

/// A number of pages or bytes in a page as an index.
pub(crate) const fn index(number: u32) -> usize {
    number as usize
}

const _: () = assert!(usize::BITS >= 32, "a 32-bit number is an index");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_with_any_bit_flipped_or_cut_is_refused() {
        let sealed = seal(7, b"contents");
        assert_eq!(unseal(7, &sealed).unwrap().0, b"contents");
        assert!(unseal(8, &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(7, &damaged).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(unseal(7, &sealed[..length]).is_err(), "length {length}");
        }
    }
}
