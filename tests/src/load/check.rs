//! What a load sent and what a broker gives back, told to the queue checker.

use super::{History, Pull};
use checker::{Cause, MessageId, Outcome, QueueIndex, Report, Target};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Only one broker is looked at.
const BROKER: &str = "broker";

/// Checks what was read back. With `until`, only what was acknowledged before then must be there.
pub fn check(history: &History, until: Option<Instant>, read: &[Pull]) -> Report {
    judge(history, until, None, read)
}

/// The same after a power cut at the end, which may take what was acknowledged within `window` before: per queue the newest
/// messages.
pub fn check_after_power_cut(history: &History, window: Duration, read: &[Pull]) -> Report {
    judge(history, None, Some(window), read)
}

fn judge(history: &History, until: Option<Instant>, window: Option<Duration>, read: &[Pull]) -> Report {
    let mut books = checker::History::new();
    let numbers = 0..history.queues();
    let queues: Vec<QueueIndex> = numbers
        .map(|number| books.queue(BROKER, &history.topic, number))
        .collect();
    record_sends(&mut books, history, &queues, until);
    if let (Some(window), Some(last)) = (window, history.last_ok()) {
        // Just after the last acknowledgement, so that this one may be gone too.
        books.power_cut(BROKER, history.tick(last) + 1, nanos(window));
    }
    record_reads(&mut books, history, &queues, read);
    books.check()
}

fn record_sends(books: &mut checker::History, history: &History, queues: &[QueueIndex], until: Option<Instant>) {
    let queue_of = |sender| queues[history.queue_of(sender) as usize];
    let id = |sender, number: u32| MessageId {
        producer: sender,
        sequence: u64::from(number),
    };
    for answer in history.answers() {
        let queue = queue_of(answer.sender);
        let id = id(answer.sender, answer.number);
        books.send_began(id, history.tick(answer.began), Target::Queue(queue), None);
        let outcome = match answer.outcome {
            Ok(queue_offset) if until.is_none_or(|until| answer.at < until) => {
                Outcome::Acknowledged { queue, queue_offset }
            }
            _ => Outcome::Unknown,
        };
        books.send_ended(id, history.tick(answer.at), outcome);
    }
    for (sender, number, began) in history.under_way() {
        let queue = queue_of(sender);
        books.send_began(id(sender, number), history.tick(began), Target::Queue(queue), None);
    }
}

fn record_reads(books: &mut checker::History, history: &History, queues: &[QueueIndex], read: &[Pull]) {
    books.drain_began();
    let reader = books.reader("fault_reader", true);
    let mut ends = BTreeMap::new();
    for pull in read {
        let queue = books.queue(BROKER, &history.topic, pull.queue_id);
        if !ends.contains_key(&queue) {
            books.positioned(reader, queue, pull.from, Cause::Start);
        }
        let messages = pull.messages.iter().cloned();
        books.polled(reader, queue, &pull.poll(|at| history.tick(at)), messages);
        ends.insert(queue, pull.next);
    }
    // A queue of which nothing was read is read to its end, too: whatever was acknowledged there is gone.
    for queue in queues {
        books.drained(*queue, ends.get(queue).copied().unwrap_or(0));
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::load::{Options, body};
    use checker::{Class, body::decode};

    const SIZE: usize = 100;

    /// One sender, five messages: 0, 1, 2 and 4 acknowledged, 3 not.
    fn history() -> History {
        let mut history = History::new(&Options {
            senders: 1,
            queues: 1,
            ..Options::new("T")
        });
        for (number, queue_offset) in [Some(0), Some(1), Some(2), None, Some(3)].into_iter().enumerate() {
            let number = u32::try_from(number).expect("few messages");
            history.sent(0, number);
            history.answered(0, number, queue_offset.ok_or_else(|| "late".to_owned()));
        }
        history
    }

    /// One pull of everything: messages by their numbers, from the first place on.
    fn read(numbers: &[u32]) -> Vec<Pull> {
        let now = Instant::now();
        let bodies = numbers.iter().map(|&number| decode(&body("T", 0, number, SIZE)));
        let end = numbers.len() as u64;
        vec![Pull {
            queue_id: 0,
            began: now,
            ended: now,
            from: 0,
            next: end,
            queue_begin: 0,
            queue_end: end,
            messages: (0..).zip(bodies).collect(),
        }]
    }

    fn report(numbers: &[u32]) -> Report {
        check(&history(), None, &read(numbers))
    }

    #[test]
    fn what_was_acknowledged_is_enough_and_the_unsure_may_be_there() {
        let without = report(&[0, 1, 2, 4]);
        assert!(without.is_ok(), "{without}");
        assert_eq!((without.acknowledged, without.unknown), (4, 1));
        let with = report(&[0, 1, 2, 4, 3]);
        assert!(with.is_ok(), "{with}");
    }

    #[test]
    fn what_is_missing_or_stands_elsewhere_is_flagged() {
        assert_eq!(report(&[0, 1, 2]).count(Class::Lost), 1);
        assert_eq!(report(&[]).count(Class::Lost), 4);
        assert_eq!(check(&history(), None, &[]).count(Class::Lost), 4);
        assert_eq!(report(&[0, 1, 2, 4, 2]).count(Class::InconsistentOffset), 1);
        assert_eq!(report(&[0, 1, 2, 4, 9]).count(Class::Phantom), 1);
        let mut damaged = read(&[0, 1, 2, 4]);
        damaged[0].messages[1].1 = decode(b"x");
        assert_eq!(check(&history(), None, &damaged).count(Class::CorruptBody), 1);
    }

    #[test]
    fn a_power_cut_takes_the_newest_and_its_window_is_told() {
        let history = history();
        let cut = check_after_power_cut(&history, Duration::from_secs(3600), &read(&[0, 1]));
        assert!(cut.is_ok(), "{cut}");
        assert_eq!(cut.cut_off, 2);
        assert!(cut.cut_off_window > 0 && cut.cut_off_window < 3_600_000_000_000);
        let cut = check_after_power_cut(&history, Duration::ZERO, &read(&[0, 1]));
        assert!(cut.count(Class::Lost) >= 1, "{cut}");
    }

    #[test]
    fn with_a_time_only_earlier_acknowledgements_count() {
        let history = history();
        let until = history.answers()[2].at;
        let before = history.acknowledged(Some(until)).count() as u64;
        let report = check(&history, Some(until), &read(&[0]));
        assert_eq!(
            (report.acknowledged, report.count(Class::Lost)),
            (before, before.saturating_sub(1))
        );
    }
}
