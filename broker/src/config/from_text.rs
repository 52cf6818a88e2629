//! Types that the checked text of a value can be read as.

use std::path::PathBuf;

/// Reads a value whose key has checked it already.
pub(super) trait FromText: Sized {
    /// The value; `None` when the text is none.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! by_parse {
    ($($type:ty),*) => { $(
        impl FromText for $type {
            fn from_text(text: &str) -> Option<$type> {
                text.parse().ok()
            }
        }
    )* };
}
by_parse!(bool, u16, u32, u64, i64, usize);

impl FromText for String {
    fn from_text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
}

impl FromText for Option<String> {
    fn from_text(text: &str) -> Option<Option<String>> {
        Some((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str) -> Option<PathBuf> {
        Some(PathBuf::from(text))
    }
}

impl FromText for Option<PathBuf> {
    fn from_text(text: &str) -> Option<Option<PathBuf>> {
        Some((!text.is_empty()).then(|| PathBuf::from(text)))
    }
}
