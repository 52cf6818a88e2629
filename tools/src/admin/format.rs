//! The form of a result.

use serde_json::Value;
use std::io::{self, Write};

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Apache's columns
    #[default]
    Table,
    /// Apache's columns and, behind them, what else is known
    Wide,
    /// One JSON document
    Json,
    /// The same document as YAML
    Yaml,
}

/// Writes a document in YAML: blocks of maps and lists, and every text that is not plainly one in JSON's quotes, which YAML shares.
pub(super) fn yaml(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    block(out, value, 0, false)?;
    Ok(())
}

fn block(out: &mut dyn Write, value: &Value, depth: usize, begun: bool) -> io::Result<()> {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (number, (name, value)) in fields.iter().enumerate() {
                let indent = if begun && number == 0 { 0 } else { depth };
                write!(out, "{:indent$}{}:", "", scalar_text(name), indent = indent * 2)?;
                nested(out, value, depth + 1)?;
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (number, item) in items.iter().enumerate() {
                let indent = if begun && number == 0 { 0 } else { depth };
                write!(out, "{:indent$}- ", "", indent = indent * 2)?;
                block(out, item, depth + 1, true)?;
            }
        }
        Value::String(text) => writeln!(out, "{}", scalar_text(text))?,
        other => writeln!(out, "{other}")?,
    }
    Ok(())
}

/// What stands behind a field's colon: on the same line if it is one word, on the lines below if it has parts.
fn nested(out: &mut dyn Write, value: &Value, depth: usize) -> io::Result<()> {
    let has_parts = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    write!(out, "{}", if has_parts { "\n" } else { " " })?;
    block(out, value, depth, false)
}

fn scalar_text(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '/' | '%' | '@' | '-');
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins_well = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_' || letter == '/');
    if begins_well && text.chars().all(plain) && !words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return text.to_owned();
    }
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_with_every_kind_of_value_is_yaml() {
        let value = json!({"a": "plain", "b": "yes", "c": "1", "d": [], "e": {}, "f": [{"g": 1, "h": [true, null]}, "%x"], "i: ": "a\nb"});
        let mut out = Vec::new();
        yaml(&mut out, &value).unwrap();
        let expected = "a: plain\nb: \"yes\"\nc: \"1\"\nd: []\ne: {}\nf:\n  - g: 1\n    h:\n      - true\n      - null\n  - \"%x\"\n\"i: \": \"a\\nb\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
