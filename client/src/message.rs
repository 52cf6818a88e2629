//! Messages as users have them: to be sent, and received.

use bytes::Bytes;
use protocol::message::properties::{self, names};
use protocol::message::record::RecordView;
use std::net::SocketAddr;

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: String,
    /// What is in it.
    pub body: Bytes,
    /// A number of the user's.
    pub flag: i32,
    /// Names and values as they go over the wire.
    properties: String,
}

impl Message {
    /// A message without tag and keys.
    #[must_use]
    pub fn new(topic: &str, body: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.to_owned(),
            body: body.into(),
            flag: 0,
            properties: String::new(),
        }
    }

    /// With a tag, by which consumers choose.
    #[must_use]
    pub fn tag(self, tag: &str) -> Message {
        self.property(names::TAGS, tag)
    }

    /// With keys to find it by, parted by blanks.
    #[must_use]
    pub fn keys(self, keys: &str) -> Message {
        self.property(names::KEYS, keys)
    }

    /// To be delivered after the delay of this level, 1 to 18.
    #[must_use]
    pub fn delay_level(self, level: u8) -> Message {
        self.property(names::DELAY, &level.to_string())
    }

    /// With a property. Characters 1 and 2, which part properties on the wire, are dropped from names and values.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Message {
        let clean = |text: &str| text.replace(['\u{1}', '\u{2}'], "");
        properties::push(&mut self.properties, &clean(name), &clean(value));
        self
    }

    /// The properties as they go over the wire.
    #[must_use]
    pub fn properties(&self) -> &str {
        &self.properties
    }
}

/// A message that came from a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The topic.
    pub topic: String,
    /// The queue in it.
    pub queue_id: i32,
    /// The place in the queue.
    pub queue_offset: i64,
    /// The place in the broker's commitlog.
    pub physical_offset: i64,
    /// As stored: a compressed body stays compressed, see `sys_flag`.
    pub body: Bytes,
    /// The user's number.
    pub flag: i32,
    /// RocketMQ's `MessageSysFlag`.
    pub sys_flag: i32,
    /// Names and values as they came over the wire.
    pub properties: String,
    /// Milliseconds since 1970 by the producer's clock.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// Milliseconds since 1970 by the broker's clock.
    pub store_timestamp: i64,
    /// The broker.
    pub store_host: SocketAddr,
    /// How often it was given back.
    pub reconsume_times: i32,
}

impl ReceivedMessage {
    /// From a record; `bytes` are those that the record was decoded from, which the body then shares.
    #[must_use]
    pub fn new(record: &RecordView<'_>, bytes: &Bytes) -> ReceivedMessage {
        ReceivedMessage {
            topic: record.topic.to_owned(),
            queue_id: record.queue_id.to_wire(),
            queue_offset: record.queue_offset.0,
            physical_offset: record.physical_offset.to_wire(),
            body: bytes.slice_ref(record.body),
            flag: record.flag,
            sys_flag: record.sys_flag,
            properties: record.properties.to_owned(),
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_timestamp: record.store_timestamp,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
        }
    }

    /// A property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.property(names::TAGS)
    }

    /// The unique id that the producer gave it.
    #[must_use]
    pub fn unique_id(&self) -> Option<&str> {
        self.property(names::UNIQ_KEY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_names_and_values_cannot_forge_properties() {
        let message = Message::new("T", "x").tag("a\u{2}KEYS\u{1}forged").keys("k");
        assert_eq!(properties::get(message.properties(), names::TAGS), Some("aKEYSforged"));
        assert_eq!(properties::get(message.properties(), names::KEYS), Some("k"));
    }
}
