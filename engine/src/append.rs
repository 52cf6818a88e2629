//! How messages and metadata get their places: checks first, then offsets, so that a refused one uses none up. No I/O.

use crate::QueueSlot;
use crate::control_record::{KIND_DELETE_TOPIC, Meta};
use crate::error::AppendError;
use crate::inner::{Inner, OFFSET_UNKNOWN, add};
use crate::message::{Appended, BatchId, NewMessage, is_rolled_back};
use protocol::model::{PhysicalOffset, QueueOffset};

impl Inner {
    pub(crate) fn append(&self, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        let appended = self
            .check_own_messages()
            .and_then(|()| encoded_size(message))
            .and_then(|size| self.make_room(size))
            .and_then(|()| self.place(message, runtime::wall_clock_ms()));
        self.count_and_wake(appended.is_err());
        appended
    }

    pub(crate) fn append_all(&self, messages: &[NewMessage<'_>]) -> Result<Vec<Appended>, AppendError> {
        let appended = self.place_all(messages);
        self.count_and_wake(appended.is_err());
        appended
    }

    fn place_all(&self, messages: &[NewMessage<'_>]) -> Result<Vec<Appended>, AppendError> {
        self.check_own_messages()?;
        let mut size = 0_usize;
        for message in messages {
            size = size.saturating_add(encoded_size(message)?);
        }
        self.make_room(size)?;
        let now = runtime::wall_clock_ms();
        messages.iter().map(|message| self.place(message, now)).collect()
    }

    pub(crate) fn append_meta(&self, kind: u16, payload: &[u8]) -> Result<BatchId, AppendError> {
        let now = runtime::wall_clock_ms();
        let meta = Meta {
            physical_offset: PhysicalOffset::new(self.id, 0),
            wall_clock_ms: now,
            kind,
            payload,
        };
        let size_max = self.staging.borrow().size_max();
        let size = meta.encoded_size().ok_or(AppendError::TooLarge {
            size: payload.len(),
            size_max,
        })?;
        self.make_room(usize::try_from(size).unwrap_or(usize::MAX))?;
        let batch = self.staging.borrow_mut().push_meta(kind, payload, size, now);
        self.wake_writer();
        Ok(batch)
    }

    pub(crate) fn delete_queues(&self, topic: &str) -> Result<BatchId, AppendError> {
        let batch = self.append_meta(KIND_DELETE_TOPIC, topic.as_bytes())?;
        self.begin_offsets_again(topic);
        Ok(batch)
    }

    /// The queues of a topic that is deleted begin at offset 0 again.
    pub(crate) fn begin_offsets_again(&self, topic: &str) {
        let mut slots: Vec<QueueSlot> = Vec::new();
        self.queues.for_each(|slot, name, _queue_id, _bounds| {
            if **name == *topic {
                slots.push(slot);
            }
        });
        for slot in slots {
            self.set_next_offset(slot, 0);
        }
    }

    /// A log that takes another broker's messages gives out no queue offsets.
    fn check_own_messages(&self) -> Result<(), AppendError> {
        if self.imports.get() {
            Err(AppendError::Follows)
        } else {
            Ok(())
        }
    }

    /// Sees to it that records of `size` bytes can be placed one behind the other, in one batch.
    pub(crate) fn make_room(&self, size: usize) -> Result<(), AppendError> {
        if self.closing.get() {
            return Err(AppendError::Closing);
        }
        self.check_follows()?;
        if let Some(reason) = &*self.fence.borrow() {
            return Err(AppendError::Fenced(reason.clone()));
        }
        if let Some(refusal) = &*self.refusal.borrow() {
            return Err(refusal.clone());
        }
        let marks = self.marks();
        let mut staging = self.staging.borrow_mut();
        let size_max = staging.size_max();
        if size > size_max {
            return Err(AppendError::TooLarge { size, size_max });
        }
        let waiting = staging.end().saturating_sub(marks.confirmed);
        let limit = self.options().staged_bytes_max as u64;
        if waiting > limit {
            runtime::mark!("append refused: too much is not committed");
            return Err(AppendError::Busy {
                resource: "bytes appended and not committed",
                used: waiting,
                limit,
            });
        }
        let rolls = !staging.fits_segment(size);
        let segment = if rolls { staging.next_segment() } else { staging.end() };
        if segment >= self.positions.prepared.get() {
            self.wakes.preparer.notify_one();
            runtime::mark!("append refused: no segment is ready");
            let not_ready_yet = AppendError::Busy {
                resource: "segments made ready",
                used: segment,
                limit: self.positions.prepared.get(),
            };
            return Err(self.no_segment.borrow().clone().unwrap_or(not_ready_yet));
        }
        if rolls {
            staging.roll(marks);
            self.wakes.preparer.notify_one();
        }
        if !staging.fits_block(size) {
            staging.change_block(size, marks, |size| self.tail.borrow_mut().block(size));
        }
        Ok(())
    }

    /// Gives a message its offsets and encodes it. There is room.
    fn place(&self, message: &NewMessage<'_>, store_timestamp: i64) -> Result<Appended, AppendError> {
        // Half messages are in no queue; RocketMQ stores 0 for them.
        let queue_offset = if message.in_consume_queue {
            self.next_offset(message.queue)
        } else {
            0
        };
        let pushed = self
            .staging
            .borrow_mut()
            .push(message, QueueOffset(queue_offset), store_timestamp);
        let appended = pushed.map_err(AppendError::Unfit)?;
        if message.in_consume_queue {
            self.set_next_offset(message.queue, queue_offset + 1);
        }
        if let Some(keys) = self.keys.as_ref().filter(|_keys| !is_rolled_back(message.sys_flag)) {
            let position = appended.physical_offset.position();
            for key in message.keys {
                keys.add(message.topic, key, position, store_timestamp);
            }
        }
        add(&self.counters.puts, 1);
        add(&self.counters.put_bytes, appended.size as u64);
        Ok(appended)
    }

    pub(crate) fn next_offset(&self, queue: QueueSlot) -> i64 {
        let known = self.next_offsets.borrow().get(queue.index()).copied();
        match known {
            Some(next) if next != OFFSET_UNKNOWN => next,
            _ => self.queues.bounds(queue).end,
        }
    }

    pub(crate) fn set_next_offset(&self, queue: QueueSlot, next: i64) {
        let mut offsets = self.next_offsets.borrow_mut();
        let index = queue.index();
        if index >= offsets.len() {
            offsets.resize(index + 1, OFFSET_UNKNOWN);
        }
        if let Some(offset) = offsets.get_mut(index) {
            *offset = next;
        }
    }

    fn count_and_wake(&self, refused: bool) {
        if refused {
            add(&self.counters.put_refused, 1);
        } else {
            self.wake_writer();
        }
    }

    pub(crate) fn wake_writer(&self) {
        if !self.wakes.writer_woken.replace(true) {
            self.wakes.writer.notify_one();
        }
    }
}

fn encoded_size(message: &NewMessage<'_>) -> Result<usize, AppendError> {
    // Offsets and times have the same size whatever they are.
    Ok(message
        .record((QueueOffset(0), PhysicalOffset::default()), 0)
        .encoded_size()?)
}
