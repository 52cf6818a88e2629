//! Our programs on the hosts of a rehearsal, each host with a home folder of its own.

use crate::harness::{Process, binary};
use crate::hosts::{Hosts, address};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// Hosts with homes.
#[derive(Debug)]
pub struct Rehearsal {
    pub hosts: Hosts,
    homes: TempDir,
}

impl Rehearsal {
    /// # Errors
    /// Why this machine cannot have any.
    pub fn new(hosts: u8) -> Result<Rehearsal, String> {
        let homes = tempfile::Builder::new()
            .prefix("ringmq-hosts-")
            // For those who look into a failure.
            .disable_cleanup(std::env::var_os("RINGMQ_TEST_KEEP").is_some())
            .tempdir()
            .map_err(|error| error.to_string())?;
        for host in 1..=hosts {
            std::fs::create_dir(homes.path().join(address(host))).map_err(|error| error.to_string())?;
        }
        Ok(Rehearsal {
            hosts: Hosts::new(hosts)?,
            homes,
        })
    }

    pub fn home(&self, host: u8) -> PathBuf {
        self.homes.path().join(address(host))
    }

    /// Writes a file into a host's home.
    pub fn write(&self, host: u8, name: &str, text: &str) -> PathBuf {
        let path = self.home(host).join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }

    /// One of our programs on a host.
    pub fn command(&self, host: u8, program: &str) -> Command {
        let mut command = self.hosts.command(host, binary(program));
        command.env("HOME", self.home(host)).current_dir(self.home(host));
        command
    }

    /// A name server on its usual port.
    pub fn name_server(&self, host: u8) -> Process {
        started(
            &format!("mqnamesrv on {}", address(host)),
            &mut self.command(host, "mqnamesrv"),
        )
    }

    /// A broker with a file, and the name servers by `-n` unless that is empty.
    pub fn broker(&self, host: u8, file: &Path, name_servers: &str) -> Process {
        let mut command = self.command(host, "mqbroker");
        command.arg("-c").arg(file);
        if !name_servers.is_empty() {
            command.args(["-n", name_servers]);
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        started(&format!("{name} on {}", address(host)), &mut command)
    }
}

fn started(name: &str, command: &mut Command) -> Process {
    let mut process = Process::start(name, command);
    process.await_line("`boot success`", BOOT_LIMIT, |line| line.contains("boot success"));
    process
}

/// `-n` of clients and brokers: a name server on each of these hosts.
pub fn name_servers(hosts: &[u8]) -> String {
    let addresses: Vec<String> = hosts.iter().map(|host| format!("{}:9876", address(*host))).collect();
    addresses.join(";")
}
