//! The topics of this broker, on core 0: which there are, and how they come, change and go.
//!
//! A change is a [`TopicChange`]: the caller appends it to shard 0's log ([`crate::meta::Meta::Topic`]), gives it to every
//! core's replica ([`crate::replicas::TableUpdate`]) and registers it with the name servers, before it answers.
//! The predefined topics are made anew at each start and are not in the log until somebody changes them; they come before
//! what the log says, so the log wins.
//!
//! The rules are those of RocketMQ's `TopicConfigManager` and `AdminBrokerProcessor`. Other than there, a change that changes
//! nothing leaves the version alone, a list of topics is taken whole or not at all, and numbers of queues are bounded.

use crate::attributes::{self, Attributes};
use crate::error::Error;
use crate::meta::{Gone, Meta, TopicChange};
use crate::replicas::{TableUpdate, Topic};
use protocol::body::lenient::{self, BodyError};
use protocol::body::topic::{DataVersion, TopicConfig, TopicConfigAndMappingSerializeWrapper};
use protocol::message::sys_flag::{perm, topic_flag};
use protocol::model::{check_topic, names};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most queues that a topic may have: far more than anybody uses, and few enough that a slip of a key does no harm.
pub const QUEUES_MAX: i32 = 65_536;
/// Queues of the topic that holds delayed messages: one a delay level.
const SCHEDULE_QUEUES: i32 = 18;
/// Prefix of the topic of pop's checkpoints, before the cluster.
const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";

/// What the table needs of the broker's configuration.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// brokerName: such a topic is predefined.
    pub broker_name: String,
    /// brokerClusterName: such a topic is predefined.
    pub cluster_name: String,
    /// autoCreateTopicEnable: TBW102 is predefined, as the template of topics that sends create.
    pub auto_create: bool,
    /// defaultTopicQueueNums: queues of that template.
    pub default_queues: i32,
    /// clusterTopicEnable: the cluster's topic may be read and written.
    pub cluster_topic: bool,
    /// brokerTopicEnable: the broker's topic may be read and written.
    pub broker_topic: bool,
    /// msgTraceTopicName, if traceTopicEnable.
    pub trace_topic: Option<String>,
    /// reviveQueueNum.
    pub revive_queues: i32,
    /// timerWheelEnable: the timer's topic is predefined.
    pub timer_wheel: bool,
    /// validateSystemTopicWhenUpdateTopic: admins may not touch system topics.
    pub protect_system_topics: bool,
    /// enableMixedMessageType: topics of message type MIXED are allowed.
    pub mixed_messages: bool,
}

/// Every topic.
#[derive(Debug)]
pub struct Topics {
    settings: TopicSettings,
    table: BTreeMap<String, Arc<TopicConfig>>,
    version: DataVersion,
    /// Names that the configuration has made system topics, beside those that are so everywhere.
    predefined: BTreeSet<String>,
}

/// A topic that somebody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// It is there.
    There(Arc<TopicConfig>),
    /// It was made, or changed to what is needed.
    Made(TopicChange),
}

/// What a send says about a topic that it may have to create.
#[derive(Clone, Copy, Debug)]
pub struct SendHint<'a> {
    /// The topic it goes to.
    pub topic: &'a str,
    /// The template that the client names, normally `TBW102`.
    pub default_topic: &'a str,
    /// Queues that the client would like.
    pub queues: i32,
    /// Of a unit deployment.
    pub unit_mode: bool,
}

/// A topic that follows from a consumer group: `%RETRY%group`, `%DLQ%group`.
#[derive(Clone, Copy, Debug)]
pub struct GroupTopic<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its queues, to read and to write.
    pub queues: i32,
    /// Bits of RocketMQ's `PermName`.
    pub perm: i32,
    /// Whether it is an order topic.
    pub order: bool,
    /// Its `topicSysFlag`.
    pub sys_flag: i32,
}

impl GroupTopic<'_> {
    /// A topic that can be read and written.
    #[must_use]
    pub fn new(topic: &str, queues: u32) -> GroupTopic<'_> {
        GroupTopic {
            topic,
            queues: i32::try_from(queues).unwrap_or(1),
            perm: perm::READ | perm::WRITE,
            order: false,
            sys_flag: 0,
        }
    }
}

/// A part of the table, for brokers and tools that copy it.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicPage {
    /// Topics in order of their names.
    pub topics: BTreeMap<String, TopicConfig>,
    /// How many there are in all.
    pub total: usize,
}

/// The table at one moment, for `topics.json`.
#[derive(Clone, Debug)]
pub struct TopicsExport {
    version: DataVersion,
    topics: Vec<Arc<TopicConfig>>,
}

impl TopicsExport {
    /// The text of `topics.json`, for people and for tools that read Apache's.
    #[must_use]
    pub fn text(&self) -> String {
        let table = self
            .topics
            .iter()
            .map(|config| (config.topic_name.clone(), TopicConfig::clone(config)));
        let file = TopicsFile {
            data_version: self.version,
            topic_config_table: table.collect(),
        };
        serde_json::to_string_pretty(&file).expect("topics have text for keys, and memory takes all bytes")
    }
}

/// `topics.json` as Apache's broker keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TopicsFile {
    data_version: DataVersion,
    topic_config_table: BTreeMap<String, TopicConfig>,
}

impl Topics {
    /// The predefined topics of a broker with these settings.
    #[must_use]
    pub fn new(settings: TopicSettings, now_ms: i64) -> Topics {
        let table: BTreeMap<String, Arc<TopicConfig>> = predefined(&settings)
            .into_iter()
            .map(|(name, queues, perm)| (name.clone(), Arc::new(config(name, queues, perm))))
            .collect();
        let predefined = table.keys().cloned().collect();
        Topics {
            settings,
            table,
            version: DataVersion {
                timestamp: now_ms,
                ..DataVersion::default()
            },
            predefined,
        }
    }

    /// Other rules hold from now on. What is predefined stays as it is.
    pub fn set_settings(&mut self, settings: TopicSettings) {
        self.settings = settings;
    }

    /// A topic.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&Arc<TopicConfig>> {
        self.table.get(topic)
    }

    /// Every topic, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicConfig>> {
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

    /// Whether a topic is RocketMQ's own, or one that this broker's configuration has made so.
    #[must_use]
    pub fn is_system(&self, topic: &str) -> bool {
        names::is_system_topic(topic) || self.predefined.contains(topic)
    }

    /// Whether consumers of this topic are bound to an order.
    #[must_use]
    pub fn is_order(&self, topic: &str) -> bool {
        self.table.get(topic).is_some_and(|config| config.order)
    }

    /// The topic of a send; made from the client's template if it is not there and that is allowed. A retry topic is made
    /// without a template.
    ///
    /// # Errors
    /// A bad name, or a topic that is not there and may not be made.
    pub fn for_send(&mut self, hint: SendHint<'_>, now_ms: i64) -> Result<Needed, Error> {
        if let Some(config) = self.table.get(hint.topic) {
            return Ok(Needed::There(Arc::clone(config)));
        }
        check_topic(hint.topic)?;
        let is_retry = hint.topic.starts_with(names::RETRY_PREFIX);
        let sys_flag = match (hint.unit_mode, is_retry) {
            (false, _) => 0,
            (true, false) => topic_flag::UNIT,
            (true, true) => topic_flag::UNIT_SUB,
        };
        if let Some(template) = self.template(hint.default_topic) {
            let queues = hint.queues.min(template.write_queue_nums).max(1);
            let made = TopicConfig {
                topic_filter_type: template.topic_filter_type.clone(),
                topic_sys_flag: sys_flag,
                ..config(hint.topic.to_owned(), queues, template.perm & !perm::INHERIT)
            };
            return Ok(Needed::Made(self.put(made, now_ms)));
        }
        if is_retry {
            let made = config(hint.topic.to_owned(), 1, perm::READ | perm::WRITE);
            return Ok(Needed::Made(self.put(
                TopicConfig {
                    topic_sys_flag: sys_flag,
                    ..made
                },
                now_ms,
            )));
        }
        Err(Error::TopicNotExist(hint.topic.to_owned()))
    }

    /// A topic may be a template if it says so; TBW102 also only while autoCreateTopicEnable is on.
    fn template(&self, default_topic: &str) -> Option<&TopicConfig> {
        let template = self.table.get(default_topic)?;
        let switched_off = default_topic == names::AUTO_CREATE_TOPIC && !self.settings.auto_create;
        (template.perm & perm::INHERIT != 0 && !switched_off).then_some(template)
    }

    /// The retry or dead letter topic of a group; made if it is not there. One that is there becomes an order topic if that is
    /// wanted, and stays one (in Apache's broker it turns with each heartbeat and each message given back, and registers).
    ///
    /// # Errors
    /// A bad name.
    pub fn for_group(&mut self, wanted: GroupTopic<'_>, now_ms: i64) -> Result<Needed, Error> {
        if let Some(there) = self.table.get(wanted.topic) {
            if there.order || !wanted.order {
                return Ok(Needed::There(Arc::clone(there)));
            }
            let changed = TopicConfig {
                order: true,
                ..TopicConfig::clone(there)
            };
            return Ok(Needed::Made(self.put(changed, now_ms)));
        }
        check_topic(wanted.topic)?;
        let made = config(wanted.topic.to_owned(), wanted.queues.clamp(0, QUEUES_MAX), wanted.perm);
        let made = TopicConfig {
            order: wanted.order,
            topic_sys_flag: wanted.sys_flag,
            ..made
        };
        Ok(Needed::Made(self.put(made, now_ms)))
    }

    /// An admin makes or changes a topic. The attributes of `wanted` are edits ([`attributes::parse_edits`]). `None` if it
    /// is like that already.
    ///
    /// # Errors
    /// A bad name, a system topic, numbers that cannot be, or edits that break a rule.
    pub fn update(&mut self, wanted: TopicConfig, now_ms: i64) -> Result<Option<TopicChange>, Error> {
        let after = self.updated(wanted)?;
        Ok(after.map(|after| self.put(after, now_ms)))
    }

    /// An admin makes or changes several topics: all of them, or none if one is refused.
    ///
    /// # Errors
    /// Those of [`Topics::update`].
    pub fn update_all(&mut self, wanted: Vec<TopicConfig>, now_ms: i64) -> Result<Vec<TopicChange>, Error> {
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

    fn updated(&self, wanted: TopicConfig) -> Result<Option<TopicConfig>, Error> {
        check_topic(&wanted.topic_name)?;
        self.check_not_system(&wanted.topic_name)?;
        check_numbers(&wanted)?;
        if !self.settings.mixed_messages
            && wanted
                .attributes
                .get("+message.type")
                .is_some_and(|kind| kind == "MIXED")
        {
            return Err(Error::InvalidParameter(
                "MIXED message type is not supported; set enableMixedMessageType=true to allow it".to_owned(),
            ));
        }
        let before = self.table.get(&wanted.topic_name);
        let current: Option<&Attributes> = before.map(|config| &config.attributes);
        let attributes = attributes::edited(attributes::OF_TOPICS, current, &wanted.attributes)?;
        let after = TopicConfig { attributes, ..wanted };
        Ok(before.is_none_or(|before| **before != after).then_some(after))
    }

    /// An admin deletes a topic. `None` if it is not there, which is no error.
    ///
    /// # Errors
    /// A system topic or a blank name.
    pub fn delete(&mut self, topic: &str, now_ms: i64) -> Result<Option<Gone>, Error> {
        if topic.trim().is_empty() {
            return Err(Error::InvalidParameter("The specified topic is blank.".to_owned()));
        }
        self.check_not_system(topic)?;
        if self.table.remove(topic).is_none() {
            return Ok(None);
        }
        Ok(Some(Gone {
            version: self.next_version(now_ms),
            name: topic.to_owned(),
        }))
    }

    fn check_not_system(&self, topic: &str) -> Result<(), Error> {
        if self.settings.protect_system_topics && self.is_system(topic) {
            return Err(Error::InvalidParameter(format!(
                "The topic[{topic}] is conflict with system topic."
            )));
        }
        Ok(())
    }

    fn put(&mut self, config: TopicConfig, now_ms: i64) -> TopicChange {
        let config = Arc::new(config);
        self.table.insert(config.topic_name.clone(), Arc::clone(&config));
        TopicChange {
            version: self.next_version(now_ms),
            config,
        }
    }

    fn next_version(&mut self, now_ms: i64) -> DataVersion {
        self.version = self.version.next(self.version.state_version, now_ms);
        self.version
    }

    /// A part of the table from place `from` on, at most `count` topics. Who has another version than this begins anew.
    #[must_use]
    pub fn page(&self, known: Option<DataVersion>, from: usize, count: usize) -> TopicPage {
        let from = if known == Some(self.version) { from } else { 0 };
        let topics = self.table.iter().skip(from).take(count);
        TopicPage {
            topics: topics
                .map(|(name, config)| (name.clone(), TopicConfig::clone(config)))
                .collect(),
            total: self.table.len(),
        }
    }

    /// The table as a broker with this permission registers it: what the broker may not do, none of its topics may.
    #[must_use]
    pub fn registration(&self, broker_perm: i32) -> TopicConfigAndMappingSerializeWrapper {
        let table = self
            .table
            .iter()
            .map(|(name, config)| (name.clone(), permitted(config, broker_perm)));
        TopicConfigAndMappingSerializeWrapper {
            data_version: self.version,
            topic_config_table: table.collect(),
            ..TopicConfigAndMappingSerializeWrapper::default()
        }
    }

    /// What makes a replica that has nothing equal to this table.
    pub fn updates(&self) -> impl Iterator<Item = TableUpdate> {
        self.table.values().map(|config| topic_update(config))
    }

    /// Everything, as records; for a checkpoint.
    pub fn snapshot(&self) -> impl Iterator<Item = Meta> {
        let version = self.version;
        self.table.values().map(move |config| {
            Meta::Topic(TopicChange {
                version,
                config: Arc::clone(config),
            })
        })
    }

    /// Takes a record that was written before; for a start.
    pub fn apply(&mut self, change: TopicChange) {
        self.version = change.version;
        self.table.insert(change.config.topic_name.clone(), change.config);
    }

    /// Takes a record of a deletion; for a start.
    pub fn apply_gone(&mut self, gone: &Gone) {
        self.version = gone.version;
        self.table.remove(&gone.name);
    }

    /// What `topics.json` is made of. Cheap: the settings are shared.
    #[must_use]
    pub fn export(&self) -> TopicsExport {
        TopicsExport {
            version: self.version,
            topics: self.table.values().cloned().collect(),
        }
    }

    /// Takes the topics of a `topics.json`, Apache's too, over those there are; the version is the file's if that is newer.
    ///
    /// # Errors
    /// A text that is no such file, or that has a topic with a bad name or impossible numbers: then nothing is taken.
    pub fn import(&mut self, text: &str, now_ms: i64) -> Result<Vec<TopicChange>, Error> {
        let unreadable = |error: BodyError| Error::System(format!("topics.json cannot be read: {error}"));
        let file: TopicsFile = lenient::from_slice(text.as_bytes()).map_err(unreadable)?;
        for config in file.topic_config_table.values() {
            let name = &config.topic_name;
            check_topic(name).map_err(|error| Error::InvalidParameter(format!("topic {name:?}: {error}")))?;
            check_numbers(config)?;
        }
        self.version = self.version.max(file.data_version);
        let changed = file.topic_config_table.into_values();
        let changed: Vec<TopicConfig> = changed
            .filter(|config| {
                self.table
                    .get(&config.topic_name)
                    .is_none_or(|there| **there != *config)
            })
            .collect();
        Ok(changed.into_iter().map(|config| self.put(config, now_ms)).collect())
    }
}

impl Needed {
    /// The topic, whether it was there or not.
    #[must_use]
    pub fn config(&self) -> &Arc<TopicConfig> {
        match self {
            Needed::There(config) => config,
            Needed::Made(change) => &change.config,
        }
    }

    /// The change, if there was one.
    #[must_use]
    pub fn change(&self) -> Option<&TopicChange> {
        match self {
            Needed::There(_config) => None,
            Needed::Made(change) => Some(change),
        }
    }
}

/// What a change is to the replicas.
#[must_use]
pub fn topic_update(config: &TopicConfig) -> TableUpdate {
    TableUpdate::Topic(Arc::new(Topic::from(config)))
}

impl From<&TopicConfig> for Topic {
    fn from(config: &TopicConfig) -> Topic {
        Topic {
            name: Arc::from(config.topic_name.as_str()),
            write_queues: u32::try_from(config.write_queue_nums).unwrap_or(0),
            read_queues: u32::try_from(config.read_queue_nums).unwrap_or(0),
            perm: config.perm,
            order: config.order,
            sys_flag: config.topic_sys_flag,
        }
    }
}

/// A topic as a broker with this permission registers it.
#[must_use]
pub fn permitted(config: &TopicConfig, broker_perm: i32) -> TopicConfig {
    let both = perm::READ | perm::WRITE;
    let perm = if broker_perm & both == both {
        config.perm
    } else {
        config.perm & broker_perm
    };
    TopicConfig { perm, ..config.clone() }
}

fn check_numbers(config: &TopicConfig) -> Result<(), Error> {
    for (what, queues) in [
        ("readQueueNums", config.read_queue_nums),
        ("writeQueueNums", config.write_queue_nums),
    ] {
        if !(0..=QUEUES_MAX).contains(&queues) {
            return Err(Error::InvalidParameter(format!(
                "{what} {queues} of topic {} is out of range; give it 0 to {QUEUES_MAX}",
                config.topic_name
            )));
        }
    }
    let all = perm::READ | perm::WRITE | perm::INHERIT | perm::PRIORITY;
    if config.perm & !all != 0 {
        return Err(Error::InvalidParameter(format!(
            "perm {} of topic {} is none; give it 2 (write), 4 (read) or 6 (both)",
            config.perm, config.topic_name
        )));
    }
    Ok(())
}

fn config(topic_name: String, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name,
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}

/// Name, queues and permission of each predefined topic.
fn predefined(settings: &TopicSettings) -> Vec<(String, i32, i32)> {
    let both = perm::READ | perm::WRITE;
    let template = |readable_and_writable: bool| perm::INHERIT | if readable_and_writable { both } else { 0 };
    let TopicSettings {
        broker_name,
        cluster_name,
        ..
    } = settings;
    let mut topics = vec![
        (names::SELF_TEST_TOPIC.to_owned(), 1, both),
        (names::BENCHMARK_TOPIC.to_owned(), 1024, both),
        (cluster_name.clone(), 16, template(settings.cluster_topic)),
        (broker_name.clone(), 1, template(settings.broker_topic)),
        (names::OFFSET_MOVED_EVENT.to_owned(), 1, both),
        (names::SCHEDULE_TOPIC.to_owned(), SCHEDULE_QUEUES, both),
        (format!("{cluster_name}_{}", names::REPLY_TOPIC_POSTFIX), 1, both),
        (
            format!("{REVIVE_TOPIC_PREFIX}{cluster_name}"),
            settings.revive_queues.clamp(0, QUEUES_MAX),
            both,
        ),
        (
            format!("{}{broker_name}", names::SYNC_BROKER_MEMBER_GROUP_PREFIX),
            1,
            perm::INHERIT,
        ),
        (names::TRANS_HALF_TOPIC.to_owned(), 1, both),
        (names::TRANS_OP_HALF_TOPIC.to_owned(), 1, both),
    ];
    if settings.auto_create {
        topics.push((
            names::AUTO_CREATE_TOPIC.to_owned(),
            settings.default_queues.clamp(0, QUEUES_MAX),
            template(true),
        ));
    }
    if settings.timer_wheel {
        topics.push((names::TIMER_TOPIC.to_owned(), 1, both));
    }
    topics.extend(settings.trace_topic.iter().map(|topic| (topic.clone(), 1, both)));
    topics
}

#[cfg(test)]
mod tests;
