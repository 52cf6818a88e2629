//! Java properties as text: bodies of 25, 26, 318 and 319, and files such as `broker.conf`.
//!
//! A line holds a key and a value, parted by `=`, `:` or a blank; `#` and `!` start a comment line; a backslash at a line's end joins the
//! next one; `\t \n \r \f \uXXXX` and a backslash before any other character are escapes. Of equal keys the last holds.

/// Keys and values, in order, each with the number of its first line, from 1.
#[must_use]
pub fn parse(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = text.lines().zip(1_usize..);
    while let Some((line, number)) = lines.next() {
        let start = line.trim_start_matches(BLANKS);
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = start.to_owned();
        while ends_open(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        let (key, value) = split(&logical);
        properties.push(Property {
            key: unescape(key),
            value: unescape(value),
            line: number,
        });
    }
    properties
}

/// One entry of a properties text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key.
    pub key: String,
    /// The value; blanks in front of it are dropped, those behind it are not.
    pub value: String,
    /// Its first line, from 1.
    pub line: usize,
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Whether a line goes on: an odd number of backslashes ends it.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Key and value, escapes still in them.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = c == '\\';
        matches!(c, '=' | ':') || BLANKS.contains(&c)
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        if escaped == Some('u') {
            let digits: String = chars.clone().take(4).collect();
            if let (4, Ok(unit)) = (digits.len(), u16::from_str_radix(&digits, 16)) {
                units.push(unit);
                chars.nth(3);
                continue;
            }
        }
        flush(&mut units, &mut out);
        match escaped {
            None if c == '\\' => {}
            None => out.push(c),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
        }
    }
    flush(&mut units, &mut out);
    out
}

/// Moves UTF-16 units to the text: two of them may make one character.
fn flush(units: &mut Vec<u16>, out: &mut String) {
    out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// The text of keys and values, a line each, as RocketMQ's `MixAll.properties2String` writes it: `key=value`, nothing escaped. Line
/// breaks would start a line of their own and become blanks.
#[must_use]
pub fn write<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (key, value) in properties {
        out.push_str(key);
        out.push('=');
        out.extend(value.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text).into_iter().map(|p| (p.key, p.value, p.line)).collect()
    }

    fn owned(expected: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
        expected
            .iter()
            .map(|(key, value, line)| ((*key).into(), (*value).into(), *line))
            .collect()
    }

    #[test]
    fn keys_and_values_are_read_as_java_reads_them() {
        let text = "# comment\n! too\n\n a = b \nc:d\ne f\nlong = x\\\n   y\\\\\n key\\ 1\\==v=w:x\nempty=\nalone\n\\u00e9=\\ud83d\\ude00\\t\\q\r\n";
        let expected = [
            ("a", "b ", 4),
            ("c", "d", 5),
            ("e", "f", 6),
            ("long", "xy\\", 7),
            ("key 1=", "v=w:x", 9),
            ("empty", "", 10),
            ("alone", "", 11),
            ("é", "😀\tq", 12),
        ];
        assert_eq!(pairs(text), owned(&expected));
    }

    #[test]
    fn broken_escapes_do_no_harm() {
        assert_eq!(pairs("a=\\u12\nb=\\"), owned(&[("a", "u12", 1), ("b", "", 2)]));
        assert_eq!(pairs("a=\\ud83d"), owned(&[("a", "\u{fffd}", 1)]));
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = write([("a", "1"), ("b", "two\nlines")]);
        assert_eq!(text, "a=1\nb=two lines\n");
        assert_eq!(pairs(&text), owned(&[("a", "1", 1), ("b", "two lines", 2)]));
    }
}
