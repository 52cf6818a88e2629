//! Topics: list, route, state, make, delete.

use super::context::{Context, Target};
use super::error::Error;
use super::json_text;
use super::time_text::local_with_millis;
use crate::output::{Format, json_document};
use protocol::body::queue::WireQueue;
use protocol::body::topic::{TopicConfig, TopicOffset};
use protocol::message::sys_flag::perm;
use protocol::model::names::{DLQ_PREFIX, RETRY_PREFIX};
use protocol::response_code::ResponseCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

/// Namespace of the KV config that holds how many queues an order topic has on each broker.
const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// `topicList`.
pub(super) async fn list(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    let topics = context.admin.topics().await?;
    if context.format == Format::Json {
        return Ok(json_document(out, &topics)?);
    }
    for topic in topics {
        writeln!(out, "{topic}")?;
    }
    Ok(())
}

/// `topicList -c`: with clusters and consumer groups, without retry and dead letter topics.
pub(super) async fn list_with_groups(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    let info = context.admin.cluster_info().await?;
    let mut rows = Vec::new();
    for topic in context.admin.topics().await? {
        if topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX) {
            continue;
        }
        let (cluster, groups) = match context.admin.topic_route(&topic).await {
            Ok(route) => {
                let broker = route.broker_datas.first();
                let of_broker = broker.and_then(|broker| {
                    let mut clusters = info.cluster_addr_table.iter();
                    clusters.find(|(_, names)| names.contains(&broker.broker_name))
                });
                let master = broker.and_then(|broker| broker.broker_addrs.get(&0));
                let groups = match master {
                    Some(master) => context.admin.groups_of_topic(master, &topic).await?,
                    None => Default::default(),
                };
                (of_broker.map(|(name, _)| name.clone()).unwrap_or_default(), groups)
            }
            // A topic that is only a name to the name server, such as a cluster's.
            Err(error) if error.code() == Some(ResponseCode::TOPIC_NOT_EXIST) => Default::default(),
            Err(error) => return Err(error.into()),
        };
        rows.push((cluster, topic, groups));
    }
    if context.format == Format::Json {
        let rows = rows.iter();
        let rows: Vec<_> = rows
            .map(|(cluster, topic, groups)| json!({"clusterName": cluster, "topic": topic, "consumerGroups": groups}))
            .collect();
        return Ok(json_document(out, &rows)?);
    }
    writeln!(
        out,
        "{:<20}  {:<48}  {:<48}",
        "#Cluster Name", "#Topic", "#Consumer Group"
    )?;
    for (cluster, topic, groups) in rows {
        let groups = if groups.is_empty() {
            vec![String::new()]
        } else {
            groups.into_iter().collect()
        };
        for group in groups {
            writeln!(out, "{cluster:<20}  {topic:<64}  {group:<64}")?;
        }
    }
    Ok(())
}

/// `topicRoute`.
pub(super) async fn route(context: &Context, topic: &str, as_list: bool, out: &mut dyn Write) -> Result<(), Error> {
    let route = context.admin.topic_route(topic).await?;
    let document = serde_json::to_value(&route).map_err(std::io::Error::from)?;
    if context.format == Format::Json {
        return Ok(json_document(out, &document)?);
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
    line([
        &"#ClusterName",
        &"#BrokerName",
        &"#BrokerAddrs",
        &"#ReadQueue",
        &"#WriteQueue",
        &"#Perm",
    ])?;
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
pub(super) async fn status(
    context: &Context,
    topic: &str,
    cluster: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Error> {
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
    if context.format == Format::Json {
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
        return Ok(json_document(
            out,
            &json!({"topic": topic, "putTps": put_tps, "queues": queues}),
        )?);
    }
    writeln!(
        out,
        "{:<32}  {:<4}  {:<20}  {:<20}    #Last Updated",
        "#Broker Name", "#QID", "#Min Offset", "#Max Offset"
    )?;
    for (queue, offset) in offsets {
        let updated = if offset.last_update_timestamp > 0 {
            local_with_millis(offset.last_update_timestamp)
        } else {
            String::new()
        };
        writeln!(
            out,
            "{:<32}  {:<4}  {:<20}  {:<20}    {updated}",
            queue.broker_name, queue.queue_id, offset.min_offset, offset.max_offset
        )?;
    }
    Ok(writeln!(out, "\nTopic Put TPS: {put_tps:?}")?)
}

/// The masters that have a topic.
pub(super) async fn masters_of(context: &Context, topic: &str) -> Result<Vec<String>, Error> {
    let route = context.admin.topic_route(topic).await?;
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

/// `updateTopic`.
pub(super) async fn update(
    context: &Context,
    target: &Target,
    topic: &TopicConfig,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let masters = context.masters(target).await?;
    let is_table = context.format == Format::Table;
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
        return Ok(json_document(
            out,
            &json!({"brokers": masters, "topic": topic, "orderConf": order_conf}),
        )?);
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
pub(super) async fn delete(context: &Context, cluster: &str, topic: &str, out: &mut dyn Write) -> Result<(), Error> {
    context.masters(&Target::Cluster(cluster.to_owned())).await?;
    context.admin.delete_topic(cluster, topic).await?;
    if context.format == Format::Json {
        return Ok(json_document(out, &json!({"deleted": topic, "clusterName": cluster}))?);
    }
    writeln!(out, "delete topic [{topic}] from cluster [{cluster}] success.")?;
    Ok(writeln!(out, "delete topic [{topic}] from NameServer success.")?)
}
