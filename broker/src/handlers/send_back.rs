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
    if !is_meant(header.origin_msg_id.as_deref(), &view, place) {
        return Err(Error::System(format!(
            "look message by offset failed, {}: another message lies there",
            header.offset
        )));
    }
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

/// Whether a consumer means this record: it names it by its unique id, or by the place. One that pulled a message from the broker whose place this
/// one has taken names a place in the log of that broker, where another message may lie here; refused, Java's client sends its own to the
/// retry topic itself.
fn is_meant(origin_msg_id: Option<&str>, view: &RecordView<'_>, place: PhysicalOffset) -> bool {
    let Some(id) = origin_msg_id.filter(|id| !id.is_empty()) else {
        return true;
    };
    let names_place = OffsetMessageId::decode(id).map(|decoded| decoded.physical_offset == place);
    match view.property(names::UNIQ_KEY) {
        Some(unique) => id == unique || names_place == Ok(true),
        None => names_place != Ok(false),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use protocol::message::record::RecordFields;
    use protocol::model::QueueOffset;

    fn is_meant_by(id: Option<&str>, properties: &str) -> bool {
        let place = PhysicalOffset::from_wire(0x70).expect("it is positive");
        let fields = RecordFields {
            queue_id: QueueId::ZERO,
            flag: 0,
            queue_offset: QueueOffset(0),
            physical_offset: place,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: "10.0.0.1:1".parse().unwrap(),
            store_timestamp: 0,
            store_host: "10.0.0.2:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"",
            topic: "t",
            properties,
        };
        let mut out = BytesMut::new();
        fields.encode(&mut out).unwrap();
        is_meant(id, &RecordView::decode(&out).unwrap(), place)
    }

    #[test]
    fn a_message_is_given_back_by_its_unique_id_or_its_place_and_not_for_another() {
        let unique = "UNIQ_KEY\u{1}0A000001000118B4AAC20000000000AA\u{2}";
        let here = "0A000003000000090000000000000070";
        let elsewhere = "0A000003000000090000000000000071";
        for id in [None, Some(""), Some("0A000001000118B4AAC20000000000AA"), Some(here)] {
            assert!(is_meant_by(id, unique), "{id:?}");
        }
        for id in ["0A000001000118B4AAC20000000000AB", elsewhere, "key"] {
            assert!(!is_meant_by(Some(id), unique), "{id}");
        }
        assert!(is_meant_by(Some(here), "") && is_meant_by(Some("key"), ""));
        assert!(!is_meant_by(Some(elsewhere), ""));
    }
}
