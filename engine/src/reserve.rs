//! Space set aside for the moment when the disk is full: the file `reserve` in a shard's directory.
//!
//! Segments have their space before anything is appended, but checkpoints, index pages and manifests are new files each time,
//! and a start, a clean stop and even the deletion of old segments write some of them. On a disk without a free byte none of that
//! would work, and the shard could not get itself out. So a little is kept here, given back at a start or stop on a full disk and when
//! such a write has failed, and taken again when there is plenty of room.

use crate::inspect::PAGE_SIZE;
use crate::recovery::QUEUE_FILE_PAGES;
use runtime::file::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes set aside for a shard: one more file of consume queue pages, and a checkpoint with its tables.
const SIZE: u64 = QUEUE_FILE_PAGES as u64 * PAGE_SIZE as u64 + (8 << 20);
/// So much must be free before it is taken: it must not be what fills the disk.
const ROOM: u64 = 3 * SIZE;

/// The reserve of one shard.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve in a directory. Nothing is done yet.
    pub(crate) fn new(directory: &Path) -> Reserve {
        Reserve {
            path: directory.join("reserve"),
        }
    }

    /// Takes the space if there is plenty.
    pub(crate) async fn take_if_roomy(&self) {
        if self.is_held().await || self.available().await.is_none_or(|available| available < ROOM) {
            return;
        }
        if let Err(error) = self.take().await {
            tracing::debug!(path = %self.path.display(), %error, "no space is set aside for a full disk");
            // Half a reserve is none.
            let _not_there = file::remove(&self.path).await;
        }
    }

    /// Gives the space back if the disk is full. For when a write has failed or many will come: what is given back too early is
    /// taken by others.
    pub(crate) async fn give_back_if_needed(&self) {
        if !self.is_held().await || self.available().await.is_none_or(|available| available >= SIZE) {
            return;
        }
        match file::remove(&self.path).await {
            Ok(()) => tracing::warn!(
                path = %self.path.display(),
                bytes = SIZE,
                "the disk is full: the space that was set aside is used for checkpoints and indexes"
            ),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "cannot give the reserve back"),
        }
    }

    /// Whether a file of this size leaves the reserve alone: what was given back is not for messages.
    pub(crate) async fn is_left_by(&self, size: u64) -> bool {
        self.is_held().await || self.available().await.is_none_or(|available| available >= size + SIZE)
    }

    async fn is_held(&self) -> bool {
        file::exists(&self.path).await
    }

    async fn available(&self) -> Option<u64> {
        let directory = self.path.parent()?;
        file::disk_space(directory).await.ok().map(|space| space.available)
    }

    async fn take(&self) -> io::Result<()> {
        let file = File::open(&self.path, OpenOptions::read_write()).await?;
        file.allocate(SIZE).await
    }
}
