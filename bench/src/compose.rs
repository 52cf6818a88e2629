//! What goes into the next request: topic, queue, properties, body.

use crate::filler::Filler;
use crate::options::Options;
use crate::verify::{Rest, Stamps};
use crate::zipf::Zipf;
use bytes::{BufMut, Bytes, BytesMut};
use client::RouteQueue;
use protocol::message::batch::{BatchItem, put_item};
use protocol::message::id::UniqueIdMaker;
use protocol::message::properties::{self, names};
use runtime::Instant;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// Bytes at the begin of a body that tell a reader when the message was due: the run's number and nanoseconds of its clock.
pub const DUE_SIZE: usize = 16;

/// A request that is ready to go. The properties lie in the composer.
#[derive(Debug)]
pub struct Composed<'a> {
    /// Where to.
    pub queue: &'a RouteQueue,
    /// Parts of the body, one behind the other.
    pub body: [Bytes; 2],
    /// Messages in it.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// What a request is made for.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Counts the requests of one sender.
    pub number: u64,
    /// The sender.
    pub sender: u64,
    /// The sharding key, if there are any.
    pub key: Option<u64>,
    /// When it is due.
    pub due: Instant,
    /// When it goes out.
    pub now: Instant,
}

/// Makes requests for the senders of one event loop.
#[derive(Debug)]
pub struct Composer {
    options: Options,
    ids: UniqueIdMaker,
    filler: Filler,
    zipf: Option<Zipf>,
    /// Set when readers of the same process are to know when a message was due.
    due_stamp: Option<u64>,
    /// Set when every message is followed.
    pub stamps: Option<Stamps>,
    extra: String,
    text: String,
}

impl Composer {
    /// For event loop `index`.
    #[must_use]
    pub fn new(options: &Options, index: usize, due_stamp: Option<u64>, stamps: Option<Stamps>) -> Composer {
        let messages = &options.messages;
        let maker = u32::try_from(index).unwrap_or(0);
        let zipf = (options.topics > 1 && options.zipf > 0.0).then(|| Zipf::new(options.topics, options.zipf));
        Composer {
            ids: UniqueIdMaker::new(IpAddr::V4(Ipv4Addr::LOCALHOST), std::process::id(), maker),
            filler: Filler::new(messages.size.max(), messages.compressible, runtime::rng::random_u64()),
            zipf,
            due_stamp,
            stamps,
            extra: "x".repeat(messages.property_size),
            text: String::with_capacity(128 + messages.property_size),
            options: options.clone(),
        }
    }

    /// The properties of the request that was composed last.
    #[must_use]
    pub fn properties(&self) -> &str {
        &self.text
    }

    /// The next request, for one of `topics`: the queues of each topic that can be used.
    pub fn compose<'a>(&mut self, topics: &'a [Vec<RouteQueue>], turn: Turn) -> Option<Composed<'a>> {
        let queue = self.queue(topics, turn)?;
        if self.options.messages.batch > 1 {
            return Some(self.batch(queue, turn));
        }
        let size = self.size();
        self.write_properties(turn);
        let body = self.body(size, turn, queue);
        let bytes = (body[0].len() + body[1].len()) as u64;
        Some(Composed {
            queue,
            body,
            messages: 1,
            bytes,
        })
    }

    fn queue<'a>(&self, topics: &'a [Vec<RouteQueue>], turn: Turn) -> Option<&'a RouteQueue> {
        let turns = turn.sender + turn.number;
        let count = topics.len() as u64;
        let topic = match (&self.zipf, turn.key) {
            (_, Some(key)) => key % count,
            (Some(zipf), None) => zipf.pick(runtime::rng::random_u64()) as u64,
            (None, None) => turns % count,
        };
        let queues = topics.get(usize::try_from(topic).ok()?)?;
        // With several topics, the turns that are left when each had one go on to the next queue.
        let place = turn.key.unwrap_or(turns) / count % (queues.len() as u64).max(1);
        queues.get(usize::try_from(place).ok()?)
    }

    fn size(&self) -> usize {
        let least = if self.due_stamp.is_some() { DUE_SIZE } else { 0 };
        let least = if self.stamps.is_some() { Stamps::SIZE_MIN } else { least };
        self.options.messages.size.pick(runtime::rng::random_below).max(least)
    }

    fn batch<'a>(&mut self, queue: &'a RouteQueue, turn: Turn) -> Composed<'a> {
        let count = self.options.messages.batch;
        let mut all = BytesMut::new();
        let mut bytes = 0;
        for _message in 0..count {
            let size = self.size();
            self.write_properties(turn);
            let [head, tail] = self.body(size, turn, queue);
            let mut body = BytesMut::with_capacity(size);
            body.put(head);
            body.put(tail);
            bytes += body.len() as u64;
            let item = BatchItem {
                flag: 0,
                body: &body,
                properties: self.text.as_str().into(),
            };
            put_item(&mut all, &item).expect("Options::check bounds bodies and properties");
        }
        self.text.clear();
        self.push_common();
        Composed {
            queue,
            body: [all.freeze(), Bytes::new()],
            messages: count as u64,
            bytes,
        }
    }

    fn push_common(&mut self) {
        let id = self.ids.make(runtime::wall_clock_ms());
        properties::push(&mut self.text, names::UNIQ_KEY, &id.to_string());
        properties::push(&mut self.text, names::WAIT, "true");
    }

    fn write_properties(&mut self, turn: Turn) {
        self.text.clear();
        self.push_common();
        let messages = &self.options.messages;
        let mut short = String::new();
        let mut numbered = |text: &mut String, name: &str, letter: &str, number: u64| {
            short.clear();
            // Writing to a string cannot fail.
            let _written = write!(short, "{letter}{number}");
            properties::push(text, name, &short);
        };
        if messages.keys > 0 {
            let key = runtime::rng::random_below(messages.keys);
            numbered(&mut self.text, names::KEYS, "key", key);
        }
        if messages.tags > 0 {
            numbered(&mut self.text, names::TAGS, "tag", turn.number % messages.tags);
        }
        if let Some(key) = turn.key {
            numbered(&mut self.text, names::SHARDING_KEY, "shard", key);
        }
        if messages.delay_level > 0 {
            numbered(&mut self.text, names::DELAY, "", messages.delay_level.into());
        }
        if !self.extra.is_empty() {
            properties::push(&mut self.text, "extra", &self.extra);
        }
    }

    fn body(&mut self, size: usize, turn: Turn, queue: &RouteQueue) -> [Bytes; 2] {
        if let Some(stamps) = &mut self.stamps {
            let size = size - Stamps::SIZE_MIN;
            if let Some(joint) = stamps.joint(size) {
                let (tail, checksum) = self.filler.cut_with_checksum(size, Stamps::READ);
                return [stamps.stamp(queue, turn, Rest::Known(&joint, &tail, checksum)), tail];
            }
            let tail = self.filler.cut(size);
            return [stamps.stamp(queue, turn, Rest::Bytes(&tail)), tail];
        }
        let Some(run) = self.due_stamp else {
            return [Bytes::new(), self.filler.cut(size)];
        };
        let mut head = [0; DUE_SIZE];
        let (run_part, due_part) = head.split_at_mut(DUE_SIZE / 2);
        run_part.copy_from_slice(&run.to_be_bytes());
        due_part.copy_from_slice(&turn.due.as_nanos().to_be_bytes());
        [Bytes::copy_from_slice(&head), self.filler.cut(size - DUE_SIZE)]
    }
}

/// When the message with this body was due, in nanoseconds of our clock, if it was sent in run `run`.
#[must_use]
pub fn due_of(body: &[u8], run: u64) -> Option<u64> {
    // A message that is followed has the checker's header in front.
    let behind = body.get(Stamps::SIZE_MIN - DUE_SIZE..);
    let followed = behind.and_then(|rest| due_at(rest, run));
    due_at(body, run).or(followed)
}

fn due_at(bytes: &[u8], run: u64) -> Option<u64> {
    let (head, _rest) = bytes.split_first_chunk::<DUE_SIZE>()?;
    let both = u128::from_be_bytes(*head);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of it")]
    let (of_run, due) = ((both >> 64) as u64, both as u64);
    (of_run == run).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};
    use protocol::message::batch::BatchItems;

    fn composer(line: &str, stamps: Option<Stamps>) -> Composer {
        let command = Options::augment_args(clap::Command::new("mqbench").no_binary_name(true));
        let options = Options::from_arg_matches(&command.get_matches_from(line.split_whitespace())).unwrap();
        Composer::new(&options, 0, Some(77), stamps)
    }

    fn topics(count: usize) -> Vec<Vec<RouteQueue>> {
        let queue = |topic, queue_id| RouteQueue {
            topic: format!("T{topic}").into(),
            broker_name: "b".into(),
            queue_id,
        };
        (0..count)
            .map(|topic| (0..4).map(|queue_id| queue(topic, queue_id)).collect())
            .collect()
    }

    fn turn(number: u64, key: Option<u64>) -> Turn {
        let now = Instant::now();
        Turn {
            number,
            sender: 0,
            key,
            due: now,
            now,
        }
    }

    #[test]
    fn every_queue_of_every_topic_has_its_turn() {
        let topics = topics(3);
        let mut composer = composer("--topics 3", None);
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..12 {
            seen.insert(composer.compose(&topics, turn(number, None)).unwrap().queue.clone());
        }
        assert_eq!(seen.len(), 12);
    }

    #[test]
    fn a_sharding_key_keeps_its_queue_and_stands_in_the_properties() {
        let topics = topics(1);
        let mut composer = composer(
            "--ordered-keys 10 --keys 5 --tags 3 --property-size 9 --delay-level 4",
            None,
        );
        let queues = [0, 1, 2].map(|number| {
            let composed = composer.compose(&topics, turn(number, Some(6))).unwrap();
            composed.queue.queue_id
        });
        assert_eq!(queues, [2, 2, 2]);
        let property = |name| properties::get(composer.properties(), name);
        assert_eq!(property(names::SHARDING_KEY), Some("shard6"));
        assert_eq!(
            (property(names::TAGS), property(names::DELAY)),
            (Some("tag2"), Some("4"))
        );
        assert!(property(names::KEYS).unwrap().starts_with("key"));
        assert_eq!(property("extra"), Some("xxxxxxxxx"));
    }

    #[test]
    fn a_reader_finds_when_a_message_was_due_followed_or_not() {
        for stamps in [None, Some(Stamps::new(77, 0))] {
            let turn = turn(0, None);
            let mut composer = composer("--size 100", stamps);
            let topics = topics(1);
            let composed = composer.compose(&topics, turn).unwrap();
            let body = composed.body.concat();
            assert_eq!(body.len(), 100);
            assert_eq!(due_of(&body, 77), Some(turn.due.as_nanos()));
            assert_eq!(due_of(&body, 78), None, "another run's message");
        }
    }

    #[test]
    fn bodies_that_are_followed_are_whole_of_one_size_and_of_many() {
        for line in ["--size 300", "--size 56", "--size 63", "--size 64", "--size 60..2000"] {
            let mut composer = composer(line, Some(Stamps::new(77, 0)));
            let topics = topics(1);
            for number in 0..100 {
                let composed = composer.compose(&topics, turn(number, None)).unwrap();
                let identity = checker::body::decode(&composed.body.concat()).unwrap();
                assert_eq!(identity.id.sequence, number, "{line}");
            }
        }
    }

    #[test]
    fn a_batch_holds_as_many_messages_of_the_sizes_that_were_asked_for() {
        let mut composer = composer("--batch 7 --size 20..30", None);
        let topics = topics(1);
        let composed = composer.compose(&topics, turn(0, None)).unwrap();
        assert_eq!(composed.messages, 7);
        let items = BatchItems::new(&composed.body[0]).collect_all().unwrap();
        assert_eq!(items.len(), 7);
        assert!(items.iter().all(|item| (20..=30).contains(&item.body.len())));
        assert_eq!(
            items.iter().map(|item| item.body.len() as u64).sum::<u64>(),
            composed.bytes
        );
    }
}
