//! Clusters: which brokers there are and how busy they are.

use super::context::{Context, ask_all};
use super::error::Error;
use super::registry::{Entry, Run};
use clap::Args;
use protocol::body::route::ClusterInfo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

pub(super) const COMMANDS: &[Entry] = &[Entry::new::<ClusterList>(
    ("clusterList", "cluster list"),
    "Brokers of all clusters and how busy they are",
    &["-n 127.0.0.1:9876", "-c DefaultCluster -o json", "-m", "--watch=5"],
)];

#[derive(Debug, Args)]
pub(super) struct ClusterList {
    /// Totals of yesterday and today instead
    #[arg(short, long = "moreStats")]
    more_stats: bool,
    /// Print again after so many seconds, until stopped
    #[arg(short, long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: Option<u64>,
    /// Only this cluster
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster_name: Option<String>,
}

impl Run for ClusterList {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        loop {
            let done = list(context, self.cluster_name.as_deref(), self.more_stats, out).await;
            let Some(interval) = self.interval else { return done };
            out.flush()?;
            // A broker that is away for a while does not end the watch.
            if let Err(error @ Error::Output(_)) = done {
                return Err(error);
            }
            runtime::sleep(Duration::from_secs(interval)).await;
        }
    }
}

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
async fn list(context: &Context, cluster: Option<&str>, more_stats: bool, out: &mut dyn Write) -> Result<(), Error> {
    let info = context.admin.cluster_info().await?;
    if let Some(cluster) = cluster {
        Context::brokers_of(&info, cluster)?;
    }
    let rows = rows(context, &info, cluster).await;
    if context.wants_document() {
        context.document(out, &rows.iter().map(Row::json).collect::<Vec<_>>())?;
    } else if more_stats {
        table_of_totals(context, &rows, out)?;
    } else {
        table(context, &rows, out)?;
    }
    match rows.into_iter().find_map(|row| row.figures.err()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// All brokers are asked at the same time: one that is dead costs one timeout, not one for each.
async fn rows(context: &Context, info: &ClusterInfo, wanted: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    let clusters = info.cluster_addr_table.iter();
    for (cluster, names) in clusters.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str())) {
        for data in names.iter().filter_map(|name| info.broker_addr_table.get(name)) {
            for (&broker_id, address) in &data.broker_addrs {
                rows.push((cluster.clone(), data.broker_name.clone(), broker_id, address.clone()));
            }
        }
    }
    let addresses: Vec<String> = rows.iter().map(|row| row.3.clone()).collect();
    let answers = ask_all(addresses, |address| {
        let admin = context.admin.clone();
        async move { Ok(admin.runtime_info(&address).await?) }
    })
    .await;
    let rows = rows.into_iter().zip(answers);
    rows.map(|((cluster, broker_name, broker_id, address), figures)| Row {
        cluster,
        broker_name,
        broker_id,
        address,
        figures,
    })
    .collect()
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

fn table(context: &Context, rows: &[Row], out: &mut dyn Write) -> Result<(), Error> {
    let more = if context.is_wide() {
        "  #Connections  #BehindDisk  #Lost"
    } else {
        ""
    };
    heading!(
        context,
        out,
        "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}{more}",
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
        let more = if context.is_wide() {
            let [connections, behind, lost] =
                ["connections", "remainHowManyDataToFlush", "lostMessages"].map(|name| row.number::<i64>(name));
            format!("  {connections:<12}  {behind:<11}  {lost}")
        } else {
            String::new()
        };
        writeln!(
            out,
            "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:>11}  {:<12}  {:<8}  {:>10}{more}",
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

fn table_of_totals(context: &Context, rows: &[Row], out: &mut dyn Write) -> Result<(), Error> {
    heading!(
        context,
        out,
        "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
        "#Cluster Name",
        "#Broker Name",
        "#InTotalYest",
        "#OutTotalYest",
        "#InTotalToday",
        "#OutTotalToday"
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
