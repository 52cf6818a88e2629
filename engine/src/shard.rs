//! One shard of a store: a log of its own, its queues and their index, on one core.

use crate::error::{AppendError, Error, ReadError};
use crate::message::{Appended, BatchId, Hooks, NewMessage};
use crate::read::{Boundary, KeyRequest, KeyResult, ReadRequest, ReadResult};
use crate::recovery::Recovered;
use crate::stats::ShardStats;
use crate::store::StoreLayout;
use crate::{Entry, QueueSlot};
use bytes::Bytes;
use protocol::model::{PhysicalOffset, QueueOffset, ShardId};
use std::sync::Arc;

/// A shard that is open. Clones are handles of the same shard; all stay on the core that opened it.
#[derive(Clone, Debug)]
pub struct Shard {}

#[expect(
    clippy::unused_self,
    clippy::unused_async,
    unused_variables,
    reason = "interim: signatures for the broker"
)]
impl Shard {
    /// Opens a shard, after a crash too, and starts its tasks on this core.
    ///
    /// # Errors
    /// The file system's; [`Error::NoSuchShard`]. Damage is no error: it is in [`Recovered`].
    pub async fn open(layout: &StoreLayout, shard: ShardId, hooks: Hooks) -> Result<(Shard, Recovered), Error> {
        unimplemented!()
    }
    /// Its number.
    #[must_use]
    pub fn id(&self) -> ShardId {
        unimplemented!()
    }
    /// The handle of a queue, made if it is not there. One hash look-up.
    ///
    /// # Errors
    /// [`crate::IndexError::TopicTooLong`], [`crate::IndexError::UsedUp`].
    pub fn queue(&self, topic: &str, queue_id: u32) -> Result<QueueSlot, Error> {
        unimplemented!()
    }
    /// The handle of a queue that is there.
    #[must_use]
    pub fn find_queue(&self, topic: &str, queue_id: u32) -> Option<QueueSlot> {
        unimplemented!()
    }
    /// Topic and number of a queue.
    #[must_use]
    pub fn queue_name(&self, queue: QueueSlot) -> (Arc<str>, u32) {
        unimplemented!()
    }
    /// Every queue that is there: handle, topic, number, oldest and next queue offset.
    pub fn for_each_queue(&self, visit: impl FnMut(QueueSlot, &str, u32, (QueueOffset, QueueOffset))) {
        unimplemented!()
    }
    /// Gives a message its place. No I/O: it is written by the shard's writer after the tasks that are ready now have run,
    /// together with whatever they append.
    ///
    /// # Errors
    /// [`AppendError`]; no offset is used up then.
    pub fn append(&self, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        unimplemented!()
    }
    /// Gives several messages their places: all in one group commit, so a crash leaves all of them or none.
    ///
    /// # Errors
    /// As [`Shard::append`], for all of them together.
    pub fn append_all(&self, messages: &[NewMessage<'_>]) -> Result<Vec<Appended>, AppendError> {
        unimplemented!()
    }
    /// Appends a record of the broker's own.
    ///
    /// # Errors
    /// As [`Shard::append`].
    ///
    /// # Panics
    /// When `kind` is above [`crate::META_KIND_MAX`].
    pub fn append_metadata(&self, kind: u16, payload: &[u8]) -> Result<BatchId, AppendError> {
        unimplemented!()
    }
    /// Waits for the end of a group commit, for callers that do not follow [`Hooks::on_commit`].
    ///
    /// # Errors
    /// Why it failed.
    pub async fn committed(&self, batch: BatchId) -> Result<(), AppendError> {
        unimplemented!()
    }
    /// Messages of a queue, if all that is needed is in memory; `None` when [`Shard::read`] must be asked.
    #[must_use]
    pub fn read_hot(&self, request: &ReadRequest) -> Option<ReadResult> {
        unimplemented!()
    }
    /// Messages of a queue.
    ///
    /// # Errors
    /// [`ReadError`] when the first wanted message cannot be read.
    pub async fn read(&self, request: &ReadRequest) -> Result<ReadResult, ReadError> {
        unimplemented!()
    }
    /// The oldest queue offset and the next one that readers will see; equal when the queue is empty.
    #[must_use]
    pub fn bounds(&self, queue: QueueSlot) -> (QueueOffset, QueueOffset) {
        unimplemented!()
    }
    /// The next queue offset that will be given out: counts what is appended and not committed.
    #[must_use]
    pub fn next_queue_offset(&self, queue: QueueSlot) -> QueueOffset {
        unimplemented!()
    }
    /// The record at a physical offset; `None` where none starts, or none that readers may see.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn record_at(&self, physical_offset: PhysicalOffset) -> Result<Option<Bytes>, ReadError> {
        unimplemented!()
    }
    /// The queue offset of the message that was stored at a time (milliseconds since 1970).
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn offset_by_time(
        &self,
        queue: QueueSlot,
        timestamp: i64,
        boundary: Boundary,
    ) -> Result<QueueOffset, ReadError> {
        unimplemented!()
    }
    /// When a message was stored, in milliseconds since 1970; `None` if it is not there.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn store_time_of(&self, queue: QueueSlot, queue_offset: QueueOffset) -> Result<Option<i64>, ReadError> {
        unimplemented!()
    }
    /// Consume queue entries from a queue offset on; fewer than `count` only at the end.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn entries(&self, queue: QueueSlot, from: QueueOffset, count: usize) -> Result<Vec<Entry>, ReadError> {
        unimplemented!()
    }
    /// Messages by key.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn query(&self, request: &KeyRequest<'_>) -> Result<KeyResult, ReadError> {
        unimplemented!()
    }
    /// Deletes the queues of a topic; made again, they start at offset 0. Readers see it with the commit.
    ///
    /// # Errors
    /// As [`Shard::append`].
    pub fn delete_queues(&self, topic: &str) -> Result<BatchId, AppendError> {
        unimplemented!()
    }
    /// Deletes segments that are old enough now, whatever the hour; returns how many.
    ///
    /// # Errors
    /// The file system's.
    pub async fn clean_expired(&self) -> Result<usize, Error> {
        unimplemented!()
    }
    /// Takes a checkpoint now.
    ///
    /// # Errors
    /// The file system's; [`Error::Fenced`].
    pub async fn checkpoint(&self) -> Result<(), Error> {
        unimplemented!()
    }
    /// Makes everything that is committed durable.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub async fn flush(&self) -> Result<(), Error> {
        unimplemented!()
    }
    /// When the oldest kept record was stored, in milliseconds since 1970; `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn earliest_store_time(&self) -> Result<Option<i64>, ReadError> {
        unimplemented!()
    }
    /// Physical offsets of the first kept record and behind the last that readers may see.
    #[must_use]
    pub fn physical_bounds(&self) -> (PhysicalOffset, PhysicalOffset) {
        unimplemented!()
    }
    /// Figures.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        unimplemented!()
    }
    /// Takes no more messages, commits what was appended, makes all durable and ends the shard's tasks.
    ///
    /// # Errors
    /// The file system's; [`Error::Fenced`].
    pub async fn close(&self) -> Result<(), Error> {
        unimplemented!()
    }
}
