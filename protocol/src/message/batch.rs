//! Body of a batch (code 320): items one behind the other, without a count, big-endian.
//!
//! ```text
//! item size i32 | magic i32, 0 | body CRC i32, 0 | flag i32 | body length i32, body | properties length i16, properties
//! ```

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// Bytes of an item without body and properties.
pub const ITEM_SIZE_MIN: usize = 22;

/// Why a body is no batch. Items before the broken one may have been read already: look at all before using any.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("item {index} of the batch, at byte {at}: its {field} does not fit the {available} bytes that are left")]
pub struct BatchError {
    /// Number of the item, from 0.
    pub index: usize,
    /// Where it starts in the body.
    pub at: usize,
    /// The field that does not fit.
    pub field: &'static str,
    /// Bytes left of the body.
    pub available: usize,
}

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The user's own number.
    pub flag: i32,
    /// Body of this message.
    pub body: &'a [u8],
    /// See [`crate::message::properties`]; bytes that are no UTF-8 became replacement characters, as in Java.
    pub properties: Cow<'a, str>,
}

/// Items of a batch; ends after the first that is broken.
#[derive(Debug, Clone)]
pub struct BatchItems<'a> {
    body: &'a [u8],
    at: usize,
    index: usize,
}

impl<'a> BatchItems<'a> {
    /// Over a request's body.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, index: 0 }
    }

    /// All items.
    ///
    /// # Errors
    /// The first item that is broken.
    pub fn collect_all(self) -> Result<Vec<BatchItem<'a>>, BatchError> {
        self.collect()
    }

    fn item(rest: &'a [u8]) -> Result<(BatchItem<'a>, usize), &'static str> {
        let (size, _) = rest.split_first_chunk().ok_or("size")?;
        let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| "size")?;
        if size < ITEM_SIZE_MIN {
            return Err("size");
        }
        let item = rest.get(..size).ok_or("size")?;
        let (flag, item) = item.get(12..).and_then(<[u8]>::split_first_chunk).ok_or("flag")?;
        let (length, item) = item.split_first_chunk().ok_or("body length")?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| "body length")?;
        let (body, item) = item.split_at_checked(length).ok_or("body length")?;
        let (length, properties) = item.split_first_chunk().ok_or("properties length")?;
        if usize::try_from(i16::from_be_bytes(*length)).ok() != Some(properties.len()) {
            return Err("properties length");
        }
        let properties = String::from_utf8_lossy(properties);
        Ok((
            BatchItem {
                flag: i32::from_be_bytes(*flag),
                body,
                properties,
            },
            size,
        ))
    }
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = Result<BatchItem<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let result = Self::item(rest);
        let (at, index) = (self.at, self.index);
        self.index += 1;
        self.at = result.as_ref().map_or(self.body.len(), |(_, size)| at + size);
        let error = |field| BatchError {
            index,
            at,
            field,
            available: rest.len(),
        };
        Some(result.map(|(item, _)| item).map_err(error))
    }
}

/// Appends an item.
///
/// # Errors
/// Body or properties that are too long for their length fields; nothing is written then.
pub fn put_item(out: &mut BytesMut, item: &BatchItem<'_>) -> Result<(), BatchError> {
    let error = |field| BatchError {
        index: 0,
        at: out.len(),
        field,
        available: 0,
    };
    let properties_length = i16::try_from(item.properties.len()).map_err(|_| error("properties length"))?;
    let size = ITEM_SIZE_MIN
        .saturating_add(item.body.len())
        .saturating_add(item.properties.len());
    let size = i32::try_from(size).map_err(|_| error("size"))?;
    let body_length = i32::try_from(item.body.len()).map_err(|_| error("body length"))?;
    out.put_i32(size);
    out.put_i64(0);
    out.put_i32(item.flag);
    out.put_i32(body_length);
    out.put_slice(item.body);
    out.put_i16(properties_length);
    out.put_slice(item.properties.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> BytesMut {
        let mut out = BytesMut::new();
        for body in [&b"one"[..], b"", b"three"] {
            put_item(
                &mut out,
                &BatchItem {
                    flag: 9,
                    body,
                    properties: "a\u{1}b\u{2}".into(),
                },
            )
            .unwrap();
        }
        out
    }

    #[test]
    fn items_read_back_in_order() {
        let batch = batch();
        let items = BatchItems::new(&batch).collect_all().unwrap();
        let bodies: Vec<_> = items.iter().map(|item| item.body).collect();
        assert_eq!(bodies, [&b"one"[..], b"", b"three"]);
        assert!(
            items
                .iter()
                .all(|item| item.flag == 9 && item.properties == "a\u{1}b\u{2}")
        );
        assert_eq!(BatchItems::new(&[]).collect_all(), Ok(vec![]));
    }

    #[test]
    fn a_cut_or_lying_item_ends_the_batch_with_its_number_and_place() {
        let mut batch = batch();
        let error = BatchItems::new(&batch[..batch.len() - 1]).collect_all().unwrap_err();
        assert_eq!((error.index, error.field), (2, "size"));
        batch[3] -= 1;
        let error = BatchItems::new(&batch).collect_all().unwrap_err();
        assert_eq!((error.index, error.at, error.field), (0, 0, "properties length"));
        batch[0] = 0x80;
        assert_eq!(BatchItems::new(&batch).collect_all().unwrap_err().field, "size");
        assert_eq!(BatchItems::new(&batch).count(), 1);
    }
}
