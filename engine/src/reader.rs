//! Reading: messages of a queue, records by position, by time and by key.
//!
//! Newest records come from the tail cache, as slices of the bytes that were written. Older ones are read from the disk in
//! blocks that are kept within a bound; the block of a record usually holds its neighbours too. What comes from the disk is
//! checked before it is given away: its batch must match its seal, and it must be a whole record, lie where it says, belong to
//! the queue it was asked from, and its body must match its CRC.

use crate::error::ReadError;
use crate::inner::{Inner, add};
use crate::key_index::KeyQuery;
use crate::message::index_keys;
use crate::read::{Boundary, KeyRequest, KeyResult, ReadRequest, ReadResult, ReadStatus};
use crate::{Entry, IndexError, QueueSlot};
use bytes::Bytes;
use protocol::message::record::{self, RecordView};
use protocol::model::{PhysicalOffset, QueueOffset};
use std::sync::Arc;

/// Most consume queue entries that one read looks at, whatever the filter leaves of them (RocketMQ's 16,000 bytes of entries).
const ENTRIES_MAX: usize = 800;
/// Positions that one look into the key index gives.
const CANDIDATES_MAX: usize = 256;

/// A read under way: what it has found and may still take.
struct Gathering {
    result: ReadResult,
    bytes_max: usize,
    messages_max: usize,
    /// Where the last part begins and ends in the log.
    last: Option<(u64, u64)>,
}

/// Whether a read takes more.
#[derive(PartialEq, Eq)]
enum Step {
    More,
    Full,
}

impl Inner {
    /// All from memory, or `None`.
    pub(crate) fn read_hot(&self, request: &ReadRequest) -> Option<ReadResult> {
        let mut gathering = match self.begin_read(request) {
            Ok(gathering) => gathering,
            Err(ended) => return Some(ended),
        };
        let mut entries = Vec::with_capacity(request.max_messages.min(ENTRIES_MAX));
        let mut looked_at = 0;
        while looked_at < ENTRIES_MAX {
            entries.clear();
            let from = gathering.result.next.0;
            if from >= gathering.result.max.0 {
                break;
            }
            let wanted = gathering
                .messages_max
                .saturating_sub(gathering.result.count)
                .clamp(1, ENTRIES_MAX);
            let count = self.queues.entries_hot(request.queue, from, wanted, &mut entries);
            if count == 0 {
                // The rest is for a read that may wait; what is there is given at once.
                runtime::mark!("read that waits for the disk");
                return (gathering.result.count > 0).then(|| gathering.finish(self));
            }
            looked_at += count;
            for entry in &entries {
                if !request.wants(entry.tag_hash) {
                    gathering.skip();
                    continue;
                }
                if gathering.is_full(self, entry) {
                    return Some(gathering.finish(self));
                }
                let Some(record) = self.tail.borrow().get(entry.position, entry.record_size as usize) else {
                    return (gathering.result.count > 0).then(|| gathering.finish(self));
                };
                gathering.take_hot(self, entry, record);
            }
        }
        Some(gathering.finish(self))
    }

    pub(crate) async fn read(&self, request: &ReadRequest) -> Result<ReadResult, ReadError> {
        let mut gathering = match self.begin_read(request) {
            Ok(gathering) => gathering,
            Err(ended) => return Ok(ended),
        };
        let (topic, queue_id) = self.queues.name(request.queue);
        let mut looked_at = 0;
        while looked_at < ENTRIES_MAX && gathering.result.next < gathering.result.max {
            let wanted = gathering
                .messages_max
                .saturating_sub(gathering.result.count)
                .clamp(1, ENTRIES_MAX);
            let entries = match self.entries(request.queue, gathering.result.next.0, wanted).await {
                Ok(entries) => entries,
                // What was found before the damage is given; the next read meets it first.
                Err(_) if gathering.result.count > 0 => break,
                Err(error) => return Err(error),
            };
            if entries.is_empty() {
                return Ok(self.vanished(request, gathering));
            }
            looked_at += entries.len();
            for entry in &entries {
                let at = gathering.result.next;
                match self.step(request, &mut gathering, entry, (&topic, queue_id, at)).await {
                    Ok(Step::More) => {}
                    Ok(Step::Full) => return Ok(gathering.finish(self)),
                    Err(_) if gathering.result.count > 0 => return Ok(gathering.finish(self)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(gathering.finish(self))
    }

    async fn step(
        &self,
        request: &ReadRequest,
        gathering: &mut Gathering,
        entry: &Entry,
        (topic, queue_id, queue_offset): (&Arc<str>, u32, QueueOffset),
    ) -> Result<Step, ReadError> {
        if !request.wants(entry.tag_hash) {
            gathering.skip();
            return Ok(Step::More);
        }
        if gathering.is_full(self, entry) {
            return Ok(Step::Full);
        }
        let size = entry.record_size as usize;
        let hot = self.tail.borrow().get(entry.position, size);
        if let Some(record) = hot {
            gathering.take_hot(self, entry, record);
            return Ok(Step::More);
        }
        let checked = self.checked_on_disk(entry.position, size).await;
        let Some(record) = checked.map_err(|error| with_next(error, queue_offset))? else {
            // Its segment was deleted after the queue was asked.
            gathering.skip_removed();
            return Ok(Step::More);
        };
        let is_it = |view: &RecordView<'_>| {
            view.topic == &**topic && view.queue_id.get() == queue_id && view.queue_offset == queue_offset
        };
        self.check(entry.position, &record, is_it)
            .map_err(|error| with_next(error, queue_offset))?;
        gathering.take(entry, record);
        add(&self.counters.read_cold, 1);
        Ok(Step::More)
    }

    /// Status of what cannot be read at all, or a read that can begin.
    fn begin_read(&self, request: &ReadRequest) -> Result<Gathering, ReadResult> {
        let bounds = self.queues.bounds(request.queue);
        let (min, max, from) = (bounds.start, bounds.end, request.from.0);
        let none = |status, next| Err(ReadResult::none(status, next, min, max));
        if max == 0 {
            return none(ReadStatus::NoMessageInQueue, 0);
        }
        if from < min {
            return none(ReadStatus::OffsetTooSmall, min);
        }
        if from == max {
            return none(ReadStatus::OffsetOverflowOne, from);
        }
        if from > max {
            return none(ReadStatus::OffsetOverflowBadly, max);
        }
        Ok(Gathering {
            result: ReadResult::none(ReadStatus::NoMatchedMessage, from, min, max),
            bytes_max: request.max_bytes.unwrap_or(usize::MAX),
            messages_max: request.max_messages.max(1),
            last: None,
        })
    }

    /// The queue said that it has this message, and then had no entry for it.
    fn vanished(&self, request: &ReadRequest, gathering: Gathering) -> ReadResult {
        if gathering.result.count > 0 {
            return gathering.finish(self);
        }
        let bounds = self.queues.bounds(request.queue);
        let (status, next) = if request.from.0 < bounds.start {
            (ReadStatus::OffsetTooSmall, bounds.start)
        } else {
            (ReadStatus::OffsetFoundNull, request.from.0)
        };
        ReadResult::none(status, next, bounds.start, bounds.end)
    }

    /// Entries of a queue; where they are damaged they are made again from the log.
    pub(crate) async fn entries(&self, queue: QueueSlot, from: i64, count: usize) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::with_capacity(count.min(ENTRIES_MAX));
        match self.queues.entries(queue, from, count, &mut entries).await {
            Ok(_) => return Ok(entries),
            Err(IndexError::Hole(hole)) => self.fill(&hole).await?,
            Err(error) => return Err(error.into()),
        }
        entries.clear();
        match self.queues.entries(queue, from, count, &mut entries).await {
            Ok(_) => Ok(entries),
            Err(IndexError::Hole(hole)) => Err(ReadError::Lost {
                topic: hole.topic,
                queue_id: hole.queue_id,
                queue_offsets: hole.queue_offsets,
                reason: hole.reason,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the entries of a hole in place, from the records of the log.
    async fn fill(&self, hole: &crate::consume_queue::Hole) -> Result<(), ReadError> {
        tracing::warn!(shard = self.id.get(), %hole, "consume queue entries are made again from the log");
        let from = hole.positions.start.max(self.positions.min.get());
        let to = hole.positions.end.min(self.positions.confirmed.get());
        let mut entries: Vec<(i64, Entry)> = Vec::new();
        self.each_record(from, to, |position, view| {
            let is_it = view.topic == hole.topic && view.queue_id.get() == hole.queue_id;
            if is_it && crate::message::in_consume_queue(view) {
                let entry = Entry {
                    position,
                    record_size: u32::try_from(view.size()).unwrap_or(u32::MAX),
                    tag_hash: (self.hooks.tag_hash)(view),
                };
                entries.push((view.queue_offset.0, entry));
            }
        })
        .await;
        self.queues.fill(hole, &entries).await.map_err(ReadError::from)
    }

    /// Visits the records of sound batches between two positions.
    pub(crate) async fn each_record(&self, from: u64, to: u64, mut visit: impl FnMut(u64, &RecordView<'_>)) {
        if self.drain_to(to.min(self.positions.confirmed.get())).await.is_err() {
            tracing::warn!(shard = self.id.get(), to, "what could not be written is not visited");
        }
        let mut walk = crate::log_walk::LogWalk::new(&self.log, self.id, self.layout.store_id());
        let boundary = self.boundary_below(from).map(|(start, _)| start);
        let mut position = boundary.unwrap_or(self.log.base_of(from)).max(self.positions.min.get());
        while position < to {
            let Ok(batch) = walk.batch(position, None).await else {
                match walk.behind_damage(position).await {
                    Some(gap) => position = gap.to,
                    None => return,
                }
                continue;
            };
            for (kind, at, bytes) in crate::log_walk::records(&batch) {
                if kind == crate::control_record::Kind::Message
                    && (from..to).contains(&at)
                    && let Ok(view) = RecordView::decode(&bytes)
                {
                    visit(at, &view);
                }
            }
            position = batch.next;
            // A long walk shares the core with everybody else.
            runtime::yield_now().await;
        }
    }

    /// Checks what came from the disk.
    fn check(
        &self,
        position: u64,
        bytes: &Bytes,
        is_it: impl FnOnce(&RecordView<'_>) -> bool,
    ) -> Result<(), ReadError> {
        let physical_offset = self.physical(position);
        let damaged = |reason: String| ReadError::Damaged {
            physical_offset,
            reason,
            next: None,
        };
        let view = RecordView::decode(bytes).map_err(|error| damaged(error.to_string()))?;
        if view.size() != bytes.len() || view.physical_offset != physical_offset {
            return Err(damaged("another record lies there".to_owned()));
        }
        view.check_body().map_err(|error| damaged(error.to_string()))?;
        if is_it(&view) {
            Ok(())
        } else {
            Err(damaged(format!(
                "it is message {} of queue {} of topic {}",
                view.queue_offset, view.queue_id, view.topic
            )))
        }
    }

    /// The message that begins at `position`; `None` where none does.
    pub(crate) async fn record_at(&self, position: u64) -> Result<Option<Bytes>, ReadError> {
        let positions = &self.positions;
        if position < positions.min.get() || position >= positions.confirmed.get() {
            return Ok(None);
        }
        let hot = self.tail.borrow().rest_of_batch(position);
        if let Some(rest) = hot {
            let whole = RecordView::decode(&rest)
                .ok()
                .map(|view| (view.size(), view.physical_offset));
            let is_here = whole.filter(|(_, own)| *own == self.physical(position));
            return Ok(is_here.map(|(size, _)| rest.slice(..size)));
        }
        let Some(header) = self.on_disk(position, record::PHYSICAL_OFFSET_AT + 8).await? else {
            return Ok(None);
        };
        let Some((crate::control_record::Kind::Message, size)) = crate::control_record::kind_and_size(&header) else {
            return Ok(None);
        };
        // The asker may have made the position up: what does not say that it lies here is no record.
        let own = crate::control_record::own_offset(crate::control_record::Kind::Message, &header);
        if own != Some(self.physical(position)) || size > self.staging.borrow().size_max() {
            return Ok(None);
        }
        let Some(record) = self.checked_on_disk(position, size).await? else {
            return Ok(None);
        };
        self.check(position, &record, |_| true)?;
        Ok(Some(record))
    }

    pub(crate) async fn store_time_of(&self, queue: QueueSlot, queue_offset: i64) -> Result<Option<i64>, ReadError> {
        let bounds = self.queues.bounds(queue);
        if !bounds.contains(&queue_offset) {
            return Ok(None);
        }
        let entries = self.entries(queue, queue_offset, 1).await?;
        let Some(entry) = entries.first() else { return Ok(None) };
        let Some(record) = self.record_at(entry.position).await? else {
            return Ok(None);
        };
        Ok(RecordView::decode(&record).ok().map(|view| view.store_timestamp))
    }

    /// Binary search; store times of a queue grow as long as the wall clock does.
    pub(crate) async fn offset_by_time(
        &self,
        queue: QueueSlot,
        timestamp: i64,
        boundary: Boundary,
    ) -> Result<i64, ReadError> {
        let bounds = self.queues.bounds(queue);
        let (mut low, mut high) = (bounds.start, bounds.end);
        // `low` becomes the first message that is late enough: stored at `timestamp` or later, or, for `Upper`, after it.
        while low < high {
            let middle = low + (high - low) / 2;
            let is_before = match self.store_time_of(queue, middle).await? {
                Some(time) if boundary == Boundary::Lower => time < timestamp,
                Some(time) => time <= timestamp,
                // Deleted meanwhile: older than all that is kept.
                None => true,
            };
            if is_before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match boundary {
            Boundary::Lower => Ok(low),
            Boundary::Upper if low == bounds.start => Ok(0),
            Boundary::Upper => Ok(low - 1),
        }
    }

    pub(crate) async fn query(&self, request: &KeyRequest<'_>) -> Result<KeyResult, ReadError> {
        let mut result = KeyResult::default();
        let Some(keys) = &self.keys else { return Ok(result) };
        if let Some((timestamp, position)) = keys.last() {
            result.index_last_timestamp = timestamp;
            result.index_last_offset = self.physical(position).to_wire();
        }
        let mut below = self.positions.confirmed.get();
        while result.records.len() < request.max {
            let candidates = keys
                .query(KeyQuery {
                    topic: request.topic,
                    key: request.key,
                    store_time_ms: request.store_time_ms,
                    below,
                    max: CANDIDATES_MAX,
                })
                .await;
            if !keys.missing().is_empty() {
                // A run turned out damaged; what it held is indexed again from the log.
                self.wakes.upkeep.notify_one();
            }
            let Some(&last) = candidates.last() else { break };
            below = last;
            for position in candidates {
                if result.records.len() < request.max
                    && let Some(record) = self.matching(position, request).await
                {
                    result.records.push(record);
                }
            }
        }
        Ok(result)
    }

    /// The index compares hashes; the record says whether it has the key.
    async fn matching(&self, position: u64, request: &KeyRequest<'_>) -> Option<Bytes> {
        let record = match self.record_at(position).await {
            Ok(record) => record?,
            Err(error) => {
                tracing::warn!(shard = self.id.get(), %error, "a message left out of a query by key");
                return None;
            }
        };
        let view = RecordView::decode(&record).ok()?;
        let (begin, end) = request.store_time_ms;
        let in_time = (begin..=end).contains(&view.store_timestamp);
        let matches = in_time && view.topic == request.topic && index_keys(&view).any(|key| key == request.key);
        matches.then_some(record)
    }

    pub(crate) async fn earliest_store_time(&self) -> Result<Option<i64>, ReadError> {
        let position = self.positions.min.get();
        match self.log.get(position) {
            Some(segment) if position < self.positions.confirmed.get() => self.first_store_time(&segment).await,
            _ => Ok(None),
        }
    }

    /// When the first record of a segment was stored; `None` while there is none, or it cannot be made out.
    pub(crate) async fn first_store_time(
        &self,
        segment: &crate::segmented_log::Segment,
    ) -> Result<Option<i64>, ReadError> {
        if let Some(time) = segment.first_store_time.get() {
            return Ok(Some(time));
        }
        if segment.base >= self.positions.confirmed.get() || self.drain_to(segment.base + 1).await.is_err() {
            return Ok(None);
        }
        let mut walk = crate::log_walk::LogWalk::new(&self.log, self.id, self.layout.store_id());
        // The seal's time is that of the batch, the same to the millisecond as its records'. Behind damage any later one will do.
        let time = walk.next_seal(segment.base).await.map(|seal| seal.wall_clock_ms);
        segment.first_store_time.set(time);
        Ok(time)
    }

    pub(crate) fn physical_bounds(&self) -> (PhysicalOffset, PhysicalOffset) {
        let positions = &self.positions;
        (
            self.physical(positions.min.get()),
            self.physical(positions.confirmed.get()),
        )
    }
}

fn with_next(error: ReadError, queue_offset: QueueOffset) -> ReadError {
    match error {
        ReadError::Damaged {
            physical_offset,
            reason,
            ..
        } => ReadError::Damaged {
            physical_offset,
            reason,
            next: Some(QueueOffset(queue_offset.0 + 1)),
        },
        other => other,
    }
}

impl Gathering {
    /// RocketMQ's rule: the first message always fits; the limits depend on whether the next one counts as in memory.
    fn is_full(&self, inner: &Inner, next: &Entry) -> bool {
        if self.result.count == 0 {
            return false;
        }
        let (in_memory, on_disk) = inner.limits.get();
        let distance = inner.positions.confirmed.get().saturating_sub(next.position);
        let limit = if distance <= inner.options().in_memory_distance {
            in_memory
        } else {
            on_disk
        };
        self.result.count >= self.messages_max.min(limit.messages)
            || self.result.size + next.record_size as usize > self.bytes_max.min(limit.bytes)
    }

    fn skip(&mut self) {
        self.result.next.0 += 1;
    }

    fn skip_removed(&mut self) {
        self.skip();
        if self.result.count == 0 {
            self.result.status = ReadStatus::MessageWasRemoving;
        }
    }

    /// Records that follow each other in one batch become one part: fewer parts, fewer writes to the socket.
    fn take_hot(&mut self, inner: &Inner, entry: &Entry, record: Bytes) {
        add(&inner.counters.read_hot, 1);
        if let Some((start, end)) = self.last.filter(|(_, end)| *end == entry.position)
            && let Ok(size) = usize::try_from(end - start)
            && let Some(joined) = inner.tail.borrow().get(start, size + record.len())
            && let Some(part) = self.result.records.last_mut()
        {
            *part = joined;
            self.count(start, entry.position, record.len());
            return;
        }
        self.take(entry, record);
    }

    fn take(&mut self, entry: &Entry, record: Bytes) {
        self.count(entry.position, entry.position, record.len());
        self.result.records.push(record);
    }

    fn count(&mut self, part_start: u64, position: u64, size: usize) {
        self.skip();
        self.result.status = ReadStatus::Found;
        self.result.count += 1;
        self.result.size += size;
        self.last = Some((part_start, position + size as u64));
    }

    fn finish(mut self, inner: &Inner) -> ReadResult {
        let confirmed = inner.positions.confirmed.get();
        self.result.behind = self.last.map_or(0, |(_, end)| confirmed.saturating_sub(end));
        self.result
    }
}
