//! Consumer groups: how far they are.

use super::context::{Context, Target, ask_all};
use super::error::Error;
use super::registry::{Entry, Run};
use super::time_text::local;
use super::topic::{masters_of, masters_of_route};
use super::version_text::version_name;
use clap::{ArgAction, Args};
use client::Admin;
use protocol::body::group::ConsumerConnection;
use protocol::body::offset::{ConsumeStats, OffsetWrapper};
use protocol::body::queue::WireQueue;
use protocol::model::names::{RETRY_PREFIX, retry_topic};
use protocol::response_code::ResponseCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<ConsumerProgress>(
        ("consumerProgress", "group progress"),
        "How far consumer groups are behind",
        &["", "-g Billing", "-g Billing -t Orders -s true", "-g Billing --watch"],
    ),
    Entry::new::<BrokerConsumeStats>(
        ("brokerConsumeStats", "group lag"),
        "How far every group of a broker is, queue by queue, in one request",
        &["-b 127.0.0.1:10911", "-b 127.0.0.1:10911 -l 1000 --output json"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct ConsumerProgress {
    /// The consumer group; without it, all of them
    #[arg(short, long = "groupName", alias = "group", value_name = "GROUP")]
    group_name: Option<String>,
    /// Only this topic
    #[arg(
        short,
        long = "topicName",
        alias = "topic",
        value_name = "TOPIC",
        requires = "group_name"
    )]
    topic_name: Option<String>,
    /// With the address of the client that has each queue: true or false
    #[arg(short, long = "showClientIP", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    show_client_ip: bool,
    /// Ask the masters of this cluster instead of those that have the group's retry topic
    #[arg(short, long, value_name = "NAME", requires = "group_name")]
    cluster: Option<String>,
}

impl Run for ConsumerProgress {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        match &self.group_name {
            Some(group) => self.progress(context, group.trim(), out).await,
            None => list(context, out).await,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct BrokerConsumeStats {
    /// The broker at this address
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: String,
    /// Milliseconds to wait for the answer, in place of --timeout
    #[arg(short, long = "timeoutMillis", value_name = "MS", default_value_t = 50_000)]
    timeout_millis: u64,
    /// Only queues that are so many messages behind or more
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    level: i64,
    /// Only groups that consume in order: true or false
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    order: bool,
}

impl Run for BrokerConsumeStats {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let limit = std::time::Duration::from_millis(self.timeout_millis);
        context.client.set_request_limit(limit);
        let list = context
            .admin
            .broker_consume_stats(self.broker_addr.trim(), self.order)
            .await?;
        let groups = list.consume_stats_list.iter().flatten();
        let rows = groups.flat_map(|(group, topics)| {
            let queues = topics.iter().flat_map(|stats| &stats.offset_table);
            queues.map(move |(queue, offset)| (group, queue, offset))
        });
        let rows = rows.filter(|(_group, _queue, offset)| diff(offset) >= self.level);
        if context.wants_document() {
            let rows: Vec<_> = rows
                .map(|(group, queue, offset)| document_row(Some(group), queue, offset))
                .collect();
            let document = json!({"brokerAddr": self.broker_addr, "diffTotal": list.total_diff, "queues": rows});
            return context.document(out, &document);
        }
        heading!(
            context,
            out,
            "{:<64}  {:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20}  #LastTime",
            "#Topic",
            "#Group",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            "#Diff"
        )?;
        for (group, queue, offset) in rows {
            writeln!(
                out,
                "{:<64}  {group:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20}  {}",
                queue.topic,
                queue.broker_name,
                queue.queue_id,
                offset.broker_offset,
                offset.consumer_offset,
                diff(offset),
                last_time(offset)
            )?;
        }
        Ok(writeln!(out, "\nDiff Total: {}", list.total_diff)?)
    }
}

fn document_row(group: Option<&str>, queue: &WireQueue, offset: &OffsetWrapper) -> serde_json::Value {
    json!({
        "consumerGroup": group,
        "topic": queue.topic,
        "brokerName": queue.broker_name,
        "queueId": queue.queue_id,
        "brokerOffset": offset.broker_offset,
        "consumerOffset": offset.consumer_offset,
        "diff": diff(offset),
        "inflight": inflight(offset),
        "lastTimestamp": offset.last_timestamp,
    })
}

fn last_time(offset: &OffsetWrapper) -> String {
    if offset.last_timestamp == 0 {
        return "N/A".to_owned();
    }
    local(offset.last_timestamp)
}

impl ConsumerProgress {
    /// One group, queue by queue.
    async fn progress(&self, context: &Context, group: &str, out: &mut dyn Write) -> Result<(), Error> {
        let masters = match &self.cluster {
            Some(cluster) => context.masters(&Target::Cluster(cluster.clone())).await?,
            None => masters_of(context, &retry_topic(group))
                .await
                .map_err(|error| no_group(group, error))?,
        };
        let stats = stats(&context.admin, &masters, group, self.topic_name.as_deref()).await?;
        if stats.offset_table.is_empty() {
            let cause = format!("consumer group {group} has saved no offsets");
            return Err(Error::other(
                cause,
                "offsets are saved a few seconds after its first consumer has started",
            ));
        }
        let owners = if self.show_client_ip || context.is_wide() {
            Some(owners(context, &masters, group).await)
        } else {
            None
        };
        let sum = |of: fn(&OffsetWrapper) -> i64| stats.offset_table.values().map(of).fold(0, i64::saturating_add);
        let (diff_total, inflight_total) = (sum(diff), sum(inflight));
        if context.wants_document() {
            let queues = stats.offset_table.iter();
            let queues: Vec<_> = queues
                .map(|(queue, offset)| document_row(Some(group), queue, offset))
                .collect();
            let document = json!({
                "consumerGroup": group,
                "consumeTps": stats.consume_tps,
                "diffTotal": diff_total,
                "inflightTotal": inflight_total,
                "queues": queues,
            });
            return context.document(out, &document);
        }
        let client = |text: &str| owners.as_ref().map_or(String::new(), |_| format!("{text:<20} "));
        heading!(
            context,
            out,
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20} {:<20} #LastTime",
            "#Topic",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            client("#Client IP"),
            "#Diff",
            "#Inflight"
        )?;
        for (queue, offset) in &stats.offset_table {
            let owner = owners.as_ref().and_then(|owners| owners.get(queue));
            writeln!(
                out,
                "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20} {:<20} {}",
                queue.topic,
                queue.broker_name,
                queue.queue_id,
                offset.broker_offset,
                offset.consumer_offset,
                client(owner.map_or("N/A", String::as_str)),
                diff(offset),
                inflight(offset),
                last_time(offset)
            )?;
        }
        writeln!(out, "\nConsume TPS: {:.2}", stats.consume_tps)?;
        writeln!(out, "Consume Diff Total: {diff_total}")?;
        Ok(writeln!(out, "Consume Inflight Total: {inflight_total}")?)
    }
}

/// The addresses of the clients that have the queues; clients that do not answer have none.
async fn owners(context: &Context, masters: &[String], group: &str) -> BTreeMap<WireQueue, String> {
    let mut owners = BTreeMap::new();
    for master in masters {
        let Ok(connection) = context.admin.consumer_connection(master, group).await else {
            continue;
        };
        let clients = connection.connection_set.into_iter().map(|client| client.client_id);
        let infos = ask_all(clients, |client_id| {
            let (admin, master, group) = (context.admin.clone(), master.clone(), group.to_owned());
            async move {
                let info = admin.running_info(&master, &group, &client_id, false).await?;
                Ok((client_id, info))
            }
        })
        .await;
        for (client_id, info) in infos.into_iter().flatten() {
            let ip = client_id.split('@').next().unwrap_or_default().to_owned();
            owners.extend(info.mq_table.into_keys().map(|queue| (queue, ip.clone())));
        }
    }
    owners
}

fn no_group(group: &str, error: Error) -> Error {
    if error.code() != Some(ResponseCode::TOPIC_NOT_EXIST) {
        return error;
    }
    let cause = format!("no broker knows consumer group {group}");
    Error::other(
        cause,
        "`mqadmin consumerProgress` without -g lists the groups there are; -c CLUSTER asks that cluster",
    )
}

pub(super) fn diff(offset: &OffsetWrapper) -> i64 {
    offset.broker_offset.saturating_sub(offset.consumer_offset)
}

fn inflight(offset: &OffsetWrapper) -> i64 {
    offset.pull_offset.saturating_sub(offset.consumer_offset)
}

async fn stats(admin: &Admin, masters: &[String], group: &str, topic: Option<&str>) -> Result<ConsumeStats, Error> {
    let mut all = ConsumeStats::default();
    for master in masters {
        let stats = admin.consume_stats(master, group, topic).await?;
        all.consume_tps += stats.consume_tps;
        all.offset_table.extend(stats.offset_table);
    }
    Ok(all)
}

/// A line for each group that has a retry topic.
async fn list(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    let topics = context.admin.topics().await?;
    let groups = topics
        .iter()
        .filter_map(|topic| topic.strip_prefix(RETRY_PREFIX).map(str::to_owned));
    let rows = ask_all(groups, |group| {
        let admin = context.admin.clone();
        async move {
            let masters = masters_of_route(&admin, &retry_topic(&group)).await?;
            let stats = stats(&admin, &masters, &group, None).await?;
            let mut connection = ConsumerConnection::default();
            for master in &masters {
                match admin.consumer_connection(master, &group).await {
                    Ok(found) => connection = found,
                    Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let diff_total = stats.offset_table.values().map(diff).fold(0, i64::saturating_add);
            Ok((group, connection, stats.consume_tps, diff_total))
        }
    })
    .await;
    let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
    if context.wants_document() {
        let rows = rows.iter();
        let rows: Vec<_> = rows
            .map(|(group, connection, tps, diff_total)| {
                json!({
                    "consumerGroup": group,
                    "clients": connection.connection_set.len(),
                    "version": version(connection),
                    "type": consume_type(connection),
                    "model": model(connection),
                    "consumeTps": tps,
                    "diffTotal": diff_total,
                })
            })
            .collect();
        return context.document(out, &rows);
    }
    heading!(
        context,
        out,
        "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  #Diff Total",
        "#Group",
        "#Count",
        "#Version",
        "#Type",
        "#Model",
        "#TPS"
    )?;
    for (group, connection, tps, diff_total) in rows {
        let (count, tps) = (connection.connection_set.len(), tps.trunc());
        let (version, kind, model) = (version(&connection), consume_type(&connection), model(&connection));
        writeln!(
            out,
            "{group:<64}  {count:<6}  {version:<24} {kind:<5}  {model:<14}  {tps:<7}  {diff_total}"
        )?;
    }
    Ok(())
}

/// The oldest client's version.
fn version(connection: &ConsumerConnection) -> String {
    let versions = connection.connection_set.iter().map(|client| client.version);
    match versions.min() {
        None => "OFFLINE".to_owned(),
        Some(ordinal) => version_name(ordinal),
    }
}

/// Apache calls what asks by itself a pull consumer.
fn consume_type(connection: &ConsumerConnection) -> String {
    match serde_json::to_value(connection.consume_type) {
        _ if connection.connection_set.is_empty() => String::new(),
        Ok(value) if value == "CONSUME_ACTIVELY" => "PULL".to_owned(),
        _ => "PUSH".to_owned(),
    }
}

/// Only push consumers have one.
fn model(connection: &ConsumerConnection) -> String {
    match serde_json::to_value(connection.message_model) {
        Ok(serde_json::Value::String(model)) if consume_type(connection) == "PUSH" => model,
        _ => String::new(),
    }
}
