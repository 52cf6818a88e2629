//! The subscription groups of this broker, on core 0: the settings of consumer groups, and which of them may not read what.
//!
//! As with [`crate::topics`], a change is given back for the log, the replicas and the answer, in this order. The rules are
//! those of RocketMQ's `SubscriptionGroupManager`; other than there, a change that changes nothing leaves the version alone,
//! to allow a group one topic again does not allow it all others, and a list of groups is taken whole or not at all.

use crate::attributes;
use crate::error::Error;
use crate::meta::{Gone, GroupChange, GroupForbidden, Meta};
use crate::replicas::{SubscriptionGroup, TableUpdate};
use crate::topics::QUEUES_MAX;
use protocol::body::group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use protocol::body::lenient;
use protocol::body::topic::DataVersion;
use protocol::message::sys_flag::perm;
use protocol::model::{check_group, check_topic, names};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the table needs of the broker's configuration.
#[derive(Clone, Copy, Debug)]
pub struct GroupSettings {
    /// autoCreateSubscriptionGroup: a group comes into being when a consumer uses it.
    pub auto_create: bool,
    /// enableCreateSysGroup: so does one of RocketMQ's own, whatever `auto_create` says.
    pub auto_create_system: bool,
}

/// Every subscription group.
#[derive(Debug)]
pub struct SubscriptionGroups {
    settings: GroupSettings,
    table: BTreeMap<String, Arc<SubscriptionGroupConfig>>,
    /// Group, then topic: bits of RocketMQ's `PermName` that are forbidden.
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
    version: DataVersion,
}

/// A group that somebody uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// It is there.
    There(Arc<SubscriptionGroupConfig>),
    /// It was made.
    Made(GroupChange),
}

/// A part of the table, for brokers and tools that copy it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupPage {
    /// Groups in order of their names, and what they may not do.
    pub groups: SubscriptionGroupWrapper,
    /// How many there are in all.
    pub total: usize,
}

/// The table at one moment, for `subscriptionGroup.json`.
#[derive(Clone, Debug)]
pub struct GroupsExport {
    version: DataVersion,
    groups: Vec<Arc<SubscriptionGroupConfig>>,
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
}

impl GroupsExport {
    /// The text of `subscriptionGroup.json`, for people and for tools that read Apache's.
    #[must_use]
    pub fn text(&self) -> String {
        let table = self
            .groups
            .iter()
            .map(|config| (config.group_name.clone(), SubscriptionGroupConfig::clone(config)));
        let file = SubscriptionGroupWrapper {
            data_version: self.version,
            forbidden_table: self.forbidden.clone(),
            subscription_group_table: table.collect(),
        };
        serde_json::to_string_pretty(&file).expect("groups have text for keys, and memory takes all bytes")
    }
}

impl SubscriptionGroups {
    /// The predefined groups.
    #[must_use]
    pub fn new(settings: GroupSettings, now_ms: i64) -> SubscriptionGroups {
        let group = |name: &str| (name.to_owned(), Arc::new(config(name)));
        SubscriptionGroups {
            settings,
            table: names::PREDEFINED_GROUPS.into_iter().map(group).collect(),
            forbidden: BTreeMap::new(),
            version: DataVersion {
                timestamp: now_ms,
                ..DataVersion::default()
            },
        }
    }

    /// Other rules hold from now on.
    pub fn set_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// A group.
    #[must_use]
    pub fn get(&self, consumer_group: &str) -> Option<&Arc<SubscriptionGroupConfig>> {
        self.table.get(consumer_group)
    }

    /// Every group, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<SubscriptionGroupConfig>> {
        self.table.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Version of the table: grows with each change.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.version
    }

    /// The group of a consumer; made if it is not there and that is allowed.
    ///
    /// # Errors
    /// A bad name, or a group that is not there and may not be made.
    pub fn for_consumer(&mut self, consumer_group: &str, now_ms: i64) -> Result<Used, Error> {
        if let Some(config) = self.table.get(consumer_group) {
            return Ok(Used::There(Arc::clone(config)));
        }
        let system = self.settings.auto_create_system && consumer_group.starts_with(names::SYSTEM_GROUP_PREFIX);
        if !self.settings.auto_create && !system {
            return Err(Error::SubscriptionGroupNotExist(consumer_group.to_owned()));
        }
        check_group(consumer_group)?;
        Ok(Used::Made(self.put(config(consumer_group), now_ms)))
    }

    /// An admin makes or changes a group. The attributes of `wanted` are edits. `None` if it is like that already.
    ///
    /// # Errors
    /// A bad name, numbers that cannot be, or edits that break a rule.
    pub fn update(&mut self, wanted: SubscriptionGroupConfig, now_ms: i64) -> Result<Option<GroupChange>, Error> {
        let after = self.updated(wanted)?;
        Ok(after.map(|after| self.put(after, now_ms)))
    }

    /// An admin makes or changes several groups: all of them, or none if one is refused.
    ///
    /// # Errors
    /// Those of [`SubscriptionGroups::update`].
    pub fn update_all(&mut self, wanted: Vec<SubscriptionGroupConfig>, now_ms: i64) -> Result<Vec<GroupChange>, Error> {
        let after = wanted
            .into_iter()
            .map(|wanted| self.updated(wanted))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(after
            .into_iter()
            .flatten()
            .map(|after| self.put(after, now_ms))
            .collect())
    }

    fn updated(&self, wanted: SubscriptionGroupConfig) -> Result<Option<SubscriptionGroupConfig>, Error> {
        check_group(&wanted.group_name)?;
        check_numbers(&wanted)?;
        let before = self.table.get(&wanted.group_name);
        let current = before.map(|config| &config.attributes);
        let attributes = attributes::edited(attributes::OF_GROUPS, current, &wanted.attributes)?;
        let after = SubscriptionGroupConfig { attributes, ..wanted };
        Ok(before.is_none_or(|before| **before != after).then_some(after))
    }

    /// Stops a group from consuming: `None` if it is not there or is stopped already.
    pub fn disable_consume(&mut self, consumer_group: &str, now_ms: i64) -> Option<GroupChange> {
        let before = self.table.get(consumer_group).filter(|config| config.consume_enable)?;
        let after = SubscriptionGroupConfig {
            consume_enable: false,
            ..SubscriptionGroupConfig::clone(before)
        };
        Some(self.put(after, now_ms))
    }

    /// An admin deletes a group, and with it what it may not do. `None` if it is not there, which is no error.
    pub fn delete(&mut self, consumer_group: &str, now_ms: i64) -> Option<Gone> {
        self.forbidden.remove(consumer_group);
        self.table.remove(consumer_group)?;
        Some(Gone {
            version: self.next_version(now_ms),
            name: consumer_group.to_owned(),
        })
    }

    /// An admin forbids or allows a group to read a topic. `None` if it is like that already.
    ///
    /// # Errors
    /// A bad name.
    pub fn set_readable(
        &mut self,
        consumer_group: &str,
        topic: &str,
        readable: bool,
        now_ms: i64,
    ) -> Result<Option<GroupForbidden>, Error> {
        check_group(consumer_group)?;
        check_topic(topic)?;
        let before = self.forbidden_bits(consumer_group, topic);
        let bits = if readable {
            before & !perm::READ
        } else {
            before | perm::READ
        };
        if bits == before {
            return Ok(None);
        }
        self.set_forbidden(consumer_group, topic, bits);
        Ok(Some(GroupForbidden {
            version: self.next_version(now_ms),
            consumer_group: consumer_group.to_owned(),
            topic: topic.to_owned(),
            bits,
        }))
    }

    /// Whether a group may read a topic, as far as this table says.
    #[must_use]
    pub fn is_readable(&self, consumer_group: &str, topic: &str) -> bool {
        self.forbidden_bits(consumer_group, topic) & perm::READ == 0
    }

    fn forbidden_bits(&self, consumer_group: &str, topic: &str) -> i32 {
        self.forbidden
            .get(consumer_group)
            .and_then(|topics| topics.get(topic))
            .copied()
            .unwrap_or(0)
            .max(0)
    }

    fn set_forbidden(&mut self, consumer_group: &str, topic: &str, bits: i32) {
        if bits > 0 {
            self.forbidden
                .entry(consumer_group.to_owned())
                .or_default()
                .insert(topic.to_owned(), bits);
        } else if let Some(topics) = self.forbidden.get_mut(consumer_group) {
            topics.remove(topic);
            if topics.is_empty() {
                self.forbidden.remove(consumer_group);
            }
        }
    }

    fn put(&mut self, config: SubscriptionGroupConfig, now_ms: i64) -> GroupChange {
        let config = Arc::new(config);
        self.table.insert(config.group_name.clone(), Arc::clone(&config));
        GroupChange {
            version: self.next_version(now_ms),
            config,
        }
    }

    fn next_version(&mut self, now_ms: i64) -> DataVersion {
        self.version = self.version.next(self.version.state_version, now_ms);
        self.version
    }

    /// A part of the table from place `from` on, at most `count` groups. Who has another version than this begins anew.
    #[must_use]
    pub fn page(&self, known: Option<DataVersion>, from: usize, count: usize) -> GroupPage {
        let from = if known == Some(self.version) { from } else { 0 };
        let (mut groups, mut forbidden) = (BTreeMap::new(), BTreeMap::new());
        for (name, config) in self.table.iter().skip(from).take(count) {
            groups.insert(name.clone(), SubscriptionGroupConfig::clone(config));
            if let Some(topics) = self.forbidden.get(name) {
                forbidden.insert(name.clone(), topics.clone());
            }
        }
        let groups = SubscriptionGroupWrapper {
            data_version: self.version,
            forbidden_table: forbidden,
            subscription_group_table: groups,
        };
        GroupPage {
            groups,
            total: self.table.len(),
        }
    }

    /// What makes a replica that has nothing equal to this table.
    pub fn updates(&self) -> impl Iterator<Item = TableUpdate> {
        let groups = self.table.values().map(|config| group_update(config));
        groups.chain(
            self.forbidden_pairs()
                .map(|(group, topic, bits)| forbidden_update(group, topic, bits)),
        )
    }

    /// Everything, as records; for a checkpoint.
    pub fn snapshot(&self) -> impl Iterator<Item = Meta> {
        let version = self.version;
        let groups = self.table.values();
        let groups = groups.map(move |config| {
            Meta::SubscriptionGroup(GroupChange {
                version,
                config: Arc::clone(config),
            })
        });
        groups.chain(self.forbidden_pairs().map(move |(group, topic, bits)| {
            Meta::GroupForbidden(GroupForbidden {
                version,
                consumer_group: group.to_owned(),
                topic: topic.to_owned(),
                bits,
            })
        }))
    }

    fn forbidden_pairs(&self) -> impl Iterator<Item = (&str, &str, i32)> {
        let groups = self.forbidden.iter();
        groups.flat_map(|(group, topics)| {
            topics
                .iter()
                .map(move |(topic, &bits)| (group.as_str(), topic.as_str(), bits))
        })
    }

    /// Takes a record that was written before; for a start.
    pub fn apply(&mut self, change: GroupChange) {
        self.version = change.version;
        self.table.insert(change.config.group_name.clone(), change.config);
    }

    /// Takes a record of a deletion; for a start.
    pub fn apply_gone(&mut self, gone: &Gone) {
        self.version = gone.version;
        self.forbidden.remove(&gone.name);
        self.table.remove(&gone.name);
    }

    /// Takes a record of what a group may not do; for a start.
    pub fn apply_forbidden(&mut self, forbidden: &GroupForbidden) {
        self.version = forbidden.version;
        self.set_forbidden(&forbidden.consumer_group, &forbidden.topic, forbidden.bits);
    }

    /// What `subscriptionGroup.json` is made of. Cheap: the settings are shared.
    #[must_use]
    pub fn export(&self) -> GroupsExport {
        GroupsExport {
            version: self.version,
            groups: self.table.values().cloned().collect(),
            forbidden: self.forbidden.clone(),
        }
    }

    /// Takes the groups of a `subscriptionGroup.json`, Apache's too, over those there are; the version is the file's if that
    /// is newer. Gives the records that make it last.
    ///
    /// # Errors
    /// A text that is no such file, or that has a group with a bad name or impossible numbers: then nothing is taken.
    pub fn import(&mut self, text: &str, now_ms: i64) -> Result<Vec<Meta>, Error> {
        let file: SubscriptionGroupWrapper = lenient::from_slice(text.as_bytes())
            .map_err(|error| Error::System(format!("subscriptionGroup.json cannot be read: {error}")))?;
        for config in file.subscription_group_table.values() {
            let name = &config.group_name;
            check_group(name).map_err(|error| Error::InvalidParameter(format!("group {name:?}: {error}")))?;
            check_numbers(config)?;
        }
        for (consumer_group, topics) in &file.forbidden_table {
            check_group(consumer_group)?;
            topics.keys().try_for_each(|topic| check_topic(topic))?;
        }
        self.version = self.version.max(file.data_version);
        let mut changes = Vec::new();
        for config in file.subscription_group_table.into_values() {
            if self.table.get(&config.group_name).is_none_or(|there| **there != config) {
                changes.push(Meta::SubscriptionGroup(self.put(config, now_ms)));
            }
        }
        for (consumer_group, topics) in file.forbidden_table {
            for (topic, bits) in topics {
                if self.forbidden_bits(&consumer_group, &topic) == bits.max(0) {
                    continue;
                }
                self.set_forbidden(&consumer_group, &topic, bits);
                let version = self.next_version(now_ms);
                let consumer_group = consumer_group.clone();
                changes.push(Meta::GroupForbidden(GroupForbidden {
                    version,
                    consumer_group,
                    topic,
                    bits,
                }));
            }
        }
        Ok(changes)
    }
}

impl Used {
    /// The group, whether it was there or not.
    #[must_use]
    pub fn config(&self) -> &Arc<SubscriptionGroupConfig> {
        match self {
            Used::There(config) => config,
            Used::Made(change) => &change.config,
        }
    }

    /// The change, if there was one.
    #[must_use]
    pub fn change(&self) -> Option<&GroupChange> {
        match self {
            Used::There(_config) => None,
            Used::Made(change) => Some(change),
        }
    }
}

impl From<&SubscriptionGroupConfig> for SubscriptionGroup {
    fn from(config: &SubscriptionGroupConfig) -> SubscriptionGroup {
        SubscriptionGroup {
            name: Arc::from(config.group_name.as_str()),
            consume_enable: config.consume_enable,
            consume_broadcast_enable: config.consume_broadcast_enable,
            broker_id: config.broker_id,
            slow_broker_id: config.which_broker_when_consume_slowly,
            retry_queues: u32::try_from(config.retry_queue_nums).unwrap_or(0),
            retry_max_times: config.retry_max_times,
            sys_flag: config.group_sys_flag,
        }
    }
}

/// What a change is to the replicas.
#[must_use]
pub fn group_update(config: &SubscriptionGroupConfig) -> TableUpdate {
    TableUpdate::Group(Arc::new(SubscriptionGroup::from(config)))
}

/// What a change of the forbidden ones is to the replicas.
#[must_use]
pub fn forbidden_update(consumer_group: &str, topic: &str, bits: i32) -> TableUpdate {
    let forbidden = bits & perm::READ != 0;
    TableUpdate::Forbidden {
        group: Arc::from(consumer_group),
        topic: Arc::from(topic),
        forbidden,
    }
}

fn check_numbers(config: &SubscriptionGroupConfig) -> Result<(), Error> {
    if !(0..=QUEUES_MAX).contains(&config.retry_queue_nums) {
        return Err(Error::InvalidParameter(format!(
            "retryQueueNums {} of group {} is out of range; give it 0 to {QUEUES_MAX}, 0 meaning that messages given back are dropped",
            config.retry_queue_nums, config.group_name
        )));
    }
    Ok(())
}

fn config(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        group_name: name.to_owned(),
        ..SubscriptionGroupConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn groups() -> SubscriptionGroups {
        SubscriptionGroups::new(
            GroupSettings {
                auto_create: true,
                auto_create_system: true,
            },
            NOW,
        )
    }

    fn closed() -> SubscriptionGroups {
        SubscriptionGroups::new(
            GroupSettings {
                auto_create: false,
                auto_create_system: true,
            },
            NOW,
        )
    }

    fn retries(name: &str, retry_max_times: i32) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            retry_max_times,
            ..config(name)
        }
    }

    fn replay(records: impl IntoIterator<Item = Meta>) -> SubscriptionGroups {
        let mut groups = groups();
        for record in records {
            match record {
                Meta::SubscriptionGroup(change) => groups.apply(change),
                Meta::SubscriptionGroupGone(gone) => groups.apply_gone(&gone),
                Meta::GroupForbidden(forbidden) => groups.apply_forbidden(&forbidden),
                other => panic!("{other:?} is none of a group's"),
            }
        }
        groups
    }

    #[test]
    fn the_predefined_groups_are_there_from_the_start() {
        let groups = closed();
        assert_eq!(groups.len(), 8);
        let tools = groups.get("TOOLS_CONSUMER").unwrap();
        assert!(tools.consume_enable && tools.consume_broadcast_enable);
        assert_eq!(
            (tools.retry_max_times, tools.retry_queue_nums, groups.version().counter),
            (16, 1, 0)
        );
    }

    #[test]
    fn a_consumer_makes_its_group_if_that_is_allowed() {
        let mut groups = groups();
        let made = groups.for_consumer("g", NOW + 1).unwrap();
        let version = made.change().unwrap().version;
        assert_eq!((version.counter, version.timestamp), (1, NOW + 1));
        assert_eq!(groups.for_consumer("g", NOW + 2).unwrap().change(), None);
        assert!(matches!(groups.for_consumer("b a d", NOW), Err(Error::Name(_))));
        let mut closed = closed();
        assert!(matches!(
            closed.for_consumer("g", NOW),
            Err(Error::SubscriptionGroupNotExist(_))
        ));
        assert!(
            closed.for_consumer("CID_RMQ_SYS_x", NOW).is_ok(),
            "RocketMQ's own may always"
        );
        assert!(closed.for_consumer("TOOLS_CONSUMER", NOW).is_ok());
    }

    #[test]
    fn an_admin_changes_a_group_and_the_same_again_is_no_change() {
        let mut groups = groups();
        assert!(groups.update(retries("g", 3), NOW).unwrap().is_some());
        assert_eq!(groups.update(retries("g", 3), NOW).unwrap(), None);
        assert_eq!(groups.update(retries("g", 4), NOW).unwrap().unwrap().version.counter, 2);
        assert_eq!(groups.get("g").unwrap().retry_max_times, 4);
        assert!(!groups.disable_consume("g", NOW).unwrap().config.consume_enable);
        assert_eq!(groups.disable_consume("g", NOW), None);
        assert_eq!(groups.disable_consume("nobody", NOW), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut groups = groups();
        let attributes = [("+color".to_owned(), "red".to_owned())].into();
        assert!(
            groups
                .update(
                    SubscriptionGroupConfig {
                        attributes,
                        ..config("g")
                    },
                    NOW
                )
                .is_err()
        );
        assert!(
            groups
                .update(
                    SubscriptionGroupConfig {
                        retry_queue_nums: -1,
                        ..config("g")
                    },
                    NOW
                )
                .is_err()
        );
        assert!(groups.update(config(&"g".repeat(121)), NOW).is_err());
        assert!(groups.update_all(vec![config("g"), config("")], NOW).is_err());
        assert!(groups.get("g").is_none());
        assert_eq!(
            groups
                .update_all(vec![config("g"), config("TOOLS_CONSUMER")], NOW)
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn a_deleted_group_is_gone_with_what_it_might_not_do() {
        let mut groups = groups();
        groups.update(config("g"), NOW).unwrap();
        groups.set_readable("g", "T", false, NOW).unwrap();
        assert_eq!(groups.delete("g", NOW).unwrap().version.counter, 3);
        assert_eq!(groups.delete("g", NOW), None);
        assert!(groups.is_readable("g", "T"));
    }

    #[test]
    fn to_allow_one_topic_again_leaves_the_others_forbidden() {
        let mut groups = groups();
        assert_eq!(groups.set_readable("g", "A", true, NOW).unwrap(), None);
        assert_eq!(groups.set_readable("g", "A", false, NOW).unwrap().unwrap().bits, 4);
        assert_eq!(groups.set_readable("g", "A", false, NOW).unwrap(), None);
        groups.set_readable("g", "B", false, NOW).unwrap();
        assert_eq!(groups.set_readable("g", "A", true, NOW).unwrap().unwrap().bits, 0);
        assert!(groups.is_readable("g", "A") && !groups.is_readable("g", "B") && groups.is_readable("h", "B"));
        assert!(groups.set_readable("g", "b a d", false, NOW).is_err());
    }

    #[test]
    fn a_start_finds_the_table_as_it_was() {
        let mut before = groups();
        let mut records = vec![Meta::SubscriptionGroup(
            before.update(retries("a", 1), NOW).unwrap().unwrap(),
        )];
        records.push(Meta::SubscriptionGroup(
            before.update(retries("b", 2), NOW).unwrap().unwrap(),
        ));
        records.push(Meta::GroupForbidden(
            before.set_readable("a", "T", false, NOW).unwrap().unwrap(),
        ));
        records.push(Meta::GroupForbidden(
            before.set_readable("b", "T", false, NOW).unwrap().unwrap(),
        ));
        records.push(Meta::SubscriptionGroupGone(before.delete("a", NOW).unwrap()));
        assert_eq!(replay(records).export().text(), before.export().text());
        assert_eq!(replay(before.snapshot()).export().text(), before.export().text());
    }

    #[test]
    fn replicas_learn_of_groups_and_of_what_is_forbidden() {
        let mut groups = groups();
        groups.set_readable("g", "T", false, NOW).unwrap();
        let mut replicas = crate::replicas::Replicas::default();
        groups.updates().for_each(|update| replicas.apply(update));
        assert!(replicas.forbidden("g", "T") && replicas.group("TOOLS_CONSUMER").unwrap().consume_enable);
        replicas.apply(forbidden_update("g", "T", 0));
        assert!(!replicas.forbidden("g", "T"));
    }

    #[test]
    fn a_page_has_its_groups_and_what_they_may_not_do() {
        let mut groups = groups();
        groups.set_readable("CID_ONSAPI_OWNER", "T", false, NOW).unwrap();
        let first = groups.page(None, 0, 3);
        assert_eq!((first.groups.subscription_group_table.len(), first.total), (3, 8));
        assert_eq!(first.groups.forbidden_table.len(), 1);
        let rest = groups.page(Some(groups.version()), 3, 100).groups;
        assert_eq!(
            (rest.subscription_group_table.len(), rest.forbidden_table.len()),
            (5, 0)
        );
    }

    #[test]
    fn the_file_is_apaches_and_apaches_file_is_read() {
        let mut groups = groups();
        groups.update(retries("g", 3), NOW).unwrap();
        groups.set_readable("g", "T", false, NOW).unwrap();
        let mut other = self::groups();
        assert_eq!(other.import(&groups.export().text(), NOW).unwrap().len(), 2);
        assert!(!other.is_readable("g", "T") && other.get("g").unwrap().retry_max_times == 3);
        let apache = r#"{"dataVersion":{"counter":9,"timestamp":1700000000001},"forbiddenTable":{},"subscriptionGroupTable":{
            "old":{"brokerId":0,"consumeBroadcastEnable":false,"consumeEnable":true,"consumeFromMinEnable":true,"groupName":"old",
            "notifyConsumerIdsChangedEnable":true,"retryMaxTimes":5,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}}}"#;
        assert_eq!(other.import(apache, NOW).unwrap().len(), 1);
        assert!(!other.get("old").unwrap().consume_broadcast_enable);
        assert_eq!(other.version().counter, 10);
        assert!(
            other
                .import(r#"{"subscriptionGroupTable":{"x":{"groupName":"b a d"}}}"#, NOW)
                .is_err()
        );
    }
}
