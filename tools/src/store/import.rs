//! `mqstore import`: the store of an Apache broker that is stopped, into a new store of ours.
//!
//! 1. The commitlog is read from its first file to its end. Records keep topic, queue, queue offset and every other byte, and go to the home shard
//!    of their queue. Each shard notes with them up to where it has the log, so a run that was ended anywhere goes on there when it is run again.
//! 2. Queues whose messages are all deleted go on where their consume queue says that they ended.
//! 3. What went in is compared with what is there, queue by queue: count, first offset, next offset, CRC-32 over the records ([`proof`]).
//! 4. Topics, groups, offsets and the progress of delay levels are copied as files, which the broker takes in at its first start.
//!
//! Until all of that is done no broker opens the store.

mod proof;
pub mod source;

use bytes::Bytes;
use engine::{AppendError, FlushMode, Hooks, ImportError, Shard, StoreLayout, StoreOptions, TransferLimit};
use proof::{Proof, QueueProofs};
use protocol::message::commitlog::without_property_crc;
use protocol::message::delay_levels::DelayLevels;
use protocol::message::record::RecordView;
use protocol::message::sys_flag;
use protocol::model::{QueueId, QueueOffset, ShardId, home_shard};
use serde::Serialize;
use source::{ApacheLog, SourceError};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of the log that are taken at once, in one group commit a shard.
const CHUNK_SIZE: usize = 1 << 20;
/// Pause while the disk has no room for what came.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// What the broker takes in at its first start.
const TABLES: [&str; 4] = [
    "topics.json",
    "subscriptionGroup.json",
    "consumerOffset.json",
    "delayOffset.json",
];
/// Tells the broker that it has not taken them yet: the store is not empty, which else says so.
const TABLES_UNFINISHED: &str = "import-unfinished";

/// Why an import has not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is to be imported.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Where it is to go.
    #[error(transparent)]
    Store(#[from] engine::Error),
    /// It does not take what comes.
    #[error("shard {shard} takes no records: {cause}; run the same import again when that is mended")]
    Refused {
        /// Which one.
        shard: ShardId,
        /// What it says.
        cause: String,
    },
    /// A record that cannot be read, or not be written again.
    #[error("the record at {position} of the commitlog: {cause}")]
    Record {
        /// Where.
        position: u64,
        /// What is wrong.
        cause: String,
    },
    /// What is there is not what went in.
    #[error("{differing} of {queues} queues are not what was imported; the first is queue {queue_id} of topic {topic}: {cause}. Delete {} and import again", directory.display())]
    Differs {
        /// How many.
        differing: usize,
        /// Of how many.
        queues: usize,
        /// The first one's topic.
        topic: String,
        /// The first one's number.
        queue_id: u32,
        /// What is different.
        cause: String,
        /// The store.
        directory: PathBuf,
    },
    /// What was imported cannot be read back.
    #[error("cannot read back what was imported: {0}")]
    ReadBack(String),
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// An event loop cannot be made.
    #[error("cannot make an event loop: {0}")]
    Loop(io::Error),
}

/// What is to be imported, and whereto.
#[derive(Clone, Debug)]
pub struct Import {
    /// storePathRootDir of the Apache broker.
    pub from: PathBuf,
    /// Its storePathCommitLog, if that is elsewhere.
    pub from_commitlog: Option<PathBuf>,
    /// The directory of the new store.
    pub to: PathBuf,
    /// Shards of the new store.
    pub shards: u8,
    /// Bytes of a segment of the new store.
    pub segment_size: u64,
    /// messageDelayLevel of the Apache broker.
    pub delay_levels: DelayLevels,
    /// The Apache broker was killed: what it has not finished writing is left out.
    pub after_crash: bool,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Where the copy began: more than the log's begin when an earlier run was ended.
    pub from: u64,
    /// Where the log ends.
    pub to: u64,
    /// Messages in queues.
    pub messages: u64,
    /// Queues with messages.
    pub queues: usize,
    /// Queues without messages that go on above 0.
    pub empty_queues: usize,
    /// Records that no queue has: half messages and rolled back ones of old versions.
    pub outside_of_queues: u64,
    /// Inner batches, and messages of several queues: left out.
    pub not_supported: u64,
    /// Records at queue offsets that were taken already: left out, as Apache's consume queue does.
    pub passed: u64,
    /// Queue offsets that are missing inside of queues.
    pub missing: u64,
    /// Files with tables that the broker will take in.
    pub tables: Vec<String>,
}

/// Says how far it is: position, and where the log ends.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, u64, u64);

impl Import {
    /// Runs it, on this thread.
    ///
    /// # Errors
    /// [`Error`]
    pub fn run(&self, progress: Progress<'_>) -> Result<Summary, Error> {
        let path = runtime::probe::IoPath::Blocking(runtime::probe::Refusal::Configured);
        runtime::core::run_here(&path, self.all(progress)).map_err(Error::Loop)?
    }

    async fn all(&self, progress: Progress<'_>) -> Result<Summary, Error> {
        let mut log = ApacheLog::find(&self.from, self.from_commitlog.as_deref(), self.after_crash)?;
        let layout = engine::prepare_store(&self.options()).await?;
        let shards = self.open(&layout).await?;
        let mut summary = Summary::default();
        self.copy(&mut log, &shards, &mut summary, progress).await?;
        summary.empty_queues = self.begin_empty_queues(&shards).await?;
        for shard in &shards {
            settle(shard).await?;
        }
        let proofs = self.expected(&mut log, &mut summary, progress)?;
        self.compare(&shards, &proofs).await?;
        for shard in &shards {
            shard.close().await?;
        }
        drop(shards);
        summary.tables = self.copy_tables().await?;
        engine::finish_import(&layout).await?;
        Ok(summary)
    }

    fn options(&self) -> StoreOptions {
        let all_at_once = TransferLimit {
            bytes: CHUNK_SIZE,
            messages: 10_000,
        };
        StoreOptions {
            segment_size: self.segment_size,
            importing: true,
            flush: FlushMode::Async,
            // An import that is killed goes on from what is written.
            crash_buffer_bytes: 0,
            limit_in_memory: all_at_once,
            limit_on_disk: all_at_once,
            ..StoreOptions::new(&self.to, self.shards)
        }
    }

    async fn open(&self, layout: &StoreLayout) -> Result<Vec<Shard>, Error> {
        let mut shards = Vec::new();
        for id in layout.shards().shards() {
            let levels = self.delay_levels.clone();
            let hooks = Hooks {
                tag_hash: Box::new(move |record| levels.due_ms(record).unwrap_or_else(|| engine::tag_hash_of(record))),
                ..Hooks::default()
            };
            let (shard, _recovered) = Shard::open(layout, id, hooks).await?;
            shard.set_importing(true);
            shards.push(shard);
        }
        Ok(shards)
    }

    async fn copy(
        &self,
        log: &mut ApacheLog,
        shards: &[Shard],
        summary: &mut Summary,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let mut has_already: Vec<u64> = shards
            .iter()
            .map(|shard| shard.source_position().unwrap_or(0))
            .collect();
        let begin = has_already.iter().copied().min().unwrap_or(0).max(log.min());
        summary.from = begin;
        let mut reader = log.from(begin)?;
        loop {
            let mut parts: Vec<Vec<Bytes>> = shards.iter().map(|_shard| Vec::new()).collect();
            let mut size = 0;
            while size < CHUNK_SIZE
                && let Some((position, record)) = reader.next()?
            {
                size += record.len();
                let Some((home, record)) = supported(position, record, shards.len())? else {
                    continue;
                };
                if has_already.get(home).is_some_and(|has| position >= *has)
                    && let Some(part) = parts.get_mut(home)
                {
                    part.push(record);
                }
            }
            let to = reader.position();
            for ((shard, part), has) in shards.iter().zip(&parts).zip(&mut has_already) {
                if to > *has {
                    let done = append(shard, part, *has..to).await?;
                    summary.missing += done.missing;
                    summary.passed += done.passed;
                    *has = to;
                }
            }
            progress("copying", to, log.end());
            if size == 0 {
                summary.to = to;
                return Ok(());
            }
        }
    }

    async fn begin_empty_queues(&self, shards: &[Shard]) -> Result<usize, Error> {
        let mut begun = 0;
        for end in source::queue_ends(&self.from)? {
            let Some(queue_id) = QueueId::new(end.queue_id) else {
                continue;
            };
            let home = home_index(&end.topic, queue_id, shards.len());
            let Some(shard) = shards.get(home) else { continue };
            let began = shard.begin_queue(&end.topic, end.queue_id, QueueOffset(end.queue_offset));
            let began = began.map_err(|error| refused(shard, &error))?;
            begun += usize::from(began.is_some());
        }
        Ok(begun)
    }

    /// What must be in the store, by the log alone.
    fn expected(
        &self,
        log: &mut ApacheLog,
        summary: &mut Summary,
        progress: Progress<'_>,
    ) -> Result<QueueProofs, Error> {
        let mut proofs = QueueProofs::default();
        let mut reader = log.from(log.min())?;
        while let Some((position, record)) = reader.next()? {
            match supported(position, record, 1)? {
                None => summary.not_supported += 1,
                Some((_home, record)) => {
                    let view = view_of(position, &record)?;
                    if engine::in_consume_queue(&view) {
                        proofs.add_in_order(&view);
                    } else {
                        summary.outside_of_queues += 1;
                    }
                }
            }
            progress("verifying", reader.position(), log.end());
        }
        summary.messages = proofs.messages();
        summary.queues = proofs.queues().count();
        Ok(proofs)
    }

    async fn compare(&self, shards: &[Shard], expected: &QueueProofs) -> Result<(), Error> {
        let mut found = QueueProofs::default();
        for shard in shards {
            proof::read_back(shard, &mut found).await.map_err(Error::ReadBack)?;
        }
        let mut differing: BTreeMap<(String, u32), String> = BTreeMap::new();
        let none = Proof::default();
        for (queue, wanted) in expected.queues() {
            let there = found.get(queue).unwrap_or(&none);
            if there != wanted {
                differing.insert(queue.clone(), format!("{wanted} went in, {there} is there"));
            }
        }
        for (queue, there) in found.queues() {
            if expected.get(queue).is_none() {
                differing.insert(queue.clone(), format!("none went in, {there} is there"));
            }
        }
        let count = differing.len();
        match differing.into_iter().next() {
            None => Ok(()),
            Some(((topic, queue_id), cause)) => Err(Error::Differs {
                differing: count,
                queues: expected.queues().count(),
                topic,
                queue_id,
                cause,
                directory: self.to.clone(),
            }),
        }
    }

    async fn copy_tables(&self) -> Result<Vec<String>, Error> {
        let (from, to) = (self.from.join("config"), self.to.join("config"));
        let made = runtime::file::create_directory(&to).await;
        made.map_err(io_error("make the directory", &to))?;
        let mut copied = Vec::new();
        let unfinished = to.join(TABLES_UNFINISHED);
        let marked = runtime::file::replace(&unfinished, Vec::new()).await;
        marked.map_err(io_error("write", &unfinished))?;
        for name in TABLES {
            let Some(text) = source::table(&from, name)? else {
                continue;
            };
            let path = to.join(name);
            let written = runtime::file::replace(&path, text).await;
            written.map_err(io_error("write", &path))?;
            copied.push(name.to_owned());
        }
        Ok(copied)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn view_of(position: u64, record: &[u8]) -> Result<RecordView<'_>, Error> {
    RecordView::decode(record).map_err(|error| Error::Record {
        position,
        cause: error.to_string(),
    })
}

/// The home shard of a record, and the record as it goes there; `None` if this store has no such queues.
fn supported(position: u64, record: Bytes, shards: usize) -> Result<Option<(usize, Bytes)>, Error> {
    let view = view_of(position, &record)?;
    if view.sys_flag & (sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP) != 0 {
        return Ok(None);
    }
    let home = home_index(view.topic, view.queue_id, shards);
    let stripped = without_property_crc(&view).map_err(|error| Error::Record {
        position,
        cause: error.to_string(),
    })?;
    Ok(Some((home, stripped.unwrap_or(record))))
}

fn home_index(topic: &str, queue_id: QueueId, shards: usize) -> usize {
    let count = u8::try_from(shards).ok().and_then(protocol::model::ShardCount::new);
    count.map_or(0, |count| home_shard(topic, queue_id, count).index())
}

async fn append(shard: &Shard, records: &[Bytes], part: Range<u64>) -> Result<engine::Imported, Error> {
    let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
    loop {
        match shard.append_imported(&records, part.clone()) {
            Err(ImportError::Refused(AppendError::Busy { .. })) => runtime::sleep(BUSY_PAUSE).await,
            other => return other.map_err(|error| refused(shard, &error)),
        }
    }
}

/// Waits until all that was appended can be read and is durable.
async fn settle(shard: &Shard) -> Result<(), Error> {
    let end = shard.log_end().position;
    while shard.committed_position() < end && !shard.is_stopping() {
        shard.grown_beyond(shard.committed_position()).await;
    }
    Ok(shard.flush().await?)
}

fn refused(shard: &Shard, error: &ImportError) -> Error {
    Error::Refused {
        shard: shard.id(),
        cause: error.to_string(),
    }
}
