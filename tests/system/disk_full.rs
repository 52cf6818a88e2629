//! The disk fills up: a real broker on a small file system of its own. Sends are refused with a code on which clients try another
//! broker, reads go on, a restart works, sends go on by themselves when there is room again, and what was acknowledged is there.
//!
//! Needs the right to mount a tmpfs; without it the test says that it was skipped.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it should be"
)]

use bytes::Bytes;
use client::{Admin, Client, Error, Message, Producer, PullConsumer, PullOptions, PullStatus, RouteQueue};
use protocol::body::topic::TopicConfig;
use protocol::response_code::ResponseCode;
use runtime::probe::{IoPath, Refusal};
use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::harness::{FlushMode, Separate, Setup};

const TOPIC: &str = "it_disk_full";
const GROUP: &str = "it_disk_full";
const BODY_SIZE: usize = 64 << 10;
const DISK_SIZE: usize = 128 << 20;
/// Far more than the disk holds.
const MESSAGES_MAX: usize = 4 * DISK_SIZE / BODY_SIZE;
/// Sends go on so soon after there is room again.
const RESUME_LIMIT: Duration = Duration::from_secs(5);

/// A file system in memory, unmounted at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::Builder::new().prefix("ringmq-disk-").tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_SIZE}"), "tmpfs"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(dir)),
            other => {
                // Not by a macro of the test runner, which would keep it to itself.
                let _closed = writeln!(
                    std::io::stderr(),
                    "SKIPPED disk_full: a tmpfs cannot be mounted here: {other:?}"
                );
                None
            }
        }
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Somebody else takes all space that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        let block = vec![1; 1 << 20];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _stays = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), work).unwrap()
}

/// One producer and one reader of one queue.
struct Load {
    namesrv: String,
    broker: String,
}

impl Load {
    fn new(servers: &Separate) -> Load {
        let broker = format!("127.0.0.1:{}", servers.ports.broker);
        let namesrv = servers.ports.namesrv_address();
        Load { namesrv, broker }
    }

    fn client(&self) -> Client {
        Client::new(&self.namesrv).unwrap()
    }

    fn queue() -> RouteQueue {
        RouteQueue {
            topic: TOPIC.into(),
            broker_name: "broker-a".into(),
            queue_id: 0,
        }
    }

    async fn create_topic(&self) {
        let config = TopicConfig {
            topic_name: TOPIC.to_owned(),
            read_queue_nums: 1,
            write_queue_nums: 1,
            ..TopicConfig::default()
        };
        let client = self.client();
        Admin::new(&client).create_topic(&self.broker, &config).await.unwrap();
        while client.fresh_route(TOPIC).await.is_err() {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn send(producer: &Producer, number: usize) -> Result<(), Error> {
        let mut body = vec![b'.'; BODY_SIZE];
        body[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let message = Message::new(TOPIC, Bytes::from(body));
        producer.send_to(&Load::queue(), &message).await.map(drop)
    }

    /// Sends until the broker refuses; gives the numbers that were acknowledged, and the refusal.
    async fn send_until_refused(&self, from: usize) -> (BTreeSet<u64>, Error) {
        let producer = Producer::new(&self.client(), GROUP);
        let mut acknowledged = BTreeSet::new();
        for number in from..from + MESSAGES_MAX {
            match Load::send(&producer, number).await {
                Ok(()) => acknowledged.insert(number as u64),
                Err(refusal) => return (acknowledged, refusal),
            };
        }
        panic!("{MESSAGES_MAX} messages of {BODY_SIZE} bytes fit onto a disk of {DISK_SIZE}");
    }

    /// How long it takes until a send is taken again.
    async fn await_send(&self, number: usize) -> Duration {
        let producer = Producer::new(&self.client(), GROUP);
        let start = Instant::now();
        loop {
            match Load::send(&producer, number).await {
                Ok(()) => return start.elapsed(),
                Err(error) => assert!(start.elapsed() < 4 * RESUME_LIMIT, "still refused: {error}"),
            }
            runtime::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The numbers of all messages that are there.
    async fn read_all(&self) -> BTreeSet<u64> {
        let (consumer, queue) = (PullConsumer::new(&self.client(), GROUP), Load::queue());
        let mut numbers = BTreeSet::new();
        let mut offset = consumer.min_offset(&queue).await.unwrap();
        let end = consumer.max_offset(&queue).await.unwrap();
        while offset < end {
            let pulled = consumer.pull(&queue, offset, &PullOptions::default()).await.unwrap();
            assert_eq!(pulled.status, PullStatus::Found, "at {offset} of {end}");
            for message in pulled.messages().unwrap() {
                assert_eq!(message.body.len(), BODY_SIZE);
                numbers.insert(u64::from_be_bytes(message.body[..8].try_into().unwrap()));
            }
            offset = pulled.next_begin_offset;
        }
        numbers
    }
}

fn assert_all_there(load: &Load, acknowledged: &BTreeSet<u64>, when: &str) {
    let there = run(load.read_all());
    let lost = acknowledged.difference(&there).count();
    assert_eq!(
        lost,
        0,
        "{when}: of {} acknowledged messages are lost",
        acknowledged.len()
    );
}

fn assert_says_full(refusal: &Error) {
    assert_eq!(refusal.code(), Some(ResponseCode::SERVICE_NOT_AVAILABLE), "{refusal}");
    assert!(refusal.to_string().contains("is full"), "{refusal}");
}

fn start(disk: &SmallDisk, lines: &str) -> (Separate, Load) {
    let setup = Setup::new(FlushMode::Async).store(&store_path(disk)).line("shards=1");
    let setup = setup
        .line("cores=1")
        .line("mappedFileSizeCommitLog=8388608")
        .line(lines);
    let servers = Separate::with(&setup);
    let load = Load::new(&servers);
    run(load.create_topic());
    (servers, load)
}

fn store_path(disk: &SmallDisk) -> PathBuf {
    let store: &Path = &disk.store();
    store.to_owned()
}

#[test]
fn a_full_disk_refuses_sends_until_there_is_room_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (mut servers, load) = start(&disk, "cleanFileForciblyEnable=false\n");
    let (mut acknowledged, refusal) = run(load.send_until_refused(0));
    assert_says_full(&refusal);
    assert!(
        acknowledged.len() > DISK_SIZE / 4 / BODY_SIZE,
        "only {} fitted",
        acknowledged.len()
    );

    // Now not a byte is left for anybody, index files and checkpoints included.
    disk.fill();
    assert_all_there(&load, &acknowledged, "on a full disk");
    servers.kill_broker();
    servers.start_broker();
    assert_all_there(&load, &acknowledged, "after kill -9 on a full disk");
    // Segments that have their space already may take some more.
    let (more, refusal) = run(load.send_until_refused(MESSAGES_MAX));
    assert_says_full(&refusal);
    acknowledged.extend(more);
    assert!(servers.stop_broker(), "a clean stop on a full disk");
    servers.start_broker();
    assert_all_there(&load, &acknowledged, "after a clean stop on a full disk");
    let (more, refusal) = run(load.send_until_refused(2 * MESSAGES_MAX));
    assert_says_full(&refusal);
    acknowledged.extend(more);

    std::fs::remove_file(disk.ballast()).unwrap();
    // What was free when sends were refused may be too little for a segment: there must be more room than that.
    let remounted = Command::new("mount")
        .args(["-o", &format!("remount,size={}", 2 * DISK_SIZE)])
        .arg(disk.0.path())
        .status();
    assert!(remounted.unwrap().success());
    let took = run(load.await_send(3 * MESSAGES_MAX));
    println!("sends went on {took:?} after there was room");
    assert!(took < RESUME_LIMIT, "sends went on {took:?} after there was room");
    acknowledged.insert(3 * MESSAGES_MAX as u64);
    servers.kill_broker();
    servers.start_broker();
    assert_all_there(&load, &acknowledged, "at the end");
}

#[test]
fn retention_makes_room_on_a_full_disk_once_it_may() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (servers, load) = start(
        &disk,
        "cleanFileForciblyEnable=false\ndiskSpaceWarningLevelRatio=70\ndiskSpaceCleanForciblyRatio=60\n",
    );
    let (acknowledged, refusal) = run(load.send_until_refused(0));
    assert_says_full(&refusal);
    let changed = async {
        let client = load.client();
        let change = [("cleanFileForciblyEnable", "true")];
        Admin::new(&client).update_broker_config(&load.broker, &change).await
    };
    run(changed).unwrap();
    let took = run(load.await_send(MESSAGES_MAX));
    println!("sends went on {took:?} after retention might delete");
    assert!(
        took < RESUME_LIMIT,
        "sends went on {took:?} after retention might delete"
    );
    // The oldest went, and the newest did not.
    let left = run(load.read_all());
    assert!(
        left.contains(&(MESSAGES_MAX as u64)) && left.len() < acknowledged.len(),
        "{} are left",
        left.len()
    );
    let newest: BTreeSet<u64> = acknowledged.iter().rev().take(left.len() / 2).copied().collect();
    assert!(left.is_superset(&newest), "newer messages went before older ones");
    drop(servers);
}
