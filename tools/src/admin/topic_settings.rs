//! Topics: make, change, delete.

use super::args::{OfBrokers, attribute};
use super::context::{Context, Target};
use super::error::Error;
use super::files::read_list;
use super::registry::{Entry, Run};
use clap::{ArgAction, Args, ValueEnum};
use protocol::body::topic::{SINGLE_TAG, TopicConfig};
use protocol::message::sys_flag::perm;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Namespace of the KV config that holds how many queues an order topic has on each broker.
const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<UpdateTopic>(
        ("updateTopic", "topic create"),
        "Make a topic, or change it",
        &[
            "-c DefaultCluster -t Orders -r 8 -w 8",
            "-b 127.0.0.1:10911 -t Orders -a +message.type=FIFO",
        ],
    ),
    Entry::new::<UpdateTopicList>(
        ("updateTopicList", "topic import"),
        "Make or change the topics that a JSON file lists",
        &["-c DefaultCluster -f topics.json", "-b 127.0.0.1:10911 -f topics.json"],
    ),
    Entry::new::<UpdateTopicPerm>(
        ("updateTopicPerm", "topic set-perm"),
        "Change what is allowed on a topic",
        &["-c DefaultCluster -t Orders -p 4", "-b 127.0.0.1:10911 -t Orders -p 6"],
    ),
    Entry::new::<DeleteTopic>(
        ("deleteTopic", "topic delete"),
        "Delete a topic with its messages",
        &["-c DefaultCluster -t Orders", "-c DefaultCluster -t Orders -o json"],
    ),
    Entry::new::<UpdateOrderConf>(
        ("updateOrderConf", "topic order-conf"),
        "What the name servers tell of an order topic's queues",
        &["-t Orders -m get", "-t Orders -m put -v 'broker-a:8;broker-b:8'"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct UpdateTopic {
    #[command(flatten)]
    of: OfBrokers,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Queues to read from
    #[arg(short, long = "readQueueNums", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(0..))]
    read_queue_nums: i32,
    /// Queues to write to
    #[arg(short, long = "writeQueueNums", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(0..))]
    write_queue_nums: i32,
    /// What is allowed: 2 to write, 4 to read, 6 both
    #[arg(short, long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(0..=7))]
    perm: i32,
    /// An order topic, whose queues the name servers know: true or false
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    order: bool,
    /// A unit topic: true or false
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    unit: bool,
    /// Has subscriptions of other units: true or false
    #[arg(short = 's', long = "hasUnitSub", value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    has_unit_sub: bool,
    /// Attributes to set, +KEY=VALUE, parted by commas
    #[arg(short, long, value_delimiter = ',', value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

impl Run for UpdateTopic {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topic = TopicConfig {
            topic_name: self.topic.trim().to_owned(),
            read_queue_nums: self.read_queue_nums,
            write_queue_nums: self.write_queue_nums,
            perm: self.perm,
            order: self.order,
            topic_filter_type: SINGLE_TAG.to_owned(),
            topic_sys_flag: i32::from(self.unit) | i32::from(self.has_unit_sub) << 1,
            attributes: self.attributes.iter().cloned().collect(),
        };
        update(context, &self.of.target()?, &topic, out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateTopicList {
    #[command(flatten)]
    of: OfBrokers,
    /// The file: a JSON array of objects with topicName, readQueueNums, writeQueueNums, perm...
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
}

impl Run for UpdateTopicList {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topics: Vec<TopicConfig> = read_list(&self.filename, "topics, such as [{\"topicName\":\"Orders\"}]")?;
        let masters = context.masters(&self.of.target()?).await?;
        for master in &masters {
            context.admin.create_topics(master, &topics).await?;
            if !context.wants_document() {
                writeln!(
                    out,
                    "submit batch of topic config to {master} success, please check the result later."
                )?;
            }
        }
        if context.wants_document() {
            context.document(out, &json!({"brokers": masters, "topics": topics}))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateTopicPerm {
    #[command(flatten)]
    of: OfBrokers,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// What is allowed: 2 to write, 4 to read, 6 both
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..=7))]
    perm: i32,
}

impl Run for UpdateTopicPerm {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topic = self.topic.trim();
        let mut done = Vec::new();
        for master in context.masters(&self.of.target()?).await? {
            // The broker is asked, since a route has no attributes and no order flag.
            let mut config = context.admin.topic_config(&master, topic).await?;
            let before = std::mem::replace(&mut config.perm, self.perm);
            if before == self.perm {
                if !context.wants_document() {
                    writeln!(out, "new perm equals to the old one!")?;
                }
            } else {
                // Attributes stay: a change that names none leaves them.
                config.attributes.clear();
                context.admin.create_topic(&master, &config).await?;
                if !context.wants_document() {
                    writeln!(
                        out,
                        "update topic perm from {before} to {} in {master} success.",
                        self.perm
                    )?;
                }
            }
            done.push(json!({"broker": master, "before": before, "perm": self.perm}));
        }
        if context.wants_document() {
            context.document(out, &json!({"topic": topic, "changes": done}))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct DeleteTopic {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// From the masters of this cluster, and from the name servers
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster_name: String,
}

impl Run for DeleteTopic {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        delete(context, self.cluster_name.trim(), self.topic.trim(), out).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Show it
    Get,
    /// Set it
    Put,
    /// Remove it
    Delete,
}

#[derive(Debug, Args)]
pub(super) struct UpdateOrderConf {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// What to do
    #[arg(short, long, value_enum)]
    method: Method,
    /// Queues by broker, as broker-a:4;broker-b:4
    #[arg(
        short = 'v',
        long = "orderConf",
        value_name = "CONF",
        required_if_eq("method", "put")
    )]
    order_conf: Option<String>,
}

impl Run for UpdateOrderConf {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topic = self.topic.trim();
        let mut conf = self.order_conf.as_deref().map(str::trim).map(str::to_owned);
        match self.method {
            Method::Get => {
                conf = context.admin.kv(ORDER_NAMESPACE, topic).await?;
                if conf.is_none() {
                    let fix = "`mqadmin topic order-conf -m put` sets one; it is for order topics alone";
                    return Err(Error::other(
                        format!("the name servers have no orderConf of topic {topic}"),
                        fix,
                    ));
                }
            }
            Method::Put => {
                let conf = conf.as_deref().unwrap_or_default();
                context.admin.put_kv(ORDER_NAMESPACE, topic, conf).await?;
            }
            Method::Delete => context.admin.delete_kv(ORDER_NAMESPACE, topic).await?,
        }
        if context.wants_document() {
            return context.document(out, &json!({"topic": topic, "orderConf": conf}));
        }
        let conf = conf.unwrap_or_default();
        Ok(match self.method {
            Method::Get => writeln!(out, "get orderConf success. topic=[{topic}], orderConf=[{conf}]"),
            Method::Put => writeln!(out, "update orderConf success. topic=[{topic}], orderConf=[{conf}]"),
            Method::Delete => writeln!(out, "delete orderConf success. topic=[{topic}]"),
        }?)
    }
}

/// `updateTopic`.
async fn update(context: &Context, target: &Target, topic: &TopicConfig, out: &mut dyn Write) -> Result<(), Error> {
    let masters = context.masters(target).await?;
    let is_table = !context.wants_document();
    let by_broker = matches!(target, Target::Broker(_));
    for master in &masters {
        context.admin.create_topic(master, topic).await?;
        if is_table && !by_broker {
            writeln!(out, "create topic to {master} success.")?;
        }
    }
    let mut order_conf = None;
    if topic.order {
        let conf = put_order_conf(context, target, topic).await?;
        if is_table {
            let whose = if by_broker { "broker" } else { "cluster" };
            writeln!(out, "set {whose} orderConf. isOrder=true, orderConf=[{conf}]")?;
        }
        order_conf = Some(conf);
    }
    if !is_table {
        return context.document(
            out,
            &json!({"brokers": masters, "topic": topic, "orderConf": order_conf}),
        );
    }
    if by_broker {
        for master in &masters {
            writeln!(out, "create topic to {master} success.")?;
        }
    }
    Ok(writeln!(out, "{}", java_text(topic))?)
}

/// Tells the name servers how many queues an order topic has on the brokers; returns what was told.
async fn put_order_conf(context: &Context, target: &Target, topic: &TopicConfig) -> Result<String, Error> {
    let info = context.admin.cluster_info().await?;
    let queues = topic.write_queue_nums;
    let (conf, whole) = match target {
        Target::Everywhere => return Ok(String::new()),
        Target::Cluster(cluster) => {
            let brokers = Context::brokers_of(&info, cluster)?;
            let parts: Vec<String> = brokers.keys().map(|name| format!("{name}:{queues}")).collect();
            (parts.join(";"), parts.join(";"))
        }
        Target::Broker(address) => {
            let mut brokers = info.broker_addr_table.values();
            let broker = brokers.find(|data| data.broker_addrs.values().any(|found| found == address));
            let name = broker.map(|data| &data.broker_name).ok_or_else(|| {
                Error::other(
                    format!(
                        "no name server knows a broker at {address}, so its part of the order topic cannot be told"
                    ),
                    "give the address that `mqadmin clusterList` shows",
                )
            })?;
            // The parts of the other brokers stay.
            let before = context
                .admin
                .kv(ORDER_NAMESPACE, &topic.topic_name)
                .await?
                .unwrap_or_default();
            let prefix = format!("{name}:");
            let others = before
                .split(';')
                .filter(|part| !part.is_empty() && !part.starts_with(&prefix));
            let conf = format!("{name}:{queues}");
            let whole: Vec<&str> = others.chain([conf.as_str()]).collect();
            (conf.clone(), whole.join(";"))
        }
    };
    context.admin.put_kv(ORDER_NAMESPACE, &topic.topic_name, &whole).await?;
    Ok(conf)
}

/// The settings as Apache's mqadmin prints them.
fn java_text(topic: &TopicConfig) -> String {
    let letter = |bit: i32, letter: char| if topic.perm & bit != 0 { letter } else { '-' };
    let attributes: Vec<String> = topic
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}{}{}, topicFilterType={}, topicSysFlag={}, order={}, attributes={{{}}}]",
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        letter(perm::READ, 'R'),
        letter(perm::WRITE, 'W'),
        letter(perm::INHERIT, 'X'),
        topic.topic_filter_type,
        topic.topic_sys_flag,
        topic.order,
        attributes.join(", ")
    )
}

/// `deleteTopic`.
async fn delete(context: &Context, cluster: &str, topic: &str, out: &mut dyn Write) -> Result<(), Error> {
    context.masters(&Target::Cluster(cluster.to_owned())).await?;
    context.admin.delete_topic(cluster, topic).await?;
    if context.wants_document() {
        return context.document(out, &json!({"deleted": topic, "clusterName": cluster}));
    }
    writeln!(out, "delete topic [{topic}] from cluster [{cluster}] success.")?;
    Ok(writeln!(out, "delete topic [{topic}] from NameServer success.")?)
}
