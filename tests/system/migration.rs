//! Moving from Apache RocketMQ 5.5.0, with its own broker as the other side: `RINGMQ_APACHE_LIB` names a folder with its jars.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::harness::{
    Client, JavaLoad, PortBlock, Process, apache_jars, apache_server, assert_nothing_lost, binary, boot, figure, write,
};

const LIMIT: Duration = Duration::from_secs(120);
/// Acknowledged before the slave comes, while it copies, and after it has taken over.
const ACKS: u64 = 1000;

/// An Apache name server and master, and room for a broker of ours with the same name.
struct Machines {
    dir: tempfile::TempDir,
    jars: PathBuf,
    ports: PortBlock,
    own: PortBlock,
    /// Ends with the value.
    _namesrv: Process,
}

impl Machines {
    fn start() -> Machines {
        let jars = apache_jars().expect("RINGMQ_APACHE_LIB names a folder with the jars of Apache RocketMQ 5.5.0");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (ports, own) = (PortBlock::free(), PortBlock::free());
        let conf = format!("listenPort={}\nbindAddress=127.0.0.1\n", ports.namesrv);
        let file = write(dir.path(), "namesrv.conf", &conf);
        let mut command = apache_server(&jars, "mqnamesrv", dir.path());
        let mut namesrv = Process::start("Apache's mqnamesrv", command.arg("-c").arg(file));
        namesrv.await_line("`boot success`", LIMIT, |line| line.contains("boot success"));
        Machines {
            dir,
            jars,
            ports,
            own,
            _namesrv: namesrv,
        }
    }

    fn namesrv(&self) -> String {
        self.ports.namesrv_address()
    }

    fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs mqstore on two stores, and gives what it has printed.
    fn mqstore(&self, command: &str, from: &str, to: &str, more: &[&str]) -> String {
        let mut mqstore = Command::new(binary("mqstore"));
        mqstore
            .arg(command)
            .arg(self.store(from))
            .arg(self.store(to))
            .args(more);
        let (status, lines) = Process::start("mqstore", &mut mqstore).finish(LIMIT);
        let text = lines.join("\n");
        assert!(status.success(), "mqstore {command}: {status}\n{text}");
        text
    }

    fn conf(&self, name: &str, role: &str, broker_id: u32, port: u16, more: &str) -> PathBuf {
        let store = self.store(name);
        let text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId={broker_id}\nbrokerRole={role}\n\
             flushDiskType=ASYNC_FLUSH\nlistenPort={port}\nhaListenPort={}\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
             storePathRootDir={}\n{more}",
            port + 1,
            store.display(),
        );
        write(self.dir.path(), &format!("{name}-{role}.conf"), &text)
    }

    /// Apache's master on the store of this name.
    fn apache_master(&self, name: &str) -> Process {
        // Small files, so that the copy crosses the end of some.
        let more = format!(
            "storePathCommitLog={}\nmappedFileSizeCommitLog=1048576\n",
            self.store(name).join("commitlog").display()
        );
        let file = self.conf(name, "ASYNC_MASTER", 0, self.ports.broker, &more);
        let mut command = apache_server(&self.jars, "mqbroker", self.dir.path());
        command.args(["-n", &self.namesrv()]).arg("-c").arg(file);
        boot("Apache's mqbroker", &mut command)
    }

    fn ours(&self, role: &str, broker_id: u32) -> Process {
        let more = "bindAddress=127.0.0.1\nmappedFileSizeCommitLog=16777216\nshards=2\n";
        let file = self.conf("ours", role, broker_id, self.own.broker, more);
        let mut command = Command::new(binary("mqbroker"));
        command.env_remove("NAMESRV_ADDR");
        command.args(["-n", &self.namesrv()]).arg("-c").arg(file);
        boot("mqbroker", &mut command)
    }
}

#[test]
#[ignore = "needs Apache's jars: RINGMQ_APACHE_LIB=DIR"]
fn a_broker_takes_the_place_of_an_apache_master_under_load_and_nothing_is_lost() {
    let machines = Machines::start();
    let apache = machines.apache_master("apache");
    let mut load = JavaLoad::start(&machines.namesrv(), "it_migration");
    // An application with producers that try again and a push consumer, which are not told of anything.
    let mut application =
        Client::scene("it_application").start_with(&["--namesrv", &machines.namesrv(), "--gap", "20"]);
    application.await_line("start of the senders", LIMIT, |line| line == "STARTED");
    load.await_more(ACKS);
    let mut slave = machines.ours("SLAVE", 1);
    slave.await_line("the copy to have caught up", LIMIT, |line| {
        line.contains("is here up to where it ended when the copy began")
    });
    load.await_more(ACKS);
    // A kill in the middle of the copy: it goes on where it was.
    slave.kill();
    load.await_more(ACKS);
    let mut slave = machines.ours("SLAVE", 1);
    slave.await_line("the copy to have caught up", LIMIT, |line| {
        line.contains("is here up to where it ended when the copy began")
    });
    load.await_more(ACKS);
    let stopping = Instant::now();
    let (_status, _lines) = apache.stop(LIMIT);
    let stopped = Instant::now();
    slave.await_line("the master's end to be seen", LIMIT, |line| {
        line.contains("not copying the Apache master")
    });
    let (status, lines) = slave.stop(LIMIT);
    assert!(status.success(), "{status}:\n{}", lines.join("\n"));
    let master = machines.ours("ASYNC_MASTER", 0);
    let ready = Instant::now();
    load.await_more(ACKS);
    let taken = Instant::now();
    let result = load.result();
    println!(
        "Apache stopped in {:?}, ours was master {:?} later, {ACKS} more acknowledged {:?} after that: {result}",
        stopped - stopping,
        ready - stopped,
        taken - ready,
    );
    assert_nothing_lost(&result, 5 * ACKS, 0);
    application.say("stop");
    let line = application.await_line("RESULT", LIMIT, |line| line.starts_with("RESULT "));
    println!("the application: {line}");
    assert!(
        figure(&line, "acknowledged") > 0 && figure(&line, "missing") == 0,
        "{line}"
    );
    assert_eq!(figure(&line, "back"), 0, "offsets were turned back: {line}");
    drop(master);
}

/// Runs the client of messages of every kind; its line of counts.
fn moving(mode: &str, namesrv: &str) -> String {
    let mut client = Client::moving(mode).start(namesrv);
    let wanted = if mode == "write" { "WRITTEN" } else { "RESULT " };
    client.await_line(wanted, LIMIT * 2, |line| line.starts_with(wanted))
}

#[test]
#[ignore = "needs Apache's jars: RINGMQ_APACHE_LIB=DIR"]
fn an_imported_store_is_consumed_from_where_it_stood_and_apache_starts_on_its_export() {
    let machines = Machines::start();
    let apache = machines.apache_master("apache");
    moving("write", &machines.namesrv());
    let (_status, _lines) = apache.stop(LIMIT);
    println!("{}", machines.mqstore("import", "apache", "ours", &["--shards", "2"]));
    let ours = machines.ours("ASYNC_MASTER", 0);
    let result = moving("read", &machines.namesrv());
    println!("{result}");
    for (what, count) in [
        ("half", 200),
        ("right_half", 200),
        ("all", 0),
        ("batch", 100),
        ("committed", 10),
        ("transactions", 10),
        ("delayed", 10),
        ("not_early", 5),
        ("retried", 5),
        ("again", 5),
        ("by_key", 1),
        ("normal", 400),
    ] {
        assert_eq!(figure(&result, what), count, "{what}: {result}");
    }
    let (status, lines) = ours.stop(LIMIT);
    assert!(status.success(), "{status}:\n{}", lines.join("\n"));
    println!(
        "{}",
        machines.mqstore("export", "ours", "back", &["--file-size", "1048576"])
    );
    let back = machines.apache_master("back");
    let result = moving("count", &machines.namesrv());
    println!("{result}");
    for (what, count) in [
        ("normal", 401),
        ("batch", 100),
        ("transactions", 10),
        ("delayed", 10),
        ("next", 100),
        // The one more.
        ("lag", 1),
    ] {
        assert_eq!(figure(&result, what), count, "{what}: {result}");
    }
    drop(back);
}
