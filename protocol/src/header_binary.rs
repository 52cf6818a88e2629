//! Header encoding 2 of 2, RocketMQ's own, big-endian:
//!
//! ```text
//! code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark length i32, remark | ext length i32, ext
//! ext: key length i16, key | value length i32, value; again and again
//! ```
//!
//! Bytes that are no UTF-8 read as replacement characters, as Java does. What follows the ext is skipped.

use core::ops::Range;

use crate::ext::raw::RawText;
use crate::frame::{FrameError, HeaderInfo};
use crate::language::Language;

/// Checks every length of a header and finds its parts.
pub(crate) fn scan(header: &[u8]) -> Result<HeaderInfo, FrameError> {
    let mut reader = Reader { bytes: header, at: 0 };
    let code = i32::from(reader.i16("code")?);
    let [language] = reader.array("language")?;
    let version = i32::from(reader.i16("version")?);
    let opaque = reader.i32("opaque")?;
    let flag = reader.i32("flag")?;
    let remark = reader.sized("remark length")?;
    let ext = reader.sized("ext length")?;
    if let Some(fields) = header.get(ext.clone()) {
        check_ext(fields, ext.start)?;
    }
    let some = |span: Range<usize>| (!span.is_empty()).then_some(span);
    Ok(HeaderInfo {
        code,
        language: Language::from_code(language),
        version,
        opaque,
        flag,
        remark: some(remark),
        ext: some(ext),
        ..HeaderInfo::default()
    })
}

fn check_ext(fields: &[u8], start: usize) -> Result<(), FrameError> {
    let mut reader = Reader { bytes: fields, at: 0 };
    while reader.at < fields.len() {
        let shift = |e| match e {
            FrameError::Binary { at, field } => FrameError::Binary { at: start + at, field },
            other => other,
        };
        reader.short_sized("ext key length").map_err(shift)?;
        reader.sized("ext value length").map_err(shift)?;
    }
    Ok(())
}

#[derive(Debug, Clone)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FrameError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (value, _) = rest
            .split_first_chunk()
            .ok_or(FrameError::Binary { at: self.at, field })?;
        self.at += N;
        Ok(*value)
    }

    #[inline]
    fn i16(&mut self, field: &'static str) -> Result<i16, FrameError> {
        self.array(field).map(i16::from_be_bytes)
    }

    #[inline]
    fn i32(&mut self, field: &'static str) -> Result<i32, FrameError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// Something behind its 32-bit length.
    #[inline]
    fn sized(&mut self, field: &'static str) -> Result<Range<usize>, FrameError> {
        let length = usize::try_from(self.i32(field)?);
        self.span(length.ok(), field)
    }

    /// Something behind its 16-bit length.
    #[inline]
    fn short_sized(&mut self, field: &'static str) -> Result<Range<usize>, FrameError> {
        let length = usize::try_from(self.i16(field)?);
        self.span(length.ok(), field)
    }

    #[inline]
    fn span(&mut self, length: Option<usize>, field: &'static str) -> Result<Range<usize>, FrameError> {
        let end = length
            .and_then(|length| self.at.checked_add(length))
            .filter(|end| *end <= self.bytes.len());
        let span = self.at..end.ok_or(FrameError::Binary { at: self.at, field })?;
        self.at = span.end;
        Ok(span)
    }
}

/// Walks the ext fields of a header that [`scan`] has passed.
#[derive(Debug, Clone)]
pub struct BinaryExt<'a> {
    reader: Reader<'a>,
}

impl<'a> BinaryExt<'a> {
    pub(crate) fn new(fields: &'a [u8]) -> Self {
        Self {
            reader: Reader { bytes: fields, at: 0 },
        }
    }

    #[inline(always)]
    pub(crate) fn next_raw(&mut self) -> Option<(RawText<'a>, RawText<'a>)> {
        let key = self.reader.short_sized("ext key length").ok()?;
        let value = self.reader.sized("ext value length").ok()?;
        let text = |span| RawText::binary(self.reader.bytes.get(span).unwrap_or_default());
        Some((text(key), text(value)))
    }
}
