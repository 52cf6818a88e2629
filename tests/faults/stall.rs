//! Every write waits, as on a device that has stopped answering: the process stays alive, no send is acknowledged, other requests
//! are answered as ever, and all goes on when the device does.

use crate::kill::assert_clean;
use crate::{Plan, against_apache};
use client::{Client, PullConsumer, PullOptions};
use std::time::{Duration, Instant};
use tests::disks::{Ext4, Frozen, Journal, Loop};
use tests::harness::{FlushMode, Separate, Setup, seed};
use tests::load::{Load, Options, check, on_a_loop, read_back};

const DISK_SIZE: u64 = 1 << 30;
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Answers whose sync ended before the freeze may still be on their way for so long.
const UNDER_WAY: Duration = Duration::from_millis(200);
/// In async flush mode memory that outlives the process is enough, until the disk has stood still for so long: flushIntervalCommitLog.
const PROMISED_MAX: Duration = Duration::from_millis(500);
/// What is in memory needs no disk; a busy machine may take so long all the same.
const MEANWHILE_MAX: Duration = Duration::from_secs(2);

pub(crate) fn run(plan: &Plan) {
    for flush in [FlushMode::Sync, FlushMode::Async] {
        freeze(plan, flush);
    }
}

fn freeze(plan: &Plan, flush: FlushMode) {
    let stall = plan.choose(Duration::from_secs(4), Duration::from_secs(30));
    let dir = tempfile::Builder::new().prefix("ringmq-stall-").tempdir().unwrap();
    let device = Loop::of_new_file(&dir.path().join("disk"), DISK_SIZE);
    let disk = Ext4::make(device.device(), &dir.path().join("mnt"), Journal::With);
    let setup = Setup::new(flush)
        .store(&disk.path().join("store"))
        .line("mappedFileSizeCommitLog=67108864");
    let mut servers = Separate::with(&setup);
    let namesrv = servers.ports.namesrv_address();
    let options = Options {
        limit: Duration::from_secs(2),
        ..Options::new("stall")
    };
    let load = Load::start(&namesrv, &options);
    load.await_more(1_000, ANSWER_LIMIT);
    let frozen = Frozen::freeze(disk.path(), stall * 2);
    std::thread::sleep(match flush {
        FlushMode::Sync => UNDER_WAY,
        FlushMode::Async => UNDER_WAY + PROMISED_MAX,
    });
    let quiet = Instant::now();
    let others = ask_meanwhile(&namesrv, quiet + stall);
    assert!(servers.broker().is_running(), "the broker has ended");
    let thaw = Instant::now();
    let false_ok = load.history().acknowledged_since(quiet);
    drop(frozen);
    let back = load.await_more(500, ANSWER_LIMIT);
    let history = load.stop();
    let failed = history.failed_since(quiet);
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
    let verdict = check(&history, None, &received);
    println!(
        "  {flush:?} flush, frozen for {:.1?}: acknowledged meanwhile={false_ok} failed={failed}; {} other requests meanwhile, slowest {:.0?}, failed {}; \
         500 messages taken {back:.0?} after the thaw; {verdict}; clients saw: {}",
        thaw - quiet,
        others.answered,
        others.slowest,
        others.failed,
        history.reasons()
    );
    if !against_apache() {
        assert_eq!(false_ok, 0, "sends were acknowledged while nothing could be written");
        assert!(failed > 0, "no send failed: the disk was not stalled");
        assert_eq!(others.failed, 0, "requests that need no disk failed");
        assert!(
            others.slowest < MEANWHILE_MAX,
            "a request that needs no disk took {:?}",
            others.slowest
        );
    }
    assert_clean(&verdict, seed());
    drop(servers);
}

#[derive(Debug, Default)]
struct Others {
    answered: u64,
    failed: u64,
    slowest: Duration,
}

/// Asks for ends of queues and pulls the newest messages, on a connection of its own.
fn ask_meanwhile(namesrv: &str, until: Instant) -> Others {
    on_a_loop(async {
        let client = Client::new(namesrv).unwrap();
        let consumer = PullConsumer::new(&client, "stall_reader");
        let queues = consumer.queues("stall").await.unwrap();
        let mut others = Others::default();
        for queue in queues.iter().cycle().take_while(|_| Instant::now() < until) {
            let begin = Instant::now();
            let asked = async {
                let max = consumer.max_offset(queue).await?;
                consumer.pull(queue, (max - 8).max(0), &PullOptions::default()).await
            };
            match asked.await {
                Ok(pulled) if !pulled.records.is_empty() => others.answered += 1,
                _ => others.failed += 1,
            }
            others.slowest = others.slowest.max(begin.elapsed());
            runtime::sleep(Duration::from_millis(10)).await;
        }
        others
    })
}
