//! Real files: reads from the page cache at once, the ring, the pool or the flusher thread for what may wait for the disk.

use crate::file::OpenOptions;
use crate::flusher::{Flusher, Way};
use crate::ring::Ring;
use crate::task::blocking;
use bytes::{Buf, Bytes, BytesMut};
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, ReadWriteFlags};
use std::cell::OnceCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Parts handed to one pwritev(2); the kernel takes at most 1024.
const WRITE_PARTS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct RealFile {
    file: Arc<std::fs::File>,
    /// The ring of the core that opened it; without one, the pool.
    ring: Option<Rc<Ring>>,
    /// Once something was written by it.
    flusher: OnceCell<Rc<Flusher>>,
}

impl RealFile {
    pub(crate) async fn open(path: &Path, options: OpenOptions) -> io::Result<RealFile> {
        let path = path.to_owned();
        let file = blocking(move || {
            std::fs::OpenOptions::new()
                .read(true)
                .write(options.write)
                .create(options.create)
                .create_new(options.create_new)
                .truncate(false)
                .open(path)
        })
        .await?;
        Ok(RealFile {
            file: Arc::new(file),
            ring: crate::ring::of_this_thread(),
            flusher: OnceCell::new(),
        })
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// By the pool: where the file's data are may itself have to be read from the disk.
    pub(crate) async fn data_ranges(&self, within: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let file = Arc::clone(&self.file);
        blocking(move || data_ranges(&file, within)).await
    }

    pub(crate) async fn read_at(&self, position: u64, size: usize) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed(size);
        let mut filled = 0;
        while filled < size {
            let at = position + filled as u64;
            let count = match self.read_cached(at, &mut buffer[filled..]) {
                Ok(count) => count,
                Err(error) if would_wait(&error) => {
                    let rest = self.read_from_disk(at, size - filled).await?;
                    buffer[filled..filled + rest.len()].copy_from_slice(&rest);
                    rest.len()
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 {
                break;
            }
            filled += count;
        }
        buffer.truncate(filled);
        Ok(buffer.freeze())
    }

    /// What the page cache holds, without waiting for the disk.
    fn read_cached(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut parts = [IoSliceMut::new(into)];
        Ok(rustix::io::preadv2(
            &self.file,
            &mut parts,
            position,
            ReadWriteFlags::NOWAIT,
        )?)
    }

    async fn read_from_disk(&self, position: u64, size: usize) -> io::Result<Bytes> {
        if let Some(ring) = &self.ring {
            return ring.read(&self.file, position, size).await.map(Bytes::from);
        }
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut buffer = vec![0; size];
            let count = std::os::unix::fs::FileExt::read_at(&*file, &mut buffer, position)?;
            buffer.truncate(count);
            Ok(Bytes::from(buffer))
        })
        .await
    }

    pub(crate) async fn write_at(&self, position: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || write_all(&file, position, &parts)).await
    }

    pub(crate) async fn write_off_core(&self, position: u64, mut parts: Vec<Bytes>) -> io::Result<()> {
        if let (Some(ring), 1) = (&self.ring, parts.len()) {
            let bytes = parts.remove(0);
            return write_through(ring, &self.file, position, bytes).await;
        }
        if self.flusher.get().is_none() {
            // Nobody else sets it: there was no suspension point.
            let _set = self.flusher.set(crate::flusher::of_this_thread()?);
        }
        let flusher = self.flusher.get().ok_or(io::ErrorKind::BrokenPipe)?;
        flusher.write(Way::Buffered, &self.file, position, parts).await
    }

    pub(crate) async fn sync_data(&self) -> io::Result<()> {
        if let Some(ring) = &self.ring {
            return ring.sync_data(&self.file).await;
        }
        let file = Arc::clone(&self.file);
        blocking(move || file.sync_data()).await
    }

    pub(crate) async fn start_writeback(&self, position: u64, size: u64) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || start_writeback(&file, position, size)).await
    }

    pub(crate) async fn allocate(&self, size: u64) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            Ok(rustix::fs::fallocate(
                &file,
                rustix::fs::FallocateFlags::empty(),
                0,
                size,
            )?)
        })
        .await
    }

    pub(crate) async fn set_len(&self, size: u64) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        blocking(move || file.set_len(size)).await
    }
}

/// Writes all of `bytes` through the ring, which may take some at a time.
async fn write_through(ring: &Ring, file: &Arc<std::fs::File>, position: u64, mut bytes: Bytes) -> io::Result<()> {
    let mut position = position;
    while !bytes.is_empty() {
        match ring.write(file, position, bytes.clone()).await {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes.advance(count);
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all parts one after the other; waits where the file system does.
pub(crate) fn write_all(file: &std::fs::File, position: u64, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    write_slices(file, position, &mut slices)
}

/// As [`write_all`].
pub(crate) fn write_slices(file: &std::fs::File, position: u64, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut position = position;
    // Empty ones in front would make the first call write nothing, which means something else.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = slices.get(..WRITE_PARTS_MAX).unwrap_or(slices);
        let written = match rustix::io::pwritev(file, some, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        position += written as u64;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

/// The page cache does not hold it, or this file system cannot tell.
fn would_wait(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

#[expect(
    unsafe_code,
    reason = "no safe wrapper of sync_file_range is published; early writeback bounds dirty pages"
)]
fn start_writeback(file: &std::fs::File, position: u64, size: u64) -> io::Result<()> {
    let out_of_range = |_error| io::Error::from(io::ErrorKind::InvalidInput);
    let position = i64::try_from(position).map_err(out_of_range)?;
    let size = i64::try_from(size).map_err(out_of_range)?;
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call takes no pointers.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), position, size, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Moves the file's own position, which nothing here uses.
fn data_ranges(file: &std::fs::File, within: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut position = within.start;
    while position < within.end {
        let data = match seek(file, SeekFrom::Data(position)) {
            Ok(data) if data < within.end => data,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = seek(file, SeekFrom::Hole(data))?.min(within.end);
        ranges.push(data..position);
    }
    Ok(ranges)
}
