//! Messages: send one.

use super::context::Context;
use super::error::Error;
use super::registry::{Entry, Run};
use clap::{ArgAction, Args};
use client::{Message, Producer, RouteQueue, SendResult};
use serde_json::json;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[Entry::new::<SendMessage>(
    ("sendMessage", "message send"),
    "Send a message",
    &[
        "-t Orders -p hello -k order-17 -c TagA",
        "-t Orders -p hello -b broker-a -i 3 -o json",
    ],
)];

#[derive(Debug, Args)]
pub(super) struct SendMessage {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The body, as UTF-8
    #[arg(short = 'p', long)]
    body: String,
    /// Keys to find it by, parted by blanks
    #[arg(short, long)]
    key: Option<String>,
    /// Its tag
    #[arg(short = 'c', long)]
    tags: Option<String>,
    /// To the broker group with this name
    #[arg(short, long, value_name = "NAME")]
    broker: Option<String>,
    /// To the queue with this number; needs --broker
    #[arg(short = 'i', long, value_name = "N", requires = "broker", value_parser = clap::value_parser!(i32).range(0..))]
    qid: Option<i32>,
    /// Apache's switch for a message trace, which is not sent from here: false
    #[arg(short = 'm', long = "msgTraceEnable", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    trace: bool,
}

impl Run for SendMessage {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        if self.trace {
            let fix = "leave -m away, or send from a client with message trace switched on";
            return Err(Error::other("mqadmin sends no message traces", fix));
        }
        let mut message = Message::new(self.topic.trim(), self.body.trim().to_owned());
        if let Some(tags) = &self.tags {
            message = message.tag(tags.trim());
        }
        if let Some(keys) = &self.key {
            message = message.keys(keys.trim());
        }
        let place = self.broker.as_ref().map(|broker_name| Place {
            broker_name: broker_name.trim().to_owned(),
            queue_id: self.qid,
        });
        send(context, &message, place.as_ref(), out).await
    }
}

/// Where a message is to go, if its sender minds.
#[derive(Clone, Debug)]
struct Place {
    broker_name: String,
    queue_id: Option<i32>,
}

async fn send(context: &Context, message: &Message, place: Option<&Place>, out: &mut dyn Write) -> Result<(), Error> {
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
    let status = result.status.name();
    let queue = &result.queue;
    if context.wants_document() {
        let document = json!({
            "brokerName": &*queue.broker_name,
            "queueId": queue.queue_id,
            "queueOffset": result.queue_offset,
            "status": status,
            "messageId": result.unique_id,
            "offsetMessageId": result.offset_message_id,
        });
        return context.document(out, &document);
    }
    heading!(
        context,
        out,
        "{:<32}  {:<4}  {:<20}    #MsgId",
        "#Broker Name",
        "#QID",
        "#Send Result"
    )?;
    let (name, queue_id, id) = (&*queue.broker_name, queue.queue_id, &result.unique_id);
    Ok(writeln!(out, "{name:<32}  {queue_id:<4}  {status:<20}    {id}")?)
}

/// A result as Java prints it.
pub(super) fn send_result_text(result: &SendResult) -> String {
    format!(
        "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue={}, queueOffset={}]",
        result.status.name(),
        result.unique_id,
        result.offset_message_id,
        queue_text(&result.queue),
        result.queue_offset
    )
}

/// A queue as Java prints it.
pub(super) fn queue_text(queue: &RouteQueue) -> String {
    let (topic, broker_name, queue_id) = (&queue.topic, &queue.broker_name, queue.queue_id);
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}
