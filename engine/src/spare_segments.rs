//! Segments in waiting, for logs that are written directly: blocks that have been written once are written again without a
//! change of the file's extents, so a durable write needs no journal commit (measured: 125 against 193 us for a commit of
//! 64 records). What a new one lacks of that, [`crate::zeros_ahead`] makes up.
//!
//! A spare is a file of a segment's size whose name ends in `.spare`. It comes from a segment that retention has dropped; a
//! rename makes it one again. Its old records cannot be taken for new ones: each says where it lies, and so does each seal,
//! and a position is never given twice.

use runtime::{File, OpenOptions, file};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// Spares that wait at most; each takes a segment's space on the disk.
const SPARES_MAX: usize = 2;
const SUFFIX: &str = ".spare";

/// See the head of this file. No borrow outlives a call.
#[derive(Debug, Default)]
pub(crate) struct SpareSegments {
    waiting: RefCell<VecDeque<PathBuf>>,
}

impl SpareSegments {
    /// Whether a file has the name of a spare.
    pub(crate) fn is_spare(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "spare")
    }

    /// Takes in the spares of an earlier life; what is too many goes, or all of them, when `wanted` is false.
    pub(crate) async fn adopt(&self, path: PathBuf, wanted: bool) -> io::Result<()> {
        if wanted && self.waiting.borrow().len() < SPARES_MAX {
            self.waiting.borrow_mut().push_back(path);
            return Ok(());
        }
        file::remove(&path).await
    }

    /// Makes a spare of a segment that the log has let go; false when there are enough.
    pub(crate) async fn keep(&self, segment: &Path) -> io::Result<bool> {
        if self.waiting.borrow().len() >= SPARES_MAX {
            return Ok(false);
        }
        let path = spare_name(segment);
        file::rename(segment, &path).await?;
        self.waiting.borrow_mut().push_back(path);
        Ok(true)
    }

    /// Deletes all spares: the disk needs their space.
    pub(crate) async fn clear(&self) -> io::Result<()> {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(path) = next else { return Ok(()) };
            file::remove(&path).await?;
        }
    }

    /// Puts a spare of `size` bytes at `path`, where no file is; false when there is none. Its name becomes durable with the
    /// directory.
    pub(crate) async fn provide(&self, path: &Path, size: u64) -> io::Result<bool> {
        match self.take(size).await? {
            Some(spare) => file::rename(&spare, path).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// A spare that has its size; others are deleted.
    async fn take(&self, size: u64) -> io::Result<Option<PathBuf>> {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(path) = next else { return Ok(None) };
            let file = File::open(&path, OpenOptions::read_write()).await?;
            if file.len().await? == size {
                // Its making may have been cut short before its size was durable.
                file.sync_data().await?;
                return Ok(Some(path));
            }
            drop(file);
            file::remove(&path).await?;
        }
    }
}

fn spare_name(segment: &Path) -> PathBuf {
    let mut name = segment.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}
