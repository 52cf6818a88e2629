//! Batches that are committed and not written yet, kept where a killed process does not lose them.
//!
//! In async flush mode a batch is acknowledged once it would survive the end of the process. Where the machine has memory that does
//! ([`runtime::crash_memory`]), that is a copy from memory to memory: no batch waits for a write, and the writes, which come later,
//! are few and large and go past the page cache. What a start finds here it writes into the log before it looks at it, so that the
//! log is as if all had been written when it was committed.
//!
//! ```text
//! 0     magic, shard, store id, number of this memory, size of a chunk, count of chunks     8 bytes each
//! 64    for each chunk: position of its first byte, bytes in it (0: it is free)             8 bytes each
//! ...   the chunks, from the next page on
//! ```
//! A chunk holds bytes of the log that follow each other; a batch may lie in several. Bytes are stored before their count, and a
//! chunk is free again once all of it is written, which the next writes wait for: what is written twice after a crash is the same
//! bytes in the same place. The lowest free chunk is used first, so that what the cache of the processor holds is used again, and
//! chunks that only a burst has needed are given back to the kernel.
//!
//! A file `crash-memory` in the shard's directory says where the memory is. It need not be durable: after a power cut there is no
//! memory.

use crate::error::Error;
use crate::index_file::{Reader, seal, unseal};
use crate::log_writer::LogWriter;
use crate::recovery::Recovered;
use crate::segmented_log::SegmentedLog;
use crate::staging::LogPart;
use crate::store::StoreLayout;
use bytes::{BufMut as _, Bytes};
use protocol::model::ShardId;
use runtime::{CrashMemory, File, Instant, OpenOptions, file};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAGIC: u32 = u32::from_be_bytes(*b"RQcm");
const TABLE_AT: usize = 64;
const TABLE_ENTRY: usize = 16;
const PAGE: usize = 4096;
const CHUNK_SIZE_MAX: usize = 1 << 20;
/// About so many chunks, if they are not larger than [`CHUNK_SIZE_MAX`] then.
const CHUNKS: usize = 64;
/// Chunks from here on are given back to the kernel when they are free.
const CHUNKS_KEPT: usize = 16;

/// Which log's memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) store_id: u64,
    pub(crate) shard: u8,
}

impl Owner {
    pub(crate) fn of(layout: &StoreLayout, id: ShardId) -> Owner {
        Owner {
            store_id: layout.store_id(),
            shard: id.get(),
        }
    }
}

/// Bytes of the log, from the position on that a chunk begins with.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    number: usize,
    start: u64,
    size: usize,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.size as u64
    }
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    chunk_size: usize,
    chunks: usize,
}

impl Shape {
    /// For `size` bytes of batches.
    fn of(size: usize) -> Shape {
        let chunk_size = (size / CHUNKS).next_multiple_of(PAGE).clamp(PAGE, CHUNK_SIZE_MAX);
        Shape {
            chunk_size,
            chunks: (size / chunk_size).max(1),
        }
    }

    fn entry_at(number: usize) -> usize {
        TABLE_AT + number * TABLE_ENTRY
    }

    fn chunk_at(self, number: usize) -> usize {
        Self::entry_at(self.chunks).next_multiple_of(PAGE) + number * self.chunk_size
    }

    /// Bytes of the memory as a whole.
    fn memory_size(self) -> usize {
        self.chunk_at(self.chunks)
    }
}

/// Bytes of memory that a buffer for `size` bytes of batches takes.
pub(crate) fn memory_size(size: usize) -> usize {
    Shape::of(size).memory_size()
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct CrashBuffer {
    memory: CrashMemory,
    handle: PathBuf,
    shape: Shape,
    /// Chunks in use, in the order of the log.
    used: RefCell<VecDeque<Chunk>>,
    free: RefCell<BinaryHeap<Reverse<usize>>>,
    /// What is in the chunks, as it will be written.
    parts: RefCell<VecDeque<LogPart>>,
    bytes: Cell<u64>,
    /// When the write under way began.
    writing_since: Cell<Option<Instant>>,
}

impl CrashBuffer {
    /// A buffer for `size` bytes of batches, with memory of its own that the next start finds.
    pub(crate) async fn create(directory: &Path, owner: Owner, size: usize, boot_id: &[u8]) -> io::Result<CrashBuffer> {
        let shape = Shape::of(size);
        let memory = CrashMemory::create(shape.memory_size())?;
        let number = runtime::rng::random_u64();
        memory.store(0, &header(owner, number, shape));
        let handle = directory.join("crash-memory");
        let description = Handle {
            id: memory.id(),
            number,
            boot_id: boot_id.to_vec(),
        };
        if let Err(error) = description.write(&handle).await {
            memory.remove()?;
            return Err(error);
        }
        Ok(CrashBuffer {
            memory,
            handle,
            shape,
            used: RefCell::default(),
            free: RefCell::new((0..shape.chunks).map(Reverse).collect()),
            parts: RefCell::default(),
            bytes: Cell::default(),
            writing_since: Cell::default(),
        })
    }

    /// Whether a batch of so many bytes can ever have room.
    pub(crate) fn can_hold(&self, size: usize) -> bool {
        size <= self.shape.chunk_size * self.shape.chunks
    }

    /// Keeps a part of the log, behind all others. Says no when there is no room for it.
    pub(crate) fn put(&self, part: LogPart) -> bool {
        let mut used = self.used.borrow_mut();
        let mut free = self.free.borrow_mut();
        let goes_on = used.back().filter(|chunk| chunk.end() == part.start);
        let room = goes_on.map_or(0, |chunk| self.shape.chunk_size - chunk.size);
        let more = part.bytes.len().saturating_sub(room).div_ceil(self.shape.chunk_size);
        if more > free.len() {
            return false;
        }
        let mut position = part.start;
        let mut rest = &part.bytes[..];
        while !rest.is_empty() {
            let has_room = |chunk: &Chunk| chunk.end() == position && chunk.size < self.shape.chunk_size;
            if !used.back().is_some_and(has_room) {
                let Some(Reverse(number)) = free.pop() else { break };
                self.memory.store_number(Shape::entry_at(number), position);
                used.push_back(Chunk {
                    number,
                    start: position,
                    size: 0,
                });
            }
            let Some(chunk) = used.back_mut() else { break };
            let (now, later) = rest.split_at(rest.len().min(self.shape.chunk_size - chunk.size));
            self.memory.store(self.shape.chunk_at(chunk.number) + chunk.size, now);
            chunk.size += now.len();
            self.memory
                .store_number(Shape::entry_at(chunk.number) + 8, chunk.size as u64);
            position += now.len() as u64;
            rest = later;
        }
        self.bytes.set(self.bytes.get() + part.bytes.len() as u64);
        self.parts.borrow_mut().push_back(part);
        true
    }

    /// Everything below `written` has been written: its chunks are free again.
    pub(crate) fn release(&self, written: u64) {
        let mut parts = self.parts.borrow_mut();
        while parts.front().is_some_and(|part| part.end <= written) {
            let part = parts.pop_front();
            let size = part.map_or(0, |part| part.bytes.len() as u64);
            self.bytes.set(self.bytes.get() - size);
        }
        let mut used = self.used.borrow_mut();
        while let Some(chunk) = used.front().copied().filter(|chunk| chunk.end() <= written) {
            used.pop_front();
            self.memory.store_number(Shape::entry_at(chunk.number) + 8, 0);
            if chunk.number >= CHUNKS_KEPT {
                self.memory
                    .discard(self.shape.chunk_at(chunk.number), self.shape.chunk_size);
            }
            self.free.borrow_mut().push(Reverse(chunk.number));
        }
    }

    /// The first parts, about `size` bytes, at least one if there is any.
    pub(crate) fn first_parts(&self, size: u64) -> Vec<LogPart> {
        let parts = self.parts.borrow();
        let start = parts.front().map_or(0, |first| first.start);
        let count = parts.partition_point(|part| part.end <= start + size).max(1);
        parts.iter().take(count).cloned().collect()
    }

    /// Bytes that wait to be written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Notes that a write begins, or that it has ended.
    pub(crate) fn note_write(&self, began: Option<Instant>) {
        self.writing_since.set(began);
    }

    /// Whether a write was under way at `now` that took longer than `limit`: the disk stands still, and nothing more is to be
    /// promised that it may never take.
    pub(crate) fn is_stuck(&self, now: Instant, limit: Duration) -> bool {
        let since = self.writing_since.get();
        since.is_some_and(|since| now - since > limit)
    }

    /// For a shard that is closed and has written everything: the next start has nothing to look for.
    pub(crate) async fn remove(self) -> io::Result<()> {
        file::remove(&self.handle).await?;
        self.memory.remove()
    }
}

fn header(owner: Owner, number: u64, shape: Shape) -> Vec<u8> {
    let mut header = Vec::with_capacity(TABLE_AT);
    header.put_u64(u64::from(MAGIC));
    header.put_u64(u64::from(owner.shard));
    header.put_u64(owner.store_id);
    header.put_u64(number);
    header.put_u64(shape.chunk_size as u64);
    header.put_u64(shape.chunks as u64);
    header
}

/// Where the memory of a shard is: what the file `crash-memory` says.
#[derive(Debug, PartialEq, Eq)]
struct Handle {
    id: i32,
    /// Tells this memory from any other that has its id later.
    number: u64,
    /// Start of the machine that it belongs to.
    boot_id: Vec<u8>,
}

impl Handle {
    async fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = Vec::new();
        out.put_i32(self.id);
        out.put_u64(self.number);
        out.put_slice(&self.boot_id);
        let file = File::open(path, OpenOptions::read_write()).await?;
        file.set_len(0).await?;
        file.write_at(0, &[Bytes::from(seal(MAGIC, &out))]).await
    }

    /// `None` where there is none, or where a power cut has left half of one.
    async fn read(path: &Path) -> io::Result<Option<Handle>> {
        let bytes = match file::read(path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(unseal(MAGIC, &bytes)
            .ok()
            .and_then(|mut reader| Self::decode(&mut reader)))
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Handle> {
        Some(Handle {
            id: i32::from_be_bytes(reader.take(4)?.try_into().ok()?),
            number: reader.u64()?,
            boot_id: reader.0.to_vec(),
        })
    }
}

/// What a process that was killed has left, in the order of the log.
#[derive(Debug)]
struct Left {
    memory: CrashMemory,
    parts: Vec<(u64, Bytes)>,
}

/// `None`: the memory is another's by now.
fn read_left(memory: CrashMemory, owner: Owner, number: u64) -> Option<Left> {
    if memory.size() < TABLE_AT {
        return None;
    }
    let found = memory.load(0, header(owner, number, Shape::of(0)).len());
    let mut reader = Reader(&found);
    let _same = reader.take(32)?;
    let size = |number: u64| usize::try_from(number).ok();
    let shape = Shape {
        chunk_size: size(reader.u64()?)?,
        chunks: size(reader.u64()?)?,
    };
    let table_size = shape.chunks.checked_mul(TABLE_ENTRY)?.checked_add(TABLE_AT + PAGE)?;
    let fits = shape.chunks.checked_mul(shape.chunk_size)?.checked_add(table_size)? <= memory.size() + PAGE;
    if !fits || found != header(owner, number, shape) || shape.memory_size() != memory.size() {
        return None;
    }
    let mut parts = Vec::new();
    for chunk in 0..shape.chunks {
        let entry = memory.load(Shape::entry_at(chunk), TABLE_ENTRY);
        let (start, size) = entry.split_at(8);
        let native = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes);
        let (Ok(start), Ok(size)) = (native(start), native(size)) else {
            continue;
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(shape.chunk_size);
        if size > 0 {
            parts.push((start, Bytes::from(memory.load(shape.chunk_at(chunk), size))));
        }
    }
    parts.sort_by_key(|(start, _)| *start);
    Some(Left { memory, parts })
}

/// Bytes that a process which has ended committed and did not write, by the file `crash-memory` of the shard. 0 where there is no
/// such memory, or a process that lives has it.
pub(crate) fn left_in_memory(handle: &[u8], owner: Owner) -> u64 {
    let Some(handle) = unseal(MAGIC, handle)
        .ok()
        .and_then(|mut reader| Handle::decode(&mut reader))
    else {
        return 0;
    };
    let memory = CrashMemory::attach(handle.id).ok().flatten();
    let left = memory.and_then(|memory| read_left(memory, owner, handle.number));
    left.map_or(0, |left| left.parts.iter().map(|(_, bytes)| bytes.len() as u64).sum())
}

/// Writes what a killed process had committed and not written into its log, durably. For a log that nobody has open, before it is
/// looked at.
pub(crate) async fn settle(
    directory: &Path,
    owner: Owner,
    log: &SegmentedLog,
    boot_id: &[u8],
    found: &mut Recovered,
) -> Result<(), Error> {
    let path = directory.join("crash-memory");
    let handle = Handle::read(&path).await.map_err(Error::io("read", &path))?;
    let Some(handle) = handle.filter(|handle| handle.boot_id == boot_id) else {
        return Ok(());
    };
    let attached = attach_patiently(handle.id).await.map_err(Error::io(
        "attach the shared memory of another start (delete the file if this store is a copy), which is named in",
        &path,
    ))?;
    match attached.and_then(|memory| read_left(memory, owner, handle.number)) {
        Some(left) => {
            write_left(log, &left.parts, found).await?;
            file::remove(&path).await.map_err(Error::io("delete", &path))?;
            left.memory
                .remove()
                .map_err(Error::io("remove the shared memory of", directory))
        }
        None => {
            if !found.clean && !boot_id.is_empty() {
                found.same_boot = false;
                found.reports.push(format!(
                    "shared memory {}, which held the last messages of a broker that was killed, is gone (ipcrm, or RemoveIPC= of \
                     its unit): what it had acknowledged in its last moments may be lost; writePath=buffered needs no such memory",
                    handle.id
                ));
            }
            file::remove(&path).await.map_err(Error::io("delete", &path))
        }
    }
}

/// A tool that looks at the store has it attached for a moment.
async fn attach_patiently(id: i32) -> io::Result<Option<CrashMemory>> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 1..TRIES {
        match CrashMemory::attach(id) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => runtime::sleep(PAUSE).await,
            done => return done,
        }
    }
    CrashMemory::attach(id)
}

async fn write_left(log: &SegmentedLog, parts: &[(u64, Bytes)], found: &mut Recovered) -> Result<(), Error> {
    let failed = |error| Error::io("write what a killed broker had acknowledged into", log.directory())(error);
    let mut parts = parts.iter().peekable();
    while let Some((start, bytes)) = parts.next() {
        let Some(segment) = log.get(*start) else {
            found.reports.push(format!(
                "{} bytes for position {start} of the log were acknowledged, and their segment is gone",
                bytes.len()
            ));
            continue;
        };
        let mut end = start + bytes.len() as u64;
        let mut together = vec![bytes.clone()];
        while let Some((_, next)) = parts.next_if(|(next, _)| *next == end && *next < log.end_of(*start)) {
            together.push(next.clone());
            end += next.len() as u64;
        }
        runtime::mark!("committed bytes taken from memory after a kill");
        let writer = LogWriter::open(log, log.is_direct(), *start).await.map_err(failed)?;
        writer.write(&segment, *start, together).await.map_err(failed)?;
        if !log.is_direct() {
            segment.sync().await.map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { store_id: 7, shard: 3 };

    fn bytes_from(position: u64, size: usize) -> Bytes {
        (position..)
            .take(size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect()
    }

    /// What a start would find.
    fn left(buffer: &CrashBuffer, number: u64) -> Option<Vec<(u64, Bytes)>> {
        let size = buffer.memory.size();
        let copy = CrashMemory::create(size).unwrap();
        copy.store(0, &buffer.memory.load(0, size));
        let id = copy.id();
        let parts = read_left(copy, OWNER, number).map(|left| left.parts);
        CrashMemory::attach(id).unwrap().unwrap().remove().unwrap();
        parts
    }

    #[test]
    fn what_is_left_is_what_was_put_and_not_written_and_nothing_else() {
        crate::tests::run(async {
            let dir = tempfile::tempdir().unwrap();
            let mut random = fastrand::Rng::with_seed(1);
            let buffer = CrashBuffer::create(dir.path(), OWNER, 64 << 10, b"boot").await.unwrap();
            let handle = Handle::read(&dir.path().join("crash-memory")).await.unwrap().unwrap();
            assert_eq!((handle.id, &handle.boot_id[..]), (buffer.memory.id(), &b"boot"[..]));
            let (mut written, mut end, mut refused) = (0_u64, 0_u64, 0);
            for _ in 0..2_000 {
                let size = random.usize(1..20_000);
                // At times a segment ends, and the log goes on elsewhere.
                let gap = if random.u8(..) < 20 { random.u64(1..5_000) } else { 0 };
                let part = LogPart {
                    start: end,
                    end: end + size as u64 + gap,
                    bytes: bytes_from(end, size),
                };
                let next = part.end;
                if buffer.put(part) {
                    end = next;
                } else {
                    refused += 1;
                    let parts = buffer.first_parts(random.u64(..40_000));
                    written = parts.last().unwrap().end;
                    buffer.release(written);
                }
                let found = left(&buffer, handle.number).unwrap();
                for pair in found.windows(2) {
                    assert!(pair[0].0 + pair[0].1.len() as u64 <= pair[1].0, "two parts overlap");
                }
                for (start, bytes) in &found {
                    assert_eq!(*bytes, bytes_from(*start, bytes.len()));
                }
                for part in buffer.parts.borrow().iter() {
                    let mut at = part.start;
                    for (start, bytes) in &found {
                        if (*start..start + bytes.len() as u64).contains(&at) {
                            at = start + bytes.len() as u64;
                        }
                    }
                    assert!(
                        at >= part.start + part.bytes.len() as u64,
                        "{at} of {part:?} is missing"
                    );
                }
            }
            assert!(refused > 100 && written > 1 << 20);
            buffer.release(end);
            assert_eq!((buffer.bytes(), left(&buffer, handle.number).unwrap().len()), (0, 0));
            assert!(left(&buffer, handle.number + 1).is_none(), "it is another's");
            buffer.remove().await.unwrap();
            assert!(CrashMemory::attach(handle.id).unwrap().is_none());
        });
    }

    #[test]
    fn memory_of_any_shape_that_its_header_may_say_is_not_believed() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..500 {
            let memory = CrashMemory::create(random.usize(1..3) * PAGE).unwrap();
            let id = memory.id();
            let shape = Shape {
                chunk_size: random.usize(..) >> random.u32(..64),
                chunks: random.usize(..) >> random.u32(..64),
            };
            memory.store(0, &header(OWNER, 5, shape));
            let found = read_left(memory, OWNER, 5);
            assert!(found.is_none_or(|left| left.parts.is_empty()));
            CrashMemory::attach(id).unwrap().unwrap().remove().unwrap();
        }
    }
}
