//! Whether the key index holds the entries that a log asks for, without looking each of them up: the log is taken in stretches, and for
//! each there is a sum over its entries, to which the log adds and from which the runs take away, in any order. Only where that leaves
//! something must entries be looked at one by one, since an entry may also be in two runs. Half a megabyte, whatever the log's size.

use super::entry_sums::mix;
use super::intervals::Intervals;
use engine::inspect::{KeyEntry, KeyManifest};
use std::ops::Range;

/// Most stretches: a longer log has longer ones.
const STRETCHES_MAX: u64 = 1 << 16;
/// Bytes of the shortest stretch, as a power of two.
const STRETCH_BITS_MIN: u32 = 20;

/// The positions of the log whose messages must have their entries in runs, and where runs must hold nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Covered {
    positions: Range<u64>,
    left_out: Intervals,
}

impl Covered {
    /// What a manifest says.
    pub(super) fn by(manifest: &KeyManifest) -> Covered {
        let mut covered = Covered {
            positions: 0..manifest.rebuilt_from,
            left_out: Intervals::default(),
        };
        manifest.missing.iter().for_each(|range| covered.leave_out(range));
        covered
    }

    /// Only what a manifest that is newer says as well, of a log that has these positions.
    pub(super) fn narrow(&mut self, manifest: &KeyManifest, log: &Range<u64>) {
        let positions = &mut self.positions;
        positions.start = positions.start.max(log.start);
        positions.end = positions.end.min(manifest.rebuilt_from).min(log.end);
        manifest.missing.iter().for_each(|range| self.leave_out(range));
    }

    /// Nothing is known of these positions.
    pub(super) fn leave_out(&mut self, range: &Range<u64>) {
        self.left_out.add(signed(range.start), signed(range.end));
    }

    pub(super) fn holds(&self, position: u64) -> bool {
        self.positions.contains(&position) && !self.left_out.contains(signed(position))
    }
}

fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySums {
    from: u64,
    bits: u32,
    sums: Vec<u64>,
    /// Of one message.
    entries: Vec<KeyEntry>,
}

impl KeySums {
    /// Of a log from `from` on, over what is covered.
    pub(super) fn new(covered: &Covered, from: u64) -> KeySums {
        let bytes = covered.positions.end.saturating_sub(from);
        let fits = |bits: &u32| bytes >> bits < STRETCHES_MAX;
        let bits = (STRETCH_BITS_MIN..u64::BITS).find(fits).unwrap_or(u64::BITS - 1);
        let stretches = usize::try_from(bytes >> bits).unwrap_or(0) + 1;
        KeySums {
            from,
            bits,
            sums: vec![0; stretches],
            entries: Vec::new(),
        }
    }

    /// Takes in what a message asks for. A key that it has twice is one entry.
    pub(super) fn add_message(&mut self, entries: impl Iterator<Item = KeyEntry>) {
        let mut all = std::mem::take(&mut self.entries);
        all.extend(entries);
        all.sort_unstable();
        all.dedup();
        for entry in all.drain(..) {
            self.change(entry, u64::wrapping_add);
        }
        self.entries = all;
    }

    /// Takes away what a run holds.
    pub(super) fn take(&mut self, entry: KeyEntry) {
        self.change(entry, u64::wrapping_sub);
    }

    fn change(&mut self, entry: KeyEntry, change: impl Fn(u64, u64) -> u64) {
        if let Some(sum) = self.stretch(entry.position).and_then(|at| self.sums.get_mut(at)) {
            *sum = change(
                *sum,
                mix(entry.hash ^ mix(entry.position ^ mix(u64::from(entry.second)))),
            );
        }
    }

    fn stretch(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.from)? >> self.bits).ok()
    }

    /// Whether log and runs differ in the stretch that a position lies in.
    pub(super) fn differ_at(&self, position: u64) -> bool {
        let sum = self.stretch(position).and_then(|at| self.sums.get(at));
        sum.is_some_and(|sum| *sum != 0)
    }

    /// The first position from `position` on at which they do.
    pub(super) fn differing_from(&self, position: u64) -> Option<u64> {
        let position = position.max(self.from);
        let first = self.stretch(position)?;
        let found = self.sums.get(first..)?.iter().position(|sum| *sum != 0)? + first;
        let begin = self.from.saturating_add((found as u64) << self.bits);
        Some(begin.max(position))
    }

    /// How many stretches differ that begin at `position` or later.
    pub(super) fn count_differing_from(&self, position: u64) -> usize {
        let begins = (0_u64..).map(|number| self.from.saturating_add(number << self.bits));
        let differing = begins
            .zip(&self.sums)
            .filter(|(begin, sum)| *begin >= position && **sum != 0);
        differing.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(to: u64) -> Covered {
        Covered::by(&KeyManifest {
            runs: Vec::new(),
            rebuilt_from: to,
            missing: vec![700..800, 750..760],
        })
    }

    fn entry(hash: u64, position: u64, second: u32) -> KeyEntry {
        KeyEntry { hash, position, second }
    }

    #[test]
    fn the_order_does_not_count_and_every_field_does() {
        let stretch = 1 << STRETCH_BITS_MIN;
        let entries = [entry(5, 100, 7), entry(6, 100, 7), entry(5, 3 * stretch, 9)];
        let sums_without = |taken: &[KeyEntry]| {
            let mut sums = KeySums::new(&covered(4 * stretch), 0);
            sums.add_message(entries[..2].iter().copied().chain([entries[0]]));
            sums.add_message(entries[2..].iter().copied());
            taken.iter().for_each(|&entry| sums.take(entry));
            sums
        };
        let [first, second, third] = entries;
        assert_eq!(sums_without(&[third, first, second]).differing_from(0), None);
        for changed in [entry(7, 100, 7), entry(5, 101, 7), entry(5, 100, 8)] {
            let sums = sums_without(&[changed, second, third]);
            assert!(sums.differ_at(100) && !sums.differ_at(3 * stretch), "{changed:?}");
        }
        let sums = sums_without(&[first, second]);
        assert_eq!(sums.differing_from(0), Some(3 * stretch));
        assert_eq!(sums.differing_from(3 * stretch + 5), Some(3 * stretch + 5));
        assert_eq!(sums.differing_from(4 * stretch), None);
        assert_eq!(
            (sums.count_differing_from(1), sums.count_differing_from(3 * stretch + 1)),
            (1, 0)
        );
    }

    #[test]
    fn a_log_of_any_size_has_few_stretches() {
        for to in [0, 1, 1 << 20, 1 << 36, (1 << 36) + 1, 1 << 56, u64::MAX] {
            let sums = KeySums::new(&covered(to), 0);
            assert!(sums.sums.len() as u64 <= STRETCHES_MAX, "{to}: {}", sums.sums.len());
            assert!(
                to == 0 || sums.stretch(to - 1).is_some_and(|at| at < sums.sums.len()),
                "{to}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_not_in_the_log_is_not_covered() {
        let mut covered = covered(1000);
        assert!([0, 699, 800, 999].iter().all(|&position| covered.holds(position)));
        assert!(![700, 799, 1000].iter().any(|&position| covered.holds(position)));
        let newer = KeyManifest {
            runs: Vec::new(),
            rebuilt_from: 2000,
            missing: vec![20..30, 22..25],
        };
        covered.narrow(&newer, &(10..950));
        assert!([10, 30, 949].iter().all(|&position| covered.holds(position)));
        assert!(![9, 20, 29, 750, 950].iter().any(|&position| covered.holds(position)));
    }
}
