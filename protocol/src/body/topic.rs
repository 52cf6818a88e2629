//! Topics and their settings: codes 17, 18, 21, 202, 206, 224, 304, 305, 343, 351.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::body::lenient;
use crate::body::queue::{self, WireQueue};
use crate::body::route::QueueMapping;

/// Version of a table: who has the larger counter, at a later time, has the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataVersion {
    /// Counts changes.
    pub counter: i64,
    /// Epoch of the controller's or store's state.
    pub state_version: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl DataVersion {
    /// The version after a change.
    #[must_use]
    pub fn next(self, state_version: i64, now_millis: i64) -> Self {
        Self {
            counter: self.counter.wrapping_add(1),
            state_version,
            timestamp: now_millis,
        }
    }
}

/// Settings of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfig {
    /// Attributes such as `message.type`.
    pub attributes: BTreeMap<String, String>,
    /// Whether it is an order topic.
    pub order: bool,
    /// See [`crate::message::sys_flag::perm`].
    pub perm: i32,
    /// Queues that consumers read.
    pub read_queue_nums: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    pub topic_filter_type: String,
    /// The name.
    pub topic_name: String,
    /// See [`crate::message::sys_flag::topic_flag`].
    pub topic_sys_flag: i32,
    /// Queues that producers write.
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    /// RocketMQ's: 16 queues, readable and writable.
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: SINGLE_TAG.to_owned(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

/// The only filter type that means anything.
pub const SINGLE_TAG: &str = "SINGLE_TAG";

impl TopicConfig {
    /// The settings as one line, as compressed register bodies have it: name, read queues, write queues, perm, filter type and the
    /// attributes as JSON, separated by blanks. Order and sysFlag are not in it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let attributes = serde_json::to_string(&self.attributes).unwrap_or_default();
        format!(
            "{} {} {} {} {} {attributes}",
            self.topic_name, self.read_queue_nums, self.write_queue_nums, self.perm, self.topic_filter_type
        )
    }

    /// Reads [`Self::to_text`]; the attributes may be missing, as before 5.0. `None` if another part is, or is no number.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ' ');
        let mut part = || parts.next();
        Some(Self {
            topic_name: part()?.to_owned(),
            read_queue_nums: part()?.parse().ok()?,
            write_queue_nums: part()?.parse().ok()?,
            perm: part()?.parse().ok()?,
            topic_filter_type: part()?.to_owned(),
            attributes: part()
                .and_then(|json| lenient::from_slice(json.as_bytes()).ok())
                .unwrap_or_default(),
            ..Self::default()
        })
    }
}

/// Body of 18.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CreateTopicListRequestBody {
    /// The topics.
    pub topic_config_list: Vec<TopicConfig>,
}

/// Answer to 21, and what a broker registers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigAndMappingSerializeWrapper {
    /// Version of the topics.
    pub data_version: DataVersion,
    /// Version of the mappings.
    pub mapping_data_version: DataVersion,
    /// Topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics by name, with their queues' parts.
    pub topic_queue_mapping_detail_map: BTreeMap<String, QueueMapping>,
    /// Static topics by name.
    pub topic_queue_mapping_info_map: BTreeMap<String, QueueMapping>,
}

/// Names of topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicList {
    /// `ip:port` of a broker; only in 304.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The names.
    pub topic_list: BTreeSet<String>,
}

/// Offsets of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicOffset {
    /// When the last message was stored, milliseconds since 1970.
    pub last_update_timestamp: i64,
    /// End of the queue.
    pub max_offset: i64,
    /// Begin of the queue.
    pub min_offset: i64,
}

/// Answer to 202.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicStatsTable {
    /// By queue.
    #[serde(with = "queue::map")]
    pub offset_table: BTreeMap<WireQueue, TopicOffset>,
    /// Messages put into the topic a second.
    pub topic_put_tps: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_line_without_attributes_is_read_and_a_broken_one_is_not() {
        let config = TopicConfig::from_text("T 4 8 6 SINGLE_TAG").unwrap();
        assert_eq!(
            (config.read_queue_nums, config.write_queue_nums, config.attributes.len()),
            (4, 8, 0)
        );
        assert_eq!(TopicConfig::from_text("T 4 8 6"), None);
        assert_eq!(TopicConfig::from_text("T 4 x 6 SINGLE_TAG {}"), None);
    }
}
