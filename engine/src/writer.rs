//! The writer of a shard's log: many appends, one write, one sync.
//!
//! The first append after a pause wakes the writer, which runs after the tasks that were ready in that turn of the event loop:
//! what they all append is one batch, without a timer. While a batch is on its way to the disk, the next one gathers. One
//! commit is in flight at a time: two cost more than one larger.
//!
//! Async flush: keep in memory that outlives the process (see [`crate::crash_buffer`]), commit; [`run_drainer`] writes later, past the
//! page cache. Where there is no such memory: write, commit; the flusher syncs in the background, once an interval, and only when
//! there is something to sync. Sync flush: write, sync, commit. Where the log is written directly (see [`crate::log_writer`]) a write
//! is a sync as well, in both modes.
//!
//! After a failed write or sync nothing is tried again on the same bytes: the shard is fenced, see [`FenceReason`].

use crate::crash_buffer::CrashBuffer;
use crate::error::FenceReason;
use crate::inner::{Inner, add};
use crate::log_writer::DIRECT_WRITE_SIZE;
use crate::options::FlushMode;
use crate::planted::{self, Bug};
use crate::staging::{Batch, LogPart};
use bytes::Bytes;
use runtime::Instant;
use runtime::sync::race;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Bytes after which the kernel is asked to begin writing: keeps syncs short and dirty pages few.
const WRITEBACK_SIZE: u64 = 8 << 20;
/// How long committed bytes wait in memory for more to be written with them: few and large writes.
const DRAIN_LINGER: Duration = Duration::from_millis(20);
/// After a failed write it is tried again so much later, then later and later.
const DRAIN_AGAIN: Duration = Duration::from_secs(1);
const DRAIN_AGAIN_MAX: Duration = Duration::from_secs(60);
/// So many bytes wait no longer: larger writes are no faster.
const DRAIN_SIZE: u64 = 1 << 20;

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

/// Writes what is committed and only in memory yet. When the shard closes, its last checkpoint does.
pub(crate) async fn run_drainer(inner: Rc<Inner>) {
    let Some(buffer) = inner.crash_buffer() else { return };
    while !inner.stopping() {
        if buffer.bytes() == 0 {
            race(inner.wakes.drainer.notified(), inner.stopped()).await;
            continue;
        }
        if buffer.bytes() < DRAIN_SIZE {
            let enough = race(runtime::sleep(DRAIN_LINGER), inner.wakes.drainer.notified());
            race(enough, inner.stopped()).await;
        }
        // One write in each turn: who waits for room has it sooner.
        if inner.drain_to(inner.positions.written.get() + 1).await.is_err() {
            break;
        }
    }
    // Nobody may know for long that the shard is fenced, and memory does not outlive the machine.
    let mut pause = DRAIN_AGAIN;
    while !inner.closing.get() && buffer.bytes() > 0 {
        race(runtime::sleep(pause), inner.closed()).await;
        inner.drain_again().await;
        pause = (pause * 2).min(DRAIN_AGAIN_MAX);
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

    /// Commits what is in memory that outlives the process, or on the disk.
    async fn keep_and_commit(&self, buffer: &CrashBuffer, mut batches: VecDeque<Batch>) -> Result<(), FenceReason> {
        while let Some(batch) = batches.front() {
            let kept = self.keep(buffer, batch).await;
            let Some(batch) = batches.pop_front() else { break };
            let done = match kept {
                Ok(()) => self.commit(batch),
                Err(reason) => {
                    self.fail([batch], &reason);
                    Err(reason)
                }
            };
            if let Err(reason) = done {
                self.fail(batches, &reason);
                return Err(reason);
            }
        }
        self.after_commit();
        Ok(())
    }

    /// Puts a batch where a killed process does not lose it. Waits for the disk where there is no room, and where the disk stands still:
    /// no more than came within an interval of the flusher may go with a power cut.
    async fn keep(&self, buffer: &CrashBuffer, batch: &Batch) -> Result<(), FenceReason> {
        self.check_fence()?;
        // The consume queues forget a topic for ever, so its deletion must be there after any crash.
        if !batch.deletions.is_empty() || !buffer.can_hold(batch.bytes.len()) {
            self.drain_to(batch.start).await?;
            return self.write(&[batch.part()]).await;
        }
        let was_empty = buffer.bytes() == 0;
        while buffer.is_stuck(batch.opened, self.options().flush_interval) || !buffer.put(batch.part()) {
            runtime::mark!("commit waits: the disk is behind what memory can hold");
            self.drain_to(self.positions.written.get() + 1).await?;
        }
        let waiting = buffer.bytes();
        let crossed = waiting >= DRAIN_SIZE && waiting - (batch.bytes.len() as u64) < DRAIN_SIZE;
        if was_empty || crossed {
            self.wakes.drainer.notify_one();
        }
        Ok(())
    }

    /// Writes what is committed and in memory alone, up to `target` at least; durable when it returns.
    pub(crate) async fn drain_to(&self, target: u64) -> Result<(), FenceReason> {
        let Some(buffer) = self.crash_buffer() else {
            return Ok(());
        };
        if self.positions.written.get() >= target {
            return Ok(());
        }
        let _turn = self.wakes.drain_turn.acquire().await;
        while self.positions.written.get() < target && buffer.bytes() > 0 {
            let parts = buffer.first_parts(DIRECT_WRITE_SIZE);
            buffer.note_write(Some(Instant::now()));
            let written = self.write(&parts).await;
            buffer.note_write(None);
            written?;
            buffer.release(self.positions.written.get());
        }
        Ok(())
    }

    /// Once more what a fenced shard has acknowledged and not written. It is the same bytes in the same place, past the page cache, so
    /// that what the disk says now is true, whatever it said before.
    pub(crate) async fn drain_again(&self) {
        let Some(buffer) = self.crash_buffer() else { return };
        let _turn = self.wakes.drain_turn.acquire().await;
        while buffer.bytes() > 0 {
            let parts = buffer.first_parts(DIRECT_WRITE_SIZE);
            for (start, end, together) in self.by_segment(&parts) {
                if self.write_parts(start, together).await.is_err() {
                    return;
                }
                self.positions.written.set(end);
                self.positions.synced.set(end);
            }
            buffer.release(self.positions.written.get());
            runtime::mark!("committed bytes written after a fence");
        }
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
    fn by_segment(&self, parts: &[LogPart]) -> Vec<(u64, u64, Vec<Bytes>)> {
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
    async fn write(&self, parts: &[LogPart]) -> Result<(), FenceReason> {
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

    async fn write_parts(&self, position: u64, parts: Vec<Bytes>) -> Result<(), FenceReason> {
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

    fn after_commit(&self) {
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
