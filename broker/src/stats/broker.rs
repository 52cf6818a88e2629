//! The broker's statistics as a whole, on core 0: totals, rates over 10, 60 and 600 seconds, latencies, days.
//!
//! Keys and texts are those of RocketMQ's `StoreStatsService` and `BrokerStats`, as mqadmin's `clusterList` and
//! `brokerStatus` read them. Rates are "10 s 60 s 600 s", blank-separated; before there are that many samples, a rate is taken
//! over those there are (Apache leaves it empty, which its own tools then read as an error).

use super::items::{StatItems, StatName, Windows};
use super::latency::{Latencies, as_float};
use super::{Amount, StatsDelta};
use protocol::model::names::is_system_topic;
use runtime::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are kept: one a second for the longest rate.
const SAMPLES_MAX: usize = 601;
/// How long latencies are gathered before they are shown.
const LATENCY_PERIOD: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What the broker has counted.
#[derive(Debug)]
pub struct BrokerStats {
    cluster: String,
    boot_ms: i64,
    totals: Totals,
    put_time_max_ms: u64,
    get_time_max_ms: u64,
    samples: VecDeque<(Instant, Totals)>,
    latency_now: Latencies,
    latency_shown: Option<Latencies>,
    latency_since: Option<Instant>,
    days: Days,
    items: StatItems,
}

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
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
}

/// Messages put and got, without those of system topics: in all, and as of the last two midnights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// Number of the day that it is, since 1970 in the broker's time zone.
    day: Option<i64>,
    utc_offset_ms: i64,
    put: Day,
    got: Day,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Day {
    yesterday_morning: u64,
    today_morning: u64,
    now: u64,
}

impl BrokerStats {
    /// Statistics of a broker that starts at `boot_ms` (milliseconds since 1970). Days begin at midnight of a clock that is
    /// `utc_offset_ms` ahead of UTC.
    #[must_use]
    pub fn new(cluster: &str, boot_ms: i64, utc_offset_ms: i64) -> BrokerStats {
        BrokerStats {
            cluster: cluster.to_owned(),
            boot_ms,
            totals: Totals::default(),
            put_time_max_ms: 0,
            get_time_max_ms: 0,
            samples: VecDeque::new(),
            latency_now: Latencies::default(),
            latency_shown: None,
            latency_since: None,
            days: Days {
                utc_offset_ms,
                ..Days::default()
            },
            items: StatItems::default(),
        }
    }

    /// Adds what came together on one core.
    pub fn add(&mut self, delta: &StatsDelta, now: Instant) {
        let totals = &mut self.totals;
        totals.puts += delta.puts;
        totals.put_bytes += delta.put_bytes;
        totals.puts_failed += delta.puts_failed;
        totals.gets_found += delta.gets_found;
        totals.gets_missed += delta.gets_missed;
        totals.messages_got += delta.messages_got;
        self.put_time_max_ms = self.put_time_max_ms.max(delta.put_latency.max_ms());
        self.get_time_max_ms = self.get_time_max_ms.max(delta.get_time_max_ms);
        self.latency_now.merge(&delta.put_latency);
        self.add_items(delta, now);
    }

    fn add_items(&mut self, delta: &StatsDelta, now: Instant) {
        let (mut put, mut got, mut put_by_users, mut got_by_users) = (0, 0, 0, 0);
        let mut key = String::new();
        for (topic, of_topic) in &delta.topics {
            self.items.add(StatName::TOPIC_PUT_NUMS, topic, of_topic.put_nums, now);
            self.items.add(StatName::TOPIC_PUT_SIZE, topic, of_topic.put_size, now);
            let mut got_of_topic = 0;
            for (consumer_group, of_group) in &of_topic.groups {
                key.clear();
                key.extend([topic, "@", consumer_group]);
                self.items.add(StatName::GROUP_GET_NUMS, &key, of_group.get_nums, now);
                self.items.add(StatName::GROUP_GET_SIZE, &key, of_group.get_size, now);
                got_of_topic += of_group.get_nums.sum;
            }
            put += of_topic.put_nums.sum;
            got += got_of_topic;
            if !is_system_topic(topic) {
                put_by_users += of_topic.put_nums.sum;
                got_by_users += got_of_topic;
            }
        }
        // These count messages only, not times (as Apache's do).
        for (name, sum) in [
            (StatName::BROKER_PUT_NUMS, put),
            (StatName::BROKER_GET_NUMS, got),
            (StatName::BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC, put_by_users),
            (StatName::BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC, got_by_users),
        ] {
            self.items.add(name, &self.cluster, Amount { sum, times: 0 }, now);
        }
        self.days.put.now += put_by_users;
        self.days.got.now += got_by_users;
        for ((name, key), amount) in &delta.others {
            self.items.add(*name, key, *amount, now);
        }
    }

    /// Takes the samples that are due. To be called each second, or while nothing is counted now and then, after what the cores
    /// have counted was added.
    pub fn sample(&mut self, now: Instant, wall_ms: i64) {
        self.samples.push_back((now, self.totals));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        let since = *self.latency_since.get_or_insert(now);
        if now - since >= LATENCY_PERIOD {
            self.latency_shown = Some(std::mem::take(&mut self.latency_now));
            self.latency_since = Some(now);
        }
        self.days.turn(wall_ms);
        self.items.sample(now);
    }

    /// Sums since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What came for an item; `None` if nothing ever did.
    #[must_use]
    pub fn windows(&self, name: StatName, key: &str) -> Option<Windows> {
        self.items.windows(name, key)
    }

    /// Messages put into a topic a second, over the last minute.
    #[must_use]
    pub fn topic_put_tps(&self, topic: &str) -> f64 {
        self.windows(StatName::TOPIC_PUT_NUMS, topic)
            .map_or(0.0, |windows| windows.minute.tps)
    }

    /// Messages that a group got from a topic a second, over the last minute.
    #[must_use]
    pub fn group_get_tps(&self, consumer_group: &str, topic: &str) -> f64 {
        let key = [topic, "@", consumer_group].concat();
        self.windows(StatName::GROUP_GET_NUMS, &key)
            .map_or(0.0, |windows| windows.minute.tps)
    }

    /// A topic is gone.
    pub fn forget_topic(&mut self, topic: &str) {
        self.items.forget_topic(topic);
    }

    /// A consumer group is gone.
    pub fn forget_group(&mut self, consumer_group: &str) {
        self.items.forget_group(consumer_group);
    }

    /// The keys of runtime info that come from here, with their values.
    #[must_use]
    pub fn runtime_info(&self, wall_ms: i64) -> Vec<(&'static str, String)> {
        let totals = &self.totals;
        let latency = self.latency_shown.as_ref().unwrap_or(&self.latency_now);
        let average_size = as_float(totals.put_bytes) / as_float(totals.puts.max(1));
        let found = |totals: &Totals| totals.gets_found;
        let missed = |totals: &Totals| totals.gets_missed;
        let days = &self.days;
        vec![
            ("bootTimestamp", self.boot_ms.to_string()),
            ("runtime", age(wall_ms.saturating_sub(self.boot_ms))),
            ("putMessageTimesTotal", totals.puts.to_string()),
            ("putMessageFailedTimes", totals.puts_failed.to_string()),
            ("putMessageSizeTotal", totals.put_bytes.to_string()),
            ("putMessageAverageSize", format!("{average_size:?}")),
            ("putMessageEntireTimeMax", self.put_time_max_ms.to_string()),
            ("putMessageDistributeTime", latency.distribution()),
            ("getMessageEntireTimeMax", self.get_time_max_ms.to_string()),
            ("putTps", self.rates(|totals| totals.puts)),
            ("getFoundTps", self.rates(found)),
            ("getMissTps", self.rates(missed)),
            ("getTotalTps", self.rates(|totals| found(totals) + missed(totals))),
            ("getTransferredTps", self.rates(|totals| totals.messages_got)),
            ("putLatency99", format!("{:.2}", latency.percentile_ms(0.99))),
            ("putLatency999", format!("{:.2}", latency.percentile_ms(0.999))),
            ("msgPutTotalYesterdayMorning", days.put.yesterday_morning.to_string()),
            ("msgPutTotalTodayMorning", days.put.today_morning.to_string()),
            ("msgPutTotalTodayNow", days.put.now.to_string()),
            ("msgGetTotalYesterdayMorning", days.got.yesterday_morning.to_string()),
            ("msgGetTotalTodayMorning", days.got.today_morning.to_string()),
            ("msgGetTotalTodayNow", days.got.now.to_string()),
        ]
    }

    fn rates(&self, of: impl Fn(&Totals) -> u64) -> String {
        let [ten, sixty, six_hundred] = [10, 60, 600].map(|seconds| self.rate(Duration::from_secs(seconds), &of));
        format!("{ten:?} {sixty:?} {six_hundred:?}")
    }

    /// The rate since the newest sample that is so old, or since the oldest there is.
    fn rate(&self, span: Duration, of: impl Fn(&Totals) -> u64) -> f64 {
        let Some((to, last)) = self.samples.back() else {
            return 0.0;
        };
        let old_enough = self.samples.partition_point(|(at, _totals)| *to - *at >= span);
        let Some((from, first)) = self.samples.get(old_enough.saturating_sub(1)) else {
            return 0.0;
        };
        let seconds = (*to - *from).as_secs_f64();
        if seconds > 0.0 {
            as_float(of(last) - of(first)) / seconds
        } else {
            0.0
        }
    }
}

impl Days {
    fn turn(&mut self, wall_ms: i64) {
        let today = wall_ms.saturating_add(self.utc_offset_ms).div_euclid(DAY_MS);
        // A clock set back does not turn the day again.
        if self.day.is_some_and(|day| day < today) {
            self.put.turn();
            self.got.turn();
        }
        self.day = Some(self.day.map_or(today, |day| day.max(today)));
    }
}

impl Day {
    fn turn(&mut self) {
        self.yesterday_morning = self.today_morning;
        self.today_morning = self.now;
    }
}

/// How long something has run, as Apache's broker writes it.
fn age(age_ms: i64) -> String {
    let seconds = age_ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!(
        "[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]",
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::super::CoreStats;
    use super::*;

    const NOON: i64 = 1_700_000_000_000 / DAY_MS * DAY_MS + DAY_MS / 2;

    fn second(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    fn info(stats: &BrokerStats, key: &str) -> String {
        let all = stats.runtime_info(NOON);
        all.into_iter().find(|(other, _value)| *other == key).unwrap().1
    }

    /// Puts 5 messages of 100 bytes a second and gets 2 in one pull, with another pull that finds nothing.
    fn run(stats: &mut BrokerStats, start: Instant, seconds: std::ops::Range<u64>) {
        let core = CoreStats::default();
        for at in seconds {
            for _ in 0..5 {
                core.put_accepted("t", 100);
                core.put_finished(Duration::from_millis(4), true);
            }
            core.got("t", "g", 2, 200);
            core.got("t", "g", 0, 0);
            core.put_accepted("SCHEDULE_TOPIC_XXXX", 100);
            stats.add(&core.take(), second(start, at));
            stats.sample(second(start, at), NOON);
        }
    }

    #[test]
    fn rates_are_of_ten_sixty_and_six_hundred_seconds() {
        let start = Instant::now();
        let mut stats = BrokerStats::new("C", NOON, 0);
        run(&mut stats, start, 0..700);
        assert_eq!(info(&stats, "putTps"), "6.0 6.0 6.0");
        assert_eq!(info(&stats, "getFoundTps"), "1.0 1.0 1.0");
        assert_eq!(info(&stats, "getMissTps"), "1.0 1.0 1.0");
        assert_eq!(info(&stats, "getTotalTps"), "2.0 2.0 2.0");
        assert_eq!(info(&stats, "getTransferredTps"), "2.0 2.0 2.0");
        for at in 700..705 {
            stats.sample(second(start, at), NOON);
        }
        assert_eq!(info(&stats, "putTps"), "3.0 5.5 5.95");
    }

    #[test]
    fn rates_look_back_by_time_whatever_the_pace_of_the_samples() {
        let start = Instant::now();
        let mut stats = BrokerStats::new("C", NOON, 0);
        run(&mut stats, start, 0..60);
        for at in [70, 80, 90, 100] {
            stats.sample(second(start, at), NOON);
        }
        assert_eq!(info(&stats, "putTps"), "0.0 1.9 3.54");
        run(&mut stats, start, 101..104);
        assert_eq!(
            info(&stats, "putTps").split(' ').next(),
            Some("1.3846153846153846"),
            "18 in 13 s"
        );
    }

    #[test]
    fn rates_of_a_young_broker_are_numbers_too() {
        let start = Instant::now();
        let mut stats = BrokerStats::new("C", NOON, 0);
        assert_eq!(info(&stats, "putTps"), "0.0 0.0 0.0");
        run(&mut stats, start, 0..3);
        assert_eq!(info(&stats, "putTps"), "6.0 6.0 6.0");
    }

    #[test]
    fn totals_sizes_and_age_are_told() {
        let mut stats = BrokerStats::new("C", NOON - 93_784_000, 0);
        assert_eq!(info(&stats, "putMessageAverageSize"), "0.0");
        run(&mut stats, Instant::now(), 0..2);
        assert_eq!(info(&stats, "putMessageTimesTotal"), "12");
        assert_eq!(info(&stats, "putMessageSizeTotal"), "1200");
        assert_eq!(info(&stats, "putMessageAverageSize"), "100.0");
        assert_eq!(info(&stats, "runtime"), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
    }

    #[test]
    fn latencies_shown_are_those_of_the_last_whole_minute() {
        let start = Instant::now();
        let mut stats = BrokerStats::new("C", NOON, 0);
        run(&mut stats, start, 0..61);
        assert!(info(&stats, "putMessageDistributeTime").contains("[0~10ms]:305 "));
        assert_eq!(info(&stats, "putLatency99"), "4.00");
        assert_eq!(info(&stats, "putMessageEntireTimeMax"), "4");
        for at in 61..122 {
            stats.sample(second(start, at), NOON);
        }
        assert!(info(&stats, "putMessageDistributeTime").contains("[0~10ms]:0 "));
    }

    #[test]
    fn days_turn_at_local_midnight_and_leave_out_system_topics() {
        let start = Instant::now();
        let one_hour = 3_600_000;
        let mut stats = BrokerStats::new("C", NOON, one_hour);
        run(&mut stats, start, 0..1);
        let midnight = NOON + DAY_MS / 2 - one_hour;
        stats.sample(second(start, 1), midnight - 1);
        assert_eq!(
            (
                info(&stats, "msgPutTotalTodayMorning"),
                info(&stats, "msgPutTotalTodayNow")
            ),
            ("0".into(), "5".into())
        );
        stats.sample(second(start, 2), midnight);
        assert_eq!(info(&stats, "msgPutTotalTodayMorning"), "5");
        assert_eq!(info(&stats, "msgGetTotalTodayMorning"), "2");
        stats.sample(second(start, 3), midnight - 1);
        stats.sample(second(start, 4), midnight);
        assert_eq!(
            info(&stats, "msgPutTotalYesterdayMorning"),
            "0",
            "a clock set back does not turn the day twice"
        );
        stats.sample(second(start, 5), midnight + DAY_MS);
        assert_eq!(info(&stats, "msgPutTotalYesterdayMorning"), "5");
    }

    #[test]
    fn items_have_apaches_keys() {
        let start = Instant::now();
        let mut stats = BrokerStats::new("C", NOON, 0);
        run(&mut stats, start, 0..61);
        assert!((stats.topic_put_tps("t") - 5.0).abs() < 1e-9);
        assert!((stats.group_get_tps("g", "t") - 2.0).abs() < 1e-9);
        let minute = |name, key| stats.windows(name, key).unwrap().minute.sum;
        assert_eq!(minute(StatName::BROKER_PUT_NUMS, "C"), 360);
        assert_eq!(minute(StatName::BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC, "C"), 300);
        assert_eq!(minute(StatName::TOPIC_PUT_SIZE, "t"), 30_000);
        stats.forget_topic("t");
        assert_eq!(stats.windows(StatName::GROUP_GET_NUMS, "t@g"), None);
    }
}
