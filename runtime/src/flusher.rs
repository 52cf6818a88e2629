//! The flusher thread of a core: makes the writes of its logs one after the other while the core's loop goes on, whether the
//! disk takes them or not.
//!
//! It starts with the first file that needs it and ends with the last; who drops that one waits for the write under way, so
//! that nothing lands in a file after its store is taken to be closed.

use crate::direct_file::BLOCK_SIZE;
use bytes::Bytes;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Most bytes of one pwrite(2): one MiB at a time is the disk's best rate; more only holds up what waits.
const WRITE_SIZE_MAX: usize = 1 << 20;

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
    /// Past the page cache, from aligned memory.
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
                    Way::Buffered => crate::real_file::write_all(&job.file, job.position, job.parts),
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

/// Gathers the parts in the buffer and writes it whenever it is full.
fn write_aligned(file: &File, position: u64, parts: &[Bytes], buffer: &mut AlignedBuffer) -> io::Result<()> {
    let mut position = position;
    let mut filled = 0;
    for part in parts {
        let mut rest = &part[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(WRITE_SIZE_MAX - filled));
            buffer.bytes_mut()[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            rest = later;
            if filled == WRITE_SIZE_MAX {
                file.write_all_at(&buffer.bytes()[..filled], position)?;
                position += filled as u64;
                filled = 0;
            }
        }
    }
    file.write_all_at(&buffer.bytes()[..filled], position)
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
