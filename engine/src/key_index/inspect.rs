//! Key index formats for tools that read; see [`crate::inspect`].

pub use super::run::KeyEntry;
use super::{MANIFEST_NAME, entry, open, run};
use crate::message::index_keys;
use protocol::message::record::RecordView;
use std::ops::Range;

/// Name of the manifest in the directory of a key index.
pub const KEY_MANIFEST_NAME: &str = MANIFEST_NAME;
/// Bytes of a page of a run.
pub const KEY_PAGE_SIZE: usize = run::PAGE_SIZE;

/// What a manifest says. Positions are bytes in the shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyManifest {
    /// The sequence numbers of the runs that count; their files are `<20 digits>.run`.
    pub runs: Vec<u64>,
    /// The keys of all messages below are in runs,
    pub rebuilt_from: u64,
    /// but for those in these ranges, which may be.
    pub missing: Vec<Range<u64>>,
}

/// What the bytes of a manifest say.
///
/// # Errors
/// What is wrong with the manifest.
pub fn key_manifest(manifest: &[u8], shard: u8) -> Result<KeyManifest, &'static str> {
    open::manifest_of(manifest, shard)
}

/// The sequence numbers of the runs that a manifest names.
///
/// # Errors
/// What is wrong with the manifest.
pub fn key_runs(manifest: &[u8], shard: u8) -> Result<Vec<u64>, &'static str> {
    key_manifest(manifest, shard).map(|manifest| manifest.runs)
}

/// The entries that a message at `position` asks for; the same twice if it has a key twice.
pub fn key_entries_of<'a>(record: &RecordView<'a>, position: u64) -> impl Iterator<Item = KeyEntry> + use<'a> {
    let (topic, store_timestamp) = (record.topic, record.store_timestamp);
    index_keys(record).map(move |key| entry(topic, key, position, store_timestamp))
}

/// How many pages a run has by its first one; `None` if that is not the head of run `sequence` of the shard.
#[must_use]
pub fn key_run_pages(head: &[u8], shard: u8, sequence: u64) -> Option<u32> {
    run::pages_of(head, shard, sequence)
}

/// Whether page `page` of run `sequence` is as it was written.
#[must_use]
pub fn key_page_is_sound(sequence: u64, page: u32, bytes: &[u8]) -> bool {
    run::page_is_sound(sequence, page, bytes)
}

/// The entries on page `page` of the run that begins with `head`; pages that are sound have some or none.
pub fn key_page_entries<'a>(head: &[u8], page: u32, bytes: &'a [u8]) -> impl Iterator<Item = KeyEntry> + use<'a> {
    run::entries_of(head, page, bytes)
}
