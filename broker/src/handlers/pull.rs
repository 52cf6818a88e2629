//! Pulling: PULL_MESSAGE and LITE_PULL_MESSAGE, with long polling.
//!
//! Runs on the home core of the queue. What lies in the tail cache is answered in the same turn; colder messages are read
//! by a task. A pull that finds nothing new and may wait is held ([`crate::held_pulls`]) until a message arrives that
//! passes its filter, or its time is up.

use crate::core::Core;
use crate::error::Error;
use crate::held_pulls::QueueKey;
use crate::replicas::{Subscription, SubscriptionGroup, Topic};
use crate::request::Request;
use crate::settings::Settings;
use crate::shard::CoreShard;
use engine::{ReadError, ReadRequest, ReadResult, ReadStatus};
use protocol::header::pull::{PullHeader, pull_flag};
use protocol::model::{QueueId, QueueOffset};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use runtime::Instant;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Why a pull was refused with NO_PERMISSION: clients read it from `forbiddenType`.
#[derive(Clone, Copy, Debug)]
enum Forbidden {
    Broker = 1,
    Group = 2,
    Topic = 3,
    Broadcast = 4,
    Subscription = 5,
}

/// brokerId of every master.
const MASTER_ID: i64 = 0;

/// Messages asked for at most, whatever the client says: RocketMQ's clients allow 1 to 1024.
const MESSAGES_MAX: usize = 1024;

/// Pulls that one core holds at most, so that nobody fills its memory with pulls. A client that is refused one waits a few seconds
/// and tries again.
pub const HELD_PULLS_MAX: usize = 65_536;

/// A pull that waits.
#[derive(Debug)]
pub struct HeldPull {
    request: Request,
    subscription: Arc<Subscription>,
}

impl HeldPull {
    /// Whether a message with this tag hash may pass its filter.
    #[must_use]
    pub fn wants(&self, tag_hash: i64) -> bool {
        self.subscription.passes(tag_hash)
    }
}

/// A pull that was let in.
struct Accepted {
    request: Request,
    shard: Rc<CoreShard>,
    read: ReadRequest,
    topic: Arc<Topic>,
    group: Arc<SubscriptionGroup>,
    subscription: Arc<Subscription>,
    /// How long it may be held; `None` if it may not, or was already.
    hold: Option<Duration>,
}

impl Accepted {
    /// The broker of the group that the client is to pull from next. RocketMQ's rule: a consumer that is further behind than the master has
    /// memory for goes to a slave, if slaveReadEnable allows that; a slave sends one that is not back to its master, while it is there.
    fn suggested_broker(&self, settings: &Settings, result: &ReadResult) -> i64 {
        let slow = result.count > 0 && result.behind > self.shard.in_memory_distance;
        if settings.is_slave() && !slow && self.shard.copying.connected.get() {
            return MASTER_ID;
        }
        match (settings.config.slave_read_enable, slow) {
            (true, true) => self.group.slow_broker_id,
            (true, false) => self.group.broker_id,
            (false, _) => MASTER_ID,
        }
    }

    /// What a pull is answered that has met messages which cannot be read any more: go on behind them, at once. It is the answer to
    /// messages that were deleted while they were read; one that says "offset moved" makes Java's push consumer drop the queue
    /// and pause for ten seconds.
    fn behind_damage(&self, error: &ReadError) -> Option<ReadResult> {
        let queue = self.read.queue;
        let next = self.shard.behind_damage(queue, self.read.from, error)?;
        let (min, max) = self.shard.engine.bounds(queue);
        Some(ReadResult {
            status: ReadStatus::MessageWasRemoving,
            next,
            min,
            max,
            records: Vec::new(),
            count: 0,
            size: 0,
            behind: 0,
        })
    }
}

/// Serves a pull that has just come.
pub fn pull(core: &Rc<Core>, request: Request) {
    run(core, request, true);
}

/// Serves a pull that was held: a message came.
pub fn run_again(core: &Rc<Core>, held: HeldPull) {
    run(core, held.request, false);
}

/// Answers held pulls when their time is up. One task a core; it sleeps until the first deadline.
pub async fn expire_held_pulls(core: Rc<Core>) {
    loop {
        let first = core.held_pulls.borrow().first_deadline();
        let changed = core.held_pulls_changed.notified();
        match first {
            None => changed.await,
            Some(deadline) => {
                runtime::sync::race(changed, runtime::sleep_until(deadline)).await;
            }
        }
        let expired = core.held_pulls.borrow_mut().expire(Instant::now());
        for held in expired {
            run_again(&core, held);
        }
    }
}

fn run(core: &Rc<Core>, request: Request, first_time: bool) {
    let to = request.reply_to();
    match accept(core, request, first_time) {
        Ok(accepted) => serve(core, accepted),
        Err(Refused::Forbidden(why, remark)) => core.reply(
            &to,
            ResponseCode::NO_PERMISSION,
            |header| {
                header.set_remark(&remark);
                header.put_i64("forbiddenType", why as i64);
            },
            Vec::new(),
        ),
        Err(Refused::Reset(target)) => core.reply(
            &to,
            ResponseCode::PULL_OFFSET_MOVED,
            |header| {
                header.put_i64("suggestWhichBrokerId", 0);
                for name in ["nextBeginOffset", "minOffset", "maxOffset"] {
                    header.put_i64(name, target);
                }
                header.set_remark("OFFSET_RESET");
            },
            Vec::new(),
        ),
        Err(Refused::Error(error)) => crate::dispatch::refuse(core, &to, &error),
    }
}

enum Refused {
    Forbidden(Forbidden, String),
    /// An operator has set the group back: the client is told to go on from here.
    Reset(i64),
    Error(Error),
}

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Refused::Error(error.into())
    }
}

/// Checks a pull in the order in which Apache's broker does, so that clients see the same first reason.
fn accept(core: &Rc<Core>, request: Request, first_time: bool) -> Result<Accepted, Refused> {
    let settings = core.settings();
    let header = PullHeader::decode(request.frame.ext())?;
    if !settings.readable() {
        let remark = format!("the broker[{}] pulling message is forbidden", settings.store_host.ip());
        return Err(Refused::Forbidden(Forbidden::Broker, remark));
    }
    if request.code() == RequestCode::LITE_PULL_MESSAGE && !settings.config.lite_pull_message_enable {
        let remark = "lite pull is switched off here: litePullMessageEnable=false".to_owned();
        return Err(Refused::Forbidden(Forbidden::Broker, remark));
    }
    let group = core.subscription_group(&header.consumer_group)?;
    if !group.consume_enable {
        let remark = format!("subscription group no permission, {}", header.consumer_group);
        return Err(Refused::Forbidden(Forbidden::Group, remark));
    }
    let topic = core
        .replicas
        .borrow()
        .topic(&header.topic)
        .ok_or_else(|| Error::TopicNotExist(header.topic.to_string()))?;
    if !topic.readable() {
        let remark = format!("the topic[{}] pulling message is forbidden", header.topic);
        return Err(Refused::Forbidden(Forbidden::Topic, remark));
    }
    let queue_id = QueueId::from_wire(header.queue_id).filter(|queue_id| queue_id.get() < topic.read_queues);
    let queue_id = queue_id.ok_or_else(|| {
        Error::InvalidParameter(format!(
            "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
            header.queue_id, header.topic, topic.read_queues, request.origin.peer
        ))
    })?;
    let subscription = subscription_of(core, &header, &group)?;
    let home = core.map.home(&header.topic, queue_id);
    let shard = core
        .shard(home)
        .cloned()
        .ok_or_else(|| Error::System(format!("shard {} is not here", home.get())))?;
    if first_time && header.sys_flag & pull_flag::COMMIT_OFFSET != 0 && header.commit_offset >= 0 {
        core.commit_consumer_offset(
            &shard,
            &header.consumer_group,
            &header.topic,
            queue_id,
            header.commit_offset,
        );
    }
    let may_hold = first_time && header.sys_flag & pull_flag::SUSPEND != 0;
    let hold = may_hold.then(|| {
        if settings.config.long_polling_enable {
            Duration::from_millis(u64::try_from(header.suspend_timeout_millis).unwrap_or(0))
        } else {
            settings.short_polling_time
        }
    });
    let read = ReadRequest {
        queue: shard
            .engine
            .queue(&header.topic, queue_id.get())
            .map_err(|error| Error::store("opening the queue", &error))?,
        from: QueueOffset(header.queue_offset),
        max_messages: usize::try_from(header.max_msg_nums).unwrap_or(0).clamp(1, MESSAGES_MAX),
        max_bytes: header
            .max_msg_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|&bytes| bytes > 0),
        filter: subscription.hashes(),
    };
    let reset = shard
        .consumer_offsets
        .borrow_mut()
        .take_reset(&header.topic, &header.consumer_group, queue_id);
    if let Some(target) = reset {
        return Err(Refused::Reset(target));
    }
    drop(header);
    Ok(Accepted {
        request,
        shard,
        read,
        topic,
        group,
        subscription,
        hold,
    })
}

/// The filter of a pull: its own if it carries one, else the one its group registered by heartbeat.
fn subscription_of(
    core: &Core,
    header: &PullHeader<'_>,
    group: &SubscriptionGroup,
) -> Result<Arc<Subscription>, Refused> {
    if header.sys_flag & pull_flag::SUBSCRIPTION != 0 {
        let expression = header
            .subscription
            .as_ref()
            .map(|text| text.to_cow())
            .unwrap_or_default();
        let kind = header.expression_type.as_deref().unwrap_or("TAG");
        return Subscription::parse(&header.topic, &expression, kind)
            .map(Arc::new)
            .map_err(Refused::from);
    }
    let replicas = core.replicas.borrow();
    let Some(registered) = replicas.subscriptions(&header.consumer_group) else {
        return Err(Error::SubscriptionNotExist(header.consumer_group.to_string()).into());
    };
    if !group.consume_broadcast_enable && registered.broadcasting {
        let remark = format!(
            "the consumer group[{}] can not consume by broadcast way",
            header.consumer_group
        );
        return Err(Refused::Forbidden(Forbidden::Broadcast, remark));
    }
    if replicas.forbidden(&header.consumer_group, &header.topic) {
        let remark = format!(
            "the consumer group[{}] is forbidden for topic[{}]",
            header.consumer_group, header.topic
        );
        return Err(Refused::Forbidden(Forbidden::Subscription, remark));
    }
    let Some(subscription) = registered.topics.get(&*header.topic) else {
        return Err(Error::SubscriptionNotExist(header.consumer_group.to_string()).into());
    };
    if subscription.version < header.sub_version {
        return Err(Error::SubscriptionNotLatest(header.consumer_group.to_string()).into());
    }
    Ok(Arc::clone(subscription))
}

fn serve(core: &Rc<Core>, accepted: Accepted) {
    if let Some(result) = accepted.shard.engine.read_hot(&accepted.read) {
        return answer(core, accepted, result);
    }
    let core = Rc::clone(core);
    runtime::spawn(async move {
        match accepted.shard.engine.read(&accepted.read).await {
            Ok(result) => answer(&core, accepted, result),
            Err(error) => match accepted.behind_damage(&error) {
                Some(result) => answer(&core, accepted, result),
                None => {
                    let error = Error::store("reading messages", &error);
                    crate::dispatch::refuse(&core, &accepted.request.reply_to(), &error);
                }
            },
        }
    });
}

fn answer(core: &Rc<Core>, accepted: Accepted, mut result: ReadResult) {
    let settings = core.settings();
    let mut code = response_code(result.status, accepted.read.from);
    if code == ResponseCode::PULL_OFFSET_MOVED && settings.is_slave() {
        // What this slave lacks its master may have: an offset is not corrected by what is here. The pull waits until the slave has it, or
        // goes to the master, if it is there.
        result.next = accepted.read.from;
        code = if accepted.shard.copying.connected.get() {
            ResponseCode::PULL_RETRY_IMMEDIATELY
        } else {
            ResponseCode::PULL_NOT_FOUND
        };
    }
    if code == ResponseCode::PULL_NOT_FOUND
        && let Some(time) = accepted.hold
    {
        return hold(core, accepted, time);
    }
    core.stats
        .got(&accepted.topic.name, &accepted.group.name, result.count, result.size);
    let suggested = accepted.suggested_broker(&settings, &result);
    let fill = |header: &mut protocol::header_writer::HeaderWriter<'_>| {
        header.put_i64("suggestWhichBrokerId", suggested);
        header.put_i64("nextBeginOffset", result.next.0);
        header.put_i64("minOffset", result.min.0);
        header.put_i64("maxOffset", result.max.0);
        header.put_i64("topicSysFlag", i64::from(accepted.topic.sys_flag));
        header.put_i64("groupSysFlag", i64::from(accepted.group.sys_flag));
        if code != ResponseCode::SUCCESS {
            header.set_remark(remark(result.status));
        }
    };
    core.reply(&accepted.request.reply_to(), code, fill, result.records);
}

fn hold(core: &Rc<Core>, accepted: Accepted, time: Duration) {
    let (_min, max) = accepted.shard.engine.bounds(accepted.read.queue);
    if max > accepted.read.from {
        // A message came while this pull was read from the disk.
        return run(core, accepted.request, false);
    }
    if core.held_pulls.borrow().len() >= HELD_PULLS_MAX {
        let remark = format!(
            "[OVERLOAD]system busy, start flow control for a while: core {} holds {HELD_PULLS_MAX} pulls",
            core.index
        );
        return core.refuse(&accepted.request.reply_to(), ResponseCode::SYSTEM_BUSY, &remark);
    }
    let queue = QueueKey {
        shard: accepted.shard.id,
        slot: accepted.read.queue.index(),
    };
    let held = HeldPull {
        request: accepted.request,
        subscription: accepted.subscription,
    };
    let is_first = core.held_pulls.borrow_mut().hold(queue, Instant::now() + time, held);
    if is_first {
        core.held_pulls_changed.notify_one();
    }
}

/// RocketMQ's answer to each outcome of a read.
fn response_code(status: ReadStatus, from: QueueOffset) -> ResponseCode {
    match status {
        ReadStatus::Found => ResponseCode::SUCCESS,
        ReadStatus::NoMatchedMessage | ReadStatus::MessageWasRemoving => ResponseCode::PULL_RETRY_IMMEDIATELY,
        ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue if from.0 != 0 => {
            ResponseCode::PULL_OFFSET_MOVED
        }
        ReadStatus::NoMatchedLogicQueue
        | ReadStatus::NoMessageInQueue
        | ReadStatus::OffsetOverflowOne
        | ReadStatus::OffsetFoundNull => ResponseCode::PULL_NOT_FOUND,
        ReadStatus::OffsetOverflowBadly | ReadStatus::OffsetTooSmall => ResponseCode::PULL_OFFSET_MOVED,
    }
}

/// What Apache's broker writes into the remark: the name of its status.
fn remark(status: ReadStatus) -> &'static str {
    match status {
        ReadStatus::Found => "FOUND",
        ReadStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
        ReadStatus::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
        ReadStatus::NoMatchedLogicQueue => "NO_MATCHED_LOGIC_QUEUE",
        ReadStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
        ReadStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
        ReadStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
        ReadStatus::OffsetFoundNull => "OFFSET_FOUND_NULL",
        ReadStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
    }
}
