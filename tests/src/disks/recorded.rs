//! A disk that remembers every write and flush, so that a power cut at any point of its life can be shown afterwards: a file
//! system in user space (FUSE) with one file, made to lie under a loop device.
//!
//! What a disk promises: a write that ended before a flush began is there after a power cut once the flush has ended. Of the
//! other writes each may be there, be missing, or be there in part, in units of 512 bytes.

use super::text;
use bytes::Bytes;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

const FILE: INodeNo = INodeNo(2);
const FILE_NAME: &str = "disk";
/// How long the kernel may remember attributes: they never change.
const ATTRIBUTES_HOLD: Duration = Duration::from_secs(3600);
/// The unit in which a disk writes or does not.
const SECTOR: usize = 512;

/// What the disk was asked.
#[derive(Clone, Debug)]
enum Operation {
    Write { position: usize, bytes: Bytes },
    Flush,
}

/// The disk, mounted; gone with the value. Detach what stands on it first.
#[derive(Debug)]
pub struct RecordedDisk {
    file: PathBuf,
    state: Arc<Mutex<State>>,
    /// Unmounts when it goes.
    _session: BackgroundSession,
}

#[derive(Debug)]
struct State {
    contents: Vec<u8>,
    base: Vec<u8>,
    operations: Vec<(Instant, Operation)>,
    recording: bool,
    failing: bool,
}

impl RecordedDisk {
    /// An empty disk of `size` bytes, as a file in the directory `at`.
    pub fn mount(at: &Path, size: usize) -> RecordedDisk {
        std::fs::create_dir_all(at).unwrap_or_else(|error| panic!("cannot make {}: {error}", at.display()));
        let state = Arc::new(Mutex::new(State {
            contents: vec![0; size],
            base: Vec::new(),
            operations: Vec::new(),
            recording: false,
            failing: false,
        }));
        let disk = Disk(Arc::clone(&state));
        let session = fuser::spawn_mount(disk, at, &Config::default());
        let session =
            session.unwrap_or_else(|error| panic!("cannot mount a FUSE file system at {}: {error}", text(at)));
        RecordedDisk {
            file: at.join(FILE_NAME),
            state,
            _session: session,
        }
    }

    /// What a loop device is made of.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Begins to remember. Flush what stands on the disk first: what it holds now counts as durable.
    pub fn record(&self) {
        let mut state = self.lock();
        state.base = state.contents.clone();
        state.recording = true;
    }

    /// Ends remembering and gives out what happened.
    pub fn recording(&self) -> Recording {
        let mut state = self.lock();
        state.recording = false;
        Recording {
            base: std::mem::take(&mut state.base),
            operations: std::mem::take(&mut state.operations),
        }
    }

    /// From now on every write and flush fails with EIO, or none does.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happened to a disk.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    base: Vec<u8>,
    operations: Vec<(Instant, Operation)>,
}

impl Recording {
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// When the disk was asked for this operation: what was acknowledged before then stood on earlier ones alone.
    pub fn at(&self, operation: usize) -> Instant {
        self.operations[operation].0
    }

    /// What the disk holds when power goes before operation `cut`: everything up to the last flush, and of each later write
    /// what `fate` says. A disk that lies about its last `ignored` flushes has lost what came after the one before them.
    pub fn after_power_cut(&self, cut: usize, ignored: usize, mut fate: impl FnMut() -> Fate) -> Vec<u8> {
        let operations = &self.operations[..cut];
        let is_flush = |(_, what): &(Instant, Operation)| matches!(what, Operation::Flush);
        let flushes = operations.iter().enumerate().rev().filter(|(_, op)| is_flush(op));
        let durable = flushes.skip(ignored).map(|(index, _)| index).next().unwrap_or(0);
        let mut image = self.base.clone();
        for (index, (_, operation)) in operations.iter().enumerate() {
            let Operation::Write { position, bytes } = operation else {
                continue;
            };
            let fate = if index < durable { Fate::Kept } else { fate() };
            apply(&mut image[*position..*position + bytes.len()], bytes, &fate);
        }
        image
    }
}

/// What becomes of a write that was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Dropped,
    /// Sector n is there if bit n mod 64 is set.
    Torn(u64),
}

fn apply(place: &mut [u8], bytes: &[u8], fate: &Fate) {
    match fate {
        Fate::Kept => place.copy_from_slice(bytes),
        Fate::Dropped => {}
        Fate::Torn(kept) => {
            let sectors = place.chunks_mut(SECTOR).zip(bytes.chunks(SECTOR)).enumerate();
            for (_, (old, new)) in sectors.filter(|(number, _)| kept >> (number % 64) & 1 == 1) {
                old.copy_from_slice(new);
            }
        }
    }
}

/// The file system: a directory with one file. One thread serves it, so operations have one order.
#[derive(Debug)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        let size = if is_file { self.lock().contents.len() as u64 } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(SECTOR as u64),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == FILE_NAME {
            reply.entry(&ATTRIBUTES_HOLD, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&ATTRIBUTES_HOLD, &self.attributes(inode));
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Without the page cache between us and the loop device.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        position: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.lock();
        let end = state.contents.len();
        let from = usize::try_from(position).unwrap_or(end).min(end);
        reply.data(&state.contents[from..(from + size as usize).min(end)]);
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        position: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.lock();
        let from = usize::try_from(position).unwrap_or(usize::MAX);
        let fits = from
            .checked_add(bytes.len())
            .is_some_and(|end| end <= state.contents.len());
        if state.failing || !fits {
            return reply.error(Errno::EIO);
        }
        state.contents[from..from + bytes.len()].copy_from_slice(bytes);
        if state.recording {
            let bytes = Bytes::copy_from_slice(bytes);
            state
                .operations
                .push((Instant::now(), Operation::Write { position: from, bytes }));
        }
        reply.written(u32::try_from(bytes.len()).expect("the kernel sends small pieces"));
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // That of close(2), which promises nothing.
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let mut state = self.lock();
        if state.failing {
            return reply.error(Errno::EIO);
        }
        if state.recording {
            state.operations.push((Instant::now(), Operation::Flush));
        }
        reply.ok();
    }
}

#[cfg(test)]
mod unit {
    use super::{Fate, Operation, Recording};
    use bytes::Bytes;
    use std::time::Instant;

    fn write(position: usize, byte: u8) -> (Instant, Operation) {
        let bytes = Bytes::from(vec![byte; 1024]);
        (Instant::now(), Operation::Write { position, bytes })
    }

    fn recording() -> Recording {
        Recording {
            base: vec![0; 3072],
            operations: vec![
                write(0, 1),
                (Instant::now(), Operation::Flush),
                write(1024, 2),
                (Instant::now(), Operation::Flush),
                write(2048, 3),
            ],
        }
    }

    #[test]
    fn what_was_flushed_is_there_and_the_rest_is_as_fate_says() {
        let recording = recording();
        let image = recording.after_power_cut(5, 0, || Fate::Dropped);
        assert_eq!((image[0], image[1024], image[2048]), (1, 2, 0));
        let image = recording.after_power_cut(5, 0, || Fate::Torn(0b10));
        assert_eq!(
            (image[2048], image[2048 + 511], image[2048 + 512], image[3071]),
            (0, 0, 3, 3)
        );
        let image = recording.after_power_cut(5, 0, || Fate::Kept);
        assert_eq!(image[2048], 3);
        let image = recording.after_power_cut(3, 0, || Fate::Dropped);
        assert_eq!((image[0], image[1024]), (1, 0), "power went before the second flush");
    }

    #[test]
    fn a_disk_that_lies_has_lost_what_it_called_flushed() {
        let image = recording().after_power_cut(5, 1, || Fate::Dropped);
        assert_eq!((image[0], image[1024]), (1, 0));
    }
}
