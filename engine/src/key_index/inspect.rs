//! Key index formats for tools that read; see [`crate::inspect`].

use super::{MANIFEST_NAME, open, run};

/// Name of the manifest in the directory of a key index.
pub const KEY_MANIFEST_NAME: &str = MANIFEST_NAME;
/// Bytes of a page of a run.
pub const KEY_PAGE_SIZE: usize = run::PAGE_SIZE;

/// The sequence numbers of the runs that a manifest names; their files are `<20 digits>.run`.
///
/// # Errors
/// What is wrong with the manifest.
pub fn key_runs(manifest: &[u8], shard: u8) -> Result<Vec<u64>, &'static str> {
    open::runs_of(manifest, shard)
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
