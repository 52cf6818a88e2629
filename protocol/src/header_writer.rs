//! Writes a frame's lengths and header in one go, straight into the connection's buffer, without an allocation of its own.
//!
//! The order of calls is free: a remark that comes after ext fields is moved in front of them, where the binary form wants it.
//! The ext map is there even if empty: Java's send path reads it without a check for null.

use bytes::{BufMut, BytesMut};

use crate::frame::{FLAG_RESPONSE, FRAME_LENGTH_MAX, FrameError, Serialize};
use crate::language::Language;
use crate::request_code::RequestCode;
use crate::response_code::ResponseCode;
use crate::version::Version;

/// Language that we give as ours: clients of every language know Java's name.
const LANGUAGE: Language = Language::Java;

/// What is the same in each JSON header, in as few pieces as can be: a send's answer is written a million times where a text is added once.
const JSON_LANGUAGE: &[u8] = b",\"language\":\"JAVA\",\"opaque\":";
const JSON_VERSION: &[u8] = b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513";
const _: () = assert!(
    matches!(LANGUAGE, Language::Java) && Version::CURRENT.0 == 513,
    "they say what the binary form says"
);

/// Name of an ext field that is written with each answer to a send, and what stands around it in JSON: made by [`field_name`].
#[derive(Clone, Copy, Debug)]
pub struct FieldName {
    name: &'static str,
    json: &'static str,
}

impl FieldName {
    /// For [`field_name`].
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, json: &'static str) -> FieldName {
        FieldName { name, json }
    }
}

/// A [`FieldName`] of a literal that has nothing to escape.
#[macro_export]
macro_rules! field_name {
    ($name:literal) => {
        $crate::header_writer::FieldName::new($name, concat!("\",\"", $name, "\":\""))
    };
}

/// Bytes of JSON that end the value before a field.
const VALUE_END: usize = "\",".len();

/// A header in the making; [`HeaderWriter::finish`] completes it, and dropping it takes the bytes back.
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    out: &'a mut BytesMut,
    serialize: Serialize,
    /// Where the frame's length stands.
    start: usize,
    /// Where the remark belongs (JSON), or where its length stands (binary).
    remark_at: usize,
    /// Where the length of the ext fields stands (binary only).
    ext_length_at: usize,
    fields: usize,
    finished: bool,
}

impl<'a> HeaderWriter<'a> {
    /// Starts a request. A code that needs more than 16 bits makes it a JSON header, whatever `serialize` says.
    pub fn request(out: &'a mut BytesMut, serialize: Serialize, code: RequestCode, opaque: i32, flag: i32) -> Self {
        Self::start(out, serialize, code.0, opaque, flag)
    }

    /// Starts the response to the request with that opaque.
    pub fn response(out: &'a mut BytesMut, serialize: Serialize, code: ResponseCode, opaque: i32) -> Self {
        Self::start(out, serialize, code.0, opaque, FLAG_RESPONSE)
    }

    fn start(out: &'a mut BytesMut, serialize: Serialize, code: i32, opaque: i32, flag: i32) -> Self {
        let start = out.len();
        out.put_u64(0);
        let (serialize, remark_at, ext_length_at) =
            match (serialize, i16::try_from(code), i16::try_from(Version::CURRENT.0)) {
                (Serialize::Binary, Ok(code), Ok(version)) => {
                    out.put_i16(code);
                    out.put_u8(LANGUAGE.code());
                    out.put_i16(version);
                    out.put_i32(opaque);
                    out.put_i32(flag);
                    let remark_at = out.len();
                    out.put_u64(0);
                    (Serialize::Binary, remark_at, remark_at + 4)
                }
                _ => {
                    out.put_slice(b"{\"code\":");
                    put_decimal(out, code.into());
                    out.put_slice(b",\"flag\":");
                    put_decimal(out, flag.into());
                    out.put_slice(JSON_LANGUAGE);
                    put_decimal(out, opaque.into());
                    out.put_slice(JSON_VERSION);
                    let remark_at = out.len();
                    out.put_slice(b",\"extFields\":{");
                    (Serialize::Json, remark_at, 0)
                }
            };
        Self {
            out,
            serialize,
            start,
            remark_at,
            ext_length_at,
            fields: 0,
            finished: false,
        }
    }

    /// Sets the free text; at most once.
    #[must_use]
    pub fn remark(mut self, remark: &str) -> Self {
        self.set_remark(remark);
        self
    }

    /// Sets the free text; at most once.
    pub fn set_remark(&mut self, remark: &str) {
        let end = self.out.len();
        let at = match self.serialize {
            Serialize::Json => {
                self.out.put_slice(b",\"remark\":\"");
                put_escaped(self.out, remark);
                self.out.put_u8(b'"');
                self.remark_at
            }
            Serialize::Binary => {
                self.out.put_slice(remark.as_bytes());
                patch_u32(self.out, self.remark_at, remark.len());
                self.ext_length_at += remark.len();
                self.remark_at + 4
            }
        };
        // The text stands at the end now; it belongs in front of all that was written from `at` on.
        let added = self.out.len() - end;
        if let Some(tail) = self.out.get_mut(at..) {
            tail.rotate_right(added);
        }
    }

    /// Adds an ext field.
    #[must_use]
    pub fn ext(mut self, key: &str, value: &str) -> Self {
        self.put(key, value);
        self
    }

    /// Adds an ext field that holds a number.
    #[must_use]
    pub fn ext_i64(mut self, key: &str, value: i64) -> Self {
        self.put_i64(key, value);
        self
    }

    /// Adds an ext field that holds `true` or `false`.
    #[must_use]
    pub fn ext_bool(mut self, key: &str, value: bool) -> Self {
        self.put_bool(key, value);
        self
    }

    /// As [`Self::ext`], in place.
    pub fn put(&mut self, key: &str, value: &str) {
        match self.serialize {
            Serialize::Json => {
                self.json_key(key);
                put_escaped(self.out, value);
            }
            Serialize::Binary => self.binary_field(key, value.as_bytes()),
        }
    }

    /// As [`Self::put`], for a name that is written often.
    #[inline]
    pub fn put_named(&mut self, name: FieldName, value: &str) {
        match self.serialize {
            Serialize::Json => {
                self.json_name(name);
                put_escaped(self.out, value);
            }
            Serialize::Binary => self.binary_field(name.name, value.as_bytes()),
        }
    }

    /// As [`Self::put_i64`], for a name that is written often.
    #[inline]
    pub fn put_named_i64(&mut self, name: FieldName, value: i64) {
        match self.serialize {
            Serialize::Json => {
                self.json_name(name);
                put_decimal(self.out, value);
            }
            Serialize::Binary => self.put_i64(name.name, value),
        }
    }

    /// As [`Self::put_bool`], for a name that is written often.
    #[inline]
    pub fn put_named_bool(&mut self, name: FieldName, value: bool) {
        self.put_named(name, word(value));
    }

    /// As [`Self::json_key`].
    #[inline]
    fn json_name(&mut self, name: FieldName) {
        let behind_a_value = if self.fields > 0 { 0 } else { VALUE_END };
        self.fields += 1;
        self.out
            .put_slice(name.json.as_bytes().get(behind_a_value..).unwrap_or_default());
    }

    /// As [`Self::ext_i64`], in place.
    pub fn put_i64(&mut self, key: &str, value: i64) {
        match self.serialize {
            Serialize::Json => {
                self.json_key(key);
                put_decimal(self.out, value);
            }
            Serialize::Binary => {
                let mut digits = [0; 20];
                let digits = decimal(value, &mut digits);
                self.binary_field(key, digits);
            }
        }
    }

    /// As [`Self::ext_bool`], in place.
    pub fn put_bool(&mut self, key: &str, value: bool) {
        self.put(key, word(value));
    }

    /// Ends the value before it, and begins one that the next field ends, or the header's end.
    fn json_key(&mut self, key: &str) {
        let between: &[u8] = if self.fields > 0 { b"\",\"" } else { b"\"" };
        self.fields += 1;
        self.out.put_slice(between);
        put_escaped(self.out, key);
        self.out.put_slice(b"\":\"");
    }

    fn binary_field(&mut self, key: &str, value: &[u8]) {
        // Keys are our own constants and far below 32 KiB; a value beyond 2 GiB is caught by `finish`.
        self.out.put_i16(i16::try_from(key.len()).unwrap_or(i16::MAX));
        self.out.put_slice(key.as_bytes());
        self.out.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.out.put_slice(value);
    }

    /// Completes the header and the frame's lengths; `body_len` bytes of body must follow it on the wire.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if no reader would take the frame. The buffer is then as it was before the header was started.
    pub fn finish(mut self, body_len: usize) -> Result<(), FrameError> {
        match self.serialize {
            Serialize::Json if self.fields > 0 => self.out.put_slice(b"\"}}"),
            Serialize::Json => self.out.put_slice(b"}}"),
            Serialize::Binary => {
                let ext_length = self.out.len() - self.ext_length_at - 4;
                patch_u32(self.out, self.ext_length_at, ext_length);
            }
        }
        let header_length = self.out.len() - self.start - 8;
        let too_long = FrameError::TooLong {
            length: (header_length as u64).saturating_add(body_len as u64),
        };
        let frame_length = header_length.checked_add(4).and_then(|n| n.checked_add(body_len));
        let frame_length = frame_length
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n <= FRAME_LENGTH_MAX);
        // 24 bits hold the header's length, and the limit of a frame is exactly one more than they can count to.
        let header_length = u32::try_from(header_length).ok().filter(|n| *n < 1 << 24);
        let (Some(frame_length), Some(header_length)) = (frame_length, header_length) else {
            return Err(too_long);
        };
        let serialize = match self.serialize {
            Serialize::Json => 0,
            Serialize::Binary => 1,
        };
        let preamble = (u64::from(frame_length) << 32) | (serialize << 24) | u64::from(header_length);
        if let Some(place) = self.out.get_mut(self.start..self.start + 8) {
            place.copy_from_slice(&preamble.to_be_bytes());
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for HeaderWriter<'_> {
    fn drop(&mut self) {
        // Half a header would turn all that follows on the connection into rubbish.
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

fn word(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn patch_u32(out: &mut BytesMut, at: usize, value: usize) {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The digits of a number, at the end of the caller's room.
pub(crate) fn decimal(value: i64, room: &mut [u8; 20]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = room.len();
    for place in room.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        at -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // i64::MIN has 19 digits, so a place is left for the sign.
    if value < 0 {
        at -= 1;
        if let Some(place) = room.get_mut(at) {
            *place = b'-';
        }
    }
    room.get(at..).unwrap_or_default()
}

fn put_decimal(out: &mut BytesMut, value: i64) {
    out.put_slice(decimal(value, &mut [0; 20]));
}

/// Whether a byte cannot stand in a JSON string as it is.
#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Appends the inside of a JSON string: quotes, backslashes and control characters escaped, all else as it is.
pub(crate) fn put_escaped(out: &mut BytesMut, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut rest = text.as_bytes();
    // Nearly no text has anything to escape. Without an early end the compiler looks at 16 bytes at a time.
    if !rest.iter().fold(false, |found, byte| found | is_special(*byte)) {
        return out.put_slice(rest);
    }
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        let (plain, special) = rest.split_at(at);
        out.put_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            break;
        };
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            0x08 => out.put_slice(b"\\b"),
            0x09 => out.put_slice(b"\\t"),
            0x0a => out.put_slice(b"\\n"),
            0x0c => out.put_slice(b"\\f"),
            0x0d => out.put_slice(b"\\r"),
            _ => {
                out.put_slice(b"\\u00");
                out.put_u8(HEX[usize::from(byte >> 4)]);
                out.put_u8(HEX[usize::from(byte & 15)]);
            }
        }
        rest = after;
    }
    out.put_slice(rest);
}
