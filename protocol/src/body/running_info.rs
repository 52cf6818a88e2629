//! What a consumer says of itself: answer of a client to code 307. Brokers relay it as bytes; tools read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::body::queue::{self, WireQueue};
use crate::body::subscription::SubscriptionData;

/// A queue as one consumer has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProcessQueueInfo {
    /// Messages that it has and has not consumed.
    pub cached_msg_count: i32,
    /// The last of them.
    pub cached_msg_max_offset: i64,
    /// The first of them.
    pub cached_msg_min_offset: i64,
    /// Their size.
    #[serde(rename = "cachedMsgSizeInMiB")]
    pub cached_msg_size_in_mib: i32,
    /// How far it has consumed.
    pub commit_offset: i64,
    /// Whether the queue was given up; the spelling is RocketMQ's.
    pub droped: bool,
    /// When it last consumed, milliseconds since 1970.
    pub last_consume_timestamp: i64,
    /// When it last locked the queue, milliseconds since 1970.
    pub last_lock_timestamp: i64,
    /// When it last pulled, milliseconds since 1970.
    pub last_pull_timestamp: i64,
    /// Whether it holds the queue's lock.
    pub locked: bool,
    /// How often it tried to give the lock up.
    pub try_unlock_times: i64,
}

/// How a consumer does in one topic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStatus {
    /// Messages whose handling failed, over an hour.
    pub consume_failed_msgs: i64,
    /// Failures a second.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Messages consumed a second.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Milliseconds to consume.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Milliseconds to pull.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages pulled a second.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}

/// Answer of a client to 307.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerRunningInfo {
    /// What its threads do, if that was asked for.
    pub jstack: Option<String>,
    /// The queues it has.
    #[serde(with = "queue::map")]
    pub mq_table: BTreeMap<WireQueue, ProcessQueueInfo>,
    /// Its settings.
    pub properties: BTreeMap<String, String>,
    /// By topic.
    pub status_table: BTreeMap<String, ConsumeStatus>,
    /// What it subscribes to.
    pub subscription_set: Vec<SubscriptionData>,
}

impl ConsumerRunningInfo {
    /// Whether messages are pushed to its listener, rather than asked for by its user.
    #[must_use]
    pub fn is_push(&self) -> bool {
        self.properties
            .get("PROP_CONSUME_TYPE")
            .is_some_and(|kind| kind == "CONSUME_PASSIVELY")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::from_slice;

    #[test]
    fn what_a_java_consumer_sends_is_read() {
        let body = br#"{"mqTable":{{"brokerName":"broker-a","queueId":3,"topic":"T"}:{"cachedMsgCount":2,"cachedMsgMaxOffset":9,
            "cachedMsgMinOffset":8,"cachedMsgSizeInMiB":0,"commitOffset":8,"droped":false,"lastConsumeTimestamp":5,"locked":false}},
            "properties":{"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMER_START_TIMESTAMP":"17"},
            "statusTable":{"T":{"consumeFailedMsgs":1,"consumeFailedTPS":0.5,"consumeOKTPS":2.0,"consumeRT":1.25,"pullRT":3.0,"pullTPS":4.0}},
            "subscriptionSet":[{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":1,"tagsSet":[],"topic":"T"}]}"#;
        let info: ConsumerRunningInfo = from_slice(body).unwrap();
        let (queue, state) = info.mq_table.first_key_value().unwrap();
        assert_eq!((queue.queue_id, state.commit_offset, state.cached_msg_count), (3, 8, 2));
        assert!(info.is_push());
        assert_eq!(info.status_table["T"].consume_rt, 1.25);
        assert_eq!(info.subscription_set[0].sub_string, "*");
    }
}
