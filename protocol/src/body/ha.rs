//! Slaves and their master: code 907.

use serde::{Deserialize, Serialize};

/// A slave, as its master sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HaConnectionRuntimeInfo {
    /// `ip:port` it comes from.
    pub addr: String,
    /// Bytes that it is behind.
    pub diff: i64,
    /// Whether it keeps up.
    pub in_sync: bool,
    /// What it has, as a physical offset.
    pub slave_ack_offset: i64,
    /// Where the master reads what it sends next.
    pub transfer_from_where: i64,
    /// Bytes a second.
    pub transferred_byte_in_second: i64,
}

/// A slave, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HaClientRuntimeInfo {
    /// Whether it is connected.
    pub activated: bool,
    /// When something last came, milliseconds since 1970.
    pub last_read_timestamp: i64,
    /// When it last told how far it is, milliseconds since 1970.
    pub last_write_timestamp: i64,
    /// The master's HA address.
    pub master_addr: String,
    /// What the master has flushed.
    pub master_flush_offset: i64,
    /// End of its own log.
    pub max_offset: i64,
    /// Bytes a second.
    pub transferred_byte_in_second: i64,
}

/// Answer to 907.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HaRuntimeInfo {
    /// A slave's own view.
    pub ha_client_runtime_info: HaClientRuntimeInfo,
    /// A master's slaves.
    pub ha_connection_info: Vec<HaConnectionRuntimeInfo>,
    /// Slaves that keep up.
    pub in_sync_slave_nums: i32,
    /// Whether the broker is a master.
    pub master: bool,
    /// End of a master's log.
    pub master_commit_log_max_offset: i64,
}
