//! Services that were started: who they are, whether they still run, and how to stop them. `DIR/cluster.json` remembers them
//! between commands.

use crate::layout::Kind;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A service that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// As clients reach it, `host:port`.
    pub(crate) address: String,
    pub(crate) pid: u32,
    /// When the process started, in clock ticks since the machine did: with the pid it is nobody else.
    pub(crate) started: u64,
    pub(crate) log: PathBuf,
}

/// The services of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    /// Addresses of its name servers, separated by `;`.
    pub(crate) name_servers: String,
    pub(crate) services: Vec<Service>,
}

fn state_file(data: &Path) -> PathBuf {
    data.join("cluster.json")
}

impl Cluster {
    /// What was started with this data directory; `None` if nothing was.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub(crate) fn load(data: &Path) -> Result<Option<Cluster>, String> {
        let file = state_file(data);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
        };
        let cluster = serde_json::from_slice(&text);
        cluster.map(Some).map_err(|error| {
            format!(
                "{} is damaged: {error}; fix: stop its services by hand and delete the file",
                file.display()
            )
        })
    }

    /// # Errors
    /// The file system's.
    pub(crate) fn save(&self, data: &Path) -> Result<(), String> {
        let file = state_file(data);
        let save = || {
            let new = file.with_extension("json.new");
            fs::write(&new, serde_json::to_vec_pretty(self)?)?;
            fs::rename(&new, &file)
        };
        save().map_err(|error: io::Error| format!("{} cannot be written: {error}", file.display()))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

impl Service {
    pub(crate) fn is_running(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Asks it to stop, if it still runs.
    pub(crate) fn ask_to_stop(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if self.is_running()
            && let Some(pid) = pid
        {
            // Ended meanwhile: what is wanted.
            let _gone = kill_process(pid, Signal::TERM);
        }
    }

    /// Whether it has ended within `limit`.
    pub(crate) fn await_end(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Resident memory in bytes; `None` when it has ended.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// How long it has run.
    pub(crate) fn age(&self) -> Option<Duration> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let since_start = self.started / rustix::param::clock_ticks_per_second();
        Duration::try_from_secs_f64(up)
            .ok()?
            .checked_sub(Duration::from_secs(since_start))
    }
}

/// When a process that runs was started, in clock ticks since the machine was: field 22 of proc(5)'s stat. `None` for one that
/// has ended, and is only waited for by its parent.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name, may hold anything; the last parenthesis ends it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Stops services, the brokers first, so that they can still say goodbye to the name servers. Gives the names of those that did
/// not end in time.
pub(crate) fn stop(services: &[Service]) -> Vec<&str> {
    /// A broker makes everything durable, on however slow a disk.
    const LIMIT: Duration = Duration::from_secs(60);
    let mut left = Vec::new();
    for brokers in [true, false] {
        let of_kind = || {
            services
                .iter()
                .filter(move |service| service.kind.is_broker() == brokers)
        };
        of_kind().for_each(Service::ask_to_stop);
        left.extend(
            of_kind()
                .filter(|service| !service.await_end(LIMIT))
                .map(|service| service.name.as_str()),
        );
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn service(pid: u32, started: u64) -> Service {
        Service {
            name: "broker-a".to_owned(),
            kind: Kind::Master,
            address: "127.0.0.1:1".to_owned(),
            pid,
            started,
            log: PathBuf::from("log"),
        }
    }

    #[test]
    fn a_process_is_known_by_its_pid_and_its_start() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let start = started(child.id()).unwrap();
        let (itself, another) = (service(child.id(), start), service(child.id(), start + 1));
        assert!(itself.is_running() && !another.is_running());
        assert!(itself.resident().is_some_and(|bytes| bytes > 0));
        assert!(itself.age().is_some_and(|age| age < Duration::from_secs(60)));
        // A stranger with the same pid is left alone.
        another.ask_to_stop();
        assert!(child.try_wait().unwrap().is_none());
        assert!(stop(std::slice::from_ref(&itself)).is_empty());
        assert!(!itself.is_running());
        child.wait().unwrap();
    }

    #[test]
    fn a_cluster_is_found_again_and_damage_is_told() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Cluster::load(data.path()), Ok(None));
        let cluster = Cluster {
            name_servers: "127.0.0.1:9876".to_owned(),
            services: vec![service(1, 2)],
        };
        cluster.save(data.path()).unwrap();
        assert_eq!(Cluster::load(data.path()), Ok(Some(cluster)));
        fs::write(state_file(data.path()), "{").unwrap();
        assert!(Cluster::load(data.path()).unwrap_err().contains("is damaged"));
    }
}
