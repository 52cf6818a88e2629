//! What a configuration means for the engine and the event loops.

use crate::config::{BrokerConfig, BrokerRole, FlushDiskType, IoPathChoice, WritePathChoice};
use engine::{FlushMode, Retention, StoreOptions, TransferLimit, WritePath};
use runtime::core::CoreOptions;
use runtime::probe::{IoPath, Refusal};
use std::time::Duration;

/// A store has at most so many shards, a broker at most so many cores.
const SHARDS_MAX: usize = 64;

/// How the event loops run.
///
/// # Errors
/// When `ioPath=io_uring` and io_uring is refused: why, and the fix.
pub fn core_options(config: &BrokerConfig) -> Result<CoreOptions, String> {
    let io = match (config.io_path, runtime::probe::probe()) {
        (IoPathChoice::Blocking, _) => IoPath::Blocking(Refusal::Configured),
        (IoPathChoice::Ring, IoPath::Blocking(refusal)) => {
            return Err(format!("ioPath=io_uring cannot be had: {refusal}"));
        }
        (IoPathChoice::Auto | IoPathChoice::Ring, found) => found,
    };
    Ok(CoreOptions {
        cores: cores(config, runtime::core::allowed_cpus().len()),
        pin: config.pin_cores,
        io,
    })
}

/// How many cores serve requests on a machine that has so many CPUs for them.
///
/// One of two CPUs is left to the kernel, the disk's thread and the machine's other processes: on two, half of all requests
/// change the core, which costs more than a second core brings. Measured with `mqbench` beside the broker, 64 connections, one
/// core for two: CPU a message 0.83 and rate 1.13 with one message in flight on each, 0.86 and 1.06 with 64; with SYNC_FLUSH, where
/// a commit of the one log holds more messages, 0.75 to 0.88 at 0.92 to 1.24 of the rate.
#[must_use]
pub fn cores(config: &BrokerConfig, cpus: usize) -> usize {
    let wanted = match (usize::from(config.cores), cpus) {
        (0, 2) => 1,
        (0, cpus) => cpus,
        (chosen, _) => chosen,
    };
    wanted.clamp(1, SHARDS_MAX)
}

/// Memory that outlives the process, of all shards together and of one: what a disk that is slow for a moment is behind.
const CRASH_BUFFERS_MAX: usize = 256 << 20;
const CRASH_BUFFER_MIN: usize = 8 << 20;
const CRASH_BUFFER_MAX: usize = 64 << 20;

/// How the store is kept. Shards and segment size are of a new store only: one that exists keeps its own.
#[must_use]
pub fn store_options(config: &BrokerConfig, cores: usize) -> StoreOptions {
    let shards = match usize::from(config.shards) {
        0 => cores,
        chosen => chosen,
    };
    let shards = u8::try_from(shards.clamp(1, SHARDS_MAX)).unwrap_or(1);
    StoreOptions {
        commitlog_dir: config.commitlog_directory(),
        segment_size: config.mapped_file_size_commit_log,
        flush: match config.flush_disk_type {
            FlushDiskType::AsyncFlush => FlushMode::Async,
            FlushDiskType::SyncFlush => FlushMode::Sync,
        },
        write_path: match config.write_path {
            WritePathChoice::Auto => WritePath::Auto,
            WritePathChoice::Buffered => WritePath::Buffered,
            WritePathChoice::Direct => WritePath::Direct,
        },
        crash_buffer_bytes: crash_buffer_bytes(config, shards),
        copies: config.broker_role == BrokerRole::Slave,
        flush_interval: Duration::from_millis(config.flush_interval_commit_log_ms),
        retention: retention(config),
        tail_cache_bytes: config.tail_cache_bytes,
        cold_cache_bytes: config.cold_cache_bytes,
        key_index: config.message_index_enable,
        in_memory_distance: in_memory_distance(config, shards),
        limit_in_memory: limit_in_memory(config),
        limit_on_disk: limit_on_disk(config),
        ..StoreOptions::new(&config.store_path_root_dir, shards)
    }
}

/// Sends are answered from memory with ASYNC_FLUSH alone.
fn crash_buffer_bytes(config: &BrokerConfig, shards: u8) -> usize {
    if config.flush_disk_type == FlushDiskType::SyncFlush || config.write_path == WritePathChoice::Buffered {
        return 0;
    }
    (CRASH_BUFFERS_MAX / usize::from(shards)).clamp(CRASH_BUFFER_MIN, CRASH_BUFFER_MAX)
}

/// Limit of a pull of messages that count as in memory.
#[must_use]
pub fn limit_in_memory(config: &BrokerConfig) -> TransferLimit {
    TransferLimit {
        bytes: size(config.max_transfer_bytes_on_message_in_memory),
        messages: size(config.max_transfer_count_on_message_in_memory),
    }
}

/// Limit of a pull of other messages.
#[must_use]
pub fn limit_on_disk(config: &BrokerConfig) -> TransferLimit {
    TransferLimit {
        bytes: size(config.max_transfer_bytes_on_message_in_disk),
        messages: size(config.max_transfer_count_on_message_in_disk),
    }
}

/// When old segments go.
#[must_use]
pub fn retention(config: &BrokerConfig) -> Retention {
    let ratio = |percent: u32| f64::from(percent) / 100.0;
    Retention {
        reserved: Duration::from_secs(config.file_reserved_time_hours.saturating_mul(3600)),
        delete_hours: config.delete_hours(),
        utc_offset_minutes: runtime::machine::utc_offset_minutes(),
        clean_ratio: ratio(config.disk_max_used_space_ratio),
        force_ratio: config
            .clean_file_forcibly_enable
            .then(|| ratio(config.disk_space_clean_forcibly_ratio)),
        stop_ratio: ratio(config.disk_space_warning_level_ratio),
        interval: Duration::from_millis(config.clean_resource_interval_ms),
        batch_max: size(config.delete_file_batch_max),
    }
}

/// What the broker's memory is bounded by, for the log.
#[must_use]
pub fn memory_line(shards: u64, shard_bytes: u64) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let limits = remoting::Limits::default();
    let (output, large) = (mib(limits.output_max as u64), mib(limits.large_frames_max as u64));
    format!(
        "memory: at most {} MiB for messages ({shards} shards of {} MiB: tailCacheBytes, coldCacheBytes, queue pages, what waits for the disk), \
         {output} MiB for each client that does not take its answers, {large} MiB a core for large requests that are not whole yet, {} held pulls a core",
        shards * mib(shard_bytes),
        mib(shard_bytes),
        crate::handlers::pull::HELD_PULLS_MAX
    )
}

/// Bytes from the end of each shard's log within which records count as in memory.
fn in_memory_distance(config: &BrokerConfig, shards: u8) -> u64 {
    /// What a machine is taken to have that does not tell.
    const MEMORY_UNKNOWN: u64 = 2 << 30;
    let memory = runtime::machine::memory().unwrap_or(MEMORY_UNKNOWN);
    memory / 100 * u64::from(config.access_message_in_memory_max_ratio) / u64::from(shards)
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load;
    use std::path::Path;

    fn config(text: &str) -> BrokerConfig {
        load(text).0
    }

    #[test]
    fn a_store_has_a_shard_for_each_core_unless_told_otherwise() {
        assert_eq!(store_options(&config(""), 3).shards, 3);
        assert_eq!(store_options(&config("shards=8"), 3).shards, 8);
        assert_eq!(store_options(&config(""), 1000).shards, 64);
    }

    #[test]
    fn keys_of_the_store_reach_the_engine_in_its_units() {
        let text = "storePathRootDir=/data/a\nstorePathCommitLog=/fast/a\nflushDiskType=SYNC_FLUSH\nfileReservedTime=48\n\
                    deleteWhen=03;15\ndiskMaxUsedSpaceRatio=70\nflushIntervalCommitLog=250\nmappedFileSizeCommitLog=67108864\n\
                    messageIndexEnable=false\nmaxTransferCountOnMessageInDisk=9\ndeleteFileBatchMax=3";
        let options = store_options(&config(text), 1);
        assert_eq!(options.root, Path::new("/data/a"));
        assert_eq!(options.commitlog_dir.as_deref(), Some(Path::new("/fast/a")));
        assert_eq!(options.flush, FlushMode::Sync);
        assert_eq!(options.flush_interval, Duration::from_millis(250));
        assert_eq!(options.segment_size, 64 << 20);
        assert!(!options.key_index);
        assert_eq!(
            options.limit_on_disk,
            TransferLimit {
                bytes: 65_536,
                messages: 9
            }
        );
        let retention = &options.retention;
        assert_eq!(retention.reserved, Duration::from_secs(48 * 3600));
        assert_eq!(retention.delete_hours, [3, 15]);
        assert!((retention.clean_ratio - 0.7).abs() < 1e-9 && retention.force_ratio == Some(0.85));
        assert_eq!(retention.batch_max, 3);
        for without in ["flushDiskType=SYNC_FLUSH", "writePath=buffered"] {
            assert_eq!(store_options(&config(without), 4).crash_buffer_bytes, 0, "{without}");
        }
        let keep = store_options(&config("cleanFileForciblyEnable=false"), 1).retention;
        assert_eq!(keep.force_ratio, None);
    }

    #[test]
    fn the_memory_line_says_the_sum_that_the_keys_allow() {
        let options = store_options(&config("tailCacheBytes=16777216\ncoldCacheBytes=8388608\nshards=4"), 2);
        // 16 + 8 MiB of the keys, 16 of queue pages, 64 staged, 64 committed and not written, 64 of pages that could not be written.
        assert_eq!(options.memory_max(), 232 << 20);
        let line = memory_line(u64::from(options.shards), options.memory_max());
        assert!(
            line.starts_with("memory: at most 928 MiB for messages (4 shards of 232 MiB"),
            "{line}"
        );
    }

    #[test]
    fn the_write_path_is_what_was_chosen() {
        let chosen = |text| store_options(&config(text), 1).write_path;
        assert_eq!(chosen(""), WritePath::Auto);
        assert_eq!(chosen("writePath=buffered"), WritePath::Buffered);
        assert_eq!(chosen("writePath=direct\nflushDiskType=SYNC_FLUSH"), WritePath::Direct);
    }

    #[test]
    fn the_io_path_is_what_was_chosen() {
        let options = core_options(&config("ioPath=blocking\ncores=3\npinCores=true")).unwrap();
        assert_eq!(
            (options.io, options.cores, options.pin),
            (IoPath::Blocking(Refusal::Configured), 3, true)
        );
        assert_eq!(core_options(&config("")).unwrap().io, runtime::probe::probe());
    }

    #[test]
    fn every_cpu_has_a_core_but_one_of_two() {
        let on_cpus = |text| [1, 2, 3, 4, 100].map(|cpus| cores(&config(text), cpus));
        assert_eq!(on_cpus(""), [1, 1, 3, 4, SHARDS_MAX]);
        assert_eq!(on_cpus("cores=2"), [2; 5]);
    }
}
