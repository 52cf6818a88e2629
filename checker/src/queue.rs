//! What is known of one queue.

use crate::history::{MessageId, Tick};
use crate::pages::Pages;
use std::collections::BTreeMap;

/// What a reader last saw at one place of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) sequence: u64,
    pub(crate) producer: u32,
    /// How many power cuts that may lose messages the broker had had when the poll began.
    pub(crate) epoch: u16,
    pub(crate) content: Content,
    /// Whether it was seen in the last reading of everything.
    pub(crate) drained: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    Message,
    /// Bytes that are no whole body.
    Corrupt,
}

impl Slot {
    pub(crate) const EMPTY: Slot = Slot {
        sequence: 0,
        producer: 0,
        epoch: 0,
        content: Content::Nothing,
        drained: false,
    };

    pub(crate) fn id(&self) -> MessageId {
        MessageId {
            producer: self.producer,
            sequence: self.sequence,
        }
    }

    pub(crate) fn holds(&self, id: MessageId) -> bool {
        self.content == Content::Message && self.id() == id
    }
}

/// An answer about the end of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndSeen {
    pub(crate) asked: Tick,
    pub(crate) answered: Tick,
    pub(crate) end: u64,
}

/// Places that a reader went past without being given them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hole {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) epoch: u16,
}

#[derive(Debug)]
pub(crate) struct Queue {
    /// Broker, topic and number, for people.
    pub(crate) label: String,
    pub(crate) broker: usize,
    /// Checksum of the topic's name.
    pub(crate) topic: u32,
    /// A retry or dead letter topic: what lies there was sent elsewhere before.
    pub(crate) returned: bool,
    pub(crate) slots: Pages<Slot>,
    /// The highest begin (minimal offset) that was heard of.
    pub(crate) begin: u64,
    pub(crate) retention: bool,
    pub(crate) deleted: bool,
    /// One past the highest place that was seen.
    pub(crate) seen_end: u64,
    /// Where the reading of everything came to the end.
    pub(crate) drained_to: Option<u64>,
    pub(crate) ends: Vec<EndSeen>,
    pub(crate) holes: Vec<Hole>,
    /// By group: one past the highest place that was given to it.
    pub(crate) delivered: BTreeMap<u32, u64>,
}

impl Queue {
    pub(crate) fn new(label: String, broker: usize, topic: &str) -> Queue {
        Queue {
            label,
            broker,
            topic: crate::body::name_checksum(topic.as_bytes()),
            returned: topic.starts_with("%RETRY%") || topic.starts_with("%DLQ%"),
            slots: Pages::new(Slot::EMPTY),
            begin: 0,
            retention: false,
            deleted: false,
            seen_end: 0,
            drained_to: None,
            ends: Vec::new(),
            holes: Vec::new(),
            delivered: BTreeMap::new(),
        }
    }

    /// The first place that must still be there.
    pub(crate) fn kept_from(&self) -> u64 {
        if self.retention { self.begin } else { 0 }
    }

    pub(crate) fn add_hole(&mut self, from: u64, to: u64, epoch: u16) {
        if from < to {
            self.holes.push(Hole { from, to, epoch });
        }
    }
}
