//! Brokers: figures, configuration, upkeep.

use super::args::{OfBrokers, OfSomeBrokers};
use super::context::{Context, Target, ask_all};
use super::error::Error;
use super::registry::{Entry, Run};
use clap::{ArgAction, Args};
use client::Admin;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<BrokerStatus>(
        ("brokerStatus", "broker status"),
        "Every figure that brokers tell of themselves",
        &["-b 127.0.0.1:10911", "-c DefaultCluster -o json"],
    ),
    Entry::new::<BrokerConfig>(
        ("getBrokerConfig", "broker config"),
        "Configuration of brokers",
        &["-b 127.0.0.1:10911", "-c DefaultCluster -o json"],
    ),
    Entry::new::<UpdateBrokerConfig>(
        ("updateBrokerConfig", "broker set-config"),
        "Change a key of the configuration of running brokers",
        &[
            "-b 127.0.0.1:10911 -k autoCreateTopicEnable -v false",
            "-c DefaultCluster -k fileReservedTime -v 48",
        ],
    ),
    Entry::new::<CleanExpiredCq>(
        ("cleanExpiredCQ", "broker clean-queues"),
        "Drop consume queue entries whose messages are gone, now",
        &["-b 127.0.0.1:10911", "-c DefaultCluster"],
    ),
    Entry::new::<DeleteExpiredCommitLog>(
        ("deleteExpiredCommitLog", "broker clean-log"),
        "Delete the part of the commitlog that is past its time, now",
        &["-b 127.0.0.1:10911", "-c DefaultCluster"],
    ),
    Entry::new::<CleanUnusedTopic>(
        ("cleanUnusedTopic", "broker clean-topics"),
        "Drop queues of topics that are not there any more",
        &["-b 127.0.0.1:10911", "-c DefaultCluster"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct BrokerStatus {
    #[command(flatten)]
    of: OfBrokers,
}

impl Run for BrokerStatus {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        status(context, &self.of.target()?, out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct BrokerConfig {
    #[command(flatten)]
    of: OfBrokers,
}

impl Run for BrokerConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        config(context, &self.of.target()?, out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateBrokerConfig {
    #[command(flatten)]
    of: OfBrokers,
    /// Slaves too, not masters alone: true or false
    #[arg(short = 'a', long = "updateAllBroker", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    all: bool,
    /// The key
    #[arg(short, long)]
    key: String,
    /// Its new value
    #[arg(short, long)]
    value: String,
}

impl Run for UpdateBrokerConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let target = self.of.target()?;
        let brokers = if self.all {
            context.everyone(&target).await?
        } else {
            context.masters(&target).await?
        };
        let (key, value) = (self.key.trim(), self.value.trim());
        for broker in &brokers {
            context.admin.update_broker_config(broker, &[(key, value)]).await?;
            if !context.wants_document() {
                writeln!(out, "update broker config success, {broker}")?;
            }
        }
        if context.wants_document() {
            context.document(out, &json!({"brokers": brokers, key: value}))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct CleanExpiredCq {
    #[command(flatten)]
    of: OfSomeBrokers,
}

impl Run for CleanExpiredCq {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let clean = async |admin: Admin, broker: String| admin.clean_expired_consume_queues(&broker).await;
        upkeep(context, &self.of, clean, out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct DeleteExpiredCommitLog {
    #[command(flatten)]
    of: OfSomeBrokers,
}

impl Run for DeleteExpiredCommitLog {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let clean = async |admin: Admin, broker: String| admin.delete_expired_commitlog(&broker).await;
        upkeep(context, &self.of, clean, out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct CleanUnusedTopic {
    #[command(flatten)]
    of: OfSomeBrokers,
}

impl Run for CleanUnusedTopic {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let clean = async |admin: Admin, broker: String| admin.clean_unused_topics(&broker).await;
        upkeep(context, &self.of, clean, out).await
    }
}

/// Lets masters do a piece of upkeep, one after the other.
async fn upkeep(
    context: &Context,
    of: &OfSomeBrokers,
    clean: impl AsyncFn(Admin, String) -> Result<(), client::Error>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let brokers = context.masters(&of.target()).await?;
    for broker in &brokers {
        clean(context.admin.clone(), broker.clone()).await?;
    }
    if context.wants_document() {
        return context.document(out, &json!({ "cleaned": brokers }));
    }
    Ok(writeln!(out, "success")?)
}

/// `brokerStatus`.
async fn status(context: &Context, target: &Target, out: &mut dyn Write) -> Result<(), Error> {
    let brokers = context.everyone(target).await?;
    let answers = ask_all(brokers.clone(), |address| {
        let admin = context.admin.clone();
        async move { Ok(admin.runtime_info(&address).await?) }
    })
    .await;
    let mut all = BTreeMap::new();
    for (address, figures) in brokers.into_iter().zip(answers) {
        all.insert(address, figures?);
    }
    if context.wants_document() {
        return context.document(out, &all);
    }
    for (address, figures) in all {
        for (name, value) in figures {
            match target {
                Target::Broker(_) => writeln!(out, "{name:<32}: {value}")?,
                _ => writeln!(out, "{address:<24} {name:<32}: {value}")?,
            }
        }
    }
    Ok(())
}

/// `getBrokerConfig`.
async fn config(context: &Context, target: &Target, out: &mut dyn Write) -> Result<(), Error> {
    let mut all = Vec::new();
    match target {
        Target::Cluster(cluster) => {
            let info = context.admin.cluster_info().await?;
            for data in Context::brokers_of(&info, cluster)?.values() {
                let master = data.broker_addrs.get(&0).map_or("NO_MASTER", String::as_str);
                for (id, address) in &data.broker_addrs {
                    let heading = match id {
                        0 => format!("============Master: {address}============"),
                        _ => format!("============My Master: {master}=====Slave: {address}============"),
                    };
                    all.push((address.clone(), heading));
                }
            }
        }
        _ => {
            let brokers = context.everyone(target).await?.into_iter();
            all.extend(brokers.map(|address| (address.clone(), format!("============{address}============"))));
        }
    }
    let mut configs = BTreeMap::new();
    for (address, heading) in all {
        let config = context.admin.broker_config(&address).await?;
        if !context.wants_document() {
            writeln!(out, "{heading}")?;
            for (key, value) in &config {
                writeln!(out, "{key:<50}=  {value}")?;
            }
            writeln!(out)?;
        }
        configs.insert(address, config);
    }
    if context.wants_document() {
        context.document(out, &configs)?;
    }
    Ok(())
}
