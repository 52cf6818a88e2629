//! Whether the entries of a queue are those that its messages ask for, without looking each of them up: for each block of
//! queue offsets a sum over what entries say, once taken from the log and once from the queue's files, in any order. Where the
//! sums differ, and only there, entries have to be looked at one by one. A few bytes for a thousand messages.

use std::collections::BTreeMap;

/// Queue offsets that share a sum.
pub(super) const BLOCK: i64 = 1024;

/// The sums of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EntrySums {
    blocks: BTreeMap<i64, u64>,
}

impl EntrySums {
    /// Takes in an entry.
    pub(super) fn add(&mut self, queue_offset: i64, position: u64, record_size: u32, tag_hash: i64) {
        let place = mix(position ^ mix(queue_offset.cast_unsigned()));
        let rest = mix(tag_hash.cast_unsigned() ^ mix(u64::from(record_size)));
        let sum = self.blocks.entry(block_of(queue_offset)).or_default();
        *sum = sum.wrapping_add(mix(place ^ rest.rotate_left(32)));
    }

    /// The blocks in which the entries are not the same.
    pub(super) fn differing(&self, other: &EntrySums) -> Vec<i64> {
        let blocks = self.blocks.keys().chain(other.blocks.keys());
        let mut differing: Vec<i64> = blocks
            .filter(|block| self.blocks.get(block) != other.blocks.get(block))
            .copied()
            .collect();
        differing.sort_unstable();
        differing.dedup();
        differing
    }
}

/// Which block a queue offset is in.
pub(super) fn block_of(queue_offset: i64) -> i64 {
    queue_offset.div_euclid(BLOCK)
}

/// Every bit of the result depends on every bit of the number (the finish of splitmix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_count_and_every_field_does() {
        let entries = [(5, 100, 90, 7), (6, 190, 91, 7), (3000, 281, 90, 8)];
        let sums = |entries: &[(i64, u64, u32, i64)]| {
            let mut sums = EntrySums::default();
            entries
                .iter()
                .for_each(|&(offset, position, size, tag)| sums.add(offset, position, size, tag));
            sums
        };
        let expected = sums(&entries);
        let [first, second, third] = entries;
        assert_eq!(expected.differing(&sums(&[third, first, second])), Vec::<i64>::new());
        for (index, changed, block) in [
            (0, (7, 100, 90, 7), 0),
            (1, (6, 191, 91, 7), 0),
            (0, (5, 100, 91, 7), 0),
            (2, (3000, 281, 90, 9), 2),
        ] {
            let mut other = entries;
            other[index] = changed;
            assert_eq!(expected.differing(&sums(&other)), [block]);
        }
        assert_eq!(expected.differing(&sums(&[first, second])), [2]);
        // Two entries that have swapped a field.
        assert_eq!(
            expected.differing(&sums(&[(5, 190, 90, 7), (6, 100, 91, 7), third])),
            [0]
        );
    }
}
