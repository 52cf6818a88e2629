//! Disk of a simulated node: what processes see, what would be found after a power cut, and what lies between.
//!
//! A file has its *cached* bytes, which every read and write of the running system sees, its *durable* bytes, and the
//! *pending* changes that a sync moves from one to the other. Names of files have the same three parts, and a sync of
//! their directory.
//!
//! What a power cut does, each part only if its fault kind says so:
//! - pending writes are kept or dropped, in any order, and kept ones may be torn at 512-byte sectors;
//! - a file's pending length changes are kept up to some point. A write after a shrinking that was not kept is not kept;
//! - a directory's pending names are kept up to some point; a rename within it happens wholly or not at all.
//!
//! A sector is written whole: a kept write of a part of one carries what the cache held of the rest.
//! A failed sync leaves the pages clean (fsyncgate): some of the bytes are durable, the others are seen only until the
//! cache drops them, and the next sync succeeds.

mod direct;
pub(crate) mod image;
pub(crate) mod states;

use crate::file::DiskSpace;
use crate::sim::NodeId;
use crate::sim::fault::FaultKind;
use crate::sim::world::World;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a device writes wholly or not at all.
pub(crate) const SECTOR: u64 = 512;
const SECTOR_SIZE: usize = 512;
pub(crate) const PAGE: u64 = 4096;
const PAGE_SIZE: usize = 4096;
/// Changes of one file that may wait for a sync before the oldest are written back without one.
const PENDING_MAX: usize = 8192;

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    capacity: u64,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    /// With the number of each change.
    pending_names: Vec<(u64, NameChange)>,
    locks: BTreeSet<PathBuf>,
    /// No part of a disk, but of what a process leaves behind: memory of [`crate::crash_memory`], by its number. Power takes it.
    memories: BTreeMap<i32, Rc<Vec<u8>>>,
    /// Numbers every change, over all files.
    changes: u64,
    next_inode: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    File(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Content,
    durable: Content,
    pending: Vec<Pending>,
    /// Sectors whose cached bytes a failed sync did not write, and that count as clean.
    lost: BTreeSet<u64>,
    /// The first so many bytes have their space.
    reserved: u64,
    /// Cached pages past those; counted as they come, since counting them anew at each append would cost the file's size.
    unreserved_pages: u64,
    handles: u32,
}

#[derive(Clone, Debug)]
struct Pending {
    change: u64,
    kind: PendingKind,
}

#[derive(Clone, Debug)]
enum PendingKind {
    Length(u64),
    /// Whole sectors.
    Write(u64, Bytes),
}

/// Bytes of a file; pages that are not there are zeros. Copies share their pages until one of them writes.
#[derive(Clone, Debug, Default)]
struct Content {
    length: u64,
    pages: BTreeMap<u64, Rc<[u8; PAGE_SIZE]>>,
}

impl Content {
    fn read(&self, position: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let at = position + done as u64;
            let (page, within) = (at / PAGE, to_usize(at % PAGE));
            let count = (PAGE_SIZE - within).min(into.len() - done);
            match self.pages.get(&page) {
                Some(bytes) => into[done..done + count].copy_from_slice(&bytes[within..within + count]),
                None => into[done..done + count].fill(0),
            }
            done += count;
        }
    }

    fn write(&mut self, position: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = position + done as u64;
            let (page, within) = (at / PAGE, to_usize(at % PAGE));
            let count = (PAGE_SIZE - within).min(bytes.len() - done);
            let into = self.pages.entry(page).or_insert_with(|| Rc::new([0; PAGE_SIZE]));
            Rc::make_mut(into)[within..within + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
    }

    /// Bytes past the length are zeros when the file grows again.
    fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.cut(length);
        }
        self.length = length;
    }

    fn cut(&mut self, length: u64) {
        let first_whole = length.div_ceil(PAGE);
        self.pages.split_off(&first_whole);
        if let Some(bytes) = self.pages.get_mut(&(length / PAGE)) {
            Rc::make_mut(bytes)[to_usize(length % PAGE)..].fill(0);
        }
    }
}

impl Inode {
    fn used(&self) -> u64 {
        (self.reserved.div_ceil(PAGE) + self.unreserved_pages) * PAGE
    }

    fn count_pages(&mut self) {
        let reserved = self.reserved.div_ceil(PAGE);
        self.unreserved_pages = self.cached.pages.range(reserved..).count() as u64;
    }

    fn new_pages(&self, position: u64, size: usize) -> impl Iterator<Item = u64> {
        let reserved = self.reserved.div_ceil(PAGE);
        (position / PAGE..(position + size as u64).div_ceil(PAGE))
            .filter(move |page| *page >= reserved && !self.cached.pages.contains_key(page))
    }

    fn apply(&mut self, kind: &PendingKind) {
        match kind {
            PendingKind::Length(length) => self.durable.set_length(*length),
            PendingKind::Write(position, bytes) => {
                self.durable.write(*position, bytes);
                for sector in position / SECTOR..position / SECTOR + bytes.len() as u64 / SECTOR {
                    self.lost.remove(&sector);
                }
            }
        }
    }

    /// The kernel writes old changes back by itself.
    fn write_back_old(&mut self) {
        if self.pending.len() >= PENDING_MAX {
            let newer = self.pending.split_off(PENDING_MAX / 2);
            for pending in std::mem::replace(&mut self.pending, newer) {
                self.apply(&pending.kind);
            }
        }
    }
}

/// How much of a file's unsynced changes one power cut keeps.
#[derive(Clone, Copy, Debug)]
struct Cut {
    drops: bool,
    reorders: bool,
    tears: bool,
    lengths: bool,
    /// Of a million writes, so many are kept.
    kept: u32,
    /// Without reordering: changes up to this number are kept.
    last_kept: u64,
}

impl Disk {
    pub(crate) fn new(capacity: u64) -> Disk {
        Disk {
            capacity,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            locks: BTreeSet::new(),
            memories: BTreeMap::new(),
            changes: 0,
            next_inode: 0,
        }
    }

    /// New memory that outlives the process; its number.
    pub(crate) fn new_memory(&mut self, size: usize) -> i32 {
        let id = self.memories.last_key_value().map_or(1, |(last, _)| last + 1);
        self.memories.insert(id, Rc::new(vec![0; size]));
        id
    }

    pub(crate) fn memory(&self, id: i32) -> Option<&[u8]> {
        self.memories.get(&id).map(|memory| &memory[..])
    }

    pub(crate) fn memory_mut(&mut self, id: i32) -> Option<&mut [u8]> {
        self.memories.get_mut(&id).map(|memory| &mut Rc::make_mut(memory)[..])
    }

    pub(crate) fn remove_memory(&mut self, id: i32) {
        self.memories.remove(&id);
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(crate) fn space(&self) -> DiskSpace {
        DiskSpace {
            total: self.capacity,
            available: self.available(),
        }
    }

    fn available(&self) -> u64 {
        // A deleted file gives its space back at once, whether or not the deletion is durable.
        let named = inodes_of(&self.names);
        let used: u64 = self
            .inodes
            .iter()
            .filter(|(inode, file)| file.handles > 0 || named.contains(inode))
            .map(|(_inode, file)| file.used())
            .sum();
        self.capacity.saturating_sub(used)
    }

    // Names.

    pub(crate) fn open(&mut self, path: &Path, create: bool, create_new: bool) -> io::Result<u64> {
        let path = plain(path);
        let inode = match self.entry(&path) {
            Some(Entry::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Entry::File(_)) if create_new => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Entry::File(inode)) => inode,
            None if create || create_new => {
                self.check_parent(&path)?;
                self.next_inode += 1;
                let inode = self.next_inode;
                self.inodes.insert(inode, Inode::default());
                self.names.insert(path.clone(), Entry::File(inode));
                self.rename_later(NameChange::Add(path, inode));
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        self.inode(inode)?.handles += 1;
        Ok(inode)
    }

    pub(crate) fn close(&mut self, inode: u64) {
        let Some(file) = self.inodes.get_mut(&inode) else {
            return;
        };
        file.handles = file.handles.saturating_sub(1);
        // Most files that are closed have their names still.
        let last = file.handles == 0;
        if last && !self.names.values().any(|entry| *entry == Entry::File(inode)) {
            self.forget_unnamed();
        }
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (plain(from), plain(to));
        self.check_parent(&to)?;
        let Some(Entry::File(inode)) = self.entry(&from) else {
            return Err(match self.entry(&from) {
                None => io::ErrorKind::NotFound.into(),
                // No caller renames directories; refused, so that none begins to without a model of it.
                Some(_) => io::ErrorKind::Unsupported.into(),
            });
        };
        if self.entry(&to) == Some(Entry::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.names.remove(&from);
        self.names.insert(to.clone(), Entry::File(inode));
        self.rename_later(NameChange::Rename(from, to, inode));
        self.forget_unnamed();
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        match self.entry(&path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Entry::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Entry::File(_)) => {}
        }
        self.names.remove(&path);
        self.rename_later(NameChange::Remove(path));
        self.forget_unnamed();
        Ok(())
    }

    /// Directories are durable at once: [`crate::file::create_directory`] syncs their parents.
    pub(crate) fn create_directory(&mut self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        let mut above: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        above.reverse();
        for directory in above {
            match self.entry(&directory) {
                Some(Entry::Directory) => {}
                Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    self.names.insert(directory.clone(), Entry::Directory);
                    self.durable_names.insert(directory, Entry::Directory);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let directory = plain(directory);
        match self.entry(&directory) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            Some(Entry::Directory) => Ok(self
                .names
                .keys()
                .filter(|path| path.parent() == Some(&directory))
                .cloned()
                .collect()),
        }
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.entry(&plain(path)).is_some()
    }

    pub(crate) fn sync_directory(&mut self, directory: &Path) -> io::Result<()> {
        let directory = plain(directory);
        match self.entry(&directory) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Entry::Directory) => {}
        }
        let (now, later) = std::mem::take(&mut self.pending_names)
            .into_iter()
            .partition(|(_, change)| change.touches(&directory));
        self.pending_names = later;
        for (_, change) in now {
            change.apply(&mut self.durable_names);
        }
        self.forget_unnamed();
        Ok(())
    }

    pub(crate) fn lock(&mut self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        if self.locks.contains(&path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let inode = self.open(&path, true, false)?;
        self.close(inode);
        self.locks.insert(path);
        Ok(())
    }

    pub(crate) fn unlock(&mut self, path: &Path) {
        self.locks.remove(&plain(path));
    }

    fn rename_later(&mut self, change: NameChange) {
        self.changes += 1;
        self.pending_names.push((self.changes, change));
    }

    fn entry(&self, path: &Path) -> Option<Entry> {
        if path.as_os_str().is_empty() || path == Path::new("/") {
            return Some(Entry::Directory);
        }
        self.names.get(path).copied()
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.entry(parent)) {
            Some(Entry::Directory) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Files that no name leads to, now or after a power cut, and that nobody has open.
    fn forget_unnamed(&mut self) {
        let mut named = inodes_of(&self.names);
        named.extend(inodes_of(&self.durable_names));
        for (_, change) in &self.pending_names {
            if let NameChange::Add(_, inode) | NameChange::Rename(_, _, inode) = change {
                named.insert(*inode);
            }
        }
        self.inodes
            .retain(|inode, file| file.handles > 0 || named.contains(inode));
    }

    // Bytes.

    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&inode)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the file belongs to a process that has ended"))
    }

    pub(crate) fn len(&mut self, inode: u64) -> io::Result<u64> {
        Ok(self.inode(inode)?.cached.length)
    }

    pub(crate) fn data_ranges(&mut self, inode: u64, within: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let content = &self.inode(inode)?.cached;
        let end = within.end.min(content.length);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (page, _) in content.pages.range(within.start / PAGE..end.div_ceil(PAGE)) {
            let data = (page * PAGE).max(within.start)..((page + 1) * PAGE).min(end);
            match ranges.last_mut() {
                Some(last) if last.end == data.start => last.end = data.end,
                _ => ranges.push(data),
            }
        }
        Ok(ranges)
    }

    pub(crate) fn read(
        &mut self,
        world: &World,
        node: NodeId,
        inode: u64,
        position: u64,
        size: usize,
    ) -> io::Result<Bytes> {
        let file = self.inode(inode)?;
        let size = size.min(to_usize(file.cached.length.saturating_sub(position)));
        if size == 0 {
            return Ok(Bytes::new());
        }
        if world.roll(node, FaultKind::ReadError) {
            return Err(disk_error());
        }
        let sectors = position / SECTOR..(position + size as u64).div_ceil(SECTOR);
        file.evict_lost(world, sectors);
        if world.allows(node, FaultKind::BitRot) {
            let rotten = position + world.below(size as u64);
            if file.rot(rotten, world.below(8)) {
                world.count_fault(FaultKind::BitRot);
            }
        }
        let mut bytes = vec![0; size];
        file.cached.read(position, &mut bytes);
        Ok(Bytes::from(bytes))
    }

    /// Writes into the cache; at the end of space, as much as fits.
    pub(crate) fn write(&mut self, inode: u64, position: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.room_for(inode, position, bytes.len())?;
        self.changes += 1;
        let change = self.changes;
        let fits = &bytes[..room];
        let file = self.inode(inode)?;
        if !fits.is_empty() {
            let end = position + fits.len() as u64;
            if end > file.cached.length {
                file.cached.length = end;
                file.pending.push(Pending {
                    change,
                    kind: PendingKind::Length(end),
                });
            }
            file.unreserved_pages += file.new_pages(position, fits.len()).count() as u64;
            file.cached.write(position, fits);
            let first = position / SECTOR * SECTOR;
            let mut whole = vec![0; to_usize(end.next_multiple_of(SECTOR) - first)];
            file.cached.read(first, &mut whole);
            for sector in first / SECTOR..end.div_ceil(SECTOR) {
                file.lost.remove(&sector);
            }
            file.pending.push(Pending {
                change,
                kind: PendingKind::Write(first, Bytes::from(whole)),
            });
            file.write_back_old();
        }
        if room < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// How many of the bytes the disk has space for.
    fn room_for(&mut self, inode: u64, position: u64, size: usize) -> io::Result<usize> {
        let new: Vec<u64> = self.inode(inode)?.new_pages(position, size).collect();
        if new.is_empty() {
            return Ok(size);
        }
        let first_without = new.get(to_usize(self.available() / PAGE));
        Ok(first_without.map_or(size, |page| to_usize((page * PAGE).saturating_sub(position)).min(size)))
    }

    /// Everything up to this change is what a sync that begins now makes durable.
    pub(crate) fn sync_begins(&self) -> u64 {
        self.changes
    }

    pub(crate) fn sync_ends(&mut self, world: &World, node: NodeId, inode: u64, up_to: u64) -> io::Result<()> {
        let file = self.inode(inode)?;
        if world.allows(node, FaultKind::LyingSync) {
            if !file.pending.is_empty() {
                world.count_fault(FaultKind::LyingSync);
            }
            return Ok(());
        }
        let failed = world.roll(node, FaultKind::SyncError);
        let (now, later) = std::mem::take(&mut file.pending)
            .into_iter()
            .partition(|pending| pending.change <= up_to);
        file.pending = later;
        for pending in now {
            match &pending.kind {
                PendingKind::Write(position, bytes) if failed && world.below(2) == 0 => {
                    let sectors = position / SECTOR..position / SECTOR + bytes.len() as u64 / SECTOR;
                    file.lost.extend(sectors);
                }
                PendingKind::Write(position, bytes) if world.allows(node, FaultKind::MisdirectedWrite) => {
                    world.count_fault(FaultKind::MisdirectedWrite);
                    let sectors = file.durable.length.div_ceil(SECTOR).max(1);
                    let instead = world.below(sectors) * SECTOR;
                    let (stray, rest) = bytes.split_at(SECTOR_SIZE.min(bytes.len()));
                    file.durable.write(instead, stray);
                    file.durable.write(position + SECTOR, rest);
                }
                kind => file.apply(kind),
            }
        }
        if failed { Err(disk_error()) } else { Ok(()) }
    }

    pub(crate) fn allocate(&mut self, inode: u64, size: u64) -> io::Result<()> {
        let available = self.available();
        self.changes += 1;
        let change = self.changes;
        let file = self.inode(inode)?;
        let before = file.used();
        let reserved = file.reserved;
        file.reserved = reserved.max(size);
        file.count_pages();
        if file.used() - before > available {
            file.reserved = reserved;
            file.count_pages();
            return Err(io::ErrorKind::StorageFull.into());
        }
        if size > file.cached.length {
            file.cached.set_length(size);
            file.pending.push(Pending {
                change,
                kind: PendingKind::Length(size),
            });
        }
        Ok(())
    }

    pub(crate) fn set_len(&mut self, inode: u64, size: u64) -> io::Result<()> {
        self.changes += 1;
        let change = self.changes;
        let file = self.inode(inode)?;
        file.reserved = file.reserved.min(size);
        file.cached.set_length(size);
        file.count_pages();
        file.lost.split_off(&size.div_ceil(SECTOR));
        file.pending.push(Pending {
            change,
            kind: PendingKind::Length(size),
        });
        Ok(())
    }

    // Faults.

    /// What every end of a process does: its handles and locks are gone.
    pub(crate) fn process_ended(&mut self) {
        self.locks.clear();
        for file in self.inodes.values_mut() {
            file.handles = 0;
        }
        self.forget_unnamed();
    }

    /// Leaves what a machine finds after a power cut at this moment.
    pub(crate) fn power_cut(&mut self, world: &World, node: NodeId) {
        self.cut_names(world, node);
        let oldest = self
            .inodes
            .values()
            .filter_map(|file| file.pending.first())
            .map(|pending| pending.change)
            .min();
        let span = oldest.map_or(0, |oldest| self.changes + 1 - oldest);
        let cut = Cut {
            drops: world.allows(node, FaultKind::DroppedWrite),
            reorders: world.allows(node, FaultKind::ReorderedWrite),
            tears: world.allows(node, FaultKind::TornWrite),
            lengths: world.allows(node, FaultKind::LostLength),
            kept: [0, 100_000, 500_000, 900_000, 1_000_000][world.below_usize(5)],
            last_kept: oldest.unwrap_or(0) + world.below(span + 1),
        };
        for file in self.inodes.values_mut() {
            file.power_cut(world, cut);
        }
        self.memories.clear();
        self.names.clone_from(&self.durable_names);
        self.forget_unnamed();
    }

    fn cut_names(&mut self, world: &World, node: NodeId) {
        let loses = world.allows(node, FaultKind::LostName);
        let mut lost_in: BTreeSet<PathBuf> = BTreeSet::new();
        for (_, change) in std::mem::take(&mut self.pending_names) {
            let directories = change.directories();
            let lost =
                directories.iter().any(|directory| lost_in.contains(*directory)) || (loses && world.below(3) == 0);
            if lost {
                world.count_fault(FaultKind::LostName);
                lost_in.extend(directories.into_iter().map(Path::to_owned));
            } else {
                change.apply(&mut self.durable_names);
            }
        }
    }

    /// Flips a bit of a file, on the disk and in the cache.
    pub(crate) fn flip_bit(&mut self, path: &Path, position: u64, bit: u64) -> io::Result<()> {
        let Some(Entry::File(inode)) = self.entry(&plain(path)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let file = self.inode(inode)?;
        if position >= file.cached.length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for content in [&mut file.cached, &mut file.durable] {
            content.flip(position, bit);
        }
        Ok(())
    }

    /// The bytes of a file as a process would read them, without faults.
    pub(crate) fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let Some(Entry::File(inode)) = self.entry(&plain(path)) else {
            return None;
        };
        let file = self.inodes.get(&inode)?;
        let mut bytes = vec![0; to_usize(file.cached.length)];
        file.cached.read(0, &mut bytes);
        Some(bytes)
    }
}

impl Content {
    fn flip(&mut self, position: u64, bit: u64) {
        let mut byte = [0];
        self.read(position, &mut byte);
        byte[0] ^= 1 << (bit % 8);
        self.write(position, &byte);
    }
}

impl Inode {
    /// The cache drops some clean pages whose bytes never reached the disk.
    fn evict_lost(&mut self, world: &World, sectors: std::ops::Range<u64>) {
        let candidates: Vec<u64> = self.lost.range(sectors).copied().collect();
        for sector in candidates {
            if world.below(4) == 0 {
                self.lost.remove(&sector);
                let mut bytes = [0; SECTOR_SIZE];
                self.durable.read(sector * SECTOR, &mut bytes);
                self.cached.write(sector * SECTOR, &bytes);
            }
        }
    }

    /// Flips a bit on the disk, seen at once if the cache has nothing newer of that sector; says whether it did.
    fn rot(&mut self, position: u64, bit: u64) -> bool {
        let sector = position / SECTOR * SECTOR;
        let newer = self.pending.iter().any(|pending| match &pending.kind {
            PendingKind::Write(first, bytes) => (*first..first + bytes.len() as u64).contains(&sector),
            PendingKind::Length(_) => false,
        });
        if newer || self.lost.contains(&(position / SECTOR)) {
            return false;
        }
        self.durable.flip(position, bit);
        self.cached.flip(position, bit);
        true
    }

    fn power_cut(&mut self, world: &World, cut: Cut) {
        let mut lost_length = false;
        let mut lost_shrink = false;
        let mut lost_write = false;
        let mut length = self.durable.length;
        for pending in std::mem::take(&mut self.pending) {
            let beyond = cut.drops && !cut.reorders && pending.change > cut.last_kept;
            match &pending.kind {
                PendingKind::Length(to) => {
                    lost_length |= cut.lengths && (beyond || world.below(4) == 0);
                    if lost_length {
                        world.count_fault(FaultKind::LostLength);
                        lost_shrink |= *to < length;
                    } else {
                        self.durable.set_length(*to);
                    }
                    length = *to;
                }
                PendingKind::Write(position, bytes) => {
                    let dropped = lost_shrink || beyond || (cut.drops && cut.reorders && !world.chance(cut.kept));
                    if dropped {
                        world.count_fault(FaultKind::DroppedWrite);
                        lost_write = true;
                        continue;
                    }
                    if lost_write {
                        world.count_fault(FaultKind::ReorderedWrite);
                    }
                    let last = cut.drops && !cut.reorders && pending.change == cut.last_kept;
                    if cut.tears && (last || world.below(4) == 0) && bytes.len() > SECTOR_SIZE {
                        world.count_fault(FaultKind::TornWrite);
                        self.durable.write_torn(world, *position, bytes);
                        lost_write = true;
                    } else {
                        self.durable.write(*position, bytes);
                    }
                }
            }
        }
        self.forget_cache();
    }

    /// The machine is switched on again: the cache holds nothing but what is durable.
    fn forget_cache(&mut self) {
        // Bytes that were written past a length that was lost are not there when the file grows again.
        let length = self.durable.length;
        self.durable.cut(length);
        self.cached = self.durable.clone();
        self.lost.clear();
        self.reserved = self.reserved.min(length);
        self.count_pages();
    }
}

impl Content {
    /// Writes a prefix, a suffix or any subset of the sectors, never all of them.
    fn write_torn(&mut self, world: &World, position: u64, bytes: &[u8]) {
        let sectors = bytes.len() / SECTOR_SIZE;
        let kept = world.below_usize(sectors);
        let way = world.below(3);
        let spared = world.below_usize(sectors);
        for (sector, chunk) in bytes.chunks(SECTOR_SIZE).enumerate() {
            let keep = match way {
                0 => sector < kept,
                1 => sector >= sectors - kept,
                _ => sector != spared && world.below(2) == 0,
            };
            if keep {
                self.write(position + (sector * SECTOR_SIZE) as u64, chunk);
            }
        }
    }
}

impl NameChange {
    fn directories(&self) -> Vec<&Path> {
        let parent = |path| Path::parent(path).unwrap_or(Path::new(""));
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) => vec![parent(path)],
            NameChange::Rename(from, to, _) => vec![parent(from), parent(to)],
        }
    }

    fn is_removal_of(&self, name: &Path) -> bool {
        matches!(self, NameChange::Remove(path) if path == name)
    }

    fn touches(&self, directory: &Path) -> bool {
        self.directories().contains(&directory)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            NameChange::Add(path, inode) => {
                names.insert(path.clone(), Entry::File(*inode));
            }
            NameChange::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), Entry::File(*inode));
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

fn inodes_of(names: &BTreeMap<PathBuf, Entry>) -> BTreeSet<u64> {
    names
        .values()
        .filter_map(|entry| match entry {
            Entry::File(inode) => Some(*inode),
            Entry::Directory => None,
        })
        .collect()
}

/// The path without `.` and doubled slashes, so that one file has one name.
fn plain(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| !matches!(part, std::path::Component::CurDir))
        .collect()
}

/// EIO, as a broken device gives it.
pub(crate) fn disk_error() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("a simulation runs on a 64-bit machine")
}
