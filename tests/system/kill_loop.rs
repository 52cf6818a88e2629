//! The broker is ended again and again while clients send: what was acknowledged is there, once, whole and in order.
//!
//! A Java client sends from eight threads, each message once, and records every acknowledgement; the queue checker judges. Between two ends of the
//! broker at least `ACKS_BETWEEN` messages are acknowledged, so that each end hits a broker at work. Then everything is read
//! back. `faults/kill.rs` does the same at size.

use checker::Report;
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, JavaLoad, Separate, Waits, assert_nothing_lost, seed, setting};

const ACKS_BETWEEN: u64 = 200;
const WAIT_MAX: Duration = Duration::from_millis(700);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
}

/// Returns what the checker says and the longest time from start to `boot success`.
fn broken_broker(flush: FlushMode, end: End, ends: u64, seed: u64) -> (Report, Duration) {
    let mut waits = Waits::new(seed);
    let mut servers = Separate::on_two_cores(flush);
    let mut load = JavaLoad::start(&servers.ports.namesrv_address(), "it_kill_loop");
    let mut slowest = Duration::ZERO;
    for _ in 0..ends {
        load.await_more(ACKS_BETWEEN);
        std::thread::sleep(waits.wait(WAIT_MAX));
        match end {
            End::Kill => servers.kill_broker(),
            End::Terminate => assert!(servers.stop_broker(), "the broker ends cleanly"),
        }
        let start = Instant::now();
        servers.start_broker();
        slowest = slowest.max(start.elapsed());
    }
    load.await_more(ACKS_BETWEEN);
    (load.result(), slowest)
}

#[test]
fn kill_9_in_async_flush_loses_nothing_acknowledged() {
    let (kills, seed) = (setting("RINGMQ_TEST_KILLS", 5), seed());
    let (result, slowest) = broken_broker(FlushMode::Async, End::Kill, kills, seed);
    println!("{kills} kills, async flush, slowest start {slowest:?}, seed {seed}: {result}");
    assert_nothing_lost(&result, ACKS_BETWEEN, seed);
}

#[test]
fn kill_9_in_sync_flush_loses_nothing_acknowledged() {
    let (kills, seed) = (setting("RINGMQ_TEST_KILLS", 5), seed());
    let (result, slowest) = broken_broker(FlushMode::Sync, End::Kill, kills, seed);
    println!("{kills} kills, sync flush, slowest start {slowest:?}, seed {seed}: {result}");
    assert_nothing_lost(&result, ACKS_BETWEEN, seed);
}

#[test]
fn clean_restarts_under_load_lose_nothing_acknowledged() {
    let seed = seed();
    let (result, slowest) = broken_broker(FlushMode::Async, End::Terminate, 3, seed);
    println!("3 clean restarts, slowest start {slowest:?}, seed {seed}: {result}");
    assert_nothing_lost(&result, ACKS_BETWEEN, seed);
}
