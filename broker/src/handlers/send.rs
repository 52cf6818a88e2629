//! Sending: SEND_MESSAGE (V1 and V2), SEND_BATCH_MESSAGE, oneway.
//!
//! Runs on the home core of the queue. Nothing here waits: the record is encoded into the shard's tail block at once, and
//! the answer follows when its group commit has ended ([`crate::shard::CoreShard::on_commit`]).

use crate::core::Core;
use crate::delayed_messages;
use crate::error::Error;
use crate::handlers::send_back;
use crate::incoming::Incoming;
use crate::replicas::Topic;
use crate::request::{ReplyTo, Request};
use crate::shard::CoreShard;
use crate::storing::OwnedMessage;
use engine::{AppendError, Appended, NewMessage, QueueSlot};
use protocol::header::send::SendHeader;
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::{BatchItem, BatchItems};
use protocol::message::id::OffsetMessageId;
use protocol::message::properties::{self, names};
use protocol::model::{QueueId, names as topics};
use protocol::version::Version;
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
    store_host: SocketAddr,
    shard: &'a Rc<CoreShard>,
    topic: &'a str,
    queue_id: QueueId,
    to: ReplyTo,
    at: Instant,
}

/// Serves a send that has come to its home core.
pub fn serve(core: &Rc<Core>, request: Request) {
    let mut incoming = core.incoming.borrow_mut();
    match send(core, &request, &mut incoming) {
        Ok(()) => {}
        Err(Error::TopicNotExist(topic)) if core.replicas.borrow().topic(&topic).is_none() => {
            drop(incoming);
            core.create_topic_and_send(request);
        }
        Err(error) => {
            core.stats.put_refused();
            crate::dispatch::refuse(core, &request.reply_to(), &error);
        }
    }
}

/// Stores one message or a batch of them.
///
/// # Errors
/// When the request is refused; nothing has been stored then.
fn send(core: &Rc<Core>, request: &Request, incoming: &mut Incoming) -> Result<(), Error> {
    let at = Instant::now();
    let header = SendHeader::decode(request.frame.ext())?;
    let settings = core.settings();
    let accepts_from = settings.config.start_accept_send_request_time_stamp;
    if accepts_from > 0 && runtime::wall_clock_ms() < accepts_from {
        return Err(Error::System(
            "broker unable to service, until startAcceptSendRequestTimeStamp".to_owned(),
        ));
    }
    let topic = core
        .replicas
        .borrow()
        .topic(&header.topic)
        .ok_or_else(|| Error::TopicNotExist(header.topic.to_string()))?;
    check_topic(core, &header, &topic)?;
    let queue_id = queue_of(&header, &topic, request)?;
    let home = core.map.home(&header.topic, queue_id);
    let shard = core
        .shard(home)
        .ok_or_else(|| Error::System(format!("shard {} is not on this core", home.get())))?;
    let store_host = settings.store_host;
    let accepted = Accepted {
        core,
        store_host,
        shard,
        topic: &header.topic,
        queue_id,
        to: request.reply_to(),
        at,
    };
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
    if let Some(group) = header.topic.strip_prefix(topics::RETRY_PREFIX) {
        let message = owned(&accepted, &header, body, request.origin.peer, incoming);
        retry_or_give_up(
            core,
            request,
            group,
            header.max_reconsume_times,
            message,
            incoming.delay_level(),
        );
        return Ok(());
    }
    if let Some(level) = incoming.delay_level() {
        let message = owned(&accepted, &header, body, request.origin.peer, incoming);
        delay(core, accepted.to, message, level);
        return Ok(());
    }
    check_slaves(&accepted, incoming.wait())?;
    let appended = append(&accepted, &header, body, request.origin.peer, incoming)?;
    wait_for_commit(
        &accepted,
        std::slice::from_ref(&appended),
        incoming.wait(),
        incoming.unique_id(),
    );
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
        return Err(Error::MessageIllegal(
            "a batch cannot be sent to a retry topic".to_owned(),
        ));
    }
    if body.len() > settings.max_message_size {
        return Err(too_large(body.len(), settings.max_message_size));
    }
    let items = BatchItems::new(body)
        .collect_all()
        .map_err(|error| Error::MessageIllegal(error.to_string()))?;
    if items.is_empty() {
        return Err(Error::MessageIllegal("the batch has no messages".to_owned()));
    }
    // All of it is checked before any of it is stored: a batch is taken whole or not at all.
    for item in &items {
        incoming.read(
            |text| text.push_str(&item.properties),
            &settings.added_properties,
            |_id| {},
        );
        check_properties(incoming)?;
        if incoming.delay_level().is_some() {
            return Err(Error::MessageIllegal(
                "a message of a batch cannot be delayed".to_owned(),
            ));
        }
    }
    check_slaves(accepted, true)?;
    let stored = append_all(accepted, header, &items, peer, incoming)?;
    let unique_id = header
        .properties
        .as_ref()
        .and_then(|sent| properties::get(&sent.to_cow(), names::UNIQ_KEY).map(str::to_owned));
    wait_for_commit(accepted, &stored, true, &unique_id.unwrap_or_default());
    Ok(())
}

/// With enableSlaveActingMaster a SYNC_MASTER refuses what too few slaves would have.
fn check_slaves(accepted: &Accepted<'_>, wait: bool) -> Result<(), Error> {
    match accepted.core.settings().slave_rule {
        Some(rule) if wait => accepted.shard.check_slaves(&rule),
        _ => Ok(()),
    }
}

fn append(
    accepted: &Accepted<'_>,
    header: &SendHeader<'_>,
    body: &[u8],
    peer: SocketAddr,
    incoming: &Incoming,
) -> Result<Appended, Error> {
    let keys: SmallVec<[&str; 8]> = std::iter::once(incoming.unique_id()).chain(incoming.keys()).collect();
    let queue = accepted.queue()?;
    let message = NewMessage {
        body,
        properties: incoming.stored(),
        tag_hash: incoming.tag_hash(),
        keys: &keys,
        ..accepted.message(queue, header, peer)
    };
    let appended = accepted
        .shard
        .engine
        .append(&message)
        .map_err(|error| not_appended(&error))?;
    accepted.core.stats.put_accepted(accepted.topic, appended.size);
    Ok(appended)
}

/// Stores the messages of a batch: all of them in one group commit, or none.
fn append_all(
    accepted: &Accepted<'_>,
    header: &SendHeader<'_>,
    items: &[BatchItem<'_>],
    peer: SocketAddr,
    incoming: &mut Incoming,
) -> Result<Vec<Appended>, Error> {
    let added = &accepted.core.settings().added_properties;
    let read: Vec<Incoming> = items
        .iter()
        .map(|item| {
            incoming.read(
                |text| text.push_str(&item.properties),
                added,
                |id| accepted.core.make_unique_id(id),
            );
            std::mem::take(incoming)
        })
        .collect();
    let keys: Vec<SmallVec<[&str; 4]>> = read
        .iter()
        .map(|one| std::iter::once(one.unique_id()).chain(one.keys()).collect())
        .collect();
    let queue = accepted.queue()?;
    let messages: Vec<NewMessage<'_>> = items
        .iter()
        .zip(&read)
        .zip(&keys)
        .map(|((item, one), keys)| NewMessage {
            flag: item.flag,
            body: item.body,
            properties: one.stored(),
            tag_hash: one.tag_hash(),
            keys,
            ..accepted.message(queue, header, peer)
        })
        .collect();
    let stored = accepted
        .shard
        .engine
        .append_all(&messages)
        .map_err(|error| not_appended(&error))?;
    for one in &stored {
        accepted.core.stats.put_accepted(accepted.topic, one.size);
    }
    Ok(stored)
}

impl<'a> Accepted<'a> {
    fn queue(&self) -> Result<QueueSlot, Error> {
        let queue = self.shard.engine.queue(self.topic, self.queue_id.get());
        queue.map_err(|error| Error::store("opening the queue", &error))
    }

    /// What all messages of the request share.
    fn message(&self, queue: QueueSlot, header: &SendHeader<'_>, peer: SocketAddr) -> NewMessage<'a> {
        NewMessage {
            queue,
            topic: self.topic,
            queue_id: self.queue_id,
            flag: header.flag,
            sys_flag: header.sys_flag,
            born_timestamp: header.born_timestamp,
            born_host: peer,
            store_host: self.store_host,
            reconsume_times: header.reconsume_times,
            prepared_transaction_offset: 0,
            body: &[],
            properties: "",
            tag_hash: 0,
            keys: &[],
            in_consume_queue: true,
        }
    }
}

fn owned(
    accepted: &Accepted<'_>,
    header: &SendHeader<'_>,
    body: &bytes::Bytes,
    peer: SocketAddr,
    incoming: &Incoming,
) -> OwnedMessage {
    OwnedMessage {
        topic: accepted.topic.to_owned(),
        queue_id: accepted.queue_id,
        flag: header.flag,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        born_host: peer,
        reconsume_times: header.reconsume_times,
        body: body.clone(),
        properties: incoming.stored().to_owned(),
        tag_hash: incoming.tag_hash(),
    }
}

/// A consumer sends a message to its retry topic itself: after too many tries, or from an orderly consumer (its group holds
/// queue locks then), it goes to the dead letter queue.
fn retry_or_give_up(
    core: &Rc<Core>,
    request: &Request,
    group: &str,
    max_from_client: Option<i32>,
    mut message: OwnedMessage,
    delay_level: Option<i32>,
) {
    let (core, to, group) = (Rc::clone(core), request.reply_to(), group.to_owned());
    let max_from_client = max_from_client.filter(|_max| request.frame.version() >= Version::V3_4_9);
    runtime::spawn(async move {
        let config = match core.subscription_group(&group) {
            Ok(config) => config,
            Err(error) => return crate::dispatch::refuse(&core, &to, &error),
        };
        let too_often = message.reconsume_times > max_from_client.unwrap_or(config.retry_max_times);
        let name = group.clone();
        let locked = core
            .with_control(|_core, control| async move { Ok(control.holds_locks(&name)) })
            .await;
        if too_often || locked.unwrap_or(false) {
            match send_back::dead_letter(&core, &group, message).await {
                Ok(message) => store_and_answer(&core, to, message),
                Err(error) => crate::dispatch::refuse(&core, &to, &error),
            }
            return;
        }
        if let Some(level) = delay_level {
            delayed_messages::delay(&core.settings(), &mut message, level);
        }
        store_and_answer(&core, to, message);
    });
}

/// Stores a message that waits at a delay level; its answer tells where it waits.
fn delay(core: &Rc<Core>, to: ReplyTo, mut message: OwnedMessage, level: i32) {
    delayed_messages::delay(&core.settings(), &mut message, level);
    store_and_answer(core, to, message);
}

/// Stores a message whose home may be another core, and answers as for any send.
fn store_and_answer(core: &Rc<Core>, to: ReplyTo, message: OwnedMessage) {
    let core = Rc::clone(core);
    runtime::spawn(async move {
        let queue_id = message.queue_id;
        let unique_id = message.property(names::UNIQ_KEY).unwrap_or_default().to_owned();
        match core.store(message).await {
            Ok((stored, code)) => {
                let settings = core.settings();
                let host = settings.store_host;
                let id = OffsetMessageId {
                    store_host: host,
                    physical_offset: stored.physical_offset,
                }
                .to_string();
                let fill = |header: &mut HeaderWriter<'_>| {
                    let place = (queue_id.to_wire(), stored.queue_offset.0);
                    settings.send_reply.write(header, &id, place, &unique_id);
                };
                core.reply(&to, code, fill, Vec::new());
            }
            Err(error) => crate::dispatch::refuse(&core, &to, &error),
        }
    });
}

/// What a failed append is to the client.
pub fn not_appended(error: &AppendError) -> Error {
    match error {
        AppendError::TooLarge { .. } | AppendError::Unfit(_) => Error::MessageIllegal(error.to_string()),
        AppendError::Busy { .. } => Error::Busy(format!(
            "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while: {error}"
        )),
        _ => Error::NotAvailable(error.to_string()),
    }
}

fn wait_for_commit(accepted: &Accepted<'_>, stored: &[Appended], wait: bool, unique_id: &str) {
    let (Some(first), Some(last)) = (stored.first(), stored.last()) else {
        return;
    };
    if accepted.to.oneway {
        return accepted.core.finish_unanswered(&accepted.to);
    }
    let write_ids = |text: &mut String| {
        for (index, one) in stored.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            OffsetMessageId {
                store_host: accepted.store_host,
                physical_offset: one.physical_offset,
            }
            .push_to(text);
        }
    };
    let place = (accepted.queue_id.to_wire(), first.queue_offset.0);
    accepted.shard.waiting.borrow_mut().push(
        last.batch.0,
        accepted.to,
        place,
        (accepted.at, wait),
        write_ids,
        unique_id,
    );
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
        return Err(Error::NoPermission(format!(
            "Sending message to topic[{}] is forbidden.",
            header.topic
        )));
    }
    Ok(())
}

fn queue_of(header: &SendHeader<'_>, topic: &Topic, request: &Request) -> Result<QueueId, Error> {
    // The core that the request came by has chosen a queue for a client that left it to the broker.
    if let Some(chosen) = request.chosen_queue {
        return Ok(chosen);
    }
    let queues = topic.write_queues.max(topic.read_queues);
    QueueId::from_wire(header.queue_id)
        .filter(|queue_id| queue_id.get() < queues)
        .ok_or_else(|| {
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
        return Err(Error::NoPermission(
            "this broker takes no transaction messages".to_owned(),
        ));
    }
    if incoming.timer() && incoming.delay_level().is_none() {
        return Err(Error::System(
            "this broker takes no timer messages (TIMER_*); use a delay level".to_owned(),
        ));
    }
    Ok(())
}

fn too_large(size: usize, size_max: usize) -> Error {
    Error::MessageIllegal(format!(
        "the body has {size} bytes, more than maxMessageSize={size_max}"
    ))
}
