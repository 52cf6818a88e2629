//! `mqstore export`: a store of ours, whose broker is stopped, as a store of Apache's: one commitlog, and tables as files.
//!
//! Queues are read as consumers read them and their records written in the order of their times of storing, each queue in its own order. Physical
//! offsets become those of the new log; everything else stays. Consume queues and index are not written: without them, and without its
//! file `abort`, Apache's broker makes them from the log at its first start.

use super::import::source::table;
use bytes::Bytes;
use engine::{Hooks, QueueSlot, ReadError, ReadRequest, Retention, Shard, StoreOptions, TransferLimit};
use protocol::message::delay_levels::DelayLevels;
use protocol::message::record::{self, PHYSICAL_OFFSET_AT, RecordView, Records};
use protocol::model::QueueOffset;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Messages of a queue that are read at once.
const MESSAGES_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 256 << 10;
/// Bytes that Apache's broker keeps free behind each record of a file, for the blank record at its end.
const FILE_END_SIZE: u64 = 8;
/// The tables, as the broker keeps them beside its logs.
const TABLES: [&str; 4] = [
    "topics.json",
    "subscriptionGroup.json",
    "consumerOffset.json",
    "delayOffset.json",
];

/// Why an export has not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] engine::Error),
    /// Something is there already.
    #[error("{} is not empty; give the export a directory of its own", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// A queue cannot be read.
    #[error("cannot read queue {queue_id} of topic {topic}: {cause}")]
    Unreadable {
        /// Its topic.
        topic: String,
        /// Its number.
        queue_id: u32,
        /// What is wrong.
        cause: String,
    },
    /// A record that no file can hold.
    #[error(
        "a record of {size} bytes does not fit into a file of {file_size}; fix: a larger --file-size, and the same mappedFileSizeCommitLog"
    )]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// Bytes of a file.
        file_size: u64,
    },
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
    /// The tables cannot be read.
    #[error("{0}")]
    Tables(String),
    /// An event loop cannot be made.
    #[error("cannot make an event loop: {0}")]
    Loop(io::Error),
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// What is to be exported, and whereto.
#[derive(Clone, Debug)]
pub struct Export {
    /// The store.
    pub from: PathBuf,
    /// Its commitlogs, if they are elsewhere.
    pub from_commitlog: Option<PathBuf>,
    /// The directory of the new store.
    pub to: PathBuf,
    /// Bytes of a commitlog file.
    pub file_size: u64,
    /// messageDelayLevel of the broker.
    pub delay_levels: DelayLevels,
}

/// What an export did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Messages written.
    pub messages: u64,
    /// Queues that had any.
    pub queues: usize,
    /// Queues without any that are further than 0.
    pub empty_queues: usize,
    /// Messages that could not be read.
    pub lost: u64,
    /// Bytes of the commitlog.
    pub bytes: u64,
    /// Files of the commitlog.
    pub files: u64,
    /// Files with tables.
    pub tables: Vec<String>,
}

/// Says how far it is: messages written, and all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Export {
    /// Runs it, on this thread.
    ///
    /// # Errors
    /// [`Error`]
    pub fn run(&self, progress: Progress<'_>) -> Result<Summary, Error> {
        let path = runtime::probe::IoPath::Blocking(runtime::probe::Refusal::Configured);
        runtime::core::run_here(&path, self.all(progress)).map_err(Error::Loop)?
    }

    async fn all(&self, progress: Progress<'_>) -> Result<Summary, Error> {
        let layout = engine::prepare_store(&self.options()).await?;
        let mut log = CommitlogWriter::new(&self.to, self.file_size)?;
        let mut shards = Vec::new();
        for id in layout.shards().shards() {
            let levels = self.delay_levels.clone();
            let hooks = Hooks {
                tag_hash: Box::new(move |record| levels.due_ms(record).unwrap_or_else(|| engine::tag_hash_of(record))),
                ..Hooks::default()
            };
            shards.push(Shard::open(&layout, id, hooks).await?.0);
        }
        let mut summary = Summary::default();
        let queues = queues_of(&shards, &mut summary);
        self.write(&shards, queues, &mut log, &mut summary, progress).await?;
        (summary.bytes, summary.files) = log.finish()?;
        summary.tables = self.copy_tables()?;
        for shard in &shards {
            shard.close().await?;
        }
        Ok(summary)
    }

    fn options(&self) -> StoreOptions {
        let limit = TransferLimit {
            bytes: BYTES_AT_ONCE,
            messages: MESSAGES_AT_ONCE,
        };
        StoreOptions {
            commitlog_dir: self.from_commitlog.clone(),
            crash_buffer_bytes: 0,
            limit_in_memory: limit,
            limit_on_disk: limit,
            // Nothing is deleted while it is read.
            retention: Retention {
                delete_hours: Vec::new(),
                clean_ratio: 1.0,
                force_ratio: None,
                stop_ratio: 1.0,
                ..Retention::default()
            },
            ..StoreOptions::new(&self.from, 1)
        }
    }

    async fn write(
        &self,
        shards: &[Shard],
        mut queues: Vec<Queue>,
        log: &mut CommitlogWriter,
        summary: &mut Summary,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let all: i64 = queues.iter().map(|queue| queue.end - queue.next).sum();
        let all = all.unsigned_abs();
        // The time of storing of each queue's next record.
        let mut heap: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        for (index, queue) in queues.iter_mut().enumerate() {
            let time = queue.fill(shards, &mut summary.lost).await?;
            heap.extend(time.map(|time| Reverse((time, index))));
        }
        while let Some(Reverse((_time, index))) = heap.pop() {
            let Some(queue) = queues.get_mut(index) else { continue };
            if let Some(record) = queue.records.pop_front() {
                log.write(&record)?;
                summary.messages += 1;
            }
            let time = queue.fill(shards, &mut summary.lost).await?;
            heap.extend(time.map(|time| Reverse((time, index))));
            if summary.messages.is_multiple_of(1024) {
                progress(summary.messages, all);
            }
        }
        Ok(())
    }

    fn copy_tables(&self) -> Result<Vec<String>, Error> {
        let (from, to) = (self.from.join("config"), self.to.join("config"));
        std::fs::create_dir_all(&to).map_err(io_error("make the directory", &to))?;
        let mut copied = Vec::new();
        for name in TABLES {
            let text = table(&from, name).map_err(|error| Error::Tables(error.to_string()))?;
            let Some(text) = text else { continue };
            let path = to.join(name);
            std::fs::write(&path, text).map_err(io_error("write", &path))?;
            copied.push(name.to_owned());
        }
        Ok(copied)
    }
}

fn queues_of(shards: &[Shard], summary: &mut Summary) -> Vec<Queue> {
    let mut queues = Vec::new();
    for (shard, engine) in shards.iter().enumerate() {
        engine.for_each_queue(|slot, topic, queue_id, (min, end)| {
            if min < end {
                queues.push(Queue {
                    shard,
                    slot,
                    topic: topic.to_owned(),
                    queue_id,
                    next: min.0,
                    end: end.0,
                    records: VecDeque::new(),
                });
            } else if end.0 > 0 {
                summary.empty_queues += 1;
            }
        });
    }
    summary.queues = queues.len();
    queues
}

/// A queue that is read.
struct Queue {
    shard: usize,
    slot: QueueSlot,
    topic: String,
    queue_id: u32,
    /// The next queue offset to read, and where it ends.
    next: i64,
    end: i64,
    /// What was read and not written yet.
    records: VecDeque<Bytes>,
}

impl Queue {
    /// Reads more if nothing is left; the time of storing of the next record.
    async fn fill(&mut self, shards: &[Shard], lost: &mut u64) -> Result<Option<i64>, Error> {
        let Some(shard) = shards.get(self.shard) else {
            return Ok(None);
        };
        while self.records.is_empty() && self.next < self.end {
            let request = ReadRequest {
                queue: self.slot,
                from: QueueOffset(self.next),
                max_messages: MESSAGES_AT_ONCE,
                max_bytes: None,
                filter: None,
            };
            let behind = match shard.read(&request).await {
                Ok(read) => {
                    for part in &read.records {
                        self.take(part)?;
                    }
                    read.next.0
                }
                Err(ReadError::Lost { queue_offsets, .. }) => queue_offsets.end,
                Err(ReadError::Damaged { next: Some(next), .. }) => next.0,
                Err(error) => return Err(self.unreadable(&error)),
            };
            if behind <= self.next {
                return Err(self.unreadable(&format!("nothing can be read at offset {}", self.next)));
            }
            let read = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
            *lost += (behind.min(self.end) - self.next).saturating_sub(read).unsigned_abs();
            self.next = behind;
        }
        let first = self.records.front().map(|record| RecordView::decode(record));
        match first {
            None => Ok(None),
            Some(Ok(view)) => Ok(Some(view.store_timestamp)),
            Some(Err(error)) => Err(self.unreadable(&error)),
        }
    }

    fn take(&mut self, part: &Bytes) -> Result<(), Error> {
        for view in Records::new(part) {
            let view = view.map_err(|error| self.unreadable(&error))?;
            self.records.push_back(part.slice_ref(view.bytes));
        }
        Ok(())
    }

    fn unreadable(&self, cause: &dyn std::fmt::Display) -> Error {
        Error::Unreadable {
            topic: self.topic.clone(),
            queue_id: self.queue_id,
            cause: cause.to_string(),
        }
    }
}

/// Writes files of a commitlog, as Apache's broker would have.
struct CommitlogWriter {
    directory: PathBuf,
    file_size: u64,
    /// Position of the next record.
    position: u64,
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl CommitlogWriter {
    fn new(root: &Path, file_size: u64) -> Result<CommitlogWriter, Error> {
        let is_empty = match std::fs::read_dir(root) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(io_error("list", root)(error)),
        };
        if !is_empty {
            return Err(Error::NotEmpty {
                directory: root.to_owned(),
            });
        }
        let directory = root.join("commitlog");
        std::fs::create_dir_all(&directory).map_err(io_error("make the directory", &directory))?;
        Ok(CommitlogWriter {
            directory,
            file_size,
            position: 0,
            file: None,
        })
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Error> {
        let size = record.len() as u64;
        if size + FILE_END_SIZE > self.file_size {
            return Err(Error::TooLarge {
                size: record.len(),
                file_size: self.file_size,
            });
        }
        let rest = self.file_size - self.position % self.file_size;
        if size + FILE_END_SIZE > rest {
            self.end_file(rest)?;
        }
        let position = self.position;
        let (path, file) = self.file()?;
        let (before, behind) = record.split_at_checked(PHYSICAL_OFFSET_AT).unwrap_or_default();
        let written = file
            .write_all(before)
            .and_then(|()| file.write_all(&position.to_be_bytes()))
            .and_then(|()| file.write_all(behind.get(8..).unwrap_or_default()));
        written.map_err(io_error("write", path))?;
        self.position += size;
        Ok(())
    }

    /// The file that the next record goes into.
    fn file(&mut self) -> Result<(&Path, &mut BufWriter<File>), Error> {
        if self.file.is_none() {
            let begin = self.position - self.position % self.file_size;
            let path = self.directory.join(format!("{begin:020}"));
            let file = File::create_new(&path).map_err(io_error("make", &path))?;
            file.set_len(self.file_size).map_err(io_error("make room for", &path))?;
            self.file = Some((path, BufWriter::with_capacity(1 << 20, file)));
        }
        let (path, file) = self.file.as_mut().expect("it was opened just now");
        Ok((path, file))
    }

    /// A blank record fills the file.
    fn end_file(&mut self, rest: u64) -> Result<(), Error> {
        let mut blank = bytes::BytesMut::new();
        record::put_blank(&mut blank, i32::try_from(rest).unwrap_or(i32::MAX));
        let (path, file) = self.file()?;
        file.write_all(&blank).map_err(io_error("write", path))?;
        self.close()?;
        self.position += rest;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if let Some((path, file)) = self.file.take() {
            let file = file
                .into_inner()
                .map_err(|error| io_error("write", &path)(error.into_error()))?;
            file.sync_all().map_err(io_error("sync", &path))?;
        }
        Ok(())
    }

    /// Bytes and files.
    fn finish(mut self) -> Result<(u64, u64), Error> {
        self.close()?;
        Ok((self.position, self.position.div_ceil(self.file_size)))
    }
}
