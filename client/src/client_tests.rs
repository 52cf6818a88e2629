//! The client against name servers and brokers that say what the test wants.

use crate::{Client, Error, Message, Producer, PullConsumer, PullOptions, PullStatus, RouteQueue, SendStatus};
use bytes::BytesMut;
use protocol::body::route::{BrokerData, QueueData, TopicRouteData};
use protocol::body::to_standard_json;
use protocol::frame::{Frame, Serialize};
use protocol::header::send::{SendHeader, SendResponse};
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::BatchItems;
use protocol::message::properties::{self, names};
use protocol::message::record::RecordFields;
use protocol::model::{PhysicalOffset, QueueId, QueueOffset};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Connections, Handler, Limits, serve};
use runtime::probe::{IoPath, Refusal};
use runtime::{JoinHandle, TcpListener, spawn};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// A server of one node: name server and broker `b` in one. Sends are answered with the next of `codes`, then with SUCCESS.
#[derive(Default)]
struct Node {
    address: RefCell<String>,
    codes: RefCell<Vec<ResponseCode>>,
    sends: RefCell<Vec<(i32, i32, String)>>,
    routes: Cell<usize>,
    no_route_for: RefCell<Option<String>>,
    records: RefCell<BytesMut>,
}

impl Node {
    fn start() -> (Rc<Node>, JoinHandle<std::convert::Infallible>) {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let node = Rc::new(Node::default());
        *node.address.borrow_mut() = listener.local_address().unwrap().to_string();
        let handler = Rc::clone(&node) as Rc<dyn Handler>;
        (
            node,
            spawn(serve(listener, Connections::new(Limits::default()), handler)),
        )
    }

    fn address(&self) -> String {
        self.address.borrow().clone()
    }

    fn route(&self, topic: &str) -> Option<Vec<u8>> {
        self.routes.set(self.routes.get() + 1);
        if self.no_route_for.borrow().as_deref() == Some(topic) {
            return None;
        }
        let broker = BrokerData {
            broker_name: "b".into(),
            broker_addrs: [(0, self.address())].into(),
            ..BrokerData::default()
        };
        let queues = QueueData {
            broker_name: "b".into(),
            perm: 6,
            read_queue_nums: 8,
            write_queue_nums: 8,
            topic_sys_flag: 0,
        };
        let route = TopicRouteData {
            broker_datas: vec![broker],
            queue_datas: vec![queues],
            ..TopicRouteData::default()
        };
        Some(to_standard_json(&route))
    }

    fn on_send(&self, request: &Frame, out: &mut BytesMut) {
        let header = SendHeader::decode(request.ext()).unwrap();
        let text = header.properties.unwrap().into_cow().into_owned();
        self.sends.borrow_mut().push((request.code(), header.queue_id, text));
        let code = self.codes.borrow_mut().pop().unwrap_or(ResponseCode::SUCCESS);
        let mut writer = HeaderWriter::response(out, Serialize::Json, code, request.opaque());
        let stored = SendResponse {
            msg_id: "ID".into(),
            queue_id: header.queue_id,
            queue_offset: 42,
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
        };
        stored.encode(&mut writer);
        writer.finish(0).unwrap();
    }
}

impl Handler for Node {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        if request.is_oneway() {
            self.on_send(&request, &mut BytesMut::new());
            return;
        }
        connection.reply(|out| match request.request_code() {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                let topic = request.ext().get("topic").unwrap().into_cow();
                let body = self.route(&topic);
                let code = if body.is_some() {
                    ResponseCode::SUCCESS
                } else {
                    ResponseCode::TOPIC_NOT_EXIST
                };
                let body = body.unwrap_or_default();
                HeaderWriter::response(out, Serialize::Json, code, request.opaque())
                    .finish(body.len())
                    .unwrap();
                out.extend_from_slice(&body);
            }
            RequestCode::PULL_MESSAGE => {
                let records = self.records.borrow();
                let empty = records.is_empty();
                let code = if empty {
                    ResponseCode::PULL_NOT_FOUND
                } else {
                    ResponseCode::SUCCESS
                };
                let mut writer = HeaderWriter::response(out, Serialize::Json, code, request.opaque());
                for (name, value) in [
                    ("suggestWhichBrokerId", 0),
                    ("nextBeginOffset", 7),
                    ("minOffset", 1),
                    ("maxOffset", 9),
                ] {
                    writer.put_i64(name, value);
                }
                writer.finish(records.len()).unwrap();
                out.extend_from_slice(&records);
            }
            _ => self.on_send(&request, out),
        });
    }
}

fn run<F: Future>(test: F) {
    let io = IoPath::Blocking(Refusal::Configured);
    let limited = async {
        runtime::timeout(Duration::from_secs(30), test)
            .await
            .expect("the test hangs")
    };
    runtime::core::run_here(&io, limited).unwrap();
}

#[test]
fn a_message_goes_out_with_unique_id_and_comes_back_with_its_place() {
    run(async {
        let (node, _serving) = Node::start();
        let producer = Producer::new(&Client::new(&node.address()).unwrap(), "g");
        let sent = producer
            .send(&Message::new("T", "body").tag("A").keys("k1 k2"))
            .await
            .unwrap();
        assert_eq!(
            (sent.status, sent.queue_offset, &*sent.queue.broker_name),
            (SendStatus::Ok, 42, "b")
        );
        assert_eq!(sent.unique_id.len(), 32);
        let sends = node.sends.take();
        let property = |name| properties::get(&sends[0].2, name);
        assert_eq!(
            (property(names::TAGS), property(names::KEYS)),
            (Some("A"), Some("k1 k2"))
        );
        assert_eq!(property(names::UNIQ_KEY), Some(sent.unique_id.as_str()));
        assert_eq!(property(names::WAIT), Some("true"));
    });
}

#[test]
fn queues_take_turns_and_the_route_is_asked_for_once() {
    run(async {
        let (node, _serving) = Node::start();
        let producer = Producer::new(&Client::new(&node.address()).unwrap(), "g");
        for _send in 0..16 {
            producer.send(&Message::new("T", "x")).await.unwrap();
        }
        let mut queues: Vec<i32> = node
            .sends
            .borrow()
            .iter()
            .map(|(_code, queue_id, _text)| *queue_id)
            .collect();
        queues.sort_unstable();
        assert_eq!(queues, (0..16).map(|n| n / 2).collect::<Vec<_>>());
        assert_eq!(node.routes.get(), 1);
    });
}

#[test]
fn busy_brokers_are_tried_three_times_and_refusals_that_stay_once() {
    run(async {
        let (node, _serving) = Node::start();
        let producer = Producer::new(&Client::new(&node.address()).unwrap(), "g");
        let busy = ResponseCode::SYSTEM_BUSY;
        *node.codes.borrow_mut() = vec![busy, busy];
        producer.send(&Message::new("T", "x")).await.unwrap();
        assert_eq!(node.sends.take().len(), 3);
        *node.codes.borrow_mut() = vec![busy; 3];
        let error = producer.send(&Message::new("T", "x")).await.unwrap_err();
        assert_eq!((error.code(), node.sends.take().len()), (Some(busy), 3));
        *node.codes.borrow_mut() = vec![ResponseCode::MESSAGE_ILLEGAL];
        let error = producer.send(&Message::new("T", "x")).await.unwrap_err();
        assert_eq!(
            (error.code(), node.sends.take().len()),
            (Some(ResponseCode::MESSAGE_ILLEGAL), 1)
        );
        *node.codes.borrow_mut() = vec![busy];
        let queue = RouteQueue {
            topic: "T".into(),
            broker_name: "b".into(),
            queue_id: 3,
        };
        assert!(
            producer.send_to(&queue, &Message::new("T", "x")).await.is_err(),
            "one queue, one attempt"
        );
        assert_eq!(node.sends.take()[0].1, 3);
    });
}

#[test]
fn stored_but_less_safe_is_a_status_and_no_error() {
    run(async {
        let (node, _serving) = Node::start();
        let producer = Producer::new(&Client::new(&node.address()).unwrap(), "g");
        for (code, status) in [
            (ResponseCode::FLUSH_DISK_TIMEOUT, SendStatus::FlushDiskTimeout),
            (ResponseCode::FLUSH_SLAVE_TIMEOUT, SendStatus::FlushSlaveTimeout),
            (ResponseCode::SLAVE_NOT_AVAILABLE, SendStatus::SlaveNotAvailable),
        ] {
            *node.codes.borrow_mut() = vec![code];
            assert_eq!(producer.send(&Message::new("T", "x")).await.unwrap().status, status);
        }
    });
}

#[test]
fn a_topic_that_does_not_exist_uses_its_templates_brokers() {
    run(async {
        let (node, _serving) = Node::start();
        *node.no_route_for.borrow_mut() = Some("New".into());
        let producer = Producer::new(&Client::new(&node.address()).unwrap(), "g");
        assert_eq!(producer.queues("New").await.unwrap().len(), 4);
        producer.send(&Message::new("New", "x")).await.unwrap();
        *node.no_route_for.borrow_mut() = Some("TBW102".into());
        assert_eq!(producer.queues("Old").await.unwrap().len(), 8);
    });
}

#[test]
fn a_batch_holds_every_message_and_only_one_topic() {
    run(async {
        let (node, _serving) = Node::start();
        let client = Client::new(&node.address()).unwrap();
        let producer = Producer::new(&client, "g");
        let messages: Vec<_> = (0..3).map(|n| Message::new("T", format!("body {n}"))).collect();
        producer.send_batch(&messages).await.unwrap();
        assert_eq!(node.sends.take()[0].0, RequestCode::SEND_BATCH_MESSAGE.0);
        let mixed = [Message::new("T", "x"), Message::new("U", "x")];
        assert!(matches!(producer.send_batch(&mixed).await, Err(Error::BadBatch(_))));
        assert!(matches!(producer.send_batch(&[]).await, Err(Error::BadBatch(_))));
    });
    let mut body = BytesMut::new();
    let item = protocol::message::batch::BatchItem {
        flag: 1,
        body: b"x",
        properties: "".into(),
    };
    protocol::message::batch::put_item(&mut body, &item).unwrap();
    assert_eq!(BatchItems::new(&body).collect_all().unwrap(), [item]);
}

#[test]
fn oneway_sends_arrive() {
    run(async {
        let (node, _serving) = Node::start();
        let producer = Producer::new(&Client::new(&node.address()).unwrap(), "g");
        producer.send_oneway(&Message::new("T", "x")).await.unwrap();
        while node.sends.borrow().is_empty() {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_name_server_that_is_down_is_passed_over() {
    run(async {
        let (node, _serving) = Node::start();
        let dead = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let addresses = format!("{};{}", dead.local_address().unwrap(), node.address());
        drop(dead);
        let client = Client::new(&addresses).unwrap();
        for _ask in 0..3 {
            client.fresh_route("T").await.unwrap();
        }
        assert_eq!(node.routes.get(), 3);
        assert!(matches!(Client::new(" ; "), Err(Error::NoNameServer)));
    });
}

#[test]
fn a_pull_gives_messages_and_offsets() {
    run(async {
        let (node, _serving) = Node::start();
        let client = Client::new(&node.address()).unwrap();
        let consumer = PullConsumer::new(&client, "g");
        let queue = consumer.queues("T").await.unwrap().remove(0);
        let nothing = consumer.pull(&queue, 5, &PullOptions::default()).await.unwrap();
        assert_eq!(
            (nothing.status, nothing.next_begin_offset),
            (PullStatus::NoNewMessage, 7)
        );
        for offset in 5..7 {
            let fields = RecordFields {
                queue_id: QueueId::ZERO,
                flag: 3,
                queue_offset: QueueOffset(offset),
                physical_offset: PhysicalOffset::from_wire(100).unwrap(),
                sys_flag: 0,
                born_timestamp: 1,
                born_host: "127.0.0.1:1".parse().unwrap(),
                store_timestamp: 2,
                store_host: "127.0.0.1:2".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: b"hello",
                topic: "T",
                properties: "TAGS\u{1}A\u{2}",
            };
            fields.encode(&mut node.records.borrow_mut()).unwrap();
        }
        let found = consumer.pull(&queue, 5, &PullOptions::default()).await.unwrap();
        let messages = found.messages().unwrap();
        assert_eq!(
            (found.status, found.min_offset, found.max_offset),
            (PullStatus::Found, 1, 9)
        );
        let seen: Vec<_> = messages
            .iter()
            .map(|message| (message.queue_offset, message.tag(), &message.body[..]))
            .collect();
        assert_eq!(seen, [(5, Some("A"), &b"hello"[..]), (6, Some("A"), b"hello")]);
        node.records.borrow_mut().truncate(120);
        let cut = consumer.pull(&queue, 5, &PullOptions::default()).await.unwrap();
        assert!(cut.messages().is_err(), "a record that is cut is an error");
    });
}
