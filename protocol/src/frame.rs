//! One remoting frame, big-endian:
//!
//! ```text
//! length i32 (of all that follows) | serialize u8, header length u24 | header | body
//! ```
//!
//! [`split_frame`] takes a frame off a connection's bytes without copying them and checks its header once;
//! [`crate::header_writer::HeaderWriter`] writes one.

use core::ops::Range;
use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use crate::ext::ExtFields;
use crate::header_binary::{self, BinaryExt};
use crate::header_json::{self, ExtIndex, JsonExt};
use crate::language::Language;
use crate::request_code::RequestCode;
use crate::response_code::ResponseCode;
use crate::version::Version;

/// Longest frame, in bytes without its own length field: RocketMQ's `com.rocketmq.remoting.frameMaxLength`.
pub const FRAME_LENGTH_MAX: u32 = 16_777_216;
/// Bit of `flag`: the frame is a response.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit of `flag`: no response is wanted.
pub const FLAG_ONEWAY: i32 = 2;

const LENGTH_SIZE: usize = 4;

/// How a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serialize {
    /// 0 on the wire.
    #[default]
    Json,
    /// 1 on the wire; RocketMQ's own.
    Binary,
}

/// Why bytes are no frame. After any of them the connection cannot be read on and must be closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Longer than [`FRAME_LENGTH_MAX`].
    #[error(
        "a frame of {length} bytes is longer than the limit of {FRAME_LENGTH_MAX}; is it RocketMQ's remoting protocol?"
    )]
    TooLong {
        /// The frame's own length, or what one to be written would have.
        length: u64,
    },
    /// Negative, or no room for the header's length.
    #[error("a frame's length of {length} leaves no room for a header; is it RocketMQ's remoting protocol?")]
    TooShort {
        /// The frame's own length.
        length: i32,
    },
    /// The header's length points past the frame.
    #[error("a header of {header_length} bytes does not fit a frame of {frame_length}")]
    HeaderTooLong {
        /// What the frame says of its header.
        header_length: u32,
        /// What the frame says of itself.
        frame_length: u32,
    },
    /// A header of no bytes.
    #[error("a frame has no header")]
    NoHeader,
    /// Neither JSON nor RocketMQ's.
    #[error("serialize type {serialize} is neither JSON (0) nor ROCKETMQ (1)")]
    UnknownSerialize {
        /// The type on the wire.
        serialize: u8,
    },
    /// A JSON header that is not well-formed, or beyond a bound.
    #[error("the JSON header is wrong at byte {at}: {problem}")]
    Json {
        /// Byte of the header.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A binary header with a length that is negative or points past its end.
    #[error("the binary header ends before its {field} at byte {at} allows, or that is negative")]
    Binary {
        /// Byte of the header.
        at: usize,
        /// The field that does not fit.
        field: &'static str,
    },
    /// One of the header's own numbers is none.
    #[error("the header's {field} is {value:?}, which is no 32-bit number")]
    HeaderNumber {
        /// The field.
        field: &'static str,
        /// What stands there, shortened.
        value: String,
    },
}

/// What the scan of a header finds; spans are bytes of the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeaderInfo {
    pub(crate) code: i32,
    pub(crate) language: Language,
    pub(crate) version: i32,
    pub(crate) opaque: i32,
    pub(crate) flag: i32,
    pub(crate) remark: Option<Range<usize>>,
    pub(crate) ext: Option<Range<usize>>,
    /// Of a JSON header.
    pub(crate) index: ExtIndex,
}

/// A frame whose header has been checked.
#[derive(Debug, Clone)]
pub struct Frame {
    info: HeaderInfo,
    serialize: Serialize,
    header: Bytes,
    body: Bytes,
}

impl Frame {
    /// Request or response code, as the response bit says.
    #[must_use]
    #[inline]
    pub fn code(&self) -> i32 {
        self.info.code
    }

    /// The code of a request.
    #[must_use]
    #[inline]
    pub fn request_code(&self) -> RequestCode {
        RequestCode(self.info.code)
    }

    /// The code of a response.
    #[must_use]
    #[inline]
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode(self.info.code)
    }

    /// Number that ties a response to its request.
    #[must_use]
    #[inline]
    pub fn opaque(&self) -> i32 {
        self.info.opaque
    }

    /// All bits of `flag`.
    #[must_use]
    #[inline]
    pub fn flag(&self) -> i32 {
        self.info.flag
    }

    /// Whether this answers a request.
    #[must_use]
    #[inline]
    pub fn is_response(&self) -> bool {
        self.info.flag & FLAG_RESPONSE != 0
    }

    /// Whether the sender wants no answer.
    #[must_use]
    #[inline]
    pub fn is_oneway(&self) -> bool {
        self.info.flag & FLAG_ONEWAY != 0
    }

    /// Version of the sender.
    #[must_use]
    #[inline]
    pub fn version(&self) -> Version {
        Version(self.info.version)
    }

    /// Language of the sender.
    #[must_use]
    #[inline]
    pub fn language(&self) -> Language {
        self.info.language
    }

    /// How the header is written; an answer is best written alike.
    #[must_use]
    #[inline]
    pub fn serialize(&self) -> Serialize {
        self.serialize
    }

    /// Free text, in responses mostly why a request failed.
    #[must_use]
    #[inline]
    pub fn remark(&self) -> Option<Cow<'_, str>> {
        let raw = self.header.get(self.info.remark.clone()?)?;
        Some(match self.serialize {
            Serialize::Json => header_json::remark_text(raw),
            Serialize::Binary => String::from_utf8_lossy(raw),
        })
    }

    /// The fields of this code's header.
    #[must_use]
    #[inline]
    pub fn ext(&self) -> ExtFields<'_> {
        let Some(span) = self.info.ext.clone() else {
            return ExtFields::Empty;
        };
        match self.serialize {
            Serialize::Json => ExtFields::Json(JsonExt::new(&self.header, &self.info.index, span.start)),
            Serialize::Binary => ExtFields::Binary(BinaryExt::new(self.header.get(span).unwrap_or_default())),
        }
    }

    /// The body, shared with the connection's buffer.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body alone; the header is let go.
    #[must_use]
    #[inline]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// Bytes of header and body: what the frame holds of memory.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

/// The two words in front of a header.
struct Preamble {
    serialize: Serialize,
    header_length: usize,
    frame_length: usize,
}

/// Checks the lengths of a frame as soon as they are there, before its bytes are waited for. `None`: too few bytes yet.
fn read_preamble(bytes: &[u8]) -> Result<Option<Preamble>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    let frame_length = u32::try_from(length).map_err(|_| FrameError::TooShort { length })?;
    if frame_length > FRAME_LENGTH_MAX {
        return Err(FrameError::TooLong {
            length: frame_length.into(),
        });
    }
    let room = frame_length.checked_sub(4).ok_or(FrameError::TooShort { length })?;
    let Some((&[serialize, high, middle, low], _)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    let header_length = u32::from_be_bytes([0, high, middle, low]);
    let serialize = match serialize {
        0 => Serialize::Json,
        1 => Serialize::Binary,
        _ => return Err(FrameError::UnknownSerialize { serialize }),
    };
    if header_length > room {
        return Err(FrameError::HeaderTooLong {
            header_length,
            frame_length,
        });
    }
    if header_length == 0 {
        return Err(FrameError::NoHeader);
    }
    let size = |n: u32| usize::try_from(n).map_err(|_| FrameError::TooLong { length: n.into() });
    Ok(Some(Preamble {
        serialize,
        header_length: size(header_length)?,
        frame_length: size(frame_length)?,
    }))
}

/// Bytes of the whole frame, its length field included, that starts here; `None` while fewer than 8 bytes are there. Tells a
/// reader how much room to make, after the lengths have been checked.
///
/// # Errors
/// Those of [`split_frame`] that concern lengths and serialize type.
pub fn frame_size(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    Ok(read_preamble(bytes)?.map(|preamble| preamble.frame_length + LENGTH_SIZE))
}

/// Takes the first frame off a connection's bytes; `None` while it is not complete. Header and body share the bytes.
///
/// # Errors
/// A length beyond its bound, an unknown serialize type, or a header that is not well-formed. The bytes are then worth nothing.
pub fn split_frame(bytes: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(preamble) = read_preamble(bytes)? else {
        return Ok(None);
    };
    if bytes.len() < preamble.frame_length + LENGTH_SIZE {
        return Ok(None);
    }
    let mut frame = bytes.split_to(preamble.frame_length + LENGTH_SIZE).freeze();
    frame.advance(LENGTH_SIZE + 4);
    let header = frame.split_to(preamble.header_length);
    let info = match preamble.serialize {
        Serialize::Json => header_json::scan(&header)?,
        Serialize::Binary => header_binary::scan(&header)?,
    };
    Ok(Some(Frame {
        info,
        serialize: preamble.serialize,
        header,
        body: frame,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_name;
    use crate::header_writer::HeaderWriter;

    fn frame_of(serialize: u8, header: &[u8], body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        let length = u32::try_from(4 + header.len() + body.len()).unwrap();
        out.extend_from_slice(&length.to_be_bytes());
        let header_length = u32::try_from(header.len()).unwrap();
        out.extend_from_slice(&(u32::from(serialize) << 24 | header_length).to_be_bytes());
        out.extend_from_slice(header);
        out.extend_from_slice(body);
        out
    }

    fn json(header: &str) -> Result<Frame, FrameError> {
        split_frame(&mut frame_of(0, header.as_bytes(), b"body")).map(|frame| frame.expect("it is complete"))
    }

    #[test]
    fn a_written_header_reads_back_in_both_forms_whatever_the_order_of_calls() {
        for serialize in [Serialize::Json, Serialize::Binary] {
            let mut out = BytesMut::from(&b"earlier frame"[..]);
            let writer = HeaderWriter::request(&mut out, serialize, RequestCode::PULL_MESSAGE, 7, FLAG_ONEWAY);
            let writer = writer
                .ext("a", "1\u{1}\"\u{2}é")
                .ext_i64("n", i64::MIN)
                .remark("why\n")
                .ext_bool("b", true);
            writer.finish(4).unwrap();
            out.extend_from_slice(b"bodynext");
            let mut bytes = out.split_off(13);
            let frame = split_frame(&mut bytes).unwrap().unwrap();
            assert_eq!((&bytes[..], &frame.body()[..]), (&b"next"[..], &b"body"[..]));
            assert_eq!(
                (frame.request_code(), frame.opaque(), frame.flag()),
                (RequestCode::PULL_MESSAGE, 7, 2)
            );
            assert_eq!(
                (frame.serialize(), frame.language(), frame.version()),
                (serialize, Language::Java, Version(513))
            );
            assert!(frame.is_oneway() && !frame.is_response());
            assert_eq!(frame.remark().as_deref(), Some("why\n"));
            let ext: Vec<_> = frame
                .ext()
                .map(|(key, value)| (key.into_owned(), value.into_cow().into_owned()))
                .collect();
            let expected = [("a", "1\u{1}\"\u{2}é"), ("n", "-9223372036854775808"), ("b", "true")];
            assert_eq!(ext, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn names_that_are_written_often_are_written_as_others_are() {
        for serialize in [Serialize::Json, Serialize::Binary] {
            let (mut often, mut seldom) = (BytesMut::new(), BytesMut::new());
            let mut header = HeaderWriter::response(&mut often, serialize, ResponseCode::SUCCESS, 7);
            header.put_named(field_name!("a"), "\"1");
            header.put_named_i64(field_name!("bc"), -5);
            header.put("d", "");
            header.put_named(field_name!("e"), "2");
            header.put_named_bool(field_name!("f"), true);
            header.finish(0).unwrap();
            let header = HeaderWriter::response(&mut seldom, serialize, ResponseCode::SUCCESS, 7);
            let header = header
                .ext("a", "\"1")
                .ext_i64("bc", -5)
                .ext("d", "")
                .ext("e", "2")
                .ext_bool("f", true);
            header.finish(0).unwrap();
            assert_eq!(often, seldom);
        }
    }

    #[test]
    fn a_code_beyond_16_bits_is_written_as_json() {
        let mut out = BytesMut::new();
        HeaderWriter::request(&mut out, Serialize::Binary, RequestCode::POP_MESSAGE, 1, 0)
            .finish(0)
            .unwrap();
        let frame = split_frame(&mut out).unwrap().unwrap();
        assert_eq!((frame.serialize(), frame.code()), (Serialize::Json, 200_050));
    }

    #[test]
    fn a_header_that_is_not_finished_or_too_long_leaves_the_buffer_as_it_was() {
        let mut out = BytesMut::from(&b"x"[..]);
        drop(HeaderWriter::response(&mut out, Serialize::Json, ResponseCode::SUCCESS, 1).ext("a", "b"));
        assert_eq!(&out[..], b"x");
        let writer = HeaderWriter::response(&mut out, Serialize::Binary, ResponseCode::SUCCESS, 1);
        assert!(matches!(writer.finish(16_777_216), Err(FrameError::TooLong { .. })));
        assert_eq!(&out[..], b"x");
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_complete() {
        let whole = frame_of(0, b"{}", b"body");
        for length in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..length]);
            assert!(split_frame(&mut part).unwrap().is_none());
            assert_eq!(part.len(), length);
            assert_eq!(frame_size(&part), Ok((length >= 8).then_some(whole.len())));
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_the_bytes_are_waited_for() {
        let split = |bytes: &[u8]| split_frame(&mut BytesMut::from(bytes)).map(|frame| frame.is_some());
        assert_eq!(
            split(&[0xff, 0xff, 0xff, 0xff]),
            Err(FrameError::TooShort { length: -1 })
        );
        assert_eq!(split(&[0, 0, 0, 3]), Err(FrameError::TooShort { length: 3 }));
        assert_eq!(split(&[1, 0, 0, 1]), Err(FrameError::TooLong { length: 16_777_217 }));
        assert_eq!(split(&[1, 0, 0, 0]), Ok(false), "the limit itself is allowed");
        assert_eq!(
            split(&[0, 0, 0, 8, 2, 0, 0, 1]),
            Err(FrameError::UnknownSerialize { serialize: 2 })
        );
        assert_eq!(split(&[0, 0, 0, 4, 0, 0, 0, 0]), Err(FrameError::NoHeader));
        assert_eq!(
            split(&[0, 0, 0, 8, 0, 0, 0, 5]),
            Err(FrameError::HeaderTooLong {
                header_length: 5,
                frame_length: 8
            })
        );
    }

    #[test]
    fn json_headers_come_in_any_order_with_blanks_quoted_numbers_and_unknown_keys() {
        let frame = json(
            " { \"unknown\" : [ {\"a\" : [1, 2.5e3, true, null] } ] , \"flag\":\"1\", \"language\" : \"GO\",\n\"version\":317,\
             \"extFields\":{\"n\":12,\"t\":true,\"gone\":null,\"o\":{\"a\": 1},\"k\\u0065y\":\"v\"},\"opaque\":-3,\"code\":\"10\",\
             \"code\": 11 , \"remark\":null} ",
        )
        .unwrap();
        assert_eq!(
            (frame.code(), frame.opaque(), frame.flag()),
            (11, -3, 1),
            "the last of equal keys holds"
        );
        assert_eq!(
            (frame.language(), frame.version(), frame.remark()),
            (Language::Go, Version(317), None)
        );
        let get = |name| frame.ext().get(name).map(|value| value.into_cow().into_owned());
        assert_eq!(get("n").as_deref(), Some("12"));
        assert_eq!(get("t").as_deref(), Some("true"));
        assert_eq!(get("o").as_deref(), Some("{\"a\": 1}"));
        assert_eq!(get("key").as_deref(), Some("v"));
        assert_eq!(get("gone"), None);
        assert_eq!(json("{}").unwrap().ext().count(), 0);
        assert_eq!(json("{\"extFields\":null}").unwrap().ext().count(), 0);
    }

    #[test]
    fn json_headers_that_are_broken_or_beyond_a_bound_are_refused() {
        for header in [
            "",
            "[]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"b",
            "{} x",
            "{\"extFields\":3}",
        ] {
            let result = split_frame(&mut frame_of(0, header.as_bytes(), b""));
            assert!(
                matches!(result, Err(FrameError::Json { .. } | FrameError::NoHeader)),
                "{header}: {result:?}"
            );
        }
        let nested = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(json(&nested(31)).is_ok());
        assert!(matches!(json(&nested(32)), Err(FrameError::Json { .. })));
        assert!(matches!(json(&nested(1_000_000)), Err(FrameError::Json { .. })));
        let keys = |count: usize| format!("{{{}}}", vec!["\"k\":1"; count].join(","));
        assert!(json(&keys(256)).is_ok());
        let ext = |count: usize| format!("{{\"extFields\":{}}}", keys(count));
        for count in [19, 20, 21, 255] {
            assert_eq!(
                json(&ext(count)).unwrap().ext().count(),
                count,
                "with and without the index"
            );
        }
        assert!(matches!(json(&keys(257)), Err(FrameError::Json { .. })));
        assert!(matches!(
            json("{\"code\":3000000000}"),
            Err(FrameError::HeaderNumber { field: "code", .. })
        ));
        assert!(matches!(
            json("{\"opaque\":{}}"),
            Err(FrameError::HeaderNumber { field: "opaque", .. })
        ));
        assert!(split_frame(&mut frame_of(0, b"{\"a\":\"\xff\"}", b"")).is_err());
    }

    #[test]
    fn binary_headers_with_lengths_that_do_not_fit_are_refused() {
        let mut out = BytesMut::new();
        let writer = HeaderWriter::response(&mut out, Serialize::Binary, ResponseCode::SUCCESS, 1).remark("r");
        writer.ext("key", "value").finish(0).unwrap();
        let header = out.split_off(8);
        for at in [13, 18, 22, 27] {
            for byte in [0x80, 0x7f] {
                let mut broken = header.clone();
                broken[at] = byte;
                let result = split_frame(&mut frame_of(1, &broken, b""));
                assert!(
                    matches!(result, Err(FrameError::Binary { .. })),
                    "byte {at}: {result:?}"
                );
            }
        }
        for length in 1..header.len() {
            assert!(
                split_frame(&mut frame_of(1, &header[..length], b"")).is_err(),
                "cut to {length}"
            );
        }
    }
}
