//! What one event loop measures, and how the loops' measurements become one.
//!
//! Every loop has a histogram of its own; they are added up as histograms, so a percentile of the whole is that of all
//! messages together and never a mean of percentiles.

use hdrhistogram::Histogram;
use runtime::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest latency that is told apart: one minute, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Measurements of one loop.
#[derive(Clone, Debug)]
pub struct Recorder {
    from: Instant,
    until: Instant,
    latency: Histogram<u64>,
    messages: u64,
    bytes: u64,
    errors: BTreeMap<String, u64>,
}

impl Recorder {
    /// Records what ends between two moments: what comes before is warm-up.
    #[must_use]
    pub fn new(from: Instant, until: Instant) -> Recorder {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds of the histogram are constants");
        Recorder {
            from,
            until,
            latency,
            messages: 0,
            bytes: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Some messages went through at `now`, each after `latency`.
    pub fn done(&mut self, now: Instant, latency: Duration, messages: u64, bytes: u64) {
        if self.counts(now) {
            self.messages += messages;
            self.bytes += bytes;
            self.latency
                .saturating_record_n(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1), messages);
        }
    }

    /// A request failed.
    pub fn failed(&mut self, now: Instant, why: &str) {
        if self.counts(now) {
            *self.errors.entry(why.chars().take(200).collect()).or_default() += 1;
        }
    }

    fn counts(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }
}

/// Measurements of all loops.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Of each message, in microseconds.
    pub latency: Histogram<u64>,
    /// Messages that went through.
    pub messages: u64,
    /// Bytes of their bodies or, when reading, records.
    pub bytes: u64,
    /// Failed requests by cause.
    pub errors: BTreeMap<String, u64>,
    /// How long was measured.
    pub time: Duration,
    /// CPU time that the watched processes used meanwhile.
    pub server_cpu: Option<Duration>,
    /// CPU time that the generator used meanwhile.
    pub own_cpu: Option<Duration>,
}

impl Measured {
    /// The sum of all loops.
    #[must_use]
    pub fn of(loops: Vec<Recorder>, time: Duration) -> Measured {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds of the histogram are constants");
        let mut all = Measured {
            latency,
            messages: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            time,
            server_cpu: None,
            own_cpu: None,
        };
        for one in loops {
            all.latency
                .add(&one.latency)
                .expect("all histograms have the same bounds");
            all.messages += one.messages;
            all.bytes += one.bytes;
            for (why, count) in one.errors {
                *all.errors.entry(why).or_default() += count;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_of_all_loops_is_that_of_all_messages() {
        let start = Instant::now();
        let end = start + Duration::from_secs(1);
        let (mut fast, mut slow) = (Recorder::new(start, end), Recorder::new(start, end));
        for _message in 0..990 {
            fast.done(start, Duration::from_micros(100), 1, 1);
        }
        for _message in 0..10 {
            slow.done(start, Duration::from_millis(50), 1, 1);
        }
        let all = Measured::of(vec![fast, slow], Duration::from_secs(1));
        assert_eq!(all.messages, 1000);
        assert!(
            all.latency.value_at_quantile(0.98) < 200,
            "a mean of the loops' p98 would say 25 ms"
        );
        assert!(all.latency.value_at_quantile(0.995) > 40_000);
    }

    #[test]
    fn warm_up_and_what_comes_late_do_not_count() {
        let start = Instant::now();
        let mut recorder = Recorder::new(start + Duration::from_secs(1), start + Duration::from_secs(2));
        recorder.done(start, Duration::from_micros(1), 1, 1);
        recorder.failed(start + Duration::from_secs(3), "late");
        let all = Measured::of(vec![recorder], Duration::from_secs(1));
        assert_eq!((all.messages, all.errors.len()), (0, 0));
    }
}
