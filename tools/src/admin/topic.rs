//! Topics: list, route, state, make, delete.

use super::context::{Context, Target, ask_all};
use super::error::Error;
use super::json_text;
use super::registry::{Entry, Run};
use super::time_text::local_with_millis;
use clap::Args;
use client::Admin;
use protocol::body::queue::WireQueue;
use protocol::body::topic::TopicOffset;
use protocol::model::names::{DLQ_PREFIX, RETRY_PREFIX};
use protocol::response_code::ResponseCode;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<TopicList>(
        ("topicList", "topic list"),
        "Names of all topics",
        &["", "-c", "-o json"],
    ),
    Entry::new::<TopicRoute>(
        ("topicRoute", "topic route"),
        "Brokers and queues of a topic",
        &["-t Orders", "-t Orders -l"],
    ),
    Entry::new::<TopicStatus>(
        ("topicStatus", "topic status"),
        "Offsets of a topic's queues",
        &["-t Orders", "-t Orders -o wide", "-t Orders --watch"],
    ),
    Entry::new::<TopicClusterList>(
        ("topicClusterList", "topic clusters"),
        "Clusters that have a topic",
        &["-t Orders", "-t Orders -o json"],
    ),
    Entry::new::<AllocateMq>(
        ("allocateMQ", "topic allocate"),
        "How the queues of a topic would be shared out among clients",
        &["-t Orders -i 10.0.0.1,10.0.0.2", "-t Orders -i one,two,three -o json"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct TopicList {
    /// With clusters and consumer groups
    #[arg(short, long = "clusterModel")]
    cluster_model: bool,
}

impl Run for TopicList {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        if self.cluster_model {
            list_with_groups(context, out).await
        } else {
            list(context, out).await
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct TopicRoute {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// As a list instead of JSON
    #[arg(short, long)]
    list: bool,
}

impl Run for TopicRoute {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        route(context, self.topic.trim(), self.list || context.is_wide(), out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct TopicStatus {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Ask the masters of this cluster instead of those of the topic's route
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<String>,
}

impl Run for TopicStatus {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        status(context, self.topic.trim(), self.cluster.as_deref(), out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct TopicClusterList {
    /// The topic
    #[arg(short, long)]
    topic: String,
}

impl Run for TopicClusterList {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let route = context.admin.topic_route(self.topic.trim()).await?;
        let info = context.admin.cluster_info().await?;
        let has_it = |names: &BTreeSet<String>| route.broker_datas.iter().any(|data| names.contains(&data.broker_name));
        let clusters = info
            .cluster_addr_table
            .iter()
            .filter(|(_name, brokers)| has_it(brokers));
        let clusters: Vec<&String> = clusters.map(|(name, _brokers)| name).collect();
        if context.wants_document() {
            return context.document(out, &clusters);
        }
        for cluster in clusters {
            writeln!(out, "{cluster}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct AllocateMq {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The clients, by addresses or names, parted by commas
    #[arg(short, long = "ipList", value_name = "NAMES", value_delimiter = ',', required = true)]
    ip_list: Vec<String>,
}

impl Run for AllocateMq {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let topic = self.topic.trim();
        let route = client::Route::new(topic, &context.admin.topic_route(topic).await?, i32::MAX);
        let queues: Vec<_> = route
            .read_queues
            .iter()
            .map(|queue| json!({"brokerName": &*queue.broker_name, "queueId": queue.queue_id, "topic": topic}))
            .collect();
        let result: BTreeMap<&str, &[serde_json::Value]> = self
            .ip_list
            .iter()
            .enumerate()
            .map(|(number, name)| (name.trim(), share(&queues, number, self.ip_list.len())))
            .collect();
        let document = json!({ "result": result });
        if context.wants_document() {
            return context.document(out, &document);
        }
        Ok(writeln!(out, "{document}")?)
    }
}

/// The part of the queues that the client with this number of so many gets: neighbours, the first clients one more than the others
/// where it does not come out even. RocketMQ's clients do so unless they are told otherwise.
fn share<T>(queues: &[T], number: usize, clients: usize) -> &[T] {
    let (each, more) = (queues.len() / clients.max(1), queues.len() % clients.max(1));
    let begin = number * each + number.min(more);
    let end = begin + each + usize::from(number < more);
    queues.get(begin..end).unwrap_or_default()
}

/// `topicList`.
async fn list(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    let topics = context.admin.topics().await?;
    if context.wants_document() {
        return context.document(out, &topics);
    }
    for topic in topics {
        writeln!(out, "{topic}")?;
    }
    Ok(())
}

/// `topicList -c`: with clusters and consumer groups, without retry and dead letter topics.
async fn list_with_groups(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    let info = context.admin.cluster_info().await?;
    let topics = context.admin.topics().await?.into_iter();
    let topics = topics.filter(|topic| !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX));
    let rows = ask_all(topics, |topic| {
        let admin = context.admin.clone();
        async move {
            match admin.topic_route(&topic).await {
                Ok(route) => {
                    let first = route.broker_datas.first();
                    let groups = match first.and_then(|broker| broker.broker_addrs.get(&0)) {
                        Some(master) => admin.groups_of_topic(master, &topic).await?,
                        None => BTreeSet::new(),
                    };
                    let broker_name = first.map(|broker| broker.broker_name.clone());
                    Ok((topic, broker_name.unwrap_or_default(), groups))
                }
                // A topic that is only a name to the name server, such as a cluster's.
                Err(error) if error.code() == Some(ResponseCode::TOPIC_NOT_EXIST) => {
                    Ok((topic, String::new(), BTreeSet::new()))
                }
                Err(error) => Err(error.into()),
            }
        }
    })
    .await;
    let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
    let cluster_of = |broker_name: &String| {
        let mut clusters = info.cluster_addr_table.iter();
        let found = clusters.find(|(_, names)| names.contains(broker_name));
        found.map_or("", |(name, _)| name.as_str())
    };
    if context.wants_document() {
        let rows = rows.iter();
        let rows: Vec<_> = rows
            .map(|(topic, broker, groups)| {
                json!({"clusterName": cluster_of(broker), "topic": topic, "consumerGroups": groups})
            })
            .collect();
        return context.document(out, &rows);
    }
    heading!(
        context,
        out,
        "{:<20}  {:<48}  {:<48}",
        "#Cluster Name",
        "#Topic",
        "#Consumer Group"
    )?;
    for (topic, broker, groups) in &rows {
        let cluster = cluster_of(broker);
        if groups.is_empty() {
            writeln!(out, "{cluster:<20}  {topic:<64}  {:<64}", "")?;
        }
        for group in groups {
            writeln!(out, "{cluster:<20}  {topic:<64}  {group:<64}")?;
        }
    }
    Ok(())
}

/// `topicRoute`.
async fn route(context: &Context, topic: &str, as_list: bool, out: &mut dyn Write) -> Result<(), Error> {
    let route = context.admin.topic_route(topic).await?;
    let document = serde_json::to_value(&route).map_err(std::io::Error::from)?;
    if context.wants_document() {
        return context.document(out, &document);
    }
    if !as_list {
        return Ok(writeln!(out, "{}", json_text::pretty(&document))?);
    }
    let mut line = |cells: [&dyn std::fmt::Display; 6]| {
        let [cluster, name, addresses, read, write, perm] = cells;
        writeln!(
            out,
            "{:<45} {:<32} {:<50} {:<10} {:<11} {:<5}",
            cluster.to_string(),
            name.to_string(),
            addresses.to_string(),
            read.to_string(),
            write.to_string(),
            perm.to_string()
        )
    };
    if context.headers {
        line([
            &"#ClusterName",
            &"#BrokerName",
            &"#BrokerAddrs",
            &"#ReadQueue",
            &"#WriteQueue",
            &"#Perm",
        ])?;
    }
    let (mut read_total, mut write_total) = (0_i64, 0_i64);
    let mut queues: Vec<_> = route.queue_datas.iter().collect();
    queues.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
    for queue in &queues {
        let data = route
            .broker_datas
            .iter()
            .find(|data| data.broker_name == queue.broker_name);
        let addresses = data.map(|data| {
            let pairs = data.broker_addrs.iter().map(|(id, address)| format!("{id}={address}"));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        });
        let cluster = data.map_or("", |data| &data.cluster);
        line([
            &cluster,
            &queue.broker_name,
            &addresses.unwrap_or_default(),
            &queue.read_queue_nums,
            &queue.write_queue_nums,
            &queue.perm,
        ])?;
        read_total += i64::from(queue.read_queue_nums);
        write_total += i64::from(queue.write_queue_nums);
    }
    let count = queues.len();
    writeln!(out, "{}", "-".repeat(158))?;
    let mut line = |cells: [String; 5]| {
        let [title, count, nothing, read, write] = cells;
        writeln!(
            out,
            "{title:<45} {count:<32} {nothing:<50} {read:<10} {write:<11} {:<5}",
            ""
        )
    };
    let [count, read, write] = [count.to_string(), read_total.to_string(), write_total.to_string()];
    Ok(line(["Total:".to_owned(), count, String::new(), read, write])?)
}

/// `topicStatus`.
async fn status(context: &Context, topic: &str, cluster: Option<&str>, out: &mut dyn Write) -> Result<(), Error> {
    let masters = match cluster {
        Some(cluster) => context.masters(&Target::Cluster(cluster.to_owned())).await?,
        None => masters_of(context, topic).await?,
    };
    let (mut offsets, mut put_tps) = (BTreeMap::<WireQueue, TopicOffset>::new(), 0.0);
    for master in masters {
        let stats = context.admin.topic_stats(&master, topic).await?;
        offsets.extend(stats.offset_table);
        put_tps += stats.topic_put_tps;
    }
    if context.wants_document() {
        let queues: Vec<_> = offsets
            .iter()
            .map(|(queue, offset)| {
                json!({
                    "brokerName": queue.broker_name,
                    "queueId": queue.queue_id,
                    "minOffset": offset.min_offset,
                    "maxOffset": offset.max_offset,
                    "lastUpdateTimestamp": offset.last_update_timestamp,
                })
            })
            .collect();
        return context.document(out, &json!({"topic": topic, "putTps": put_tps, "queues": queues}));
    }
    let more = if context.is_wide() { "            #Messages" } else { "" };
    heading!(
        context,
        out,
        "{:<32}  {:<4}  {:<20}  {:<20}    #Last Updated{more}",
        "#Broker Name",
        "#QID",
        "#Min Offset",
        "#Max Offset"
    )?;
    for (queue, offset) in offsets {
        let updated = if offset.last_update_timestamp > 0 {
            local_with_millis(offset.last_update_timestamp)
        } else {
            String::new()
        };
        let more = if context.is_wide() {
            let messages = offset.max_offset.saturating_sub(offset.min_offset);
            format!(
                "{:width$}  {messages}",
                "",
                width = 23_usize.saturating_sub(updated.len())
            )
        } else {
            String::new()
        };
        writeln!(
            out,
            "{:<32}  {:<4}  {:<20}  {:<20}    {updated}{more}",
            queue.broker_name, queue.queue_id, offset.min_offset, offset.max_offset
        )?;
    }
    Ok(writeln!(out, "\nTopic Put TPS: {put_tps:?}")?)
}

/// The masters that have a topic.
pub(super) async fn masters_of(context: &Context, topic: &str) -> Result<Vec<String>, Error> {
    masters_of_route(&context.admin, topic).await
}

/// The same, for a task of its own.
pub(super) async fn masters_of_route(admin: &Admin, topic: &str) -> Result<Vec<String>, Error> {
    let route = admin.topic_route(topic).await?;
    let masters: Vec<String> = route
        .broker_datas
        .iter()
        .filter_map(|data| data.broker_addrs.get(&0).cloned())
        .collect();
    if masters.is_empty() {
        let fix = "start the master (brokerId 0) of one of its broker groups";
        return Err(Error::other(format!("no master has topic {topic}"), fix));
    }
    Ok(masters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shared_out_as_clients_do_it() {
        let queues = [0, 1, 2, 3, 4, 5, 6, 7];
        let shares = |clients| {
            (0..clients)
                .map(|number| share(&queues, number, clients))
                .collect::<Vec<_>>()
        };
        assert_eq!(shares(3), [&queues[..3], &queues[3..6], &queues[6..]]);
        assert_eq!(shares(9)[8], &[] as &[i32]);
    }
}
