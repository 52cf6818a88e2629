//! `consumerOffset.json` in Apache's layout: `topic@group` to queue to offset, of all shards in one file.

use super::ConsumerOffsets;
use crate::error::Error;
use protocol::body::json::to_java_json;
use protocol::body::lenient;
use protocol::body::topic::DataVersion;
use protocol::model::{QueueId, check_group, check_topic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Commits for which the version grows by one (consumerOffsetUpdateVersionStep).
const VERSION_STEP: u64 = 500;

/// The file, and the answer to 43.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OffsetsFile {
    /// Counts commits, 500 a step.
    pub data_version: DataVersion,
    /// `topic@group` to queue to offset.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// An offset that a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedOffset {
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub consumer_group: String,
    /// The queue.
    pub queue_id: QueueId,
    /// How far the group is.
    pub queue_offset: i64,
}

impl OffsetsFile {
    /// Adds the table of one shard. The cores that own shards each add theirs to one file.
    pub fn add(&mut self, offsets: &ConsumerOffsets) {
        offsets.export_into(&mut self.offset_table);
        self.add_version(offsets);
    }

    /// Adds what one shard's table counts to the version.
    pub fn add_version(&mut self, offsets: &ConsumerOffsets) {
        let steps = offsets.counters().commits / VERSION_STEP;
        self.data_version.counter = self.data_version.counter.saturating_add_unsigned(steps);
    }

    /// Adds a file of other shards.
    pub fn join(&mut self, other: OffsetsFile) {
        self.data_version.counter = self.data_version.counter.saturating_add(other.data_version.counter);
        for (key, queues) in other.offset_table {
            self.offset_table.entry(key).or_default().extend(queues);
        }
    }

    /// The text, numeric keys bare as Java writes and wants them.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        to_java_json(self)
    }

    /// Reads a file, Apache's too.
    ///
    /// # Errors
    /// A text that is no such file.
    pub fn parse(text: &[u8]) -> Result<OffsetsFile, Error> {
        lenient::from_slice(text).map_err(|error| Error::System(format!("consumerOffset.json cannot be read: {error}")))
    }

    /// What it holds, to be committed in the home shard of each queue; and the keys that cannot be taken: no `topic@group`,
    /// a bad name, a negative queue.
    #[must_use]
    pub fn offsets(&self) -> (Vec<ImportedOffset>, Vec<String>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for (key, queues) in &self.offset_table {
            let names =
                split_key(key).filter(|(topic, group)| check_topic(topic).is_ok() && check_group(group).is_ok());
            let Some((topic, consumer_group)) = names else {
                refused.push(key.clone());
                continue;
            };
            for (&queue_id, &queue_offset) in queues {
                match QueueId::from_wire(queue_id) {
                    Some(queue_id) => taken.push(ImportedOffset {
                        topic: topic.to_owned(),
                        consumer_group: consumer_group.to_owned(),
                        queue_id,
                        queue_offset,
                    }),
                    None => refused.push(format!("{key} queue {queue_id}")),
                }
            }
        }
        (taken, refused)
    }
}

/// Splits a key into topic and group; `None` unless there is exactly one `@`, which neither may hold.
fn split_key(topic_at_group: &str) -> Option<(&str, &str)> {
    topic_at_group
        .split_once('@')
        .filter(|(_topic, group)| !group.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(queue_id: u32) -> QueueId {
        QueueId::new(queue_id).unwrap()
    }

    #[test]
    fn shards_come_together_in_one_file_and_out_of_it_again() {
        let (mut one, mut other) = (ConsumerOffsets::default(), ConsumerOffsets::default());
        one.commit("t", "g", q(0), 5);
        other.commit("t", "g", q(1), 6);
        other.reset("%RETRY%g", "g", q(0), 7);
        let mut file = OffsetsFile::default();
        file.add(&one);
        file.add(&other);
        let text = file.to_text();
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            r#"{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"offsetTable":{"%RETRY%g@g":{0:7},"t@g":{0:5,1:6}}}"#
        );
        let read = OffsetsFile::parse(&text).unwrap();
        assert_eq!(read, file);
        let (offsets, refused) = read.offsets();
        assert_eq!((offsets.len(), refused.len()), (3, 0));
        assert_eq!(
            offsets[2],
            ImportedOffset {
                topic: "t".into(),
                consumer_group: "g".into(),
                queue_id: q(1),
                queue_offset: 6
            }
        );
    }

    #[test]
    fn the_version_grows_with_every_five_hundred_commits() {
        let mut table = ConsumerOffsets::default();
        for queue_offset in 0..1300 {
            table.commit("t", "g", q(0), queue_offset);
        }
        let mut file = OffsetsFile::default();
        file.add(&table);
        assert_eq!(file.data_version.counter, 2);
    }

    #[test]
    fn keys_that_cannot_be_are_named_and_the_others_taken() {
        let text =
            br#"{"offsetTable":{"t@g":{0:1,-1:2},"t":{0:1},"@g":{0:1},"t@":{0:1},"t@g@h":{0:1},"b a d@g":{0:1}}}"#;
        let (offsets, refused) = OffsetsFile::parse(text).unwrap().offsets();
        assert_eq!(offsets.len(), 1);
        assert_eq!(refused, ["@g", "b a d@g", "t", "t@", "t@g queue -1", "t@g@h"]);
        assert!(OffsetsFile::parse(b"{").is_err());
    }
}
