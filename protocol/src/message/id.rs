//! Ids of a message, both upper-case hex.
//!
//! ```text
//! offset message id: store host ip 4 or 16, port i32, physical offset i64           32 or 56 digits
//! unique id:         ip 4 or 16, process id u16, class loader hash i32,
//!                    milliseconds since the month began i32, counter u16             32 or 56 digits
//! ```
//!
//! Clients take the address of an offset message id and connect to it. The unique id is the message's `UNIQ_KEY` and its
//! transaction id.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::model::PhysicalOffset;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Neither 32 nor 56 digits.
    #[error("a message id has 32 or 56 hex digits, not {length} characters")]
    BadLength {
        /// Bytes of the text.
        length: usize,
    },
    /// A character that is no hex digit.
    #[error("a message id has only hex digits, unlike at character {at}")]
    NotHex {
        /// Where.
        at: usize,
    },
    /// Port or physical offset that cannot be.
    #[error("the message id's {field} is {value}, out of its range")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
}

const HEX: [u8; 16] = *b"0123456789ABCDEF";

fn push_hex(out: &mut String, bytes: &[u8]) {
    // The most that an id has in one piece.
    const BYTES_MAX: usize = 16;
    for some in bytes.chunks(BYTES_MAX) {
        let mut digits = [0; 2 * BYTES_MAX];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(some) {
            *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        }
        let digits = digits.get(..2 * some.len()).unwrap_or_default();
        out.push_str(core::str::from_utf8(digits).unwrap_or_default());
    }
}

fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => push_hex(out, &ip.octets()),
        IpAddr::V6(ip) => push_hex(out, &ip.octets()),
    }
}

/// Bytes of an id: how many, 16 or 28, and room for the most.
fn from_hex(text: &str) -> Result<(usize, [u8; 28]), IdError> {
    let digits = text.as_bytes();
    if !matches!(digits.len(), 32 | 56) {
        return Err(IdError::BadLength { length: digits.len() });
    }
    let digit = |at: usize| {
        let value = digits.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        value
            .and_then(|value| u8::try_from(value).ok())
            .ok_or(IdError::NotHex { at })
    };
    let mut bytes = [0; 28];
    for (at, byte) in bytes.iter_mut().take(digits.len() / 2).enumerate() {
        *byte = digit(2 * at)? << 4 | digit(2 * at + 1)?;
    }
    Ok((digits.len() / 2, bytes))
}

/// Splits ip and the 12 bytes behind it.
fn split_ip(length: usize, bytes: &[u8; 28]) -> (IpAddr, [u8; 12]) {
    let mut rest = [0; 12];
    let ip_length = length - rest.len();
    rest.iter_mut()
        .zip(bytes.iter().skip(ip_length))
        .for_each(|(to, from)| *to = *from);
    let ip = if ip_length == 4 {
        let [a, b, c, d, ..] = *bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        let mut ip = [0; 16];
        ip.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        IpAddr::V6(Ipv6Addr::from(ip))
    };
    (ip, rest)
}

/// Where a message is stored: what an offset message id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetMessageId {
    /// The broker, as clients reach it.
    pub store_host: SocketAddr,
    /// Where the record starts there.
    pub physical_offset: PhysicalOffset,
}

impl OffsetMessageId {
    /// Appends the id's digits.
    pub fn push_to(&self, out: &mut String) {
        push_ip(out, self.store_host.ip());
        push_hex(out, &u32::from(self.store_host.port()).to_be_bytes());
        push_hex(out, &self.physical_offset.to_wire().to_be_bytes());
    }

    /// Reads an id.
    ///
    /// # Errors
    /// Another number of digits, other characters, or a port or offset that cannot be.
    pub fn decode(text: &str) -> Result<Self, IdError> {
        let (length, bytes) = from_hex(text)?;
        let (ip, [p0, p1, p2, p3, offset @ ..]) = split_ip(length, &bytes);
        let port = i32::from_be_bytes([p0, p1, p2, p3]);
        let physical_offset = i64::from_be_bytes(offset);
        let out_of_range = |field, value| IdError::OutOfRange { field, value };
        Ok(Self {
            store_host: SocketAddr::new(ip, u16::try_from(port).map_err(|_| out_of_range("port", port.into()))?),
            physical_offset: PhysicalOffset::from_wire(physical_offset)
                .ok_or_else(|| out_of_range("physical offset", physical_offset))?,
        })
    }
}

impl core::fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = String::with_capacity(56);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

/// What a unique id says of its making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueId {
    /// Address of the maker.
    pub ip: IpAddr,
    /// Low 16 bits of its process id.
    pub process_id: u16,
    /// Tells two makers in one process apart; in Java a class loader's hash.
    pub maker: u32,
    /// Milliseconds since the month began, in the maker's time zone.
    pub month_millis: u32,
    /// Counts the ids of one maker.
    pub counter: u16,
}

impl UniqueId {
    /// Appends the id's digits.
    pub fn push_to(&self, out: &mut String) {
        push_ip(out, self.ip);
        push_hex(out, &self.process_id.to_be_bytes());
        push_hex(out, &self.maker.to_be_bytes());
        push_hex(out, &self.month_millis.to_be_bytes());
        push_hex(out, &self.counter.to_be_bytes());
    }

    /// Reads an id.
    ///
    /// # Errors
    /// Another number of digits, or other characters.
    pub fn decode(text: &str) -> Result<Self, IdError> {
        let (length, bytes) = from_hex(text)?;
        let (ip, [p0, p1, m0, m1, m2, m3, t0, t1, t2, t3, c0, c1]) = split_ip(length, &bytes);
        Ok(Self {
            ip,
            process_id: u16::from_be_bytes([p0, p1]),
            maker: u32::from_be_bytes([m0, m1, m2, m3]),
            month_millis: u32::from_be_bytes([t0, t1, t2, t3]),
            counter: u16::from_be_bytes([c0, c1]),
        })
    }

    /// When the id was made, in milliseconds since 1970, as Java's `getNearlyTimeFromID` has it: the latest time before `now` at
    /// which a month (of UTC) was that old.
    #[must_use]
    pub fn made_at(&self, now_millis: i64) -> i64 {
        let month = month_start(now_millis);
        let made_at = month.saturating_add(self.month_millis.into());
        if made_at < now_millis {
            made_at
        } else {
            month_start(month - 1).saturating_add(self.month_millis.into())
        }
    }
}

impl core::fmt::Display for UniqueId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = String::with_capacity(56);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

/// Makes unique ids, 65,536 of them a millisecond before one comes twice.
#[derive(Debug, Clone)]
pub struct UniqueIdMaker {
    next: UniqueId,
    month_start: i64,
    next_month_start: i64,
}

impl UniqueIdMaker {
    /// For one thread; two in one process need two `maker` numbers.
    #[must_use]
    pub fn new(ip: IpAddr, process_id: u32, maker: u32) -> Self {
        let [_, _, high, low] = process_id.to_be_bytes();
        let process_id = u16::from_be_bytes([high, low]);
        let next = UniqueId {
            ip,
            process_id,
            maker,
            month_millis: 0,
            counter: 0,
        };
        Self {
            next,
            month_start: 0,
            next_month_start: 0,
        }
    }

    /// The next id, at a time in milliseconds since 1970.
    pub fn make(&mut self, now_millis: i64) -> UniqueId {
        const LONGER_THAN_A_MONTH: i64 = 32 * DAY;
        if !(self.month_start..self.next_month_start).contains(&now_millis) {
            self.month_start = month_start(now_millis);
            self.next_month_start = month_start(self.month_start + LONGER_THAN_A_MONTH);
        }
        let id = UniqueId {
            month_millis: u32::try_from(now_millis - self.month_start).unwrap_or(u32::MAX),
            ..self.next
        };
        self.next.counter = self.next.counter.wrapping_add(1);
        id
    }
}

const DAY: i64 = 86_400_000;

/// When the month (of UTC) began, in milliseconds since 1970.
#[must_use]
pub fn month_start(now_millis: i64) -> i64 {
    // Days are counted from 0000-03-01, so that the day that leap years add is the last of a year; 400 years have 146,097 days.
    let days = (now_millis.div_euclid(DAY)).saturating_add(719_468);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on begin at days 0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    (now_millis.div_euclid(DAY) - day_of_month).saturating_mul(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_message_id_names_host_and_offset() {
        for host in ["10.1.2.3:10911", "[2001:db8::1]:10911"] {
            let id = OffsetMessageId {
                store_host: host.parse().unwrap(),
                physical_offset: PhysicalOffset::from_wire(0x0102_0304_0506_0708).unwrap(),
            };
            assert_eq!(OffsetMessageId::decode(&id.to_string()), Ok(id));
        }
        let text = "0A01020300002A9F0102030405060708";
        assert_eq!(OffsetMessageId::decode(text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_id_is_refused_with_its_reason() {
        assert_eq!(OffsetMessageId::decode("0A"), Err(IdError::BadLength { length: 2 }));
        assert_eq!(OffsetMessageId::decode(&"é".repeat(16)), Err(IdError::NotHex { at: 0 }));
        assert_eq!(
            OffsetMessageId::decode("0A01020300012A9F0102030405060708"),
            Err(IdError::OutOfRange {
                field: "port",
                value: 0x12A9F
            })
        );
    }

    #[test]
    fn unique_ids_differ_and_tell_when_they_were_made() {
        let now = 1_700_000_000_123;
        let mut maker = UniqueIdMaker::new("127.0.0.1".parse().unwrap(), 0x12345, 7);
        let (first, second) = (maker.make(now), maker.make(now));
        assert_ne!(first, second);
        assert_eq!(UniqueId::decode(&first.to_string()), Ok(first));
        assert_eq!(first.process_id, 0x2345);
        assert_eq!(first.made_at(now + 1), now);
    }

    #[test]
    fn a_month_starts_at_its_first_day_in_leap_years_too() {
        // Computed with `date -u -d ... +%s`.
        for (now, start) in [
            (0, 0),
            (951_827_696_000, 949_363_200_000),     // 2000-02-29T12:34:56
            (951_868_800_000, 951_868_800_000),     // 2000-03-01T00:00:00
            (1_709_251_199_999, 1_706_745_600_000), // 2024-02-29T23:59:59.999
            (4_107_542_400_000, 4_107_542_400_000), // 2100-03-01T00:00:00
        ] {
            assert_eq!(month_start(now), start, "at {now}");
        }
    }
}
