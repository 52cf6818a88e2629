//! What a disk may hold after a crash at one moment: every change that is not durable is kept, lost or torn, as the caller says,
//! within what a file system promises.
//!
//! - Names of one directory come in order: once one change is lost, the later ones of that directory are.
//! - Lengths of one file come in order; a write after a shrinking that was lost is lost.
//! - Writes are kept or lost in any combination; a torn one keeps some of its 512-byte sectors.

use super::image::DiskImage;
use super::{Disk, Inode, PendingKind, SECTOR_SIZE};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Why a moment of a run is worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Something has been written, named, removed, lengthened or cut.
    Changed,
    /// A sync is about to make changes durable: no more will be unsynced than are now.
    Syncing,
}

/// A moment of a run at which the power may be cut or the process be killed.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    disk: Disk,
    /// Why it is one.
    pub moment: Moment,
}

/// A change that is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// A creation, rename or deletion.
    Name,
    /// A file's length.
    Length,
    /// Bytes in so many whole sectors.
    Write {
        /// How many.
        sectors: usize,
    },
}

/// What becomes of such a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on the disk.
    Kept,
    /// It is not.
    Lost,
    /// Some sectors of a write are; of other changes, as [`Fate::Lost`].
    Torn(Tear),
}

/// Which sectors of a torn write are on the disk; the others are as they were before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// So many from the begin.
    First(usize),
    /// So many at the end.
    Last(usize),
    /// Those whose bit is set, counted round.
    Mask(u64),
}

impl Tear {
    fn keeps(self, sector: usize, sectors: usize) -> bool {
        match self {
            Tear::First(count) => sector < count,
            Tear::Last(count) => sector + count >= sectors,
            Tear::Mask(mask) => mask >> (sector % 64) & 1 == 1,
        }
    }
}

/// Where an unsynced change is kept in the disk's state.
#[derive(Clone, Copy)]
enum Slot {
    Name(usize),
    Of(u64, usize),
}

impl CrashPoint {
    pub(crate) fn new(disk: &Disk, moment: Moment) -> CrashPoint {
        CrashPoint {
            disk: disk.clone(),
            moment,
        }
    }

    /// What is not durable, in the order in which it was done.
    #[must_use]
    pub fn unsynced(&self) -> Vec<Unsynced> {
        let kind = |slot| match slot {
            Slot::Name(_) => Unsynced::Name,
            Slot::Of(inode, at) => match &self.disk.inodes[&inode].pending[at].kind {
                PendingKind::Length(_) => Unsynced::Length,
                PendingKind::Write(_, bytes) => Unsynced::Write {
                    sectors: bytes.len() / SECTOR_SIZE,
                },
            },
        };
        self.slots().into_iter().map(kind).collect()
    }

    /// The disk after the process was killed: the page cache lives on, and memory that outlives the process.
    #[must_use]
    pub fn killed(&self) -> DiskImage {
        let mut disk = self.disk.clone();
        disk.process_ended();
        DiskImage(disk)
    }

    /// The disk after a power cut, with a fate for each of [`CrashPoint::unsynced`]; what has none is lost.
    #[must_use]
    pub fn cut(&self, fates: &[Fate]) -> DiskImage {
        let mut disk = self.disk.clone();
        disk.process_ended();
        disk.memories.clear();
        let mut lost_in: BTreeSet<PathBuf> = BTreeSet::new();
        let mut files: BTreeMap<u64, FileCut> = BTreeMap::new();
        for (at, slot) in self.slots().into_iter().enumerate() {
            let fate = fates.get(at).copied().unwrap_or(Fate::Lost);
            match slot {
                Slot::Name(at) => {
                    let change = &self.disk.pending_names[at].1;
                    let directories = change.directories();
                    if fate == Fate::Kept && !directories.iter().any(|directory| lost_in.contains(*directory)) {
                        change.apply(&mut disk.durable_names);
                    } else {
                        lost_in.extend(directories.into_iter().map(Path::to_owned));
                    }
                }
                Slot::Of(inode, at) => {
                    if let Some(file) = disk.inodes.get_mut(&inode) {
                        let kind = &self.disk.inodes[&inode].pending[at].kind;
                        files.entry(inode).or_default().apply(file, kind, fate);
                    }
                }
            }
        }
        disk.pending_names.clear();
        for file in disk.inodes.values_mut() {
            file.pending.clear();
            file.forget_cache();
        }
        disk.names.clone_from(&disk.durable_names);
        disk.forget_unnamed();
        DiskImage(disk)
    }

    fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<(u64, Slot)> = Vec::new();
        for (at, (change, _)) in self.disk.pending_names.iter().enumerate() {
            slots.push((*change, Slot::Name(at)));
        }
        for (inode, file) in &self.disk.inodes {
            for (at, pending) in file.pending.iter().enumerate() {
                slots.push((pending.change, Slot::Of(*inode, at)));
            }
        }
        // Stable: a write's length comes before its bytes.
        slots.sort_by_key(|(change, _)| *change);
        slots.into_iter().map(|(_, slot)| slot).collect()
    }
}

/// One file under a power cut, change by change.
#[derive(Default)]
struct FileCut {
    /// Length that the file had last, durable or not.
    length: Option<u64>,
    lost_length: bool,
    lost_shrink: bool,
}

impl FileCut {
    fn apply(&mut self, file: &mut Inode, kind: &PendingKind, fate: Fate) {
        match kind {
            PendingKind::Length(to) => {
                self.lost_length |= fate != Fate::Kept;
                if self.lost_length {
                    self.lost_shrink |= *to < self.length.unwrap_or(file.durable.length);
                } else {
                    file.durable.set_length(*to);
                }
                self.length = Some(*to);
            }
            PendingKind::Write(position, bytes) if !self.lost_shrink => match fate {
                Fate::Kept => file.durable.write(*position, bytes),
                Fate::Lost => {}
                Fate::Torn(tear) => {
                    let sectors = bytes.len() / SECTOR_SIZE;
                    for (sector, chunk) in bytes.chunks(SECTOR_SIZE).enumerate() {
                        if tear.keeps(sector, sectors) {
                            file.durable.write(*position + (sector * SECTOR_SIZE) as u64, chunk);
                        }
                    }
                }
            },
            PendingKind::Write(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Faults, Options, Simulation};
    use crate::{File, OpenOptions, file};
    use bytes::Bytes;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    const PATH: &str = "/d/f";

    /// Crash points of a node that writes `one` and syncs, then writes `two`, and renames.
    fn points() -> Vec<CrashPoint> {
        let options = Options {
            faults: Faults::none(),
            ..Options::default()
        };
        let simulation = Simulation::new(1, options);
        let node = simulation.node("n", "10.0.0.1".parse().unwrap());
        let seen: Rc<RefCell<Vec<CrashPoint>>> = Rc::default();
        let points = Rc::clone(&seen);
        simulation.observe_disk(node, move |point| points.borrow_mut().push(point));
        simulation.start(node, std::future::pending::<()>);
        let work = async {
            file::create_directory(Path::new("/d")).await.unwrap();
            let written = File::open(Path::new(PATH), OpenOptions::create_new()).await.unwrap();
            file::sync_directory(Path::new("/d")).await.unwrap();
            written.write_at(0, &[Bytes::from(vec![1; 1024])]).await.unwrap();
            written.sync_data().await.unwrap();
            written.write_at(0, &[Bytes::from(vec![2; 2048])]).await.unwrap();
            file::rename(Path::new(PATH), Path::new("/d/g")).await.unwrap();
        };
        simulation.block_on(node, work, Duration::from_secs(1)).unwrap();
        seen.take()
    }

    #[test]
    fn a_point_tells_what_is_not_durable_and_its_states_are_what_the_fates_say() {
        let points = points();
        let last = points.last().unwrap();
        let unsynced = last.unsynced();
        assert_eq!(
            unsynced,
            [Unsynced::Length, Unsynced::Write { sectors: 4 }, Unsynced::Name]
        );
        let read = |image: &DiskImage, name: &str| image.file(Path::new(name));
        let lost = last.cut(&[Fate::Lost; 3]);
        assert_eq!(read(&lost, PATH), Some(vec![1; 1024]));
        let kept = last.cut(&[Fate::Kept; 3]);
        assert_eq!((read(&kept, PATH), read(&kept, "/d/g")), (None, Some(vec![2; 2048])));
        let torn = last.cut(&[Fate::Kept, Fate::Torn(Tear::Last(3)), Fate::Lost]);
        assert_eq!(read(&torn, PATH), Some([vec![1; 512], vec![2; 1536]].concat()));
        let shorter = last.cut(&[Fate::Lost, Fate::Kept, Fate::Lost]);
        assert_eq!(
            read(&shorter, PATH),
            Some(vec![2; 1024]),
            "bytes past a lost length are gone"
        );
        assert_eq!(read(&last.killed(), "/d/g"), Some(vec![2; 2048]));
    }

    #[test]
    fn before_a_sync_its_changes_are_not_durable_and_after_it_they_are() {
        let points = points();
        let syncs: Vec<&CrashPoint> = points.iter().filter(|point| point.moment == Moment::Syncing).collect();
        let [directory, data] = syncs[..] else {
            panic!("{} syncs", syncs.len())
        };
        assert_eq!(directory.unsynced(), [Unsynced::Name]);
        assert_eq!(data.unsynced().len(), 2);
        assert_eq!(data.cut(&[]).file(Path::new(PATH)), Some(Vec::new()));
    }
}
