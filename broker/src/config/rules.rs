//! What no key can be checked for alone: names, addresses, and values that must fit each other. Nothing here looks at the machine.

use super::finding::{Finding, Severity};
use super::used_keys::{BrokerConfig, BrokerRole};
use remoting::config_table::Origin;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

/// RocketMQ's clients refuse frames above this, and so does every server.
const FRAME_MAX: u64 = 16 * 1024 * 1024;
/// Headers and properties of a record beside its body, at most: 32 KiB of properties, a topic, the fixed fields.
const RECORD_OVERHEAD_MAX: u64 = 64 * 1024;

/// Everything that is wrong with these values.
pub(super) fn check(config: &BrokerConfig) -> Vec<Finding> {
    let mut findings = Findings {
        config,
        found: Vec::new(),
    };
    findings.role();
    findings.names();
    findings.ports();
    findings.addresses();
    findings.paths();
    findings.sizes();
    findings.retention();
    findings.found
}

struct Findings<'a> {
    config: &'a BrokerConfig,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn stop(&mut self, key: &str, what: &str, fix: &str) {
        self.found
            .push(Finding::about(&self.config.settings, Severity::Stop, key, what, fix));
    }

    fn warn(&mut self, key: &str, what: &str, fix: &str) {
        self.found
            .push(Finding::about(&self.config.settings, Severity::Warning, key, what, fix));
    }

    fn role(&mut self) {
        let id = self.config.broker_id;
        match self.config.broker_role {
            BrokerRole::Slave if id < 1 => self.stop(
                "brokerId",
                "is a master's, and this broker is a slave",
                "set brokerId=1, or another number that no other slave of this brokerName has",
            ),
            BrokerRole::Slave => {}
            BrokerRole::AsyncMaster | BrokerRole::SyncMaster if id != 0 => self.stop(
                "brokerId",
                &format!(
                    "does not fit brokerRole={}: a master has brokerId=0",
                    self.config.broker_role
                ),
                "set brokerId=0 for a master, brokerRole=SLAVE for a slave",
            ),
            BrokerRole::SyncMaster | BrokerRole::AsyncMaster => {}
        }
        self.replicas();
    }

    /// RocketMQ takes these values and does nothing with them.
    fn replicas(&mut self) {
        let config = self.config;
        let waits = config.broker_role == BrokerRole::SyncMaster;
        if config.in_sync_replicas > 1 && !waits {
            self.warn(
                "inSyncReplicas",
                &format!("changes nothing with brokerRole={}", config.broker_role),
                "set brokerRole=SYNC_MASTER for a master whose answers are to wait for slaves",
            );
        }
        if config.min_in_sync_replicas > 1
            && !(waits && config.enable_slave_acting_master && config.enable_auto_in_sync_replicas)
        {
            self.warn(
                "minInSyncReplicas",
                "changes nothing without brokerRole=SYNC_MASTER, enableSlaveActingMaster=true and enableAutoInSyncReplicas=true",
                "set all of them, or inSyncReplicas alone",
            );
        }
        let copies = if config.in_sync_replicas == 0 {
            2
        } else {
            config.in_sync_replicas
        };
        if config.min_in_sync_replicas > copies {
            self.stop(
                "minInSyncReplicas",
                &format!("is above inSyncReplicas, which is {copies}"),
                "set it to that or less",
            );
        }
    }

    fn names(&mut self) {
        let config = self.config;
        for (key, name) in [
            ("brokerClusterName", &config.broker_cluster_name),
            ("brokerName", &config.broker_name),
            ("msgTraceTopicName", &config.msg_trace_topic_name),
        ] {
            if let Err(what) = check_name(name) {
                self.stop(key, &what, "use letters, digits and % | _ - alone");
            }
        }
    }

    fn ports(&mut self) {
        let (port, ha) = (self.config.listen_port, self.config.ha_listen_port);
        if port < 3 {
            self.stop(
                "listenPort",
                "leaves no room for the port two below it, which is served too",
                "set listenPort to 3 or more",
            );
        }
        if port == u16::MAX && ha == 0 {
            self.stop(
                "listenPort",
                "leaves no room for haListenPort one above it",
                "set listenPort to 65534 or less",
            );
        }
        if ha == port || ha == self.config.vip_port() {
            let what = format!(
                "is a port of listenPort={port} too: that one and {} are opened for clients",
                self.config.vip_port()
            );
            self.stop(
                "haListenPort",
                &what,
                &format!("set haListenPort={}, or remove the line", port.saturating_add(1)),
            );
        }
    }

    fn addresses(&mut self) {
        let config = self.config;
        for (key, host) in [("brokerIP1", &config.broker_ip1), ("brokerIP2", &config.broker_ip2)] {
            if *self.config.settings.origin(key) == Origin::Default && key == "brokerIP2" {
                // It is brokerIP1 then, and one line about that is enough.
                continue;
            }
            if !is_host(host) {
                self.stop(
                    key,
                    "is neither an IP address nor the name of a host",
                    "write the address that clients reach this machine by",
                );
            } else if host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_unspecified() || ip.is_multicast())
            {
                self.stop(
                    key,
                    "is no address that a client could connect to",
                    "write the address that clients reach this machine by",
                );
            }
        }
        if config.bind_address.parse::<IpAddr>().is_err() {
            self.stop(
                "bindAddress",
                "is no IP address",
                "write an address of this machine, or 0.0.0.0 for all of them",
            );
        }
        let servers = config.name_servers();
        if let Some(bad) = servers.iter().find(|server| split_address(server).is_none()) {
            let what = format!("has {bad:?}, which is not host:port");
            self.stop("namesrvAddr", &what, "write host:port, several separated by ;");
        }
        if servers.is_empty() {
            self.warn(
                "namesrvAddr",
                "names no name server, so no client will find this broker",
                "add namesrvAddr=host:9876, or -n host:9876",
            );
        }
        if servers.len()
            < config
                .namesrv_addr
                .as_deref()
                .unwrap_or_default()
                .split(';')
                .filter(|s| !s.trim().is_empty())
                .count()
        {
            self.warn("namesrvAddr", "names a name server twice", "write each once");
        }
    }

    fn paths(&mut self) {
        let root = plain(&self.config.store_path_root_dir);
        if self.config.store_path_root_dir.as_os_str().is_empty() {
            self.stop(
                "storePathRootDir",
                "names no directory",
                "write a directory for this broker alone, or remove the line",
            );
        }
        let Some(commitlog) = &self.config.store_path_commit_log else {
            return;
        };
        let text = commitlog.to_string_lossy();
        if text.contains(',') {
            self.stop(
                "storePathCommitLog",
                "names several directories, and a commitlog lies in one here",
                "name one directory; several disks can be joined below the file system, or given to a broker each",
            );
            return;
        }
        let commitlog = plain(commitlog);
        if commitlog == root {
            self.stop(
                "storePathCommitLog",
                "is the same directory as storePathRootDir",
                "write a directory inside it or elsewhere, or remove the line for its commitlog folder",
            );
        } else if root.starts_with(&commitlog) {
            let what = format!("has storePathRootDir={} inside it", root.display());
            self.stop(
                "storePathCommitLog",
                &what,
                "write directories of which the second is not inside the first",
            );
        } else if let Ok(inside) = commitlog.strip_prefix(&root)
            && let Some(Component::Normal(first)) = inside.components().next()
            && is_taken(&first.to_string_lossy())
        {
            let what = format!("is the place of other files of storePathRootDir={}", root.display());
            self.stop("storePathCommitLog", &what, "use its commitlog folder: remove the line");
        }
    }

    fn sizes(&mut self) {
        let message = u64::from(self.config.max_message_size);
        if message > FRAME_MAX {
            self.warn(
                "maxMessageSize",
                "is more than a frame of 16777216 bytes can carry, which is what clients and servers accept",
                "set maxMessageSize to 15 MiB or less",
            );
        }
        if self.config.mapped_file_size_commit_log < message.min(FRAME_MAX) + RECORD_OVERHEAD_MAX {
            let what = format!("is too small for a message of maxMessageSize={message} and its properties");
            self.stop(
                "mappedFileSizeCommitLog",
                &what,
                "make segments larger (the default is 1073741824) or maxMessageSize smaller",
            );
        }
    }

    fn retention(&mut self) {
        if let Err(what) = parse_hours(&self.config.delete_when) {
            self.stop("deleteWhen", &what, "write hours from 00 to 23, several separated by ;");
        }
        match parse_durations(&self.config.message_delay_level) {
            Err(what) => self.stop(
                "messageDelayLevel",
                &what,
                "write durations such as 1s 5s 10m 2h, separated by blanks",
            ),
            Ok(levels) if levels.is_empty() => {
                self.stop(
                    "messageDelayLevel",
                    "has no level",
                    "write durations such as 1s 5s 10m 2h, separated by blanks",
                );
            }
            Ok(_levels) => {}
        }
        let config = self.config;
        let (old, any, stop) = (
            config.disk_max_used_space_ratio,
            config.disk_space_clean_forcibly_ratio,
            config.disk_space_warning_level_ratio,
        );
        if old > any {
            self.warn(
                "diskMaxUsedSpaceRatio",
                &format!("is above diskSpaceCleanForciblyRatio={any}, so young messages are deleted before old ones need to be"),
                "keep diskMaxUsedSpaceRatio <= diskSpaceCleanForciblyRatio <= diskSpaceWarningLevelRatio",
            );
        }
        if any > stop {
            self.warn(
                "diskSpaceCleanForciblyRatio",
                &format!("is above diskSpaceWarningLevelRatio={stop}, so sends are refused before room is made"),
                "keep diskMaxUsedSpaceRatio <= diskSpaceCleanForciblyRatio <= diskSpaceWarningLevelRatio",
            );
        }
    }
}

/// What the store itself puts into its root, beside the commitlog folder.
fn is_taken(name: &str) -> bool {
    name.starts_with("shard-") || matches!(name, "config" | "lock" | "store.json")
}

/// A path without `.` and `..`, as far as that can be told without looking.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if plain
                    .components()
                    .next_back()
                    .is_some_and(|last| matches!(last, Component::Normal(_))) =>
            {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// What topics, clusters and brokers may be called: `[%|a-zA-Z0-9_-]`, 1 to 127 bytes (RocketMQ's TopicValidator).
fn check_name(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-');
    match text.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(format!("has the character {bad:?}")),
        None if text.is_empty() || text.len() > 127 => Err("does not have 1 to 127 characters".to_owned()),
        None => Ok(()),
    }
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let mistyped_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<IpAddr>().is_ok() || (!mistyped_address && text.len() <= 253 && text.split('.').all(label))
}

/// `host:port` or `[v6]:port`, split; `None` when it is neither.
#[must_use]
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let port: u16 = port.parse().ok().filter(|&port| port != 0)?;
    // An IPv6 address without brackets cannot be told from its port.
    let bracketed_as_needed = (bare == host) != bare.contains(':');
    (is_host(bare) && bracketed_as_needed).then_some((bare, port))
}

/// The hours of `04;16`.
///
/// # Errors
/// What is wrong, to be put behind `key=value`.
pub fn parse_hours(text: &str) -> Result<Vec<u8>, String> {
    let hour = |text: &str| {
        text.parse::<u8>()
            .ok()
            .filter(|&hour| hour < 24)
            .ok_or_else(|| format!("has {text:?}, which is no hour from 00 to 23"))
    };
    text.split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(hour)
        .collect()
}

/// The durations of `1s 5m 2h 1d`, in milliseconds.
///
/// # Errors
/// What is wrong, to be put behind `key=value`.
pub fn parse_durations(text: &str) -> Result<Vec<u64>, String> {
    text.split_whitespace()
        .map(|text| parse_duration(text).ok_or_else(|| format!("has {text:?}, which is no duration")))
        .collect()
}

fn parse_duration(text: &str) -> Option<u64> {
    let unit_ms = match text.bytes().next_back()? {
        b's' => 1_000,
        b'm' => 60_000,
        b'h' => 3_600_000,
        b'd' => 86_400_000,
        _ => return None,
    };
    let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    number.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_want_a_host_and_a_port_each() {
        for good in ["127.0.0.1:9876", "b.example:65535", "[::1]:9876", "name_server-1:1"] {
            assert!(split_address(good).is_some(), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "a:",
            "a:0",
            "a:70000",
            "999.1.1.1:1",
            "::1:9876",
            "http://a:1",
            "[a]:1",
            ":1",
            "a b:1",
        ] {
            assert!(split_address(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn hours_and_durations_are_read_or_refused() {
        assert_eq!(parse_hours("04;16"), Ok(vec![4, 16]));
        for bad in ["24", "4am", "04,16", "-1"] {
            assert!(parse_hours(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_durations("1s 2m 3h 1d"),
            Ok(vec![1_000, 120_000, 10_800_000, 86_400_000])
        );
        for bad in ["5", "5é", "99999999999999999999d", "9999999999999999d", "s", "1.5s"] {
            assert!(parse_durations(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dots_in_paths_are_resolved_by_name() {
        assert_eq!(plain(Path::new("/a/./b/../c/")), Path::new("/a/c"));
        assert_eq!(plain(Path::new("../a")), Path::new("../a"));
    }
}
