//! A shard as its core sees it: the engine's storage, the sends that wait for it, and what belongs to its queues.

use crate::consumer_offsets::ConsumerOffsets;
use crate::core::Core;
use crate::delayed_messages::DelayedMessages;
use crate::handlers::pull;
use crate::held_pulls::QueueKey;
use crate::replies::{SendReplyFields, WaitingBatch, WaitingSend, WaitingSends};
use crate::request::Origin;
use bytes::BytesMut;
use engine::{Arrival, Commit};
use protocol::model::ShardId;
use protocol::response_code::ResponseCode;
use runtime::Instant;
use runtime::sync::Notify;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

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
    /// Rung when consumer offsets have changed.
    pub offsets_changed: Notify,
    /// A task looks for sends that have waited too long.
    watched: std::cell::Cell<bool>,
}

impl CoreShard {
    /// A shard that has been opened.
    #[must_use]
    pub fn new(id: ShardId, engine: engine::Shard) -> Rc<CoreShard> {
        Rc::new(CoreShard {
            id,
            engine,
            waiting: RefCell::default(),
            consumer_offsets: RefCell::default(),
            delayed: DelayedMessages::default(),
            offsets_changed: Notify::new(),
            watched: std::cell::Cell::new(false),
        })
    }

    /// A group commit has ended: its sends are answered and its messages can be read.
    pub fn on_commit(&self, core: &Rc<Core>, commit: &Commit<'_>) {
        let outcome = match commit.result {
            Ok(()) => Ok(ResponseCode::SUCCESS),
            Err(error) => Err(format!("the message was not stored: {error}")),
        };
        while let Some(batch) = self.take_until(commit.batch.0) {
            answer(core, &batch, outcome.as_ref().copied().map_err(String::as_str));
            self.waiting.borrow_mut().recycle(batch);
        }
        for arrival in commit.arrivals {
            self.delayed.arrived(arrival.queue.0);
            self.wake_held_pulls(core, arrival);
        }
    }

    fn take_until(&self, batch: u64) -> Option<WaitingBatch> {
        self.waiting.borrow_mut().take_until(batch)
    }

    fn wake_held_pulls(&self, core: &Rc<Core>, arrival: &Arrival) {
        let queue = QueueKey { shard: self.id, slot: arrival.queue.0 };
        if !core.held_pulls.borrow().waits_for(queue) {
            return;
        }
        let woken = core.held_pulls.borrow_mut().take(queue, |pull| pull.wants(arrival.tag_hash));
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
                let Some(oldest) = shard.waiting.borrow().oldest() else { break };
                runtime::sleep_until(oldest + limit).await;
                shard.answer_overdue(&core, oldest);
            }
            shard.watched.set(false);
        });
    }

    fn answer_overdue(&self, core: &Rc<Core>, oldest: Instant) {
        let just_after = oldest + std::time::Duration::from_nanos(1);
        loop {
            let Some(batch) = self.waiting.borrow_mut().take_older_than(just_after) else { return };
            tracing::warn!(shard = self.id.get(), sends = batch.sends().len(), "the disk is slow: sends answered FLUSH_DISK_TIMEOUT");
            answer(core, &batch, Ok(ResponseCode::FLUSH_DISK_TIMEOUT));
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
