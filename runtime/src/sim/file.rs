//! Files of a simulated node: the disk's state behind the calls of [`crate::file`], with their time and their errors.

use crate::file::{DiskSpace, OpenOptions};
use crate::sim::disk::states::Moment;
use crate::sim::disk::{Disk, PAGE, disk_error};
use crate::sim::fault::FaultKind;
use crate::sim::time::Sleep;
use crate::sim::world::Trace;
use crate::sim::{Here, Place};
use crate::world::simulated;
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct SimFile {
    place: Place,
    inode: u64,
    write: bool,
}

impl SimFile {
    pub(crate) async fn open(path: &Path, options: OpenOptions) -> io::Result<SimFile> {
        take_time(Cost::Metadata).await;
        let here = expect_here();
        let inode = change(&here, |disk| disk.open(path, options.create, options.create_new))?;
        here.world.trace(Trace::DiskName, inode, 0);
        Ok(SimFile {
            place: here.place,
            inode,
            write: options.write,
        })
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        with_disk(&expect_here(), |disk| disk.len(self.inode))
    }

    pub(crate) fn data_ranges(&self, within: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        with_disk(&expect_here(), |disk| disk.data_ranges(self.inode, &within))
    }

    pub(crate) async fn read_at(&self, position: u64, size: usize) -> io::Result<Bytes> {
        // Most reads find their pages in the cache.
        if expect_here().world.below(4) == 0 {
            take_time(Cost::Data).await;
        }
        let here = expect_here();
        here.world
            .trace(Trace::DiskRead, self.inode, position ^ ((size as u64) << 48));
        with_disk(&here, |disk| {
            disk.read(&here.world, here.place.node, self.inode, position, size)
        })
    }

    pub(crate) async fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        if !self.write {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::BADF.raw_os_error()));
        }
        let bytes = parts.concat();
        // The kernel may have to wait for a free page between any two, and a crash may come there.
        let pages = (position + bytes.len() as u64) / PAGE - position / PAGE;
        let first = if pages > 0 && expect_here().world.below(8) == 0 {
            let edge = (position / PAGE + 1 + expect_here().world.below(pages)) * PAGE;
            let first = usize::try_from(edge - position).map_or(0, |first| first.min(bytes.len()));
            self.write_now(position, &bytes[..first])?;
            take_time(Cost::Data).await;
            first
        } else {
            0
        };
        self.write_now(position + first as u64, &bytes[first..])
    }

    /// By another thread: often it has to wait for its turn.
    pub(crate) async fn write_off_core(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        if expect_here().world.below(2) == 0 {
            take_time(Cost::Metadata).await;
        }
        self.write_at(position, parts).await
    }

    fn write_now(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let here = expect_here();
        here.world
            .trace(Trace::DiskWrite, self.inode, position ^ ((bytes.len() as u64) << 48));
        let some = |share: usize| &bytes[..here.world.below_usize(share)];
        if here.world.roll(here.place.node, FaultKind::WriteError) {
            with_disk(&here, |disk| disk.write(self.inode, position, some(bytes.len())))?;
            return Err(disk_error());
        }
        if here.world.roll(here.place.node, FaultKind::DiskFull) {
            with_disk(&here, |disk| disk.write(self.inode, position, some(bytes.len())))?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        change(&here, |disk| disk.write(self.inode, position, bytes))
    }

    /// A direct write: part of it may be seen while it is under way, all of it is durable when it ends.
    pub(crate) async fn write_direct(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        let bytes = parts.concat();
        let here = expect_here();
        let size = bytes.len() as u64;
        here.world.trace(Trace::DiskWrite, self.inode, position ^ (size << 48));
        let node = here.place.node;
        let full = here.world.roll(node, FaultKind::DiskFull);
        let begun = change(&here, |disk| {
            disk.direct_begins(&here.world, self.inode, position, &bytes)
        })?;
        drop(here);
        take_time(Cost::Sync).await;
        let here = expect_here();
        here.world.trace(Trace::DiskSync, self.inode, begun);
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        here.world.disk_moment(node, Moment::Syncing);
        with_disk(&here, |disk| {
            disk.direct_ends(&here.world, node, (self.inode, begun), position, &bytes)
        })
    }

    pub(crate) async fn sync_data(&self) -> io::Result<()> {
        let here = expect_here();
        let up_to = with_disk(&here, |disk| Ok(disk.sync_begins()))?;
        drop(here);
        take_time(Cost::Sync).await;
        let here = expect_here();
        here.world.trace(Trace::DiskSync, self.inode, up_to);
        here.world.disk_moment(here.place.node, Moment::Syncing);
        with_disk(&here, |disk| {
            disk.sync_ends(&here.world, here.place.node, self.inode, up_to)
        })
    }

    pub(crate) async fn allocate(&self, size: u64) -> io::Result<()> {
        take_time(Cost::Metadata).await;
        let here = expect_here();
        here.world.trace(Trace::DiskWrite, self.inode, size);
        if here.world.roll(here.place.node, FaultKind::DiskFull) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change(&here, |disk| disk.allocate(self.inode, size))
    }

    pub(crate) async fn set_len(&self, size: u64) -> io::Result<()> {
        take_time(Cost::Metadata).await;
        let here = expect_here();
        here.world.trace(Trace::DiskWrite, self.inode, size);
        change(&here, |disk| disk.set_len(self.inode, size))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(here) = simulated()
            && here.world.is_alive(self.place)
        {
            here.world.disks.borrow_mut()[self.place.node.0].close(self.inode);
        }
    }
}

/// Held until dropped, or until the process ends.
#[derive(Debug)]
pub(crate) struct SimLock {
    place: Place,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Some(here) = simulated()
            && here.world.is_alive(self.place)
        {
            here.world.disks.borrow_mut()[self.place.node.0].unlock(&self.path);
        }
    }
}

pub(crate) async fn lock(path: &Path) -> io::Result<SimLock> {
    let here = expect_here();
    with_disk(&here, |disk| disk.lock(path))?;
    Ok(SimLock {
        place: here.place,
        path: path.to_owned(),
    })
}

pub(crate) async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = SimFile::open(path, OpenOptions::read_only()).await?;
    let size = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    Ok(file.read_at(0, size).await?.to_vec())
}

pub(crate) async fn replace(path: &Path, contents: Vec<u8>) -> io::Result<()> {
    let temporary = crate::file::temporary_name(path);
    let options = OpenOptions::read_write();
    let file = SimFile::open(&temporary, options).await?;
    file.set_len(0).await?;
    file.write_at(0, &[Bytes::from(contents)]).await?;
    file.sync_data().await?;
    rename(&temporary, path).await?;
    sync_directory(crate::file::parent(path)).await
}

pub(crate) async fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    take_time(Cost::Metadata).await;
    with_disk(&expect_here(), |disk| disk.list(directory))
}

pub(crate) async fn create_directory(path: &Path) -> io::Result<()> {
    take_time(Cost::Metadata).await;
    with_disk(&expect_here(), |disk| disk.create_directory(path))
}

pub(crate) async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let here = expect_here();
    here.world.trace(Trace::DiskName, 0, 1);
    change(&here, |disk| disk.rename(from, to))
}

pub(crate) async fn remove(path: &Path) -> io::Result<()> {
    take_time(Cost::Metadata).await;
    let here = expect_here();
    here.world.trace(Trace::DiskName, 0, 2);
    change(&here, |disk| disk.remove(path))
}

pub(crate) async fn exists(path: &Path) -> bool {
    with_disk(&expect_here(), |disk| Ok(disk.exists(path))).unwrap_or(false)
}

pub(crate) async fn sync_directory(directory: &Path) -> io::Result<()> {
    take_time(Cost::Sync).await;
    let here = expect_here();
    here.world.trace(Trace::DiskName, 0, 3);
    if here.world.roll(here.place.node, FaultKind::SyncError) {
        return Err(disk_error());
    }
    here.world.disk_moment(here.place.node, Moment::Syncing);
    with_disk(&here, |disk| disk.sync_directory(directory))
}

pub(crate) async fn disk_space() -> io::Result<DiskSpace> {
    with_disk(&expect_here(), |disk| Ok(disk.space()))
}

/// What kind of time an operation takes.
#[derive(Clone, Copy, Debug)]
enum Cost {
    Metadata,
    Data,
    Sync,
}

async fn take_time(cost: Cost) {
    Sleep::until(time_of(cost)).await;
}

fn time_of(cost: Cost) -> u64 {
    let here = expect_here();
    let world = &here.world;
    let (least, most) = match cost {
        Cost::Metadata => (Duration::from_micros(10), Duration::from_micros(200)),
        Cost::Data => (Duration::from_micros(50), Duration::from_micros(500)),
        Cost::Sync => (Duration::from_micros(70), Duration::from_millis(2)),
    };
    let mut time = world.between(least, most);
    if world.roll(here.place.node, FaultKind::DiskStall) {
        time += world.between(Duration::from_secs(1), Duration::from_secs(30));
    }
    world.now().saturating_add(time)
}

fn with_disk<T>(here: &Here, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
    here.check_alive()?;
    work(&mut here.world.disks.borrow_mut()[here.place.node.0])
}

/// What may change the disk: whoever observes it is told afterwards.
fn change<T>(here: &Here, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
    let done = with_disk(here, work);
    here.world.disk_moment(here.place.node, Moment::Changed);
    done
}

fn expect_here() -> Here {
    simulated().expect("a simulated file is used by its own simulation")
}
