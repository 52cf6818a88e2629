//! Sending messages.

use crate::core::{Client, no_answer};
use crate::error::Error;
use crate::message::Message;
use crate::route::{Route, RouteQueue};
use bytes::{Bytes, BytesMut};
use protocol::ext::ExtText;
use protocol::frame::Frame;
use protocol::header::send::{SendHeader, SendResponse};
use protocol::message::batch::{BatchItem, put_item};
use protocol::message::properties::{self, names};
use protocol::model::names::AUTO_CREATE_TOPIC;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Invocation, RequestError};
use std::cell::Cell;
use std::rc::Rc;

/// Further attempts of a send that may be repeated: `retryTimesWhenSendFailed`.
const RETRIES: usize = 2;
/// Queues of a topic that a send creates: `defaultTopicQueueNums`.
const DEFAULT_QUEUES: i32 = 4;

/// How safe a message is that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As safe as the broker is configured to make it.
    Ok,
    /// Stored, but not flushed in time.
    FlushDiskTimeout,
    /// Stored, but no slave has it in time.
    FlushSlaveTimeout,
    /// Stored, but there is no slave.
    SlaveNotAvailable,
}

impl SendStatus {
    /// The status that an answer's code means; `None` if the message is not stored.
    #[must_use]
    pub fn of(code: ResponseCode) -> Option<SendStatus> {
        match code {
            ResponseCode::SUCCESS => Some(SendStatus::Ok),
            ResponseCode::FLUSH_DISK_TIMEOUT => Some(SendStatus::FlushDiskTimeout),
            ResponseCode::FLUSH_SLAVE_TIMEOUT => Some(SendStatus::FlushSlaveTimeout),
            ResponseCode::SLAVE_NOT_AVAILABLE => Some(SendStatus::SlaveNotAvailable),
            _ => None,
        }
    }

    /// As RocketMQ's clients print it: `SEND_OK`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SendStatus::Ok => "SEND_OK",
            SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        }
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// How safe it is.
    pub status: SendStatus,
    /// The id by broker address and physical offset; those of a batch parted by commas.
    pub offset_message_id: String,
    /// The id that this client gave it.
    pub unique_id: String,
    /// Where it is.
    pub queue: RouteQueue,
    /// Its place in the queue; of the first, if it is a batch.
    pub queue_offset: i64,
}

/// Sends messages of one producer group.
#[derive(Clone, Debug)]
pub struct Producer {
    client: Client,
    group: Rc<str>,
    /// The next queue, of whatever topic.
    turn: Rc<Cell<usize>>,
}

/// A message or batch whose wire form is made already: for load generators, to which each allocation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared<'a> {
    /// All properties, the unique id among them.
    pub properties: &'a str,
    /// Whether the body is a batch.
    pub batch: bool,
    /// `MessageSysFlag`.
    pub sys_flag: i32,
}

/// What goes over the wire for one message or batch.
struct Parcel {
    topic: Rc<str>,
    properties: String,
    unique_id: String,
    body: Bytes,
    flag: i32,
    batch: bool,
}

impl Producer {
    /// A producer of that group.
    #[must_use]
    pub fn new(client: &Client, group: &str) -> Producer {
        let bound = runtime::rng::random_below(1 << 20);
        let turn = Rc::new(Cell::new(usize::try_from(bound).unwrap_or(0)));
        Producer {
            client: client.clone(),
            group: group.into(),
            turn,
        }
    }

    /// Sends a message to a queue of the producer's choice, and tries up to two more times, at another broker if there is
    /// one, if that cannot harm. A message may come twice when an answer was lost.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn send(&self, message: &Message) -> Result<SendResult, Error> {
        self.send_parcel(&self.parcel(message)).await
    }

    /// Sends messages of one topic as a batch: they are stored together.
    ///
    /// # Errors
    /// The last attempt's; or that they have several topics, or none is given.
    pub async fn send_batch(&self, messages: &[Message]) -> Result<SendResult, Error> {
        self.send_parcel(&self.batch(messages)?).await
    }

    /// Sends a message to one queue, once.
    ///
    /// # Errors
    /// Whatever went wrong; the message may be stored none the less if no answer came.
    pub async fn send_to(&self, queue: &RouteQueue, message: &Message) -> Result<SendResult, Error> {
        let address = self.master_of(&*self.route(&message.topic).await?, queue)?;
        self.attempt(&address, queue, &self.parcel(message)).await
    }

    /// Sends a message without asking what became of it.
    ///
    /// # Errors
    /// When it could not be written to a connection.
    pub async fn send_oneway(&self, message: &Message) -> Result<(), Error> {
        let route = self.route(&message.topic).await?;
        let queue = self.pick(&route, &message.topic, None)?;
        let address = self.master_of(&route, &queue)?;
        let parcel = self.parcel(message);
        let request = RequestCode::SEND_MESSAGE_V2;
        let write = |writer: &mut protocol::header_writer::HeaderWriter<'_>| {
            self.header(&queue, &parcel).encode_v2(writer);
        };
        let sent = self
            .client
            .rpc()
            .notify(&address, request, write, parcel.body.clone())
            .await;
        sent.map_err(|error| no_answer(request, &address, error))
    }

    /// Puts a message onto a connection to the queue's master and gives the answer to wait for: many can be under way. The
    /// answer is read by [`Producer::result`].
    ///
    /// # Errors
    /// When the connection is closed or has too many requests under way.
    pub fn start_send(
        &self,
        connection: &Rc<Connection>,
        queue: &RouteQueue,
        message: &Message,
    ) -> Result<Invocation, RequestError> {
        let parcel = self.parcel(message);
        let header = self.header(queue, &parcel);
        connection.request(
            RequestCode::SEND_MESSAGE_V2,
            |writer| header.encode_v2(writer),
            message.body.clone(),
        )
    }

    /// As [`Producer::start_send`], for a message to the queue's topic that is complete, its body in parts of `body_size`
    /// bytes in all.
    ///
    /// # Errors
    /// As [`Producer::start_send`].
    pub fn start_prepared(
        &self,
        connection: &Rc<Connection>,
        queue: &RouteQueue,
        message: Prepared<'_>,
        body_size: usize,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<Invocation, RequestError> {
        let header = SendHeader {
            sys_flag: message.sys_flag,
            batch: message.batch,
            ..self.plain_header(queue, message.properties)
        };
        let request = if message.batch {
            RequestCode::SEND_BATCH_MESSAGE
        } else {
            RequestCode::SEND_MESSAGE_V2
        };
        connection.request_parts(request, |writer| header.encode_v2(writer), body_size, body)
    }

    /// Reads the answer to a send.
    ///
    /// # Errors
    /// [`Error::Refused`] for codes that mean that the message is not stored; [`Error::BadHeader`].
    pub fn result(address: &str, queue: &RouteQueue, answer: &Frame) -> Result<SendResult, Error> {
        let request = RequestCode::SEND_MESSAGE_V2;
        let status = SendStatus::of(answer.response_code()).ok_or_else(|| Error::refused(request, address, answer))?;
        let response = SendResponse::decode(answer.ext()).map_err(|error| Error::BadHeader {
            request,
            address: address.to_owned(),
            error,
        })?;
        Ok(SendResult {
            status,
            offset_message_id: response.msg_id.into_owned(),
            unique_id: response
                .transaction_id
                .map(std::borrow::Cow::into_owned)
                .unwrap_or_default(),
            queue: RouteQueue {
                queue_id: response.queue_id,
                ..queue.clone()
            },
            queue_offset: response.queue_offset,
        })
    }

    /// The queues that messages of a topic can go to. A topic that does not exist has those that a send would create.
    ///
    /// # Errors
    /// As [`Client::fresh_route`].
    pub async fn queues(&self, topic: &str) -> Result<Vec<RouteQueue>, Error> {
        Ok(self.route(topic).await?.write_queues.clone())
    }

    async fn send_parcel(&self, parcel: &Parcel) -> Result<SendResult, Error> {
        let mut failed_at: Option<Rc<str>> = None;
        let mut attempt = 0;
        loop {
            let route = self.route(&parcel.topic).await?;
            let queue = self.pick(&route, &parcel.topic, failed_at.as_deref())?;
            let address = self.master_of(&route, &queue)?;
            match self.attempt(&address, &queue, parcel).await {
                Err(error) if attempt < RETRIES && may_retry(&error) => {
                    tracing::debug!(%error, attempt, "send is tried again");
                    self.client.forget_route(&parcel.topic);
                    failed_at = Some(queue.broker_name);
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn attempt(&self, address: &str, queue: &RouteQueue, parcel: &Parcel) -> Result<SendResult, Error> {
        let request = if parcel.batch {
            RequestCode::SEND_BATCH_MESSAGE
        } else {
            RequestCode::SEND_MESSAGE_V2
        };
        let write = |writer: &mut protocol::header_writer::HeaderWriter<'_>| {
            self.header(queue, parcel).encode_v2(writer);
        };
        let limit = self.client.request_limit();
        let answer = self
            .client
            .rpc()
            .invoke(address, request, write, parcel.body.clone(), limit)
            .await;
        let answer = answer.map_err(|error| no_answer(request, address, error))?;
        let mut result = Producer::result(address, queue, &answer)?;
        if result.unique_id.is_empty() {
            result.unique_id.clone_from(&parcel.unique_id);
        }
        Ok(result)
    }

    async fn route(&self, topic: &str) -> Result<Rc<Route>, Error> {
        match self.client.route(topic).await {
            Err(error) if error.code() == Some(ResponseCode::TOPIC_NOT_EXIST) => {
                // A broker that creates topics by itself says so by having the template topic.
                let template = self
                    .client
                    .route_data(AUTO_CREATE_TOPIC)
                    .await
                    .map_err(|_template| error)?;
                Ok(Rc::new(Route::new(topic, &template, DEFAULT_QUEUES)))
            }
            found => found,
        }
    }

    fn pick(&self, route: &Route, topic: &str, not_at: Option<&str>) -> Result<RouteQueue, Error> {
        let queues = &route.write_queues;
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let from = turn % queues.len().max(1);
        let in_turn = || queues.iter().cycle().skip(from).take(queues.len());
        let elsewhere = in_turn().find(|queue| not_at != Some(&*queue.broker_name));
        let picked = elsewhere.or_else(|| in_turn().next());
        picked.cloned().ok_or_else(|| Error::NoQueue {
            topic: topic.to_owned(),
            wanted: "written",
        })
    }

    fn master_of(&self, route: &Route, queue: &RouteQueue) -> Result<String, Error> {
        let master = route.master(&queue.broker_name).map(str::to_owned);
        master.ok_or_else(|| Error::NoBroker {
            broker_name: queue.broker_name.to_string(),
        })
    }

    fn parcel(&self, message: &Message) -> Parcel {
        let (properties, unique_id) = self.complete(message.properties());
        Parcel {
            topic: message.topic.as_str().into(),
            properties,
            unique_id,
            body: message.body.clone(),
            flag: message.flag,
            batch: false,
        }
    }

    /// Adds what every message has: its unique id, and that the answer is to wait for the flush.
    fn complete(&self, given: &str) -> (String, String) {
        let mut all = String::with_capacity(given.len() + 64);
        all.push_str(given);
        let unique_id = match properties::get(given, names::UNIQ_KEY) {
            Some(known) => known.to_owned(),
            None => {
                let made = self.client.unique_id();
                properties::push(&mut all, names::UNIQ_KEY, &made);
                made
            }
        };
        if properties::get(given, names::WAIT).is_none() {
            properties::push(&mut all, names::WAIT, "true");
        }
        (all, unique_id)
    }

    fn batch(&self, messages: &[Message]) -> Result<Parcel, Error> {
        let Some(first) = messages.first() else {
            return Err(Error::BadBatch("there are none".to_owned()));
        };
        if let Some(other) = messages.iter().find(|message| message.topic != first.topic) {
            return Err(Error::BadBatch(format!(
                "topics {} and {} are mixed",
                first.topic, other.topic
            )));
        }
        let mut body = BytesMut::new();
        for message in messages {
            let (properties, _unique_id) = self.complete(message.properties());
            put_item(
                &mut body,
                &BatchItem {
                    flag: message.flag,
                    body: &message.body,
                    properties: properties.into(),
                },
            )?;
        }
        let (properties, unique_id) = self.complete("");
        let topic = first.topic.as_str().into();
        Ok(Parcel {
            topic,
            properties,
            unique_id,
            body: body.freeze(),
            flag: 0,
            batch: true,
        })
    }

    fn header<'a>(&'a self, queue: &'a RouteQueue, parcel: &'a Parcel) -> SendHeader<'a> {
        SendHeader {
            topic: (&*parcel.topic).into(),
            flag: parcel.flag,
            batch: parcel.batch,
            ..self.plain_header(queue, &parcel.properties)
        }
    }

    /// The header of a message to the queue's own topic.
    fn plain_header<'a>(&'a self, queue: &'a RouteQueue, properties: &'a str) -> SendHeader<'a> {
        SendHeader {
            producer_group: (&*self.group).into(),
            topic: (&*queue.topic).into(),
            default_topic: AUTO_CREATE_TOPIC.into(),
            default_topic_queue_nums: DEFAULT_QUEUES,
            queue_id: queue.queue_id,
            sys_flag: 0,
            born_timestamp: runtime::wall_clock_ms(),
            flag: 0,
            properties: Some(ExtText::Plain(properties)),
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: Some((&*queue.broker_name).into()),
        }
    }
}

/// Whether a failed send may be tried again, by the rules of RocketMQ's Java producer.
fn may_retry(error: &Error) -> bool {
    match error {
        Error::NoAnswer { .. } => true,
        Error::Refused { code, .. } => matches!(
            *code,
            ResponseCode::TOPIC_NOT_EXIST
                | ResponseCode::SERVICE_NOT_AVAILABLE
                | ResponseCode::SYSTEM_ERROR
                | ResponseCode::SYSTEM_BUSY
                | ResponseCode::NO_PERMISSION
                | ResponseCode::GO_AWAY
        ),
        _ => false,
    }
}
