//! Commits before the write: batches are acknowledged from memory that outlives the process, and written later.
//!
//! [`Inner::keep_and_commit`] is what the writer does with its batches where there is a [`CrashBuffer`]; [`run_drainer`] takes them from
//! there to the disk, a few large writes for many small batches. Whoever needs the disk to have something asks [`Inner::drain_to`].

use crate::crash_buffer::CrashBuffer;
use crate::error::FenceReason;
use crate::inner::Inner;
use crate::log_writer::DIRECT_WRITE_SIZE;
use crate::staging::Batch;
use runtime::Instant;
use runtime::sync::race;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// How long committed bytes wait in memory for more to be written with them: few and large writes.
const DRAIN_LINGER: Duration = Duration::from_millis(20);
/// After a failed write it is tried again so much later, then later and later.
const DRAIN_AGAIN: Duration = Duration::from_secs(1);
const DRAIN_AGAIN_MAX: Duration = Duration::from_secs(60);
/// So many bytes wait no longer: larger writes are no faster.
const DRAIN_SIZE: u64 = 1 << 20;

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

impl Inner {
    /// Commits what is in memory that outlives the process, or on the disk.
    pub(crate) async fn keep_and_commit(
        &self,
        buffer: &CrashBuffer,
        mut batches: VecDeque<Batch>,
    ) -> Result<(), FenceReason> {
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
            // Those of an earlier segment may be written though the write has failed.
            buffer.release(self.positions.written.get());
            written?;
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
                buffer.release(end);
            }
            runtime::mark!("committed bytes written after a fence");
        }
    }
}
