//! Proof that figures and verdicts are true: against a broker whose faults are known.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error it does not expect has failed"
)]

mod fake;

use bench::measure::{Measured, percentile_ms};
use bench::options::Options;
use bench::report::publish;
use bench::scenario::{Mode, measure};
use bench::verify::Verdict;
use clap::{Args, FromArgMatches};
use fake::{BROKER, Fake, Faults};
use protocol::response_code::ResponseCode;
use std::time::Duration;

fn options(fake: &Fake, line: &str) -> Options {
    let command = Options::augment_args(clap::Command::new("mqbench").no_binary_name(true));
    let given = ["--namesrv", &fake.namesrv, "--topic", "T", "--quiet"];
    let words = given.into_iter().chain(line.split_whitespace());
    Options::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

fn produce(fake: &Fake, line: &str) -> Measured {
    let findings = measure(Mode::Produce, &options(fake, line)).unwrap();
    findings.entries.into_iter().next().unwrap().measured
}

/// A server that answers nothing for S seconds of a run of D seconds at a fixed rate: S / D of the messages are due while
/// it stands still, and the one that is due t seconds before it goes on waits for t. So (S - x) / D of all messages wait
/// for longer than x, and p99 is the x for which that is 0.01: x = S - 0.01 D. (1 s of 60 s: 0.40 s. Here 0.5 s of 5 s:
/// 0.45 s.)
#[test]
fn a_stalled_server_shows_in_the_p99_of_an_open_loop_and_hides_in_that_of_a_closed_one() {
    let fake = || {
        let stall = Some((Duration::from_millis(2_000), Duration::from_millis(500)));
        Fake::start(
            4,
            Faults {
                stall,
                ..Faults::default()
            },
        )
    };
    let expected_ms = 500.0 - 0.01 * 5_000.0;

    // On a machine that has no CPU to spare, stalls of its own come on top: then the next attempt tells.
    let shows = |line: &str| {
        (0..5).map(|_attempt| produce(&fake(), line)).find(|run| {
            let p99 = percentile_ms(&run.total.response, 99.0);
            (p99 / expected_ms - 1.0).abs() < 0.05
        })
    };
    let open = shows("--open-loop --rate 400 --duration 5 --warmup 0.5 --connections 2");
    let open = open.expect("p99 of an open loop within 5 % of the computed one");
    assert_eq!(open.total.held_back, 0, "nothing waited for an answer");
    assert_eq!(
        open.total.response.len(),
        2_000,
        "every message that was due has its time"
    );

    // At a fixed rate with one request under way, the schedule still tells; only the service time forgets the stall.
    // (What piles up is sent one by one afterwards, which adds to the computed value on a busy machine.)
    let window = produce(&fake(), "--rate 400 --duration 5 --warmup 0.5 --connections 1");
    let response = percentile_ms(&window.total.response, 99.0);
    assert!(response > expected_ms * 0.9, "one under way: p99 is {response} ms");
    let service = percentile_ms(&window.total.service, 99.0);
    assert!(service < expected_ms / 2.0, "service time: p99 is {service} ms");
    assert!(
        window.total.held_back > 0,
        "and the result says that messages had to wait"
    );

    let closed = produce(&fake(), "--duration 5 --warmup 0.5 --connections 1");
    let p99 = percentile_ms(&closed.total.response, 99.0);
    assert!(p99 < expected_ms / 4.0, "closed loop: p99 is {p99} ms");
    let max = percentile_ms(&closed.total.response, 100.0);
    assert!(max > 490.0, "the stall was there: {max} ms");
}

#[test]
fn every_status_that_is_not_send_ok_is_counted_and_misses_an_objective() {
    let code = Some(ResponseCode::FLUSH_DISK_TIMEOUT);
    let fake = Fake::start(
        1,
        Faults {
            code,
            ..Faults::default()
        },
    );
    let options = options(&fake, "--quantity 500 --connections 1 --slo errors<1");
    let findings = measure(Mode::Produce, &options).unwrap();
    let total = &findings.entries[0].measured.total;
    assert_eq!((total.sent, total.errors()), (0, 500));
    assert_eq!(total.statuses.get("FLUSH_DISK_TIMEOUT"), Some(&500));
    let (_text, good) = publish(&findings, &options.output).unwrap();
    assert!(!good);
}

#[test]
fn delivery_counts_from_when_a_message_was_due_and_nothing_stays_unread() {
    let fake = Fake::start(4, Faults::default());
    let line = "--open-loop --rate 500 --duration 2 --warmup 0.2 --connections 2";
    let findings = measure(Mode::EndToEnd, &options(&fake, line)).unwrap();
    let measured = &findings.entries[0].measured;
    let total = &measured.total;
    assert_eq!(
        (total.response.len(), total.delivery.len(), total.errors()),
        (1_000, 1_000, 0)
    );
    assert!(
        percentile_ms(&total.delivery, 50.0) < 1_000.0,
        "by our own clock, not since 1970"
    );
    assert_eq!(measured.headline(total).max(), total.delivery.max());
}

#[test]
fn reading_ends_when_so_many_messages_are_read() {
    let fake = Fake::start(4, Faults::default());
    let _sent = produce(&fake, "--quantity 4000 --connections 2");
    let read = |line: &str| {
        let mode = Mode::Consume { from_first: true };
        let findings = measure(mode, &options(&fake, line)).unwrap();
        findings.entries.into_iter().next().unwrap().measured
    };
    let some = read("--quantity 1000 --pull-max 10 --connections 2");
    assert!((1_000..4_000).contains(&some.total.received), "{}", some.total.received);
    let all = read("--quantity 4000 --connections 2");
    assert_eq!(all.total.received, 4_000);
}

/// Others read these keys; and a page that needs the network is none that can be kept.
#[test]
fn files_hold_what_their_readers_look_for() {
    let fake = Fake::start(2, Faults::default());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [json, html, hlog, hgrm] = ["a.json", "a.html", "a.hlog", "a.hgrm"].map(path);
    let line = format!(
        "--rate 200 --duration 1 --warmup 0 --connections 2 --label x --json {json} --html {html} --hlog {hlog} --hgrm {hgrm}"
    );
    let options = options(&fake, &line);
    publish(&measure(Mode::Produce, &options).unwrap(), &options.output).unwrap();
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let result: serde_json::Value = serde_json::from_str(&read(&json)).unwrap();
    for key in [
        "/messages_per_second",
        "/latency_ms/p50",
        "/latency_ms/p99",
        "/latency_ms/p99.9",
        "/latency_ms/max",
        "/errors",
        "/size",
        "/origin/machine/kernel",
        "/origin/commit",
    ] {
        assert!(
            result.pointer(key).is_some_and(|value| !value.is_null()),
            "{key} is missing in {result}"
        );
    }
    assert!(result.get("server_cpu_seconds_per_million").is_some(), "{result}");
    let page = read(&html);
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme:dark"));
    for outside in ["http:", "https:", "<script", "<link", "url(", "@import"] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    assert!(read(&hlog).contains("Tag=response,") && read(&hgrm).contains("#[Max "));
}

/// What following all of so many messages shows, sent in batches of 100 to two queues.
fn verdict(quantity: u64, faults: Faults) -> Verdict {
    let fake = Fake::start(2, faults);
    let line = format!("--quantity {quantity} --batch 100 --size 60 --connections 2 --depth 4 --verify");
    let verdict = produce(&fake, &line).verdict.unwrap();
    assert_eq!((verdict.sent, verdict.acknowledged), (quantity, quantity));
    verdict
}

/// Offsets at which a verdict's examples name this class.
fn named(verdict: &Verdict, class: &str) -> Vec<u64> {
    let prefix = format!("{class} in {BROKER}/T/");
    let behind = verdict.examples.iter().filter_map(|text| text.strip_prefix(&prefix));
    behind
        .map(|text| {
            let (_queue, rest) = text.split_once(" at ").unwrap();
            rest.split([',', ':']).next().unwrap().parse().unwrap()
        })
        .collect()
}

/// What could not go out, since its connection was closed, must not be taken for a part of the next request.
#[test]
fn an_outage_makes_errors_and_no_losses() {
    let hang_up = Some((Duration::from_millis(500), Duration::from_millis(300)));
    let fake = Fake::start(
        2,
        Faults {
            hang_up,
            ..Faults::default()
        },
    );
    let line = "--open-loop --rate 2000 --duration 2 --warmup 0 --connections 2 --verify";
    let measured = produce(&fake, line);
    let verdict = measured.verdict.unwrap();
    assert!(verdict.is_good(), "{:#?}", verdict.lines());
    assert!(verdict.unknown > 0 && measured.total.sent > 0, "{:#?}", verdict.lines());
    assert_eq!(verdict.unknown, measured.total.errors());
    assert_eq!(verdict.sent, 4_000, "the connections were made again");
}

#[test]
fn a_good_broker_is_called_good() {
    let verdict = verdict(100_000, Faults::default());
    assert!(verdict.is_good(), "{:#?}", verdict.lines());
    assert_eq!(verdict.read, 100_000);
}

/// Of a million messages one is dropped, one kept twice, one pair swapped, and one changed by a bit.
#[test]
fn what_happens_to_one_message_of_a_million_is_named_with_its_offset() {
    let faults = Faults {
        drop: Some(333_333),
        // The last of its batch, so that the answer's offsets are right for all others.
        double: Some(555_599),
        swap: Some(777_717),
        flip: Some(999_000),
        ..Faults::default()
    };
    let verdict = verdict(1_000_000, faults);
    let lines = verdict.lines();
    assert!(!verdict.is_good());
    assert_eq!(named(&verdict, "CorruptBody").len(), 1, "{lines:#?}");
    assert!(!named(&verdict, "Lost").is_empty(), "{lines:#?}");
    let offsets = named(&verdict, "InconsistentOffset");
    assert_eq!(
        offsets.len(),
        3,
        "one is there twice, two have changed places: {lines:#?}"
    );
    let pair = |one: &u64| offsets.iter().any(|other| one.abs_diff(*other) == 1);
    assert_eq!(offsets.iter().filter(|offset| pair(offset)).count(), 2, "{lines:#?}");
}
