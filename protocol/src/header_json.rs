//! Header encoding 1 of 2: one JSON object with `code`, `language`, `version`, `opaque`, `flag`, `remark` and `extFields`.
//!
//! Reading takes two passes. [`scan`] checks the whole header and notes where remark and ext fields are; [`JsonExt`] then walks
//! the ext fields in place. Keys come in any order, unknown ones are skipped, the last of equal ones holds, numbers may be quoted.

use core::ops::Range;
use std::borrow::Cow;

use crate::ext::{ExtText, unescape};
use crate::frame::{FrameError, HeaderInfo};
use crate::language::Language;

/// How deep a header's JSON may nest.
pub(crate) const DEPTH_MAX: u32 = 32;
/// How many keys a header may have, in all its objects together.
pub(crate) const KEYS_MAX: u32 = 256;

const NOT_OBJECT: &str = "a header is a JSON object";

/// Checks a header and finds its parts.
pub(crate) fn scan(header: &[u8]) -> Result<HeaderInfo, FrameError> {
    let text = core::str::from_utf8(header).map_err(|e| FrameError::Json {
        at: e.valid_up_to(),
        problem: "the header is not UTF-8",
    })?;
    let mut cursor = Cursor::new(text);
    let mut info = HeaderInfo::default();
    cursor.skip_blanks();
    cursor.expect(b'{', NOT_OBJECT)?;
    cursor.skip_blanks();
    if !cursor.take(b'}') {
        loop {
            scan_member(&mut cursor, &mut info)?;
            if cursor.take(b'}') {
                break;
            }
            cursor.expect(b',', "a comma or the end of the object must follow a value")?;
            cursor.skip_blanks();
        }
    }
    cursor.skip_blanks();
    match cursor.peek() {
        None => Ok(info),
        Some(_) => Err(cursor.error("something follows the header's object")),
    }
}

/// One `"key": value` of the header's object, with the blanks behind it.
fn scan_member(cursor: &mut Cursor<'_>, info: &mut HeaderInfo) -> Result<(), FrameError> {
    let key = cursor.key()?;
    let key = cursor.text_of(key).into_cow();
    match key.as_ref() {
        "code" => info.code = int(cursor, "code")?,
        "opaque" => info.opaque = int(cursor, "opaque")?,
        "flag" => info.flag = int(cursor, "flag")?,
        "version" => info.version = int(cursor, "version")?,
        "language" => info.language = language(cursor)?,
        "remark" => {
            let value = cursor.value(1)?;
            info.remark = matches!(value, Value::Text { .. }).then(|| value.span());
        }
        "extFields" => {
            let value = cursor.value(1)?;
            info.ext = match value {
                Value::Object(span) => Some(span),
                Value::Null(_) => None,
                _ => return Err(cursor.error("extFields must be an object or null")),
            };
        }
        _ => {
            cursor.value(1)?;
        }
    }
    cursor.skip_blanks();
    Ok(())
}

fn int(cursor: &mut Cursor<'_>, field: &'static str) -> Result<i32, FrameError> {
    let value = cursor.value(1)?;
    if matches!(value, Value::Null(_)) {
        return Ok(0);
    }
    let is_scalar = matches!(value, Value::Text { .. } | Value::Number(_));
    let text = cursor.text.get(value.span()).filter(|_| is_scalar);
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| FrameError::HeaderNumber {
            field,
            value: text.unwrap_or("not a number").chars().take(32).collect(),
        })
}

fn language(cursor: &mut Cursor<'_>) -> Result<Language, FrameError> {
    let value = cursor.value(1)?;
    let text = cursor.text.get(value.span()).unwrap_or("");
    Ok(match value {
        Value::Number(_) => text.parse().map_or(Language::Other, Language::from_code),
        _ => Language::from_name(text),
    })
}

/// A value's kind and where it is; the span of a text is what its quotes hold.
#[derive(Debug, Clone)]
enum Value {
    Text { span: Range<usize>, escaped: bool },
    Number(Range<usize>),
    Boolean(Range<usize>),
    Null(Range<usize>),
    Object(Range<usize>),
    Array(Range<usize>),
}

impl Value {
    fn span(&self) -> Range<usize> {
        match self {
            Self::Text { span, .. }
            | Self::Number(span)
            | Self::Boolean(span)
            | Self::Null(span)
            | Self::Object(span)
            | Self::Array(span) => span.clone(),
        }
    }
}

/// A place in a JSON text.
#[derive(Debug, Clone)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    keys: u32,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, keys: 0 }
    }

    fn error(&self, problem: &'static str) -> FrameError {
        FrameError::Json { at: self.at, problem }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    #[inline]
    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), FrameError> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.error(problem))
        }
    }

    /// A key, its colon and the blanks around it.
    #[inline]
    fn key(&mut self) -> Result<Value, FrameError> {
        self.keys += 1;
        if self.keys > KEYS_MAX {
            return Err(self.error("a header may have no more than 256 keys"));
        }
        let key = self.string()?;
        self.skip_blanks();
        self.expect(b':', "a colon must follow a key")?;
        self.skip_blanks();
        Ok(key)
    }

    /// A string, from its opening quote to behind its closing one.
    #[inline]
    fn string(&mut self) -> Result<Value, FrameError> {
        self.expect(b'"', "a string must begin here")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(found) = find_quote_or_backslash(rest) else {
                return Err(self.error("a string has no end"));
            };
            self.at += found;
            if self.take(b'"') {
                return Ok(Value::Text {
                    span: start..self.at - 1,
                    escaped,
                });
            }
            escaped = true;
            self.escape()?;
        }
    }

    /// An escape, from its backslash on.
    fn escape(&mut self) -> Result<(), FrameError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += match rest {
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => 6,
            _ => return Err(self.error("a string holds an escape that JSON does not have")),
        };
        Ok(())
    }

    /// Any value, at a depth of containers.
    fn value(&mut self, depth: u32) -> Result<Value, FrameError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => {
                self.object(depth)?;
                Ok(Value::Object(start..self.at))
            }
            Some(b'[') => {
                self.array(depth)?;
                Ok(Value::Array(start..self.at))
            }
            Some(b'-' | b'0'..=b'9') => {
                while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
                    self.at += 1;
                }
                Ok(Value::Number(start..self.at))
            }
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Result<Value, FrameError> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        for (literal, value) in [
            (&b"true"[..], Value::Boolean(start..start + 4)),
            (b"false", Value::Boolean(start..start + 5)),
            (b"null", Value::Null(start..start + 4)),
        ] {
            if rest.starts_with(literal) {
                self.at += literal.len();
                return Ok(value);
            }
        }
        Err(self.error("a value must begin here"))
    }

    fn enter(&mut self, depth: u32) -> Result<(), FrameError> {
        if depth >= DEPTH_MAX {
            return Err(self.error("a header may nest no deeper than 32"));
        }
        self.at += 1;
        self.skip_blanks();
        Ok(())
    }

    fn object(&mut self, depth: u32) -> Result<(), FrameError> {
        self.enter(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.key()?;
            self.value(depth + 1)?;
            self.skip_blanks();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "a comma or the end of the object must follow a value")?;
            self.skip_blanks();
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), FrameError> {
        self.enter(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.skip_blanks();
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "a comma or the end of the array must follow a value")?;
            self.skip_blanks();
        }
    }

    /// The text of a value; a container's is its JSON.
    #[inline]
    fn text_of(&self, value: Value) -> ExtText<'a> {
        let escaped = matches!(value, Value::Text { escaped: true, .. });
        let text = self.text.get(value.span()).unwrap_or("");
        if escaped {
            ExtText::Escaped(text)
        } else {
            ExtText::Plain(text)
        }
    }
}

/// Finds the first quote or backslash, eight bytes at a time: a byte of `x ^ 0x22…` is zero where x has a quote, and
/// `(y - 0x01…) & !y & 0x80…` marks the lowest zero byte of y (and perhaps some above it, which do not matter here).
#[inline]
pub(crate) fn find_quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    let zeros = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let hits = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if hits != 0 {
            return usize::try_from(hits.trailing_zeros() / 8).ok().map(|byte| at + byte);
        }
        at += 8;
    }
    rest.iter()
        .position(|b| matches!(b, b'"' | b'\\'))
        .map(|byte| at + byte)
}

/// Walks the ext fields of a header that [`scan`] has passed. Values that are null are left out, as Java does; a number, a
/// boolean or a container reads as its text.
#[derive(Debug, Clone)]
pub struct JsonExt<'a> {
    cursor: Cursor<'a>,
}

impl<'a> JsonExt<'a> {
    /// `object` is the text of the ext object with its braces.
    pub(crate) fn new(object: &'a [u8]) -> Self {
        // Checked by the scan already; asking again costs a tenth of a nanosecond a byte and spares an unsafe.
        let text = core::str::from_utf8(object).unwrap_or("");
        Self {
            cursor: Cursor { text, at: 1, keys: 0 },
        }
    }
}

impl<'a> Iterator for JsonExt<'a> {
    type Item = (Cow<'a, str>, ExtText<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let cursor = &mut self.cursor;
        loop {
            cursor.skip_blanks();
            if cursor.take(b',') {
                cursor.skip_blanks();
            }
            if cursor.peek() != Some(b'"') {
                return None;
            }
            let key = cursor.key().ok()?;
            let value = cursor.value(1).ok()?;
            if !matches!(value, Value::Null(_)) {
                return Some((cursor.text_of(key).into_cow(), cursor.text_of(value)));
            }
        }
    }
}

/// The remark whose span the scan noted.
pub(crate) fn remark_text(raw: &[u8]) -> Cow<'_, str> {
    let raw = core::str::from_utf8(raw).unwrap_or("");
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    unescape(raw, |piece| text.push_str(piece));
    Cow::Owned(text)
}
