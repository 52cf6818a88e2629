//! Latencies of puts: counts by size, from a microsecond to a day, good to an eighth of the value.
//!
//! Bucket of a value in microseconds: itself below 16; above, 8 buckets for each doubling.

use std::time::Duration;

const EXACT: u64 = 16;
/// Doublings above [`EXACT`]: up to 2^37 us, 38 hours.
const DOUBLINGS: usize = 33;
const BUCKETS: usize = 16 + DOUBLINGS * 8;

/// Upper bounds, exclusive, of the classes that `putMessageDistributeTime` shows, in milliseconds, with their text; 0 stands
/// alone. As in RocketMQ's `StoreStatsService`.
const CLASSES: [(u64, &str); 13] = [
    (1, "[<=0ms]"),
    (10, "[0~10ms]"),
    (50, "[10~50ms]"),
    (100, "[50~100ms]"),
    (200, "[100~200ms]"),
    (500, "[200~500ms]"),
    (1_000, "[500ms~1s]"),
    (2_000, "[1~2s]"),
    (3_000, "[2~3s]"),
    (4_000, "[3~4s]"),
    (5_000, "[4~5s]"),
    (10_000, "[5~10s]"),
    (u64::MAX, "[10s~]"),
];

/// How many latencies there were of each size.
#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: [u64; BUCKETS],
    classes: [u64; CLASSES.len()],
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies {
            buckets: [0; BUCKETS],
            classes: [0; CLASSES.len()],
            max_us: 0,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.max_us = self.max_us.max(us);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(us)) {
            *bucket += 1;
        }
        let class = CLASSES
            .iter()
            .position(|&(below, _text)| us / 1000 < below)
            .unwrap_or(CLASSES.len() - 1);
        if let Some(class) = self.classes.get_mut(class) {
            *class += 1;
        }
    }

    /// Adds those of another one.
    pub fn merge(&mut self, other: &Latencies) {
        let sums = self.buckets.iter_mut().chain(&mut self.classes);
        for (sum, more) in sums.zip(other.buckets.iter().chain(&other.classes)) {
            *sum = sum.saturating_add(*more);
        }
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|&count| count == 0)
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> u64 {
        self.max_us / 1000
    }

    /// The latency, in milliseconds, that all but `1 - share` of them stay below; 0 if there is none.
    #[must_use]
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let wanted = as_float(self.count()) * share;
        let mut passed = 0.0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            let count = as_float(count);
            if count > 0.0 && passed + count >= wanted {
                let (from, to) = (as_float(start_of(bucket)), as_float(start_of(bucket + 1)));
                let us = from + (to - from) * ((wanted - passed) / count);
                return us.min(as_float(self.max_us)) / 1000.0;
            }
            passed += count;
        }
        0.0
    }

    /// The classes and their counts, as `putMessageDistributeTime` shows them.
    #[must_use]
    pub fn distribution(&self) -> String {
        let classes = CLASSES.iter().zip(self.classes);
        classes
            .map(|((_below, text), count)| format!("{text}:{count} "))
            .collect()
    }
}

fn bucket_of(us: u64) -> usize {
    if us < EXACT {
        return usize::try_from(us).unwrap_or(0);
    }
    let exponent = us.ilog2();
    let eighth = (us >> (exponent - 3)) & 7;
    let bucket = u64::from(exponent - 4) * 8 + eighth + EXACT;
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The least value, in microseconds, of a bucket.
fn start_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    match bucket.checked_sub(EXACT) {
        None => bucket,
        Some(above) => (8 + above % 8) << (above / 8 + 1),
    }
}

#[expect(clippy::cast_precision_loss, reason = "statistics of counts far below 2^53")]
pub(super) fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for bucket in 0..BUCKETS {
            let (start, next) = (start_of(bucket), start_of(bucket + 1));
            assert!(start < next);
            assert_eq!((bucket_of(start), bucket_of(next - 1)), (bucket, bucket));
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_good_to_an_eighth() {
        let mut latencies = Latencies::default();
        for us in 1..=100_000 {
            latencies.record(Duration::from_micros(us));
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (0.999, 99.9)] {
            let found = latencies.percentile_ms(share);
            assert!((found - ms).abs() < ms / 8.0, "{share}: {found} is not {ms}");
        }
        assert!(latencies.percentile_ms(1.0) <= 100.0);
        assert!(Latencies::default().percentile_ms(0.99) < f64::MIN_POSITIVE);
    }

    #[test]
    fn the_distribution_has_apaches_classes() {
        let mut latencies = Latencies::default();
        for ms in [0, 0, 1, 9, 10, 999, 1000, 10_000, 60_000] {
            latencies.record(Duration::from_millis(ms));
        }
        assert_eq!(
            latencies.distribution(),
            "[<=0ms]:2 [0~10ms]:2 [10~50ms]:1 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 [500ms~1s]:1 [1~2s]:1 \
             [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:2 "
        );
        assert_eq!(latencies.max_ms(), 60_000);
    }

    #[test]
    fn merged_latencies_count_both() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_millis(50));
        one.merge(&other);
        assert_eq!((one.count(), one.max_ms()), (2, 50));
    }
}
