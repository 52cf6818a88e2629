//! Figures and looks inside: codes 28, 103 (answer), 219, 309, 315, 321.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::body::subscription::SubscriptionData;

/// Names and texts: answer to 28, 103 and 219.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KvTable {
    /// The table.
    pub table: BTreeMap<String, String>,
}

/// A statistic over a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsItem {
    /// Average a time.
    pub avgpt: f64,
    /// Sum.
    pub sum: i64,
    /// A second.
    pub tps: f64,
}

/// Answer to 315.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsData {
    /// Over a day.
    pub stats_day: BrokerStatsItem,
    /// Over an hour.
    pub stats_hour: BrokerStatsItem,
    /// Over a minute.
    pub stats_minute: BrokerStatsItem,
}

/// An entry of [`QueryConsumeQueueResponseBody`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeQueueData {
    /// Bits of Apache's filter map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_map: Option<String>,
    /// Whether the group's filter passes it.
    pub eval: bool,
    /// More of the entry, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_data_json: Option<String>,
    /// Why it could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Physical offset of the record.
    pub physic_offset: i64,
    /// Bytes of the record.
    pub physic_size: i32,
    /// Tag hash.
    pub tags_code: i64,
}

/// Answer to 321.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeQueueResponseBody {
    /// The group's compiled filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// End of the queue.
    pub max_queue_index: i64,
    /// Begin of the queue.
    pub min_queue_index: i64,
    /// The entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_data: Option<Vec<ConsumeQueueData>>,
    /// The group's subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// Answer of a client to 309.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeMessageDirectlyResult {
    /// Whether the result stands at once.
    pub auto_commit: bool,
    /// `CR_SUCCESS`, `CR_LATER`, `CR_ROLLBACK`, `CR_COMMIT`, `CR_THROW_EXCEPTION` or `CR_RETURN_NULL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume_result: Option<String>,
    /// Whether the consumer is an orderly one.
    pub order: bool,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Milliseconds it took.
    pub spent_time_mills: i64,
}

impl Default for ConsumeMessageDirectlyResult {
    fn default() -> Self {
        Self {
            auto_commit: true,
            consume_result: None,
            order: false,
            remark: None,
            spent_time_mills: 0,
        }
    }
}
