//! Everything that a topic holds, read through the broker.

use super::on_a_loop;
use checker::body::decode;
use checker::{BodyError, Identity, Poll, Tick};
use client::{Client, PullConsumer, PullOptions, PullStatus};
use std::time::{Duration, Instant};

/// How long reading may be held up before it counts as unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answered pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    pub queue_id: u32,
    pub began: Instant,
    pub ended: Instant,
    /// The queue offset that was asked for, and the one at which to go on.
    pub from: u64,
    pub next: u64,
    /// The queue's first offset, and the one that its next message gets.
    pub queue_begin: u64,
    pub queue_end: u64,
    /// Queue offset, and what the body says of itself.
    pub messages: Vec<(u64, Result<Identity, BodyError>)>,
}

impl Pull {
    pub(super) fn poll(&self, tick: impl Fn(Instant) -> Tick) -> Poll {
        Poll {
            began: tick(self.began),
            ended: tick(self.ended),
            from: self.from,
            next: self.next,
            queue_begin: self.queue_begin,
            queue_end: self.queue_end,
        }
    }
}

/// Messages that pulls brought.
pub fn count(pulls: &[Pull]) -> usize {
    pulls.iter().map(|pull| pull.messages.len()).sum()
}

/// Reads a topic from its first to its last message, queue by queue.
///
/// # Errors
/// When a queue cannot be read to its end; says which and from where.
pub fn read_back(namesrv: &str, topic: &str) -> Result<Vec<Pull>, String> {
    on_a_loop(async {
        let client = Client::new(namesrv).map_err(|error| error.to_string())?;
        client.set_request_limit(Duration::from_secs(10));
        let consumer = PullConsumer::new(&client, "fault_reader");
        let end = Instant::now() + PATIENCE;
        let queues = loop {
            match consumer.queues(topic).await {
                Ok(queues) if !queues.is_empty() => break queues,
                outcome if Instant::now() >= end => return Err(format!("no route of {topic}: {outcome:?}")),
                _ => {
                    client.forget_route(topic);
                    runtime::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let mut pulls = Vec::new();
        for queue in &queues {
            read_queue(&consumer, queue, &mut pulls).await?;
        }
        Ok(pulls)
    })
}

async fn read_queue(consumer: &PullConsumer, queue: &client::RouteQueue, pulls: &mut Vec<Pull>) -> Result<(), String> {
    let at = |offset: i64| format!("queue {} of {} at {offset}", queue.queue_id, queue.topic);
    let max = consumer.max_offset(queue).await.map_err(|error| error.to_string())?;
    let mut from = consumer.min_offset(queue).await.map_err(|error| error.to_string())?;
    let mut patience = Instant::now() + PATIENCE;
    while from < max {
        let began = Instant::now();
        let pulled = consumer.pull(queue, from, &PullOptions::default()).await;
        let pulled = pulled.map_err(|error| format!("{}: {error}", at(from)))?;
        if matches!(pulled.status, PullStatus::Found | PullStatus::NoMatchedMessage) {
            let messages = pulled.messages().map_err(|error| format!("{}: {error}", at(from)))?;
            let read = messages.iter();
            let read = read.map(|message| (message.queue_offset.unsigned_abs(), decode(&message.body)));
            pulls.push(Pull {
                queue_id: queue.queue_id.unsigned_abs(),
                began,
                ended: Instant::now(),
                from: from.unsigned_abs(),
                next: pulled.next_begin_offset.unsigned_abs(),
                queue_begin: pulled.min_offset.unsigned_abs(),
                queue_end: pulled.max_offset.unsigned_abs(),
                messages: read.collect(),
            });
        }
        if pulled.next_begin_offset > from {
            from = pulled.next_begin_offset;
            patience = Instant::now() + PATIENCE;
            continue;
        }
        if Instant::now() >= patience {
            return Err(format!("{} of {max}: {:?} for {PATIENCE:?}", at(from), pulled.status));
        }
        runtime::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
