//! Opening a shard: where its log ends, what is damaged, and what the indexes miss.
//!
//! 1. The log is walked from the checkpoint on. It ends behind the last batch that is sound and follows the one before.
//! 2. Where the walk meets something else, the highest position that the checkpoint or any seal, also one further on, calls
//!    synced decides. At or beyond it: a write that a crash ended; it is cut. Below it: rot in what was durable; it is
//!    remembered as damage, never cut, and the walk goes on at the next sound batch.
//! 3. What was not known to be durable is written once more, with the bytes that were checked, and synced. The page cache may
//!    show bytes that a failed sync has left behind, and a sync alone would then say that they are on the disk.
//! 4. Consume queues and key index get what they miss; metadata records since the snapshot are gathered. A queue that may have
//!    had messages in damage that nothing else knows of goes on behind all offsets that fit in there: see `feed`.
//!
//! All of it may be cut short by a crash and done again.

mod feed;

use crate::checkpoint::{Checkpoint, CheckpointState, DamagedRange};
use crate::consume_queue::{ConsumeQueueOptions, ConsumeQueues};
use crate::control_record::Seal;
use crate::crash_buffer::{self, CrashBuffer};
use crate::error::Error;
use crate::imported;
use crate::inner::{BOUNDARY_DISTANCE, Inner, Positions};
use crate::key_index::{KeyIndex, KeyIndexOptions};
use crate::log_walk::{LogWalk, SoundBatch, Unsound};
use crate::log_writer::LogWriter;
use crate::message::{Hooks, MetaRecord};
use crate::page_cache::PageCache;
use crate::planted::{self, Bug};
use crate::reserve::Reserve;
use crate::segmented_log::SegmentedLog;
use crate::staging::{BLOCK_SIZE, Staging, StagingStart};
use crate::store::StoreLayout;
use crate::tail_cache::TailCache;
use crate::upkeep::Ages;
use crate::zeros_ahead::ZerosAhead;
use bytes::Bytes;
use feed::Feed;
use protocol::model::{PhysicalOffset, ShardId};
use runtime::{Instant, file};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// A part of the log that is damaged. It is left as it is; readers get an error for the messages in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub from: PhysicalOffset,
    /// Where sound data begins again.
    pub to: PhysicalOffset,
    /// What is wrong.
    pub reason: String,
}

/// What opening a shard found.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Metadata: the last snapshot, then what was logged after it, in order. A record of the log may repeat what the snapshot
    /// holds.
    pub metadata: Vec<MetaRecord>,
    /// The shard was closed in good order before, or is new.
    pub clean: bool,
    /// The machine has not been restarted since the shard was last open: what was written was not lost with the page cache.
    pub same_boot: bool,
    /// First kept position.
    pub min: u64,
    /// Where the log ends.
    pub end: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes of unfinished writes that were cut from the end: never acknowledged, or acknowledged in async flush mode
    /// before a power cut.
    pub torn_bytes: u64,
    /// Damage in what was durable before, also from earlier starts. Never cut.
    pub damage: Vec<Damage>,
    /// What was mended or is missing, in words.
    pub reports: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Entries of the key index gathered in memory before they become a run.
const KEY_TABLE_ENTRIES: usize = 512 << 10;
/// Bytes of key index pages kept in memory for queries.
const KEY_CACHE_BYTES: usize = 8 << 20;
/// Bytes a second that merging runs of the key index may read and write.
const KEY_MERGE_BYTES_PER_SECOND: u64 = 32 << 20;
/// 4 KiB pages of a consume queue file.
pub(crate) const QUEUE_FILE_PAGES: u32 = 4096;
/// How many reports of one kind are told one by one.
const REPORTS_MAX: usize = 100;

/// Opens a shard; its tasks are not started yet.
pub(crate) async fn open_shard(
    layout: &StoreLayout,
    id: ShardId,
    hooks: Hooks,
) -> Result<(Rc<Inner>, Recovered), Error> {
    let shards = layout.shards().get();
    if id.get() >= shards {
        return Err(Error::NoSuchShard { shard: id, shards });
    }
    let started = Instant::now();
    let directory = layout.shard_dir(id);
    let created = file::create_directory(&directory).await;
    created.map_err(Error::io("make the directory", &directory))?;
    // A start writes files.
    Reserve::new(&directory).give_back_if_needed().await;
    let log = SegmentedLog::open(layout.commitlog_dir(id), layout.segment_size(), layout.is_direct()).await?;
    let mut found = Recovered::default();
    let boot_id = boot_id().await;
    let checkpoint = Checkpoint::read(&directory, layout.store_id(), id.get(), &mut found.reports).await?;
    let is_known = !boot_id.is_empty();
    found.same_boot = is_known && checkpoint.as_ref().is_some_and(|last| last.boot_id == boot_id);
    found.clean = checkpoint
        .as_ref()
        .map_or(log.len() == 0, |checkpoint| checkpoint.clean);

    let owner = crash_buffer::Owner::of(layout, id);
    crash_buffer::settle(&directory, owner, &log, &boot_id, &mut found).await?;

    let mut walk = LogWalk::new(&log, id, layout.store_id());
    let mut end = find_end(&mut walk, &log, checkpoint.as_ref(), &mut found).await?;
    found.end = end.end;
    found.min = log.min().unwrap_or(end.end);
    if end.last_used > end.end {
        runtime::mark!("torn tail cut");
        found.torn_bytes = end.last_used - end.end;
        if !planted::is(Bug::NoCut) {
            log.cut(end.end).await?;
        }
    }
    let unsynced = std::mem::take(&mut end.unsynced);
    if !planted::is(Bug::NoRewrite) {
        unsynced.make_durable(&log, end.end).await?;
    }

    let mut checkpoint = checkpoint.unwrap_or_else(|| Checkpoint {
        shard: id.get(),
        store_id: layout.store_id(),
        epoch: 1,
        ..Checkpoint::default()
    });
    checkpoint.damage = end.damage.clone();
    checkpoint.damage.retain(|range| range.to > found.min);
    let mut indexes = Indexes::open(layout, id, &found).await?;
    if !planted::is(Bug::NoIndexCut) {
        indexes.cut(&mut found).await?;
    }
    let metadata = std::mem::take(&mut checkpoint.metadata);
    found.metadata = metadata;
    let feed = Feed::new(&indexes, &hooks, &checkpoint, end.end);
    let damage = &mut checkpoint.damage;
    feed.run(&mut walk, &log, &end.boundaries, damage, &mut found).await?;
    indexes.queues.set_first_offset(feed::damaged_messages_max(damage));
    found.bytes_read = walk.bytes_read;
    indexes.drop_below(found.min).await?;

    // From here on the log grows: a checkpoint that says that it ends must not be found again.
    checkpoint.clean = false;
    checkpoint.copies = layout.options().copies;
    checkpoint.boot_id.clone_from(&boot_id);
    checkpoint.metadata.clone_from(&found.metadata);
    let source_position = imported::take_positions(&mut found.metadata);
    checkpoint.snapshot_position = end.end;
    checkpoint.start = end.start;
    checkpoint.start_crc = end.start_crc;
    checkpoint.synced = end.end;
    checkpoint.end = end.end;
    checkpoint.newest_ms = end.newest_ms.unwrap_or_else(runtime::wall_clock_ms);
    checkpoint.unsynced_max = layout.unsynced_reach();
    checkpoint.write(&directory).await?;
    let physical = |position| PhysicalOffset::new(id, position);
    found.damage = checkpoint
        .damage
        .iter()
        .map(|range| range.to_damage(physical))
        .collect();
    found.took = started.elapsed();
    let log_writer = LogWriter::open(&log, layout.is_direct(), end.end).await;
    let log_writer = log_writer.map_err(Error::io("read the last block of the log in", log.directory()))?;
    let inner = make_inner(layout, id, hooks, (log, log_writer), indexes, checkpoint, &end);
    if let Some(size) = layout.crash_buffer_bytes() {
        let buffer = CrashBuffer::create(&directory, owner, size, &boot_id).await;
        let buffer = buffer.map_err(Error::io(
            "make shared memory that outlives the process for",
            &directory,
        ))?;
        inner.crash_buffer.replace(Some(Rc::new(buffer)));
    }
    inner.source_position.set(source_position);
    inner.imported_to.set(source_position);
    Ok((Rc::new(inner), found))
}

impl DamagedRange {
    pub(crate) fn to_damage(&self, physical: impl Fn(u64) -> PhysicalOffset) -> Damage {
        Damage {
            from: physical(self.from),
            to: physical(self.to),
            reason: self.reason.clone(),
        }
    }
}

/// Identifies this start of the machine; empty where there is no such thing.
pub(crate) async fn boot_id() -> Vec<u8> {
    file::read(Path::new("/proc/sys/kernel/random/boot_id"))
        .await
        .unwrap_or_default()
}

fn make_inner(
    layout: &StoreLayout,
    id: ShardId,
    hooks: Hooks,
    (log, log_writer): (SegmentedLog, LogWriter),
    indexes: Indexes,
    checkpoint: Checkpoint,
    end: &LogEnd,
) -> Inner {
    let options = layout.options();
    let staging = Staging::new(StagingStart {
        shard: id,
        store_id: layout.store_id(),
        epoch: checkpoint.epoch,
        segment_size: layout.segment_size(),
        end: end.end,
        chain: end.chain,
    });
    let min = log.min().unwrap_or(end.end);
    let positions = Positions {
        min: Cell::new(min),
        written: Cell::new(end.end),
        synced: Cell::new(end.end),
        confirmed: Cell::new(end.end),
        prepared: Cell::new(0),
        writeback: Cell::new(end.end),
    };
    let newest_ms = checkpoint.newest_ms;
    let state = CheckpointState::new(checkpoint, end.end);
    Inner {
        layout: layout.clone(),
        id,
        retention: RefCell::new(layout.options().retention.clone()),
        limits: Cell::new((options.limit_in_memory, options.limit_on_disk)),
        hooks,
        log,
        log_writer,
        crash_buffer: RefCell::default(),
        zeros_ahead: ZerosAhead::default(),
        staging: RefCell::new(staging),
        tail: RefCell::new(TailCache::new(options.tail_cache_bytes, BLOCK_SIZE)),
        cold: RefCell::new(PageCache::new(options.cold_cache_bytes)),
        verified: RefCell::default(),
        queues: indexes.queues,
        keys: indexes.keys,
        next_offsets: RefCell::default(),
        positions,
        confirmed_crc: Cell::new(end.chain),
        ages: Ages::new(newest_ms),
        committed_batch: Cell::new(0),
        boundaries: RefCell::new(end.boundaries.clone()),
        checkpoint: state,
        fence: RefCell::default(),
        refusal: RefCell::default(),
        no_segment: RefCell::default(),
        reserve: Reserve::new(&layout.shard_dir(id)),
        closing: Cell::default(),
        follows: Cell::default(),
        imports: Cell::default(),
        source_position: Cell::default(),
        imported_to: Cell::default(),
        wakes: crate::inner::Wakes::default(),
        counters: crate::inner::Counters::default(),
        tasks: RefCell::default(),
    }
}

/// Where a log ends and what a walk to there has seen.
#[derive(Debug)]
struct LogEnd {
    end: u64,
    /// CRC of the last seal; 0 where it is not known.
    chain: u32,
    /// Where the walk began, and the CRC of the seal before.
    start: u64,
    start_crc: u32,
    /// Everything below is known to be durable.
    synced: u64,
    /// It was copied from another log, whose disk the seals speak of.
    copied: bool,
    unsynced: Unsynced,
    /// Behind the last byte that an unfinished write has left.
    last_used: u64,
    /// Wall clock of the last seal, in milliseconds since 1970.
    newest_ms: Option<i64>,
    damage: Vec<DamagedRange>,
    boundaries: VecDeque<(u64, u32)>,
}

async fn find_end(
    walk: &mut LogWalk<'_>,
    log: &SegmentedLog,
    checkpoint: Option<&Checkpoint>,
    found: &mut Recovered,
) -> Result<LogEnd, Error> {
    let mut end = begin(log, checkpoint, found);
    let start_crc = checkpoint
        .filter(|checkpoint| checkpoint.start == end.end)
        .map(|found| found.start_crc);
    let mut previous = start_crc;
    let clean_end = checkpoint
        .filter(|checkpoint| checkpoint.clean)
        .map(|checkpoint| checkpoint.end);
    let reach = checkpoint.map_or(u64::MAX, |checkpoint| checkpoint.unsynced_max);
    loop {
        if let Some(to) = known_damage(&end.damage, end.end) {
            end.end = to;
            previous = None;
            continue;
        }
        if clean_end == Some(end.end) {
            // Nothing was written behind it.
            end.last_used = end.end;
            break;
        }
        let reason = match walk.batch(end.end, previous).await {
            Ok(batch) => {
                end.boundaries.push_back((end.end, batch.seal.previous));
                if !end.copied {
                    end.synced = end.synced.max(batch.seal.synced_to);
                }
                end.unsynced.push(log, &batch, end.synced).await?;
                end.newest_ms = Some(batch.seal.wall_clock_ms);
                end.end = batch.next;
                previous = Some(batch.seal.crc);
                continue;
            }
            Err(reason) => reason,
        };
        let is_unreadable = matches!(reason, Unsound::Unreadable(_));
        if !is_unreadable && !is_rot(walk, log, &mut end, reach).await {
            break;
        }
        let gap = walk.behind_damage(end.end).await;
        // Where nothing sound follows, the log goes on behind what was durable, or where it can be read again.
        let nothing_follows = if is_unreadable {
            log.end_of(end.end).max(end.synced)
        } else {
            end.synced
        };
        let to = gap.as_ref().map_or(nothing_follows, |gap| gap.to);
        previous = gap.and_then(|gap| gap.previous);
        runtime::mark!("damage found in the log");
        tracing::error!(from = end.end, to, %reason, "the log is damaged");
        end.damage.push(DamagedRange {
            from: end.end,
            to,
            reason: reason.to_string(),
        });
        end.end = to;
    }
    end.chain = previous.unwrap_or(0);
    thin_out(&mut end.boundaries, log.end_of(0));
    Ok(end)
}

/// Whether what does not read as a batch at the end so far was durable once; see 2. at the head of this file. If not, finds the
/// last byte that an unfinished write has left.
async fn is_rot(walk: &mut LogWalk<'_>, log: &SegmentedLog, end: &mut LogEnd, reach: u64) -> bool {
    let from = end.end;
    if planted::is(Bug::RotIsTorn) {
        end.last_used = walk.scan_seals(from, u64::MAX, |_| false).await;
        return false;
    }
    if from < end.synced {
        return true;
    }
    // A segment's file is durable before anything is written into it: where there is none, but data behind, it was lost.
    if log.get(from).is_none() && walk.next_seal(from).await.is_some() {
        return true;
    }
    let (mut later_synced_to, copied) = (0, end.copied);
    // Of the log itself: the batch that was begun, and batches behind it.
    let mut own_end = walk.reached;
    let visit = |seal: &Seal| {
        // What is durable where it was copied from says nothing of this disk.
        let synced_to = if copied { 0 } else { seal.synced_to };
        later_synced_to = synced_to;
        own_end = own_end.max(seal.end());
        synced_to > from
    };
    let last_used = walk.scan_seals(from, from.saturating_add(reach), visit).await;
    // A recycled segment is full of what it held before, which may stay: it is not where it says it is.
    end.last_used = if log.is_direct() { own_end } else { last_used };
    if later_synced_to > from {
        end.synced = end.synced.max(later_synced_to);
        return true;
    }
    false
}

/// Where damage ends that is known to be at `position`.
pub(crate) fn known_damage(damage: &[DamagedRange], position: u64) -> Option<u64> {
    let range = damage.iter().find(|range| (range.from..range.to).contains(&position))?;
    Some(range.to)
}

/// Where the walk begins.
fn begin(log: &SegmentedLog, checkpoint: Option<&Checkpoint>, found: &mut Recovered) -> LogEnd {
    let wanted = checkpoint.map_or(0, |checkpoint| checkpoint.start);
    let synced = checkpoint.map_or(0, |checkpoint| checkpoint.synced);
    let mut damage = checkpoint.map_or_else(Vec::new, |checkpoint| checkpoint.damage.clone());
    let start = match log.min() {
        Some(min) => wanted.max(min),
        None if synced == 0 => 0,
        None => {
            // All segments are gone. Offsets must not be given out twice, so the log goes on behind where it was.
            let start = log.end_of(synced);
            found.reports.push(format!(
                "no segment is left of a log that reached {synced}; it goes on at {start}"
            ));
            damage.push(DamagedRange {
                from: 0,
                to: start,
                reason: "its segments are gone".to_owned(),
            });
            start
        }
    };
    if start > wanted && checkpoint.is_some() {
        found.reports.push(format!(
            "the log begins at {start}, but the checkpoint counts on it from {wanted}"
        ));
    }
    LogEnd {
        end: start,
        chain: 0,
        start,
        start_crc: checkpoint.map_or(0, |checkpoint| checkpoint.start_crc),
        synced: synced.max(start),
        copied: checkpoint.is_some_and(|checkpoint| checkpoint.copies),
        unsynced: Unsynced::default(),
        last_used: start,
        newest_ms: checkpoint.map(|checkpoint| checkpoint.newest_ms),
        damage,
        boundaries: VecDeque::new(),
    }
}

/// One boundary in every MiB is enough.
fn thin_out(boundaries: &mut VecDeque<(u64, u32)>, segment_size: u64) {
    let distance = BOUNDARY_DISTANCE.min(segment_size / 4);
    let mut kept = None;
    boundaries.retain(|(start, _)| {
        let keep = kept.is_none_or(|last| *start >= last + distance);
        if keep {
            kept = Some(*start);
        }
        keep
    });
}

/// Sound batches that are not known to be durable; see 3. at the head of this file. They are written as they were read: to read
/// them again could show something else, once the page cache has dropped what a failed sync left in it.
#[derive(Debug, Default)]
struct Unsynced {
    batches: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The first position that was written again.
    written_from: Option<u64>,
}

impl Unsynced {
    /// Bytes held in memory.
    const BYTES_MAX: usize = 32 << 20;

    /// Takes a batch that was read; forgets those below `synced`.
    async fn push(&mut self, log: &SegmentedLog, batch: &SoundBatch, synced: u64) -> Result<(), Error> {
        self.bytes += batch.whole.len();
        self.batches.push_back((batch.seal.start, batch.whole.clone()));
        while let Some((start, bytes)) = self.batches.front()
            && start + bytes.len() as u64 <= synced
        {
            self.bytes -= bytes.len();
            self.batches.pop_front();
        }
        while self.bytes > Self::BYTES_MAX {
            self.write_first(log).await?;
        }
        Ok(())
    }

    async fn write_first(&mut self, log: &SegmentedLog) -> Result<(), Error> {
        let Some((start, bytes)) = self.batches.pop_front() else {
            return Ok(());
        };
        self.bytes -= bytes.len();
        self.written_from.get_or_insert(start);
        let Some(segment) = log.get(start) else { return Ok(()) };
        let written = segment.write(start, vec![bytes]).await;
        written.map_err(Error::io(
            "write again what is not known to be durable in",
            segment.path(),
        ))
    }

    /// Makes all of it durable, up to `end`.
    async fn make_durable(mut self, log: &SegmentedLog, end: u64) -> Result<(), Error> {
        while !self.batches.is_empty() {
            self.write_first(log).await?;
        }
        let mut position = self.written_from.unwrap_or(end);
        while position < end {
            if let Some(segment) = log.get(position) {
                segment.sync().await.map_err(Error::io("sync", segment.path()))?;
            }
            position = log.end_of(position);
        }
        Ok(())
    }
}

/// The indexes of a shard while it is opened.
#[derive(Debug)]
struct Indexes {
    queues: ConsumeQueues,
    keys: Option<KeyIndex>,
    /// From where on each of them must be fed.
    queues_from: u64,
    keys_from: u64,
    queues_end: u64,
    keys_end: u64,
}

impl Indexes {
    async fn open(layout: &StoreLayout, id: ShardId, found: &Recovered) -> Result<Indexes, Error> {
        let directory = layout.shard_dir(id);
        let options = layout.options();
        let queues = ConsumeQueues::open(
            ConsumeQueueOptions {
                directory: directory.join("consumequeue"),
                shard: id.get(),
                file_pages: QUEUE_FILE_PAGES,
                cache_bytes: options.queue_cache_bytes,
            },
            found.min,
        )
        .await?;
        for report in &queues.reports {
            tracing::warn!(shard = id.get(), %report, "consume queues");
        }
        let mut indexes = Indexes {
            queues: queues.queues,
            keys: None,
            queues_from: queues.rebuilt_from,
            queues_end: queues.end_position,
            keys_from: found.end,
            keys_end: 0,
        };
        if options.key_index {
            let keys = KeyIndex::open(KeyIndexOptions {
                directory: directory.join("index"),
                shard: id.get(),
                table_entries: KEY_TABLE_ENTRIES,
                cache_bytes: KEY_CACHE_BYTES,
                merge_bytes_per_second: KEY_MERGE_BYTES_PER_SECOND,
            })
            .await?;
            for report in &keys.reports {
                tracing::warn!(shard = id.get(), %report, "key index");
            }
            indexes.keys_from = keys.rebuilt_from;
            indexes.keys_end = keys.end_position;
            indexes.keys = Some(keys.index);
        }
        Ok(indexes)
    }

    /// Removes entries of records that are no longer in the log.
    async fn cut(&mut self, found: &mut Recovered) -> Result<(), Error> {
        if self.queues_end > found.end {
            found.reports.push(format!(
                "the consume queues reached {}, the log {}",
                self.queues_end, found.end
            ));
            self.queues_from = self.queues.truncate(found.end).await?;
        }
        if let Some(keys) = &self.keys
            && self.keys_end > found.end
        {
            self.keys_from = keys.truncate(found.end).await?;
        }
        Ok(())
    }

    async fn drop_below(&self, min: u64) -> Result<(), Error> {
        self.queues.drop_below(min).await?;
        if let Some(keys) = &self.keys {
            keys.drop_below(min).await?;
        }
        Ok(())
    }
}

fn note(found: &mut Recovered, report: impl FnOnce() -> String) {
    if found.reports.len() < REPORTS_MAX {
        found.reports.push(report());
    }
}
