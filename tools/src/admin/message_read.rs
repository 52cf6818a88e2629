//! Reading queues: everything of a topic, one queue, a few messages, and the entries of a consume queue as they are.

use super::context::Context;
use super::error::Error;
use super::message::queue_text;
use super::message_text;
use super::registry::{Entry, Run};
use super::time_text::parse;
use super::topic::masters_of;
use clap::{ArgAction, Args};
use client::{PullConsumer, PullOptions, PullStatus, ReceivedMessage, RouteQueue};
use protocol::header::query::QueryConsumeQueueRequest;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

/// The group that tools read as.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<PrintMsg>(
        ("printMsg", "message print"),
        "Print the messages of a topic, queue by queue",
        &[
            "-t Orders",
            "-t Orders -s TagA -b 2026-01-31#08:00:00:000",
            "-t Orders -d false -o json",
        ],
    ),
    Entry::new::<PrintMsgByQueue>(
        ("printMsgByQueue", "message print-queue"),
        "Print or count the messages of one queue",
        &[
            "-t Orders -a broker-a -i 0 -p true -d true",
            "-t Orders -a broker-a -i 0 -f true",
        ],
    ),
    Entry::new::<ConsumeMessage>(
        ("consumeMessage", "message consume"),
        "Read messages as a consumer group would, without moving its offsets",
        &["-t Orders -c 10", "-t Orders -b broker-a -i 0 -o 42 -c 1"],
    ),
    Entry::new::<QueryCq>(
        ("queryCq", "queue entries"),
        "Entries of a consume queue as they are",
        &[
            "-t Orders -q 0 -i 0 -c 5",
            "-t Orders -q 0 -i 0 -b 127.0.0.1:10911 -o json",
        ],
    ),
];

/// Which messages are printed.
#[derive(Debug, Args)]
struct Wanted {
    /// How to print bodies: UTF-8
    #[arg(short = 'c', long = "charsetName", value_name = "CHARSET", default_value = "UTF-8", value_parser = ["UTF-8", "utf-8"])]
    _charset: String,
    /// Only messages of these tags, as TagA || TagB
    #[arg(short = 's', long = "subExpression", value_name = "TAGS", default_value = "*")]
    expression: String,
    /// From this time on: milliseconds since 1970 or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(short, long = "beginTimestamp", value_name = "TIME", value_parser = parse)]
    begin: Option<i64>,
    /// Before this time
    #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = parse)]
    end: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct PrintMsg {
    /// The topic
    #[arg(short, long)]
    topic: String,
    #[command(flatten)]
    wanted: Wanted,
    /// With the bodies: true or false
    #[arg(short = 'd', long = "printBody", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    body: bool,
    /// Topic by whose route light message queues are found
    #[arg(short = 'l', long = "lmqParentTopic", value_name = "TOPIC")]
    parent: Option<String>,
}

/// Reads a queue from one offset to before another, 32 messages at a time.
async fn read(
    consumer: &PullConsumer,
    queue: &RouteQueue,
    (from, to): (i64, i64),
    tags: &str,
    mut each: impl FnMut(&client::PullResult, &[ReceivedMessage]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut offset = from;
    while offset < to {
        let max = i32::try_from(to.saturating_sub(offset)).unwrap_or(i32::MAX).min(32);
        let options = PullOptions {
            max,
            tags: tags.to_owned(),
            ..PullOptions::default()
        };
        let result = consumer.pull(queue, offset, &options).await?;
        let mut messages = result.messages().map_err(client::Error::from)?;
        messages.retain(|message| message.queue_offset < to);
        each(&result, &messages)?;
        let is_end = matches!(result.status, PullStatus::NoNewMessage | PullStatus::OffsetIllegal);
        if is_end || result.next_begin_offset <= offset {
            break;
        }
        offset = result.next_begin_offset;
    }
    Ok(())
}

/// Begin and end of what is to be read of a queue.
async fn range(
    consumer: &PullConsumer,
    queue: &RouteQueue,
    (begin, end): (Option<i64>, Option<i64>),
) -> Result<(i64, i64), Error> {
    let from = match begin {
        Some(time) => consumer.search_offset(queue, time).await?,
        None => consumer.min_offset(queue).await?,
    };
    let to = match end {
        Some(time) => consumer.search_offset(queue, time).await?,
        None => consumer.max_offset(queue).await?,
    };
    Ok((from, to))
}

fn status_name(status: PullStatus) -> &'static str {
    match status {
        PullStatus::Found => "FOUND",
        PullStatus::NoNewMessage => "NO_NEW_MSG",
        PullStatus::NoMatchedMessage => "NO_MATCHED_MSG",
        PullStatus::OffsetIllegal => "OFFSET_ILLEGAL",
    }
}

fn print(
    context: &Context,
    queue: &RouteQueue,
    messages: &[ReceivedMessage],
    with_body: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    for message in messages {
        if context.wants_document() {
            let mut document = message_text::document(message);
            if let (false, Some(fields)) = (with_body, document.as_object_mut()) {
                fields.remove("body");
            }
            // There may be many: a line each.
            crate::output::json_line(out, &document)?;
            continue;
        }
        let text = message_text::java_text(message, &queue.broker_name);
        let body = if with_body {
            message_text::body(message)
        } else {
            "NOT PRINT BODY".to_owned()
        };
        writeln!(out, "MSGID: {} {text} BODY: {body}", message_text::id(message))?;
    }
    Ok(())
}

impl Run for PrintMsg {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let consumer = PullConsumer::new(&context.client, TOOLS_GROUP);
        let topic = self.topic.trim();
        let mut queues = consumer.queues(self.parent.as_deref().map_or(topic, str::trim)).await?;
        for queue in &mut queues {
            queue.topic = topic.into();
        }
        let talks = !context.wants_document();
        for queue in &queues {
            let bounds = range(&consumer, queue, (self.wanted.begin, self.wanted.end)).await?;
            let text = queue_text(queue);
            if talks {
                writeln!(out, "minOffset={}, maxOffset={}, {text}", bounds.0, bounds.1)?;
            }
            let each = |result: &client::PullResult, messages: &[ReceivedMessage]| {
                print(context, queue, messages, self.body, out)?;
                let (status, next) = (status_name(result.status), result.next_begin_offset);
                match result.status {
                    PullStatus::NoMatchedMessage if talks => {
                        writeln!(out, "{text} no matched msg. status={status}, offset={next}")?;
                    }
                    PullStatus::NoNewMessage | PullStatus::OffsetIllegal if talks => {
                        writeln!(out, "{text} print msg finished. status={status}, offset={next}")?;
                    }
                    _ => {}
                }
                Ok(())
            };
            read(&consumer, queue, bounds, &self.wanted.expression, each).await?;
            if talks {
                writeln!(out, "--------------------------------------------------------")?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct PrintMsgByQueue {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The broker group with this name
    #[arg(short = 'a', long = "brokerName", value_name = "NAME")]
    broker_name: String,
    /// The queue
    #[arg(short = 'i', long = "queueId", value_name = "N")]
    queue_id: i32,
    #[command(flatten)]
    wanted: Wanted,
    /// Print each message: true or false
    #[arg(short, long = "printMsg", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    print: bool,
    /// With the bodies: true or false
    #[arg(short = 'd', long = "printBody", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    body: bool,
    /// Count messages by tag: true or false
    #[arg(short = 'f', long = "calculate", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    count: bool,
}

impl Run for PrintMsgByQueue {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let consumer = PullConsumer::new(&context.client, TOOLS_GROUP);
        let queue = RouteQueue {
            topic: self.topic.trim().into(),
            broker_name: self.broker_name.trim().into(),
            queue_id: self.queue_id,
        };
        let bounds = range(&consumer, &queue, (self.wanted.begin, self.wanted.end)).await?;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let each = |_result: &client::PullResult, messages: &[ReceivedMessage]| {
            for tag in messages.iter().filter_map(ReceivedMessage::tag) {
                *counts.entry(tag.to_owned()).or_default() += 1;
            }
            if self.print {
                print(context, &queue, messages, self.body, out)?;
            }
            Ok(())
        };
        read(&consumer, &queue, bounds, &self.wanted.expression, each).await?;
        if !self.count {
            return Ok(());
        }
        if context.wants_document() {
            return context.document(out, &json!({ "countByTag": counts }));
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_tag, count)| std::cmp::Reverse(*count));
        for (tag, count) in counts {
            writeln!(out, "Tag: {tag:<30} Count: {count}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct ConsumeMessage {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The broker group with this name
    #[arg(short, long = "brokerName", value_name = "NAME")]
    broker_name: Option<String>,
    /// Only this queue; needs -b
    #[arg(short = 'i', long = "queueId", value_name = "N", requires = "broker_name")]
    queue_id: Option<i32>,
    /// From this queue offset on; needs -i
    #[arg(short, long, value_name = "N", requires = "queue_id")]
    offset: Option<i64>,
    /// The consumer group to read as
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", default_value = TOOLS_GROUP)]
    group: String,
    /// From this time on: milliseconds since 1970 or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(short = 's', long = "beginTimestamp", value_name = "TIME", value_parser = parse)]
    begin: Option<i64>,
    /// Before this time
    #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = parse)]
    end: Option<i64>,
    /// Messages at most
    #[arg(short = 'c', long = "MessageNumber", value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(i64).range(1..))]
    count: i64,
}

impl Run for ConsumeMessage {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let consumer = PullConsumer::new(&context.client, self.group.trim());
        let topic = self.topic.trim();
        let mut queues = consumer.queues(topic).await?;
        queues.retain(|queue| {
            self.broker_name
                .as_ref()
                .is_none_or(|name| *queue.broker_name == *name.trim())
        });
        queues.retain(|queue| self.queue_id.is_none_or(|queue_id| queue_id == queue.queue_id));
        if queues.is_empty() {
            let fix = format!("`mqadmin topicRoute -t {topic}` shows its brokers and queues");
            return Err(Error::other(format!("topic {topic} has no such queue"), fix));
        }
        let mut left = self.count;
        let talks = !context.wants_document();
        for queue in &queues {
            let (from, to) = range(&consumer, queue, (self.begin, self.end)).await?;
            let from = self.offset.unwrap_or(from).max(from);
            let wanted = from.saturating_add(left).min(to);
            let mut got = 0;
            let each = |_result: &client::PullResult, messages: &[ReceivedMessage]| {
                if !messages.is_empty() && talks {
                    writeln!(out, "Consume ok")?;
                }
                got += i64::try_from(messages.len()).unwrap_or(i64::MAX);
                print(context, queue, messages, true, out)
            };
            read(&consumer, queue, (from, wanted), "*", each).await?;
            left -= got;
            if left <= 0 {
                break;
            }
            if talks {
                writeln!(
                    out,
                    "{} print msg finished. status=NO_NEW_MSG, offset={to}",
                    queue_text(queue)
                )?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct QueryCq {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The queue
    #[arg(short, long, value_name = "N")]
    queue: i32,
    /// The queue offset to begin at
    #[arg(short, long, value_name = "N")]
    index: i64,
    /// Entries
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    count: i32,
    /// The broker at this address, not the topic's first
    #[arg(short, long, value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Judge each entry by what this consumer group subscribes to
    #[arg(short = 'g', long, value_name = "GROUP")]
    consumer: Option<String>,
}

impl Run for QueryCq {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topic = self.topic.trim();
        let broker = match &self.broker {
            Some(address) => address.trim().to_owned(),
            None => masters_of(context, topic).await?.swap_remove(0),
        };
        let request = QueryConsumeQueueRequest {
            topic: Some(topic.to_owned()),
            queue_id: self.queue,
            index: self.index,
            count: self.count,
            consumer_group: self.consumer.as_deref().map(str::trim).map(str::to_owned),
        };
        let body = context.admin.consume_queue(&broker, &request).await?;
        if context.wants_document() {
            return context.document(out, &body);
        }
        let bar = "======================================";
        if let Some(data) = &body.subscription_data {
            writeln!(out, "Subscription data: \n{} {}\n{bar}", data.topic, data.sub_string)?;
        }
        writeln!(
            out,
            "Queue data: \nmax: {}, min: {}\n{bar}",
            body.max_queue_index, body.min_queue_index
        )?;
        for (index, entry) in (self.index.max(body.min_queue_index)..).zip(body.queue_data.iter().flatten()) {
            writeln!(out, "idx: {index}")?;
            writeln!(
                out,
                "ConsumeQueueData{{physicOffset={}, physicSize={}, tagsCode={}, eval={}}}\n{bar}",
                entry.physic_offset, entry.physic_size, entry.tags_code, entry.eval
            )?;
        }
        Ok(())
    }
}
