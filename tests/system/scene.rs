//! Three servers, as docs/cluster.md sets them up: a name server on each, two masters, each one's slave on the other one's host.
//! With the real Java client and the published mqadmin: a master is killed under load, comes back, and then every broker is
//! restarted, one after the other; with synchronous masters the slave has all that was acknowledged. Figures are printed.
#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::time::{Duration, Instant};
use tests::harness::{Client, Process, figure};
use tests::samples::broker;
use tests::servers_on_hosts::{Rehearsal, name_servers};

const LIMIT: Duration = Duration::from_secs(60);
/// The clients' host, beside the three servers.
const CLIENTS: u8 = 4;
/// Messages that must go on between two events, through each of two masters.
const BETWEEN: u64 = 150;
const THREADS: u64 = 4;

/// What slaves beside a master on one host need beside their sample file.
const BESIDE_A_MASTER: &str = "listenPort=10931\nstorePathRootDir=store-slave\n";

/// Four brokers with segments of 1 GiB would reserve 16 GiB of the test's disk.
const SMALL_SEGMENTS: &str = "mappedFileSizeCommitLog=67108864\n";

struct Scene {
    servers: Rehearsal,
    names: String,
    /// By file name: host, and the process while it runs.
    brokers: Vec<(u8, &'static str, Option<Process>)>,
}

impl Scene {
    /// Follows docs/cluster.md, with the files of one of the official folders.
    fn set_up(folder: &'static str, role: &str) -> Result<(Scene, Vec<Process>), String> {
        let servers = Rehearsal::new(CLIENTS)?;
        let name_server_processes = [1, 2, 3].map(|host| servers.name_server(host)).into_iter().collect();
        let mut scene = Scene {
            servers,
            names: name_servers(&[1, 2, 3]),
            brokers: Vec::new(),
        };
        scene.copy_the_files(folder, role);
        for (host, file) in [
            (2, "broker-a.properties"),
            (3, "broker-b.properties"),
            (3, "broker-a-s.properties"),
            (2, "broker-b-s.properties"),
        ] {
            scene.brokers.push((host, file, None));
            scene.start(file);
        }
        Ok((scene, name_server_processes))
    }

    /// The official files, and for the slaves the two lines that `ringmq check` asks for.
    fn copy_the_files(&self, folder: &'static str, role: &str) {
        for (host, master, slave) in [(2, "broker-a", "broker-b"), (3, "broker-b", "broker-a")] {
            let master = broker(folder, master, role);
            let slave = broker(folder, slave, "SLAVE");
            self.servers
                .write(host, &master.name, &(master.text.clone() + SMALL_SEGMENTS));
            self.servers.write(host, &slave.name, &slave.text);
            let check = || {
                let mut command = self.servers.command(host, "ringmq");
                let output = command.args(["check", &master.name, &slave.name]).output();
                let output = output.expect("ringmq can be run");
                (
                    output.status.code(),
                    String::from_utf8_lossy(&output.stdout).into_owned(),
                )
            };
            let (code, said) = check();
            assert_eq!(code, Some(253), "{said}");
            assert!(
                said.contains("needs port 10911") && said.contains("is its storePathRootDir too"),
                "{said}"
            );
            self.servers.write(
                host,
                &slave.name,
                &(slave.text.clone() + BESIDE_A_MASTER + SMALL_SEGMENTS),
            );
            let (code, said) = check();
            assert_eq!(code, Some(0), "{said}");
        }
    }

    fn place(&mut self, file: &str) -> (u8, &mut Option<Process>) {
        let found = self.brokers.iter_mut().find(|(_, name, _)| *name == file);
        let (host, _, process) = found.expect("the file of a broker");
        (*host, process)
    }

    fn start(&mut self, file: &str) -> Duration {
        let begin = Instant::now();
        let (host, _) = self.place(file);
        let path = self.servers.home(host).join(file);
        let process = self.servers.broker(host, &path, &self.names);
        *self.place(file).1 = Some(process);
        begin.elapsed()
    }

    fn take(&mut self, file: &str) -> Process {
        self.place(file).1.take().expect("it runs")
    }

    fn mqadmin(&self, arguments: &[&str]) -> String {
        let client = Client::mqadmin_command(arguments).within(&self.servers.hosts.prefix(CLIENTS));
        let (_status, lines) = client.start_with(&["-n", &self.names]).finish(LIMIT);
        lines.join("\n")
    }

    /// Waits until the published mqadmin shows these brokers, name and id.
    fn await_list(&self, wanted: &[(&str, &str)]) {
        let end = Instant::now() + LIMIT;
        loop {
            let list = self.mqadmin(&["clusterList"]);
            let shown: Vec<(&str, &str)> = list
                .lines()
                .filter(|line| line.contains("DefaultCluster"))
                .map(|line| {
                    let mut words = line.split_whitespace().skip(1);
                    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
                })
                .collect();
            if shown == wanted {
                return;
            }
            assert!(Instant::now() < end, "clusterList shows {shown:?}:\n{list}");
        }
    }
}

const ALL: [(&str, &str); 4] = [
    ("broker-a", "0"),
    ("broker-a", "1"),
    ("broker-b", "0"),
    ("broker-b", "1"),
];

/// The Java program.
struct Load(Process);

impl Load {
    fn start(scene: &Scene) -> Load {
        let client = Client::scene("scene").within(&scene.servers.hosts.prefix(CLIENTS));
        let threads = THREADS.to_string();
        let mut process = client.start_with(&["--namesrv", &scene.names, "--threads", &threads]);
        process.await_line("start of the senders", LIMIT, |line| line == "STARTED");
        Load(process)
    }

    fn ask(&mut self, command: &str) -> String {
        self.0.say(command);
        self.0.await_line("COUNT", LIMIT, |line| line.starts_with("COUNT "))
    }

    fn figure(&mut self, name: &str) -> u64 {
        figure(&self.ask("count"), name)
    }

    /// Waits until a figure has grown by so much; gives the time it took.
    fn await_more(&mut self, name: &str, more: u64) -> Duration {
        let least = self.figure(name) + more;
        self.await_figure(name, least)
    }

    fn await_figure(&mut self, name: &str, least: u64) -> Duration {
        let begin = Instant::now();
        loop {
            let line = self.ask("count");
            if figure(&line, name) >= least {
                return begin.elapsed();
            }
            assert!(begin.elapsed() < LIMIT, "{name} is not {least} yet: {line}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Kills broker-a's master while what it has is not all consumed, and gives how much of what it acknowledged its slave lacks.
fn kill_a_master(scene: &mut Scene, load: &mut Load) -> u64 {
    for figure in ["sent_a", "sent_b", "consumed_a"] {
        load.await_more(figure, BETWEEN);
    }
    // What is not consumed yet when the master dies is what its slave has to give.
    load.ask("hold");
    load.await_more("sent_a", BETWEEN);
    let killed = Instant::now();
    scene.take("broker-a.properties").kill();
    let before = load.ask("count");
    load.await_more("sent_b", BETWEEN);
    println!(
        "producers sent {BETWEEN} more through broker-b {:?} after the kill",
        killed.elapsed()
    );
    load.ask("go");
    let read = load.await_figure("consumed_a", figure(&before, "consumed_a") + BETWEEN / 2);
    println!(
        "the slave gave {} of broker-a's rest within {read:?}; at the kill: {before}",
        BETWEEN / 2
    );
    let (mut lacking, mut since) = (load.figure("missing_a"), Instant::now());
    while lacking > 0 && since.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(20));
        let now = load.figure("missing_a");
        if now != lacking {
            (lacking, since) = (now, Instant::now());
        }
    }
    println!("of what broker-a's master acknowledged the slave lacks {lacking}");
    lacking
}

/// Starts it again, and waits until producers use it.
fn bring_it_back(scene: &mut Scene, load: &mut Load) {
    let took = scene.start("broker-a.properties");
    let again = load.await_more("sent_a", BETWEEN);
    println!("broker-a's master is up {took:?} after its start and takes messages {again:?} later");
}

/// Ends the load; all that was acknowledged must have been consumed.
fn judge(mut load: Load) {
    load.0.say("stop");
    let result = load
        .0
        .await_line("RESULT", LIMIT * 2, |line| line.starts_with("RESULT "));
    println!("{result}");
    assert_eq!(figure(&result, "missing"), 0, "{result}");
    assert_eq!(figure(&result, "back"), 0, "{result}");
    // A send without an answer is sent again elsewhere: one a thread and broken connection.
    assert!(figure(&result, "twice") <= 4 * THREADS, "{result}");
}

#[test]
fn a_cluster_of_three_servers_goes_on_when_a_master_dies_and_while_all_brokers_are_restarted() {
    let begin = Instant::now();
    let (mut scene, _name_servers) = match Scene::set_up("2m-2s-async", "ASYNC_MASTER") {
        Ok(made) => made,
        Err(why) => return println!("skipped: {why}"),
    };
    println!("7 processes on 3 hosts run after {:?}", begin.elapsed());
    scene.await_list(&ALL);
    let mut load = Load::start(&scene);
    kill_a_master(&mut scene, &mut load);
    scene.await_list(&ALL[1..]);
    bring_it_back(&mut scene, &mut load);
    scene.await_list(&ALL);
    let failed = load.figure("failed");
    for file in [
        "broker-b-s.properties",
        "broker-a-s.properties",
        "broker-b.properties",
        "broker-a.properties",
    ] {
        let begin = Instant::now();
        let (status, lines) = scene.take(file).stop(LIMIT);
        assert!(status.success(), "{file} ended with {status}:\n{}", lines.join("\n"));
        let stopped = begin.elapsed();
        let started = scene.start(file);
        println!("{file} stopped in {stopped:?} and was up again after {started:?}");
        load.await_more("sent_a", BETWEEN);
        load.await_more("sent_b", BETWEEN);
    }
    let line = load.ask("count");
    assert_eq!(
        figure(&line, "failed"),
        failed,
        "a restart is nothing that a client does not retry: {line}"
    );
    judge(load);
}

#[test]
fn what_a_sync_master_has_acknowledged_is_at_its_slave_when_it_dies() {
    let (mut scene, _name_servers) = match Scene::set_up("2m-2s-sync", "SYNC_MASTER") {
        Ok(made) => made,
        Err(why) => return println!("skipped: {why}"),
    };
    let mut load = Load::start(&scene);
    assert_eq!(kill_a_master(&mut scene, &mut load), 0);
    bring_it_back(&mut scene, &mut load);
    judge(load);
}
