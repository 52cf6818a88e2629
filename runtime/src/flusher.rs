//! The flusher thread of a core: makes the writes of its logs one after the other while the core's loop goes on, whether the
//! disk takes them or not.
//!
//! It starts with the first file that needs it and ends with the last; who drops that one waits for the write under way, so
//! that nothing lands in a file after its store is taken to be closed.

use crate::direct_file::BLOCK_SIZE;
use bytes::Bytes;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Most bytes of one pwrite(2): one MiB at a time is the disk's best rate; more only holds up what waits.
const WRITE_SIZE_MAX: usize = 1 << 20;

/// Fewer bytes are copied: to pin their pages for the disk costs as much.
const LENT_SIZE_MIN: usize = 16 * BLOCK_SIZE;

thread_local! {
    static FLUSHER: RefCell<Weak<Flusher>> = const { RefCell::new(Weak::new()) };
}

/// The flusher of this thread's core, started if there is none.
pub(crate) fn of_this_thread() -> io::Result<Rc<Flusher>> {
    if let Some(flusher) = FLUSHER.with_borrow(Weak::upgrade) {
        return Ok(flusher);
    }
    let flusher = Rc::new(Flusher::start()?);
    FLUSHER.with_borrow_mut(|current| *current = Rc::downgrade(&flusher));
    Ok(flusher)
}

#[derive(Debug)]
pub(crate) struct Flusher {
    /// `None` once it is being dropped: the thread ends when there is no sender.
    jobs: Option<mpsc::Sender<Job>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How bytes get to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Past the page cache, in whole blocks of aligned memory.
    Direct,
    /// Into the page cache, from where they are.
    Buffered,
}

struct Job {
    way: Way,
    file: Arc<File>,
    position: u64,
    parts: Vec<Bytes>,
    done: oneshot::Sender<io::Result<()>>,
}

impl Flusher {
    fn start() -> io::Result<Flusher> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("flusher".to_owned()).spawn(move || {
            let mut buffer = None;
            for job in waiting {
                // Writes that were only queued when the core ended were acknowledged to nobody.
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let written = match job.way {
                    Way::Direct => {
                        let buffer = buffer.get_or_insert_with(|| AlignedBuffer::zeroed(WRITE_SIZE_MAX));
                        write_aligned(&job.file, job.position, &job.parts, buffer)
                    }
                    Way::Buffered => crate::real_file::write_all(&job.file, job.position, &job.parts),
                };
                // Nobody may be waiting any more.
                let _told = job.done.send(written);
            }
        })?;
        Ok(Flusher {
            jobs: Some(jobs),
            ends,
            thread: Some(thread),
        })
    }

    /// Writes `parts` one after the other; of a direct write the caller has checked the alignment.
    pub(crate) async fn write(&self, way: Way, file: &Arc<File>, position: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        let job = Job {
            way,
            file: Arc::clone(file),
            position,
            parts,
            done,
        };
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the flusher thread has ended");
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_unsent| gone())?;
        outcome.await.map_err(|_dropped| gone())?
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the flusher thread has panicked");
        }
    }
}

/// Writes the parts one after the other, in whole blocks.
fn write_aligned(file: &File, position: u64, parts: &[Bytes], buffer: &mut AlignedBuffer) -> io::Result<()> {
    let mut position = position;
    let mut blocks = Blocks::new(buffer);
    for part in parts {
        let mut rest = &part[..];
        while !rest.is_empty() {
            rest = blocks.take_some(rest);
            if blocks.size == WRITE_SIZE_MAX {
                blocks.write(file, position)?;
                position += blocks.size as u64;
                blocks.clear();
            }
        }
    }
    blocks.write(file, position)
}

/// What one write takes. Runs of whole blocks that lie in memory as they will on the disk are taken from where they are, if they are
/// long enough; all else, as where one part ends and the next begins, is copied.
struct Blocks<'parts, 'buffer> {
    runs: Vec<Run<'parts>>,
    size: usize,
    buffer: &'buffer mut AlignedBuffer,
    /// Bytes of the buffer in use.
    copied: usize,
}

#[derive(Debug)]
enum Run<'parts> {
    Lent(&'parts [u8]),
    /// Bytes of the buffer.
    Copied(Range<usize>),
}

impl<'parts, 'buffer> Blocks<'parts, 'buffer> {
    fn new(buffer: &'buffer mut AlignedBuffer) -> Self {
        Blocks {
            runs: Vec::new(),
            size: 0,
            buffer,
            copied: 0,
        }
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.size = 0;
        self.copied = 0;
    }

    /// Takes bytes from the front of `bytes`, which are not empty, and returns the rest.
    fn take_some(&mut self, bytes: &'parts [u8]) -> &'parts [u8] {
        let room = WRITE_SIZE_MAX - self.size;
        let within_block = self.size % BLOCK_SIZE;
        let lies_as_on_disk = bytes.as_ptr().addr() % BLOCK_SIZE == within_block;
        let whole_blocks = bytes.len().min(room) / BLOCK_SIZE * BLOCK_SIZE;
        if lies_as_on_disk && within_block == 0 && whole_blocks >= LENT_SIZE_MIN {
            let (lent, rest) = bytes.split_at(whole_blocks);
            self.runs.push(Run::Lent(lent));
            self.size += lent.len();
            return rest;
        }
        let up_to_block = BLOCK_SIZE - within_block;
        let lent_then = lies_as_on_disk && bytes.len().min(room) >= up_to_block + LENT_SIZE_MIN;
        let copied = if lent_then { up_to_block } else { room };
        let (bytes, rest) = bytes.split_at(bytes.len().min(copied));
        self.copy(bytes);
        rest
    }

    fn copy(&mut self, bytes: &[u8]) {
        let end = self.copied + bytes.len();
        self.buffer.bytes_mut()[self.copied..end].copy_from_slice(bytes);
        match self.runs.last_mut() {
            Some(Run::Copied(range)) => range.end = end,
            _ => self.runs.push(Run::Copied(self.copied..end)),
        }
        self.copied = end;
        self.size += bytes.len();
    }

    fn write(&self, file: &File, position: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self
            .runs
            .iter()
            .map(|run| match run {
                Run::Lent(bytes) => IoSlice::new(bytes),
                Run::Copied(range) => IoSlice::new(&self.buffer.bytes()[range.clone()]),
            })
            .collect();
        crate::real_file::write_slices(file, position, &mut slices)
    }
}

/// Memory that begins at a block's edge. The vector is never grown, so it stays where it is.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl AlignedBuffer {
    pub(crate) fn zeroed(size: usize) -> AlignedBuffer {
        let memory = vec![0; size + BLOCK_SIZE];
        let start = memory.as_ptr().align_offset(BLOCK_SIZE);
        assert!(start < BLOCK_SIZE, "memory of bytes can be aligned");
        AlignedBuffer { memory, start, size }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.size]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.size]
    }

    /// The first `count` bytes, shared from now on.
    pub(crate) fn freeze(self, count: usize) -> Bytes {
        let end = self.start + count.min(self.size);
        Bytes::from(self.memory).slice(self.start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(size: usize) -> Bytes {
        let mut memory = AlignedBuffer::zeroed(size);
        let bytes = memory.bytes_mut().iter_mut();
        bytes
            .zip(0_u32..)
            .for_each(|(byte, number)| *byte = (number % 251) as u8);
        memory.freeze(size)
    }

    /// Cuts `memory` at these places.
    fn cut(memory: &Bytes, places: &[usize]) -> Vec<Bytes> {
        let ends = places.iter().copied().chain([memory.len()]);
        let starts = [0].into_iter().chain(places.iter().copied());
        starts.zip(ends).map(|(start, end)| memory.slice(start..end)).collect()
    }

    fn write(parts: &[Bytes]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut buffer = AlignedBuffer::zeroed(WRITE_SIZE_MAX);
        write_aligned(file.as_file(), BLOCK_SIZE as u64, parts, &mut buffer).unwrap();
        std::fs::read(file.path()).unwrap().split_off(BLOCK_SIZE)
    }

    #[test]
    fn parts_are_written_one_after_the_other_wherever_they_lie_in_memory() {
        let memory = numbered(3 * WRITE_SIZE_MAX);
        for places in [
            &[][..],
            &[1, 4096, 4097, 9000],
            &[4095, WRITE_SIZE_MAX - 1, WRITE_SIZE_MAX + 5000, WRITE_SIZE_MAX + 5000],
            &[100, 200, 300, 2 * WRITE_SIZE_MAX + 4096],
        ] {
            let as_on_disk = cut(&memory, places);
            assert!(write(&as_on_disk) == memory, "as on the disk, cut at {places:?}");
            let elsewhere: Vec<Bytes> = as_on_disk.iter().map(|part| Bytes::from(part.to_vec())).collect();
            assert!(
                write(&elsewhere) == memory,
                "each in memory of its own, cut at {places:?}"
            );
            let mut shifted = as_on_disk;
            shifted.insert(0, Bytes::from_static(&[7; 512]));
            let expected = [&[7; 512], &memory[..]].concat();
            assert!(write(&shifted) == expected, "behind 512 bytes, cut at {places:?}");
        }
    }

    #[test]
    fn only_blocks_that_two_parts_share_and_short_parts_are_copied() {
        let memory = numbered(100 * BLOCK_SIZE);
        let places = [
            30 * BLOCK_SIZE + 100,
            30 * BLOCK_SIZE + 200,
            80 * BLOCK_SIZE,
            84 * BLOCK_SIZE - 1,
        ];
        let parts = cut(&memory, &places);
        let mut buffer = AlignedBuffer::zeroed(WRITE_SIZE_MAX);
        let mut blocks = Blocks::new(&mut buffer);
        for part in &parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                rest = blocks.take_some(rest);
            }
        }
        let runs: Vec<(bool, usize)> = blocks
            .runs
            .iter()
            .map(|run| match run {
                Run::Lent(bytes) => (true, bytes.len() / BLOCK_SIZE),
                Run::Copied(range) => (false, range.len() / BLOCK_SIZE),
            })
            .collect();
        assert_eq!(runs, [(true, 30), (false, 1), (true, 49), (false, 4), (true, 16)]);
    }
}
