//! A child process with captured output, bounded waits, and an end when the test ends, however that ends.

use rustix::process::{Pid, Signal};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How much of the output a failure shows.
const TAIL_LINES: usize = 60;

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    arriving: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts the command; standard output and error are read line by line, as they come.
    pub fn start(name: &str, command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name} as {command:?}: {e}"));
        let (sender, arriving) = channel();
        follow(child.stdout.take(), sender.clone());
        follow(child.stderr.take(), sender);
        Process {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            arriving,
            seen: Vec::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that the test wants; panics with the output's end when the process ends first or takes too long.
    pub fn await_line(&mut self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + limit;
        loop {
            match self
                .arriving
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.seen.push(line);
                    let line = self.seen.last().expect("just pushed");
                    if wanted(line) {
                        return line.clone();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!(
                        "{}: no {what} within {limit:?}; its output:\n{}",
                        self.name,
                        self.tail()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended before {what}; its output:\n{}", self.name, self.tail())
                }
            }
        }
    }

    /// Writes one line to the process.
    pub fn say(&mut self, line: &str) {
        let stdin = self
            .stdin
            .as_mut()
            .expect("standard input is open until the process ends");
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|e| panic!("cannot write to {}: {e}", self.name));
    }

    /// Waits for the end and returns the status with everything that was printed.
    pub fn finish(mut self, limit: Duration) -> (ExitStatus, Vec<String>) {
        drop(self.stdin.take());
        let status = self.await_end(limit);
        self.drain();
        (status, std::mem::take(&mut self.seen))
    }

    /// Asks for a clean end (SIGTERM) and waits for it.
    pub fn stop(mut self, limit: Duration) -> (ExitStatus, Vec<String>) {
        self.signal(Signal::TERM);
        let status = self.await_end(limit);
        self.drain();
        (status, std::mem::take(&mut self.seen))
    }

    /// kill -9, and no more.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGSTOP: it stands still until [`Process::resume`], or its end.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let sent = rustix::process::kill_process(pid.expect("a process has a number"), signal);
        sent.unwrap_or_else(|error| panic!("cannot send {signal:?} to {}: {error}", self.name));
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn await_end(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if Instant::now() >= end {
                self.drain();
                panic!(
                    "{} did not end within {limit:?}; its output:\n{}",
                    self.name,
                    self.tail()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes what has been printed. After the end the readers finish by themselves, unless a grandchild holds the pipe.
    fn drain(&mut self) {
        while let Ok(line) = self.arriving.recv_timeout(Duration::from_millis(500)) {
            self.seen.push(line);
        }
    }

    fn tail(&self) -> String {
        self.seen[self.seen.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn end(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands lines on as they come; with `RINGMQ_TEST_ECHO` they are shown as well.
/// Resident memory of a process in bytes, page cache not counted; of any process, whoever started it.
pub fn resident_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_else(|| panic!("{path} has no VmRSS"));
    kib * 1024
}

/// The number after `name=` in a line of counts that a client has printed.
pub fn figure(line: &str, name: &str) -> u64 {
    let number = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    line.split(' ')
        .find_map(number)
        .unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn follow(pipe: Option<impl Read + Send + 'static>, to: Sender<String>) {
    let echo = std::env::var_os("RINGMQ_TEST_ECHO").is_some();
    let pipe = pipe.expect("the command was given pipes");
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // Lines need not be UTF-8.
        while lines.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if echo {
                eprintln!("| {line}");
            }
            if to.send(line).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod unit {
    use super::Process;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Process {
        Process::start("sh", Command::new("sh").arg("-c").arg(script))
    }

    #[test]
    fn a_wanted_line_is_returned_and_the_end_has_a_status() {
        let mut process = shell("echo one; echo ready 42; exit 3");
        let line = process.await_line("ready line", Duration::from_secs(10), |l| l.starts_with("ready"));
        assert_eq!(line, "ready 42");
        let (status, lines) = process.finish(Duration::from_secs(10));
        assert_eq!(status.code(), Some(3));
        assert_eq!(lines, ["one", "ready 42"]);
    }

    #[test]
    #[should_panic(expected = "ended before ready line")]
    fn a_process_that_ends_early_fails_the_wait() {
        shell("echo no").await_line("ready line", Duration::from_secs(10), |l| l.starts_with("ready"));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = shell("exec sleep 1000");
        let pid = process.pid();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_stop_is_a_sigterm() {
        let mut process = shell("trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        process.await_line("ready line", Duration::from_secs(10), |l| l == "ready");
        let start = Instant::now();
        let (status, lines) = process.stop(Duration::from_secs(10));
        assert!(status.success());
        assert_eq!(lines, ["ready", "stopped"]);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
