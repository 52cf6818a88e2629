//! How fast and how small: cold starts, memory at rest and under load, and the restart after a kill on a large log.

use crate::Plan;
use bytes::Bytes;
use client::{Client, NoFields};
use protocol::ext::ExtText;
use protocol::header::send::SendHeader;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, PortBlock, Process, Separate, binary, resident_bytes};
use tests::load::{Load, Options, check, on_a_loop, read_back};

const START_LIMIT: Duration = Duration::from_secs(60);
const LOG_SIZE: u64 = 5 << 30;
const MIB: u64 = 1 << 20;

pub(crate) fn cold(plan: &Plan) {
    let rounds = plan.choose(3, 11);
    let mut namesrv: Vec<(Duration, u64)> = (0..rounds).map(|_| start_name_server()).collect();
    namesrv.sort_unstable();
    println!("  mqnamesrv: first answer after {}", spread(&namesrv));
    let mut servers = Separate::start(FlushMode::Async);
    let mut broker: Vec<(Duration, u64)> = (0..rounds).map(|_| restart_broker(&mut servers)).collect();
    broker.sort_unstable();
    println!("  mqbroker: first accepted message after {}", spread(&broker));
    assert!(
        namesrv[0].1 < 16 * MIB,
        "an idle name server takes {} bytes",
        namesrv[0].1
    );
    assert!(broker[0].1 < 64 * MIB, "an idle broker takes {} bytes", broker[0].1);
    if plan.minutes.is_some() {
        println!(
            "  mqbroker under 64 connections with 16 messages each for 60 s: {}",
            under_load()
        );
    }
}

/// Starts one and returns the time to its first answer and its memory.
fn start_name_server() -> (Duration, u64) {
    let dir = tempfile::tempdir().unwrap();
    let ports = PortBlock::free();
    let conf = dir.path().join("namesrv.conf");
    std::fs::write(&conf, format!("listenPort={}\nbindAddress=127.0.0.1\n", ports.namesrv)).unwrap();
    let mut command = Command::new(binary("mqnamesrv"));
    let begin = Instant::now();
    let process = Process::start("mqnamesrv", command.arg("-c").arg(conf));
    let asked = first_answer(&ports.namesrv_address(), Ask::Cluster);
    (asked - begin, resident_bytes(process.pid()))
}

/// Ends the broker cleanly and starts it; returns the time to its first accepted message and its memory then.
fn restart_broker(servers: &mut Separate) -> (Duration, u64) {
    assert!(servers.stop_broker(), "the broker ends cleanly");
    let address = servers.ports.broker_address();
    let begin = Instant::now();
    let asking = std::thread::spawn(move || first_answer(&address, Ask::Send));
    servers.start_broker();
    let took = asking.join().expect("the broker takes messages") - begin;
    (took, resident_bytes(servers.broker().pid()))
}

#[derive(Clone, Copy)]
enum Ask {
    Cluster,
    Send,
}

/// Asks again and again until there is an answer that says yes.
fn first_answer(address: &str, ask: Ask) -> Instant {
    on_a_loop(async {
        let end = Instant::now() + START_LIMIT;
        loop {
            // A new one each time: one that was refused waits longer and longer before it connects again.
            let client = Client::new(address).unwrap();
            let answer = match ask {
                Ask::Cluster => client
                    .ask(address, RequestCode::GET_BROKER_CLUSTER_INFO, &NoFields, Bytes::new())
                    .await
                    .ok(),
                Ask::Send => send(&client, address).await,
            };
            if answer.is_some_and(|answer| answer.response_code() == ResponseCode::SUCCESS) {
                return Instant::now();
            }
            assert!(Instant::now() < end, "no answer from {address} within {START_LIMIT:?}");
            runtime::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// A message to a topic that every broker has, without asking the name server where.
async fn send(client: &Client, address: &str) -> Option<protocol::frame::Frame> {
    let header = SendHeader {
        producer_group: "cold".into(),
        topic: "cold_start".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: 0,
        flag: 0,
        properties: Some(ExtText::Plain("")),
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: None,
    };
    let limit = Duration::from_secs(1);
    let body = Bytes::from_static(b"first");
    let fill = |writer: &mut protocol::header_writer::HeaderWriter<'_>| header.encode_v2(writer);
    let asked = client
        .rpc()
        .invoke(address, RequestCode::SEND_MESSAGE_V2, fill, body, limit);
    asked.await.ok()
}

fn spread(sorted: &[(Duration, u64)]) -> String {
    let rss: Vec<u64> = sorted.iter().map(|(_, rss)| *rss).collect();
    format!(
        "{:.1?} (median of {}; {:.1?} to {:.1?}), RSS at rest {:.1} to {:.1} MB",
        sorted[sorted.len() / 2].0,
        sorted.len(),
        sorted[0].0,
        sorted[sorted.len() - 1].0,
        mb(rss.iter().min().copied().unwrap_or_default()),
        mb(rss.iter().max().copied().unwrap_or_default()),
    )
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^52")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The largest RSS that was seen, and what the load generator said.
fn under_load() -> String {
    let mut servers = Separate::start(FlushMode::Async);
    let mut command = Command::new(binary("mqbench"));
    command
        .args([
            "produce",
            "--namesrv",
            &servers.ports.namesrv_address(),
            "--topic",
            "rss",
            "--queues",
            "8",
        ])
        // A bounded rate keeps the log within the disk.
        .args([
            "--size",
            "1024",
            "--connections",
            "64",
            "--depth",
            "16",
            "--duration",
            "60",
            "--rate",
            "60000",
        ]);
    let mut bench = Process::start("mqbench", &mut command);
    let pid = servers.broker().pid();
    let mut largest = 0;
    while bench.is_running() {
        largest = largest.max(resident_bytes(pid));
        std::thread::sleep(Duration::from_millis(100));
    }
    let (_, lines) = bench.finish(START_LIMIT);
    format!("RSS at most {:.1} MB; {}", mb(largest), lines.join(" | "))
}

/// kill -9 of a broker under load on a log of 5 GB, and the time until it takes a message again.
pub(crate) fn large_log(plan: &Plan) {
    let size = plan.choose(128 * MIB, LOG_SIZE);
    let mut servers = Separate::start(FlushMode::Async);
    let namesrv = servers.ports.namesrv_address();
    let options = Options {
        size: 32 << 10,
        ..Options::new("large_log")
    };
    let load = Load::start(&namesrv, &options);
    load.await_more(size / options.size as u64 + 1, Duration::from_secs(600));
    let mut starts = Vec::new();
    for _ in 0..plan.choose(1, 5) {
        servers.kill_broker();
        let address = servers.ports.broker_address();
        let begin = Instant::now();
        let asking = std::thread::spawn(move || first_answer(&address, Ask::Send));
        servers.start_broker();
        starts.push(asking.join().expect("the broker takes messages") - begin);
        load.await_more(500, START_LIMIT);
    }
    let history = load.stop();
    let received = read_back(&namesrv, &history.topic).unwrap_or_else(|problem| panic!("{problem}"));
    let verdict = check(&history, None, &received);
    starts.sort_unstable();
    println!(
        "  log of {:.1} GB, kills={}: first accepted message after {:.0?} (median; {:.0?} to {:.0?}); {verdict}",
        mb(verdict.reads * options.size as u64) / 1e3,
        starts.len(),
        starts[starts.len() / 2],
        starts[0],
        starts[starts.len() - 1]
    );
    assert!(verdict.is_ok(), "{verdict}");
}
