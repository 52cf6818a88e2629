//! Offsets of queues and groups: codes 43, 208, 220, 221, 222, 223, 303, 308, 317.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::body::queue::{self, WireQueue};
use crate::body::topic::DataVersion;

/// How far a consumer group is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OffsetWrapper {
    /// End of the queue.
    pub broker_offset: i64,
    /// The group's consumer offset.
    pub consumer_offset: i64,
    /// When the message there was stored, milliseconds since 1970.
    pub last_timestamp: i64,
    /// How far the group has pulled.
    pub pull_offset: i64,
}

/// Answer to 208.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStats {
    /// Messages consumed a second.
    pub consume_tps: f64,
    /// By queue.
    #[serde(with = "queue::map")]
    pub offset_table: BTreeMap<WireQueue, OffsetWrapper>,
}

/// Answer to 317.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStatsList {
    /// `ip:port` of the broker.
    pub broker_addr: String,
    /// One map a consumer group.
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages not consumed, over all groups.
    pub total_diff: i64,
    /// Messages pulled and not consumed, over all groups.
    pub total_inflight_diff: i64,
}

/// Answer to 222 and body of 220.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResetOffsetBody {
    /// New offsets by queue.
    #[serde(with = "queue::map")]
    pub offset_table: BTreeMap<WireQueue, i64>,
}

/// A queue with an offset, for clients that cannot read objects as keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueueForC {
    /// Name of the broker.
    pub broker_name: String,
    /// The new offset.
    pub offset: i64,
    /// Number of the queue.
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}

/// As [`ResetOffsetBody`], for requesters whose language is C++.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResetOffsetBodyForC {
    /// New offsets.
    pub offset_table: Vec<MessageQueueForC>,
}

impl From<&ResetOffsetBody> for ResetOffsetBodyForC {
    fn from(body: &ResetOffsetBody) -> Self {
        let entry = |(queue, offset): (&WireQueue, &i64)| MessageQueueForC {
            broker_name: queue.broker_name.clone(),
            offset: *offset,
            queue_id: queue.queue_id,
            topic: queue.topic.clone(),
        };
        Self {
            offset_table: body.offset_table.iter().map(entry).collect(),
        }
    }
}

/// Answer to 221 and 223.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetConsumerStatusBody {
    /// Offsets by queue, by client id.
    #[serde(with = "queue::map_of_maps")]
    pub consumer_table: BTreeMap<String, BTreeMap<WireQueue, i64>>,
    /// Offsets by queue, of the client that answers.
    #[serde(with = "queue::map")]
    pub message_queue_table: BTreeMap<WireQueue, i64>,
}

/// Answer to 43, and Apache's `consumerOffset.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerOffsetSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// `topic@group` to queue id to offset.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Times of a queue's messages, as a group sees them; milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueTimeSpan {
    /// Of the message that the group is at.
    pub consume_time_stamp: i64,
    /// How long that message has waited.
    pub delay_time: i64,
    /// Of the last message.
    pub max_time_stamp: i64,
    /// The queue.
    pub message_queue: WireQueue,
    /// Of the first message.
    pub min_time_stamp: i64,
}

/// Answer to 303.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeTimeSpanBody {
    /// One a queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// Answer to 308.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryCorrectionOffsetBody {
    /// Offsets by queue id.
    pub correction_offsets: BTreeMap<i32, i64>,
}
