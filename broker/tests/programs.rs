//! The programs as processes: what they print, their exit codes, their signals.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const MQBROKER: &str = env!("CARGO_BIN_EXE_mqbroker");
const RINGMQ: &str = env!("CARGO_BIN_EXE_ringmq");

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("programs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that does not outlive the test.
struct Process(Child);

impl Process {
    fn start(program: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(program);
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
    Command::new(MQBROKER)
        .args(arguments)
        .env_remove("NAMESRV_ADDR")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_broken_file_is_refused_at_once_with_253() {
    let folder = Folder::new("broken");
    let file = folder.path("broker.conf");
    std::fs::write(&file, "brokerName=broker-a\nlistenPort=10921x\nbrokerIp1=10.0.0.1\n").unwrap();
    let best = (0..5)
        .map(|_round| {
            let start = Instant::now();
            let output = run(&["-c", &file]);
            assert_eq!(output.status.code(), Some(253));
            assert_eq!(text(&output.stdout), "");
            let errors = text(&output.stderr);
            assert_eq!(errors.lines().count(), 2, "{errors}");
            assert!(
                errors.contains("line 2 is not a number") && errors.contains("did you mean brokerIP1?"),
                "{errors}"
            );
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_millis(100), "took {best:?}");
}

#[test]
fn printing_ends_with_0_and_bad_arguments_with_1() {
    assert_eq!(run(&["-p"]).status.code(), Some(0));
    assert_eq!(run(&["-h"]).status.code(), Some(0));
    assert_eq!(run(&["--nonsense"]).status.code(), Some(1));
    assert_eq!(run(&["--enable-proxy"]).status.code(), Some(1));
}

#[test]
fn ringmq_up_is_ready_after_a_message_and_mqbroker_joins_it_and_both_stop_on_sigterm() {
    let folder = Folder::new("up");
    let data = folder.path("data");
    let arguments = ["up", "--data", &data, "--namesrv-port", "25986", "--port", "25961"];
    let mut up = Process::start(RINGMQ, &arguments);
    let (line, mut rest) = up.first_line();
    assert!(line.starts_with("ready in "), "{line:?}");

    let file = folder.path("broker.conf");
    let root = folder.path("store");
    let conf = format!(
        "brokerName=broker-b\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=25971\nmappedFileSizeCommitLog=16777216\nstorePathRootDir={root}\n"
    );
    std::fs::write(&file, conf).unwrap();
    let mut broker = Process::start(MQBROKER, &["-c", &file, "-n", "127.0.0.1:25986"]);
    let (line, _rest) = broker.first_line();
    assert_eq!(
        line,
        "The broker[broker-b, 127.0.0.1:25971] boot success. serializeType=JSON and name server is 127.0.0.1:25986\n"
    );
    // A second one finds the port and the store taken.
    let second = run(&["-c", &file, "-n", "127.0.0.1:25986"]);
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
        let mut again = Process::start(RINGMQ, &arguments);
        let (line, _rest) = again.first_line();
        assert!(line.starts_with("ready in "), "{line:?}");
        let code = again.signal_and_wait(signal);
        assert_eq!(code, (signal == "-INT").then_some(0));
    }
}
