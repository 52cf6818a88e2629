//! The commitlog of Apache's broker as a stream of bytes: records one behind the other, and a blank record at the end of each file.
//!
//! Bytes are pushed as they come, from a file or from a master's HA port, and whole records taken. Each record's own physical offset
//! must be where it lies: a stream that is one byte off, or of another log, is noticed at once.
//!
//! With `enabledAppendPropCRC` the last property of a record is a checksum over all of it, physical offset included. In another log the
//! record lies elsewhere, so [`without_property_crc`] takes that property away.

use crate::message::properties::{self, NAME_VALUE_SEPARATOR};
use crate::message::record::{self, RecordError, RecordFields, RecordView};
use bytes::{Buf as _, Bytes, BytesMut};

/// The property that `enabledAppendPropCRC` adds.
pub const PROPERTY_CRC: &str = "__CRC32#";
/// A record cannot be longer: what a frame of the remoting protocol can hold, with room for what the broker adds.
const RECORD_SIZE_MAX: usize = 64 << 20;

/// Why bytes are no commitlog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitlogError {
    /// Neither a message nor a blank record.
    #[error("there is no record at {position}: size {size}, magic {magic:#010x}")]
    NoRecord {
        /// Where.
        position: u64,
        /// What stands in the size field.
        size: i32,
        /// What stands in the magic field.
        magic: i32,
    },
    /// A record that says that it lies elsewhere.
    #[error("the record at {position} says that it lies at {found}")]
    Elsewhere {
        /// Where it lies.
        position: u64,
        /// Where it says it does.
        found: i64,
    },
    /// A record whose fields do not add up.
    #[error("the record at {position} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        position: u64,
        /// What is wrong.
        reason: RecordError,
    },
}

/// Takes whole records out of a stream.
#[derive(Debug)]
pub struct CommitlogStream {
    /// From `position` on.
    arrived: BytesMut,
    position: u64,
    /// Bytes of a blank record that are still to be passed over.
    blank: u64,
}

impl CommitlogStream {
    /// A stream that begins at this position of the log, the begin of a record.
    #[must_use]
    pub fn new(position: u64) -> CommitlogStream {
        CommitlogStream {
            arrived: BytesMut::new(),
            position,
            blank: 0,
        }
    }

    /// What comes next.
    pub fn push(&mut self, mut bytes: &[u8]) {
        let passed = usize::try_from(self.blank).unwrap_or(usize::MAX).min(bytes.len());
        bytes = bytes.get(passed..).unwrap_or_default();
        self.blank -= passed as u64;
        self.position += passed as u64;
        self.arrived.extend_from_slice(bytes);
    }

    /// Where the next record begins: all before it was taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Position behind the last byte that came.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + self.arrived.len() as u64
    }

    /// The next record with its position, if all of it is there.
    ///
    /// # Errors
    /// [`CommitlogError`]; the stream cannot go on then.
    pub fn next_record(&mut self) -> Result<Option<(u64, Bytes)>, CommitlogError> {
        while self.blank == 0 {
            let Some((size, magic)) = record::decode_size_and_magic(&self.arrived) else {
                return Ok(None);
            };
            let (position, no_record) = (
                self.position,
                CommitlogError::NoRecord {
                    position: self.position,
                    size,
                    magic,
                },
            );
            let Ok(length) = usize::try_from(size) else {
                return Err(no_record);
            };
            match magic {
                record::MAGIC_BLANK if length >= record::BLANK_SIZE_MIN => {
                    let here = length.min(self.arrived.len());
                    self.arrived.advance(here);
                    self.position += here as u64;
                    self.blank = (length - here) as u64;
                }
                record::MAGIC_V1 | record::MAGIC_V2
                    if (record::RECORD_SIZE_MIN..=RECORD_SIZE_MAX).contains(&length) =>
                {
                    if self.arrived.len() < length {
                        return Ok(None);
                    }
                    let bytes = self.arrived.split_to(length).freeze();
                    self.position += length as u64;
                    check_record(position, &bytes)?;
                    return Ok(Some((position, bytes)));
                }
                _ => return Err(no_record),
            }
        }
        Ok(None)
    }
}

fn check_record(position: u64, bytes: &[u8]) -> Result<(), CommitlogError> {
    let view = RecordView::decode(bytes).map_err(|reason| CommitlogError::Unreadable { position, reason })?;
    let found = view.physical_offset.to_wire();
    if u64::try_from(found) == Ok(position) {
        Ok(())
    } else {
        Err(CommitlogError::Elsewhere { position, found })
    }
}

/// The record without the checksum that `enabledAppendPropCRC` has put behind its properties; `None` when it has none.
///
/// # Errors
/// A record that cannot be encoded again.
pub fn without_property_crc(view: &RecordView<'_>) -> Result<Option<Bytes>, RecordError> {
    let is_there = view
        .properties
        .rfind(PROPERTY_CRC)
        .and_then(|at| view.properties.get(at + PROPERTY_CRC.len()..))
        .is_some_and(|rest| rest.starts_with(NAME_VALUE_SEPARATOR));
    if !is_there {
        return Ok(None);
    }
    let properties = properties::without(view.properties, &[PROPERTY_CRC]);
    let fields = RecordFields {
        properties: &properties,
        ..view.fields()
    };
    let mut out = BytesMut::new();
    fields.encode(&mut out)?;
    Ok(Some(out.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PhysicalOffset, QueueId, QueueOffset};

    fn put(out: &mut BytesMut, position: u64, body: &[u8], properties: &str) {
        let fields = RecordFields {
            queue_id: QueueId::new(1).unwrap(),
            flag: 0,
            queue_offset: QueueOffset(2),
            physical_offset: PhysicalOffset::from_wire(position.cast_signed()).unwrap(),
            sys_flag: 0,
            born_timestamp: 3,
            born_host: "10.0.0.1:1".parse().unwrap(),
            store_timestamp: 4,
            store_host: "[::1]:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic: "topic",
            properties,
        };
        fields.encode(out).unwrap();
    }

    /// Two files of 1000 bytes from position 4000 on, with four records, and where they begin.
    fn log() -> (BytesMut, Vec<u64>) {
        let (mut log, mut begins) = (BytesMut::new(), Vec::new());
        for file in 0..2_u64 {
            for length in [5, 600] {
                let position = 4000 + log.len() as u64;
                begins.push(position);
                put(&mut log, position, &vec![7; length], "a\u{1}b\u{2}");
            }
            let rest = usize::try_from((file + 1) * 1000).unwrap() - log.len();
            record::put_blank(&mut log, i32::try_from(rest).unwrap());
            log.resize(usize::try_from((file + 1) * 1000).unwrap(), 0xee);
        }
        (log, begins)
    }

    #[test]
    fn records_come_out_whole_whatever_the_pieces_that_they_come_in() {
        let (log, begins) = log();
        for piece in [1, 7, 100, 999, 5000] {
            let mut stream = CommitlogStream::new(4000);
            let mut found = Vec::new();
            for part in log.chunks(piece) {
                stream.push(part);
                while let Some((position, bytes)) = stream.next_record().unwrap() {
                    assert_eq!(RecordView::decode(&bytes).unwrap().topic, "topic");
                    found.push(position);
                }
            }
            assert_eq!(found, begins, "in pieces of {piece}");
            assert_eq!((stream.position(), stream.end()), (6000, 6000));
        }
    }

    #[test]
    fn what_is_no_commitlog_is_named_with_its_place() {
        let (log, begins) = log();
        let mut stream = CommitlogStream::new(4001);
        stream.push(&log);
        let position = 4001;
        assert_eq!(
            stream.next_record(),
            Err(CommitlogError::Elsewhere { position, found: 4000 })
        );
        let mut stream = CommitlogStream::new(begins[0]);
        stream.push(&[0; 8]);
        assert!(matches!(
            stream.next_record(),
            Err(CommitlogError::NoRecord { position: 4000, .. })
        ));
        for (size, magic) in [
            (-1, record::MAGIC_V1),
            (20, record::MAGIC_V1),
            (7, record::MAGIC_BLANK),
            (i32::MAX, record::MAGIC_V2),
        ] {
            let mut stream = CommitlogStream::new(0);
            stream.push(&[size.to_be_bytes(), magic.to_be_bytes()].concat());
            assert!(stream.next_record().is_err(), "{size} {magic:#x}");
        }
    }

    #[test]
    fn the_checksum_among_the_properties_goes_and_nothing_else() {
        let (mut with, mut without) = (BytesMut::new(), BytesMut::new());
        put(&mut with, 0, b"body", "a\u{1}b\u{2}__CRC32#\u{1}1234567890\u{2}");
        put(&mut without, 0, b"body", "a\u{1}b\u{2}");
        let stripped = without_property_crc(&RecordView::decode(&with).unwrap()).unwrap();
        assert_eq!(stripped.as_deref(), Some(&without[..]));
        let there_is_none = without_property_crc(&RecordView::decode(&without).unwrap()).unwrap();
        assert_eq!(there_is_none, None);
    }
}
