//! Zipf's law over topics: the topic of rank r is drawn with a probability in proportion to 1 / r^s.

/// Which of `n` things comes next.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// Sums of the probabilities up to each thing; the last is 1.
    sums: Vec<f64>,
}

impl Zipf {
    /// Over `count` things with exponent `exponent`; 0 makes all alike.
    #[must_use]
    pub fn new(count: usize, exponent: f64) -> Zipf {
        #[expect(clippy::cast_precision_loss, reason = "there are fewer topics than 2^52")]
        let weights = (1..=count.max(1)).map(|rank| (rank as f64).powf(-exponent));
        let mut sum = 0.0;
        let mut sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        sums.iter_mut().for_each(|part| *part /= sum);
        Zipf { sums }
    }

    /// A thing, 0 being the most likely; `random` is uniform over all u64.
    #[must_use]
    pub fn pick(&self, random: u64) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are left")]
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        self.sums.partition_point(|sum| *sum <= share).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_ten_gets_its_share_by_zipfs_law() {
        let zipf = Zipf::new(10, 1.0);
        let draws = 100_000_u64;
        let mut counts = [0_u64; 10];
        for number in 0..draws {
            // Evenly spaced instead of random: the shares come out exact.
            counts[zipf.pick(number * (u64::MAX / draws))] += 1;
        }
        let harmonic: f64 = (1..=10).map(|rank| 1.0 / f64::from(rank)).sum();
        for (rank, count) in (1..=10).zip(counts) {
            let expected = draws as f64 / f64::from(rank) / harmonic;
            assert!(
                (count as f64 - expected).abs() < 3.0,
                "rank {rank}: {count}, expected {expected}"
            );
        }
    }

    #[test]
    fn exponent_zero_makes_all_alike_and_both_ends_are_reached() {
        let zipf = Zipf::new(4, 0.0);
        assert_eq!(
            [0, u64::MAX / 4 + 1, u64::MAX].map(|random| zipf.pick(random)),
            [0, 1, 3]
        );
    }
}
