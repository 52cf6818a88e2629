//! Clusters: which brokers there are and how busy they are.

use super::context::Context;
use super::error::Error;
use crate::output::{Format, json_document};
use protocol::body::route::ClusterInfo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// A broker and what it tells of itself.
struct Row {
    cluster: String,
    broker_name: String,
    broker_id: i64,
    address: String,
    /// Figures by name, or why there are none.
    figures: Result<BTreeMap<String, String>, Error>,
}

/// `clusterList`. Brokers that do not answer have a row without figures, and make the command fail at its end.
pub(super) async fn list(
    context: &Context,
    cluster: Option<&str>,
    more_stats: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let info = context.admin.cluster_info().await?;
    if let Some(cluster) = cluster {
        Context::brokers_of(&info, cluster)?;
    }
    let rows = rows(context, &info, cluster).await;
    match context.format {
        Format::Json => json_document(out, &rows.iter().map(Row::json).collect::<Vec<_>>())?,
        Format::Table if more_stats => table_of_totals(&rows, out)?,
        Format::Table => table(&rows, out)?,
    }
    match rows.into_iter().find_map(|row| row.figures.err()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// All brokers are asked at the same time: one that is dead costs one timeout, not one for each.
async fn rows(context: &Context, info: &ClusterInfo, wanted: Option<&str>) -> Vec<Row> {
    let mut asked = Vec::new();
    let clusters = info.cluster_addr_table.iter();
    for (cluster, names) in clusters.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str())) {
        for data in names.iter().filter_map(|name| info.broker_addr_table.get(name)) {
            for (&broker_id, address) in &data.broker_addrs {
                let (admin, address) = (context.admin.clone(), address.clone());
                let figures = runtime::spawn({
                    let address = address.clone();
                    async move { admin.runtime_info(&address).await }
                });
                asked.push((cluster.clone(), data.broker_name.clone(), broker_id, address, figures));
            }
        }
    }
    let mut rows = Vec::new();
    for (cluster, broker_name, broker_id, address, figures) in asked {
        let figures = match figures.await {
            Some(figures) => figures.map_err(Error::from),
            None => Err(Error::other("the question was given up", "ask again")),
        };
        rows.push(Row {
            cluster,
            broker_name,
            broker_id,
            address,
            figures,
        });
    }
    rows
}

impl Row {
    fn text(&self, name: &str) -> &str {
        let figures = self.figures.as_ref().ok();
        figures.and_then(|figures| figures.get(name)).map_or("", String::as_str)
    }

    /// A number that is not there counts as 0, as in Apache's.
    fn number<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        self.text(name).trim().parse().unwrap_or_default()
    }

    /// The first of the numbers that a rate is told by: the newest one.
    fn rate(&self, name: &str) -> f64 {
        let first = self.text(name).split(' ').next();
        first.and_then(|first| first.parse().ok()).unwrap_or_default()
    }

    /// Hours that the oldest message has.
    fn hours(&self) -> f64 {
        match self.text("earliestMessageTimeStamp").parse::<i64>() {
            Ok(earliest) => f64_of(runtime::wall_clock_ms().saturating_sub(earliest)) / 3_600_000.0,
            Err(_) => 0.0,
        }
    }

    fn json(&self) -> Value {
        json!({
            "clusterName": self.cluster,
            "brokerName": self.broker_name,
            "brokerId": self.broker_id,
            "address": self.address,
            "version": self.text("brokerVersionDesc"),
            "active": self.text("brokerActive") == "true",
            "inTps": self.rate("putTps"),
            "outTps": self.rate("getTransferredTps"),
            "pageCacheLockTimeMs": self.number::<i64>("pageCacheLockTimeMills"),
            "hours": self.hours(),
            "diskRatio": self.number::<f64>("commitLogDiskRatio"),
            "inYesterday": self.total("msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning"),
            "outYesterday": self.total("msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"),
            "inToday": self.total("msgPutTotalTodayNow", "msgPutTotalTodayMorning"),
            "outToday": self.total("msgGetTotalTodayNow", "msgGetTotalTodayMorning"),
            "error": self.figures.as_ref().err().map(ToString::to_string),
        })
    }

    fn total(&self, to: &str, from: &str) -> i64 {
        self.number::<i64>(to).saturating_sub(self.number(from))
    }

    fn load_in(&self) -> String {
        let [size, wait] =
            ["sendThreadPoolQueueSize", "sendThreadPoolQueueHeadWaitTimeMills"].map(|name| self.text(name));
        format!("{:>9.2}({size},{wait}ms)", self.rate("putTps"))
    }

    fn load_out(&self) -> String {
        let or_n = |text: &str| {
            if text.is_empty() {
                "N".to_owned()
            } else {
                text.to_owned()
            }
        };
        let [size, wait] =
            ["pullThreadPoolQueueSize", "pullThreadPoolQueueHeadWaitTimeMills"].map(|name| self.text(name));
        let [ack_size, ack_wait] =
            ["ackThreadPoolQueueSize", "ackThreadPoolQueueHeadWaitTimeMills"].map(|name| or_n(self.text(name)));
        let rate = self.rate("getTransferredTps");
        format!("{rate:>9.2}({size},{wait}ms|{ack_size},{ack_wait}ms)")
    }

    fn timer(&self) -> String {
        let read_behind: i64 = self.number("timerReadBehind");
        let offset_behind: i64 = self.number("timerOffsetBehind");
        let congested = f64_of(self.number("timerCongestNum")) / 10_000.0;
        let [enqueue, dequeue] = ["timerEnqueueTps", "timerDequeueTps"].map(|name| self.number::<f64>(name));
        format!("{read_behind}-{offset_behind}({congested:.1}w, {enqueue:.1}, {dequeue:.1})")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people are printed with two digits"
)]
fn f64_of(number: i64) -> f64 {
    number as f64
}

fn table(rows: &[Row], out: &mut dyn Write) -> Result<(), Error> {
    writeln!(
        out,
        "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}",
        "#Cluster Name",
        "#Broker Name",
        "#BID",
        "#Addr",
        "#Version",
        "#InTPS(LOAD)",
        "#OutTPS(LOAD)",
        "#Timer(Progress)",
        "#PCWait(ms)",
        "#Hour",
        "#SPACE",
        "#ACTIVATED"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:>11}  {:<12}  {:<8}  {:>10}",
            row.cluster,
            row.broker_name,
            row.broker_id,
            row.address,
            row.text("brokerVersionDesc"),
            row.load_in(),
            row.load_out(),
            row.timer(),
            row.text("pageCacheLockTimeMills"),
            format!("{:.2}", row.hours()),
            format!("{:.4}", row.number::<f64>("commitLogDiskRatio")),
            row.text("brokerActive")
        )?;
    }
    Ok(())
}

fn table_of_totals(rows: &[Row], out: &mut dyn Write) -> Result<(), Error> {
    writeln!(
        out,
        "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
        "#Cluster Name", "#Broker Name", "#InTotalYest", "#OutTotalYest", "#InTotalToday", "#OutTotalToday"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
            row.cluster,
            row.broker_name,
            row.total("msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning"),
            row.total("msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"),
            row.total("msgPutTotalTodayNow", "msgPutTotalTodayMorning"),
            row.total("msgGetTotalTodayNow", "msgGetTotalTodayMorning")
        )?;
    }
    Ok(())
}
