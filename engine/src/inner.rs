//! Everything that one shard is made of. Its parts are used by one core only; no borrow of a cell outlives a call, and none
//! is held while a hook runs.
//!
//! Positions of a log and their order: min <= checkpoint <= synced <= written <= end, and confirmed <= written, unless what is
//! committed is kept in memory that outlives the process (see [`crate::crash_buffer`]): then written <= confirmed, and what is
//! between is in the tail cache too. In sync flush mode confirmed <= synced as well.

use crate::checkpoint::CheckpointState;
use crate::consume_queue::ConsumeQueues;
use crate::crash_buffer::CrashBuffer;
use crate::error::{AppendError, FenceReason};
use crate::key_index::KeyIndex;
use crate::log_writer::LogWriter;
use crate::message::{Arrival, Commit, Hooks};
use crate::options::{Retention, StoreOptions, TransferLimit};
use crate::page_cache::PageCache;
use crate::reserve::Reserve;
use crate::segmented_log::SegmentedLog;
use crate::staging::{Batch, Marks, Staging};
use crate::store::StoreLayout;
use crate::tail_cache::TailCache;
use crate::upkeep::Ages;
use crate::verified::Verified;
use crate::zeros_ahead::ZerosAhead;
use protocol::model::{PhysicalOffset, ShardId};
use runtime::JoinHandle;
use runtime::sync::{Notify, Semaphore};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

pub(crate) struct Inner {
    pub(crate) id: ShardId,
    pub(crate) hooks: Hooks,
    /// When old segments go; may change while the shard is open.
    pub(crate) retention: RefCell<Retention>,
    /// Limits of reads of what counts as in memory and of the rest; may change while the shard is open.
    pub(crate) limits: Cell<(TransferLimit, TransferLimit)>,
    pub(crate) log: SegmentedLog,
    pub(crate) log_writer: LogWriter,
    /// Where batches are kept that are committed and not written; `None` once the shard is closed.
    pub(crate) crash_buffer: RefCell<Option<Rc<CrashBuffer>>>,
    pub(crate) zeros_ahead: ZerosAhead,
    pub(crate) staging: RefCell<Staging>,
    pub(crate) tail: RefCell<TailCache>,
    pub(crate) cold: RefCell<PageCache>,
    /// What of `cold` has been checked.
    pub(crate) verified: RefCell<Verified>,
    pub(crate) queues: ConsumeQueues,
    pub(crate) keys: Option<KeyIndex>,
    /// By slot: the next queue offset to give out; [`OFFSET_UNKNOWN`] until it is needed.
    pub(crate) next_offsets: RefCell<Vec<i64>>,
    pub(crate) positions: Positions,
    /// CRC of the seal that ends at the confirm offset.
    pub(crate) confirmed_crc: Cell<u32>,
    /// Judges how old segments are.
    pub(crate) ages: Ages,
    /// The last batch that has been committed.
    pub(crate) committed_batch: Cell<u64>,
    /// Positions where batches begin, with the CRC of the seal before: where a walk can start.
    pub(crate) boundaries: RefCell<VecDeque<(u64, u32)>>,
    pub(crate) checkpoint: CheckpointState,
    pub(crate) fence: RefCell<Option<FenceReason>>,
    /// Why appends are refused for now; goes by itself.
    pub(crate) refusal: RefCell<Option<AppendError>>,
    /// Why the next segment could not be made; goes by itself.
    pub(crate) no_segment: RefCell<Option<AppendError>>,
    /// For a full disk.
    pub(crate) reserve: Reserve,
    pub(crate) closing: Cell<bool>,
    /// The log takes copies of another's batches, and no appends of its own.
    pub(crate) follows: Cell<bool>,
    /// Messages come from another broker's log alone, with the queue offsets that they have there.
    pub(crate) imports: Cell<bool>,
    /// How far that log has been imported, as committed.
    pub(crate) source_position: Cell<Option<u64>>,
    /// The same, counting what is appended and not committed.
    pub(crate) imported_to: Cell<Option<u64>>,
    pub(crate) wakes: Wakes,
    pub(crate) counters: Counters,
    pub(crate) tasks: RefCell<Vec<JoinHandle<()>>>,
    /// The last to be dropped: with it goes the store's lock, and by then no write is under way.
    pub(crate) layout: StoreLayout,
}

pub(crate) const OFFSET_UNKNOWN: i64 = -1;
/// Bytes between two known batch boundaries.
pub(crate) const BOUNDARY_DISTANCE: u64 = 1 << 20;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    pub(crate) min: Cell<u64>,
    pub(crate) written: Cell<u64>,
    pub(crate) synced: Cell<u64>,
    pub(crate) confirmed: Cell<u64>,
    /// Up to here segments have their space.
    pub(crate) prepared: Cell<u64>,
    /// Up to here the kernel was asked to begin writing.
    pub(crate) writeback: Cell<u64>,
}

/// What the tasks of a shard wait for.
#[derive(Debug)]
pub(crate) struct Wakes {
    /// Something was appended.
    pub(crate) writer: Notify,
    /// The writer has been woken and has not looked yet.
    pub(crate) writer_woken: Cell<bool>,
    /// A batch was committed or failed.
    pub(crate) commit: Notify,
    /// Something was written that is not durable.
    pub(crate) flusher: Notify,
    /// Something is committed and not written, or much.
    pub(crate) drainer: Notify,
    /// The next segment is wanted.
    pub(crate) preparer: Notify,
    /// The log has come nearer to where nothing was written before.
    pub(crate) zeros: Notify,
    /// The disk has less room than before, or other rules hold.
    pub(crate) retention: Notify,
    /// Indexes or checkpoint want to be looked at.
    pub(crate) upkeep: Notify,
    /// The key index may have runs to merge.
    pub(crate) merger: Notify,
    /// The shard closes, or was fenced.
    pub(crate) stop: Notify,
    /// Held while what is committed is taken from memory to the log.
    pub(crate) drain_turn: Semaphore,
    /// Held while the log is written, or space ahead of it: one write at a time.
    pub(crate) write_turn: Semaphore,
    /// Held while the log is synced: one sync at a time.
    pub(crate) sync_turn: Semaphore,
    /// Held while a checkpoint is taken or segments are deleted.
    pub(crate) checkpoint_turn: Semaphore,
}

impl Default for Wakes {
    fn default() -> Self {
        Wakes {
            writer: Notify::new(),
            writer_woken: Cell::new(false),
            commit: Notify::new(),
            flusher: Notify::new(),
            drainer: Notify::new(),
            preparer: Notify::new(),
            zeros: Notify::new(),
            retention: Notify::new(),
            upkeep: Notify::new(),
            merger: Notify::new(),
            stop: Notify::new(),
            drain_turn: Semaphore::new(1),
            write_turn: Semaphore::new(1),
            sync_turn: Semaphore::new(1),
            checkpoint_turn: Semaphore::new(1),
        }
    }
}

/// See [`crate::ShardStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) puts: Cell<u64>,
    pub(crate) put_bytes: Cell<u64>,
    pub(crate) put_refused: Cell<u64>,
    pub(crate) batches: Cell<u64>,
    pub(crate) syncs: Cell<u64>,
    pub(crate) commit_time_max: Cell<Duration>,
    pub(crate) commit_time_max_recent: Cell<Duration>,
    pub(crate) read_hot: Cell<u64>,
    pub(crate) read_cold: Cell<u64>,
}

pub(crate) fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get().wrapping_add(count));
}

impl Inner {
    pub(crate) fn retention(&self) -> Retention {
        self.retention.borrow().clone()
    }

    pub(crate) fn set_retention(&self, retention: Retention) {
        *self.retention.borrow_mut() = retention;
        self.wakes.retention.notify_one();
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        self.layout.options()
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks {
            confirmed: self.positions.confirmed.get(),
            synced: self.positions.synced.get(),
        }
    }

    pub(crate) fn crash_buffer(&self) -> Option<Rc<CrashBuffer>> {
        self.crash_buffer.borrow().clone()
    }

    /// Readers find what lies below in the files of the log; what is committed above is in the tail cache.
    pub(crate) fn readable_end(&self) -> u64 {
        self.positions.confirmed.get().min(self.positions.written.get())
    }

    pub(crate) fn end(&self) -> u64 {
        self.staging.borrow().end()
    }

    pub(crate) fn physical(&self, position: u64) -> PhysicalOffset {
        PhysicalOffset::new(self.id, position)
    }

    /// Why the shard takes no more data, if so.
    pub(crate) fn fenced(&self) -> Option<FenceReason> {
        self.fence.borrow().clone()
    }

    pub(crate) fn check_fence(&self) -> Result<(), FenceReason> {
        self.fenced().map_or(Ok(()), Err)
    }

    /// Takes no more data from now on; the first reason stays. The writer fails what was appended and not committed.
    pub(crate) fn fence_with(&self, action: &'static str, path: PathBuf, answer: &dyn fmt::Display) -> FenceReason {
        let reason = FenceReason {
            action,
            path,
            answer: answer.to_string(),
        };
        if let Some(first) = self.fenced() {
            return first;
        }
        self.fence.replace(Some(reason.clone()));
        runtime::mark!("shard fenced");
        tracing::error!(shard = self.id.get(), %reason, "shard fenced");
        self.wakes.writer.notify_one();
        self.wakes.stop.notify_waiters();
        reason
    }

    /// Tells that these batches were not committed.
    pub(crate) fn fail(&self, batches: impl IntoIterator<Item = Batch>, reason: &FenceReason) {
        let error = AppendError::Fenced(reason.clone());
        for batch in batches {
            (self.hooks.on_commit)(&Commit {
                batch: batch.id,
                end: batch.end,
                result: Err(&error),
                arrivals: &[],
            });
        }
        self.wakes.commit.notify_waiters();
    }

    /// Makes the batch visible: its bytes, its entries, then the confirm offset; then tells the broker.
    pub(crate) fn commit(&self, mut batch: Batch) -> Result<(), FenceReason> {
        let written = self.positions.written.get();
        self.tail.borrow_mut().push(batch.start, batch.bytes.clone(), written);
        if let Err(error) = self.index(&batch) {
            let reason = self.fence_with("index a batch in", self.queues_directory(), &error);
            self.fail([batch], &reason);
            return Err(reason);
        }
        self.positions.confirmed.set(batch.end);
        self.confirmed_crc.set(batch.crc);
        self.committed_batch.set(batch.id.0);
        if batch.source_position.is_some() {
            self.source_position.set(batch.source_position);
        }
        self.note_boundary(batch.start, batch.previous_crc);
        let took = batch.opened.elapsed();
        self.counters
            .commit_time_max
            .set(self.counters.commit_time_max.get().max(took));
        let recent = &self.counters.commit_time_max_recent;
        recent.set(recent.get().max(took));
        add(&self.counters.batches, 1);
        for record in std::mem::take(&mut batch.metadata) {
            (self.hooks.on_copied_metadata)(record);
        }
        (self.hooks.on_commit)(&Commit {
            batch: batch.id,
            end: batch.end,
            result: Ok(()),
            arrivals: &batch.arrivals,
        });
        self.staging.borrow_mut().recycle(std::mem::take(&mut batch.arrivals));
        Ok(())
    }

    fn index(&self, batch: &Batch) -> Result<(), crate::IndexError> {
        for (begin, position) in &batch.begins {
            self.queues
                .begin_empty(&begin.topic, begin.queue_id, begin.queue_offset, *position)?;
        }
        let mut deletions = batch.deletions.iter();
        let mut deletion = deletions.next();
        for (at, arrival) in batch.arrivals.iter().enumerate() {
            while let Some((_, position, topic)) = deletion.filter(|(after, _, _)| *after <= at) {
                self.queues.delete_topic(topic, *position);
                deletion = deletions.next();
            }
            self.index_arrival(arrival)?;
        }
        for (_, position, topic) in deletion.into_iter().chain(deletions) {
            self.queues.delete_topic(topic, *position);
        }
        Ok(())
    }

    fn index_arrival(&self, arrival: &Arrival) -> Result<(), crate::IndexError> {
        let entry = crate::Entry {
            position: arrival.physical_offset.position(),
            record_size: arrival.size,
            tag_hash: arrival.tag_hash,
        };
        match self.queues.append(arrival.queue, arrival.queue_offset.0, entry) {
            // Messages before it went with the other log's older segments, or with damage there.
            Err(crate::IndexError::NotNext { expected, .. })
                if (self.follows.get() || self.imports.get()) && arrival.queue_offset.0 > expected =>
            {
                self.queues
                    .append_after_gap(arrival.queue, arrival.queue_offset.0, entry)
            }
            Err(crate::IndexError::NotNext { expected, .. })
                if self.follows.get() && arrival.queue_offset.0 < expected =>
            {
                self.queues
                    .append_in_skipped(arrival.queue, arrival.queue_offset.0, entry)
            }
            Err(crate::IndexError::NotNext { topic, queue_id, .. }) => {
                // Its topic was deleted after the handle was made; this is the first message of the topic's next life.
                self.queues.queue(&topic, queue_id)?;
                self.queues.append(arrival.queue, arrival.queue_offset.0, entry)
            }
            appended => appended,
        }
    }

    pub(crate) fn queues_directory(&self) -> PathBuf {
        self.layout.shard_dir(self.id).join("consumequeue")
    }

    /// One in every MiB is enough: a walk that starts a little too early only reads a little more.
    fn note_boundary(&self, start: u64, previous_crc: u32) {
        let distance = BOUNDARY_DISTANCE.min(self.layout.segment_size() / 4);
        let mut boundaries = self.boundaries.borrow_mut();
        if boundaries.back().is_none_or(|(last, _)| start >= last + distance) {
            boundaries.push_back((start, previous_crc));
        }
    }

    /// The last known begin of a batch that is not above `position`, with the CRC of the seal before.
    pub(crate) fn boundary_below(&self, position: u64) -> Option<(u64, u32)> {
        let boundaries = self.boundaries.borrow();
        let after = boundaries.partition_point(|(start, _)| *start <= position);
        boundaries.get(after.checked_sub(1)?).copied()
    }

    /// Whether the tasks should end.
    pub(crate) fn stopping(&self) -> bool {
        self.closing.get() || self.fence.borrow().is_some()
    }

    /// Waits until the tasks should end.
    pub(crate) async fn stopped(&self) {
        self.told_to_stop(|| self.stopping()).await;
    }

    /// Waits until the shard closes.
    pub(crate) async fn closed(&self) {
        self.told_to_stop(|| self.closing.get()).await;
    }

    async fn told_to_stop(&self, enough: impl Fn() -> bool) {
        loop {
            let woken = self.wakes.stop.notified();
            if enough() {
                return;
            }
            woken.await;
        }
    }

    /// Starts a task of this shard; [`crate::Shard::close`] waits for its end.
    pub(crate) fn start_task<F: Future<Output = ()> + 'static>(self: &Rc<Self>, task: impl FnOnce(Rc<Inner>) -> F) {
        let handle = runtime::spawn(task(Rc::clone(self)));
        self.tasks.borrow_mut().push(handle);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("id", &self.id)
            .field("positions", &self.positions)
            .finish_non_exhaustive()
    }
}
