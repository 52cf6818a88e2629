//! Pulling messages: codes 11 and 361, and their response.

use crate::ext::{ExtFields, ExtText, RawText};
use crate::header::{HeaderError, Text, parse_i32, parse_i64, required};
use crate::header_writer::HeaderWriter;

/// Bits of a pull's `sysFlag` (RocketMQ's `PullSysFlag`).
pub mod pull_flag {
    /// `commitOffset` is to be saved before the answer.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// The pull may be held until a message comes.
    pub const SUSPEND: i32 = 0x2;
    /// The request carries its subscription.
    pub const SUBSCRIPTION: i32 = 0x4;
    /// The subscription is a filter class: the broker filters nothing.
    pub const CLASS_FILTER: i32 = 0x8;
    /// A lite pull.
    pub const LITE_PULL: i32 = 0x10;
}

/// Which messages, from where; borrowed from the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullHeader<'a> {
    /// `consumerGroup`.
    pub consumer_group: Text<'a>,
    /// `topic`.
    pub topic: Text<'a>,
    /// `queueId`.
    pub queue_id: i32,
    /// `queueOffset`: the first message wanted.
    pub queue_offset: i64,
    /// `maxMsgNums`.
    pub max_msg_nums: i32,
    /// `sysFlag`: see [`pull_flag`].
    pub sys_flag: i32,
    /// `commitOffset`: the group's consumer offset, if [`pull_flag::COMMIT_OFFSET`] is set.
    pub commit_offset: i64,
    /// `suspendTimeoutMillis`: how long the pull may be held.
    pub suspend_timeout_millis: i64,
    /// `subscription`: the filter expression, if [`pull_flag::SUBSCRIPTION`] is set.
    pub subscription: Option<ExtText<'a>>,
    /// `subVersion`: milliseconds since 1970 at which the client subscribed.
    pub sub_version: i64,
    /// `expressionType`: `TAG` (also if absent) or `SQL92`.
    pub expression_type: Option<Text<'a>>,
    /// `maxMsgBytes`.
    pub max_msg_bytes: Option<i32>,
    /// `requestSource`: who asks, in proxies.
    pub request_source: Option<i32>,
    /// `proxyFrowardClientId` (Apache's spelling): the client behind a proxy.
    pub proxy_forward_client_id: Option<Text<'a>>,
    /// `liteTopic`.
    pub lite_topic: Option<Text<'a>>,
    /// `bname`.
    pub broker_name: Option<Text<'a>>,
}

#[derive(Default)]
struct Parts<'a> {
    consumer_group: Option<Text<'a>>,
    topic: Option<Text<'a>>,
    queue_id: Option<i32>,
    queue_offset: Option<i64>,
    max_msg_nums: Option<i32>,
    sys_flag: Option<i32>,
    commit_offset: Option<i64>,
    suspend_timeout_millis: Option<i64>,
    subscription: Option<ExtText<'a>>,
    sub_version: Option<i64>,
    expression_type: Option<Text<'a>>,
    max_msg_bytes: Option<i32>,
    request_source: Option<i32>,
    proxy_forward_client_id: Option<Text<'a>>,
    lite_topic: Option<Text<'a>>,
    broker_name: Option<Text<'a>>,
}

impl<'a> Parts<'a> {
    #[inline]
    fn take(&mut self, key: &str, value: RawText<'a>) -> Result<(), HeaderError> {
        match key {
            "consumerGroup" => self.consumer_group = Some(value.text().into_cow()),
            "topic" => self.topic = Some(value.text().into_cow()),
            "queueId" => self.queue_id = Some(parse_i32("queueId", value)?),
            "queueOffset" => self.queue_offset = Some(parse_i64("queueOffset", value)?),
            "maxMsgNums" => self.max_msg_nums = Some(parse_i32("maxMsgNums", value)?),
            "sysFlag" => self.sys_flag = Some(parse_i32("sysFlag", value)?),
            "commitOffset" => self.commit_offset = Some(parse_i64("commitOffset", value)?),
            "suspendTimeoutMillis" => {
                self.suspend_timeout_millis = Some(parse_i64("suspendTimeoutMillis", value)?);
            }
            "subscription" => self.subscription = Some(value.text()),
            "subVersion" => self.sub_version = Some(parse_i64("subVersion", value)?),
            "expressionType" => self.expression_type = Some(value.text().into_cow()),
            "maxMsgBytes" => self.max_msg_bytes = Some(parse_i32("maxMsgBytes", value)?),
            "requestSource" => self.request_source = Some(parse_i32("requestSource", value)?),
            "proxyFrowardClientId" => self.proxy_forward_client_id = Some(value.text().into_cow()),
            "liteTopic" => self.lite_topic = Some(value.text().into_cow()),
            "bname" => self.broker_name = Some(value.text().into_cow()),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> PullHeader<'a> {
    /// Reads a pull in one pass.
    ///
    /// # Errors
    /// A missing field that is no `Option` here, or a number that is none.
    pub fn decode(ext: ExtFields<'a>) -> Result<Self, HeaderError> {
        let mut parts = Parts::default();
        for (key, value) in ext.raw() {
            parts.take(&key.text().into_cow(), value)?;
        }
        Ok(Self {
            consumer_group: required("consumerGroup", parts.consumer_group)?,
            topic: required("topic", parts.topic)?,
            queue_id: required("queueId", parts.queue_id)?,
            queue_offset: required("queueOffset", parts.queue_offset)?,
            max_msg_nums: required("maxMsgNums", parts.max_msg_nums)?,
            sys_flag: required("sysFlag", parts.sys_flag)?,
            commit_offset: required("commitOffset", parts.commit_offset)?,
            suspend_timeout_millis: required("suspendTimeoutMillis", parts.suspend_timeout_millis)?,
            subscription: parts.subscription,
            sub_version: required("subVersion", parts.sub_version)?,
            expression_type: parts.expression_type,
            max_msg_bytes: parts.max_msg_bytes,
            request_source: parts.request_source,
            proxy_forward_client_id: parts.proxy_forward_client_id,
            lite_topic: parts.lite_topic,
            broker_name: parts.broker_name,
        })
    }

    /// Writes the fields.
    pub fn encode(&self, writer: &mut HeaderWriter<'_>) {
        writer.put("consumerGroup", &self.consumer_group);
        writer.put("topic", &self.topic);
        writer.put_i64("queueId", self.queue_id.into());
        writer.put_i64("queueOffset", self.queue_offset);
        writer.put_i64("maxMsgNums", self.max_msg_nums.into());
        writer.put_i64("sysFlag", self.sys_flag.into());
        writer.put_i64("commitOffset", self.commit_offset);
        writer.put_i64("suspendTimeoutMillis", self.suspend_timeout_millis);
        writer.put_i64("subVersion", self.sub_version);
        if let Some(subscription) = &self.subscription {
            writer.put("subscription", &subscription.to_cow());
        }
        let texts = [
            ("expressionType", &self.expression_type),
            ("proxyFrowardClientId", &self.proxy_forward_client_id),
            ("liteTopic", &self.lite_topic),
            ("bname", &self.broker_name),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                writer.put(name, value);
            }
        }
        for (name, value) in [
            ("maxMsgBytes", self.max_msg_bytes),
            ("requestSource", self.request_source),
        ] {
            if let Some(value) = value {
                writer.put_i64(name, value.into());
            }
        }
    }
}

/// Response to a pull: every status carries the first four fields, also those without messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullResponse {
    /// `suggestWhichBrokerId`: 0, the master, or the slave to ask next.
    pub suggest_which_broker_id: i64,
    /// `nextBeginOffset`.
    pub next_begin_offset: i64,
    /// `minOffset`.
    pub min_offset: i64,
    /// `maxOffset`.
    pub max_offset: i64,
    /// `offsetDelta`: of static topics.
    pub offset_delta: Option<i64>,
    /// `topicSysFlag`.
    pub topic_sys_flag: Option<i32>,
    /// `groupSysFlag`.
    pub group_sys_flag: Option<i32>,
    /// `forbiddenType`: 1 broker, 2 group, 3 topic, 4 broadcast, 5 subscription.
    pub forbidden_type: Option<i32>,
}

impl PullResponse {
    /// Reads a response.
    ///
    /// # Errors
    /// One of the first four missing, or a number that is none.
    pub fn decode(ext: ExtFields<'_>) -> Result<Self, HeaderError> {
        let mut found = [None; 4];
        let mut response = Self::default();
        for (key, value) in ext.raw() {
            match &*key.text().into_cow() {
                "suggestWhichBrokerId" => found[0] = Some(parse_i64("suggestWhichBrokerId", value)?),
                "nextBeginOffset" => found[1] = Some(parse_i64("nextBeginOffset", value)?),
                "minOffset" => found[2] = Some(parse_i64("minOffset", value)?),
                "maxOffset" => found[3] = Some(parse_i64("maxOffset", value)?),
                "offsetDelta" => response.offset_delta = Some(parse_i64("offsetDelta", value)?),
                "topicSysFlag" => response.topic_sys_flag = Some(parse_i32("topicSysFlag", value)?),
                "groupSysFlag" => response.group_sys_flag = Some(parse_i32("groupSysFlag", value)?),
                "forbiddenType" => response.forbidden_type = Some(parse_i32("forbiddenType", value)?),
                _ => {}
            }
        }
        response.suggest_which_broker_id = required("suggestWhichBrokerId", found[0])?;
        response.next_begin_offset = required("nextBeginOffset", found[1])?;
        response.min_offset = required("minOffset", found[2])?;
        response.max_offset = required("maxOffset", found[3])?;
        Ok(response)
    }

    /// Writes the fields.
    pub fn encode(&self, writer: &mut HeaderWriter<'_>) {
        writer.put_i64("suggestWhichBrokerId", self.suggest_which_broker_id);
        writer.put_i64("nextBeginOffset", self.next_begin_offset);
        writer.put_i64("minOffset", self.min_offset);
        writer.put_i64("maxOffset", self.max_offset);
        let optional = [
            ("offsetDelta", self.offset_delta),
            ("topicSysFlag", self.topic_sys_flag.map(i64::from)),
            ("groupSysFlag", self.group_sys_flag.map(i64::from)),
            ("forbiddenType", self.forbidden_type.map(i64::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                writer.put_i64(name, value);
            }
        }
    }
}
