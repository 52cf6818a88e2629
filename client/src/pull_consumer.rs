//! Reading queues, and the offsets of consumer groups.

use crate::core::{Client, no_answer};
use crate::error::Error;
use crate::message::ReceivedMessage;
use crate::route::RouteQueue;
use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::offset::{
    GetEarliestMsgStoretimeRequest, GetEarliestMsgStoretimeResponse, GetMaxOffsetRequest, GetMaxOffsetResponse,
    GetMinOffsetRequest, GetMinOffsetResponse, QueryConsumerOffsetRequest, QueryConsumerOffsetResponse,
    SearchOffsetRequest, SearchOffsetResponse, UpdateConsumerOffsetRequest,
};
use protocol::header::pull::{PullHeader, PullResponse, pull_flag};
use protocol::message::record::{RecordError, RecordView, Records};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Invocation, RequestError};
use runtime::collections::{HashMap, hash_map};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Time for the answer beyond the time that the broker may hold a pull.
const HOLD_MARGIN: Duration = Duration::from_secs(10);

/// How a pull went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// There are messages.
    Found,
    /// There is nothing new.
    NoNewMessage,
    /// There are messages, but none that matches.
    NoMatchedMessage,
    /// The offset is outside of the queue.
    OffsetIllegal,
}

/// What a pull brought.
#[derive(Clone, Debug)]
pub struct PullResult {
    /// How it went.
    pub status: PullStatus,
    /// Where to go on.
    pub next_begin_offset: i64,
    /// Begin of the queue.
    pub min_offset: i64,
    /// End of the queue.
    pub max_offset: i64,
    /// The broker id that the broker wants to be asked next.
    pub suggested_broker_id: i64,
    /// The records, one behind the other.
    pub records: Bytes,
}

impl PullResult {
    /// The records in place: what a bench counts.
    pub fn views(&self) -> impl Iterator<Item = Result<RecordView<'_>, RecordError>> {
        Records::new(&self.records)
    }

    /// The messages.
    ///
    /// # Errors
    /// The first record that is none.
    pub fn messages(&self) -> Result<Vec<ReceivedMessage>, RecordError> {
        self.views()
            .map(|record| record.map(|record| ReceivedMessage::new(&record, &self.records)))
            .collect()
    }
}

/// How to pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullOptions {
    /// Messages at most.
    pub max: i32,
    /// How long the broker may wait for a message to come; zero: not at all.
    pub hold: Duration,
    /// Tags wanted: `*`, or `A || B`.
    pub tags: String,
    /// An offset to be saved for the group along with this pull.
    pub commit: Option<i64>,
}

impl Default for PullOptions {
    fn default() -> PullOptions {
        PullOptions {
            max: 32,
            hold: Duration::ZERO,
            tags: "*".to_owned(),
            commit: None,
        }
    }
}

/// Reads queues for one consumer group.
#[derive(Clone, Debug)]
pub struct PullConsumer {
    client: Client,
    group: Rc<str>,
    /// The broker id that each queue's broker wanted to be asked.
    suggested: Rc<RefCell<HashMap<RouteQueue, i64>>>,
}

impl PullConsumer {
    /// A consumer of that group.
    #[must_use]
    pub fn new(client: &Client, group: &str) -> PullConsumer {
        PullConsumer {
            client: client.clone(),
            group: group.into(),
            suggested: Rc::new(RefCell::new(hash_map())),
        }
    }

    /// The queues of a topic.
    ///
    /// # Errors
    /// As [`Client::fresh_route`].
    pub async fn queues(&self, topic: &str) -> Result<Vec<RouteQueue>, Error> {
        Ok(self.client.route(topic).await?.read_queues.clone())
    }

    /// Reads from a queue offset on.
    ///
    /// # Errors
    /// No answer, or a refusal by the broker. A pull that finds nothing is no error.
    pub async fn pull(&self, queue: &RouteQueue, offset: i64, options: &PullOptions) -> Result<PullResult, Error> {
        let wanted = self.suggested.borrow().get(queue).copied().unwrap_or(0);
        let address = self.address(queue, wanted).await?;
        let request = RequestCode::PULL_MESSAGE;
        let header = self.header(queue, offset, options);
        let limit = self.client.request_limit().max(options.hold + HOLD_MARGIN);
        let answer = self
            .client
            .rpc()
            .invoke(&address, request, |writer| header.encode(writer), Bytes::new(), limit)
            .await;
        let answer = answer.map_err(|error| no_answer(request, &address, error))?;
        let result = PullConsumer::result(&address, answer)?;
        if result.suggested_broker_id != wanted {
            self.suggested
                .borrow_mut()
                .insert(queue.clone(), result.suggested_broker_id);
        }
        Ok(result)
    }

    /// Puts a pull onto a connection and gives the answer to wait for; it is read by [`PullConsumer::result`].
    ///
    /// # Errors
    /// When the connection is closed or has too many requests under way.
    pub fn start_pull(
        &self,
        connection: &Rc<Connection>,
        queue: &RouteQueue,
        offset: i64,
        options: &PullOptions,
    ) -> Result<Invocation, RequestError> {
        let header = self.header(queue, offset, options);
        connection.request(RequestCode::PULL_MESSAGE, |writer| header.encode(writer), Bytes::new())
    }

    /// Reads the answer to a pull.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::BadHeader`].
    pub fn result(address: &str, answer: Frame) -> Result<PullResult, Error> {
        let request = RequestCode::PULL_MESSAGE;
        let status = match answer.response_code() {
            ResponseCode::SUCCESS => PullStatus::Found,
            ResponseCode::PULL_NOT_FOUND => PullStatus::NoNewMessage,
            ResponseCode::PULL_RETRY_IMMEDIATELY => PullStatus::NoMatchedMessage,
            ResponseCode::PULL_OFFSET_MOVED => PullStatus::OffsetIllegal,
            _ => return Err(Error::refused(request, address, &answer)),
        };
        let response = PullResponse::decode(answer.ext()).map_err(|error| Error::BadHeader {
            request,
            address: address.to_owned(),
            error,
        })?;
        Ok(PullResult {
            status,
            next_begin_offset: response.next_begin_offset,
            min_offset: response.min_offset,
            max_offset: response.max_offset,
            suggested_broker_id: response.suggest_which_broker_id,
            records: if status == PullStatus::Found {
                answer.into_body()
            } else {
                Bytes::new()
            },
        })
    }

    fn header<'a>(&'a self, queue: &'a RouteQueue, offset: i64, options: &'a PullOptions) -> PullHeader<'a> {
        let hold = if options.hold.is_zero() { 0 } else { pull_flag::SUSPEND };
        let commit = if options.commit.is_some() {
            pull_flag::COMMIT_OFFSET
        } else {
            0
        };
        PullHeader {
            consumer_group: (&*self.group).into(),
            topic: (&*queue.topic).into(),
            queue_id: queue.queue_id,
            queue_offset: offset,
            max_msg_nums: options.max,
            sys_flag: pull_flag::SUBSCRIPTION | hold | commit,
            commit_offset: options.commit.unwrap_or(0),
            suspend_timeout_millis: i64::try_from(options.hold.as_millis()).unwrap_or(i64::MAX),
            subscription: Some(protocol::ext::ExtText::Plain(&options.tags)),
            sub_version: 0,
            expression_type: Some(protocol::body::subscription::TAG.into()),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            lite_topic: None,
            broker_name: Some((&*queue.broker_name).into()),
        }
    }

    /// Begin of a queue.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn min_offset(&self, queue: &RouteQueue) -> Result<i64, Error> {
        let header = GetMinOffsetRequest {
            topic: queue.topic.to_string(),
            queue_id: queue.queue_id,
        };
        let answer: GetMinOffsetResponse = self.ask(queue, RequestCode::GET_MIN_OFFSET, &header).await?;
        Ok(answer.offset)
    }

    /// End of a queue: the offset that the next message gets.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn max_offset(&self, queue: &RouteQueue) -> Result<i64, Error> {
        let (topic, queue_id) = (queue.topic.to_string(), queue.queue_id);
        let header = GetMaxOffsetRequest {
            topic,
            queue_id,
            committed: true,
        };
        let answer: GetMaxOffsetResponse = self.ask(queue, RequestCode::GET_MAX_OFFSET, &header).await?;
        Ok(answer.offset)
    }

    /// Offset of the first message stored at that time (milliseconds since 1970) or later.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn search_offset(&self, queue: &RouteQueue, timestamp: i64) -> Result<i64, Error> {
        let header = SearchOffsetRequest {
            topic: queue.topic.to_string(),
            lite_topic: None,
            queue_id: queue.queue_id,
            timestamp,
            boundary_type: None,
        };
        let answer: SearchOffsetResponse = self
            .ask(queue, RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, &header)
            .await?;
        Ok(answer.offset)
    }

    /// When the first message of a queue was stored, in milliseconds since 1970; negative if there is none.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn earliest_store_time(&self, queue: &RouteQueue) -> Result<i64, Error> {
        let header = GetEarliestMsgStoretimeRequest {
            topic: queue.topic.to_string(),
            queue_id: queue.queue_id,
        };
        let request = RequestCode::GET_EARLIEST_MSG_STORETIME;
        let answer: GetEarliestMsgStoretimeResponse = self.ask(queue, request, &header).await?;
        Ok(answer.timestamp)
    }

    /// How far the group has consumed a queue; `None` if the broker does not know.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn committed_offset(&self, queue: &RouteQueue) -> Result<Option<i64>, Error> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: self.group.to_string(),
            topic: queue.topic.to_string(),
            queue_id: queue.queue_id,
            set_zero_if_not_found: Some(false),
        };
        let asked = self.ask(queue, RequestCode::QUERY_CONSUMER_OFFSET, &header).await;
        match asked {
            Ok(QueryConsumerOffsetResponse { offset }) => Ok(Some(offset)),
            Err(error) if error.code() == Some(ResponseCode::QUERY_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Saves how far the group has consumed a queue.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn commit_offset(&self, queue: &RouteQueue, offset: i64) -> Result<(), Error> {
        let header = UpdateConsumerOffsetRequest {
            consumer_group: self.group.to_string(),
            topic: queue.topic.to_string(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        let address = self.address(queue, 0).await?;
        self.client
            .ask(&address, RequestCode::UPDATE_CONSUMER_OFFSET, &header, Bytes::new())
            .await
            .map(drop)
    }

    async fn ask<A: Header>(&self, queue: &RouteQueue, request: RequestCode, header: &impl Header) -> Result<A, Error> {
        let address = self.address(queue, 0).await?;
        self.client.ask_for_fields(&address, request, header).await
    }

    async fn address(&self, queue: &RouteQueue, broker_id: i64) -> Result<String, Error> {
        let route = self.client.route(&queue.topic).await?;
        let address = route.address(&queue.broker_name, broker_id).map(str::to_owned);
        address.ok_or_else(|| Error::NoBroker {
            broker_name: queue.broker_name.to_string(),
        })
    }
}
