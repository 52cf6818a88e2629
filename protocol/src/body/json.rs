//! Writes bodies as JSON, compact, in the form that Java demands or in the standard form.
//!
//! Java's form differs in map keys: numbers stand without quotes, and a [`crate::body::queue::WireQueue`] stands as an object. A type
//! asks for the latter by giving a [`RawKey`].

use std::cell::Cell;
use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

/// A key that is JSON itself, and is written as it is. The sign goes beside the text, not in it: text may come from anybody.
pub(crate) struct RawKey(pub(crate) String);

thread_local! {
    /// The text that is written next is that of a [`RawKey`].
    static RAW: Cell<bool> = const { Cell::new(false) };
}

impl Serialize for RawKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RAW.set(true);
        let written = serializer.serialize_str(&self.0);
        RAW.set(false);
        written
    }
}

/// The body as Java writes it: numeric keys bare.
///
/// # Panics
/// Never for the types of this crate: their keys are text or numbers.
#[must_use]
pub fn to_java_json<T: Serialize>(body: &T) -> Vec<u8> {
    write(body, true)
}

/// The body as any JSON parser takes it: numeric keys quoted. (Queues as keys are objects here, too: Java cannot read them otherwise.)
///
/// # Panics
/// Never for the types of this crate: their keys are text or numbers.
#[must_use]
pub fn to_standard_json<T: Serialize>(body: &T) -> Vec<u8> {
    write(body, false)
}

fn write<T: Serialize>(body: &T, bare_numbers: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let formatter = JavaFormatter {
        bare_numbers,
        key: Key::None,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    body.serialize(&mut serializer)
        .expect("bodies have keys of text or numbers, and memory takes all bytes");
    out
}

/// Where in a key the formatter is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Not in one.
    None,
    /// At its start: what comes next decides whether it is quoted.
    Start,
    /// In one with quotes.
    Quoted,
    /// In one without quotes, a number.
    Bare,
    /// In one that is JSON itself.
    Raw,
}

struct JavaFormatter {
    bare_numbers: bool,
    key: Key,
}

impl JavaFormatter {
    fn open_quote<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key == Key::Start {
            self.key = Key::Quoted;
            writer.write_all(b"\"")?;
        }
        Ok(())
    }

    fn number<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: impl core::fmt::Display) -> io::Result<()> {
        if self.key == Key::Start && self.bare_numbers {
            self.key = Key::Bare;
        }
        self.open_quote(writer)?;
        write!(writer, "{value}")
    }
}

impl Formatter for JavaFormatter {
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.key = Key::Start;
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.key {
            Key::None => return writer.write_all(b"\""),
            Key::Start if RAW.get() => self.key = Key::Raw,
            _ => {}
        }
        Ok(())
    }

    fn end_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open_quote(writer)?;
        match core::mem::replace(&mut self.key, Key::None) {
            Key::Bare | Key::Raw => Ok(()),
            _ => writer.write_all(b"\""),
        }
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.open_quote(writer)?;
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match (self.key, &escape) {
            // JSON holds no other character that this one escapes.
            (Key::Raw, CharEscape::Quote) => return writer.write_all(b"\""),
            (Key::Raw, CharEscape::ReverseSolidus) => return writer.write_all(b"\\"),
            _ => self.open_quote(writer)?,
        }
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }

    fn write_i32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i32) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_u32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u32) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.number(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numeric_keys_are_bare_for_java_and_quoted_by_the_standard() {
        let map: BTreeMap<i64, &str> = [(0, "a"), (-1, "b\n")].into();
        assert_eq!(to_java_json(&map), br#"{-1:"b\n",0:"a"}"#);
        assert_eq!(to_standard_json(&map), br#"{"-1":"b\n","0":"a"}"#);
    }

    #[test]
    fn text_keys_are_quoted_and_escaped_even_if_empty_or_digits() {
        let map: BTreeMap<&str, i32> = [("", 1), ("12", 2), ("a\"b", 3), ("\u{1}x", 4)].into();
        assert_eq!(to_java_json(&map), b"{\"\":1,\"\\u0001x\":4,\"12\":2,\"a\\\"b\":3}");
    }

    #[test]
    fn a_raw_key_is_written_as_it_is() {
        struct Map;
        impl Serialize for Map {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([(RawKey(r#"{"a":"\\"}"#.to_owned()), "v")])
            }
        }
        assert_eq!(to_java_json(&Map), br#"{{"a":"\\"}:"v"}"#);
    }

    #[test]
    fn text_of_others_is_text_whatever_it_begins_with() {
        let map: BTreeMap<&str, i32> = [("\0{\"a\":1}", 1)].into();
        assert_eq!(to_java_json(&map), br#"{"\u0000{\"a\":1}":1}"#);
    }
}
