//! What a load sent and how each message was answered.

use super::Options;
use super::check::nanos;
use std::time::Instant;

/// One answer, or the want of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub began: Instant,
    pub at: Instant,
    pub sender: u32,
    pub number: u32,
    /// The queue offset of SEND_OK, or an index into the reasons of failures.
    pub(super) outcome: Result<u64, u16>,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// All answers of a load, in the order in which they came.
#[derive(Clone, Debug)]
pub struct History {
    pub topic: String,
    /// Bytes of a body.
    pub size: usize,
    queues: u32,
    started: Instant,
    /// By sender: the message that waits for an answer, and since when.
    waiting: Vec<Option<(u32, Instant)>>,
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
            started: Instant::now(),
            waiting: vec![None; options.senders as usize],
            answers: Vec::new(),
            reasons: Vec::new(),
            failed: 0,
        }
    }

    pub(super) fn sent(&mut self, sender: u32, number: u32) {
        self.waiting[sender as usize] = Some((number, Instant::now()));
    }

    pub(super) fn answered(&mut self, sender: u32, number: u32, answer: Result<u64, String>) {
        let at = Instant::now();
        let began = self.waiting[sender as usize]
            .take()
            .map_or(at, |(_number, since)| since);
        self.note((began, at), sender, number, answer);
    }

    /// Notes a send that began and ended at these times.
    pub(super) fn note(&mut self, times: (Instant, Instant), sender: u32, number: u32, answer: Result<u64, String>) {
        let outcome = answer.map_err(|why| self.count(why));
        self.answers.push(Answer {
            began: times.0,
            at: times.1,
            sender,
            number,
            outcome,
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

    pub(super) fn queues(&self) -> u32 {
        self.queues
    }

    pub(super) fn queue_of(&self, sender: u32) -> u32 {
        sender % self.queues
    }

    /// Nanoseconds of the history's own time, from 1.
    pub(super) fn tick(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.started)) + 1
    }

    /// Sends without an answer so far: sender, number and since when.
    pub(super) fn under_way(&self) -> impl Iterator<Item = (u32, u32, Instant)> {
        let waiting = (0..).zip(&self.waiting);
        waiting.filter_map(|(sender, waits)| waits.map(|(number, since)| (sender, number, since)))
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
            let queue = &mut failed[self.queue_of(answer.sender) as usize];
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
}
