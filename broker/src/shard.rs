//! A shard as its core sees it: the engine's storage, the sends that wait for it, and what belongs to its queues.

use crate::consumer_offsets::ConsumerOffsets;
use crate::core::Core;
use crate::delayed_messages::DelayedMessages;
use crate::error::Error;
use crate::handlers::pull;
use crate::held_pulls::QueueKey;
use crate::lost_messages::LostMessages;
use crate::meta::Meta;
use crate::replication::follower::Copying;
use crate::replication::followers::Followers;
use crate::replication::slave_waits::{SlaveRule, SlaveWait, SlaveWaits};
use crate::replies::{SendReplyFields, WaitingBatch, WaitingSend, WaitingSends};
use crate::request::Origin;
use bytes::BytesMut;
use engine::{AppendError, Arrival, BatchId, Commit};
use protocol::model::ShardId;
use protocol::response_code::ResponseCode;
use runtime::Instant;
use runtime::sync::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Consumer offsets that change within this time share a record.
const OFFSETS_GATHER: Duration = Duration::from_millis(50);
/// Pause after the log took no record.
const OFFSETS_RETRY: Duration = Duration::from_secs(1);

/// One shard of this core.
#[derive(Debug)]
pub struct CoreShard {
    /// Its number.
    pub id: ShardId,
    /// Its storage.
    pub engine: engine::Shard,
    /// Sends that wait for their group commit.
    pub waiting: RefCell<WaitingSends>,
    /// How far consumer groups are in the queues of this shard.
    pub consumer_offsets: RefCell<ConsumerOffsets>,
    /// The delay levels whose queues are here.
    pub delayed: DelayedMessages,
    /// On a slave: how the copying goes.
    pub copying: Copying,
    /// The slaves that copy it.
    pub followers: Followers,
    /// Sends that are stored here and wait for slaves.
    slave_waits: SlaveWaits,
    /// Rung when consumer offsets have changed.
    pub offsets_changed: Notify,
    /// What readers have met that cannot be read.
    pub lost: LostMessages,
    /// Messages no further than this from the end of the log count as in memory.
    pub in_memory_distance: u64,
    /// A task looks for sends that have waited too long.
    watched: Cell<bool>,
    /// Another one for those that wait for slaves.
    slaves_watched: Cell<bool>,
}

impl CoreShard {
    /// A shard that has been opened.
    #[must_use]
    pub fn new(id: ShardId, engine: engine::Shard, in_memory_distance: u64) -> Rc<CoreShard> {
        Rc::new(CoreShard {
            id,
            engine,
            waiting: RefCell::default(),
            consumer_offsets: RefCell::default(),
            delayed: DelayedMessages::default(),
            copying: Copying::default(),
            followers: Followers::default(),
            slave_waits: SlaveWaits::default(),
            offsets_changed: Notify::new(),
            lost: LostMessages::default(),
            in_memory_distance,
            watched: Cell::new(false),
            slaves_watched: Cell::new(false),
        })
    }

    /// A group commit has ended: its sends are answered and its messages can be read.
    pub fn on_commit(self: &Rc<Self>, core: &Rc<Core>, commit: &Commit<'_>) {
        let slaves = match commit.result {
            Ok(()) => self.slaves_to_wait_for(core),
            Err(_) => None,
        };
        let outcome = match commit.result {
            Ok(()) => Ok(ResponseCode::SUCCESS),
            Err(error) => Err(format!("the message was not stored: {error}")),
        };
        while let Some(batch) = self.take_until(commit.batch.0) {
            if let Some((rule, slaves)) = slaves {
                self.wait_for_slaves(core, batch, commit.end, (rule, slaves));
            } else {
                answer(core, &batch, outcome.as_ref().copied().map_err(String::as_str));
                self.waiting.borrow_mut().recycle(batch);
            }
        }
        for arrival in commit.arrivals {
            self.delayed.arrived(arrival.queue.index());
            self.wake_held_pulls(core, arrival);
        }
    }

    /// A batch has been written and is not durable yet (sync flush): sends that do not want to wait are answered.
    pub fn on_written(&self, core: &Rc<Core>, batch: BatchId) {
        let answered = self.waiting.borrow_mut().take_unwaiting(batch.0);
        if let Some(batch) = answered {
            answer(core, &batch, Ok(ResponseCode::SUCCESS));
        }
    }

    /// The rule by which sends wait for slaves, and for how many now; `None` if for none.
    fn slaves_to_wait_for(&self, core: &Core) -> Option<(SlaveRule, usize)> {
        let rule = core.settings().slave_rule?;
        let slaves = rule
            .slaves(self.slaves_in_sync(&rule))
            .unwrap_or(rule.copies.saturating_sub(1));
        (slaves > 0).then_some((rule, slaves))
    }

    fn slaves_in_sync(&self, rule: &SlaveRule) -> usize {
        self.followers.in_sync(self.engine.committed_position(), rule.gap)
    }

    /// Refuses a send that waits for slaves when too few of them keep up (with enableSlaveActingMaster).
    ///
    /// # Errors
    /// Apache's IN_SYNC_REPLICAS_NOT_ENOUGH.
    pub fn check_slaves(&self, rule: &SlaveRule) -> Result<(), Error> {
        match rule.slaves(self.slaves_in_sync(rule)) {
            Some(_enough) => Ok(()),
            None => Err(Error::System("in-sync replicas not enough".to_owned())),
        }
    }

    fn wait_for_slaves(
        self: &Rc<Self>,
        core: &Rc<Core>,
        mut batch: WaitingBatch,
        end: u64,
        (rule, slaves): (SlaveRule, usize),
    ) {
        if let Some(unwaiting) = batch.take_unwaiting() {
            answer(core, &unwaiting, Ok(ResponseCode::SUCCESS));
        }
        self.slave_waits.push(SlaveWait {
            end,
            slaves,
            deadline: Instant::now() + rule.timeout,
            batch,
        });
        if !self.slaves_watched.replace(true) {
            runtime::spawn(Rc::clone(self).answer_when_slaves_are_late(Rc::clone(core)));
        }
    }

    /// A slave has said how far it is: sends that waited for that are answered.
    pub fn on_slave_progress(&self, core: &Rc<Core>) {
        while let Some(batch) = self
            .slave_waits
            .take_if(|oldest| self.followers.acknowledged(oldest.slaves) >= oldest.end)
        {
            answer(core, &batch, Ok(ResponseCode::SUCCESS));
            self.waiting.borrow_mut().recycle(batch);
        }
    }

    /// Answers sends that wait for slaves longer than slaveTimeout; until none waits.
    async fn answer_when_slaves_are_late(self: Rc<Self>, core: Rc<Core>) {
        while let Some(deadline) = self.slave_waits.first_deadline() {
            runtime::sleep_until(deadline).await;
            let (now, mut late) = (Instant::now(), 0);
            while let Some(batch) = self.slave_waits.take_if(|oldest| oldest.deadline <= now) {
                late += batch.sends().len();
                answer(&core, &batch, Ok(ResponseCode::FLUSH_SLAVE_TIMEOUT));
            }
            if late > 0 {
                runtime::mark!("slaves late");
                tracing::warn!(
                    shard = self.id.get(),
                    sends = late,
                    "too few slaves have these messages in time: sends answered FLUSH_SLAVE_TIMEOUT"
                );
            }
        }
        self.slaves_watched.set(false);
    }

    /// Waits until as many slaves have the log up to `end` as SYNC_MASTER asks for. Says whether they had it in time.
    pub async fn on_slaves(&self, core: &Core, end: u64) -> bool {
        let Some((rule, slaves)) = self.slaves_to_wait_for(core) else {
            return true;
        };
        runtime::timeout(rule.timeout, self.followers.have(end, slaves))
            .await
            .is_ok()
    }

    /// Saves consumer offsets a moment after they have changed, for ever.
    pub async fn keep_consumer_offsets(self: Rc<Self>) {
        loop {
            self.offsets_changed.notified().await;
            // What changes together is saved together.
            runtime::sleep(OFFSETS_GATHER).await;
            if let Err(error) = self.append_consumer_offsets() {
                tracing::warn!(shard = self.id.get(), %error, "consumer offsets are not saved; trying again");
                runtime::sleep(OFFSETS_RETRY).await;
                self.offsets_changed.notify_one();
            }
        }
    }

    /// Saves the consumer offsets that have changed and waits until that lasts.
    ///
    /// # Errors
    /// When the log takes no records now; the offsets are saved later then.
    pub async fn save_consumer_offsets(&self) -> Result<(), Error> {
        if self.engine.follows() {
            // What consumers tell a slave holds in memory: it counts while the master is away.
            return Ok(());
        }
        let failed = |error: AppendError| Error::NotAvailable(format!("consumer offsets are not saved: {error}"));
        if let Some(batch) = self.append_consumer_offsets().map_err(failed)? {
            self.engine.committed(batch).await.map_err(failed)?;
            runtime::mark!("consumer offsets saved");
        }
        Ok(())
    }

    fn append_consumer_offsets(&self) -> Result<Option<BatchId>, AppendError> {
        let changes = self.consumer_offsets.borrow_mut().take_changes();
        let mut last = None;
        for (index, change) in changes.iter().enumerate() {
            let record = Meta::ConsumerOffsets(change.clone()).to_record();
            match self.engine.append_metadata(record.kind, &record.payload) {
                Ok(batch) => last = Some(batch),
                Err(error) => {
                    let mut offsets = self.consumer_offsets.borrow_mut();
                    for unsaved in changes.iter().skip(index) {
                        offsets.put_back(unsaved);
                    }
                    return Err(error);
                }
            }
        }
        Ok(last)
    }

    fn take_until(&self, batch: u64) -> Option<WaitingBatch> {
        self.waiting.borrow_mut().take_until(batch)
    }

    fn wake_held_pulls(&self, core: &Rc<Core>, arrival: &Arrival) {
        let queue = QueueKey {
            shard: self.id,
            slot: arrival.queue.index(),
        };
        if !core.held_pulls.borrow().waits_for(queue) {
            return;
        }
        let woken = core
            .held_pulls
            .borrow_mut()
            .take(queue, |pull| pull.wants(arrival.tag_hash));
        for pull in woken {
            pull::run_again(core, pull);
        }
    }

    /// Answers sends that wait for the disk longer than `syncFlushTimeout` with FLUSH_DISK_TIMEOUT: they are stored, but
    /// nobody knows yet whether durably. One task a shard, and only while sends wait.
    pub fn watch_waiting_sends(self: &Rc<Self>, core: &Rc<Core>) {
        if self.watched.replace(true) {
            return;
        }
        let (shard, core) = (Rc::clone(self), Rc::clone(core));
        runtime::spawn(async move {
            loop {
                let limit = core.settings().sync_flush_timeout;
                let Some(oldest) = shard.waiting.borrow().oldest() else {
                    break;
                };
                runtime::sleep_until(oldest + limit).await;
                shard.answer_overdue(&core, oldest);
            }
            shard.watched.set(false);
        });
    }

    fn answer_overdue(&self, core: &Rc<Core>, oldest: Instant) {
        let just_after = oldest + Duration::from_nanos(1);
        loop {
            let Some(batch) = self.waiting.borrow_mut().take_older_than(just_after) else {
                return;
            };
            tracing::warn!(
                shard = self.id.get(),
                sends = batch.sends().len(),
                "the disk is slow: sends are answered that nobody knows whether it has them"
            );
            // No slave can have what is not committed here; Apache tells the slave's status when both are late.
            let code = if self.slaves_to_wait_for(core).is_some() {
                ResponseCode::FLUSH_SLAVE_TIMEOUT
            } else {
                ResponseCode::FLUSH_DISK_TIMEOUT
            };
            answer(core, &batch, Ok(code));
        }
    }
}

/// Answers the sends of one batch: those of this core's connections at once, those of other cores in one message each.
fn answer(core: &Rc<Core>, batch: &WaitingBatch, outcome: Result<ResponseCode, &str>) {
    let settings = core.settings();
    let now = Instant::now();
    let mut elsewhere: BTreeMap<usize, (BytesMut, Vec<(Origin, usize)>)> = BTreeMap::new();
    for send in batch.sends() {
        core.stats.put_finished(now - send.accepted, outcome.is_ok());
        let write = |out: &mut BytesMut| write_answer(batch, send, outcome, &settings.send_reply, out);
        let origin = send.to.origin;
        if origin.core == core.index {
            core.answer(&origin, write, Vec::new());
        } else {
            let (frames, lengths) = elsewhere.entry(origin.core).or_default();
            let start = frames.len();
            write(frames);
            lengths.push((origin, frames.len() - start));
        }
    }
    for (other, (frames, lengths)) in elsewhere {
        core.send_replies(other, frames.freeze(), lengths);
    }
}

fn write_answer(
    batch: &WaitingBatch,
    send: &WaitingSend,
    outcome: Result<ResponseCode, &str>,
    fields: &SendReplyFields,
    out: &mut BytesMut,
) {
    match outcome {
        Ok(code) => batch.write(send, code, fields, out),
        Err(remark) => send.write_failure(remark, out),
    }
}
