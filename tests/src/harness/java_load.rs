//! The sender and checker in Java: it keeps its own books and prints one line of them.

use super::{Client, Process};
use std::time::{Duration, Instant};

const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Millions of messages are read back one pull after the other.
const VERIFY_LIMIT: Duration = Duration::from_secs(1800);

/// A running `ringmq.interop.Load`.
#[derive(Debug)]
pub struct JavaLoad(Process);

impl JavaLoad {
    /// Makes the topic and begins to send.
    pub fn start(namesrv: &str, topic: &str) -> JavaLoad {
        let mut process = Client::load(topic).start(namesrv);
        process.await_line("start of the senders", ANSWER_LIMIT, |l| l == "STARTED");
        JavaLoad(process)
    }

    /// Messages acknowledged so far.
    pub fn acknowledged(&mut self) -> u64 {
        self.0.say("count");
        let line = self
            .0
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

    /// Ends the senders, reads everything back and returns the line of counts.
    pub fn result(mut self) -> LoadResult {
        self.0.say("stop");
        let line = self.0.await_line("result", VERIFY_LIMIT, |l| l.starts_with("RESULT "));
        LoadResult(line)
    }
}

/// `RESULT acknowledged=.. unsure=.. consumed=.. lost=.. duplicated=.. corrupt=.. made_up=.. out_of_order=..`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadResult(pub String);

impl LoadResult {
    /// The number after `name=`.
    pub fn figure(&self, name: &str) -> u64 {
        let number = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
        let found = self.0.split(' ').find_map(number);
        found.unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    /// Panics unless what was acknowledged is there, once, whole and in order.
    pub fn assert_nothing_lost(&self, least: u64, seed: u64) {
        assert!(self.figure("acknowledged") >= least, "{}", self.0);
        for wrong in ["lost", "duplicated", "corrupt", "made_up", "out_of_order"] {
            assert_eq!(
                self.figure(wrong),
                0,
                "{wrong}, with RINGMQ_TEST_SEED={seed}: {}",
                self.0
            );
        }
        assert!(self.figure("consumed") >= self.figure("acknowledged"), "{}", self.0);
    }
}

#[cfg(test)]
mod unit {
    use super::LoadResult;

    fn result(lost: u64) -> LoadResult {
        LoadResult(format!(
            "RESULT acknowledged=10 unsure=1 consumed=11 lost={lost} duplicated=0 corrupt=0 made_up=0 out_of_order=0"
        ))
    }

    #[test]
    fn a_clean_result_passes() {
        assert_eq!(result(0).figure("consumed"), 11);
        result(0).assert_nothing_lost(10, 1);
    }

    #[test]
    #[should_panic(expected = "lost, with RINGMQ_TEST_SEED=7")]
    fn a_lost_message_fails_and_names_the_seed() {
        result(1).assert_nothing_lost(10, 7);
    }
}
