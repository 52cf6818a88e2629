//! Three servers, as docs/cluster.md sets them up: a name server on each, two masters, each one's slave on the other one's host.
//! With the real Java client and the published mqadmin: a master is killed under load, comes back, and then every broker is
//! restarted, one after the other. Figures are printed.

use std::time::{Duration, Instant};
use tests::harness::{Client, Process};
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

struct Scene {
    servers: Rehearsal,
    names: String,
    /// By file name: host, and the process while it runs.
    brokers: Vec<(u8, &'static str, Option<Process>)>,
}

impl Scene {
    /// Follows docs/cluster.md.
    fn set_up() -> Result<(Scene, Vec<Process>), String> {
        let servers = Rehearsal::new(CLIENTS)?;
        let name_server_processes = [1, 2, 3].map(|host| servers.name_server(host)).into_iter().collect();
        let mut scene = Scene {
            servers,
            names: name_servers(&[1, 2, 3]),
            brokers: Vec::new(),
        };
        scene.copy_the_files();
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
    fn copy_the_files(&self) {
        for (host, master, slave) in [(2, "broker-a", "broker-b"), (3, "broker-b", "broker-a")] {
            let master = broker("2m-2s-async", master, "ASYNC_MASTER");
            let slave = broker("2m-2s-async", slave, "SLAVE");
            self.servers.write(host, &master.name, &master.text);
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
            self.servers
                .write(host, &slave.name, &(slave.text.clone() + BESIDE_A_MASTER));
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
        let (begin, from) = (Instant::now(), self.figure(name));
        loop {
            let line = self.ask("count");
            if figure(&line, name) >= from + more {
                return begin.elapsed();
            }
            assert!(
                begin.elapsed() < LIMIT,
                "{name} has not grown by {more} since {from}: {line}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn figure(line: &str, name: &str) -> u64 {
    let number = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    line.split(' ')
        .find_map(number)
        .unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn a_cluster_of_three_servers_goes_on_when_a_master_dies_and_while_all_brokers_are_restarted() {
    let begin = Instant::now();
    let (mut scene, _name_servers) = match Scene::set_up() {
        Ok(made) => made,
        Err(why) => return println!("skipped: {why}"),
    };
    println!("7 processes on 3 hosts run after {:?}", begin.elapsed());
    scene.await_list(&ALL);
    let mut load = Load::start(&scene);
    load.await_more("sent_a", BETWEEN);
    load.await_more("sent_b", BETWEEN);
    load.await_more("consumed_a", BETWEEN);

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
    let read = load.await_more("consumed_a", BETWEEN / 2);
    println!(
        "the slave gave {} of broker-a's rest within {read:?}; at the kill: {before}",
        BETWEEN / 2
    );
    scene.await_list(&ALL[1..]);

    let took = scene.start("broker-a.properties");
    let again = load.await_more("sent_a", BETWEEN);
    println!("broker-a's master is up {took:?} after its start and takes messages {again:?} later");
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
    assert_eq!(
        load.figure("failed"),
        failed,
        "a restart is nothing that a client does not retry"
    );
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
