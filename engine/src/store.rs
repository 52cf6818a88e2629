//! A store: a directory that one process has open.
//!
//! ```text
//! lock                      held while the process lives
//! store.json                what the store is: format, shards, segment size, id
//! shard-NN/commitlog/       segments, named by the 20 digits of their first position
//! shard-NN/consumequeue/    shard-NN/index/    shard-NN/checkpoint
//! ```
//! With a commitlog directory of its own, segments lie in `<commitlog directory>/shard-NN/`, beside a `lock` and a copy of
//! `store.json`, so that directories of different stores cannot be mixed.

use crate::error::Error;
use crate::options::{FlushMode, StoreIdentity, StoreOptions, WritePath};
use protocol::model::{ShardCount, ShardId};
use runtime::file::{self, DirectoryLock};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `store.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    /// Version of all formats in the store.
    format: u32,
    /// How many shards it has.
    shards: u8,
    /// Bytes of a segment.
    segment_size: u64,
    /// Tells this store's data from any other's; 16 hex digits.
    store_id: String,
    /// Milliseconds since 1970.
    created_at: i64,
    /// CRC-32 of the other fields, 8 hex digits; stores made before it was there have none. A store id with one wrong digit
    /// would make the whole log look like another store's, to be cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl Description {
    fn checksum(&self) -> String {
        let Description {
            format,
            shards,
            segment_size,
            store_id,
            created_at,
            checksum: _,
        } = self;
        let fields = format!("{format} {shards} {segment_size} {store_id} {created_at}");
        format!("{:08x}", crc32fast::hash(fields.as_bytes()))
    }
}

const FORMAT: u32 = 1;
/// Smaller segments hold no message of RocketMQ's default size.
const SEGMENT_SIZE_MIN: u64 = 64 << 10;
const SEGMENT_SIZE_MAX: u64 = 1 << 40;

/// A store that this process has open; cheap to clone and to hand to every core. Its locks go with the last clone.
#[derive(Clone, Debug)]
pub struct StoreLayout(Arc<Layout>);

#[derive(Debug)]
struct Layout {
    options: StoreOptions,
    shards: ShardCount,
    segment_size: u64,
    store_id: u64,
    direct: bool,
    crash_buffer: bool,
    _locks: Vec<DirectoryLock>,
}

impl StoreLayout {
    /// How many shards the store has.
    #[must_use]
    pub fn shards(&self) -> ShardCount {
        self.0.shards
    }

    /// Bytes of a segment.
    #[must_use]
    pub fn segment_size(&self) -> u64 {
        self.0.segment_size
    }

    /// Tells this store's data from any other's.
    #[must_use]
    pub fn store_id(&self) -> u64 {
        self.0.store_id
    }

    /// What its copies have in common with it.
    #[must_use]
    pub fn identity(&self) -> StoreIdentity {
        StoreIdentity {
            store_id: self.0.store_id,
            shards: self.0.shards.get(),
            segment_size: self.0.segment_size,
        }
    }

    /// How it is kept.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    /// Whether the log is written past the page cache, and what is written is durable.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.0.direct
    }

    /// Bytes of batches that are kept in memory that outlives the process, if any are.
    pub(crate) fn crash_buffer_bytes(&self) -> Option<usize> {
        self.0.crash_buffer.then_some(self.0.options.crash_buffer_bytes)
    }

    /// Bytes of a shard's log behind what is durable that may have been written when everything stops.
    pub(crate) fn unsynced_reach(&self) -> u64 {
        let options = self.options();
        // What was staged before the limit was met, or is written at once; the batch that passed it; and what its segment had no
        // room for.
        let record = crate::staging::RECORD_SIZE_MAX as u64;
        let (written, at_once) = if self.is_direct() {
            // A start writes all that it finds in memory.
            let kept = self.crash_buffer_bytes().map_or(0, |size| size as u64);
            (0, crate::log_writer::DIRECT_WRITE_SIZE.max(kept))
        } else {
            (options.unsynced_bytes_max, options.staged_bytes_max as u64)
        };
        written.saturating_add((at_once + record).saturating_mul(2))
    }

    /// The directory of a shard's segments.
    #[must_use]
    pub fn commitlog_dir(&self, shard: ShardId) -> PathBuf {
        match &self.0.options.commitlog_dir {
            Some(directory) => directory.join(shard_name(shard)),
            None => self.shard_dir(shard).join("commitlog"),
        }
    }

    /// The directory of a shard.
    #[must_use]
    pub fn shard_dir(&self, shard: ShardId) -> PathBuf {
        self.0.options.root.join(shard_name(shard))
    }
}

fn shard_name(shard: ShardId) -> String {
    format!("shard-{:02}", shard.get())
}

/// Opens a store for this process, or makes it.
///
/// # Errors
/// [`Error::InUse`], [`Error::ForeignStore`], [`Error::BadDescription`], [`Error::MixedStores`], [`Error::BadOption`], or the
/// file system's.
pub async fn prepare_store(options: &StoreOptions) -> Result<StoreLayout, Error> {
    check_options(options)?;
    let mut locks = vec![lock_directory(&options.root).await?];
    let description = read_description(&options.root).await?;
    check_import(options, description.is_some()).await?;
    let description = match description {
        Some(description) => {
            // A process that was killed right after it made the store has not made the name durable. Lost after shards are
            // there, it would leave a store that cannot be opened.
            let synced = file::sync_directory(&options.root).await;
            synced.map_err(Error::io("sync the directory", &options.root))?;
            description
        }
        None => create(options).await?,
    };
    let path = options.root.join("store.json");
    let store_id = parse_id(&path, &description)?;
    if let Some(original) = &options.copy_of
        && original.store_id != store_id
    {
        return Err(Error::OtherStore {
            directory: options.root.clone(),
            found: store_id,
            expected: original.store_id,
        });
    }
    if let Some(commitlog) = &options.commitlog_dir {
        locks.push(lock_directory(commitlog).await?);
        check_commitlog(commitlog, &options.root, &description, store_id).await?;
    }
    let shards = ShardCount::new(description.shards).ok_or_else(|| Error::BadDescription {
        path: path.clone(),
        reason: format!("{} shards, but there can be 1 to 128", description.shards),
    })?;
    if !(SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(&description.segment_size) {
        let reason = format!("segments of {} bytes", description.segment_size);
        return Err(Error::BadDescription { path, reason });
    }
    if description.shards != options.shards || description.segment_size != options.segment_size {
        tracing::warn!(
            store = %options.root.display(),
            shards = description.shards,
            segment_size = description.segment_size,
            "the store keeps the number of shards and the segment size it was made with; the configured ones are not used"
        );
    }
    let keeps = can_keep(options);
    let direct = is_direct(options, description.segment_size, keeps).await?;
    if keeps && direct {
        tracing::info!(
            store = %options.root.display(),
            "messages are acknowledged from shared memory that outlives the process, and written later"
        );
    }
    Ok(StoreLayout(Arc::new(Layout {
        options: options.clone(),
        shards,
        segment_size: description.segment_size,
        store_id,
        direct,
        crash_buffer: keeps && direct,
        _locks: locks,
    })))
}

/// Stands in a store that is being filled with another broker's messages.
const UNFINISHED: &str = "import-unfinished";

/// Nobody but the import itself opens a store that it has not finished, and it opens no other.
async fn check_import(options: &StoreOptions, exists: bool) -> Result<(), Error> {
    let unfinished = options.root.join(UNFINISHED);
    let directory = options.root.clone();
    match (options.importing, file::exists(&unfinished).await) {
        (false, true) => Err(Error::UnfinishedImport { directory }),
        (true, false) if exists => Err(Error::NotEmpty { directory }),
        (true, false) => {
            let marked = file::replace(&unfinished, Vec::new()).await;
            marked.map_err(Error::io("write", &unfinished))
        }
        (false, false) | (true, true) => Ok(()),
    }
}

/// The import into a store has come to its end: from now on a broker may open it.
///
/// # Errors
/// The file system's.
pub async fn finish_import(layout: &StoreLayout) -> Result<(), Error> {
    let root = &layout.options().root;
    let unfinished = root.join(UNFINISHED);
    file::remove(&unfinished)
        .await
        .map_err(Error::io("remove", &unfinished))?;
    file::sync_directory(root)
        .await
        .map_err(Error::io("sync the directory", root))
}

/// Whether what is committed can be kept in memory that outlives the process: of use in async flush mode alone.
fn can_keep(options: &StoreOptions) -> bool {
    let wanted = options.flush == FlushMode::Async && options.write_path != WritePath::Buffered;
    if !wanted || options.crash_buffer_bytes == 0 {
        return false;
    }
    let refused = runtime::crash_memory::refusal(crate::crash_buffer::memory_size(options.crash_buffer_bytes));
    if let Some(reason) = &refused {
        tracing::info!(store = %options.root.display(), %reason, "messages are acknowledged after they are written");
    }
    refused.is_none()
}

/// Whether the log is written past the page cache: wanted, and possible here.
async fn is_direct(options: &StoreOptions, segment_size: u64, keeps: bool) -> Result<bool, Error> {
    if !options.write_path.is_direct(options.flush, keeps) {
        return Ok(false);
    }
    let directory = options.commitlog_dir.as_ref().unwrap_or(&options.root);
    let refused = if segment_size.is_multiple_of(runtime::BLOCK_SIZE as u64) {
        runtime::direct_refusal(directory)
            .await
            .map_err(Error::io("try direct writes in", directory))?
            .map(|refusal| refusal.to_string())
    } else {
        Some(format!(
            "segments of {segment_size} bytes are no multiple of {}; fix: make the store with such a size",
            runtime::BLOCK_SIZE
        ))
    };
    match &refused {
        Some(reason) => {
            tracing::warn!(store = %options.root.display(), %reason, "the log is written through the page cache");
        }
        None => tracing::info!(store = %options.root.display(), "the log is written past the page cache"),
    }
    Ok(refused.is_none())
}

fn check_options(options: &StoreOptions) -> Result<(), Error> {
    let bad = |option, value: String, reason| Err(Error::BadOption { option, value, reason });
    if ShardCount::new(options.shards).is_none() {
        return bad("shards", options.shards.to_string(), "a store has 1 to 128 shards");
    }
    if !(SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(&options.segment_size) {
        let reason = "a segment has 64 KiB to 1 TiB";
        return bad("segment_size", options.segment_size.to_string(), reason);
    }
    let retention = &options.retention;
    if let Some(hour) = retention.delete_hours.iter().find(|hour| **hour > 23) {
        return bad("delete_hours", hour.to_string(), "an hour is 0 to 23");
    }
    let ratios = [
        ("clean_ratio", Some(retention.clean_ratio)),
        ("force_ratio", retention.force_ratio),
        ("stop_ratio", Some(retention.stop_ratio)),
    ];
    for (option, ratio) in ratios {
        let Some(ratio) = ratio else { continue };
        if !(0.0..=1.0).contains(&ratio) {
            return bad(option, ratio.to_string(), "a ratio is 0.0 to 1.0");
        }
    }
    Ok(())
}

async fn lock_directory(directory: &Path) -> Result<DirectoryLock, Error> {
    file::create_directory(directory)
        .await
        .map_err(Error::io("make the directory", directory))?;
    let path = directory.join("lock");
    file::lock(&path).await.map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            Error::InUse {
                directory: directory.to_owned(),
            }
        } else {
            Error::io("lock", &path)(error)
        }
    })
}

async fn read_description(directory: &Path) -> Result<Option<Description>, Error> {
    let path = directory.join("store.json");
    let text = match file::read(&path).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let description = parse(&text).map_err(|reason| Error::BadDescription { path, reason })?;
    Ok(Some(description))
}

fn parse(text: &[u8]) -> Result<Description, String> {
    let description: Description = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if description.format != FORMAT {
        return Err(format!(
            "its format is {}, this program knows {FORMAT}; use the version that wrote it",
            description.format
        ));
    }
    if let Some(found) = &description.checksum
        && *found != description.checksum()
    {
        return Err(format!(
            "it is damaged: its checksum is {found}, that of its fields {}; put back a copy",
            description.checksum()
        ));
    }
    Ok(description)
}

/// The description for those that only read; see [`crate::inspect`].
pub(crate) fn inspect(text: &[u8]) -> Result<crate::inspect::Description, String> {
    let found = parse(text)?;
    if !(SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(&found.segment_size) {
        return Err(format!("segments of {} bytes", found.segment_size));
    }
    let shards = ShardCount::new(found.shards);
    let store_id = u64::from_str_radix(&found.store_id, 16);
    Ok(crate::inspect::Description {
        store_id: store_id.map_err(|error| format!("storeId {:?}: {error}", found.store_id))?,
        shards: shards.ok_or_else(|| format!("{} shards, but there can be 1 to 128", found.shards))?,
        segment_size: found.segment_size,
        created_at: found.created_at,
    })
}

fn parse_id(path: &Path, description: &Description) -> Result<u64, Error> {
    u64::from_str_radix(&description.store_id, 16).map_err(|error| Error::BadDescription {
        path: path.to_owned(),
        reason: format!("storeId {:?}: {error}", description.store_id),
    })
}

async fn create(options: &StoreOptions) -> Result<Description, Error> {
    refuse_foreign(&options.root).await?;
    // A store whose description was lost must not be taken for a new one: its data would be written over.
    let first_shard = options.root.join(shard_name(ShardId::ZERO));
    if file::exists(&first_shard).await {
        return Err(Error::BadDescription {
            path: options.root.join("store.json"),
            reason: format!("it is not there, but {} is; put it back", first_shard.display()),
        });
    }
    let identity = options.copy_of.unwrap_or_else(|| StoreIdentity {
        store_id: runtime::rng::random_u64(),
        shards: options.shards,
        segment_size: options.segment_size,
    });
    let mut description = Description {
        format: FORMAT,
        shards: identity.shards,
        segment_size: identity.segment_size,
        store_id: format!("{:016x}", identity.store_id),
        created_at: runtime::wall_clock_ms(),
        checksum: None,
    };
    description.checksum = Some(description.checksum());
    write_description(&options.root, &description).await?;
    Ok(description)
}

async fn write_description(directory: &Path, description: &Description) -> Result<(), Error> {
    let path = directory.join("store.json");
    let text = serde_json::to_vec_pretty(description).map_err(|error| Error::BadDescription {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    file::replace(&path, text).await.map_err(Error::io("write", &path))
}

/// Apache's files beside ours would be read as a store by Apache's tools, and ours would be deleted by its broker.
async fn refuse_foreign(root: &Path) -> Result<(), Error> {
    for found in ["commitlog", "consumequeue", "abort", "timerwheel"] {
        if file::exists(&root.join(found)).await {
            return Err(Error::ForeignStore {
                directory: root.to_owned(),
                found: found.to_owned(),
            });
        }
    }
    Ok(())
}

async fn check_commitlog(commitlog: &Path, root: &Path, description: &Description, store_id: u64) -> Result<(), Error> {
    let Some(found) = read_description(commitlog).await? else {
        return write_description(commitlog, description).await;
    };
    let found = parse_id(&commitlog.join("store.json"), &found)?;
    if found == store_id {
        return Ok(());
    }
    Err(Error::MixedStores {
        commitlog: commitlog.to_owned(),
        root: root.to_owned(),
        found,
        expected: store_id,
    })
}
