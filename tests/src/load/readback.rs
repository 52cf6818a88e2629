//! Everything that a topic holds, read through the broker.

use super::{identity, on_a_loop};
use client::{Client, PullConsumer, PullOptions, PullStatus};
use std::time::{Duration, Instant};

/// How long reading may be held up before it counts as unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// One message that a broker gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub queue_id: i32,
    pub queue_offset: i64,
    /// Sender and number, unless the body is not whole.
    pub identity: Option<(u32, u32)>,
}

/// Reads a topic from its first to its last message, queue by queue.
///
/// # Errors
/// When a queue cannot be read to its end; says which and from where.
pub fn read_back(namesrv: &str, topic: &str) -> Result<Vec<Received>, String> {
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
        let mut received = Vec::new();
        for queue in &queues {
            read_queue(&consumer, queue, &mut received).await?;
        }
        Ok(received)
    })
}

async fn read_queue(
    consumer: &PullConsumer,
    queue: &client::RouteQueue,
    received: &mut Vec<Received>,
) -> Result<(), String> {
    let at = |offset: i64| format!("queue {} of {} at {offset}", queue.queue_id, queue.topic);
    let max = consumer.max_offset(queue).await.map_err(|error| error.to_string())?;
    let mut from = consumer.min_offset(queue).await.map_err(|error| error.to_string())?;
    let mut patience = Instant::now() + PATIENCE;
    while from < max {
        let pulled = consumer.pull(queue, from, &PullOptions::default()).await;
        let pulled = pulled.map_err(|error| format!("{}: {error}", at(from)))?;
        if pulled.status == PullStatus::Found {
            let messages = pulled.messages().map_err(|error| format!("{}: {error}", at(from)))?;
            received.extend(messages.iter().map(|message| Received {
                queue_id: message.queue_id,
                queue_offset: message.queue_offset,
                identity: identity(&message.body),
            }));
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
