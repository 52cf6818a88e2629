//! The sender in Java: it records what it sends and is given, and the queue checker judges.

use super::{Client, Process};
use crate::load::judge_recording;
use checker::Report;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Millions of messages are read back one pull after the other.
const VERIFY_LIMIT: Duration = Duration::from_secs(1800);

/// A running `ringmq.interop.Load`.
#[derive(Debug)]
pub struct JavaLoad {
    process: Process,
    dir: TempDir,
}

impl JavaLoad {
    /// Makes the topic and begins to send.
    pub fn start(namesrv: &str, topic: &str) -> JavaLoad {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let mut process = Client::load(topic, &recording_in(&dir)).start(namesrv);
        process.await_line("start of the senders", ANSWER_LIMIT, |l| l == "STARTED");
        JavaLoad { process, dir }
    }

    /// Messages acknowledged so far.
    pub fn acknowledged(&mut self) -> u64 {
        self.process.say("count");
        let line = self
            .process
            .await_line("answer to `count`", ANSWER_LIMIT, |l| l.starts_with("ACKED "));
        line["ACKED ".len()..].parse().expect("a number follows ACKED")
    }

    /// Waits until the client got so many more acknowledgements.
    pub fn await_more(&mut self, more: u64) {
        let from = self.acknowledged();
        let end = Instant::now() + ANSWER_LIMIT;
        while self.acknowledged() < from + more {
            assert!(
                Instant::now() < end,
                "fewer than {more} messages were acknowledged within {ANSWER_LIMIT:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the senders, reads everything back and says what is wrong.
    pub fn result(mut self) -> Report {
        self.process.say("stop");
        self.process
            .await_line("end of the reading", VERIFY_LIMIT, |l| l == "RECORDED");
        judge_recording(&recording_in(&self.dir)).unwrap_or_else(|error| panic!("the load's recording: {error}"))
    }
}

fn recording_in(dir: &TempDir) -> PathBuf {
    dir.path().join("recording")
}

/// Panics unless so many were acknowledged, and what was acknowledged is there, once, whole and in order.
pub fn assert_nothing_lost(report: &Report, least: u64, seed: u64) {
    assert!(report.acknowledged >= least, "less than {least} acknowledged: {report}");
    assert!(report.is_ok(), "with RINGMQ_TEST_SEED={seed}: {report}");
    assert!(report.reads >= report.acknowledged, "{report}");
}
