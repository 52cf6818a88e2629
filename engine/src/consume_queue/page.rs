//! One page of the consume queue page log: 4096 bytes, big-endian.
//!
//! Head, 24 bytes: magic u32 | CRC-32 of all that follows it u32 | page number u64 | shard u8 | 0 u8 | runs u16 | bytes used u16
//! | 0 u16. Then runs, then zeros.
//!
//! Run: kind u8 | 0 u8 | topic length u16 | queue id u32 | queue offset i64 | entries u32 | topic | and
//! - kind 1, entries: consecutive entries of one queue from that queue offset on, each RocketMQ's 20 bytes: physical offset i64
//!   (shard in bits 56..=62, position in the log below) | record size i32 | tag hash i64;
//! - kind 2, floor: position u64. The queue's next queue offset is at least this one, whatever entries are kept;
//! - kind 3, deleted: position u64. All runs of this topic in earlier pages are void, and records below the position stay gone.
//!
//! A queue that is busy fills whole pages; the tails of queues that are not share pages. A page that was emptied has a head and no
//! runs; one of zeros has been lost.

use super::Entry;
use crate::index_file::{Reader, count_u32};
use bytes::Bytes;

pub(super) const PAGE_SIZE: usize = 4096;
pub(super) const ENTRY_SIZE: usize = 20;
const _: () = assert!(ENTRY_SIZE == 20, "the consume queue entry is RocketMQ's");

const MAGIC: u32 = 0x524d_4350; // RMCP
const HEAD_SIZE: usize = 24;
const RUN_HEAD_SIZE: usize = 20;
const POSITION_SIZE: usize = 8;

/// Longest topic that a page can hold with a useful number of entries. RocketMQ's own limit is 255.
pub(super) const TOPIC_LENGTH_MAX: usize = 1024;
/// Fewer entries than these are not worth a run at the end of a shared page.
const SPLIT_MIN: usize = 8;

const POSITION_BITS: u32 = 56;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;

const KIND_ENTRIES: u8 = 1;
const KIND_FLOOR: u8 = 2;
const KIND_DELETED: u8 = 3;

/// Entries of one queue that fill a page.
pub(super) fn capacity(topic: &str) -> usize {
    (PAGE_SIZE - HEAD_SIZE - RUN_HEAD_SIZE).saturating_sub(topic.len()) / ENTRY_SIZE
}

/// Collects runs until the page is full.
#[derive(Clone, Debug)]
pub(super) struct PageBuilder {
    bytes: Vec<u8>,
    runs: u16,
    shard: u8,
    /// One more than the greatest position named in it.
    end_position: u64,
}

impl PageBuilder {
    pub(super) fn new(shard: u8) -> PageBuilder {
        let mut bytes = Vec::with_capacity(PAGE_SIZE);
        bytes.resize(HEAD_SIZE, 0);
        PageBuilder {
            bytes,
            runs: 0,
            shard,
            end_position: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs == 0
    }

    /// How many of `wanted` entries of a queue of `topic` should go into this page: 0 asks for a new page.
    pub(super) fn room(&self, topic: &str, wanted: usize) -> usize {
        let free = PAGE_SIZE - self.bytes.len();
        let fit = free.saturating_sub(RUN_HEAD_SIZE + topic.len()) / ENTRY_SIZE;
        if fit >= wanted || self.is_empty() || fit >= SPLIT_MIN {
            fit.min(wanted)
        } else {
            0
        }
    }

    /// Returns where in the page the entries begin.
    pub(super) fn push_entries(&mut self, topic: &str, queue_id: u32, first: i64, entries: &[Entry]) -> u16 {
        self.run_head(KIND_ENTRIES, topic, queue_id, first, entries.len());
        let at = self.bytes.len();
        for entry in entries {
            let physical_offset = (u64::from(self.shard) << POSITION_BITS) | entry.position;
            self.bytes.extend_from_slice(&physical_offset.to_be_bytes());
            self.bytes.extend_from_slice(&entry.record_size.to_be_bytes());
            self.bytes.extend_from_slice(&entry.tag_hash.to_be_bytes());
            self.end_position = self.end_position.max(entry.position + 1);
        }
        assert!(self.bytes.len() <= PAGE_SIZE, "a page of {} bytes", self.bytes.len());
        u16::try_from(at).expect("a page is shorter than 2^16")
    }

    /// Whether it fits.
    #[must_use]
    pub(super) fn push_floor(&mut self, topic: &str, queue_id: u32, next: i64, position: u64) -> bool {
        self.push_position(KIND_FLOOR, topic, queue_id, next, position)
    }

    /// Whether it fits.
    #[must_use]
    pub(super) fn push_deleted(&mut self, topic: &str, position: u64) -> bool {
        self.push_position(KIND_DELETED, topic, 0, 0, position)
    }

    fn push_position(&mut self, kind: u8, topic: &str, queue_id: u32, first: i64, position: u64) -> bool {
        let size = RUN_HEAD_SIZE + topic.len() + POSITION_SIZE;
        if self.bytes.len() + size > PAGE_SIZE {
            return false;
        }
        self.run_head(kind, topic, queue_id, first, 0);
        self.bytes.extend_from_slice(&position.to_be_bytes());
        let end_position = if kind == KIND_DELETED { position + 1 } else { position };
        self.end_position = self.end_position.max(end_position);
        true
    }

    fn run_head(&mut self, kind: u8, topic: &str, queue_id: u32, first: i64, count: usize) {
        let topic_length = u16::try_from(topic.len()).expect("topics are checked against TOPIC_LENGTH_MAX");
        self.runs += 1;
        self.bytes.extend_from_slice(&[kind, 0]);
        self.bytes.extend_from_slice(&topic_length.to_be_bytes());
        self.bytes.extend_from_slice(&queue_id.to_be_bytes());
        self.bytes.extend_from_slice(&first.to_be_bytes());
        self.bytes.extend_from_slice(&count_u32(count).to_be_bytes());
        self.bytes.extend_from_slice(topic.as_bytes());
    }

    pub(super) fn end_position(&self) -> u64 {
        self.end_position
    }

    pub(super) fn finish(mut self, number: u32) -> Bytes {
        let used = u16::try_from(self.bytes.len()).expect("a page is shorter than 2^16");
        self.bytes.resize(PAGE_SIZE, 0);
        self.bytes[8..16].copy_from_slice(&u64::from(number).to_be_bytes());
        self.bytes[16] = self.shard;
        self.bytes[18..20].copy_from_slice(&self.runs.to_be_bytes());
        self.bytes[20..22].copy_from_slice(&used.to_be_bytes());
        let crc = crc32fast::hash(&self.bytes[8..]);
        self.bytes[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        self.bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(self.bytes)
    }
}

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Entries from `queue_offset` on.
    Entries(Entries<'a>),
    /// The queue's next offset is at least `queue_offset`.
    Floor { position: u64 },
    /// The topic was deleted.
    Deleted { position: u64 },
}

/// One run of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) topic: &'a str,
    pub(super) queue_id: u32,
    pub(super) queue_offset: i64,
    pub(super) content: Content<'a>,
}

/// Entries as they lie in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entries<'a> {
    /// Where in the page they begin.
    pub(super) at: u16,
    bytes: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(super) fn len(self) -> usize {
        self.bytes.len() / ENTRY_SIZE
    }

    pub(super) fn get(self, index: usize) -> Option<Entry> {
        let start = index.checked_mul(ENTRY_SIZE)?;
        decode(self.bytes.get(start..start.checked_add(ENTRY_SIZE)?)?)
    }

    pub(super) fn first(self) -> Option<Entry> {
        self.get(0)
    }

    pub(super) fn last(self) -> Option<Entry> {
        self.get(self.len().checked_sub(1)?)
    }

    /// `count` of them from the one at byte `at` of the page on.
    pub(super) fn part(self, at: u16, count: u16) -> Option<Entries<'a>> {
        let skip = usize::from(at.checked_sub(self.at)?);
        let size = usize::from(count) * ENTRY_SIZE;
        let bytes = self.bytes.get(skip..skip.checked_add(size)?)?;
        (skip % ENTRY_SIZE == 0).then_some(Entries { at, bytes })
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Entry> + 'a {
        self.bytes.chunks_exact(ENTRY_SIZE).filter_map(decode)
    }
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    let mut reader = Reader(bytes);
    Some(Entry {
        position: reader.u64()? & POSITION_MASK,
        record_size: reader.u32()?,
        tag_hash: reader.i64()?,
    })
}

/// Checks a page that was read.
pub(super) fn check(page: &[u8], number: u32, shard: u8) -> Result<(), &'static str> {
    if page.len() != PAGE_SIZE {
        return Err("it is cut off");
    }
    let mut reader = Reader(page);
    let magic = reader.u32();
    let crc = reader.u32();
    if magic != Some(MAGIC) {
        return Err("it is not a consume queue page");
    }
    if crc != Some(crc32fast::hash(reader.0)) {
        return Err("its checksum does not match");
    }
    if reader.u64() != Some(u64::from(number)) {
        return Err("it belongs elsewhere in the page log");
    }
    if reader.u8() != Some(shard) {
        return Err("it belongs to another shard");
    }
    Ok(())
}

/// The runs of a page that was checked. Ends early where a run does not parse, which the checksum rules out.
pub(super) fn runs(page: &[u8]) -> Runs<'_> {
    let head = |range: core::ops::Range<usize>| {
        page.get(range)
            .and_then(|bytes| Reader(bytes).u16())
            .unwrap_or_default()
    };
    Runs {
        page,
        at: HEAD_SIZE,
        left: head(18..20),
    }
}

/// See [`runs`].
#[derive(Debug)]
pub(super) struct Runs<'a> {
    page: &'a [u8],
    at: usize,
    left: u16,
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        self.left = self.left.checked_sub(1)?;
        let rest = self.page.get(self.at..)?;
        let mut reader = Reader(rest);
        let kind = reader.u8()?;
        reader.u8()?;
        let topic_length = reader.u16()?;
        let queue_id = reader.u32()?;
        let queue_offset = reader.i64()?;
        let count = usize::try_from(reader.u32()?).ok()?;
        let topic = core::str::from_utf8(reader.take(usize::from(topic_length))?).ok()?;
        let content = match kind {
            KIND_ENTRIES => {
                let at = u16::try_from(self.at + rest.len() - reader.0.len()).ok()?;
                let bytes = reader.take(count.checked_mul(ENTRY_SIZE)?)?;
                Content::Entries(Entries { at, bytes })
            }
            KIND_FLOOR => Content::Floor {
                position: reader.u64()?,
            },
            KIND_DELETED => Content::Deleted {
                position: reader.u64()?,
            },
            _ => return None,
        };
        self.at += rest.len() - reader.0.len();
        Some(Run {
            topic,
            queue_id,
            queue_offset,
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> Entry {
        Entry {
            position: n * 100,
            record_size: 100,
            tag_hash: -5,
        }
    }

    fn entries(count: u64) -> Vec<Entry> {
        (0..count).map(entry).collect()
    }

    #[test]
    fn runs_read_back_as_they_were_pushed() {
        let mut builder = PageBuilder::new(3);
        let first = builder.push_entries("TopicA", 7, 40, &entries(5));
        assert!(builder.push_floor("TopicB", 1, 99, 1234));
        assert!(builder.push_deleted("TopicC", 4321));
        let second = builder.push_entries("TopicA", 8, 0, &entries(1));
        assert_eq!(builder.end_position(), 4322);
        let page = builder.finish(12);
        check(&page, 12, 3).unwrap();
        let read: Vec<Run<'_>> = runs(&page).collect();
        assert_eq!(read.len(), 4);
        let Content::Entries(run) = read[0].content else {
            panic!()
        };
        assert_eq!(
            (read[0].topic, read[0].queue_id, read[0].queue_offset, run.at),
            ("TopicA", 7, 40, first)
        );
        assert_eq!(run.iter().collect::<Vec<_>>(), entries(5));
        assert_eq!(
            (run.first(), run.last(), run.get(5)),
            (Some(entry(0)), Some(entry(4)), None)
        );
        assert_eq!(
            run.part(first + 20, 2).unwrap().iter().collect::<Vec<_>>(),
            [entry(1), entry(2)]
        );
        assert_eq!(run.part(first + 20, 5), None);
        assert_eq!(
            (read[1].queue_offset, read[1].content),
            (99, Content::Floor { position: 1234 })
        );
        assert_eq!(
            (read[2].topic, read[2].content),
            ("TopicC", Content::Deleted { position: 4321 })
        );
        let Content::Entries(run) = read[3].content else {
            panic!()
        };
        assert_eq!(run.at, second);
    }

    #[test]
    fn an_entry_on_disk_is_rocketmqs_with_the_shard_in_the_physical_offset() {
        let mut builder = PageBuilder::new(3);
        let at = usize::from(builder.push_entries(
            "T",
            0,
            0,
            &[Entry {
                position: 0x1122,
                record_size: 300,
                tag_hash: -2,
            }],
        ));
        let page = builder.finish(0);
        let expected = [
            &[3, 0, 0, 0, 0, 0, 0x11, 0x22][..],
            &300_i32.to_be_bytes(),
            &(-2_i64).to_be_bytes(),
        ]
        .concat();
        assert_eq!(&page[at..at + 20], expected);
    }

    #[test]
    fn a_page_takes_as_many_entries_as_its_capacity_says() {
        for topic in ["T", "a topic of usual length", &"t".repeat(TOPIC_LENGTH_MAX)] {
            let count = capacity(topic);
            let mut builder = PageBuilder::new(0);
            assert_eq!(builder.room(topic, usize::MAX), count);
            builder.push_entries(topic, 0, 0, &entries(count as u64));
            assert_eq!(builder.room(topic, 1), 0);
            assert_eq!(runs(&builder.finish(0)).count(), 1);
        }
        assert_eq!(capacity("a topic of usual length"), 201);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_and_any_other_place_is_noticed() {
        let mut builder = PageBuilder::new(3);
        builder.push_entries("TopicA", 7, 40, &entries(5));
        let page = builder.finish(12);
        for bit in (0..PAGE_SIZE * 8).step_by(7) {
            let mut damaged = page.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&damaged, 12, 3).is_err(), "bit {bit}");
        }
        assert!(check(&page[..4095], 12, 3).is_err());
        assert!(check(&page, 13, 3).is_err());
        assert!(check(&page, 12, 4).is_err());
        assert!(check(&[0; PAGE_SIZE], 12, 3).is_err(), "every page was written");
        let emptied = PageBuilder::new(3).finish(12);
        assert!(check(&emptied, 12, 3).is_ok() && runs(&emptied).count() == 0);
    }
}
