//! The storage of one broker: shards, each with a commitlog, consume queues and a key index, on one core.
//!
//! [`prepare_store`] opens the directory for the process, [`Shard::open`] one shard on its core. Messages go in by
//! [`Shard::append`] and are acknowledged when [`Hooks::on_commit`] tells of their group commit; they come out by
//! [`Shard::read_hot`] and [`Shard::read`].

mod append;
mod checkpoint;
mod cold;
pub mod consume_queue;
mod control_record;
mod crash_buffer;
mod cut;
mod drainer;
mod error;
mod imported;
mod index_file;
mod inner;
pub mod inspect;
pub mod key_index;
mod log_walk;
mod log_writer;
mod message;
mod options;
mod page_cache;
#[doc(hidden)]
pub mod planted;
mod read;
mod reader;
mod recovery;
mod replica;
mod reserve;
mod scrub;
mod segmented_log;
mod shard;
mod spare_segments;
mod staging;
mod stats;
mod store;
mod tail_cache;
#[cfg(test)]
mod tests;
mod upkeep;
mod verified;
mod writer;
mod zeros_ahead;

pub use consume_queue::{Entry, QueueSlot};
pub use cut::{CutLog, cut_log};
pub use error::{AppendError, Error, FenceReason, ReadError};
pub use imported::{ImportError, Imported};
pub use index_file::IndexError;
pub use message::{
    Appended, Arrival, BatchId, Commit, Hooks, META_KIND_MAX, MetaRecord, NewMessage, in_consume_queue, tag_hash_of,
};
pub use options::{FlushMode, Retention, StoreIdentity, StoreOptions, TransferLimit, WritePath};
pub use read::{Boundary, KeyRequest, KeyResult, ReadRequest, ReadResult, ReadStatus};
pub use recovery::{Damage, Recovered};
pub use replica::{CopyError, LogPosition};
pub use shard::Shard;
pub use stats::ShardStats;
pub use store::{StoreLayout, finish_import, prepare_store};
