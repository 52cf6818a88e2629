//! Key index of one shard: message key -> positions in the shard's commitlog.
//!
//! Entries gather in a table in memory. A full table, or at a checkpoint one that holds what would otherwise have to be fed
//! again, becomes a run: a sorted, immutable file (see `run`). Small runs are merged into larger ones. The manifest names the runs
//! that count: it is replaced after new runs are synced and before old ones are deleted, so a crash at any moment costs nothing.
//!
//! Manifest, `manifest`: magic u32 | CRC-32 of the rest u32 | version u16 | shard u8 | next sequence u64 | rebuilt from u64 |
//! number of runs u32, each sequence u64, least position u64, greatest position u64 | number of missing ranges u32, each begin
//! u64, end u64.
//!
//! The index answers with candidates: whoever asks reads the records and compares topic and key. So entries that point to what
//! the log no longer holds, or holds twice, do no harm.

pub(crate) mod inspect;
mod open;
mod run;

use crate::IndexError;
use crate::index_file::{count_u32, index, seal};
use crate::page_cache::PageCache;
use run::{KeyEntry, Run, RunEncoder};
use runtime::file::{self, File, OpenOptions};
use runtime::sync::Semaphore;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const MANIFEST_NAME: &str = "manifest";
const MANIFEST_MAGIC: u32 = 0x524d_4b4d; // RMKM
const VERSION: u16 = 1;
/// Runs of about the same size that are merged into one.
const MERGE_RUNS: usize = 4;
/// Runs of more entries than this are not merged: a merge of them would take long and make few runs of many.
const MERGED_ENTRIES_MAX: u64 = 1 << 26;
/// Entries merged between two looks at other tasks.
const MERGE_ENTRIES_A_TURN: usize = 4096;

/// How the key index of a shard is kept.
#[derive(Clone, Debug)]
pub struct KeyIndexOptions {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The shard, below 128.
    pub shard: u8,
    /// Entries gathered in memory before they become a run; 24 bytes each. 2^19 is good.
    pub table_entries: usize,
    /// Bytes of pages kept in memory for queries.
    pub cache_bytes: usize,
    /// Bytes a second that merging may read and write together.
    pub merge_bytes_per_second: u64,
}

/// Key index as opened.
#[derive(Debug)]
pub struct OpenedKeyIndex {
    /// The index.
    pub index: KeyIndex,
    /// Every record from this position on must be fed again ([`KeyIndex::add`]), besides those of [`KeyIndex::missing`].
    pub rebuilt_from: u64,
    /// Nothing in here is of a record at or beyond this position. When the recovered commitlog ends below it, [`KeyIndex::truncate`] must be
    /// called before feeding.
    pub end_position: u64,
    /// What was damaged and is made again by feeding; to be logged.
    pub reports: Vec<String>,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    /// Topic of the messages.
    pub topic: &'a str,
    /// One of their keys, or their unique key.
    pub key: &'a str,
    /// Store times in milliseconds since 1970, both inclusive; whole seconds are compared, so check the record's own.
    pub store_time_ms: (i64, i64),
    /// Only records below this position: to go on after a first answer.
    pub below: u64,
    /// Most positions wanted.
    pub max: usize,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyIndexStats {
    /// Runs on disk.
    pub runs: usize,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Entries in memory, 24 bytes each.
    pub unwritten_entries: usize,
    /// Bytes of pages kept for queries.
    pub cache_bytes: usize,
}

/// The key index of one shard. All methods take `&self`; no borrow outlives a call.
#[derive(Debug)]
pub struct KeyIndex {
    directory: PathBuf,
    shard: u8,
    table_entries: usize,
    merge_bytes_per_second: u64,
    state: RefCell<State>,
    cache: RefCell<PageCache>,
    /// Held by whoever changes which runs there are.
    turn: Semaphore,
    merging: Semaphore,
    fenced: RefCell<Option<String>>,
    /// Runs of earlier manifests, to be deleted.
    garbage: RefCell<Vec<u64>>,
    next_sequence: Cell<u64>,
}

#[derive(Debug, Default)]
struct State {
    active: Table,
    /// Full tables, oldest first, that are to become runs.
    full: VecDeque<Arc<Table>>,
    runs: Vec<Rc<Run>>,
    /// As the last manifest has it.
    rebuilt_from: u64,
    log_min: u64,
    missing: Vec<Range<u64>>,
    /// Ranges that were missing and are in tables or runs again.
    refed: Vec<Range<u64>>,
    /// Second and position of the last entry.
    last: Option<(u32, u64)>,
}

#[derive(Debug)]
struct Table {
    entries: Vec<KeyEntry>,
    /// Least position of its entries, without those that were fed again for a missing range.
    first_position: u64,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            entries: Vec::new(),
            first_position: u64::MAX,
        }
    }
}

/// Hash of `topic#key`, as RocketMQ joins them.
fn hash(topic: &str, key: &str) -> u64 {
    let size = topic.len() + 1 + key.len();
    let mut joined = [0; 256];
    if let Some(joined) = joined.get_mut(..size) {
        joined[..topic.len()].copy_from_slice(topic.as_bytes());
        joined[topic.len()] = b'#';
        joined[topic.len() + 1..].copy_from_slice(key.as_bytes());
        return xxhash_rust::xxh3::xxh3_64(joined);
    }
    xxhash_rust::xxh3::xxh3_64([topic, key].join("#").as_bytes())
}

fn second(store_time_ms: i64) -> u32 {
    u32::try_from(store_time_ms.div_euclid(1000).max(0)).unwrap_or(u32::MAX)
}

fn entry(topic: &str, key: &str, position: u64, store_time_ms: i64) -> KeyEntry {
    KeyEntry {
        hash: hash(topic, key),
        position,
        second: second(store_time_ms),
    }
}

impl KeyIndex {
    /// Notes that the record at `position` has `key`. No I/O. Also for feeding again: doubles do no harm.
    pub fn add(&self, topic: &str, key: &str, position: u64, store_time_ms: i64) {
        let entry = entry(topic, key, position, store_time_ms);
        let mut state = self.state.borrow_mut();
        if position >= state.rebuilt_from {
            state.active.first_position = state.active.first_position.min(position);
        }
        if state.last.is_none_or(|(_, last)| last <= position) {
            state.last = Some((entry.second, position));
        }
        state.active.entries.push(entry);
        if state.active.entries.len() >= self.table_entries {
            state.end_table(self.table_entries);
        }
    }

    /// Positions of records that may have the key (a hash is compared: check the record), greatest position first. A damaged
    /// run is passed over and its range becomes [`KeyIndex::missing`].
    pub async fn query(&self, query: KeyQuery<'_>) -> Vec<u64> {
        let hash = hash(query.topic, query.key);
        let seconds = second(query.store_time_ms.0)..=second(query.store_time_ms.1);
        let wanted =
            |entry: &KeyEntry| entry.hash == hash && entry.position < query.below && seconds.contains(&entry.second);
        let (mut found, runs) = {
            let state = self.state.borrow();
            let tables = state.full.iter().map(|table| &**table).chain([&state.active]);
            let entries = tables.flat_map(|table| &table.entries);
            let found: BTreeSet<u64> = entries
                .filter(|entry| wanted(entry))
                .map(|entry| entry.position)
                .collect();
            (found, state.runs.clone())
        };
        let mut runs: Vec<Rc<Run>> = runs
            .into_iter()
            .filter(|run| {
                let head = &run.head;
                head.min_position < query.below
                    && head.first_second <= *seconds.end()
                    && head.last_second >= *seconds.start()
            })
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.head.max_position));
        for run in runs {
            let enough = found.iter().rev().nth(query.max.saturating_sub(1));
            if query.max == 0 || enough.is_some_and(|&least| least >= run.head.max_position) {
                break;
            }
            match run.find(hash, &self.cache).await {
                Ok(entries) => found.extend(entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.position)),
                Err(damage) => self.give_up(&run, &damage),
            }
        }
        found.into_iter().rev().take(query.max).collect()
    }

    /// Does without a run from now on.
    fn give_up(&self, run: &Run, damage: &run::Damage) {
        let path = run.path().display();
        tracing::error!(%path, page = damage.page, reason = %damage.reason, "a run of the key index is damaged");
        let mut state = self.state.borrow_mut();
        let before = state.runs.len();
        state.runs.retain(|other| other.head.sequence != run.head.sequence);
        if state.runs.len() < before {
            state.missing.push(run.head.min_position..run.head.max_position + 1);
            self.garbage.borrow_mut().push(run.head.sequence);
        }
    }

    /// Store time in ms (whole seconds) and position of the last entry; RocketMQ's indexLastUpdateTimestamp and
    /// indexLastUpdatePhyoffset.
    #[must_use]
    pub fn last(&self) -> Option<(i64, u64)> {
        let last = self.state.borrow().last;
        last.map(|(second, position)| (i64::from(second) * 1000, position))
    }

    /// Positions whose entries were in runs that turned out damaged: feed the records in them again, then call
    /// [`KeyIndex::refed`].
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.state.borrow().missing.clone()
    }

    /// All records of a range of [`KeyIndex::missing`] that the log still has were fed again.
    pub fn refed(&self, range: &Range<u64>) {
        let mut state = self.state.borrow_mut();
        if let Some(at) = state.missing.iter().position(|missing| missing == range) {
            let range = state.missing.remove(at);
            state.refed.push(range);
        }
    }

    /// Whether a full table waits for [`KeyIndex::write_runs`].
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.state.borrow().full.is_empty()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> KeyIndexStats {
        let state = self.state.borrow();
        let full: usize = state.full.iter().map(|table| table.entries.len()).sum();
        KeyIndexStats {
            runs: state.runs.len(),
            disk_bytes: state
                .runs
                .iter()
                .map(|run| u64::from(run.head.pages()) * run::PAGE_SIZE as u64)
                .sum(),
            unwritten_entries: full + state.active.entries.len(),
            cache_bytes: self.cache.borrow().bytes(),
        }
    }

    async fn take_turn(&self) -> impl Drop + '_ {
        self.turn.acquire().await.expect("the semaphore is never closed")
    }

    fn check_fence(&self) -> Result<(), IndexError> {
        match &*self.fenced.borrow() {
            None => Ok(()),
            Some(reason) => Err(IndexError::Fenced {
                directory: self.directory.clone(),
                reason: reason.clone(),
            }),
        }
    }

    /// Writes full tables as runs. For a background task; sorting happens off the core.
    ///
    /// # Errors
    /// The file system refuses: the tables stay in memory, and can be written later. [`IndexError::Fenced`] after a sync has
    /// failed.
    pub async fn write_runs(&self) -> Result<(), IndexError> {
        let _turn = self.take_turn().await;
        self.write_full_tables().await
    }

    async fn write_full_tables(&self) -> Result<(), IndexError> {
        self.check_fence()?;
        loop {
            let next = self.state.borrow().full.front().cloned();
            let Some(table) = next else { return Ok(()) };
            let run = self.write_table(&table).await?;
            let rebuilt_from = {
                let mut state = self.state.borrow_mut();
                state.runs.push(Rc::new(run));
                state.full.pop_front();
                // The last record of the table may have more keys, in the next one.
                let end = table.entries.iter().map(|entry| entry.position).max().unwrap_or(0);
                state.first_position().min(end)
            };
            self.write_manifest(rebuilt_from).await?;
        }
    }

    async fn write_table(&self, table: &Arc<Table>) -> Result<Run, IndexError> {
        let (shard, sequence) = (self.shard, self.take_sequence());
        let table = Arc::clone(table);
        let (head, out) = runtime::task::blocking(move || {
            let mut entries = table.entries.clone();
            entries.sort_unstable();
            entries.dedup();
            let mut encoder = RunEncoder::new(shard, sequence, count_u32(entries.len()));
            for entry in entries {
                encoder.push(entry);
            }
            (encoder.finish(), encoder.out)
        })
        .await;
        let file = self.create_run(sequence).await?;
        write_chunks(&file, out).await?;
        self.end_run(file, head).await
    }

    fn take_sequence(&self) -> u64 {
        let sequence = self.next_sequence.get();
        self.next_sequence.set(sequence + 1);
        sequence
    }

    async fn create_run(&self, sequence: u64) -> Result<File, IndexError> {
        let path = run::path(&self.directory, sequence);
        let created = File::open(&path, OpenOptions::create_new()).await;
        created.map_err(IndexError::io("make", &path))
    }

    async fn end_run(&self, file: File, head: run::Head) -> Result<Run, IndexError> {
        self.fencing(file.sync_data().await.map_err(IndexError::io("sync", file.path())))?;
        let synced = file::sync_directory(&self.directory).await;
        self.fencing(synced.map_err(IndexError::io("sync", &self.directory)))?;
        Ok(Run::new(file, head))
    }

    fn fencing(&self, outcome: Result<(), IndexError>) -> Result<(), IndexError> {
        if let Err(error) = &outcome {
            self.fenced.borrow_mut().get_or_insert_with(|| error.to_string());
        }
        outcome
    }

    /// Replaces the manifest by what is so now, and deletes runs that no manifest names any more.
    async fn write_manifest(&self, rebuilt_from: u64) -> Result<(), IndexError> {
        self.check_fence()?;
        let garbage = self.garbage.borrow().clone();
        let (rebuilt_from, bytes) = {
            let state = self.state.borrow();
            let rebuilt_from = rebuilt_from.max(state.rebuilt_from);
            (rebuilt_from, self.encode_manifest(&state, rebuilt_from))
        };
        let path = self.directory.join(MANIFEST_NAME);
        file::replace(&path, bytes)
            .await
            .map_err(IndexError::io("replace", &path))?;
        self.state.borrow_mut().rebuilt_from = rebuilt_from;
        for sequence in garbage {
            let path = run::path(&self.directory, sequence);
            let removed = file::remove(&path).await;
            if let Err(error) = removed.or_else(ignore_not_found) {
                return Err(IndexError::io("delete", &path)(error));
            }
            self.garbage.borrow_mut().retain(|other| *other != sequence);
            self.cache.borrow_mut().remove_where(|key| key >> 32 == sequence);
        }
        Ok(())
    }

    fn encode_manifest(&self, state: &State, rebuilt_from: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.push(self.shard);
        bytes.extend_from_slice(&self.next_sequence.get().to_be_bytes());
        bytes.extend_from_slice(&rebuilt_from.to_be_bytes());
        bytes.extend_from_slice(&count_u32(state.runs.len()).to_be_bytes());
        for run in &state.runs {
            for number in [run.head.sequence, run.head.min_position, run.head.max_position] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        let missing = state.missing.iter().chain(&state.refed);
        bytes.extend_from_slice(&count_u32(missing.clone().count()).to_be_bytes());
        for range in missing {
            bytes.extend_from_slice(&range.start.to_be_bytes());
            bytes.extend_from_slice(&range.end.to_be_bytes());
        }
        seal(MANIFEST_MAGIC, &bytes)
    }

    /// As [`crate::consume_queue::ConsumeQueues::checkpoint`]: makes durable what is needed so that no record below `target` has
    /// to be fed again; every record below `indexed_to` must have been added. Returns the new `rebuilt_from`.
    ///
    /// # Errors
    /// The file system refuses: the old `rebuilt_from` still holds. [`IndexError::Fenced`] after a sync has failed.
    pub async fn checkpoint(&self, target: u64, indexed_to: u64) -> Result<u64, IndexError> {
        let _turn = self.take_turn().await;
        let refed = {
            let mut state = self.state.borrow_mut();
            if state.active.first_position < target || !state.refed.is_empty() {
                state.end_table(0);
            }
            state.refed.clone()
        };
        self.write_full_tables().await?;
        let rebuilt_from = {
            let mut state = self.state.borrow_mut();
            state.refed.retain(|range| !refed.contains(range));
            state.first_position().min(indexed_to)
        };
        self.write_manifest(rebuilt_from).await?;
        Ok(self.state.borrow().rebuilt_from.min(indexed_to))
    }

    /// The commitlog begins at `log_min` now: deletes runs that lie wholly below. Returns how many.
    ///
    /// # Errors
    /// The file system refuses; it can be called again.
    pub async fn drop_below(&self, log_min: u64) -> Result<usize, IndexError> {
        let _turn = self.take_turn().await;
        let dropped = {
            let mut state = self.state.borrow_mut();
            state.log_min = state.log_min.max(log_min);
            state.missing.retain(|range| range.end > log_min);
            let (kept, dropped): (Vec<_>, Vec<_>) =
                state.runs.drain(..).partition(|run| run.head.max_position >= log_min);
            state.runs = kept;
            dropped
        };
        self.garbage
            .borrow_mut()
            .extend(dropped.iter().map(|run| run.head.sequence));
        if !dropped.is_empty() {
            let rebuilt_from = self.state.borrow().rebuilt_from;
            self.write_manifest(rebuilt_from).await?;
        }
        Ok(dropped.len())
    }

    /// The commitlog ends at `log_end` now: records from there on will be others, and must be added again. Returns the new
    /// `rebuilt_from`, which is durable then.
    ///
    /// # Errors
    /// The file system refuses.
    pub async fn truncate(&self, log_end: u64) -> Result<u64, IndexError> {
        let _turn = self.take_turn().await;
        let rebuilt_from = {
            let mut state = self.state.borrow_mut();
            state.end_table(0);
            for table in &mut state.full {
                let mut entries = table.entries.clone();
                entries.retain(|entry| entry.position < log_end);
                *table = Arc::new(Table {
                    entries,
                    first_position: table.first_position,
                });
            }
            state.full.retain(|table| !table.entries.is_empty());
            state.last = state.last_below(log_end);
            state.rebuilt_from = state.rebuilt_from.min(log_end);
            state.rebuilt_from
        };
        self.write_manifest(rebuilt_from).await?;
        Ok(rebuilt_from)
    }

    /// Merges some runs of about the same size into one, if there are enough of them, within the I/O budget. Returns whether
    /// it did; call it again then. For a background task: it may take minutes, and nothing waits for it.
    ///
    /// # Errors
    /// The file system refuses: nothing has changed. A damaged run is no error, see [`KeyIndex::missing`].
    pub async fn merge(&self) -> Result<bool, IndexError> {
        let _merging = self.merging.acquire().await.expect("the semaphore is never closed");
        self.check_fence()?;
        let (runs, log_min) = {
            let state = self.state.borrow();
            (runs_to_merge(&state.runs), state.log_min)
        };
        if runs.is_empty() {
            return Ok(false);
        }
        let merged = self.merge_runs(&runs, log_min).await?;
        let _turn = self.take_turn().await;
        let Some(merged) = merged else { return Ok(true) };
        let gone: Vec<u64> = runs.iter().map(|run| run.head.sequence).collect();
        let rebuilt_from = {
            let mut state = self.state.borrow_mut();
            state.runs.retain(|run| !gone.contains(&run.head.sequence));
            if merged.head.entries > 0 {
                state.runs.push(Rc::new(merged));
            } else {
                self.garbage.borrow_mut().push(merged.head.sequence);
            }
            state.rebuilt_from
        };
        self.garbage.borrow_mut().extend(gone);
        self.write_manifest(rebuilt_from).await?;
        Ok(true)
    }

    /// `None` when a run turned out damaged.
    async fn merge_runs(&self, runs: &[Rc<Run>], log_min: u64) -> Result<Option<Run>, IndexError> {
        let entries_max: u32 = runs.iter().map(|run| run.head.entries).sum();
        let sequence = self.take_sequence();
        let mut encoder = RunEncoder::new(self.shard, sequence, entries_max);
        let file = self.create_run(sequence).await?;
        let mut inputs: Vec<Input<'_>> = runs.iter().map(|run| Input::new(run)).collect();
        let mut pace = Pace::new(self.merge_bytes_per_second);
        let mut previous = None;
        loop {
            for input in &mut inputs {
                match input.fill().await {
                    Ok(pages) => pace.spent(index(pages) * run::PAGE_SIZE),
                    Err(damage) => {
                        self.give_up(input.run, &damage);
                        self.garbage.borrow_mut().push(sequence);
                        return Ok(None);
                    }
                }
            }
            if !merge_some(&mut inputs, &mut previous, log_min, &mut encoder) {
                break;
            }
            pace.spent(encoder.out.iter().map(|(_, bytes)| bytes.len()).sum());
            write_chunks(&file, encoder.out.drain(..).collect()).await?;
            pace.wait().await;
        }
        let head = encoder.finish();
        write_chunks(&file, std::mem::take(&mut encoder.out)).await?;
        self.end_run(file, head).await.map(Some)
    }
}

fn ignore_not_found(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

async fn write_chunks(file: &File, chunks: Vec<(u64, bytes::Bytes)>) -> Result<(), IndexError> {
    for (position, bytes) in chunks {
        file.write_at(position, &[bytes])
            .await
            .map_err(IndexError::io("write to", file.path()))?;
        runtime::yield_now().await;
    }
    Ok(())
}

/// The oldest runs of a size of which there are enough: sizes count as the same within a factor of four.
fn runs_to_merge(runs: &[Rc<Run>]) -> Vec<Rc<Run>> {
    let class = |run: &Run| run.head.entries.max(1).ilog2() / 2;
    let mut sorted: Vec<&Rc<Run>> = runs.iter().collect();
    sorted.sort_by_key(|run| (class(run), run.head.min_position));
    let mut classes = sorted.chunk_by(|one, other| class(one) == class(other));
    let chosen = classes.find(|runs| {
        let entries = runs
            .iter()
            .take(MERGE_RUNS)
            .map(|run| u64::from(run.head.entries))
            .sum::<u64>();
        runs.len() >= MERGE_RUNS && entries <= MERGED_ENTRIES_MAX
    });
    chosen.map_or_else(Vec::new, |runs| {
        runs.iter().take(MERGE_RUNS).map(|run| Rc::clone(run)).collect()
    })
}

/// A run that is read in order.
#[derive(Debug)]
struct Input<'a> {
    run: &'a Run,
    next_page: u32,
    entries: VecDeque<KeyEntry>,
}

impl<'a> Input<'a> {
    fn new(run: &'a Run) -> Input<'a> {
        Input {
            run,
            next_page: 0,
            entries: VecDeque::new(),
        }
    }

    /// Reads on if there is nothing left. Returns how many pages it read.
    async fn fill(&mut self) -> Result<u32, run::Damage> {
        if !self.entries.is_empty() {
            return Ok(0);
        }
        let (entries, pages) = self.run.read_entries(self.next_page).await?;
        self.entries = entries.into();
        self.next_page += pages;
        Ok(pages)
    }
}

/// Merges until an input must be filled, or for a while. Returns false when there is nothing left.
fn merge_some(
    inputs: &mut [Input<'_>],
    previous: &mut Option<KeyEntry>,
    log_min: u64,
    encoder: &mut RunEncoder,
) -> bool {
    for _ in 0..MERGE_ENTRIES_A_TURN {
        let heads = inputs.iter_mut().filter(|input| !input.entries.is_empty());
        let Some(least) = heads.min_by_key(|input| input.entries.front().copied()) else {
            return false;
        };
        let Some(entry) = least.entries.pop_front() else {
            return false;
        };
        if entry.position >= log_min && *previous != Some(entry) {
            encoder.push(entry);
            *previous = Some(entry);
        }
        let ran_dry = least.entries.is_empty();
        if ran_dry {
            break;
        }
    }
    true
}

/// Keeps to a number of bytes a second.
#[derive(Debug)]
struct Pace {
    began: runtime::Instant,
    bytes: u64,
    bytes_per_second: u64,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Pace {
        Pace {
            began: runtime::Instant::now(),
            bytes: 0,
            bytes_per_second: bytes_per_second.max(1),
        }
    }

    fn spent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    async fn wait(&self) {
        let due = Duration::from_nanos(
            u64::try_from(u128::from(self.bytes) * 1_000_000_000 / u128::from(self.bytes_per_second))
                .unwrap_or(u64::MAX),
        );
        match due.checked_sub(self.began.elapsed()) {
            Some(early) if early > Duration::from_millis(1) => runtime::sleep(early).await,
            _ => runtime::yield_now().await,
        }
    }
}

impl State {
    /// The active table is one that is full now.
    fn end_table(&mut self, capacity: usize) {
        if self.active.entries.is_empty() {
            return;
        }
        let next = Table {
            entries: Vec::with_capacity(capacity),
            ..Table::default()
        };
        self.full.push_back(Arc::new(std::mem::replace(&mut self.active, next)));
    }

    /// The last entry below `log_end`; roughly, where a run reaches beyond it.
    fn last_below(&self, log_end: u64) -> Option<(u32, u64)> {
        let last = self.last?;
        if last.1 < log_end {
            return Some(last);
        }
        let entries = self.full.iter().flat_map(|table| &table.entries);
        let runs = self.runs.iter().filter(|run| run.head.min_position < log_end);
        let of_runs = runs.map(|run| (run.head.last_second, run.head.max_position.min(log_end - 1)));
        let all = entries.map(|entry| (entry.second, entry.position)).chain(of_runs);
        all.max_by_key(|(_, position)| *position)
    }

    fn first_position(&self) -> u64 {
        let full = self.full.iter().map(|table| table.first_position).min();
        full.unwrap_or(u64::MAX).min(self.active.first_position)
    }
}

#[cfg(test)]
mod tests;
