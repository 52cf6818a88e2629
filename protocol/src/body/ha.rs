//! Replication as tools see it: the answer to GET_BROKER_HA_STATUS (907).

use serde::{Deserialize, Serialize};

/// A slave, as its master sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HaConnectionRuntimeInfo {
    /// Where it connects from.
    pub addr: String,
    /// Bytes that it lacks.
    pub diff: i64,
    /// Whether it keeps up.
    pub in_sync: bool,
    /// Bytes that it has.
    pub slave_ack_offset: i64,
    /// Bytes sent to it, from the begin of the log.
    pub transfer_from_where: i64,
    /// Bytes sent to it in the last second.
    pub transferred_byte_in_second: i64,
}

/// What a slave knows of its master.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HaClientRuntimeInfo {
    /// Whether it copies.
    pub activated: bool,
    /// When something came last, milliseconds since 1970.
    pub last_read_timestamp: i64,
    /// When something was said last.
    pub last_write_timestamp: i64,
    /// Its HA port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_addr: Option<String>,
    /// Bytes that the master has.
    pub master_flush_offset: i64,
    /// Bytes of the own log.
    pub max_offset: i64,
    /// Bytes that came in the last second.
    pub transferred_byte_in_second: i64,
}

/// Answer to 907.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HaRuntimeInfo {
    /// Of a slave: its master.
    pub ha_client_runtime_info: HaClientRuntimeInfo,
    /// Of a master: its slaves.
    pub ha_connection_info: Vec<HaConnectionRuntimeInfo>,
    /// Slaves that keep up.
    pub in_sync_slave_nums: i32,
    /// Whether this is a master.
    pub master: bool,
    /// Bytes of the master's log.
    pub master_commit_log_max_offset: i64,
}
