//! Where topics are: code 105 (route of a topic), 106 (cluster), 901 (brokers of one name), 217 (a route to be registered).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::body::{to_java_json, to_standard_json};
use crate::version::Version;

/// Brokers of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerData {
    /// Broker id (0 is the master) to `ip:port`.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Name that master and slaves share.
    pub broker_name: String,
    /// Their cluster.
    pub cluster: String,
    /// Whether a slave may stand in for the master.
    pub enable_acting_master: bool,
    /// Zone of the brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// Queues that a topic has on the brokers of one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueData {
    /// Name that master and slaves share.
    pub broker_name: String,
    /// See [`crate::message::sys_flag::perm`].
    pub perm: i32,
    /// Queues that consumers read.
    pub read_queue_nums: i32,
    /// See [`crate::message::sys_flag::topic_flag`].
    pub topic_sys_flag: i32,
    /// Queues that producers write.
    pub write_queue_nums: i32,
}

/// Route of a topic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicRouteData {
    /// Brokers that have the topic.
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address; gone since 5.0, but Java expects the map.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Queue counts of an order topic: `broker-a:4;broker-b:4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// Queues, broker name by broker name.
    pub queue_datas: Vec<QueueData>,
    /// Queue mapping of a static topic, by broker name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, QueueMapping>>,
}

impl TopicRouteData {
    /// The route as a client wants it: standard JSON for those that ask for it or are of 4.9.4 or later, else with bare numeric keys.
    #[must_use]
    pub fn encode_for(&self, version: Version, accept_standard_json_only: bool) -> Vec<u8> {
        if accept_standard_json_only || version.reads_standard_route() {
            to_standard_json(self)
        } else {
            to_java_json(self)
        }
    }
}

/// Which of a static topic's queues lie on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueMapping {
    /// Name of the broker.
    pub bname: String,
    /// Logical queue id to physical queue id.
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Whether the mapping is being changed.
    pub dirty: bool,
    /// Number of the mapping.
    pub epoch: i64,
    /// What each logical queue was made of; only in a broker's own table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_queues: Option<BTreeMap<i32, Vec<LogicQueueItem>>>,
    /// Scope of the mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The topic.
    pub topic: String,
    /// Queues of the topic in all.
    pub total_queues: i32,
}

/// A part of a logical queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogicQueueItem {
    /// Name of the broker that has it.
    pub bname: String,
    /// End in the physical queue.
    pub end_offset: i64,
    /// Generation.
    #[serde(rename = "gen")]
    pub generation: i32,
    /// Start in the logical queue.
    pub logic_offset: i64,
    /// Physical queue.
    pub queue_id: i32,
    /// Start in the physical queue.
    pub start_offset: i64,
    /// When it ended.
    pub time_of_end: i64,
    /// When it started.
    pub time_of_start: i64,
}

/// Answer to 106: every broker and cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterInfo {
    /// By broker name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
}

/// Brokers of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerMemberGroup {
    /// Broker id to `ip:port`.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Name that they share.
    pub broker_name: String,
    /// Their cluster.
    pub cluster: String,
}

/// Answer to 901.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetBrokerMemberGroupResponseBody {
    /// The group, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_member_group: Option<BrokerMemberGroup>,
}
