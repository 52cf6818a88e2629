//! Reading: every queue has one pull after the other, on connections that the queues share.
//!
//! Delivery time of a message that this run sent counts from when it was due, by our own clock; of any other message from
//! its birth, by the wall clocks of both machines.

use crate::compose::due_of;
use crate::error::Error;
use crate::lane::{Lane, limits};
use crate::measure::Recorder;
use crate::run::{ANSWERS_LIMIT, Clock, Shared};
use client::{Admin, Client, PullConsumer, PullOptions, PullStatus, RouteQueue};
use protocol::message::record::Records;
use remoting::Connections;
use runtime::Instant;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the broker may hold a pull.
const HOLD: Duration = Duration::from_secs(1);
/// Pause after a pull that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the next message.
    End,
    /// At the oldest message.
    Begin,
    /// At the oldest message, and the run ends when what was there at its begin is read.
    Backlog,
}

/// The readers of one event loop.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    consumer: PullConsumer,
    options: PullOptions,
    queues: Vec<Source>,
    /// When a message came last.
    last_read: Cell<Option<Instant>>,
}

/// A queue to be read.
#[derive(Debug)]
struct Source {
    queue: RouteQueue,
    address: String,
    lane: Rc<Lane>,
    from: i64,
    /// End of the backlog, if there is one to be read.
    until: Option<i64>,
}

impl Readers {
    /// Finds the queues of one event loop, their offsets, and opens their connections.
    ///
    /// # Errors
    /// When there is no queue or no connection.
    pub async fn prepare(shared: Arc<Shared>, index: usize, from: ReadFrom) -> Result<Readers, Error> {
        let options = &shared.plan.options;
        let client = Client::new(&options.namesrv)?;
        let consumer = PullConsumer::new(&client, &options.group);
        let connections = Connections::new(limits());
        let mut lanes: BTreeMap<(String, usize), Rc<Lane>> = BTreeMap::new();
        let own = all_queues(&client, options).await?;
        let own = own.into_iter().skip(index).step_by(options.loops());
        let mut queues = Vec::new();
        for (number, (queue, address)) in own.enumerate() {
            let key = (address.clone(), number % options.connections_of(index).max(1));
            let lane = match lanes.get(&key) {
                Some(lane) => Rc::clone(lane),
                None => {
                    let lane = Rc::new(Lane::open(&connections, &address).await?);
                    lanes.insert(key, Rc::clone(&lane));
                    lane
                }
            };
            let begin = match from {
                ReadFrom::End => consumer.max_offset(&queue).await?,
                ReadFrom::Begin | ReadFrom::Backlog => consumer.min_offset(&queue).await?,
            };
            let until = match from {
                ReadFrom::Backlog => Some(consumer.max_offset(&queue).await?),
                ReadFrom::End | ReadFrom::Begin => None,
            };
            queues.push(Source {
                queue,
                address,
                lane,
                from: begin,
                until,
            });
        }
        let pulls = PullOptions {
            max: options.pull_max,
            hold: HOLD,
            ..PullOptions::default()
        };
        Ok(Readers {
            consumer,
            options: pulls,
            queues,
            last_read: Cell::new(None),
            shared,
        })
    }

    /// Reads until the run ends; when the last message came.
    pub async fn read(self: Rc<Self>, clock: Clock, recorder: Rc<RefCell<Recorder>>) -> Instant {
        let tasks: Vec<_> = (0..self.queues.len())
            .map(|place| {
                let reading = Reading {
                    all: Rc::clone(&self),
                    clock,
                    recorder: Rc::clone(&recorder),
                };
                runtime::spawn(reading.read_queue(place))
            })
            .collect();
        let all = async {
            for task in tasks {
                task.await;
            }
        };
        let limit = (clock.window.until + ANSWERS_LIMIT + HOLD) - Instant::now();
        if runtime::timeout(limit, all).await.is_err() {
            recorder.borrow_mut().unsent(1, "a pull is not answered");
        }
        self.last_read.get().unwrap_or_else(Instant::now)
    }
}

/// Every queue of every topic that can be read, and its master's address. Topics that are missing are made.
///
/// # Errors
/// When a topic has none.
pub async fn all_queues(
    client: &Client,
    options: &crate::options::Options,
) -> Result<Vec<(RouteQueue, String)>, Error> {
    let admin = Admin::new(client);
    let mut queues = Vec::new();
    for topic in options.topic_names() {
        let route = admin.ensure_topic(&topic, options.queues).await?;
        let before = queues.len();
        queues.extend(route.read_queues.iter().filter_map(|queue| {
            let master = route.master(&queue.broker_name)?;
            Some((queue.clone(), master.to_owned()))
        }));
        if queues.len() == before {
            let wanted = "read";
            return Err(Error::NoQueue { topic, wanted });
        }
    }
    Ok(queues)
}

/// A reader while it reads.
struct Reading {
    all: Rc<Readers>,
    clock: Clock,
    recorder: Rc<RefCell<Recorder>>,
}

impl Reading {
    async fn read_queue(self, place: usize) {
        let Some(source) = self.all.queues.get(place) else {
            return;
        };
        let mut next = source.from;
        let mut end = source.until;
        while self.goes_on(source, next, &mut end).await {
            let due = Instant::now();
            match self.pull(source, next).await {
                Ok(offset) => next = offset,
                Err(why) => {
                    self.recorder.borrow_mut().failed(due, &why);
                    runtime::sleep(PAUSE).await;
                    source.lane.reopen(self.clock.window.until).await;
                }
            }
        }
    }

    /// Whether there is more to read. When sending is over, what was sent until then is read to its end.
    async fn goes_on(&self, source: &Source, next: i64, end: &mut Option<i64>) -> bool {
        let shared = &self.all.shared;
        let now = Instant::now();
        if shared.is_stopped() || now > self.clock.window.until + ANSWERS_LIMIT {
            return false;
        }
        if let Some(end) = end {
            return next < *end;
        }
        if !shared.plan.sends {
            return now < self.clock.window.until;
        }
        if shared.sending.load(Ordering::Acquire) == 0 {
            *end = self.all.consumer.max_offset(&source.queue).await.ok();
            return end.is_none_or(|end| next < end);
        }
        true
    }

    async fn pull(&self, source: &Source, offset: i64) -> Result<i64, String> {
        let all = &self.all;
        let connection = source.lane.connection();
        let pull = all
            .consumer
            .start_pull(&connection, &source.queue, offset, &all.options)
            .map_err(|error| error.to_string())?;
        let answer = pull.await.map_err(|error| error.to_string())?;
        let result = PullConsumer::result(&source.address, answer).map_err(|error| error.to_string())?;
        if result.status == PullStatus::Found {
            self.count(&result.records)?;
        }
        Ok(result.next_begin_offset)
    }

    fn count(&self, records: &[u8]) -> Result<(), String> {
        let (now, now_ms) = (Instant::now(), runtime::wall_clock_ms());
        let recorder = &mut self.recorder.borrow_mut();
        let mut messages = 0;
        for record in Records::new(records) {
            let record = record.map_err(|error| format!("a record cannot be read: {error}"))?;
            messages += 1;
            recorder.received(now, 1, record.size() as u64);
            match due_of(record.body, self.all.shared.number) {
                Some(due) => {
                    let age = Duration::from_nanos(now.as_nanos().saturating_sub(due));
                    recorder.delivered(self.clock.at(due), age);
                }
                None => {
                    let age = u64::try_from(now_ms.saturating_sub(record.born_timestamp)).unwrap_or(0);
                    recorder.delivered(now, Duration::from_millis(age));
                }
            }
        }
        self.all.last_read.set(Some(now));
        self.all.shared.note_read(messages);
        Ok(())
    }
}
