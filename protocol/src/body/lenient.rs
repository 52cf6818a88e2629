//! Reads JSON as RocketMQ's clients write it: standard JSON, and what fastjson makes and takes beyond it.
//!
//! Beyond: map keys that are numbers, objects or bare words; strings in single quotes; bare words as values; commas too many; `Set[…]`;
//! numbers with a type letter (`1L`). A field that wants a number takes text that reads as one, and the other way round (the C++ client
//! sends `"codeSet":["123"]`); null is zero, false, empty or nothing. Depth and number of values are bounded.

use core::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use thiserror::Error;

/// How deep a body may nest.
pub const DEPTH_MAX: u32 = 64;
/// How many values a body may have in all, keys included: a bound on the memory that a body can claim.
pub const VALUES_MAX: u32 = 2_000_000;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Not even the lenient reader takes it.
    #[error("the body is no JSON at byte {at}: {problem}")]
    Syntax {
        /// Byte of the body.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The values do not have the shape of this body.
    #[error("the body does not have the shape of {expected}: {problem}")]
    Shape {
        /// The Rust type it was read for.
        expected: &'static str,
        /// What serde says.
        problem: String,
    },
    /// Something of a binary body, or a checksum.
    #[error("the body's {field} is broken or beyond its bound")]
    Binary {
        /// The part.
        field: &'static str,
    },
}

/// A JSON value; an object keeps its order, and its keys may be any value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text, quoted or bare.
    Text(String),
    /// A list.
    Array(Vec<Value>),
    /// Keys and values.
    Object(Vec<(Value, Value)>),
}

impl Value {
    /// Reads a body leniently.
    ///
    /// # Errors
    /// [`BodyError::Syntax`].
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let text = core::str::from_utf8(body).map_err(|e| BodyError::Syntax {
            at: e.valid_up_to(),
            problem: "the body is not UTF-8",
        })?;
        let mut parser = Parser { text, at: 0, values: 0 };
        let value = parser.value(0)?;
        parser.skip_blanks();
        if parser.peek().is_some() {
            return Err(parser.error("something follows the value"));
        }
        Ok(value)
    }

    /// The value under a text key of an object; the last, if there are several.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries
                .iter()
                .rev()
                .find(|(k, _)| matches!(k, Self::Text(k) if k == key))
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Reads a body: by the strict and faster reader if it is standard JSON, else by the lenient one.
///
/// # Errors
/// [`BodyError::Syntax`] or [`BodyError::Shape`].
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let shape = |e: serde::de::value::Error| BodyError::Shape {
        expected: core::any::type_name::<T>().rsplit("::").next().unwrap_or("a body"),
        problem: e.to_string(),
    };
    T::deserialize(Value::parse(body)?).map_err(shape)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: u32,
}

impl Parser<'_> {
    fn error(&self, problem: &'static str) -> BodyError {
        BodyError::Syntax { at: self.at, problem }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Blanks and commas: fastjson takes any number of them between values.
    fn skip_commas(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace() || b == b',') {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, BodyError> {
        self.skip_blanks();
        self.values += 1;
        if depth >= DEPTH_MAX {
            return Err(self.error("a body may nest no deeper than 64"));
        }
        if self.values > VALUES_MAX {
            return Err(self.error("a body may have no more than 2,000,000 values"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::Text),
            Some(b'-' | b'+' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$') => self.word(depth),
            _ => Err(self.error("a value must begin here")),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, BodyError> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.skip_commas();
            if self.take(b'}') {
                return Ok(Value::Object(entries));
            }
            let key = self.value(depth + 1)?;
            self.skip_blanks();
            if !self.take(b':') {
                return Err(self.error("a colon must follow a key"));
            }
            entries.push((key, self.value(depth + 1)?));
            self.separator(b'}')?;
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, BodyError> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.skip_commas();
            if self.take(b']') {
                return Ok(Value::Array(values));
            }
            values.push(self.value(depth + 1)?);
            self.separator(b']')?;
        }
    }

    fn separator(&mut self, end: u8) -> Result<(), BodyError> {
        self.skip_blanks();
        match self.peek() {
            Some(b',') => Ok(()),
            Some(byte) if byte == end => Ok(()),
            _ => Err(self.error("a comma or the end must follow a value")),
        }
    }

    fn string(&mut self, quote: u8) -> Result<String, BodyError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(byte) if byte == quote => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
                None => return Err(self.error("a string has no end")),
            }
        }
        let raw = self
            .text
            .get(start..self.at)
            .ok_or_else(|| self.error("an escape splits a character"))?;
        self.at += 1;
        if !escaped {
            return Ok(raw.to_owned());
        }
        let mut text = String::with_capacity(raw.len());
        crate::ext::unescape(raw, |piece| text.push_str(piece));
        Ok(text)
    }

    fn number(&mut self) -> Result<Value, BodyError> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        let value = match (text.parse(), text.parse()) {
            (Ok(int), _) => Value::Int(int),
            // What does not fit is no number: it could not be written again.
            (_, Ok(float)) if f64::is_finite(float) => Value::Float(float),
            _ => return Err(self.error("a number must stand here")),
        };
        if let Some(b'L' | b'B' | b'S' | b'D' | b'F') = self.peek() {
            self.at += 1;
        }
        Ok(value)
    }

    fn word(&mut self, depth: u32) -> Result<Value, BodyError> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
        {
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or("");
        Ok(match word {
            "null" | "undefined" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "NaN" => Value::Float(f64::NAN),
            "Set" | "TreeSet" if self.peek() == Some(b'[') => return self.array(depth),
            _ => Value::Text(word.to_owned()),
        })
    }
}

type Error = serde::de::value::Error;

impl IntoDeserializer<'_, Error> for Value {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => fmt::Display::fmt(value, f),
            Self::Int(value) => fmt::Display::fmt(value, f),
            Self::Float(value) => fmt::Display::fmt(value, f),
            Self::Text(text) => f.write_str(text),
            Self::Array(_) => f.write_str("[…]"),
            Self::Object(_) => f.write_str("{…}"),
        }
    }
}

/// Where a number is wanted, text that reads as one will do, and null is zero.
macro_rules! deserialize_numbers {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self {
                Self::Null => visitor.visit_i64(0),
                Self::Text(text) => match (text.trim().parse(), text.trim().parse()) {
                    (Ok(int), _) => visitor.visit_i64(int),
                    (_, Ok(float)) => visitor.visit_f64(float),
                    _ => visitor.visit_string(text),
                },
                other => other.deserialize_any(visitor),
            }
        }
    )* };
}

/// Where text is wanted, a number or boolean will do, and null is empty.
macro_rules! deserialize_texts {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self {
                Self::Null => visitor.visit_str(""),
                Self::Int(_) | Self::Float(_) | Self::Bool(_) => visitor.visit_string(self.to_string()),
                other => other.deserialize_any(visitor),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Int(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_string(text),
            Self::Array(values) => SeqDeserializer::new(values.into_iter()).deserialize_any(visitor),
            Self::Object(entries) => MapDeserializer::new(entries.into_iter()).deserialize_any(visitor),
        }
    }

    deserialize_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    deserialize_texts! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_bool(false),
            Self::Int(value) => visitor.visit_bool(value != 0),
            Self::Text(text) => visitor.visit_bool(text.eq_ignore_ascii_case("true")),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => Self::Array(Vec::new()).deserialize_any(visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => Self::Object(Vec::new()).deserialize_any(visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct tuple tuple_struct enum ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Shape {
        number: i64,
        text: String,
        flag: bool,
        list: Vec<i32>,
        map: BTreeMap<i64, String>,
        maybe: Option<i32>,
    }

    #[test]
    fn a_number_beyond_all_bounds_is_none() {
        assert!(Value::parse(b"[1e308]").is_ok());
        assert!(Value::parse(b"[1e999]").is_err());
    }

    #[test]
    fn what_fastjson_writes_beyond_json_is_read() {
        let body = "{ number : '12' ,, 'text':7, flag:\"TRUE\", \"list\":Set[\"1\",2L,], map:{0:\"a\",'1':\"b\"}, maybe:null, x:{{a:1}:[NaN]},}";
        let expected = Shape {
            number: 12,
            text: "7".into(),
            flag: true,
            list: vec![1, 2],
            map: [(0, "a".to_owned()), (1, "b".to_owned())].into(),
            maybe: None,
        };
        assert_eq!(from_slice::<Shape>(body.as_bytes()), Ok(expected));
        let nulls = br#"{"number":null,"text":null,"flag":null,"list":null,"map":null,}"#;
        assert_eq!(from_slice::<Shape>(nulls), Ok(Shape::default()));
    }

    #[test]
    fn strings_keep_their_escapes_meaning_and_both_quotes() {
        let value = Value::parse(br#"['a"\'b', "c'\"\u4e16\ud83d\ude00\n"]"#).unwrap();
        let expected = [Value::Text("a\"'b".into()), Value::Text("c'\"世😀\n".into())];
        assert_eq!(value, Value::Array(expected.into()));
    }

    #[test]
    fn what_is_broken_too_deep_or_of_another_shape_is_refused_with_its_place() {
        for body in [
            "",
            "{",
            "{a",
            "{a:",
            "{a:1",
            "[1 2]",
            "{a:1 b:2}",
            "\"a",
            "1 2",
            "-",
            "{:1}",
            "\"a\\",
            "\"\\é",
        ] {
            assert!(
                matches!(Value::parse(body.as_bytes()), Err(BodyError::Syntax { .. })),
                "{body}"
            );
        }
        assert!(Value::parse(&[b'['; 1_000_000]).is_err());
        assert!(Value::parse(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
        let error = from_slice::<Shape>(b"{\"list\":{}}").unwrap_err();
        assert!(matches!(error, BodyError::Shape { expected: "Shape", .. }), "{error}");
        assert_eq!(
            from_slice::<Shape>(b"{\"number\":\xff}"),
            Err(BodyError::Syntax {
                at: 10,
                problem: "the body is not UTF-8"
            })
        );
    }
}
