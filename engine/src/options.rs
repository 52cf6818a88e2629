//! How a store is kept: places, sizes, when data is made durable and when it goes.

use std::path::PathBuf;
use std::time::Duration;

/// What an acknowledged message has survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// Acknowledged once it survives the end of the process, written or in memory that outlives it: a killed process loses nothing,
    /// a power cut what came since the last background flush. RocketMQ's ASYNC_FLUSH.
    Async,
    /// Acknowledged once it is on the disk. RocketMQ's SYNC_FLUSH.
    Sync,
}

/// How batches reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePath {
    /// What was measured to be better for the flush mode; see [`WritePath::is_direct`].
    Auto,
    /// Through the page cache, and a sync where one is due.
    Buffered,
    /// Past the page cache, by the core's flusher thread: durable once written. Where the file system has no direct writes,
    /// as `Buffered`.
    Direct,
}

impl WritePath {
    /// Whether it is the direct one, in a flush mode; `keeps`: what is committed can be kept in memory that outlives the process, so
    /// that nobody waits for a write in async flush mode.
    #[must_use]
    pub fn is_direct(self, flush: FlushMode, keeps: bool) -> bool {
        match self {
            WritePath::Auto => flush == FlushMode::Sync || keeps,
            WritePath::Buffered => false,
            WritePath::Direct => true,
        }
    }
}

/// When old segments go.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// How long a segment is kept after its last record (RocketMQ's fileReservedTime).
    pub reserved: Duration,
    /// Hours of the local day, 0 to 23, in which segments that are old enough are deleted (RocketMQ's deleteWhen).
    pub delete_hours: Vec<u8>,
    /// Local time minus UTC, in minutes: `delete_hours` are hours of the people who run the broker.
    pub utc_offset_minutes: i32,
    /// Used share of the disk, 0.0 to 1.0, from which segments that are old enough are deleted at any hour.
    pub clean_ratio: f64,
    /// Used share from which the oldest segments are deleted whatever their age; `None`: nothing young is ever deleted, not on a
    /// disk without a free byte either.
    pub force_ratio: Option<f64>,
    /// Used share from which appends are refused.
    pub stop_ratio: f64,
    /// How often all this is looked at (RocketMQ's cleanResourceInterval).
    pub interval: Duration,
    /// Most segments deleted at once (RocketMQ's deleteFileBatchMax).
    pub batch_max: usize,
}

impl Default for Retention {
    /// RocketMQ's defaults.
    fn default() -> Self {
        Retention {
            reserved: Duration::from_secs(72 * 3600),
            delete_hours: vec![4],
            utc_offset_minutes: 0,
            clean_ratio: 0.75,
            force_ratio: Some(0.85),
            stop_ratio: 0.90,
            interval: Duration::from_secs(10),
            batch_max: 10,
        }
    }
}

/// How many messages, and how many bytes, one read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimit {
    /// Bytes of records; the first message is given whatever its size.
    pub bytes: usize,
    /// Messages.
    pub messages: usize,
}

/// What a store has in common with its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Tells this store's data from any other's.
    pub store_id: u64,
    /// How many shards it has.
    pub shards: u8,
    /// Bytes of a segment.
    pub segment_size: u64,
}

/// How a store is kept. `shards` and `segment_size` are fixed when the store is made; an existing store keeps its own.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Its directory, made if it is not there (RocketMQ's storePathRootDir).
    pub root: PathBuf,
    /// Another directory for the commitlogs (RocketMQ's storePathCommitLog, where it is not `root`/commitlog).
    pub commitlog_dir: Option<PathBuf>,
    /// Shards of a new store, 1 to 128.
    pub shards: u8,
    /// Bytes of a segment of a new store (RocketMQ's mappedFileSizeCommitLog).
    pub segment_size: u64,
    /// The store is being filled with another broker's messages: until that is done nothing else may open it. See [`crate::finish_import`].
    pub importing: bool,
    /// The store that this one is a copy of: a new one is made like it, one that exists must be one already.
    pub copy_of: Option<StoreIdentity>,
    /// What is written from now on is copied from another log: its seals say what was durable there, not here.
    pub copies: bool,
    /// When a message counts as stored.
    pub flush: FlushMode,
    /// How it gets to the disk.
    pub write_path: WritePath,
    /// Bytes of memory that outlives the process, for each shard: what is committed in async flush mode and not written yet. 0: none,
    /// and where the machine has no such memory, none is used.
    pub crash_buffer_bytes: usize,
    /// How often the log is made durable in the background (RocketMQ's flushIntervalCommitLog).
    pub flush_interval: Duration,
    /// When old segments go.
    pub retention: Retention,
    /// Bytes of the newest records that each shard keeps in memory for readers.
    pub tail_cache_bytes: usize,
    /// Bytes of older parts of the log that each shard keeps in memory for readers.
    pub cold_cache_bytes: usize,
    /// Bytes of consume queue pages that each shard keeps in memory for readers.
    pub queue_cache_bytes: usize,
    /// Whether messages can be found by key.
    pub key_index: bool,
    /// Bytes that may be appended and not committed yet, for each shard; above it appends are refused as busy.
    pub staged_bytes_max: usize,
    /// Bytes that may be written and not durable yet, for each shard; above it writing waits for the disk.
    pub unsynced_bytes_max: u64,
    /// Records not further than this from the end of their shard's log count as in memory (RocketMQ's
    /// accessMessageInMemoryMaxRatio of the memory, shared by the shards).
    pub in_memory_distance: u64,
    /// Limit of a read of records that count as in memory.
    pub limit_in_memory: TransferLimit,
    /// Limit of a read of other records.
    pub limit_on_disk: TransferLimit,
    /// Bytes appended after which a checkpoint is taken, so that a restart has less to read.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint is taken when anything was appended.
    pub checkpoint_interval: Duration,
    /// Bytes a second at which each shard reads its own log in the background to find rot that no reader meets; 0: never.
    pub scrub_bytes_per_second: u64,
}

impl StoreOptions {
    /// Bytes that one shard holds in memory at most: caches that fill with time, and what waits for the disk under load. Not
    /// counted are its tables, which grow with queues and groups, and what the kernel caches.
    #[must_use]
    pub fn memory_max(&self) -> u64 {
        let caches = self.tail_cache_bytes + self.cold_cache_bytes + self.queue_cache_bytes;
        (caches + self.crash_buffer_bytes + self.staged_bytes_max + crate::upkeep::UNWRITTEN_PAGES_MAX) as u64
    }

    /// RocketMQ's defaults for a store in `root` with `shards` shards.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, shards: u8) -> Self {
        StoreOptions {
            root: root.into(),
            commitlog_dir: None,
            shards,
            segment_size: 1 << 30,
            importing: false,
            copy_of: None,
            copies: false,
            flush: FlushMode::Async,
            write_path: WritePath::Auto,
            crash_buffer_bytes: 64 << 20,
            flush_interval: Duration::from_millis(500),
            retention: Retention::default(),
            tail_cache_bytes: 128 << 20,
            cold_cache_bytes: 64 << 20,
            queue_cache_bytes: 16 << 20,
            key_index: true,
            staged_bytes_max: 64 << 20,
            unsynced_bytes_max: 256 << 20,
            in_memory_distance: 1 << 30,
            limit_in_memory: TransferLimit {
                bytes: 256 << 10,
                messages: 32,
            },
            limit_on_disk: TransferLimit {
                bytes: 64 << 10,
                messages: 8,
            },
            checkpoint_bytes: 64 << 20,
            checkpoint_interval: Duration::from_secs(10),
            scrub_bytes_per_second: 4 << 20,
        }
    }
}
