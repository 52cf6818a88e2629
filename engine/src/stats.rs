//! Figures of a shard, for metrics and admin tools.

use crate::consume_queue::ConsumeQueueStats;
use crate::error::FenceReason;
use crate::key_index::KeyIndexStats;
use std::time::Duration;

/// Figures of a shard as of now. Positions are bytes of its log; counters count from the start.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// First kept position.
    pub min: u64,
    /// Position behind what has been appended.
    pub end: u64,
    /// Position behind what has been written.
    pub written: u64,
    /// Position behind what is durable.
    pub flushed: u64,
    /// Position behind what readers may see.
    pub confirmed: u64,
    /// Everything below needs not be read at a restart.
    pub checkpoint: u64,
    /// Appended bytes that the indexes do not hold yet (RocketMQ's dispatchBehindBytes).
    pub dispatch_behind: u64,
    /// Segments.
    pub segments: usize,
    /// Messages appended.
    pub puts: u64,
    /// Bytes of their records.
    pub put_bytes: u64,
    /// Messages refused.
    pub put_refused: u64,
    /// Group commits.
    pub batches: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Longest time from an append to the end of its group commit since the start.
    pub commit_time_max: Duration,
    /// The same since stats were last asked for.
    pub commit_time_max_recent: Duration,
    /// Messages given to readers from memory.
    pub read_hot: u64,
    /// Messages given to readers from the disk or the cache of what was read from it.
    pub read_cold: u64,
    /// Bytes of the newest records that are held in memory.
    pub tail_cache_bytes: usize,
    /// Bytes of older parts of the log that are held in memory.
    pub cold_cache_bytes: usize,
    /// Appends are refused since the disk is full.
    pub disk_full: bool,
    /// Appends are refused since a write or sync failed.
    pub fenced: Option<FenceReason>,
    /// Ranges of the log that are known to be damaged.
    pub damaged_ranges: usize,
    /// The consume queues.
    pub queues: ConsumeQueueStats,
    /// The key index, if there is one.
    pub keys: Option<KeyIndexStats>,
}
