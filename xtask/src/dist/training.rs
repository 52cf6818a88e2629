//! The load that tells the compiler what a broker does all day: sends of all sizes of batches, reads as they come and from the
//! beginning, a slave that follows, in both flush modes. It says nothing of speed, so the machine may be busy.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Messages of one step: enough for the counters to tell what is common from what is rare.
const MESSAGES: &str = "200000";

/// What the generator is asked to do, one after the other.
const STEPS: [&[&str]; 5] = [
    &["produce", "--connections", "64", "--depth", "1", "--quantity", MESSAGES],
    &[
        "produce",
        "--connections",
        "64",
        "--depth",
        "16",
        "--quantity",
        MESSAGES,
    ],
    &[
        "produce",
        "--connections",
        "16",
        "--depth",
        "4",
        "--size",
        "100..4000",
        "--quantity",
        MESSAGES,
    ],
    &["e2e", "--connections", "16", "--depth", "8", "--quantity", MESSAGES],
    &["consume", "--from-first", "--group", "training", "--quantity", MESSAGES],
];

/// A server that is ended, and waited for, when it is dropped: only then are its counts written.
struct Server(Child);

impl Server {
    /// Starts a server and waits until it says that it is there.
    fn start(program: &Path, arguments: &[&str]) -> Result<Server, String> {
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut server = Server(child);
        let output = server.0.stdout.take().ok_or("a server has no output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        if !lines.any(|line| line.contains("boot success")) {
            return Err(format!("{} has ended before its boot success", program.display()));
        }
        // Nobody reads on, but a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            eprintln!("xtask: cannot ask process {} to end", self.0.id());
            return;
        }
        if let Err(error) = self.0.wait() {
            eprintln!("xtask: cannot wait for process {}: {error}", self.0.id());
        }
    }
}

/// Loads the programs, which write what they have counted when they end. The servers' stores are in `data`.
pub(super) fn run(programs: &Path, data: &Path) -> Result<(), String> {
    for flush in ["ASYNC_FLUSH", "SYNC_FLUSH"] {
        let [name_server, master, slave] = free_ports()?;
        let address = format!("127.0.0.1:{name_server}");
        let folder = data.join(flush);
        fs::create_dir(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            Ok::<_, String>(path.display().to_string())
        };
        let broker = |id: u32, role: &str, port: u16| {
            format!(
                "brokerClusterName=training\nbrokerName=training\nbrokerId={id}\nbrokerRole={role}\nflushDiskType={flush}\n\
                 brokerIP1=127.0.0.1\nlistenPort={port}\nnamesrvAddr={address}\nstorePathRootDir={}\n",
                folder.join(id.to_string()).display()
            )
        };
        let names = format!(
            "listenPort={name_server}\nkvConfigPath={}\n",
            folder.join("kv.json").display()
        );
        let names = write("namesrv.properties", names)?;
        let first = write("master.properties", broker(0, "ASYNC_MASTER", master))?;
        let second = write("slave.properties", broker(1, "SLAVE", slave))?;
        let _names = Server::start(&programs.join("mqnamesrv"), &["-c", &names])?;
        let _master = Server::start(&programs.join("mqbroker"), &["-c", &first])?;
        let _slave = Server::start(&programs.join("mqbroker"), &["-c", &second])?;
        for step in STEPS {
            load(&programs.join("mqbench"), step, &address, data)?;
        }
    }
    Ok(())
}

fn load(generator: &Path, step: &[&str], address: &str, data: &Path) -> Result<(), String> {
    println!("+ mqbench {}", step.join(" "));
    let done = Command::new(generator)
        .args(step)
        .args(["--namesrv", address])
        // Its own counts are not for the servers: what is hot there would make what is hot here look cold.
        .env("LLVM_PROFILE_FILE", data.join("generator.profraw"))
        .output()
        .map_err(|error| format!("cannot start {}: {error}", generator.display()))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "mqbench {} ended with {}: {}",
        step.join(" "),
        done.status,
        String::from_utf8_lossy(&done.stderr)
    ))
}

/// Ports for a name server, a master and a slave. A broker takes the one two below and the one above as well.
fn free_ports() -> Result<[u16; 3], String> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut bases = (20_000..30_000_u16).step_by(20);
    let base = bases.find(|&base| [0, 8, 10, 11, 14, 16, 17].iter().all(|more| is_free(base + more)));
    let base = base.ok_or("no seven ports between 20000 and 30000 are free")?;
    Ok([base, base + 10, base + 16])
}
