//! Memory that outlives the process, though not the machine: what a process had stored there when it was killed, its next
//! start finds.
//!
//! It is a System V shared memory segment (shmget(2)), whose pages belong to the kernel until somebody removes them. Unlike a
//! mapped file of the store's own file system it can be stored into while that is frozen or its journal waits for the device: no
//! store ever waits for a disk. It is of use only where nothing removes it between a process's end and its next start, which
//! [`refusal`] decides.

use crate::sim::Moment;
use crate::world::{is_simulated, simulated};
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why this process cannot have memory that outlives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashMemoryRefusal {
    /// Its IPC namespace is a container's, and ends with it.
    Container,
    /// The kernel removes what no process has attached (kernel.shm_rmid_forced).
    RemovedAtExit,
    /// logind removes the memory of such a user when the last session ends (`RemoveIPC`).
    User(u32),
    /// The kernel does not give as much.
    Kernel(String),
}

impl fmt::Display for CrashMemoryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrashMemoryRefusal::Container => f.write_str(
                "shared memory of a container ends with it; fix, where the machine is the broker's own: share the host's IPC \
                 namespace (docker run --ipc=host)",
            ),
            CrashMemoryRefusal::RemovedAtExit => f.write_str(
                "kernel.shm_rmid_forced is set, so shared memory ends with its process; fix: sysctl -w kernel.shm_rmid_forced=0",
            ),
            CrashMemoryRefusal::User(user) => write!(
                f,
                "shared memory of user {user} is removed when its last session ends; fix: run the broker as a system user \
                 (number below {FIRST_LOGIN_USER})"
            ),
            CrashMemoryRefusal::Kernel(error) => {
                write!(f, "shmget failed: {error}; fix: raise kernel.shmmax and kernel.shmall")
            }
        }
    }
}

/// Users from here on are people (`SYS_UID_MAX` of login.defs is 999), or come and go with a service (`DynamicUser`).
const FIRST_LOGIN_USER: u32 = 1000;

/// The machine's own IPC namespace: its number is fixed in the kernel (PROC_IPC_INIT_INO), any other's is not.
const MACHINE_NAMESPACE: &str = "ipc:[4026531839]";

/// Whether this process can have `size` bytes that outlive it. `None`: it can.
#[must_use]
pub fn refusal(size: usize) -> Option<CrashMemoryRefusal> {
    if is_simulated() {
        return None;
    }
    let namespace = std::fs::read_link("/proc/self/ns/ipc").unwrap_or_default();
    if namespace.as_os_str() != MACHINE_NAMESPACE {
        return Some(CrashMemoryRefusal::Container);
    }
    let forced = std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap_or_default();
    if forced.trim() != "0" {
        return Some(CrashMemoryRefusal::RemovedAtExit);
    }
    let user = rustix::process::geteuid().as_raw();
    if user >= FIRST_LOGIN_USER {
        return Some(CrashMemoryRefusal::User(user));
    }
    let tried = CrashMemory::create(size).and_then(CrashMemory::remove);
    tried.err().map(|error| CrashMemoryRefusal::Kernel(error.to_string()))
}

/// A piece of such memory, attached to this process. Dropping it leaves it to the next start.
#[derive(Debug)]
pub struct CrashMemory {
    id: i32,
    size: usize,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Real(Mapping),
    Simulated,
}

impl CrashMemory {
    /// Makes `size` bytes, all zero; the kernel gives them as they are stored into.
    ///
    /// # Errors
    /// As shmget(2) and shmat(2).
    pub fn create(size: usize) -> io::Result<CrashMemory> {
        if let Some(here) = simulated() {
            let id = here.world.with_disk(here.place.node, |disk| disk.new_memory(size));
            let inner = Inner::Simulated;
            return Ok(CrashMemory { id, size, inner });
        }
        let id = real::get(size)?;
        match Mapping::attach(id) {
            Ok(mapping) => Ok(CrashMemory {
                id,
                size,
                inner: Inner::Real(mapping),
            }),
            Err(error) => {
                real::remove(id)?;
                Err(error)
            }
        }
    }

    /// Attaches what an earlier process has left; `None` when it is gone.
    ///
    /// # Errors
    /// `ResourceBusy` when a process that lives has it attached; else as shmctl(2) and shmat(2).
    pub fn attach(id: i32) -> io::Result<Option<CrashMemory>> {
        if let Some(here) = simulated() {
            let size = here
                .world
                .with_disk(here.place.node, |disk| disk.memory(id).map(<[u8]>::len));
            let inner = Inner::Simulated;
            return Ok(size.map(|size| CrashMemory { id, size, inner }));
        }
        let Some((size, attached)) = real::look(id)? else {
            return Ok(None);
        };
        if attached > 0 {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another process has shared memory {id} attached (see ipcs -m)"),
            ));
        }
        Ok(Some(CrashMemory {
            id,
            size,
            inner: Inner::Real(Mapping::attach(id)?),
        }))
    }

    /// What [`CrashMemory::attach`] finds it by, until the machine is started again.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Stores `bytes` at `at`.
    ///
    /// # Panics
    /// When they lead beyond the end.
    pub fn store(&self, at: usize, bytes: &[u8]) {
        self.check(at, bytes.len());
        match &self.inner {
            Inner::Real(mapping) => mapping.store(at, bytes),
            Inner::Simulated => self.simulated(|memory| memory[at..at + bytes.len()].copy_from_slice(bytes)),
        }
    }

    /// Stores a number at `at`, a multiple of 8, after everything that was stored before: who finds the number finds that too.
    ///
    /// # Panics
    /// When it leads beyond the end, or is no multiple of 8.
    pub fn store_number(&self, at: usize, number: u64) {
        self.check(at, size_of::<u64>());
        assert!(at.is_multiple_of(align_of::<u64>()), "a number at {at} is not aligned");
        match &self.inner {
            Inner::Real(mapping) => mapping.store_number(at, number),
            Inner::Simulated => {
                self.simulated(|memory| memory[at..at + 8].copy_from_slice(&number.to_ne_bytes()));
                if let Some(here) = simulated() {
                    here.world.disk_moment(here.place.node, Moment::Changed);
                }
            }
        }
    }

    /// A copy of `size` bytes at `at`.
    ///
    /// # Panics
    /// When they lead beyond the end.
    #[must_use]
    pub fn load(&self, at: usize, size: usize) -> Vec<u8> {
        self.check(at, size);
        match &self.inner {
            Inner::Real(mapping) => mapping.load(at, size),
            Inner::Simulated => self.simulated(|memory| memory[at..at + size].to_vec()),
        }
    }

    /// Gives the pages of a range back to the kernel: it reads as zeros. `at` and `size` are multiples of a page.
    ///
    /// # Panics
    /// When it leads beyond the end.
    pub fn discard(&self, at: usize, size: usize) {
        self.check(at, size);
        match &self.inner {
            Inner::Real(mapping) => mapping.discard(at, size),
            Inner::Simulated => self.simulated(|memory| memory[at..at + size].fill(0)),
        }
    }

    /// Removes it: no later start finds it.
    ///
    /// # Errors
    /// As shmctl(2).
    pub fn remove(self) -> io::Result<()> {
        if let Some(here) = simulated() {
            here.world
                .with_disk(here.place.node, |disk| disk.remove_memory(self.id));
            return Ok(());
        }
        real::remove(self.id)
    }

    fn simulated<T>(&self, work: impl FnOnce(&mut [u8]) -> T) -> T {
        let here = simulated().expect("simulated memory is used in its world");
        here.world.with_disk(here.place.node, |disk| {
            work(disk.memory_mut(self.id).expect("a process that lives has its memory"))
        })
    }

    fn check(&self, at: usize, size: usize) {
        assert!(
            at.checked_add(size).is_some_and(|end| end <= self.size),
            "{size} bytes at {at} lead out of {} bytes of memory",
            self.size
        );
    }
}

/// A segment in this process's address space. Only [`CrashMemory`] calls it, after it has checked the range, and no reference
/// into it is ever given out.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
}

#[expect(
    unsafe_code,
    reason = "memory that outlives the process is the kernel's, reached by address alone; acknowledging from it instead of from \
              the page cache is 0.6 to 0.85 of the broker's CPU a message, see ARCHITECTURE.md"
)]
impl Mapping {
    fn attach(id: i32) -> io::Result<Mapping> {
        // SAFETY: with no address given, the kernel chooses one where nothing is mapped.
        let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        if address.addr() == usize::MAX {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Mapping { base })
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        // SAFETY: the range lies in the segment (checked by the caller), which is mapped for as long as `self` lives. `bytes` lies
        // elsewhere: no reference into the segment exists.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(at), bytes.len()) }
    }

    fn store_number(&self, at: usize, number: u64) {
        // SAFETY: as above; a segment begins at a page and `at` is a multiple of 8, so the place is aligned. Nothing but this and
        // other copies by this thread touches it.
        #[expect(clippy::cast_ptr_alignment, reason = "the place is aligned, as said above")]
        let place = unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast::<u64>()) };
        place.store(number, Ordering::Release);
    }

    fn load(&self, at: usize, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        // SAFETY: as in `store`, the other way.
        unsafe { std::ptr::copy_nonoverlapping(self.base.as_ptr().add(at), bytes.as_mut_ptr(), size) };
        bytes
    }

    fn discard(&self, at: usize, size: usize) {
        // SAFETY: the range lies in the segment, which stays mapped; its pages read as zeros afterwards.
        let done = unsafe { libc::madvise(self.base.as_ptr().add(at).cast(), size, libc::MADV_REMOVE) };
        if done != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "shared memory stays with this process");
        }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "as above")]
    fn drop(&mut self) {
        // SAFETY: it was attached at this address, once, and nothing refers to it any more.
        let _detached = unsafe { libc::shmdt(self.base.as_ptr().cast()) };
    }
}

#[expect(
    unsafe_code,
    reason = "no safe wrapper of System V shared memory is published in the crates used here"
)]
mod real {
    use std::io;

    /// A new segment of this user's alone.
    pub(super) fn get(size: usize) -> io::Result<i32> {
        // SAFETY: the call takes no pointers.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, size, libc::IPC_CREAT | 0o600) };
        if id < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(id)
        }
    }

    /// Size of a segment and how many have it attached; `None` when there is none.
    pub(super) fn look(id: i32) -> io::Result<Option<(usize, u64)>> {
        // SAFETY: all bytes of the structure may be zero; the kernel fills it in.
        let mut found: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the structure outlives the call.
        if unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut found) } == 0 {
            return Ok(Some((found.shm_segsz, found.shm_nattch)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::EIDRM) => Ok(None),
            _ => Err(error),
        }
    }

    pub(super) fn remove(id: i32) -> io::Result<()> {
        // SAFETY: this command takes no structure.
        let done = unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64 << 10;

    #[test]
    fn what_is_stored_is_there_when_it_is_attached_again_and_gone_when_it_is_removed() {
        let memory = CrashMemory::create(SIZE).unwrap();
        assert_eq!(memory.load(0, SIZE), vec![0; SIZE]);
        memory.store(SIZE - 3, b"end");
        memory.store_number(8, 0x0102_0304_0506_0708);
        let id = memory.id();
        let busy = CrashMemory::attach(id).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy, "{busy}");
        drop(memory);
        let memory = CrashMemory::attach(id).unwrap().expect("it outlives who made it");
        assert_eq!(memory.size(), SIZE);
        assert_eq!(memory.load(SIZE - 3, 3), b"end");
        assert_eq!(memory.load(8, 8), 0x0102_0304_0506_0708_u64.to_ne_bytes());
        memory.discard(0, 4096);
        assert_eq!(memory.load(8, 8), [0; 8]);
        assert_eq!(memory.load(SIZE - 3, 3), b"end");
        memory.remove().unwrap();
        assert!(CrashMemory::attach(id).unwrap().is_none());
    }

    #[test]
    #[should_panic(expected = "lead out of")]
    fn nothing_is_stored_behind_the_end() {
        let memory = CrashMemory::create(SIZE).unwrap();
        let id = memory.id;
        let stored = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| memory.store(SIZE - 3, b"more")));
        real::remove(id).unwrap();
        std::panic::resume_unwind(stored.unwrap_err());
    }

    #[test]
    fn every_refusal_says_how_it_can_be_mended() {
        for refusal in [
            CrashMemoryRefusal::Container,
            CrashMemoryRefusal::RemovedAtExit,
            CrashMemoryRefusal::User(1000),
            CrashMemoryRefusal::Kernel("Invalid argument".to_owned()),
        ] {
            assert!(refusal.to_string().contains("fix"), "{refusal}");
        }
    }
}
