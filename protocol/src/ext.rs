//! Ext fields of a header, read in place: name and value, with no allocation unless an escape or broken UTF-8 needs one.

use std::borrow::Cow;
use std::str::FromStr;

use bytes::BufMut;

pub use self::raw::RawText;
use crate::header_binary::BinaryExt;
use crate::header_json::JsonExt;

pub(crate) mod raw;

/// One value (or the remark) of a header, as it lies in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtText<'a> {
    /// The text itself.
    Plain(&'a str),
    /// The inside of a JSON string that has escapes, each of them well-formed.
    Escaped(&'a str),
    /// Text whose bytes were not UTF-8: replacement characters stand for them, as Java has it.
    Repaired(String),
}

impl<'a> ExtText<'a> {
    /// The text; allocates only if it had an escape.
    #[must_use]
    #[inline]
    pub fn into_cow(self) -> Cow<'a, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Repaired(text) => Cow::Owned(text),
            Self::Escaped(raw) => {
                let mut text = String::with_capacity(raw.len());
                unescape(raw, |piece| text.push_str(piece));
                Cow::Owned(text)
            }
        }
    }

    /// The text; allocates only if it had an escape.
    #[must_use]
    pub fn to_cow(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Repaired(text) => Cow::Borrowed(text),
            Self::Escaped(raw) => Self::Escaped(raw).into_cow(),
        }
    }

    /// Appends the text, with escapes resolved, to a buffer of the caller.
    pub fn write_to(&self, out: &mut impl BufMut) {
        match self {
            Self::Plain(text) => out.put_slice(text.as_bytes()),
            Self::Repaired(text) => out.put_slice(text.as_bytes()),
            Self::Escaped(raw) => unescape(raw, |piece| out.put_slice(piece.as_bytes())),
        }
    }

    /// Appends the text, with escapes resolved, to a string of the caller.
    pub fn push_to(&self, out: &mut String) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Repaired(text) => out.push_str(text),
            Self::Escaped(raw) => unescape(raw, |piece| out.push_str(piece)),
        }
    }

    /// Bytes that the text takes at most (exactly, if it has no escape): room to reserve, and a bound to check first.
    #[must_use]
    pub fn length_max(&self) -> usize {
        match self {
            Self::Plain(text) | Self::Escaped(text) => text.len(),
            Self::Repaired(text) => text.len(),
        }
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length_max() == 0
    }
}

/// Resolves the escapes of a JSON string's inside, giving the text piece by piece.
///
/// A surrogate without its partner becomes U+FFFD. The scan that made the span has checked every escape; should one be broken
/// none the less, it is given as it is.
pub(crate) fn unescape(raw: &str, mut give: impl FnMut(&str)) {
    let mut rest = raw;
    let mut utf8 = [0_u8; 4];
    while let Some((plain, escape)) = split_at_backslash(rest) {
        give(plain);
        if let Some((c, after)) = control_escape(escape) {
            give(c.encode_utf8(&mut utf8));
            rest = after;
            continue;
        }
        let mut chars = escape.chars();
        let simple = match chars.next() {
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => None,
            Some(other) => Some(other),
            None => return,
        };
        if let Some(c) = simple {
            give(c.encode_utf8(&mut utf8));
            rest = chars.as_str();
            continue;
        }
        let (c, after) = unicode_escape(chars.as_str());
        give(c.encode_utf8(&mut utf8));
        rest = after;
    }
    give(rest);
}

/// The text before the first backslash and that behind it. Pieces between escapes are mostly shorter than what a search by
/// machine words is good for.
#[inline]
fn split_at_backslash(text: &str) -> Option<(&str, &str)> {
    let at = memchr::memchr(b'\\', text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// `u0000` to `u000f` at the front: the separators of properties, a dozen in each send, are escaped so.
#[inline]
fn control_escape(escape: &str) -> Option<(char, &str)> {
    let digits = escape.as_bytes().first_chunk::<5>()?;
    let [b'u', b'0', b'0', b'0', last] = digits else {
        return None;
    };
    let value = char::from(*last).to_digit(16)?;
    Some((char::from_u32(value)?, escape.get(5..)?))
}

/// Reads what follows `\u`: four digits, or a pair of surrogates.
fn unicode_escape(text: &str) -> (char, &str) {
    let Some((unit, after)) = four_hex_digits(text) else {
        return (char::REPLACEMENT_CHARACTER, text);
    };
    if let Some(c) = char::from_u32(unit) {
        return (c, after);
    }
    let low = after.strip_prefix("\\u").and_then(four_hex_digits);
    if let (0xD800..0xDC00, Some((low @ 0xDC00..0xE000, after_low))) = (unit, low) {
        let c = char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        return (c.unwrap_or(char::REPLACEMENT_CHARACTER), after_low);
    }
    (char::REPLACEMENT_CHARACTER, after)
}

fn four_hex_digits(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, text.get(4..)?))
}

/// The ext fields of one frame, in the order of the wire. A name may come twice: the last one holds, as in Java's map.
#[derive(Debug, Clone)]
pub enum ExtFields<'a> {
    /// There are none.
    Empty,
    /// Of a JSON header.
    Json(JsonExt<'a>),
    /// Of a binary header.
    Binary(BinaryExt<'a>),
}

impl<'a> ExtFields<'a> {
    /// The value under a name; the last, if there are several.
    #[must_use]
    pub fn get(self, name: &str) -> Option<ExtText<'a>> {
        self.last_named(name).map(RawText::text)
    }

    /// The number under a name, the last if there are several, read as Java's parsers do.
    #[must_use]
    pub fn number<T: FromStr + TryFrom<i64>>(self, name: &str) -> Option<T> {
        self.last_named(name)?.number()
    }

    #[inline]
    fn last_named(self, name: &str) -> Option<RawText<'a>> {
        let mut last = None;
        self.each_raw(|key, value| {
            if key.is(name) {
                last = Some(value);
            }
        });
        last
    }

    /// The fields as they lie in the header, for who wants few of them or numbers.
    #[must_use]
    #[inline]
    pub fn raw(self) -> RawFields<'a> {
        RawFields(self)
    }

    /// Gives each field to `take`, in order. Fields stay in registers on their way, which an iterator over several kinds of
    /// headers does not achieve: half of the time of reading a send went into that.
    #[inline(always)]
    pub(crate) fn each_raw(self, mut take: impl FnMut(RawText<'a>, RawText<'a>)) {
        match self {
            Self::Empty => {}
            Self::Json(fields) => fields.each_raw(take),
            Self::Binary(mut fields) => {
                while let Some((key, value)) = fields.next_raw() {
                    take(key, value);
                }
            }
        }
    }

    /// Picks out the fields whose place among `N` a name has, the last of each. `place_of` gives `N` or more for other names.
    #[inline]
    pub(crate) fn pick<const N: usize>(self, place_of: impl Fn(RawText<'a>) -> usize) -> Picked<'a, N> {
        let numbers = match &self {
            Self::Json(fields) => fields.numbers(&place_of),
            _ => None,
        };
        match (self, numbers) {
            (Self::Json(fields), Some(numbers)) => Picked::Indexed(fields, numbers),
            (fields, _) => {
                let mut values = [None; N];
                fields.each_raw(|key, value| {
                    if let Some(found) = values.get_mut(place_of(key)) {
                        *found = Some(value);
                    }
                });
                Picked::Read(values)
            }
        }
    }

    #[inline]
    fn next_raw(&mut self) -> Option<(RawText<'a>, RawText<'a>)> {
        match self {
            Self::Empty => None,
            Self::Json(fields) => fields.next_raw(),
            Self::Binary(fields) => fields.next_raw(),
        }
    }
}

/// Fields of a header, found by place. Of a JSON header only their numbers are kept: values that were written to memory and read
/// back took a fifth of the time of reading a send.
#[derive(Debug)]
pub(crate) enum Picked<'a, const N: usize> {
    /// Numbers in the index, counted from 1.
    Indexed(JsonExt<'a>, [u8; N]),
    Read([Option<RawText<'a>>; N]),
}

impl<'a, const N: usize> Picked<'a, N> {
    /// The value at a place, if the header has it.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<RawText<'a>> {
        match self {
            Self::Indexed(fields, numbers) => fields.value(usize::from(*numbers.get(place)?).checked_sub(1)?),
            Self::Read(values) => *values.get(place)?,
        }
    }
}

impl<'a> Iterator for ExtFields<'a> {
    type Item = (Cow<'a, str>, ExtText<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.next_raw()?;
        Some((key.text().into_cow(), value.text()))
    }
}

/// [`ExtFields`], unread.
#[derive(Debug, Clone)]
pub struct RawFields<'a>(ExtFields<'a>);

impl<'a> Iterator for RawFields<'a> {
    type Item = (RawText<'a>, RawText<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_raw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_and_lone_surrogates_replaced() {
        let text = |raw| ExtText::Escaped(raw).into_cow().into_owned();
        assert_eq!(
            text(r#"a\u0001b\u0002\"\\\/\b\f\n\r\t"#),
            "a\u{1}b\u{2}\"\\/\u{8}\u{c}\n\r\t"
        );
        assert_eq!(text(r"\ud83d\ude00!"), "😀!");
        assert_eq!(text(r"\ud83dx\ude00"), "\u{fffd}x\u{fffd}");
        assert_eq!(text(r"\u00zz\"), "\u{fffd}00zz");
        assert_eq!(text(r"\u000z\u000f\u000A\u0010é"), "\u{fffd}000z\u{f}\n\u{10}é");
    }

    #[test]
    fn text_is_written_straight_into_the_callers_buffer() {
        let mut out = bytes::BytesMut::new();
        ExtText::Escaped(r"K\u0001v\u0002").write_to(&mut out);
        assert_eq!(&out[..], b"K\x01v\x02");
    }
}
