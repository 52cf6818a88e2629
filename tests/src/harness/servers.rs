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
        Cluster::given().unwrap_or_else(|| {
            let data = temporary("up");
            let up = Up::start(data.path(), PortBlock::free());
            Cluster::Up(up, data)
        })
    }

    /// As [`Cluster::for_clients`], but ours has two cores.
    pub fn on_two_cores() -> Cluster {
        Cluster::given().unwrap_or_else(|| Cluster::Separate(Box::new(Separate::on_two_cores(FlushMode::Async))))
    }

    fn given() -> Option<Cluster> {
        if let Ok(namesrv) = std::env::var("RINGMQ_TEST_NAMESRV") {
            return Some(Cluster::Existing { namesrv });
        }
        apache::jars()?;
        Some(Cluster::Separate(Box::new(Separate::start(FlushMode::Async))))
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

/// What a broker is to be beside its defaults.
#[derive(Clone, Debug)]
pub struct Setup {
    pub flush: FlushMode,
    /// Where the store goes; a temporary folder without it.
    pub store: Option<PathBuf>,
    /// Further lines of `broker.conf`.
    pub lines: Vec<String>,
    /// Environment of the broker's process.
    pub environment: Vec<(String, String)>,
}

impl Setup {
    pub fn new(flush: FlushMode) -> Setup {
        Setup {
            flush,
            store: None,
            lines: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// With the store on another disk.
    pub fn store(mut self, at: &Path) -> Setup {
        self.store = Some(at.to_owned());
        self
    }

    /// With a line of configuration.
    pub fn line(mut self, line: &str) -> Setup {
        self.lines.push(line.to_owned());
        self
    }

    /// With a variable of the broker's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// `mqnamesrv` and `mqbroker` with Apache's arguments and properties files; the broker can be killed and started again.
#[derive(Debug)]
pub struct Separate {
    pub ports: PortBlock,
    dir: TempDir,
    environment: Vec<(String, String)>,
    broker: Option<Process>,
    /// Dropped after the broker.
    namesrv: Process,
}

impl Separate {
    pub fn start(flush: FlushMode) -> Separate {
        Separate::with(&Setup::new(flush))
    }

    /// Our broker on two cores, whatever it would take on this machine: half of all requests come by another than their queue's.
    pub fn on_two_cores(flush: FlushMode) -> Separate {
        let setup = Setup::new(flush);
        Separate::with(&match apache::jars() {
            Some(_jars) => setup,
            None => setup.line("cores=2"),
        })
    }

    pub fn with(setup: &Setup) -> Separate {
        let dir = temporary("servers");
        let ports = PortBlock::free();
        let file = write(
            dir.path(),
            "namesrv.conf",
            &format!("listenPort={}\nbindAddress=127.0.0.1\n", ports.namesrv),
        );
        write(dir.path(), "broker.conf", &broker_conf(dir.path(), ports, setup));
        let namesrv = boot("mqnamesrv", server("mqnamesrv", dir.path()).arg("-c").arg(file));
        let mut servers = Separate {
            ports,
            dir,
            environment: setup.environment.clone(),
            broker: None,
            namesrv,
        };
        servers.start_broker();
        servers
    }

    /// Starts the broker on the store that is there and waits for its `boot success` line.
    pub fn start_broker(&mut self) {
        let mut command = server("mqbroker", self.dir.path());
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(["-n", &self.ports.namesrv_address()])
            .arg("-c")
            .arg(self.dir.path().join("broker.conf"));
        self.broker = Some(boot("mqbroker", &mut command));
    }

    pub fn broker_pid(&self) -> u32 {
        self.broker.as_ref().expect("the broker runs").pid()
    }

    /// Process ids of broker and name server.
    pub fn pids(&self) -> [u32; 2] {
        [self.broker_pid(), self.namesrv.pid()]
    }

    /// kill -9.
    pub fn kill_broker(&mut self) {
        self.broker.take().expect("the broker runs").kill();
    }

    /// kill -9, and memory that outlives the process goes too, as with the machine's power.
    pub fn kill_broker_with_memory(&mut self) {
        let pid = self.broker().pid().to_string();
        self.kill_broker();
        let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        for line in segments.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            if let [_key, id, _mode, _size, creator, ..] = fields[..]
                && creator == pid
            {
                let removed = std::process::Command::new("ipcrm").args(["-m", id]).status();
                assert!(removed.is_ok_and(|status| status.success()), "ipcrm -m {id} fails");
            }
        }
    }

    /// SIGTERM; returns whether it ended with status 0. (A JVM ends with 143.)
    pub fn stop_broker(&mut self) -> bool {
        let (status, _) = self.broker.take().expect("the broker runs").stop(STOP_LIMIT);
        status.success() || status.code() == Some(143)
    }

    /// The broker's process, while it runs.
    pub fn broker(&mut self) -> &mut Process {
        self.broker.as_mut().expect("the broker runs")
    }

    pub fn conf_file(&self) -> PathBuf {
        self.dir.path().join("broker.conf")
    }
}

fn server(name: &str, home: &Path) -> Command {
    let mut command = match apache::jars() {
        Some(jars) => apache::apache_server(&jars, name, home),
        None => Command::new(binary(name)),
    };
    command.env_remove("NAMESRV_ADDR");
    command
}

fn broker_conf(dir: &Path, ports: PortBlock, setup: &Setup) -> String {
    let flush = match setup.flush {
        FlushMode::Async => "ASYNC_FLUSH",
        FlushMode::Sync => "SYNC_FLUSH",
    };
    let store = setup.store.clone().unwrap_or_else(|| dir.join("store"));
    let conf = format!(
        "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\ndeleteWhen=04\nfileReservedTime=48\n\
         brokerRole=ASYNC_MASTER\nflushDiskType={flush}\nlistenPort={}\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
         storePathRootDir={}\nstorePathCommitLog={}\n",
        ports.broker,
        store.display(),
        store.join("commitlog").display()
    );
    setup.lines.iter().fold(conf, |conf, line| conf + line + "\n")
}

/// Puts a file into a folder, and says where it is.
pub fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    path
}

/// Starts a server, of ours or Apache's, and waits until it says that it has.
pub fn boot(name: &str, command: &mut Command) -> Process {
    let mut process = Process::start(name, command);
    process.await_line("`boot success`", START_LIMIT, |line| line.contains("boot success"));
    process
}
