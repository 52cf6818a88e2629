//! Keys and values of ext fields as their bytes lie in the header.
//!
//! Requests of the hot path are read by these: a key is compared and a number read as bytes, and text is made (and checked) only
//! of the few values that are kept as text.

use core::str::FromStr;

use super::ExtText;

/// A key or a value that nobody has read yet.
#[derive(Debug, Clone, Copy)]
pub struct RawText<'a>(Form<'a>);

#[derive(Debug, Clone, Copy)]
enum Form<'a> {
    /// The inside of a JSON string without escapes, or another JSON value.
    Json(&'a str),
    /// The inside of a JSON string with escapes.
    JsonEscaped(&'a str),
    /// Whatever the peer sent; Java reads it as UTF-8.
    Binary(&'a [u8]),
}

impl<'a> RawText<'a> {
    #[inline]
    pub(crate) fn json(text: &'a str, escaped: bool) -> Self {
        RawText(if escaped {
            Form::JsonEscaped(text)
        } else {
            Form::Json(text)
        })
    }

    #[inline]
    pub(crate) fn binary(bytes: &'a [u8]) -> Self {
        RawText(Form::Binary(bytes))
    }

    /// The bytes of the text, unless it has escapes.
    #[inline]
    pub(crate) fn plain(self) -> Option<&'a [u8]> {
        match self.0 {
            Form::Json(text) => Some(text.as_bytes()),
            Form::JsonEscaped(_) => None,
            Form::Binary(bytes) => Some(bytes),
        }
    }

    /// Whether this is the text.
    #[must_use]
    #[inline]
    pub fn is(self, text: &str) -> bool {
        match self.plain() {
            Some(bytes) => bytes == text.as_bytes(),
            None => self.text().into_cow() == text,
        }
    }

    /// The text.
    #[must_use]
    #[inline]
    pub fn text(self) -> ExtText<'a> {
        match self.0 {
            Form::Json(text) => ExtText::Plain(text),
            Form::JsonEscaped(text) => ExtText::Escaped(text),
            Form::Binary(bytes) => match core::str::from_utf8(bytes) {
                Ok(text) => ExtText::Plain(text),
                Err(_) => ExtText::Repaired(String::from_utf8_lossy(bytes).into_owned()),
            },
        }
    }

    /// The number, read as Java's parsers do; `None` if it is none, or none of this type.
    #[must_use]
    #[inline]
    pub fn number<T: FromStr + TryFrom<i64>>(self) -> Option<T> {
        match self.short_number() {
            Some(number) => T::try_from(number).ok(),
            None => self.text().to_cow().parse().ok(),
        }
    }

    /// The number, if it is written as nearly all are: at most 18 digits, perhaps behind a minus. Of anything else the text has to
    /// be read.
    #[inline]
    fn short_number(self) -> Option<i64> {
        let (negative, digits) = match self.plain()? {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || digits.len() > 18 {
            return None;
        }
        let mut value = 0_i64;
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            // 18 digits fit, so nothing wraps.
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        Some(if negative { value.wrapping_neg() } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_are_those_that_java_reads_alike() {
        let number = |text: &'static str| RawText::json(text, false).short_number();
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("007", 7),
            ("123456789012345678", 123_456_789_012_345_678),
            ("-123456789012345678", -123_456_789_012_345_678),
        ] {
            assert_eq!(number(text), Some(value));
            assert_eq!(text.parse(), Ok(value));
        }
        for text in ["", "-", "+1", "1 ", "--1", "1.0", "٣", "1234567890123456789"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn text_is_what_its_form_says() {
        let text = |raw: RawText<'static>| raw.text().into_cow().into_owned();
        assert_eq!(text(RawText::json(r"a\n", true)), "a\n");
        assert_eq!(text(RawText::json(r"a\n", false)), "a\\n");
        assert_eq!(text(RawText::binary(b"a\xff")), "a\u{fffd}");
        let escaped = RawText::json(r"\u0062", true);
        assert!(escaped.is("b") && !escaped.is(r"\u0062") && escaped.plain().is_none());
        assert!(RawText::binary(b"b").is("b"));
    }
}
