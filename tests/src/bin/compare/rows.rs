//! One row of the comparison: how it is asked for, run, and read.

use crate::server::Server;
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use tests::harness::{FlushMode, binary};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Synchronous senders of the Java client, one connection.
    Java { threads: u32 },
    /// `mqbench`, 64 connections.
    Bench { depth: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) client: Client,
    pub(crate) flush: FlushMode,
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Row, String> {
        let (flush, rest) = match text.strip_prefix("sync-") {
            Some(rest) => (FlushMode::Sync, rest),
            None => (FlushMode::Async, text),
        };
        let wanted = || format!("{text} is not a row: java-T or depth-D, such as java-64 or sync-depth-16");
        let (client, number) = rest.split_once('-').ok_or_else(wanted)?;
        let number: u32 = number.parse().map_err(|_| wanted())?;
        let client = match client {
            "java" => Client::Java { threads: number },
            "depth" => Client::Bench { depth: number },
            _ => return Err(wanted()),
        };
        Ok(Row { client, flush })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flush == FlushMode::Sync {
            f.write_str("sync-")?;
        }
        match self.client {
            Client::Java { threads } => write!(f, "java-{threads}"),
            Client::Bench { depth } => write!(f, "depth-{depth}"),
        }
    }
}

/// Rates a second, milliseconds, CPU seconds of the broker for a million messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) cpu: f64,
    pub(crate) errors: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} msg/s, p50 {:.3} p99 {:.2} p99.9 {:.2} ms, {:.2} CPU s/M, {} errors",
            self.rate, self.p50, self.p99, self.p999, self.cpu, self.errors
        )
    }
}

pub(crate) struct Load<'a> {
    pub(crate) peer: &'a Path,
    pub(crate) server: &'a Server,
    pub(crate) seconds: u32,
    pub(crate) warmup: u32,
}

impl Load<'_> {
    /// Runs the row against the server, each on a topic of its own with 8 queues, 1 KiB a message.
    pub(crate) fn run(&self, row: Row) -> Figures {
        match row.client {
            Client::Java { threads } => self.java(row, threads),
            Client::Bench { depth } => {
                self.bench(row, depth, self.warmup);
                self.bench(row, depth, self.seconds)
            }
        }
    }

    pub(crate) fn await_first_message(&self) {
        let mut command = Command::new("bash");
        command
            .arg(self.peer)
            .args(["load", "first-send", "--topic", "TBW102"])
            .env("NAMESRV", self.server.namesrv());
        output(&mut command);
    }

    fn java(&self, row: Row, threads: u32) -> Figures {
        let mut command = Command::new("bash");
        command
            .arg(self.peer)
            .args(["load", "produce-sync", "--size", "1024", "--create-queues", "8"])
            .args(["--topic", &format!("compare-{row}")])
            .args(["--threads", &threads.to_string()])
            .args(["--warmup", &self.warmup.to_string()])
            .args(["--duration", &self.seconds.to_string()])
            .args(["--watch-pid", &self.server.broker_pid().to_string()])
            .env("NAMESRV", self.server.namesrv());
        let printed = output(&mut command);
        let result = printed
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .unwrap_or_else(|| panic!("the Java load client printed no RESULT:\n{printed}"));
        let result: Value = serde_json::from_str(result).expect("RESULT is JSON");
        Figures {
            rate: number(&result, "/per_second"),
            p50: number(&result, "/send_ms/p50"),
            p99: number(&result, "/send_ms/p99"),
            p999: number(&result, "/send_ms/p99.9"),
            cpu: number(&result, "/cpu/watched_s_per_million"),
            errors: sum(&result["errors"]),
        }
    }

    fn bench(&self, row: Row, depth: u32, seconds: u32) -> Figures {
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let mut command = Command::new(binary("mqbench"));
        command
            .args(["produce", "--queues", "8", "--size", "1024", "--connections", "64"])
            .args(["--namesrv", self.server.namesrv()])
            .args(["--topic", &format!("compare-{row}")])
            .args(["--depth", &depth.to_string()])
            .args(["--duration", &seconds.to_string()])
            .args(["--pid", &self.server.broker_pid().to_string()])
            .arg("--json")
            .arg(file.path());
        output(&mut command);
        let result = std::fs::read(file.path()).expect("mqbench wrote its JSON");
        let result: Value = serde_json::from_slice(&result).expect("mqbench writes JSON");
        Figures {
            rate: number(&result, "/messages_per_second"),
            p50: number(&result, "/latency_ms/p50"),
            p99: number(&result, "/latency_ms/p99"),
            p999: number(&result, "/latency_ms/p99.9"),
            cpu: number(&result, "/server_cpu_seconds_per_million"),
            errors: sum(&result["errors"]),
        }
    }
}

fn output(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{command:?} ended with {}:\n{text}{errors}",
        done.status
    );
    text
}

fn number(result: &Value, pointer: &str) -> f64 {
    result
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {result}"))
}

/// A count, or counts by kind.
fn sum(errors: &Value) -> f64 {
    match errors {
        Value::Object(kinds) => kinds.values().map(sum).fold(0.0, |all, one| all + one),
        other => other.as_f64().unwrap_or(0.0),
    }
}
