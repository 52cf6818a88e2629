//! One shard of a store: a log of its own, its queues and their index, on one core.

use crate::error::{AppendError, Error, ReadError};
use crate::inner::Inner;
use crate::message::{Appended, BatchId, Hooks, META_KIND_MAX, NewMessage};
use crate::options::{FlushMode, Retention, TransferLimit};
use crate::read::{Boundary, KeyRequest, KeyResult, ReadRequest, ReadResult};
use crate::recovery::{Damage, Recovered, open_shard};
use crate::stats::ShardStats;
use crate::store::StoreLayout;
use crate::zeros_ahead::run_zeros_ahead;
use crate::{Entry, QueueSlot, drainer, scrub, upkeep, writer};
use bytes::Bytes;
use protocol::model::{PhysicalOffset, QueueOffset, ShardId};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A shard that is open. Clones are handles of the same shard; all stay on the core that opened it.
#[derive(Clone, Debug)]
pub struct Shard(pub(crate) Rc<Inner>);

impl Shard {
    /// Opens a shard, after a crash too, and starts its tasks on this core. The broker takes in [`Recovered::metadata`] before
    /// it appends anything.
    ///
    /// # Errors
    /// The file system's; [`Error::NoSuchShard`]. Damage is no error: it is in [`Recovered`].
    pub async fn open(layout: &StoreLayout, shard: ShardId, hooks: Hooks) -> Result<(Shard, Recovered), Error> {
        let (inner, found) = open_shard(layout, shard, hooks).await?;
        // A full disk is no reason not to open: reads go on, and appends say why they are refused.
        let prepared = if layout.is_direct() {
            inner.prepare_current().await
        } else {
            inner.prepare_ahead().await
        };
        if let Err(error) = prepared {
            tracing::error!(shard = shard.get(), %error, "no segment can be made");
        }
        inner.start_task(writer::run_writer);
        if inner.options().flush == FlushMode::Async && !layout.is_direct() {
            inner.start_task(writer::run_flusher);
        }
        inner.start_task(upkeep::run_preparer);
        if inner.crash_buffer().is_some() {
            inner.start_task(drainer::run_drainer);
        } else if layout.is_direct() {
            inner.start_task(run_zeros_ahead);
        }
        inner.start_task(upkeep::run_upkeep);
        inner.start_task(upkeep::run_merger);
        inner.start_task(upkeep::run_retention);
        inner.start_task(scrub::run_scrubber);
        Ok((Shard(inner), found))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.0.id
    }

    /// The handle of a queue, made if it is not there. One hash look-up.
    ///
    /// # Errors
    /// [`crate::IndexError::TopicTooLong`], [`crate::IndexError::UsedUp`].
    pub fn queue(&self, topic: &str, queue_id: u32) -> Result<QueueSlot, Error> {
        Ok(self.0.queues.queue(topic, queue_id)?)
    }

    /// The handle of a queue that is there.
    #[must_use]
    pub fn find_queue(&self, topic: &str, queue_id: u32) -> Option<QueueSlot> {
        self.0.queues.find(topic, queue_id)
    }

    /// Topic and number of a queue.
    #[must_use]
    pub fn queue_name(&self, queue: QueueSlot) -> (Arc<str>, u32) {
        self.0.queues.name(queue)
    }

    /// Every queue that is there: handle, topic, number, oldest and next queue offset. `visit` must not use the shard.
    pub fn for_each_queue(&self, mut visit: impl FnMut(QueueSlot, &str, u32, (QueueOffset, QueueOffset))) {
        self.0.queues.for_each(|slot, topic, queue_id, bounds| {
            visit(
                slot,
                topic,
                queue_id,
                (QueueOffset(bounds.start), QueueOffset(bounds.end)),
            );
        });
    }

    /// Gives a message its place. No I/O: it is written by the shard's writer after the tasks that are ready now have run,
    /// together with whatever they append.
    ///
    /// # Errors
    /// [`AppendError`]; no offset is used up then.
    pub fn append(&self, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        self.0.append(message)
    }

    /// Gives several messages their places: all in one group commit, so a crash leaves all of them or none.
    ///
    /// # Errors
    /// As [`Shard::append`], for all of them together.
    pub fn append_all(&self, messages: &[NewMessage<'_>]) -> Result<Vec<Appended>, AppendError> {
        self.0.append_all(messages)
    }

    /// Appends a record of the broker's own.
    ///
    /// # Errors
    /// As [`Shard::append`].
    ///
    /// # Panics
    /// When `kind` is above [`META_KIND_MAX`]: those are the engine's.
    pub fn append_metadata(&self, kind: u16, payload: &[u8]) -> Result<BatchId, AppendError> {
        assert!(kind <= META_KIND_MAX, "metadata kind {kind:#06x} is the engine's");
        self.0.append_meta(kind, payload)
    }

    /// Waits for the end of a group commit, for callers that do not follow [`Hooks::on_commit`].
    ///
    /// # Errors
    /// Why it failed.
    pub async fn committed(&self, batch: BatchId) -> Result<(), AppendError> {
        loop {
            let woken = self.0.wakes.commit.notified();
            if self.0.committed_batch.get() >= batch.0 {
                return Ok(());
            }
            self.0.check_fence()?;
            woken.await;
        }
    }

    /// Messages of a queue, if all that is needed is in memory; `None` when [`Shard::read`] must be asked. May give fewer than
    /// fit, where the rest is not in memory.
    #[must_use]
    pub fn read_hot(&self, request: &ReadRequest) -> Option<ReadResult> {
        self.0.read_hot(request)
    }

    /// Messages of a queue.
    ///
    /// # Errors
    /// [`ReadError`] when the first wanted message cannot be read; [`ReadError::Damaged`] and [`ReadError::Lost`] say where a
    /// reader that gives it up can go on.
    pub async fn read(&self, request: &ReadRequest) -> Result<ReadResult, ReadError> {
        self.0.read(request).await
    }

    /// The oldest queue offset and the next one that readers will see; equal when the queue is empty.
    #[must_use]
    pub fn bounds(&self, queue: QueueSlot) -> (QueueOffset, QueueOffset) {
        let bounds = self.0.queues.bounds(queue);
        (QueueOffset(bounds.start), QueueOffset(bounds.end))
    }

    /// The next queue offset that will be given out: counts what is appended and not committed.
    #[must_use]
    pub fn next_queue_offset(&self, queue: QueueSlot) -> QueueOffset {
        QueueOffset(self.0.next_offset(queue))
    }

    /// The record at a physical offset; `None` where none starts, none that readers may see, or the shard is another.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn record_at(&self, physical_offset: PhysicalOffset) -> Result<Option<Bytes>, ReadError> {
        if physical_offset.shard() != self.0.id {
            return Ok(None);
        }
        self.0.record_at(physical_offset.position()).await
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
        self.0.offset_by_time(queue, timestamp, boundary).await.map(QueueOffset)
    }

    /// When a message was stored, in milliseconds since 1970; `None` if it is not there.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn store_time_of(&self, queue: QueueSlot, queue_offset: QueueOffset) -> Result<Option<i64>, ReadError> {
        self.0.store_time_of(queue, queue_offset.0).await
    }

    /// Consume queue entries from a queue offset on; fewer than `count` at the end or before damage.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn entries(&self, queue: QueueSlot, from: QueueOffset, count: usize) -> Result<Vec<Entry>, ReadError> {
        self.0.entries(queue, from.0, count).await
    }

    /// Messages by key, the newest first.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn query(&self, request: &KeyRequest<'_>) -> Result<KeyResult, ReadError> {
        self.0.query(request).await
    }

    /// Deletes the queues of a topic; made again, they start at offset 0. Readers see it with the commit.
    ///
    /// # Errors
    /// As [`Shard::append`].
    pub fn delete_queues(&self, topic: &str) -> Result<BatchId, AppendError> {
        self.0.delete_queues(topic)
    }

    /// From now on, old segments go by these rules.
    pub fn set_retention(&self, retention: Retention) {
        self.0.set_retention(retention);
    }

    /// Replaces the limits of reads: of records that count as in memory, and of others.
    pub fn set_limits(&self, in_memory: TransferLimit, on_disk: TransferLimit) {
        self.0.limits.set((in_memory, on_disk));
    }

    /// Deletes segments that are old enough now, whatever the hour; returns how many.
    ///
    /// # Errors
    /// The file system's.
    pub async fn clean_expired(&self) -> Result<usize, Error> {
        self.0.delete_segments(usize::MAX, self.0.retention().reserved).await
    }

    /// Takes a checkpoint now.
    ///
    /// # Errors
    /// The file system's; [`Error::Fenced`].
    pub async fn checkpoint(&self) -> Result<(), Error> {
        self.0.take_checkpoint().await
    }

    /// Makes everything that is committed durable.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub async fn flush(&self) -> Result<(), Error> {
        let positions = &self.0.positions;
        Ok(self
            .0
            .sync_to(positions.written.get().max(positions.confirmed.get()))
            .await?)
    }

    /// Reads all of the log that is durable, as fast as it comes, and quarantines what has rotted; returns how many damaged
    /// ranges are new. The shard does the same by itself, slowly.
    pub async fn scrub(&self) -> usize {
        self.0.scrub(u64::MAX).await
    }

    /// Parts of the log that are known to be damaged.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let inner = &self.0;
        let damage = &inner.checkpoint.last.borrow().damage;
        damage
            .iter()
            .map(|range| range.to_damage(|position| inner.physical(position)))
            .collect()
    }

    /// When the oldest kept record was stored, in milliseconds since 1970; `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn earliest_store_time(&self) -> Result<Option<i64>, ReadError> {
        self.0.earliest_store_time().await
    }

    /// Physical offsets of the first kept record and behind the last that readers may see.
    #[must_use]
    pub fn physical_bounds(&self) -> (PhysicalOffset, PhysicalOffset) {
        self.0.physical_bounds()
    }

    /// Figures. Asking resets [`ShardStats::commit_time_max_recent`].
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let inner = &*self.0;
        let (positions, counters) = (&inner.positions, &inner.counters);
        let is_full = |refusal: &Option<AppendError>| matches!(refusal, Some(AppendError::DiskFull { .. }));
        let checkpoint = inner.checkpoint.last.borrow();
        ShardStats {
            min: positions.min.get(),
            end: inner.end(),
            written: positions.written.get(),
            flushed: positions.synced.get(),
            confirmed: positions.confirmed.get(),
            checkpoint: checkpoint.start,
            dispatch_behind: positions.written.get().saturating_sub(positions.confirmed.get()),
            segments: inner.log.len(),
            puts: counters.puts.get(),
            put_bytes: counters.put_bytes.get(),
            put_refused: counters.put_refused.get(),
            batches: counters.batches.get(),
            syncs: counters.syncs.get(),
            commit_time_max: counters.commit_time_max.get(),
            commit_time_max_recent: counters.commit_time_max_recent.replace(Duration::ZERO),
            read_hot: counters.read_hot.get(),
            read_cold: counters.read_cold.get(),
            tail_cache_bytes: inner.tail.borrow().bytes(),
            cold_cache_bytes: inner.cold.borrow().bytes(),
            disk_full: is_full(&inner.refusal.borrow()) || is_full(&inner.no_segment.borrow()),
            fenced: inner.fenced(),
            damaged_ranges: checkpoint.damage.len(),
            queues: inner.queues.stats(),
            keys: inner.keys.as_ref().map(crate::key_index::KeyIndex::stats),
        }
    }

    /// Takes no more messages, commits what was appended, makes all durable and ends the shard's tasks.
    ///
    /// # Errors
    /// The file system's; [`Error::Fenced`]. The tasks have ended all the same.
    pub async fn close(&self) -> Result<(), Error> {
        let inner = &self.0;
        inner.closing.set(true);
        inner.wakes.writer.notify_one();
        inner.wakes.stop.notify_waiters();
        let tasks = inner.tasks.take();
        if tasks.is_empty() {
            return Ok(());
        }
        for task in tasks {
            task.await;
        }
        if let Err(reason) = inner.check_fence() {
            inner.drain_again().await;
            return Err(reason.into());
        }
        // Who waited for the last commits notes them before the last snapshot.
        runtime::yield_now().await;
        runtime::yield_now().await;
        inner.reserve.give_back_if_needed().await;
        inner.checkpoint_at_least(inner.positions.confirmed.get(), true).await?;
        let buffer = inner.crash_buffer.take();
        if let Some(buffer) = buffer.and_then(Rc::into_inner)
            && let Err(error) = buffer.remove().await
        {
            tracing::warn!(shard = inner.id.get(), %error, "shared memory of a shard that is closed is left (ipcs -m)");
        }
        Ok(())
    }
}
