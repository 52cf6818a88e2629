//! Sending: the senders of each event loop.
//!
//! Closed loop: each connection has `depth` senders, and a sender's next message goes when the answer to the last has come.
//! On a schedule: what is due goes out at once, over the connections in turn, as long as fewer requests are under way than
//! allowed; what has to wait for that still counts its response time from when it was due.

use crate::compose::{Composer, Turn};
use crate::error::Error;
use crate::lane::{Lane, limits};
use crate::measure::Recorder;
use crate::pace::Schedule;
use crate::run::{ANSWERS_LIMIT, Clock, Shared, schedule};
use crate::verify::{Ledger, Mark, Stamps};
use client::{Admin, Client, Prepared, Producer, RouteQueue, SendStatus};
use remoting::{Connections, Invocation, RequestError};
use runtime::Instant;
use runtime::sync::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The producer group.
const GROUP: &str = "mqbench";

/// The senders of one event loop.
#[derive(Debug)]
pub struct Senders {
    shared: Arc<Shared>,
    index: usize,
    producer: Producer,
    lanes: Vec<Rc<Route>>,
    composer: RefCell<Composer>,
    /// Requests that may still go out.
    left: Cell<u64>,
    under_way: Cell<usize>,
    /// Somebody waits for a request to end.
    freed: Notify,
}

/// A connection, and by topic the queues of its broker.
#[derive(Debug)]
struct Route {
    lane: Lane,
    topics: Rc<Vec<Vec<RouteQueue>>>,
}

/// A request under way.
struct Request {
    answer: Invocation,
    due: Instant,
    sent: Instant,
    messages: u64,
    bytes: u64,
    mark: Option<Mark>,
}

impl Senders {
    /// Finds the queues and opens the connections of one event loop.
    ///
    /// # Errors
    /// When there is no queue or no connection.
    pub async fn prepare(shared: Arc<Shared>, index: usize) -> Result<Senders, Error> {
        let options = &shared.plan.options;
        let client = Client::new(&options.namesrv)?;
        let brokers = queues_by_master(&client, options).await?;
        let brokers: Vec<(String, Rc<Vec<Vec<RouteQueue>>>)> = brokers
            .into_iter()
            .map(|(address, topics)| (address, Rc::new(topics)))
            .collect();
        let connections = Connections::new(limits());
        let mut lanes = Vec::new();
        for number in 0..options.connections_of(index) {
            let turn = index + number * options.loops();
            let (address, topics) = brokers.get(turn % brokers.len().max(1)).ok_or_else(|| Error::NoQueue {
                topic: options.topic.clone(),
                wanted: "written",
            })?;
            lanes.push(Rc::new(Route {
                lane: Lane::open(&connections, address).await?,
                topics: Rc::clone(topics),
            }));
        }
        let due_stamp = (shared.plan.reads.is_some()).then_some(shared.number);
        let stamps = shared.plan.follows.then(|| Stamps::new(shared.number, index));
        Ok(Senders {
            producer: Producer::new(&client, GROUP),
            lanes,
            composer: RefCell::new(Composer::new(options, index, due_stamp, stamps)),
            left: Cell::new(share(
                shared.plan.options.quantity,
                options.messages.batch,
                options.loops(),
                index,
            )),
            under_way: Cell::new(0),
            freed: Notify::new(),
            index,
            shared,
        })
    }

    /// Sends until the run ends; when the last answer came, and what is known of each message if it is followed.
    pub async fn send(self: Rc<Self>, clock: Clock, recorder: Rc<RefCell<Recorder>>) -> (Instant, Option<Ledger>) {
        let work = Rc::new(Work {
            senders: Rc::clone(&self),
            clock,
            recorder,
        });
        match schedule(&self.shared, &clock) {
            Some(schedule) => work.send_on_schedule(schedule).await,
            None => Rc::clone(&work).send_closed().await,
        }
        let last = (clock.window.until + ANSWERS_LIMIT) - Instant::now();
        let late = runtime::timeout(last, async {
            while self.under_way.get() > 0 {
                self.freed.notified().await;
            }
        });
        if late.await.is_err() {
            let unanswered = self.under_way.get() as u64;
            let why = format!("no answer within {ANSWERS_LIMIT:?} of the end");
            work.recorder.borrow_mut().unsent(unanswered, &why);
        }
        let stamps = self.composer.borrow_mut().stamps.take();
        (Instant::now(), stamps.map(Stamps::into_ledger))
    }

    fn take_one(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Sharding keys of this event loop: those that are `index` modulo the loops.
    fn own_keys(&self) -> u64 {
        let keys = self.shared.plan.options.messages.ordered_keys;
        keys.saturating_sub(self.index as u64)
            .div_ceil(self.shared.wakes.len() as u64)
    }

    /// The sharding key with that number among this loop's.
    fn key(&self, number: u64) -> u64 {
        number * self.shared.wakes.len() as u64 + self.index as u64
    }
}

/// Requests of one event loop out of `quantity` messages; all there are if it is 0.
fn share(quantity: u64, batch: usize, loops: usize, index: usize) -> u64 {
    if quantity == 0 {
        return u64::MAX;
    }
    let requests = quantity.div_ceil(batch.max(1) as u64);
    requests.saturating_sub(index as u64).div_ceil(loops as u64)
}

/// By address of a master, and by topic: the queues that can be written. Topics that are missing are made.
async fn queues_by_master(
    client: &Client,
    options: &crate::options::Options,
) -> Result<BTreeMap<String, Vec<Vec<RouteQueue>>>, Error> {
    let mut brokers: BTreeMap<String, Vec<Vec<RouteQueue>>> = BTreeMap::new();
    let admin = Admin::new(client);
    for topic in options.topic_names() {
        let route = admin.ensure_topic(&topic, options.queues).await?;
        let mut of_topic: BTreeMap<String, Vec<RouteQueue>> = BTreeMap::new();
        for queue in &route.write_queues {
            if let Some(master) = route.master(&queue.broker_name) {
                of_topic.entry(master.to_owned()).or_default().push(queue.clone());
            }
        }
        if of_topic.is_empty() {
            return Err(Error::NoQueue {
                topic,
                wanted: "written",
            });
        }
        for (master, queues) in of_topic {
            brokers.entry(master).or_default().push(queues);
        }
    }
    Ok(brokers)
}

/// The senders while they send.
struct Work {
    senders: Rc<Senders>,
    clock: Clock,
    recorder: Rc<RefCell<Recorder>>,
}

impl Work {
    async fn send_closed(self: Rc<Self>) {
        let depth = self.senders.shared.plan.options.depth.max(1);
        let count = self.senders.lanes.len() * depth;
        let tasks: Vec<_> = (0..count)
            .map(|sender| runtime::spawn(Rc::clone(&self).send_one_by_one(sender as u64, count as u64)))
            .collect();
        let all = async {
            for task in tasks {
                task.await;
            }
        };
        // Those that wait for an answer are counted by the caller.
        let _late = runtime::timeout((self.clock.window.until + ANSWERS_LIMIT) - Instant::now(), all).await;
    }

    /// One sender: a message, its answer, the next message.
    async fn send_one_by_one(self: Rc<Self>, sender: u64, senders: u64) {
        let all = &self.senders;
        let ordered = all.shared.plan.options.messages.ordered_keys > 0;
        // This sender's keys are those whose number is its own modulo the senders.
        let keys = all.own_keys().saturating_sub(sender).div_ceil(senders);
        if ordered && keys == 0 {
            return;
        }
        let place = usize::try_from(sender).unwrap_or(0) % all.lanes.len();
        let Some(route) = all.lanes.get(place) else { return };
        let mut number = 0;
        loop {
            let now = Instant::now();
            if !all.shared.goes_on(&self.clock, now) || !all.take_one() {
                return;
            }
            let key = ordered.then(|| all.key(sender + number % keys * senders));
            let turn = Turn {
                number,
                sender,
                key,
                due: now,
                now,
            };
            if let Some(request) = self.start(route, turn) {
                self.finish(request).await;
            }
            number += 1;
            if route.lane.is_closed() && !route.lane.reopen(self.clock.window.until).await {
                return;
            }
        }
    }

    async fn send_on_schedule(self: &Rc<Self>, schedule: Schedule) {
        let all = &self.senders;
        let options = &all.shared.plan.options;
        let (index, until) = (all.index, self.clock.window.until);
        let window = options.window_of(index);
        let last = schedule.requests_before(index, until).min(all.left.get());
        let mut number = 0;
        // From here on, what is late is late by the generator.
        let mut free_since = Instant::now();
        while number < last && !all.shared.is_stopped() {
            let (now, due) = (Instant::now(), schedule.due_in(index, number));
            if due > now {
                all.shared.wakes[index].notified().await;
                continue;
            }
            if all.under_way.get() >= window {
                if now > until + ANSWERS_LIMIT {
                    break;
                }
                self.recorder.borrow_mut().held_back(due);
                let limit = (until + ANSWERS_LIMIT) - now;
                let _late = runtime::timeout(limit, self.wait_below(window)).await;
                free_since = Instant::now();
                continue;
            }
            self.recorder.borrow_mut().lagged(now, due, due.max(free_since));
            self.send_due(number, due, now);
            number += 1;
        }
        if !all.shared.is_stopped() {
            let why = format!("never sent: {window} requests were under way until the end");
            self.recorder.borrow_mut().unsent(last - number, &why);
        }
    }

    async fn wait_below(&self, window: usize) {
        while self.senders.under_way.get() >= window {
            self.senders.freed.notified().await;
        }
    }

    fn send_due(self: &Rc<Self>, number: u64, due: Instant, now: Instant) {
        let all = &self.senders;
        let keys = all.own_keys();
        let key = (keys > 0).then(|| number % keys);
        let place = usize::try_from(key.unwrap_or(number)).unwrap_or(0) % all.lanes.len();
        let Some(route) = all.lanes.get(place) else { return };
        let turn = Turn {
            number,
            sender: all.index as u64,
            key: key.map(|number| all.key(number)),
            due,
            now,
        };
        if let Some(request) = self.start(route, turn) {
            let work = Rc::clone(self);
            runtime::spawn(async move { work.finish(request).await });
        }
        if route.lane.is_closed() {
            let (route, until) = (Rc::clone(route), self.clock.window.until);
            runtime::spawn(async move { route.lane.reopen(until).await });
        }
    }

    fn start(&self, route: &Route, turn: Turn) -> Option<Request> {
        match self.try_start(route, turn) {
            Ok(request) => {
                self.senders.under_way.set(self.senders.under_way.get() + 1);
                Some(request)
            }
            Err(error) => {
                self.recorder.borrow_mut().failed(turn.due, &error.to_string());
                None
            }
        }
    }

    fn try_start(&self, route: &Route, turn: Turn) -> Result<Request, RequestError> {
        let connection = route.lane.connection();
        let mut composer = self.senders.composer.borrow_mut();
        let composed = composer
            .compose(&route.topics, turn)
            .expect("every topic of a lane has a queue");
        let message = Prepared {
            properties: composer.properties(),
            batch: self.senders.shared.plan.options.messages.batch > 1,
            sys_flag: 0,
        };
        let size = composed.body.iter().map(bytes::Bytes::len).sum();
        let started = self
            .senders
            .producer
            .start_prepared(&connection, composed.queue, message, size, composed.body);
        // Also when it could not go out: else its messages would be taken for a part of the next request.
        let mark = composer.stamps.as_mut().map(Stamps::sent);
        let answer = started?;
        Ok(Request {
            answer,
            due: turn.due,
            sent: turn.now,
            messages: composed.messages,
            bytes: composed.bytes,
            mark,
        })
    }

    async fn finish(&self, request: Request) {
        let answered = request.answer.await;
        let now = Instant::now();
        let mut recorder = self.recorder.borrow_mut();
        let status = match &answered {
            Ok(answer) => SendStatus::of(answer.response_code()),
            Err(_broken) => None,
        };
        match (status, &answered) {
            (Some(SendStatus::Ok), _) => {
                recorder.sent_ok(now, request.due, request.sent, request.messages, request.bytes);
            }
            (Some(less), _) => {
                recorder.sent_less_safe(now, request.due, request.sent, request.messages, less.name());
            }
            (None, Ok(answer)) => {
                let remark = answer.remark().unwrap_or_default();
                recorder.failed(request.due, &format!("{} {remark}", answer.response_code()));
            }
            (None, Err(error)) => recorder.failed(request.due, &error.to_string()),
        }
        drop(recorder);
        if let (Some(mark), Some(stamps)) = (request.mark, &mut self.senders.composer.borrow_mut().stamps) {
            stamps.answered(mark, now, answered.as_ref().ok());
        }
        self.senders.under_way.set(self.senders.under_way.get() - 1);
        self.senders.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loops_shares_add_up_to_the_quantity() {
        for (quantity, batch, loops) in [(1, 1, 4), (1000, 1, 3), (1000, 7, 2)] {
            let sum: u64 = (0..loops).map(|index| share(quantity, batch, loops, index)).sum();
            assert_eq!(sum, quantity.div_ceil(batch as u64), "{quantity} in {loops} loops");
        }
        assert_eq!(share(0, 1, 4, 2), u64::MAX);
    }
}
