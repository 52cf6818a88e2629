//! Files of one core, addressed by position.
//!
//! A [`File`] belongs to the core that opened it. Writes go into the page cache by another thread: the pool, or where somebody
//! waits for each, one of the ring's ([`File::write_off_core`]). From the loop turn itself they would stop the core whenever
//! the file system is frozen, its journal waits for the device, or too many pages are dirty; there is no way to ask first,
//! since ext4 and tmpfs refuse buffered writes with RWF_NOWAIT. The ring asks: where the file system can tell (XFS) a write
//! that need not wait is made at once, by the core itself. Reads try the page cache at once and go through the ring (or the
//! pool) only when they would have to wait for the disk. Syncs always go through the ring or the pool.

use crate::real_file::RealFile;
use crate::sim::file as sim;
use crate::world::is_simulated;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// How a file is opened. Reading is always possible.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// The file may be written.
    pub write: bool,
    /// The file is made if it is not there.
    pub create: bool,
    /// The file must not be there yet.
    pub create_new: bool,
}

impl OpenOptions {
    /// Only reading.
    #[must_use]
    pub const fn read_only() -> Self {
        OpenOptions {
            write: false,
            create: false,
            create_new: false,
        }
    }

    /// Reading and writing a file that is there or is made.
    #[must_use]
    pub const fn read_write() -> Self {
        OpenOptions {
            write: true,
            create: true,
            create_new: false,
        }
    }

    /// Reading and writing a file that must not be there yet.
    #[must_use]
    pub const fn create_new() -> Self {
        OpenOptions {
            write: true,
            create: true,
            create_new: true,
        }
    }
}

/// An open file of this core.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Real(RealFile),
    Simulated(sim::SimFile),
}

impl File {
    /// Opens `path`.
    ///
    /// # Errors
    /// As open(2).
    pub async fn open(path: &Path, options: OpenOptions) -> io::Result<File> {
        let inner = if is_simulated() {
            Inner::Simulated(sim::SimFile::open(path, options).await?)
        } else {
            Inner::Real(RealFile::open(path, options).await?)
        };
        Ok(File {
            path: path.to_owned(),
            inner,
        })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// As fstat(2).
    pub async fn len(&self) -> io::Result<u64> {
        match &self.inner {
            Inner::Real(file) => file.len(),
            Inner::Simulated(file) => file.len(),
        }
    }

    /// Up to `size` bytes from `position`; fewer only where the file ends.
    ///
    /// # Errors
    /// As pread(2).
    pub async fn read_at(&self, position: u64, size: usize) -> io::Result<Bytes> {
        match &self.inner {
            Inner::Real(file) => file.read_at(position, size).await,
            Inner::Simulated(file) => file.read_at(position, size).await,
        }
    }

    /// Writes all `parts` one after the other from `position` on. The future must be awaited to its end: after a drop
    /// halfway, the write goes on, and how much of it will be written is unknown.
    ///
    /// # Errors
    /// As pwritev(2); some of the bytes may have been written.
    pub async fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.write_at(position, parts.to_vec()).await,
            Inner::Simulated(file) => file.write_at(position, parts).await,
        }
    }

    /// As [`File::write_at`], by whoever takes it over at the least cost: one part by a worker of the ring, more, or without a
    /// ring, by the core's flusher thread. A drop halfway waits for a write of the ring; one of the flusher thread goes on until
    /// the core's last file is dropped.
    ///
    /// Beside handing every write to the flusher thread, 64 connections with one message of 1 KiB in flight each, on ext4: 0.88
    /// to 0.95 of the broker's CPU time a message; with 16 in flight 0.95 to 1.05; p99 and p99.9 no different, at 2,000 and at 20,000
    /// messages a second neither.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub async fn write_off_core(&self, position: u64, parts: Vec<Bytes>) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.write_off_core(position, parts).await,
            Inner::Simulated(file) => file.write_off_core(position, &parts).await,
        }
    }

    /// Makes everything written before durable, with the length (fdatasync).
    ///
    /// # Errors
    /// As fdatasync(2). After an error nothing may be assumed of the bytes written since the last success, and a later
    /// success says nothing of them: the kernel may have dropped them.
    pub async fn sync_data(&self) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.sync_data().await,
            Inner::Simulated(file) => file.sync_data().await,
        }
    }

    /// Asks the kernel to begin writing a range to the disk, and does not wait for it: a hint that keeps the number of
    /// dirty pages, and with it the length of a later sync, small.
    ///
    /// # Errors
    /// As sync_file_range(2).
    pub async fn start_writeback(&self, position: u64, size: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.start_writeback(position, size).await,
            // A hint: the simulated kernel writes back in its own time.
            Inner::Simulated(_) => Ok(()),
        }
    }

    /// Reserves disk space for the first `size` bytes and makes the file at least that long, filled with zeros.
    ///
    /// # Errors
    /// `StorageFull` when there is no space; else as fallocate(2).
    pub async fn allocate(&self, size: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.allocate(size).await,
            Inner::Simulated(file) => file.allocate(size).await,
        }
    }

    /// The parts of a range that have ever been written, in order: space that was only reserved need not be read to know that it is
    /// zeros. Ask before reading there, since what the page cache holds counts as written. A file system that cannot tell says all.
    ///
    /// # Errors
    /// As lseek(2).
    pub async fn data_ranges(&self, within: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        match &self.inner {
            Inner::Real(file) => file.data_ranges(within).await,
            Inner::Simulated(file) => file.data_ranges(within),
        }
    }

    /// Cuts or lengthens the file.
    ///
    /// # Errors
    /// As ftruncate(2).
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.set_len(size).await,
            Inner::Simulated(file) => file.set_len(size).await,
        }
    }
}

/// A lock on a directory that ends with the process: one broker a data directory.
#[derive(Debug)]
pub struct DirectoryLock {
    _held: Held,
}

#[derive(Debug)]
#[expect(dead_code, reason = "they are held to be dropped")]
enum Held {
    Real(std::fs::File),
    Simulated(sim::SimLock),
}

/// Takes the lock file `path`, made if it is not there.
///
/// # Errors
/// `WouldBlock` when another process holds it; else as open(2).
pub async fn lock(path: &Path) -> io::Result<DirectoryLock> {
    if is_simulated() {
        let held = Held::Simulated(sim::lock(path).await?);
        return Ok(DirectoryLock { _held: held });
    }
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(DirectoryLock {
        _held: Held::Real(file),
    })
}

/// The whole of a small file.
///
/// # Errors
/// As open(2) and read(2).
pub async fn read(path: &Path) -> io::Result<Vec<u8>> {
    if is_simulated() {
        return sim::read(path).await;
    }
    let path = path.to_owned();
    crate::task::blocking(move || std::fs::read(path)).await
}

/// Replaces a small file as a whole: after a crash at any moment it holds either the old bytes or the new ones.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2); the old file is then still there.
pub async fn replace(path: &Path, contents: Vec<u8>) -> io::Result<()> {
    if is_simulated() {
        return sim::replace(path, contents).await;
    }
    let path = path.to_owned();
    let turn = Turn::take(&path);
    crate::task::blocking(move || {
        turn.wait();
        let temporary = temporary_name(&path);
        let replaced = write_and_rename(&temporary, &contents, &path);
        if replaced.is_err() {
            // Half a file on a full disk would take space that others need; it may not even be there.
            let _gone = std::fs::remove_file(&temporary);
        }
        replaced
    })
    .await
}

/// Replacements of a name come one after the other, in the order in which they were asked for: one whose future was dropped goes on to its
/// end on its thread, and the next has the same temporary name.
struct Turn {
    path: PathBuf,
    number: u64,
}

/// Who waits for each name, the one at work first.
static TURNS: Mutex<BTreeMap<PathBuf, VecDeque<u64>>> = Mutex::new(BTreeMap::new());
static TURN_ENDED: Condvar = Condvar::new();
static NEXT_TURN: AtomicU64 = AtomicU64::new(0);

impl Turn {
    fn take(path: &Path) -> Turn {
        let number = NEXT_TURN.fetch_add(1, Ordering::Relaxed);
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(path.to_owned()).or_default().push_back(number);
        Turn {
            path: path.to_owned(),
            number,
        }
    }

    /// Blocks the thread.
    fn wait(&self) {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        while turns.get(&self.path).and_then(VecDeque::front) != Some(&self.number) {
            turns = TURN_ENDED.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = turns.get_mut(&self.path) {
            waiting.retain(|number| *number != self.number);
            if waiting.is_empty() {
                turns.remove(&self.path);
            }
        }
        drop(turns);
        TURN_ENDED.notify_all();
    }
}

fn write_and_rename(temporary: &Path, contents: &[u8], path: &Path) -> io::Result<()> {
    std::fs::write(temporary, contents)?;
    std::fs::File::open(temporary)?.sync_all()?;
    std::fs::rename(temporary, path)?;
    std::fs::File::open(parent(path))?.sync_all()
}

pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    PathBuf::from(name)
}

/// The directory that a name is in; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The files and folders in a directory, sorted by name.
///
/// # Errors
/// As opendir(3) and readdir(3).
pub async fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if is_simulated() {
        return sim::list(directory).await;
    }
    let directory = directory.to_owned();
    crate::task::blocking(move || {
        let mut paths = std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    })
    .await
}

/// Makes a directory and those above it, if they are not there. Durable when this returns: a store whose directory is
/// lost in a power cut is lost with everything that was synced into it.
///
/// # Errors
/// As mkdir(2) and fsync(2).
pub async fn create_directory(path: &Path) -> io::Result<()> {
    if is_simulated() {
        return sim::create_directory(path).await;
    }
    let path = path.to_owned();
    crate::task::blocking(move || {
        let missing: Vec<&Path> = path.ancestors().take_while(|directory| !is_there(directory)).collect();
        std::fs::create_dir_all(&path)?;
        for made in missing {
            std::fs::File::open(parent(made))?.sync_all()?;
        }
        Ok(())
    })
    .await
}

fn is_there(directory: &Path) -> bool {
    directory.as_os_str().is_empty() || directory.exists()
}

/// Renames a file. Durable only after [`sync_directory`] of the folder.
///
/// # Errors
/// As rename(2).
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    if is_simulated() {
        return sim::rename(from, to).await;
    }
    let (from, to) = (from.to_owned(), to.to_owned());
    crate::task::blocking(move || std::fs::rename(from, to)).await
}

/// Deletes a file; deleting a large one takes the file system a while, so it happens off the core.
///
/// # Errors
/// As unlink(2).
pub async fn remove(path: &Path) -> io::Result<()> {
    if is_simulated() {
        return sim::remove(path).await;
    }
    let path = path.to_owned();
    crate::task::blocking(move || std::fs::remove_file(path)).await
}

/// Whether there is something at `path`.
pub async fn exists(path: &Path) -> bool {
    if is_simulated() {
        return sim::exists(path).await;
    }
    path.exists()
}

/// Makes the names in a directory durable.
///
/// # Errors
/// As fsync(2).
pub async fn sync_directory(directory: &Path) -> io::Result<()> {
    if is_simulated() {
        return sim::sync_directory(directory).await;
    }
    let directory = directory.to_owned();
    crate::task::blocking(move || std::fs::File::open(directory)?.sync_all()).await
}

/// Space of the file system that holds `path`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What this process may still use.
    pub available: u64,
}

impl DiskSpace {
    /// The used share, 0.0 to 1.0, as `df` counts it.
    #[must_use]
    pub fn used_ratio(self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a ratio of disk sizes needs no more than 52 bits"
        )]
        let ratio = |part: u64| part as f64 / self.total.max(1) as f64;
        ratio(self.total.saturating_sub(self.available))
    }
}

/// Space of the file system that holds `path`.
///
/// # Errors
/// As statvfs(3).
pub async fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    if is_simulated() {
        return sim::disk_space().await;
    }
    let stats = rustix::fs::statvfs(path)?;
    // Blocks reserved for root are neither ours nor used by anybody: counting them as used would stop a broker early.
    let reserved = stats.f_bfree.saturating_sub(stats.f_bavail);
    Ok(DiskSpace {
        total: stats.f_frsize * stats.f_blocks.saturating_sub(reserved),
        available: stats.f_frsize * stats.f_bavail,
    })
}
