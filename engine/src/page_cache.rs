//! Pages of files kept in memory for readers, within a bound of bytes.
//!
//! Second chance: a page that was read since the hand last passed it stays for another round; pages that were put in and
//! never read go first, so one long scan does not drive out what is read again and again.

use bytes::Bytes;
use runtime::collections::{HashMap, hash_map};
use std::collections::VecDeque;

/// Pages by a key that its user makes of file and page number.
#[derive(Debug)]
pub(crate) struct PageCache {
    pages: HashMap<u64, Cached>,
    /// Every key of `pages` once, in the order in which the hand comes to them.
    order: VecDeque<u64>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Cached {
    page: Bytes,
    read: bool,
}

impl PageCache {
    /// Holds at most `bytes_max` bytes of pages, and always at least one page.
    pub(crate) fn new(bytes_max: usize) -> PageCache {
        PageCache {
            pages: hash_map(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(crate) fn get(&mut self, key: u64) -> Option<Bytes> {
        let cached = self.pages.get_mut(&key)?;
        cached.read = true;
        Some(cached.page.clone())
    }

    pub(crate) fn insert(&mut self, key: u64, page: Bytes) {
        self.bytes += page.len();
        match self.pages.insert(key, Cached { page, read: false }) {
            Some(old) => self.bytes -= old.page.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            self.evict_one();
        }
    }

    fn evict_one(&mut self) {
        while let Some(key) = self.order.pop_front() {
            match self.pages.get_mut(&key) {
                Some(cached) if cached.read => {
                    cached.read = false;
                    self.order.push_back(key);
                }
                Some(_) => {
                    self.forget(key);
                    return;
                }
                None => {}
            }
        }
    }

    fn forget(&mut self, key: u64) {
        if let Some(old) = self.pages.remove(&key) {
            self.bytes -= old.page.len();
        }
    }

    /// Forgets the pages whose key `gone` picks.
    pub(crate) fn remove_where(&mut self, gone: impl Fn(u64) -> bool) {
        let keys: Vec<u64> = self.order.iter().copied().filter(|&key| gone(key)).collect();
        for key in keys {
            self.forget(key);
        }
        self.order.retain(|key| self.pages.contains_key(key));
    }

    /// Bytes of the pages it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Bytes {
        Bytes::from(vec![byte; 100])
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let mut cache = PageCache::new(1_000);
        for key in 0..100 {
            cache.insert(key, page(1));
            assert!(cache.bytes() <= 1_000);
        }
        assert_eq!(cache.pages.len(), 10);
        assert_eq!(cache.order.len(), 10);
    }

    #[test]
    fn a_page_that_is_read_outlives_a_scan_of_pages_that_are_not() {
        let mut cache = PageCache::new(1_000);
        cache.insert(7, page(7));
        for key in 100..200 {
            assert_eq!(cache.get(7).unwrap(), page(7));
            cache.insert(key, page(1));
        }
        assert!(cache.get(7).is_some());
        assert!(cache.get(100).is_none());
    }

    #[test]
    fn a_page_put_in_again_is_replaced_and_counted_once() {
        let mut cache = PageCache::new(1_000);
        cache.insert(1, page(1));
        cache.insert(1, page(2));
        assert_eq!(cache.get(1).unwrap(), page(2));
        assert_eq!((cache.bytes(), cache.order.len()), (100, 1));
        cache.remove_where(|key| key == 1);
        assert_eq!((cache.get(1), cache.bytes(), cache.order.len()), (None, 0, 0));
    }
}
