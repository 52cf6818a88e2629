//! What a start finds in a log: where it ends, what is damaged, and what the indexes miss.

use crate::message::MetaRecord;
use protocol::model::PhysicalOffset;
use std::time::Duration;

/// A part of the log that is damaged. It is left as it is: what of it can still be read is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub from: PhysicalOffset,
    /// Where sound data begins again.
    pub to: PhysicalOffset,
    /// What is wrong.
    pub reason: String,
}

/// What opening a shard found.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Metadata: the last snapshot, then what was logged after it, in order.
    pub metadata: Vec<MetaRecord>,
    /// The shard was closed in good order before.
    pub clean: bool,
    /// The machine has not been restarted since the shard was last open: what was written was not lost with the page cache.
    pub same_boot: bool,
    /// First kept position.
    pub min: u64,
    /// Where the log ends.
    pub end: u64,
    /// Bytes that were checked.
    pub checked_bytes: u64,
    /// Bytes of unfinished writes that were cut from the end: never acknowledged, or acknowledged in async flush mode
    /// before a power cut.
    pub torn_bytes: u64,
    /// Damage in what was durable before. Never cut.
    pub damage: Vec<Damage>,
    /// What was mended, for the log.
    pub reports: Vec<String>,
    /// How long it took.
    pub took: Duration,
}
