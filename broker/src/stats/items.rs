//! Items of statistics by name and key, with what came in the last minute, hour and day: `VIEW_BROKER_STATS_DATA`.
//!
//! As RocketMQ's `StatsItem`: sums are sampled each 10 seconds, 10 minutes and hour, and a window is the difference of its
//! oldest and its newest sample. A window that has not filled yet counts from a sample of zero one interval before the first.
//!
//! Keys: a topic; `topic@group`; for the broker's own items, the cluster. An item that has not changed for a day is dropped,
//! and beyond [`ITEMS_MAX`] none is made, so the names that peers choose do not fill the memory.

use super::Amount;
use super::latency::as_float;
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use std::collections::VecDeque;
use std::time::Duration;

/// Most items there are.
pub const ITEMS_MAX: usize = 100_000;
/// How long an item is kept that does not change: until its day's window is empty, too.
const KEPT: Duration = Duration::from_secs(25 * 3600);

macro_rules! stat_names {
    ($($name:ident)*) => {
        /// Names of items, as RocketMQ's `BrokerStatsManager` has them.
        #[expect(non_camel_case_types, reason = "these are the names on the wire")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum StatName {
            $(#[doc = concat!("`", stringify!($name), "`")] $name,)*
        }

        impl StatName {
            /// From the wire.
            #[must_use]
            pub fn from_name(name: &str) -> Option<StatName> {
                match name { $(stringify!($name) => Some(StatName::$name),)* _ => None }
            }

            /// As on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(StatName::$name => stringify!($name),)* }
            }
        }
    };
}

stat_names! {
    TOPIC_PUT_NUMS TOPIC_PUT_SIZE TOPIC_PUT_LATENCY QUEUE_PUT_NUMS QUEUE_PUT_SIZE QUEUE_GET_NUMS QUEUE_GET_SIZE
    GROUP_GET_NUMS GROUP_GET_SIZE GROUP_GET_LATENCY GROUP_ACK_NUMS GROUP_CK_NUMS SNDBCK_PUT_NUMS SNDBCK2DLQ_TIMES
    DLQ_PUT_NUMS BROKER_PUT_NUMS BROKER_GET_NUMS BROKER_ACK_NUMS BROKER_CK_NUMS BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC
    BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC GROUP_GET_FROM_DISK_NUMS GROUP_GET_FROM_DISK_SIZE BROKER_GET_FROM_DISK_NUMS
    BROKER_GET_FROM_DISK_SIZE GROUP_GET_FALL_SIZE GROUP_GET_FALL_TIME CONSUMER_REGISTER_TIME PRODUCER_REGISTER_TIME
    CHANNEL_ACTIVITY COMMERCIAL_SEND_TIMES COMMERCIAL_SNDBCK_TIMES COMMERCIAL_RCV_TIMES COMMERCIAL_RCV_EPOLLS
    COMMERCIAL_SEND_SIZE COMMERCIAL_RCV_SIZE COMMERCIAL_PERM_FAILURES
}

/// What came in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// In all.
    pub sum: u64,
    /// A second.
    pub tps: f64,
    /// A time, on average.
    pub avgpt: f64,
}

/// What came in the last minute, hour and day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Windows {
    /// The last minute.
    pub minute: Window,
    /// The last hour.
    pub hour: Window,
    /// The last day.
    pub day: Window,
}

/// Every item.
#[derive(Debug)]
pub struct StatItems {
    items: HashMap<String, Vec<(StatName, Item)>>,
    count: usize,
    next_samples: Option<[Instant; 3]>,
    not_kept: u64,
}

#[derive(Debug)]
struct Item {
    total: Amount,
    last_change: Instant,
    /// Of the minute, the hour and the day.
    samples: [VecDeque<Sample>; 3],
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    total: Amount,
    /// How much earlier than `at` it stands for: one interval, for the zero before the first sample.
    earlier: Duration,
}

/// Interval and number of samples of the minute, the hour and the day.
const SAMPLING: [(Duration, usize); 3] = [
    (Duration::from_secs(10), 7),
    (Duration::from_secs(600), 7),
    (Duration::from_secs(3600), 25),
];

impl Default for StatItems {
    fn default() -> Self {
        StatItems {
            items: hash_map(),
            count: 0,
            next_samples: None,
            not_kept: 0,
        }
    }
}

impl StatItems {
    /// Adds to an item.
    pub fn add(&mut self, name: StatName, key: &str, amount: Amount, now: Instant) {
        if amount == Amount::default() {
            return;
        }
        if self.count >= ITEMS_MAX && self.find(name, key).is_none() {
            self.not_kept = self.not_kept.saturating_add(1);
            return;
        }
        let of_key = self.items.entry_ref(key).or_default();
        let item = match of_key.iter().position(|(other, _item)| *other == name) {
            Some(place) => of_key.get_mut(place),
            None => {
                self.count += 1;
                let samples = [VecDeque::new(), VecDeque::new(), VecDeque::new()];
                of_key.push((
                    name,
                    Item {
                        total: Amount::default(),
                        last_change: now,
                        samples,
                    },
                ));
                of_key.last_mut()
            }
        };
        if let Some((_name, item)) = item {
            item.total.add(amount.sum, amount.times);
            item.last_change = now;
        }
    }

    /// Takes the samples that are due, and drops items that have been idle for long. To be called each second or so.
    pub fn sample(&mut self, now: Instant) {
        let next = self.next_samples.get_or_insert([now; 3]);
        let due = [0, 1, 2].map(|window| next.get(window).is_some_and(|&at| at <= now));
        for ((at, &due), (interval, _length)) in next.iter_mut().zip(&due).zip(SAMPLING) {
            if due {
                *at = now + interval;
            }
        }
        if due == [false; 3] {
            return;
        }
        let mut count = 0;
        self.items.retain(|_key, of_key| {
            of_key.retain_mut(|(_name, item)| {
                item.sample(now, due);
                now - item.last_change <= KEPT
            });
            count += of_key.len();
            !of_key.is_empty()
        });
        self.count = count;
    }

    /// What came; `None` if nothing ever did.
    #[must_use]
    pub fn windows(&self, name: StatName, key: &str) -> Option<Windows> {
        let [minute, hour, day] = self.find(name, key)?.samples.each_ref().map(window_of);
        Some(Windows { minute, hour, day })
    }

    /// How much came in all since the item was made.
    #[must_use]
    pub fn total(&self, name: StatName, key: &str) -> Amount {
        self.find(name, key).map(|item| item.total).unwrap_or_default()
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How often something was not counted since there were too many items.
    #[must_use]
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// Drops the items of a topic that is gone.
    pub fn forget_topic(&mut self, topic: &str) {
        self.forget(|key| key.split('@').next() == Some(topic));
    }

    /// Drops the items of a group that is gone.
    pub fn forget_group(&mut self, consumer_group: &str) {
        self.forget(|key| {
            key.rsplit_once('@')
                .is_some_and(|(_topic, group)| group == consumer_group)
        });
    }

    fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        let mut count = 0;
        self.items.retain(|key, of_key| {
            let kept = !is_gone(key);
            count += if kept { of_key.len() } else { 0 };
            kept
        });
        self.count = count;
    }

    fn find(&self, name: StatName, key: &str) -> Option<&Item> {
        self.items
            .get(key)?
            .iter()
            .find(|(other, _item)| *other == name)
            .map(|(_name, item)| item)
    }
}

impl Item {
    fn sample(&mut self, now: Instant, due: [bool; 3]) {
        for ((samples, due), (interval, length)) in self.samples.iter_mut().zip(due).zip(SAMPLING) {
            if !due {
                continue;
            }
            if samples.is_empty() {
                samples.push_back(Sample {
                    at: now,
                    total: Amount::default(),
                    earlier: interval,
                });
            }
            samples.push_back(Sample {
                at: now,
                total: self.total,
                earlier: Duration::ZERO,
            });
            if samples.len() > length {
                samples.pop_front();
            }
        }
    }
}

fn window_of(samples: &VecDeque<Sample>) -> Window {
    let (Some(first), Some(last)) = (samples.front(), samples.back()) else {
        return Window::default();
    };
    let seconds = (last.at - first.at + first.earlier).as_secs_f64();
    let sum = last.total.sum - first.total.sum;
    let times = last.total.times - first.total.times;
    Window {
        sum,
        tps: if seconds > 0.0 { as_float(sum) / seconds } else { 0.0 },
        avgpt: if times > 0 {
            as_float(sum) / as_float(times)
        } else {
            0.0
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: StatName = StatName::TOPIC_PUT_NUMS;

    fn ten(times: u64) -> Amount {
        Amount { sum: 10, times }
    }

    #[test]
    fn the_minute_is_the_difference_of_its_samples() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut items = StatItems::default();
        for second in 0..600 {
            items.add(NAME, "t", ten(2), at(second));
            items.sample(at(second));
        }
        let windows = items.windows(NAME, "t").unwrap();
        assert_eq!(
            windows.minute,
            Window {
                sum: 600,
                tps: 10.0,
                avgpt: 5.0
            }
        );
        assert_eq!(items.total(NAME, "t"), Amount { sum: 6000, times: 1200 });
        assert_eq!(windows.hour.sum, 10, "its only sample was taken at the first second");
    }

    #[test]
    fn a_window_that_has_not_filled_counts_from_one_interval_before() {
        let start = Instant::now();
        let mut items = StatItems::default();
        items.add(NAME, "t", Amount { sum: 30, times: 0 }, start);
        items.sample(start);
        let windows = items.windows(NAME, "t").unwrap();
        assert_eq!(
            windows.minute,
            Window {
                sum: 30,
                tps: 3.0,
                avgpt: 0.0
            }
        );
        assert_eq!(
            windows.hour,
            Window {
                sum: 30,
                tps: 0.05,
                avgpt: 0.0
            }
        );
    }

    #[test]
    fn an_idle_item_is_dropped_after_a_day_and_a_busy_one_is_not() {
        let start = Instant::now();
        let mut items = StatItems::default();
        items.add(NAME, "idle", ten(1), start);
        for hour in 0..30 {
            let now = start + Duration::from_secs(hour * 3600);
            items.add(NAME, "busy", ten(1), now);
            items.sample(now);
        }
        assert_eq!(items.windows(NAME, "idle"), None);
        assert_eq!(items.windows(NAME, "busy").unwrap().day.sum, 240);
        assert_eq!(items.len(), 1);
    }

    #[test]
    fn beyond_the_bound_no_item_is_made_and_those_there_go_on() {
        let now = Instant::now();
        let mut items = StatItems::default();
        for number in 0..=ITEMS_MAX {
            items.add(NAME, &number.to_string(), ten(1), now);
        }
        items.add(NAME, "0", ten(1), now);
        assert_eq!((items.len(), items.not_kept()), (ITEMS_MAX, 1));
        assert_eq!(items.total(NAME, "0").sum, 20);
    }

    #[test]
    fn items_of_a_topic_or_group_that_is_gone_are_dropped() {
        let now = Instant::now();
        let mut items = StatItems::default();
        for key in ["t", "t@g", "t@h", "tt@g", "u"] {
            items.add(NAME, key, ten(1), now);
            items.add(StatName::GROUP_GET_NUMS, key, ten(1), now);
        }
        items.forget_topic("t");
        assert_eq!(items.len(), 4);
        items.forget_group("g");
        assert_eq!(items.len(), 2);
        assert!(items.windows(NAME, "u").is_some());
    }

    #[test]
    fn names_are_those_of_the_wire() {
        assert_eq!(StatName::from_name("TOPIC_PUT_NUMS"), Some(NAME));
        assert_eq!(NAME.as_str(), "TOPIC_PUT_NUMS");
        assert_eq!(StatName::from_name("nonsense"), None);
    }
}
