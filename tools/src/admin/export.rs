//! Files with what a cluster has: topics and groups, configurations, figures.

use super::args::OfBrokers;
use super::context::{Context, Target};
use super::error::Error;
use super::files;
use super::registry::{Entry, Run};
use super::version_text::version_name;
use clap::Args;
use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::topic::TopicConfig;
use protocol::model::names::{DLQ_PREFIX, PREDEFINED_GROUPS, RETRY_PREFIX};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where files go unless -f says so.
const DIRECTORY: &str = "/tmp/rocketmq/export";

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<ExportMetadata>(
        ("exportMetadata", "export metadata"),
        "Write topics and consumer groups into a file",
        &["-c DefaultCluster -f ./backup", "-b 127.0.0.1:10911 -t -f ./backup"],
    ),
    Entry::new::<ExportConfigs>(
        ("exportConfigs", "export configs"),
        "Write the configuration that matters of each broker into a file",
        &["-c DefaultCluster -f ./backup", "-c DefaultCluster"],
    ),
    Entry::new::<ExportMetrics>(
        ("exportMetrics", "export metrics"),
        "Write rates, totals and sizes of each broker into a file",
        &["-c DefaultCluster -f ./backup", "-c DefaultCluster"],
    ),
];

/// Writes the file, or the document itself where one is asked for.
fn save(context: &Context, directory: &Path, name: &str, value: &Value, out: &mut dyn Write) -> Result<(), Error> {
    if context.wants_document() {
        return context.document(out, value);
    }
    let path = directory.join(name);
    let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?;
    files::write(&path, &text)?;
    Ok(writeln!(out, "export {} success", path.display())?)
}

#[derive(Debug, Args)]
pub(super) struct ExportMetadata {
    #[command(flatten)]
    of: OfBrokers,
    /// The directory; with -o json or yaml nothing is written, but printed
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
    /// Only topics
    #[arg(short, long)]
    topic: bool,
    /// Only consumer groups
    #[arg(short = 'g', long = "subscriptionGroup", conflicts_with = "topic")]
    groups: bool,
    /// With retry and dead letter topics
    #[arg(short, long = "specialTopic")]
    special_topic: bool,
}

impl Run for ExportMetadata {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut topics: BTreeMap<String, TopicConfig> = BTreeMap::new();
        let mut groups: BTreeMap<String, SubscriptionGroupConfig> = BTreeMap::new();
        for master in context.masters(&self.of.target()?).await? {
            if !self.groups {
                for (name, config) in self.topics_of(context, &master).await? {
                    // A topic of several brokers has the queues of all of them.
                    let known = topics.entry(name).or_insert_with(|| TopicConfig {
                        read_queue_nums: 0,
                        write_queue_nums: 0,
                        ..config.clone()
                    });
                    known.read_queue_nums = known.read_queue_nums.saturating_add(config.read_queue_nums);
                    known.write_queue_nums = known.write_queue_nums.saturating_add(config.write_queue_nums);
                }
            }
            if !self.topic {
                groups.extend(user_groups(context, &master).await?);
            }
        }
        let mut document = serde_json::Map::new();
        if !self.groups {
            document.insert("topicConfigTable".to_owned(), json!(topics));
        }
        if !self.topic {
            document.insert("subscriptionGroupTable".to_owned(), json!(groups));
        }
        document.insert("exportTime".to_owned(), runtime::wall_clock_ms().into());
        let name = match (self.topic, self.groups) {
            (true, _) => "topic.json",
            (_, true) => "subscriptionGroup.json",
            _ => "metadata.json",
        };
        save(context, &self.directory, name, &document.into(), out)
    }
}

impl ExportMetadata {
    async fn topics_of(&self, context: &Context, master: &str) -> Result<BTreeMap<String, TopicConfig>, Error> {
        let system = context.admin.system_topics(master).await?;
        let mut topics = context.admin.all_topic_config(master).await?.topic_config_table;
        let is_special = |topic: &str| topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX);
        topics.retain(|topic, _config| !system.contains(topic) && (self.special_topic || !is_special(topic)));
        Ok(topics)
    }
}

async fn user_groups(context: &Context, master: &str) -> Result<BTreeMap<String, SubscriptionGroupConfig>, Error> {
    let mut groups = context.admin.all_group_config(master).await?.subscription_group_table;
    groups.retain(|group, _config| !PREDEFINED_GROUPS.contains(&group.as_str()));
    Ok(groups)
}

#[derive(Debug, Args)]
pub(super) struct ExportConfigs {
    /// The cluster
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster_name: String,
    /// The directory; with -o json or yaml nothing is written, but printed
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
}

/// The keys that a twin of a broker would need.
const KEYS: [&str; 16] = [
    "autoCreateSubscriptionGroup",
    "autoCreateTopicEnable",
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "filterServerNums",
    "flushDiskType",
    "maxMessageSize",
    "messageDelayLevel",
    "msgTraceTopicName",
    "slaveReadEnable",
    "traceOn",
    "traceTopicEnable",
    "useTLS",
];

impl Run for ExportConfigs {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let info = context.admin.cluster_info().await?;
        let brokers = Context::brokers_of(&info, self.cluster_name.trim())?;
        let (mut configs, mut masters, mut slaves) = (BTreeMap::new(), 0, 0);
        for (name, data) in brokers {
            slaves += data.broker_addrs.keys().filter(|id| **id != 0).count();
            if let Some(master) = data.broker_addrs.get(&0) {
                masters += 1;
                let mut config = context.admin.broker_config(master).await?;
                config.retain(|key, _value| KEYS.contains(&key.as_str()));
                configs.insert(name, config);
            }
        }
        let scale = json!({"namesrvSize": context.client.name_servers().len(), "masterBrokerSize": masters, "slaveBrokerSize": slaves});
        let document = json!({"brokerConfigs": configs, "clusterScale": scale});
        save(context, &self.directory, "configs.json", &document, out)
    }
}

#[derive(Debug, Args)]
pub(super) struct ExportMetrics {
    /// The cluster
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster_name: String,
    /// The directory; with -o json or yaml nothing is written, but printed
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
}

impl Run for ExportMetrics {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let target = Target::Cluster(self.cluster_name.trim().to_owned());
        let (mut report, mut total_in, mut total_out) = (BTreeMap::new(), 0.0, 0.0);
        for master in context.masters(&target).await? {
            let figures = context.admin.runtime_info(&master).await?;
            let config = context.admin.broker_config(&master).await?;
            let groups = user_groups(context, &master).await?;
            let topics = context.admin.all_topic_config(&master).await?.topic_config_table;
            let first = |name: &str| {
                let text = figures.get(name).map_or("", String::as_str);
                text.split(' ')
                    .next()
                    .and_then(|rate| rate.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            let number = |name: &str| figures.get(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let (in_tps, out_tps) = (first("putTps"), first("getTransferredTps"));
            (total_in, total_out) = (total_in + in_tps, total_out + out_tps);
            let mut clients = BTreeSet::new();
            for group in groups.keys() {
                // A group that is not online has no clients.
                if let Ok(connection) = context.admin.consumer_connection(&master, group).await {
                    let names = connection.connection_set.iter();
                    clients.extend(
                        names.map(|client| format!("{}%{}", client.language.as_str(), version_name(client.version))),
                    );
                }
            }
            let broker = json!({
                "runtimeQuota": {
                    "diskRatio": {"commitLogDiskRatio": figures.get("commitLogDiskRatio"), "consumeQueueDiskRatio": figures.get("consumeQueueDiskRatio")},
                    "tps": {"normalInTps": in_tps, "normalOutTps": out_tps},
                    "oneDayNum": {
                        "normalOneDayInNum": number("msgPutTotalTodayMorning") - number("msgPutTotalYesterdayMorning"),
                        "normalOneDayOutNum": number("msgGetTotalTodayMorning") - number("msgGetTotalYesterdayMorning"),
                    },
                    "messageAverageSize": figures.get("putMessageAverageSize"),
                    "topicSize": topics.len(),
                    "groupSize": groups.len(),
                },
                "runtimeVersion": {"rocketmqVersion": figures.get("brokerVersionDesc"), "clientInfo": clients},
            });
            report.insert(config.get("brokerName").cloned().unwrap_or(master), broker);
        }
        let document = json!({"evaluateReport": report, "totalData": {"totalTps": {"totalNormalInTps": total_in, "totalNormalOutTps": total_out}}});
        save(context, &self.directory, "metrics.json", &document, out)
    }
}
