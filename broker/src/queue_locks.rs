//! Queue locks: which client of a consumer group may consume a queue in order.
//!
//! A lock is granted if nobody holds it, if the same client holds it (which renews it), or if its holder has not renewed it
//! for more than the hold time, 60 s as in RocketMQ's `RebalanceLockManager`. Locks live in memory only: after a restart every
//! client asks again within 20 s. One table, on core 0.

use protocol::model::MessageQueue;
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use std::sync::Arc;
use std::time::Duration;

/// How long a lock holds after its last renewal.
pub const HOLD_TIME: Duration = Duration::from_secs(60);

/// Every lock of every consumer group.
#[derive(Debug)]
pub struct QueueLocks {
    groups: HashMap<Arc<str>, HashMap<MessageQueue, Lock>>,
    hold_time: Duration,
}

#[derive(Debug)]
struct Lock {
    client_id: Arc<str>,
    renewed: Instant,
}

impl Default for QueueLocks {
    fn default() -> Self {
        QueueLocks {
            groups: hash_map(),
            hold_time: HOLD_TIME,
        }
    }
}

impl QueueLocks {
    /// Asks for locks on behalf of a client; gives back those it now holds, in the order asked.
    pub fn lock(
        &mut self,
        consumer_group: &str,
        client_id: &str,
        queues: impl IntoIterator<Item = MessageQueue>,
        now: Instant,
    ) -> Vec<MessageQueue> {
        let client_id: Arc<str> = Arc::from(client_id);
        let locks = self.groups.entry(Arc::from(consumer_group)).or_insert_with(hash_map);
        let mut granted = Vec::new();
        for queue in queues {
            match locks.get_mut(&queue) {
                Some(lock) if *lock.client_id == *client_id => lock.renewed = now,
                Some(lock) if lock.is_over(now, self.hold_time) => {
                    *lock = Lock {
                        client_id: Arc::clone(&client_id),
                        renewed: now,
                    };
                }
                Some(_held_by_another) => continue,
                None => {
                    locks.insert(
                        queue.clone(),
                        Lock {
                            client_id: Arc::clone(&client_id),
                            renewed: now,
                        },
                    );
                }
            }
            granted.push(queue);
        }
        if locks.is_empty() {
            self.groups.remove(consumer_group);
        }
        granted
    }

    /// Gives locks back; those of other clients stay.
    pub fn unlock<'a>(
        &mut self,
        consumer_group: &str,
        client_id: &str,
        queues: impl IntoIterator<Item = &'a MessageQueue>,
    ) {
        let Some(locks) = self.groups.get_mut(consumer_group) else {
            return;
        };
        for queue in queues {
            if locks.get(queue).is_some_and(|lock| *lock.client_id == *client_id) {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            self.groups.remove(consumer_group);
        }
    }

    /// Until when the group's last lock holds, if it has one. While a group holds a lock, what it sends to its retry topic
    /// goes to its dead letter queue.
    #[must_use]
    pub fn locked_until(&self, consumer_group: &str) -> Option<Instant> {
        let last = self
            .groups
            .get(consumer_group)?
            .values()
            .map(|lock| lock.renewed)
            .max()?;
        Some(last + self.hold_time)
    }

    /// Whether the group holds a lock that is not over.
    #[must_use]
    pub fn is_locked(&self, consumer_group: &str, now: Instant) -> bool {
        self.locked_until(consumer_group).is_some_and(|until| now <= until)
    }

    /// Forgets the locks that are over, so that groups that are gone take no memory.
    pub fn forget_expired(&mut self, now: Instant) {
        let hold_time = self.hold_time;
        self.groups.retain(|_group, locks| {
            locks.retain(|_queue, lock| !lock.is_over(now, hold_time));
            !locks.is_empty()
        });
    }

    /// How many locks there are, those that are over among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.values().map(HashMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl Lock {
    fn is_over(&self, now: Instant, hold_time: Duration) -> bool {
        now - self.renewed > hold_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::model::{QueueId, TopicName};

    fn queue(queue_id: u32) -> MessageQueue {
        MessageQueue {
            topic: TopicName::new("T").unwrap(),
            broker_name: Arc::from("broker-a"),
            queue_id: QueueId::new(queue_id).unwrap(),
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_queue_is_granted_to_one_client_at_a_time() {
        let now = Instant::now();
        let mut locks = QueueLocks::default();
        assert_eq!(locks.lock("g", "a", [queue(0), queue(1)], now), [queue(0), queue(1)]);
        assert_eq!(locks.lock("g", "b", [queue(1), queue(2)], now), [queue(2)]);
        assert_eq!(
            locks.lock("other", "b", [queue(1)], now),
            [queue(1)],
            "another group has locks of its own"
        );
    }

    #[test]
    fn the_holder_renews_and_others_wait_until_sixty_seconds_have_passed_since() {
        let start = Instant::now();
        let mut locks = QueueLocks::default();
        locks.lock("g", "a", [queue(0)], start);
        assert_eq!(locks.lock("g", "a", [queue(0)], after(start, 50)), [queue(0)]);
        assert!(
            locks.lock("g", "b", [queue(0)], after(start, 110)).is_empty(),
            "at 60 s it still holds"
        );
        assert_eq!(locks.lock("g", "b", [queue(0)], after(start, 111)), [queue(0)]);
        assert!(
            locks.lock("g", "a", [queue(0)], after(start, 112)).is_empty(),
            "the old holder has lost it"
        );
    }

    #[test]
    fn a_holder_that_comes_late_gets_its_expired_lock_again() {
        let start = Instant::now();
        let mut locks = QueueLocks::default();
        locks.lock("g", "a", [queue(0)], start);
        assert_eq!(locks.lock("g", "a", [queue(0)], after(start, 500)), [queue(0)]);
        assert!(locks.lock("g", "b", [queue(0)], after(start, 501)).is_empty());
    }

    #[test]
    fn only_the_holder_unlocks() {
        let now = Instant::now();
        let mut locks = QueueLocks::default();
        locks.lock("g", "a", [queue(0)], now);
        locks.unlock("g", "b", &[queue(0)]);
        assert!(locks.lock("g", "b", [queue(0)], now).is_empty());
        locks.unlock("g", "a", &[queue(0), queue(7)]);
        assert!(locks.is_empty());
        assert_eq!(locks.lock("g", "b", [queue(0)], now), [queue(0)]);
    }

    #[test]
    fn a_group_is_locked_while_one_of_its_locks_holds() {
        let start = Instant::now();
        let mut locks = QueueLocks::default();
        assert!(!locks.is_locked("g", start));
        locks.lock("g", "a", [queue(0)], start);
        locks.lock("g", "a", [queue(1)], after(start, 30));
        assert!(locks.is_locked("g", after(start, 90)));
        assert!(!locks.is_locked("g", after(start, 91)));
        assert_eq!(locks.locked_until("g"), Some(after(start, 90)));
    }

    #[test]
    fn locks_that_are_over_are_forgotten_and_live_ones_stay() {
        let start = Instant::now();
        let mut locks = QueueLocks::default();
        locks.lock("gone", "a", [queue(0)], start);
        locks.lock("g", "a", [queue(0)], after(start, 30));
        locks.forget_expired(after(start, 61));
        assert_eq!(locks.len(), 1);
        assert!(locks.is_locked("g", after(start, 61)));
    }

    #[test]
    fn a_request_for_nothing_leaves_nothing_behind() {
        let mut locks = QueueLocks::default();
        assert!(locks.lock("g", "a", [], Instant::now()).is_empty());
        assert!(locks.is_empty());
    }
}
