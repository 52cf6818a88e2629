//! Rates of topics and of the groups that consume them.

use super::consumer::diff;
use super::context::{Context, ask_all};
use super::error::Error;
use super::registry::{Entry, Run};
use super::topic::masters_of_route;
use clap::Args;
use client::Admin;
use protocol::body::stats::BrokerStatsData;
use protocol::model::names::{DLQ_PREFIX, RETRY_PREFIX};
use protocol::response_code::ResponseCode;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[Entry::new::<StatsAll>(
    ("statsAll", "topic stats"),
    "Rates and lag of all topics and the groups that consume them",
    &["", "-t Orders", "-a -o json"],
)];

#[derive(Debug, Args)]
pub(super) struct StatsAll {
    /// Only topics with messages of today
    #[arg(short, long = "activeTopic")]
    active: bool,
    /// Only this topic
    #[arg(short, long)]
    topic: Option<String>,
}

/// A topic and one of its groups, or none.
struct Row {
    topic: String,
    group: Option<String>,
    lag: i64,
    in_tps: f64,
    out_tps: f64,
    in_day: i64,
    out_day: i64,
}

impl Run for StatsAll {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut topics = context.admin.topics().await?;
        topics.retain(|topic| !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX));
        if let Some(wanted) = self.topic.as_deref().map(str::trim) {
            topics.retain(|topic| topic == wanted);
            if topics.is_empty() {
                let cause = format!("no name server knows topic {wanted}");
                return Err(Error::other(cause, "`mqadmin topicList` shows the topics there are"));
            }
        }
        let found = ask_all(topics, |topic| {
            let admin = context.admin.clone();
            async move { rows_of(&admin, &topic).await }
        })
        .await;
        let mut rows = found
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect::<Vec<Row>>();
        rows.retain(|row| !self.active || row.in_day > 0 || row.out_day > 0);
        if context.wants_document() {
            let rows: Vec<_> = rows.iter().map(Row::document).collect();
            return context.document(out, &rows);
        }
        heading!(
            context,
            out,
            "{:<64}  {:<64} {:>12} {:>11} {:>11} {:>14} {:>14}",
            "#Topic",
            "#Consumer Group",
            "#Accumulation",
            "#InTPS",
            "#OutTPS",
            "#InMsg24Hour",
            "#OutMsg24Hour"
        )?;
        for row in rows {
            let Row {
                topic,
                lag,
                in_tps,
                in_day,
                ..
            } = &row;
            match &row.group {
                Some(group) => writeln!(
                    out,
                    "{topic:<64}  {group:<64} {lag:>12} {in_tps:>11.2} {:>11.2} {in_day:>14} {:>14}",
                    row.out_tps, row.out_day
                )?,
                None => writeln!(
                    out,
                    "{topic:<64}  {:<64} {lag:>12} {in_tps:>11.2} {:>11} {in_day:>14} {:>14}",
                    "", "", "NO_CONSUMER"
                )?,
            }
        }
        Ok(())
    }
}

impl Row {
    fn document(&self) -> serde_json::Value {
        json!({
            "topic": self.topic,
            "consumerGroup": self.group,
            "accumulation": self.lag,
            "inTps": self.in_tps,
            "outTps": self.out_tps,
            "inMsg24Hour": self.in_day,
            "outMsg24Hour": self.out_day,
        })
    }
}

async fn rows_of(admin: &Admin, topic: &str) -> Result<Vec<Row>, Error> {
    let masters = match masters_of_route(admin, topic).await {
        Ok(masters) => masters,
        // A topic that is only a name to the name server, or that has no master now.
        Err(Error::Other { .. }) => return Ok(Vec::new()),
        Err(error) if error.code() == Some(ResponseCode::TOPIC_NOT_EXIST) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut groups = BTreeSet::new();
    let (mut in_tps, mut in_day) = (0.0, 0_i64);
    for master in &masters {
        groups.extend(admin.groups_of_topic(master, topic).await?);
        let (tps, day) = rate(admin, master, "TOPIC_PUT_NUMS", topic).await?;
        (in_tps, in_day) = (in_tps + tps, in_day.saturating_add(day));
    }
    let row = |group| Row {
        topic: topic.to_owned(),
        group,
        lag: 0,
        in_tps,
        out_tps: 0.0,
        in_day,
        out_day: 0,
    };
    if groups.is_empty() {
        return Ok(vec![row(None)]);
    }
    let mut rows = Vec::new();
    for group in groups {
        let mut row = row(Some(group.clone()));
        for master in &masters {
            let (tps, day) = rate(admin, master, "GROUP_GET_NUMS", &format!("{topic}@{group}")).await?;
            (row.out_tps, row.out_day) = (row.out_tps + tps, row.out_day.saturating_add(day));
            let stats = admin.consume_stats(master, &group, Some(topic)).await?;
            row.lag = stats.offset_table.values().map(diff).fold(row.lag, i64::saturating_add);
        }
        rows.push(row);
    }
    Ok(rows)
}

/// A statistic's rate over the last minute, and its sum over the longest span it is known for, a day at most. What has counted nothing
/// is 0.
async fn rate(admin: &Admin, broker: &str, name: &str, key: &str) -> Result<(f64, i64), Error> {
    match admin.stats(broker, name, key).await {
        Ok(data) => Ok((data.stats_minute.tps, day_sum(&data))),
        Err(error) if error.code().is_some() => Ok((0.0, 0)),
        Err(error) => Err(error.into()),
    }
}

fn day_sum(data: &BrokerStatsData) -> i64 {
    let sums = [data.stats_day.sum, data.stats_hour.sum, data.stats_minute.sum];
    sums.into_iter().find(|sum| *sum != 0).unwrap_or(0)
}
