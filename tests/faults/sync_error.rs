//! The device below a broker in sync flush begins to fail its writes: after a failed sync the kernel marks the pages clean,
//! so that a second sync says all is well. What is acknowledged after that is gone.
//!
//! (Not on a loop device over a full tmpfs: Linux 6.18 reports a write of which only a part found room as done, so that disk
//! lies before it fails.)
//!
//! The same script runs against Apache's broker with `--against apache`: then the counts are printed and not judged.

use crate::{Plan, against_apache};
use checker::Report;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::disks::{Ext4, Journal, Loop, RecordedDisk, Zram};
use tests::harness::{FlushMode, Separate, Setup};
use tests::load::{History, Load, Options, check, count, read_back};

/// zram holds zeros for nothing, so it can be large; the FUSE disk lies in memory as it is.
const ZRAM_SIZE: u64 = 3 << 30;
const FUSE_SIZE: usize = 1 << 30;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How soon every queue must refuse.
const FENCE_LIMIT: Duration = Duration::from_secs(1);

pub(crate) fn on_fuse(plan: &Plan) {
    let dir = tempfile::Builder::new().prefix("ringmq-sync-error-").tempdir().unwrap();
    let recorded = RecordedDisk::mount(&dir.path().join("fuse"), FUSE_SIZE);
    let device = Loop::of(recorded.file(), true);
    let break_it = || Failing::new(&recorded);
    script(
        "every write fails with EIO",
        plan,
        device.device(),
        &dir.path().join("mnt"),
        break_it,
    );
}

/// A disk that fails; works again when the value goes.
struct Failing<'a>(&'a RecordedDisk);

impl<'a> Failing<'a> {
    fn new(disk: &'a RecordedDisk) -> Failing<'a> {
        disk.fail(true);
        Failing(disk)
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.fail(false);
    }
}

pub(crate) fn on_zram(plan: &Plan) {
    let dir = tempfile::Builder::new().prefix("ringmq-sync-error-").tempdir().unwrap();
    let zram = Zram::new(ZRAM_SIZE);
    let break_it = || Limited::new(&zram);
    script(
        "zram at its limit",
        plan,
        &zram.device(),
        &dir.path().join("mnt"),
        break_it,
    );
}

/// A zram without room; has room again when the value goes.
struct Limited<'a>(&'a Zram);

impl<'a> Limited<'a> {
    fn new(zram: &'a Zram) -> Limited<'a> {
        zram.limit(true);
        Limited(zram)
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        self.0.limit(false);
    }
}

fn script<B>(what: &str, plan: &Plan, device: &Path, at: &Path, break_it: impl FnOnce() -> B) {
    // Without a journal, the file system does not go read-only at the first error: syncs after it go on, and lie.
    let mut disk = Ext4::make(device, at, Journal::Without);
    let setup = Setup::new(FlushMode::Sync)
        .store(&disk.path().join("store"))
        .line("mappedFileSizeCommitLog=67108864");
    let mut servers = Separate::with(&setup);
    let namesrv = servers.ports.namesrv_address();
    let options = Options {
        senders: 16,
        gap: Duration::from_millis(2),
        ..Options::new("sync_error")
    };
    let load = Load::start(&namesrv, &options);
    load.await_more(500, ANSWER_LIMIT);
    let begin = Instant::now();
    let broken = break_it();
    let at_break = Instant::now();
    std::thread::sleep(plan.choose(Duration::from_secs(3), Duration::from_secs(15)));
    let readable = read_back(&namesrv, "sync_error");
    let alive = servers.broker().is_running();
    servers.kill_broker();
    let history = load.stop();
    drop(broken);
    disk.unmount();
    disk.mount_again();
    servers.start_broker();
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
    let verdict = check(&history, None, &received);
    let seen = Seen {
        readable: readable.map(|received| count(&received)),
        alive,
        at_break,
        begin,
    };
    report(what, &history, &verdict, &seen);
    drop(servers);
}

struct Seen {
    /// Messages that could be read while the device failed.
    readable: Result<usize, String>,
    alive: bool,
    begin: Instant,
    at_break: Instant,
}

fn report(what: &str, history: &History, verdict: &Report, seen: &Seen) {
    let after_break = history.acknowledged_since(seen.at_break);
    let after_failure = history.acknowledged_after_a_failure(seen.begin);
    let first_failure = history
        .first_failure_since(seen.begin)
        .map(|at| at.saturating_duration_since(seen.at_break));
    let last_ok = history.last_ok().map(|at| at.saturating_duration_since(seen.at_break));
    let readable = match &seen.readable {
        Ok(count) => format!("{count} messages"),
        Err(problem) => format!("failed: {problem}"),
    };
    println!("  {what}: {verdict}");
    println!(
        "    after the device failed: acknowledged={after_break}, on a queue that had failed before={after_failure}; first failure after {}, last \
         acknowledgement after {}; process alive: {}; read meanwhile: {readable}",
        ms(first_failure),
        ms(last_ok),
        seen.alive,
    );
    println!("    clients saw: {}", history.reasons());
    if against_apache() {
        return;
    }
    assert!(verdict.is_ok(), "acknowledged and gone: {verdict}");
    assert_eq!(after_failure, 0, "acknowledged after a failed sync of the same log");
    assert!(first_failure.is_some(), "no send failed: the device did not");
    assert!(
        last_ok.unwrap_or_default() <= FENCE_LIMIT,
        "not every shard was fenced within {FENCE_LIMIT:?}"
    );
    assert!(seen.alive, "the broker has ended");
}

fn ms(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{} ms", time.as_millis()))
}
