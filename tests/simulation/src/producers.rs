//! Producers, each in its own way: one message after the other, many at once, batches, with retries.

use crate::cluster::{CLUSTER, NAME_SERVERS};
use crate::plan::Plan;
use crate::recorder::{Shared, now};
use checker::body::{encode, name_checksum};
use checker::{Identity, MessageId, Outcome, Target};
use client::{Admin, Client, Error, Message, Producer, RouteQueue, SendResult, SendStatus};
use protocol::body::topic::TopicConfig;
use protocol::response_code::ResponseCode;
use runtime::rng::random_below;
use runtime::sync::Semaphore;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The topic that lives as long as the run.
pub const TOPIC: &str = "orders";
/// Its queues on each broker.
pub const QUEUES: i32 = 3;
/// How long a client waits for an answer.
const REQUEST_LIMIT: Duration = Duration::from_millis(1_500);
/// Sends under way of a producer that does not wait for answers.
const DEPTH: usize = 16;
const BATCH_MAX: u64 = 8;

/// How a producer goes about it.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One after the other, the queue chosen by sharding key, each sent once.
    Ordered,
    /// One after the other, any queue, again at another broker when there is no answer.
    Retrying,
    /// Many at a time, each sent once.
    Deep,
    /// Several messages in one request.
    Batches,
}

const WAYS: [Way; 4] = [Way::Ordered, Way::Retrying, Way::Deep, Way::Batches];

/// A client with the limits of this run.
///
/// # Panics
/// Never: the name servers' addresses are given.
#[must_use]
pub fn new_client() -> Client {
    let client = Client::new(NAME_SERVERS).expect("name servers are given");
    client.set_request_limit(REQUEST_LIMIT);
    client
}

/// One producer's means.
struct Sender {
    recorder: Shared,
    client: Client,
    producer: Producer,
    number: u32,
    next: Cell<u64>,
    body_bytes_max: u64,
}

/// Starts the producers on this machine.
pub fn start(recorder: &Shared, plan: &Plan) {
    for (number, way) in (0..).zip(WAYS) {
        let sender = Sender::new(recorder, number, plan.body_bytes_max);
        let pause = plan.pause_between_sends;
        runtime::spawn(async move { Rc::new(sender).produce(way, pause).await });
    }
    let (recorder, body_bytes_max) = (Rc::clone(recorder), plan.body_bytes_max);
    let number = u32::try_from(WAYS.len()).unwrap_or(u32::MAX);
    runtime::spawn(async move {
        let sender = Rc::new(Sender::new(&recorder, number, body_bytes_max));
        sender.use_topics_that_come_and_go().await;
    });
}

/// Sends to every queue of the topic, again and again, until each has taken a message; says which has not.
pub async fn every_queue_takes_a_message(recorder: Shared, brokers: Vec<String>, limit: Duration) -> Vec<RouteQueue> {
    let sender = Sender::new(&recorder, 100, 200);
    let mut left: Vec<RouteQueue> = brokers.iter().flat_map(|broker| queues_of(broker, TOPIC)).collect();
    let deadline = now().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    while !left.is_empty() && now() < deadline {
        let mut refused = Vec::new();
        for queue in left {
            if !sender.send_to(&queue, None).await {
                sender.client.forget_route(TOPIC);
                refused.push(queue);
            }
        }
        left = refused;
        if !left.is_empty() {
            runtime::sleep(Duration::from_millis(500)).await;
        }
    }
    left
}

/// The queues of a topic on a broker.
pub fn queues_of(broker: &str, topic: &str) -> impl Iterator<Item = RouteQueue> + use<> {
    let (broker, topic): (Rc<str>, Rc<str>) = (broker.into(), topic.into());
    (0..QUEUES).map(move |queue_id| RouteQueue {
        topic: Rc::clone(&topic),
        broker_name: Rc::clone(&broker),
        queue_id,
    })
}

/// The settings of a topic.
#[must_use]
pub fn topic_config(topic: &str) -> TopicConfig {
    TopicConfig {
        topic_name: topic.to_owned(),
        read_queue_nums: QUEUES,
        write_queue_nums: QUEUES,
        ..TopicConfig::default()
    }
}

impl Sender {
    fn new(recorder: &Shared, number: u32, body_bytes_max: u64) -> Sender {
        let client = new_client();
        Sender {
            recorder: Rc::clone(recorder),
            producer: Producer::new(&client, "producers"),
            client,
            number,
            next: Cell::new(0),
            body_bytes_max,
        }
    }

    async fn produce(self: Rc<Self>, way: Way, pause: Duration) {
        let free = Arc::new(Semaphore::new(DEPTH));
        while !self.recorder.stopping.get() {
            match way {
                Way::Ordered => {
                    let key = u32::try_from(random_below(20)).unwrap_or(0);
                    if let Some(queue) = self.queue_for(u64::from(key)).await {
                        self.send_to(&queue, Some(key)).await;
                    }
                }
                Way::Retrying => self.send_with_retries().await,
                Way::Deep => {
                    let (sender, free) = (Rc::clone(&self), Arc::clone(&free));
                    let permit = free.acquire_owned().await;
                    runtime::spawn(async move {
                        if let Some(queue) = sender.queue_for(random_below(1 << 20)).await {
                            sender.send_to(&queue, None).await;
                        }
                        drop(permit);
                    });
                }
                Way::Batches => self.send_batch().await,
            }
            let longest = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
            runtime::sleep(Duration::from_micros(random_below(longest))).await;
        }
    }

    /// The queue of a key: of all that there are, whether their brokers are up or not, so that a key keeps its queue.
    async fn queue_for(&self, key: u64) -> Option<RouteQueue> {
        let queues = self.producer.queues(TOPIC).await.ok()?;
        let place = key % u64::try_from(queues.len()).ok()?.max(1);
        queues.into_iter().nth(usize::try_from(place).ok()?)
    }

    fn new_message(&self, topic: &str, sharding_key: Option<u32>) -> (MessageId, Message) {
        let id = MessageId {
            producer: self.number,
            sequence: self.next.get(),
        };
        self.next.set(id.sequence + 1);
        let (tag, keys) = match random_below(3) {
            0 => (Some("a"), None),
            1 => (Some("b"), Some(format!("{}-{}", id.producer, id.sequence))),
            _ => (None, None),
        };
        let identity = Identity {
            id,
            sharding_key,
            topic: name_checksum(topic.as_bytes()),
            properties: name_checksum(properties_text(tag, keys.as_deref()).as_bytes()),
        };
        let size = usize::try_from(random_below(self.body_bytes_max)).unwrap_or(0);
        let message = Message::new(topic, encode(&identity, size));
        let message = tag.into_iter().fold(message, Message::tag);
        let message = keys.iter().fold(message, |message, keys| message.keys(keys));
        (id, message)
    }

    /// Sends one message to a queue, once. Says whether it was acknowledged.
    async fn send_to(&self, queue: &RouteQueue, sharding_key: Option<u32>) -> bool {
        let (id, message) = self.new_message(&queue.topic, sharding_key);
        let index = self.recorder.queue(queue);
        let began = |recorder: &Shared| {
            let mut history = recorder.history.borrow_mut();
            history.send_began(id, now(), Target::Queue(index), sharding_key);
        };
        began(&self.recorder);
        let sent = self.producer.send_to(queue, &message).await;
        if sent.is_err() {
            self.client.forget_route(&queue.topic);
        }
        let outcome = match &sent {
            Err(error) if surely_refused(error) => Outcome::Rejected,
            // A deleted topic's queue is not asked for again by its name.
            Ok(result) if result.status == SendStatus::Ok => Outcome::Acknowledged {
                queue: index,
                queue_offset: result.queue_offset.unsigned_abs(),
            },
            _ => Outcome::Unknown,
        };
        self.ended(id, outcome)
    }

    fn ended(&self, id: MessageId, outcome: Outcome) -> bool {
        let acknowledged = matches!(outcome, Outcome::Acknowledged { .. });
        let count = self.recorder.acknowledged.get() + u64::from(acknowledged);
        self.recorder.acknowledged.set(count);
        self.recorder.history.borrow_mut().send_ended(id, now(), outcome);
        acknowledged
    }

    fn began_with_retries(&self, id: MessageId) {
        let mut history = self.recorder.history.borrow_mut();
        history.send_began(id, now(), Target::Topic(TOPIC), None);
        // The client's own retries are not told one by one.
        history.send_retried(id);
    }

    /// Of a send with retries the last refusal says nothing about the attempts before.
    fn outcome_of(&self, sent: &Result<SendResult, Error>, place_in_batch: u64) -> Outcome {
        match sent {
            Ok(result) if result.status == SendStatus::Ok => Outcome::Acknowledged {
                queue: self.recorder.queue(&result.queue),
                queue_offset: result.queue_offset.unsigned_abs() + place_in_batch,
            },
            _ => Outcome::Unknown,
        }
    }

    async fn send_with_retries(&self) {
        let (id, message) = self.new_message(TOPIC, None);
        self.began_with_retries(id);
        let sent = self.producer.send(&message).await;
        let outcome = self.outcome_of(&sent, 0);
        self.ended(id, outcome);
    }

    async fn send_batch(&self) {
        let messages: Vec<(MessageId, Message)> = (0..=random_below(BATCH_MAX))
            .map(|_place| self.new_message(TOPIC, None))
            .collect();
        let (ids, messages): (Vec<MessageId>, Vec<Message>) = messages.into_iter().unzip();
        for id in &ids {
            self.began_with_retries(*id);
        }
        let sent = self.producer.send_batch(&messages).await;
        for (place, id) in (0..).zip(ids) {
            let outcome = self.outcome_of(&sent, place);
            self.ended(id, outcome);
        }
    }

    /// Makes a topic, sends to it, deletes it, and does the same again under its name.
    async fn use_topics_that_come_and_go(&self) {
        let admin = Admin::new(&self.client);
        let mut name = 0;
        while !self.recorder.stopping.get() {
            let topic = format!("passing-{name}");
            if self.create_everywhere(&admin, &topic).await {
                for _message in 0..10 {
                    // Nobody reads these topics at the end, so they have to be gone by then.
                    if self.recorder.stopping.get() {
                        break;
                    }
                    if let Ok(queues) = self.producer.queues(&topic).await
                        && let Some(queue) = pick(&queues)
                    {
                        self.send_to(&queue, None).await;
                    }
                    runtime::sleep(Duration::from_millis(random_below(50))).await;
                }
            }
            self.recorder.history.borrow_mut().topic_deleted(&topic);
            // After a deletion that was not answered, another may still come late: the name is burnt.
            let deleted = admin.delete_topic(CLUSTER, &topic).await;
            name += u64::from(deleted.is_err());
            runtime::sleep(Duration::from_millis(random_below(400))).await;
        }
    }

    async fn create_everywhere(&self, admin: &Admin, topic: &str) -> bool {
        let Ok(masters) = admin.masters(CLUSTER).await else {
            return false;
        };
        for address in masters {
            if admin.create_topic(&address, &topic_config(topic)).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// A message's tag and keys, as their checksum in the body is made.
#[must_use]
pub fn properties_text(tag: Option<&str>, keys: Option<&str>) -> String {
    format!("tag {tag:?}, keys {keys:?}")
}

fn pick(queues: &[RouteQueue]) -> Option<RouteQueue> {
    let place = random_below(u64::try_from(queues.len()).ok()?);
    queues.get(usize::try_from(place).ok()?).cloned()
}

/// Refusals that the broker gives before it stores anything.
fn surely_refused(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        matches!(
            code,
            ResponseCode::TOPIC_NOT_EXIST
                | ResponseCode::NO_PERMISSION
                | ResponseCode::SYSTEM_BUSY
                | ResponseCode::MESSAGE_ILLEGAL
                | ResponseCode::INVALID_PARAMETER
        )
    })
}
