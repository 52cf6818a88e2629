//! What the broker counts, for runtime info (code 28), topic and group statistics (315) and metrics.
//!
//! Each core counts for itself in plain cells ([`CoreStats`]). Once a second core 0 takes what has come together
//! ([`CoreStats::take`], a [`StatsDelta`]) and adds it to the broker's windows and items ([`broker::BrokerStats`]). So a
//! message costs a few additions and one look-up, and nothing that is shared.

pub mod broker;
pub mod items;
pub mod latency;

pub use broker::BrokerStats;
pub use items::StatName;

use latency::Latencies;
use runtime::collections::{HashMap, hash_map};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How often the cores are asked: each second, and while nothing is counted less and less often, so that an idle broker
/// sleeps.
#[derive(Clone, Copy, Debug)]
pub struct SamplingPace(Duration);

impl SamplingPace {
    const SHORTEST: Duration = Duration::from_secs(1);
    /// The shortest interval of an item's samples: longer pauses would blur its minute.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Until the next sample.
    #[must_use]
    pub fn pause(self) -> Duration {
        self.0
    }

    /// A sample was taken; `counted` if anything had happened since the one before.
    pub fn sampled(&mut self, counted: bool) {
        self.0 = if counted {
            Self::SHORTEST
        } else {
            (self.0 * 2).min(Self::LONGEST)
        };
    }
}

impl Default for SamplingPace {
    fn default() -> SamplingPace {
        SamplingPace(Self::SHORTEST)
    }
}

/// What one core has counted since it was last asked.
#[derive(Debug, Default)]
pub struct CoreStats {
    /// Requests refused because another core's mailbox was full. Counts on and on.
    pub mailbox_full: Cell<u64>,
    puts: Cell<u64>,
    put_bytes: Cell<u64>,
    puts_failed: Cell<u64>,
    gets_found: Cell<u64>,
    gets_missed: Cell<u64>,
    messages_got: Cell<u64>,
    get_time_max_ms: Cell<u64>,
    put_latency: RefCell<Latencies>,
    topics: RefCell<HashMap<String, TopicDelta>>,
    others: RefCell<HashMap<(StatName, String), Amount>>,
}

/// What has come together on one core; a message to core 0.
#[derive(Debug, Default)]
pub struct StatsDelta {
    /// Messages taken.
    pub puts: u64,
    /// Bytes of their records.
    pub put_bytes: u64,
    /// Messages that could not be stored.
    pub puts_failed: u64,
    /// Pulls that found something.
    pub gets_found: u64,
    /// Pulls that did not.
    pub gets_missed: u64,
    /// Messages given to pulls.
    pub messages_got: u64,
    /// The longest pull, in milliseconds.
    pub get_time_max_ms: u64,
    /// How long puts took.
    pub put_latency: Latencies,
    /// By topic.
    pub topics: HashMap<String, TopicDelta>,
    /// Counts that are named by whoever counts.
    pub others: HashMap<(StatName, String), Amount>,
}

/// What came together for one topic.
#[derive(Clone, Debug, Default)]
pub struct TopicDelta {
    /// Messages put, and how often.
    pub put_nums: Amount,
    /// Bytes put, and how often.
    pub put_size: Amount,
    /// By consumer group: messages and bytes got.
    pub groups: HashMap<String, GroupDelta>,
}

/// What came together for one group in one topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupDelta {
    /// Messages got, and how often.
    pub get_nums: Amount,
    /// Bytes got, and how often.
    pub get_size: Amount,
}

/// A sum and of how many values it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// The sum.
    pub sum: u64,
    /// How many values.
    pub times: u64,
}

impl Amount {
    /// Adds `times` values that come to `sum`.
    pub fn add(&mut self, sum: u64, times: u64) {
        self.sum = self.sum.saturating_add(sum);
        self.times = self.times.saturating_add(times);
    }
}

impl CoreStats {
    /// A message was appended; `size` is its record's, in bytes.
    pub fn put_accepted(&self, topic: &str, size: usize) {
        let size = to_u64(size);
        bump(&self.puts, 1);
        bump(&self.put_bytes, size);
        let mut topics = self.topics.borrow_mut();
        let topic = topics.entry_ref(topic).or_default();
        topic.put_nums.add(1, 1);
        topic.put_size.add(size, 1);
    }

    /// The group commit of a message has ended, `latency` after its request was accepted.
    pub fn put_finished(&self, latency: Duration, stored: bool) {
        self.put_latency.borrow_mut().record(latency);
        if !stored {
            bump(&self.puts_failed, 1);
        }
    }

    /// A message was refused before it was appended.
    pub fn put_refused(&self) {
        bump(&self.puts_failed, 1);
    }

    /// A pull was answered with `count` messages of `size` bytes in all.
    pub fn got(&self, topic: &str, consumer_group: &str, count: usize, size: usize) {
        if count == 0 {
            return bump(&self.gets_missed, 1);
        }
        let (count, size) = (to_u64(count), to_u64(size));
        bump(&self.gets_found, 1);
        bump(&self.messages_got, count);
        let mut topics = self.topics.borrow_mut();
        let group = topics
            .entry_ref(topic)
            .or_default()
            .groups
            .entry_ref(consumer_group)
            .or_default();
        group.get_nums.add(count, 1);
        group.get_size.add(size, 1);
    }

    /// Reading for a pull took this long.
    pub fn get_finished(&self, latency: Duration) {
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.get_time_max_ms.set(self.get_time_max_ms.get().max(latency_ms));
    }

    /// Adds to any item by name; for what happens seldom, such as `SNDBCK_PUT_NUMS` of `topic@group`.
    pub fn add(&self, name: StatName, key: &str, sum: u64) {
        self.others
            .borrow_mut()
            .entry((name, key.to_owned()))
            .or_default()
            .add(sum, 1);
    }

    /// A consumer gave a message back; `topic` is where it had it from.
    pub fn sent_back(&self, topic: &str, consumer_group: &str) {
        self.add(StatName::SNDBCK_PUT_NUMS, &[topic, "@", consumer_group].concat(), 1);
    }

    /// A message went to a group's dead letter queue; `topic` is where it came from.
    pub fn dead_lettered(&self, topic: &str, consumer_group: &str) {
        self.add(StatName::DLQ_PUT_NUMS, &[topic, "@", consumer_group].concat(), 1);
    }

    /// Takes what has come together since the last call.
    #[must_use]
    pub fn take(&self) -> StatsDelta {
        StatsDelta {
            puts: self.puts.take(),
            put_bytes: self.put_bytes.take(),
            puts_failed: self.puts_failed.take(),
            gets_found: self.gets_found.take(),
            gets_missed: self.gets_missed.take(),
            messages_got: self.messages_got.take(),
            get_time_max_ms: self.get_time_max_ms.take(),
            put_latency: self.put_latency.take(),
            topics: self.topics.replace(hash_map()),
            others: self.others.replace(hash_map()),
        }
    }
}

impl StatsDelta {
    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts == 0
            && self.puts_failed == 0
            && self.gets_found == 0
            && self.gets_missed == 0
            && self.put_latency.is_empty()
            && self.topics.is_empty()
            && self.others.is_empty()
    }
}

fn bump(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get().saturating_add(by));
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_minute_takes_a_few_samples_and_a_busy_one_sixty() {
        let samples_in_a_minute = |counted: bool| {
            let (mut pace, mut at, mut samples) = (SamplingPace::default(), Duration::ZERO, 0);
            pace.sampled(counted);
            while at + pace.pause() <= Duration::from_secs(60) {
                at += pace.pause();
                pace.sampled(counted);
                samples += 1;
            }
            samples
        };
        assert_eq!((samples_in_a_minute(true), samples_in_a_minute(false)), (60, 7));
        let mut pace = SamplingPace::default();
        (0..9).for_each(|_| pace.sampled(false));
        pace.sampled(true);
        assert_eq!(
            pace.pause(),
            Duration::from_secs(1),
            "the first count brings the full pace back"
        );
    }

    #[test]
    fn a_core_hands_over_what_it_counted_once() {
        let stats = CoreStats::default();
        stats.put_accepted("t", 100);
        stats.put_accepted("t", 50);
        stats.put_finished(Duration::from_millis(3), false);
        stats.put_refused();
        stats.got("t", "g", 2, 150);
        stats.got("t", "g", 0, 0);
        stats.get_finished(Duration::from_millis(7));
        stats.sent_back("t", "g");
        let delta = stats.take();
        assert_eq!((delta.puts, delta.put_bytes, delta.puts_failed), (2, 150, 2));
        assert_eq!((delta.gets_found, delta.gets_missed, delta.messages_got), (1, 1, 2));
        assert_eq!((delta.get_time_max_ms, delta.put_latency.count()), (7, 1));
        let topic = &delta.topics["t"];
        assert_eq!(
            (topic.put_nums, topic.put_size),
            (Amount { sum: 2, times: 2 }, Amount { sum: 150, times: 2 })
        );
        assert_eq!(topic.groups["g"].get_size, Amount { sum: 150, times: 1 });
        assert_eq!(
            delta.others[&(StatName::SNDBCK_PUT_NUMS, "t@g".to_owned())],
            Amount { sum: 1, times: 1 }
        );
        assert!(!delta.is_empty() && stats.take().is_empty());
    }
}
