//! What happened in a run, as it is recorded.

use crate::body::name_checksum;
use crate::pages::Pages;
use crate::queue::{EndSeen, Queue};
use crate::reader::{Reader, ReaderIndex};
use crate::report::Report;
use std::collections::BTreeMap;

/// The recorder's time: any number that does not go back, one clock for a whole history.
pub type Tick = u64;

/// A message, as its producer numbers it. Numbers of one producer should lie close together: tables follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The producer.
    pub producer: u32,
    /// Its how many-th message.
    pub sequence: u64,
}

/// A queue of a broker, of one life of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueIndex(u32);

impl QueueIndex {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a message is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Any queue of a topic.
    Topic(&'a str),
    /// This queue and no other.
    Queue(QueueIndex),
}

/// How a send ended. One that never ends is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// SEND_OK, with the place.
    Acknowledged {
        /// The queue.
        queue: QueueIndex,
        /// The place in it.
        queue_offset: u64,
    },
    /// Refused before anything was stored, so it must never be seen.
    Rejected,
    /// No answer, or one that leaves it open.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unknown,
    Rejected,
    Acknowledged,
}

/// One message's sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) began: Tick,
    pub(crate) ended: Tick,
    pub(crate) queue_offset: u64,
    /// Where the answer says it lies.
    pub(crate) queue: u32,
    /// A queue's index, or a topic's checksum.
    pub(crate) target: u32,
    pub(crate) sharding_key: u32,
    /// How often it went out; 0: it was never sent.
    pub(crate) attempts: u8,
    pub(crate) to_queue: bool,
    pub(crate) state: State,
    /// The check came by it where no answer said that it was.
    pub(crate) seen: bool,
}

pub(crate) const NO_KEY: u32 = u32::MAX;

impl Sent {
    const NEVER: Sent = Sent {
        began: 0,
        ended: Tick::MAX,
        queue_offset: 0,
        queue: 0,
        target: 0,
        sharding_key: NO_KEY,
        attempts: 0,
        to_queue: false,
        state: State::Unknown,
        seen: false,
    };

    pub(crate) fn acknowledged_at(&self, queue: QueueIndex, queue_offset: u64) -> bool {
        self.state == State::Acknowledged && self.queue == queue.0 && self.queue_offset == queue_offset
    }
}

/// A power cut that may take what was acknowledged not long before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) tick: Tick,
    pub(crate) window: Tick,
}

#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) cuts: Vec<Cut>,
    pub(crate) damage_allowed: bool,
}

impl Broker {
    pub(crate) fn epochs(&self) -> u16 {
        u16::try_from(self.cuts.len()).expect("the cuts of a broker are counted by a u16")
    }

    pub(crate) fn epoch_at(&self, tick: Tick) -> u16 {
        let before = self.cuts.partition_point(|cut| cut.tick <= tick);
        u16::try_from(before).expect("the cuts of a broker are counted by a u16")
    }
}

/// Everything that happened in one run.
#[derive(Debug, Default)]
pub struct History {
    broker_names: BTreeMap<String, usize>,
    queue_names: BTreeMap<(String, String, u32), QueueIndex>,
    group_names: BTreeMap<String, u32>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) producers: BTreeMap<u32, Pages<Sent>>,
    pub(crate) draining: bool,
    /// What is wrong as far as one can say at once.
    pub(crate) report: Report,
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new() -> History {
        History::default()
    }

    fn broker(&mut self, name: &str) -> usize {
        if let Some(&known) = self.broker_names.get(name) {
            return known;
        }
        self.brokers.push(Broker::default());
        self.broker_names.insert(name.to_owned(), self.brokers.len() - 1);
        self.brokers.len() - 1
    }

    /// The queue of that name; after [`History::topic_deleted`] it is another one.
    pub fn queue(&mut self, broker: &str, topic: &str, queue_id: u32) -> QueueIndex {
        let name = (broker.to_owned(), topic.to_owned(), queue_id);
        if let Some(&known) = self.queue_names.get(&name) {
            return known;
        }
        let index = QueueIndex(u32::try_from(self.queues.len()).expect("a history has fewer queues than a u32 counts"));
        let label = format!("{broker}/{topic}/{queue_id}");
        let broker = self.broker(broker);
        self.queues.push(Queue::new(label, broker, topic));
        self.queue_names.insert(name, index);
        index
    }

    /// A reader of a group. One that `takes_all` subscribes to every message, so that what it is not given is missing.
    pub fn reader(&mut self, group: &str, takes_all: bool) -> ReaderIndex {
        let next = u32::try_from(self.group_names.len()).expect("a history has fewer groups than a u32 counts");
        let group = *self.group_names.entry(group.to_owned()).or_insert(next);
        self.readers.push(Reader {
            group,
            takes_all,
            positions: BTreeMap::new(),
        });
        ReaderIndex(self.readers.len() - 1)
    }

    /// A producer begins to send a message.
    pub fn send_began(&mut self, id: MessageId, tick: Tick, target: Target<'_>, sharding_key: Option<u32>) {
        let (target, to_queue) = match target {
            Target::Topic(name) => (name_checksum(name.as_bytes()), false),
            Target::Queue(queue) => (queue.0, true),
        };
        *self.sent_mut(id) = Sent {
            began: tick,
            target,
            to_queue,
            sharding_key: sharding_key.unwrap_or(NO_KEY),
            attempts: 1,
            ..Sent::NEVER
        };
        self.report.sent += 1;
    }

    /// A producer sends a message once more, since it does not know what became of it.
    pub fn send_retried(&mut self, id: MessageId) {
        let sent = self.sent_mut(id);
        sent.attempts = sent.attempts.saturating_add(1);
    }

    /// A send ended.
    pub fn send_ended(&mut self, id: MessageId, tick: Tick, outcome: Outcome) {
        let sent = self.sent_mut(id);
        match outcome {
            Outcome::Unknown => sent.state = State::Unknown,
            Outcome::Rejected => sent.state = State::Rejected,
            Outcome::Acknowledged { queue, queue_offset } => {
                sent.state = State::Acknowledged;
                sent.queue = queue.0;
                sent.queue_offset = queue_offset;
                sent.ended = tick;
            }
        }
    }

    fn sent_mut(&mut self, id: MessageId) -> &mut Sent {
        let producer = self
            .producers
            .entry(id.producer)
            .or_insert_with(|| Pages::new(Sent::NEVER));
        producer.get_mut(id.sequence)
    }

    /// Somebody was told the end of a queue: the offset that its next message gets.
    pub fn queue_end_seen(&mut self, queue: QueueIndex, asked: Tick, answered: Tick, end: u64) {
        let ends = &mut self.queues[queue.index()].ends;
        ends.push(EndSeen { asked, answered, end });
    }

    /// Somebody was told the begin of a queue: the lowest offset that is kept.
    pub fn queue_begin_seen(&mut self, queue: QueueIndex, begin: u64) {
        let queue = &mut self.queues[queue.index()];
        queue.begin = queue.begin.max(begin);
    }

    /// Retention may take the oldest messages of a queue.
    pub fn allow_retention(&mut self, queue: QueueIndex) {
        self.queues[queue.index()].retention = true;
    }

    /// Nothing of a topic is asked for any more; a topic of the same name that comes later is another.
    pub fn topic_deleted(&mut self, topic: &str) {
        let gone: Vec<_> = self
            .queue_names
            .keys()
            .filter(|name| name.1 == topic)
            .cloned()
            .collect();
        for name in gone {
            if let Some(queue) = self.queue_names.remove(&name) {
                self.queues[queue.index()].deleted = true;
            }
        }
    }

    /// The power of a broker was cut, and by its promise what it acknowledged within `window` before may be gone: per
    /// queue the newest messages, without a hole.
    pub fn power_cut(&mut self, broker: &str, tick: Tick, window: Tick) {
        let broker = self.broker(broker);
        self.brokers[broker].cuts.push(Cut { tick, window });
    }

    /// The medium of a broker was damaged: it may leave out messages, and still must give out no wrong ones.
    pub fn allow_damage(&mut self, broker: &str) {
        let broker = self.broker(broker);
        self.brokers[broker].damage_allowed = true;
    }

    /// From here on somebody reads everything that is there, once, from every queue's begin.
    pub fn drain_began(&mut self) {
        self.draining = true;
    }

    /// The reading of everything came to the end of a queue, at this offset.
    pub fn drained(&mut self, queue: QueueIndex, end: u64) {
        self.queues[queue.index()].drained_to = Some(end);
    }

    pub(crate) fn epoch_at(&self, queue: QueueIndex, tick: Tick) -> u16 {
        self.brokers[self.queues[queue.index()].broker].epoch_at(tick)
    }

    /// All queues with their indexes.
    pub(crate) fn queue_indexes(&self) -> impl Iterator<Item = QueueIndex> + use<> {
        (0..u32::try_from(self.queues.len()).unwrap_or(u32::MAX)).map(QueueIndex)
    }
}
