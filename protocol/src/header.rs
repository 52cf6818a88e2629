//! Fields of requests and responses, one file a family. Client and broker use the same types, both ways.
//!
//! The hot ones ([`send::SendHeader`], [`pull::PullHeader`] and their responses) borrow from the frame; the others own what they
//! hold. A field that is absent takes Java's default; one that Java marks not-null and is absent is an error.

use std::borrow::Cow;

use thiserror::Error;

use crate::ext::{ExtFields, RawText};
use crate::header_writer::HeaderWriter;

pub mod admin;
pub mod group;
pub mod name_server;
pub mod offset;
pub mod pull;
pub mod query;
pub mod send;
pub mod topic;
pub mod transaction;

/// What is wrong with the ext fields of a request or response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// A field that must be there is not.
    #[error("the header field {field} is missing; the request needs it")]
    Missing {
        /// Its name on the wire.
        field: &'static str,
    },
    /// A value that does not read as its type.
    #[error("the header field {field} is {value:?}, which is no {expected}")]
    Unparsable {
        /// Its name on the wire.
        field: &'static str,
        /// The value, shortened to 64 characters.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// Ext fields as a type.
pub trait Header: Sized {
    /// Reads the fields it knows, skipping all others.
    ///
    /// # Errors
    /// A field that must be there and is not, or a value that does not read as its type.
    fn decode(ext: ExtFields<'_>) -> Result<Self, HeaderError>;

    /// Writes its fields; those that are `None` are left out.
    fn encode(&self, writer: &mut HeaderWriter<'_>);
}

/// A type that one ext field can have.
pub(crate) trait Field: Sized {
    fn parse(field: &'static str, value: RawText<'_>) -> Result<Self, HeaderError>;
    fn absent(field: &'static str) -> Result<Self, HeaderError>;
    fn put(&self, field: &'static str, writer: &mut HeaderWriter<'_>);
}

impl Field for String {
    fn parse(_: &'static str, value: RawText<'_>) -> Result<Self, HeaderError> {
        Ok(value.text().into_cow().into_owned())
    }
    fn absent(field: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing { field })
    }
    fn put(&self, field: &'static str, writer: &mut HeaderWriter<'_>) {
        writer.put(field, self);
    }
}

impl Field for i32 {
    fn parse(field: &'static str, value: RawText<'_>) -> Result<Self, HeaderError> {
        parse_i32(field, value)
    }
    fn absent(field: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing { field })
    }
    fn put(&self, field: &'static str, writer: &mut HeaderWriter<'_>) {
        writer.put_i64(field, (*self).into());
    }
}

impl Field for i64 {
    fn parse(field: &'static str, value: RawText<'_>) -> Result<Self, HeaderError> {
        parse_i64(field, value)
    }
    fn absent(field: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing { field })
    }
    fn put(&self, field: &'static str, writer: &mut HeaderWriter<'_>) {
        writer.put_i64(field, *self);
    }
}

impl Field for bool {
    fn parse(_: &'static str, value: RawText<'_>) -> Result<Self, HeaderError> {
        Ok(parse_bool(value))
    }
    fn absent(field: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing { field })
    }
    fn put(&self, field: &'static str, writer: &mut HeaderWriter<'_>) {
        writer.put_bool(field, *self);
    }
}

impl<T: Field> Field for Option<T> {
    fn parse(field: &'static str, value: RawText<'_>) -> Result<Self, HeaderError> {
        T::parse(field, value).map(Some)
    }
    fn absent(_: &'static str) -> Result<Self, HeaderError> {
        Ok(None)
    }
    fn put(&self, field: &'static str, writer: &mut HeaderWriter<'_>) {
        if let Some(value) = self {
            value.put(field, writer);
        }
    }
}

/// Reads an int as Java's `Integer.parseInt` does.
#[inline]
pub(crate) fn parse_i32(field: &'static str, value: RawText<'_>) -> Result<i32, HeaderError> {
    number(field, value, "32-bit number")
}

/// Reads a long as Java's `Long.parseLong` does.
#[inline]
pub(crate) fn parse_i64(field: &'static str, value: RawText<'_>) -> Result<i64, HeaderError> {
    number(field, value, "64-bit number")
}

/// Reads a boolean as Java's `Boolean.parseBoolean` does: `true` in any case of letters, all else is false.
#[inline]
pub(crate) fn parse_bool(value: RawText<'_>) -> bool {
    match value.plain() {
        Some(bytes) => bytes.eq_ignore_ascii_case(b"true"),
        None => value.text().into_cow().eq_ignore_ascii_case("true"),
    }
}

#[inline]
fn number<T: core::str::FromStr + TryFrom<i64>>(
    field: &'static str,
    value: RawText<'_>,
    expected: &'static str,
) -> Result<T, HeaderError> {
    value.number().ok_or_else(|| unparsable(field, value, expected))
}

#[cold]
pub(crate) fn unparsable(field: &'static str, value: RawText<'_>, expected: &'static str) -> HeaderError {
    HeaderError::Unparsable {
        field,
        value: value.text().to_cow().chars().take(64).collect(),
        expected,
    }
}

/// The value of a borrowed field that must be there.
#[inline]
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, HeaderError> {
    value.ok_or(HeaderError::Missing { field })
}

/// Declares headers: `field "wireName": Type`, and `= default` for what an absent field means. A type that is an `Option` may
/// be absent, any other may not.
macro_rules! headers {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident $wire:literal: $ty:ty $(= $default:expr)?,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("`", $wire, "` on the wire.")]
                pub $field: $ty,
            )*
        }

        impl $name {
            /// Names of its fields on the wire, in order.
            pub const FIELDS: &'static [&'static str] = &[$($wire),*];
        }

        impl $crate::header::Header for $name {
            fn decode(ext: $crate::ext::ExtFields<'_>) -> Result<Self, $crate::header::HeaderError> {
                $(let mut $field: Option<$ty> = None;)*
                for (key, value) in ext.raw() {
                    match &*key.text().into_cow() {
                        $($wire => $field = Some(<$ty as $crate::header::Field>::parse($wire, value)?),)*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: match $field {
                        Some(value) => value,
                        None => $crate::header::headers!(@absent $wire, $ty $(, $default)?),
                    },)*
                })
            }

            fn encode(&self, writer: &mut $crate::header_writer::HeaderWriter<'_>) {
                $($crate::header::Field::put(&self.$field, $wire, writer);)*
            }
        }
    )* };
    (@absent $wire:literal, $ty:ty) => { <$ty as $crate::header::Field>::absent($wire)? };
    (@absent $wire:literal, $ty:ty, $default:expr) => { $default };
}

pub(crate) use headers;

headers! {
    /// Fields that any request may carry beside its own (RocketMQ's `RpcRequestHeader` and `TopicRequestHeader`).
    CommonHeader {
        /// Namespace of the resources that the request names.
        namespace "ns": Option<String>,
        /// Whether the names have the namespace in them already.
        namespaced "nsd": Option<bool>,
        /// Broker that the request is meant for.
        broker_name "bname": Option<String>,
        /// A hint that no answer is wanted.
        oneway "oway": Option<bool>,
        /// Whether queue ids are those of a static topic.
        logical "lo": Option<bool>,
    }
}

/// Text of a header whose value is borrowed where it can be.
pub type Text<'a> = Cow<'a, str>;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::offset::{GetMaxOffsetRequest, ResetOffsetRequest};
    use super::send::SendHeader;
    use super::*;
    use crate::ext::ExtText;
    use crate::frame::{Frame, Serialize, split_frame};
    use crate::request_code::RequestCode;

    fn frame(ext: &[(&str, &str)]) -> Frame {
        let mut out = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut out, Serialize::Json, RequestCode::GET_MAX_OFFSET, 1, 0);
        for (key, value) in ext {
            writer.put(key, value);
        }
        writer.finish(0).unwrap();
        split_frame(&mut out).unwrap().unwrap()
    }

    #[test]
    fn a_missing_field_and_a_number_that_is_none_are_named() {
        let decode = |ext| GetMaxOffsetRequest::decode(frame(ext).ext());
        assert_eq!(
            decode(&[("queueId", "1")]),
            Err(HeaderError::Missing { field: "topic" })
        );
        let error = decode(&[("topic", "t"), ("queueId", "1 ")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header field queueId is \"1 \", which is no 32-bit number"
        );
        let header = decode(&[("topic", "t"), ("queueId", "1"), ("queueId", "2"), ("other", "x")]).unwrap();
        assert_eq!(
            header,
            GetMaxOffsetRequest {
                topic: "t".into(),
                queue_id: 2,
                committed: true
            }
        );
    }

    #[test]
    fn optional_fields_take_javas_defaults() {
        let ext = [("topic", "t"), ("group", "g"), ("timestamp", "5"), ("isForce", "TRUE")];
        let header = ResetOffsetRequest::decode(frame(&ext).ext()).unwrap();
        assert_eq!((header.queue_id, header.offset, header.is_force), (-1, None, true));
    }

    #[test]
    fn a_send_reads_alike_under_long_and_short_names() {
        let send = SendHeader {
            producer_group: "g".into(),
            topic: "t".into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id: -1,
            sys_flag: 1,
            born_timestamp: 1_700_000_000_000,
            flag: 2,
            properties: Some(ExtText::Plain("K\u{1}v\u{2}")),
            reconsume_times: 3,
            unit_mode: true,
            max_reconsume_times: Some(16),
            batch: true,
            broker_name: Some("b".into()),
        };
        for long in [false, true] {
            for serialize in [Serialize::Json, Serialize::Binary] {
                let mut out = BytesMut::new();
                let mut writer = HeaderWriter::request(&mut out, serialize, RequestCode::SEND_MESSAGE, 1, 0);
                if long {
                    send.encode_v1(&mut writer)
                } else {
                    send.encode_v2(&mut writer)
                }
                writer.finish(0).unwrap();
                let frame = split_frame(&mut out).unwrap().unwrap();
                let mut read = SendHeader::decode(frame.ext()).unwrap();
                let properties = read.properties.take().unwrap();
                assert_eq!(properties.to_cow(), "K\u{1}v\u{2}");
                assert_eq!(
                    read,
                    SendHeader {
                        properties: None,
                        ..send.clone()
                    }
                );
            }
        }
        let error = SendHeader::decode(frame(&[("a", "g"), ("b", "t")]).ext()).unwrap_err();
        assert_eq!(error, HeaderError::Missing { field: "defaultTopic" });
    }
}
