//! The control tables, on core 0: topics, subscription groups, who is connected, who holds which queue.
//!
//! A change goes the same way every time ([`Control::record`]): into shard 0's log as a metadata record, to every core's
//! replica, and, for topics, to the name servers; the request that made it is answered when the record is committed.

use crate::clients::Channel;
use crate::consumer_groups::ConsumerGroups;
use crate::core::{CONTROL_CORE, Core};
use crate::error::Error;
use crate::meta::Meta;
use crate::producer_groups::ProducerGroups;
use crate::queue_locks::QueueLocks;
use crate::replicas::TableUpdate;
use crate::replication::known_slaves::KnownSlaves;
use crate::settings::Settings;
use crate::stats::BrokerStats;
use crate::subscription_groups::{GroupSettings, SubscriptionGroups, forbidden_update, group_update};
use crate::topics::{GroupTopic, Needed, SendHint, TopicSettings, Topics, topic_update};
use engine::{AppendError, BatchId};
use protocol::body::topic::TopicConfigAndMappingSerializeWrapper;
use protocol::model::ShardId;
use runtime::Instant;
use runtime::sync::Notify;
use std::cell::RefCell;
use std::rc::Rc;

/// The control tables. They exist once, on core 0.
#[derive(Debug)]
pub struct Control {
    /// Every topic.
    pub topics: RefCell<Topics>,
    /// Every subscription group.
    pub subscription_groups: RefCell<SubscriptionGroups>,
    /// Consumers that are connected.
    pub consumer_groups: RefCell<ConsumerGroups<Channel>>,
    /// Producers that are connected.
    pub producer_groups: RefCell<ProducerGroups<Channel>>,
    /// Queues that orderly consumers hold.
    pub queue_locks: RefCell<QueueLocks>,
    /// What happened, over time.
    pub stats: RefCell<BrokerStats>,
    /// Rung when a topic has changed and the name servers must know, or when they may know something new.
    pub registration_wanted: Notify,
    /// When the broker started, milliseconds since 1970.
    pub started_ms: i64,
    /// Where the slaves of this master are.
    pub known_slaves: KnownSlaves,
}

impl Control {
    /// The tables of a broker that has just started; what its log says comes by [`Control::take_back`].
    #[must_use]
    pub fn new(settings: &Settings) -> Rc<Control> {
        let now_ms = runtime::wall_clock_ms();
        let utc_offset_ms = i64::from(runtime::machine::utc_offset_minutes()) * 60_000;
        let cluster = &settings.config.broker_cluster_name;
        Rc::new(Control {
            topics: RefCell::new(Topics::new(topic_settings(settings), now_ms)),
            subscription_groups: RefCell::new(SubscriptionGroups::new(group_settings(settings), now_ms)),
            consumer_groups: RefCell::default(),
            producer_groups: RefCell::default(),
            queue_locks: RefCell::default(),
            stats: RefCell::new(BrokerStats::new(cluster, now_ms, utc_offset_ms)),
            registration_wanted: Notify::new(),
            started_ms: now_ms,
            known_slaves: KnownSlaves::new(&settings.config.store_path_root_dir),
        })
    }

    /// Other rules hold from now on; what is there stays.
    pub fn set_settings(&self, settings: &Settings) {
        self.topics.borrow_mut().set_settings(topic_settings(settings));
        self.subscription_groups
            .borrow_mut()
            .set_settings(group_settings(settings));
        // The broker's permission is part of what the name servers know.
        self.registration_wanted.notify_one();
    }

    /// Takes a record that was written before; for a start.
    pub fn take_back(&self, record: Meta) {
        match record {
            Meta::Topic(change) => self.topics.borrow_mut().apply(change),
            Meta::TopicGone(gone) => self.topics.borrow_mut().apply_gone(&gone),
            Meta::SubscriptionGroup(change) => self.subscription_groups.borrow_mut().apply(change),
            Meta::SubscriptionGroupGone(gone) => self.subscription_groups.borrow_mut().apply_gone(&gone),
            Meta::GroupForbidden(forbidden) => self.subscription_groups.borrow_mut().apply_forbidden(&forbidden),
            Meta::ConsumerOffsets(_) | Meta::ConsumerOffsetsRemoved(_) | Meta::DelayProgress(_) => {}
        }
    }

    /// Everything as records, for a checkpoint.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Meta> {
        let topics = self.topics.borrow();
        let groups = self.subscription_groups.borrow();
        topics.snapshot().chain(groups.snapshot()).collect()
    }

    /// Gives every core its replica of the tables.
    pub fn publish_all(&self, core: &Core) {
        let updates: Vec<TableUpdate> = {
            let topics = self.topics.borrow();
            let groups = self.subscription_groups.borrow();
            topics.updates().chain(groups.updates()).collect()
        };
        for update in updates {
            publish(core, &update);
        }
    }

    /// Gives a change to every core's replica and, if it is about a topic, to the name servers.
    pub fn spread(&self, core: &Core, change: &Meta) {
        if let Some(update) = update_of(change) {
            publish(core, &update);
        }
        if matches!(change, Meta::Topic(_) | Meta::TopicGone(_)) {
            self.registration_wanted.notify_one();
        }
    }

    /// Records a change: in every core's replica and in the log. It lasts when the batch is committed. On a slave there is no batch, and
    /// the change holds in memory alone, until the master's log says what counts: clients that come to a slave make nothing there.
    ///
    /// # Errors
    /// When the log takes no records now. The change holds until the next restart then, and the caller says so.
    pub fn record(&self, core: &Core, change: &Meta) -> Result<Option<BatchId>, Error> {
        self.spread(core, change);
        let shard = core.shard(ShardId::ZERO).ok_or_else(Error::stopping)?;
        if shard.engine.follows() {
            return Ok(None);
        }
        let record = change.to_record();
        let appended = shard.engine.append_metadata(record.kind, &record.payload);
        appended.map(Some).map_err(not_lasting)
    }

    /// As [`Control::record`], and waits until the change lasts.
    ///
    /// # Errors
    /// As [`Control::record`], and when the group commit fails.
    pub async fn record_and_wait(&self, core: &Core, change: &Meta) -> Result<(), Error> {
        let Some(batch) = self.record(core, change)? else {
            return Ok(());
        };
        let shard = core.shard(ShardId::ZERO).ok_or_else(Error::stopping)?;
        let end = shard.engine.log_end().position;
        shard.engine.committed(batch).await.map_err(not_lasting)?;
        // The same guarantee as for messages, where there are slaves at all: an operator must be able to make a topic without.
        if !shard.followers.list().is_empty() && !shard.on_slaves(core, end).await {
            tracing::warn!("slaves are late with a change of topics or groups; it holds, and they get it");
        }
        Ok(())
    }

    /// Starts what goes on beside the requests: clients that fall silent are forgotten, statistics are sampled.
    pub fn start_upkeep(self: &Rc<Self>, core: &Rc<Core>) {
        runtime::spawn(crate::handlers::clients::expire(Rc::clone(core), Rc::clone(self)));
        runtime::spawn(crate::handlers::admin::sample_stats(Rc::clone(core), Rc::clone(self)));
    }

    /// The topics as the name servers shall know them.
    #[must_use]
    pub fn topics_to_register(&self, settings: &Settings) -> TopicConfigAndMappingSerializeWrapper {
        self.topics.borrow().registration(settings.permission)
    }

    /// Makes the retry or dead letter topic of a group, if it is not there; or an order topic of it, if that is wanted.
    ///
    /// # Errors
    /// A bad name, or a log that takes no records.
    pub async fn ensure_group_topic(&self, core: &Core, wanted: GroupTopic<'_>) -> Result<(), Error> {
        let needed = self.topics.borrow_mut().for_group(wanted, runtime::wall_clock_ms())?;
        self.keep(core, needed).await
    }

    /// Makes the topic of a send, if it is not there and may be made.
    ///
    /// # Errors
    /// A bad name, a topic that may not be made, or a log that takes no records.
    pub async fn ensure_topic_of_send(&self, core: &Core, hint: SendHint<'_>) -> Result<(), Error> {
        let needed = self.topics.borrow_mut().for_send(hint, runtime::wall_clock_ms())?;
        self.keep(core, needed).await
    }

    async fn keep(&self, core: &Core, needed: Needed) -> Result<(), Error> {
        match needed {
            Needed::There(_) => Ok(()),
            Needed::Made(change) => self.record_and_wait(core, &Meta::Topic(change)).await,
        }
    }

    /// Whether an orderly consumer of a group holds a queue.
    #[must_use]
    pub fn holds_locks(&self, consumer_group: &str) -> bool {
        self.queue_locks.borrow().is_locked(consumer_group, Instant::now())
    }
}

fn topic_settings(settings: &Settings) -> TopicSettings {
    let config = &settings.config;
    TopicSettings {
        broker_name: config.broker_name.clone(),
        cluster_name: config.broker_cluster_name.clone(),
        auto_create: config.auto_create_topic_enable,
        default_queues: i32::try_from(config.default_topic_queue_nums).unwrap_or(8),
        cluster_topic: config.cluster_topic_enable,
        broker_topic: config.broker_topic_enable,
        trace_topic: config.trace_topic_enable.then(|| config.msg_trace_topic_name.clone()),
        revive_queues: 8,
        timer_wheel: true,
        protect_system_topics: config.validate_system_topic_when_update_topic,
        mixed_messages: config.enable_mixed_message_type,
    }
}

fn group_settings(settings: &Settings) -> GroupSettings {
    let config = &settings.config;
    GroupSettings {
        auto_create: config.auto_create_subscription_group,
        auto_create_system: config.enable_create_sys_group,
    }
}

fn not_lasting(error: AppendError) -> Error {
    Error::NotAvailable(format!("the change does not last: {error}"))
}

/// What a change is to the replicas, if they need to know it.
fn update_of(change: &Meta) -> Option<TableUpdate> {
    Some(match change {
        Meta::Topic(change) => topic_update(&change.config),
        Meta::TopicGone(gone) => TableUpdate::TopicGone(gone.name.as_str().into()),
        Meta::SubscriptionGroup(change) => group_update(&change.config),
        Meta::SubscriptionGroupGone(gone) => TableUpdate::GroupGone(gone.name.as_str().into()),
        Meta::GroupForbidden(one) => forbidden_update(&one.consumer_group, &one.topic, one.bits),
        Meta::ConsumerOffsets(_) | Meta::ConsumerOffsetsRemoved(_) | Meta::DelayProgress(_) => return None,
    })
}

/// Gives a change to every core's replica; to this core's at once.
pub fn publish(core: &Core, update: &TableUpdate) {
    for other in 0..core.map.cores() {
        if other == core.index {
            core.replicas.borrow_mut().apply(update.clone());
        } else {
            let update = update.clone();
            core.run_on(other, move |core| core.replicas.borrow_mut().apply(update));
        }
    }
}

impl Core {
    /// Has core 0 do something with the control tables, and waits for it.
    ///
    /// # Errors
    /// What `work` fails with; or that the broker is stopping.
    pub async fn with_control<T, F>(
        &self,
        work: impl FnOnce(Rc<Core>, Rc<Control>) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + 'static,
    {
        let answer = self.ask(CONTROL_CORE, move |core| async move {
            let control = core.control().cloned().ok_or_else(Error::stopping)?;
            work(core, control).await
        });
        answer.await.unwrap_or_else(|| Err(Error::stopping()))
    }
}
