//! Measures a write path of one shard over time: messages a second, latency from append to acknowledgement, CPU.
//!
//! `cargo run --release -p engine --example write_paths -- --path direct --flush sync --seconds 60 --dir DIR`
//!
//! Each producer appends a message, waits for its group commit and appends the next: closed loops, all on the shard's core.
//! An append that is refused as busy is tried again in the next turn of the loop, and its wait counts. Old segments go, so
//! that the store keeps to `--keep-mib` and a few segments; it is deleted at the end. CPU is that of the process with its
//! threads; what kernel threads do for it (writeback, completions) is not in it.
#![expect(clippy::print_stdout, reason = "it prints what it has measured")]

use clap::{Parser, ValueEnum};
use engine::{
    AppendError, Appended, Commit, FlushMode, Hooks, NewMessage, QueueSlot, Retention, Shard, StoreOptions, WritePath,
    prepare_store,
};
use hdrhistogram::Histogram;
use protocol::model::{QueueId, ShardId};
use runtime::Instant;
use runtime::sync::Notify;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Path {
    Buffered,
    Direct,
    /// Direct, and in async flush from memory that outlives the process.
    Memory,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Flush {
    Async,
    Sync,
}

/// Measures a write path of one shard.
#[derive(Debug, Parser)]
struct Arguments {
    /// How batches reach the disk.
    #[arg(long)]
    path: Path,
    /// When a message is acknowledged.
    #[arg(long)]
    flush: Flush,
    /// How long to append.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// A directory, made if it is not there; the store in it is deleted before and after.
    #[arg(long)]
    dir: PathBuf,
    /// Bytes of a message's body.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Closed loops.
    #[arg(long, default_value_t = 64)]
    producers: usize,
    /// Megabytes of log that are kept.
    #[arg(long, default_value_t = 3072)]
    keep_mib: u64,
    /// Megabytes of a segment.
    #[arg(long, default_value_t = 256)]
    segment_mib: u64,
    /// Megabytes that may be written and not synced (buffered).
    #[arg(long, default_value_t = 256)]
    unsynced_mib: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    runtime::core::run_here(&runtime::probe::probe(), measure(arguments))?
}

async fn measure(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let root = arguments.dir.join("write-paths");
    remove(&root)?;
    let layout = prepare_store(&store_options(&arguments, root.clone())).await?;
    let load = Rc::new(Load::new(arguments.producers)?);
    let listener = Rc::clone(&load);
    let hooks = Hooks {
        on_commit: Box::new(move |commit| listener.on_commit(commit)),
        ..Hooks::default()
    };
    let (shard, _recovered) = Shard::open(&layout, ShardId::ZERO, hooks).await?;
    println!(
        "{:?} {:?}, direct {}, {} producers of {} bytes, {} s",
        arguments.path,
        arguments.flush,
        layout.is_direct(),
        arguments.producers,
        arguments.size,
        arguments.seconds
    );
    let stops = Rc::new(Cell::new(false));
    let keeper = runtime::spawn(keep_small(shard.clone(), arguments.keep_mib << 20, Rc::clone(&stops)));
    let watcher = runtime::spawn(watch(Rc::clone(&load), shard.clone(), Rc::clone(&stops)));
    let before = cpu_seconds()?;
    let began = Instant::now();
    let ended = produce(&shard, &load, &arguments, began).await;
    let took = began.elapsed();
    let cpu = cpu_seconds()? - before;
    stops.set(true);
    keeper.await;
    watcher.await;
    if ended.is_ok() {
        load.report(&shard, took, cpu);
    }
    shard.close().await?;
    remove(&root)?;
    Ok(ended?)
}

fn store_options(arguments: &Arguments, root: PathBuf) -> StoreOptions {
    StoreOptions {
        segment_size: arguments.segment_mib << 20,
        flush: match arguments.flush {
            Flush::Async => FlushMode::Async,
            Flush::Sync => FlushMode::Sync,
        },
        write_path: match arguments.path {
            Path::Buffered => WritePath::Buffered,
            Path::Direct | Path::Memory => WritePath::Direct,
        },
        crash_buffer_bytes: match arguments.path {
            Path::Buffered | Path::Direct => 0,
            Path::Memory => 64 << 20,
        },
        unsynced_bytes_max: arguments.unsynced_mib << 20,
        tail_cache_bytes: 32 << 20,
        retention: Retention {
            reserved: Duration::ZERO,
            delete_hours: Vec::new(),
            clean_ratio: 1.0,
            force_ratio: None,
            stop_ratio: 1.0,
            ..Retention::default()
        },
        ..StoreOptions::new(root, 1)
    }
}

fn remove(root: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the producers wait for and have seen.
struct Load {
    /// Batch, and when the append was first tried; in order.
    waiting: RefCell<VecDeque<(u64, Instant)>>,
    /// Producers that may append, each with when it first tried.
    ready: RefCell<VecDeque<Option<Instant>>>,
    woken: Notify,
    latency_us: RefCell<Histogram<u64>>,
    acknowledged: Cell<u64>,
    refused: Cell<u64>,
    failed: RefCell<Option<String>>,
}

impl Load {
    fn new(producers: usize) -> Result<Load, Box<dyn Error>> {
        Ok(Load {
            waiting: RefCell::default(),
            ready: RefCell::new(vec![None; producers].into()),
            woken: Notify::new(),
            latency_us: RefCell::new(Histogram::new(3)?),
            acknowledged: Cell::default(),
            refused: Cell::default(),
            failed: RefCell::default(),
        })
    }

    fn on_commit(&self, commit: &Commit<'_>) {
        if let Err(error) = commit.result {
            self.failed.replace(Some(error.to_string()));
        }
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        let mut latency = self.latency_us.borrow_mut();
        let done = waiting.partition_point(|(batch, _since)| *batch <= commit.batch.0);
        for (_batch, since) in waiting.drain(..done) {
            // A histogram that grows takes every time.
            let _recorded = latency.record(u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX));
            self.ready.borrow_mut().push_back(None);
        }
        self.acknowledged.set(self.acknowledged.get() + done as u64);
        self.woken.notify_one();
    }

    fn report(&self, shard: &Shard, took: Duration, cpu: f64) {
        let (latency, stats) = (self.latency_us.borrow(), shard.stats());
        let count = self.acknowledged.get();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (count, written) = (count as f64, stats.end as f64);
        let seconds = took.as_secs_f64();
        let ms = |quantile| Duration::from_micros(latency.value_at_quantile(quantile)).as_secs_f64() * 1e3;
        println!(
            "RESULT {:.0} msg/s, {:.0} MB/s, p50 {:.3} p99 {:.3} p99.9 {:.3} max {:.3} ms, {:.3} CPU s/M, {:.1} GB written, \
             {} commits, {} syncs, {} refused",
            count / seconds,
            written / seconds / 1e6,
            ms(0.5),
            ms(0.99),
            ms(0.999),
            ms(1.0),
            cpu / count * 1e6,
            written / 1e9,
            stats.batches,
            stats.syncs,
            self.refused.get(),
        );
    }
}

async fn produce(shard: &Shard, load: &Load, arguments: &Arguments, began: Instant) -> Result<(), String> {
    let body = vec![7; arguments.size];
    let mut queues = Vec::new();
    for number in 0..8 {
        let slot = shard.queue("topic", number).map_err(|error| error.to_string())?;
        queues.push((slot, QueueId::new(number).ok_or("no such queue")?));
    }
    let mut queues = queues.into_iter().cycle();
    let until = began + Duration::from_secs(arguments.seconds);
    while Instant::now() < until {
        append_ready(shard, load, &mut queues, &body)?;
        if let Some(error) = load.failed.take() {
            return Err(error);
        }
        if load.ready.borrow().is_empty() {
            load.woken.notified().await;
        } else {
            // Refused for now: the writer goes on first.
            runtime::sleep(Duration::from_micros(200)).await;
        }
    }
    Ok(())
}

/// One message of each producer that is ready, until one is refused.
fn append_ready(
    shard: &Shard,
    load: &Load,
    queues: &mut impl Iterator<Item = (QueueSlot, QueueId)>,
    body: &[u8],
) -> Result<(), String> {
    let now = Instant::now();
    loop {
        let next = load.ready.borrow_mut().pop_front();
        let (Some(tried), Some(queue)) = (next, queues.next()) else {
            return Ok(());
        };
        let since = tried.unwrap_or(now);
        match append(shard, queue, body) {
            Ok(appended) => load.waiting.borrow_mut().push_back((appended.batch.0, since)),
            Err(AppendError::Busy { .. }) => {
                load.refused.set(load.refused.get() + 1);
                load.ready.borrow_mut().push_front(Some(since));
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn append(shard: &Shard, (queue, queue_id): (QueueSlot, QueueId), body: &[u8]) -> Result<Appended, AppendError> {
    shard.append(&NewMessage {
        queue,
        topic: "topic",
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: ([127, 0, 0, 1], 1000).into(),
        store_host: ([127, 0, 0, 1], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: "",
        tag_hash: 0,
        keys: &[],
        in_consume_queue: true,
    })
}

/// Lets old segments go, as retention would.
async fn keep_small(shard: Shard, bytes: u64, stops: Rc<Cell<bool>>) {
    while !stops.get() {
        let stats = shard.stats();
        if stats.end - stats.min > bytes {
            for outcome in [shard.checkpoint().await, shard.clean_expired().await.map(|_count| ())] {
                if let Err(error) = outcome {
                    println!("old segments stay: {error}");
                }
            }
        }
        runtime::sleep(Duration::from_millis(100)).await;
    }
}

/// Says every ten seconds how it goes, and how many pages the page cache has not written.
async fn watch(load: Rc<Load>, shard: Shard, stops: Rc<Cell<bool>>) {
    let (mut before, mut dirty_max) = (0, 0);
    for second in 1_u64.. {
        runtime::sleep(Duration::from_secs(1)).await;
        if stops.get() {
            return;
        }
        dirty_max = dirty_max.max(dirty_kib());
        if second % 10 == 0 {
            let now = load.acknowledged.get();
            let (rate, dirty) = ((now - before) / 10, dirty_max >> 10);
            println!(
                "  to {second} s: {rate} msg/s, dirty at most {dirty} MiB, log {}",
                shard.stats().end
            );
            (before, dirty_max) = (now, 0);
        }
    }
}

/// Pages of the machine that are dirty or being written, in KiB.
fn dirty_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |line: &str| {
        let value = line
            .strip_prefix("Dirty:")
            .or_else(|| line.strip_prefix("Writeback:"))?;
        value.split_whitespace().next()?.parse::<u64>().ok()
    };
    text.lines().filter_map(field).sum()
}

/// User and system time of this process, with all its threads.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    const TICKS_A_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the process, in parentheses, may have blanks.
    let (_name, rest) = text.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_A_SECOND)
}
