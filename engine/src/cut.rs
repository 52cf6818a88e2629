//! Cutting the end of a log that has gone another way than the log that it copies.
//!
//! A master that loses power loses what its disk did not have; its slave may have more. Once the master has gone on, the two logs differ from
//! some batch on, and the slave's end must go before it can copy again. It is cut only where the master itself had never known it to be
//! durable, and what is cut is kept in a file beside the log, for people to look at.
//!
//! Order, each step durable before the next: the file of what is cut; the note that the metadata must come from the master anew (the last
//! snapshot may say what the cut part said); the checkpoint, which must not call durable what goes; the log. A crash in between leaves
//! a log that has its end still, and the cut is made again.

use crate::checkpoint::Checkpoint;
use crate::crash_buffer::{self, Owner};
use crate::error::{Error, ReadError};
use crate::inner::Inner;
use crate::log_walk::LogWalk;
use crate::recovery::{Recovered, boot_id};
use crate::replica::LogPosition;
use crate::segmented_log::SegmentedLog;
use crate::shard::Shard;
use crate::store::StoreLayout;
use bytes::Bytes;
use protocol::model::ShardId;
use runtime::{File, OpenOptions, file};
use std::path::{Path, PathBuf};

/// Bytes that are copied at once into the file of what is cut.
const COPY_SIZE: usize = 4 << 20;
/// Bytes that are looked through at once.
const LOOK_SIZE: usize = 1 << 20;
/// Says that the metadata must come from the master anew.
const METADATA_WANTED: &str = "metadata-wanted";

/// What was cut from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutLog {
    /// So many bytes.
    pub bytes: u64,
    /// Where they are kept.
    pub kept_in: PathBuf,
}

impl Shard {
    /// Places where this log can be compared with another one, in order: begins of segments and of some batches.
    #[must_use]
    pub fn places_to_compare(&self) -> Vec<u64> {
        self.0.places_to_compare()
    }

    /// Where batches begin from `from`, which is such a place, to `to`, with the end if that is `to`.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn batch_begins(&self, from: u64, to: u64) -> Result<Vec<LogPosition>, ReadError> {
        self.0.batch_begins(from, to).await
    }

    /// Up to where the log was known to be durable, by whoever wrote it, when its batches from `from` on were written.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn called_synced_from(&self, from: u64) -> Result<u64, ReadError> {
        self.0.called_synced_from(from).await
    }

    /// Whether all metadata must come from the master anew, since the log was cut or begins late.
    pub async fn metadata_wanted(&self) -> bool {
        file::exists(&self.0.layout.shard_dir(self.id()).join(METADATA_WANTED)).await
    }

    /// Notes that it must.
    ///
    /// # Errors
    /// The file system's.
    pub async fn want_metadata(&self) -> Result<(), Error> {
        want_metadata(&self.0.layout.shard_dir(self.id())).await
    }

    /// The metadata has come: keeps it, and forgets the note. Something must have been committed since, so that the broker has it.
    ///
    /// # Errors
    /// The file system's; [`Error::Fenced`].
    pub async fn metadata_came(&self) -> Result<(), Error> {
        self.checkpoint().await?;
        let path = self.0.layout.shard_dir(self.id()).join(METADATA_WANTED);
        file::remove(&path).await.map_err(Error::io("delete", &path))
    }
}

async fn want_metadata(directory: &Path) -> Result<(), Error> {
    let path = directory.join(METADATA_WANTED);
    file::replace(&path, Vec::new())
        .await
        .map_err(Error::io("write", &path))
}

/// Cuts everything from `at` on from the log of a shard that is not open; `at` is the begin of a batch there.
///
/// # Errors
/// The file system's; the cut is to be made again then.
pub async fn cut_log(layout: &StoreLayout, id: ShardId, at: LogPosition) -> Result<CutLog, Error> {
    let directory = layout.shard_dir(id);
    let log = SegmentedLog::open(layout.commitlog_dir(id), layout.segment_size(), layout.is_direct()).await?;
    let owner = Owner::of(layout, id);
    crash_buffer::settle(&directory, owner, &log, &boot_id().await, &mut Recovered::default()).await?;
    let end = sound_end(&log, layout, id, at).await;
    let kept_in = directory.join(format!("cut-{:020}-{}", at.position, runtime::wall_clock_ms()));
    let bytes = keep(&log, at.position, end, &kept_in).await?;
    want_metadata(&directory).await?;
    let mut reports = Vec::new();
    let checkpoint = Checkpoint::read(&directory, layout.store_id(), id.get(), &mut reports).await?;
    if let Some(mut checkpoint) = checkpoint {
        checkpoint.clean = false;
        if checkpoint.start > at.position {
            (checkpoint.start, checkpoint.start_crc) = (at.position, at.chain);
        }
        checkpoint.synced = checkpoint.synced.min(at.position);
        checkpoint.end = at.position;
        checkpoint.snapshot_position = at.position;
        checkpoint.metadata.clear();
        checkpoint.damage.retain(|range| range.from < at.position);
        // Twice: the one before must not be gone back to.
        checkpoint.write(&directory).await?;
        checkpoint.write(&directory).await?;
    }
    log.cut(at.position).await?;
    runtime::mark!("diverged log cut");
    Ok(CutLog { bytes, kept_in })
}

/// Where the sound part of the log ends.
async fn sound_end(log: &SegmentedLog, layout: &StoreLayout, id: ShardId, at: LogPosition) -> u64 {
    let mut walk = LogWalk::new(log, id, layout.store_id());
    let (mut position, mut previous) = (at.position, Some(at.chain));
    while let Ok(batch) = walk.batch(position, previous).await {
        (position, previous) = (batch.next, Some(batch.seal.crc));
    }
    position
}

/// Copies a part of the log into a file, durably.
async fn keep(log: &SegmentedLog, from: u64, to: u64, path: &Path) -> Result<u64, Error> {
    let directory = path.parent().unwrap_or(path).to_owned();
    let copied = async {
        let kept = File::open(path, OpenOptions::read_write()).await?;
        let (mut at, mut written) = (from, 0_u64);
        while at < to {
            let size = usize::try_from(to - at).unwrap_or(COPY_SIZE).min(COPY_SIZE);
            let bytes: Bytes = log.read(at, size).await?;
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
            kept.write_at(written, std::slice::from_ref(&bytes)).await?;
            written += bytes.len() as u64;
        }
        kept.sync_data().await?;
        file::sync_directory(&directory).await?;
        Ok(written)
    };
    copied
        .await
        .map_err(Error::io("keep what is cut from the log in", path))
}

impl Inner {
    fn places_to_compare(&self) -> Vec<u64> {
        let (min, end) = (self.positions.min.get(), self.positions.confirmed.get());
        let mut places = self.log.bases();
        places.extend(self.boundaries.borrow().iter().map(|(start, _)| *start));
        places.push(min);
        places.retain(|place| (min..=end).contains(place));
        places.sort_unstable();
        places.dedup();
        places
    }

    async fn batch_begins(&self, from: u64, to: u64) -> Result<Vec<LogPosition>, ReadError> {
        let mut begins = Vec::new();
        self.for_each_seal(from, to, |seal| {
            begins.push(LogPosition {
                position: seal.start,
                chain: seal.previous,
            });
        })
        .await?;
        if to >= self.positions.confirmed.get() {
            begins.push(LogPosition {
                position: self.positions.confirmed.get(),
                chain: self.confirmed_crc.get(),
            });
        }
        Ok(begins)
    }

    async fn called_synced_from(&self, from: u64) -> Result<u64, ReadError> {
        let mut synced = 0;
        self.for_each_seal(from, u64::MAX, |seal| synced = seal.synced_to.max(synced))
            .await?;
        Ok(synced)
    }

    async fn for_each_seal(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(&crate::control_record::Seal),
    ) -> Result<(), ReadError> {
        let mut position = from;
        while position < to.min(self.positions.confirmed.get()) {
            for (batches, next) in self.batches_from(position, LOOK_SIZE).await? {
                crate::replica::for_each_seal(&batches, &mut visit);
                position = next;
            }
        }
        Ok(())
    }
}
