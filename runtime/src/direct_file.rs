//! Files past the page cache: every write is on the disk when it returns (`O_DIRECT|O_DSYNC`), reads see the disk itself.
//!
//! A [`DirectFile`] belongs to the core that opened it. Its writes are made by the core's flusher thread, one at a time: a
//! blocking pwrite(2) completes in the context of its caller, where the same write through the ring completes in a kworker,
//! which waits for the busy core (measured on ext4: the thread 1.1 to 1.7 times the rate, p99 1.8 to 5 times better). The
//! core's loop never waits. Reads go through the ring, or the pool.
//!
//! Positions and sizes of writes are multiples of [`BLOCK_SIZE`]; memory need not be aligned: what does not lie in it as it
//! will on the disk, the flusher thread copies into a block-aligned buffer of its own. A write that power ends halfway leaves each
//! 512-byte sector old or new.

use crate::flusher::{AlignedBuffer, Flusher, Way};
use crate::ring::Ring;
use crate::sim::file as sim;
use crate::task::blocking;
use crate::world::is_simulated;
use bytes::{Bytes, BytesMut};
use rustix::fs::{AtFlags, OFlags, StatxFlags};
use std::fmt;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of a block: positions, sizes and memory of direct writes are multiples of it.
pub const BLOCK_SIZE: usize = 4096;

/// Why a directory's files cannot be written past the page cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectRefusal {
    /// Its file system has no direct writes (tmpfs, overlays of such).
    FileSystem(PathBuf),
    /// Its file system wants blocks of this many bytes, more than [`BLOCK_SIZE`] or no divisor of it.
    Alignment(PathBuf, u32),
}

impl fmt::Display for DirectRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectRefusal::FileSystem(directory) => write!(
                f,
                "the file system of {} has no direct writes; fix: put the directory on ext4 or XFS",
                directory.display()
            ),
            DirectRefusal::Alignment(directory, wanted) => write!(
                f,
                "the file system of {} wants direct writes in blocks of {wanted} bytes, not of {BLOCK_SIZE}; fix: put the \
                 directory on a disk with blocks of {BLOCK_SIZE} bytes or less",
                directory.display()
            ),
        }
    }
}

/// Tries whether files in `directory`, which is there, can be written past the page cache. `None`: they can.
///
/// # Errors
/// As open(2), statx(2) and unlink(2) of a file that is made for the trial.
pub async fn direct_refusal(directory: &Path) -> io::Result<Option<DirectRefusal>> {
    if is_simulated() {
        return Ok(None);
    }
    let directory = directory.to_owned();
    blocking(move || {
        let trial = directory.join(format!("direct-writes.{}", std::process::id()));
        std::fs::File::create(&trial)?;
        let answer = try_open(&trial);
        std::fs::remove_file(&trial)?;
        answer.map(|opened| opened.err().map(|cause| cause.refusal(directory)))
    })
    .await
}

/// What keeps a file that is there from being opened for direct writes.
enum Cause {
    FileSystem,
    Alignment(u32),
}

impl Cause {
    fn refusal(self, directory: PathBuf) -> DirectRefusal {
        match self {
            Cause::FileSystem => DirectRefusal::FileSystem(directory),
            Cause::Alignment(wanted) => DirectRefusal::Alignment(directory, wanted),
        }
    }
}

fn try_open(path: &Path) -> io::Result<Result<std::fs::File, Cause>> {
    let flags = i32::try_from((OFlags::DIRECT | OFlags::DSYNC).bits()).unwrap_or(0);
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Err(Cause::FileSystem)),
        Err(error) => return Err(error),
    };
    // Some file systems open the file and then write through the page cache (tmpfs since 6.6): statx tells.
    match rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(found) if found.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            let wanted = found.stx_dio_offset_align.max(found.stx_dio_mem_align);
            let fits = |wanted: u32| (BLOCK_SIZE as u64).is_multiple_of(u64::from(wanted));
            Ok(match wanted {
                0 => Err(Cause::FileSystem),
                wanted if fits(wanted) => Ok(file),
                wanted => Err(Cause::Alignment(wanted)),
            })
        }
        // Kernels before 6.1 do not say; there tmpfs refuses the open.
        Ok(_) if is_in_memory(&file)? => Ok(Err(Cause::FileSystem)),
        Ok(_) => Ok(Ok(file)),
        Err(error) => Err(error.into()),
    }
}

/// A file system without a disk leaves the question of statx open.
fn is_in_memory(file: &std::fs::File) -> io::Result<bool> {
    // Its magic number. The type of `f_type` is not the same on every machine.
    Ok(rustix::fs::fstatfs(file)?.f_type == 0x0102_1994)
}

/// A file that is open for direct writes and reads.
#[derive(Debug)]
pub struct DirectFile {
    path: PathBuf,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Real(RealDirect),
    Simulated(sim::SimFile),
}

#[derive(Debug)]
struct RealDirect {
    file: Arc<std::fs::File>,
    ring: Option<Rc<Ring>>,
    flusher: Rc<Flusher>,
}

impl DirectFile {
    /// Opens `path`, which must be there.
    ///
    /// # Errors
    /// As open(2); `Unsupported`, with the text of [`DirectRefusal`], where the file system has no direct writes.
    pub async fn open(path: &Path) -> io::Result<DirectFile> {
        let inner = if is_simulated() {
            let options = crate::OpenOptions {
                create: false,
                ..crate::OpenOptions::read_write()
            };
            Inner::Simulated(sim::SimFile::open(path, options).await?)
        } else {
            let wanted = path.to_owned();
            let opened = blocking(move || try_open(&wanted)).await?;
            let file = opened.map_err(|cause| {
                let refusal = cause.refusal(crate::file::parent(path).to_owned());
                io::Error::new(io::ErrorKind::Unsupported, refusal.to_string())
            })?;
            Inner::Real(RealDirect {
                file: Arc::new(file),
                ring: crate::ring::of_this_thread(),
                flusher: crate::flusher::of_this_thread()?,
            })
        };
        Ok(DirectFile {
            path: path.to_owned(),
            inner,
        })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all `parts` one after the other from `position` on; durable when it returns. `position` and the sum of the
    /// parts' sizes are multiples of [`BLOCK_SIZE`]. Two writes of one block must not be under way at once. After a drop
    /// halfway, the write goes on; how much of it will be written is unknown.
    ///
    /// # Errors
    /// As pwrite(2); some of the bytes may have been written, and nothing may be assumed of them. `InvalidInput` where
    /// something is not aligned.
    pub async fn write_at(&self, position: u64, parts: Vec<Bytes>) -> io::Result<()> {
        check_alignment(position, parts.iter().map(Bytes::len).sum())?;
        match &self.inner {
            Inner::Real(direct) => direct.flusher.write(Way::Direct, &direct.file, position, parts).await,
            Inner::Simulated(file) => file.write_direct(position, &parts).await,
        }
    }

    /// Up to `size` bytes from `position`; fewer only where the file ends. Nothing need be aligned.
    ///
    /// # Errors
    /// As pread(2).
    pub async fn read_at(&self, position: u64, size: usize) -> io::Result<Bytes> {
        let direct = match &self.inner {
            Inner::Real(direct) => direct,
            Inner::Simulated(file) => return file.read_at(position, size).await,
        };
        let first = position - position % BLOCK_SIZE as u64;
        let before = usize::try_from(position - first).unwrap_or(0);
        let wanted = (before + size).next_multiple_of(BLOCK_SIZE);
        let mut bytes = direct.read_some(first, wanted).await?;
        if bytes.len() < wanted && bytes.len().is_multiple_of(BLOCK_SIZE) && !bytes.is_empty() {
            bytes = direct.read_on(first, bytes, wanted).await?;
        }
        let end = (before + size).min(bytes.len());
        Ok(bytes.slice(before.min(end)..end))
    }
}

fn check_alignment(position: u64, size: usize) -> io::Result<()> {
    if position.is_multiple_of(BLOCK_SIZE as u64) && size.is_multiple_of(BLOCK_SIZE) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("a direct write of {size} bytes at {position}: both must be multiples of {BLOCK_SIZE}"),
    ))
}

impl RealDirect {
    /// Aligned bytes from an aligned position; fewer where the file ends, or as the kernel likes.
    async fn read_some(&self, position: u64, size: usize) -> io::Result<Bytes> {
        let buffer = AlignedBuffer::zeroed(size);
        if let Some(ring) = &self.ring {
            return ring.read_aligned(&self.file, position, buffer).await;
        }
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut buffer = buffer;
            let count = file.read_at(buffer.bytes_mut(), position)?;
            Ok(buffer.freeze(count))
        })
        .await
    }

    /// The rest of a read that the kernel ended early.
    async fn read_on(&self, position: u64, first: Bytes, size: usize) -> io::Result<Bytes> {
        let mut all = BytesMut::from(first);
        while all.len() < size {
            let more = self.read_some(position + all.len() as u64, size - all.len()).await?;
            all.extend_from_slice(&more);
            if more.is_empty() || !more.len().is_multiple_of(BLOCK_SIZE) {
                break;
            }
        }
        Ok(all.freeze())
    }
}
