//! The servers: ours from the built programs, Apache's by `peer.sh`, and the echo; each with an empty store, gone when the value is dropped.

use crate::echo::Echo;
use crate::rows::Client;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::harness::{FlushMode, PortBlock, Separate, resident_bytes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Echo,
    Apache,
}

impl Kind {
    /// All, those that need no peer first.
    pub(crate) const ALL: [Kind; 3] = [Kind::Ours, Kind::Echo, Kind::Apache];

    /// The echo knows what `mqbench` asks for, and no more.
    pub(crate) fn takes(self, client: Client) -> bool {
        self != Kind::Echo || matches!(client, Client::Bench { .. })
    }
}

pub(crate) enum Server {
    Ours { servers: Box<Separate>, namesrv: String },
    Echo(Echo),
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
            Kind::Echo => Server::Echo(Echo::start(flush)),
            Kind::Apache => Server::Apache(Apache::start(flush, peer)),
        }
    }

    pub(crate) fn namesrv(&self) -> &str {
        match self {
            Server::Ours { namesrv, .. }
            | Server::Echo(Echo { address: namesrv, .. })
            | Server::Apache(Apache { namesrv, .. }) => namesrv,
        }
    }

    pub(crate) fn broker_pid(&self) -> u32 {
        match self {
            Server::Ours { servers, .. } => servers.broker_pid(),
            Server::Echo(echo) => echo.process.pid(),
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
