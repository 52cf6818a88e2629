//! Single messages, and entries of queues.

use super::Admin;
use crate::error::Error;
use crate::message::ReceivedMessage;
use bytes::Bytes;
use protocol::body::stats::QueryConsumeQueueResponseBody;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::query::{QueryConsumeQueueRequest, QueryMessageRequest, UNIQUE_KEY_QUERY, ViewMessageRequest};
use protocol::header_writer::HeaderWriter;
use protocol::message::id::OffsetMessageId;
use protocol::message::record::Records;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;

/// Messages to look for by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// Their topic.
    pub topic: String,
    /// One of their keys.
    pub key: String,
    /// Whether the key is the unique id.
    pub by_unique_id: bool,
    /// Messages at most.
    pub max: i32,
    /// Stored at this time or later, milliseconds since 1970.
    pub begin: i64,
    /// Stored at this time or earlier, milliseconds since 1970.
    pub end: i64,
}

/// The fields of a query by key; the unique id's flag is a field of its own.
struct KeyQueryFields(QueryMessageRequest, bool);

impl Header for KeyQueryFields {
    fn decode(ext: protocol::ext::ExtFields<'_>) -> Result<Self, protocol::header::HeaderError> {
        let by_unique_id = ext
            .clone()
            .get(UNIQUE_KEY_QUERY)
            .is_some_and(|text| text.into_cow() == "true");
        Ok(KeyQueryFields(QueryMessageRequest::decode(ext)?, by_unique_id))
    }

    fn encode(&self, writer: &mut HeaderWriter<'_>) {
        self.0.encode(writer);
        if self.1 {
            writer.put(UNIQUE_KEY_QUERY, "true");
        }
    }
}

impl Admin {
    /// The message with that offset message id, from the broker that the id names.
    ///
    /// # Errors
    /// An id that is none, and as [`Client::ask`](crate::Client::ask).
    pub async fn message_by_id(&self, topic: &str, offset_message_id: &str) -> Result<ReceivedMessage, Error> {
        let id = OffsetMessageId::decode(offset_message_id)?;
        let address = id.store_host.to_string();
        let header = ViewMessageRequest {
            topic: Some(topic.to_owned()),
            offset: id.physical_offset.to_wire(),
        };
        let answer = self
            .0
            .ask(&address, RequestCode::VIEW_MESSAGE_BY_ID, &header, Bytes::new())
            .await?;
        messages_of(&answer)?.pop().ok_or_else(|| Error::Refused {
            request: RequestCode::VIEW_MESSAGE_BY_ID,
            address,
            code: ResponseCode::SUCCESS,
            remark: "the answer holds no message".to_owned(),
        })
    }

    /// The messages with a key on a broker; none if there are none.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn messages_by_key(&self, broker: &str, query: &KeyQuery) -> Result<Vec<ReceivedMessage>, Error> {
        let fields = QueryMessageRequest {
            topic: query.topic.clone(),
            key: query.key.clone(),
            max_num: query.max,
            begin_timestamp: query.begin,
            end_timestamp: query.end,
            index_type: None,
            last_key: None,
        };
        let header = KeyQueryFields(fields, query.by_unique_id);
        match self
            .0
            .ask(broker, RequestCode::QUERY_MESSAGE, &header, Bytes::new())
            .await
        {
            Ok(answer) => messages_of(&answer),
            Err(error) if error.code() == Some(ResponseCode::QUERY_NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Entries of a consume queue, as they are.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn consume_queue(
        &self,
        broker: &str,
        request: &QueryConsumeQueueRequest,
    ) -> Result<QueryConsumeQueueResponseBody, Error> {
        self.0
            .ask_for_body(broker, RequestCode::QUERY_CONSUME_QUEUE, request)
            .await
    }
}

fn messages_of(answer: &Frame) -> Result<Vec<ReceivedMessage>, Error> {
    let records = Records::new(answer.body());
    records
        .map(|record| Ok(ReceivedMessage::new(&record?, answer.body())))
        .collect()
}
