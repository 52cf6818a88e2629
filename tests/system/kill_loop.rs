//! The broker is ended again and again while clients send: what was acknowledged is there, once, whole and in order.
//!
//! A Java client sends from eight threads, each message once, and notes every acknowledgement. Between two ends of the
//! broker at least `ACKS_BETWEEN` messages are acknowledged, so that each end hits a broker at work. Then everything is read back.

use std::time::{Duration, Instant};
use tests::harness::{Client, FlushMode, Process, Separate};

const ACKS_BETWEEN: u64 = 200;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const VERIFY_LIMIT: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
}

/// Waiting times from a seed, so that a run can be repeated: an xorshift generator.
struct Waits(u64);

impl Waits {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % 700)
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => otherwise,
    }
}

fn acknowledged(load: &mut Process) -> u64 {
    load.say("count");
    let line = load.await_line("answer to `count`", ANSWER_LIMIT, |l| l.starts_with("ACKED "));
    line["ACKED ".len()..].parse().expect("a number follows ACKED")
}

/// Waits until the client got so many more acknowledgements.
fn await_acks(load: &mut Process, more: u64) {
    let from = acknowledged(load);
    let end = Instant::now() + ANSWER_LIMIT;
    while acknowledged(load) < from + more {
        assert!(
            Instant::now() < end,
            "fewer than {more} messages were acknowledged within {ANSWER_LIMIT:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The number after `name=` in the client's last line.
fn figure(result: &str, name: &str) -> u64 {
    result
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {result}"))
}

/// Returns the client's result line, the longest time from start to `boot success`, and the seed.
fn broken_broker(flush: FlushMode, end: End, ends: u64, seed: u64) -> (String, Duration) {
    let mut waits = Waits(seed.max(1));
    let mut servers = Separate::start(flush);
    let mut load = Client::load("it_kill_loop").start(&servers.ports.namesrv_address());
    load.await_line("start of the senders", ANSWER_LIMIT, |l| l == "STARTED");
    let mut slowest = Duration::ZERO;
    for _ in 0..ends {
        await_acks(&mut load, ACKS_BETWEEN);
        std::thread::sleep(waits.next());
        match end {
            End::Kill => servers.kill_broker(),
            End::Terminate => assert!(servers.stop_broker(), "the broker ends cleanly"),
        }
        let start = Instant::now();
        servers.start_broker();
        slowest = slowest.max(start.elapsed());
    }
    await_acks(&mut load, ACKS_BETWEEN);
    load.say("stop");
    let result = load.await_line("result", VERIFY_LIMIT, |l| l.starts_with("RESULT "));
    (result, slowest)
}

fn assert_nothing_lost(result: &str, seed: u64) {
    assert!(figure(result, "acknowledged") >= ACKS_BETWEEN, "{result}");
    for wrong in ["lost", "duplicated", "corrupt", "made_up", "out_of_order"] {
        assert_eq!(
            figure(result, wrong),
            0,
            "{wrong}, with RINGMQ_TEST_SEED={seed}: {result}"
        );
    }
    assert!(figure(result, "consumed") >= figure(result, "acknowledged"), "{result}");
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    setting("RINGMQ_TEST_SEED", now.map_or(1, |d| u64::from(d.subsec_nanos())))
}

#[test]
fn kill_9_in_async_flush_loses_nothing_acknowledged() {
    let (kills, seed) = (setting("RINGMQ_TEST_KILLS", 5), seed());
    let (result, slowest) = broken_broker(FlushMode::Async, End::Kill, kills, seed);
    println!("{kills} kills, async flush, slowest start {slowest:?}, seed {seed}: {result}");
    assert_nothing_lost(&result, seed);
}

#[test]
fn kill_9_in_sync_flush_loses_nothing_acknowledged() {
    let (kills, seed) = (setting("RINGMQ_TEST_KILLS", 5), seed());
    let (result, slowest) = broken_broker(FlushMode::Sync, End::Kill, kills, seed);
    println!("{kills} kills, sync flush, slowest start {slowest:?}, seed {seed}: {result}");
    assert_nothing_lost(&result, seed);
}

#[test]
fn clean_restarts_under_load_lose_nothing_acknowledged() {
    let seed = seed();
    let (result, slowest) = broken_broker(FlushMode::Async, End::Terminate, 3, seed);
    println!("3 clean restarts, slowest start {slowest:?}, seed {seed}: {result}");
    assert_nothing_lost(&result, seed);
}
