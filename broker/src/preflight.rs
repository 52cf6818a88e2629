//! What would keep a broker from starting well, looked for before anything is opened: ports, directories, space, the address
//! that clients are told, and what it stands on (`surroundings`).
//!
//! [`look`] asks the machine and [`judge`] decides, so that every rule can be tried without a machine to match.
//! Each finding names the setting, where it was written, and the fix.

use crate::config::{BrokerConfig, BrokerRole, Finding, Severity};
use crate::plan;
use remoting::config_table::Origin;
use runtime::core::allowed_cpus;
use runtime::machine::{self, DirectoryState};
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Below so much free space a broker could not make its first segments.
const FREE_SEGMENTS: u64 = 2;

/// Looks at the machine and judges. Ports that are in use are waited for as long as `patience`.
pub async fn check(config: &BrokerConfig, patience: Duration) -> Vec<Finding> {
    judge(config, &look(config, patience).await)
}

/// What there is to know about the machine.
#[derive(Debug)]
pub struct Facts {
    /// For each port to be opened: the key it follows from, the port, and what bind(2) said.
    pub ports: Vec<(&'static str, u16, io::Result<()>)>,
    /// For each directory to be used: its key, its path, what is there.
    pub directories: Vec<(&'static str, PathBuf, DirectoryState)>,
    /// Free bytes where the commitlog will lie, and the whole; `None` when that could not be told.
    pub commitlog_space: Option<runtime::file::DiskSpace>,
    /// Whether a store is there already: it has its space.
    pub store_exists: bool,
    /// Shards that a new store would have, each with a commitlog of its own.
    pub shards: u64,
    /// What brokerIP1 is on this machine.
    pub advertised: Advertised,
    /// Whether this is a container.
    pub in_container: bool,
    /// Kernel, clock and name servers.
    pub surroundings: Surroundings,
}

/// The address that clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// The name is not known here.
    Unknown(String),
    /// Addresses of this machine, and the interface of the first.
    Own(IpAddr, Option<String>),
    /// None of its addresses is of this machine.
    Foreign(IpAddr),
}

/// Asks the machine. Opens nothing that stays, writes nothing.
pub async fn look(config: &BrokerConfig, patience: Duration) -> Facts {
    let root = config.store_path_root_dir.clone();
    let commitlog = config.commitlog_directory();
    let mut directories = vec![("storePathRootDir", root.clone(), machine::directory_state(&root))];
    if let Some(path) = &commitlog {
        directories.push(("storePathCommitLog", path.clone(), machine::directory_state(path)));
    }
    let place = match directories.last() {
        Some((_key, _path, DirectoryState::Missing(above))) => above.clone(),
        _ => commitlog.unwrap_or_else(|| root.clone()),
    };
    Facts {
        ports: look_at_ports(config, patience).await,
        directories,
        commitlog_space: runtime::file::disk_space(&place).await.ok(),
        store_exists: runtime::file::exists(&root.join("store.json")).await,
        shards: u64::from(plan::store_options(config, plan::cores(config, allowed_cpus().len())).shards),
        advertised: advertised(&config.broker_ip1),
        in_container: machine::in_container(),
        surroundings: surroundings::look(config).await,
    }
}

async fn look_at_ports(config: &BrokerConfig, patience: Duration) -> Vec<(&'static str, u16, io::Result<()>)> {
    let bind: IpAddr = config.bind_address.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let mut ports = vec![("listenPort", config.listen_port), ("listenPort", config.vip_port())];
    if config.broker_role != BrokerRole::Slave {
        ports.push(("haListenPort", config.ha_listen_port));
    }
    let give_up = runtime::Instant::now() + patience;
    let mut outcomes = Vec::new();
    for (key, port) in ports {
        let left = give_up - runtime::Instant::now();
        let outcome = machine::when_free(left, || machine::check_port(SocketAddr::new(bind, port))).await;
        outcomes.push((key, port, outcome));
    }
    outcomes
}

fn advertised(host: &str) -> Advertised {
    let addresses = match machine::resolve(host, 0) {
        Ok(addresses) => addresses,
        Err(error) => return Advertised::Unknown(error.to_string()),
    };
    let mut addresses = addresses.iter().map(SocketAddr::ip);
    let Some(first) = addresses.next() else {
        return Advertised::Unknown("it has no address".to_owned());
    };
    match std::iter::once(first)
        .chain(addresses)
        .find(|address| machine::is_own_address(*address))
    {
        Some(own) => Advertised::Own(own, machine::interface_of(own)),
        None => Advertised::Foreign(first),
    }
}

/// Puts addresses in place of the names in brokerIP1 and brokerIP2: message ids and the stored records hold addresses.
pub fn resolve_addresses(config: &mut BrokerConfig) -> Vec<Finding> {
    let mut found = Vec::new();
    for (key, host) in [
        ("brokerIP1", &mut config.broker_ip1),
        ("brokerIP2", &mut config.broker_ip2),
    ] {
        if host.parse::<IpAddr>().is_ok() {
            continue;
        }
        let addresses = machine::resolve(host, 0).unwrap_or_default();
        let addresses = || addresses.iter().map(SocketAddr::ip);
        if let Some(address) = addresses().find(IpAddr::is_ipv4).or_else(|| addresses().next()) {
            let text = format!("{key}={host} stands for {address}, by which clients are told to reach this broker");
            found.push(Finding::new(Severity::Notice, text));
            *host = address.to_string();
        } else {
            let fix = "write the address itself";
            found.push(Finding::new(
                Severity::Stop,
                format_args!("{key}={host} is a name that is not known here; fix: {fix}"),
            ));
        }
    }
    found
}

/// Decides what is wrong.
#[must_use]
pub fn judge(config: &BrokerConfig, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    judge_ports(config, facts, &mut found);
    for (key, path, state) in &facts.directories {
        judge_directory(config, key, path, state, &mut found);
    }
    judge_space(config, facts, &mut found);
    judge_address(config, facts, &mut found);
    surroundings::judge(config, &facts.surroundings, &mut found);
    found
}

fn about(config: &BrokerConfig, severity: Severity, key: &str, what: impl Display, fix: impl Display) -> Finding {
    Finding::about(&config.settings, severity, key, what, fix)
}

fn judge_ports(config: &BrokerConfig, facts: &Facts, found: &mut Vec<Finding>) {
    for (key, port, outcome) in &facts.ports {
        let Err(error) = outcome else { continue };
        // A broker takes three ports, so brokers side by side need some distance.
        let whose = if *port == config.vip_port() {
            format!(" (listenPort - 2 = {port})")
        } else {
            String::new()
        };
        let finding = match error.kind() {
            io::ErrorKind::AddrInUse => about(
                config,
                Severity::Stop,
                key,
                format_args!("is in use: somebody listens on port {port}{whose} already"),
                format_args!(
                    "stop it (ss -ltnp 'sport = :{port}' shows who), or set a listenPort that is at least 4 away from those of other brokers"
                ),
            ),
            io::ErrorKind::PermissionDenied => about(
                config,
                Severity::Stop,
                key,
                format_args!("is reserved: this user may not listen on port {port}{whose}"),
                "set listenPort to 1026 or more",
            ),
            io::ErrorKind::AddrNotAvailable => about(
                config,
                Severity::Stop,
                "bindAddress",
                "is no address of this machine",
                "write an address of this machine, or 0.0.0.0 for all of them",
            ),
            _ => about(
                config,
                Severity::Stop,
                key,
                format_args!("cannot be listened on{whose}: {error}"),
                "set another listenPort",
            ),
        };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
}

fn judge_directory(config: &BrokerConfig, key: &str, path: &Path, state: &DirectoryState, found: &mut Vec<Finding>) {
    let stop = |what: String, fix: &str| about(config, Severity::Stop, key, what, fix);
    match state {
        DirectoryState::NotADirectory(at) => {
            found.push(stop(
                format!("cannot be used: {} is no directory", at.display()),
                "name another directory, or move that file away",
            ));
        }
        DirectoryState::Refused(at, error) => {
            let what = format!("cannot be used: no files can be made in {}: {error}", at.display());
            let fix = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => "mount it writable (mount -o remount,rw), or name another one",
                _ => "give this user the directory (chown), or name another one",
            };
            found.push(stop(what, fix));
        }
        // A mount that is not there looks like a directory that nobody has made yet, and the data would go to the wrong disk.
        DirectoryState::Missing(above) if misses_levels(path, above) => found.push(about(
            config,
            Severity::Warning,
            key,
            format_args!(
                "will be made, with all directories below {}, the nearest that is there",
                above.display()
            ),
            "look whether a disk should be mounted there",
        )),
        DirectoryState::Missing(_) | DirectoryState::Usable => {}
    }
}

fn misses_levels(path: &Path, above: &Path) -> bool {
    path.strip_prefix(above).is_ok_and(|rest| rest.components().count() > 2)
}

fn judge_space(config: &BrokerConfig, facts: &Facts, found: &mut Vec<Finding>) {
    let Some(space) = facts.commitlog_space else { return };
    let key = if config.commitlog_directory().is_some() {
        "storePathCommitLog"
    } else {
        "storePathRootDir"
    };
    let needed = config
        .mapped_file_size_commit_log
        .saturating_mul(FREE_SEGMENTS * facts.shards);
    if !facts.store_exists && space.available < needed {
        found.push(about(
            config,
            Severity::Stop,
            key,
            format_args!(
                "has {} bytes free, and {FREE_SEGMENTS} segments for each of {} shards take {needed}",
                space.available, facts.shards
            ),
            "free some space, name another disk, or make mappedFileSizeCommitLog smaller",
        ));
    }
    let used = space.used_ratio() * 100.0;
    if used >= f64::from(config.disk_space_warning_level_ratio) {
        found.push(about(
            config,
            Severity::Warning,
            key,
            format_args!(
                "is on a disk that is {used:.0}% full: sends are refused from diskSpaceWarningLevelRatio={} on",
                config.disk_space_warning_level_ratio
            ),
            "free some space or name another disk",
        ));
    }
}

fn judge_address(config: &BrokerConfig, facts: &Facts, found: &mut Vec<Finding>) {
    let fix = "write brokerIP1=ADDRESS, the one that clients reach this machine by";
    let mut warn = |what: String| found.push(about(config, Severity::Warning, "brokerIP1", what, fix));
    let chosen = *config.settings.origin("brokerIP1") != Origin::Default;
    match &facts.advertised {
        Advertised::Unknown(error) => {
            found.push(about(
                config,
                Severity::Stop,
                "brokerIP1",
                format_args!("is not known here: {error}"),
                fix,
            ));
        }
        Advertised::Foreign(address) => {
            let name = if config.broker_ip1 == address.to_string() {
                String::new()
            } else {
                format!(" ({address})")
            };
            warn(
                format!("{name} is no address of this machine: right if something forwards it here, wrong otherwise")
                    .trim_start()
                    .to_owned(),
            );
        }
        Advertised::Own(address, _) if address.is_loopback() => {
            warn("can be reached from this machine alone".to_owned());
        }
        Advertised::Own(_, Some(interface)) if is_bridge(interface) => {
            warn(format!(
                "is the address of {interface}, a bridge for containers of this machine: nobody else can reach it"
            ));
        }
        Advertised::Own(..) if facts.in_container && !chosen => {
            warn("is the address of this container: clients outside the container network cannot reach it".to_owned());
        }
        Advertised::Own(..) => {}
    }
}

fn is_bridge(interface: &str) -> bool {
    [
        "docker", "br-", "cni", "podman", "virbr", "lxcbr", "lxdbr", "veth", "flannel",
    ]
    .iter()
    .any(|kind| interface.starts_with(kind))
}

mod surroundings;
mod together;
pub use surroundings::{NameServerState, Surroundings};
pub use together::judge_together;

#[cfg(test)]
mod tests;
