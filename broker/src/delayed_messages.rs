//! Delay levels: messages that wait in `SCHEDULE_TOPIC_XXXX` until they are due, one queue a level.
//!
//! A delayed message is stored with `REAL_TOPIC` and `REAL_QID`, and its consume queue entry carries, in place of the tag
//! hash, the time at which it is due. All messages of a level wait equally long, so its queue is in the order of delivery:
//! one task a level looks at the next message, sleeps until it is due, and stores it again where it belongs.
//!
//! Delivered records still carry DELAY, REAL_TOPIC and REAL_QID, as RocketMQ's do. How far a level is lasts as a metadata
//! record in the shard of the level's queue, written after the delivery has been committed: a crash in between delivers
//! again, never not at all.

use crate::core::Core;
use crate::meta::{DelayProgress, Meta};
use crate::settings::Settings;
use crate::shard::CoreShard;
use crate::storing::OwnedMessage;
use engine::Entry;
use protocol::message::properties::names;
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, QueueId, QueueOffset, ShardId, names as topics};
use runtime::sync::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Messages of a level that are stored again at the same time.
const DELIVERED_AT_ONCE: usize = 64;
/// After a failure (the disk is full, the target's core is busy) a level waits this long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Longest sleep: the wall clock may be set forward meanwhile, and a message must not be late by as much.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// The levels whose queues are at home in one shard.
#[derive(Debug, Default)]
pub struct DelayedMessages {
    /// Next queue offset to deliver, by level.
    progress: RefCell<BTreeMap<i32, i64>>,
    /// Rung when a message comes to a level, by the engine's handle of its queue.
    wakers: RefCell<BTreeMap<usize, Rc<Notify>>>,
}

impl DelayedMessages {
    /// Takes over what a metadata record says; records come in order.
    pub fn apply(&self, levels: &[DelayProgress]) {
        let mut progress = self.progress.borrow_mut();
        for level in levels {
            progress.insert(level.delay_level, level.queue_offset);
        }
    }

    /// How far every level is, for a snapshot and for the export.
    #[must_use]
    pub fn progress(&self) -> Vec<DelayProgress> {
        let progress = self.progress.borrow();
        progress
            .iter()
            .map(|(&delay_level, &queue_offset)| DelayProgress {
                delay_level,
                queue_offset,
            })
            .collect()
    }

    /// A message has arrived in a queue of this shard.
    pub fn arrived(&self, queue: usize) {
        if let Some(waker) = self.wakers.borrow().get(&queue) {
            waker.notify_one();
        }
    }
}

/// The number of a level's queue.
fn queue_of(level: i32) -> QueueId {
    QueueId::from_wire(level.saturating_sub(1)).unwrap_or(QueueId::ZERO)
}

/// Turns a message into one that waits at a level until it goes to the topic and queue it now has.
pub fn delay(settings: &Settings, message: &mut OwnedMessage, level: i32) {
    let level = settings.delay_levels.clamp(level);
    let (topic, queue_id) = (std::mem::take(&mut message.topic), message.queue_id);
    message.set_property(names::REAL_TOPIC, &topic);
    message.set_property(names::REAL_QID, &queue_id.get().to_string());
    topics::SCHEDULE_TOPIC.clone_into(&mut message.topic);
    message.queue_id = queue_of(level);
    let delay_ms = i64::try_from(settings.delay_levels.delay(level).as_millis()).unwrap_or(i64::MAX);
    message.tag_hash = runtime::wall_clock_ms().saturating_add(delay_ms);
}

/// What stands in place of the tag hash for a record of the log, when consume queues are made again: for a delayed message
/// the time at which it is due.
#[must_use]
pub fn tag_hash_of(settings: &Settings, record: &RecordView<'_>) -> i64 {
    let due_ms = settings.delay_levels.due_ms(record);
    due_ms.unwrap_or_else(|| engine::tag_hash_of(record))
}

/// Level, next queue offset to deliver and end of the queue, of every level whose queue is on this core.
#[must_use]
pub fn figures(core: &Core) -> Vec<(i32, i64, i64)> {
    let mut figures = Vec::new();
    for level in 1..=core.settings().delay_levels.count() {
        let Some(shard) = core.shard(core.map.home(topics::SCHEDULE_TOPIC, queue_of(level))) else {
            continue;
        };
        let Some(queue) = shard.engine.find_queue(topics::SCHEDULE_TOPIC, queue_of(level).get()) else {
            continue;
        };
        let progress = shard.delayed.progress.borrow().get(&level).copied().unwrap_or(0);
        figures.push((level, progress, shard.engine.bounds(queue).1.0));
    }
    figures
}

/// Another broker has delivered so far, level by level: those messages are not delivered here again. Levels only move forward, and no further
/// than the messages that are here.
pub async fn advance_everywhere(core: &Core, levels: BTreeMap<i32, i64>) {
    let advance = move |core: Rc<Core>| {
        let levels = levels.clone();
        async move {
            for (level, delivered, end) in figures(&core) {
                let told = levels.get(&level).copied().unwrap_or(0).min(end);
                let home = core.map.home(topics::SCHEDULE_TOPIC, queue_of(level));
                if let Some(shard) = core.shard(home).filter(|_shard| told > delivered) {
                    save(shard, level, QueueOffset(told));
                }
            }
        }
    };
    core.ask_all(advance).await;
}

/// Starts the delivery of every level whose queue is at home in one of this core's shards.
pub fn start(core: &Rc<Core>) {
    for level in 1..=core.settings().delay_levels.count() {
        let home: ShardId = core.map.home(topics::SCHEDULE_TOPIC, queue_of(level));
        if let Some(shard) = core.shard(home) {
            runtime::spawn(deliver_level(Rc::clone(core), Rc::clone(shard), level));
        }
    }
}

/// Delivers the messages of one level, for ever.
async fn deliver_level(core: Rc<Core>, shard: Rc<CoreShard>, level: i32) {
    let queue = match shard.engine.queue(topics::SCHEDULE_TOPIC, queue_of(level).get()) {
        Ok(queue) => queue,
        Err(error) => {
            tracing::error!(level, %error, "messages of this delay level are not delivered");
            return;
        }
    };
    let waker = Rc::new(Notify::new());
    shard
        .delayed
        .wakers
        .borrow_mut()
        .insert(queue.index(), Rc::clone(&waker));
    let saved = shard.delayed.progress.borrow().get(&level).copied().unwrap_or(0);
    let next = Cell::new(QueueOffset(saved));
    loop {
        let arrived = waker.notified();
        // Retention may have taken what was to be delivered: a disk that is full forces it.
        let (min, _max) = shard.engine.bounds(queue);
        next.set(next.get().max(min));
        match due_entries(&shard, queue, next.get()).await {
            Ok(Due::Now(entries)) => {
                if !deliver(&core, &shard, level, &entries, &next).await {
                    runtime::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
            Ok(Due::Later(delay)) => runtime::sleep(delay.min(SLEEP_MAX)).await,
            Ok(Due::Empty) => arrived.await,
            Err(error) => {
                if let Some(behind) = shard.behind_damage(queue, next.get(), &error) {
                    next.set(behind);
                    save(&shard, level, behind);
                    continue;
                }
                tracing::error!(level, queue_offset = next.get().0, %error, "cannot read delayed messages");
                runtime::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

enum Due {
    /// These, in order.
    Now(Vec<Entry>),
    /// The next one is due after this time.
    Later(Duration),
    /// None waits.
    Empty,
}

async fn due_entries(shard: &CoreShard, queue: engine::QueueSlot, next: QueueOffset) -> Result<Due, engine::ReadError> {
    let entries = shard.engine.entries(queue, next, DELIVERED_AT_ONCE).await?;
    let now = runtime::wall_clock_ms();
    let Some(first) = entries.first() else {
        return Ok(Due::Empty);
    };
    if first.tag_hash > now {
        let wait_ms = u64::try_from(first.tag_hash.saturating_sub(now)).unwrap_or(0);
        return Ok(Due::Later(Duration::from_millis(wait_ms)));
    }
    Ok(Due::Now(
        entries.into_iter().take_while(|entry| entry.tag_hash <= now).collect(),
    ))
}

/// Stores due messages where they belong, in the order in which they were delayed; false if it has to be tried again.
async fn deliver(
    core: &Rc<Core>,
    shard: &Rc<CoreShard>,
    level: i32,
    entries: &[Entry],
    next: &Cell<QueueOffset>,
) -> bool {
    let reads: Vec<_> = entries
        .iter()
        .map(|entry| runtime::spawn(read(Rc::clone(shard), level, *entry)))
        .collect();
    // By home core, each with its number among the entries: there they are stored one behind the other.
    let mut by_home: BTreeMap<usize, (Vec<usize>, Vec<OwnedMessage>)> = BTreeMap::new();
    for (number, reading) in reads.into_iter().enumerate() {
        if let Some(message) = reading.await.flatten() {
            let home = core.map.core_of(core.map.home(&message.topic, message.queue_id));
            let (numbers, messages) = by_home.entry(home).or_default();
            numbers.push(number);
            messages.push(message);
        }
    }
    let stores: Vec<_> = by_home
        .into_iter()
        .map(|(home, (numbers, messages))| {
            let core = Rc::clone(core);
            runtime::spawn(async move { (numbers, core.store_in_order(home, messages).await) })
        })
        .collect();
    // A message that went through behind one that did not is delivered again, so that none is left out.
    let mut delivered = entries.len();
    for stored in stores {
        let Some((numbers, outcomes)) = stored.await else {
            return false;
        };
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            if let Err(error) = outcome {
                tracing::warn!(level, %error, "a delayed message could not be delivered; trying again");
                delivered = delivered.min(number);
            }
        }
    }
    if delivered > 0 {
        next.set(QueueOffset(next.get().0.saturating_add_unsigned(delivered as u64)));
        save(shard, level, next.get());
    }
    delivered == entries.len()
}

/// A due message as it is to be stored; `None` if there is none at that place: waiting would not bring it back.
async fn read(shard: Rc<CoreShard>, level: i32, entry: Entry) -> Option<OwnedMessage> {
    let place = PhysicalOffset::new(shard.id, entry.position);
    let record = match shard.engine.record_at(place).await {
        // Without a record retention has deleted it, or it is damaged and was reported.
        Ok(record) => record?,
        Err(error) => {
            tracing::error!(level, %place, %error, "a delayed message cannot be read and is left out");
            return None;
        }
    };
    let mut message = OwnedMessage::of_record(&RecordView::decode(&record).ok()?);
    let queue_id = message
        .property(names::REAL_QID)
        .and_then(|queue_id| queue_id.parse().ok())
        .and_then(QueueId::new);
    let (Some(topic), Some(queue_id)) = (message.property(names::REAL_TOPIC).map(str::to_owned), queue_id) else {
        tracing::error!(level, %place, "a delayed message does not say where it belongs and is left out");
        return None;
    };
    (message.topic, message.queue_id) = (topic, queue_id);
    Some(message)
}

fn save(shard: &CoreShard, level: i32, next: QueueOffset) {
    let progress = DelayProgress {
        delay_level: level,
        queue_offset: next.0,
    };
    shard.delayed.apply(&[progress]);
    let mut payload = Vec::new();
    let kind = Meta::DelayProgress(vec![progress]).encode(&mut payload);
    if let Err(error) = shard.engine.append_metadata(kind, &payload) {
        // The next delivery says it again; a crash before that delivers once more.
        tracing::warn!(level, %error, "cannot save how far delayed messages are");
    }
}
