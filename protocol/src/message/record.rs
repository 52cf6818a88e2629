//! Record: one message as the commitlog, a pull reply and a view reply hold it; RocketMQ's stored message format, big-endian.
//!
//! ```text
//!  0 total size i32 | 4 magic i32 | 8 body CRC32 & 0x7fffffff | 12 queue id i32 | 16 flag i32 | 20 queue offset i64
//! 28 physical offset i64 | 36 sysFlag i32 | 40 born timestamp i64 | 48 born host: ip 4 or 16, port i32 | store timestamp i64
//!    store host: ip 4 or 16, port i32 | reconsume times i32 | prepared transaction offset i64
//!    body length i32, body | topic length u8 (version 1) or i16 (version 2), topic | properties length i16, properties
//! ```
//!
//! Version 2 serves topics of more than 127 bytes. Whether an ip has 4 or 16 bytes, two bits of `sysFlag` say.
//! A blank record fills the end of a file: remaining size i32, its own magic, then anything.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::message::sys_flag::{BORN_HOST_V6, STORE_HOST_V6};
use crate::model::{GROUP_TOPIC_LENGTH_MAX, PhysicalOffset, QueueId, QueueOffset};

/// Magic of version 1: topics up to 127 bytes.
pub const MAGIC_V1: i32 = -626_843_481;
/// Magic of version 2: longer topics.
pub const MAGIC_V2: i32 = -626_843_477;
/// Magic of the blank record at a file's end.
pub const MAGIC_BLANK: i32 = -875_286_124;
/// Bytes of size and magic, and so of the smallest blank record.
pub const BLANK_SIZE_MIN: usize = 8;
/// Where the body's CRC stands.
pub const BODY_CRC_AT: usize = 8;
/// Where the queue offset stands.
pub const QUEUE_OFFSET_AT: usize = 20;
/// Where the physical offset stands.
pub const PHYSICAL_OFFSET_AT: usize = 28;
/// Most bytes of properties: their length is an i16.
pub const PROPERTIES_LENGTH_MAX: usize = 32_767;
/// Longest topic that version 1 can hold, as Java's signed byte.
const V1_TOPIC_LENGTH_MAX: usize = 127;
/// All fields of fixed size, without the two hosts' ips and the topic's length.
const FIXED_SIZE: usize = 4 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 8 + 4 + 8 + 4 + 4 + 8 + 4 + 2;
/// No record is shorter: IPv4 hosts, neither topic nor body nor properties.
pub const RECORD_SIZE_MIN: usize = FIXED_SIZE + 4 + 4 + 1;
const CRC_MASK: u32 = 0x7fff_ffff;

const _: () = assert!(
    RECORD_SIZE_MIN == 91,
    "an empty record with IPv4 hosts has RocketMQ's 91 bytes"
);

/// Why bytes are no record, or fields do not fit one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Fewer bytes than the record needs.
    #[error("a record needs {needed} bytes, but there are {available}")]
    Truncated {
        /// Bytes needed, as far as known.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// The size field cannot be: negative, or smaller than any record.
    #[error("a record cannot have a size of {size}")]
    BadSize {
        /// The size field.
        size: i32,
    },
    /// No magic of a message.
    #[error("{magic:#010x} is not the magic of a message")]
    BadMagic {
        /// The magic field.
        magic: i32,
    },
    /// The lengths inside do not add up to the size.
    #[error("the record's {field} does not fit its size of {size} bytes")]
    BadLength {
        /// The field.
        field: &'static str,
        /// The size field.
        size: usize,
    },
    /// A number outside of its range.
    #[error("the record's {field} is {value}, out of its range")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// Text that is not UTF-8.
    #[error("the record's {field} is not UTF-8")]
    NotUtf8 {
        /// The field.
        field: &'static str,
    },
    /// The body is not what it was when stored.
    #[error("the body's CRC32 is {found:#010x}, stored was {stored:#010x}")]
    BodyCrc {
        /// What the record says.
        stored: u32,
        /// What the body has.
        found: u32,
    },
    /// A field too long to be stored.
    #[error("the {field} has {length} bytes, more than the {length_max} that a record can hold")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its bytes.
        length: usize,
        /// Bytes it may have.
        length_max: usize,
    },
}

/// Everything a record holds, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct RecordFields<'a> {
    /// Queue in the topic.
    pub queue_id: QueueId,
    /// The user's own number.
    pub flag: i32,
    /// Position in the queue.
    pub queue_offset: QueueOffset,
    /// Position in the commitlog.
    pub physical_offset: PhysicalOffset,
    /// See [`crate::message::sys_flag`]; the two bits of the hosts' families are set by [`Self::encode`].
    pub sys_flag: i32,
    /// Milliseconds since 1970 on the producer's clock.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// Milliseconds since 1970 on the broker's clock.
    pub store_timestamp: i64,
    /// The broker, as clients reach it.
    pub store_host: SocketAddr,
    /// How often it has been given back.
    pub reconsume_times: i32,
    /// Queue or physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// The body as sent.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// See [`crate::message::properties`].
    pub properties: &'a str,
}

/// What [`RecordFields::encode`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of the record.
    pub size: usize,
    /// Where the body starts in it.
    pub body_at: usize,
    /// CRC32 of the body, all 32 bits: to be combined into a CRC over more bytes without reading the body again.
    pub body_crc: u32,
}

const fn host_size(host: SocketAddr) -> usize {
    match host {
        SocketAddr::V4(_) => 8,
        SocketAddr::V6(_) => 20,
    }
}

fn checked_length(field: &'static str, length: usize, length_max: usize) -> Result<usize, RecordError> {
    if length > length_max {
        Err(RecordError::TooLong {
            field,
            length,
            length_max,
        })
    } else {
        Ok(length)
    }
}

impl RecordFields<'_> {
    /// Bytes that [`Self::encode`] will write.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] if topic, properties or body do not fit.
    pub fn encoded_size(&self) -> Result<usize, RecordError> {
        const BODY_LENGTH_MAX: usize = 1 << 30;
        let topic = checked_length("topic", self.topic.len(), GROUP_TOPIC_LENGTH_MAX)?;
        let properties = checked_length("properties", self.properties.len(), PROPERTIES_LENGTH_MAX)?;
        let body = checked_length("body", self.body.len(), BODY_LENGTH_MAX)?;
        let topic_length_size = if topic > V1_TOPIC_LENGTH_MAX { 2 } else { 1 };
        let hosts = host_size(self.born_host) + host_size(self.store_host) - 8;
        Ok(FIXED_SIZE + hosts + topic_length_size + topic + properties + body)
    }

    /// Appends the record.
    ///
    /// # Errors
    /// Those of [`Self::encoded_size`]; nothing is written then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<Encoded, RecordError> {
        let size = self.encoded_size()?;
        let too_long = RecordError::TooLong {
            field: "record",
            length: size,
            length_max: 1 << 30,
        };
        let wire_size = i32::try_from(size).map_err(|_| too_long)?;
        let start = out.len();
        out.reserve(size);
        let body_crc = crc32fast::hash(self.body);
        let in_v1 = u8::try_from(self.topic.len())
            .ok()
            .filter(|length| usize::from(*length) <= V1_TOPIC_LENGTH_MAX);
        out.put_i32(wire_size);
        out.put_i32(if in_v1.is_some() { MAGIC_V1 } else { MAGIC_V2 });
        out.put_u32(body_crc & CRC_MASK);
        out.put_i32(self.queue_id.to_wire());
        out.put_i32(self.flag);
        out.put_i64(self.queue_offset.0);
        out.put_i64(self.physical_offset.to_wire());
        out.put_i32(sys_flag_of_hosts(self.sys_flag, self.born_host, self.store_host));
        out.put_i64(self.born_timestamp);
        put_host(out, self.born_host);
        out.put_i64(self.store_timestamp);
        put_host(out, self.store_host);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        // Lengths below were bounded by `encoded_size`.
        out.put_i32(i32::try_from(self.body.len()).unwrap_or(0));
        let body_at = out.len() - start;
        out.put_slice(self.body);
        match in_v1 {
            Some(length) => out.put_u8(length),
            None => out.put_i16(i16::try_from(self.topic.len()).unwrap_or(0)),
        }
        out.put_slice(self.topic.as_bytes());
        out.put_i16(i16::try_from(self.properties.len()).unwrap_or(0));
        out.put_slice(self.properties.as_bytes());
        assert_eq!(out.len() - start, size, "a record must have the size it says");
        Ok(Encoded {
            size,
            body_at,
            body_crc,
        })
    }
}

fn sys_flag_of_hosts(sys_flag: i32, born_host: SocketAddr, store_host: SocketAddr) -> i32 {
    let born = if born_host.is_ipv6() { BORN_HOST_V6 } else { 0 };
    let store = if store_host.is_ipv6() { STORE_HOST_V6 } else { 0 };
    (sys_flag & !(BORN_HOST_V6 | STORE_HOST_V6)) | born | store
}

fn put_host(out: &mut BytesMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_i32(host.port().into());
}

/// Appends a blank record's size and magic; the rest of its `size` bytes may hold anything.
pub fn put_blank(out: &mut BytesMut, size: i32) {
    out.put_i32(size);
    out.put_i32(MAGIC_BLANK);
}

/// The first two fields of any record, unchecked; `None` if there are fewer than 8 bytes.
#[must_use]
pub fn decode_size_and_magic(bytes: &[u8]) -> Option<(i32, i32)> {
    let (size, rest) = bytes.split_first_chunk()?;
    let (magic, _) = rest.split_first_chunk()?;
    Some((i32::from_be_bytes(*size), i32::from_be_bytes(*magic)))
}

/// A record in place: numbers read, the rest borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// All of its bytes, and no more.
    pub bytes: &'a [u8],
    /// CRC32 of the body, 31 bits of it, as stored.
    pub body_crc: u32,
    /// Queue in the topic.
    pub queue_id: QueueId,
    /// The user's own number.
    pub flag: i32,
    /// Position in the queue.
    pub queue_offset: QueueOffset,
    /// Position in the commitlog.
    pub physical_offset: PhysicalOffset,
    /// See [`crate::message::sys_flag`].
    pub sys_flag: i32,
    /// Milliseconds since 1970 on the producer's clock.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// Milliseconds since 1970 on the broker's clock.
    pub store_timestamp: i64,
    /// The broker, as clients reach it.
    pub store_host: SocketAddr,
    /// How often it has been given back.
    pub reconsume_times: i32,
    /// Queue or physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// The body as sent.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// See [`crate::message::properties`].
    pub properties: &'a str,
}

impl<'a> RecordView<'a> {
    /// Its fields, to write it again, perhaps with some of them changed.
    #[must_use]
    pub fn fields(&self) -> RecordFields<'a> {
        RecordFields {
            queue_id: self.queue_id,
            flag: self.flag,
            queue_offset: self.queue_offset,
            physical_offset: self.physical_offset,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_timestamp: self.store_timestamp,
            store_host: self.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            topic: self.topic,
            properties: self.properties,
        }
    }
}

/// Reads fields one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let (value, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(RecordError::BadLength { field, size: self.size })?;
        self.bytes = rest;
        Ok(*value)
    }

    #[inline]
    fn i32(&mut self, field: &'static str) -> Result<i32, RecordError> {
        self.array(field).map(i32::from_be_bytes)
    }

    #[inline]
    fn i64(&mut self, field: &'static str) -> Result<i64, RecordError> {
        self.array(field).map(i64::from_be_bytes)
    }

    #[inline]
    fn host(&mut self, field: &'static str, is_v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = if is_v6 {
            IpAddr::V6(Ipv6Addr::from(self.array::<16>(field)?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.array::<4>(field)?))
        };
        let port = self.i32(field)?;
        let port = u16::try_from(port).map_err(|_| RecordError::OutOfRange {
            field,
            value: port.into(),
        })?;
        Ok(SocketAddr::new(ip, port))
    }

    #[inline]
    fn slice(&mut self, field: &'static str, length: impl TryInto<usize>) -> Result<&'a [u8], RecordError> {
        let split = length
            .try_into()
            .ok()
            .and_then(|length| self.bytes.split_at_checked(length));
        let (value, rest) = split.ok_or(RecordError::BadLength { field, size: self.size })?;
        self.bytes = rest;
        Ok(value)
    }
}

impl<'a> RecordView<'a> {
    /// Reads the record that `bytes` begin with; more bytes may follow it. The body's CRC is not looked at.
    ///
    /// # Errors
    /// Too few bytes, another magic, lengths that do not add up to the record's size, or a number or text out of its range.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let available = bytes.len();
        let (wire_size, magic) = decode_size_and_magic(bytes).ok_or(RecordError::Truncated {
            needed: BLANK_SIZE_MIN,
            available,
        })?;
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(RecordError::BadMagic { magic });
        }
        let size = usize::try_from(wire_size).map_err(|_| RecordError::BadSize { size: wire_size })?;
        if size < FIXED_SIZE + 9 {
            return Err(RecordError::BadSize { size: wire_size });
        }
        let bytes = bytes.get(..size).ok_or(RecordError::Truncated {
            needed: size,
            available,
        })?;
        let mut reader = Reader {
            bytes: bytes.get(8..).unwrap_or_default(),
            size,
        };
        let body_crc = u32::from_be_bytes(reader.array("body crc")?);
        let queue_id = reader.i32("queue id")?;
        let queue_id = QueueId::from_wire(queue_id).ok_or(RecordError::OutOfRange {
            field: "queue id",
            value: queue_id.into(),
        })?;
        let flag = reader.i32("flag")?;
        let queue_offset = QueueOffset(reader.i64("queue offset")?);
        let physical_offset = reader.i64("physical offset")?;
        let physical_offset = PhysicalOffset::from_wire(physical_offset).ok_or(RecordError::OutOfRange {
            field: "physical offset",
            value: physical_offset,
        })?;
        let sys_flag = reader.i32("sysFlag")?;
        let born_timestamp = reader.i64("born timestamp")?;
        let born_host = reader.host("born host", sys_flag & BORN_HOST_V6 != 0)?;
        let store_timestamp = reader.i64("store timestamp")?;
        let store_host = reader.host("store host", sys_flag & STORE_HOST_V6 != 0)?;
        let reconsume_times = reader.i32("reconsume times")?;
        let prepared_transaction_offset = reader.i64("prepared transaction offset")?;
        let body_length = reader.i32("body length")?;
        let body = reader.slice("body", body_length)?;
        let topic_length = if magic == MAGIC_V1 {
            i16::from(i8::from_be_bytes(reader.array("topic length")?))
        } else {
            i16::from_be_bytes(reader.array("topic length")?)
        };
        let topic = reader.slice("topic", topic_length)?;
        let properties_length = i16::from_be_bytes(reader.array("properties length")?);
        let properties = reader.slice("properties", properties_length)?;
        if !reader.bytes.is_empty() {
            return Err(RecordError::BadLength {
                field: "properties",
                size,
            });
        }
        let text = |field, bytes| core::str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8 { field });
        Ok(Self {
            bytes,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic: text("topic", topic)?,
            properties: text("properties", properties)?,
        })
    }

    /// Bytes of the record.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Checks that the body is what was stored.
    ///
    /// # Errors
    /// [`RecordError::BodyCrc`] if it is not.
    pub fn check_body(&self) -> Result<(), RecordError> {
        let found = crc32fast::hash(self.body) & CRC_MASK;
        // Apache stores the CRC of an empty body as 0 and does not check it.
        if found == self.body_crc {
            Ok(())
        } else {
            Err(RecordError::BodyCrc {
                stored: self.body_crc,
                found,
            })
        }
    }

    /// Value of a property; `None` if there is none.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a str> {
        crate::message::properties::get(self.properties, name)
    }
}

/// Records that lie one behind the other, as in a pull reply. Ends after the first that is broken.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Over all of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = RecordView::decode(self.rest);
        self.rest = match &record {
            Ok(record) => self.rest.get(record.size()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(topic: &'a str, properties: &'a str) -> RecordFields<'a> {
        RecordFields {
            queue_id: QueueId::new(3).unwrap(),
            flag: 7,
            queue_offset: QueueOffset(11),
            physical_offset: PhysicalOffset::from_wire(1234).unwrap(),
            sys_flag: STORE_HOST_V6,
            born_timestamp: 1,
            born_host: "[::1]:4711".parse().unwrap(),
            store_timestamp: 2,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 4,
            prepared_transaction_offset: 5,
            body: b"hello",
            topic,
            properties,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_whatever_its_topics_length() {
        for topic_length in [1, 127, 128, 255] {
            let topic = "t".repeat(topic_length);
            let fields = fields(&topic, "TAGS\u{1}a\u{2}");
            let mut out = BytesMut::from(&b"before"[..]);
            let encoded = fields.encode(&mut out).unwrap();
            let view = RecordView::decode(&out[6..]).unwrap();
            assert_eq!((view.size(), encoded.size), (out.len() - 6, out.len() - 6));
            assert_eq!(view.topic, topic);
            assert_eq!(view.property("TAGS"), Some("a"));
            assert_eq!(
                (view.body, &out[6 + encoded.body_at..][..5]),
                (&b"hello"[..], &b"hello"[..])
            );
            assert_eq!((view.born_host, view.store_host), (fields.born_host, fields.store_host));
            assert_eq!(view.sys_flag, BORN_HOST_V6, "the hosts decide about their bits");
            assert_eq!(view.check_body(), Ok(()));
            assert_eq!(
                decode_size_and_magic(&out[6..]).unwrap().1,
                if topic_length > 127 { MAGIC_V2 } else { MAGIC_V1 }
            );
        }
    }

    #[test]
    fn every_cut_and_a_flipped_body_byte_are_noticed() {
        let mut out = BytesMut::new();
        let encoded = fields("t", "a\u{1}b\u{2}").encode(&mut out).unwrap();
        for length in 0..out.len() {
            assert!(
                matches!(RecordView::decode(&out[..length]), Err(RecordError::Truncated { .. })),
                "cut to {length}"
            );
        }
        out[encoded.body_at] ^= 1;
        let view = RecordView::decode(&out).unwrap();
        assert!(matches!(view.check_body(), Err(RecordError::BodyCrc { .. })));
    }

    #[test]
    fn what_a_record_cannot_hold_is_refused_and_nothing_is_written() {
        let mut out = BytesMut::new();
        let long = "p".repeat(PROPERTIES_LENGTH_MAX + 1);
        let error = fields("t", &long).encode(&mut out).unwrap_err();
        assert_eq!(
            error,
            RecordError::TooLong {
                field: "properties",
                length: 32_768,
                length_max: 32_767
            }
        );
        assert!(fields(&"t".repeat(256), "").encode(&mut out).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn a_run_of_records_ends_after_the_first_broken_one() {
        let mut out = BytesMut::new();
        for _ in 0..3 {
            fields("t", "").encode(&mut out).unwrap();
        }
        assert_eq!(Records::new(&out).filter(Result::is_ok).count(), 3);
        let size = out.len() / 3;
        out[size + 4] = 0;
        let results: Vec<_> = Records::new(&out).collect();
        assert!(results[0].is_ok() && matches!(results[1], Err(RecordError::BadMagic { .. })));
        assert_eq!(results.len(), 2);
    }
}
