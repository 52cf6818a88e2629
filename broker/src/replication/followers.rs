//! What a master knows of the slaves that copy a shard: what was sent to each, and how far it says that it is.
//!
//! A slave's word counts only as far as it can be: within one connection it never goes back, and never says that it has more than it
//! was sent. A slave that connects again counts by its newest connection alone, since the older one may only not have broken yet.

use crate::replication::wire::Progress;
use runtime::Instant;
use runtime::sync::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A slave that copies a shard.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    /// Its brokerId.
    pub broker_id: u32,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// What has been sent to it.
    pub sent: u64,
    /// How far it says that it is.
    pub progress: Progress,
    speed: Speed,
}

impl Follower {
    /// One that begins to copy at this position.
    #[must_use]
    pub fn new(broker_id: u32, peer: SocketAddr, begin: u64) -> Follower {
        Follower {
            broker_id,
            peer,
            sent: begin,
            progress: Progress::default(),
            speed: Speed::default(),
        }
    }

    /// Bytes that were sent to it in the last second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.speed.per_second(Instant::now())
    }
}

/// Bytes a second, counted in steps of a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    since: Option<Instant>,
    now: u64,
    last: u64,
}

impl Speed {
    const STEP: Duration = Duration::from_secs(1);

    /// Counts bytes.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        match self.since {
            Some(since) if now - since < Speed::STEP => self.now += bytes,
            Some(since) if now - since < 2 * Speed::STEP => {
                (self.since, self.last, self.now) = (Some(since + Speed::STEP), self.now, bytes);
            }
            _ => (self.since, self.last, self.now) = (Some(now), 0, bytes),
        }
    }

    /// Bytes of the last whole second.
    #[must_use]
    pub fn per_second(&self, now: Instant) -> u64 {
        match self.since {
            Some(since) if now - since < Speed::STEP => self.last,
            Some(since) if now - since < 2 * Speed::STEP => self.now,
            _ => 0,
        }
    }
}

/// The slaves of one shard, by connection: a later one has a greater name.
#[derive(Debug, Default)]
pub struct Followers {
    next: Cell<u64>,
    all: RefCell<BTreeMap<u64, Follower>>,
    moved: Notify,
}

impl Followers {
    /// All of them, as they are now, by the newest connection of each.
    #[must_use]
    pub fn list(&self) -> Vec<Follower> {
        let all = self.all.borrow();
        let newest: BTreeMap<u32, Follower> = all.values().map(|one| (one.broker_id, *one)).collect();
        newest.into_values().collect()
    }

    pub(super) fn add(&self, follower: Follower) -> u64 {
        let name = self.next.replace(self.next.get() + 1);
        self.all.borrow_mut().insert(name, follower);
        name
    }

    pub(super) fn remove(&self, name: u64) {
        self.all.borrow_mut().remove(&name);
    }

    pub(super) fn note_sent(&self, name: u64, sent: u64) {
        if let Some(follower) = self.all.borrow_mut().get_mut(&name) {
            follower.speed.add(sent.saturating_sub(follower.sent), Instant::now());
            follower.sent = sent;
        }
    }

    /// Takes a slave's word.
    ///
    /// # Errors
    /// What cannot be: a replay, or more than it was sent.
    pub(super) fn note_progress(&self, name: u64, progress: Progress) -> Result<(), String> {
        let mut all = self.all.borrow_mut();
        let Some(follower) = all.get_mut(&name) else {
            return Ok(());
        };
        let before = follower.progress;
        if progress.committed < before.committed || progress.synced < before.synced {
            return Err(format!(
                "a slave's progress went back from {} and {} synced to {} and {}",
                before.committed, before.synced, progress.committed, progress.synced
            ));
        }
        if progress.committed > follower.sent || progress.synced > follower.sent {
            return Err(format!(
                "a slave says that it has {} and {} synced, and it was sent {}",
                progress.committed, progress.synced, follower.sent
            ));
        }
        follower.progress = progress;
        drop(all);
        self.moved.notify_waiters();
        Ok(())
    }

    /// Up to here at least `slaves` slaves have the log: on the disk those with SYNC_FLUSH, written those without.
    #[must_use]
    pub fn acknowledged(&self, slaves: usize) -> u64 {
        let mut positions: Vec<u64> = self.list().iter().map(|slave| slave.progress.committed).collect();
        positions.sort_unstable_by(|one, other| other.cmp(one));
        match slaves.checked_sub(1) {
            None => u64::MAX,
            Some(last) => positions.get(last).copied().unwrap_or(0),
        }
    }

    /// How many slaves are less than `gap` bytes behind `end`.
    #[must_use]
    pub fn in_sync(&self, end: u64, gap: u64) -> usize {
        let behind = |slave: &Follower| end.saturating_sub(slave.progress.committed);
        self.list().iter().filter(|slave| behind(slave) < gap).count()
    }

    /// Waits until at least `slaves` slaves have the log up to `end`.
    pub async fn have(&self, end: u64, slaves: usize) {
        loop {
            let moved = self.moved.notified();
            if self.acknowledged(slaves) >= end {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(broker_id: u32) -> Follower {
        Follower::new(broker_id, "10.0.0.1:1".parse().unwrap(), 100)
    }

    fn at(committed: u64, synced: u64) -> Progress {
        Progress { committed, synced }
    }

    #[test]
    fn a_slave_is_believed_what_it_can_have_and_nothing_twice() {
        let followers = Followers::default();
        let name = followers.add(follower(1));
        assert_eq!(followers.note_progress(name, at(100, 60)), Ok(()));
        assert!(
            followers.note_progress(name, at(101, 60)).is_err(),
            "more than was sent"
        );
        followers.note_sent(name, 300);
        assert_eq!(followers.note_progress(name, at(200, 200)), Ok(()));
        assert!(followers.note_progress(name, at(199, 200)).is_err(), "it goes back");
        assert!(
            followers.note_progress(name, at(200, 199)).is_err(),
            "its disk goes back"
        );
        assert!(
            followers.note_progress(name, at(300, 301)).is_err(),
            "synced, and never sent"
        );
        assert_eq!(followers.acknowledged(1), 200, "what was refused has not counted");
    }

    #[test]
    fn as_many_slaves_as_are_asked_for_must_have_it_and_each_counts_once() {
        let followers = Followers::default();
        let tell = |name, to| {
            followers.note_sent(name, 1_000);
            followers.note_progress(name, at(to, 0)).unwrap();
        };
        let first = followers.add(follower(1));
        tell(first, 500);
        assert_eq!((followers.acknowledged(1), followers.acknowledged(2)), (500, 0));
        let again = followers.add(follower(1));
        assert_eq!(followers.acknowledged(1), 0, "its store may be another one by now");
        tell(again, 400);
        assert_eq!((followers.acknowledged(1), followers.acknowledged(2)), (400, 0));
        tell(followers.add(follower(2)), 300);
        assert_eq!((followers.acknowledged(1), followers.acknowledged(2)), (400, 300));
        assert_eq!(followers.acknowledged(0), u64::MAX, "nobody is waited for");
        assert_eq!((followers.in_sync(500, 200), followers.in_sync(500, 201)), (1, 2));
        followers.remove(again);
        followers.remove(first);
        assert_eq!(followers.acknowledged(1), 300);
    }
}
