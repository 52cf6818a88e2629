//! Sending a message: codes 10, 310, 320 and their response; the answer to a request message: 324, 325, 326.
//!
//! `SendMessageRequestHeader` (10, 324) and `SendMessageRequestHeaderV2` (310, 320, 325) hold the same fields under long and under
//! one-letter names; both read into [`SendHeader`].

use crate::ext::{ExtFields, ExtText, RawText};
use crate::header::{HeaderError, Text, headers, parse_bool, parse_i32, parse_i64, required};
use crate::header_writer::HeaderWriter;

/// Fields of a message that is sent, borrowed from the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendHeader<'a> {
    /// `producerGroup`, `a`.
    pub producer_group: Text<'a>,
    /// `topic`, `b`.
    pub topic: Text<'a>,
    /// `defaultTopic`, `c`: template of a topic that is created by this send.
    pub default_topic: Text<'a>,
    /// `defaultTopicQueueNums`, `d`: queues that such a topic is to have.
    pub default_topic_queue_nums: i32,
    /// `queueId`, `e`: negative lets the broker pick.
    pub queue_id: i32,
    /// `sysFlag`, `f`: see [`crate::message::sys_flag`].
    pub sys_flag: i32,
    /// `bornTimestamp`, `g`: milliseconds since 1970 on the producer's clock.
    pub born_timestamp: i64,
    /// `flag`, `h`: the user's own.
    pub flag: i32,
    /// `properties`, `i`: see [`crate::message::properties`].
    pub properties: Option<ExtText<'a>>,
    /// `reconsumeTimes`, `j`: 0 if absent.
    pub reconsume_times: i32,
    /// `unitMode`, `k`.
    pub unit_mode: bool,
    /// `maxReconsumeTimes`, `l`.
    pub max_reconsume_times: Option<i32>,
    /// `batch`, `m`: the body is a batch.
    pub batch: bool,
    /// `bname` or, in V2, `n`.
    pub broker_name: Option<Text<'a>>,
}

/// The one-letter name of a long one; `bname` is the broker's name in both forms.
#[inline]
fn short_name(key: &str) -> u8 {
    match key {
        "producerGroup" => b'a',
        "topic" => b'b',
        "defaultTopic" => b'c',
        "defaultTopicQueueNums" => b'd',
        "queueId" => b'e',
        "sysFlag" => b'f',
        "bornTimestamp" => b'g',
        "flag" => b'h',
        "properties" => b'i',
        "reconsumeTimes" => b'j',
        "unitMode" => b'k',
        "maxReconsumeTimes" => b'l',
        "batch" => b'm',
        "bname" => b'n',
        _ => 0,
    }
}

impl<'a> SendHeader<'a> {
    /// Reads either form in one pass.
    ///
    /// # Errors
    /// A missing field of `a` to `h` (named by its long name), or a number that is none.
    pub fn decode(ext: ExtFields<'a>) -> Result<Self, HeaderError> {
        let fields = ext.pick::<14>(|key| {
            let letter = match key.plain() {
                Some([letter]) => *letter,
                _ => short_name(&key.text().into_cow()),
            };
            usize::from(letter.wrapping_sub(b'a'))
        });
        let field = |letter: u8| fields.get(usize::from(letter - b'a'));
        let text = |name, letter| required(name, field(letter)).map(|value: RawText<'a>| value.text().into_cow());
        let int = |name, letter| required(name, field(letter)).and_then(|value| parse_i32(name, value));
        let optional_int = |name, letter| field(letter).map(|value| parse_i32(name, value)).transpose();
        Ok(Self {
            producer_group: text("producerGroup", b'a')?,
            topic: text("topic", b'b')?,
            default_topic: text("defaultTopic", b'c')?,
            default_topic_queue_nums: int("defaultTopicQueueNums", b'd')?,
            queue_id: int("queueId", b'e')?,
            sys_flag: int("sysFlag", b'f')?,
            born_timestamp: parse_i64("bornTimestamp", required("bornTimestamp", field(b'g'))?)?,
            flag: int("flag", b'h')?,
            properties: field(b'i').map(RawText::text),
            reconsume_times: optional_int("reconsumeTimes", b'j')?.unwrap_or(0),
            unit_mode: field(b'k').is_some_and(parse_bool),
            max_reconsume_times: optional_int("maxReconsumeTimes", b'l')?,
            batch: field(b'm').is_some_and(parse_bool),
            broker_name: field(b'n').map(|value| value.text().into_cow()),
        })
    }

    /// Writes the long names of codes 10 and 324.
    pub fn encode_v1(&self, writer: &mut HeaderWriter<'_>) {
        const LONG: [&str; 14] = [
            "producerGroup",
            "topic",
            "defaultTopic",
            "defaultTopicQueueNums",
            "queueId",
            "sysFlag",
            "bornTimestamp",
            "flag",
            "properties",
            "reconsumeTimes",
            "unitMode",
            "maxReconsumeTimes",
            "batch",
            "bname",
        ];
        self.encode(writer, &LONG);
    }

    /// Writes the one-letter names of codes 310, 320 and 325.
    pub fn encode_v2(&self, writer: &mut HeaderWriter<'_>) {
        const SHORT: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
        self.encode(writer, &SHORT);
    }

    fn encode(&self, writer: &mut HeaderWriter<'_>, names: &[&str; 14]) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = *names;
        writer.put(a, &self.producer_group);
        writer.put(b, &self.topic);
        writer.put(c, &self.default_topic);
        writer.put_i64(d, self.default_topic_queue_nums.into());
        writer.put_i64(e, self.queue_id.into());
        writer.put_i64(f, self.sys_flag.into());
        writer.put_i64(g, self.born_timestamp);
        writer.put_i64(h, self.flag.into());
        if let Some(properties) = &self.properties {
            writer.put(i, &properties.to_cow());
        }
        writer.put_i64(j, self.reconsume_times.into());
        writer.put_bool(k, self.unit_mode);
        if let Some(max_reconsume_times) = self.max_reconsume_times {
            writer.put_i64(l, max_reconsume_times.into());
        }
        writer.put_bool(m, self.batch);
        if let Some(broker_name) = &self.broker_name {
            writer.put(n, broker_name);
        }
    }
}

/// Response to a send, borrowed from what the sender of it has at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResponse<'a> {
    /// `msgId`: the offset message id, or those of a batch, joined by commas.
    pub msg_id: Text<'a>,
    /// `queueId`.
    pub queue_id: i32,
    /// `queueOffset`: of the first message.
    pub queue_offset: i64,
    /// `transactionId`: the unique id.
    pub transaction_id: Option<Text<'a>>,
    /// `batchUniqId`.
    pub batch_uniq_id: Option<Text<'a>>,
    /// `recallHandle`: by which a timer message can be called back.
    pub recall_handle: Option<Text<'a>>,
}

impl<'a> SendResponse<'a> {
    /// Reads a response.
    ///
    /// # Errors
    /// A missing `msgId`, `queueId` or `queueOffset`, or a number that is none.
    pub fn decode(ext: ExtFields<'a>) -> Result<Self, HeaderError> {
        let (mut msg_id, mut queue_id, mut queue_offset) = (None, None, None);
        let (mut transaction_id, mut batch_uniq_id, mut recall_handle) = (None, None, None);
        for (key, value) in ext.raw() {
            match &*key.text().into_cow() {
                "msgId" => msg_id = Some(value.text().into_cow()),
                "queueId" => queue_id = Some(parse_i32("queueId", value)?),
                "queueOffset" => queue_offset = Some(parse_i64("queueOffset", value)?),
                "transactionId" => transaction_id = Some(value.text().into_cow()),
                "batchUniqId" => batch_uniq_id = Some(value.text().into_cow()),
                "recallHandle" => recall_handle = Some(value.text().into_cow()),
                _ => {}
            }
        }
        Ok(Self {
            msg_id: required("msgId", msg_id)?,
            queue_id: required("queueId", queue_id)?,
            queue_offset: required("queueOffset", queue_offset)?,
            transaction_id,
            batch_uniq_id,
            recall_handle,
        })
    }

    /// Writes the fields. Java's client also reads `MSG_REGION` and `TRACE_ON` beside them.
    pub fn encode(&self, writer: &mut HeaderWriter<'_>) {
        writer.put("msgId", &self.msg_id);
        writer.put_i64("queueId", self.queue_id.into());
        writer.put_i64("queueOffset", self.queue_offset);
        let optional = [
            ("transactionId", &self.transaction_id),
            ("batchUniqId", &self.batch_uniq_id),
            ("recallHandle", &self.recall_handle),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                writer.put(name, value);
            }
        }
    }
}

headers! {
    /// 326: the broker hands a reply message to the client that waits for it.
    ReplyMessageRequest {
        producer_group "producerGroup": String,
        topic "topic": String,
        default_topic "defaultTopic": String,
        default_topic_queue_nums "defaultTopicQueueNums": i32,
        queue_id "queueId": i32,
        sys_flag "sysFlag": i32,
        born_timestamp "bornTimestamp": i64,
        flag "flag": i32,
        properties "properties": Option<String>,
        reconsume_times "reconsumeTimes": Option<i32>,
        unit_mode "unitMode": bool = false,
        /// `ip:port` of the client that sent the reply.
        born_host "bornHost": String,
        store_host "storeHost": String,
        store_timestamp "storeTimestamp": i64,
    }

    /// 36: a consumer could not handle a message and wants it again later.
    SendBackRequest {
        /// Physical offset of the message.
        offset "offset": i64,
        group "group": String,
        /// 0 lets the broker choose by the number of tries, negative means the dead letter queue.
        delay_level "delayLevel": i32,
        origin_msg_id "originMsgId": Option<String>,
        origin_topic "originTopic": Option<String>,
        unit_mode "unitMode": bool = false,
        max_reconsume_times "maxReconsumeTimes": Option<i32>,
    }
}
