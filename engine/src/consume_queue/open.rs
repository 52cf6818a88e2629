//! Opening the consume queues: the manifest says which files count, each file's directory (or its pages) what they hold.
//!
//! Damage to what a start needs costs time, never a message:
//! - a directory is damaged: the pages of its file are read instead;
//! - a page of the last file is damaged: the last file is given up, and records are fed again from where the file before it
//!   says;
//! - anything else: all is fed again from the begin of the log.
//!
//! What is given up is still searched for the next offsets of queues whose records the log no longer has.

use super::directory::{Directory, Listed, ListedRun, MANIFEST_NAME, Manifest};
use super::maintain::Floors;
use super::page_log::{PageFile, remove_if_there};
use super::queue::RunRef;
use super::{ConsumeQueueOptions, ConsumeQueues, IndexError, OpenedConsumeQueues, PageLog, QueueSlot, State};
use runtime::file;
use runtime::sync::Semaphore;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// Next offsets of queues, by topic and queue id.
type NextOffsets = BTreeMap<(String, u32), i64>;

impl ConsumeQueues {
    /// Opens the directory of a shard's consume queues. `log_min` is the first kept position of the commitlog.
    ///
    /// # Errors
    /// The file system refuses. Damage is no error: see [`OpenedConsumeQueues::reports`].
    pub async fn open(options: ConsumeQueueOptions, log_min: u64) -> Result<OpenedConsumeQueues, IndexError> {
        let directory = options.directory.clone();
        file::create_directory(&directory)
            .await
            .map_err(IndexError::io("make", &directory))?;
        let mut reports = Vec::new();
        let on_disk = page_files(&options).await?;
        let manifest = read_manifest(&options, &on_disk, &mut reports).await?;
        let file_pages = manifest
            .as_ref()
            .map_or(options.file_pages, |manifest| manifest.file_pages);
        let options = ConsumeQueueOptions { file_pages, ..options };
        let mut opening = Opening::new(&options, log_min, reports);
        match manifest {
            Some(manifest) => opening.load(&manifest).await?,
            // Also when the directory is new: from now on a missing manifest is damage.
            None => opening.give_up_all(&on_disk).await?,
        }
        opening.finish(&on_disk).await
    }
}

/// First pages of the files in the directory, sorted.
async fn page_files(options: &ConsumeQueueOptions) -> Result<Vec<u32>, IndexError> {
    let directory = &options.directory;
    let paths: Vec<PathBuf> = file::list(directory).await.map_err(IndexError::io("list", directory))?;
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
    let mut first_pages: Vec<u32> = names
        .filter(|name| name.len() == 20)
        .filter_map(|name| name.parse().ok())
        .collect();
    first_pages.sort_unstable();
    Ok(first_pages)
}

async fn read_manifest(
    options: &ConsumeQueueOptions,
    on_disk: &[u32],
    reports: &mut Vec<String>,
) -> Result<Option<Manifest>, IndexError> {
    let path = options.directory.join(MANIFEST_NAME);
    let bytes = match file::read(&path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !on_disk.is_empty() {
                reports.push(format!(
                    "{} is missing; all consume queues are made again",
                    path.display()
                ));
            }
            return Ok(None);
        }
        Err(error) => return Err(IndexError::io("read", &path)(error)),
    };
    let reason = match Manifest::decode(&bytes) {
        Ok(manifest) if manifest.shard != options.shard => "it is of another shard",
        Ok(manifest) if manifest.file_pages == 0 || manifest.file_pages > 1 << 20 => {
            "its files have an impossible size"
        }
        Ok(manifest) => return Ok(Some(manifest)),
        Err(reason) => reason,
    };
    reports.push(format!(
        "{} is damaged ({reason}); all consume queues are made again",
        path.display()
    ));
    Ok(None)
}

#[derive(Debug)]
struct Opening {
    queues: ConsumeQueues,
    log_min: u64,
    reports: Vec<String>,
    /// Per slot: queue offset and position of the first entry found.
    firsts: Vec<Option<(i64, u64)>>,
    floors: NextOffsets,
    rebuilt_from: u64,
    /// Something was given up, so that the manifest must be written anew.
    changed: bool,
}

impl Opening {
    fn new(options: &ConsumeQueueOptions, log_min: u64, reports: Vec<String>) -> Opening {
        let queues = ConsumeQueues {
            log: PageLog::new(options),
            state: RefCell::new(State::new()),
            turn: Semaphore::new(1),
        };
        Opening {
            queues,
            log_min,
            reports,
            firsts: Vec::new(),
            floors: BTreeMap::new(),
            rebuilt_from: 0,
            changed: false,
        }
    }

    async fn load(&mut self, manifest: &Manifest) -> Result<(), IndexError> {
        self.rebuilt_from = manifest.rebuilt_from;
        self.queues.log.set_next_page(manifest.durable_end);
        let mut directories_rebuilt_from = 0;
        for (index, &first_page) in manifest.files.iter().enumerate() {
            let is_last = index + 1 == manifest.files.len();
            match self.load_file(first_page, manifest.durable_end).await? {
                Ok(directory) => {
                    directories_rebuilt_from = directory.rebuilt_from;
                    self.replay(first_page, &directory)?;
                }
                Err(reason) if is_last => {
                    let path = self.queues.log.path(first_page);
                    self.reports.push(format!(
                        "{}: {reason}; consume queues are made again from position {directories_rebuilt_from}",
                        path.display()
                    ));
                    self.rebuilt_from = directories_rebuilt_from;
                    self.give_up(first_page, manifest.durable_end).await?;
                }
                Err(reason) => {
                    let path = self.queues.log.path(first_page);
                    self.reports.push(format!(
                        "{}: {reason}; all consume queues are made again",
                        path.display()
                    ));
                    return self.give_up_all(&manifest.files).await;
                }
            }
            runtime::yield_now().await;
        }
        Ok(())
    }

    /// What a file holds, or why it cannot be told.
    async fn load_file(&mut self, first_page: u32, durable_end: u32) -> Result<Result<Directory, String>, IndexError> {
        let full = first_page.saturating_add(self.queues.log.file_pages) <= durable_end;
        let path = self.queues.log.directory_path(first_page);
        let from_directory = match file::read(&path).await {
            Ok(bytes) if full => {
                let decoded = Directory::decode(&bytes, self.queues.log.shard, first_page);
                decoded
                    .inspect_err(|reason| {
                        self.reports
                            .push(format!("{} is damaged ({reason}); its pages are read", path.display()));
                    })
                    .ok()
            }
            _ => None,
        };
        self.queues.log.files.borrow_mut().push_back(PageFile {
            first_page,
            end_position: from_directory.as_ref().map_or(0, |directory| directory.end_position),
            rebuilt_from: match &from_directory {
                Some(directory) => directory.rebuilt_from,
                None if full => 0,
                None => self.rebuilt_from,
            },
            has_directory: from_directory.is_some(),
            created: true,
            dirty: false,
        });
        let directory = match from_directory {
            Some(directory) if file::exists(&self.queues.log.path(first_page)).await => directory,
            Some(_) => return Ok(Err("it is missing".to_owned())),
            None => match self.queues.read_directory(first_page, durable_end).await? {
                (directory, None) => directory,
                (_, Some((_, reason))) => return Ok(Err(reason)),
            },
        };
        if let Some(file) = self.queues.log.files.borrow_mut().back_mut() {
            file.end_position = directory.end_position;
        }
        Ok(Ok(directory))
    }

    fn replay(&mut self, first_page: u32, directory: &Directory) -> Result<(), IndexError> {
        let mut state = self.queues.state.borrow_mut();
        let topics = directory
            .topics
            .iter()
            .map(|topic| state.intern(topic))
            .collect::<Result<Vec<u32>, IndexError>>()?;
        for run in &directory.runs {
            let topic = topics[run.topic as usize];
            let page = first_page + run.page_in_file;
            if let Listed::Deleted { position } = run.listed {
                state.forget_topic(topic, position);
                for slot in state.topic(topic).queues.slots() {
                    self.firsts[slot as usize] = None;
                }
                continue;
            }
            let name = std::sync::Arc::clone(&state.topic(topic).name);
            let slot = match state.slot(&name, run.queue_id) {
                Some(slot) => slot,
                None => state.make(&name, run.queue_id, &self.queues.log)?,
            };
            state.revive(slot);
            self.firsts.resize(state.queues.len(), None);
            let first = &mut self.firsts[slot as usize];
            replay_run(state.queue_mut(QueueSlot(slot)), first, page, run);
        }
        Ok(())
    }

    /// Does without a file, but for the next offsets in it.
    async fn give_up(&mut self, first_page: u32, end: u32) -> Result<(), IndexError> {
        self.changed = true;
        let log = &self.queues.log;
        log.files.borrow_mut().retain(|file| file.first_page != first_page);
        log.files.borrow_mut().push_back(PageFile {
            first_page,
            end_position: u64::MAX,
            rebuilt_from: 0,
            has_directory: false,
            created: true,
            dirty: false,
        });
        let (directory, _) = self.queues.read_directory(first_page, end).await?;
        log.files.borrow_mut().pop_back();
        let next = log.next_page().max(first_page.saturating_add(log.file_pages));
        log.set_next_page(log.next_file(next));
        for run in &directory.runs {
            self.take_floor(&directory, run);
        }
        Ok(())
    }

    fn take_floor(&mut self, directory: &Directory, run: &ListedRun) {
        let topic = &directory.topics[run.topic as usize];
        let next = match run.listed {
            Listed::Floor { .. } => run.queue_offset,
            Listed::Entries {
                count, last_position, ..
            } if last_position < self.log_min => run.queue_offset + i64::from(count),
            Listed::Entries { .. } => return,
            Listed::Deleted { .. } => return self.floors.retain(|(name, _), _| name != topic),
        };
        let floor = self.floors.entry((topic.clone(), run.queue_id)).or_insert(next);
        *floor = next.max(*floor);
    }

    async fn give_up_all(&mut self, files: &[u32]) -> Result<(), IndexError> {
        self.queues.log.files.borrow_mut().clear();
        *self.queues.state.borrow_mut() = State::new();
        self.firsts.clear();
        self.rebuilt_from = 0;
        self.changed = true;
        for &first_page in files {
            self.give_up(first_page, u32::MAX).await?;
        }
        Ok(())
    }

    async fn finish(mut self, on_disk: &[u32]) -> Result<OpenedConsumeQueues, IndexError> {
        self.apply_firsts();
        self.apply_floors()?;
        let queues = self.queues;
        queues.log.rebuilt_from.set(self.rebuilt_from);
        queues.raise_mins(self.log_min).await?;
        if self.changed || queues.wants_write() {
            queues.commit(self.rebuilt_from).await?;
        }
        let named: Vec<u32> = queues.log.files.borrow().iter().map(|file| file.first_page).collect();
        for &first_page in on_disk.iter().filter(|first_page| !named.contains(first_page)) {
            queues.log.remove(first_page).await?;
        }
        remove_if_there(&queues.log.directory.join(format!("{MANIFEST_NAME}.new"))).await?;
        let end_position = queues.log.files.borrow().iter().map(|file| file.end_position).max();
        Ok(OpenedConsumeQueues {
            end_position: end_position.unwrap_or(0).max(self.rebuilt_from),
            rebuilt_from: self.rebuilt_from,
            reports: self.reports,
            queues,
        })
    }

    fn apply_firsts(&mut self) {
        let mut state = self.queues.state.borrow_mut();
        for (queue, first) in state.queues.iter_mut().zip(&self.firsts) {
            if let Some((queue_offset, position)) = *first {
                queue.min = queue_offset;
                queue.min_position = position;
            }
            queue.runs.shrink_to_fit();
        }
    }

    fn apply_floors(&mut self) -> Result<(), IndexError> {
        let floors = std::mem::take(&mut self.floors);
        let log = &self.queues.log;
        let mut state = self.queues.state.borrow_mut();
        let mut pages = Floors::new(log.shard, self.log_min);
        for ((topic, queue_id), next) in floors {
            let slot = match state.slot(&topic, queue_id) {
                Some(slot) => slot,
                None => state.make(&topic, queue_id, log)?,
            };
            state.revive(slot);
            state.queue_mut(QueueSlot(slot)).raise_max(next);
            pages.add(&mut state, QueueSlot(slot), log);
        }
        pages.finish(&mut state, log);
        Ok(())
    }
}

fn replay_run(queue: &mut super::queue::Queue, first: &mut Option<(i64, u64)>, page: u32, run: &ListedRun) {
    queue.named_in = Some(page);
    match run.listed {
        Listed::Entries {
            at,
            count,
            first_position,
            ..
        } => {
            let run = RunRef {
                first: run.queue_offset,
                page,
                at,
                count,
            };
            queue.insert_run(run);
            queue.tail_first = queue.tail_first.max(run.end());
            if first.is_none_or(|(queue_offset, _)| run.first <= queue_offset) {
                *first = Some((run.first, first_position));
            }
        }
        Listed::Floor { .. } => queue.raise_max(run.queue_offset),
        Listed::Deleted { .. } => {}
    }
}
