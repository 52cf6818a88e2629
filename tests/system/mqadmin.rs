//! Our mqadmin against a running broker: the rows by which the published one is judged, and those of what it has not.

use bytes::Bytes;
use client::{Admin, Client, Message, Producer, PullConsumer};
use protocol::body::heartbeat::{ConsumeFromWhere, ConsumerData};
use protocol::body::queue::WireQueue;
use protocol::body::running_info::{ConsumerRunningInfo, ProcessQueueInfo};
use protocol::body::subscription::SubscriptionData;
use protocol::body::to_java_json;
use protocol::body::topic::TopicConfig;
use protocol::frame::Frame;
use protocol::header_writer::HeaderWriter;
use protocol::model::names::retry_topic;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Handler};
use runtime::probe::{IoPath, Refusal};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::{Cluster, Values, admin_rows, binary, judge, workspace};

const BODIES: usize = 8;
const QUEUES: i32 = 4;

/// Answers for a push consumer: what it says of itself, and that it has handled a message it is given.
#[derive(Default)]
struct Consumer {
    info: RefCell<Bytes>,
}

impl Handler for Consumer {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        if request.is_oneway() {
            return;
        }
        let (code, body) = match request.request_code() {
            RequestCode::GET_CONSUMER_RUNNING_INFO => (ResponseCode::SUCCESS, self.info.borrow().clone()),
            RequestCode::CONSUME_MESSAGE_DIRECTLY => {
                let result = br#"{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"spentTimeMills":3}"#;
                (ResponseCode::SUCCESS, Bytes::from_static(result))
            }
            _ => (ResponseCode::REQUEST_CODE_NOT_SUPPORTED, Bytes::new()),
        };
        let size = body.len();
        let write = |out: &mut bytes::BytesMut| {
            let header = HeaderWriter::response(out, request.serialize(), code, request.opaque());
            header.finish(size).expect("a short answer fits a frame");
        };
        connection.reply_parts(write, [body]);
    }
}

/// A topic of 4 queues with 8 messages, an online consumer group that has consumed them, and an online producer; they stay until
/// `stop` is dropped.
async fn prepare(namesrv: String, ready: Sender<Values>, stop: Receiver<()>) {
    let handler = Rc::new(Consumer::default());
    let consumer =
        Client::with_handler(&namesrv, Rc::clone(&handler) as Rc<dyn Handler>).expect("a name server is given");
    let producer = Client::new(&namesrv).expect("a name server is given");
    let admin = Admin::new(&producer);
    let info = admin.cluster_info().await.expect("the name server answers");
    let data = info.broker_addr_table.values().next().expect("a broker is registered");
    let broker = data.broker_addrs[&0].clone();
    let (topic, group, trace_topic) = ("AdminOrders", "AdminGroup", "AdminTraces");
    for (name, queues) in [(topic, QUEUES), (trace_topic, 1)] {
        let config = TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..TopicConfig::default()
        };
        admin.create_topic(&broker, &config).await.expect("a topic can be made");
    }
    let reader = PullConsumer::new(&consumer, group);
    let sender = Producer::new(&producer, "AdminProducer");
    let queues = reader.queues(topic).await.expect("the topic has a route");
    let subscriptions =
        [topic.to_owned(), retry_topic(group)].map(|name| SubscriptionData::of_tags(&name, "*").expect("all tags"));
    let own = ConsumerRunningInfo {
        properties: [("PROP_CONSUME_TYPE".to_owned(), "CONSUME_PASSIVELY".to_owned())].into(),
        subscription_set: subscriptions.to_vec(),
        mq_table: queues
            .iter()
            .map(|queue| {
                let queue = WireQueue {
                    broker_name: queue.broker_name.to_string(),
                    queue_id: queue.queue_id,
                    topic: queue.topic.to_string(),
                };
                (
                    queue,
                    ProcessQueueInfo {
                        commit_offset: 2,
                        ..ProcessQueueInfo::default()
                    },
                )
            })
            .collect(),
        ..ConsumerRunningInfo::default()
    };
    *handler.info.borrow_mut() = to_java_json(&own).into();
    let consumers = [ConsumerData {
        group_name: group.to_owned(),
        consume_from_where: ConsumeFromWhere::FirstOffset,
        subscription_data_set: subscriptions.to_vec(),
        ..ConsumerData::default()
    }];
    consumer
        .heartbeat(&broker, &[], &consumers)
        .await
        .expect("a consumer may come");
    producer
        .heartbeat(&broker, &["AdminProducer".to_owned()], &[])
        .await
        .expect("a producer may come");
    let mut last = None;
    for (number, queue) in queues.iter().cycle().take(BODIES).enumerate() {
        let message = Message::new(topic, format!("body{number}"))
            .tag(&format!("tag{number}"))
            .keys(&format!("key{number}"));
        last = Some(sender.send_to(queue, &message).await.expect("a message can be sent"));
    }
    for queue in &queues {
        reader.commit_offset(queue, 2).await.expect("an offset can be saved");
    }
    let last = last.expect("there were messages");
    let trace = [
        "SubAfter",
        "REQ",
        &last.unique_id,
        "7",
        "true",
        "key7",
        "0",
        "1700000000000",
        group,
    ]
    .join("\u{1}");
    let trace = Message::new(trace_topic, trace + "\u{2}").keys(&last.unique_id);
    sender.send(&trace).await.expect("a trace can be sent");
    let values = [
        ("namesrv", namesrv),
        ("cluster", data.cluster.clone()),
        ("broker", broker.clone()),
        ("brokerName", data.broker_name.clone()),
        ("topic", topic.to_owned()),
        ("traceTopic", trace_topic.to_owned()),
        ("group", group.to_owned()),
        ("producerGroup", "AdminProducer".to_owned()),
        ("producerClient", producer.client_id().to_owned()),
        ("consumerClient", consumer.client_id().to_owned()),
        ("offsetId", last.offset_message_id),
        ("uniqueKey", last.unique_id),
        ("queueId", last.queue.queue_id.to_string()),
        ("queueOffset", last.queue_offset.to_string()),
        ("new", "AdminNew".to_owned()),
        ("run", "1".to_owned()),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    ready.send(values.into()).expect("the test waits for it");
    let mut told = Instant::now();
    while stop.try_recv() == Err(TryRecvError::Empty) {
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            consumer
                .heartbeat(&broker, &[], &consumers)
                .await
                .expect("a consumer may stay");
        }
        runtime::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs `work` while the prepared clients are there.
fn with_clients(namesrv: &str, work: impl FnOnce(Values)) {
    let (ready, values) = channel();
    let (alive, stop) = channel();
    let namesrv = namesrv.to_owned();
    let clients = thread::spawn(move || {
        let no_files = IoPath::Blocking(Refusal::Configured);
        runtime::core::run_here(&no_files, prepare(namesrv, ready, stop)).expect("an event loop can be made");
    });
    work(
        values
            .recv_timeout(Duration::from_secs(60))
            .expect("the clients get ready"),
    );
    drop(alive);
    clients.join().expect("the clients end");
}

#[test]
fn our_mqadmin_passes_the_rows_of_the_published_one_and_its_own() {
    let cluster = Cluster::for_clients();
    let directory = tempfile::tempdir().expect("a temporary folder can be made");
    let write =
        |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file can be written");
    write(
        "topics.json",
        r#"[{"topicName":"AdminListed","readQueueNums":2,"writeQueueNums":2}]"#,
    );
    write("groups.json", r#"[{"groupName":"AdminListedGroup","retryMaxTimes":3}]"#);
    let table = workspace().join("tests/mqadmin/commands.txt");
    let rows = admin_rows(&std::fs::read_to_string(&table).expect("the table can be read"));
    with_clients(&cluster.namesrv(), |mut values| {
        let mqadmin = binary("mqadmin");
        let failed: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                judge(row, &mqadmin, directory.path(), &mut values)
                    .err()
                    .map(|reason| format!("{}: {reason}", row.name))
            })
            .collect();
        assert!(
            failed.is_empty(),
            "{} of {} rows failed:\n{}",
            failed.len(),
            rows.len(),
            failed.join("\n")
        );
    });
    println!("{} rows passed", rows.len());
    every_command_that_works_is_in_a_row(&table);
}

/// A command that no row runs is a command that may not work.
fn every_command_that_works_is_in_a_row(table: &Path) {
    let text = std::fs::read_to_string(table).expect("the table can be read");
    let run: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ours ").unwrap_or(line).trim().strip_prefix("run "))
        .map(|line| line.split_whitespace().next().unwrap_or_default())
        .collect();
    let output = Command::new(binary("mqadmin"))
        .args(["commands", "-o", "json"])
        .output()
        .expect("mqadmin runs");
    let commands: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("a JSON array");
    let served = commands.iter().filter(|command| command["served"] == true);
    let names = served.map(|command| match command["apache"].as_str() {
        Some("") | None => command["modern"].as_str().unwrap_or_default(),
        Some(apache) => apache,
    });
    let untried: Vec<_> = names.filter(|name| !run.contains(name)).collect();
    assert!(untried.is_empty(), "no row of the table runs {untried:?}");
}

#[test]
fn the_table_in_the_documentation_is_what_mqadmin_says() {
    let output = Command::new(binary("mqadmin"))
        .args(["commands", "--markdown"])
        .output()
        .expect("mqadmin runs");
    let table = String::from_utf8_lossy(&output.stdout);
    let page = std::fs::read_to_string(workspace().join("docs/mqadmin.md")).expect("docs/mqadmin.md can be read");
    assert!(
        page.contains(table.trim_end()),
        "docs/mqadmin.md has another table than `mqadmin commands --markdown`: put that into it"
    );
}
