//! Metadata records: how the broker's tables last. Each record is a kind and a payload in a shard's log; a start takes those
//! of the last checkpoint and then those written since, in order.
//!
//! Payloads are big-endian and begin with one byte, the version of their format, 1. Text is its length as u16 and its UTF-8
//! bytes. The kinds, of which shard 0 holds 1 to 5, the home shard of the queues the others:
//!
//! | kind | holds | payload after the version byte |
//! |---|---|---|
//! | 1 | a topic is there | table version, JSON of its settings |
//! | 2 | a topic is gone | table version, topic |
//! | 3 | a subscription group is there | table version, JSON of its settings |
//! | 4 | a subscription group is gone | table version, group |
//! | 5 | a group may not use a topic | table version, group, topic, bits i32 |
//! | 6 | consumer offsets | count of groups u32, then topic, group, count of queues u32, then (queue id i32, queue offset i64, state u8) |
//! | 7 | consumer offsets are gone | topic, group; an empty one stands for all |
//! | 8 | delayed messages delivered up to | count u32, then (delay level i32, queue offset i64) |
//!
//! Table version: RocketMQ's data version, state version i64, timestamp i64 (milliseconds since 1970), counter i64.
//!
//! A record is only written by this broker, but it is read after every crash, so a payload that does not parse is an error
//! that says which kind and what is wrong, never a panic, and counts are checked against the bytes that are there.

use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::topic::{DataVersion, TopicConfig};
use protocol::model::QueueId;
use std::sync::Arc;

mod codec;

pub use codec::MetaError;
use codec::{Reader, Writer};

/// Version of the payloads' format.
const FORMAT: u8 = 1;

/// Kinds of records, as the log has them. Never reuse a number.
/// The kind of records of consumer offsets.
pub(crate) const OFFSETS_KIND: u16 = kind::CONSUMER_OFFSETS;

mod kind {
    pub(super) const TOPIC: u16 = 1;
    pub(super) const TOPIC_GONE: u16 = 2;
    pub(super) const SUBSCRIPTION_GROUP: u16 = 3;
    pub(super) const SUBSCRIPTION_GROUP_GONE: u16 = 4;
    pub(super) const GROUP_FORBIDDEN: u16 = 5;
    pub(super) const CONSUMER_OFFSETS: u16 = 6;
    pub(super) const CONSUMER_OFFSETS_REMOVED: u16 = 7;
    pub(super) const DELAY_PROGRESS: u16 = 8;
}

/// One metadata record.
#[derive(Clone, Debug, PartialEq)]
pub enum Meta {
    /// A topic is there, with these settings.
    Topic(TopicChange),
    /// A topic is gone.
    TopicGone(Gone),
    /// A subscription group is there, with these settings.
    SubscriptionGroup(GroupChange),
    /// A subscription group is gone.
    SubscriptionGroupGone(Gone),
    /// What a group may not do with a topic.
    GroupForbidden(GroupForbidden),
    /// Consumer offsets have changed.
    ConsumerOffsets(OffsetChanges),
    /// Consumer offsets are gone.
    ConsumerOffsetsRemoved(OffsetsRemoved),
    /// Delayed messages were delivered up to here.
    DelayProgress(Vec<DelayProgress>),
}

/// A topic that was made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicChange {
    /// Version of the table with this change.
    pub version: DataVersion,
    /// The settings.
    pub config: Arc<TopicConfig>,
}

/// A subscription group that was made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    /// Version of the table with this change.
    pub version: DataVersion,
    /// The settings.
    pub config: Arc<SubscriptionGroupConfig>,
}

/// A topic or subscription group that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Version of the table without it.
    pub version: DataVersion,
    /// Its name.
    pub name: String,
}

/// What a group may not do with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupForbidden {
    /// Version of the table with this change.
    pub version: DataVersion,
    /// The consumer group.
    pub consumer_group: String,
    /// The topic.
    pub topic: String,
    /// Bits of RocketMQ's `PermName`; 0 means that nothing is forbidden.
    pub bits: i32,
}

/// Changed consumer offsets, group by group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetChanges {
    /// The groups, each once a topic.
    pub groups: Vec<GroupOffsets>,
}

impl OffsetChanges {
    /// The same with no offset beyond the end of its queue.
    #[must_use]
    pub fn clamped(mut self, end_of: impl Fn(&str, QueueId) -> i64) -> OffsetChanges {
        for group in &mut self.groups {
            for change in &mut group.offsets {
                change.queue_offset = change.queue_offset.min(end_of(&group.topic, change.queue_id));
            }
        }
        self
    }
}

/// Changed offsets of one group in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffsets {
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub consumer_group: String,
    /// Its queues.
    pub offsets: Vec<OffsetChange>,
}

/// Where a group is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetChange {
    /// The queue.
    pub queue_id: QueueId,
    /// The place.
    pub queue_offset: i64,
    /// How it came there.
    pub state: OffsetState,
}

/// How a group came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetState {
    /// It said so.
    Committed,
    /// An admin sent it there, and it does not know yet.
    ResetPending,
}

/// Offsets that are gone: of a topic, of a group, or of a group in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsRemoved {
    /// The topic; `None` means each.
    pub topic: Option<String>,
    /// The consumer group; `None` means each.
    pub consumer_group: Option<String>,
}

/// How far a delay level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayProgress {
    /// 1 is the shortest.
    pub delay_level: i32,
    /// The next queue offset to look at in the level's queue of `SCHEDULE_TOPIC_XXXX`.
    pub queue_offset: i64,
}

impl Meta {
    /// The record's kind, with its payload appended to `payload`.
    pub fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut writer = Writer(payload);
        writer.u8(FORMAT);
        match self {
            Meta::Topic(change) => {
                write_version(change.version, &mut writer);
                write_json(&*change.config, &mut writer);
                kind::TOPIC
            }
            Meta::TopicGone(gone) => {
                write_version(gone.version, &mut writer);
                writer.text(&gone.name);
                kind::TOPIC_GONE
            }
            Meta::SubscriptionGroup(change) => {
                write_version(change.version, &mut writer);
                write_json(&*change.config, &mut writer);
                kind::SUBSCRIPTION_GROUP
            }
            Meta::SubscriptionGroupGone(gone) => {
                write_version(gone.version, &mut writer);
                writer.text(&gone.name);
                kind::SUBSCRIPTION_GROUP_GONE
            }
            Meta::GroupForbidden(forbidden) => {
                write_version(forbidden.version, &mut writer);
                writer.text(&forbidden.consumer_group);
                writer.text(&forbidden.topic);
                writer.i32(forbidden.bits);
                kind::GROUP_FORBIDDEN
            }
            Meta::ConsumerOffsets(changes) => {
                changes.write(&mut writer);
                kind::CONSUMER_OFFSETS
            }
            Meta::ConsumerOffsetsRemoved(removed) => {
                writer.text(removed.topic.as_deref().unwrap_or_default());
                writer.text(removed.consumer_group.as_deref().unwrap_or_default());
                kind::CONSUMER_OFFSETS_REMOVED
            }
            Meta::DelayProgress(levels) => {
                writer.count(levels.len());
                for level in levels {
                    writer.i32(level.delay_level);
                    writer.i64(level.queue_offset);
                }
                kind::DELAY_PROGRESS
            }
        }
    }

    /// The record as the log takes it.
    #[must_use]
    pub fn to_record(&self) -> engine::MetaRecord {
        let mut payload = Vec::new();
        engine::MetaRecord {
            kind: self.encode(&mut payload),
            payload,
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// An unknown kind or format (a newer version wrote it), or a payload that is cut short, too long or holds what cannot be.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Meta, MetaError> {
        let mut reader = Reader::new(kind, payload);
        let format = reader.u8("format")?;
        if format != FORMAT {
            return Err(MetaError::UnknownFormat { kind, format });
        }
        let record = match kind {
            kind::TOPIC => Meta::Topic(TopicChange {
                version: read_version(&mut reader)?,
                config: Arc::new(read_json(&mut reader, "topic settings")?),
            }),
            kind::TOPIC_GONE => Meta::TopicGone(read_gone(&mut reader)?),
            kind::SUBSCRIPTION_GROUP => Meta::SubscriptionGroup(GroupChange {
                version: read_version(&mut reader)?,
                config: Arc::new(read_json(&mut reader, "group settings")?),
            }),
            kind::SUBSCRIPTION_GROUP_GONE => Meta::SubscriptionGroupGone(read_gone(&mut reader)?),
            kind::GROUP_FORBIDDEN => Meta::GroupForbidden(GroupForbidden {
                version: read_version(&mut reader)?,
                consumer_group: reader.text("consumer group")?,
                topic: reader.text("topic")?,
                bits: reader.i32("bits")?,
            }),
            kind::CONSUMER_OFFSETS => Meta::ConsumerOffsets(OffsetChanges::read(&mut reader)?),
            kind::CONSUMER_OFFSETS_REMOVED => Meta::ConsumerOffsetsRemoved(OffsetsRemoved {
                topic: Some(reader.text("topic")?).filter(|topic| !topic.is_empty()),
                consumer_group: Some(reader.text("consumer group")?).filter(|group| !group.is_empty()),
            }),
            kind::DELAY_PROGRESS => {
                let levels = (0..reader.count("delay levels", 12)?).map(|_| {
                    let delay_level = reader.i32("delay level")?;
                    Ok(DelayProgress {
                        delay_level,
                        queue_offset: reader.i64("queue offset")?,
                    })
                });
                Meta::DelayProgress(levels.collect::<Result<_, _>>()?)
            }
            _ => return Err(MetaError::UnknownKind { kind }),
        };
        reader.end()?;
        Ok(record)
    }
}

impl OffsetChanges {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.count(self.groups.len());
        for group in &self.groups {
            writer.text(&group.topic);
            writer.text(&group.consumer_group);
            writer.count(group.offsets.len());
            for change in &group.offsets {
                writer.i32(change.queue_id.to_wire());
                writer.i64(change.queue_offset);
                writer.u8(match change.state {
                    OffsetState::Committed => 0,
                    OffsetState::ResetPending => 1,
                });
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<OffsetChanges, MetaError> {
        // Two empty names and a count of no queues: the least a group takes.
        let groups = (0..reader.count("groups", 8)?).map(|_| {
            Ok(GroupOffsets {
                topic: reader.text("topic")?,
                consumer_group: reader.text("consumer group")?,
                offsets: (0..reader.count("queues", 13)?)
                    .map(|_| OffsetChange::read(reader))
                    .collect::<Result<_, _>>()?,
            })
        });
        Ok(OffsetChanges {
            groups: groups.collect::<Result<_, _>>()?,
        })
    }
}

impl OffsetChange {
    fn read(reader: &mut Reader<'_>) -> Result<OffsetChange, MetaError> {
        let queue_id = reader.i32("queue id")?;
        let queue_offset = reader.i64("queue offset")?;
        let state = match reader.u8("state")? {
            0 => OffsetState::Committed,
            1 => OffsetState::ResetPending,
            other => return Err(reader.impossible("state", other)),
        };
        let queue_id = QueueId::from_wire(queue_id).ok_or_else(|| reader.impossible("queue id", queue_id))?;
        Ok(OffsetChange {
            queue_id,
            queue_offset,
            state,
        })
    }
}

fn write_version(version: DataVersion, writer: &mut Writer<'_>) {
    writer.i64(version.state_version);
    writer.i64(version.timestamp);
    writer.i64(version.counter);
}

fn read_version(reader: &mut Reader<'_>) -> Result<DataVersion, MetaError> {
    let state_version = reader.i64("state version")?;
    let timestamp = reader.i64("timestamp")?;
    Ok(DataVersion {
        state_version,
        timestamp,
        counter: reader.i64("counter")?,
    })
}

fn read_gone(reader: &mut Reader<'_>) -> Result<Gone, MetaError> {
    Ok(Gone {
        version: read_version(reader)?,
        name: reader.text("name")?,
    })
}

fn write_json(settings: &impl serde::Serialize, writer: &mut Writer<'_>) {
    writer.rest(&serde_json::to_vec(settings).expect("settings have text for keys, and memory takes all bytes"));
}

fn read_json<T: serde::de::DeserializeOwned>(reader: &mut Reader<'_>, field: &'static str) -> Result<T, MetaError> {
    serde_json::from_slice(reader.rest()).map_err(|error| reader.impossible(field, error))
}

#[cfg(test)]
mod tests;
