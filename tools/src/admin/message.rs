//! Messages: send one.

use super::context::Context;
use super::error::Error;
use crate::output::{Format, json_document};
use client::{Message, Producer, RouteQueue, SendResult, SendStatus};
use serde_json::json;
use std::io::Write;

/// Where a message is to go, if its sender minds.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) broker_name: String,
    pub(super) queue_id: Option<i32>,
}

/// `sendMessage`.
pub(super) async fn send(
    context: &Context,
    message: &Message,
    place: Option<&Place>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let producer = Producer::new(&context.client, &runtime::wall_clock_ms().to_string());
    let result = match place {
        None => producer.send(message).await?,
        Some(place) => {
            let queue = find_queue(&producer, &message.topic, place).await?;
            producer.send_to(&queue, message).await?
        }
    };
    tell(context, &result, out)
}

async fn find_queue(producer: &Producer, topic: &str, place: &Place) -> Result<RouteQueue, Error> {
    let mut queues = producer.queues(topic).await?;
    queues.retain(|queue| *queue.broker_name == *place.broker_name);
    let there = queues.len();
    let wanted = queues
        .into_iter()
        .find(|queue| place.queue_id.is_none_or(|queue_id| queue_id == queue.queue_id));
    wanted.ok_or_else(|| {
        let broker_name = &place.broker_name;
        let cause = match place.queue_id {
            Some(queue_id) if there > 0 => format!(
                "topic {topic} has no queue {queue_id} on {broker_name}, which has {there} that can be written, from 0 on"
            ),
            _ => format!("topic {topic} has no queue that can be written on {broker_name}"),
        };
        Error::other(cause, format!("`mqadmin topicRoute -t {topic}` shows its brokers and queues"))
    })
}

fn tell(context: &Context, result: &SendResult, out: &mut dyn Write) -> Result<(), Error> {
    let status = match result.status {
        SendStatus::Ok => "SEND_OK",
        SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
        SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
        SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
    };
    let queue = &result.queue;
    if context.format == Format::Json {
        let document = json!({
            "brokerName": &*queue.broker_name,
            "queueId": queue.queue_id,
            "queueOffset": result.queue_offset,
            "status": status,
            "messageId": result.unique_id,
            "offsetMessageId": result.offset_message_id,
        });
        return Ok(json_document(out, &document)?);
    }
    writeln!(
        out,
        "{:<32}  {:<4}  {:<20}    #MsgId",
        "#Broker Name", "#QID", "#Send Result"
    )?;
    let (name, queue_id, id) = (&*queue.broker_name, queue.queue_id, &result.unique_id);
    Ok(writeln!(out, "{name:<32}  {queue_id:<4}  {status:<20}    {id}")?)
}
