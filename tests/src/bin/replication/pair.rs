//! A master and its slave on this machine, of either make.

use crate::segments_in;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::harness::{PortBlock, Process, apache_jars, apache_server, binary, boot, write};

const LIMIT: Duration = Duration::from_secs(120);
const TOPIC: &str = "replication";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Apache,
}

/// With a slave in both: the second waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    AsyncMaster,
    SyncMaster,
}

pub(crate) struct Pair {
    kind: Kind,
    dir: PathBuf,
    /// Name server and master, and the slave's.
    ports: [PortBlock; 2],
    role: Role,
    slave: Option<Process>,
    master: Process,
    /// Ends last.
    _namesrv: Process,
}

/// What a load saw.
pub(crate) struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    cpu: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} msg/s, p50 {:.3} p99 {:.2} p99.9 {:.2} ms, master {:.2} CPU s/M",
            self.rate, self.p50, self.p99, self.p999, self.cpu
        )
    }
}

impl Pair {
    /// Name server and master.
    pub(crate) fn start(kind: Kind, role: Role, dir: &Path) -> Pair {
        let ports = [PortBlock::free(), PortBlock::free()];
        let conf = format!("listenPort={}\nbindAddress=127.0.0.1\n", ports[0].namesrv);
        let file = write(dir, "namesrv.conf", &conf);
        let namesrv = boot("name server", server(kind, "mqnamesrv", dir).arg("-c").arg(file));
        let master = broker(kind, role, 0, dir, &ports);
        Pair {
            kind,
            dir: dir.to_owned(),
            ports,
            role,
            slave: None,
            master,
            _namesrv: namesrv,
        }
    }

    pub(crate) fn start_slave(&mut self) {
        self.slave = Some(broker(self.kind, self.role, 1, &self.dir, &self.ports));
    }

    pub(crate) fn namesrv(&self) -> String {
        self.ports[0].namesrv_address()
    }

    pub(crate) fn master_address(&self) -> String {
        self.ports[0].broker_address()
    }

    pub(crate) fn master_pid(&self) -> u32 {
        self.master.pid()
    }

    pub(crate) fn slave_pid(&self) -> u32 {
        self.slave.as_ref().expect("the slave runs").pid()
    }

    /// Bytes of the master's log.
    pub(crate) fn end(&self) -> u64 {
        self.ha_status("/masterCommitLogMaxOffset").unwrap_or(0)
    }

    /// How far the slave says it is; 0 before it has connected.
    pub(crate) fn acknowledged_by_slave(&self) -> u64 {
        self.ha_status("/haConnectionInfo/0/slaveAckOffset").unwrap_or(0)
    }

    /// Until the slave has what the master had at the call.
    pub(crate) fn await_slave(&mut self) {
        let until = Instant::now() + LIMIT;
        self.load(&["--connections", "1", "--duration", "1", "--size", "1024"]);
        while self.ha_status("/haConnectionInfo/0/diff") != Some(0) {
            assert!(Instant::now() < until, "the slave does not come");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ha_status(&self, pointer: &str) -> Option<u64> {
        let mut command = Command::new(binary("mqadmin"));
        command
            .args(["haStatus", "-o", "json", "-n", &self.ports[0].namesrv_address()])
            .args(["-b", &self.ports[0].broker_address()]);
        let done = command.output().expect("mqadmin runs");
        let status: Value = serde_json::from_slice(&done.stdout).ok()?;
        let master = status.as_object()?.values().next()?;
        master.pointer(pointer)?.as_u64()
    }

    /// Runs mqbench against the master.
    pub(crate) fn load(&self, arguments: &[&str]) -> Figures {
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let mut command = Command::new(binary("mqbench"));
        command
            .args(["produce", "--topic", TOPIC, "--queues", "8"])
            .args(["--namesrv", &self.ports[0].namesrv_address()])
            .args(["--pid", &self.master.pid().to_string()])
            .args(arguments)
            .arg("--json")
            .arg(file.path());
        // A broker serves before the name server has heard of it.
        let until = Instant::now() + LIMIT;
        loop {
            let done = command.output().expect("mqbench runs");
            if done.status.success() {
                break;
            }
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(said.contains("no master") && Instant::now() < until, "mqbench: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
        let result = std::fs::read(file.path()).expect("mqbench wrote its JSON");
        let result: Value = serde_json::from_slice(&result).expect("mqbench writes JSON");
        let number = |pointer| result.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
        Figures {
            rate: number("/messages_per_second"),
            p50: number("/latency_ms/p50"),
            p99: number("/latency_ms/p99"),
            p999: number("/latency_ms/p99.9"),
            cpu: number("/server_cpu_seconds_per_million"),
        }
    }

    /// The master's segments, with the bytes of each that are written.
    pub(crate) fn master_segments(&self) -> Vec<(PathBuf, u64)> {
        let store = self.dir.join("store-0");
        let shards = segments_in(&store)
            .into_iter()
            .filter(|path| path.join("commitlog").is_dir());
        let files = shards.flat_map(|shard| {
            let mut files = segments_in(&shard.join("commitlog"));
            // The last is prepared, and only begun to be written.
            files.pop();
            files
        });
        files
            .map(|path| {
                let size = path.metadata().expect("a segment is there").len();
                (path, size)
            })
            .collect()
    }
}

fn broker(kind: Kind, role: Role, id: u32, dir: &Path, ports: &[PortBlock; 2]) -> Process {
    let role = match (id, role) {
        (0, Role::AsyncMaster) => "ASYNC_MASTER",
        (0, Role::SyncMaster) => "SYNC_MASTER",
        _ => "SLAVE",
    };
    let port = ports[id as usize].broker;
    let store = dir.join(format!("store-{id}"));
    // Two replicas have to have a message: without the line Apache's SYNC_MASTER waits for none.
    let mut text = format!(
        "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId={id}\nbrokerRole={role}\nflushDiskType=ASYNC_FLUSH\n\
         listenPort={port}\nhaListenPort={}\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\ninSyncReplicas=2\nstorePathRootDir={}\n",
        port + 1,
        store.display(),
    );
    if kind == Kind::Apache {
        text += &format!("storePathCommitLog={}\n", store.join("commitlog").display());
    }
    let file = write(dir, &format!("broker-{id}.conf"), &text);
    let mut command = server(kind, "mqbroker", dir);
    boot(
        "broker",
        command.args(["-n", &ports[0].namesrv_address()]).arg("-c").arg(file),
    )
}

fn server(kind: Kind, name: &str, dir: &Path) -> Command {
    match kind {
        Kind::Ours => {
            let mut command = Command::new(binary(name));
            command.env_remove("NAMESRV_ADDR");
            command
        }
        Kind::Apache => apache_server(&apache_jars().expect("RINGMQ_APACHE_LIB is set"), name, dir),
    }
}
