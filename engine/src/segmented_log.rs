//! The files of one shard's log: segments of one size, named by the 20 decimal digits of their first position.
//!
//! A segment is made whole (allocated, its name durable) before anything is written into it, so a write never meets a full
//! disk, and a sync never needs the directory.

use crate::error::Error;
use crate::planted::{self, Bug};
use crate::spare_segments::SpareSegments;
use bytes::Bytes;
use runtime::file::{self, DiskSpace};
use runtime::{DirectFile, File, OpenOptions};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Position of its first byte.
    pub(crate) base: u64,
    path: PathBuf,
    file: RefCell<Option<Rc<File>>>,
    /// The file past the page cache, opened at the first use, where the log is written and read so.
    direct: Option<RefCell<Option<Rc<DirectFile>>>>,
    /// Store time of its first record, once somebody has looked.
    pub(crate) first_store_time: Cell<Option<i64>>,
}

impl Segment {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its file, opened at the first use.
    pub(crate) async fn file(&self) -> io::Result<Rc<File>> {
        if let Some(file) = &*self.file.borrow() {
            return Ok(Rc::clone(file));
        }
        let opened = Rc::new(File::open(&self.path, OpenOptions::read_write()).await?);
        Ok(Rc::clone(self.file.borrow_mut().get_or_insert(opened)))
    }

    async fn direct_file(&self, opened: &RefCell<Option<Rc<DirectFile>>>) -> io::Result<Rc<DirectFile>> {
        if let Some(file) = &*opened.borrow() {
            return Ok(Rc::clone(file));
        }
        let file = Rc::new(DirectFile::open(&self.path).await?);
        Ok(Rc::clone(opened.borrow_mut().get_or_insert(file)))
    }

    /// Up to `size` bytes from `position`, one of the log; fewer where the file ends.
    pub(crate) async fn read(&self, position: u64, size: usize) -> io::Result<Bytes> {
        let at = position - self.base;
        match &self.direct {
            Some(opened) => self.direct_file(opened).await?.read_at(at, size).await,
            None => self.file().await?.read_at(at, size).await,
        }
    }

    /// Writes whole blocks past the page cache; durable when it returns.
    pub(crate) async fn write_direct(&self, position: u64, blocks: Vec<Bytes>) -> io::Result<()> {
        #[cfg(test)]
        faults::on_write()?;
        #[cfg(test)]
        faults::on_sync().await?;
        self.write_ahead(position, blocks).await
    }

    /// As [`Segment::write_direct`], for what nobody waits for: space that the log has not come to.
    pub(crate) async fn write_ahead(&self, position: u64, blocks: Vec<Bytes>) -> io::Result<()> {
        let opened = self.direct.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        self.direct_file(opened)
            .await?
            .write_at(position - self.base, blocks)
            .await
    }

    /// Writes `parts` one behind the other, through the page cache; `position` is one of the log.
    pub(crate) async fn write(&self, position: u64, parts: Vec<Bytes>) -> io::Result<()> {
        #[cfg(test)]
        faults::on_write()?;
        self.file().await?.write_off_core(position - self.base, parts).await
    }

    /// The parts of a range of the log that may have been written, as far as the file system tells; all of it where it cannot.
    pub(crate) async fn data_ranges(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let Ok(file) = self.file().await else {
            return vec![within];
        };
        let base = self.base;
        match file.data_ranges(within.start - base..within.end - base).await {
            Ok(found) => found
                .into_iter()
                .map(|data| base + data.start..base + data.end)
                .collect(),
            Err(_) => vec![within],
        }
    }

    pub(crate) async fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        faults::on_sync().await?;
        self.file().await?.sync_data().await
    }
}

/// All segments of a shard's log. No borrow outlives a call.
#[derive(Debug)]
pub(crate) struct SegmentedLog {
    directory: PathBuf,
    segment_size: u64,
    /// It is written and read past the page cache.
    direct: bool,
    spares: SpareSegments,
    segments: RefCell<BTreeMap<u64, Rc<Segment>>>,
}

impl SegmentedLog {
    /// Finds the segments in `directory`, which is made if it is not there.
    pub(crate) async fn open(directory: PathBuf, segment_size: u64, direct: bool) -> Result<SegmentedLog, Error> {
        file::create_directory(&directory)
            .await
            .map_err(Error::io("make the directory", &directory))?;
        // What is found now must be found again: names that the last process made or deleted may not be durable yet.
        let synced = file::sync_directory(&directory).await;
        synced.map_err(Error::io("sync the directory", &directory))?;
        let paths = file::list(&directory).await.map_err(Error::io("list", &directory))?;
        let log = SegmentedLog {
            directory,
            segment_size,
            direct,
            spares: SpareSegments::default(),
            segments: RefCell::default(),
        };
        for path in paths {
            match base_of_name(&path) {
                Some(base) if base % segment_size == 0 => log.insert(base, path),
                _ if SpareSegments::is_spare(&path) => {
                    let adopted = log.spares.adopt(path.clone(), direct).await;
                    adopted.map_err(Error::io("delete the spare segment", &path))?;
                }
                _ => tracing::warn!(path = %path.display(), "no segment of this log; left alone"),
            }
        }
        Ok(log)
    }

    fn insert(&self, base: u64, path: PathBuf) {
        let segment = Segment {
            base,
            path,
            file: RefCell::default(),
            direct: self.direct.then(RefCell::default),
            first_store_time: Cell::default(),
        };
        self.segments.borrow_mut().insert(base, Rc::new(segment));
    }

    /// Whether it is written and read past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Position of the first byte of the segment that a position lies in.
    pub(crate) fn base_of(&self, position: u64) -> u64 {
        position - position % self.segment_size
    }

    /// Position behind the segment that a position lies in.
    pub(crate) fn end_of(&self, position: u64) -> u64 {
        self.base_of(position) + self.segment_size
    }

    /// The segment that a position lies in.
    pub(crate) fn get(&self, position: u64) -> Option<Rc<Segment>> {
        self.segments.borrow().get(&self.base_of(position)).cloned()
    }

    /// The first segment that begins at `position` or later.
    pub(crate) fn first_from(&self, position: u64) -> Option<Rc<Segment>> {
        self.segments
            .borrow()
            .range(position..)
            .next()
            .map(|(_, segment)| Rc::clone(segment))
    }

    /// Positions of all segments, in order.
    pub(crate) fn bases(&self) -> Vec<u64> {
        self.segments.borrow().keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.borrow().len()
    }

    /// Position of the first segment.
    pub(crate) fn min(&self) -> Option<u64> {
        self.segments.borrow().keys().next().copied()
    }

    /// Makes the segment that begins at `base`, with all its space, if it is not there.
    pub(crate) async fn prepare(&self, base: u64) -> Result<(), Error> {
        assert!(base.is_multiple_of(self.segment_size), "no segment begins at {base}");
        if self.segments.borrow().contains_key(&base) {
            return Ok(());
        }
        let path = self.directory.join(format!("{base:020}"));
        if let Err(error) = self.make(&path).await {
            // A segment without its space must not be found at the next start.
            if let Err(left) = file::remove(&path).await
                && left.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), error = %left, "half a segment is left");
            }
            return Err(Error::io("make the segment", &path)(error));
        }
        self.insert(base, path);
        Ok(())
    }

    async fn make(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        faults::on_allocate()?;
        if self.direct && self.spares.provide(path, self.segment_size).await? {
            return file::sync_directory(&self.directory).await;
        }
        let opened = File::open(path, OpenOptions::read_write()).await?;
        // A file of this name can only be the rest of an attempt that a crash ended.
        opened.set_len(0).await?;
        opened.allocate(self.segment_size).await?;
        opened.sync_data().await?;
        if planted::is(Bug::NoNameSync) {
            return Ok(());
        }
        file::sync_directory(&self.directory).await
    }

    /// Gives the segment all its space again, if it has lost some: fails as [`SegmentedLog::prepare`] does.
    pub(crate) async fn complete(&self, segment: &Segment) -> io::Result<()> {
        #[cfg(test)]
        faults::on_allocate()?;
        let file = segment.file().await?;
        if file.len().await? < self.segment_size {
            file.allocate(self.segment_size).await?;
            file.sync_data().await?;
        }
        Ok(())
    }

    /// Cuts everything from `position` on: stale bytes of its segment become zeros, later segments go. Durable on return.
    pub(crate) async fn cut(&self, position: u64) -> Result<(), Error> {
        let later: Vec<u64> = self
            .bases()
            .into_iter()
            .filter(|base| *base >= self.end_of(position))
            .collect();
        // The last one first: a crash in between leaves no gap.
        for base in later.into_iter().rev() {
            self.remove(base).await?;
        }
        if let Some(segment) = self.get(position) {
            let file = segment.file().await.map_err(Error::io("open", &segment.path))?;
            let cut = file.set_len(position - segment.base).await;
            cut.map_err(Error::io("cut", &segment.path))?;
            file.sync_data().await.map_err(Error::io("sync", &segment.path))?;
        }
        self.sync_names().await
    }

    /// Makes durable which segments there are.
    pub(crate) async fn sync_names(&self) -> Result<(), Error> {
        let synced = file::sync_directory(&self.directory).await;
        synced.map_err(Error::io("sync the directory", &self.directory))
    }

    /// Lets the segment that begins at `base` go: it becomes a spare, if those are used and wanted, or is deleted.
    pub(crate) async fn retire(&self, base: u64) -> Result<(), Error> {
        let retired = self.segments.borrow().get(&base).cloned();
        if let Some(segment) = retired.filter(|_| self.direct) {
            self.segments.borrow_mut().remove(&base);
            match self.spares.keep(&segment.path).await {
                Ok(true) => return Ok(()),
                Ok(false) => self.insert(base, segment.path.clone()),
                Err(error) => {
                    self.insert(base, segment.path.clone());
                    return Err(Error::io("rename", &segment.path)(error));
                }
            }
        }
        self.remove(base).await
    }

    /// Deletes the spare segments.
    pub(crate) async fn drop_spares(&self) -> Result<(), Error> {
        let cleared = self.spares.clear().await;
        cleared.map_err(Error::io("delete a spare segment in", &self.directory))
    }

    /// Deletes the segment that begins at `base`.
    pub(crate) async fn remove(&self, base: u64) -> Result<(), Error> {
        let removed = self.segments.borrow_mut().remove(&base);
        if let Some(segment) = removed {
            file::remove(&segment.path)
                .await
                .map_err(Error::io("delete", &segment.path))?;
        }
        Ok(())
    }

    /// Up to `size` bytes from `position`, not beyond its segment; fewer where the file ends, none where there is no file.
    pub(crate) async fn read(&self, position: u64, size: usize) -> io::Result<Bytes> {
        let Some(segment) = self.get(position) else {
            return Ok(Bytes::new());
        };
        let rest = usize::try_from(self.end_of(position) - position).unwrap_or(usize::MAX);
        segment.read(position, size.min(rest)).await
    }

    /// As [`SegmentedLog::read`], tried again a few times: what a start cannot read it must take for lost.
    pub(crate) async fn read_again(&self, position: u64, size: usize) -> io::Result<Bytes> {
        const TRIES: usize = 4;
        for _ in 1..TRIES {
            if let Ok(bytes) = self.read(position, size).await {
                return Ok(bytes);
            }
        }
        self.read(position, size).await
    }

    pub(crate) async fn disk_space(&self) -> io::Result<DiskSpace> {
        file::disk_space(&self.directory).await
    }
}

fn base_of_name(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok())?
}

/// Faults that tests put in the way of this thread's logs.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        pub(crate) static WRITES_FAIL: Cell<bool> = const { Cell::new(false) };
        /// After so many more, writes fail.
        pub(crate) static WRITES_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
        pub(crate) static SYNCS_FAIL: Cell<bool> = const { Cell::new(false) };
        pub(crate) static DISK_FULL: Cell<bool> = const { Cell::new(false) };
        pub(crate) static SYNCS_HANG: Cell<bool> = const { Cell::new(false) };
        /// One does.
        pub(crate) static SYNC_HANGS: Cell<bool> = const { Cell::new(false) };
        pub(crate) static SYNCS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn on_write() -> io::Result<()> {
        let left = WRITES_LEFT.get();
        WRITES_LEFT.set(left.map(|left| left.saturating_sub(1)));
        if WRITES_FAIL.get() || left == Some(0) {
            Err(io::Error::other("injected"))
        } else {
            Ok(())
        }
    }

    pub(super) async fn on_sync() -> io::Result<()> {
        while SYNCS_HANG.get() {
            SYNC_HANGS.set(true);
            runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
        SYNC_HANGS.set(false);
        SYNCS.set(SYNCS.get() + 1);
        if SYNCS_FAIL.get() {
            Err(io::Error::other("injected"))
        } else {
            Ok(())
        }
    }

    pub(super) fn on_allocate() -> io::Result<()> {
        if DISK_FULL.get() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_twenty_digits_are_segments() {
        let base = |name: &str| base_of_name(Path::new(name));
        assert_eq!(base("/x/00000000001073741824"), Some(1 << 30));
        assert_eq!(base("0000000000107374182"), None);
        assert_eq!(base("+0000000001073741824"), None);
        assert_eq!(base("99999999999999999999"), None);
        assert_eq!(base("lock"), None);
    }
}
