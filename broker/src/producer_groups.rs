//! Producer groups: which clients send in their name. On core 0.
//!
//! A broker needs them to ask the producer of an open transaction what became of it, to push the answer of a request to who
//! asked, and for admins' lists. A producer comes with a heartbeat and goes by unregistering, by the end of its connection
//! or by silence.

use crate::clients::{Channel, ChannelName, Client, EndedChannels, Member};
use protocol::body::group::{ProducerConnection, ProducerInfo, ProducerTableInfo};
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Every producer group that has a member. `C` names a connection.
#[derive(Debug)]
pub struct ProducerGroups<C = Channel> {
    groups: BTreeMap<Arc<str>, Vec<Member<C>>>,
    /// The groups that came by a connection.
    by_channel: HashMap<C, BTreeSet<Arc<str>>>,
    ended: EndedChannels<C>,
    /// Turns with each pick, so that the members take turns.
    turn: usize,
}

impl<C: ChannelName> Default for ProducerGroups<C> {
    fn default() -> Self {
        ProducerGroups {
            groups: BTreeMap::new(),
            by_channel: hash_map(),
            ended: EndedChannels::default(),
            turn: 0,
        }
    }
}

impl<C: ChannelName> ProducerGroups<C> {
    /// A client says that it sends in the name of a group. True if it has not said so by this connection before. A heartbeat
    /// whose connection has ended meanwhile changes nothing.
    pub fn on_heartbeat(&mut self, producer_group: &str, client: &Client<C>, now: Instant) -> bool {
        if let Some(member) = self.member_mut(producer_group, client.channel) {
            member.client.clone_from(client);
            member.last_seen = now;
            return false;
        }
        if self.ended.contains(client.channel) {
            return false;
        }
        let name: Arc<str> = Arc::from(producer_group);
        self.by_channel
            .entry(client.channel)
            .or_default()
            .insert(Arc::clone(&name));
        self.groups.entry(name).or_default().push(Member {
            client: client.clone(),
            last_seen: now,
        });
        true
    }

    fn member_mut(&mut self, producer_group: &str, channel: C) -> Option<&mut Member<C>> {
        self.groups
            .get_mut(producer_group)?
            .iter_mut()
            .find(|member| member.client.channel == channel)
    }

    /// A client leaves a group. True if it was in it.
    pub fn unregister(&mut self, producer_group: &str, channel: C) -> bool {
        self.forget_index(producer_group, channel);
        !self
            .remove(producer_group, |member| member.client.channel == channel)
            .is_empty()
    }

    /// A connection has ended. True if it was in a group.
    pub fn on_close(&mut self, channel: C) -> bool {
        self.ended.note(channel);
        let groups = self.by_channel.remove(&channel).unwrap_or_default();
        for group in &groups {
            self.remove(group, |member| member.client.channel == channel);
        }
        !groups.is_empty()
    }

    /// Removes the members that have been silent for longer than `limit`. Their connections, given back, must be closed.
    pub fn expire(&mut self, now: Instant, limit: Duration) -> Vec<Client<C>> {
        let is_silent = |member: &Member<C>| now - member.last_seen > limit;
        let silent = self
            .groups
            .iter()
            .filter(|(_name, members)| members.iter().any(is_silent));
        let names: Vec<Arc<str>> = silent.map(|(name, _members)| Arc::clone(name)).collect();
        let mut expired = Vec::new();
        for name in names {
            for client in self.remove(&name, is_silent) {
                self.forget_index(&name, client.channel);
                expired.push(client);
            }
        }
        expired
    }

    fn remove(&mut self, producer_group: &str, is_gone: impl Fn(&Member<C>) -> bool) -> Vec<Client<C>> {
        let Some(members) = self.groups.get_mut(producer_group) else {
            return Vec::new();
        };
        let gone = members
            .extract_if(.., |member| is_gone(member))
            .map(|member| member.client)
            .collect();
        if members.is_empty() {
            self.groups.remove(producer_group);
        }
        gone
    }

    fn forget_index(&mut self, producer_group: &str, channel: C) {
        if let Some(groups) = self.by_channel.get_mut(&channel) {
            groups.remove(producer_group);
            if groups.is_empty() {
                self.by_channel.remove(&channel);
            }
        }
    }

    /// A member of a group that can be reached now, each time another one; `None` if there is none. Also `None` tells who
    /// asks for a transaction's state to ask again later.
    pub fn pick(&mut self, producer_group: &str, is_usable: impl Fn(&Client<C>) -> bool) -> Option<&Client<C>> {
        let members = self.groups.get(producer_group)?;
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn.checked_rem(members.len())?;
        let in_turn = members.iter().cycle().skip(first).take(members.len());
        in_turn.map(|member| &member.client).find(|client| is_usable(client))
    }

    /// A producer, by its id: of several connections, the one that was last heard of.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<&Client<C>> {
        let members = self.groups.values().flatten();
        let newest = members
            .filter(|member| *member.client.client_id == *client_id)
            .max_by_key(|member| member.last_seen);
        newest.map(|member| &member.client)
    }

    /// Whether a group has a member.
    #[must_use]
    pub fn is_online(&self, producer_group: &str) -> bool {
        self.groups.contains_key(producer_group)
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

    /// A group as admins see it (code 204); `None` if it has no member.
    #[must_use]
    pub fn connection(&self, producer_group: &str) -> Option<ProducerConnection> {
        let members = self.groups.get(producer_group)?.iter();
        Some(ProducerConnection {
            connection_set: members.map(|member| member.client.to_connection()).collect(),
        })
    }

    /// All groups as admins see them (code 328). `now` and `wall_ms` are the same moment.
    #[must_use]
    pub fn table(&self, now: Instant, wall_ms: i64) -> ProducerTableInfo {
        let info = |member: &Member<C>| {
            let ago_ms = i64::try_from((now - member.last_seen).as_millis()).unwrap_or(i64::MAX);
            ProducerInfo {
                client_id: member.client.client_id.to_string(),
                language: member.client.language,
                last_update_timestamp: wall_ms.saturating_sub(ago_ms),
                // Java's text of a socket address begins with a slash.
                remote_ip: format!("/{}", member.client.address),
                version: member.client.version.0,
            }
        };
        let groups = self.groups.iter();
        let data = groups
            .map(|(name, members)| (name.to_string(), members.iter().map(info).collect()))
            .collect();
        ProducerTableInfo { data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::language::Language;
    use protocol::version::Version;

    fn client(channel: u32, client_id: &str) -> Client<u32> {
        Client {
            channel,
            client_id: Arc::from(client_id),
            address: "127.0.0.1:4000".parse().unwrap(),
            language: Language::Java,
            version: Version(513),
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// a and b in p; a also in q.
    fn groups(now: Instant) -> ProducerGroups<u32> {
        let mut groups = ProducerGroups::default();
        assert!(groups.on_heartbeat("p", &client(1, "a"), now));
        assert!(groups.on_heartbeat("p", &client(2, "b"), now));
        assert!(groups.on_heartbeat("q", &client(1, "a"), now));
        groups
    }

    fn ids(groups: &ProducerGroups<u32>, group: &str) -> Vec<String> {
        let connections = groups
            .connection(group)
            .map(|all| all.connection_set)
            .unwrap_or_default();
        connections.into_iter().map(|connection| connection.client_id).collect()
    }

    #[test]
    fn a_producer_joins_once_and_leaves_by_unregistering() {
        let now = Instant::now();
        let mut groups = groups(now);
        assert!(!groups.on_heartbeat("p", &client(1, "a"), now));
        assert_eq!(ids(&groups, "p"), ["a", "b"]);
        assert!(groups.unregister("p", 1) && !groups.unregister("p", 1) && !groups.unregister("nobody", 1));
        assert_eq!(
            (ids(&groups, "p"), ids(&groups, "q")),
            (vec!["b".to_owned()], vec!["a".to_owned()])
        );
        assert!(groups.unregister("q", 1));
        assert!(!groups.is_online("q") && groups.len() == 1);
    }

    #[test]
    fn the_end_of_a_connection_takes_its_client_out_of_all_its_groups() {
        let mut groups = groups(Instant::now());
        assert!(groups.on_close(1) && !groups.on_close(1));
        assert_eq!((ids(&groups, "p"), groups.len()), (vec!["b".to_owned()], 1));
        assert!(groups.on_close(2) && groups.is_empty() && groups.by_channel.is_empty());
        assert!(
            !groups.on_heartbeat("p", &client(2, "b"), Instant::now()) && groups.is_empty(),
            "it has ended"
        );
    }

    #[test]
    fn silent_producers_expire() {
        let start = Instant::now();
        let mut groups = groups(start);
        groups.on_heartbeat("p", &client(2, "b"), after(start, 60));
        let limit = Duration::from_secs(120);
        assert!(groups.expire(after(start, 120), limit).is_empty());
        assert_eq!(
            groups.expire(after(start, 121), limit),
            [client(1, "a"), client(1, "a")]
        );
        assert_eq!((ids(&groups, "p"), groups.len()), (vec!["b".to_owned()], 1));
        assert!(!groups.on_close(1), "nothing of it is left");
    }

    #[test]
    fn members_take_turns_and_those_out_of_reach_are_left_out() {
        let mut groups = groups(Instant::now());
        let mut picked: Vec<u32> = (0..4)
            .filter_map(|_| groups.pick("p", |_client| true).cloned())
            .map(|c| c.channel)
            .collect();
        picked.sort_unstable();
        assert_eq!(picked, [1, 1, 2, 2]);
        for _ in 0..3 {
            assert_eq!(groups.pick("p", |client| client.channel == 2).unwrap().channel, 2);
        }
        assert!(groups.pick("p", |_client| false).is_none() && groups.pick("nobody", |_client| true).is_none());
    }

    #[test]
    fn a_producer_is_found_by_its_id_at_its_newest_connection() {
        let start = Instant::now();
        let mut groups = groups(start);
        groups.on_heartbeat("p", &client(7, "a"), after(start, 1));
        assert_eq!(groups.client("a").unwrap().channel, 7);
        assert!(groups.client("nobody").is_none());
    }

    #[test]
    fn the_table_says_when_each_was_last_heard_of() {
        let start = Instant::now();
        let groups = groups(start);
        let table = groups.table(after(start, 5), 1_700_000_000_000);
        assert_eq!(table.data.keys().collect::<Vec<_>>(), ["p", "q"]);
        let first = &table.data["p"][0];
        assert_eq!(
            (first.client_id.as_str(), first.remote_ip.as_str()),
            ("a", "/127.0.0.1:4000")
        );
        assert_eq!(first.last_update_timestamp, 1_700_000_000_000 - 5000);
    }
}
