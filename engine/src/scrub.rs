//! The scrubber: reads the log that nobody reads, slowly, and reports what has rotted while it is known where and when.
//!
//! It walks from the log's begin to what is durable, batch by batch, and begins anew. What does not check twice is quarantined as
//! recovery does it: readers get an error with the reason, checkpoints remember the range, nothing is cut.

use crate::checkpoint::DamagedRange;
use crate::inner::Inner;
use crate::log_walk::LogWalk;
use runtime::sync::race;
use std::rc::Rc;
use std::time::Duration;

/// Bytes read at once: small, since a window is checked in one go on the shard's core.
const WINDOW_SIZE: usize = 256 << 10;
/// Between two rounds, and before the first: a broker that starts has better things to read.
const PAUSE: Duration = Duration::from_secs(600);

/// Goes round and round, as fast as the options say.
pub(crate) async fn run_scrubber(inner: Rc<Inner>) {
    let rate = inner.options().scrub_bytes_per_second;
    if rate == 0 {
        return;
    }
    while !inner.stopping() {
        race(runtime::sleep(PAUSE), inner.stopped()).await;
        let found = inner.scrub(rate).await;
        if found > 0 {
            tracing::error!(
                shard = inner.id.get(),
                found,
                "the scrubber has found damage in the log"
            );
        }
    }
}

impl Inner {
    /// One round over all that is durable, at so many bytes a second; returns how many damaged ranges are new.
    pub(crate) async fn scrub(&self, bytes_per_second: u64) -> usize {
        let mut walk = self.scrub_walk();
        let mut found = 0;
        let mut position = self.positions.min.get();
        while !self.stopping() && position < self.positions.synced.get() {
            position = position.max(self.positions.min.get());
            if let Some(to) = self.quarantined(position) {
                position = to;
                continue;
            }
            let before = walk.bytes_read;
            match walk.batch(position, None).await {
                Ok(batch) => position = batch.next,
                Err(_) => {
                    let (to, is_new) = self.scrub_again(position).await;
                    found += usize::from(is_new);
                    position = to;
                    walk = self.scrub_walk();
                    continue;
                }
            }
            let read = walk.bytes_read - before;
            if read > 0 {
                let pause = Duration::from_nanos(read.saturating_mul(1_000_000_000) / bytes_per_second.max(1));
                race(runtime::sleep(pause), self.stopped()).await;
            }
        }
        found
    }

    fn scrub_walk(&self) -> LogWalk<'_> {
        LogWalk::with_window(&self.log, self.id, self.layout.store_id(), WINDOW_SIZE)
    }

    /// Looks once more at what did not check. Returns where to go on, and whether it is damage that nobody knew of.
    pub(crate) async fn scrub_again(&self, position: u64) -> (u64, bool) {
        let mut walk = self.scrub_walk();
        let reason = match walk.batch(position, None).await {
            Ok(batch) => return (batch.next, false),
            Err(reason) => reason.to_string(),
        };
        let synced = self.positions.synced.get();
        let to = walk
            .behind_damage(position)
            .await
            .map_or(synced, |gap| gap.to.min(synced));
        // Segments may have been deleted meanwhile: what is gone is not damaged.
        if position < self.positions.min.get() {
            return (self.positions.min.get(), false);
        }
        // A checkpoint under way would write over what is noted now.
        let _turn = self.wakes.checkpoint_turn.acquire().await;
        tracing::error!(shard = self.id.get(), from = position, to, %reason, "the log is damaged");
        self.checkpoint.last.borrow_mut().damage.push(DamagedRange {
            from: position,
            to,
            reason,
        });
        self.checkpoint.dirty.set(true);
        self.wakes.upkeep.notify_one();
        (to, true)
    }

    /// Where known damage at `position` ends.
    pub(crate) fn quarantined(&self, position: u64) -> Option<u64> {
        crate::recovery::known_damage(&self.checkpoint.last.borrow().damage, position)
    }
}
