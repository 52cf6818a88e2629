//! One run of the key index: an immutable file of entries sorted by hash. Pages of 4096 bytes, big-endian.
//!
//! Each page ends with a CRC-32 of the run's sequence number u64, the page number u64 and the page's first 4092 bytes.
//! - page 0, head: magic u32 | version u16 | shard u8 | 0 u8 | sequence u64 | entries u32 | filter blocks u32 | buckets u32
//!   | least position u64 | greatest position u64 | first second u32 | last second u32;
//! - filter pages: blocks of 64 bytes, 63 a page; a bloom filter in which all bits of a hash lie in one block;
//! - fence pages: u32 each, 1022 a page; fence b is the number of entries in buckets before b, up to one past the last bucket;
//! - data pages: entries of hash u64 | position u64 | store time in seconds since 1970 u32, 204 a page.
//!
//! Hashes are spread evenly, so block and bucket of a hash are its share of their number: (hash * number) >> 64. A lookup reads
//! one filter page, and if that says perhaps, one fence page and one data page (seldom two). As all three follow the order of
//! hashes, a run is written in one pass, whatever its size.

use crate::IndexError;
use crate::index_file::{Reader, index};
use crate::page_cache::PageCache;
use bytes::{Bytes, BytesMut};
use runtime::file::{File, OpenOptions};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

pub(super) const PAGE_SIZE: usize = 4096;
const CONTENT_SIZE: usize = PAGE_SIZE - 4;
const MAGIC: u32 = 0x524d_4b52; // RMKR
const VERSION: u16 = 1;

const BLOCK_SIZE: usize = 64;
const BLOCKS_A_PAGE: u32 = 63;
const BITS_AN_ENTRY: u64 = 10;
const PROBES: u32 = 7;
const FENCES_A_PAGE: u32 = 1022;
pub(super) const ENTRY_SIZE: usize = 20;
pub(super) const ENTRIES_A_PAGE: u32 = 204;
const ENTRIES_A_BUCKET: u32 = 150;
const _: () = assert!(
    ENTRIES_A_PAGE as usize * ENTRY_SIZE <= CONTENT_SIZE,
    "entries fit in a page"
);

/// Pages collected before they are written: 256 KiB.
const CHUNK_PAGES: u32 = 64;

/// A key of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEntry {
    /// Of topic and key.
    pub hash: u64,
    /// Where the record begins in the shard's log.
    pub position: u64,
    /// Its store time in seconds since 1970.
    pub second: u32,
}

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) shard: u8,
    pub(super) sequence: u64,
    pub(super) entries: u32,
    blocks: u32,
    buckets: u32,
    pub(super) min_position: u64,
    pub(super) max_position: u64,
    pub(super) first_second: u32,
    pub(super) last_second: u32,
}

impl Head {
    /// For at most `entries_max` entries.
    fn new(shard: u8, sequence: u64, entries_max: u32) -> Head {
        let blocks = (u64::from(entries_max) * BITS_AN_ENTRY)
            .div_ceil(BLOCK_SIZE as u64 * 8)
            .max(1);
        Head {
            shard,
            sequence,
            entries: 0,
            blocks: u32::try_from(blocks).expect("fewer blocks than entries"),
            buckets: entries_max.div_ceil(ENTRIES_A_BUCKET).max(1),
            min_position: u64::MAX,
            max_position: 0,
            first_second: u32::MAX,
            last_second: 0,
        }
    }

    fn filter_page(&self) -> u32 {
        1
    }

    fn fence_page(&self) -> u32 {
        self.filter_page() + self.blocks.div_ceil(BLOCKS_A_PAGE)
    }

    pub(super) fn data_page(&self) -> u32 {
        self.fence_page() + (self.buckets + 1).div_ceil(FENCES_A_PAGE)
    }

    pub(super) fn pages(&self) -> u32 {
        self.data_page() + self.entries.div_ceil(ENTRIES_A_PAGE)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAGE_SIZE);
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[self.shard, 0]);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        for number in [self.entries, self.blocks, self.buckets] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.min_position.to_be_bytes());
        bytes.extend_from_slice(&self.max_position.to_be_bytes());
        bytes.extend_from_slice(&self.first_second.to_be_bytes());
        bytes.extend_from_slice(&self.last_second.to_be_bytes());
        bytes
    }

    fn decode(page: &[u8]) -> Option<Head> {
        let mut reader = Reader(page);
        if reader.u32()? != MAGIC || reader.u16()? != VERSION {
            return None;
        }
        let shard = reader.u8()?;
        reader.u8()?;
        let head = Head {
            shard,
            sequence: reader.u64()?,
            entries: reader.u32()?,
            blocks: reader.u32()?,
            buckets: reader.u32()?,
            min_position: reader.u64()?,
            max_position: reader.u64()?,
            first_second: reader.u32()?,
            last_second: reader.u32()?,
        };
        let possible = head.blocks > 0 && head.buckets > 0 && head.buckets < 1 << 30 && head.blocks < 1 << 30;
        possible.then_some(head)
    }
}

/// The place of a hash among `number` places.
fn share(hash: u64, number: u32) -> u32 {
    u32::try_from((u128::from(hash) * u128::from(number)) >> 64).expect("a share is less than the whole")
}

/// The bits of a hash in its block. The block comes from the high bits of the hash, these from a mix of all.
fn filter_bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| usize::try_from((mixed >> (probe * 9)) & 511).expect("nine bits"))
}

fn page_crc(sequence: u64, page: u32, content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_be_bytes());
    crc.update(&u64::from(page).to_be_bytes());
    crc.update(content);
    crc.finalize()
}

/// Whether page `page` of run `sequence` is as it was written, for those that only read.
pub(super) fn page_is_sound(sequence: u64, page: u32, bytes: &[u8]) -> bool {
    bytes.len() == PAGE_SIZE
        && bytes
            .split_at_checked(CONTENT_SIZE)
            .is_some_and(|(content, crc)| Reader(crc).u32() == Some(page_crc(sequence, page, content)))
}

/// How many pages the run has that begins with this page; `None` if it is not run `sequence` of the shard.
pub(super) fn pages_of(head: &[u8], shard: u8, sequence: u64) -> Option<u32> {
    let head = Head::decode(head).filter(|head| head.shard == shard && head.sequence == sequence)?;
    // The head's numbers are bounded, but not their sum.
    let entries = head.entries.div_ceil(ENTRIES_A_PAGE);
    head.data_page().checked_add(entries)
}

/// The entries of page `page` of the run that begins with `head`, for those that only read; none on pages that hold other things.
pub(super) fn entries_of<'a>(head: &[u8], page: u32, bytes: &'a [u8]) -> impl Iterator<Item = KeyEntry> + use<'a> {
    let count = Head::decode(head).and_then(|head| {
        let before = page.checked_sub(head.data_page())?.checked_mul(ENTRIES_A_PAGE)?;
        Some(head.entries.saturating_sub(before).min(ENTRIES_A_PAGE))
    });
    decode_entries(bytes, 0, count.unwrap_or(0))
}

/// Pages of one part of a run, in order.
#[derive(Debug)]
struct Part {
    next_page: u32,
    content: Vec<u8>,
    chunk: BytesMut,
}

impl Part {
    fn new(first_page: u32) -> Part {
        Part {
            next_page: first_page,
            content: Vec::with_capacity(CONTENT_SIZE),
            chunk: BytesMut::new(),
        }
    }

    /// Ends the page; a chunk that is full goes to `out` with its place in the file.
    fn end_page(&mut self, sequence: u64, out: &mut Vec<(u64, Bytes)>) {
        self.content.resize(CONTENT_SIZE, 0);
        let crc = page_crc(sequence, self.next_page, &self.content);
        self.chunk.extend_from_slice(&self.content);
        self.chunk.extend_from_slice(&crc.to_be_bytes());
        self.content.clear();
        self.next_page += 1;
        if self.chunk.len() >= index(CHUNK_PAGES) * PAGE_SIZE {
            self.end_chunk(out);
        }
    }

    fn end_chunk(&mut self, out: &mut Vec<(u64, Bytes)>) {
        if !self.chunk.is_empty() {
            let end = u64::from(self.next_page) * PAGE_SIZE as u64;
            out.push((end - self.chunk.len() as u64, self.chunk.split().freeze()));
        }
    }
}

/// Makes the bytes of a run from entries that come sorted.
#[derive(Debug)]
pub(super) struct RunEncoder {
    head: Head,
    filter: Part,
    fences: Part,
    data: Part,
    bucket: u32,
    filter_end: u32,
    /// What can be written: place in the file and bytes.
    pub(super) out: Vec<(u64, Bytes)>,
}

impl RunEncoder {
    pub(super) fn new(shard: u8, sequence: u64, entries_max: u32) -> RunEncoder {
        let head = Head::new(shard, sequence, entries_max);
        let mut filter = Part::new(head.filter_page());
        filter.content.resize(CONTENT_SIZE, 0);
        let mut fences = Part::new(head.fence_page());
        fences.content.extend_from_slice(&0_u32.to_be_bytes());
        RunEncoder {
            filter,
            fences,
            data: Part::new(head.data_page()),
            bucket: 0,
            filter_end: head.fence_page(),
            out: Vec::new(),
            head,
        }
    }

    pub(super) fn push(&mut self, entry: KeyEntry) {
        self.set_filter(entry.hash);
        self.fence_to(share(entry.hash, self.head.buckets));
        let data = &mut self.data.content;
        data.extend_from_slice(&entry.hash.to_be_bytes());
        data.extend_from_slice(&entry.position.to_be_bytes());
        data.extend_from_slice(&entry.second.to_be_bytes());
        if self.data.content.len() == index(ENTRIES_A_PAGE) * ENTRY_SIZE {
            self.data.end_page(self.head.sequence, &mut self.out);
        }
        let head = &mut self.head;
        head.entries += 1;
        head.min_position = head.min_position.min(entry.position);
        head.max_position = head.max_position.max(entry.position);
        head.first_second = head.first_second.min(entry.second);
        head.last_second = head.last_second.max(entry.second);
    }

    fn set_filter(&mut self, hash: u64) {
        let block = share(hash, self.head.blocks);
        let page = self.head.filter_page() + block / BLOCKS_A_PAGE;
        while self.filter.next_page < page {
            self.end_filter_page();
        }
        let start = index(block % BLOCKS_A_PAGE) * BLOCK_SIZE;
        for bit in filter_bits(hash) {
            self.filter.content[start + bit / 8] |= 1 << (bit % 8);
        }
    }

    fn end_filter_page(&mut self) {
        self.filter.end_page(self.head.sequence, &mut self.out);
        self.filter.content.resize(CONTENT_SIZE, 0);
    }

    /// Notes that the entries so far are all that come before `bucket`.
    fn fence_to(&mut self, bucket: u32) {
        while self.bucket < bucket {
            self.bucket += 1;
            if self.fences.content.len() == index(FENCES_A_PAGE) * 4 {
                self.fences.end_page(self.head.sequence, &mut self.out);
            }
            self.fences.content.extend_from_slice(&self.head.entries.to_be_bytes());
        }
    }

    /// The rest of the bytes is in `out` then.
    pub(super) fn finish(&mut self) -> Head {
        self.fence_to(self.head.buckets);
        self.fences.end_page(self.head.sequence, &mut self.out);
        while self.filter.next_page < self.filter_end {
            self.end_filter_page();
        }
        if !self.data.content.is_empty() {
            self.data.end_page(self.head.sequence, &mut self.out);
        }
        let mut first = Part::new(0);
        first.content = self.head.encode();
        first.end_page(self.head.sequence, &mut self.out);
        for part in [&mut self.filter, &mut self.fences, &mut self.data, &mut first] {
            part.end_chunk(&mut self.out);
        }
        self.head
    }
}

/// A run on disk, open for reading.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) head: Head,
    file: File,
}

/// Why a page of a run cannot be used.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) page: u32,
    pub(super) reason: String,
}

pub(super) fn path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:020}.run"))
}

impl Run {
    pub(super) fn new(file: File, head: Head) -> Run {
        Run { head, file }
    }

    pub(super) async fn open(directory: &Path, shard: u8, sequence: u64) -> Result<Result<Run, Damage>, IndexError> {
        let path = path(directory, sequence);
        let damage = |reason: &str| {
            Ok(Err(Damage {
                page: 0,
                reason: reason.to_owned(),
            }))
        };
        let file = match File::open(&path, OpenOptions::read_only()).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return damage("the file is gone"),
            Err(error) => return Err(IndexError::io("open", &path)(error)),
        };
        let page = match read_pages(&file, sequence, 0, 1).await {
            Ok(page) => page,
            Err(damage) => return Ok(Err(damage)),
        };
        let Some(head) = Head::decode(&page) else {
            return damage("its head does not parse");
        };
        if head.shard != shard || head.sequence != sequence {
            return damage("it is another run");
        }
        let length = file.len().await.map_err(IndexError::io("look at", &path))?;
        if length < u64::from(head.pages()) * PAGE_SIZE as u64 {
            return damage("it is cut off");
        }
        Ok(Ok(Run { head, file }))
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Entries with this hash.
    pub(super) async fn find(&self, hash: u64, cache: &RefCell<PageCache>) -> Result<Vec<KeyEntry>, Damage> {
        if self.head.entries == 0 || !self.may_hold(hash, cache).await? {
            return Ok(Vec::new());
        }
        let bucket = share(hash, self.head.buckets);
        let start = self.fence(bucket, cache).await?;
        let end = self.fence(bucket + 1, cache).await?;
        let mut found = Vec::new();
        let mut next = start;
        while next < end {
            let page = self.head.data_page() + next / ENTRIES_A_PAGE;
            let content = self.page(page, cache).await?;
            let page_end = (next - next % ENTRIES_A_PAGE + ENTRIES_A_PAGE).min(end);
            let entries = decode_entries(&content, next % ENTRIES_A_PAGE, page_end - next);
            found.extend(entries.filter(|entry| entry.hash == hash));
            next = page_end;
        }
        Ok(found)
    }

    pub(super) async fn may_hold(&self, hash: u64, cache: &RefCell<PageCache>) -> Result<bool, Damage> {
        let block = share(hash, self.head.blocks);
        let page = self
            .page(self.head.filter_page() + block / BLOCKS_A_PAGE, cache)
            .await?;
        let start = index(block % BLOCKS_A_PAGE) * BLOCK_SIZE;
        let block = page.get(start..start + BLOCK_SIZE).unwrap_or_default();
        Ok(filter_bits(hash).all(|bit| block.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)))
    }

    async fn fence(&self, bucket: u32, cache: &RefCell<PageCache>) -> Result<u32, Damage> {
        let page = self.head.fence_page() + bucket / FENCES_A_PAGE;
        let content = self.page(page, cache).await?;
        let at = index(bucket % FENCES_A_PAGE) * 4;
        let fence = content.get(at..).and_then(|bytes| Reader(bytes).u32());
        fence.filter(|&fence| fence <= self.head.entries).ok_or_else(|| Damage {
            page,
            reason: "a fence points beyond the entries".to_owned(),
        })
    }

    async fn page(&self, page: u32, cache: &RefCell<PageCache>) -> Result<Bytes, Damage> {
        let key = (self.head.sequence << 32) | u64::from(page);
        let cached = cache.borrow_mut().get(key);
        if let Some(page) = cached {
            return Ok(page);
        }
        let read = read_pages(&self.file, self.head.sequence, page, 1).await?;
        cache.borrow_mut().insert(key, read.clone());
        Ok(read)
    }

    /// The entries of some data pages, from the `from`th of them on, and how many pages that were.
    pub(super) async fn read_entries(&self, from: u32) -> Result<(Vec<KeyEntry>, u32), Damage> {
        let pages = self.head.entries.div_ceil(ENTRIES_A_PAGE);
        let count = CHUNK_PAGES.min(pages.saturating_sub(from));
        let bytes = read_pages(&self.file, self.head.sequence, self.head.data_page() + from, count).await?;
        let mut left = self.head.entries - (from * ENTRIES_A_PAGE).min(self.head.entries);
        let mut entries = Vec::with_capacity(index(count * ENTRIES_A_PAGE));
        for page in bytes.chunks(PAGE_SIZE) {
            let here = left.min(ENTRIES_A_PAGE);
            entries.extend(decode_entries(page, 0, here));
            left -= here;
        }
        Ok((entries, count))
    }
}

fn decode_entries(page: &[u8], first: u32, count: u32) -> impl Iterator<Item = KeyEntry> + '_ {
    let entries = page.chunks_exact(ENTRY_SIZE).skip(index(first)).take(index(count));
    entries.filter_map(|bytes| {
        let mut reader = Reader(bytes);
        Some(KeyEntry {
            hash: reader.u64()?,
            position: reader.u64()?,
            second: reader.u32()?,
        })
    })
}

async fn read_pages(file: &File, sequence: u64, first: u32, count: u32) -> Result<Bytes, Damage> {
    let damage = |page: u32, reason: String| Err(Damage { page, reason });
    let position = u64::from(first) * PAGE_SIZE as u64;
    let bytes = match file.read_at(position, index(count) * PAGE_SIZE).await {
        Ok(bytes) => bytes,
        Err(error) => return damage(first, format!("it cannot be read: {error}")),
    };
    if bytes.len() != index(count) * PAGE_SIZE {
        return damage(first, "it is cut off".to_owned());
    }
    for (number, page) in (first..).zip(bytes.chunks_exact(PAGE_SIZE)) {
        let (content, crc) = page.split_at(CONTENT_SIZE);
        if Reader(crc).u32() != Some(page_crc(sequence, number, content)) {
            return damage(number, "its checksum does not match".to_owned());
        }
    }
    Ok(bytes)
}
