//! Queue offsets, or positions of a log, as merged ranges: a queue without gaps takes one, whatever its length.

use std::collections::BTreeMap;

/// A set of queue offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals(BTreeMap<i64, i64>);

impl Intervals {
    /// Takes in the offsets from `start` on and before `end`.
    pub(super) fn add(&mut self, start: i64, end: i64) {
        let (mut start, mut end) = (start, end);
        if start >= end {
            return;
        }
        while let Some((&found_start, &found_end)) = self.0.range(..=end).next_back() {
            if found_end < start {
                break;
            }
            start = start.min(found_start);
            end = end.max(found_end);
            self.0.remove(&found_start);
        }
        self.0.insert(start, end);
    }

    /// Whether an offset is in it.
    #[must_use]
    pub(super) fn contains(&self, offset: i64) -> bool {
        let before = self.0.range(..=offset).next_back();
        before.is_some_and(|(_, &end)| offset < end)
    }

    /// What is in this set and not in `other`, as ranges without their ends.
    #[must_use]
    pub(super) fn without(&self, other: &Intervals) -> Vec<(i64, i64)> {
        let mut missing = Vec::new();
        for (&start, &end) in &self.0 {
            let mut at = start;
            let before = other.0.range(..=start).next_back();
            for (&other_start, &other_end) in before.into_iter().chain(other.0.range(start.saturating_add(1)..end)) {
                if other_start > at {
                    missing.push((at, other_start));
                }
                at = at.max(other_end);
            }
            if at < end {
                missing.push((at, end));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_or_overlap_are_one() {
        let mut set = Intervals::default();
        for (start, end) in [(10, 20), (30, 40), (20, 25), (5, 10), (24, 31), (50, 50)] {
            set.add(start, end);
        }
        assert_eq!(set.0, BTreeMap::from([(5, 40)]));
        set.add(50, 60);
        assert_eq!(
            [4, 5, 39, 40, 49, 50, 60].map(|at| set.contains(at)),
            [false, true, true, false, false, true, false]
        );
    }

    #[test]
    fn a_difference_names_every_offset_as_one_by_one_comparison_does() {
        let ranges = [(0, 3), (5, 9), (9, 10), (12, 20), (22, 23)];
        for mask in 0_u32..32 {
            for other_mask in 0_u32..32 {
                let [mut set, mut other] = [Intervals::default(), Intervals::default()];
                for (bit, (start, end)) in ranges.into_iter().enumerate() {
                    if mask & (1 << bit) != 0 {
                        set.add(start, end);
                    }
                    if other_mask & (1 << bit) != 0 {
                        other.add(start + 1, end + 2);
                    }
                }
                let holds = |set: &Intervals, at: i64| set.0.iter().any(|(start, end)| (*start..*end).contains(&at));
                let expected: Vec<i64> = (-1..30).filter(|&at| holds(&set, at) && !holds(&other, at)).collect();
                let found: Vec<i64> = set
                    .without(&other)
                    .into_iter()
                    .flat_map(|(start, end)| start..end)
                    .collect();
                assert_eq!(found, expected, "{mask} {other_mask}");
            }
        }
    }
}
