//! Consumer offsets: copy, move by time, skip what has piled up.

use super::context::{Context, Target};
use super::error::Error;
use super::registry::{Entry, Run};
use super::time_text::parse;
use super::topic::masters_of;
use clap::{ArgAction, Args};
use client::ResetTarget;
use protocol::body::queue::WireQueue;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<CloneGroupOffset>(
        ("cloneGroupOffset", "group copy-offsets"),
        "A consumer group begins where another one is",
        &[
            "-s Billing -d Audit -t Orders",
            "-s Billing -d Audit -t Orders --output json",
        ],
    ),
    Entry::new::<ResetOffsetByTime>(
        ("resetOffsetByTime", "group reset"),
        "Send a consumer group to the messages of a time, or one queue to an offset",
        &[
            "-g Billing -t Orders -s 2026-01-31#08:00:00:000",
            "-g Billing -t Orders -s now",
            "-g Billing -t Orders -s 0 -b 127.0.0.1:10911 -q 0 -o 42",
        ],
    ),
    Entry::new::<SkipAccumulatedMessage>(
        ("skipAccumulatedMessage", "group skip"),
        "Send a consumer group to the end of a topic: what it has not consumed, it never will",
        &["-g Billing -t Orders", "-g Billing -t Orders -o json"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct CloneGroupOffset {
    /// The group to copy from
    #[arg(short = 's', long = "srcGroup", value_name = "GROUP")]
    from: String,
    /// The group to copy to
    #[arg(short = 'd', long = "destGroup", value_name = "GROUP")]
    to: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Apache's word that nobody is online, which changes nothing: true or false
    #[arg(short = 'o', long = "offline", value_name = "BOOL", action = ArgAction::Set)]
    _offline: Option<bool>,
}

impl Run for CloneGroupOffset {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (from, to, topic) = (self.from.trim(), self.to.trim(), self.topic.trim());
        let mut copied = BTreeMap::new();
        for master in masters_of(context, topic).await? {
            let stats = context.admin.consume_stats(&master, from, Some(topic)).await?;
            for (queue, offset) in stats.offset_table {
                context
                    .admin
                    .update_offset(&master, to, &queue, offset.consumer_offset)
                    .await?;
                copied.insert(queue, offset.consumer_offset);
            }
        }
        if copied.is_empty() {
            let fix = format!("`mqadmin consumerProgress -g {from}` shows what it has consumed");
            return Err(Error::other(
                format!("consumer group {from} has no offsets in topic {topic}"),
                fix,
            ));
        }
        if context.wants_document() {
            return context.document(
                out,
                &json!({"srcGroup": from, "destGroup": to, "offsets": rows(&copied)}),
            );
        }
        Ok(writeln!(
            out,
            "clone group offset success. srcGroup[{from}], destGroup=[{to}], topic[{topic}]"
        )?)
    }
}

fn rows(offsets: &BTreeMap<WireQueue, i64>) -> Vec<serde_json::Value> {
    let rows = offsets.iter();
    rows.map(|(queue, offset)| {
        json!({"topic": queue.topic, "brokerName": queue.broker_name, "queueId": queue.queue_id, "offset": offset})
    })
    .collect()
}

fn table(context: &Context, offsets: &BTreeMap<WireQueue, i64>, out: &mut dyn Write) -> Result<(), Error> {
    heading!(
        context,
        out,
        "{:<40}  {:<40}  {:<40}",
        "#brokerName",
        "#queueId",
        "#offset"
    )?;
    for (queue, offset) in offsets {
        writeln!(out, "{:<40}  {:<40}  {offset:<40}", queue.broker_name, queue.queue_id)?;
    }
    Ok(())
}

/// Resets at all brokers of a topic, or those of a cluster.
async fn reset(
    context: &Context,
    (group, topic): (&str, &str),
    cluster: Option<&str>,
    to: ResetTarget,
) -> Result<BTreeMap<WireQueue, i64>, Error> {
    let masters = match cluster {
        Some(cluster) => context.masters(&Target::Cluster(cluster.trim().to_owned())).await?,
        None => masters_of(context, topic).await?,
    };
    let mut all = BTreeMap::new();
    for master in masters {
        all.extend(context.admin.reset_offset(&master, group, topic, to).await?);
    }
    Ok(all)
}

#[derive(Debug, Args)]
pub(super) struct ResetOffsetByTime {
    /// The consumer group
    #[arg(short, long)]
    group: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The time: now, milliseconds since 1970, or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(short = 's', long, value_name = "TIME", value_parser = parse)]
    timestamp: i64,
    /// Apache's word to go back too, which is always done: true or false
    #[arg(short = 'f', long = "force", value_name = "BOOL", action = ArgAction::Set)]
    _force: Option<bool>,
    /// Only at the broker at this address; needs -q
    #[arg(short, long, value_name = "HOST:PORT", requires = "queue")]
    broker: Option<String>,
    /// Only this queue; needs -b
    #[arg(short, long, value_name = "N", requires = "broker", value_parser = clap::value_parser!(i32).range(0..))]
    queue: Option<i32>,
    /// To this queue offset instead of a time; needs -b and -q
    #[arg(short, long, value_name = "N", requires = "queue")]
    offset: Option<i64>,
    /// The masters of this cluster instead of those that have the topic
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<String>,
}

impl Run for ResetOffsetByTime {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (group, topic) = (self.group.trim(), self.topic.trim());
        let offsets = match (&self.broker, self.queue) {
            (Some(broker), Some(queue_id)) => {
                let broker = broker.trim();
                let offset = match self.offset {
                    Some(offset) => offset,
                    None => {
                        context
                            .admin
                            .search_offset(broker, topic, queue_id, self.timestamp)
                            .await?
                    }
                };
                let to = ResetTarget::Offset { queue_id, offset };
                context.admin.reset_offset(broker, group, topic, to).await?
            }
            _ => {
                let to = ResetTarget::Time(self.timestamp);
                reset(context, (group, topic), self.cluster.as_deref(), to).await?
            }
        };
        if context.wants_document() {
            return context.document(out, &json!({"consumerGroup": group, "offsets": rows(&offsets)}));
        }
        writeln!(
            out,
            "start reset consumer offset by specified, group[{group}], topic[{topic}], force[true], timestamp(long)[{}]",
            self.timestamp
        )?;
        table(context, &offsets, out)
    }
}

#[derive(Debug, Args)]
pub(super) struct SkipAccumulatedMessage {
    /// The consumer group
    #[arg(short, long)]
    group: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Apache's word to force it, which changes nothing: true or false
    #[arg(short = 'f', long = "force", value_name = "BOOL", action = ArgAction::Set)]
    _force: Option<bool>,
    /// The masters of this cluster instead of those that have the topic
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<String>,
}

impl Run for SkipAccumulatedMessage {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (group, topic) = (self.group.trim(), self.topic.trim());
        let offsets = reset(context, (group, topic), self.cluster.as_deref(), ResetTarget::End).await?;
        if context.wants_document() {
            return context.document(out, &json!({"consumerGroup": group, "offsets": rows(&offsets)}));
        }
        table(context, &offsets, out)
    }
}
