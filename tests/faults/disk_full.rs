//! The disk fills under load, by a file that is not the broker's, and is emptied again. Sends fail while there is no room,
//! reads go on, and sends are taken again without a restart.

use crate::kill::assert_clean;
use crate::{Plan, against_apache};
use std::time::{Duration, Instant};
use tests::disks::{Ext4, Filler, Journal, Loop};
use tests::harness::{FlushMode, Separate, Setup, seed};
use tests::load::{Load, Options, check, count, read_back};

const DISK_SIZE: u64 = 3 << 30;
const FULL_LIMIT: Duration = Duration::from_secs(60);
/// How soon after there is room again a message must be taken.
const BACK_LIMIT: Duration = Duration::from_secs(5);
/// Without an acknowledgement for so long the disk counts as full for every queue.
const QUIET: Duration = Duration::from_millis(500);

pub(crate) fn run(plan: &Plan) {
    let cycles = plan.choose(2, 20);
    let dir = tempfile::Builder::new().prefix("ringmq-disk-full-").tempdir().unwrap();
    let device = Loop::of_new_file(&dir.path().join("disk"), DISK_SIZE);
    let disk = Ext4::make(device.device(), &dir.path().join("mnt"), Journal::With);
    // Segments are preallocated: small ones, so that a full disk is met soon. Without forced deletion nothing may go.
    let setup = Setup::new(FlushMode::Sync)
        .store(&disk.path().join("store"))
        .line("mappedFileSizeCommitLog=8388608")
        .line("cleanFileForciblyEnable=false");
    let servers = Separate::with(&setup);
    let namesrv = servers.ports.namesrv_address();
    let load = Load::start(&namesrv, &Options::new("disk_full"));
    let (mut back, mut full) = (Vec::new(), Vec::new());
    for cycle in 0..cycles {
        load.await_more(1_000, FULL_LIMIT);
        let filled = Instant::now();
        let filler = Filler::fill(disk.path());
        await_quiet(&load);
        full.push(filled.elapsed());
        // What was taken before can be read while nothing can be written.
        let received = read_back(&namesrv, "disk_full").unwrap_or_else(|problem| panic!("cycle {cycle}: {problem}"));
        assert!(count(&received) > 0, "cycle {cycle}: nothing could be read");
        drop(filler);
        let limit = if against_apache() { FULL_LIMIT } else { BACK_LIMIT };
        back.push(load.await_more(100, limit));
    }
    let history = load.stop();
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
    let verdict = check(&history, None, &received);
    let slowest = back.iter().max().copied().unwrap_or_default();
    println!(
        "  cycles={cycles}: {verdict}; back after room: slowest {slowest:.0?}; until every queue refused: {:.0?}; clients saw: {}",
        full.iter().max().copied().unwrap_or_default(),
        history.reasons()
    );
    assert_clean(&verdict, seed());
    drop(servers);
}

fn await_quiet(load: &Load) {
    let end = Instant::now() + FULL_LIMIT;
    let (mut count, mut since) = (load.acknowledged(), Instant::now());
    while since.elapsed() < QUIET {
        assert!(
            Instant::now() < end,
            "messages are still acknowledged {FULL_LIMIT:?} after the disk was filled"
        );
        std::thread::sleep(Duration::from_millis(10));
        let now = load.acknowledged();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
}
