//! Consumer groups: which clients are in them, what they subscribe to, and who must hear of a change. On core 0.
//!
//! A member comes with a heartbeat and goes by unregistering, by the end of its connection or by silence. Each of these gives
//! [`Changes`]: whom to tell that the members have changed (code 40), and what the replicas need. The members that were
//! there keep their order; ids are given out sorted and each once.
//!
//! Heartbeats of version 2 leave the subscriptions out while the client's fingerprint stays. The answer asks for all of it
//! when the fingerprint is new to the group, and also when the group is new to this broker: Apache's does not, so that after
//! its restart such a group has no subscriptions.
//!
//! Other than in Apache's broker, members that expired are missed by the others at once, a second connection of the same
//! client is no new member, and the end of one of two connections is no loss.

use crate::clients::{Channel, ChannelName, Client, EndedChannels, Member};
use crate::replicas::{Subscription, Subscriptions, TableUpdate};
use protocol::body::group::ConsumerConnection;
use protocol::body::heartbeat::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel};
use protocol::body::subscription::{self, SubscriptionData, TagFilter};
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Every consumer group that has a member. `C` names a connection.
#[derive(Debug)]
pub struct ConsumerGroups<C = Channel> {
    groups: HashMap<Arc<str>, Group<C>>,
    /// The groups that came by a connection.
    by_channel: HashMap<C, BTreeSet<Arc<str>>>,
    ended: EndedChannels<C>,
}

#[derive(Debug)]
struct Group<C> {
    name: Arc<str>,
    /// In the order in which they came.
    members: Vec<Member<C>>,
    consume_type: ConsumeType,
    message_model: MessageModel,
    consume_from_where: ConsumeFromWhere,
    /// By topic.
    subscriptions: BTreeMap<String, Arc<SubscriptionData>>,
    /// A heartbeat with subscriptions has come.
    has_subscribed: bool,
    /// Of the last heartbeat.
    fingerprint: i32,
    /// The group's settings say that its members are told of each other.
    notify: bool,
}

/// One consumer group of a heartbeat.
#[derive(Debug)]
pub struct Beat<'a, C = Channel> {
    /// Who sent it.
    pub client: &'a Client<C>,
    /// The group, as the client has it.
    pub data: ConsumerData,
    /// The heartbeat's fingerprint; 0 in version 1.
    pub fingerprint: i32,
    /// The heartbeat leaves the subscriptions out.
    pub without_sub: bool,
    /// notifyConsumerIdsChangedEnable of the broker and of the group's settings.
    pub notify: bool,
}

/// What a heartbeat came to.
#[derive(Debug)]
pub struct Registered<C = Channel> {
    /// `IS_SUB_CHANGE` of the answer: the client must send its subscriptions with the next heartbeat.
    pub subscription_changed: bool,
    /// A client has joined, or the topics subscribed to have changed: worth a line in the log.
    pub changed: bool,
    /// What follows.
    pub changes: Changes<C>,
}

/// What follows from a change of members or subscriptions.
#[derive(Debug)]
pub struct Changes<C = Channel> {
    /// Whom to tell (code 40).
    pub notices: Vec<Notice<C>>,
    /// What the replicas need.
    pub updates: Vec<TableUpdate>,
}

/// Connections that must hear that the members of a group have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice<C = Channel> {
    /// The group.
    pub consumer_group: Arc<str>,
    /// The connections.
    pub channels: Vec<C>,
}

impl<C> Default for Changes<C> {
    fn default() -> Self {
        Changes {
            notices: Vec::new(),
            updates: Vec::new(),
        }
    }
}

impl<C: ChannelName> Default for ConsumerGroups<C> {
    fn default() -> Self {
        ConsumerGroups {
            groups: hash_map(),
            by_channel: hash_map(),
            ended: EndedChannels::default(),
        }
    }
}

impl<C: ChannelName> ConsumerGroups<C> {
    /// A client says that it is in a group, and what the group subscribes to. That the group may be used is the caller's to
    /// check. A heartbeat whose connection has ended meanwhile changes nothing.
    pub fn on_heartbeat(&mut self, beat: Beat<'_, C>, now: Instant) -> Registered<C> {
        let Beat {
            client,
            data,
            fingerprint,
            without_sub,
            notify,
        } = beat;
        if self.ended.contains(client.channel) {
            return Registered {
                subscription_changed: false,
                changed: false,
                changes: Changes::default(),
            };
        }
        let is_new = !self.groups.contains_key(data.group_name.as_str());
        let name: Arc<str> = Arc::from(data.group_name.as_str());
        let group = self
            .groups
            .entry(Arc::clone(&name))
            .or_insert_with(|| Group::new(Arc::clone(&name)));
        let subscription_changed =
            fingerprint == 0 || (without_sub && !group.has_subscribed) || (!is_new && group.fingerprint != fingerprint);
        let was_broadcasting = group.is_broadcasting();
        group.fingerprint = fingerprint;
        group.notify = notify;
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        let joined = group.see(client, now);
        let subscribed = if without_sub {
            Subscribed::default()
        } else {
            group.subscribe(data.subscription_data_set)
        };
        let mut changes = Changes::default();
        if is_new || subscribed.any || was_broadcasting != group.is_broadcasting() {
            changes.updates.push(group.update());
        }
        let changed = joined || subscribed.topics;
        if changed {
            changes.notices.extend(group.notice());
        }
        self.by_channel.entry(client.channel).or_default().insert(name);
        Registered {
            subscription_changed,
            changed,
            changes,
        }
    }

    /// A client leaves a group.
    pub fn unregister(&mut self, consumer_group: &str, channel: C) -> Changes<C> {
        if let Some(groups) = self.by_channel.get_mut(&channel) {
            groups.remove(consumer_group);
            if groups.is_empty() {
                self.by_channel.remove(&channel);
            }
        }
        let mut changes = Changes::default();
        self.remove(consumer_group, |member| member.client.channel == channel, &mut changes);
        changes
    }

    /// A connection has ended.
    pub fn on_close(&mut self, channel: C) -> Changes<C> {
        self.ended.note(channel);
        let mut changes = Changes::default();
        for group in self.by_channel.remove(&channel).unwrap_or_default() {
            self.remove(&group, |member| member.client.channel == channel, &mut changes);
        }
        changes
    }

    /// Removes the members that have been silent for longer than `limit`. Their connections, given back, must be closed.
    pub fn expire(&mut self, now: Instant, limit: Duration) -> (Changes<C>, Vec<Client<C>>) {
        let is_silent = |member: &Member<C>| now - member.last_seen > limit;
        let (mut changes, mut expired) = (Changes::default(), Vec::new());
        let names: Vec<Arc<str>> = self
            .groups
            .values()
            .filter(|group| group.members.iter().any(is_silent))
            .map(|group| Arc::clone(&group.name))
            .collect();
        for name in names {
            for client in self.remove(&name, is_silent, &mut changes) {
                if let Some(groups) = self.by_channel.get_mut(&client.channel) {
                    groups.remove(&name);
                    if groups.is_empty() {
                        self.by_channel.remove(&client.channel);
                    }
                }
                expired.push(client);
            }
        }
        (changes, expired)
    }

    /// Removes members of a group, and the group if none is left.
    fn remove(
        &mut self,
        consumer_group: &str,
        is_gone: impl Fn(&Member<C>) -> bool,
        changes: &mut Changes<C>,
    ) -> Vec<Client<C>> {
        let Some(group) = self.groups.get_mut(consumer_group) else {
            return Vec::new();
        };
        let gone: Vec<Client<C>> = group
            .members
            .extract_if(.., |member| is_gone(member))
            .map(|member| member.client)
            .collect();
        if group.members.is_empty() {
            changes
                .updates
                .push(TableUpdate::SubscriptionsGone(Arc::clone(&group.name)));
            self.groups.remove(consumer_group);
        } else if gone.iter().any(|client| !group.has_id(&client.client_id)) {
            changes.notices.extend(group.notice());
        }
        gone
    }

    /// The ids of a group's members, sorted, each once; `None` if it has none. Clients share the queues out by places in
    /// this list, so an id that stood in it twice would cost the group a share.
    #[must_use]
    pub fn client_ids(&self, consumer_group: &str) -> Option<Vec<String>> {
        let group = self.groups.get(consumer_group)?;
        let ids: BTreeSet<&str> = group.members.iter().map(|member| &*member.client.client_id).collect();
        Some(ids.into_iter().map(str::to_owned).collect())
    }

    /// The members of a group, one for each connection.
    pub fn clients(&self, consumer_group: &str) -> impl Iterator<Item = &Client<C>> {
        let group = self.groups.get(consumer_group);
        group
            .into_iter()
            .flat_map(|group| group.members.iter().map(|member| &member.client))
    }

    /// A member of a group: of several connections, the one that was last heard of.
    #[must_use]
    pub fn client(&self, consumer_group: &str, client_id: &str) -> Option<&Client<C>> {
        let members = self.groups.get(consumer_group)?.members.iter();
        let newest = members
            .filter(|member| *member.client.client_id == *client_id)
            .max_by_key(|member| member.last_seen);
        newest.map(|member| &member.client)
    }

    /// Whether a group has a member.
    #[must_use]
    pub fn is_online(&self, consumer_group: &str) -> bool {
        self.groups.contains_key(consumer_group)
    }

    /// What a group subscribes to of a topic.
    #[must_use]
    pub fn subscription(&self, consumer_group: &str, topic: &str) -> Option<&Arc<SubscriptionData>> {
        self.groups.get(consumer_group)?.subscriptions.get(topic)
    }

    /// All that a group subscribes to.
    pub fn subscriptions(&self, consumer_group: &str) -> impl Iterator<Item = &Arc<SubscriptionData>> {
        self.groups
            .get(consumer_group)
            .into_iter()
            .flat_map(|group| group.subscriptions.values())
    }

    /// Whether a group's members each get everything; `None` if it has none.
    #[must_use]
    pub fn message_model(&self, consumer_group: &str) -> Option<MessageModel> {
        self.groups.get(consumer_group).map(|group| group.message_model)
    }

    /// The groups that subscribe to a topic.
    pub fn subscribers(&self, topic: &str) -> impl Iterator<Item = &Arc<str>> {
        self.groups
            .values()
            .filter(move |group| group.subscriptions.contains_key(topic))
            .map(|group| &group.name)
    }

    /// The names of all groups with members.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// How many groups have members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether no group has members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// A group as admins see it (code 203); `None` if it has no member.
    #[must_use]
    pub fn connection(&self, consumer_group: &str) -> Option<ConsumerConnection> {
        let group = self.groups.get(consumer_group)?;
        let subscriptions = group.subscriptions.iter();
        Some(ConsumerConnection {
            connection_set: group
                .members
                .iter()
                .map(|member| member.client.to_connection())
                .collect(),
            consume_from_where: group.consume_from_where,
            consume_type: group.consume_type,
            message_model: group.message_model,
            subscription_table: subscriptions
                .map(|(topic, data)| (topic.clone(), SubscriptionData::clone(data)))
                .collect(),
        })
    }
}

/// What changed when a group subscribed.
#[derive(Clone, Copy, Debug, Default)]
struct Subscribed {
    /// Anything.
    any: bool,
    /// A topic came or went.
    topics: bool,
}

impl<C: ChannelName> Group<C> {
    fn new(name: Arc<str>) -> Self {
        Group {
            name,
            members: Vec::new(),
            consume_type: ConsumeType::default(),
            message_model: MessageModel::default(),
            consume_from_where: ConsumeFromWhere::default(),
            subscriptions: BTreeMap::new(),
            has_subscribed: false,
            fingerprint: 0,
            notify: false,
        }
    }

    fn is_broadcasting(&self) -> bool {
        self.message_model == MessageModel::Broadcasting
    }

    fn has_id(&self, client_id: &str) -> bool {
        self.members.iter().any(|member| *member.client.client_id == *client_id)
    }

    /// Notes that a client is there. True if its id is new.
    fn see(&mut self, client: &Client<C>, now: Instant) -> bool {
        let is_new = !self.has_id(&client.client_id);
        match self
            .members
            .iter_mut()
            .find(|member| member.client.channel == client.channel)
        {
            Some(member) => {
                // A connection belongs to one client; should it claim another id, the newer one holds.
                member.client.clone_from(client);
                member.last_seen = now;
            }
            None => self.members.push(Member {
                client: client.clone(),
                last_seen: now,
            }),
        }
        is_new
    }

    /// Takes over all that the group subscribes to now. A topic's newer subscription replaces its older one.
    fn subscribe(&mut self, all: Vec<SubscriptionData>) -> Subscribed {
        self.has_subscribed = true;
        let mut subscribed = Subscribed::default();
        let topics: BTreeSet<String> = all.iter().map(|data| data.topic.clone()).collect();
        for data in all {
            match self.subscriptions.get(&data.topic) {
                Some(old) if old.sub_version >= data.sub_version => continue,
                Some(_older) => {}
                None => subscribed.topics = true,
            }
            subscribed.any = true;
            self.subscriptions.insert(data.topic.clone(), Arc::new(data));
        }
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _data| topics.contains(topic));
        subscribed.topics |= self.subscriptions.len() != before;
        subscribed.any |= subscribed.topics;
        subscribed
    }

    fn notice(&self) -> Option<Notice<C>> {
        (self.notify && !self.is_broadcasting()).then(|| Notice {
            consumer_group: Arc::clone(&self.name),
            channels: self.members.iter().map(|member| member.client.channel).collect(),
        })
    }

    fn update(&self) -> TableUpdate {
        let mut topics = hash_map();
        for (topic, data) in &self.subscriptions {
            // A pull of a filter that is none of tags is refused; so a replica knows nothing of it.
            if subscription::is_tag_type(&data.expression_type) {
                topics.insert(Arc::from(topic.as_str()), Arc::new(to_replica(data)));
            }
        }
        let subscriptions = Subscriptions {
            broadcasting: self.is_broadcasting(),
            topics,
        };
        TableUpdate::Subscriptions(Arc::clone(&self.name), Arc::new(subscriptions))
    }
}

/// A subscription as pulls need it.
fn to_replica(data: &SubscriptionData) -> Subscription {
    if data.sub_string.is_empty() {
        return Subscription::new(data.sub_version, []);
    }
    match data.tag_filter() {
        TagFilter::All => Subscription::new(data.sub_version, []),
        TagFilter::Hashes(hashes) => Subscription::new(data.sub_version, hashes),
    }
}

#[cfg(test)]
mod tests;
