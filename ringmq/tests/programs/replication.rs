//! A master and its slave, each killed in turn: the slave has what its master had.

use crate::{Down, path, run, services, status, text};
use client::{Admin, Client, Message, Producer, PullConsumer, PullOptions};
use protocol::body::group::SubscriptionGroupConfig;
use runtime::probe::{IoPath, Refusal};
use std::fs::File;
use std::io::Read as _;
use std::process::Command;
use std::time::{Duration, Instant};

const NAME_SERVERS: &str = "127.0.0.1:25476";
const MASTER: &str = "127.0.0.1:25411";
const SLAVE: &str = "127.0.0.1:25431";
const TOPIC: &str = "replicated";
const LIMIT: Duration = Duration::from_secs(30);

fn up(data: &str) {
    let output = run(&[
        "up",
        "1m1s",
        "--detach",
        "--data",
        data,
        "--namesrv-port",
        "25476",
        "--port",
        "25411",
    ]);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

fn kill(data: &str, name: &str) {
    let (_, pid, _) = services(&status(data).1)
        .into_iter()
        .find(|(service, ..)| service == name)
        .unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

fn run_here<T>(work: impl Future<Output = T>) -> T {
    runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), work).unwrap()
}

/// Sends messages `first..first + 100`, and commits that a group has read so many.
async fn send(first: usize) {
    let client = Client::new(NAME_SERVERS).unwrap();
    let group = SubscriptionGroupConfig {
        group_name: "readers".to_owned(),
        ..SubscriptionGroupConfig::default()
    };
    Admin::new(&client).create_group(MASTER, &group).await.unwrap();
    let producer = Producer::new(&client, "p");
    for number in first..first + 100 {
        let body = format!("message {number}");
        producer
            .send(&Message::new(TOPIC, body).keys(&format!("key{number}")))
            .await
            .unwrap();
    }
    let consumer = PullConsumer::new(&client, "readers");
    for queue in consumer.queues(TOPIC).await.unwrap() {
        let max = consumer.max_offset(&queue).await.unwrap();
        consumer.commit_offset(&queue, max).await.unwrap();
    }
}

/// Bodies of all messages that a broker of the route gives, and how far the group says that it has read.
async fn read_all() -> Result<(Vec<String>, i64), client::Error> {
    let client = Client::new(NAME_SERVERS)?;
    let consumer = PullConsumer::new(&client, "readers");
    let (mut bodies, mut read) = (Vec::new(), 0);
    for queue in consumer.queues(TOPIC).await? {
        let max = consumer.max_offset(&queue).await?;
        read += consumer.committed_offset(&queue).await?.unwrap_or(0);
        let mut offset = 0;
        while offset < max {
            let pulled = consumer.pull(&queue, offset, &PullOptions::default()).await?;
            for message in pulled.messages().unwrap() {
                assert_eq!(message.queue_offset, offset, "a gap in queue {}", queue.queue_id);
                bodies.push(String::from_utf8(message.body.to_vec()).unwrap());
                offset += 1;
            }
        }
    }
    bodies.sort();
    Ok((bodies, read))
}

/// Waits until what the route's brokers give is messages `0..count`, all of them read by the group.
fn await_messages(count: usize, why: &str) {
    let mut expected: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
    expected.sort();
    let end = Instant::now() + LIMIT;
    loop {
        let found = run_here(read_all());
        if let Ok((bodies, read)) = &found
            && *bodies == expected
            && usize::try_from(*read) == Ok(count)
        {
            return;
        }
        let found = found.map(|(bodies, read)| (bodies.len(), read));
        assert!(Instant::now() < end, "{why}: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_slave_has_what_its_master_had_whichever_of_them_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(&folder, "data");
    let _down = Down(data.clone());
    up(&data);
    run_here(send(0));
    // The slave misses a part, and gets it when it is back.
    kill(&data, "broker-a-s");
    run_here(send(100));
    up(&data);
    run_here(send(200));
    // How far the slave is can be seen only from the slave; the master goes once both logs are the same.
    await_same_logs(&data);
    kill(&data, "broker-a");
    await_messages(300, "the slave alone");

    // A slave takes nothing of its own, and says why.
    let refused = run_here(async {
        let client = Client::new(NAME_SERVERS).unwrap();
        let topic = protocol::body::topic::TopicConfig {
            topic_name: "new".to_owned(),
            ..Default::default()
        };
        Admin::new(&client).create_topic(SLAVE, &topic).await.unwrap_err()
    });
    assert!(refused.to_string().contains("this broker is a slave"), "{refused}");

    // The master comes back, and the slave goes on copying it.
    up(&data);
    run_here(send(300));
    await_same_logs(&data);
    kill(&data, "broker-a");
    await_messages(400, "the slave alone, after the master was back");
    assert!(run(&["down", "--data", &data]).status.success());
}

/// Waits until the files of both logs hold the same bytes.
fn await_same_logs(data: &str) {
    let end = Instant::now() + LIMIT;
    let logs = |broker: &str| {
        let store = format!("{data}/{broker}/store");
        let mut logs = Vec::new();
        for shard in std::fs::read_dir(store).unwrap() {
            let commitlog = shard.unwrap().path().join("commitlog");
            for file in std::fs::read_dir(commitlog).into_iter().flatten() {
                let path = file.unwrap().path();
                // All that is sent here lies at the begin of a large file.
                let mut bytes = Vec::new();
                File::open(&path)
                    .unwrap()
                    .take(4 << 20)
                    .read_to_end(&mut bytes)
                    .unwrap();
                // The next segment is made ahead.
                if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                    logs.push((
                        path.iter().rev().take(3).map(ToOwned::to_owned).collect::<Vec<_>>(),
                        bytes[..=last].to_vec(),
                    ));
                }
            }
        }
        logs.sort();
        logs
    };
    while logs("broker-a") != logs("broker-a-s") {
        assert!(Instant::now() < end, "the slave does not get what its master has");
        std::thread::sleep(Duration::from_millis(50));
    }
}
