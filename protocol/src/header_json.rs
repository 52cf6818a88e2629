//! Header encoding 1 of 2: one JSON object with `code`, `language`, `version`, `opaque`, `flag`, `remark` and `extFields`.
//!
//! One pass checks the whole header and notes where the remark and each ext field are; [`JsonExt`] then gives the fields without
//! looking for them again. Keys come in any order, unknown ones are skipped, the last of equal ones holds, numbers may be quoted.

mod compact;

use core::ops::Range;
use std::borrow::Cow;

use crate::ext::raw::RawText;
use crate::ext::unescape;
use crate::frame::{FrameError, HeaderInfo};
use crate::language::Language;
use wide::u8x16;

/// How deep a header's JSON may nest.
pub(crate) const DEPTH_MAX: u32 = 32;
/// How many keys a header may have, in all its objects together.
pub(crate) const KEYS_MAX: u32 = 256;
/// How many ext fields the index of a frame holds. A send has 14 and an ACL's 3; a header with more is walked a second time.
const INDEXED_MAX: usize = 20;

/// What is wrong; the cursor knows where.
type Problem = &'static str;

/// Checks a header and finds its parts.
pub(crate) fn scan(header: &[u8]) -> Result<HeaderInfo, FrameError> {
    let text = simdutf8::basic::from_utf8(header).map_err(|_invalid| FrameError::Json {
        at: core::str::from_utf8(header).map_or_else(|error| error.valid_up_to(), str::len),
        problem: "the header is not UTF-8",
    })?;
    let mut cursor = Cursor::new(text, 0);
    let mut info = HeaderInfo::default();
    match scan_header(&mut cursor, &mut info) {
        Ok(None) => Ok(info),
        Ok(Some(error)) => Err(error),
        Err(problem) => Err(FrameError::Json { at: cursor.at, problem }),
    }
}

#[inline(always)]
fn scan_header(cursor: &mut Cursor<'_>, info: &mut HeaderInfo) -> Result<Option<FrameError>, Problem> {
    cursor.skip_blanks();
    cursor.expect(b'{', "a header is a JSON object")?;
    cursor.skip_blanks();
    if !cursor.take(b'}') {
        loop {
            if let Some(error) = scan_member(cursor, info)? {
                return Ok(Some(error));
            }
            cursor.skip_blanks();
            if cursor.take(b'}') {
                break;
            }
            cursor.expect(b',', COMMA_OR_END)?;
            cursor.skip_blanks();
        }
    }
    cursor.skip_blanks();
    if cursor.at == cursor.text.len() {
        Ok(None)
    } else {
        Err("something follows the header's object")
    }
}

const COMMA_OR_END: Problem = "a comma or the end must follow a value";

/// One `"key": value` of the header's object. A number that is none is not a matter of JSON, so it has an error of its own.
#[inline(always)]
fn scan_member(cursor: &mut Cursor<'_>, info: &mut HeaderInfo) -> Result<Option<FrameError>, Problem> {
    let key = cursor.key()?;
    let (field, place): (_, &mut i32) = match &*cursor.raw_text(key).text().into_cow() {
        "code" => ("code", &mut info.code),
        "opaque" => ("opaque", &mut info.opaque),
        "flag" => ("flag", &mut info.flag),
        "version" => ("version", &mut info.version),
        "language" => {
            let value = cursor.value(1)?;
            info.language = language(cursor.raw(value), value.kind);
            return Ok(None);
        }
        "remark" => {
            let value = cursor.value(1)?;
            info.remark = matches!(value.kind, Kind::Text | Kind::Escaped).then(|| value.span());
            return Ok(None);
        }
        "extFields" => {
            info.ext = None;
            info.index = ExtIndex::default();
            if cursor.peek() == Some(b'{') {
                let start = cursor.at;
                cursor.by_copy(|copy| copy.ext_object(&mut info.index))?;
                info.ext = Some(start..cursor.at);
            } else if cursor.value(1)?.kind != Kind::Null {
                return Err("extFields must be an object or null");
            }
            return Ok(None);
        }
        _ => {
            cursor.value(1)?;
            return Ok(None);
        }
    };
    let value = cursor.value(1)?;
    let raw = cursor.raw(value);
    let number = match value.kind {
        Kind::Null => Some(0),
        Kind::Text | Kind::Number => RawText::json(raw, false).number(),
        _ => None,
    };
    *place = number.unwrap_or(0);
    let error = || FrameError::HeaderNumber {
        field,
        value: raw.chars().take(32).collect(),
    };
    Ok(if number.is_some() { None } else { Some(error()) })
}

fn language(text: &str, kind: Kind) -> Language {
    match kind {
        Kind::Number => text.parse().map_or(Language::Other, Language::from_code),
        _ => Language::from_name(text),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Text with an escape in it.
    Escaped,
    Number,
    Boolean,
    Null,
    Container,
}

/// A value's kind and where it is; the place of a text is what its quotes hold.
#[derive(Debug, Clone, Copy)]
struct Value {
    kind: Kind,
    start: usize,
    end: usize,
}

impl Value {
    fn span(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A place in a JSON text.
///
/// The header's members and those of the ext fields are read by functions that are inlined; others get a copy, so that nobody has
/// the address of the place and it stays in registers: half of the time of a scan went into writing it to memory and reading it back.
#[derive(Debug, Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    keys: u32,
    /// Start of the 64 bytes whose quotes and backslashes `marks` has a bit for.
    block: usize,
    marks: u64,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str, at: usize) -> Self {
        let block = at - at % 64;
        Self {
            text,
            at,
            keys: 0,
            block,
            marks: marks_of_block(text, block),
        }
    }

    /// Goes to the next quote or backslash.
    #[inline(always)]
    fn seek_mark(&mut self) -> Result<(), Problem> {
        if self.at >= self.block + 64 {
            self.block = self.at - self.at % 64;
            self.marks = marks_of_block(self.text, self.block);
        }
        let mut marks = self.marks & (u64::MAX << (self.at - self.block));
        while marks == 0 {
            self.block += 64;
            if self.block >= self.text.len() {
                return Err("a string has no end");
            }
            self.marks = marks_of_block(self.text, self.block);
            marks = self.marks;
        }
        self.at = self.block + usize::try_from(marks.trailing_zeros()).unwrap_or(0);
        Ok(())
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8, problem: Problem) -> Result<(), Problem> {
        if self.take(byte) { Ok(()) } else { Err(problem) }
    }

    /// A key, its colon and the blanks around it.
    #[inline(always)]
    fn key(&mut self) -> Result<Value, Problem> {
        self.keys += 1;
        if self.keys > KEYS_MAX {
            return Err("a header may have no more than 256 keys");
        }
        let key = self.string()?;
        if self.rest().starts_with(b":\"") {
            // So most peers write it: no blank, and a string.
            self.at += 1;
            return Ok(key);
        }
        self.skip_blanks();
        self.expect(b':', "a colon must follow a key")?;
        self.skip_blanks();
        Ok(key)
    }

    /// A string, from its opening quote to behind its closing one.
    #[inline(always)]
    fn string(&mut self) -> Result<Value, Problem> {
        self.expect(b'"', "a string must begin here")?;
        let start = self.at;
        let mut kind = Kind::Text;
        loop {
            self.seek_mark()?;
            if self.take(b'"') {
                return Ok(Value {
                    kind,
                    start,
                    end: self.at - 1,
                });
            }
            kind = Kind::Escaped;
            self.at += escape_length(self.rest())?;
        }
    }

    /// Any value, at a depth of containers.
    #[inline(always)]
    fn value(&mut self, depth: u32) -> Result<Value, Problem> {
        if self.peek() == Some(b'"') {
            self.string()
        } else {
            self.by_copy(|copy| copy.value_without_quotes(depth))
        }
    }

    /// Goes on by a function that is not inlined.
    #[inline(always)]
    fn by_copy<T>(&mut self, go_on: impl FnOnce(&mut Self) -> T) -> T {
        let mut copy = *self;
        let result = go_on(&mut copy);
        *self = copy;
        result
    }

    fn value_without_quotes(&mut self, depth: u32) -> Result<Value, Problem> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => {
                self.object(depth)?;
                Kind::Container
            }
            Some(b'[') => {
                self.array(depth)?;
                Kind::Container
            }
            Some(b'-' | b'0'..=b'9') => {
                while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
                    self.at += 1;
                }
                Kind::Number
            }
            _ => self.literal()?,
        };
        Ok(Value {
            kind,
            start,
            end: self.at,
        })
    }

    fn literal(&mut self) -> Result<Kind, Problem> {
        for (literal, kind) in [
            (&b"true"[..], Kind::Boolean),
            (b"false", Kind::Boolean),
            (b"null", Kind::Null),
        ] {
            if self.rest().starts_with(literal) {
                self.at += literal.len();
                return Ok(kind);
            }
        }
        Err("a value must begin here")
    }

    fn enter(&mut self, depth: u32) -> Result<(), Problem> {
        if depth >= DEPTH_MAX {
            return Err("a header may nest no deeper than 32");
        }
        self.at += 1;
        self.skip_blanks();
        Ok(())
    }

    fn object(&mut self, depth: u32) -> Result<(), Problem> {
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
            self.expect(b',', COMMA_OR_END)?;
            self.skip_blanks();
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), Problem> {
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
            self.expect(b',', COMMA_OR_END)?;
            self.skip_blanks();
        }
    }

    /// The object of the ext fields, each noted in the index.
    fn ext_object(&mut self, index: &mut ExtIndex) -> Result<(), Problem> {
        if let Some(end) = compact::fields(self.text, self.at, index)
            && self.keys + index.count_u32() <= KEYS_MAX
        {
            self.keys += index.count_u32();
            self.at = end;
            return Ok(());
        }
        *index = ExtIndex::default();
        self.enter(1)?;
        self.by_copy(|copy| copy.ext_members(index))
    }

    #[inline(always)]
    fn ext_members(&mut self, index: &mut ExtIndex) -> Result<(), Problem> {
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            let value = self.value(2)?;
            index.note(key, value);
            if self.rest().starts_with(b",\"") {
                self.at += 1;
                continue;
            }
            self.skip_blanks();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', COMMA_OR_END)?;
            self.skip_blanks();
        }
    }

    #[inline]
    fn raw(&self, value: Value) -> &'a str {
        self.text.get(value.span()).unwrap_or("")
    }

    /// A value, unread; a container's text is its JSON.
    #[inline]
    fn raw_text(&self, value: Value) -> RawText<'a> {
        RawText::json(self.raw(value), value.kind == Kind::Escaped)
    }
}

/// Bytes of an escape that begins with its backslash here.
fn escape_length(rest: &[u8]) -> Result<usize, Problem> {
    match rest {
        [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => Ok(6),
        [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Ok(2),
        _ => Err("a string holds an escape that JSON does not have"),
    }
}

/// Marks of the 64 bytes from `block` on; those past the end have none.
#[inline]
fn marks_of_block(text: &str, block: usize) -> u64 {
    let rest = text.as_bytes().get(block..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return mark_quotes_and_backslashes(bytes);
    }
    let mut bytes = [0; 64];
    bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    mark_quotes_and_backslashes(&bytes)
}

/// One bit for each byte that is a quote or a backslash, the first byte's lowest: 16 bytes at a time.
#[inline]
fn mark_quotes_and_backslashes(bytes: &[u8; 64]) -> u64 {
    let (quotes, backslashes) = (u8x16::splat(b'"'), u8x16::splat(b'\\'));
    let (lanes, _) = bytes.as_chunks::<16>();
    lanes.iter().rev().fold(0, |marks, lane| {
        let lane = u8x16::new(*lane);
        let found = lane.simd_eq(quotes) | lane.simd_eq(backslashes);
        marks << 16 | u64::from(found.to_bitmask())
    })
}

/// The marked places of a text, one after the other.
struct Marks<'a> {
    text: &'a str,
    block: usize,
    marks: u64,
}

impl<'a> Marks<'a> {
    /// Those from `at` on.
    #[inline]
    fn from(text: &'a str, at: usize) -> Marks<'a> {
        let block = at - at % 64;
        let marks = marks_of_block(text, block) & (u64::MAX << (at - block));
        Marks { text, block, marks }
    }

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.marks == 0 {
            self.block += 64;
            if self.block >= self.text.len() {
                return None;
            }
            self.marks = marks_of_block(self.text, self.block);
        }
        let at = self.block + usize::try_from(self.marks.trailing_zeros()).unwrap_or(0);
        self.marks &= self.marks - 1;
        Some(at)
    }
}

/// Where one ext field is: starts and lengths of key and value in the header.
type FieldPlace = [u16; 4];

/// Where the ext fields are, as far as they fit; those that are null are left out, as in Java.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ExtIndex {
    places: [FieldPlace; INDEXED_MAX],
    /// A bit for each key that has an escape.
    keys_escaped: u32,
    /// A bit for each value that has an escape.
    values_escaped: u32,
    /// Number of fields.
    count: usize,
    /// Whether a field did not fit, by its number or its place: the index is of no use then.
    overflown: bool,
}

impl ExtIndex {
    #[inline]
    fn places(&self) -> &[FieldPlace] {
        self.places.get(..self.count).unwrap_or_default()
    }

    fn count_u32(&self) -> u32 {
        u32::try_from(self.count).unwrap_or(u32::MAX)
    }

    #[inline]
    fn note(&mut self, key: Value, value: Value) {
        if value.kind == Kind::Null {
            return;
        }
        // Lengths are no greater than where they end.
        let fits = value.end <= usize::from(u16::MAX);
        match self.places.get_mut(self.count) {
            Some(place) if fits => {
                let [key_length, value_length] = [key.end - key.start, value.end - value.start];
                *place = [key.start, key_length, value.start, value_length].map(low_half);
                self.keys_escaped |= u32::from(key.kind == Kind::Escaped) << self.count;
                self.values_escaped |= u32::from(value.kind == Kind::Escaped) << self.count;
                self.count += 1;
            }
            _ => self.overflown = true,
        }
    }
}

/// A number that is known to fit.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the caller has compared it with the greatest"
)]
fn low_half(number: usize) -> u16 {
    number as u16
}

/// The ext fields of a header that [`scan`] has passed. A number, a boolean or a container reads as its text.
#[derive(Debug, Clone)]
pub struct JsonExt<'a> {
    header: &'a str,
    index: &'a ExtIndex,
    /// Field of the index that comes next.
    next: usize,
    /// Walks the fields that the index does not hold.
    cursor: Option<Cursor<'a>>,
}

impl<'a> JsonExt<'a> {
    /// Over the fields of this header; `start` is the opening brace of the ext object.
    pub(crate) fn new(header: &'a [u8], index: &'a ExtIndex, start: usize) -> Self {
        // The scan has passed it. To check the whole once more costs less than to check each text that is read.
        let header = simdutf8::basic::from_utf8(header).unwrap_or_default();
        let walked = || Cursor::new(header, start.saturating_add(1));
        Self {
            header,
            index,
            next: 0,
            cursor: index.overflown.then(walked),
        }
    }

    #[inline]
    pub(crate) fn next_raw(&mut self) -> Option<(RawText<'a>, RawText<'a>)> {
        if let Some(cursor) = &mut self.cursor {
            return walk(cursor);
        }
        let place = self.index.places().get(self.next)?;
        let field = self.field(self.next, *place);
        self.next += 1;
        Some(field)
    }

    /// Gives each field to `take`.
    #[inline(always)]
    pub(crate) fn each_raw(mut self, mut take: impl FnMut(RawText<'a>, RawText<'a>)) {
        if self.cursor.is_none() {
            for (number, place) in self.index.places().iter().enumerate() {
                let (key, value) = self.field(number, *place);
                take(key, value);
            }
            return;
        }
        while let Some((key, value)) = self.next_raw() {
            take(key, value);
        }
    }

    /// Number of the last field of each name that `place_of` knows, counted from 1; `None` where the index does not hold all fields.
    #[inline]
    pub(crate) fn numbers<const N: usize>(&self, place_of: impl Fn(RawText<'a>) -> usize) -> Option<[u8; N]> {
        if self.cursor.is_some() {
            return None;
        }
        let mut numbers = [0; N];
        for (place, number) in self.index.places().iter().zip(1..) {
            let key = self.key(usize::from(number) - 1, *place);
            if let Some(found) = numbers.get_mut(place_of(key)) {
                *found = number;
            }
        }
        Some(numbers)
    }

    /// The value of a field by its number in the index.
    #[inline]
    pub(crate) fn value(&self, number: usize) -> Option<RawText<'a>> {
        let [_, _, start, length] = *self.index.places().get(number)?;
        Some(self.text(number, start, length, self.index.values_escaped))
    }

    #[inline(always)]
    fn key(&self, number: usize, [start, length, _, _]: FieldPlace) -> RawText<'a> {
        self.text(number, start, length, self.index.keys_escaped)
    }

    #[inline(always)]
    fn text(&self, number: usize, start: u16, length: u16, escaped: u32) -> RawText<'a> {
        let start = usize::from(start);
        let text = self.header.get(start..start + usize::from(length)).unwrap_or_default();
        RawText::json(text, escaped >> number & 1 == 1)
    }

    #[inline(always)]
    fn field(
        &self,
        number: usize,
        place @ [_, _, value_start, value_length]: FieldPlace,
    ) -> (RawText<'a>, RawText<'a>) {
        (
            self.key(number, place),
            self.text(number, value_start, value_length, self.index.values_escaped),
        )
    }
}

/// The next field of a header with many.
fn walk<'a>(cursor: &mut Cursor<'a>) -> Option<(RawText<'a>, RawText<'a>)> {
    loop {
        cursor.skip_blanks();
        if cursor.take(b',') {
            cursor.skip_blanks();
        }
        if cursor.peek() != Some(b'"') {
            return None;
        }
        let key = cursor.key().ok()?;
        let value = cursor.value(2).ok()?;
        if value.kind != Kind::Null {
            return Some((cursor.raw_text(key), cursor.raw_text(value)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::{ExtFields, ExtText};

    #[test]
    fn quotes_and_backslashes_are_marked_and_nothing_else() {
        let mut bytes = [0; 64];
        for start in 0..=255_u8 {
            bytes
                .iter_mut()
                .zip(0_u8..)
                .for_each(|(byte, at)| *byte = start.wrapping_add(at));
            let expected = bytes
                .iter()
                .rev()
                .fold(0, |marks, b| marks << 1 | u64::from(matches!(b, b'"' | b'\\')));
            assert_eq!(mark_quotes_and_backslashes(&bytes), expected, "from {start}");
        }
        assert_eq!(mark_quotes_and_backslashes(&[b'"'; 64]), u64::MAX);
    }

    #[test]
    fn strings_end_at_their_quote_wherever_the_blocks_of_64_bytes_end() {
        for length in 0..200 {
            let header = format!("{{\"remark\":\"{}\\\"\",\"code\":7}}", "x".repeat(length));
            let info = scan(header.as_bytes()).unwrap();
            assert_eq!((info.code, info.remark), (7, Some(11..13 + length)), "{length}");
        }
    }

    #[test]
    fn fields_that_the_index_cannot_hold_are_walked() {
        let long = "v".repeat(70_000);
        let header = format!("{{\"extFields\":{{\"a\":\"{long}\",\"b\":\"1\\n\",\"c\":null}}}}");
        let info = scan(header.as_bytes()).unwrap();
        assert!(info.index.overflown);
        let fields = ExtFields::Json(JsonExt::new(header.as_bytes(), &info.index, info.ext.unwrap().start));
        let expected = [
            ("a".into(), ExtText::Plain(&long)),
            ("b".into(), ExtText::Escaped("1\\n")),
        ];
        assert_eq!(fields.collect::<Vec<_>>(), expected);
    }
}
