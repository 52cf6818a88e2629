//! kill -9 again and again. The short form uses our own client; the long one has 150 kills and two million messages
//! acknowledged to Java's client, and as many kills with ours.

use crate::{Plan, against_apache};
use checker::Report;
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, JavaLoad, Separate, Waits, assert_nothing_lost, seed, setting};
use tests::load::{Load, Options, check, read_back};

const KILLS: u64 = 150;
const ACKNOWLEDGED: u64 = 2_000_000;
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const WAIT_MAX: Duration = Duration::from_millis(200);

pub(crate) fn in_async_flush(plan: &Plan) {
    run(plan, FlushMode::Async);
}

pub(crate) fn in_sync_flush(plan: &Plan) {
    run(plan, FlushMode::Sync);
}

fn run(plan: &Plan, flush: FlushMode) {
    let kills = setting("RINGMQ_TEST_KILLS", plan.choose(5, KILLS));
    let between = plan.choose(500, ACKNOWLEDGED / KILLS + 1);
    own_client(flush, kills, between);
    if plan.minutes.is_some() {
        java_client(flush, kills, between);
    }
}

/// Kills and starts the broker; returns the longest time to `boot success` and the sum.
fn kill_and_start(servers: &mut Separate, starts: &mut (Duration, Duration)) {
    servers.kill_broker();
    let start = Instant::now();
    servers.start_broker();
    starts.0 = starts.0.max(start.elapsed());
    starts.1 += start.elapsed();
}

fn own_client(flush: FlushMode, kills: u64, between: u64) {
    let (seed, begin) = (seed(), Instant::now());
    let mut waits = Waits::new(seed);
    let mut servers = Separate::on_two_cores(flush);
    let namesrv = servers.ports.namesrv_address();
    let load = Load::start(&namesrv, &Options::new("kill_own"));
    let mut starts = (Duration::ZERO, Duration::ZERO);
    for _ in 0..kills {
        load.await_more(between, ANSWER_LIMIT);
        std::thread::sleep(waits.wait(WAIT_MAX));
        kill_and_start(&mut servers, &mut starts);
    }
    load.await_more(between, ANSWER_LIMIT);
    let history = load.stop();
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}, seed {seed}"));
    let verdict = check(&history, None, &received);
    report("own client", flush, kills, starts, seed, begin, &verdict.to_string());
    assert_clean(&verdict, seed);
}

fn java_client(flush: FlushMode, kills: u64, between: u64) {
    let (seed, begin) = (seed(), Instant::now());
    let mut waits = Waits::new(seed);
    let mut servers = Separate::start(flush);
    let mut load = JavaLoad::start(&servers.ports.namesrv_address(), "kill_java");
    let mut starts = (Duration::ZERO, Duration::ZERO);
    for _ in 0..kills {
        load.await_more(between);
        std::thread::sleep(waits.wait(WAIT_MAX));
        kill_and_start(&mut servers, &mut starts);
    }
    load.await_more(between);
    let result = load.result();
    report("Java client", flush, kills, starts, seed, begin, &result.to_string());
    assert_nothing_lost(&result, between * kills, seed);
}

fn report(
    client: &str,
    flush: FlushMode,
    kills: u64,
    starts: (Duration, Duration),
    seed: u64,
    begin: Instant,
    counts: &str,
) {
    let mean = starts.1 / u32::try_from(kills.max(1)).expect("few kills");
    println!(
        "  {client}, {flush:?} flush: kills={kills} {counts}; start mean {mean:.0?}, slowest {:.0?}; {:.0?} in all, seed {seed}",
        starts.0,
        begin.elapsed()
    );
}

pub(crate) fn assert_clean(verdict: &Report, seed: u64) {
    assert!(
        verdict.is_ok() || against_apache(),
        "with RINGMQ_TEST_SEED={seed}: {verdict}"
    );
}
