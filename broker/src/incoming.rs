//! What a producer's properties say, and the properties that are stored.
//!
//! Stored are the producer's own properties without `WAIT` and `POP_CK`, then `MSG_REGION`, `TRACE_ON` and `CLUSTER`, and
//! a `UNIQ_KEY` if the producer gave none (RocketMQ's `AbstractSendMessageProcessor` and `SendMessageProcessor`).

use protocol::message::properties::{self, names};
use protocol::model::tag_hash;
use std::ops::Range;

/// Properties as they will be stored, and what the broker reads from them. Kept by each core and used again, so that a
/// message costs no allocation here.
#[derive(Debug, Default)]
pub struct Incoming {
    sent: String,
    stored: String,
    unique_id: Option<Range<usize>>,
    keys: Option<Range<usize>>,
    tag_hash: i64,
    delay_level: Option<i32>,
    wait: bool,
    transaction_half: bool,
    timer: bool,
}

/// What is added to every message of one broker.
#[derive(Clone, Debug)]
pub struct AddedProperties(String);

impl AddedProperties {
    /// The properties of a broker with this region, trace switch and cluster.
    #[must_use]
    pub fn new(region: &str, trace_on: bool, cluster: &str) -> AddedProperties {
        let mut text = String::new();
        properties::push(&mut text, names::MSG_REGION, region);
        properties::push(&mut text, names::TRACE_ON, if trace_on { "true" } else { "false" });
        properties::push(&mut text, names::CLUSTER, cluster);
        AddedProperties(text)
    }
}

impl Incoming {
    /// Reads what was sent; `fill` appends it to an empty text. `make_unique_id` is asked for one if none was sent.
    pub fn read(
        &mut self,
        fill: impl FnOnce(&mut String),
        added: &AddedProperties,
        make_unique_id: impl FnOnce(&mut String),
    ) {
        self.sent.clear();
        self.stored.clear();
        fill(&mut self.sent);
        (self.unique_id, self.keys, self.delay_level) = (None, None, None);
        (self.tag_hash, self.wait, self.transaction_half, self.timer) = (0, true, false, false);
        let sent = std::mem::take(&mut self.sent);
        for (name, value) in properties::iter(&sent) {
            self.take(name, value);
        }
        self.sent = sent;
        self.stored.push_str(&added.0);
        if self.unique_id.is_none() {
            self.stored.push_str(names::UNIQ_KEY);
            self.stored.push(properties::NAME_VALUE_SEPARATOR);
            let start = self.stored.len();
            make_unique_id(&mut self.stored);
            self.unique_id = Some(start..self.stored.len());
            self.stored.push(properties::PROPERTY_SEPARATOR);
        }
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            names::WAIT => {
                self.wait = !value.eq_ignore_ascii_case("false");
                return;
            }
            names::POP_CK | names::MSG_REGION | names::TRACE_ON | names::CLUSTER => return,
            names::TAGS => self.tag_hash = tag_hash(Some(value)),
            names::DELAY => self.delay_level = Some(value.parse().unwrap_or(0)),
            names::TRAN_MSG => self.transaction_half = value.eq_ignore_ascii_case("true"),
            names::TIMER_DELIVER_MS | names::TIMER_DELAY_SEC | names::TIMER_DELAY_MS => self.timer = true,
            _ => {}
        }
        self.stored.push_str(name);
        self.stored.push(properties::NAME_VALUE_SEPARATOR);
        let start = self.stored.len();
        self.stored.push_str(value);
        let range = start..self.stored.len();
        self.stored.push(properties::PROPERTY_SEPARATOR);
        match name {
            names::UNIQ_KEY => self.unique_id = Some(range),
            names::KEYS => self.keys = Some(range),
            _ => {}
        }
    }

    /// The properties to store.
    #[must_use]
    pub fn stored(&self) -> &str {
        &self.stored
    }

    /// The id by which the producer knows its message.
    #[must_use]
    pub fn unique_id(&self) -> &str {
        self.text(self.unique_id.as_ref())
    }

    /// The keys to find it by.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.text(self.keys.as_ref())
            .split(properties::KEY_SEPARATOR)
            .filter(|key| !key.is_empty())
    }

    /// Hash of its tag, 0 without one.
    #[must_use]
    pub fn tag_hash(&self) -> i64 {
        self.tag_hash
    }

    /// `DELAY`, if it asks for one: above 0.
    #[must_use]
    pub fn delay_level(&self) -> Option<i32> {
        self.delay_level.filter(|&level| level > 0)
    }

    /// Whether the answer waits for flush and slaves.
    #[must_use]
    pub fn wait(&self) -> bool {
        self.wait
    }

    /// Whether it is the first half of a transaction.
    #[must_use]
    pub fn transaction_half(&self) -> bool {
        self.transaction_half
    }

    /// Whether it asks for delivery at a time of its own choosing.
    #[must_use]
    pub fn timer(&self) -> bool {
        self.timer
    }

    fn text(&self, range: Option<&Range<usize>>) -> &str {
        range
            .and_then(|range| self.stored.get(range.clone()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sent: &str) -> Incoming {
        let mut incoming = Incoming::default();
        let added = AddedProperties::new("R", true, "C");
        incoming.read(|text| text.push_str(sent), &added, |id| id.push_str("MADE"));
        incoming
    }

    #[test]
    fn the_brokers_own_properties_are_added_and_transport_ones_dropped() {
        let incoming = read("KEYS\u{1}a b\u{2}WAIT\u{1}false\u{2}UNIQ_KEY\u{1}U\u{2}POP_CK\u{1}x\u{2}TAGS\u{1}T\u{2}");
        assert_eq!(
            incoming.stored(),
            "KEYS\u{1}a b\u{2}UNIQ_KEY\u{1}U\u{2}TAGS\u{1}T\u{2}MSG_REGION\u{1}R\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}C\u{2}"
        );
        assert_eq!(incoming.unique_id(), "U");
        assert_eq!(incoming.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!incoming.wait());
        assert_eq!(incoming.tag_hash(), i64::from(protocol::model::java_hash("T")));
    }

    #[test]
    fn a_message_without_a_unique_id_gets_one() {
        let incoming = read("");
        assert_eq!(incoming.unique_id(), "MADE");
        assert!(incoming.stored().ends_with("UNIQ_KEY\u{1}MADE\u{2}"));
        assert!(incoming.wait());
    }

    #[test]
    fn what_asks_for_another_path_is_seen() {
        assert_eq!(read("DELAY\u{1}3\u{2}").delay_level(), Some(3));
        assert_eq!(read("DELAY\u{1}0\u{2}").delay_level(), None);
        assert!(read("TRAN_MSG\u{1}true\u{2}").transaction_half());
        assert!(read("TIMER_DELAY_MS\u{1}5\u{2}").timer());
    }

    #[test]
    fn reading_again_forgets_the_message_before() {
        let mut incoming = read("KEYS\u{1}a\u{2}DELAY\u{1}3\u{2}WAIT\u{1}false\u{2}");
        let added = AddedProperties::new("R", true, "C");
        incoming.read(|_text| {}, &added, |id| id.push('M'));
        assert_eq!(
            (incoming.keys().count(), incoming.delay_level(), incoming.wait()),
            (0, None, true)
        );
    }
}
