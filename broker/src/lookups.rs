//! What handlers on any core look up or have made: topics and groups that come into being by use, consumer offsets,
//! unique ids.

use crate::consumer_offsets::Committed;
use crate::core::Core;
use crate::error::Error;
use crate::meta::Meta;
use crate::replicas::SubscriptionGroup;
use crate::request::{ReplyTo, Request};
use crate::shard::CoreShard;
use crate::topics::{GroupTopic, SendHint};
use protocol::header::send::SendHeader;
use protocol::model::{QueueId, QueueOffset, check_group, names as topics};
use std::rc::Rc;
use std::sync::Arc;

impl Core {
    /// The settings of a consumer group. A group that is not known yet is served as a new one, and made, if groups may be
    /// made by use.
    ///
    /// # Errors
    /// A bad name, or a group that is not there and may not be made.
    pub fn subscription_group(self: &Rc<Self>, group: &str) -> Result<Arc<SubscriptionGroup>, Error> {
        if let Some(known) = self.replicas.borrow().group(group) {
            return Ok(known);
        }
        check_group(group)?;
        let config = &self.settings().config;
        let is_system = group.starts_with(topics::SYSTEM_GROUP_PREFIX) && config.enable_create_sys_group;
        if !config.auto_create_subscription_group && !is_system {
            return Err(Error::SubscriptionGroupNotExist(group.to_owned()));
        }
        let (core, name) = (Rc::clone(self), group.to_owned());
        runtime::spawn(async move {
            let made = core.with_control(|core, control| async move {
                let used = control
                    .subscription_groups
                    .borrow_mut()
                    .for_consumer(&name, runtime::wall_clock_ms())?;
                match used.change() {
                    Some(change) => {
                        control
                            .record_and_wait(&core, &Meta::SubscriptionGroup(change.clone()))
                            .await
                    }
                    None => Ok(()),
                }
            });
            if let Err(error) = made.await {
                tracing::warn!(%error, "a consumer group could not be made");
            }
        });
        Ok(Arc::new(SubscriptionGroup {
            name: Arc::from(group),
            consume_enable: true,
            consume_broadcast_enable: true,
            broker_id: 0,
            slow_broker_id: 1,
            retry_queues: 1,
            retry_max_times: 16,
            sys_flag: 0,
        }))
    }

    /// Whether there is a consumer group of this name: in this core's replica or, if a pull that makes it is still on its way,
    /// in the table.
    pub async fn is_group(&self, group: &str) -> bool {
        if self.replicas.borrow().group(group).is_some() {
            return true;
        }
        let name = group.to_owned();
        let asked = self.with_control(move |_core, control| async move {
            Ok(control.subscription_groups.borrow().get(&name).is_some())
        });
        asked.await.unwrap_or(false)
    }

    /// Makes the retry or dead letter topic of a group, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn ensure_topic(&self, topic: &str, queues: u32) -> Result<(), Error> {
        if self.replicas.borrow().topic(topic).is_some() {
            return Ok(());
        }
        let topic = topic.to_owned();
        self.with_control(move |core, control| async move {
            control.ensure_group_topic(&core, GroupTopic::new(&topic, queues)).await
        })
        .await
    }

    /// Makes the topic of a send that found none, and sends again; the send is refused if the topic may not be made.
    pub fn create_topic_and_send(self: &Rc<Self>, request: Request) {
        let core = Rc::clone(self);
        runtime::spawn(async move {
            let to = request.reply_to();
            match core.create_topic_of(&request).await {
                // The replica of this core had the topic before the answer came.
                Ok(()) => crate::dispatch::send_home(&core, request),
                Err(error) => {
                    core.stats.put_refused();
                    crate::dispatch::refuse(&core, &to, &error);
                }
            }
        });
    }

    async fn create_topic_of(&self, request: &Request) -> Result<(), Error> {
        let header = SendHeader::decode(request.frame.ext())?;
        let (topic, template) = (header.topic.to_string(), header.default_topic.to_string());
        let (queues, unit_mode) = (header.default_topic_queue_nums, header.unit_mode);
        self.with_control(move |core, control| async move {
            let hint = SendHint {
                topic: &topic,
                default_topic: &template,
                queues,
                unit_mode,
            };
            control.ensure_topic_of_send(&core, hint).await
        })
        .await
    }

    /// A group says how far it is in a queue of a shard of this core. Saved a moment later, with what else changes.
    pub fn commit_consumer_offset(
        &self,
        shard: &CoreShard,
        group: &str,
        topic: &str,
        queue_id: QueueId,
        queue_offset: i64,
    ) {
        let committed = shard
            .consumer_offsets
            .borrow_mut()
            .commit(topic, group, queue_id, queue_offset);
        if let Committed::Backward { from } = committed {
            tracing::info!(
                group,
                topic,
                queue_id = queue_id.get(),
                from,
                to = queue_offset,
                "a consumer offset moved back"
            );
        }
        shard.offsets_changed.notify_one();
    }

    /// Appends a new unique id: for a message whose producer gave none.
    pub fn make_unique_id(&self, out: &mut String) {
        self.unique_ids.borrow_mut().make(runtime::wall_clock_ms()).push_to(out);
    }

    /// A oneway request has been done.
    pub fn finish_unanswered(&self, to: &ReplyTo) {
        self.finish(&to.origin);
    }
}

impl CoreShard {
    /// Whether a message is young enough to count as held in memory.
    pub async fn is_in_memory(&self, topic: &str, queue_id: QueueId, queue_offset: QueueOffset) -> bool {
        let Some(queue) = self.engine.find_queue(topic, queue_id.get()) else {
            return true;
        };
        let (min, max) = self.engine.bounds(queue);
        if min == max {
            return true;
        }
        let Ok(entries) = self.engine.entries(queue, queue_offset.max(min), 1).await else {
            return false;
        };
        let distance = self.in_memory_distance;
        entries
            .first()
            .is_none_or(|entry| self.engine.stats().end.saturating_sub(entry.position) <= distance)
    }
}
