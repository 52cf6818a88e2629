//! The broker stands still, as on a machine that is out of memory or a virtual machine that is moved, and goes on.

use crate::Plan;
use crate::kill::assert_clean;
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, Separate, Waits, seed};
use tests::load::{Load, Options, check, read_back};

const AFTER_PAUSE: Duration = Duration::from_secs(30);
/// Between a tenth of a second and a minute; most are short, as a minute of standing still shows no more than ten seconds.
const LONG: [u64; 12] = [100, 300, 1_000, 100, 3_000, 200, 500, 10_000, 100, 1_000, 60_000, 2_000];

pub(crate) fn run(plan: &Plan) {
    let (seed, end) = (seed(), plan.end());
    let mut waits = Waits::new(seed);
    let mut servers = Separate::start(FlushMode::Sync);
    let namesrv = servers.ports.namesrv_address();
    let load = Load::start(&namesrv, &Options::new("pause"));
    let mut pauses = Vec::new();
    let mut slowest = Duration::ZERO;
    let lengths = plan.choose(&[100, 300, 1_000, 4_000][..], &LONG[..]);
    for &ms in lengths.iter().cycle() {
        let enough = match end {
            Some(end) => Instant::now() >= end && pauses.len() >= lengths.len(),
            None => pauses.len() == lengths.len(),
        };
        if enough {
            break;
        }
        load.await_more(500, AFTER_PAUSE);
        std::thread::sleep(waits.wait(Duration::from_millis(100)));
        servers.broker().pause();
        std::thread::sleep(Duration::from_millis(ms));
        servers.broker().resume();
        slowest = slowest.max(load.await_more(1, AFTER_PAUSE));
        pauses.push(ms);
    }
    load.await_more(500, AFTER_PAUSE);
    let history = load.stop();
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
    let verdict = check(&history, None, &received);
    println!(
        "  pauses={} of {} to {} ms: {verdict}; slowest first answer after a pause {slowest:.0?}; clients saw: {}; seed {seed}",
        pauses.len(),
        pauses.iter().min().unwrap(),
        pauses.iter().max().unwrap(),
        history.reasons()
    );
    assert_clean(&verdict, seed);
}
