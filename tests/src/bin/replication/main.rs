//! What replication costs: a slave that catches up beside plain copies of the same bytes, the ways of sending them, and what waiting for a
//! slave adds to a send, beside Apache's SYNC_MASTER.
//!
//! Everything runs on this machine over loopback, in rounds that take turns; medians are for the reader to take: each round is printed.
#![expect(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod copies;
mod lag;
mod pair;
mod ways;

use bench::account::Usage;
use clap::Parser;
use lag::Watch;
use pair::{Kind, Pair, Role};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests::harness::apache_jars;

const CATCH_UP_LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Parser)]
#[command(
    name = "replication",
    about = "Measures replication: catch-up, ways of sending, and the cost of SYNC_MASTER",
    after_help = "Examples:\n  replication --gigabytes 4 --rounds 3\n  \
                  RINGMQ_APACHE_LIB=peer/lib replication --only sync --rate 10000\n\n\
                  Build first: cargo build --release. Needs free memory for the bytes: what is read lies in the page cache."
)]
struct Arguments {
    /// What the master has when its slave comes.
    #[arg(long, default_value_t = 4)]
    gigabytes: u64,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Length of each measured load.
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Messages a second of the load by which latency is compared.
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// Only one part.
    #[arg(long)]
    only: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    CatchUp,
    Sync,
}

fn main() {
    let arguments = Arguments::parse();
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    for round in 0..arguments.rounds {
        if wants(Part::CatchUp) {
            catch_up(round, arguments.gigabytes << 30);
        }
        if wants(Part::Sync) {
            sync(round, &arguments);
        }
    }
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> f64 {
    let used = Usage::of(&[pid]).cpu;
    used.unwrap_or_else(|| panic!("/proc tells nothing of process {pid}"))
        .as_secs_f64()
}

fn catch_up(round: u32, bytes: u64) {
    let dir = tempfile::Builder::new()
        .prefix("ringmq-replication-")
        .tempdir()
        .expect("a temporary folder");
    let mut pair = Pair::start(Kind::Ours, Role::AsyncMaster, dir.path());
    while pair.end() < bytes {
        pair.load(&[
            "--connections",
            "8",
            "--depth",
            "32",
            "--size",
            "1024",
            "--duration",
            "2",
        ]);
    }
    let end = pair.end();
    let gigabytes = end as f64 / 1e9;
    let before = cpu_seconds(pair.master_pid());
    let begin = Instant::now();
    pair.start_slave();
    while pair.acknowledged_by_slave() < end {
        assert!(begin.elapsed() < CATCH_UP_LIMIT, "the slave does not catch up");
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = begin.elapsed().as_secs_f64();
    let (master, slave) = (cpu_seconds(pair.master_pid()) - before, cpu_seconds(pair.slave_pid()));
    println!(
        "round {round} catch-up: {gigabytes:.2} GB in {took:.2} s, {:.2} GB/s; CPU s/GB: master {:.3}, slave {:.3}, both {:.3}",
        gigabytes / took,
        master / gigabytes,
        slave / gigabytes,
        (master + slave) / gigabytes
    );
    let segments = pair.master_segments();
    drop(pair);
    copies::plain(round, &segments, &dir.path().join("copy"));
    ways::all(round, &segments);
}

/// Latency at one rate, and closed-loop throughput, with and without waiting for the slave; then Apache, which waits as well.
fn sync(round: u32, arguments: &Arguments) {
    let mut kinds = vec![(Kind::Ours, Role::AsyncMaster), (Kind::Ours, Role::SyncMaster)];
    if apache_jars().is_some() {
        kinds.extend([(Kind::Apache, Role::AsyncMaster), (Kind::Apache, Role::SyncMaster)]);
    }
    let first = round as usize % kinds.len();
    kinds.rotate_left(first);
    let seconds = arguments.seconds.to_string();
    for (kind, role) in kinds {
        let dir = tempfile::Builder::new()
            .prefix("ringmq-replication-")
            .tempdir()
            .expect("a temporary folder");
        let mut pair = Pair::start(kind, role, dir.path());
        pair.start_slave();
        pair.await_slave();
        let rate = arguments.rate.to_string();
        let open = ["--open-loop", "--rate", &rate, "--connections", "16", "--size", "1024"];
        let closed = ["--connections", "64", "--depth", "1", "--size", "1024"];
        pair.load(&[&closed[..], &["--duration", "3"]].concat());
        let measured = |load: &[&str]| {
            let watch = Watch::start(pair.namesrv(), pair.master_address());
            let figures = pair.load(&[load, &["--duration", &seconds]].concat());
            format!("{figures}, slave {}", watch.end())
        };
        let (open, closed) = (measured(&open), measured(&closed));
        println!("round {round} {kind:?} {role:?}: at {rate}/s {open}; 64 in flight {closed}");
    }
}

/// What is in a folder, by name.
fn segments_in(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", dir.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}
