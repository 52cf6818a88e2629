//! CONSUMER_SEND_MSG_BACK: a consumer could not handle a message and wants it again later.
//!
//! The message is read at its physical offset, so this runs on the core of that shard; the retry goes through the delay
//! level's queue to the group's retry topic, or, after the last try, to its dead letter queue.

use crate::core::Core;
use crate::delayed_messages;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use crate::storing::OwnedMessage;
use protocol::header::Header;
use protocol::header::send::SendBackRequest;
use protocol::message::id::OffsetMessageId;
use protocol::message::properties::names;
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, QueueId, names as topics};
use protocol::response_code::ResponseCode;
use protocol::version::Version;
use std::rc::Rc;

/// Level of the first retry when the consumer leaves it to the broker: 10 s.
const FIRST_RETRY_LEVEL: i32 = 3;

/// Stores the message again for later.
pub async fn send_back(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = SendBackRequest::decode(request.frame.ext())?;
    let group = core.subscription_group(&header.group)?;
    if !core.settings().writable() {
        return Err(Error::NoPermission(format!(
            "the broker[{}] is not writable",
            core.settings().store_host.ip()
        )));
    }
    if group.retry_queues == 0 {
        return Ok(Answer::done());
    }
    let mut message = read_message(&core, &header).await?;
    let retries = message.reconsume_times;
    let max_retries = match header.max_reconsume_times {
        Some(max) if request.frame.version() >= Version::V3_4_9 => max,
        _ => group.retry_max_times,
    };
    if message.property(names::RETRY_TOPIC).is_none() {
        let topic = message.topic.clone();
        message.set_property(names::RETRY_TOPIC, &topic);
    }
    message.reconsume_times = retries.saturating_add(1);
    if retries >= max_retries || header.delay_level < 0 {
        let message = dead_letter(&core, &header.group, message).await?;
        store(&core, message).await?;
    } else {
        let level = match header.delay_level {
            0 => FIRST_RETRY_LEVEL.saturating_add(retries),
            asked => asked,
        };
        to_retry_topic(&core, &header.group, group.retry_queues, message, level).await?;
    }
    core.stats
        .sent_back(header.origin_topic.as_deref().unwrap_or_default(), &header.group);
    Ok(Answer::done())
}

async fn read_message(core: &Rc<Core>, header: &SendBackRequest) -> Result<OwnedMessage, Error> {
    let place = PhysicalOffset::from_wire(header.offset)
        .ok_or_else(|| Error::InvalidParameter(format!("offset {} is no place in the commitlog", header.offset)))?;
    let shard = core.shard(place.shard()).cloned();
    let shard = shard.ok_or_else(|| Error::System(format!("look message by offset failed, {}", header.offset)))?;
    let record = shard
        .engine
        .record_at(place)
        .await
        .map_err(|error| Error::store("reading the message", &error))?;
    let record = record.ok_or_else(|| Error::System(format!("look message by offset failed, {}", header.offset)))?;
    let view = RecordView::decode(&record).map_err(|error| Error::store("reading the message", &error))?;
    let mut message = OwnedMessage::of_record(&view);
    if view.property(names::ORIGIN_MESSAGE_ID).is_none() {
        let id = OffsetMessageId {
            store_host: view.store_host,
            physical_offset: place,
        }
        .to_string();
        message.set_property(names::ORIGIN_MESSAGE_ID, &id);
    }
    Ok(message)
}

async fn to_retry_topic(
    core: &Rc<Core>,
    group: &str,
    queues: u32,
    mut message: OwnedMessage,
    level: i32,
) -> Result<(), Error> {
    message.topic = topics::retry_topic(group);
    core.ensure_topic(&message.topic, queues).await?;
    let chosen = u32::try_from(runtime::rng::random_below(u64::from(queues))).unwrap_or(0);
    message.queue_id = QueueId::new(chosen).unwrap_or(QueueId::ZERO);
    message.set_property(names::DELAY, &core.settings().delay_levels.clamp(level).to_string());
    delayed_messages::delay(&core.settings(), &mut message, level);
    store(core, message).await
}

/// Stores a message that was given back. Apache's broker refuses one that it has stored and slaves are late with; the consumer gives
/// it back in another way then.
async fn store(core: &Core, message: OwnedMessage) -> Result<(), Error> {
    match core.store(message).await? {
        (_stored, ResponseCode::SUCCESS) => Ok(()),
        (_stored, _late) => Err(Error::System("FLUSH_SLAVE_TIMEOUT".to_owned())),
    }
}

/// Turns a message into one for the dead letter queue of a group, whose topic is made: nobody consumes it unless an
/// operator does.
///
/// # Errors
/// When the topic cannot be made.
pub async fn dead_letter(core: &Rc<Core>, group: &str, mut message: OwnedMessage) -> Result<OwnedMessage, Error> {
    let origin = message
        .property(names::RETRY_TOPIC)
        .unwrap_or(&message.topic)
        .to_owned();
    core.stats.dead_lettered(&origin, group);
    message.set_property(names::DLQ_ORIGIN_TOPIC, &origin);
    if let Some(id) = message.property(names::ORIGIN_MESSAGE_ID).map(str::to_owned) {
        message.set_property(names::DLQ_ORIGIN_MESSAGE_ID, &id);
    }
    message.properties = protocol::message::properties::without(&message.properties, &[names::DELAY]);
    message.topic = topics::dlq_topic(group);
    message.queue_id = QueueId::ZERO;
    core.ensure_topic(&message.topic, 1).await?;
    Ok(message)
}
