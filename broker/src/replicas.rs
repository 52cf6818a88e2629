//! A core's copy of the control tables: what a send or pull looks up, one hash look-up each.
//!
//! Core 0 owns the tables; every change reaches the other cores as a [`TableUpdate`], posted before the answer to the
//! request that made it.

use crate::error::Error;
use protocol::body::subscription::{TagFilter, is_tag_type};
use runtime::collections::{HashMap, HashSet, hash_map, hash_set};
use std::sync::Arc;

/// May be read: a bit of a topic's or broker's permission (RocketMQ's `PermName`).
pub const PERM_READ: i32 = 4;
/// May be written.
pub const PERM_WRITE: i32 = 2;

/// A topic as sends and pulls need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Queues that take messages.
    pub write_queues: u32,
    /// Queues that can be read.
    pub read_queues: u32,
    /// [`PERM_READ`], [`PERM_WRITE`].
    pub perm: i32,
    /// Queues are bound to brokers by the order configuration.
    pub order: bool,
    /// Told to consumers.
    pub sys_flag: i32,
}

impl Topic {
    /// Whether clients may send to it.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.perm & PERM_WRITE != 0
    }

    /// Whether clients may pull from it.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.perm & PERM_READ != 0
    }
}

/// A subscription group as pulls need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionGroup {
    /// Its name.
    pub name: Arc<str>,
    /// Its consumers may consume.
    pub consume_enable: bool,
    /// Its consumers may each get everything.
    pub consume_broadcast_enable: bool,
    /// brokerId that its consumers are sent to.
    pub broker_id: i64,
    /// brokerId that they are sent to while they are slow.
    pub slow_broker_id: i64,
    /// Queues of its retry topic; 0 if failed messages are dropped.
    pub retry_queues: u32,
    /// Tries before a message goes to the dead letter queue.
    pub retry_max_times: i32,
    /// Told to consumers.
    pub sys_flag: i32,
}

/// What the consumers of one group have subscribed to.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    /// Each of them gets everything.
    pub broadcasting: bool,
    /// By topic.
    pub topics: HashMap<Arc<str>, Arc<Subscription>>,
}

/// A topic and a filter.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Milliseconds since 1970 at which the client made it: a later one replaces an earlier one.
    pub version: i64,
    tags: Tags,
}

#[derive(Clone, Debug)]
enum Tags {
    All,
    /// Java's hashes of the tags wanted. Two tags may share one: the client looks again.
    Some(Arc<[i64]>),
}

impl Subscription {
    /// A subscription to messages with one of these tag hashes; to all if there are none.
    #[must_use]
    pub fn new(version: i64, hashes: impl IntoIterator<Item = i32>) -> Subscription {
        let hashes: Arc<[i64]> = hashes.into_iter().map(i64::from).collect();
        Subscription {
            version,
            tags: if hashes.is_empty() {
                Tags::All
            } else {
                Tags::Some(hashes)
            },
        }
    }

    /// Reads the expression that a pull carries.
    ///
    /// # Errors
    /// An expression type other than `TAG`.
    pub fn parse(topic: &str, expression: &str, kind: &str) -> Result<Subscription, Error> {
        if !is_tag_type(kind) {
            return Err(Error::System(format!(
                "The broker does not support consumer to filter message by {kind}"
            )));
        }
        match TagFilter::of_expression(expression.trim()) {
            Ok(TagFilter::All) => Ok(Subscription::new(0, [])),
            Ok(TagFilter::Hashes(hashes)) => Ok(Subscription::new(0, hashes)),
            Err(_no_tag) => Err(Error::SubscriptionParse(format!(
                "{expression:?} on topic {topic} names no tag"
            ))),
        }
    }

    /// Whether a message with this tag hash may be wanted.
    #[must_use]
    pub fn passes(&self, tag_hash: i64) -> bool {
        match &self.tags {
            Tags::All => true,
            Tags::Some(hashes) => hashes.contains(&tag_hash),
        }
    }

    /// The hashes it lets through; `None` if all.
    #[must_use]
    pub fn hashes(&self) -> Option<Arc<[i64]>> {
        match &self.tags {
            Tags::All => None,
            Tags::Some(hashes) => Some(Arc::clone(hashes)),
        }
    }
}

/// A change of the control tables.
#[derive(Clone, Debug)]
pub enum TableUpdate {
    /// A topic was made or changed.
    Topic(Arc<Topic>),
    /// A topic was deleted.
    TopicGone(Arc<str>),
    /// A subscription group was made or changed.
    Group(Arc<SubscriptionGroup>),
    /// A subscription group was deleted.
    GroupGone(Arc<str>),
    /// The consumers of a group have subscribed to this.
    Subscriptions(Arc<str>, Arc<Subscriptions>),
    /// No consumer of a group is left.
    SubscriptionsGone(Arc<str>),
    /// A group may (not) read a topic.
    Forbidden {
        /// The group.
        group: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// Whether it may not.
        forbidden: bool,
    },
}

/// A core's copy of the control tables.
#[derive(Debug)]
pub struct Replicas {
    topics: HashMap<Arc<str>, Arc<Topic>>,
    groups: HashMap<Arc<str>, Arc<SubscriptionGroup>>,
    subscriptions: HashMap<Arc<str>, Arc<Subscriptions>>,
    forbidden: HashSet<(Arc<str>, Arc<str>)>,
}

impl Default for Replicas {
    fn default() -> Self {
        Replicas {
            topics: hash_map(),
            groups: hash_map(),
            subscriptions: hash_map(),
            forbidden: hash_set(),
        }
    }
}

impl Replicas {
    /// Takes over a change. Topics and groups are copied: each request holds one for a moment, and a count of holders that
    /// several cores change would go to and fro between their caches.
    pub fn apply(&mut self, update: TableUpdate) {
        match update {
            TableUpdate::Topic(topic) => drop(self.topics.insert(Arc::clone(&topic.name), Arc::new((*topic).clone()))),
            TableUpdate::TopicGone(topic) => drop(self.topics.remove(&topic)),
            TableUpdate::Group(group) => drop(self.groups.insert(Arc::clone(&group.name), Arc::new((*group).clone()))),
            TableUpdate::GroupGone(group) => drop(self.groups.remove(&group)),
            TableUpdate::Subscriptions(group, all) => drop(self.subscriptions.insert(group, all)),
            TableUpdate::SubscriptionsGone(group) => drop(self.subscriptions.remove(&group)),
            TableUpdate::Forbidden {
                group,
                topic,
                forbidden,
            } => {
                let pair = (group, topic);
                if forbidden {
                    self.forbidden.insert(pair);
                } else {
                    self.forbidden.remove(&pair);
                }
            }
        }
    }

    /// A topic.
    #[must_use]
    pub fn topic(&self, topic: &str) -> Option<Arc<Topic>> {
        self.topics.get(topic).cloned()
    }

    /// A subscription group.
    #[must_use]
    pub fn group(&self, group: &str) -> Option<Arc<SubscriptionGroup>> {
        self.groups.get(group).cloned()
    }

    /// What the consumers of a group have subscribed to; `None` if none is connected.
    #[must_use]
    pub fn subscriptions(&self, group: &str) -> Option<&Arc<Subscriptions>> {
        self.subscriptions.get(group)
    }

    /// Whether a group may not read a topic.
    #[must_use]
    pub fn forbidden(&self, group: &str, topic: &str) -> bool {
        !self.forbidden.is_empty() && self.forbidden.contains(&(Arc::from(group), Arc::from(topic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::model::java_hash;

    #[test]
    fn a_tag_expression_passes_its_tags_and_what_collides_with_them() {
        let wanted = Subscription::parse("T", " AaAa || B ", "TAG").unwrap();
        assert!(wanted.passes(i64::from(java_hash("AaAa"))));
        assert!(
            wanted.passes(i64::from(java_hash("BBBB"))),
            "the client sorts a collision out"
        );
        assert!(!wanted.passes(0));
        assert!(Subscription::parse("T", "*", "").unwrap().passes(0));
    }

    #[test]
    fn an_expression_of_another_kind_is_refused() {
        assert!(Subscription::parse("T", "a > 1", "SQL92").is_err());
        assert!(Subscription::parse("T", " || ", "TAG").is_err());
    }

    #[test]
    fn updates_replace_and_remove() {
        let mut replicas = Replicas::default();
        let topic = |perm| {
            Arc::new(Topic {
                name: "T".into(),
                write_queues: 4,
                read_queues: 4,
                perm,
                order: false,
                sys_flag: 0,
            })
        };
        replicas.apply(TableUpdate::Topic(topic(6)));
        replicas.apply(TableUpdate::Topic(topic(4)));
        let found = replicas.topic("T").unwrap();
        assert!(found.readable() && !found.writable());
        let shared = topic(6);
        replicas.apply(TableUpdate::Topic(Arc::clone(&shared)));
        assert!(
            !Arc::ptr_eq(&shared, &replicas.topic("T").unwrap()),
            "each core has its own"
        );
        replicas.apply(TableUpdate::TopicGone("T".into()));
        assert!(replicas.topic("T").is_none());
    }
}
