//! Clusters: one that exists, `ringmq up`, or `mqnamesrv` and `mqbroker` apart.

use super::{PortBlock, Process, apache, binary};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A cold start takes milliseconds; a JVM and a busy machine take longer.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    Async,
    Sync,
}

/// What client tests talk to; ends with the value.
#[derive(Debug)]
pub enum Cluster {
    Existing { namesrv: String },
    Up(Up, TempDir),
    Separate(Box<Separate>),
}

impl Cluster {
    /// The cluster that the environment names, Apache's from its jars, or a `ringmq up` with a data directory of its own.
    pub fn for_clients() -> Cluster {
        if let Ok(namesrv) = std::env::var("RINGMQ_TEST_NAMESRV") {
            return Cluster::Existing { namesrv };
        }
        if apache::jars().is_some() {
            return Cluster::Separate(Box::new(Separate::start(FlushMode::Async)));
        }
        let data = temporary("up");
        let up = Up::start(data.path(), PortBlock::free());
        Cluster::Up(up, data)
    }

    pub fn namesrv(&self) -> String {
        match self {
            Cluster::Existing { namesrv } => namesrv.clone(),
            Cluster::Up(up, _) => up.ports.namesrv_address(),
            Cluster::Separate(servers) => servers.ports.namesrv_address(),
        }
    }
}

fn temporary(what: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("ringmq-{what}-"))
        .tempdir()
        .expect("a temporary folder can be made")
}

/// Name server and broker in one process.
#[derive(Debug)]
pub struct Up {
    pub process: Process,
    pub ports: PortBlock,
    /// The line that starts with `ready`.
    pub ready: String,
}

impl Up {
    /// Starts it and waits for its `ready` line.
    pub fn start(data: &Path, ports: PortBlock) -> Up {
        let mut process = Process::start("ringmq up", &mut Up::command(data, ports));
        let ready = process.await_line("line that starts with `ready`", START_LIMIT, |line| {
            line.starts_with("ready")
        });
        Up { process, ports, ready }
    }

    pub fn command(data: &Path, ports: PortBlock) -> Command {
        let mut command = Command::new(binary("ringmq"));
        command
            .arg("up")
            .arg("--data")
            .arg(data)
            .args(["--namesrv-port", &ports.namesrv.to_string()])
            .args(["--port", &ports.broker.to_string()])
            // Settings of the machine's user are not the test's.
            .env_remove("NAMESRV_ADDR");
        command
    }
}

/// `mqnamesrv` and `mqbroker` with Apache's arguments and properties files; the broker can be killed and started again.
#[derive(Debug)]
pub struct Separate {
    pub ports: PortBlock,
    dir: TempDir,
    broker: Option<Process>,
    /// Dropped after the broker.
    _namesrv: Process,
}

impl Separate {
    pub fn start(flush: FlushMode) -> Separate {
        let dir = temporary("servers");
        let store = dir.path().join("store");
        Separate::start_with(dir, flush, &store, "")
    }

    /// The same with the broker's store in a place of the test's choice, and with more lines in its configuration.
    pub fn start_on(store: &Path, flush: FlushMode, lines: &str) -> Separate {
        Separate::start_with(temporary("servers"), flush, store, lines)
    }

    fn start_with(dir: TempDir, flush: FlushMode, store: &Path, lines: &str) -> Separate {
        let ports = PortBlock::free();
        let file = write(
            &dir,
            "namesrv.conf",
            &format!("listenPort={}\nbindAddress=127.0.0.1\n", ports.namesrv),
        );
        write(
            &dir,
            "broker.conf",
            &[&broker_conf(store, ports, flush), lines].concat(),
        );
        let mut namesrv = Process::start("mqnamesrv", server("mqnamesrv", dir.path()).arg("-c").arg(file));
        namesrv.await_line("`boot success`", START_LIMIT, |line| line.contains("boot success"));
        let mut servers = Separate {
            ports,
            dir,
            broker: None,
            _namesrv: namesrv,
        };
        servers.start_broker();
        servers
    }

    /// Starts the broker on the store that is there and waits for its `boot success` line.
    pub fn start_broker(&mut self) {
        let mut command = server("mqbroker", self.dir.path());
        command
            .args(["-n", &self.ports.namesrv_address()])
            .arg("-c")
            .arg(self.dir.path().join("broker.conf"));
        let mut broker = Process::start("mqbroker", &mut command);
        broker.await_line("`boot success`", START_LIMIT, |line| line.contains("boot success"));
        self.broker = Some(broker);
    }

    /// kill -9.
    pub fn kill_broker(&mut self) {
        self.broker.take().expect("the broker runs").kill();
    }

    /// SIGTERM; returns whether it ended with status 0. (A JVM ends with 143.)
    pub fn stop_broker(&mut self) -> bool {
        let (status, _) = self.broker.take().expect("the broker runs").stop(STOP_LIMIT);
        status.success() || status.code() == Some(143)
    }

    pub fn conf_file(&self) -> PathBuf {
        self.dir.path().join("broker.conf")
    }
}

fn server(name: &str, home: &Path) -> Command {
    let mut command = match apache::jars() {
        Some(jars) => apache::server(&jars, name, home),
        None => Command::new(binary(name)),
    };
    command.env_remove("NAMESRV_ADDR");
    command
}

fn broker_conf(store: &Path, ports: PortBlock, flush: FlushMode) -> String {
    let flush = match flush {
        FlushMode::Async => "ASYNC_FLUSH",
        FlushMode::Sync => "SYNC_FLUSH",
    };
    format!(
        "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\ndeleteWhen=04\nfileReservedTime=48\n\
         brokerRole=ASYNC_MASTER\nflushDiskType={flush}\nlistenPort={}\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
         storePathRootDir={}\nstorePathCommitLog={}\n",
        ports.broker,
        store.display(),
        store.join("commitlog").display()
    )
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    path
}
