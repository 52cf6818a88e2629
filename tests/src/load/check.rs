//! What a broker gives back, held against what was acknowledged.

use super::{History, Received};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

/// The counts of one check; a message may be in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub acknowledged: u64,
    /// Sent, and answered by an error or not at all: may be there.
    pub unsure: u64,
    pub consumed: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There more than once, though sent once.
    pub duplicated: u64,
    /// A body that is not whole.
    pub corrupt: u64,
    /// Never sent, or to another queue.
    pub made_up: u64,
    /// A later message of the same sender lies before it.
    pub out_of_order: u64,
    /// Queue offsets missing between two that are there, or there twice.
    pub holes: u64,
    /// Lost though a later message of the same sender is there: not a suffix.
    pub lost_within: u64,
    /// Time from the first acknowledgement that was lost to the end, if any was.
    pub window: Option<Duration>,
}

impl Verdict {
    /// Whether everything acknowledged is there, once, whole and in order.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.is_wrong_beside_loss() == 0
    }

    /// Faults that no promise allows, not even to a broker that may lose its newest messages.
    pub fn is_wrong_beside_loss(&self) -> u64 {
        self.corrupt + self.made_up + self.out_of_order + self.holes + self.lost_within
    }

    pub fn add(&mut self, other: &Verdict) {
        self.acknowledged += other.acknowledged;
        self.unsure += other.unsure;
        self.consumed += other.consumed;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.corrupt += other.corrupt;
        self.made_up += other.made_up;
        self.out_of_order += other.out_of_order;
        self.holes += other.holes;
        self.lost_within += other.lost_within;
        self.window = self.window.max(other.window);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged={} unsure={} consumed={} lost={} duplicated={} corrupt={} made_up={} out_of_order={} holes={}",
            self.acknowledged,
            self.unsure,
            self.consumed,
            self.lost,
            self.duplicated,
            self.corrupt,
            self.made_up,
            self.out_of_order,
            self.holes
        )?;
        match self.window {
            Some(window) => write!(
                f,
                " lost_window={} ms lost_within={}",
                window.as_millis(),
                self.lost_within
            ),
            None => Ok(()),
        }
    }
}

/// Checks what was read back. With `until`, only what was acknowledged before then must be there.
pub fn check(history: &History, until: Option<Instant>, received: &[Received]) -> Verdict {
    let expected = history.expected(until);
    let sent: u64 = (0..)
        .take(history.senders())
        .map(|s| u64::from(history.sent_by(s)))
        .sum();
    let mut verdict = Verdict {
        acknowledged: expected.iter().map(|numbers| numbers.len() as u64).sum(),
        consumed: received.len() as u64,
        ..Verdict::default()
    };
    verdict.unsure = sent - history.acknowledged(None).count() as u64;
    verdict.holes = holes(received);
    let seen = place(history, received, &mut verdict);
    let end = until.or_else(|| history.last_ok());
    for (numbers, seen) in expected.iter().zip(&seen) {
        for (number, at) in numbers.iter().filter(|(number, _)| !seen.contains(number)) {
            verdict.lost += 1;
            let follower = seen.last().is_some_and(|last| last > number);
            verdict.lost_within += u64::from(follower);
            let ago = end.map(|end| end.saturating_duration_since(*at));
            verdict.window = verdict.window.max(ago);
        }
    }
    verdict
}

/// Gives each message to its sender, and counts those that should not be where they are.
fn place(history: &History, received: &[Received], verdict: &mut Verdict) -> Vec<BTreeSet<u32>> {
    let mut seen = vec![BTreeSet::new(); history.senders()];
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for message in received {
        let Some((sender, number)) = message.identity else {
            verdict.corrupt += 1;
            continue;
        };
        if number >= history.sent_by(sender) || !history.is_queue_of(sender, message.queue_id) {
            verdict.made_up += 1;
            continue;
        }
        verdict.duplicated += u64::from(!seen[sender as usize].insert(number));
        let newest = last.entry(sender).or_insert(number);
        verdict.out_of_order += u64::from(number < *newest);
        *newest = (*newest).max(number);
    }
    seen
}

fn holes(received: &[Received]) -> u64 {
    let mut by_queue: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for message in received {
        by_queue.entry(message.queue_id).or_default().push(message.queue_offset);
    }
    let steps = by_queue
        .values()
        .flat_map(|offsets| offsets.windows(2).map(|pair| pair[1] - pair[0]));
    steps.filter(|&step| step != 1).count() as u64
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::load::Options;

    /// One sender, five messages: 0, 1, 2 and 4 acknowledged, 3 not.
    fn history() -> History {
        let mut history = History::new(&Options {
            senders: 1,
            queues: 1,
            ..Options::new("T")
        });
        for number in 0..5 {
            history.sent(0);
            let answer = if number == 3 { Err("late".to_owned()) } else { Ok(()) };
            history.answered(0, number, answer);
        }
        history
    }

    fn verdict(messages: &[(i64, Option<(u32, u32)>)]) -> Verdict {
        let received: Vec<Received> = messages
            .iter()
            .map(|&(queue_offset, identity)| Received {
                queue_id: 0,
                queue_offset,
                identity,
            })
            .collect();
        check(&history(), None, &received)
    }

    fn numbers(numbers: &[u32]) -> Verdict {
        let messages: Vec<_> = (0..).zip(numbers).map(|(at, &n)| (at, Some((0, n)))).collect();
        verdict(&messages)
    }

    #[test]
    fn what_was_acknowledged_is_enough_and_the_unsure_may_be_there() {
        let without = numbers(&[0, 1, 2, 4]);
        assert!(without.is_clean(), "{without}");
        assert_eq!((without.acknowledged, without.unsure), (4, 1));
        assert!(numbers(&[0, 1, 2, 3, 4]).is_clean());
    }

    #[test]
    fn each_planted_fault_is_flagged() {
        assert_eq!(numbers(&[0, 1, 2]).lost, 1, "lost at the end");
        assert_eq!(numbers(&[0, 1, 2]).lost_within, 0, "a suffix");
        assert_eq!(numbers(&[0, 2, 4]).lost_within, 1, "lost in the middle");
        assert_eq!(numbers(&[0, 1, 2, 2, 4]).duplicated, 1);
        assert_eq!(numbers(&[0, 2, 1, 4]).out_of_order, 1);
        assert_eq!(numbers(&[0, 1, 2, 4, 5]).made_up, 1, "never sent");
        let foreign = [(0, Some((0, 0))), (1, Some((9, 0)))];
        assert_eq!(verdict(&foreign).made_up, 1, "no such sender");
        assert_eq!(verdict(&[(0, Some((0, 0))), (1, None)]).corrupt, 1);
        assert_eq!(verdict(&[(0, Some((0, 0))), (2, Some((0, 1)))]).holes, 1);
        assert_eq!(
            verdict(&[(0, Some((0, 0))), (0, Some((0, 1)))]).holes,
            1,
            "an offset given twice"
        );
        assert!(!numbers(&[0, 1, 2]).is_clean());
    }

    #[test]
    fn with_a_time_only_earlier_acknowledgements_count() {
        let history = history();
        let until = history.answers()[1].at;
        let first = Received {
            queue_id: 0,
            queue_offset: 0,
            identity: Some((0, 0)),
        };
        let verdict = check(&history, Some(until), &[first]);
        let before = history.acknowledged(Some(until)).count() as u64;
        assert_eq!((verdict.acknowledged, verdict.lost), (before, before.saturating_sub(1)));
    }
}
