//! Subscription groups: make, change, delete, show.

use super::args::{OfBrokers, attribute};
use super::context::{Context, Target};
use super::error::Error;
use super::files::read_list;
use super::registry::{Entry, Run};
use clap::{ArgAction, Args};
use protocol::body::group::{GroupRetryPolicy, SubscriptionGroupConfig};
use protocol::model::names::{dlq_topic, retry_topic};
use protocol::response_code::ResponseCode;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<UpdateSubGroup>(
        ("updateSubGroup", "group create"),
        "Make a consumer group, or change it",
        &[
            "-c DefaultCluster -g Billing",
            "-b 127.0.0.1:10911 -g Billing -r 3 -q 2",
        ],
    ),
    Entry::new::<UpdateSubGroupList>(
        ("updateSubGroupList", "group import"),
        "Make or change the consumer groups that a JSON file lists",
        &["-c DefaultCluster -f groups.json", "-b 127.0.0.1:10911 -f groups.json"],
    ),
    Entry::new::<DeleteSubGroup>(
        ("deleteSubGroup", "group delete"),
        "Delete a consumer group",
        &["-c DefaultCluster -g Billing", "-b 127.0.0.1:10911 -g Billing -r true"],
    ),
    Entry::new::<GetConsumerConfig>(
        ("getConsumerConfig", "group config"),
        "Settings of a consumer group, broker by broker",
        &["-g Billing", "-g Billing -o json"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct UpdateSubGroup {
    #[command(flatten)]
    of: OfBrokers,
    /// The consumer group
    #[arg(short, long = "groupName", alias = "group", value_name = "GROUP")]
    group_name: String,
    /// May consume: true or false
    #[arg(short = 's', long = "consumeEnable", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    consume_enable: bool,
    /// May begin at the oldest message: true or false
    #[arg(short = 'm', long = "consumeFromMinEnable", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    consume_from_min_enable: bool,
    /// May consume by broadcast: true or false
    #[arg(short = 'd', long = "consumeBroadcastEnable", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    consume_broadcast_enable: bool,
    /// Is given its messages in order: true or false
    #[arg(short = 'o', long = "consumeMessageOrderly", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    consume_message_orderly: bool,
    /// Queues of its retry topic
    #[arg(short = 'q', long = "retryQueueNums", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    retry_queue_nums: i32,
    /// Tries before a message goes to the dead letter queue
    #[arg(short = 'r', long = "retryMaxTimes", value_name = "N", default_value_t = 16)]
    retry_max_times: i32,
    /// How long a message waits that was given back, as JSON: {"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000,5000]}}
    #[arg(short = 'p', long = "groupRetryPolicy", value_name = "JSON", value_parser = retry_policy)]
    group_retry_policy: Option<GroupRetryPolicy>,
    /// The broker id to read from; 0 is the master
    #[arg(short = 'i', long = "brokerId", value_name = "N", default_value_t = 0)]
    broker_id: i64,
    /// The broker id to read from when it lags far behind
    #[arg(
        short = 'w',
        long = "whichBrokerWhenConsumeSlowly",
        value_name = "N",
        default_value_t = 1
    )]
    which_broker_when_consume_slowly: i64,
    /// Members are told of each other: true or false
    #[arg(short = 'a', long = "notifyConsumerIdsChanged", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    notify_consumer_ids_changed: bool,
    /// Attributes to set, +KEY=VALUE, parted by commas
    #[arg(long, value_delimiter = ',', value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

fn retry_policy(text: &str) -> Result<GroupRetryPolicy, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; write an object with the field type"))
}

impl Run for UpdateSubGroup {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let config = SubscriptionGroupConfig {
            group_name: self.group_name.trim().to_owned(),
            consume_enable: self.consume_enable,
            consume_from_min_enable: self.consume_from_min_enable,
            consume_broadcast_enable: self.consume_broadcast_enable,
            consume_message_orderly: self.consume_message_orderly,
            retry_queue_nums: self.retry_queue_nums,
            retry_max_times: self.retry_max_times,
            group_retry_policy: self.group_retry_policy.clone().unwrap_or_default(),
            broker_id: self.broker_id,
            which_broker_when_consume_slowly: self.which_broker_when_consume_slowly,
            notify_consumer_ids_changed_enable: self.notify_consumer_ids_changed,
            attributes: self.attributes.iter().cloned().collect(),
            ..SubscriptionGroupConfig::default()
        };
        let masters = context.masters(&self.of.target()?).await?;
        for master in &masters {
            context.admin.create_group(master, &config).await?;
            if !context.wants_document() {
                writeln!(out, "create subscription group to {master} success.")?;
            }
        }
        if context.wants_document() {
            return context.document(out, &json!({"brokers": masters, "group": config}));
        }
        Ok(writeln!(out, "{}", java_text(&config))?)
    }
}

/// The settings as Apache's mqadmin prints them.
fn java_text(config: &SubscriptionGroupConfig) -> String {
    let value = serde_json::to_value(config).unwrap_or_default();
    let names = [
        "groupName",
        "consumeEnable",
        "consumeFromMinEnable",
        "consumeBroadcastEnable",
        "consumeMessageOrderly",
        "retryQueueNums",
        "retryMaxTimes",
        "groupRetryPolicy",
        "brokerId",
        "whichBrokerWhenConsumeSlowly",
        "notifyConsumerIdsChangedEnable",
        "groupSysFlag",
        "consumeTimeoutMinute",
        "attributes",
    ];
    let parts = names.map(|name| format!("{name}={}", bare(value.get(name).unwrap_or(&Value::Null))));
    format!("SubscriptionGroupConfig{{{}}}", parts.join(", "))
}

fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateSubGroupList {
    #[command(flatten)]
    of: OfBrokers,
    /// The file: a JSON array of objects with groupName, retryMaxTimes...
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
}

impl Run for UpdateSubGroupList {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let what = "groups, such as [{\"groupName\":\"Billing\"}]";
        let groups: Vec<SubscriptionGroupConfig> = read_list(&self.filename, what)?;
        let masters = context.masters(&self.of.target()?).await?;
        for master in &masters {
            context.admin.create_groups(master, &groups).await?;
            if !context.wants_document() {
                let what = "submit batch of subscription group config to";
                writeln!(out, "{what} {master} success, please check the result later.")?;
            }
        }
        if context.wants_document() {
            context.document(out, &json!({"brokers": masters, "groups": groups}))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct DeleteSubGroup {
    #[command(flatten)]
    of: OfBrokers,
    /// The consumer group
    #[arg(short, long = "groupName", alias = "group", value_name = "GROUP")]
    group_name: String,
    /// With what it has consumed: true or false
    #[arg(short, long = "removeOffset", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    remove_offset: bool,
}

impl Run for DeleteSubGroup {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (group, target) = (self.group_name.trim(), self.of.target()?);
        let masters = context.masters(&target).await?;
        for master in &masters {
            context.admin.delete_group(master, group, self.remove_offset).await?;
            if !context.wants_document() {
                let of_cluster = match &target {
                    Target::Cluster(cluster) => format!(" in cluster [{cluster}]"),
                    _ => String::new(),
                };
                writeln!(
                    out,
                    "delete subscription group [{group}] from broker [{master}]{of_cluster} success."
                )?;
            }
        }
        if let Target::Cluster(cluster) = &target {
            for topic in [retry_topic(group), dlq_topic(group)] {
                context.admin.delete_topic(cluster, &topic).await?;
            }
        }
        if context.wants_document() {
            context.document(out, &json!({"deleted": group, "brokers": masters}))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct GetConsumerConfig {
    /// The consumer group
    #[arg(short, long = "groupName", alias = "group", value_name = "GROUP")]
    group_name: String,
}

impl Run for GetConsumerConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let group = self.group_name.trim();
        let info = context.admin.cluster_info().await?;
        let mut found = Vec::new();
        for data in info.broker_addr_table.values() {
            let Some(address) = data.broker_addrs.values().next() else {
                continue;
            };
            match context.admin.group_config(address, group).await {
                Ok(config) => found.push((data, config)),
                Err(error) if error.code() == Some(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if found.is_empty() {
            let cause = format!("no broker has consumer group {group}");
            return Err(Error::other(
                cause,
                "`mqadmin updateSubGroup -c CLUSTER -g GROUP` makes one",
            ));
        }
        if context.wants_document() {
            let brokers = found.iter();
            let brokers: Vec<_> = brokers
                .map(|(data, config)| json!({"clusterName": data.cluster, "brokerName": data.broker_name, "config": config}))
                .collect();
            return context.document(out, &brokers);
        }
        let bar = "=".repeat(29);
        for (data, config) in found {
            writeln!(out, "{bar}{}:{}{bar}", data.cluster, data.broker_name)?;
            let value = serde_json::to_value(&config).unwrap_or_default();
            for (name, value) in value.as_object().into_iter().flatten() {
                writeln!(out, "{name:<40}=  {}", bare(value))?;
            }
        }
        Ok(())
    }
}
