//! Finding single messages, and what became of them at the groups of their topic.

use super::clients::online;
use super::context::{Context, ask_all};
use super::error::Error;
use super::message::send_result_text;
use super::message_text;
use super::registry::{Entry, Run};
use super::topic::masters_of;
use clap::{ArgAction, Args};
use client::{Admin, KeyQuery, Message, Producer, PullConsumer, PullOptions, ReceivedMessage, RouteQueue};
use protocol::body::heartbeat::{ConsumeType, MessageModel};
use protocol::body::subscription::ALL;
use protocol::message::properties::{self, names};
use protocol::response_code::ResponseCode;
use serde_json::json;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<QueryMsgById>(
        ("queryMsgById", "message get"),
        "A message by its offset message id, and who has consumed it",
        &[
            "-t Orders -i 7F00000100002A9F0000000000000000",
            "-t Orders -i 7F00000100002A9F0000000000000000 -o json",
        ],
    ),
    Entry::new::<QueryMsgByKey>(
        ("queryMsgByKey", "message find"),
        "Messages by one of their keys",
        &["-t Orders -k order-17", "-t Orders -k order-17 -m 10 -o json"],
    ),
    Entry::new::<QueryMsgByUniqueKey>(
        ("queryMsgByUniqueKey", "message get-unique"),
        "A message by the unique id that its producer gave it, and who has consumed it",
        &[
            "-t Orders -i 7F0000010B4C6D06D69C1A2B3C4D0000",
            "-t Orders -i 7F0000010B4C6D06D69C1A2B3C4D0000 -a",
        ],
    ),
    Entry::new::<QueryMsgByOffset>(
        ("queryMsgByOffset", "message at"),
        "The message at a queue offset",
        &[
            "-t Orders -b broker-a -i 0 -o 42",
            "-t Orders -b broker-a -i 0 -o 42 --output json",
        ],
    ),
];

/// The only text that bodies are printed as.
fn only_utf8(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("utf-8") || text.eq_ignore_ascii_case("utf8") {
        return Ok("UTF-8".to_owned());
    }
    Err("bodies are printed as UTF-8; other text by -o json and a converter".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct QueryMsgById {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Offset message ids, parted by commas
    #[arg(
        short = 'i',
        long = "msgId",
        value_name = "IDS",
        value_delimiter = ',',
        required = true
    )]
    ids: Vec<String>,
    /// Let a consumer of this group handle the message now; needs -d
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", requires = "client_id")]
    consumer_group: Option<String>,
    /// The consumer that is to handle it; needs -g
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "consumer_group")]
    client_id: Option<String>,
    /// Send the message again: true or false
    #[arg(short = 's', long = "sendMessage", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    resend: bool,
    /// Apache's name of a unit, which changes nothing here
    #[arg(short = 'u', long = "unitName", value_name = "NAME")]
    _unit_name: Option<String>,
    /// How to print the body: UTF-8
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = only_utf8)]
    _body_format: Option<String>,
    /// Apache's cluster, which changes nothing here: the id names the broker
    #[arg(short = 'c', long = "cluster", value_name = "NAME")]
    _cluster: Option<String>,
}

impl Run for QueryMsgById {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topic = self.topic.trim();
        for id in self.ids.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            if let (Some(group), Some(client_id)) = (&self.consumer_group, &self.client_id) {
                consume_now(context, (group.trim(), client_id.trim()), (topic, id), out).await?;
                continue;
            }
            let message = context.admin.message_by_id(topic, id).await?;
            if self.resend {
                let result = Producer::new(&context.client, "ReSendMsgById")
                    .send(&copy_of(&message))
                    .await?;
                writeln!(out, "prepare resend msg. originalMsgId={id}")?;
                writeln!(out, "{}", send_result_text(&result))?;
            } else {
                show(context, &message, &[], out).await?;
            }
        }
        Ok(())
    }
}

/// The message to be sent again: what its producer gave it, but neither its id nor what brokers added.
fn copy_of(message: &ReceivedMessage) -> Message {
    let of_broker = [names::UNIQ_KEY, "WAIT", "CLUSTER", "INNER_NUM"];
    let mut copy = Message::new(&message.topic, message.body.clone());
    copy.flag = message.flag;
    for (name, value) in properties::iter(&message.properties).filter(|(name, _)| !of_broker.contains(name)) {
        copy = copy.property(name, value);
    }
    copy
}

/// Lets one consumer handle a message, and shows what came of it.
async fn consume_now(
    context: &Context,
    (group, client_id): (&str, &str),
    (topic, offset_message_id): (&str, &str),
    out: &mut dyn Write,
) -> Result<(), Error> {
    let (master, _connection) = online(context, group, None).await?;
    let info = context.admin.running_info(&master, group, client_id, false).await?;
    if !info.is_push() {
        let fix =
            "only a push consumer can be given a message; `mqadmin consumerConnection -g GROUP` shows who is there";
        return Err(Error::other(
            format!("client {client_id} asks for its messages itself"),
            fix,
        ));
    }
    let result = context
        .admin
        .consume_directly(&master, group, client_id, (topic, offset_message_id))
        .await?;
    if context.wants_document() {
        return context.document(out, &result);
    }
    Ok(writeln!(
        out,
        "ConsumeMessageDirectlyResult [order={}, autoCommit={}, consumeResult={}, remark={}, spentTimeMills={}]",
        result.order,
        result.auto_commit,
        result.consume_result.as_deref().unwrap_or("null"),
        result.remark.as_deref().unwrap_or("null"),
        result.spent_time_mills
    )?)
}

#[derive(Debug, Args)]
pub(super) struct QueryMsgByKey {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The key
    #[arg(short = 'k', long = "msgKey", alias = "key", value_name = "KEY")]
    key: String,
    /// Stored at this time or later, milliseconds since 1970
    #[arg(short = 'b', long = "beginTimestamp", value_name = "MS", default_value_t = 0)]
    begin: i64,
    /// Stored at this time or earlier, milliseconds since 1970
    #[arg(short = 'e', long = "endTimestamp", value_name = "MS", default_value_t = i64::MAX, hide_default_value = true)]
    end: i64,
    /// Messages at most
    #[arg(short = 'm', long = "maxNum", value_name = "N", default_value_t = 64)]
    max: i32,
    /// Apache's cluster, which changes nothing here: all brokers of the topic are asked
    #[arg(short = 'c', long = "cluster", value_name = "NAME")]
    _cluster: Option<String>,
}

impl Run for QueryMsgByKey {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let query = KeyQuery {
            topic: self.topic.trim().to_owned(),
            key: self.key.trim().to_owned(),
            by_unique_id: false,
            max: self.max,
            begin: self.begin,
            end: self.end,
        };
        let messages = find(context, &query).await?;
        if context.wants_document() {
            return context.document(out, &messages.iter().map(message_text::document).collect::<Vec<_>>());
        }
        let more = if context.is_wide() {
            "  #Stored                  #Tags"
        } else {
            ""
        };
        heading!(
            context,
            out,
            "{:<50} {:>4} {:>40}{more}",
            "#Message ID",
            "#QID",
            "#Offset"
        )?;
        for message in messages {
            let more = if context.is_wide() {
                let stored = super::time_text::local_with_millis(message.store_timestamp);
                format!("  {stored}  {}", message.tag().unwrap_or_default())
            } else {
                String::new()
            };
            let (queue_id, queue_offset) = (message.queue_id, message.queue_offset);
            writeln!(
                out,
                "{:<50} {queue_id:>4} {queue_offset:>40}{more}",
                message_text::id(&message)
            )?;
        }
        Ok(())
    }
}

/// Asks every broker that has the topic.
pub(super) async fn find(context: &Context, query: &KeyQuery) -> Result<Vec<ReceivedMessage>, Error> {
    let masters = masters_of(context, &query.topic).await?;
    let found = ask_all(masters, |master| {
        let (admin, query) = (context.admin.clone(), query.clone());
        async move { Ok(admin.messages_by_key(&master, &query).await?) }
    })
    .await;
    let mut all = Vec::new();
    for messages in found {
        all.extend(messages?);
    }
    Ok(all)
}

#[derive(Debug, Args)]
pub(super) struct QueryMsgByUniqueKey {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The unique id
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    id: String,
    /// Let a consumer of this group handle the message now; needs -d
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", requires = "client_id")]
    consumer_group: Option<String>,
    /// The consumer that is to handle it; needs -g
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "consumer_group")]
    client_id: Option<String>,
    /// All messages with this id, 32 at most, and not the first alone
    #[arg(short = 'a', long = "showAll")]
    all: bool,
    /// Apache's cluster, which changes nothing here: all brokers of the topic are asked
    #[arg(short = 'c', long = "cluster", value_name = "NAME")]
    _cluster: Option<String>,
}

impl Run for QueryMsgByUniqueKey {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (topic, id) = (self.topic.trim(), self.id.trim());
        let query = KeyQuery {
            topic: topic.to_owned(),
            key: id.to_owned(),
            by_unique_id: true,
            max: 32,
            begin: 0,
            end: i64::MAX,
        };
        let mut messages = find(context, &query).await?;
        messages.sort_by_key(|message| message.store_timestamp);
        let Some(first) = messages.first() else {
            let fix = "look whether topic and id are right, and whether the message is past its time";
            return Err(Error::other(
                format!("topic {topic} has no message with the unique id {id}"),
                fix,
            ));
        };
        if let (Some(group), Some(client_id)) = (&self.consumer_group, &self.client_id) {
            let place = message_text::offset_id(first);
            return consume_now(context, (group.trim(), client_id.trim()), (topic, &place), out).await;
        }
        let shown = if self.all { messages.len() } else { 1 };
        for message in messages.iter().take(shown) {
            show(context, message, &[], out).await?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct QueryMsgByOffset {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The broker group with this name
    #[arg(short = 'b', long = "brokerName", value_name = "NAME")]
    broker_name: String,
    /// The queue
    #[arg(short = 'i', long = "queueId", value_name = "N")]
    queue_id: i32,
    /// The queue offset
    #[arg(short = 'o', long)]
    offset: i64,
    /// How to print the body: UTF-8
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = only_utf8)]
    _body_format: Option<String>,
}

impl Run for QueryMsgByOffset {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let queue = RouteQueue {
            topic: self.topic.trim().into(),
            broker_name: self.broker_name.trim().into(),
            queue_id: self.queue_id,
        };
        let consumer = PullConsumer::new(&context.client, "TOOLS_CONSUMER");
        let options = PullOptions {
            max: 1,
            ..PullOptions::default()
        };
        let result = consumer.pull(&queue, self.offset, &options).await?;
        let messages = result.messages().map_err(client::Error::from)?;
        let Some(message) = messages.first().filter(|message| message.queue_offset == self.offset) else {
            let (min, max) = (result.min_offset, result.max_offset);
            let fix = format!("the queue has the offsets from {min} to {}", max - 1);
            return Err(Error::other(
                format!("there is no message at offset {}", self.offset),
                fix,
            ));
        };
        let bounds = [
            ("MIN_OFFSET", result.min_offset.to_string()),
            ("MAX_OFFSET", result.max_offset.to_string()),
        ];
        show(context, message, &bounds, out).await
    }
}

/// Shows a message, and what became of it at each group of its topic.
async fn show(
    context: &Context,
    message: &ReceivedMessage,
    more: &[(&str, String)],
    out: &mut dyn Write,
) -> Result<(), Error> {
    let tracks = tracks(context, message).await;
    if context.wants_document() {
        let mut document = message_text::document(message);
        let tracks = tracks?.into_iter();
        let tracks: Vec<_> = tracks
            .map(|(group, track)| json!({"consumerGroup": group, "trackType": track}))
            .collect();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("tracks".to_owned(), tracks.into());
        }
        return context.document(out, &document);
    }
    message_text::lines(out, message, more)?;
    let tracks = tracks?;
    if tracks.is_empty() {
        return Ok(writeln!(out, "\n\nWARN: No Consumer")?);
    }
    writeln!(out, "\n")?;
    for (group, track) in tracks {
        writeln!(
            out,
            "MessageTrack [consumerGroup={group}, trackType={track}, exceptionDesc=null]"
        )?;
    }
    Ok(())
}

/// What became of a message at each group that consumes its topic.
async fn tracks(context: &Context, message: &ReceivedMessage) -> Result<Vec<(String, &'static str)>, Error> {
    let masters = masters_of(context, &message.topic).await?;
    let mut groups = std::collections::BTreeSet::new();
    for master in &masters {
        groups.extend(context.admin.groups_of_topic(master, &message.topic).await?);
    }
    // The broker that has the message has its consumer offsets; a slave's copy is asked for at its master.
    let host = message.store_host.to_string();
    let home = masters
        .iter()
        .find(|master| **master == host)
        .or(masters.first())
        .cloned()
        .unwrap_or_default();
    let tracks = ask_all(groups, |group| {
        let (admin, home, message) = (context.admin.clone(), home.clone(), message.clone());
        async move {
            let track = track(&admin, &home, &group, &message).await?;
            Ok((group, track))
        }
    })
    .await;
    tracks.into_iter().collect()
}

async fn track(admin: &Admin, home: &str, group: &str, message: &ReceivedMessage) -> Result<&'static str, Error> {
    let connection = match admin.consumer_connection(home, group).await {
        Ok(connection) => connection,
        Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => return Ok("NOT_ONLINE"),
        Err(error) => return Err(error.into()),
    };
    if connection.consume_type == ConsumeType::Actively {
        return Ok("PULL");
    }
    if connection.message_model == MessageModel::Broadcasting {
        return Ok("CONSUME_BROADCASTING");
    }
    let stats = admin.consume_stats(home, group, Some(&message.topic)).await?;
    let is_past = stats
        .offset_table
        .iter()
        .any(|(queue, offset)| queue.queue_id == message.queue_id && offset.consumer_offset > message.queue_offset);
    let wanted = connection.subscription_table.get(&message.topic).is_none_or(|data| {
        let tags = &data.tags_set;
        data.sub_string == ALL || tags.is_empty() || message.tag().is_some_and(|tag| tags.contains(tag))
    });
    Ok(match (is_past, wanted) {
        (true, true) => "CONSUMED",
        (true, false) => "CONSUMED_BUT_FILTERED",
        (false, _) => "NOT_CONSUME_YET",
    })
}
