//! Which parts of the log, as the block cache holds them, have been checked against the seals of their batches.
//!
//! A record carries a checksum of its body only; the seal of its batch covers every byte. So a reader checks a batch the first
//! time that it serves something of it, and not again while the blocks it read stay in memory: one pass over a batch, 0.06 us a
//! KiB, for all of its records.

use std::collections::BTreeMap;

/// Ranges kept; sequential readers merge theirs into few. Beyond this all are forgotten, and checked anew when they are read.
const RANGES_MAX: usize = 8192;

/// Ranges of positions, begin to end; none touch each other.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    ranges: BTreeMap<u64, u64>,
}

impl Verified {
    /// Whether all of a range is checked.
    pub(crate) fn contains(&self, start: u64, end: u64) -> bool {
        let before = self.ranges.range(..=start).next_back();
        before.is_some_and(|(_, range_end)| *range_end >= end)
    }

    /// Adds a range that has been checked.
    pub(crate) fn insert(&mut self, start: u64, end: u64) {
        let (mut from, mut to) = (start, end);
        if let Some((begin, range_end)) = self.ranges.range(..=start).next_back()
            && *range_end >= start
        {
            (from, to) = (*begin, to.max(*range_end));
        }
        while let Some((begin, range_end)) = self.ranges.range(from..=to).next() {
            let (begin, range_end) = (*begin, *range_end);
            to = to.max(range_end);
            self.ranges.remove(&begin);
        }
        if self.ranges.len() >= RANGES_MAX {
            self.ranges.clear();
        }
        self.ranges.insert(from, to);
    }

    /// What lies here is read from the disk anew.
    pub(crate) fn forget(&mut self, start: u64, end: u64) {
        if let Some((begin, range_end)) = self.ranges.range(..start).next_back() {
            let (begin, range_end) = (*begin, *range_end);
            if range_end > start {
                self.ranges.insert(begin, start);
            }
            if range_end > end {
                self.ranges.insert(end, range_end);
            }
        }
        while let Some((begin, range_end)) = self.ranges.range(start..end).next() {
            let (begin, range_end) = (*begin, *range_end);
            self.ranges.remove(&begin);
            if range_end > end {
                self.ranges.insert(end, range_end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(verified: &Verified) -> Vec<(u64, u64)> {
        verified.ranges.iter().map(|(from, to)| (*from, *to)).collect()
    }

    #[test]
    fn ranges_that_touch_become_one_and_only_what_is_read_anew_is_forgotten() {
        let mut verified = Verified::default();
        verified.insert(100, 200);
        verified.insert(300, 400);
        verified.insert(200, 300);
        assert_eq!(ranges(&verified), [(100, 400)]);
        assert!(verified.contains(150, 400) && !verified.contains(150, 401) && !verified.contains(99, 150));
        verified.forget(150, 160);
        assert_eq!(ranges(&verified), [(100, 150), (160, 400)]);
        verified.forget(0, 170);
        assert_eq!(ranges(&verified), [(170, 400)]);
        verified.forget(390, 1_000);
        assert_eq!(ranges(&verified), [(170, 390)]);
    }

    #[test]
    fn it_agrees_with_a_table_of_positions() {
        let mut seed = 9_u64;
        let mut random = move |bound: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        let mut verified = Verified::default();
        let mut table = [false; 64];
        for _ in 0..5_000 {
            let start = random(63);
            let end = start + 1 + random(64 - start);
            let inserts = random(2) == 0;
            if inserts {
                verified.insert(start, end);
            } else {
                verified.forget(start, end);
            }
            for at in start..end.min(64) {
                table[usize::try_from(at).unwrap()] = inserts;
            }
            for at in 0..64 {
                assert_eq!(
                    verified.contains(at, at + 1),
                    table[usize::try_from(at).unwrap()],
                    "{verified:?}"
                );
            }
        }
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut verified = Verified::default();
        for at in 0..3 * RANGES_MAX as u64 {
            verified.insert(at * 10, at * 10 + 5);
            assert!(verified.ranges.len() <= RANGES_MAX);
        }
    }
}
