//! Text of a Java properties file: read with line numbers, written, edited with its comments kept.
//!
//! The syntax is that of `java.util.Properties`: `#` and `!` start a comment line; key and value are parted by `=`, `:` or a
//! blank; a backslash at the end of a line joins the next; `\t \n \r \f \uXXXX` stand for characters. Two things differ, both
//! on the side of what people mean: blanks at the end of a value are dropped, and an XML comment block (RocketMQ's own
//! samples start with one) is skipped, where Java reads its lines as keys.

use std::fmt;

/// One key with its value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved, without blanks around it.
    pub value: String,
    /// Line of the key, from 1.
    pub line: u32,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// In the order of the file; a key may come twice, the last one holds.
    pub entries: Vec<Property>,
    /// Oddities that were coped with: line and text.
    pub warnings: Vec<(u32, String)>,
}

/// Text that is no properties file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// From 1.
    pub line: u32,
    /// What is wrong, and the fix.
    pub problem: String,
}

/// Reads the text of a file.
///
/// # Errors
/// When `\u` is not followed by four hexadecimal digits, or an XML comment does not end.
pub fn parse(text: &str) -> Result<Properties, SyntaxError> {
    let mut found = Properties::default();
    let mut lines = numbered_lines(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some((line, raw)) = lines.next() {
        let start = raw.trim_start_matches(BLANKS);
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        if start.starts_with("<!--") {
            skip_xml_comment(line, start, &mut lines)?;
            found.warnings.push((
                line,
                "an XML comment was skipped; comment lines start with #".to_owned(),
            ));
            continue;
        }
        let mut logical = start.to_owned();
        while ends_with_open_backslash(&logical) {
            logical.pop();
            let Some((_line, more)) = lines.next() else { break };
            logical.push_str(more.trim_start_matches(BLANKS));
        }
        let (key, value) = split(&logical);
        if value.ends_with(BLANKS) {
            let kept = value.trim_end_matches(BLANKS);
            found.warnings.push((
                line,
                format!(
                    "{key}={kept} ends with a blank, which is passed over (RocketMQ drops a number or a yes or no written so, and \
                     takes its default in silence); fix: remove the blank"
                ),
            ));
        }
        let unescaped = |part| unescape(part).map_err(|problem| SyntaxError { line, problem });
        found.entries.push(Property {
            key: unescaped(key)?,
            value: unescaped(value)?.trim().to_owned(),
            line,
        });
    }
    Ok(found)
}

/// What Java takes for a blank in such a file.
const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

fn numbered_lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    // A last line may end with the first half of a line break.
    (1..).zip(text.strip_suffix('\r').unwrap_or(text).lines())
}

fn skip_xml_comment<'a>(
    line: u32,
    start: &'a str,
    lines: &mut impl Iterator<Item = (u32, &'a str)>,
) -> Result<(), SyntaxError> {
    if start.contains("-->") || lines.any(|(_line, raw)| raw.contains("-->")) {
        return Ok(());
    }
    let problem = "an XML comment starts here and does not end; end it with --> or remove it".to_owned();
    Err(SyntaxError { line, problem })
}

/// Whether the last backslash of a line is not itself escaped.
fn ends_with_open_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Parts a logical line into raw key and raw value.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(BLANKS))
}

fn unescape(raw: &str) -> Result<String, String> {
    if !raw.contains('\\') {
        return Ok(raw.to_owned());
    }
    // Java's \u stands for a UTF-16 unit, so characters beyond the first plane come as two of them.
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut pair = [0; 2];
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut pair));
            continue;
        }
        let simple = match chars.next() {
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\u{c}',
            Some('u') => {
                units.push(hex_unit(&mut chars)?);
                continue;
            }
            Some(other) => other,
            None => continue,
        };
        units.extend_from_slice(simple.encode_utf16(&mut pair));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn hex_unit(chars: &mut std::str::Chars<'_>) -> Result<u16, String> {
    let digits: String = chars.take(4).collect();
    let value = u16::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 4 && !digits.starts_with('+'));
    value.ok_or_else(|| {
        format!("\\u{digits} is no character; write four hexadecimal digits after \\u, or \\\\ for a backslash")
    })
}

/// The text of a file with these keys: one line each, no header. Reads back as the same, in Java too.
#[must_use]
pub fn to_text<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        push_line(&mut text, key, value);
    }
    text
}

fn push_line(text: &mut String, key: &str, value: &str) {
    push_escaped(text, key, true);
    text.push('=');
    push_escaped(text, value, false);
    text.push('\n');
}

fn push_escaped(text: &mut String, part: &str, is_key: bool) {
    for (at, c) in part.char_indices() {
        match c {
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\u{c}' => text.push_str("\\f"),
            '\\' => text.push_str("\\\\"),
            // At the start of a file it would be taken for a byte order mark.
            '\u{feff}' if is_key && at == 0 => text.push_str("\\ufeff"),
            ' ' if is_key || at == 0 => text.push_str("\\ "),
            '=' | ':' if is_key => {
                text.push('\\');
                text.push(c);
            }
            '#' | '!' | '<' if is_key && at == 0 => {
                text.push('\\');
                text.push(c);
            }
            _ => text.push(c),
        }
    }
}

/// The text of a file with one key set: its line is replaced where it stands (the last one, if there are several), or added
/// at the end. All else stays as it is.
///
/// # Errors
/// When the text is no properties file.
pub fn with_value(text: &str, key: &str, value: &str) -> Result<String, SyntaxError> {
    let place = parse(text)?
        .entries
        .iter()
        .rev()
        .find(|entry| entry.key == key)
        .map(|entry| entry.line);
    let mut out = String::with_capacity(text.len() + key.len() + value.len() + 2);
    let mut lines = numbered_lines(text);
    while let Some((line, raw)) = lines.next() {
        if Some(line) != place {
            out.push_str(raw);
            // A carriage return of the line itself must not become half of its line break.
            out.push_str(if raw.ends_with('\r') { "\r\n" } else { "\n" });
            continue;
        }
        push_line(&mut out, key, value);
        let mut last = raw;
        while ends_with_open_backslash(last) {
            let Some((_line, more)) = lines.next() else { break };
            last = more;
        }
    }
    if place.is_none() {
        if out.lines().next_back().is_some_and(ends_with_open_backslash) {
            // The last line waits for more: an empty line ends it, and the new one is not taken for its rest.
            out.push('\n');
        }
        push_line(&mut out, key, value);
    }
    Ok(out)
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_starts_with_a_byte_order_mark_keeps_it() {
        let text = to_text([("\u{feff}a", "b")]);
        assert_eq!(pairs(&text), [("\u{feff}a".to_owned(), "b".to_owned(), 1)]);
    }

    #[test]
    fn a_key_added_behind_an_open_last_line_is_a_line_of_its_own() {
        let text = with_value("a=b\\", "added", "v").unwrap();
        assert_eq!(
            pairs(&text),
            [
                ("a".to_owned(), "b".to_owned(), 1),
                ("added".to_owned(), "v".to_owned(), 3)
            ]
        );
    }

    fn pairs(text: &str) -> Vec<(String, String, u32)> {
        parse(text)
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| (entry.key, entry.value, entry.line))
            .collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?}");
        let (key, value, _line) = all.remove(0);
        (key, value)
    }

    #[test]
    fn every_separator_of_java_parts_key_and_value() {
        for text in [
            "k=v",
            "k = v",
            "k:v",
            "k : v",
            "k v",
            "k\tv",
            "  k  =  v  ",
            "k=v\r",
            "\u{feff}k=v",
            "k\u{c}=v",
        ] {
            assert_eq!(one(text), ("k".to_owned(), "v".to_owned()), "{text:?}");
        }
        assert_eq!(one("k"), ("k".to_owned(), String::new()));
        assert_eq!(one("k=="), ("k".to_owned(), "=".to_owned()));
        assert_eq!(one("k = a b:c=d "), ("k".to_owned(), "a b:c=d".to_owned()));
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_lines_counted() {
        let text = "# one\n\n  ! two\na=1\r\n\nb=2 # not a comment\n";
        assert_eq!(
            pairs(text),
            [("a".into(), "1".into(), 4), ("b".into(), "2 # not a comment".into(), 6)]
        );
    }

    #[test]
    fn a_backslash_joins_lines_and_an_escaped_one_does_not() {
        let text = "a=one,\\\n   two,\\\n\tthree\nb=c:\\\\dir\\\\\nc=3";
        assert_eq!(
            pairs(text),
            [
                ("a".into(), "one,two,three".into(), 1),
                ("b".into(), "c:\\dir\\".into(), 4),
                ("c".into(), "3".into(), 5)
            ]
        );
        assert_eq!(one("a=1\\"), ("a".to_owned(), "1".to_owned()));
    }

    #[test]
    fn escapes_are_resolved_as_java_does() {
        assert_eq!(
            one(r"k\ e\=y=\u0041\t\ud83d\ude00\q"),
            ("k e=y".to_owned(), "A\t😀q".to_owned())
        );
        for bad in ["k=\\u12", "k=\\uzzzz", "k=\\u+123", "k=\\u"] {
            let error = parse(&format!("a=1\n{bad}")).unwrap_err();
            assert_eq!(error.line, 2, "{bad}");
            assert!(error.to_string().contains("four hexadecimal digits"));
        }
    }

    #[test]
    fn an_xml_licence_block_is_skipped_with_one_warning() {
        let text = "<!--\n  Licensed to = someone\n  under: terms\n-->\n\nlistenPort = 9876\n";
        let found = parse(text).unwrap();
        assert_eq!(
            found.entries,
            [Property {
                key: "listenPort".into(),
                value: "9876".into(),
                line: 6
            }]
        );
        assert_eq!(found.warnings.len(), 1);
        assert_eq!(parse("<!-- one line -->\na=1").unwrap().entries.len(), 1);
        assert!(parse("<!-- open\na=1").unwrap_err().problem.contains("-->"));
    }

    #[test]
    fn a_blank_at_the_end_of_a_value_is_passed_over_and_told_with_its_line() {
        let found = parse("a=x\nlistenPort=10921 \nb = \n").unwrap();
        assert_eq!(found.entries[1].value, "10921");
        let (line, text) = &found.warnings[0];
        assert_eq!((found.warnings.len(), *line), (1, 2));
        assert!(text.starts_with("listenPort=10921 ends with a blank"), "{text}");
    }

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        let entries = [
            ("a", "1"),
            ("k e=y:", " leads and\ttabs\\ "),
            ("#c", "x#y"),
            ("<d", "é😀"),
            ("e", "l1\nl2"),
            ("f", ""),
        ];
        let text = to_text(entries);
        let read: Vec<_> = parse(&text)
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        let expected: Vec<_> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.trim().to_owned()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn half_a_line_break_at_the_end_is_no_part_of_a_key_or_value() {
        let key = |text: &str| parse(text).unwrap().entries.pop().unwrap().key;
        assert_eq!((key("a\r"), key("a\r\n")), ("a".to_owned(), "a".to_owned()));
    }

    #[test]
    fn a_carriage_return_within_a_line_stays_when_another_value_is_set() {
        for text in ["b=1\na\r\r", "b=1\na\r\r\n"] {
            let changed = with_value(text, "b", "2").unwrap();
            assert_eq!(parse(&changed).unwrap().entries[1].key, "a\r", "{changed:?}");
            assert_eq!(with_value(&changed, "b", "2").unwrap(), changed);
        }
    }

    #[test]
    fn setting_a_value_keeps_comments_order_and_other_keys() {
        let text = "# mine\na=1\n\nb = one,\\\n  two\na : 2\n# end";
        assert_eq!(
            with_value(text, "a", "3").unwrap(),
            "# mine\na=1\n\nb = one,\\\n  two\na=3\n# end\n"
        );
        assert_eq!(
            with_value(text, "b", "x").unwrap(),
            "# mine\na=1\n\nb=x\na : 2\n# end\n"
        );
        assert_eq!(with_value("a=1", "new", "v").unwrap(), "a=1\nnew=v\n");
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let pieces = [
            "\\", "=", ":", " ", "\n", "\\u", "12", "<!--", "-->", "#", "k", "é", "\r", "\t", "\u{0}",
        ];
        let mut state = 88_172_645_463_325_252_u64;
        for _round in 0..20_000 {
            let mut text = String::new();
            for _piece in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text.push_str(pieces[usize::try_from(state % 15).unwrap()]);
            }
            if let Ok(found) = parse(&text) {
                let again = to_text(found.entries.iter().map(|entry| (&entry.key[..], &entry.value[..])));
                assert_eq!(parse(&again).unwrap().entries.len(), found.entries.len(), "{text:?}");
            }
            let _checked = with_value(&text, "k", "v");
        }
    }
}
