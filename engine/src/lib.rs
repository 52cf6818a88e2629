//! engine

pub mod consume_queue;
mod index_file;
pub mod key_index;
mod page_cache;

pub use index_file::IndexError;
