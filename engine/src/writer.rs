//! The writer of a shard's log: many appends, one write, one sync.
//!
//! The first append after a pause wakes the writer, which runs after the tasks that were ready in that turn of the event loop:
//! what they all append is one batch, without a timer. While a batch is on its way to the disk, the next one gathers. One
//! commit is in flight at a time: two cost more than one larger.
//!
//! Async flush: keep in memory that outlives the process (see [`crate::drainer`]), commit; it is written later, past the page
//! cache. Where there is no such memory: write, commit; the flusher syncs in the background, once an interval, and only when
//! there is something to sync. Sync flush: write, sync, commit. Where the log is written directly (see [`crate::log_writer`]) a write
//! is a sync as well, in both modes.
//!
//! After a failed write or sync nothing is tried again on the same bytes, but for what was acknowledged from memory: the shard is
//! fenced, see [`FenceReason`].

use crate::error::FenceReason;
use crate::inner::{Inner, add};
use crate::options::FlushMode;
use crate::planted::{self, Bug};
use crate::staging::{Batch, LogPart};
use bytes::Bytes;
use runtime::sync::race;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes after which the kernel is asked to begin writing: keeps syncs short and dirty pages few.
const WRITEBACK_SIZE: u64 = 8 << 20;

/// Writes what is appended until the shard closes or is fenced.
pub(crate) async fn run_writer(inner: Rc<Inner>) {
    loop {
        inner.wakes.writer_woken.set(false);
        let batches = inner.staging.borrow_mut().take(inner.marks());
        if let Some(reason) = inner.fenced() {
            return inner.fail(batches, &reason);
        }
        if batches.is_empty() {
            if inner.closing.get() {
                return;
            }
            inner.wakes.writer.notified().await;
            continue;
        }
        let done = match inner.crash_buffer() {
            Some(buffer) => inner.keep_and_commit(&buffer, batches).await,
            None => inner.write_and_commit(batches).await,
        };
        if let Err(reason) = done {
            // What was appended meanwhile fails as well, in order.
            let rest = inner.staging.borrow_mut().take(inner.marks());
            return inner.fail(rest, &reason);
        }
    }
}

/// Makes what is written durable in the background, one interval after it came.
pub(crate) async fn run_flusher(inner: Rc<Inner>) {
    while !inner.stopping() {
        if inner.positions.synced.get() == inner.positions.written.get() {
            race(inner.wakes.flusher.notified(), inner.stopped()).await;
            continue;
        }
        race(runtime::sleep(inner.options().flush_interval), inner.stopped()).await;
        if inner.sync_written(inner.positions.written.get()).await.is_err() {
            return;
        }
    }
}

impl Inner {
    async fn write_and_commit(&self, mut batches: VecDeque<Batch>) -> Result<(), FenceReason> {
        while !batches.is_empty() {
            let later = batches.split_off(self.log_writer.batches_at_once(&batches));
            if let Err(reason) = self.write_and_sync(&batches).await {
                self.fail(batches.into_iter().chain(later), &reason);
                return Err(reason);
            }
            while let Some(batch) = batches.pop_front() {
                if let Err(reason) = self.commit(batch) {
                    self.fail(batches.into_iter().chain(later), &reason);
                    return Err(reason);
                }
            }
            self.after_commit();
            batches = later;
        }
        Ok(())
    }

    async fn write_and_sync(&self, batches: &VecDeque<Batch>) -> Result<(), FenceReason> {
        let parts: Vec<LogPart> = batches.iter().map(Batch::part).collect();
        self.write(&parts).await?;
        let written = self.positions.written.get();
        let in_sync_mode = self.options().flush == FlushMode::Sync;
        if in_sync_mode {
            for batch in batches {
                (self.hooks.on_written)(batch.id);
            }
        }
        // The consume queues forget a topic for ever, so its deletion must be there after any crash.
        if (in_sync_mode && !planted::is(Bug::AckBeforeSync)) || batches.iter().any(|batch| !batch.deletions.is_empty())
        {
            self.sync_written(written).await?;
        }
        self.check_fence()
    }

    /// Parts that follow each other, those of one segment together: where they begin, where the next one does, their bytes.
    pub(crate) fn by_segment(&self, parts: &[LogPart]) -> Vec<(u64, u64, Vec<Bytes>)> {
        let same_segment =
            |one: &LogPart, other: &LogPart| self.log.base_of(one.start) == self.log.base_of(other.start);
        let runs = parts.chunk_by(same_segment);
        runs.filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            let bytes = run.iter().map(|part| part.bytes.clone()).collect();
            Some((first.start, last.end, bytes))
        })
        .collect()
    }

    /// Writes parts that follow each other.
    pub(crate) async fn write(&self, parts: &[LogPart]) -> Result<(), FenceReason> {
        let behind = self.positions.written.get() - self.positions.synced.get();
        if behind > self.options().unsynced_bytes_max {
            // Without this the kernel would stop the whole core inside a write once too many pages are dirty.
            self.sync_written(self.positions.written.get()).await?;
        }
        for (start, end, together) in self.by_segment(parts) {
            self.check_fence()?;
            self.write_parts(start, together).await?;
            self.positions.written.set(end);
            if self.log_writer.is_direct() {
                self.positions.synced.set(end);
                add(&self.counters.syncs, 1);
                if self.zeros_ahead.wanted(end) {
                    self.wakes.zeros.notify_one();
                }
            } else {
                self.write_back(end);
            }
        }
        self.wakes.flusher.notify_one();
        Ok(())
    }

    pub(crate) async fn write_parts(&self, position: u64, parts: Vec<Bytes>) -> Result<(), FenceReason> {
        let Some(segment) = self.log.get(position) else {
            let path = self.log.directory().to_owned();
            return Err(self.fence_with("find the segment of a batch in", path, &"it is gone"));
        };
        let written = {
            let _turn = self.wakes.write_turn.acquire().await;
            self.log_writer.write(&segment, position, parts).await
        };
        if self.log_writer.is_direct() && planted::is(Bug::AckAfterFailedSync) {
            return Ok(());
        }
        written.map_err(|error| self.fence_with("write to", segment.path().to_owned(), &error))
    }

    /// Asks the kernel to begin writing full parts of the log, without waiting.
    fn write_back(&self, written: u64) {
        let from = self.positions.writeback.get();
        if written < from + WRITEBACK_SIZE {
            return;
        }
        self.positions.writeback.set(written);
        let Some(segment) = self.log.get(from) else { return };
        let to = written.min(self.log.end_of(from));
        runtime::spawn(async move {
            let hint = match segment.file().await {
                Ok(file) => file.start_writeback(from - segment.base, to - from).await,
                Err(error) => Err(error),
            };
            if let Err(error) = hint {
                tracing::debug!(%error, "early writeback refused");
            }
        });
    }

    /// Makes everything up to `target`, which is committed, durable.
    pub(crate) async fn sync_to(&self, target: u64) -> Result<(), FenceReason> {
        self.drain_to(target).await?;
        self.sync_written(target).await
    }

    /// Makes everything up to `target`, which is written, durable. One at a time; who comes meanwhile is served by the next.
    async fn sync_written(&self, target: u64) -> Result<(), FenceReason> {
        let _turn = self.wakes.sync_turn.acquire().await;
        if self.positions.synced.get() >= target {
            return Ok(());
        }
        self.check_fence()?;
        let written = self.positions.written.get();
        let mut position = self.positions.synced.get();
        while position < written {
            let end = self.log.end_of(position).min(written);
            if let Some(segment) = self.log.get(position) {
                let synced = segment.sync().await;
                add(&self.counters.syncs, 1);
                if let Err(error) = synced
                    && !planted::is(Bug::AckAfterFailedSync)
                {
                    return Err(self.fence_with("sync", segment.path().to_owned(), &error));
                }
            }
            position = end;
            self.positions.synced.set(position);
        }
        Ok(())
    }

    pub(crate) fn after_commit(&self) {
        self.wakes.commit.notify_waiters();
        self.checkpoint.used.set(true);
        let since_checkpoint = self.positions.confirmed.get() - self.checkpoint.taken_at.get();
        let wanted = since_checkpoint >= self.options().checkpoint_bytes || !self.checkpoint.dirty.replace(true);
        let keys_want = self.keys.as_ref().is_some_and(crate::key_index::KeyIndex::wants_write);
        if wanted || self.queues.wants_write() || keys_want {
            self.wakes.upkeep.notify_one();
        }
    }
}
