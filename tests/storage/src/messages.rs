//! Messages whose every byte follows from their number, so that whoever finds one can tell whether it is whole.

use engine::{MetaRecord, NewMessage, QueueSlot};
use protocol::message::record::RecordView;
use protocol::model::{QueueId, tag_hash};

pub(crate) const TOPICS: [&str; 2] = ["kept", "deleted"];
pub(crate) const QUEUES: u32 = 3;
const TAGS: [&str; 2] = ["red", "blue"];

/// A queue: number of its topic in [`TOPICS`], and its own.
pub(crate) type QueueName = (usize, u32);

/// A message as the shard placed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) number: u32,
    pub(crate) queue: QueueName,
    pub(crate) offset: i64,
    /// Byte position in the shard's log.
    pub(crate) position: u64,
    pub(crate) size: u32,
}

/// What a sender gives.
pub(crate) struct Content {
    pub(crate) body: Vec<u8>,
    pub(crate) properties: String,
    pub(crate) keys: Vec<String>,
    tag: &'static str,
}

impl Content {
    pub(crate) fn of(number: u32) -> Content {
        let mut random = fastrand::Rng::with_seed(u64::from(number));
        let size = match random.u32(..10) {
            0 => random.usize(6_000..20_000),
            1..5 => random.usize(500..6_000),
            _ => random.usize(..500),
        };
        let mut body = number.to_be_bytes().to_vec();
        body.extend(std::iter::repeat_with(|| random.u8(..)).take(size));
        let keys = vec![format!("u{number}"), format!("k{number}"), format!("s{}", number % 5)];
        let tag = TAGS[random.usize(..2)];
        let properties = format!(
            "TAGS\u{1}{tag}\u{2}UNIQ_KEY\u{1}{}\u{2}KEYS\u{1}{} {}\u{2}",
            keys[0], keys[1], keys[2]
        );
        Content {
            body,
            properties,
            keys,
            tag,
        }
    }

    pub(crate) fn tag_hash(&self) -> i64 {
        tag_hash(Some(self.tag))
    }

    pub(crate) fn message<'a>(&'a self, slot: QueueSlot, queue: QueueName, keys: &'a [&'a str]) -> NewMessage<'a> {
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], 10911));
        NewMessage {
            queue: slot,
            topic: TOPICS[queue.0],
            queue_id: QueueId::new(queue.1).expect("queues are few"),
            flag: 7,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: here,
            store_host: here,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &self.body,
            properties: &self.properties,
            tag_hash: self.tag_hash(),
            keys,
            in_consume_queue: true,
        }
    }
}

/// The message that a record is, if every field of it is as it was sent.
pub(crate) fn recognise(bytes: &[u8]) -> Result<Message, String> {
    let record = RecordView::decode(bytes).map_err(|error| error.to_string())?;
    let number = record.body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let number = number.ok_or_else(|| format!("a body of {} bytes was never sent", record.body.len()))?;
    let sent = Content::of(number);
    let topic = TOPICS.iter().position(|topic| *topic == record.topic);
    let topic = topic.ok_or_else(|| format!("message {number} is of topic {:?}", record.topic))?;
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], 10911));
    let is_whole = record.body == sent.body
        && record.properties == sent.properties
        && (record.flag, record.sys_flag, record.born_timestamp) == (7, 0, 1)
        && (record.born_host, record.store_host) == (here, here)
        && (record.reconsume_times, record.prepared_transaction_offset) == (0, 0)
        && record.size() == bytes.len();
    if !is_whole {
        return Err(format!("message {number} is not as it was sent"));
    }
    Ok(Message {
        number,
        queue: (topic, record.queue_id.get()),
        offset: record.queue_offset.0,
        position: record.physical_offset.position(),
        size: u32::try_from(record.size()).unwrap_or(u32::MAX),
    })
}

/// A record of metadata with a number.
pub(crate) fn metadata(number: u32) -> MetaRecord {
    MetaRecord {
        kind: 1,
        payload: number.to_be_bytes().to_vec(),
    }
}

/// The number of such a record.
pub(crate) fn metadata_number(record: &MetaRecord) -> Result<u32, String> {
    let payload = record.payload.as_slice().try_into();
    payload
        .map(u32::from_be_bytes)
        .map_err(|_| format!("metadata {record:?} was never written"))
}
