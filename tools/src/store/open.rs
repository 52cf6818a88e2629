//! What kind of store a directory holds, and its logs as one reader sees them.

use super::files::{Error, StoreFiles, numbered_files};
use super::scan::LogScan;
use super::verify::checkpoint_of;
use super::walk::LogWalk;
use crate::apache_store::ApacheStore;
use protocol::model::{ShardCount, ShardId};
use std::path::{Path, PathBuf};

/// A store.
#[derive(Clone, Debug)]
pub enum Store {
    /// One of ours.
    Own(StoreFiles),
    /// One that Apache RocketMQ wrote: a single log.
    Apache(ApacheStore),
}

impl Store {
    /// Finds out what `root` holds. Segments lie in `commitlogs`, if those are other directories.
    ///
    /// # Errors
    /// [`Error::NoStore`] says what is missing for either kind.
    pub fn find(root: &Path, commitlogs: &[PathBuf]) -> Result<Store, Error> {
        if root.join("store.json").exists() {
            let commitlog = match commitlogs {
                [] => None,
                [one] => Some(one.as_path()),
                [_, second, ..] => {
                    return Err(Error::TooManyDirectories {
                        directory: second.clone(),
                    });
                }
            };
            return Ok(Store::Own(StoreFiles::find(root, commitlog)?));
        }
        if ApacheStore::is_at(root) || !commitlogs.is_empty() {
            return Ok(Store::Apache(ApacheStore::open(root, commitlogs)?));
        }
        Err(Error::NoStore {
            directory: root.to_owned(),
            reason: why_none(root),
        })
    }

    /// Its shards, or the one that is wanted. A store of Apache's is one.
    ///
    /// # Errors
    /// [`Error::NoSuchShard`]
    pub fn shards(&self, wanted: Option<u8>) -> Result<Vec<ShardId>, Error> {
        let count = match self {
            Store::Own(files) => files.description.shards,
            Store::Apache(_) => ShardCount::new(1).expect("one shard can be"),
        };
        let all = count
            .shards()
            .filter(|shard| wanted.is_none_or(|wanted| shard.get() == wanted));
        let found: Vec<ShardId> = all.collect();
        match wanted {
            Some(shard) if found.is_empty() => Err(Error::NoSuchShard {
                shard,
                shards: count.get(),
            }),
            _ => Ok(found),
        }
    }

    /// A scan of a shard's log, from the first record that is kept.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn scan(&self, shard: ShardId) -> Result<LogScan, Error> {
        match self {
            Store::Own(files) => {
                let checkpoint = checkpoint_of(files, shard)?;
                let (log, store_id) = (files.log(shard)?, files.description.store_id);
                Ok(LogScan::Own(LogWalk::new(log, shard, store_id, checkpoint.as_ref())))
            }
            Store::Apache(store) => Ok(LogScan::Apache(store.walk()?)),
        }
    }

    /// For people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Store::Own(_) => "RingMQ",
            Store::Apache(_) => "Apache RocketMQ",
        }
    }
}

/// Why a directory is no store of either kind.
fn why_none(root: &Path) -> String {
    if !root.exists() {
        return "it does not exist".to_owned();
    }
    if !root.is_dir() {
        return "it is no directory".to_owned();
    }
    if numbered_files(root).is_ok_and(|files| !files.is_empty()) {
        return "it holds segments alone: give the directory above it, or that of the store with --commitlog for this one".to_owned();
    }
    "there is neither a file store.json (RingMQ) nor a directory commitlog with files of 20 digits (Apache RocketMQ) in it".to_owned()
}
