//! A message through a broker, as any client would send and read it: what `up` calls ready.

use client::{Admin, Client, Message, Producer, PullConsumer, PullOptions};
use protocol::body::topic::TopicConfig;
use std::time::Duration;

/// The topic of the first message.
const TOPIC: &str = "ringmq-up";
/// The group that sends and reads it.
const GROUP: &str = "ringmq-up";
/// How long it may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Sends a message through the name servers and the broker of this name and address, and reads it back.
///
/// # Errors
/// What went wrong, or that it took too long.
pub(crate) async fn send(name_servers: &str, broker_name: &str, broker: &str) -> Result<(), String> {
    let sent = runtime::timeout(LIMIT, send_and_read(name_servers, broker_name, broker)).await;
    sent.map_err(|_late| format!("no answer within {} s", LIMIT.as_secs()))
        .flatten()
}

async fn send_and_read(name_servers: &str, broker_name: &str, broker: &str) -> Result<(), String> {
    let problem = |error: client::Error| error.to_string();
    let client = Client::new(name_servers).map_err(problem)?;
    let topic = TopicConfig {
        topic_name: TOPIC.to_owned(),
        read_queue_nums: 1,
        write_queue_nums: 1,
        ..TopicConfig::default()
    };
    Admin::new(&client)
        .create_topic(broker, &topic)
        .await
        .map_err(problem)?;
    let producer = Producer::new(&client, GROUP);
    // The broker tells the name servers of a new topic a moment later.
    let queue = loop {
        if client.fresh_route(TOPIC).await.is_ok() {
            let queues = producer.queues(TOPIC).await.map_err(problem)?;
            if let Some(queue) = queues.into_iter().find(|queue| *queue.broker_name == *broker_name) {
                break queue;
            }
        }
        runtime::sleep(Duration::from_millis(5)).await;
    };
    let text = format!("sent at {}", runtime::wall_clock_ms());
    let sent = producer
        .send_to(&queue, &Message::new(TOPIC, text.clone()))
        .await
        .map_err(problem)?;
    let hold = PullOptions {
        hold: Duration::from_secs(3),
        ..PullOptions::default()
    };
    let consumer = PullConsumer::new(&client, GROUP);
    let pulled = consumer
        .pull(&sent.queue, sent.queue_offset, &hold)
        .await
        .map_err(problem)?;
    let messages = pulled.messages().map_err(|error| error.to_string())?;
    if messages.iter().any(|message| message.body == text.as_bytes()) {
        Ok(())
    } else {
        Err(format!(
            "it was stored as {} and is not there: {:?}",
            sent.offset_message_id, pulled.status
        ))
    }
}
