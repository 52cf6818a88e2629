//! The bytes of metadata payloads: big-endian numbers, counted text.

use thiserror::Error;

/// Why a metadata record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetaError {
    /// A kind that this version does not have.
    #[error("metadata record of unknown kind {kind}: a newer version wrote it; start that version")]
    UnknownKind {
        /// The kind.
        kind: u16,
    },
    /// A format that this version does not have.
    #[error("metadata record of kind {kind} in unknown format {format}: a newer version wrote it; start that version")]
    UnknownFormat {
        /// The kind.
        kind: u16,
        /// The format.
        format: u8,
    },
    /// The payload ends too early.
    #[error("metadata record of kind {kind} ends before its {field} at byte {at}")]
    Short {
        /// The kind.
        kind: u16,
        /// What was to be read.
        field: &'static str,
        /// Where in the payload.
        at: usize,
    },
    /// Bytes are left over.
    #[error("metadata record of kind {kind} has {left} bytes too many")]
    Long {
        /// The kind.
        kind: u16,
        /// How many.
        left: usize,
    },
    /// A value that cannot be.
    #[error("metadata record of kind {kind} has the impossible {field} {value}")]
    Impossible {
        /// The kind.
        kind: u16,
        /// What has the value.
        field: &'static str,
        /// The value, or what is wrong with it.
        value: String,
    },
}

/// Appends values.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// # Panics
    /// Above 2^32 - 1: a record is bounded by whoever makes it.
    pub(super) fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("a metadata record has fewer than 2^32 parts");
        self.0.extend_from_slice(&count.to_be_bytes());
    }

    /// # Panics
    /// Above 65,535 bytes: names are checked when they come in, and are at most 255 bytes.
    pub(super) fn text(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("a name in a metadata record is shorter than 64 KiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn rest(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Takes values off the front.
pub(super) struct Reader<'a> {
    kind: u16,
    length: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(kind: u16, payload: &'a [u8]) -> Self {
        Reader {
            kind,
            length: payload.len(),
            rest: payload,
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, MetaError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, MetaError> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, MetaError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// A count of things that take at least `size_min` bytes each, so that a broken count is seen before anything is kept
    /// free for it.
    pub(super) fn count(&mut self, field: &'static str, size_min: usize) -> Result<u32, MetaError> {
        let count = u32::from_be_bytes(self.array(field)?);
        let needed = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(size_min));
        if needed.is_none_or(|needed| needed > self.rest.len()) {
            return Err(self.short(field));
        }
        Ok(count)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, MetaError> {
        let length = usize::from(u16::from_be_bytes(self.array(field)?));
        let Some((text, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.short(field));
        };
        let text = std::str::from_utf8(text).map_err(|error| self.impossible(field, error))?;
        self.rest = rest;
        Ok(text.to_owned())
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end(&self) -> Result<(), MetaError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(MetaError::Long { kind: self.kind, left }),
        }
    }

    pub(super) fn impossible(&self, field: &'static str, value: impl ToString) -> MetaError {
        MetaError::Impossible {
            kind: self.kind,
            field,
            value: value.to_string(),
        }
    }

    fn short(&self, field: &'static str) -> MetaError {
        MetaError::Short {
            kind: self.kind,
            field,
            at: self.length - self.rest.len(),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MetaError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.short(field));
        };
        self.rest = rest;
        Ok(*array)
    }
}
