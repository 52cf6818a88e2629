//! A message on its way into the log, and what becomes of it.

use crate::QueueSlot;
use crate::error::AppendError;
use protocol::message::record::{RecordFields, RecordView};
use protocol::message::{properties, sys_flag};
use protocol::model::{PhysicalOffset, QueueId, QueueOffset};
use std::fmt;
use std::net::SocketAddr;

/// Number of a group commit of a shard, counted from 1 at each start; grows by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// A message to be stored. Queue offset, physical offset and store timestamp are given by the shard.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// Its queue's handle, of this shard.
    pub queue: QueueSlot,
    /// Its topic, the one of `queue`.
    pub topic: &'a str,
    /// Its queue in the topic, the one of `queue`.
    pub queue_id: QueueId,
    /// The user's own number.
    pub flag: i32,
    /// See [`protocol::message::sys_flag`].
    pub sys_flag: i32,
    /// Milliseconds since 1970 on the producer's clock.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// This broker, as clients reach it.
    pub store_host: SocketAddr,
    /// How often it has been given back.
    pub reconsume_times: i32,
    /// Queue or physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// The body as sent.
    pub body: &'a [u8],
    /// Its properties as text, see [`protocol::message::properties`].
    pub properties: &'a str,
    /// What tag filters compare: [`tag_hash_of`], or what [`crate::Hooks::tag_hash`] gives for it after a restart.
    pub tag_hash: i64,
    /// Its unique key and the words of its keys, for the key index, which has none of rolled back ones; the same as in its properties.
    pub keys: &'a [&'a str],
    /// Whether consumers can see it: not so for half messages and rolled back ones, whose queue offset is 0.
    pub in_consume_queue: bool,
}

impl<'a> NewMessage<'a> {
    pub(crate) fn record(&self, offsets: (QueueOffset, PhysicalOffset), store_timestamp: i64) -> RecordFields<'a> {
        RecordFields {
            queue_id: self.queue_id,
            flag: self.flag,
            queue_offset: offsets.0,
            physical_offset: offsets.1,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_timestamp,
            store_host: self.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            topic: self.topic,
            properties: self.properties,
        }
    }
}

/// A message that has its place. It is stored when the group commit `batch` has ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The group commit that it belongs to.
    pub batch: BatchId,
    /// Its position in its queue.
    pub queue_offset: QueueOffset,
    /// Where its record starts.
    pub physical_offset: PhysicalOffset,
    /// Bytes of its record.
    pub size: usize,
    /// Milliseconds since 1970 on this broker's clock.
    pub store_timestamp: i64,
}

/// A message that has become readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its queue.
    pub queue: QueueSlot,
    /// Its position in its queue.
    pub queue_offset: QueueOffset,
    /// Where its record starts.
    pub physical_offset: PhysicalOffset,
    /// Bytes of its record.
    pub size: u32,
    /// What tag filters compare.
    pub tag_hash: i64,
    /// Milliseconds since 1970 on this broker's clock.
    pub store_timestamp: i64,
}

/// The end of a group commit.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// Which one; they end in order.
    pub batch: BatchId,
    /// Byte position in the shard's log behind it.
    pub end: u64,
    /// Whether what it holds is stored as the flush mode asks.
    pub result: Result<(), &'a AppendError>,
    /// Messages of the batch that consumers can see, in the order of the log; readable already. Empty when it failed.
    pub arrivals: &'a [Arrival],
}

/// A record of the broker's own, kept in the log among the messages: topics, offsets, progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRecord {
    /// What it is, by the broker's numbering; those from [`META_KIND_MAX`] + 1 on are the engine's.
    pub kind: u16,
    /// Its content.
    pub payload: Vec<u8>,
}

/// The highest kind that a broker may use.
pub const META_KIND_MAX: u16 = 0xfeff;

/// What a shard tells its broker. The functions run on the shard's core, outside of any borrow: they may use the shard.
pub struct Hooks {
    /// Called once for each group commit, in order, when its messages may be acknowledged and can be read, or when it failed.
    pub on_commit: Box<dyn Fn(&Commit<'_>)>,
    /// Called in sync flush mode when a batch has been written but is not durable yet: its messages that do not want to wait
    /// for the disk (property WAIT=false) may be acknowledged. They become readable with the commit.
    pub on_written: Box<dyn Fn(BatchId)>,
    /// Called for each metadata record of a copied batch, in order, when the batch is committed: what a broker's own records say it
    /// knows already, those of the log that it follows it does not.
    pub on_copied_metadata: Box<dyn Fn(MetaRecord)>,
    /// Gives metadata records that say the same as all committed ones so far. It may also hold what is appended and not
    /// committed. After a crash come the snapshot and then records of the log from a little before it on, in order: saying a
    /// thing twice must do no harm.
    pub snapshot: Box<dyn Fn() -> Vec<MetaRecord>>,
    /// What tag filters compare for a record of the log, when an index must be made again: the same as
    /// [`NewMessage::tag_hash`] was. [`tag_hash_of`] where the broker has no queue of its own meaning.
    pub tag_hash: Box<dyn Fn(&RecordView<'_>) -> i64>,
}

impl Default for Hooks {
    /// Nobody listens, and there is no metadata.
    fn default() -> Self {
        Hooks {
            on_commit: Box::new(|_commit| {}),
            on_written: Box::new(|_batch| {}),
            on_copied_metadata: Box::new(|_record| {}),
            snapshot: Box::new(Vec::new),
            tag_hash: Box::new(tag_hash_of),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// Java's `String.hashCode` of the property TAGS, 0 without one.
#[must_use]
pub fn tag_hash_of(record: &RecordView<'_>) -> i64 {
    protocol::model::tag_hash(record.property(properties::names::TAGS))
}

/// Whether consumers can see a record: half messages and rolled back ones are in the log only.
#[must_use]
pub fn in_consume_queue(record: &RecordView<'_>) -> bool {
    matches!(
        sys_flag::transaction(record.sys_flag),
        sys_flag::TRANSACTION_NONE | sys_flag::TRANSACTION_COMMIT
    )
}

pub(crate) fn is_rolled_back(sys_flag: i32) -> bool {
    sys_flag::transaction(sys_flag) == sys_flag::TRANSACTION_ROLLBACK
}

/// What the key index holds of a record: unique key and the words of its keys; nothing of rolled back ones.
pub(crate) fn index_keys<'a>(record: &RecordView<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let text = if is_rolled_back(record.sys_flag) {
        ""
    } else {
        record.properties
    };
    let unique = properties::get(text, properties::names::UNIQ_KEY).filter(|key| !key.is_empty());
    unique.into_iter().chain(properties::keys(text))
}
