//! What a load sent and how each message was answered.

use super::Options;
use std::collections::BTreeMap;
use std::time::Instant;

/// One answer, or the want of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub at: Instant,
    pub sender: u32,
    pub number: u32,
    /// Index into the reasons of failures; `None` for SEND_OK.
    failure: Option<u16>,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }
}

/// All answers of a load, in the order in which they came.
#[derive(Clone, Debug)]
pub struct History {
    pub topic: String,
    /// Bytes of a body.
    pub size: usize,
    queues: u32,
    /// Messages that each sender began to send.
    sent: Vec<u32>,
    answers: Vec<Answer>,
    reasons: Vec<(String, u64)>,
    failed: u64,
}

impl History {
    pub(super) fn new(options: &Options) -> History {
        History {
            topic: options.topic.clone(),
            size: options.size,
            queues: options.queues,
            sent: vec![0; options.senders as usize],
            answers: Vec::new(),
            reasons: Vec::new(),
            failed: 0,
        }
    }

    pub(super) fn sent(&mut self, sender: u32) {
        self.sent[sender as usize] += 1;
    }

    pub(super) fn answered(&mut self, sender: u32, number: u32, answer: Result<(), String>) {
        let failure = answer.err().map(|why| self.count(why));
        self.answers.push(Answer {
            at: Instant::now(),
            sender,
            number,
            failure,
        });
    }

    fn count(&mut self, why: String) -> u16 {
        self.failed += 1;
        let known = self.reasons.iter().position(|(text, _)| *text == why);
        let at = known.unwrap_or_else(|| {
            self.reasons.push((why, 0));
            self.reasons.len() - 1
        });
        self.reasons[at].1 += 1;
        u16::try_from(at).expect("few kinds of failures")
    }

    pub fn senders(&self) -> usize {
        self.sent.len()
    }

    /// Messages that this sender began to send.
    pub fn sent_by(&self, sender: u32) -> u32 {
        self.sent.get(sender as usize).copied().unwrap_or(0)
    }

    pub(super) fn is_queue_of(&self, sender: u32, queue_id: i32) -> bool {
        u32::try_from(queue_id) == Ok(sender % self.queues)
    }

    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Acknowledgements that came before `until`; all without it.
    pub fn acknowledged(&self, until: Option<Instant>) -> impl Iterator<Item = &Answer> {
        let answers = self.answers.iter().filter(|answer| answer.is_ok());
        answers.filter(move |answer| until.is_none_or(|until| answer.at < until))
    }

    pub fn acknowledged_since(&self, from: Instant) -> u64 {
        self.answers.iter().filter(|a| a.is_ok() && a.at >= from).count() as u64
    }

    pub fn failed_since(&self, from: Instant) -> u64 {
        self.answers.iter().filter(|a| !a.is_ok() && a.at >= from).count() as u64
    }

    pub fn first_failure_since(&self, from: Instant) -> Option<Instant> {
        let failure = self.answers.iter().find(|a| !a.is_ok() && a.at >= from);
        failure.map(|answer| answer.at)
    }

    /// The last acknowledgement.
    pub fn last_ok(&self) -> Option<Instant> {
        self.answers.iter().rev().find(|a| a.is_ok()).map(|a| a.at)
    }

    /// Acknowledgements by queues that had refused or failed a message before, since `from`.
    pub fn acknowledged_after_a_failure(&self, from: Instant) -> u64 {
        let mut failed = vec![false; self.queues as usize];
        let mut count = 0;
        for answer in self.answers.iter().filter(|answer| answer.at >= from) {
            let queue = &mut failed[(answer.sender % self.queues) as usize];
            match answer.is_ok() {
                false => *queue = true,
                true if *queue => count += 1,
                true => {}
            }
        }
        count
    }

    /// How often each failure was seen, the most frequent first.
    pub fn reasons(&self) -> String {
        let mut by_count: Vec<_> = self.reasons.iter().collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let words: Vec<String> = by_count.iter().map(|(why, count)| format!("{count} x {why}")).collect();
        if words.is_empty() {
            "no failure".to_owned()
        } else {
            words.join("; ")
        }
    }

    /// For each sender the numbers acknowledged before `until`, with the time of the answer.
    pub(super) fn expected(&self, until: Option<Instant>) -> Vec<BTreeMap<u32, Instant>> {
        let mut by_sender = vec![BTreeMap::new(); self.sent.len()];
        for answer in self.acknowledged(until) {
            by_sender[answer.sender as usize].insert(answer.number, answer.at);
        }
        by_sender
    }
}
