//! The nouns that all crates share: topics, groups, queues, offsets, shards, and which shard a queue calls home.
//!
//! Physical offset, 64 bits: bit 63 clear (so that Java sees a positive number) | bits 56..=62 shard | bits 0..=55 byte position
//! in the shard's commitlog.
//!
//! Home shard of a queue: (XXH3-64 of the topic's bytes, seed 0, mod shards + queue id mod shards) mod shards. Stores on disk
//! depend on it, so it never changes; `tests/golden/data/home_shard.txt` holds it fast.

use core::fmt;
use core::num::NonZeroU8;
use std::sync::Arc;

use thiserror::Error;

/// Longest topic, in bytes, that a client may create (RocketMQ's `TopicValidator`).
pub const TOPIC_LENGTH_MAX: usize = 127;
/// Longest retry or dead letter topic, in bytes: a prefix and a consumer group.
pub const GROUP_TOPIC_LENGTH_MAX: usize = 255;
/// Longest producer or consumer group, in bytes.
pub const GROUP_LENGTH_MAX: usize = 120;
/// Most shards a store may have: a shard number is 7 bits of a physical offset.
pub const SHARDS_MAX: u8 = 128;

/// Names that RocketMQ reserves.
pub mod names {
    /// Prefix of a consumer group's retry topic.
    pub const RETRY_PREFIX: &str = "%RETRY%";
    /// Prefix of a consumer group's dead letter topic.
    pub const DLQ_PREFIX: &str = "%DLQ%";
    /// Prefix of a light message queue's name.
    pub const LMQ_PREFIX: &str = "%LMQ%";
    /// Separates queue names in the property `INNER_MULTI_DISPATCH`.
    pub const LMQ_DISPATCH_SEPARATOR: &str = ",";
    /// Holds messages until their delay level's time has come.
    pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
    /// Template of automatically created topics.
    pub const AUTO_CREATE_TOPIC: &str = "TBW102";
    /// Used by RocketMQ's own benchmark programs.
    pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
    /// Half messages of open transactions.
    pub const TRANS_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
    /// Ends of transactions.
    pub const TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
    /// Half messages, when Apache keeps transactions in RocksDB.
    pub const ROCKSDB_TRANS_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
    /// Ends of transactions, when Apache keeps transactions in RocksDB.
    pub const ROCKSDB_TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";
    /// Client message traces.
    pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
    /// Half messages that were checked back too often.
    pub const TRANS_CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
    /// Self test of a broker.
    pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
    /// Told of offsets that moved; kept for its name.
    pub const OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";
    /// Apache's RocksDB offset checkpoints.
    pub const CHECKPOINT_TOPIC: &str = "CHECKPOINT_TOPIC";
    /// Timer messages wait here.
    pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
    /// Prefix of system topics made by RocketMQ.
    pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
    /// Prefix of the topic by which brokers of one name find each other.
    pub const SYNC_BROKER_MEMBER_GROUP_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
    /// Ends the name of a cluster's reply topic.
    pub const REPLY_TOPIC_POSTFIX: &str = "REPLY_TOPIC";
    /// Prefix of system consumer groups.
    pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
    /// Groups that exist in every broker from its start.
    pub const PREDEFINED_GROUPS: [&str; 8] = [
        "TOOLS_CONSUMER",
        "FILTERSRV_CONSUMER",
        "SELF_TEST_C_GROUP",
        "CID_ONS-HTTP-PROXY",
        "CID_ONSAPI_PULL",
        "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_OWNER",
        "CID_RMQ_SYS_TRANS",
    ];
    /// Topics that a client may not send to (`TopicValidator.isNotAllowedSendTopic`).
    pub const NOT_SENDABLE_TOPICS: [&str; 6] = [
        SCHEDULE_TOPIC,
        TRANS_HALF_TOPIC,
        TRANS_OP_HALF_TOPIC,
        TRANS_CHECK_MAX_TIME_TOPIC,
        SELF_TEST_TOPIC,
        OFFSET_MOVED_EVENT,
    ];

    /// Whether RocketMQ counts this topic among its own (`TopicValidator.isSystemTopic`).
    #[must_use]
    pub fn is_system_topic(topic: &str) -> bool {
        const EXACT: [&str; 12] = [
            AUTO_CREATE_TOPIC,
            SCHEDULE_TOPIC,
            BENCHMARK_TOPIC,
            TRANS_HALF_TOPIC,
            TRACE_TOPIC,
            TRANS_OP_HALF_TOPIC,
            TRANS_CHECK_MAX_TIME_TOPIC,
            SELF_TEST_TOPIC,
            OFFSET_MOVED_EVENT,
            CHECKPOINT_TOPIC,
            ROCKSDB_TRANS_HALF_TOPIC,
            ROCKSDB_TRANS_OP_HALF_TOPIC,
        ];
        EXACT.contains(&topic) || topic.starts_with(SYSTEM_TOPIC_PREFIX)
    }

    /// Retry topic of a consumer group.
    #[must_use]
    pub fn retry_topic(consumer_group: &str) -> String {
        [RETRY_PREFIX, consumer_group].concat()
    }

    /// Dead letter topic of a consumer group.
    #[must_use]
    pub fn dlq_topic(consumer_group: &str) -> String {
        [DLQ_PREFIX, consumer_group].concat()
    }
}

/// What is wrong with a topic or a group.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing but blanks.
    #[error("the specified {kind} is blank; give it a name of [%|a-zA-Z0-9_-]")]
    Blank {
        /// "topic" or "group".
        kind: &'static str,
    },
    /// Longer than the limit.
    #[error("the specified {kind} is {length} bytes long, longer than the {kind} max length {length_max}; shorten it")]
    TooLong {
        /// "topic" or "group".
        kind: &'static str,
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        length_max: usize,
    },
    /// A character outside of the set.
    #[error(
        "the specified {kind} contains the illegal character {character:?} at byte {at}, allowing only ^[%|a-zA-Z0-9_-]+$"
    )]
    IllegalCharacter {
        /// "topic" or "group".
        kind: &'static str,
        /// The first one that is not allowed.
        character: char,
        /// Where it is, in bytes.
        at: usize,
    },
}

fn check_name(kind: &'static str, name: &str, length_max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank { kind });
    }
    if name.len() > length_max {
        return Err(NameError::TooLong {
            kind,
            length: name.len(),
            length_max,
        });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-');
    match name.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((at, character)) => Err(NameError::IllegalCharacter { kind, character, at }),
        None => Ok(()),
    }
}

/// Checks a topic without making a [`TopicName`] of it.
///
/// # Errors
/// Blank, longer than 127 bytes (255 behind `%RETRY%` and `%DLQ%`), or a character outside of `[%|a-zA-Z0-9_-]`.
pub fn check_topic(topic: &str) -> Result<(), NameError> {
    let of_group = topic.starts_with(names::RETRY_PREFIX) || topic.starts_with(names::DLQ_PREFIX);
    check_name(
        "topic",
        topic,
        if of_group {
            GROUP_TOPIC_LENGTH_MAX
        } else {
            TOPIC_LENGTH_MAX
        },
    )
}

/// Checks a producer or consumer group without making a [`GroupName`] of it.
///
/// # Errors
/// Blank, longer than 120 bytes, or a character outside of `[%|a-zA-Z0-9_-]`.
pub fn check_group(group: &str) -> Result<(), NameError> {
    check_name("group", group, GROUP_LENGTH_MAX)
}

macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $check:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name that passes the check.
            ///
            /// # Errors
            #[doc = concat!("Those of [`", stringify!($check), "`].")]
            pub fn new(name: &str) -> Result<Self, NameError> {
                $check(name)?;
                Ok(Self(Arc::from(name)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // Lookups by text in maps keyed by the name: `str` hashes and orders as this type does.
        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl core::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl core::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type! {
    /// A topic with a legal name; cheap to clone.
    TopicName, check_topic
}
name_type! {
    /// A producer or consumer group with a legal name; cheap to clone.
    GroupName, check_group
}

impl TopicName {
    /// Whether this is a consumer group's retry topic.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        self.0.starts_with(names::RETRY_PREFIX)
    }

    /// Whether this is a consumer group's dead letter topic.
    #[must_use]
    pub fn is_dlq(&self) -> bool {
        self.0.starts_with(names::DLQ_PREFIX)
    }
}

/// Number of a queue inside its topic on one broker, 0, 1, 2…; never negative, so it fits Java's int.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueId(u32);

impl QueueId {
    /// The first queue of a topic.
    pub const ZERO: Self = Self(0);

    /// Takes a number that fits Java's int; `None` above 2^31 - 1.
    #[must_use]
    pub fn new(queue_id: u32) -> Option<Self> {
        i32::try_from(queue_id).is_ok().then_some(Self(queue_id))
    }

    /// Takes the wire's int; `None` if negative, which in a send means that the broker picks the queue.
    #[must_use]
    pub fn from_wire(queue_id: i32) -> Option<Self> {
        u32::try_from(queue_id).ok().map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as the wire has it.
    #[must_use]
    pub const fn to_wire(self) -> i32 {
        self.0.cast_signed()
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Position of a message in its queue, 0, 1, 2…; signed, since the wire uses -1 for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueOffset(pub i64);

impl fmt::Display for QueueOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Number of a shard of a store, below 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(u8);

impl ShardId {
    /// The shard that also holds what has no queue.
    pub const ZERO: Self = Self(0);

    /// Takes a number below 128.
    #[must_use]
    pub const fn new(shard: u8) -> Option<Self> {
        if shard < SHARDS_MAX { Some(Self(shard)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number, to find a shard's place in a slice.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How many shards a store has, 1 to 128; fixed when the store is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardCount(NonZeroU8);

impl ShardCount {
    /// A store of one shard.
    pub const ONE: Self = Self(NonZeroU8::MIN);

    /// Takes 1 to 128.
    #[must_use]
    pub fn new(shards: u8) -> Option<Self> {
        NonZeroU8::new(shards).filter(|n| n.get() <= SHARDS_MAX).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Every shard of the store, in order.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.get()).map(ShardId)
    }
}

/// The shard that owns a queue; see the head of this file for the rule, which never changes.
#[must_use]
pub fn home_shard(topic: &str, queue_id: QueueId, shards: ShardCount) -> ShardId {
    let count = u64::from(shards.get());
    let sum = xxhash_rust::xxh3::xxh3_64(topic.as_bytes()) % count + u64::from(queue_id.get()) % count;
    let shard = u8::try_from(sum % count).unwrap_or(0);
    debug_assert!(shard < shards.get(), "home shard {shard} of {count}");
    ShardId(shard)
}

/// Where a record starts: a shard and a byte position in the shard's commitlog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysicalOffset(u64);

impl PhysicalOffset {
    /// Bits of the byte position: a commitlog may grow to 64 PiB.
    pub const POSITION_BITS: u32 = 56;
    /// The last byte position.
    pub const POSITION_MAX: u64 = (1 << Self::POSITION_BITS) - 1;

    /// Joins shard and byte position.
    ///
    /// # Panics
    /// When the position is 2^56 or more: no log of ours gets there, so whoever asks has a bug.
    #[must_use]
    pub const fn new(shard: ShardId, position: u64) -> Self {
        assert!(
            position <= Self::POSITION_MAX,
            "a commitlog position needs more than 56 bits"
        );
        Self(((shard.0 as u64) << Self::POSITION_BITS) | position)
    }

    /// The shard whose commitlog it is.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        let [top, ..] = self.0.to_be_bytes();
        ShardId(top)
    }

    /// The byte position in the shard's commitlog.
    #[must_use]
    pub const fn position(self) -> u64 {
        self.0 & Self::POSITION_MAX
    }

    /// As the wire and the record have it: never negative.
    #[must_use]
    pub const fn to_wire(self) -> i64 {
        self.0.cast_signed()
    }

    /// Takes the wire's number; `None` if negative.
    #[must_use]
    pub fn from_wire(physical_offset: i64) -> Option<Self> {
        u64::try_from(physical_offset).ok().map(Self)
    }
}

impl fmt::Debug for PhysicalOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.position(), self.shard())
    }
}

impl fmt::Display for PhysicalOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Number of a master's reign, counted from 1; Apache's masterEpoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A queue of a topic on the brokers of one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    /// Its topic.
    pub topic: TopicName,
    /// Name that a master and its slaves share.
    pub broker_name: Arc<str>,
    /// Its number in the topic on that broker.
    pub queue_id: QueueId,
}

/// Java's `String.hashCode`: over UTF-16 code units, wrapping at 32 bits.
#[must_use]
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Tag hash of a consume queue entry: Java's hash of the tag, sign-extended; 0 without a tag.
#[must_use]
pub fn tag_hash(tag: Option<&str>) -> i64 {
    tag.map_or(0, |tag| i64::from(java_hash(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_physical_offset_holds_shard_and_position_and_is_positive_in_java() {
        for shard in [0_u8, 1, 63, 127] {
            for position in [0, 1, 1 << 40, PhysicalOffset::POSITION_MAX] {
                let shard = ShardId::new(shard).unwrap();
                let offset = PhysicalOffset::new(shard, position);
                assert_eq!((offset.shard(), offset.position()), (shard, position));
                assert!(offset.to_wire() >= 0);
                assert_eq!(PhysicalOffset::from_wire(offset.to_wire()), Some(offset));
            }
        }
        assert_eq!(PhysicalOffset::from_wire(-1), None);
        assert_eq!(ShardId::new(128), None);
    }

    #[test]
    fn queues_of_a_topic_spread_evenly_over_the_shards() {
        let shards = ShardCount::new(4).unwrap();
        let mut counts = [0; 4];
        for queue in 0..8 {
            counts[home_shard("TopicA", QueueId::new(queue).unwrap(), shards).index()] += 1;
        }
        assert_eq!(counts, [2; 4]);
    }

    #[test]
    fn a_name_outside_of_the_rules_is_refused_with_what_is_wrong() {
        assert!(TopicName::new("%RETRY%a|B_-9").is_ok());
        assert_eq!(TopicName::new("  "), Err(NameError::Blank { kind: "topic" }));
        assert_eq!(
            TopicName::new("a b"),
            Err(NameError::IllegalCharacter {
                kind: "topic",
                character: ' ',
                at: 1
            })
        );
        assert_eq!(
            GroupName::new("gé"),
            Err(NameError::IllegalCharacter {
                kind: "group",
                character: 'é',
                at: 1
            })
        );
        assert!(TopicName::new(&"t".repeat(127)).is_ok());
        assert_eq!(
            TopicName::new(&"t".repeat(128)),
            Err(NameError::TooLong {
                kind: "topic",
                length: 128,
                length_max: 127
            })
        );
        assert!(TopicName::new(&names::retry_topic(&"g".repeat(120))).is_ok());
        assert!(GroupName::new(&"g".repeat(121)).is_err());
    }

    #[test]
    fn java_hash_is_that_of_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("TagA"), 2_598_919);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(tag_hash(Some("polygenelubricants")), i64::from(i32::MIN));
        assert_eq!(tag_hash(None), 0);
    }
}
