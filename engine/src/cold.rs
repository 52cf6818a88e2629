//! Records from the disk: blocks of the log, kept within a bound, and the check that what they hold is what was written.

use crate::control_record::{Kind, SEAL_SIZE, Seal, kind_and_size};
use crate::error::ReadError;
use crate::inner::Inner;
use bytes::{Bytes, BytesMut};

/// Bytes read from the disk at once.
const BLOCK_SIZE: u64 = 128 << 10;

impl Inner {
    /// The `size` bytes of a record, from a batch whose checksum matches; `None` where the log has been deleted, or does not
    /// reach.
    pub(crate) async fn checked_on_disk(&self, position: u64, size: usize) -> Result<Option<Bytes>, ReadError> {
        let Some(record) = self.on_disk(position, size).await? else {
            return Ok(None);
        };
        // Blocks that are read anew are forgotten here, so these bytes are those that were checked.
        if self.verified.borrow().contains(position, position + size as u64)
            || crate::planted::is(crate::planted::Bug::UncheckedHeaders)
        {
            return Ok(Some(record));
        }
        let checked = self.check_batch(position, size).await;
        if let Err(ReadError::Damaged { reason, .. }) = &checked {
            tracing::error!(shard = self.id.get(), position, %reason, "a batch of the log is damaged");
            let block = self.block_start(position);
            // A block that was read wrongly must not be believed for as long as it stays.
            self.cold
                .borrow_mut()
                .remove_where(|start| start + BLOCK_SIZE >= block && start <= position + BLOCK_SIZE);
        }
        checked
    }

    /// Checks the batch that the record at `position` is in, and gives the record's `size` bytes as they were checked: the blocks
    /// may have left the cache by then, and need not all fit in it. `None` when the log has been deleted there.
    async fn check_batch(&self, position: u64, size: usize) -> Result<Option<Bytes>, ReadError> {
        let damaged = |reason: String| ReadError::Damaged {
            physical_offset: self.physical(position),
            reason,
            next: None,
        };
        let segment_end = self.log.end_of(position).min(self.readable_end());
        let mut at = position;
        let seal = loop {
            if at + 8 > segment_end {
                return Err(damaged(format!("its batch has no seal up to {segment_end}")));
            }
            let Some(header) = self.on_disk(at, 8).await? else {
                return Ok(None);
            };
            match kind_and_size(&header) {
                None => return Err(damaged(format!("no record begins at {at}, in the same batch"))),
                Some((Kind::Seal, _)) => {
                    let Some(bytes) = self.on_disk(at, SEAL_SIZE).await? else {
                        return Ok(None);
                    };
                    break Seal::decode(&bytes);
                }
                Some((_, size)) => at += size as u64,
            }
        };
        let is_its = |seal: &Seal| {
            (seal.shard, seal.store_id, seal.position()) == (self.id, self.layout.store_id(), at)
                && seal.start <= position
        };
        let Some(seal) = seal.filter(is_its) else {
            return Err(damaged(format!("the seal of its batch, at {at}, is damaged")));
        };
        let end = position + size as u64;
        if end > at {
            return Err(damaged(format!(
                "{size} bytes lead out of its batch, which ends at {at}"
            )));
        }
        let mut record = BytesMut::with_capacity(size);
        let mut crc = crc32fast::Hasher::new();
        let mut from = seal.start;
        while from < at {
            let Some(part) = self.block_part(from, at).await? else {
                return Ok(None);
            };
            crc.update(&part);
            let next = from + part.len() as u64;
            let within = |wanted: u64| usize::try_from(wanted.clamp(from, next) - from).unwrap_or(usize::MAX);
            record.extend_from_slice(&part[within(position)..within(end)]);
            from = next;
        }
        if crc.finalize() != seal.batch_crc {
            return Err(damaged(format!(
                "the checksum of its batch, {}..{at}, does not match",
                seal.start
            )));
        }
        self.verified.borrow_mut().insert(seal.start, seal.end());
        Ok(Some(record.freeze()))
    }

    /// `size` bytes at `position` from the blocks of the disk, unchecked; `None` where the log has been deleted, or does not
    /// reach.
    pub(crate) async fn on_disk(&self, position: u64, size: usize) -> Result<Option<Bytes>, ReadError> {
        let end = position.saturating_add(size as u64);
        if end > self.readable_end() || position < self.positions.min.get() {
            return Ok(None);
        }
        self.check_damage(position)?;
        let mut whole = BytesMut::new();
        let mut at = position;
        while at < end {
            let Some(part) = self.block_part(at, end).await? else {
                return Ok(None);
            };
            if part.len() == size {
                return Ok(Some(part));
            }
            whole.extend_from_slice(&part);
            at += part.len() as u64;
        }
        Ok(Some(whole.freeze()))
    }

    /// What the block at `position` holds from there on, up to `end`; `None` when it is nothing.
    async fn block_part(&self, position: u64, end: u64) -> Result<Option<Bytes>, ReadError> {
        let start = self.block_start(position);
        let Some(block) = self.block(start).await? else {
            return Ok(None);
        };
        let from = usize::try_from(position - start).unwrap_or(usize::MAX);
        let wanted = usize::try_from(end - position).unwrap_or(usize::MAX);
        let available = block.len().saturating_sub(from);
        if available == 0 {
            return Ok(None);
        }
        Ok(Some(block.slice(from..from + wanted.min(available))))
    }

    /// Blocks are counted from the begin of their segment.
    fn block_start(&self, position: u64) -> u64 {
        position - (position - self.log.base_of(position)) % BLOCK_SIZE
    }

    async fn block(&self, start: u64) -> Result<Option<Bytes>, ReadError> {
        let readable = self.readable_end();
        let end = (start + BLOCK_SIZE).min(self.log.end_of(start));
        let size = usize::try_from(end.min(readable).saturating_sub(start)).unwrap_or(0);
        // A block at the end of the log has grown since it was read.
        let cached = self.cold.borrow_mut().get(start).filter(|block| block.len() >= size);
        if cached.is_some() {
            return Ok(cached);
        }
        let Some(segment) = self.log.get(start) else {
            return Ok(None);
        };
        let read = self.log.read(start, size).await;
        if self.log.get(start).is_none() {
            // Its segment went meanwhile: it could not be opened, or its file has become another segment.
            return Ok(None);
        }
        let block = read.map_err(|error| ReadError::Io {
            physical_offset: self.physical(start),
            size,
            path: segment.path().to_owned(),
            reason: error.to_string(),
        })?;
        self.verified.borrow_mut().forget(start, start + BLOCK_SIZE);
        self.cold.borrow_mut().insert(start, block.clone());
        Ok(Some(block))
    }

    fn check_damage(&self, position: u64) -> Result<(), ReadError> {
        let checkpoint = self.checkpoint.last.borrow();
        let found = checkpoint
            .damage
            .iter()
            .find(|range| (range.from..range.to).contains(&position));
        found.map_or(Ok(()), |range| {
            Err(ReadError::Damaged {
                physical_offset: self.physical(position),
                reason: range.reason.clone(),
                next: None,
            })
        })
    }
}
