//! Real files: the page cache at once, the ring or the blocking pool for what may wait for the disk.
//!
//! This is the only module that names tokio-uring, so that it can be rewritten on the maintained `io-uring` crate.

use crate::file::OpenOptions;
use crate::task::blocking;
use crate::world::{FileAccess, file_access};
use bytes::{Bytes, BytesMut};
use rustix::io::ReadWriteFlags;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

/// Parts handed to one pwritev(2); the kernel takes at most 1024.
const WRITE_PARTS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct RealFile {
    file: Arc<std::fs::File>,
    ring: Option<RingFile>,
}

struct RingFile(tokio_uring::fs::File);

impl std::fmt::Debug for RingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RingFile")
    }
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
        let ring = match file_access() {
            FileAccess::Ring => Some(RingFile(tokio_uring::fs::File::from_std(file.try_clone()?))),
            FileAccess::Blocking => None,
        };
        Ok(RealFile {
            file: Arc::new(file),
            ring,
        })
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
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
            let (count, mut buffer) = ring.0.read_at(Vec::with_capacity(size), position).await;
            buffer.truncate(count?);
            return Ok(Bytes::from(buffer));
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

    pub(crate) fn write_some(&self, position: u64, parts: &[Bytes]) -> io::Result<usize> {
        let slices: Vec<IoSlice<'_>> = parts
            .iter()
            .take(WRITE_PARTS_MAX)
            .map(|part| IoSlice::new(part))
            .collect();
        match rustix::io::pwritev(&self.file, &slices, position) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => Ok(written),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn sync_data(&self) -> io::Result<()> {
        if let Some(ring) = &self.ring {
            return ring.0.sync_data().await;
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

/// Runs `future` on a new event loop of this thread, with a ring if `access` says so.
pub(crate) fn run<F: std::future::Future>(access: FileAccess, future: F) -> io::Result<F::Output> {
    crate::world::set_file_access(access);
    match access {
        FileAccess::Ring => {
            let mut ring = tokio_uring::uring_builder();
            // Completions are handled when the loop comes to them, not by interrupting it: measured 0.98 of tokio's CPU
            // a request against 1.14 with default flags.
            ring.setup_coop_taskrun();
            let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(256).uring_builder(&ring))?;
            Ok(runtime.block_on(future))
        }
        FileAccess::Blocking => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(4)
                .build()?;
            let local = tokio::task::LocalSet::new();
            Ok(runtime.block_on(local.run_until(future)))
        }
    }
}
