//! A table by number whose used numbers lie together: pages of entries, made when first touched.

use std::collections::BTreeMap;

const PAGE: usize = 256;

/// Entries by number. Memory follows the numbers that were used, so that one wild number costs one page.
#[derive(Clone, Debug)]
pub(crate) struct Pages<T> {
    pages: BTreeMap<u64, Vec<T>>,
    empty: T,
}

impl<T: Clone> Pages<T> {
    /// A table in which every entry is `empty`.
    pub(crate) fn new(empty: T) -> Pages<T> {
        Pages {
            pages: BTreeMap::new(),
            empty,
        }
    }

    pub(crate) fn get(&self, number: u64) -> &T {
        let (page, place) = split(number);
        self.pages.get(&page).map_or(&self.empty, |entries| &entries[place])
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> &mut T {
        let (page, place) = split(number);
        let empty = &self.empty;
        let entries = self.pages.entry(page).or_insert_with(|| vec![empty.clone(); PAGE]);
        &mut entries[place]
    }

    /// Every entry of every touched page, by number; from the end it goes backwards.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        self.pages.iter().flat_map(|(page, entries)| {
            let first = page * PAGE as u64;
            (0..PAGE).map(move |place| (first + place as u64, &entries[place]))
        })
    }

    /// Every entry of the touched pages from `from` on and below `to`, by number.
    pub(crate) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &T)> {
        let pages = self.pages.range(split(from).0..=split(to).0);
        pages
            .flat_map(|(page, entries)| (page * PAGE as u64..).zip(entries))
            .filter(move |(number, _entry)| (from..to).contains(number))
    }
}

fn split(number: u64) -> (u64, usize) {
    let place = usize::try_from(number % PAGE as u64).expect("a remainder of a page's size is a usize");
    (number / PAGE as u64, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_apart_and_come_in_order() {
        let mut pages = Pages::new(0);
        for number in [u64::MAX, 0, 255, 256, 1 << 40] {
            *pages.get_mut(number) = number % 1_000 + 1;
        }
        let used: Vec<u64> = pages.iter().filter(|entry| *entry.1 > 0).map(|entry| entry.0).collect();
        assert_eq!(used, [0, 255, 256, 1 << 40, u64::MAX]);
        let backwards: Vec<u64> = pages
            .iter()
            .rev()
            .filter(|entry| *entry.1 > 0)
            .map(|entry| entry.0)
            .collect();
        assert_eq!(backwards, [u64::MAX, 1 << 40, 256, 255, 0]);
        let part: Vec<u64> = pages
            .range(1, 257)
            .filter(|entry| *entry.1 > 0)
            .map(|entry| entry.0)
            .collect();
        assert_eq!(part, [255, 256]);
        assert_eq!((*pages.get(256), *pages.get(257)), (257, 0));
    }
}
