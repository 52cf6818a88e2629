//! The broker's configuration: RocketMQ's keys, read from a properties file.
//!
//! A value comes from the command line, else the file, else the environment, else the default. A key that nobody knows, a
//! value that does not parse and a feature that is not built yet each stop the start with file, line, key and fix. A key of
//! RocketMQ that changes nothing here is accepted with a line that says what holds instead, so that a file written for
//! RocketMQ loads.

mod broker_keys;
mod dead_keys;
mod finding;
mod from_text;
mod instead;
mod load;
mod machine_defaults;
mod network_keys;
mod reference;
pub(crate) mod rules;
mod store_keys;
mod update;
mod used_keys;

pub use finding::{Finding, Severity};
pub use load::Sources;
pub use machine_defaults::Machine;
pub use reference::reference;
pub use rules::{parse_durations, parse_hours, split_address};
pub use update::{UpdateError, Updated};
pub use used_keys::{BrokerConfig, BrokerRole, FlushDiskType, IoPathChoice, WritePathChoice};

use remoting::config_table::{ConfigTable, Key, Kind, Status};
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Every key there is.
pub fn table() -> &'static ConfigTable {
    static TABLE: LazyLock<ConfigTable> = LazyLock::new(|| ConfigTable {
        program: "mqbroker",
        // Made once and kept for the life of the process.
        keys: Vec::leak(FAMILIES.iter().copied().flatten().map(|key| listed(*key)).collect()),
        dead: &[],
    });
    &TABLE
}

/// A key without effect may be set while the broker runs: scripts that do so for RocketMQ go on. Paths may not, as nobody
/// should be able to put one into a file from afar that another program may read.
fn listed(key: Key) -> Key {
    match key.status {
        Status::Accepted(_) if key.kind == Kind::Path => key,
        Status::Accepted(_) => key.updatable(),
        Status::Used | Status::RefusedUnlessDefault(_) => key,
    }
}

/// The tables of keys, in the order of the reference.
const FAMILIES: [&[Key]; 11] = [
    used_keys::USED,
    broker_keys::REFUSED,
    store_keys::REFUSED,
    network_keys::REFUSED,
    network_keys::AUTH_REFUSED,
    dead_keys::REFUSED,
    broker_keys::ACCEPTED,
    store_keys::ACCEPTED,
    network_keys::ACCEPTED,
    network_keys::AUTH_ACCEPTED,
    dead_keys::DEAD,
];

impl BrokerConfig {
    /// The port of clients with the VIP channel on.
    #[must_use]
    pub fn vip_port(&self) -> u16 {
        self.listen_port.saturating_sub(2)
    }

    /// The address by which routes name this broker, `host:port`.
    #[must_use]
    pub fn broker_address(&self) -> String {
        address_text(&self.broker_ip1, self.listen_port)
    }

    /// The address that is told to slaves, `host:port`.
    #[must_use]
    pub fn ha_server_address(&self) -> String {
        address_text(&self.broker_ip2, self.ha_listen_port)
    }

    /// The name servers, each `host:port`, without repetitions.
    #[must_use]
    pub fn name_servers(&self) -> Vec<String> {
        let mut servers: Vec<String> = Vec::new();
        for server in self
            .namesrv_addr
            .as_deref()
            .unwrap_or_default()
            .split(';')
            .map(str::trim)
        {
            if !server.is_empty() && !servers.iter().any(|known| known == server) {
                servers.push(server.to_owned());
            }
        }
        servers
    }

    /// How long each delay level waits, in milliseconds; level 1 is the first.
    #[must_use]
    pub fn delay_levels_ms(&self) -> Vec<u64> {
        // Checked when the configuration was read.
        parse_durations(&self.message_delay_level).unwrap_or_default()
    }

    /// The hours of the day at which old segments are deleted.
    #[must_use]
    pub fn delete_hours(&self) -> Vec<u8> {
        // Checked when the configuration was read.
        parse_hours(&self.delete_when).unwrap_or_default()
    }

    /// Where the commitlog lies if it is not inside the data directory at its usual place.
    #[must_use]
    pub fn commitlog_directory(&self) -> Option<PathBuf> {
        self.store_path_commit_log
            .clone()
            .filter(|path| *path != self.store_path_root_dir.join("commitlog"))
    }

    /// Every key of RocketMQ and ours with its text, in the order of the names: what `-p` and a request for the configuration show.
    #[must_use]
    pub fn effective(&self) -> Vec<(&'static str, &str)> {
        let dead = |name| {
            dead_keys::DEAD
                .iter()
                .chain(dead_keys::REFUSED)
                .any(|key| key.name == name)
        };
        let mut values: Vec<_> = self
            .settings
            .all()
            .filter(|(key, _text)| !dead(key.name))
            .map(|(key, text)| (key.name, text))
            .collect();
        values.sort_unstable();
        values
    }

    /// The same as lines `key=value`.
    #[must_use]
    pub fn effective_text(&self) -> String {
        remoting::properties_file::to_text(self.effective())
    }

    /// The keys that `-m` shows, as lines `key=value`.
    #[must_use]
    pub fn important_text(&self) -> String {
        self.settings.important_text()
    }
}

impl fmt::Debug for BrokerConfig {
    /// All of it would be a hundred kilobytes, in every line of a log that shows something that holds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerConfig({} at {})", self.broker_name, self.broker_address())
    }
}

fn address_text(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
pub(crate) mod tests;
