//! Healthy histories, in which the checker finds nothing, and the same with one thing wrong, which it must find: that and
//! nothing else.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error it does not expect has failed"
)]

use checker::body::{self, name_checksum};
use checker::{Cause, Class, History, Identity, MessageId, Outcome, Poll, QueueIndex, ReaderIndex, Report, Target};

const TOPIC: &str = "T";
const QUEUES: u32 = 3;
const PRODUCERS: u32 = 2;
const EACH: u64 = 40;

/// One message's sending, as it will be recorded.
#[derive(Clone, Copy, Debug)]
struct Send {
    id: MessageId,
    began: u64,
    ended: u64,
    queue: u32,
    /// What the answer says; `None`: no answer.
    acknowledged: Option<u64>,
    rejected: bool,
    attempts: u8,
}

/// A run that has not been recorded yet, so that something can be planted in it.
#[derive(Clone, Debug)]
struct Run {
    sends: Vec<Send>,
    /// By queue: offset, and the body that is read there.
    stored: Vec<Vec<(u64, Vec<u8>)>>,
    tick: u64,
    drain: bool,
    retention: bool,
    takes_all: bool,
    /// A power cut at this tick that may take this many ticks.
    cut: Option<(u64, u64)>,
    damage: bool,
}

fn id(producer: u32, sequence: u64) -> MessageId {
    MessageId { producer, sequence }
}

fn identity(id: MessageId, queue: u32) -> Identity {
    Identity {
        id,
        sharding_key: Some(queue),
        topic: name_checksum(TOPIC.as_bytes()),
        properties: 0,
    }
}

fn stored_body(id: MessageId, queue: u32) -> Vec<u8> {
    body::encode(&identity(id, queue), 64)
}

/// Two producers send in turn to three queues, one message after the other, and everything is acknowledged.
fn healthy() -> Run {
    let mut run = Run {
        sends: Vec::new(),
        stored: vec![Vec::new(); QUEUES as usize],
        tick: 0,
        drain: true,
        retention: false,
        takes_all: true,
        cut: None,
        damage: false,
    };
    for sequence in 0..EACH {
        for producer in 0..PRODUCERS {
            let queue = u32::try_from(sequence % u64::from(QUEUES)).unwrap();
            let queue_offset = run.stored[queue as usize].len() as u64;
            run.tick += 2;
            run.sends.push(Send {
                id: id(producer, sequence),
                began: run.tick - 1,
                ended: run.tick,
                queue,
                acknowledged: Some(queue_offset),
                rejected: false,
                attempts: 1,
            });
            run.stored[queue as usize].push((queue_offset, stored_body(id(producer, sequence), queue)));
        }
    }
    run
}

impl Run {
    /// The send whose message lies there.
    fn send_at(&mut self, queue: u32, queue_offset: u64) -> &mut Send {
        let found = |send: &&mut Send| send.queue == queue && send.acknowledged == Some(queue_offset);
        self.sends.iter_mut().find(found).unwrap()
    }

    fn end(&self, queue: QueueIndex, queues: &[QueueIndex]) -> u64 {
        let place = queues.iter().position(|known| *known == queue).unwrap();
        self.stored[place].last().map_or(0, |last| last.0 + 1)
    }

    /// Records the sends and lets one reader read everything.
    fn record(&self) -> (History, Vec<QueueIndex>, ReaderIndex) {
        let mut history = History::new();
        let queues: Vec<QueueIndex> = (0..QUEUES).map(|queue| history.queue("b", TOPIC, queue)).collect();
        for send in &self.sends {
            let queue = queues[send.queue as usize];
            history.send_began(send.id, send.began, Target::Queue(queue), Some(send.queue));
            for _again in 1..send.attempts {
                history.send_retried(send.id);
            }
            let outcome = match send.acknowledged {
                _ if send.rejected => Outcome::Rejected,
                Some(queue_offset) => Outcome::Acknowledged { queue, queue_offset },
                None => Outcome::Unknown,
            };
            history.send_ended(send.id, send.ended, outcome);
        }
        if let Some((tick, window)) = self.cut {
            history.power_cut("b", tick, window);
        }
        if self.damage {
            history.allow_damage("b");
        }
        if self.retention {
            queues.iter().for_each(|queue| history.allow_retention(*queue));
        }
        if self.drain {
            history.drain_began();
        }
        let reader = history.reader("g", self.takes_all);
        for (place, queue) in queues.iter().enumerate() {
            let begin = self.stored[place].first().map_or(0, |first| first.0);
            history.positioned(reader, *queue, begin, Cause::Start);
            self.read_all(&mut history, reader, *queue, &queues);
            if self.drain {
                history.drained(*queue, self.end(*queue, &queues));
            }
        }
        (history, queues, reader)
    }

    /// Polls of seven messages from the queue's begin to its end.
    fn read_all(&self, history: &mut History, reader: ReaderIndex, queue: QueueIndex, queues: &[QueueIndex]) {
        let stored = &self.stored[queues.iter().position(|known| *known == queue).unwrap()];
        let begin = stored.first().map_or(0, |first| first.0);
        let mut from = begin;
        for part in stored.chunks(7) {
            let next = part.last().unwrap().0 + 1;
            let poll = Poll {
                began: self.tick + 1,
                ended: self.tick + 2,
                from,
                next,
                queue_begin: begin,
                queue_end: self.end(queue, queues),
            };
            let messages = part.iter().map(|(offset, body)| (*offset, body::decode(body)));
            history.polled(reader, queue, &poll, messages.collect::<Vec<_>>());
            from = next;
        }
    }

    fn check(&self) -> Report {
        self.record().0.check()
    }
}

/// Exactly these classes, each so often.
#[track_caller]
fn assert_found(report: &Report, expected: &[(Class, u64)]) {
    let found: Vec<(Class, u64)> = report
        .violations
        .iter()
        .map(|(class, count)| (*class, *count))
        .collect();
    assert_eq!(found, expected, "{report}");
    for (class, _count) in expected {
        assert!(report.examples.iter().any(|example| example.class == *class));
    }
}

#[test]
fn a_healthy_history_has_nothing_wrong_in_it() {
    for (drain, takes_all) in [(true, true), (false, true), (true, false)] {
        let run = Run {
            drain,
            takes_all,
            ..healthy()
        };
        let report = run.check();
        assert_found(&report, &[]);
        assert_eq!((report.sent, report.acknowledged, report.reads), (80, 80, 80));
        assert!(report.duplicates.is_empty() && report.unseen == 0, "{report}");
    }
}

#[test]
fn an_acknowledged_message_that_is_not_there_is_lost() {
    let mut run = healthy();
    run.stored[1].remove(5);
    assert_found(&run.check(), &[(Class::Lost, 1)]);
    // The last one leaves no hole: only the drain shows it.
    let mut run = healthy();
    run.stored[1].pop();
    let report = run.check();
    assert_eq!(report.count(Class::Lost), 1);
    assert_eq!(
        report.count(Class::StaleEnd),
        report.violations.values().sum::<u64>() - 1,
        "{report}"
    );
}

#[test]
fn what_nobody_has_read_up_to_is_unseen_and_not_lost() {
    let mut run = healthy();
    run.drain = false;
    let (mut history, queues, _reader) = run.record();
    history.send_began(id(0, EACH), run.tick + 5, Target::Queue(queues[0]), None);
    let queue_offset = run.stored[0].len() as u64;
    let place = Outcome::Acknowledged {
        queue: queues[0],
        queue_offset,
    };
    history.send_ended(id(0, EACH), run.tick + 6, place);
    let report = history.check();
    assert_found(&report, &[]);
    assert_eq!(report.unseen, 1);
}

#[test]
fn a_message_that_a_reader_went_past_and_another_got_is_lost_then_reread() {
    let run = healthy();
    let (mut history, queues, _reader) = run.record();
    let other = history.reader("h", true);
    history.positioned(other, queues[2], 3, Cause::Seek);
    let poll = Poll {
        began: run.tick + 3,
        ended: run.tick + 4,
        from: 3,
        next: 6,
        queue_begin: 0,
        queue_end: run.end(queues[2], &queues),
    };
    let given = [3, 5].map(|offset: u64| {
        let bytes = &run.stored[2][usize::try_from(offset).unwrap()].1;
        (offset, body::decode(bytes))
    });
    history.polled(other, queues[2], &poll, given);
    assert_found(&history.check(), &[(Class::LostThenReread, 1)]);
}

#[test]
fn a_group_that_goes_on_behind_what_it_was_given_has_left_something_out() {
    for (cause, expected) in [(Cause::Restart, 2), (Cause::Rebalance, 2), (Cause::Seek, 0)] {
        let run = healthy();
        let (mut history, queues, _reader) = run.record();
        let first = history.reader("h", true);
        let poll = |from: u64, next| Poll {
            began: run.tick + 3,
            ended: run.tick + 4,
            from,
            next,
            queue_begin: 0,
            queue_end: run.end(queues[2], &queues),
        };
        let message = |offset: u64| {
            let bytes = &run.stored[2][usize::try_from(offset).unwrap()].1;
            (offset, body::decode(bytes))
        };
        history.polled(first, queues[2], &poll(0, 2), [message(0), message(1)]);
        let second = history.reader("h", true);
        history.positioned(second, queues[2], 4, cause);
        history.polled(second, queues[2], &poll(4, 5), [message(4)]);
        assert_eq!(history.check().count(Class::LostThenReread), expected, "{cause:?}");
    }
}

#[test]
fn a_message_that_nobody_sent_is_a_phantom() {
    let mut run = healthy();
    let end = run.stored[0].len() as u64;
    run.stored[0].push((end, stored_body(id(9, 0), 0)));
    assert_found(&run.check(), &[(Class::Phantom, 1)]);
}

#[test]
fn a_message_that_was_refused_and_is_there_is_a_phantom() {
    let mut run = healthy();
    run.send_at(0, 4).rejected = true;
    assert_found(&run.check(), &[(Class::Phantom, 1)]);
}

#[test]
fn an_unknown_message_may_be_there_or_not() {
    let mut run = healthy();
    run.send_at(0, 4).acknowledged = None;
    let report = run.check();
    assert_found(&report, &[]);
    assert_eq!((report.unknown, report.unknown_stored), (1, 1));
    run.stored[0].truncate(4);
    for later in run.sends.iter_mut().filter(|send| send.queue == 0) {
        later.acknowledged = later.acknowledged.filter(|offset| *offset < 4);
    }
    let report = run.check();
    assert_found(&report, &[]);
    assert_eq!(report.unknown_stored, 0);
}

#[test]
fn two_messages_at_one_place_are_a_duplicate_offset() {
    let run = healthy();
    let (mut history, queues, reader) = run.record();
    // A message whose answer never came, read where another was read before.
    history.send_began(id(1, EACH), run.tick + 1, Target::Queue(queues[0]), None);
    history.positioned(reader, queues[0], 2, Cause::Seek);
    let poll = Poll {
        began: run.tick + 3,
        ended: run.tick + 4,
        from: 2,
        next: 3,
        queue_begin: 0,
        queue_end: run.end(queues[0], &queues),
    };
    history.polled(reader, queues[0], &poll, [(2, Ok(identity(id(1, EACH), 0)))]);
    assert_found(&history.check(), &[(Class::DuplicateOffset, 1)]);
}

#[test]
fn one_place_acknowledged_twice_is_a_duplicate_offset_and_one_of_the_two_is_lost() {
    let mut run = healthy();
    let victim = run.send_at(0, 6);
    victim.acknowledged = Some(5);
    let victim = victim.id;
    run.stored[0].retain(|(_offset, bytes)| body::decode(bytes).unwrap().id != victim);
    let report = run.check();
    // Acknowledged there twice, and read there as another; and of the place behind nobody knows.
    assert_found(
        &report,
        &[(Class::Lost, 1), (Class::DuplicateOffset, 2), (Class::Gap, 1)],
    );
}

#[test]
fn a_message_sent_once_at_two_places_has_no_consistent_offset() {
    let mut run = healthy();
    let end = run.stored[0].len() as u64;
    let twice = run.stored[0][3].1.clone();
    run.stored[0].push((end, twice));
    // That the second place lies behind later messages is no reorder: those were sent after the first place was given.
    let report = run.check();
    assert_eq!(report.count(Class::InconsistentOffset), 1, "{report}");
    assert_eq!(report.violations.len(), 1, "{report}");
    // Sent twice it is a duplicate that may be.
    run.send_at(0, 3).attempts = 2;
    let report = run.check();
    assert_found(&report, &[]);
    assert_eq!(report.duplicates[&Cause::SendRetry], 1);
}

#[test]
fn a_message_elsewhere_than_its_answer_said_has_no_consistent_offset() {
    let mut run = healthy();
    let end = run.stored[0].len() as u64;
    // The last one's place was told as the one behind it.
    run.send_at(0, end - 1).acknowledged = Some(end);
    run.stored[0].push((end + 1, stored_body(id(0, EACH), 0)));
    run.sends.push(Send {
        id: id(0, EACH),
        began: run.tick + 1,
        ended: run.tick + 1,
        queue: 0,
        acknowledged: Some(end + 1),
        rejected: false,
        attempts: 1,
    });
    run.tick += 2;
    assert_found(&run.check(), &[(Class::InconsistentOffset, 1)]);
}

#[test]
fn a_place_that_nobody_knows_is_a_gap() {
    let mut run = healthy();
    let last = run.stored[2].last_mut().unwrap();
    last.0 += 3;
    let moved = last.0;
    run.send_at(2, moved - 3).acknowledged = Some(moved);
    assert_found(&run.check(), &[(Class::Gap, 1)]);
    // A reader that takes only some messages says nothing about those between.
    run.takes_all = false;
    assert_found(&run.check(), &[]);
}

#[test]
fn a_message_before_one_that_was_acknowledged_before_it_was_sent_is_out_of_order() {
    let mut run = healthy();
    // Places 0 and 4 are of the same producer, sent one after the other.
    let (one, other) = (run.send_at(1, 0).id, run.send_at(1, 4).id);
    assert_eq!(one.producer, other.producer);
    run.send_at(1, 0).acknowledged = Some(u64::MAX);
    run.send_at(1, 4).acknowledged = Some(0);
    run.send_at(1, u64::MAX).acknowledged = Some(4);
    run.stored[1][0].1 = stored_body(other, 1);
    run.stored[1][4].1 = stored_body(one, 1);
    let report = run.check();
    assert!(report.count(Class::Reorder) >= 1, "{report}");
    assert_eq!(report.violations.len(), 1, "{report}");
}

#[test]
fn a_sharding_key_keeps_its_order_over_producers() {
    let mut run = healthy();
    // Places 0 and 1 are of different producers with one key.
    let (one, other) = (run.send_at(1, 0).id, run.send_at(1, 1).id);
    assert_ne!(one.producer, other.producer);
    run.send_at(1, 0).acknowledged = Some(u64::MAX);
    run.send_at(1, 1).acknowledged = Some(0);
    run.send_at(1, u64::MAX).acknowledged = Some(1);
    run.stored[1][0].1 = stored_body(other, 1);
    run.stored[1][1].1 = stored_body(one, 1);
    assert_found(&run.check(), &[(Class::Reorder, 1)]);
    // At the same time either may come first.
    let began = run.send_at(1, 0).began.min(run.send_at(1, 1).began);
    run.send_at(1, 0).began = began;
    run.send_at(1, 1).began = began;
    assert_found(&run.check(), &[]);
}

#[test]
fn a_poll_that_gives_what_lies_before_its_place_is_not_monotonic() {
    let run = healthy();
    let (mut history, queues, reader) = run.record();
    history.positioned(reader, queues[0], 9, Cause::Seek);
    let poll = Poll {
        began: run.tick + 3,
        ended: run.tick + 4,
        from: 9,
        next: 10,
        queue_begin: 0,
        queue_end: run.end(queues[0], &queues),
    };
    let given = [8, 9].map(|offset: u64| {
        let bytes = &run.stored[0][usize::try_from(offset).unwrap()].1;
        (offset, body::decode(bytes))
    });
    history.polled(reader, queues[0], &poll, given);
    assert_found(&history.check(), &[(Class::NonMonotonicPoll, 1)]);
}

#[test]
fn polls_that_go_back_are_not_monotonic_unless_the_reader_took_its_place_anew() {
    for (cause, expected) in [(None, 1), (Some(Cause::Restart), 0)] {
        let run = healthy();
        let (mut history, queues, reader) = run.record();
        if let Some(cause) = cause {
            history.positioned(reader, queues[0], 0, cause);
        }
        run.read_all(&mut history, reader, queues[0], &queues);
        let report = history.check();
        assert_eq!(report.count(Class::NonMonotonicPoll), expected);
        assert_eq!(report.violations.len() as u64, expected);
        let counted = report.duplicates[&cause.unwrap_or(Cause::Start)];
        assert_eq!(counted, run.stored[0].len() as u64, "{report}");
    }
}

#[test]
fn an_end_behind_an_acknowledged_message_is_stale() {
    let run = healthy();
    let (mut history, queues, _reader) = run.record();
    let end = run.end(queues[1], &queues);
    history.queue_end_seen(queues[1], run.tick + 1, run.tick + 2, end - 1);
    // Asked before the last acknowledgements it may have been true.
    history.queue_end_seen(queues[1], 1, 2, 0);
    assert_found(&history.check(), &[(Class::StaleEnd, 1)]);
}

#[test]
fn a_body_with_a_wrong_bit_is_corrupt() {
    let mut run = healthy();
    run.stored[1][4].1[50] ^= 1;
    assert_found(&run.check(), &[(Class::CorruptBody, 1)]);
}

#[test]
fn a_message_in_another_queue_or_topic_is_in_the_wrong_one() {
    let mut run = healthy();
    run.send_at(1, 4).queue = 2;
    let mut moved = *run
        .sends
        .iter()
        .rfind(|send| send.queue == 2 && send.acknowledged == Some(4))
        .unwrap();
    run.sends.retain(|send| send.id != moved.id);
    moved.acknowledged = None;
    run.sends.push(moved);
    let report = run.check();
    assert_eq!(report.count(Class::WrongQueue), 1, "{report}");

    let mut run = healthy();
    let mut foreign = body::decode(&run.stored[1][4].1).unwrap();
    foreign.topic ^= 1;
    run.stored[1][4].1 = body::encode(&foreign, 64);
    assert_found(&run.check(), &[(Class::WrongQueue, 1)]);
}

#[test]
fn retention_may_take_the_oldest_and_only_where_it_was_expected() {
    let mut run = healthy();
    run.stored[0].drain(..6);
    assert_found(&run.check(), &[(Class::Lost, 6)]);
    run.retention = true;
    let report = run.check();
    assert_found(&report, &[]);
    assert_eq!(report.expired, 6);
    run.stored[0].remove(3);
    assert_found(&run.check(), &[(Class::Lost, 1)]);
}

#[test]
fn a_power_cut_may_take_the_newest_within_its_window_and_nothing_else() {
    let base = {
        let mut run = healthy();
        let left = run.stored[0].len() - 2;
        run.stored[0].truncate(left);
        run
    };
    // Places of queue 0 are acknowledged six ticks apart at most.
    let report = Run {
        cut: Some((base.tick + 1, 20)),
        ..base.clone()
    }
    .check();
    assert_found(&report, &[]);
    assert_eq!(report.cut_off, 2);
    assert!((1..=20).contains(&report.cut_off_window), "{report:?}");
    let report = Run {
        cut: Some((base.tick + 1, 1)),
        ..base.clone()
    }
    .check();
    assert!(report.count(Class::Lost) >= 1, "too old to be lost: {report}");
    // Not the newest: one behind it is left.
    let mut run = healthy();
    let last = run.stored[0].len() - 1;
    run.stored[0].remove(last - 1);
    run.cut = Some((run.tick + 1, 1_000));
    assert_found(&run.check(), &[(Class::Lost, 1)]);
}

#[test]
fn a_power_cut_may_take_a_message_whose_answer_comes_after_it() {
    let mut run = healthy();
    let place = run.stored[0].len() as u64 - 1;
    let cut = run.send_at(0, place).ended;
    run.cut = Some((cut, 0));
    // Stored before the cut, answered behind it, and its place is given to another message.
    run.send_at(0, place).ended = cut + 1;
    run.tick += 2;
    let next = Send {
        id: id(0, EACH),
        began: run.tick - 1,
        ended: run.tick,
        ..*run.send_at(0, place)
    };
    run.sends.push(next);
    run.stored[0].pop();
    run.stored[0].push((place, stored_body(next.id, 0)));
    let report = run.check();
    assert_found(&report, &[]);
    assert_eq!(report.cut_off, 1);
    // Sent only after the cut, it must be there.
    run.send_at(0, place).began = cut + 1;
    assert_found(&run.check(), &[(Class::Lost, 1), (Class::DuplicateOffset, 2)]);
}

#[test]
fn a_damaged_medium_may_leave_out_messages_and_still_gives_no_wrong_ones() {
    let mut run = healthy();
    run.damage = true;
    run.stored[0].remove(3);
    let report = run.check();
    assert_found(&report, &[]);
    assert_eq!(report.damaged, 1);
    run.stored[0][3].1[60] ^= 4;
    assert_found(&run.check(), &[(Class::CorruptBody, 1)]);
}

#[test]
fn a_deleted_topic_owes_nothing_and_its_successor_is_another() {
    let run = healthy();
    let (mut history, queues, _reader) = run.record();
    history.topic_deleted(TOPIC);
    let again = history.queue("b", TOPIC, 0);
    assert_ne!(again, queues[0]);
    history.send_began(id(5, 0), run.tick + 3, Target::Queue(again), None);
    let place = Outcome::Acknowledged {
        queue: again,
        queue_offset: 0,
    };
    history.send_ended(id(5, 0), run.tick + 4, place);
    history.drained(again, 0);
    let report = history.check();
    assert_eq!(report.deleted, 80);
    assert_found(&report, &[(Class::Lost, 1)]);
}

#[test]
fn reports_add_up_and_keep_a_few_examples_of_each_class() {
    let mut lossy = healthy();
    lossy.stored[0].pop();
    let one = lossy.check();
    let mut sum = Report::default();
    for _ in 0..12 {
        sum.add(one.clone());
    }
    assert_eq!((sum.acknowledged, sum.reads), (12 * one.acknowledged, 12 * one.reads));
    assert_eq!(sum.count(Class::Lost), 12);
    let examples = sum.examples.iter().filter(|example| example.class == Class::Lost);
    assert_eq!(examples.count(), 10);
    assert!(!sum.is_ok());
}
