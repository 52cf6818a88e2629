//! Pulls that found nothing and wait for a message: long polling, one table a core.
//!
//! A pull is held under its queue. A message that arrives in that queue and passes the pull's tag filter takes it out; so
//! does its deadline. Deadlines lie in an ordered set, so that a core with 40,000 held pulls sleeps until the first one
//! instead of sweeping them all.

use protocol::model::ShardId;
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use std::collections::BTreeSet;

/// A queue of one of this core's shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueKey {
    /// The shard.
    pub shard: ShardId,
    /// The engine's handle of the queue in that shard.
    pub slot: usize,
}

/// The pulls a core holds. `P` is what is needed to run the pull again.
#[derive(Debug)]
pub struct HeldPulls<P> {
    pulls: slab::Slab<Held<P>>,
    by_queue: HashMap<QueueKey, Vec<usize>>,
    deadlines: BTreeSet<(Instant, usize)>,
}

#[derive(Debug)]
struct Held<P> {
    queue: QueueKey,
    deadline: Instant,
    pull: P,
}

impl<P> Default for HeldPulls<P> {
    fn default() -> Self {
        HeldPulls {
            pulls: slab::Slab::new(),
            by_queue: hash_map(),
            deadlines: BTreeSet::new(),
        }
    }
}

impl<P> HeldPulls<P> {
    /// Holds a pull. True if its deadline is now the first: whoever sleeps until the first one must look again.
    pub fn hold(&mut self, queue: QueueKey, deadline: Instant, pull: P) -> bool {
        runtime::mark!("pull held");
        let place = self.pulls.insert(Held { queue, deadline, pull });
        self.by_queue.entry(queue).or_default().push(place);
        self.deadlines.insert((deadline, place));
        self.deadlines.first() == Some(&(deadline, place))
    }

    /// Whether any pull waits for this queue: the one look-up that every arriving message pays.
    #[must_use]
    pub fn waits_for(&self, queue: QueueKey) -> bool {
        !self.pulls.is_empty() && self.by_queue.contains_key(&queue)
    }

    /// Takes out the pulls of a queue for which `wanted` says so, oldest first.
    pub fn take(&mut self, queue: QueueKey, mut wanted: impl FnMut(&P) -> bool) -> Vec<P> {
        let Some(places) = self.by_queue.get_mut(&queue) else {
            return Vec::new();
        };
        let pulls = &self.pulls;
        let chosen: Vec<usize> = places
            .extract_if(.., |&mut place| pulls.get(place).is_some_and(|held| wanted(&held.pull)))
            .collect();
        if places.is_empty() {
            self.by_queue.remove(&queue);
        }
        chosen.into_iter().map(|place| self.remove(place)).collect()
    }

    /// Takes out the pulls whose deadline has come, first deadline first.
    pub fn expire(&mut self, now: Instant) -> Vec<P> {
        let mut expired = Vec::new();
        while let Some(&(deadline, place)) = self.deadlines.first()
            && deadline <= now
        {
            self.forget_in_queue(place);
            expired.push(self.remove(place));
        }
        expired
    }

    /// Takes out every pull; for a broker that stops.
    pub fn drain(&mut self) -> Vec<P> {
        self.by_queue.clear();
        self.deadlines.clear();
        self.pulls.drain().map(|held| held.pull).collect()
    }

    /// The first deadline.
    #[must_use]
    pub fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _place)| deadline)
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pulls.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pulls.is_empty()
    }

    fn forget_in_queue(&mut self, place: usize) {
        let Some(queue) = self.pulls.get(place).map(|held| held.queue) else {
            return;
        };
        if let Some(places) = self.by_queue.get_mut(&queue) {
            places.retain(|&held| held != place);
            if places.is_empty() {
                self.by_queue.remove(&queue);
            }
        }
    }

    fn remove(&mut self, place: usize) -> P {
        let held = self.pulls.remove(place);
        self.deadlines.remove(&(held.deadline, place));
        held.pull
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn queue(slot: usize) -> QueueKey {
        QueueKey {
            shard: ShardId::ZERO,
            slot,
        }
    }

    #[test]
    fn an_arrival_takes_only_the_pulls_of_its_queue_that_want_it() {
        let later = Instant::now() + Duration::from_secs(15);
        let mut held = HeldPulls::default();
        held.hold(queue(1), later, "a");
        held.hold(queue(1), later, "b");
        held.hold(queue(2), later, "c");
        assert_eq!(held.take(queue(1), |pull| *pull == "b"), ["b"]);
        assert!(held.waits_for(queue(1)) && held.waits_for(queue(2)));
        assert_eq!(held.take(queue(1), |_pull| true), ["a"]);
        assert!(!held.waits_for(queue(1)));
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn pulls_expire_in_the_order_of_their_deadlines() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut held = HeldPulls::default();
        assert!(held.hold(queue(1), at(3), 3), "the first one is the first to expire");
        assert!(held.hold(queue(1), at(1), 1));
        assert!(!held.hold(queue(2), at(2), 2));
        assert_eq!(held.expire(at(2)), [1, 2]);
        assert_eq!(held.first_deadline(), Some(at(3)));
        assert!(held.waits_for(queue(1)) && !held.waits_for(queue(2)));
        assert_eq!(held.expire(at(9)), [3]);
        assert!(held.is_empty());
    }

    #[test]
    fn a_pull_that_was_taken_does_not_expire_again() {
        let now = Instant::now();
        let mut held = HeldPulls::default();
        held.hold(queue(1), now, "a");
        assert_eq!(held.take(queue(1), |_pull| true), ["a"]);
        assert!(held.expire(now + Duration::from_secs(1)).is_empty());
        assert_eq!(held.first_deadline(), None);
    }
}
