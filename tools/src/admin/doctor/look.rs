//! Asking name servers, brokers and consumers how they are.

use crate::admin::context::{Context, ask_all};
use crate::admin::error::Error;
use client::Admin;
use protocol::body::group::ConsumerConnection;
use protocol::body::offset::ConsumeStats;
use protocol::body::route::ClusterInfo;
use protocol::body::topic::TopicConfig;
use protocol::response_code::ResponseCode;
use std::collections::{BTreeMap, BTreeSet};

/// What a name server says.
pub(super) struct NameServer {
    pub(super) address: String,
    pub(super) said: Result<(ClusterInfo, BTreeSet<String>), Error>,
}

/// What a broker says.
pub(super) struct Broker {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) id: i64,
    pub(super) address: String,
    pub(super) said: Result<Said, Error>,
    /// This machine's clock in the middle of the question, milliseconds since 1970.
    pub(super) asked_ms: i64,
}

#[derive(Default)]
pub(super) struct Said {
    pub(super) figures: BTreeMap<String, String>,
    pub(super) config: BTreeMap<String, String>,
    /// Of a master.
    pub(super) topics: BTreeMap<String, TopicConfig>,
    /// Of a master: offsets of its groups, and who is online.
    pub(super) groups: BTreeMap<String, Group>,
}

#[derive(Clone, Default)]
pub(super) struct Group {
    pub(super) lag: i64,
    pub(super) topics: BTreeSet<String>,
    /// `None`: nobody is online.
    pub(super) connection: Option<ConsumerConnection>,
    /// What each client says that it subscribes to: topic and expression.
    pub(super) subscriptions: BTreeMap<String, BTreeSet<(String, String)>>,
}

/// Everything that was answered.
pub(super) struct Seen {
    pub(super) name_servers: Vec<NameServer>,
    pub(super) brokers: Vec<Broker>,
}

impl Seen {
    /// How much that was.
    pub(super) fn summary(&self) -> String {
        let said = || self.brokers.iter().filter_map(|broker| broker.said.as_ref().ok());
        let topics: BTreeSet<_> = said().flat_map(|said| said.topics.keys()).collect();
        let groups: BTreeSet<_> = said().flat_map(|said| said.groups.keys()).collect();
        format!(
            "{} name servers, {} brokers, {} topics, {} consumer groups",
            self.name_servers.len(),
            self.brokers.len(),
            topics.len(),
            groups.len()
        )
    }
}

/// Asks everybody.
pub(super) async fn look(context: &Context) -> Seen {
    let servers = context.client.name_servers().to_vec();
    let said = ask_all(servers.clone(), |server| {
        let admin = context.admin.clone();
        async move {
            let info = admin.cluster_info_of(&server).await?;
            Ok((info, admin.topics_of_name_server(&server).await?))
        }
    })
    .await;
    let name_servers: Vec<NameServer> = servers
        .into_iter()
        .zip(said)
        .map(|(address, said)| NameServer { address, said })
        .collect();
    let mut known = BTreeMap::new();
    for (info, _topics) in name_servers.iter().filter_map(|server| server.said.as_ref().ok()) {
        for data in info.broker_addr_table.values() {
            for (id, address) in &data.broker_addrs {
                known.insert(address.clone(), (data.cluster.clone(), data.broker_name.clone(), *id));
            }
        }
    }
    let asked = known.keys().cloned().collect::<Vec<_>>();
    let said = ask_all(
        asked
            .into_iter()
            .zip(known.values().map(|place| place.2).collect::<Vec<_>>()),
        |(address, id)| {
            let admin = context.admin.clone();
            async move {
                let begun = runtime::wall_clock_ms();
                let figures = admin.runtime_info(&address).await?;
                let asked_ms = begun + (runtime::wall_clock_ms() - begun) / 2;
                Ok((rest_of(&admin, &address, id, figures).await?, asked_ms))
            }
        },
    )
    .await;
    let brokers = known
        .into_iter()
        .zip(said)
        .map(|((address, (cluster, name, id)), said)| {
            let asked_ms = said.as_ref().map_or(0, |(_said, asked_ms)| *asked_ms);
            Broker {
                cluster,
                name,
                id,
                address,
                said: said.map(|(said, _)| said),
                asked_ms,
            }
        });
    let brokers = brokers.collect();
    Seen { name_servers, brokers }
}

async fn rest_of(admin: &Admin, address: &str, id: i64, figures: BTreeMap<String, String>) -> Result<Said, Error> {
    let mut said = Said {
        figures,
        config: admin.broker_config(address).await?,
        ..Said::default()
    };
    if id != 0 {
        return Ok(said);
    }
    said.topics = admin.all_topic_config(address).await?.topic_config_table;
    for (group, topics) in admin
        .broker_consume_stats(address, false)
        .await?
        .consume_stats_list
        .into_iter()
        .flatten()
    {
        said.groups.insert(group, group_of(&topics));
    }
    let names: Vec<String> = said.groups.keys().cloned().collect();
    let online = ask_all(names.clone(), |group| {
        let (admin, address) = (admin.clone(), address.to_owned());
        async move { clients_of(&admin, &address, &group).await }
    })
    .await;
    for (name, clients) in names.into_iter().zip(online) {
        if let (Some(group), Some((connection, subscriptions))) = (said.groups.get_mut(&name), clients?) {
            group.connection = Some(connection);
            group.subscriptions = subscriptions;
        }
    }
    Ok(said)
}

fn group_of(topics: &[ConsumeStats]) -> Group {
    let queues = || topics.iter().flat_map(|stats| &stats.offset_table);
    let behind = queues().map(|(_queue, offset)| offset.broker_offset.saturating_sub(offset.consumer_offset));
    Group {
        lag: behind.fold(0, i64::saturating_add),
        topics: queues().map(|(queue, _offset)| queue.topic.clone()).collect(),
        ..Group::default()
    }
}

type Clients = (ConsumerConnection, BTreeMap<String, BTreeSet<(String, String)>>);

/// The clients of a group and what each subscribes to; one that does not answer says nothing.
async fn clients_of(admin: &Admin, address: &str, group: &str) -> Result<Option<Clients>, Error> {
    let connection = match admin.consumer_connection(address, group).await {
        Ok(connection) => connection,
        Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A client alone agrees with itself.
    if connection.connection_set.len() < 2 {
        return Ok(Some((connection, BTreeMap::new())));
    }
    let ids = connection.connection_set.iter().map(|client| client.client_id.clone());
    let infos = ask_all(ids, |client_id| {
        let (admin, address, group) = (admin.clone(), address.to_owned(), group.to_owned());
        async move {
            let info = admin.running_info(&address, &group, &client_id, false).await?;
            let wanted = info
                .subscription_set
                .into_iter()
                .map(|data| (data.topic, data.sub_string));
            Ok((client_id, wanted.collect::<BTreeSet<_>>()))
        }
    })
    .await;
    let subscriptions = infos.into_iter().flatten().collect();
    Ok(Some((connection, subscriptions)))
}
