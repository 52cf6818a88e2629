//! Following every message: what was acknowledged against what can be read, by the queue checker.
//!
//! While messages are sent, each body carries who sent it, its number and a checksum over all of it, and a ledger keeps what
//! was answered: 32 bytes a message. When the run is over, every queue is read from where it ended before the run to
//! where it ends now, and the checker compares. Nobody else may send to the topics meanwhile.

use crate::compose::{DUE_SIZE, Turn};
use crate::consume::all_queues;
use crate::error::Error;
use crate::options::Options;
use crate::run::no_files;
use bytes::Bytes;
use checker::body::{self, Joint, name_checksum};
use checker::{Cause, History, Identity, MessageId, Outcome, Poll, QueueIndex, ReaderIndex, Report, Target};
use client::{Client, PullConsumer, PullOptions, RouteQueue, SendStatus};
use protocol::frame::Frame;
use protocol::message::record::Records;
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Pulls that may fail one after the other before reading back is given up.
const FAILURES_MAX: u32 = 20;
/// Pause after a pull that failed.
const PAUSE: Duration = Duration::from_millis(250);
/// Messages that a pull may bring.
const PULL_MAX: i32 = 64;

/// A queue by its names, that other threads may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct QueueName {
    broker: String,
    topic: String,
    queue_id: i32,
}

impl QueueName {
    fn of(queue: &RouteQueue) -> QueueName {
        QueueName {
            broker: queue.broker_name.to_string(),
            topic: queue.topic.to_string(),
            queue_id: queue.queue_id,
        }
    }

    fn in_history(&self, history: &mut History) -> QueueIndex {
        // A broker that names a negative queue is caught as one that names a wrong one.
        let queue_id = u32::try_from(self.queue_id).unwrap_or(u32::MAX);
        history.queue(&self.broker, &self.topic, queue_id)
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
struct Sent {
    began_ns: u64,
    ended_ns: u64,
    /// [`UNKNOWN`] until it is acknowledged.
    queue_offset: u64,
    /// Number of its queue in the ledger.
    queue: u32,
    sharding_key: u32,
}

const NO_KEY: u32 = u32::MAX;
const UNKNOWN: u64 = u64::MAX;
/// Messages in a page of the ledger: one that grows as a whole would be copied again and again while the run is measured.
const PAGE: usize = 8192;

/// The ledger's messages by their numbers.
#[derive(Debug, Default)]
struct Pages(Vec<Vec<Sent>>);

impl Pages {
    fn push(&mut self, sent: Sent) {
        match self.0.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(sent),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(sent);
                self.0.push(page);
            }
        }
    }

    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PAGE + last.len())
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Sent> {
        self.0.get_mut(number / PAGE)?.get_mut(number % PAGE)
    }
}

/// A request under way: its messages are neighbours in the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    first: usize,
    count: usize,
}

/// Numbers the messages of one event loop and keeps what becomes of them.
#[derive(Debug)]
pub struct Stamps {
    producer: u32,
    run: u64,
    sent: Pages,
    /// Messages that were given to a request already.
    taken: usize,
    queues: Vec<(QueueName, u32)>,
    /// Queues by the addresses of their names, which live as long as the route, and their number.
    known: HashMap<(usize, usize, i32), u32>,
    joint: Option<Rc<Joint>>,
}

/// What of a body lies behind its begin.
#[derive(Clone, Copy, Debug)]
pub enum Rest<'a> {
    /// The bytes, of a size that has a [joint](Stamps::joint), and the CRC32 of those behind the first [`Stamps::READ`].
    Known(&'a Joint, &'a [u8], u32),
    /// Bytes of any size.
    Bytes(&'a [u8]),
}

/// What one event loop knows of its messages.
#[derive(Debug)]
pub struct Ledger {
    producer: u32,
    sent: Pages,
    queues: Vec<(QueueName, u32)>,
}

/// Where every queue ended before the run.
pub type Ends = Vec<(String, String, i32, i64)>;

impl Stamps {
    /// Bytes that a body needs at least: the checker's header, and when the message was due.
    pub const SIZE_MIN: usize = body::HEADER_BYTES + DUE_SIZE;
    /// Bytes of the rest that are read for each checksum.
    pub const READ: usize = body::BEGIN_BYTES - DUE_SIZE;

    /// Of event loop `index` in run `run`.
    #[must_use]
    pub fn new(run: u64, index: usize) -> Stamps {
        // Other runs' messages must not be mistaken for ours: 20 bits of the run, 12 of the loop.
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
        let producer = (run as u32) << 12 | (index as u32 & 0xfff);
        Stamps {
            producer,
            run,
            sent: Pages::default(),
            taken: 0,
            queues: Vec::new(),
            known: hash_map(),
            joint: None,
        }
    }

    /// For rests of this size that need not be read again once their checksum is known: the first size that is asked for,
    /// since nearly all loads have one alone.
    pub fn joint(&mut self, size: usize) -> Option<Rc<Joint>> {
        let behind = size.checked_sub(Stamps::READ)?;
        let joint = self.joint.get_or_insert_with(|| Rc::new(Joint::new(behind)));
        (joint.size() == behind).then(|| Rc::clone(joint))
    }

    /// The begin of the next message's body.
    pub fn stamp(&mut self, queue: &RouteQueue, turn: Turn, rest: Rest<'_>) -> Bytes {
        let number = self.number_of(queue);
        let topic = self.queues.get(number as usize).map_or(0, |(_name, topic)| *topic);
        let sharding_key = turn.key.and_then(|key| u32::try_from(key).ok());
        let identity = Identity {
            id: MessageId {
                producer: self.producer,
                sequence: self.sent.len() as u64,
            },
            sharding_key,
            topic,
            properties: 0,
        };
        self.sent.push(Sent {
            began_ns: turn.now.as_nanos(),
            ended_ns: 0,
            queue_offset: UNKNOWN,
            queue: number,
            sharding_key: sharding_key.unwrap_or(NO_KEY),
        });
        let mut due = [0; DUE_SIZE];
        let (run_part, due_part) = due.split_at_mut(DUE_SIZE / 2);
        run_part.copy_from_slice(&self.run.to_be_bytes());
        due_part.copy_from_slice(&turn.due.as_nanos().to_be_bytes());
        let mut head = [0; Stamps::SIZE_MIN];
        let (header_part, due_part) = head.split_at_mut(body::HEADER_BYTES);
        let header = match rest {
            Rest::Known(joint, bytes, checksum) => {
                let mut begin = [0; body::BEGIN_BYTES];
                let (due_part, read_part) = begin.split_at_mut(DUE_SIZE);
                due_part.copy_from_slice(&due);
                read_part.copy_from_slice(&bytes[..Stamps::READ]);
                body::header_before(&identity, &begin, joint, checksum)
            }
            Rest::Bytes(bytes) => body::header(&identity, &[&due, bytes]),
        };
        header_part.copy_from_slice(&header);
        due_part.copy_from_slice(&due);
        Bytes::copy_from_slice(&head)
    }

    fn number_of(&mut self, queue: &RouteQueue) -> u32 {
        let address = |name: &Rc<str>| Rc::as_ptr(name).cast::<u8>() as usize;
        let key = (address(&queue.topic), address(&queue.broker_name), queue.queue_id);
        let (queues, known) = (&mut self.queues, &mut self.known);
        *known.entry(key).or_insert_with(|| {
            queues.push((QueueName::of(queue), name_checksum(queue.topic.as_bytes())));
            u32::try_from(queues.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// The messages that were stamped since the last call went out as one request.
    pub fn sent(&mut self) -> Mark {
        let first = std::mem::replace(&mut self.taken, self.sent.len());
        Mark {
            first,
            count: self.sent.len() - first,
        }
    }

    /// A request was answered. Without `SEND_OK` nobody can know whether its messages are stored.
    pub fn answered(&mut self, mark: Mark, now: Instant, answer: Option<&Frame>) {
        let stored = answer.filter(|answer| SendStatus::of(answer.response_code()) == Some(SendStatus::Ok));
        // Of all the fields only this one is needed, and reading all costs as much as the checksum.
        let offset = stored.and_then(|answer| answer.ext().number::<u64>("queueOffset"));
        let Some(first_offset) = offset else { return };
        for place in 0..mark.count {
            if let Some(sent) = self.sent.get_mut(mark.first + place) {
                sent.queue_offset = first_offset + place as u64;
                sent.ended_ns = now.as_nanos();
            }
        }
    }

    /// What is known when the loop has ended.
    #[must_use]
    pub fn into_ledger(self) -> Ledger {
        Ledger {
            producer: self.producer,
            sent: self.sent,
            queues: self.queues,
        }
    }
}

impl Ledger {
    fn enter(self, history: &mut History) {
        let queues: Vec<QueueIndex> = self
            .queues
            .iter()
            .map(|(name, _topic)| name.in_history(history))
            .collect();
        for (sequence, sent) in self.sent.0.into_iter().flatten().enumerate() {
            let id = MessageId {
                producer: self.producer,
                sequence: sequence as u64,
            };
            let Some(&queue) = queues.get(sent.queue as usize) else {
                continue;
            };
            let key = (sent.sharding_key != NO_KEY).then_some(sent.sharding_key);
            history.send_began(id, sent.began_ns, Target::Queue(queue), key);
            if sent.queue_offset != UNKNOWN {
                let queue_offset = sent.queue_offset;
                let outcome = Outcome::Acknowledged { queue, queue_offset };
                history.send_ended(id, sent.ended_ns, outcome);
            }
        }
    }
}

/// What following every message has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Messages that were sent.
    pub sent: u64,
    /// Of these, answered with `SEND_OK`.
    pub acknowledged: u64,
    /// Of these, without an answer that says so.
    pub unknown: u64,
    /// Messages that were read back.
    pub read: u64,
    /// Messages that are stored more often than they were sent; allowed only where a send was repeated.
    pub duplicates: u64,
    /// What is wrong, and how often.
    pub violations: BTreeMap<String, u64>,
    /// The first few of each, with queue and offset.
    pub examples: Vec<String>,
    /// Queues that could not be read to their end.
    pub unread: Vec<String>,
    /// How long reading back and comparing took, in seconds.
    pub seconds: f64,
}

impl Verdict {
    fn of(report: &Report, unread: Vec<String>, began: Instant) -> Verdict {
        Verdict {
            sent: report.sent,
            acknowledged: report.acknowledged,
            unknown: report.unknown,
            read: report.reads,
            duplicates: report.duplicates.values().sum(),
            violations: report
                .violations
                .iter()
                .map(|(class, count)| (format!("{class:?}"), *count))
                .collect(),
            examples: report.examples.iter().map(ToString::to_string).collect(),
            unread,
            seconds: began.elapsed().as_secs_f64(),
        }
    }

    /// Whether nothing is wrong and everything was looked at.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.unread.is_empty()
    }

    /// For people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} sent, {} acknowledged, {} unknown, {} read back in {:.1} s: {}",
            self.sent,
            self.acknowledged,
            self.unknown,
            self.read,
            self.seconds,
            if self.is_good() {
                "nothing lost, doubled, reordered or changed"
            } else {
                "WRONG"
            }
        )];
        lines.extend(
            self.violations
                .iter()
                .map(|(class, count)| format!("{count} x {class}")),
        );
        lines.extend(self.examples.iter().cloned());
        lines.extend(self.unread.iter().map(|queue| format!("not read: {queue}")));
        lines
    }
}

/// Where every queue of the run's topics ends now.
///
/// # Errors
/// When a broker does not tell.
pub async fn ends(options: &Options) -> Result<Ends, Error> {
    let client = Client::new(&options.namesrv)?;
    let consumer = PullConsumer::new(&client, &options.group);
    let mut ends = Ends::new();
    for (queue, _address) in all_queues(&client, options).await? {
        let name = QueueName::of(&queue);
        let end = consumer.max_offset(&queue).await?;
        ends.push((name.broker, name.topic, name.queue_id, end));
    }
    Ok(ends)
}

/// Reads back what a run has sent and compares.
///
/// # Errors
/// When the queues cannot be found any more.
pub fn check(options: &Options, ledgers: Vec<Ledger>, begins: &Ends) -> Result<Verdict, Error> {
    let began = Instant::now();
    let mut history = History::new();
    for ledger in ledgers {
        ledger.enter(&mut history);
    }
    let read = runtime::core::run_here(&no_files(), read_back(options.clone(), begins.clone(), history));
    let (history, unread) = read.map_err(Error::Loops)??;
    Ok(Verdict::of(&history.check(), unread, began))
}

/// Reading back, by one reader that takes everything.
struct Back {
    consumer: PullConsumer,
    history: RefCell<History>,
    reader: ReaderIndex,
    unread: RefCell<Vec<String>>,
}

async fn read_back(options: Options, begins: Ends, mut history: History) -> Result<(History, Vec<String>), Error> {
    let client = Client::new(&options.namesrv)?;
    let reader = history.reader(&options.group, true);
    history.drain_began();
    let back = Rc::new(Back {
        consumer: PullConsumer::new(&client, &options.group),
        history: RefCell::new(history),
        reader,
        unread: RefCell::new(Vec::new()),
    });
    let begins: BTreeMap<QueueName, i64> = begins
        .into_iter()
        .map(|(broker, topic, queue_id, end)| {
            (
                QueueName {
                    broker,
                    topic,
                    queue_id,
                },
                end,
            )
        })
        .collect();
    let queues = all_queues(&client, &options)
        .await?
        .into_iter()
        .map(|(queue, _address)| {
            let name = QueueName::of(&queue);
            // A queue that was not there before begins at its first message.
            let begin = begins.get(&name).copied().unwrap_or(0);
            (queue, name, begin)
        });
    let tasks: Vec<_> = queues
        .map(|(queue, name, begin)| runtime::spawn(Rc::clone(&back).read_queue(queue, name, begin)))
        .collect();
    for task in tasks {
        task.await;
    }
    let history = back.history.take();
    let unread = back.unread.take();
    Ok((history, unread))
}

impl Back {
    async fn read_queue(self: Rc<Self>, queue: RouteQueue, name: QueueName, begin: i64) {
        let index = name.in_history(&mut self.history.borrow_mut());
        let (mut next, mut failures) = (begin, 0);
        let start = u64::try_from(begin).unwrap_or(0);
        self.history.borrow_mut().queue_begin_seen(index, start);
        self.history
            .borrow_mut()
            .positioned(self.reader, index, start, Cause::Start);
        loop {
            match self.pull(&queue, index, next, start).await {
                Ok(Pulled { next: after, end }) => {
                    if after >= end {
                        let end = u64::try_from(end).unwrap_or(0);
                        self.history.borrow_mut().drained(index, end);
                        return;
                    }
                    // A broker that does not move on would be read for ever.
                    failures = if after > next { 0 } else { failures + 1 };
                    next = after;
                }
                Err(error) => {
                    failures += 1;
                    if failures < FAILURES_MAX {
                        runtime::sleep(PAUSE).await;
                    } else {
                        self.give_up(&name, next, &error.to_string());
                        return;
                    }
                }
            }
            if failures >= FAILURES_MAX {
                self.give_up(&name, next, "the broker does not move on");
                return;
            }
        }
    }

    fn give_up(&self, name: &QueueName, next: i64, why: &str) {
        let text = format!("{}/{}/{} from {next} on: {why}", name.broker, name.topic, name.queue_id);
        self.unread.borrow_mut().push(text);
    }

    async fn pull(
        &self,
        queue: &RouteQueue,
        index: QueueIndex,
        from: i64,
        start: u64,
    ) -> Result<Pulled, client::Error> {
        let options = PullOptions {
            max: PULL_MAX,
            ..PullOptions::default()
        };
        let began = Instant::now().as_nanos();
        let result = self.consumer.pull(queue, from, &options).await?;
        let ended = Instant::now().as_nanos();
        let offset = |number: i64| u64::try_from(number).unwrap_or(0);
        let poll = Poll {
            began,
            ended,
            from: offset(from),
            next: offset(result.next_begin_offset),
            queue_begin: offset(result.min_offset).max(start),
            queue_end: offset(result.max_offset),
        };
        let mut messages = Vec::new();
        for record in Records::new(&result.records) {
            let record = record?;
            messages.push((offset(record.queue_offset.0), body::decode(record.body)));
        }
        self.history.borrow_mut().polled(self.reader, index, &poll, messages);
        Ok(Pulled {
            next: result.next_begin_offset,
            end: result.max_offset,
        })
    }
}

/// How far a pull has come.
struct Pulled {
    next: i64,
    end: i64,
}
