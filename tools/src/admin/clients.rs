//! Connected clients: who they are, and what consumers say of themselves.

use super::context::{Context, ask_all};
use super::error::Error;
use super::registry::{Entry, Run};
use super::time_text::local;
use super::topic::masters_of;
use super::version_text::version_name;
use clap::Args;
use protocol::body::group::{ConsumerConnection, ProducerConnection};
use protocol::body::queue::WireQueue;
use protocol::body::running_info::ConsumerRunningInfo;
use protocol::model::names::retry_topic;
use protocol::response_code::ResponseCode;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<ConsumerConnectionArgs>(
        ("consumerConnection", "group clients"),
        "The clients of a consumer group and what it subscribes to",
        &["-g Billing", "-g Billing -b 127.0.0.1:10911 -o json"],
    ),
    Entry::new::<ConsumerStatus>(
        ("consumerStatus", "group status"),
        "What each consumer of a group says of itself, and whether they agree",
        &["-g Billing", "-g Billing -i 10.0.0.7@4711 -s"],
    ),
    Entry::new::<ProducerConnectionArgs>(
        ("producerConnection", "producers clients"),
        "The clients of a producer group",
        &["-g PaymentProducer -t Orders", "-g PaymentProducer -t Orders -o json"],
    ),
    Entry::new::<Producers>(
        ("producer", "producers list"),
        "All producers that are connected to a broker",
        &["-b 127.0.0.1:10911", "-b 127.0.0.1:10911 -o json"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct ConsumerConnectionArgs {
    /// The consumer group
    #[arg(short = 'g', long = "consumerGroup", alias = "group", value_name = "GROUP")]
    consumer_group: String,
    /// Ask this broker instead of those that have the group's retry topic
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
}

/// The broker at which a group is online, and its clients there.
pub(super) async fn online(
    context: &Context,
    group: &str,
    broker: Option<&str>,
) -> Result<(String, ConsumerConnection), Error> {
    let masters = match broker {
        Some(address) => vec![address.trim().to_owned()],
        None => masters_of(context, &retry_topic(group)).await.map_err(|error| {
            if error.code() == Some(ResponseCode::TOPIC_NOT_EXIST) {
                let fix = "`mqadmin consumerProgress` lists the groups there are";
                return Error::other(format!("no broker knows consumer group {group}"), fix);
            }
            error
        })?,
    };
    for master in masters {
        match context.admin.consumer_connection(&master, group).await {
            Ok(connection) if !connection.connection_set.is_empty() => return Ok((master, connection)),
            Ok(_nobody) => {}
            Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let fix = "start a consumer of it, or look at `mqadmin consumerProgress -g GROUP` for how far it was";
    Err(Error::other(
        format!("no client of consumer group {group} is connected"),
        fix,
    ))
}

impl Run for ConsumerConnectionArgs {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let group = self.consumer_group.trim();
        let (_master, connection) = online(context, group, self.broker_addr.as_deref()).await?;
        if context.wants_document() {
            return context.document(out, &connection);
        }
        heading!(
            context,
            out,
            "{:<36} {:<22} {:<10} #Version",
            "#ClientId",
            "#ClientAddr",
            "#Language"
        )?;
        for client in &connection.connection_set {
            writeln!(
                out,
                "{:<36} {:<22} {:<10} {}",
                client.client_id,
                client.client_addr,
                client.language.as_str(),
                version_name(client.version)
            )?;
        }
        writeln!(out, "\nBelow is subscription:")?;
        writeln!(out, "{:<20} #SubExpression", "#Topic")?;
        for data in connection.subscription_table.values() {
            writeln!(out, "{:<20} {}", data.topic, data.sub_string)?;
        }
        writeln!(out, "\nConsumeType: {}", connection.consume_type.as_str())?;
        writeln!(out, "MessageModel: {}", connection.message_model.as_str())?;
        Ok(writeln!(
            out,
            "ConsumeFromWhere: {}",
            connection.consume_from_where.as_str()
        )?)
    }
}

#[derive(Debug, Args)]
pub(super) struct ConsumerStatus {
    /// The consumer group
    #[arg(short = 'g', long = "consumerGroup", alias = "group", value_name = "GROUP")]
    consumer_group: String,
    /// Everything that this client says of itself
    #[arg(short = 'i', long = "clientId", value_name = "ID")]
    client_id: Option<String>,
    /// Ask through this broker
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// With what the client's threads do
    #[arg(short = 's', long)]
    jstack: bool,
}

impl Run for ConsumerStatus {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let group = self.consumer_group.trim();
        let (master, connection) = online(context, group, self.broker_addr.as_deref()).await?;
        if let Some(client_id) = self.client_id.as_deref().map(str::trim) {
            let info = context
                .admin
                .running_info(&master, group, client_id, self.jstack)
                .await?;
            if context.wants_document() {
                return context.document(out, &document_of(client_id, &info));
            }
            return details(&info, out);
        }
        let clients = connection.connection_set.iter().map(|client| client.client_id.clone());
        let infos = ask_all(clients, |client_id| {
            let (admin, master, group, jstack) = (context.admin.clone(), master.clone(), group.to_owned(), self.jstack);
            async move { Ok(admin.running_info(&master, &group, &client_id, jstack).await?) }
        })
        .await;
        let mut known = BTreeMap::new();
        let mut failure = None;
        heading_of_clients(context, out)?;
        for (client, info) in connection.connection_set.iter().zip(infos) {
            match info {
                Ok(info) => drop(known.insert(client.client_id.clone(), info)),
                Err(error) => failure = Some(error),
            }
            if !context.wants_document() && known.contains_key(&client.client_id) {
                let (number, version) = (known.len(), version_name(client.version));
                writeln!(out, "{number:<10} {:<40} {version:<20} -", client.client_id)?;
            }
        }
        if context.wants_document() {
            let clients: Vec<_> = known
                .iter()
                .map(|(client_id, info)| document_of(client_id, info))
                .collect();
            context.document(out, &json!({"consumerGroup": group, "sameSubscription": agree(&known), "queuesSharedTwice": held_twice(&known), "clients": clients}))?;
        } else if agree(&known) {
            writeln!(out, "\n\nSame subscription in the same group of consumer")?;
            let twice = held_twice(&known);
            writeln!(out, "\n\nRebalance {}", if twice.is_empty() { "OK" } else { "Failed" })?;
            for queue in twice {
                writeln!(
                    out,
                    "{} {} {} is held by more than one client",
                    queue.topic, queue.broker_name, queue.queue_id
                )?;
            }
        } else {
            writeln!(out, "\n\nWARN: Different subscription in the same group of consumer!!!")?;
        }
        failure.map_or(Ok(()), Err)
    }
}

fn heading_of_clients(context: &Context, out: &mut dyn Write) -> Result<(), Error> {
    if context.wants_document() {
        return Ok(());
    }
    Ok(heading!(
        context,
        out,
        "{:<10} {:<40} {:<20} #ConsumerRunningInfoFile",
        "#Index",
        "#ClientId",
        "#Version"
    )?)
}

/// Whether all consumers of a group subscribe to the same.
pub(super) fn agree(infos: &BTreeMap<String, ConsumerRunningInfo>) -> bool {
    let subscriptions: BTreeSet<BTreeSet<(&str, &str)>> = infos
        .values()
        .map(|info| {
            let set = info.subscription_set.iter();
            set.map(|data| (data.topic.as_str(), data.sub_string.as_str()))
                .collect()
        })
        .collect();
    subscriptions.len() <= 1
}

/// Queues that more than one consumer of a group holds.
fn held_twice(infos: &BTreeMap<String, ConsumerRunningInfo>) -> BTreeSet<&WireQueue> {
    let (mut held, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for (queue, state) in infos.values().flat_map(|info| &info.mq_table) {
        if !state.droped && !held.insert(queue) {
            twice.insert(queue);
        }
    }
    twice
}

fn document_of(client_id: &str, info: &ConsumerRunningInfo) -> serde_json::Value {
    let queues: Vec<_> = info
        .mq_table
        .iter()
        .map(|(queue, state)| json!({"queue": queue, "state": state}))
        .collect();
    json!({
        "clientId": client_id,
        "properties": info.properties,
        "subscriptions": info.subscription_set,
        "queues": queues,
        "topics": info.status_table,
        "jstack": info.jstack,
    })
}

fn details(info: &ConsumerRunningInfo, out: &mut dyn Write) -> Result<(), Error> {
    writeln!(out, "#Consumer Properties#")?;
    for (name, value) in &info.properties {
        writeln!(out, "{name:<40}: {value}")?;
    }
    writeln!(out, "\n\n#Consumer Subscription#")?;
    for (number, data) in info.subscription_set.iter().enumerate() {
        let (topic, expression) = (&data.topic, &data.sub_string);
        writeln!(
            out,
            "{number:03} Topic: {topic:<40} ClassFilter: {:<8} SubExpression: {expression}",
            data.class_filter_mode
        )?;
    }
    writeln!(out, "\n\n#Consumer Offset#")?;
    writeln!(
        out,
        "{:<64}  {:<32}  {:<4}  {:<20}",
        "#Topic", "#Broker Name", "#QID", "#Consumer Offset"
    )?;
    for (queue, state) in &info.mq_table {
        let (topic, broker, id, offset) = (&queue.topic, &queue.broker_name, queue.queue_id, state.commit_offset);
        writeln!(out, "{topic:<64}  {broker:<32}  {id:<4}  {offset:<20}")?;
    }
    writeln!(out, "\n\n#Consumer MQ Detail#")?;
    writeln!(
        out,
        "{:<64}  {:<32}  {:<4}  ProcessQueueInfo",
        "#Topic", "#Broker Name", "#QID"
    )?;
    for (queue, state) in &info.mq_table {
        writeln!(
            out,
            "{:<64}  {:<32}  {:<4}  cachedMsgCount={}, cachedMsgMinOffset={}, cachedMsgMaxOffset={}, locked={}, droped={}, lastPullTime={}, lastConsumeTime={}",
            queue.topic,
            queue.broker_name,
            queue.queue_id,
            state.cached_msg_count,
            state.cached_msg_min_offset,
            state.cached_msg_max_offset,
            state.locked,
            state.droped,
            local(state.last_pull_timestamp),
            local(state.last_consume_timestamp)
        )?;
    }
    writeln!(out, "\n\n#Consumer RT&TPS#")?;
    writeln!(
        out,
        "{:<64}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}",
        "#Topic",
        "#Pull RT",
        "#Pull TPS",
        "#Consume RT",
        "#ConsumeOK TPS",
        "#ConsumeFailed TPS",
        "#ConsumeFailedMsgsInHour"
    )?;
    for (topic, status) in &info.status_table {
        writeln!(
            out,
            "{topic:<64}  {:>14.2} {:>14.2} {:>14.2} {:>14.2} {:>18.2} {:>25}",
            status.pull_rt,
            status.pull_tps,
            status.consume_rt,
            status.consume_ok_tps,
            status.consume_failed_tps,
            status.consume_failed_msgs
        )?;
    }
    if let Some(jstack) = &info.jstack {
        writeln!(out, "\n\n#Consumer jstack#\n{jstack}")?;
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct ProducerConnectionArgs {
    /// The producer group
    #[arg(short = 'g', long = "producerGroup", alias = "group", value_name = "GROUP")]
    producer_group: String,
    /// A topic that it sends to: its brokers are asked
    #[arg(short, long)]
    topic: String,
}

impl Run for ProducerConnectionArgs {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let group = self.producer_group.trim();
        let (mut all, mut failure) = (ProducerConnection::default(), None);
        for master in masters_of(context, self.topic.trim()).await? {
            match context.admin.producer_connection(&master, group).await {
                Ok(found) => all.connection_set.extend(found.connection_set),
                Err(error) => failure = Some(error),
            }
        }
        all.connection_set
            .sort_by(|one, other| one.client_id.cmp(&other.client_id));
        all.connection_set
            .dedup_by(|one, other| one.client_id == other.client_id);
        if let (true, Some(error)) = (all.connection_set.is_empty(), failure) {
            return Err(error.into());
        }
        if context.wants_document() {
            return context.document(out, &all);
        }
        for (number, client) in all.connection_set.iter().enumerate() {
            writeln!(
                out,
                "{:04}  {:<32} {:<22} {:<8} {}",
                number + 1,
                client.client_id,
                client.client_addr,
                client.language.as_str(),
                version_name(client.version)
            )?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Producers {
    /// The broker at this address
    #[arg(short, long, value_name = "HOST:PORT")]
    broker: String,
}

impl Run for Producers {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let table = context.admin.all_producers(self.broker.trim()).await?;
        if context.wants_document() {
            return context.document(out, &table.data);
        }
        for (group, producers) in &table.data {
            if producers.is_empty() {
                writeln!(out, "producer group ({group}) instances are empty")?;
            }
            for producer in producers {
                writeln!(
                    out,
                    "producer group ({group}) instance : clientId={},remoteIP={}, language={}, version={}, lastUpdateTimestamp={}",
                    producer.client_id,
                    producer.remote_ip,
                    producer.language.as_str(),
                    producer.version,
                    producer.last_update_timestamp
                )?;
            }
        }
        Ok(())
    }
}
