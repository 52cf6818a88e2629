//! Opening the key index. A run that is damaged is given up and its range is missing; a manifest that is damaged means that
//! the whole index is made again.

use super::inspect::KeyManifest;
use super::run::{self, Run};
use super::{KeyIndex, KeyIndexOptions, MANIFEST_MAGIC, MANIFEST_NAME, OpenedKeyIndex, State, VERSION};
use crate::IndexError;
use crate::index_file::{Reader, unseal};
use crate::page_cache::PageCache;
use runtime::file;
use runtime::sync::Semaphore;
use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::rc::Rc;

#[derive(Debug)]
struct Manifest {
    shard: u8,
    next_sequence: u64,
    rebuilt_from: u64,
    /// Sequence and positions.
    runs: Vec<(u64, Range<u64>)>,
    missing: Vec<Range<u64>>,
}

fn decode(reader: &mut Reader<'_>) -> Option<Manifest> {
    if reader.u16()? != VERSION {
        return None;
    }
    Some(Manifest {
        shard: reader.u8()?,
        next_sequence: reader.u64()?,
        rebuilt_from: reader.u64()?,
        runs: {
            let count = reader.u32()?;
            let run = |_| Some((reader.u64()?, reader.u64()?..reader.u64()?.checked_add(1)?));
            (0..count).map(run).collect::<Option<_>>()?
        },
        missing: {
            let count = reader.u32()?;
            (0..count)
                .map(|_| Some(reader.u64()?..reader.u64()?))
                .collect::<Option<_>>()?
        },
    })
}

/// What a manifest says, for those that only read.
pub(super) fn manifest_of(bytes: &[u8], shard: u8) -> Result<KeyManifest, &'static str> {
    let mut reader = unseal(MANIFEST_MAGIC, bytes)?;
    match decode(&mut reader) {
        Some(found) if found.shard == shard => Ok(KeyManifest {
            runs: found.runs.into_iter().map(|(sequence, _)| sequence).collect(),
            rebuilt_from: found.rebuilt_from,
            missing: found.missing,
        }),
        Some(_) => Err("it is of another shard"),
        None => Err("it does not parse"),
    }
}

async fn read_manifest(options: &KeyIndexOptions, reports: &mut Vec<String>) -> Result<Option<Manifest>, IndexError> {
    let path = options.directory.join(MANIFEST_NAME);
    let bytes = match file::read(&path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IndexError::io("read", &path)(error)),
    };
    let reason = match unseal(MANIFEST_MAGIC, &bytes) {
        Err(reason) => reason,
        Ok(mut reader) => match decode(&mut reader) {
            Some(manifest) if manifest.shard == options.shard => return Ok(Some(manifest)),
            Some(_) => "it is of another shard",
            None => "it does not parse",
        },
    };
    reports.push(format!(
        "{} is damaged ({reason}); the key index is made again",
        path.display()
    ));
    Ok(None)
}

impl KeyIndex {
    /// Opens the directory of a shard's key index.
    ///
    /// # Errors
    /// The file system refuses. Damage is no error: see [`OpenedKeyIndex::reports`].
    pub async fn open(options: KeyIndexOptions) -> Result<OpenedKeyIndex, IndexError> {
        let directory = &options.directory;
        file::create_directory(directory)
            .await
            .map_err(IndexError::io("make", directory))?;
        let mut reports = Vec::new();
        let manifest = read_manifest(&options, &mut reports).await?;
        let on_disk = run_files(&options).await?;
        let after_all = on_disk.iter().max().map_or(0, |greatest| greatest + 1);
        let mut state = State::default();
        let mut next_sequence = after_all;
        let mut named = Vec::new();
        if let Some(manifest) = manifest {
            named = manifest.runs.iter().map(|(sequence, _)| *sequence).collect();
            next_sequence = next_sequence.max(manifest.next_sequence);
            state.rebuilt_from = manifest.rebuilt_from;
            state.missing = manifest.missing;
            open_runs(&options, manifest.runs, &mut state, &mut reports).await?;
        }
        let garbage = on_disk.into_iter().filter(|sequence| !named.contains(sequence));
        let last = state
            .runs
            .iter()
            .map(|run| (run.head.last_second, run.head.max_position));
        state.last = last.max_by_key(|(_, position)| *position);
        let opened = OpenedKeyIndex {
            rebuilt_from: state.rebuilt_from,
            end_position: state
                .last
                .map_or(0, |(_, position)| position + 1)
                .max(state.rebuilt_from),
            reports,
            index: KeyIndex {
                directory: options.directory,
                shard: options.shard,
                table_entries: options.table_entries.max(1),
                merge_bytes_per_second: options.merge_bytes_per_second,
                state: RefCell::new(state),
                cache: RefCell::new(PageCache::new(options.cache_bytes)),
                turn: Semaphore::new(1),
                merging: Semaphore::new(1),
                fenced: RefCell::default(),
                garbage: RefCell::new(garbage.collect()),
                next_sequence: Cell::new(next_sequence),
            },
        };
        // Makes a damaged run known as missing, and deletes what no manifest names.
        opened.index.write_manifest(opened.rebuilt_from).await?;
        Ok(opened)
    }
}

/// Sequence numbers of the runs in the directory.
async fn run_files(options: &KeyIndexOptions) -> Result<Vec<u64>, IndexError> {
    let directory = &options.directory;
    let paths = file::list(directory).await.map_err(IndexError::io("list", directory))?;
    let sequence = |path: &std::path::PathBuf| path.file_name()?.to_str()?.strip_suffix(".run")?.parse().ok();
    Ok(paths.iter().filter_map(sequence).collect())
}

async fn open_runs(
    options: &KeyIndexOptions,
    runs: Vec<(u64, Range<u64>)>,
    state: &mut State,
    reports: &mut Vec<String>,
) -> Result<(), IndexError> {
    for (sequence, positions) in runs {
        match Run::open(&options.directory, options.shard, sequence).await? {
            Ok(run) => state.runs.push(Rc::new(run)),
            Err(damage) => {
                let path = run::path(&options.directory, sequence);
                reports.push(format!(
                    "page {} of {} is damaged ({}); keys of records {}..{} are indexed again",
                    damage.page,
                    path.display(),
                    damage.reason,
                    positions.start,
                    positions.end
                ));
                state.missing.push(positions);
            }
        }
    }
    Ok(())
}
