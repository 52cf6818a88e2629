//! A slave of an Apache master, which is played here by the bytes that it sends: name server, tables and HA port at one address.

use crate::world::{LIMIT, World};
use bytes::{Bytes, BytesMut};
use protocol::frame::Frame;
use protocol::header_writer::HeaderWriter;
use protocol::message::properties::names;
use protocol::message::record::{self, RecordFields};
use protocol::model::{PhysicalOffset, QueueId, QueueOffset};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Connections, Handler, Limits};
use runtime::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

const SLAVE: &str = "brokerRole=SLAVE\nbrokerId=1\nnamesrvAddr=10.0.0.3:10911\n";
const MASTER: &str = "brokerRole=ASYNC_MASTER\nbrokerId=0\nnamesrvAddr=10.0.0.3:10911\n";
const FILE_SIZE: usize = 16 << 10;
/// Queues of topic T that get messages; the last one begins further up.
const QUEUES: i32 = 4;
const FIRST_OF_LAST: i64 = 100;

const TOPICS: &str = r#"{"dataVersion":{"counter":7,"stateVersion":0,"timestamp":1700000000000},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":0},
    "topicConfigTable":{"T":{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":8}},
    "topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}"#;
const GROUPS: &str = r#"{"dataVersion":{"counter":3,"stateVersion":0,"timestamp":1700000000000},"forbiddenTable":{},"subscriptionGroupTable":{
    "g":{"groupName":"g","consumeEnable":true,"retryMaxTimes":5,"retryQueueNums":1}}}"#;
/// Queue 5 is empty: its messages are deleted.
const STATS: &str = r#"{"offsetTable":{{"brokerName":"broker-a","queueId":5,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":50,"minOffset":50}},"topicPutTps":0.0}"#;

/// What the master has and has heard.
#[derive(Default)]
struct Apache {
    log: RefCell<Vec<u8>>,
    next: RefCell<Vec<i64>>,
    offsets: RefCell<String>,
    delays: RefCell<String>,
    /// What it says of where its log begins.
    min: Cell<usize>,
    acknowledged: Cell<u64>,
    connections: Cell<u32>,
}

impl Apache {
    fn put(&self, topic: &str, queue_id: i32, queue_offset: i64, properties: &str) {
        let mut log = self.log.borrow_mut();
        loop {
            let mut out = BytesMut::new();
            let fields = RecordFields {
                queue_id: QueueId::from_wire(queue_id).unwrap(),
                flag: 0,
                queue_offset: QueueOffset(queue_offset),
                physical_offset: PhysicalOffset::from_wire(i64::try_from(log.len()).unwrap()).unwrap(),
                sys_flag: 0,
                born_timestamp: 1,
                born_host: "10.0.0.9:1".parse().unwrap(),
                store_timestamp: runtime::wall_clock_ms(),
                store_host: "10.0.0.3:10911".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &vec![b'x'; 100 + log.len() % 700],
                topic,
                properties,
            };
            fields.encode(&mut out).unwrap();
            let rest = FILE_SIZE - log.len() % FILE_SIZE;
            if out.len() + 8 <= rest {
                log.extend_from_slice(&out);
                return;
            }
            let mut blank = BytesMut::new();
            record::put_blank(&mut blank, i32::try_from(rest).unwrap());
            let end = log.len() + rest;
            log.extend_from_slice(&blank);
            log.resize(end, 0xcd);
        }
    }

    /// Messages of topic T, to its queues in turn.
    fn put_some(&self, count: usize) {
        for _ in 0..count {
            let mut next = self.next.borrow_mut();
            if next.is_empty() {
                *next = vec![0, 0, 0, FIRST_OF_LAST];
            }
            let queue_id = (0..4).min_by_key(|queue| next[*queue] % FIRST_OF_LAST).unwrap();
            let properties = format!("UNIQ_KEY\u{1}{queue_id}-{}\u{2}", next[queue_id]);
            self.put("T", i32::try_from(queue_id).unwrap(), next[queue_id], &properties);
            next[queue_id] += 1;
        }
    }

    fn end(&self) -> u64 {
        self.log.borrow().len() as u64
    }

    fn answer(&self, code: RequestCode) -> (Vec<(&'static str, String)>, String) {
        let body = match code {
            RequestCode::REGISTER_BROKER => {
                let fields = vec![
                    ("haServerAddr", "10.0.0.3:10912".to_owned()),
                    ("masterAddr", "10.0.0.3:10911".to_owned()),
                ];
                return (fields, String::new());
            }
            RequestCode::GET_BROKER_RUNTIME_INFO => format!(
                r#"{{"table":{{"brokerVersionDesc":"V5_5_0","commitLogMinOffset":"{}","commitLogMaxOffset":"{}"}}}}"#,
                self.min.get(),
                self.end()
            ),
            RequestCode::GET_ALL_TOPIC_CONFIG => TOPICS.to_owned(),
            RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => GROUPS.to_owned(),
            RequestCode::GET_ALL_CONSUMER_OFFSET => self.offsets.borrow().clone(),
            RequestCode::GET_ALL_DELAY_OFFSET => self.delays.borrow().clone(),
            RequestCode::GET_TOPIC_STATS_INFO => STATS.to_owned(),
            _ => String::new(),
        };
        (Vec::new(), body)
    }
}

struct Server(Rc<Apache>);

impl Handler for Server {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        let (fields, body) = self.0.answer(request.request_code());
        let write = |out: &mut BytesMut| {
            let mut header = HeaderWriter::response(out, request.serialize(), ResponseCode::SUCCESS, request.opaque());
            for (name, value) in &fields {
                header.put(name, value);
            }
            header.finish(body.len()).unwrap();
        };
        connection.reply_parts(write, [Bytes::from(body.clone())]);
    }
}

async fn run(apache: Rc<Apache>) {
    let ha = TcpListener::bind("10.0.0.3:10912".parse().unwrap(), false).unwrap();
    let shared = Rc::clone(&apache);
    runtime::spawn(async move {
        loop {
            let (stream, _peer) = ha.accept().await.unwrap();
            runtime::spawn(serve_slave(Rc::clone(&shared), stream));
        }
    });
    let listener = TcpListener::bind("10.0.0.3:10911".parse().unwrap(), false).unwrap();
    let connections = Connections::new(Limits::default());
    remoting::serve(listener, connections, Rc::new(Server(apache))).await;
}

/// Apache's HA connection: what the slave says first is where it begins, except that 0 means the last file.
async fn serve_slave(apache: Rc<Apache>, stream: TcpStream) {
    let number = apache.connections.get() + 1;
    apache.connections.set(number);
    let stream = Rc::new(stream);
    let mut heard = BytesMut::new();
    while heard.len() < 8 {
        heard.reserve(64);
        if stream.read(&mut heard).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let mut at = usize::try_from(u64::from_be_bytes(heard.split_to(8)[..].try_into().unwrap())).unwrap();
    if at == 0 {
        at = (apache.log.borrow().len() - 1) / FILE_SIZE * FILE_SIZE;
    }
    let (listening, told) = (Rc::clone(&stream), Rc::clone(&apache));
    runtime::spawn(async move {
        let mut last = 0;
        while listening.read(&mut heard).await.unwrap_or(0) > 0 {
            while heard.len() >= 8 {
                let position = u64::from_be_bytes(heard.split_to(8)[..].try_into().unwrap());
                assert!(position >= last, "acknowledgements go forward");
                last = position;
                if told.connections.get() == number {
                    told.acknowledged.set(position);
                }
            }
            heard.reserve(64);
        }
    });
    loop {
        let part = {
            let log = apache.log.borrow();
            let size = log.len().saturating_sub(at).min(700).min(FILE_SIZE - at % FILE_SIZE);
            log.get(at..at + size).unwrap_or_default().to_vec()
        };
        let size = u32::try_from(part.len()).unwrap();
        let frame = [&(at as u64).to_be_bytes()[..], &size.to_be_bytes(), &part].concat();
        let mut sent = 0;
        while sent < frame.len() {
            match stream.try_write(&[IoSlice::new(&frame[sent..])]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if stream.writable().await.is_err() {
                        return;
                    }
                }
                Err(_gone) => return,
            }
        }
        at += part.len();
        runtime::sleep(Duration::from_millis(if part.is_empty() { 100 } else { 1 })).await;
    }
}

struct Pair {
    world: World,
    apache: Rc<Apache>,
    master: runtime::sim::NodeId,
}

impl Pair {
    fn new(messages: usize) -> Pair {
        let world = World::new(SLAVE, &[]);
        let master = world.simulation.node("apache", IpAddr::from([10, 0, 0, 3]));
        let apache: Rc<Apache> = Rc::default();
        *apache.offsets.borrow_mut() = r#"{"offsetTable":{}}"#.to_owned();
        *apache.delays.borrow_mut() = r#"{"offsetTable":{}}"#.to_owned();
        let shared = Rc::clone(&apache);
        world.simulation.start(master, move || run(Rc::clone(&shared)));
        world.simulation.on(master, || apache.put_some(messages));
        Pair { world, apache, master }
    }

    fn put_some(&self, count: usize) {
        self.world.simulation.on(self.master, || self.apache.put_some(count));
    }

    /// Until the slave has acknowledged all.
    fn await_copy(&self) {
        let apache = Rc::clone(&self.apache);
        let all = move || apache.acknowledged.get() == apache.end();
        self.world.simulation.run_until(all, LIMIT).unwrap();
    }

    /// Each queue of T has what the master put there.
    fn assert_copied(&self) {
        for queue_id in 0..QUEUES {
            let first = if queue_id == 3 { FIRST_OF_LAST } else { 0 };
            let end = self.apache.next.borrow()[usize::try_from(queue_id).unwrap()];
            let mut at = first;
            while at < end {
                let pulled = self.world.pull("g", "T", queue_id, at);
                assert_eq!(pulled.code(), ResponseCode::SUCCESS, "queue {queue_id} at {at}");
                assert_eq!((pulled.number("minOffset"), pulled.number("maxOffset")), (first, end));
                for record in record::Records::new(pulled.0.body()) {
                    let record = record.unwrap();
                    let expected = format!("{queue_id}-{at}");
                    assert_eq!(record.property(names::UNIQ_KEY), Some(expected.as_str()));
                    at += 1;
                }
            }
        }
    }
}

#[test]
fn a_slave_of_an_apache_master_has_all_its_messages_tables_and_offsets_and_takes_over() {
    let pair = Pair::new(300);
    let (world, apache) = (&pair.world, &pair.apache);
    // Queue 1 is not as far as that.
    *apache.offsets.borrow_mut() = r#"{"offsetTable":{"T@g":{0:5,1:100000,3:110}}}"#.to_owned();
    pair.await_copy();
    let topics = world.ask(RequestCode::GET_ALL_TOPIC_CONFIG, &[], b"");
    let topics = String::from_utf8_lossy(topics.0.body()).into_owned();
    assert!(topics.contains("\"T\""), "the tables come before the log: {topics}");
    world.run_for(3);
    pair.assert_copied();
    let committed = |queue_id| world.committed("g", "T", queue_id).number("offset");
    assert_eq!((committed(0), committed(3)), (5, 110));
    assert_eq!(committed(1), apache.next.borrow()[1]);
    assert_ne!(world.send("T", 0, b"to a slave").code(), ResponseCode::SUCCESS);
    // What the master says later moves offsets forward only.
    *apache.offsets.borrow_mut() = r#"{"offsetTable":{"T@g":{0:9,3:104}}}"#.to_owned();
    pair.put_some(40);
    pair.await_copy();
    world.run_for(3);
    assert_eq!((committed(0), committed(3)), (9, 110));
    world.simulation.kill(pair.master);
    world.stop();
    world.configure(MASTER);
    world.restart();
    pair.assert_copied();
    assert_eq!((committed(0), committed(3)), (9, 110));
    for (queue_id, next) in [
        (0, apache.next.borrow()[0]),
        (3, apache.next.borrow()[3]),
        (5, 50),
        (6, 0),
    ] {
        let sent = world.send("T", queue_id, b"to the new master");
        assert_eq!((sent.code(), sent.number("queueOffset")), (ResponseCode::SUCCESS, next));
    }
    // It is nobody's slave any more, least of all of Apache's.
    assert!(world.file("copies-apache-master").is_none());
}

#[test]
fn a_topic_of_the_masters_last_moment_is_made_again_and_its_messages_can_be_read() {
    let pair = Pair::new(10);
    let world = &pair.world;
    pair.await_copy();
    // The master has messages of topics that it never told of.
    world.simulation.on(pair.master, || {
        pair.apache.put("fresh", 2, 0, "");
        pair.apache.put("%RETRY%g", 0, 0, "");
    });
    pair.await_copy();
    world.simulation.kill(pair.master);
    world.stop();
    world.configure(MASTER);
    world.restart();
    assert_eq!(world.pull("g", "fresh", 2, 0).code(), ResponseCode::SUCCESS);
    assert_eq!(world.pull("g", "%RETRY%g", 0, 0).code(), ResponseCode::SUCCESS);
    let sent = world.send("fresh", 2, b"to the new master");
    assert_eq!((sent.code(), sent.number("queueOffset")), (ResponseCode::SUCCESS, 1));
}

#[test]
fn a_copy_that_is_killed_anywhere_goes_on_without_loss_or_repetition() {
    let pair = Pair::new(50);
    for round in 0..12 {
        pair.put_some(40);
        pair.world.simulation.run_for(Duration::from_millis(40 * round));
        if round % 3 == 0 {
            pair.world.simulation.crash(pair.world.broker);
        } else {
            pair.world.simulation.kill(pair.world.broker);
        }
        // A power cut in async flush takes what was acknowledged and not synced: the master has it still.
        pair.apache.acknowledged.set(0);
        pair.apache.connections.set(pair.apache.connections.get() + 1);
        pair.world.restart();
    }
    pair.await_copy();
    pair.world.run_for(3);
    pair.assert_copied();
    assert!(
        pair.apache.connections.get() > 15,
        "{} connections",
        pair.apache.connections.get()
    );
}

#[test]
fn delayed_messages_go_on_waiting_and_only_what_was_not_delivered_comes() {
    let pair = Pair::new(4);
    let (world, apache) = (&pair.world, &pair.apache);
    world.simulation.on(pair.master, || {
        for queue_offset in 0..3 {
            let properties = format!(
                "DELAY\u{1}5\u{2}REAL_TOPIC\u{1}T\u{2}REAL_QID\u{1}6\u{2}UNIQ_KEY\u{1}late-{queue_offset}\u{2}"
            );
            // Level 5 is a minute.
            apache.put("SCHEDULE_TOPIC_XXXX", 4, queue_offset, &properties);
        }
    });
    *apache.delays.borrow_mut() = r#"{"offsetTable":{5:1}}"#.to_owned();
    pair.await_copy();
    world.run_for(3);
    world.simulation.kill(pair.master);
    world.stop();
    world.configure(MASTER);
    world.restart();
    let waiting = world.pull("g", "T", 6, 0);
    assert_ne!(waiting.code(), ResponseCode::SUCCESS);
    world.run_for(70);
    let pulled = world.pull("g", "T", 6, 0);
    let keys: Vec<String> = record::Records::new(pulled.0.body())
        .map(|record| record.unwrap().property(names::UNIQ_KEY).unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["late-1", "late-2"]);
}

#[test]
fn a_master_that_has_lost_its_log_is_not_copied_again() {
    let pair = Pair::new(100);
    pair.await_copy();
    pair.world.simulation.kill(pair.world.broker);
    pair.apache.log.borrow_mut().clear();
    pair.apache.next.borrow_mut().clear();
    pair.put_some(10);
    let connections = pair.apache.connections.get();
    pair.world.restart();
    pair.world.run_for(10);
    assert_eq!(pair.apache.connections.get(), connections);
    assert_eq!(pair.world.pull("g", "T", 0, 0).number("maxOffset"), 25);
}
