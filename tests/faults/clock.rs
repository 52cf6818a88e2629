//! The wall clock of the broker jumps by an hour, forwards and back (libfaketime under the real program): no live segment is
//! deleted, no client is forgotten, held pulls are answered when they should be.

use crate::Plan;
use crate::kill::assert_clean;
use client::{Admin, Client, Message, Producer, PullConsumer, PullOptions, RouteQueue};
use protocol::body::heartbeat::ConsumerData;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::harness::{FlushMode, Separate, Setup, seed};
use tests::load::{Load, Options, check, on_a_loop, read_back};

const HOUR: i64 = 3600;
/// The clock of the broker, ahead of ours by so many seconds, one after the other.
const JUMPS: [i64; 5] = [HOUR, 0, -HOUR, HOUR, -HOUR];
const GROUP: &str = "clock_group";
const HOLD: Duration = Duration::from_secs(2);
/// libfaketime looks at its file once a second.
const NOTICE_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How late a held pull may be answered, on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(2);

pub(crate) fn run(plan: &Plan) {
    let dir = tempfile::Builder::new().prefix("ringmq-clock-").tempdir().unwrap();
    let clock = FakeClock::new(dir.path());
    // Retention looks every second of every hour. Three hours are kept: no message is as old, by any of the clocks.
    let hours: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
    let setup = Setup::new(FlushMode::Sync)
        .line("mappedFileSizeCommitLog=8388608")
        .line("fileReservedTime=3")
        .line("cleanResourceInterval=1000")
        .line(&format!("deleteWhen={}", hours.join(";")));
    let mut servers = Separate::with(
        &clock
            .variables()
            .fold(setup, |setup, (name, value)| setup.variable(name, &value)),
    );
    let namesrv = servers.ports.namesrv_address();
    let broker = servers.ports.broker_address();
    let load = Load::start(&namesrv, &Options::new("clock"));
    load.await_more(1_000, ANSWER_LIMIT);
    let jumps = plan.choose(4, 20);
    let late = on_a_loop(watch(&namesrv, &broker, &clock, jumps));
    load.await_more(1_000, ANSWER_LIMIT);
    let history = load.stop();
    assert!(servers.broker().is_running(), "the broker has ended");
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
    // At a clean end libfaketime removes what it keeps in /dev/shm.
    assert!(servers.stop_broker(), "the broker ends cleanly");
    let verdict = check(&history, None, &received);
    println!(
        "  jumps={jumps} of up to two hours: {verdict}; held pulls late by at most {late:.0?}; clients saw: {}",
        history.reasons()
    );
    assert_clean(&verdict, seed());
    assert_eq!(history.failed(), 0, "sends failed: {}", history.reasons());
}

/// Jumps, and looks after each whether the consumer is still known and held pulls are answered in time. Returns how late the
/// latest of these was.
async fn watch(namesrv: &str, broker: &str, clock: &FakeClock, jumps: usize) -> Duration {
    let client = Client::new(namesrv).unwrap();
    let (admin, producer) = (Admin::new(&client), Producer::new(&client, "clock_producer"));
    let consumer = PullConsumer::new(&client, GROUP);
    producer.send(&Message::new("clock_held", "first")).await.unwrap();
    let queue = producer.queues("clock_held").await.unwrap()[0].clone();
    let member = ConsumerData {
        group_name: GROUP.to_owned(),
        ..ConsumerData::default()
    };
    let alive = client.keep_alive("clock_held", Vec::new(), vec![member]);
    let mut latest = Duration::ZERO;
    for &ahead in JUMPS.iter().cycle().take(jumps) {
        let held = runtime::spawn(hold(consumer.clone(), queue.clone()));
        clock.set(ahead);
        let took = held.await.expect("a pull that is held is answered");
        assert!(
            took >= HOLD - Duration::from_millis(100),
            "a held pull was answered after {took:?}, not {HOLD:?}"
        );
        latest = latest.max(took.saturating_sub(HOLD));
        await_clock(&producer, &consumer, &queue, ahead).await;
        let members = admin.consumer_ids(broker, GROUP).await.unwrap();
        assert_eq!(members, [client.client_id()], "with the clock at {ahead:+} s");
    }
    alive.abort();
    assert!(latest <= LATE_MAX, "a held pull was answered {latest:?} late");
    latest
}

/// Pulls from the end of a queue and returns how long the broker held that.
async fn hold(consumer: PullConsumer, queue: RouteQueue) -> Duration {
    let max = consumer.max_offset(&queue).await.unwrap();
    let begin = Instant::now();
    let options = PullOptions {
        hold: HOLD,
        ..PullOptions::default()
    };
    let pulled = consumer.pull(&queue, max, &options).await.unwrap();
    assert!(pulled.records.is_empty(), "nothing was sent meanwhile");
    begin.elapsed()
}

/// Sends until the broker's clock, which it writes into messages, is where it was put: else the library does not bite.
async fn await_clock(producer: &Producer, consumer: &PullConsumer, queue: &RouteQueue, ahead: i64) {
    let end = Instant::now() + NOTICE_LIMIT;
    loop {
        let sent = producer
            .send_to(queue, &Message::new(&queue.topic, "tick"))
            .await
            .unwrap();
        let pulled = consumer
            .pull(queue, sent.queue_offset, &PullOptions::default())
            .await
            .unwrap();
        let stored_ms = pulled.messages().unwrap()[0].store_timestamp;
        let off_ms = stored_ms - wall_clock_ms() - ahead * 1_000;
        if off_ms.abs() < 60_000 {
            return;
        }
        assert!(
            Instant::now() < end,
            "the broker's clock is {off_ms} ms from where it was put: libfaketime does not bite"
        );
        runtime::sleep(Duration::from_millis(50)).await;
    }
}

fn wall_clock_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// libfaketime's library and the file that it reads.
struct FakeClock {
    library: PathBuf,
    file: PathBuf,
}

impl FakeClock {
    fn new(dir: &Path) -> FakeClock {
        let clock = FakeClock {
            library: tests::disks::faketime().expect("looked for before"),
            file: dir.join("clock"),
        };
        clock.set(0);
        clock
    }

    /// Puts the clock ahead of ours by so many seconds.
    fn set(&self, ahead: i64) {
        // Renamed into place, so that nobody reads half a number.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{ahead:+}\n")).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let file = self.file.display().to_string();
        let library = self.library.display().to_string();
        [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // The monotonic clock does not jump on a real machine either; older versions know the second name only.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .into_iter()
    }
}
