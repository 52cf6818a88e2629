//! What a shard does beside its messages: segments ahead of the log, index files, checkpoints, and the end of old segments.
//!
//! Order of a checkpoint at position P, the confirm offset when it begins: snapshot of the broker's metadata, sync of the log to
//! P, indexes made durable, then the file. Tails of queues that were in no page at the checkpoint before are written now, so a
//! restart walks over two intervals at most.
//!
//! Order of a deletion: min moves up in memory, so that no reader starts there; the files go, durably; the indexes forget what
//! lies below. A crash in between leaves entries that the next start drops: min is where the first file begins. The other way
//! round it would leave messages that one index has and another has not.

use crate::checkpoint::Checkpoint;
use crate::error::{AppendError, Error};
use crate::imported;
use crate::inner::Inner;
use crate::options::Retention;
use crate::planted::{self, Bug};
use runtime::Instant;
use runtime::file::DiskSpace;
use runtime::sync::{Either, race};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// After so many checkpoints without a message between them all that is committed lies below what a restart reads.
const CHECKPOINTS_TO_CATCH_UP: usize = 3;
/// Bytes of segments made ready behind the one that is written: at least one segment, at most [`PREPARED_COUNT_MAX`].
const PREPARED_AHEAD: u64 = 16 << 20;
const PREPARED_COUNT_MAX: u64 = 8;
/// Bytes of index pages that may wait for a disk that does not take them.
pub(crate) const UNWRITTEN_PAGES_MAX: usize = 64 << 20;

/// Keeps segments ready ahead of the log.
pub(crate) async fn run_preparer(inner: Rc<Inner>) {
    while !inner.stopping() {
        let wait = match inner.prepare_ahead().await {
            Ok(()) => {
                inner.no_segment.replace(None);
                None
            }
            Err(error) => {
                let refusal = inner.no_segment_error(&error).await;
                if inner.no_segment.replace(Some(refusal)).is_none() {
                    tracing::error!(shard = inner.id.get(), %error, "no further segment can be made");
                    inner.wakes.retention.notify_one();
                }
                Some(RETRY)
            }
        };
        match wait {
            Some(delay) => race(runtime::sleep(delay), inner.stopped()).await.into_unit(),
            None => race(inner.wakes.preparer.notified(), inner.stopped()).await.into_unit(),
        }
    }
}

/// Writes index pages as they fill, and takes checkpoints.
pub(crate) async fn run_upkeep(inner: Rc<Inner>) {
    // What this start had to read the next one would read again, and more: a broker that never lives for long would start ever
    // later.
    let walked = inner.checkpoint.taken_at.get() - inner.checkpoint.last.borrow().start;
    let mut checkpoint_due = (walked >= inner.options().checkpoint_bytes).then(Instant::now);
    while !inner.stopping() {
        let mut retry = inner.write_indexes().await.is_err();
        let now = Instant::now();
        if inner.checkpoint.dirty.get() {
            checkpoint_due.get_or_insert(now + inner.options().checkpoint_interval);
        }
        let since = inner.positions.confirmed.get() - inner.checkpoint.taken_at.get();
        if checkpoint_due.is_some_and(|due| due <= now) || since >= inner.options().checkpoint_bytes {
            checkpoint_due = None;
            if let Err(error) = inner.take_checkpoint().await {
                tracing::error!(shard = inner.id.get(), %error, "no checkpoint");
                retry = true;
            }
        }
        if retry {
            inner.reserve.give_back_if_needed().await;
        }
        let wait = match (retry, checkpoint_due) {
            (true, _) => Some(RETRY),
            (false, Some(due)) => Some(due - Instant::now()),
            (false, None) => None,
        };
        let woken = race(inner.wakes.upkeep.notified(), inner.stopped());
        match wait {
            // After a failure not even a full page is a reason to hurry.
            Some(delay) if retry => race(runtime::sleep(delay), inner.stopped()).await.into_unit(),
            Some(delay) => race(runtime::sleep(delay), woken).await.into_unit(),
            None => woken.await.into_unit(),
        }
    }
}

/// Merges runs of the key index, slowly. Ends at once when the shard closes: half a merge is as good as none.
pub(crate) async fn run_merger(inner: Rc<Inner>) {
    let Some(keys) = &inner.keys else { return };
    while !inner.stopping() {
        match race(inner.stopped(), keys.merge()).await {
            Either::First(()) => return,
            Either::Second(Ok(true)) => {}
            Either::Second(Ok(false)) => race(inner.wakes.merger.notified(), inner.stopped()).await.into_unit(),
            Either::Second(Err(error)) => {
                tracing::warn!(shard = inner.id.get(), %error, "runs of the key index are not merged for now");
                race(runtime::sleep(RETRY), inner.stopped()).await.into_unit();
            }
        }
    }
}

/// Looks at the disk and deletes old segments.
pub(crate) async fn run_retention(inner: Rc<Inner>) {
    while !inner.stopping() {
        let full = match inner.retention_round().await {
            Ok(full) => full,
            Err(error) => {
                tracing::warn!(shard = inner.id.get(), %error, "old segments stay for now");
                inner.reserve.give_back_if_needed().await;
                false
            }
        };
        let delay = if full { RETRY } else { inner.retention().interval };
        let woken = race(inner.wakes.retention.notified(), inner.stopped());
        race(runtime::sleep(delay), woken).await.into_unit();
    }
}

/// Either way it is time to look again.
trait IntoUnit {
    fn into_unit(self);
}

impl<A, B> IntoUnit for runtime::sync::Either<A, B> {
    fn into_unit(self) {}
}

impl Inner {
    /// Makes the segment of the log's end ready, and those behind it.
    pub(crate) async fn prepare_ahead(&self) -> Result<(), Error> {
        let segment_size = self.layout.segment_size();
        let ahead = PREPARED_AHEAD.clamp(segment_size, PREPARED_COUNT_MAX * segment_size);
        while self.prepare_next(ahead).await? {}
        Ok(())
    }

    /// Makes the segment of the log's end ready: all that a start waits for.
    pub(crate) async fn prepare_current(&self) -> Result<(), Error> {
        while self.prepare_next(0).await? {}
        Ok(())
    }

    /// Makes one more segment ready, if less than `ahead` bytes are behind the one of the log's end.
    async fn prepare_next(&self, ahead: u64) -> Result<bool, Error> {
        let segment_size = self.layout.segment_size();
        let base = self.log.base_of(self.end());
        let next = self.positions.prepared.get().max(base);
        if next >= base + segment_size + ahead {
            return Ok(false);
        }
        match self.log.get(next) {
            Some(segment) => {
                let completed = self.log.complete(&segment).await;
                completed.map_err(Error::io("allocate", segment.path()))?;
            }
            None => {
                self.check_reserve().await?;
                self.log.prepare(next).await?;
                // The disk may be fuller now than it ought to be.
                self.wakes.retention.notify_one();
            }
        }
        self.positions.prepared.set(next + segment_size);
        self.wakes.zeros.notify_one();
        Ok(true)
    }

    /// Refuses a segment that would take what is set aside for a full disk. Commitlogs on a disk of their own take nothing from it.
    async fn check_reserve(&self) -> Result<(), Error> {
        if self.options().commitlog_dir.is_some() || self.reserve.is_left_by(self.layout.segment_size()).await {
            return Ok(());
        }
        let full = io::Error::from(io::ErrorKind::StorageFull);
        Err(Error::io("make a segment in", self.log.directory())(full))
    }

    /// What appends are told while no segment can be made.
    async fn no_segment_error(&self, error: &Error) -> AppendError {
        let space = self.log.disk_space().await.ok();
        match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => self.disk_full(space),
            _ => AppendError::Fenced(crate::error::FenceReason {
                action: "make a segment in",
                path: self.log.directory().to_owned(),
                answer: error.to_string(),
            }),
        }
    }

    fn disk_full(&self, space: Option<DiskSpace>) -> AppendError {
        runtime::mark!("append refused: disk full");
        let space = space.unwrap_or(DiskSpace { total: 0, available: 0 });
        AppendError::DiskFull {
            path: self.log.directory().to_owned(),
            available: space.available,
            used_percent: percent(space.used_ratio()),
        }
    }

    /// Writes full pages and tables. While the disk refuses, what waits is bounded by refusing appends.
    async fn write_indexes(&self) -> Result<(), Error> {
        let written = self.try_write_indexes().await;
        if let Err(error) = &written {
            tracing::warn!(shard = self.id.get(), %error, "index pages wait");
            let waiting = self.queues.stats().unwritten_bytes;
            if waiting > UNWRITTEN_PAGES_MAX {
                self.refusal.replace(Some(AppendError::Busy {
                    resource: "consume queue pages that could not be written",
                    used: waiting as u64,
                    limit: UNWRITTEN_PAGES_MAX as u64,
                }));
            }
        } else if matches!(&*self.refusal.borrow(), Some(AppendError::Busy { .. })) {
            self.refusal.replace(None);
        }
        written
    }

    async fn try_write_indexes(&self) -> Result<(), Error> {
        if self.queues.wants_write() {
            self.queues.write_pages().await?;
        }
        let Some(keys) = &self.keys else { return Ok(()) };
        if keys.wants_write() {
            keys.write_runs().await?;
            self.wakes.merger.notify_one();
        }
        self.feed_missing_keys(keys).await;
        Ok(())
    }

    /// Runs of the key index that turned out damaged are made again from the log.
    async fn feed_missing_keys(&self, keys: &crate::key_index::KeyIndex) {
        for range in keys.missing() {
            self.each_record(range.start, range.end, |position, view| {
                for key in crate::message::index_keys(view) {
                    keys.add(view.topic, key, position, view.store_timestamp);
                }
            })
            .await;
            keys.refed(&range);
        }
    }

    /// Takes a checkpoint of what is committed now.
    pub(crate) async fn take_checkpoint(&self) -> Result<(), Error> {
        self.checkpoint_at_least(self.checkpoint.taken_at.get(), false).await
    }

    /// Takes a checkpoint; no index needs to be fed from below `target`.
    pub(crate) async fn checkpoint_at_least(&self, target: u64, clean: bool) -> Result<(), Error> {
        let _turn = self.wakes.checkpoint_turn.acquire().await;
        self.check_fence()?;
        self.checkpoint.dirty.set(false);
        let position = self.positions.confirmed.get();
        // Until more is known, a walk may begin where the confirmed batches end.
        let end = (position, self.confirmed_crc.get());
        let mut next = self.checkpoint.last.borrow().clone();
        if self.checkpoint.used.get() {
            next.metadata = (self.hooks.snapshot)();
            next.metadata
                .extend(self.source_position.get().map(imported::position_record));
        }
        // Who waited for a commit may be about to note it: what came since the last checkpoint is taken from the log as well.
        next.snapshot_position = if clean {
            position
        } else {
            self.checkpoint.taken_at.get()
        };
        let taken = self.make_checkpoint(&mut next, end, target.min(position), clean).await;
        if taken.is_err() {
            self.checkpoint.dirty.set(true);
            return taken;
        }
        self.checkpoint.taken_at.set(position);
        self.checkpoint
            .deletable_to
            .set(self.checkpoint.last.borrow().start.min(next.start));
        self.drop_boundaries_below(next.start);
        if self.checkpoint.used.get() {
            // The next snapshot is the broker's again.
            next.metadata = Vec::new();
        }
        self.checkpoint.last.replace(next);
        self.wakes.merger.notify_one();
        Ok(())
    }

    async fn make_checkpoint(
        &self,
        next: &mut Checkpoint,
        (position, crc): (u64, u32),
        target: u64,
        clean: bool,
    ) -> Result<(), Error> {
        self.sync_to(position).await?;
        let mut start = self.queues.checkpoint(target, position).await?;
        if let Some(keys) = &self.keys {
            start = start.min(keys.checkpoint(target, position).await?);
        }
        start = start.min(next.snapshot_position);
        if planted::is(Bug::EarlyCheckpoint) {
            start = position;
        }
        let boundary = if start >= position {
            Some((position, crc))
        } else {
            self.boundary_below(start)
        };
        if let Some((boundary, previous_crc)) = boundary.filter(|(boundary, _)| *boundary >= next.start) {
            next.start = boundary;
            next.start_crc = previous_crc;
        }
        next.clean = clean;
        next.synced = self.positions.synced.get();
        if planted::is(Bug::EarlySyncedMark) {
            next.synced = self.positions.written.get().max(self.end());
        }
        next.end = position;
        next.newest_ms = self.ages.newest_ms(runtime::wall_clock_ms());
        next.unsynced_max = self.layout.unsynced_reach();
        runtime::mark!("checkpoint taken");
        next.write(&self.layout.shard_dir(self.id)).await
    }

    fn drop_boundaries_below(&self, start: u64) {
        let mut boundaries = self.boundaries.borrow_mut();
        while boundaries.get(1).is_some_and(|(second, _)| *second <= start) {
            boundaries.pop_front();
        }
    }

    /// Deletes what may go. Returns whether the disk is too full for appends.
    async fn retention_round(&self) -> Result<bool, Error> {
        self.reserve.take_if_roomy().await;
        let retention = self.retention();
        let path = self.log.directory();
        let space = self
            .log
            .disk_space()
            .await
            .map_err(Error::io("look at the disk of", path))?;
        let used = space.used_ratio();
        let hour = local_hour(&retention);
        if retention.force_ratio.is_some_and(|force_ratio| used >= force_ratio) {
            tracing::warn!(
                shard = self.id.get(),
                used_percent = percent(used),
                "the disk fills up: oldest segments go"
            );
            self.delete_old(retention.batch_max, Duration::ZERO).await?;
            self.log.drop_spares().await?;
        } else if used >= retention.clean_ratio || retention.delete_hours.contains(&hour) {
            self.delete_old(retention.batch_max, retention.reserved).await?;
        }
        let full = used >= retention.stop_ratio;
        if full {
            self.refusal.replace(Some(self.disk_full(Some(space))));
        } else if matches!(&*self.refusal.borrow(), Some(AppendError::DiskFull { .. })) {
            self.refusal.replace(None);
        }
        Ok(full || self.no_segment.borrow().is_some())
    }

    /// Deletes as [`Inner::delete_segments`] does. Only what lies below the last checkpoints may go, and a store that takes no
    /// messages, since its disk is full, takes no checkpoint by itself: they are taken here then.
    async fn delete_old(&self, count: usize, age: Duration) -> Result<(), Error> {
        for _ in 0..CHECKPOINTS_TO_CATCH_UP {
            let newest = self.log.base_of(self.positions.confirmed.get());
            if self.delete_segments(count, age).await? > 0 || self.checkpoint.deletable_to.get() >= newest {
                return Ok(());
            }
            self.take_checkpoint().await?;
        }
        self.delete_segments(count, age).await.map(drop)
    }

    /// Deletes up to `count` of the oldest segments whose records are all at least `age` old. Returns how many.
    pub(crate) async fn delete_segments(&self, count: usize, age: Duration) -> Result<usize, Error> {
        let _turn = self.wakes.checkpoint_turn.acquire().await;
        let now = self.ages.now();
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let bases = self.log.bases();
        let mut last = None;
        for pair in bases.windows(2).take(count) {
            let [base, next] = pair else { break };
            if *next > self.checkpoint.deletable_to.get() || *next > self.positions.synced.get() {
                break;
            }
            // Its last record is not younger than the first one behind it.
            let Some(following) = self.log.get(*next) else { break };
            let newest = self.first_store_time(&following).await?;
            let is_old = age.is_zero() || newest.is_some_and(|newest| now.saturating_sub(newest) >= age_ms);
            if !is_old {
                break;
            }
            last = Some((*base, *next));
        }
        let Some((last, min)) = last else { return Ok(0) };
        self.positions.min.set(min);
        self.cold.borrow_mut().remove_where(|start| start < min);
        let gone: Vec<u64> = bases.into_iter().filter(|base| *base <= last).collect();
        for base in &gone {
            runtime::mark!("segment deleted");
            tracing::info!(shard = self.id.get(), segment = base, "segment deleted");
            self.log.retire(*base).await?;
        }
        self.log.sync_names().await?;
        self.queues.drop_below(min).await?;
        if let Some(keys) = &self.keys {
            keys.drop_below(min).await?;
        }
        Ok(gone.len())
    }
}

fn percent(ratio: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a ratio of 0.0 to 1.0 is 0 to 100 percent"
    )]
    let percent = (ratio.clamp(0.0, 1.0) * 100.0) as u8;
    percent
}

/// Hour of the local day.
fn local_hour(retention: &Retention) -> u8 {
    let local_minutes = runtime::wall_clock_ms() / 60_000 + i64::from(retention.utc_offset_minutes);
    u8::try_from((local_minutes / 60).rem_euclid(24)).unwrap_or(0)
}

/// The time by which ages are judged. It never runs ahead of the monotonic clock by more than [`Ages::LEAP_MAX`], counted from
/// the newest record of the log at the start, so that a wall clock that jumps years ahead deletes nothing. A broker that was
/// down, or idle, for long keeps its data a little longer for it.
#[derive(Debug)]
pub(crate) struct Ages {
    newest_ms: i64,
    since: Instant,
    warned: Cell<bool>,
}

impl Ages {
    const LEAP_MAX: Duration = Duration::from_secs(3600);

    /// Counts from a time of the wall clock, in milliseconds since 1970, at which the newest record was stored.
    pub(crate) fn new(newest_ms: i64) -> Ages {
        Ages {
            newest_ms,
            since: Instant::now(),
            warned: Cell::default(),
        }
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        let wall = runtime::wall_clock_ms();
        let judged = self.newest_ms(wall);
        if wall > judged && !self.warned.replace(true) {
            tracing::warn!(
                wall_clock_ms = wall,
                judged_by_ms = judged,
                "the wall clock is ahead of the newest message by more than this broker has run: ages are judged by the latter"
            );
        }
        judged
    }

    /// `wall`, as far as it can be believed.
    fn newest_ms(&self, wall: i64) -> i64 {
        let ahead = self.since.elapsed() + Self::LEAP_MAX;
        wall.min(
            self.newest_ms
                .saturating_add(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_ahead_makes_nothing_old() {
        let year_ms = 365 * 24 * 3_600_000;
        let ages = Ages::new(1_000_000_000_000);
        assert_eq!(ages.newest_ms(1_000_000_000_500), 1_000_000_000_500);
        assert_eq!(
            ages.newest_ms(900_000_000_000),
            900_000_000_000,
            "nor does one that jumps back"
        );
        let judged = ages.newest_ms(1_000_000_000_000 + year_ms);
        assert!(judged < 1_000_000_000_000 + 2 * 3_600_000, "{judged}");
    }

    #[test]
    fn the_hour_is_that_of_the_people_who_run_the_broker() {
        let hour = |utc_offset_minutes| {
            local_hour(&Retention {
                utc_offset_minutes,
                ..Retention::default()
            })
        };
        assert_eq!((hour(0) + 8) % 24, hour(8 * 60));
        assert_eq!(hour(-24 * 60), hour(24 * 60));
    }

    #[test]
    fn percents_stay_within_what_they_can_be() {
        assert_eq!(
            (percent(0.0), percent(0.756), percent(1.0), percent(7.0)),
            (0, 75, 100, 100)
        );
    }
}
