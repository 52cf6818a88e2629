//! What one event loop measures, and how the loops' measurements become one.
//!
//! Every loop has histograms of its own for each interval of the run; they are added up as histograms, so a percentile of
//! the whole is that of all messages together and never a mean of percentiles.
//!
//! Two times of each send: **response** from when it was due, **service** from when it went out. In a closed loop they are
//! the same. A message belongs to the run by when it was due, so that what a stalled server answers after the end is in the
//! percentiles; the rate counts what was answered before the end.

use hdrhistogram::Histogram;
use runtime::Instant;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// Characters of an error's text that are kept.
const STATUS_LENGTH_MAX: usize = 200;
/// Different statuses that are kept apart in an interval; the rest is counted together.
const STATUSES_MAX: usize = 100;

/// The span that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// What is due from here on counts.
    pub from: Instant,
    /// What is due from here on does not count.
    pub until: Instant,
}

impl Window {
    /// Whether it counts.
    #[must_use]
    pub fn contains(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }
}

/// An empty histogram of microseconds.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("three digits are allowed")
}

fn record(into: &mut Histogram<u64>, latency: Duration, messages: u64) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
    into.record_n(micros, messages)
        .expect("an automatically growing histogram takes every time that a run can last");
}

/// What was measured in one span: of one loop, or the sum of several.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From when a message was due to its answer, microseconds.
    pub response: Histogram<u64>,
    /// From when a message went out to its answer, microseconds.
    pub service: Histogram<u64>,
    /// From when a message was due (or born, if another process sent it) to its arrival at a reader, microseconds.
    pub delivery: Histogram<u64>,
    /// From when a message could go out to when the generator sent it, microseconds: its own delay.
    pub lag: Histogram<u64>,
    /// Messages that were acknowledged with `SEND_OK`.
    pub sent: u64,
    /// Bytes of their bodies.
    pub sent_bytes: u64,
    /// Messages that were read.
    pub received: u64,
    /// Bytes of their records.
    pub received_bytes: u64,
    /// Requests by how they ended, `SEND_OK` and what reading failed with.
    pub statuses: BTreeMap<String, u64>,
    /// Requests that had to wait since as many as allowed were under way.
    pub held_back: u64,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            response: histogram(),
            service: histogram(),
            delivery: histogram(),
            lag: histogram(),
            sent: 0,
            sent_bytes: 0,
            received: 0,
            received_bytes: 0,
            statuses: BTreeMap::new(),
            held_back: 0,
        }
    }
}

/// The status of a message that is as safe as the broker is configured to make it.
pub const SEND_OK: &str = "SEND_OK";

impl Tally {
    /// Adds another, histogram by histogram.
    pub fn add(&mut self, other: &Tally) {
        for (to, from) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.delivery, &other.delivery),
            (&mut self.lag, &other.lag),
        ] {
            to.add(from)
                .expect("histograms of microseconds grow to hold each other");
        }
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.held_back += other.held_back;
        for (status, count) in &other.statuses {
            *self.statuses.entry(status.clone()).or_default() += count;
        }
    }

    /// Requests that ended otherwise than with `SEND_OK`.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.causes().map(|(_status, count)| count).sum()
    }

    /// Every status but `SEND_OK`, and how often it came.
    pub fn causes(&self) -> impl Iterator<Item = (&str, u64)> {
        let all = self.statuses.iter().map(|(status, count)| (status.as_str(), *count));
        all.filter(|(status, _count)| *status != SEND_OK)
    }
}

/// The measurements of one interval of one loop.
#[derive(Clone, Debug)]
pub struct Report {
    /// The interval's number.
    pub interval: u32,
    /// What was measured in it.
    pub tally: Tally,
}

/// Measurements of one loop as they come.
#[derive(Debug)]
pub struct Recorder {
    window: Window,
    interval: Duration,
    current: Tally,
    /// `SEND_OK` is counted without a look into a map.
    ok: u64,
    number: u32,
    to: Sender<Report>,
}

impl Recorder {
    /// Records what is due in a window, and hands over what came in each interval.
    #[must_use]
    pub fn new(window: Window, interval: Duration, to: Sender<Report>) -> Recorder {
        Recorder {
            window,
            interval,
            current: Tally::default(),
            ok: 0,
            number: 0,
            to,
        }
    }

    /// A request of `messages` messages was due at `due`, went out at `sent`, and was answered with `SEND_OK` now.
    pub fn sent_ok(&mut self, now: Instant, due: Instant, sent: Instant, messages: u64, bytes: u64) {
        if self.window.contains(due) {
            self.times(now, due, sent, messages);
            self.ok += 1;
        }
        if self.window.contains(now) {
            self.current.sent += messages;
            self.current.sent_bytes += bytes;
        }
    }

    /// The same, but the answer is another status: stored, though not as safe as it should be.
    pub fn sent_less_safe(&mut self, now: Instant, due: Instant, sent: Instant, messages: u64, status: &str) {
        if self.window.contains(due) {
            self.times(now, due, sent, messages);
            self.count(status, 1);
        }
    }

    fn times(&mut self, now: Instant, due: Instant, sent: Instant, messages: u64) {
        record(&mut self.current.response, now - due, messages);
        record(&mut self.current.service, now - sent, messages);
    }

    /// A request that was due at `due` failed.
    pub fn failed(&mut self, due: Instant, why: &str) {
        if self.window.contains(due) {
            self.count(why, 1);
        }
    }

    /// Requests that were due in the window and never went out.
    pub fn unsent(&mut self, requests: u64, why: &str) {
        if requests > 0 {
            self.count(why, requests);
        }
    }

    /// A request could go out at `ready` and went out now.
    pub fn lagged(&mut self, now: Instant, due: Instant, ready: Instant) {
        if self.window.contains(due) {
            record(&mut self.current.lag, now - ready, 1);
        }
    }

    /// A request that was due had to wait for the answer to another.
    pub fn held_back(&mut self, due: Instant) {
        if self.window.contains(due) {
            self.current.held_back += 1;
        }
    }

    /// Messages were read.
    pub fn received(&mut self, now: Instant, messages: u64, bytes: u64) {
        if self.window.contains(now) {
            self.current.received += messages;
            self.current.received_bytes += bytes;
        }
    }

    /// A message that was due (or born) at `due` has arrived after `latency`.
    pub fn delivered(&mut self, due: Instant, latency: Duration) {
        if self.window.contains(due) {
            record(&mut self.current.delivery, latency, 1);
        }
    }

    fn count(&mut self, status: &str, requests: u64) {
        let statuses = &mut self.current.statuses;
        let name: String = status.chars().take(STATUS_LENGTH_MAX).collect();
        let known = statuses.len() < STATUSES_MAX || statuses.contains_key(&name);
        let name = if known { name } else { "other failures".to_owned() };
        *statuses.entry(name).or_default() += requests;
    }

    /// The window.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// When the present interval ends.
    #[must_use]
    pub fn interval_end(&self) -> Instant {
        self.window.from + self.interval.saturating_mul(self.number + 1)
    }

    /// Ends the present interval and hands it over.
    pub fn turn(&mut self) {
        let mut tally = std::mem::take(&mut self.current);
        if self.ok > 0 {
            tally.statuses.insert(SEND_OK.to_owned(), std::mem::take(&mut self.ok));
        }
        // The receiver lives as long as the loops; if it does not, the run is being called off.
        let _sent = self.to.send(Report {
            interval: self.number,
            tally,
        });
        self.number += 1;
    }
}

/// One interval of a run.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Its begin, seconds after the begin of the measured span.
    pub begin: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// What was measured in it by all loops.
    pub tally: Tally,
}

/// Measurements of a run.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The whole.
    pub total: Tally,
    /// Its intervals.
    pub intervals: Vec<Interval>,
    /// How long was measured.
    pub time: Duration,
    /// When the measured span began, milliseconds since 1970.
    pub began_ms: i64,
    /// What the watched processes used meanwhile.
    pub server: Option<crate::account::Usage>,
    /// What the generator used meanwhile.
    pub own: Option<crate::account::Usage>,
    /// What following every message has shown.
    pub verdict: Option<crate::verify::Verdict>,
    /// Seconds until the backlog was read, in a catch-up run.
    pub caught_up_after: Option<f64>,
    /// The run is about the delivery time, though it sends.
    pub leads_with_delivery: bool,
}

impl Measured {
    /// Messages that the run is about: sent, or read if none was sent.
    #[must_use]
    pub fn messages(&self) -> u64 {
        if self.caught_up_after.is_some() || self.total.sent == 0 {
            self.total.received
        } else {
            self.total.sent
        }
    }

    /// Bytes of these.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        if self.caught_up_after.is_some() || self.total.sent == 0 {
            self.total.received_bytes
        } else {
            self.total.sent_bytes
        }
    }

    /// The latency that the run is about, in one of its tallies: the response time, or the delivery time if that is what it
    /// was made for or nothing was sent.
    #[must_use]
    pub fn headline<'a>(&self, tally: &'a Tally) -> &'a Histogram<u64> {
        if self.leads_with_delivery || self.total.response.is_empty() {
            &tally.delivery
        } else {
            &tally.response
        }
    }

    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        number(self.messages()) / self.time.as_secs_f64().max(1e-9)
    }
}

/// A count as a number to reckon with.
#[must_use]
pub fn number(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of one run stay below 2^52")]
    let number = count as f64;
    number
}

/// A percentile (0 to 100) in milliseconds; NaN of nothing.
#[must_use]
pub fn percentile_ms(of: &Histogram<u64>, percentile: f64) -> f64 {
    if of.is_empty() {
        return f64::NAN;
    }
    number(of.value_at_quantile(percentile / 100.0)) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn window(from: Instant) -> Window {
        Window {
            from,
            until: from + Duration::from_secs(1),
        }
    }

    fn reported(record: impl FnOnce(&mut Recorder, Instant)) -> Tally {
        let start = Instant::now() + Duration::from_secs(100);
        let (to, from) = channel();
        let mut recorder = Recorder::new(window(start), Duration::from_secs(1), to);
        record(&mut recorder, start);
        recorder.turn();
        from.recv().unwrap().tally
    }

    /// A busy and fast worker beside a slow one: the mean of their p99s would be 2,500 times what the p99 of all is.
    #[test]
    fn the_p99_of_skewed_workers_is_that_of_all_their_messages() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut raw: Vec<u64> = Vec::new();
        let mut all = Tally::default();
        for (messages, scale) in [(90_000, 100), (9_000, 3_000), (500, 400_000), (3, 9_000_000)] {
            let tally = reported(|recorder, start| {
                for _message in 0..messages {
                    let micros = scale / 2 + random.u64(..scale);
                    raw.push(micros);
                    recorder.sent_ok(start + Duration::from_micros(micros), start, start, 1, 1);
                }
            });
            all.add(&tally);
        }
        raw.sort_unstable();
        for per_10_000 in [5_000, 9_000, 9_900, 9_990, 9_999] {
            let place = (per_10_000 * raw.len()).div_ceil(10_000);
            let percentile = per_10_000 as f64 / 100.0;
            let exact = raw[place - 1] as f64 / 1000.0;
            let merged = percentile_ms(&all.response, percentile);
            // Three digits are kept of each value.
            assert!(
                (merged / exact - 1.0).abs() < 0.001,
                "p{percentile}: {merged}, of the raw values {exact}"
            );
        }
        assert_eq!(all.response.len(), raw.len() as u64);
    }

    #[test]
    fn warm_up_does_not_count_and_a_late_answer_to_what_was_due_in_time_does() {
        let tally = reported(|recorder, start| {
            let [before, inside] = [0, 2].map(|half| start + Duration::from_millis(half * 500));
            let before = Instant::now().min(before);
            let late = start + Duration::from_secs(5);
            recorder.sent_ok(start, before, before, 1, 10);
            recorder.sent_ok(late, start, start, 1, 10);
            recorder.sent_ok(late, inside + Duration::from_secs(1), late, 1, 10);
            recorder.failed(before, "too early");
        });
        assert_eq!(tally.response.len(), 1, "only what was due in the window has a latency");
        assert_eq!(percentile_ms(&tally.response, 100.0).round(), 5001.0f64.round());
        assert_eq!(
            (tally.sent, tally.errors()),
            (1, 0),
            "only what was answered in the window counts for the rate"
        );
    }

    #[test]
    fn everything_but_send_ok_is_an_error() {
        let tally = reported(|recorder, start| {
            let later = start + Duration::from_millis(1);
            recorder.sent_ok(later, start, start, 1, 1);
            recorder.sent_less_safe(later, start, start, 1, "FLUSH_DISK_TIMEOUT");
            recorder.failed(start, "no answer");
            recorder.unsent(7, "never sent");
        });
        assert_eq!(tally.errors(), 9);
        assert_eq!(tally.statuses.get(SEND_OK), Some(&1));
        assert_eq!(tally.response.len(), 2);
    }

    #[test]
    fn different_failures_do_not_fill_the_memory() {
        let tally = reported(|recorder, start| {
            for number in 0..1000 {
                recorder.failed(start, &format!("failure {number}"));
            }
        });
        assert_eq!(tally.errors(), 1000);
        assert!(tally.statuses.len() <= STATUSES_MAX + 1);
    }
}
