//! Ext fields as nearly all peers write them: `{"key":"value","key":"value"}`, without blanks, all values strings, keys without
//! escapes.
//!
//! Quotes are then where the ones before say, so a step from quote to quote with few comparisons does: half of the time that
//! the cursor takes, which reads everything else. What is found is the same, which a test says of any text.

use super::{ExtIndex, INDEXED_MAX, Kind, Marks, Value, escape_length};

/// Notes the fields of the object at `start`; gives the place behind it. `None`: they are not of this form, or more than the index holds.
pub(super) fn fields(text: &str, start: usize, index: &mut ExtIndex) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    let mut marks = Marks::from(text, at);
    for _field in 0..INDEXED_MAX {
        let (key_quote, key_end, value_quote) = (marks.next()?, marks.next()?, marks.next()?);
        let well_formed = key_quote == at
            && value_quote == key_end + 2
            && is(bytes, key_quote, b'"')
            && is(bytes, key_end, b'"')
            && is(bytes, key_end + 1, b':')
            && is(bytes, value_quote, b'"');
        if !well_formed {
            return None;
        }
        let (value_end, kind) = string_end(bytes, &mut marks)?;
        let key = Value {
            kind: Kind::Text,
            start: key_quote + 1,
            end: key_end,
        };
        let value = Value {
            kind,
            start: value_quote + 1,
            end: value_end,
        };
        index.note(key, value);
        match bytes.get(value_end + 1)? {
            b',' => at = value_end + 2,
            b'}' if !index.overflown => return Some(value_end + 2),
            _ => return None,
        }
    }
    None
}

/// The closing quote of a string, over its escapes.
#[inline(always)]
fn string_end(bytes: &[u8], marks: &mut Marks<'_>) -> Option<(usize, Kind)> {
    let mut kind = Kind::Text;
    loop {
        let at = marks.next()?;
        if is(bytes, at, b'"') {
            return Some((at, kind));
        }
        kind = Kind::Escaped;
        escape_length(bytes.get(at..)?).ok()?;
        // What an escape stands for is marked too if it is a quote or a backslash.
        if is(bytes, at + 1, b'"') || is(bytes, at + 1, b'\\') {
            marks.next()?;
        }
    }
}

#[inline(always)]
fn is(bytes: &[u8], at: usize, byte: u8) -> bool {
    bytes.get(at) == Some(&byte)
}

#[cfg(test)]
mod tests {
    use super::super::Cursor;
    use super::*;
    use proptest::prelude::*;

    /// What the cursor makes of the same object, where it is one and the index holds it.
    fn by_cursor(text: &str) -> Option<(usize, ExtIndex)> {
        let mut index = ExtIndex::default();
        let mut cursor = Cursor::new(text, 0);
        cursor.enter(1).ok()?;
        cursor.ext_members(&mut index).ok()?;
        (!index.overflown).then_some((cursor.at, index))
    }

    fn here(text: &str) -> Option<(usize, ExtIndex)> {
        let mut index = ExtIndex::default();
        fields(text, 0, &mut index).map(|end| (end, index))
    }

    #[test]
    fn compact_fields_are_found() {
        for (text, count) in [
            (r#"{"a":"1"}"#, 1),
            (r#"{"a":"","topic":"orders"},"x":1}"#, 2),
            (r#"{"i":"K\u0001v\u0002\"\\","j":"\\"}"#, 2),
            (r#"{"é":"日本"}"#, 1),
        ] {
            assert_eq!(here(text).map(|(_end, index)| index.count), Some(count), "{text}");
            assert_eq!(here(text), by_cursor(text), "{text}");
        }
    }

    #[test]
    fn all_else_is_left_to_the_cursor() {
        let many: Vec<String> = (0..=INDEXED_MAX).map(|field| format!("\"{field}\":\"\"")).collect();
        for text in [
            "{}",
            r#"{ "a":"1"}"#,
            r#"{"a" :"1"}"#,
            r#"{"a": "1"}"#,
            r#"{"a":"1" }"#,
            r#"{"a":"1",}"#,
            r#"{"a":1}"#,
            r#"{"a":null}"#,
            r#"{"\u0061":"1"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u00"}"#,
            r#"{"a":"1"#,
            r#"{"a":"1\"}"#,
            r#"{"a"x"1"}"#,
            &format!("{{{}}}", many.join(",")),
            &format!("{{\"a\":\"{}\"}}", "x".repeat(70_000)),
        ] {
            assert_eq!(here(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_found_the_cursor_finds_too(pieces in proptest::collection::vec(
            prop_oneof![
                8 => Just("\""), 4 => Just(":"), 3 => Just(","), 1 => Just("}"), 1 => Just("{"), 1 => Just(" "), 4 => Just("\":\""),
                4 => Just("\",\""), 2 => Just("\\"), 2 => Just("\\u0001"), 1 => Just("\\\""), 3 => Just("ab"), 1 => Just("é"), 1 => Just("1"),
            ], 0..60)) {
            for end in ["", "}", "\"}"] {
                let text = format!("{{\"{}{end}", pieces.concat());
                if let Some(found) = here(&text) {
                    prop_assert_eq!(Some(found), by_cursor(&text));
                }
            }
        }
    }
}
