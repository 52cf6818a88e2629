//! The program as a process: one broker, a cluster, and what it says of broken files.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

mod deploy;
mod replication;

const RINGMQ: &str = env!("CARGO_BIN_EXE_ringmq");

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// A process that does not outlive the test.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Process {
        let mut command = Command::new(RINGMQ);
        command
            .args(arguments)
            .env_remove("NAMESRV_ADDR")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Process(command.spawn().unwrap())
    }

    /// The first line on standard output, and all that follows once it has ended.
    fn first_line(&mut self) -> (String, BufReader<impl Read + use<>>) {
        let mut output = BufReader::new(self.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        (line, output)
    }

    fn signal_and_wait(&mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill")
            .args([signal, &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        let limit = Instant::now() + Duration::from_secs(30);
        while Instant::now() < limit {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it still runs 30 s after {signal}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(RINGMQ)
        .args(arguments)
        .env_remove("NAMESRV_ADDR")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn one_broker_is_ready_after_a_message_and_another_joins_it_and_both_stop_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(&folder, "data");
    let arguments = ["up", "--data", &data, "--namesrv-port", "25986", "--port", "25961"];
    let mut up = Process::start(&arguments);
    let (line, mut rest) = up.first_line();
    assert!(line.starts_with("ready in "), "{line:?}");

    let file = path(&folder, "broker.conf");
    let root = path(&folder, "store");
    let conf = format!(
        "brokerName=broker-b\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=25971\nmappedFileSizeCommitLog=16777216\nstorePathRootDir={root}\n"
    );
    std::fs::write(&file, conf).unwrap();
    let mut broker = Process::start(&["serve", "broker", "-c", &file, "-n", "127.0.0.1:25986"]);
    let (line, _rest) = broker.first_line();
    assert_eq!(
        line,
        "The broker[broker-b, 127.0.0.1:25971] boot success. serializeType=JSON and name server is 127.0.0.1:25986\n"
    );
    // A second one finds the port and the store taken.
    let second = run(&["serve", "broker", "-c", &file, "-n", "127.0.0.1:25986"]);
    assert_eq!(second.status.code(), Some(253));
    assert!(text(&second.stderr).contains("is in use"));

    assert_eq!(broker.signal_and_wait("-TERM"), Some(0));
    assert_eq!(up.signal_and_wait("-TERM"), Some(0));
    let mut words = String::new();
    rest.read_to_string(&mut words).unwrap();
    assert!(words.contains("mqadmin clusterList -n 127.0.0.1:25986"), "{words}");
    assert!(Path::new(&data).join("broker/store.json").exists());

    // What was there is found again, also after a kill.
    for signal in ["-KILL", "-INT"] {
        let mut again = Process::start(&arguments);
        let (line, _rest) = again.first_line();
        assert!(line.starts_with("ready in "), "{line:?}");
        let code = again.signal_and_wait(signal);
        assert_eq!(code, (signal == "-INT").then_some(0));
    }
}

/// `ringmq down`, however the test ends.
struct Down(String);

impl Drop for Down {
    fn drop(&mut self) {
        run(&["down", "--data", &self.0]);
    }
}

fn status(data: &str) -> (Option<i32>, Value) {
    let output = run(&["status", "--data", data, "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Name, pid, and whether it runs.
fn services(status: &Value) -> Vec<(String, u64, bool)> {
    let services = status["services"].as_array().unwrap();
    let service = |service: &Value| {
        (
            service["name"].as_str().unwrap().to_owned(),
            service["pid"].as_u64().unwrap(),
            service["running"].as_bool().unwrap(),
        )
    };
    services.iter().map(service).collect()
}

#[test]
fn a_cluster_starts_is_listed_loses_a_master_gets_it_back_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(&folder, "data");
    let _down = Down(data.clone());
    let up = [
        "up",
        "2m2s",
        "--name-servers",
        "2",
        "--detach",
        "--data",
        &data,
        "--namesrv-port",
        "25776",
        "--port",
        "25711",
    ];
    let output = run(&up);
    let words = text(&output.stdout);
    assert!(output.status.success(), "{words}{}", text(&output.stderr));
    assert!(words.starts_with("ready in "), "{words}");
    for service in [
        "namesrv-1",
        "namesrv-2",
        "broker-a",
        "broker-b",
        "broker-a-s",
        "broker-b-s",
    ] {
        assert!(
            words
                .lines()
                .any(|line| line.starts_with(&format!("{service} ")) && line.contains(" running ")),
            "{words}"
        );
    }
    let (code, before) = status(&data);
    assert_eq!(code, Some(0));

    // A master is killed: the list says so, and `up` brings back that one alone, with its data.
    let (_, killed, _) = services(&before)
        .into_iter()
        .find(|(name, ..)| name == "broker-b")
        .unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", &killed.to_string()])
            .status()
            .unwrap()
            .success()
    );
    let limit = Instant::now() + Duration::from_secs(10);
    while status(&data).0 == Some(0) {
        assert!(Instant::now() < limit, "a killed broker still counts as running");
    }
    let ended: Vec<String> = services(&status(&data).1)
        .into_iter()
        .filter(|(.., runs)| !runs)
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(ended, ["broker-b"]);
    // What people have written into a file stays.
    let conf = format!("{data}/broker-b/broker.conf");
    let edited = std::fs::read_to_string(&conf).unwrap() + "sendThreadPoolQueueCapacity=5000\n";
    std::fs::write(&conf, &edited).unwrap();
    let again = run(&up);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), edited);
    let (code, after) = status(&data);
    assert_eq!(code, Some(0));
    for (name, pid, _) in services(&after) {
        let same = services(&before).contains(&(name.clone(), pid, true));
        assert_eq!(same, name != "broker-b", "{name}");
    }

    let down = run(&["down", "--data", &data]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(status(&data).0, Some(1));
    assert!(services(&status(&data).1).iter().all(|(.., runs)| !runs));
}

#[test]
fn a_cluster_in_the_foreground_ends_with_all_its_services_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(&folder, "data");
    let _down = Down(data.clone());
    let mut up = Process::start(&[
        "up",
        "1m-noslave",
        "--data",
        &data,
        "--namesrv-port",
        "25676",
        "--port",
        "25611",
    ]);
    let (line, _rest) = up.first_line();
    assert!(line.starts_with("ready in "), "{line:?}");
    assert_eq!(status(&data).0, Some(0));
    assert_eq!(up.signal_and_wait("-INT"), Some(0));
    assert!(services(&status(&data).1).iter().all(|(.., runs)| !runs));
}

#[test]
fn what_cannot_start_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let data = path(&folder, "data");
    let slaves = run(&["up", "2m3s", "--data", &data]);
    assert_eq!(slaves.status.code(), Some(1));
    assert!(
        text(&slaves.stderr).contains("each master has one: 2m2s"),
        "{}",
        text(&slaves.stderr)
    );
    // Somebody has given both brokers the same directory.
    for (name, port) in [("broker-a", 25511), ("broker-b", 25531)] {
        let broker = folder.path().join("data").join(name);
        std::fs::create_dir_all(&broker).unwrap();
        let conf = format!(
            "brokerName={name}\nlistenPort={port}\nbrokerIP1=127.0.0.1\nstorePathRootDir={}/same\nmappedFileSizeCommitLog=16777216\n",
            folder.path().display()
        );
        std::fs::write(broker.join("broker.conf"), conf).unwrap();
    }
    let shared = run(&["up", "2m-noslave", "--data", &data, "--namesrv-port", "25576"]);
    assert_eq!(shared.status.code(), Some(253));
    assert!(
        text(&shared.stderr).contains("line 4 is its storePathRootDir too; fix: "),
        "{}",
        text(&shared.stderr)
    );
    assert!(!folder.path().join("same").exists() && !folder.path().join("data/cluster.json").exists());
    // `check` says the same of the files by themselves.
    let files = ["broker-a", "broker-b"].map(|name| format!("{data}/{name}/broker.conf"));
    let check = run(&["check", &files[0], &files[1]]);
    assert_eq!(check.status.code(), Some(253));
    assert!(
        text(&check.stdout).contains("storePathRootDir too"),
        "{}",
        text(&check.stdout)
    );
    assert_eq!(run(&["check", &files[0]]).status.code(), Some(0));
}
