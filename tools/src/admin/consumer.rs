//! Consumer groups: how far they are.

use super::context::{Context, Target};
use super::error::Error;
use super::time_text::local;
use super::topic::masters_of;
use crate::output::{Format, json_document};
use protocol::body::group::ConsumerConnection;
use protocol::body::offset::{ConsumeStats, OffsetWrapper};
use protocol::model::names::{RETRY_PREFIX, retry_topic};
use protocol::response_code::ResponseCode;
use protocol::version::Version;
use serde_json::json;
use std::io::Write;

/// `consumerProgress -g`: queue by queue.
pub(super) async fn progress(
    context: &Context,
    group: &str,
    topic: Option<&str>,
    cluster: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let masters = match cluster {
        Some(cluster) => context.masters(&Target::Cluster(cluster.to_owned())).await?,
        None => masters_of(context, &retry_topic(group))
            .await
            .map_err(|error| no_group(group, error))?,
    };
    let stats = stats(context, &masters, group, topic).await?;
    if stats.offset_table.is_empty() {
        let cause = format!("consumer group {group} has saved no offsets");
        return Err(Error::other(
            cause,
            "offsets are saved a few seconds after its first consumer has started",
        ));
    }
    let (mut diff_total, mut inflight_total) = (0_i64, 0_i64);
    for offset in stats.offset_table.values() {
        diff_total = diff_total.saturating_add(diff(offset));
        inflight_total = inflight_total.saturating_add(inflight(offset));
    }
    if context.format == Format::Json {
        let queues: Vec<_> = stats
            .offset_table
            .iter()
            .map(|(queue, offset)| {
                json!({
                    "topic": queue.topic,
                    "brokerName": queue.broker_name,
                    "queueId": queue.queue_id,
                    "brokerOffset": offset.broker_offset,
                    "consumerOffset": offset.consumer_offset,
                    "diff": diff(offset),
                    "inflight": inflight(offset),
                    "lastTimestamp": offset.last_timestamp,
                })
            })
            .collect();
        let document = json!({
            "consumerGroup": group,
            "consumeTps": stats.consume_tps,
            "diffTotal": diff_total,
            "inflightTotal": inflight_total,
            "queues": queues,
        });
        return Ok(json_document(out, &document)?);
    }
    writeln!(
        out,
        "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20} {:<20}#LastTime",
        "#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight"
    )?;
    for (queue, offset) in &stats.offset_table {
        let last_time = if offset.last_timestamp == 0 {
            "N/A".to_owned()
        } else {
            local(offset.last_timestamp)
        };
        writeln!(
            out,
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20} {:<20} {last_time}",
            queue.topic,
            queue.broker_name,
            queue.queue_id,
            offset.broker_offset,
            offset.consumer_offset,
            diff(offset),
            inflight(offset)
        )?;
    }
    writeln!(out, "\nConsume TPS: {:.2}", stats.consume_tps)?;
    writeln!(out, "Consume Diff Total: {diff_total}")?;
    Ok(writeln!(out, "Consume Inflight Total: {inflight_total}")?)
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

fn diff(offset: &OffsetWrapper) -> i64 {
    offset.broker_offset.saturating_sub(offset.consumer_offset)
}

fn inflight(offset: &OffsetWrapper) -> i64 {
    offset.pull_offset.saturating_sub(offset.consumer_offset)
}

async fn stats(context: &Context, masters: &[String], group: &str, topic: Option<&str>) -> Result<ConsumeStats, Error> {
    let mut all = ConsumeStats::default();
    for master in masters {
        let stats = context.admin.consume_stats(master, group, topic).await?;
        all.consume_tps += stats.consume_tps;
        all.offset_table.extend(stats.offset_table);
    }
    Ok(all)
}

/// `consumerProgress`: a line for each group that has a retry topic.
pub(super) async fn list(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    let mut rows = Vec::new();
    for topic in context.admin.topics().await? {
        let Some(group) = topic.strip_prefix(RETRY_PREFIX) else {
            continue;
        };
        let masters = masters_of(context, &topic).await?;
        let stats = stats(context, &masters, group, None).await?;
        let mut connection = ConsumerConnection::default();
        for master in &masters {
            match context.admin.consumer_connection(master, group).await {
                Ok(found) => connection = found,
                Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let diff_total = stats.offset_table.values().map(diff).fold(0, i64::saturating_add);
        rows.push((group.to_owned(), connection, stats.consume_tps, diff_total));
    }
    if context.format == Format::Json {
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
        return Ok(json_document(out, &rows)?);
    }
    writeln!(
        out,
        "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  #Diff Total",
        "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS"
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
        Some(ordinal) if ordinal == Version::CURRENT.0 => Version::CURRENT_NAME.to_owned(),
        Some(ordinal) => format!("version {ordinal}"),
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
