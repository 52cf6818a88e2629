//! A power cut under a whole broker: ext4 is told to forget everything that is not on its device, under load.
//!
//! In sync flush nothing acknowledged may be missing afterwards. In async flush a suffix of each sender's messages may be,
//! not older than the flush interval and what one sync takes.

use crate::{Plan, against_apache};
use checker::{Class, Report};
use std::time::{Duration, Instant};
use tests::disks::{Ext4, Journal, Loop};
use tests::harness::{FlushMode, Separate, Setup, Waits, seed};
use tests::load::{Load, Options, check, check_after_power_cut, read_back};

const DISK_SIZE: u64 = 2 << 30;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// flushIntervalCommitLog is 500 ms; a sync under load on a busy machine takes its time too.
const SETTLED: Duration = Duration::from_millis(1_500);
const WINDOW_MAX: Duration = Duration::from_millis(1_500);

pub(crate) fn run(plan: &Plan) {
    let end = plan.end();
    let (mut sync, mut later) = (Totals::default(), Totals::default());
    let seed = seed();
    let mut waits = Waits::new(seed);
    let cycles = plan.choose(3, 60);
    cut(FlushMode::Sync, cycles, end, &mut waits, &mut sync);
    cut(FlushMode::Async, cycles, end, &mut waits, &mut later);
    for (flush, totals) in [(FlushMode::Sync, &sync), (FlushMode::Async, &later)] {
        println!(
            "  {flush:?} flush: power cuts={} {}; cuts that lost something={}, at most the last {:.0?}; slowest start {:.0?}; seed {seed}",
            totals.cuts,
            totals.verdict,
            totals.with_loss,
            Duration::from_nanos(totals.verdict.cut_off_window),
            totals.slowest
        );
    }
    if against_apache() {
        return;
    }
    for (flush, totals) in [(FlushMode::Sync, &sync), (FlushMode::Async, &later)] {
        assert!(totals.verdict.is_ok(), "{flush:?} flush: {}", totals.verdict);
    }
}

#[derive(Default)]
struct Totals {
    cuts: u64,
    with_loss: u64,
    verdict: Report,
    slowest: Duration,
}

/// Cuts until there are enough cuts; a long run may stop at its end, but not before ten.
fn cut(flush: FlushMode, cycles: u64, end: Option<Instant>, waits: &mut Waits, totals: &mut Totals) {
    let dir = tempfile::Builder::new().prefix("ringmq-power-cut-").tempdir().unwrap();
    let device = Loop::of_new_file(&dir.path().join("disk"), DISK_SIZE);
    let mut disk = Ext4::make(device.device(), &dir.path().join("mnt"), Journal::With);
    let setup = Setup::new(flush)
        .store(&disk.path().join("store"))
        .line("mappedFileSizeCommitLog=33554432");
    let mut servers = Separate::with(&setup);
    let namesrv = servers.ports.namesrv_address();
    for cycle in 0..cycles {
        if cycle >= 10 && end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        let load = Load::start(&namesrv, &Options::new(&format!("cut_{cycle}")));
        load.await_more(300, ANSWER_LIMIT);
        // In async flush the topic itself must have had its time to become durable.
        std::thread::sleep(SETTLED + waits.wait(Duration::from_millis(800)));
        disk.pull_the_plug();
        servers.kill_broker_with_memory();
        let history = load.stop();
        disk.unmount();
        disk.mount_again();
        let start = Instant::now();
        servers.start_broker();
        totals.slowest = totals.slowest.max(start.elapsed());
        let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
        let verdict = match flush {
            FlushMode::Sync => check(&history, None, &received),
            FlushMode::Async => check_after_power_cut(&history, WINDOW_MAX, &received),
        };
        totals.cuts += 1;
        totals.with_loss += u64::from(verdict.cut_off + verdict.count(Class::Lost) > 0);
        totals.verdict.add(verdict);
    }
    // The broker goes before its disk.
    drop(servers);
}
