//! A load of our own client that notes every answer with its time, and the check of what a broker gives back.
//!
//! A sender numbers its messages and sends each once, waiting for the answer: SEND_OK is acknowledged, everything else is
//! unsure, and may be there or not. Sender s always sends to queue s mod queues, so per queue the numbers of a sender only
//! grow. Each body says whose it is, which number it has, and whether it is whole; the queue checker judges.

mod check;
mod history;
mod readback;
mod recorded;

pub use check::{check, check_after_power_cut};
pub use history::{Answer, History};
pub use readback::{Pull, count, read_back};
pub use recorded::judge_recording;

use bytes::Bytes;
use checker::body::{encode, name_checksum};
use checker::{Identity, MessageId};
use client::{Admin, Client, Message, Producer, RouteQueue, SendStatus};
use protocol::body::topic::TopicConfig;
use runtime::core::run_here;
use runtime::probe::{IoPath, Refusal};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a topic may take from its making until the name server knows it.
const ROUTE_LIMIT: Duration = Duration::from_secs(30);
/// How long a sender rests after a failure: a broker that is gone is not hammered.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What to send.
#[derive(Clone, Debug)]
pub struct Options {
    pub topic: String,
    pub queues: u32,
    /// Senders, each with one message under way. They share one connection.
    pub senders: u32,
    /// Bytes of a body.
    pub size: usize,
    /// How long an answer is waited for.
    pub limit: Duration,
    /// Pause of a sender between an answer and its next message.
    pub gap: Duration,
}

impl Options {
    /// 32 senders to 8 queues, as fast as the answers come.
    pub fn new(topic: &str) -> Options {
        Options {
            topic: topic.to_owned(),
            queues: 8,
            senders: 32,
            size: 512,
            limit: Duration::from_secs(3),
            gap: Duration::ZERO,
        }
    }
}

/// A load under way; ends with the value.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    history: Mutex<History>,
}

impl Load {
    /// Makes the topic and begins to send.
    pub fn start(namesrv: &str, options: &Options) -> Load {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            history: Mutex::new(History::new(options)),
        });
        let (ready, started) = channel();
        let (namesrv, options, of_thread) = (namesrv.to_owned(), options.clone(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            on_a_loop(async move {
                let client = Client::new(&namesrv).expect("a name server is given");
                let queues = make_topic(&client, &options).await;
                ready.send(()).expect("the starter waits");
                send_until_stopped(client, queues, options, of_thread).await;
            });
        });
        // The thread has said why when it ended without a word.
        started.recv().expect("the load starts");
        Load {
            shared,
            thread: Some(thread),
        }
    }

    /// Messages acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more messages are acknowledged, and returns how long that took.
    pub fn await_more(&self, more: u64, limit: Duration) -> Duration {
        let (from, begin) = (self.acknowledged(), Instant::now());
        while self.acknowledged() < from + more {
            assert!(
                begin.elapsed() < limit,
                "{} of {more} messages were acknowledged within {limit:?}; answers so far: {}",
                self.acknowledged() - from,
                self.history().reasons()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        begin.elapsed()
    }

    /// What has been answered so far.
    pub fn history(&self) -> History {
        self.shared.lock().clone()
    }

    /// How many sends failed so far.
    pub fn failed(&self) -> u64 {
        self.shared.lock().failed()
    }

    /// Waits for the answers under way, at most their limit, and returns everything.
    pub fn stop(mut self) -> History {
        self.end();
        self.history()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the senders has been printed; what was answered until then stands.
            drop(thread.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a client's work on an event loop of this thread.
pub fn on_a_loop<F: Future>(work: F) -> F::Output {
    run_here(&IoPath::Blocking(Refusal::Configured), work).expect("an event loop can be made")
}

/// Makes the topic on the only master and waits until clients can find it.
async fn make_topic(client: &Client, options: &Options) -> Vec<RouteQueue> {
    let end = Instant::now() + ROUTE_LIMIT;
    let queues = i32::try_from(options.queues).expect("few queues");
    let topic = TopicConfig {
        topic_name: options.topic.clone(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    };
    loop {
        let made = async {
            let admin = Admin::new(client);
            let masters = admin.masters("DefaultCluster").await?;
            if let Some(master) = masters.first() {
                admin.create_topic(master, &topic).await?;
            }
            client.fresh_route(&options.topic).await
        };
        match made.await {
            Ok(route) if !route.write_queues.is_empty() => return route.write_queues.clone(),
            outcome => assert!(
                Instant::now() < end,
                "no queue of {} within {ROUTE_LIMIT:?}: {outcome:?}",
                options.topic
            ),
        }
        runtime::sleep(Duration::from_millis(20)).await;
    }
}

async fn send_until_stopped(client: Client, queues: Vec<RouteQueue>, options: Options, shared: Arc<Shared>) {
    client.set_request_limit(options.limit);
    let producer = Producer::new(&client, "fault_load");
    let options = Rc::new(options);
    let senders: Vec<_> = (0..options.senders)
        .map(|sender| {
            let queue = queues[sender as usize % queues.len()].clone();
            let (producer, options, shared) = (producer.clone(), Rc::clone(&options), Arc::clone(&shared));
            runtime::spawn(send(producer, sender, queue, options, shared))
        })
        .collect();
    for sender in senders {
        sender.await;
    }
}

async fn send(producer: Producer, sender: u32, queue: RouteQueue, options: Rc<Options>, shared: Arc<Shared>) {
    let mut number = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        shared.lock().sent(sender, number);
        let message = Message::new(&options.topic, body(&options.topic, sender, number, options.size));
        let answer = match producer.send_to(&queue, &message).await {
            Ok(result) if result.status == SendStatus::Ok => Ok(result.queue_offset.unsigned_abs()),
            Ok(result) => Err(format!("{:?}", result.status)),
            Err(error) => Err(reason(&error)),
        };
        let failed = answer.is_err();
        // Noted before it is counted: who has seen the count finds the answer.
        shared.lock().answered(sender, number, answer);
        if failed {
            runtime::sleep(AFTER_FAILURE).await;
        } else {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            if !options.gap.is_zero() {
                runtime::sleep(options.gap).await;
            }
        }
        number += 1;
    }
}

/// What a client sees of a failure, without what differs from message to message.
fn reason(error: &client::Error) -> String {
    match error {
        client::Error::Refused { code, remark, .. } => {
            let remark: String = remark.chars().filter(|c| !c.is_ascii_digit()).take(110).collect();
            format!("{code}: {remark}")
        }
        client::Error::NoAnswer { error, .. } => format!("no answer: {error}"),
        other => other.to_string(),
    }
}

/// What the queue checker knows a message by.
fn body(topic: &str, sender: u32, number: u32, size: usize) -> Bytes {
    let identity = Identity {
        id: MessageId {
            producer: sender,
            sequence: u64::from(number),
        },
        sharding_key: None,
        topic: name_checksum(topic.as_bytes()),
        properties: 0,
    };
    encode(&identity, size).into()
}
