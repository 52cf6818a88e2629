//! Sending: SEND_MESSAGE (V1 and V2), SEND_BATCH_MESSAGE, oneway.
//!
//! Runs on the home core of the queue. Nothing here waits: the record is encoded into the shard's tail block at once, and
//! the answer follows when its group commit has ended ([`crate::shard::CoreShard::on_commit`]).

use crate::core::Core;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::replicas::Topic;
use crate::request::{ReplyTo, Request};
use crate::shard::CoreShard;
use engine::{AppendError, Appended, NewMessage};
use protocol::header::send::SendHeader;
use protocol::message::batch::BatchItems;
use protocol::message::id::OffsetMessageId;
use protocol::message::properties::{self, names};
use protocol::model::{QueueId, names as topics};
use runtime::Instant;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Longest properties that a record can hold, in bytes.
const PROPERTIES_MAX: usize = 32_767;

/// Where a message of a request goes and how its answer finds back.
struct Accepted<'a> {
    core: &'a Rc<Core>,
    shard: &'a Rc<CoreShard>,
    topic: &'a str,
    queue_id: QueueId,
    to: ReplyTo,
    at: Instant,
}

/// Stores one message or a batch of them.
///
/// # Errors
/// When the request is refused; nothing has been stored then.
pub fn send(core: &Rc<Core>, request: &Request, incoming: &mut Incoming) -> Result<(), Error> {
    let at = Instant::now();
    let header = SendHeader::decode(request.frame.ext())?;
    let settings = core.settings();
    let topic = core.replicas.borrow().topic(&header.topic).ok_or_else(|| Error::TopicNotExist(header.topic.to_string()))?;
    check_topic(core, &header, &topic)?;
    let queue_id = queue_of(&header, &topic, request)?;
    let home = core.map.home(&header.topic, queue_id);
    let shard = core.shard(home).ok_or_else(|| Error::System(format!("shard {} is not on this core", home.get())))?;
    let accepted =
        Accepted { core, shard, topic: &header.topic, queue_id, to: request.reply_to(), at };
    let body = request.frame.body();
    if header.batch || request.code() == protocol::request_code::RequestCode::SEND_BATCH_MESSAGE {
        return send_batch(&accepted, &header, body, request.origin.peer, incoming);
    }
    if body.len() > settings.max_message_size {
        return Err(too_large(body.len(), settings.max_message_size));
    }
    incoming.read(
        |text| {
            if let Some(sent) = &header.properties {
                sent.push_to(text);
            }
        },
        &settings.added_properties,
        |id| core.make_unique_id(id),
    );
    check_properties(incoming)?;
    if let Some(level) = incoming.delay_level() {
        return super::delay::accept(core, &header, request, incoming, level);
    }
    let appended = append(&accepted, &header, body, request.origin.peer, incoming)?;
    wait_for_commit(&accepted, &appended, incoming.unique_id());
    Ok(())
}

/// Stores the messages of a batch under consecutive queue offsets.
fn send_batch(
    accepted: &Accepted<'_>,
    header: &SendHeader<'_>,
    body: &[u8],
    peer: SocketAddr,
    incoming: &mut Incoming,
) -> Result<(), Error> {
    let settings = accepted.core.settings();
    if accepted.topic.starts_with(topics::RETRY_PREFIX) {
        return Err(Error::MessageIllegal("a batch cannot be sent to a retry topic".to_owned()));
    }
    if body.len() > settings.max_message_size {
        return Err(too_large(body.len(), settings.max_message_size));
    }
    let items = BatchItems::new(body).collect_all().map_err(|error| Error::MessageIllegal(error.to_string()))?;
    if items.is_empty() {
        return Err(Error::MessageIllegal("the batch has no messages".to_owned()));
    }
    // All of it is checked before any of it is stored: a batch is taken whole or not at all.
    for item in &items {
        incoming.read(|text| text.push_str(item.properties), &settings.added_properties, |_id| {});
        check_properties(incoming)?;
        if incoming.delay_level().is_some() {
            return Err(Error::MessageIllegal("a message of a batch cannot be delayed".to_owned()));
        }
    }
    let mut stored: SmallVec<[Appended; 32]> = SmallVec::new();
    for item in &items {
        incoming.read(
            |text| text.push_str(item.properties),
            &settings.added_properties,
            |id| accepted.core.make_unique_id(id),
        );
        let item_header = SendHeader { flag: item.flag, ..header.clone() };
        stored.push(append(accepted, &item_header, item.body, peer, incoming)?);
    }
    let unique_id =
        header.properties.as_ref().and_then(|sent| properties::get(&sent.to_cow(), names::UNIQ_KEY).map(str::to_owned));
    wait_for_batch_commit(accepted, &stored, &unique_id.unwrap_or_default());
    Ok(())
}

fn append(
    accepted: &Accepted<'_>,
    header: &SendHeader<'_>,
    body: &[u8],
    peer: SocketAddr,
    incoming: &Incoming,
) -> Result<Appended, Error> {
    let settings = accepted.core.settings();
    let mut keys: SmallVec<[&str; 8]> = SmallVec::new();
    keys.push(incoming.unique_id());
    keys.extend(incoming.keys());
    let shard = &accepted.shard.engine;
    let message = NewMessage {
        queue: shard.queue(accepted.topic, accepted.queue_id.get()),
        topic: accepted.topic,
        queue_id: accepted.queue_id,
        flag: header.flag,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        born_host: peer,
        store_host: settings.store_host,
        reconsume_times: header.reconsume_times,
        prepared_transaction_offset: 0,
        body,
        properties: incoming.stored(),
        tag_hash: incoming.tag_hash(),
        keys: &keys,
        wait_for_flush: incoming.wait(),
        in_consume_queue: true,
    };
    let appended = shard.append(&message).map_err(|error| not_appended(&error))?;
    accepted.core.stats.put_accepted(accepted.topic, appended.size);
    Ok(appended)
}

/// What a failed append is to the client.
pub fn not_appended(error: &AppendError) -> Error {
    match error {
        AppendError::TooLarge { .. } => Error::MessageIllegal(error.to_string()),
        AppendError::Busy { .. } => Error::Busy(format!("[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while: {error}")),
        _ => Error::NotAvailable(error.to_string()),
    }
}

fn wait_for_commit(accepted: &Accepted<'_>, appended: &Appended, unique_id: &str) {
    wait_for_batch_commit(accepted, std::slice::from_ref(appended), unique_id);
}

fn wait_for_batch_commit(accepted: &Accepted<'_>, stored: &[Appended], unique_id: &str) {
    let (Some(first), Some(last)) = (stored.first(), stored.last()) else { return };
    if accepted.to.oneway {
        return accepted.core.finish_unanswered(&accepted.to);
    }
    let host = accepted.core.settings().store_host;
    let write_ids = |text: &mut String| {
        for (index, one) in stored.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            OffsetMessageId { host, physical_offset: one.physical_offset }.push_to(text);
        }
    };
    let place = (accepted.queue_id.to_wire(), first.queue_offset.0);
    accepted.shard.waiting.borrow_mut().push(last.batch.0, accepted.to, place, accepted.at, write_ids, unique_id);
    accepted.shard.watch_waiting_sends(accepted.core);
}

/// Whether this topic takes messages from clients.
fn check_topic(core: &Core, header: &SendHeader<'_>, topic: &Arc<Topic>) -> Result<(), Error> {
    let settings = core.settings();
    if !topic.writable() || (!settings.writable() && topic.order) {
        return Err(Error::NoPermission(format!(
            "the broker[{}] sending message is forbidden: topic {} has no write permission",
            settings.store_host.ip(),
            header.topic
        )));
    }
    if topics::NOT_SENDABLE_TOPICS.contains(&&*header.topic) {
        return Err(Error::NoPermission(format!("Sending message to topic[{}] is forbidden.", header.topic)));
    }
    Ok(())
}

fn queue_of(header: &SendHeader<'_>, topic: &Topic, request: &Request) -> Result<QueueId, Error> {
    // The core that the request came by has chosen a queue for a client that left it to the broker.
    if let Some(chosen) = request.chosen_queue {
        return Ok(chosen);
    }
    let queues = topic.write_queues.max(topic.read_queues);
    QueueId::from_wire(header.queue_id).filter(|queue_id| queue_id.get() < queues).ok_or_else(|| {
        Error::InvalidParameter(format!(
            "request queueId[{}] is illegal: topic {} has {queues} queues here; refresh its route",
            header.queue_id, header.topic
        ))
    })
}

/// Refuses what this broker would otherwise deliver at the wrong time or to the wrong people.
fn check_properties(incoming: &Incoming) -> Result<(), Error> {
    if incoming.stored().len() > PROPERTIES_MAX {
        return Err(Error::MessageIllegal(format!(
            "the properties have {} bytes, more than the {PROPERTIES_MAX} that a message may have",
            incoming.stored().len()
        )));
    }
    if incoming.transaction_half() {
        return Err(Error::NoPermission("this broker takes no transaction messages".to_owned()));
    }
    if incoming.timer() && incoming.delay_level().is_none() {
        return Err(Error::System("this broker takes no timer messages (TIMER_*); use a delay level".to_owned()));
    }
    Ok(())
}

fn too_large(size: usize, size_max: usize) -> Error {
    Error::MessageIllegal(format!("the body has {size} bytes, more than maxMessageSize={size_max}"))
}
