//! The io_uring of one core: operations that may wait for the disk, beside a tokio event loop that has everything else.
//!
//! Order of one operation: it is pushed and submitted at once, from the task that asks; the kernel completes it; the ring's
//! descriptor becomes readable, which the event loop sees as it sees sockets; the reaper task takes the completions and
//! wakes the tasks.
//!
//! Why not tokio-uring 0.5, of which this is a small part rewritten (each point tried or read there):
//! - It submits when the loop is about to sleep. A loop that always has a ready task never sleeps: a sync beside one task
//!   that yields for ever waited until that task ended (5 s of 5 s); submitted at once it took 2 ms on a loaded machine.
//! - When its driver is dropped, buffers of reads whose future was dropped before are freed while the kernel may still
//!   write into them.
//! - It holds the `io-uring` crate at 0.6, and has no maintainer.
//!
//! Buffers: whatever the kernel may read or write is owned by the ring's table of operations from before the submission
//! until the completion. Dropping a future therefore frees nothing, and dropping the ring with operations under way leaks
//! their buffers: the kernel may write into those until the process ends, and waiting could take as long as a stuck disk.

use crate::flusher::AlignedBuffer;
use bytes::Bytes;
use io_uring::{IoUring, opcode, types};
use slab::Slab;
use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Submission entries; an operation is submitted at once, so this is not the number that may be under way.
const ENTRIES: u32 = 256;

thread_local! {
    static RING: RefCell<Weak<Ring>> = const { RefCell::new(Weak::new()) };
}

/// The ring of this thread, if it has one.
pub(crate) fn of_this_thread() -> Option<Rc<Ring>> {
    RING.with_borrow(Weak::upgrade)
}

pub(crate) struct Ring {
    state: RefCell<State>,
}

struct State {
    uring: IoUring,
    operations: Slab<Operation>,
}

struct Operation {
    stage: Stage,
    /// What the kernel uses until the operation has completed.
    held: Held,
}

/// The file, so that its descriptor stays open and its own; and the bytes, which do not move when this does.
struct Held {
    _file: Arc<File>,
    /// What a read fills.
    into: Vec<u8>,
    /// What a read of whole blocks fills.
    into_aligned: Option<AlignedBuffer>,
    /// What a write takes.
    from: Bytes,
    /// Its future is not dropped before it has completed.
    lands: bool,
}

impl Held {
    fn new(file: &Arc<File>) -> Held {
        Held {
            _file: Arc::clone(file),
            into: Vec::new(),
            into_aligned: None,
            from: Bytes::new(),
            lands: false,
        }
    }
}

enum Stage {
    UnderWay(Option<Waker>),
    /// Nobody waits for it any more.
    Abandoned,
    /// As the kernel gives it: a count, or an error number below zero.
    Completed(i32),
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("under_way", &self.state.borrow().operations.len())
            .finish()
    }
}

/// A ring with the flags all cores use.
pub(crate) fn build() -> io::Result<IoUring> {
    // Completions are handled when the loop comes to them, not by interrupting it: measured 0.98 of tokio's CPU a request
    // against 1.14 with default flags.
    match IoUring::builder().setup_coop_taskrun().build(ENTRIES) {
        // Kernels before 5.19 do not know the flag.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::builder().build(ENTRIES),
        made => made,
    }
}

/// Makes this thread's ring and starts its reaper; to be called within a tokio `LocalSet`. The ring lives as long as what
/// is returned, or a file that uses it.
pub(crate) fn install() -> io::Result<Rc<Ring>> {
    let ring = Rc::new(Ring {
        state: RefCell::new(State {
            uring: build()?,
            operations: Slab::new(),
        }),
    });
    let descriptor = duplicate(&ring.state.borrow().uring)?;
    let ready = register(descriptor)?;
    let reaped = Rc::clone(&ring);
    let _reaps_on = tokio::task::spawn_local(async move {
        loop {
            let Ok(mut guard) = ready.readable().await else {
                return;
            };
            reaped.reap();
            // A completion since then is an event of its own, so it is not forgotten by this.
            guard.clear_ready();
        }
    });
    RING.with_borrow_mut(|current| *current = Rc::downgrade(&ring));
    Ok(ring)
}

/// The ring's descriptor once more, so that the event loop owns what it waits for.
#[expect(unsafe_code, reason = "the io-uring crate lends its descriptor only as a number")]
fn duplicate(uring: &IoUring) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as `uring` is borrowed, which is longer than the borrow made here.
    unsafe { BorrowedFd::borrow_raw(uring.as_raw_fd()) }.try_clone_to_owned()
}

#[expect(
    unsafe_code,
    reason = "tokio asks its caller to see to it that the descriptor stays the same file"
)]
fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and names one file until it is dropped, and the registration ends before that.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

impl Ring {
    /// Up to `size` bytes from `position`; fewer where the file ends, or as the kernel likes.
    pub(crate) async fn read(&self, file: &Arc<File>, position: u64, size: usize) -> io::Result<Vec<u8>> {
        let length = u32::try_from(size).unwrap_or(u32::MAX);
        let mut held = Held::new(file);
        held.into = vec![0; size];
        let entry = opcode::Read::new(types::Fd(file.as_raw_fd()), held.into.as_mut_ptr(), length)
            .offset(position)
            .build();
        let (count, mut held) = self.run(entry, held).await?;
        held.into.truncate(count);
        Ok(held.into)
    }

    /// As [`Ring::read`], for files opened with `O_DIRECT`: position and buffer are aligned.
    pub(crate) async fn read_aligned(
        &self,
        file: &Arc<File>,
        position: u64,
        mut buffer: AlignedBuffer,
    ) -> io::Result<Bytes> {
        let into = buffer.bytes_mut();
        let length = u32::try_from(into.len()).unwrap_or(u32::MAX);
        let entry = opcode::Read::new(types::Fd(file.as_raw_fd()), into.as_mut_ptr(), length)
            .offset(position)
            .build();
        let mut held = Held::new(file);
        held.into_aligned = Some(buffer);
        let (count, held) = self.run(entry, held).await?;
        Ok(held.into_aligned.map_or_else(Bytes::new, |buffer| buffer.freeze(count)))
    }

    /// Writes from `position` on and gives back how many bytes were written. Who drops the future waits for the write under
    /// way, so that nothing lands in a file after its store is taken to be closed.
    pub(crate) async fn write(&self, file: &Arc<File>, position: u64, bytes: Bytes) -> io::Result<usize> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut held = Held::new(file);
        held.from = bytes;
        held.lands = true;
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), held.from.as_ptr(), length)
            .offset(position)
            .build();
        let (count, _held) = self.run(entry, held).await?;
        Ok(count)
    }

    /// fdatasync(2).
    pub(crate) async fn sync_data(&self, file: &Arc<File>) -> io::Result<()> {
        let entry = opcode::Fsync::new(types::Fd(file.as_raw_fd()))
            .flags(types::FsyncFlags::DATASYNC)
            .build();
        let _done = self.run(entry, Held::new(file)).await?;
        Ok(())
    }

    /// `entry` may point into `held`'s bytes only, within its length, and use no descriptor but its file's.
    async fn run(&self, entry: io_uring::squeue::Entry, held: Held) -> io::Result<(usize, Held)> {
        let waiting = Waiting {
            ring: self,
            key: self.submit(entry, held)?,
        };
        // What need not wait has completed by now: bytes in the page cache, and writes where the file system can tell.
        self.reap();
        let (result, held) = poll_fn(|cx| self.poll(waiting.key, cx)).await;
        match usize::try_from(result) {
            Ok(count) => Ok((count, held)),
            Err(_negative) => Err(io::Error::from_raw_os_error(-result)),
        }
    }

    #[expect(
        unsafe_code,
        reason = "the kernel is handed a pointer; that it stays good is argued below"
    )]
    fn submit(&self, entry: io_uring::squeue::Entry, held: Held) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let State { uring, operations } = &mut *state;
        let key = operations.insert(Operation {
            stage: Stage::UnderWay(None),
            held,
        });
        let entry = entry.user_data(key as u64);
        // SAFETY: the entry's descriptor and bytes are `held`'s, which the table has now and gives back only when the
        // completion has come; they do not move when the table does, and their length bounds the entry's.
        while unsafe { uring.submission().push(&entry) }.is_err() {
            if let Err(error) = submit_pushed(uring) {
                operations.remove(key);
                return Err(error);
            }
        }
        // If this fails the entry is in the queue all the same, and goes with the next: it must not be taken back.
        if let Err(error) = submit_pushed(uring) {
            tracing::error!(%error, "io_uring does not take operations");
        }
        Ok(key)
    }

    fn poll(&self, key: usize, cx: &Context<'_>) -> Poll<(i32, Held)> {
        let mut state = self.state.borrow_mut();
        let operation = &mut state.operations[key];
        match &mut operation.stage {
            Stage::UnderWay(waker) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Stage::Abandoned => unreachable!("an operation is abandoned when its future is dropped"),
            Stage::Completed(_) => {}
        }
        let operation = state.operations.remove(key);
        match operation.stage {
            Stage::Completed(result) => Poll::Ready((result, operation.held)),
            Stage::UnderWay(_) | Stage::Abandoned => unreachable!("it was seen to have completed"),
        }
    }

    /// Waits, with the whole core, for an operation that must land.
    fn wait_to_land(&self, key: usize) {
        let awaited = || {
            let state = self.state.borrow();
            let operation = state.operations.get(key);
            operation.is_some_and(|operation| operation.held.lands && matches!(operation.stage, Stage::UnderWay(_)))
        };
        while awaited() {
            let waited = self.state.borrow().uring.submit_and_wait(1);
            if let Err(error) = waited
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "cannot wait for a write that is under way");
                return;
            }
            self.reap();
        }
    }

    /// Takes all completions and wakes who waits for them.
    fn reap(&self) {
        let mut wakers = Vec::new();
        let mut state = self.state.borrow_mut();
        let State { uring, operations } = &mut *state;
        // Entries that the kernel would not take before, when its memory was short.
        if !uring.submission().is_empty()
            && let Err(error) = submit_pushed(uring)
        {
            tracing::error!(%error, "io_uring does not take operations");
        }
        for completion in uring.completion() {
            let key = usize::try_from(completion.user_data()).expect("it was made from a table's key");
            let operation = &mut operations[key];
            match std::mem::replace(&mut operation.stage, Stage::Completed(completion.result())) {
                Stage::UnderWay(waker) => wakers.extend(waker),
                Stage::Abandoned => {
                    operations.remove(key);
                }
                Stage::Completed(_) => unreachable!("an operation completes once"),
            }
        }
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }
}

fn submit_pushed(uring: &IoUring) -> io::Result<()> {
    loop {
        match uring.submit() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(|_count| ()),
        }
    }
}

/// A future that waits for an operation; dropped before its end, it leaves the buffer with the table, or waits if it must.
struct Waiting<'ring> {
    ring: &'ring Ring,
    key: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.ring.wait_to_land(self.key);
        let mut state = self.ring.state.borrow_mut();
        let Some(operation) = state.operations.get_mut(self.key) else {
            return;
        };
        match operation.stage {
            Stage::UnderWay(_) => operation.stage = Stage::Abandoned,
            Stage::Completed(_) | Stage::Abandoned => {
                state.operations.remove(self.key);
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for operation in self.operations.drain() {
            if !matches!(operation.stage, Stage::Completed(_)) {
                // The kernel may still write there.
                std::mem::forget(operation.held);
            }
        }
    }
}
