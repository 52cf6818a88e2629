//! Which brokers there are, and which topics they have: the rules, without I/O and without a clock.
//!
//! Three things tie together: a *group* (brokers of one name, by broker id; id 0 is the master), the *topics* with their
//! queues on each group, and a *registration* for every broker (cluster and address) that says when it was last heard of and
//! over which connection.
//!
//! A registration belongs to the connection it came over, and connections are numbered in the order they were made. An
//! unregister request counts only over that connection, and a connection that closes takes only its own registrations with
//! it. So whatever an old process of a broker, or an old connection, still has to say cannot harm a newer registration: not
//! even a registration of its own, which would tie the broker to a connection that is about to close. A heartbeat over a newer
//! connection moves the registration there.
//!
//! Beyond that the rules are those of RocketMQ's `RouteInfoManager`.

use protocol::body::register::RegisterBrokerBody;
use protocol::body::route::{BrokerData, BrokerMemberGroup, ClusterInfo, QueueData, QueueMapping, TopicRouteData};
use protocol::body::topic::{DataVersion, TopicConfig, TopicList};
use protocol::header::name_server::{NotifyMinBrokerIdChangeRequest, RegisterBrokerResponse};
use protocol::message::sys_flag::{perm, topic_flag};
use runtime::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Broker id of a master.
pub const MASTER_ID: i64 = 0;
/// How long a broker that names no time of its own may be silent.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(120);
/// Shortest time that a broker may name: less would drop it between two looks.
const HEARTBEAT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Longest name of a cluster, a broker or a topic, and longest address, in bytes.
const NAME_LENGTH_MAX: usize = 255;
/// Topics, and brokers, that the table holds at most: a bound on what strangers can make it hold.
const TOPICS_MAX: usize = 2_000_000;
const BROKERS_MAX: usize = 100_000;
/// Topics that begin so are not shown through an acting master.
const SYNC_BROKER_MEMBER_GROUP_PREFIX: &str = protocol::model::names::SYNC_BROKER_MEMBER_GROUP_PREFIX;

/// Number of the connection that something came over; later connections have larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u64);

/// A broker, as requests name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerAddress {
    /// Its cluster.
    pub cluster: String,
    /// `ip:port`.
    pub address: String,
}

/// What a broker registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Cluster and address.
    pub broker: BrokerAddress,
    /// Name of its group.
    pub broker_name: String,
    /// Its place in the group.
    pub broker_id: i64,
    /// Where slaves copy from.
    pub ha_address: String,
    /// Zone of the group.
    pub zone_name: Option<String>,
    /// How long it may be silent.
    pub heartbeat_timeout: Option<Duration>,
    /// Whether a slave may stand in for the master; `None` from brokers that do not know of it.
    pub enable_acting_master: Option<bool>,
    /// Topics and filter servers.
    pub body: RegisterBrokerBody,
    /// The connection.
    pub source: Source,
}

/// The settings that rules depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `supportActingMaster`.
    pub support_acting_master: bool,
    /// `deleteTopicWithBrokerRegistration`.
    pub delete_topic_with_broker_registration: bool,
}

/// Brokers that have to know that the smallest broker id of their group is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinIdChange {
    /// Addresses to tell.
    pub tell: Vec<String>,
    /// What to tell them.
    pub header: NotifyMinBrokerIdChangeRequest,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It stands.
    Accepted {
        /// The master, for a slave.
        answer: RegisterBrokerResponse,
        /// Whom to tell.
        change: Option<MinIdChange>,
    },
    /// Another broker holds the id, and its state is newer.
    OutOfDate,
    /// The same broker has registered over a newer connection: this is what its last process had sent.
    Late,
    /// One topic of a broker that has not registered as a whole yet.
    NotRegisteredYet,
}

/// What cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A name that cannot be one.
    #[error(
        "{what} {name:?} is not acceptable: it must have 1 to {NAME_LENGTH_MAX} bytes and no blanks or control characters"
    )]
    BadName {
        /// Name of what.
        what: &'static str,
        /// The beginning of it.
        name: String,
    },
    /// A bound of the table.
    #[error("the name server holds {limit} {what} already, its limit")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// A topic of a broker that is not there.
    #[error("topic {topic} names broker {broker_name}, which is not registered")]
    UnknownBroker {
        /// The topic.
        topic: String,
        /// The broker.
        broker_name: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    cluster: String,
    addresses: BTreeMap<i64, String>,
    enable_acting_master: bool,
    zone_name: Option<String>,
}

impl Group {
    fn smallest_id(&self) -> Option<i64> {
        self.addresses.keys().next().copied()
    }

    fn has_master(&self) -> bool {
        self.smallest_id().is_some_and(|id| id <= MASTER_ID)
    }

    fn data(&self, broker_name: &str) -> BrokerData {
        BrokerData {
            broker_addrs: self.addresses.clone(),
            broker_name: broker_name.to_owned(),
            cluster: self.cluster.clone(),
            enable_acting_master: self.enable_acting_master,
            zone_name: self.zone_name.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queues {
    read: i32,
    write: i32,
    perm: i32,
    flag: i32,
}

impl Queues {
    fn data(self, broker_name: &str) -> QueueData {
        QueueData {
            broker_name: broker_name.to_owned(),
            perm: self.perm,
            read_queue_nums: self.read,
            topic_sys_flag: self.flag,
            write_queue_nums: self.write,
        }
    }
}

#[derive(Clone, Debug)]
struct Live {
    broker_name: String,
    ha_address: String,
    data_version: DataVersion,
    filter_servers: Vec<String>,
    source: Source,
    heard: Instant,
    timeout: Duration,
}

/// The routes of a name server.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    topics: BTreeMap<String, BTreeMap<String, Queues>>,
    mappings: BTreeMap<String, BTreeMap<String, QueueMapping>>,
    groups: BTreeMap<String, Group>,
    clusters: BTreeMap<String, BTreeSet<String>>,
    live: BTreeMap<BrokerAddress, Live>,
}

impl RouteTable {
    /// Takes in a broker with its topics.
    ///
    /// # Errors
    /// Names that cannot be names, and bounds of the table. Nothing has changed then.
    pub fn register(&mut self, new: Registration, rules: Rules, now: Instant) -> Result<Registered, RouteError> {
        self.check(&new)?;
        if self.live.get(&new.broker).is_some_and(|live| live.source > new.source) {
            return Ok(Registered::Late);
        }
        if self.is_out_of_date(&new) {
            // What the loser registered before, if anything, must not live on either.
            self.live.remove(&new.broker);
            return Ok(Registered::OutOfDate);
        }
        let known = self.groups.get(&new.broker_name);
        let id_known = known.is_some_and(|group| group.addresses.contains_key(&new.broker_id));
        if !id_known && new.body.topic_config_serialize_wrapper.topic_config_table.len() == 1 {
            return Ok(Registered::NotRegisteredYet);
        }
        let min_id_fell = known
            .and_then(Group::smallest_id)
            .is_some_and(|smallest| new.broker_id < smallest);
        self.join_group(&new);
        self.take_topics(&new, rules, !id_known);
        let (broker_name, broker_id, ha_address) = (new.broker_name.clone(), new.broker_id, new.ha_address.clone());
        self.note_live(new, now);
        let answer = self.master_for(&broker_name, broker_id);
        let change = if min_id_fell {
            self.min_id_change(&broker_name, None, Some(ha_address))
        } else {
            None
        };
        Ok(Registered::Accepted { answer, change })
    }

    fn check(&self, new: &Registration) -> Result<(), RouteError> {
        check_name("cluster name", &new.broker.cluster)?;
        check_name("broker address", &new.broker.address)?;
        check_name("broker name", &new.broker_name)?;
        let topics = &new.body.topic_config_serialize_wrapper.topic_config_table;
        topics.keys().try_for_each(|topic| check_name("topic", topic))?;
        if self.topics.len() + topics.len() > TOPICS_MAX
            && self.topics.len() + topics.keys().filter(|topic| !self.topics.contains_key(*topic)).count() > TOPICS_MAX
        {
            return Err(RouteError::Full {
                what: "topics",
                limit: TOPICS_MAX,
            });
        }
        if self.live.len() >= BROKERS_MAX && !self.live.contains_key(&new.broker) {
            return Err(RouteError::Full {
                what: "brokers",
                limit: BROKERS_MAX,
            });
        }
        Ok(())
    }

    /// Whether another address holds the id with a newer state (an old master that has not noticed the new one yet).
    fn is_out_of_date(&self, new: &Registration) -> bool {
        let holder = self
            .groups
            .get(&new.broker_name)
            .and_then(|group| group.addresses.get(&new.broker_id));
        let Some(address) = holder.filter(|address| **address != new.broker.address) else {
            return false;
        };
        let holder = BrokerAddress {
            cluster: new.broker.cluster.clone(),
            address: address.clone(),
        };
        let ours = new.body.topic_config_serialize_wrapper.data_version.state_version;
        self.live
            .get(&holder)
            .is_some_and(|live| live.data_version.state_version > ours)
    }

    fn join_group(&mut self, new: &Registration) {
        self.clusters
            .entry(new.broker.cluster.clone())
            .or_default()
            .insert(new.broker_name.clone());
        let group = self.groups.entry(new.broker_name.clone()).or_insert_with(|| {
            tracing::info!(
                broker_name = new.broker_name,
                cluster = new.broker.cluster,
                "broker group registered"
            );
            Group {
                cluster: new.broker.cluster.clone(),
                addresses: BTreeMap::new(),
                enable_acting_master: false,
                zone_name: None,
            }
        });
        group.enable_acting_master = new.enable_acting_master.unwrap_or(false);
        group.zone_name.clone_from(&new.zone_name);
        // A slave that became the master (or the reverse) comes with the same address under another id.
        group
            .addresses
            .retain(|id, address| *address != new.broker.address || *id == new.broker_id);
        let replaced = group.addresses.insert(new.broker_id, new.broker.address.clone());
        let cluster = group.cluster.clone();
        if let Some(address) = replaced.filter(|address| *address != new.broker.address) {
            // Its registration can no longer be found through the group, so it goes now.
            self.live.remove(&BrokerAddress { cluster, address });
        }
    }

    fn take_topics(&mut self, new: &Registration, rules: Rules, first: bool) {
        let is_master = new.broker_id == MASTER_ID;
        let smallest = self.groups.get(&new.broker_name).and_then(Group::smallest_id);
        let is_prime_slave = !is_master && new.enable_acting_master.is_some() && smallest == Some(new.broker_id);
        if !is_master && !is_prime_slave {
            return;
        }
        let wrapper = &new.body.topic_config_serialize_wrapper;
        if rules.delete_topic_with_broker_registration && wrapper.topic_queue_mapping_info_map.is_empty() {
            self.retain_topics(&new.broker_name, |topic| wrapper.topic_config_table.contains_key(topic));
        }
        let changed = first || self.live.get(&new.broker).map(|live| live.data_version) != Some(wrapper.data_version);
        for (topic, config) in &wrapper.topic_config_table {
            if changed || !self.has_topic(topic, &new.broker_name) {
                self.set_queues(topic, &new.broker_name, queues_of(config, is_prime_slave));
            }
        }
        if changed {
            for (topic, mapping) in &wrapper.topic_queue_mapping_info_map {
                self.mappings
                    .entry(topic.clone())
                    .or_default()
                    .insert(mapping.bname.clone(), mapping.clone());
            }
        }
    }

    fn has_topic(&self, topic: &str, broker_name: &str) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|groups| groups.contains_key(broker_name))
    }

    fn set_queues(&mut self, topic: &str, broker_name: &str, queues: Queues) {
        // Most registrations repeat what is known, so look before a name is copied.
        if let Some(groups) = self.topics.get_mut(topic) {
            match groups.get_mut(broker_name) {
                Some(known) => *known = queues,
                None => drop(groups.insert(broker_name.to_owned(), queues)),
            }
            return;
        }
        self.topics
            .insert(topic.to_owned(), BTreeMap::from([(broker_name.to_owned(), queues)]));
    }

    fn note_live(&mut self, new: Registration, now: Instant) {
        let live = Live {
            broker_name: new.broker_name,
            ha_address: new.ha_address,
            data_version: new.body.topic_config_serialize_wrapper.data_version,
            filter_servers: new.body.filter_server_list,
            source: new.source,
            heard: now,
            timeout: new
                .heartbeat_timeout
                .unwrap_or(HEARTBEAT_TIMEOUT)
                .max(HEARTBEAT_TIMEOUT_MIN),
        };
        if self.live.insert(new.broker.clone(), live).is_none() {
            tracing::info!(
                cluster = new.broker.cluster,
                address = new.broker.address,
                "broker registered"
            );
        }
    }

    fn master_for(&self, broker_name: &str, broker_id: i64) -> RegisterBrokerResponse {
        let mut answer = RegisterBrokerResponse {
            ha_server_addr: None,
            master_addr: None,
        };
        let Some(group) = self.groups.get(broker_name).filter(|_group| broker_id != MASTER_ID) else {
            return answer;
        };
        if let Some(address) = group.addresses.get(&MASTER_ID) {
            let master = BrokerAddress {
                cluster: group.cluster.clone(),
                address: address.clone(),
            };
            if let Some(live) = self.live.get(&master) {
                answer.ha_server_addr = Some(live.ha_address.clone());
                answer.master_addr = Some(master.address);
            }
        }
        answer
    }

    fn min_id_change(&self, broker_name: &str, offline: Option<String>, ha: Option<String>) -> Option<MinIdChange> {
        let group = self.groups.get(broker_name)?;
        let (min_id, min_address) = group.addresses.first_key_value()?;
        // One that joined knows it; of one that left, all others have to hear.
        let all = offline.is_some() || group.addresses.len() == 1;
        let tell = group.addresses.iter().filter(|(id, _address)| all || *id != min_id);
        Some(MinIdChange {
            tell: tell.map(|(_id, address)| address.clone()).collect(),
            header: NotifyMinBrokerIdChangeRequest {
                min_broker_id: Some(*min_id),
                broker_name: None,
                min_broker_addr: Some(min_address.clone()),
                offline_broker_addr: offline,
                ha_broker_addr: ha,
            },
        })
    }

    /// A broker says that it leaves. Counts only over the connection that its registration belongs to. False if it did not.
    pub fn unregister(
        &mut self,
        broker: &BrokerAddress,
        broker_name: &str,
        source: Source,
    ) -> (bool, Option<MinIdChange>) {
        let ours = |live: &Live| live.source == source && live.broker_name == broker_name;
        if !self.live.get(broker).is_some_and(ours) {
            return (false, None);
        }
        (true, self.remove(broker))
    }

    /// A connection has closed: what was registered over it is gone.
    pub fn close(&mut self, source: Source) -> Vec<MinIdChange> {
        self.remove_all(|live| live.source == source)
    }

    /// Drops what has been silent for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<MinIdChange> {
        self.remove_all(|live| now >= live.heard + live.timeout)
    }

    /// When [`RouteTable::expire`] has something to do at the earliest; `None` if there is no broker.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.live.values().map(|live| live.heard + live.timeout).min()
    }

    fn remove_all(&mut self, gone: impl Fn(&Live) -> bool) -> Vec<MinIdChange> {
        let brokers: Vec<BrokerAddress> = self
            .live
            .iter()
            .filter(|(_broker, live)| gone(live))
            .map(|(broker, _live)| broker.clone())
            .collect();
        brokers.iter().filter_map(|broker| self.remove(broker)).collect()
    }

    fn remove(&mut self, broker: &BrokerAddress) -> Option<MinIdChange> {
        let live = self.live.remove(broker)?;
        runtime::mark!("broker removed from the routes");
        tracing::info!(cluster = broker.cluster, address = broker.address, "broker removed");
        let broker_name = live.broker_name;
        let group = self.groups.get_mut(&broker_name)?;
        let smallest = group.smallest_id();
        group.addresses.retain(|_id, address| *address != broker.address);
        if group.addresses.is_empty() {
            self.remove_group(&broker_name);
            return None;
        }
        if !group.enable_acting_master {
            return None;
        }
        let min_id_rose = group.smallest_id() != smallest;
        if !group.has_master() {
            // Nobody can write until a master is back; a slave that acts as one only lets consumers go on.
            self.change_perm(&broker_name, |perm| perm & !perm::WRITE);
        }
        if min_id_rose {
            self.min_id_change(&broker_name, Some(broker.address.clone()), None)
        } else {
            None
        }
    }

    fn remove_group(&mut self, broker_name: &str) {
        self.groups.remove(broker_name);
        self.clusters.retain(|_cluster, names| {
            names.remove(broker_name);
            !names.is_empty()
        });
        self.retain_topics(broker_name, |_topic| false);
        self.mappings.retain(|_topic, groups| {
            groups.remove(broker_name);
            !groups.is_empty()
        });
        tracing::info!(broker_name, "broker group removed");
    }

    fn retain_topics(&mut self, broker_name: &str, keep: impl Fn(&str) -> bool) {
        self.topics.retain(|topic, groups| {
            if !keep(topic) {
                groups.remove(broker_name);
            }
            !groups.is_empty()
        });
    }

    /// Notes that a broker lives. A newer connection than the registration's takes it over.
    pub fn heartbeat(&mut self, broker: &BrokerAddress, source: Source, now: Instant) {
        if let Some(live) = self.live.get_mut(broker) {
            live.heard = now;
            live.source = live.source.max(source);
        }
    }

    /// The version of a broker's topics that is known here.
    #[must_use]
    pub fn data_version(&self, broker: &BrokerAddress) -> Option<DataVersion> {
        self.live.get(broker).map(|live| live.data_version)
    }

    /// Sets the queues of one topic on brokers that are registered already.
    ///
    /// # Errors
    /// When one of them is not, or a name cannot be one. Nothing has changed then.
    pub fn register_topic(&mut self, topic: &str, queues: &[QueueData]) -> Result<(), RouteError> {
        check_name("topic", topic)?;
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(topic) {
            return Err(RouteError::Full {
                what: "topics",
                limit: TOPICS_MAX,
            });
        }
        if let Some(unknown) = queues
            .iter()
            .find(|queue| !self.groups.contains_key(&queue.broker_name))
        {
            let (topic, broker_name) = (
                topic.to_owned(),
                unknown.broker_name.chars().take(NAME_LENGTH_MAX).collect(),
            );
            return Err(RouteError::UnknownBroker { topic, broker_name });
        }
        for queue in queues {
            let (read, write) = (queue.read_queue_nums, queue.write_queue_nums);
            let queues = Queues {
                read,
                write,
                perm: queue.perm,
                flag: queue.topic_sys_flag,
            };
            self.set_queues(topic, &queue.broker_name, queues);
        }
        Ok(())
    }

    /// Forgets a topic, in one cluster or everywhere.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(cluster) = cluster else {
            self.topics.remove(topic);
            return;
        };
        let (Some(names), Some(groups)) = (self.clusters.get(cluster), self.topics.get_mut(topic)) else {
            return;
        };
        groups.retain(|broker_name, _queues| !names.contains(broker_name));
        if groups.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Takes the right to be written from all queues of a broker group, and returns how many topics that were.
    pub fn wipe_write_perm(&mut self, broker_name: &str) -> usize {
        self.change_perm(broker_name, |perm| perm & !perm::WRITE)
    }

    /// Makes all queues of a broker group readable and writable, and nothing else, and returns how many topics that were.
    pub fn add_write_perm(&mut self, broker_name: &str) -> usize {
        self.change_perm(broker_name, |_perm| perm::READ | perm::WRITE)
    }

    fn change_perm(&mut self, broker_name: &str, change: impl Fn(i32) -> i32) -> usize {
        let mut changed = 0;
        for groups in self.topics.values_mut() {
            if let Some(queues) = groups.get_mut(broker_name) {
                queues.perm = change(queues.perm);
                changed += 1;
            }
        }
        changed
    }

    /// The route of a topic; `None` if no registered broker has it.
    #[must_use]
    pub fn route(&self, topic: &str, rules: Rules) -> Option<TopicRouteData> {
        let queues = self.topics.get(topic)?;
        let mut route = TopicRouteData {
            queue_datas: queues
                .iter()
                .map(|(broker_name, queues)| queues.data(broker_name))
                .collect(),
            topic_queue_mapping_by_broker: self.mappings.get(topic).cloned(),
            ..TopicRouteData::default()
        };
        for (broker_name, queues) in queues {
            let Some(group) = self.groups.get(broker_name) else {
                continue;
            };
            self.add_filter_servers(group, &mut route);
            let mut data = group.data(broker_name);
            if rules.support_acting_master && !topic.starts_with(SYNC_BROKER_MEMBER_GROUP_PREFIX) {
                show_acting_master(&mut data, *queues);
            }
            route.broker_datas.push(data);
        }
        (!route.broker_datas.is_empty()).then_some(route)
    }

    fn add_filter_servers(&self, group: &Group, route: &mut TopicRouteData) {
        for address in group.addresses.values() {
            let broker = BrokerAddress {
                cluster: group.cluster.clone(),
                address: address.clone(),
            };
            if let Some(live) = self.live.get(&broker).filter(|live| !live.filter_servers.is_empty()) {
                route
                    .filter_server_table
                    .insert(broker.address, live.filter_servers.clone());
            }
        }
    }

    /// Every broker and cluster.
    #[must_use]
    pub fn cluster_info(&self) -> ClusterInfo {
        ClusterInfo {
            broker_addr_table: self
                .groups
                .iter()
                .map(|(name, group)| (name.clone(), group.data(name)))
                .collect(),
            cluster_addr_table: self.clusters.clone(),
        }
    }

    /// Addresses of a broker group; none if there is no such group.
    #[must_use]
    pub fn member_group(&self, cluster: &str, broker_name: &str) -> BrokerMemberGroup {
        BrokerMemberGroup {
            broker_addrs: self
                .groups
                .get(broker_name)
                .map(|group| group.addresses.clone())
                .unwrap_or_default(),
            broker_name: broker_name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// Every topic.
    #[must_use]
    pub fn all_topics(&self) -> TopicList {
        self.topics_where(|_groups| true)
    }

    /// The topics of a cluster; none if there is no such cluster.
    #[must_use]
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let names = self.clusters.get(cluster);
        self.topics_where(|groups| names.is_some_and(|names| groups.keys().any(|name| names.contains(name))))
    }

    /// The topics that every cluster and broker group has for itself, and one broker's address.
    #[must_use]
    pub fn system_topics(&self) -> TopicList {
        let names = self
            .clusters
            .iter()
            .flat_map(|(cluster, names)| std::iter::once(cluster).chain(names));
        TopicList {
            topic_list: names.cloned().collect(),
            broker_addr: self
                .groups
                .values()
                .find_map(|group| group.addresses.values().next().cloned()),
        }
    }

    /// The topics of which the first group's `topicSysFlag` has all of `set` and none of `unset`.
    #[must_use]
    pub fn topics_with_flag(&self, set: UnitFlags, unset: UnitFlags) -> TopicList {
        self.topics_where(|groups| {
            let flag = groups.values().next().map_or(0, |queues| queues.flag);
            flag & set.0 == set.0 && flag & unset.0 == 0
        })
    }

    fn topics_where(&self, wanted: impl Fn(&BTreeMap<String, Queues>) -> bool) -> TopicList {
        let topics = self.topics.iter().filter(|(_topic, groups)| wanted(groups));
        TopicList {
            topic_list: topics.map(|(topic, _groups)| topic.clone()).collect(),
            broker_addr: None,
        }
    }

    /// Registered brokers.
    #[must_use]
    pub fn broker_count(&self) -> usize {
        self.live.len()
    }
}

/// Bits of `topicSysFlag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitFlags(i32);

impl UnitFlags {
    /// None of them.
    pub const NONE: UnitFlags = UnitFlags(0);
    /// A unit topic.
    pub const UNIT: UnitFlags = UnitFlags(topic_flag::UNIT);
    /// A topic with unit subscriptions.
    pub const UNIT_SUB: UnitFlags = UnitFlags(topic_flag::UNIT_SUB);
}

/// Keeps of a route what lies in one zone. A group without a master stays in any case: its readers have nothing nearer.
pub fn keep_zone(route: &mut TopicRouteData, zone_name: &str) {
    let near = |data: &BrokerData| {
        !data.broker_addrs.contains_key(&MASTER_ID)
            || data
                .zone_name
                .as_deref()
                .is_some_and(|zone| zone.eq_ignore_ascii_case(zone_name))
    };
    let far: BTreeSet<String> = route
        .broker_datas
        .iter()
        .filter(|data| !near(data))
        .map(|data| data.broker_name.clone())
        .collect();
    route.broker_datas.retain(|data| !far.contains(&data.broker_name));
    route.queue_datas.retain(|data| !far.contains(&data.broker_name));
}

/// A group without a master, whose queues nobody can write, shows its smallest slave as the master.
fn show_acting_master(data: &mut BrokerData, queues: Queues) {
    let has_master = data.broker_addrs.contains_key(&MASTER_ID);
    if data.enable_acting_master
        && !has_master
        && queues.perm & perm::WRITE == 0
        && let Some((_id, address)) = data.broker_addrs.pop_first()
    {
        data.broker_addrs.insert(MASTER_ID, address);
    }
}

fn queues_of(config: &TopicConfig, is_prime_slave: bool) -> Queues {
    let perm = if is_prime_slave {
        config.perm & !perm::WRITE
    } else {
        config.perm
    };
    Queues {
        read: config.read_queue_nums,
        write: config.write_queue_nums,
        perm,
        flag: config.topic_sys_flag,
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), RouteError> {
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(RouteError::BadName {
            what,
            name: name.chars().take(64).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "route_table_tests.rs"]
mod tests;
