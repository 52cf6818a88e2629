//! Name server and broker in one, in a thread of the test: it stalls, drops, doubles and swaps as the test wants.

use bytes::BytesMut;
use protocol::body::route::{BrokerData, QueueData, TopicRouteData};
use protocol::body::to_standard_json;
use protocol::frame::{Frame, Serialize};
use protocol::header::pull::PullHeader;
use protocol::header::send::{SendHeader, SendResponse};
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::BatchItems;
use protocol::message::record::RecordFields;
use protocol::model::{PhysicalOffset, QueueId, QueueOffset};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{CloseReason, Connection, Connections, Handler, Limits, serve};
use runtime::probe::{IoPath, Refusal};
use runtime::sync::oneshot;
use runtime::{Instant, TcpListener};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The broker's name in routes, and so in what a checker says.
pub(crate) const BROKER: &str = "fake";

/// What is wrong with the broker. Messages are numbered as they come, from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// So long after the first send it answers nothing, for so long.
    pub(crate) stall: Option<(Duration, Duration)>,
    /// So long after the first send it closes every connection that sends something, for so long, and stores nothing.
    pub(crate) hang_up: Option<(Duration, Duration)>,
    /// It acknowledges this message and keeps nothing of it.
    pub(crate) drop: Option<u64>,
    /// It keeps this message twice.
    pub(crate) double: Option<u64>,
    /// It keeps this message behind the next one of the same queue.
    pub(crate) swap: Option<u64>,
    /// It flips a bit of this message's body.
    pub(crate) flip: Option<u64>,
    /// It answers sends with this code instead of SUCCESS.
    pub(crate) code: Option<ResponseCode>,
}

/// The running server; it ends with this value.
pub(crate) struct Fake {
    /// Address of its name server.
    pub(crate) namesrv: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Tests that measure time must not meet each other.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Fake {
    pub(crate) fn start(queues: usize, faults: Faults) -> Fake {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (stop, stopped) = oneshot::channel();
        let (to, address) = channel();
        let work = async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
            let address = listener.local_address().unwrap().to_string();
            let node = Rc::new(Node {
                address: address.clone(),
                faults,
                queues: RefCell::new((0..queues).map(|_queue| Vec::new()).collect()),
                received: Cell::new(0),
                first_send: Cell::new(None),
                swapping: Cell::new(None),
            });
            let serving = runtime::spawn(serve(listener, Connections::new(Limits::default()), node));
            to.send(address).unwrap();
            // The test drops the sender.
            let _dropped = stopped.await;
            serving.abort();
        };
        let thread = std::thread::spawn(move || {
            runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), work).unwrap();
        });
        Fake {
            namesrv: address.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
            _alone: alone,
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A stored message; one that was dropped has its place and no body.
struct Stored {
    queue_offset: i64,
    body: Vec<u8>,
}

struct Node {
    address: String,
    faults: Faults,
    queues: RefCell<Vec<Vec<Stored>>>,
    received: Cell<u64>,
    first_send: Cell<Option<Instant>>,
    /// The queue whose last message is to change places with the next.
    swapping: Cell<Option<usize>>,
}

impl Node {
    fn route(&self) -> Vec<u8> {
        let count = i32::try_from(self.queues.borrow().len()).unwrap();
        to_standard_json(&TopicRouteData {
            broker_datas: vec![BrokerData {
                broker_name: BROKER.into(),
                broker_addrs: [(0, self.address.clone())].into(),
                ..BrokerData::default()
            }],
            queue_datas: vec![QueueData {
                broker_name: BROKER.into(),
                perm: 6,
                read_queue_nums: count,
                write_queue_nums: count,
                topic_sys_flag: 0,
            }],
            ..TopicRouteData::default()
        })
    }

    /// The end of this span after the first send, if a send that comes now falls into it.
    fn end_of(&self, span: Option<(Duration, Duration)>) -> Option<Instant> {
        let (after, length) = span?;
        let first = self.first_send.get().unwrap_or_else(Instant::now);
        self.first_send.set(Some(first));
        let (begin, end) = (first + after, first + after + length);
        (begin..end).contains(&Instant::now()).then_some(end)
    }

    /// Stores the messages of a request; the queue, and the offset of the first.
    fn store(&self, request: &Frame) -> (i32, i64) {
        let header = SendHeader::decode(request.ext()).unwrap();
        let place = usize::try_from(header.queue_id).unwrap();
        let first = self.end(place);
        if header.batch {
            for item in BatchItems::new(request.body()) {
                self.store_one(place, item.unwrap().body);
            }
        } else {
            self.store_one(place, request.body());
        }
        (header.queue_id, first)
    }

    fn end(&self, place: usize) -> i64 {
        self.queues.borrow()[place]
            .last()
            .map_or(0, |last| last.queue_offset + 1)
    }

    fn store_one(&self, place: usize, body: &[u8]) {
        let number = self.received.replace(self.received.get() + 1);
        let is = |fault: Option<u64>| fault == Some(number);
        let queue_offset = self.end(place);
        let mut body = if is(self.faults.drop) {
            Vec::new()
        } else {
            body.to_vec()
        };
        if is(self.faults.flip) {
            *body.last_mut().unwrap() ^= 1;
        }
        let queue = &mut self.queues.borrow_mut()[place];
        if is(self.faults.double) {
            queue.push(Stored {
                queue_offset,
                body: body.clone(),
            });
            body.clone_from(&queue.last().unwrap().body);
        }
        queue.push(Stored {
            queue_offset: queue_offset + i64::from(is(self.faults.double)),
            body,
        });
        if self.swapping.get() == Some(place) {
            self.swapping.set(None);
            let last = queue.len() - 1;
            let (head, tail) = queue.split_at_mut(last);
            std::mem::swap(&mut head[last - 1].body, &mut tail[0].body);
        }
        if is(self.faults.swap) {
            self.swapping.set(Some(place));
        }
    }

    fn answer_send(&self, request: &Frame, (queue_id, queue_offset): (i32, i64), out: &mut BytesMut) {
        let code = self.faults.code.unwrap_or(ResponseCode::SUCCESS);
        let mut writer = HeaderWriter::response(out, Serialize::Json, code, request.opaque());
        let stored = SendResponse {
            msg_id: "7F00000100002A9F0000000000000000".into(),
            queue_id,
            queue_offset,
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
        };
        stored.encode(&mut writer);
        writer.finish(0).unwrap();
    }

    fn answer_pull(&self, request: &Frame, out: &mut BytesMut) {
        let header = PullHeader::decode(request.ext()).unwrap();
        let place = usize::try_from(header.queue_id).unwrap();
        let end = self.end(place);
        let queues = self.queues.borrow();
        let from = usize::try_from(header.queue_offset).unwrap();
        let most = usize::try_from(header.max_msg_nums).unwrap();
        let given = queues[place].iter().skip(from).take(most);
        let next = header.queue_offset + i64::try_from(given.len()).unwrap();
        let mut records = BytesMut::new();
        for stored in given.filter(|stored| !stored.body.is_empty()) {
            record(&header.topic, header.queue_id, stored, &mut records);
        }
        let code = if records.is_empty() {
            ResponseCode::PULL_NOT_FOUND
        } else {
            ResponseCode::SUCCESS
        };
        let mut writer = HeaderWriter::response(out, Serialize::Json, code, request.opaque());
        for (name, value) in [
            ("suggestWhichBrokerId", 0),
            ("nextBeginOffset", next),
            ("minOffset", 0),
            ("maxOffset", end),
        ] {
            writer.put_i64(name, value);
        }
        writer.finish(records.len()).unwrap();
        out.extend_from_slice(&records);
    }
}

fn record(topic: &str, queue_id: i32, stored: &Stored, out: &mut BytesMut) {
    let host = std::net::SocketAddr::from(([127, 0, 0, 1], 10911));
    let fields = RecordFields {
        queue_id: QueueId::from_wire(queue_id).unwrap(),
        flag: 0,
        queue_offset: QueueOffset(stored.queue_offset),
        physical_offset: PhysicalOffset::from_wire(0).unwrap(),
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &stored.body,
        topic,
        properties: "",
    };
    fields.encode(out).unwrap();
}

/// Answers with an offset, or with nothing but a code.
fn answer(request: &Frame, code: ResponseCode, offset: Option<i64>, out: &mut BytesMut) {
    let mut writer = HeaderWriter::response(out, Serialize::Json, code, request.opaque());
    if let Some(offset) = offset {
        writer.put_i64("offset", offset);
    }
    writer.finish(0).unwrap();
}

impl Handler for Node {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        match request.request_code() {
            RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
                if self.end_of(self.faults.hang_up).is_some() {
                    connection.close(CloseReason::Ours("the test wants it"));
                    return;
                }
                let mut answer = BytesMut::new();
                self.answer_send(&request, self.store(&request), &mut answer);
                match self.end_of(self.faults.stall) {
                    None => connection.reply(|out| out.extend_from_slice(&answer)),
                    Some(end) => {
                        let connection = Rc::clone(connection);
                        runtime::spawn(async move {
                            runtime::sleep_until(end).await;
                            connection.reply(|out| out.extend_from_slice(&answer));
                        });
                    }
                }
            }
            RequestCode::PULL_MESSAGE => connection.reply(|out| self.answer_pull(&request, out)),
            RequestCode::GET_MIN_OFFSET => {
                connection.reply(|out| answer(&request, ResponseCode::SUCCESS, Some(0), out));
            }
            RequestCode::GET_MAX_OFFSET => {
                let place: usize = request.ext().get("queueId").unwrap().into_cow().parse().unwrap();
                let end = self.end(place);
                connection.reply(|out| answer(&request, ResponseCode::SUCCESS, Some(end), out));
            }
            RequestCode::GET_ROUTEINFO_BY_TOPIC => connection.reply(|out| {
                let body = self.route();
                HeaderWriter::response(out, Serialize::Json, ResponseCode::SUCCESS, request.opaque())
                    .finish(body.len())
                    .unwrap();
                out.extend_from_slice(&body);
            }),
            _ => connection.reply(|out| answer(&request, ResponseCode::REQUEST_CODE_NOT_SUPPORTED, None, out)),
        }
    }
}
