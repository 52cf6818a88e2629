//! The two servers: ours from the built programs, Apache's by `peer.sh`; each with an empty store, gone when the value is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::harness::{FlushMode, PortBlock, Separate, resident_bytes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Apache,
}

pub(crate) enum Server {
    Ours { servers: Box<Separate>, namesrv: String },
    Apache(Apache),
}

pub(crate) struct Apache {
    peer: PathBuf,
    ports: PortBlock,
    namesrv: String,
    broker_pid: u32,
}

impl Server {
    pub(crate) fn start(kind: Kind, flush: FlushMode, peer: &Path) -> Server {
        match kind {
            Kind::Ours => {
                let servers = Box::new(Separate::start(flush));
                let namesrv = servers.ports.namesrv_address();
                Server::Ours { servers, namesrv }
            }
            Kind::Apache => Server::Apache(Apache::start(flush, peer)),
        }
    }

    pub(crate) fn namesrv(&self) -> &str {
        match self {
            Server::Ours { namesrv, .. } | Server::Apache(Apache { namesrv, .. }) => namesrv,
        }
    }

    pub(crate) fn broker_pid(&self) -> u32 {
        match self {
            Server::Ours { servers, .. } => servers.broker_pid(),
            Server::Apache(apache) => apache.broker_pid,
        }
    }

    /// Memory of the broker that is in RAM now, page cache not counted.
    pub(crate) fn resident_megabytes(&self) -> u64 {
        resident_bytes(self.broker_pid()) >> 20
    }
}

impl Apache {
    fn start(flush: FlushMode, peer: &Path) -> Apache {
        let ports = PortBlock::free();
        let mut apache = Apache {
            peer: peer.to_path_buf(),
            namesrv: ports.namesrv_address(),
            ports,
            broker_pid: 0,
        };
        apache.script(&[
            "start",
            match flush {
                FlushMode::Async => "single",
                FlushMode::Sync => "single-sync",
            },
        ]);
        apache.broker_pid = apache.find_broker();
        apache
    }

    /// `peer.sh status` prints `broker-a pid N rss M MiB`.
    fn find_broker(&self) -> u32 {
        let status = self.command(&["status"]).output().expect("bash runs");
        let status = String::from_utf8_lossy(&status.stdout);
        status
            .lines()
            .find_map(|line| line.strip_prefix("broker-a pid ")?.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("peer.sh status names no broker-a:\n{status}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(&self.peer)
            .args(arguments)
            .env("NAMESRV_PORT", self.ports.namesrv.to_string())
            .env("PORT", self.ports.broker.to_string());
        command
    }

    fn script(&self, arguments: &[&str]) {
        let status = self.command(arguments).status().expect("bash runs");
        assert!(
            status.success(),
            "{} {arguments:?} ended with {status}",
            self.peer.display()
        );
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        self.script(&["stop"]);
        self.script(&["wipe"]);
    }
}
