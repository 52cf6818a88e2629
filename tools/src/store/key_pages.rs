//! The key index of a shard: its manifest, and every page of the runs that it names. What entries say is not compared with
//! the log.

use super::files::{Error, read_at, read_if_there};
use engine::inspect::{KEY_MANIFEST_NAME, KEY_PAGE_SIZE, key_page_is_sound, key_run_pages, key_runs};
use protocol::model::ShardId;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Pages read at once.
const PAGES_AT_ONCE: usize = 256;

/// Checks all pages; what is wrong goes to `findings`. Returns how many pages there are.
///
/// # Errors
/// The manifest cannot be read.
pub(super) fn check(directory: &Path, shard: ShardId, findings: &mut Vec<(PathBuf, String)>) -> Result<u64, Error> {
    let path = directory.join(KEY_MANIFEST_NAME);
    // Without an index there is none; a broker makes it again.
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(0);
    };
    let runs = match key_runs(&bytes, shard.get()) {
        Ok(runs) => runs,
        Err(reason) => {
            findings.push((path, reason.to_owned()));
            return Ok(0);
        }
    };
    let mut pages = 0;
    for &sequence in &runs {
        let run = directory.join(format!("{sequence:020}.run"));
        match check_run(&run, shard, sequence) {
            Ok(count) => pages += u64::from(count),
            // A broker that is running merges runs and names the result instead.
            Err(_) if !still_named(&path, shard, sequence)? => {}
            Err(reason) => findings.push((run, reason)),
        }
    }
    Ok(pages)
}

fn still_named(manifest: &Path, shard: ShardId, sequence: u64) -> Result<bool, Error> {
    let bytes = read_if_there(manifest)?;
    let runs = bytes.and_then(|bytes| key_runs(&bytes, shard.get()).ok());
    Ok(runs.is_none_or(|runs| runs.contains(&sequence)))
}

/// The number of pages, or the first thing that is wrong.
fn check_run(path: &Path, shard: ShardId, sequence: u64) -> Result<u32, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let (mut chunk, mut pages, mut number) = (Vec::new(), 1, 0);
    while number < pages {
        let at = u64::from(number) * KEY_PAGE_SIZE as u64;
        let read = read_at(&file, at, PAGES_AT_ONCE * KEY_PAGE_SIZE, &mut chunk);
        read.map_err(|error| format!("page {number} cannot be read: {error}"))?;
        if chunk.len() < KEY_PAGE_SIZE {
            return Err(format!("it is cut off at page {number} of {pages}"));
        }
        for page in chunk.chunks_exact(KEY_PAGE_SIZE) {
            if !key_page_is_sound(sequence, number, page) {
                return Err(format!("page {number} is damaged: its checksum does not match"));
            }
            if number == 0 {
                pages = key_run_pages(page, shard.get(), sequence).ok_or("its head is of another run")?;
            }
            number += 1;
            if number == pages {
                break;
            }
        }
    }
    Ok(pages)
}
