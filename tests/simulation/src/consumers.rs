//! Consumers: a group that goes on where it was, one that wants some tags only, and the reading of everything at the end.

use crate::producers::{TOPIC, new_client, properties_text, queues_of};
use crate::recorder::{Shared, now};
use checker::{BodyError, Cause, Identity, Poll, QueueIndex, ReaderIndex};
use client::{Client, PullConsumer, PullOptions, PullResult, PullStatus, ReceivedMessage, RouteQueue};
use protocol::message::properties::names;
use runtime::rng::random_below;
use std::rc::Rc;
use std::time::Duration;

/// One queue as one reader of a group reads it.
struct QueueReader {
    recorder: Shared,
    client: Client,
    consumer: PullConsumer,
    queue: RouteQueue,
    index: QueueIndex,
    reader: ReaderIndex,
    tags: &'static str,
}

/// Starts the consumers on this machine: for every queue one of each group.
pub fn start(recorder: &Shared, brokers: &[String]) {
    let client = new_client();
    for (group, tags) in [("everything", "*"), ("some", "a || c")] {
        let consumer = PullConsumer::new(&client, group);
        let reader = recorder.history.borrow_mut().reader(group, tags == "*");
        for queue in brokers.iter().flat_map(|broker| queues_of(broker, TOPIC)) {
            let reader = QueueReader {
                index: recorder.queue(&queue),
                recorder: Rc::clone(recorder),
                client: client.clone(),
                consumer: consumer.clone(),
                queue,
                reader,
                tags,
            };
            runtime::spawn(reader.consume());
        }
    }
}

impl QueueReader {
    /// Pulls, saves its place at times, and at times starts again from what was saved.
    async fn consume(self) {
        let mut cause = Cause::Start;
        while !self.recorder.stopping.get() {
            if let Some(offset) = self.saved_place().await {
                self.position(offset, cause);
                self.pull_for_a_while(offset).await;
                cause = if random_below(2) == 0 {
                    Cause::Restart
                } else {
                    Cause::Rebalance
                };
            }
            runtime::sleep(Duration::from_millis(20 + random_below(200))).await;
        }
    }

    async fn saved_place(&self) -> Option<u64> {
        let saved = match self.consumer.committed_offset(&self.queue).await.ok()? {
            Some(saved) => saved,
            None => self.consumer.min_offset(&self.queue).await.ok()?,
        };
        u64::try_from(saved).ok()
    }

    async fn pull_for_a_while(&self, mut offset: u64) {
        for _pull in 0..20 + random_below(100) {
            if self.recorder.stopping.get() {
                return;
            }
            let options = PullOptions {
                hold: Duration::from_millis(random_below(2) * 800),
                tags: self.tags.to_owned(),
                commit: (random_below(4) == 0).then_some(i64::try_from(offset).unwrap_or(i64::MAX)),
                max: i32::try_from(1 + random_below(32)).unwrap_or(1),
            };
            match self.pull(offset, &options).await {
                Some((next, true)) => offset = next,
                Some((next, false)) => {
                    offset = next;
                    runtime::sleep(Duration::from_millis(random_below(100))).await;
                }
                None => runtime::sleep(Duration::from_millis(100)).await,
            }
            if random_below(10) == 0 {
                let place = i64::try_from(offset).unwrap_or(i64::MAX);
                // A place that is not saved is consumed again after the next start.
                let _saved = self.consumer.commit_offset(&self.queue, place).await;
            }
        }
    }

    /// One pull, and where to go on; whether there was something.
    async fn pull(&self, offset: u64, options: &PullOptions) -> Option<(u64, bool)> {
        let began = now();
        let place = i64::try_from(offset).unwrap_or(i64::MAX);
        let result = self.consumer.pull(&self.queue, place, options).await.ok()?;
        Some(self.record(offset, began, &result))
    }

    fn record(&self, from: u64, began: u64, result: &PullResult) -> (u64, bool) {
        let next = result.next_begin_offset.unsigned_abs();
        let mut history = self.recorder.history.borrow_mut();
        if result.status == PullStatus::OffsetIllegal {
            history.positioned(self.reader, self.index, next, Cause::Corrected);
            history.queue_end_seen(self.index, began, now(), result.max_offset.unsigned_abs());
            return (next, false);
        }
        let messages = match result.messages() {
            Ok(messages) => messages,
            Err(error) => {
                drop(history);
                let queue = &self.queue;
                self.recorder
                    .complain(format!("a pull of {queue:?} from {from} gave no records: {error}"));
                return (next, false);
            }
        };
        let poll = Poll {
            began,
            ended: now(),
            from,
            next,
            queue_begin: result.min_offset.unsigned_abs(),
            queue_end: result.max_offset.unsigned_abs(),
        };
        let read = messages
            .iter()
            .map(|message| (message.queue_offset.unsigned_abs(), identify(message)));
        history.polled(self.reader, self.index, &poll, read);
        (next, result.status == PullStatus::Found)
    }
}

/// What a message says of itself, if body and properties are those that were sent.
fn identify(message: &ReceivedMessage) -> Result<Identity, BodyError> {
    let properties = properties_text(message.tag(), message.property(names::KEYS));
    checker::body::decode_with(&message.body, properties.as_bytes())
}

/// Reads every queue of the topic from begin to end, and says which could not be read within `limit`.
pub async fn drain(recorder: Shared, brokers: Vec<(String, bool)>, limit: Duration) -> Vec<String> {
    let client = new_client();
    let consumer = PullConsumer::new(&client, "drain");
    let mut failures = Vec::new();
    for (broker, damaged) in brokers {
        for queue in queues_of(&broker, TOPIC) {
            let reader = QueueReader {
                index: recorder.queue(&queue),
                recorder: Rc::clone(&recorder),
                client: client.clone(),
                consumer: consumer.clone(),
                queue,
                reader: recorder.history.borrow_mut().reader("drain", true),
                tags: "*",
            };
            if let Err(failure) = reader.read_everything(damaged, limit).await {
                failures.push(format!("{:?}: {failure}", reader.queue));
            }
        }
    }
    failures
}

impl QueueReader {
    /// The queue's begin. A name server that was told late of a broker hears of it with the next registration.
    async fn begin(&self, deadline: u64) -> Result<u64, String> {
        loop {
            match self.consumer.min_offset(&self.queue).await {
                Ok(begin) => return Ok(begin.unsigned_abs()),
                Err(error) if now() >= deadline => return Err(format!("its begin: {error}")),
                Err(_not_yet) => {
                    self.client.forget_route(&self.queue.topic);
                    runtime::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Reads from the begin to what is the end when it is reached. On a damaged medium a place that cannot be read is left
    /// out.
    async fn read_everything(&self, damaged: bool, limit: Duration) -> Result<(), String> {
        let deadline = now().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        let mut offset = self.begin(deadline).await?;
        self.position(offset, Cause::Start);
        let mut last_error = String::new();
        while now() < deadline {
            let (began, place) = (now(), i64::try_from(offset).unwrap_or(i64::MAX));
            match self.consumer.pull(&self.queue, place, &PullOptions::default()).await {
                Ok(result) => {
                    let (next, _found) = self.record(offset, began, &result);
                    if result.status == PullStatus::NoNewMessage && next == offset {
                        let end = self.consumer.max_offset(&self.queue).await;
                        let end = end.map_err(|error| format!("its end: {error}"))?.unsigned_abs();
                        if end <= offset {
                            self.recorder.history.borrow_mut().drained(self.index, end);
                            return Ok(());
                        }
                        if damaged {
                            offset += 1;
                            self.position(offset, Cause::Start);
                        }
                        last_error = format!("nothing at {offset} although the end is {end}");
                    } else {
                        offset = next;
                    }
                }
                Err(error) if damaged => {
                    last_error = error.to_string();
                    offset += 1;
                    self.position(offset, Cause::Start);
                }
                Err(error) => {
                    last_error = error.to_string();
                    runtime::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        Err(format!(
            "not read to its end within {limit:?}, at {offset}: {last_error}"
        ))
    }

    fn position(&self, offset: u64, cause: Cause) {
        let mut history = self.recorder.history.borrow_mut();
        history.positioned(self.reader, self.index, offset, cause);
    }
}
