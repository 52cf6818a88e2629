//! Copies of a log: what a shard gives to those that follow it, and what it takes when it follows another.
//!
//! What travels are whole batches, byte for byte as they lie in the log: records, seal, and the blank record where a segment
//! ends. A follower takes a batch only if it is the next one: it begins where its own log ends, its seal names the seal before
//! it, and its checksum covers the bytes. The seals are a chain, so two logs whose last seals are the same hold the same bytes
//! up to there.
//!
//! A follower's batches go through the same writer as a master's, and are indexed at their commit.

use crate::checkpoint::DamagedRange;
use crate::control_record::{
    KIND_DELETE_TOPIC, KIND_QUEUE_BEGIN, Kind, Meta, SEAL_SIZE, Seal, kind_and_size, own_offset,
};
use crate::error::{AppendError, FenceReason, ReadError};
use crate::imported::QueueBegin;
use crate::inner::Inner;
use crate::message::{Arrival, BatchId, META_KIND_MAX, MetaRecord, in_consume_queue, index_keys};
use crate::shard::Shard;
use crate::staging::Batch;
use bytes::{Buf as _, Bytes};
use protocol::message::record::{self, RecordView};
use runtime::Instant;
use std::io;

/// Bytes that are looked through at once.
const LOOK_SIZE: usize = 1 << 20;

/// Where a log stands: two logs that say the same here hold the same bytes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// Byte position in the shard's log, the begin of a batch.
    pub position: u64,
    /// Checksum of the seal before it; 0 at the begin of a log.
    pub chain: u32,
}

/// Why a batch of another log was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CopyError {
    /// It does not follow what is there.
    #[error("the copied batch at {found} does not follow the log, which ends at {end}: {reason}")]
    NotNext {
        /// Where the batch begins.
        found: u64,
        /// Where the log ends.
        end: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// The bytes are not what was sealed.
    #[error("a copied batch for position {position} is damaged: {reason}")]
    Damaged {
        /// Where it would begin.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store has no room for it now, or no more at all.
    #[error(transparent)]
    Refused(#[from] AppendError),
}

impl Shard {
    /// From now on the log takes copies of another's batches, and no appends of its own.
    pub fn follow(&self) {
        self.0.follows.set(true);
    }

    /// From now on the log takes appends of its own again, behind what was copied. All of that must be committed.
    pub fn lead(&self) {
        self.0.follows.set(false);
    }

    /// Whether the log follows another.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.0.follows.get()
    }

    /// Where the log ends, counting what is appended and not committed: the next copied batch must begin here.
    #[must_use]
    pub fn log_end(&self) -> LogPosition {
        self.0.staging.borrow().log_end()
    }

    /// Bytes up to here are written; what a follower may be given.
    #[must_use]
    pub fn committed_position(&self) -> u64 {
        self.0.positions.confirmed.get()
    }

    /// Bytes up to here are durable.
    #[must_use]
    pub fn synced_position(&self) -> u64 {
        self.0.positions.synced.get()
    }

    /// Makes an empty log begin where another one does now, since that one's older segments are gone.
    ///
    /// # Errors
    /// [`CopyError::NotNext`] when the log is not empty or the position is no begin of a segment.
    pub fn begin_at(&self, begin: LogPosition) -> Result<(), CopyError> {
        self.0.begin_at(begin)
    }

    /// Takes copied batches, one or more, that begin where the log ends, and leaves in `batches` what was not taken. They are written
    /// and indexed as the shard's own.
    ///
    /// # Errors
    /// [`CopyError`], of the first one that was not taken. [`AppendError::Busy`] passes: try again with the rest.
    pub fn append_copied(&self, batches: &mut Bytes) -> Result<(), CopyError> {
        self.0.append_copied(batches)
    }

    /// Committed batches from `position` on, a batch's begin: about `bytes_max` bytes, at least one batch, none at the end of what
    /// is committed. With each part comes the position behind it, where the next one begins.
    ///
    /// # Errors
    /// [`ReadError`]; there is no batch at this position.
    pub async fn batches_from(&self, position: u64, bytes_max: usize) -> Result<Vec<(Bytes, u64)>, ReadError> {
        self.0.batches_from(position, bytes_max).await
    }

    /// Where one that copies this log goes on, when what lies at `position` is damaged. The damage is noted, if nobody knew of it; `None` when
    /// there is none after all.
    pub async fn behind_damage(&self, position: u64) -> Option<LogPosition> {
        self.0.behind_damage(position).await
    }

    /// Leaves a part of the log out, which the log that is copied has lost; readers get it as damaged. Waits for what is under way.
    ///
    /// # Errors
    /// [`CopyError`]: nothing is left out then.
    pub async fn skip_to(&self, to: LogPosition) -> Result<(), CopyError> {
        self.0.skip_to(to).await
    }

    /// The checksum of the seal before a position: what [`LogPosition::chain`] of a log that is the same up to there must be.
    /// `None` where no batch begins, or none that is there still.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn chain_at(&self, position: u64) -> Result<Option<u32>, ReadError> {
        self.0.chain_at(position).await
    }

    /// Waits until more than `position` is committed, or the shard is closing or fenced.
    pub async fn grown_beyond(&self, position: u64) {
        loop {
            let woken = self.0.wakes.commit.notified();
            if self.0.positions.confirmed.get() > position || self.0.stopping() {
                return;
            }
            woken.await;
        }
    }

    /// Whether the shard takes nothing more: it is closing or fenced.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping()
    }
}

impl Inner {
    fn begin_at(&self, begin: LogPosition) -> Result<(), CopyError> {
        let end = self.end();
        let refuse = |reason| {
            Err(CopyError::NotNext {
                found: begin.position,
                end,
                reason,
            })
        };
        if end != 0 || self.positions.confirmed.get() != 0 {
            return refuse("the log is not empty");
        }
        if self.log.base_of(begin.position) != begin.position {
            return refuse("a log begins with a segment");
        }
        self.positions.min.set(begin.position);
        self.positions.prepared.set(begin.position);
        self.stand_at(begin);
        Ok(())
    }

    async fn behind_damage(&self, position: u64) -> Option<LogPosition> {
        let mut to = position;
        while to < self.positions.confirmed.get() {
            let damaged = matches!(self.batches_from(to, 1).await, Err(ReadError::Damaged { .. }));
            if damaged && self.quarantined(to).is_none() {
                let (_to, _new) = self.scrub_again(to).await;
            }
            match self.quarantined(to) {
                Some(further) => to = further,
                None => break,
            }
        }
        if to == position {
            return None;
        }
        let chain = self.chain_at(to).await.ok()??;
        Some(LogPosition { position: to, chain })
    }

    async fn skip_to(&self, to: LogPosition) -> Result<(), CopyError> {
        while self.positions.confirmed.get() < self.end() {
            let woken = self.wakes.commit.notified();
            self.check_fence()?;
            woken.await;
        }
        let end = self.end();
        if to.position <= end {
            return Err(CopyError::NotNext {
                found: to.position,
                end,
                reason: "a part that is lost there is here",
            });
        }
        self.sync_to(end).await?;
        {
            // A checkpoint under way would write over what is noted now.
            let _turn = self.wakes.checkpoint_turn.acquire().await;
            self.checkpoint.last.borrow_mut().damage.push(DamagedRange {
                from: end,
                to: to.position,
                reason: "it was damaged where it was copied from".to_owned(),
            });
            self.stand_at(to);
        }
        // Durable before anything is written behind it: a start would take the hole for the log's end.
        self.take_checkpoint().await.map_err(|error| {
            CopyError::from(self.fence_with("note damage of", self.log.directory().to_owned(), &error))
        })?;
        self.wakes.commit.notify_waiters();
        Ok(())
    }

    /// The log goes on here, with nothing under way.
    fn stand_at(&self, place: LogPosition) {
        self.log_writer.skip_to(self.end(), place.position);
        self.staging.borrow_mut().begin_at(place);
        let positions = &self.positions;
        for position in [
            &positions.written,
            &positions.synced,
            &positions.confirmed,
            &positions.writeback,
        ] {
            position.set(place.position);
        }
        self.confirmed_crc.set(place.chain);
        self.wakes.preparer.notify_one();
    }

    fn append_copied(&self, batches: &mut Bytes) -> Result<(), CopyError> {
        while !batches.is_empty() {
            self.room_for_copies()?;
            let end = self.staging.borrow().log_end();
            let seal = self.check_copied(batches, end)?;
            let size = seal.length as usize + SEAL_SIZE;
            let with_blank = if seal.ends_segment {
                size + record::BLANK_SIZE_MIN
            } else {
                size
            };
            if with_blank > batches.len() {
                return Err(CopyError::Damaged {
                    position: end.position,
                    reason: "it ends before its segment does".to_owned(),
                });
            }
            let batch = self.copied_batch(&seal, batches.slice(..with_blank))?;
            batches.advance(with_blank);
            self.staging.borrow_mut().push_copied(batch);
            self.wake_writer();
        }
        Ok(())
    }

    fn room_for_copies(&self) -> Result<(), AppendError> {
        if self.closing.get() {
            return Err(AppendError::Closing);
        }
        if let Some(reason) = self.fenced() {
            return Err(AppendError::Fenced(reason));
        }
        if let Some(refusal) = &*self.refusal.borrow() {
            return Err(refusal.clone());
        }
        let end = self.end();
        let (waiting, limit) = (
            end - self.positions.confirmed.get(),
            self.options().staged_bytes_max as u64,
        );
        if waiting > limit {
            return Err(AppendError::Busy {
                resource: "bytes copied and not committed",
                used: waiting,
                limit,
            });
        }
        if end >= self.positions.prepared.get() {
            self.wakes.preparer.notify_one();
            let not_ready_yet = AppendError::Busy {
                resource: "segments made ready",
                used: end,
                limit: self.positions.prepared.get(),
            };
            return Err(self.no_segment.borrow().clone().unwrap_or(not_ready_yet));
        }
        // The next segment is made while this one fills.
        if self.log.end_of(end) >= self.positions.prepared.get() {
            self.wakes.preparer.notify_one();
        }
        Ok(())
    }

    /// The seal of the batch that `bytes` begin with, if the batch is sound and the next one.
    fn check_copied(&self, bytes: &Bytes, end: LogPosition) -> Result<Seal, CopyError> {
        let damaged = |reason: String| CopyError::Damaged {
            position: end.position,
            reason,
        };
        let not_next = |found, reason| CopyError::NotNext {
            found,
            end: end.position,
            reason,
        };
        let (mut at, mut records) = (0_usize, 0_u32);
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let (kind, size) =
                kind_and_size(rest).ok_or_else(|| damaged(format!("no record begins {at} bytes into it")))?;
            let record = rest
                .get(..size)
                .ok_or_else(|| damaged(format!("its record {at} bytes into it is cut off")))?;
            if kind != Kind::Seal {
                let position = end.position + at as u64;
                if own_offset(kind, record) != Some(self.physical(position)) {
                    return Err(not_next(end.position, "a record of it says that it lies elsewhere"));
                }
                at += size;
                records += 1;
                continue;
            }
            let seal = Seal::decode(record).ok_or_else(|| damaged("its seal is damaged".to_owned()))?;
            if seal.shard != self.id || seal.store_id != self.layout.store_id() {
                return Err(not_next(seal.start, "it is of another store"));
            }
            if seal.start != end.position || seal.length as usize != at || seal.records != records {
                return Err(not_next(seal.start, "its seal is of another batch"));
            }
            if seal.previous != end.chain {
                return Err(not_next(seal.start, "it follows another seal than the last one here"));
            }
            if crc32fast::hash(bytes.get(..at).unwrap_or_default()) != seal.batch_crc {
                return Err(damaged("its checksum does not match".to_owned()));
            }
            if !seal.ends_segment && seal.end() >= self.log.end_of(seal.start) {
                return Err(damaged("it leads out of its segment".to_owned()));
            }
            return Ok(seal);
        }
    }

    /// A checked batch as the writer takes it, with what its commit makes visible.
    fn copied_batch(&self, seal: &Seal, bytes: Bytes) -> Result<Batch, CopyError> {
        let mut batch = Batch {
            id: BatchId(0),
            start: seal.start,
            end: if seal.ends_segment {
                self.log.end_of(seal.start)
            } else {
                seal.end()
            },
            previous_crc: seal.previous,
            crc: seal.crc,
            arrivals: Vec::new(),
            deletions: Vec::new(),
            metadata: Vec::new(),
            source_position: None,
            begins: Vec::new(),
            opened: Instant::now(),
            bytes: Bytes::new(),
        };
        let mut at = 0_usize;
        while at < seal.length as usize {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some((kind, size)) = kind_and_size(rest) else { break };
            let record = rest.get(..size).unwrap_or_default();
            let position = seal.start + at as u64;
            match kind {
                Kind::Message => self.note_copied_message(position, record, &mut batch)?,
                Kind::Meta => note_copied_metadata(position, record, &mut batch),
                Kind::Seal => {}
            }
            at += size;
        }
        batch.bytes = bytes;
        Ok(batch)
    }

    fn note_copied_message(&self, position: u64, bytes: &[u8], batch: &mut Batch) -> Result<(), CopyError> {
        let record = RecordView::decode(bytes).map_err(|error| CopyError::Damaged {
            position: batch.start,
            reason: format!("its record at {position} cannot be read: {error}"),
        })?;
        if in_consume_queue(&record) {
            let queue = self.queues.queue(record.topic, record.queue_id.get());
            let queue = queue.map_err(|error| {
                AppendError::Fenced(self.fence_with("index a copied batch in", self.queues_directory(), &error))
            })?;
            batch.arrivals.push(Arrival {
                queue,
                queue_offset: record.queue_offset,
                physical_offset: self.physical(position),
                size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                tag_hash: (self.hooks.tag_hash)(&record),
                store_timestamp: record.store_timestamp,
            });
        }
        if let Some(keys) = &self.keys {
            for key in index_keys(&record) {
                keys.add(record.topic, key, position, record.store_timestamp);
            }
        }
        Ok(())
    }

    pub(crate) async fn batches_from(&self, position: u64, bytes_max: usize) -> Result<Vec<(Bytes, u64)>, ReadError> {
        let mut parts = self.batches_in_memory(position, bytes_max);
        if parts.is_empty() && position < self.positions.confirmed.get() {
            let batches = self.batches_on_disk(position, bytes_max).await?;
            let next = self.behind(position, &batches);
            parts.push((batches, next));
        }
        Ok(parts)
    }

    fn batches_in_memory(&self, position: u64, bytes_max: usize) -> Vec<(Bytes, u64)> {
        let tail = self.tail.borrow();
        let (mut parts, mut bytes, mut next) = (Vec::new(), 0, position);
        while bytes < bytes_max && next < self.positions.confirmed.get() {
            let Some(batch) = tail.batch(next) else { break };
            bytes += batch.len();
            next = self.behind(next, &batch);
            parts.push((batch, next));
        }
        parts
    }

    /// Where the next batch begins behind these, which begin at `position`.
    fn behind(&self, position: u64, batch: &[u8]) -> u64 {
        let last = batch.len().checked_sub(SEAL_SIZE).and_then(|at| batch.get(at..));
        match last.and_then(Seal::decode) {
            Some(seal) => seal.end(),
            // A blank record follows the seal: the segment ends.
            None => self.log.end_of(position),
        }
    }

    async fn batches_on_disk(&self, position: u64, bytes_max: usize) -> Result<Bytes, ReadError> {
        let committed = self.readable_end().min(self.log.end_of(position));
        let mut wanted = bytes_max.max(SEAL_SIZE);
        loop {
            let size = usize::try_from(committed - position).unwrap_or(usize::MAX).min(wanted);
            let read = self.log.read(position, size).await;
            let bytes = read.map_err(|error| self.unreadable(position, size, &error))?;
            let whole = sound_batches(&bytes);
            if whole > 0 {
                return Ok(bytes.slice(..whole));
            }
            if size < wanted || bytes.len() < size || whole_batches(&bytes) > 0 {
                return Err(ReadError::Damaged {
                    physical_offset: self.physical(position),
                    reason: "no batch begins there, or not as it was sealed".to_owned(),
                    next: None,
                });
            }
            // One batch is longer than all that was asked for.
            wanted = wanted.saturating_mul(4);
        }
    }

    fn unreadable(&self, position: u64, size: usize, error: &io::Error) -> ReadError {
        ReadError::Io {
            physical_offset: self.physical(position),
            size,
            path: self.log.directory().to_owned(),
            reason: error.to_string(),
        }
    }

    async fn chain_at(&self, position: u64) -> Result<Option<u32>, ReadError> {
        let end = self.positions.confirmed.get();
        if position == end {
            return Ok(Some(self.confirmed_crc.get()));
        }
        if position > end || position < self.positions.min.get() {
            return Ok(None);
        }
        let parts = match self.batches_from(position, 1).await {
            // The batch there says nothing any more, but the one before it may.
            Err(ReadError::Damaged { .. }) => return Ok(self.seal_that_ends_at(position).await),
            parts => parts?,
        };
        let first = parts.first().map_or(&[][..], |(bytes, _next)| &bytes[..]);
        Ok(first_seal(first)
            .filter(|seal| seal.start == position)
            .map(|seal| seal.previous))
    }

    /// The checksum of the seal of the batch that ends at a position, if it can be read.
    async fn seal_that_ends_at(&self, position: u64) -> Option<u32> {
        let before = position.checked_sub(1)?;
        let base = self.log.base_of(before).max(self.positions.min.get());
        let mut at = self.boundary_below(before).map_or(base, |(start, _)| start.max(base));
        let mut found = None;
        while at < position && found.is_none() {
            let parts = self.batches_from(at, LOOK_SIZE).await.ok()?;
            for (batches, next) in parts {
                for_each_seal(&batches, |seal| {
                    let end = if seal.ends_segment {
                        self.log.end_of(seal.start)
                    } else {
                        seal.end()
                    };
                    if end == position {
                        found = Some(seal.crc);
                    }
                });
                at = next;
            }
        }
        found
    }

    /// Why the log takes no appends of its own, if it follows another.
    pub(crate) fn check_follows(&self) -> Result<(), AppendError> {
        if self.follows.get() {
            Err(AppendError::Follows)
        } else {
            Ok(())
        }
    }
}

fn note_copied_metadata(position: u64, bytes: &[u8], batch: &mut Batch) {
    let Some(meta) = Meta::decode(bytes) else { return };
    if meta.kind == KIND_DELETE_TOPIC {
        let topic = String::from_utf8_lossy(meta.payload).into_owned();
        batch.deletions.push((batch.arrivals.len(), position, topic));
    } else if meta.kind == KIND_QUEUE_BEGIN {
        let begin = QueueBegin::decode(meta.payload);
        batch.begins.extend(begin.map(|begin| (begin, position)));
    } else if meta.kind <= META_KIND_MAX {
        batch.metadata.push(MetaRecord {
            kind: meta.kind,
            payload: meta.payload.to_vec(),
        });
    }
}

/// The seal of the batch that `bytes` begin with.
fn first_seal(bytes: &[u8]) -> Option<Seal> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        match kind_and_size(rest)? {
            (Kind::Seal, size) => return Seal::decode(rest.get(..size)?),
            (Kind::Message | Kind::Meta, size) => at += size,
        }
    }
}

/// Visits the seals of whole batches.
pub(crate) fn for_each_seal(mut batches: &[u8], mut visit: impl FnMut(&Seal)) {
    while let Some(seal) = first_seal(batches) {
        visit(&seal);
        if seal.ends_segment {
            return;
        }
        batches = batches.get(seal.length as usize + SEAL_SIZE..).unwrap_or_default();
    }
}

/// As [`whole_batches`], up to the first that is not what was sealed.
fn sound_batches(bytes: &[u8]) -> usize {
    let whole = bytes.get(..whole_batches(bytes)).unwrap_or_default();
    let (mut rest, mut sound) = (whole, 0);
    while let Some(seal) = first_seal(rest) {
        let records = rest.get(..seal.length as usize).unwrap_or_default();
        if crc32fast::hash(records) != seal.batch_crc {
            return sound;
        }
        if seal.ends_segment {
            return whole.len();
        }
        sound += records.len() + SEAL_SIZE;
        rest = whole.get(sound..).unwrap_or_default();
    }
    sound
}

/// Bytes of the whole batches that `bytes` begin with, with the blank record where one ends the segment.
fn whole_batches(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(seal) = bytes.get(whole..).and_then(first_seal) {
        let size = seal.length as usize + SEAL_SIZE;
        let with_blank = if seal.ends_segment {
            size + record::BLANK_SIZE_MIN
        } else {
            size
        };
        if whole + with_blank > bytes.len() {
            break;
        }
        whole += with_blank;
        if seal.ends_segment {
            break;
        }
    }
    whole
}

impl From<FenceReason> for CopyError {
    fn from(reason: FenceReason) -> CopyError {
        CopyError::Refused(AppendError::Fenced(reason))
    }
}
