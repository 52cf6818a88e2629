//! Messages that the broker itself stores: retries, dead letters, delayed messages and their delivery.
//!
//! They may have their home on any core, so they own what they hold; the hot path of sends does without.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::send::not_appended;
use crate::shard::CoreShard;
use bytes::Bytes;
use engine::{Appended, NewMessage};
use protocol::message::properties::{self, names};
use protocol::message::record::RecordView;
use protocol::model::{QueueId, tag_hash};
use protocol::response_code::ResponseCode;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::rc::Rc;

/// A message that may go to any core.
#[derive(Clone, Debug)]
pub struct OwnedMessage {
    /// Its topic.
    pub topic: String,
    /// Its queue.
    pub queue_id: QueueId,
    /// The user's own number.
    pub flag: i32,
    /// See [`protocol::message::sys_flag`].
    pub sys_flag: i32,
    /// Milliseconds since 1970 on the producer's clock.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// How often it has been given back.
    pub reconsume_times: i32,
    /// What was sent.
    pub body: Bytes,
    /// Its properties, as they will be stored.
    pub properties: String,
    /// What tag filters compare; for a delayed message the time at which it is due, milliseconds since 1970.
    pub tag_hash: i64,
}

impl OwnedMessage {
    /// A copy of a stored message, still in its own topic and queue.
    #[must_use]
    pub fn of_record(record: &RecordView<'_>) -> OwnedMessage {
        OwnedMessage {
            topic: record.topic.to_owned(),
            queue_id: record.queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            reconsume_times: record.reconsume_times,
            body: Bytes::copy_from_slice(record.body),
            properties: record.properties.to_owned(),
            tag_hash: tag_hash(record.property(names::TAGS)),
        }
    }

    /// Sets a property.
    pub fn set_property(&mut self, name: &str, value: &str) {
        self.properties = properties::with(&self.properties, name, value);
    }

    /// A property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }
}

impl Core {
    /// Stores a message in its home shard, wherever that is, and waits until it is committed and, in a SYNC_MASTER, with its slaves. Also
    /// says what a send is to be answered: that it is stored, but slaves are late, perhaps.
    ///
    /// # Errors
    /// When it is refused or its group commit fails.
    pub async fn store(&self, message: OwnedMessage) -> Result<(Appended, ResponseCode), Error> {
        let home = self.map.core_of(self.map.home(&message.topic, message.queue_id));
        let stored = self.ask(home, move |core| async move { core.store_here(&message).await });
        stored.await.unwrap_or_else(|| Err(Error::stopping()))
    }

    /// Stores messages that all have this core's home in the order given, in few group commits, and waits as [`Core::store`] does. What comes
    /// after one that is refused is refused with it, so that none overtakes another.
    pub async fn store_in_order(&self, home: usize, messages: Vec<OwnedMessage>) -> Vec<Result<(), Error>> {
        let count = messages.len();
        let stored = self.ask(home, move |core| async move {
            let appended: Vec<_> = {
                let mut refused = None;
                let append = |message| match &refused {
                    None => core
                        .append_here(message)
                        .inspect_err(|error| refused = Some(error.to_string())),
                    Some(cause) => Err(Error::System(format!("the message before it was refused: {cause}"))),
                };
                messages.iter().map(append).collect()
            };
            let mut outcomes = Vec::with_capacity(appended.len());
            for (message, appended) in messages.iter().zip(appended) {
                outcomes.push(match appended {
                    Ok((shard, appended)) => core.committed(message, &shard, appended).await.map(|_stored| ()),
                    Err(error) => Err(error),
                });
            }
            outcomes
        });
        let outcomes = stored.await;
        outcomes.unwrap_or_else(|| (0..count).map(|_message| Err(Error::stopping())).collect())
    }

    async fn store_here(self: Rc<Self>, message: &OwnedMessage) -> Result<(Appended, ResponseCode), Error> {
        let (shard, appended) = self.append_here(message)?;
        self.committed(message, &shard, appended).await
    }

    fn append_here(&self, message: &OwnedMessage) -> Result<(Rc<CoreShard>, Appended), Error> {
        let home = self.map.home(&message.topic, message.queue_id);
        let shard = self
            .shard(home)
            .ok_or_else(|| Error::System(format!("shard {} is not on this core", home.get())))?;
        if let Some(rule) = self.settings().slave_rule {
            shard.check_slaves(&rule)?;
        }
        let unique_id = message.property(names::UNIQ_KEY).filter(|id| !id.is_empty());
        let keys: SmallVec<[&str; 8]> = unique_id
            .into_iter()
            .chain(properties::keys(&message.properties))
            .collect();
        let queue = shard
            .engine
            .queue(&message.topic, message.queue_id.get())
            .map_err(|error| Error::store("opening a queue", &error))?;
        let appended = shard
            .engine
            .append(&NewMessage {
                queue,
                topic: &message.topic,
                queue_id: message.queue_id,
                flag: message.flag,
                sys_flag: message.sys_flag,
                born_timestamp: message.born_timestamp,
                born_host: message.born_host,
                store_host: self.settings().store_host,
                reconsume_times: message.reconsume_times,
                prepared_transaction_offset: 0,
                body: &message.body,
                properties: &message.properties,
                tag_hash: message.tag_hash,
                keys: &keys,
                in_consume_queue: true,
            })
            .map_err(|error| not_appended(&error))?;
        Ok((Rc::clone(shard), appended))
    }

    async fn committed(
        self: &Rc<Self>,
        message: &OwnedMessage,
        shard: &CoreShard,
        appended: Appended,
    ) -> Result<(Appended, ResponseCode), Error> {
        shard
            .engine
            .committed(appended.batch)
            .await
            .map_err(|error| not_appended(&error))?;
        self.stats.put_accepted(&message.topic, appended.size);
        let end = appended.physical_offset.position() + appended.size as u64;
        let code = if shard.on_slaves(self, end).await {
            ResponseCode::SUCCESS
        } else {
            ResponseCode::FLUSH_SLAVE_TIMEOUT
        };
        Ok((appended, code))
    }
}
