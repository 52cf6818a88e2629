//! The key index of a shard: its manifest, and every page of the runs that it names. Whether their entries agree with the log is
//! looked at by `verify/keys.rs`.

use super::files::{Error, read_at, read_if_there};
use engine::inspect::{
    KEY_MANIFEST_NAME, KEY_PAGE_SIZE, KeyEntry, KeyManifest, key_manifest, key_page_entries, key_page_is_sound,
    key_run_pages,
};
use protocol::model::ShardId;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Pages read at once.
const PAGES_AT_ONCE: usize = 256;

/// What the manifest says, or what is wrong with it; nothing without one.
///
/// # Errors
/// It cannot be read.
pub(super) fn manifest(directory: &Path, shard: ShardId) -> Result<Option<Result<KeyManifest, &'static str>>, Error> {
    let bytes = read_if_there(&directory.join(KEY_MANIFEST_NAME))?;
    Ok(bytes.map(|bytes| key_manifest(&bytes, shard.get())))
}

/// The runs that count, open: those that a broker merges and deletes meanwhile can still be read.
#[derive(Debug)]
pub(super) struct KeyRuns {
    directory: PathBuf,
    shard: ShardId,
    /// What named them.
    pub(super) manifest: KeyManifest,
    runs: Vec<(u64, io::Result<File>)>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    /// Pages of sound runs.
    pub(super) pages: u64,
    /// All entries were visited.
    pub(super) is_whole: bool,
}

impl KeyRuns {
    /// Opens them; what is wrong with the manifest goes to `findings`. Without an index there are none: a broker makes it again.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub(super) fn open(
        directory: &Path,
        shard: ShardId,
        findings: &mut Vec<(PathBuf, String)>,
    ) -> Result<Option<KeyRuns>, Error> {
        loop {
            let manifest = match manifest(directory, shard)? {
                None => return Ok(None),
                Some(Ok(manifest)) => manifest,
                Some(Err(reason)) => {
                    findings.push((directory.join(KEY_MANIFEST_NAME), reason.to_owned()));
                    return Ok(None);
                }
            };
            let open = |&sequence: &u64| (sequence, File::open(run_path(directory, sequence)));
            let opened = KeyRuns {
                directory: directory.to_owned(),
                shard,
                runs: manifest.runs.iter().map(open).collect(),
                manifest,
            };
            if opened.runs.iter().all(|(_, file)| file.is_ok()) || !opened.is_outdated()? {
                return Ok(Some(opened));
            }
        }
    }

    /// A broker that is running merges runs and names the result instead.
    fn is_outdated(&self) -> Result<bool, Error> {
        let now = manifest(&self.directory, self.shard)?;
        Ok(now.is_some_and(|now| now.is_ok_and(|now| now != self.manifest)))
    }

    /// Checks all pages, and visits the entries on them with the path of their run; what is wrong goes to `findings`.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub(super) fn check(
        &self,
        findings: &mut Vec<(PathBuf, String)>,
        visit: &mut dyn FnMut(&Path, KeyEntry),
    ) -> Result<Checked, Error> {
        let mut checked = Checked {
            pages: 0,
            is_whole: true,
        };
        for (sequence, file) in &self.runs {
            let path = run_path(&self.directory, *sequence);
            let count = match file {
                Ok(file) => check_run(file, self.shard, *sequence, &mut |entry| visit(&path, entry)),
                Err(error) => Err(error.to_string()),
            };
            match count {
                Ok(count) => checked.pages += u64::from(count),
                Err(reason) => {
                    checked.is_whole = false;
                    if self.still_named(*sequence)? {
                        findings.push((path, reason));
                    }
                }
            }
        }
        Ok(checked)
    }

    /// Not if a broker that is running has met the damage too: it does without the run, and makes its entries again.
    fn still_named(&self, sequence: u64) -> Result<bool, Error> {
        let now = manifest(&self.directory, self.shard)?.and_then(Result::ok);
        Ok(now.is_none_or(|now| now.runs.contains(&sequence)))
    }
}

fn run_path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:020}.run"))
}

/// The number of pages, or the first thing that is wrong.
fn check_run(file: &File, shard: ShardId, sequence: u64, visit: &mut dyn FnMut(KeyEntry)) -> Result<u32, String> {
    let (mut chunk, mut head, mut pages, mut number) = (Vec::new(), Vec::new(), 1, 0);
    let mut previous = None;
    while number < pages {
        let at = u64::from(number) * KEY_PAGE_SIZE as u64;
        let read = read_at(file, at, PAGES_AT_ONCE * KEY_PAGE_SIZE, &mut chunk);
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
                head = page.to_vec();
            }
            for entry in key_page_entries(&head, number, page) {
                // Queries find entries by their order.
                if previous.is_some_and(|previous| previous > entry) {
                    return Err(format!("page {number} is damaged: its entries are not in order"));
                }
                previous = Some(entry);
                visit(entry);
            }
            number += 1;
            if number == pages {
                break;
            }
        }
    }
    Ok(pages)
}
