//! A log from its begin to its end, whoever wrote it: messages, and what else lies between them.

use super::files::Error;
use super::verify::Stopped;
use super::walk::{Batch, DamagedRange, LogEnd, LogWalk, Step};
use crate::apache_store::record_walk::{self, RecordWalk};
use engine::inspect::RecordKind;

/// What was met.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A message's record.
    Message(&'a [u8]),
    /// A metadata record (ours).
    Metadata(&'a [u8]),
    /// The end of a batch (ours).
    Seal(&'a Batch),
    /// Bytes that are not what was written there.
    Damage(&'a DamagedRange),
}

/// A scan of one log.
#[derive(Debug)]
pub enum LogScan {
    /// Batch by batch.
    Own(LogWalk),
    /// Record by record.
    Apache(RecordWalk),
}

impl LogScan {
    /// Visits what comes next, with the positions: a batch, a record or damage. At the end, the end; asked again, it goes on if
    /// more was written since, after [`LogScan::has_more`].
    ///
    /// # Errors
    /// What `visit` says, or that the log cannot be read any more.
    pub fn next(
        &mut self,
        visit: &mut dyn FnMut(u64, Item<'_>) -> Result<(), Stopped>,
    ) -> Result<Option<LogEnd>, Stopped> {
        match self {
            LogScan::Own(walk) => match walk.step()? {
                Step::Batch(batch) => {
                    walk.records::<Stopped>(&batch, |kind, position, bytes| match kind {
                        RecordKind::Message => visit(position, Item::Message(bytes)),
                        RecordKind::Metadata => visit(position, Item::Metadata(bytes)),
                        RecordKind::Seal => Ok(()),
                    })?;
                    visit(batch.seal_position, Item::Seal(&batch))?;
                }
                Step::Damage(range) => visit(range.from, Item::Damage(&range))?,
                Step::End(end) => return Ok(Some(end)),
            },
            LogScan::Apache(walk) => match walk.step()? {
                record_walk::Step::Record(place) => {
                    let record = walk.record(place);
                    if let Ok(record) = record {
                        visit(place.position, Item::Message(record.bytes))?;
                    }
                }
                record_walk::Step::Damage(range) => visit(range.from, Item::Damage(&range))?,
                record_walk::Step::End(end) => return Ok(Some(end)),
            },
        }
        Ok(None)
    }

    /// Whether something sound has come behind the end that was met.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn has_more(&mut self) -> Result<bool, Error> {
        match self {
            LogScan::Own(walk) => walk.has_more(),
            LogScan::Apache(walk) => walk.has_more(),
        }
    }

    /// Leaves out the segments before the one that `position` lies in.
    pub fn skip_to_segment_of(&mut self, position: u64) {
        match self {
            LogScan::Own(walk) => walk.skip_to_segment_of(position),
            LogScan::Apache(walk) => {
                let base = walk.log().base_of(position);
                walk.go_to(base);
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self {
            LogScan::Own(walk) => walk.position(),
            LogScan::Apache(walk) => walk.position(),
        }
    }

    /// Position behind the last segment: about where it will end.
    #[must_use]
    pub fn about_end(&self) -> u64 {
        match self {
            LogScan::Own(walk) => walk.about_end(),
            LogScan::Apache(walk) => walk.log().max().unwrap_or(0),
        }
    }
}
