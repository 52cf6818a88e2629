//! Repair: makes a plan of what verify finds, and carries it out. Only a store of ours, and only while no broker has it: the store's lock
//! is taken. Nothing is thrown away: what is moved, cut or given up is kept in `repair-TIME/` in the store.
//!
//! 1. An index (consume queues, key index) that is damaged is moved away: the broker's next start makes it again from the log, which
//!    is what it does without one anyway.
//! 2. A checkpoint that is damaged is moved away: the next start takes the one before it, or reads the whole log.
//! 3. A torn tail is wiped, as the next start would do.
//! 4. Rot is copied away, its readable messages once more as records, and its range noted in `quarantine.json`: the engine serves
//!    nothing of it, verify no longer counts it. Bytes of the log before its end are never changed: the chain of seals, and every
//!    replica's agreement with it, stay as they are.

use super::files::{Error, StoreFiles, read_if_there};
use super::findings::{Finding, Part};
use super::quarantine::{self, LostRange, Quarantine, crc_of_range, visit_range};
use super::verify::{Stopped, Watcher, verify_shard};
use super::window::Window;
use engine::inspect::Checkpoint;
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, ShardId};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Most bytes of a damaged range that are searched for messages at once.
const SEARCH_MAX: usize = 64 << 20;

/// One step of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum Action {
    /// Moves a file or directory away that the next start makes again.
    #[serde(rename_all = "camelCase")]
    MoveAway {
        /// The shard.
        shard: u8,
        /// What it is.
        part: Part,
        /// Where it is.
        path: PathBuf,
    },
    /// Wipes what lies behind the log's end.
    #[serde(rename_all = "camelCase")]
    CutTail {
        /// The shard.
        shard: u8,
        /// The log's end.
        from: u64,
        /// Bytes to wipe.
        bytes: u64,
    },
    /// Gives a damaged range of the log up.
    #[serde(rename_all = "camelCase")]
    Quarantine {
        /// The shard.
        shard: u8,
        /// Where it begins.
        from: u64,
        /// Where it ends.
        to: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// What is wrong and stays so.
    pub stays: Vec<Finding>,
}

/// What a repair has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Where everything is kept.
    pub kept_in: PathBuf,
    /// Messages that could still be read in ranges that were given up.
    pub saved_messages: u64,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::MoveAway { shard, part, path } => write!(
                f,
                "shard {shard}: move the damaged {} away ({}); the broker's next start goes without it and makes it again",
                part.name(),
                path.display()
            ),
            Action::CutTail { shard, from, bytes } => {
                write!(
                    f,
                    "shard {shard}: wipe {bytes} bytes of an unfinished write behind the log's end at {from}"
                )
            }
            Action::Quarantine {
                shard,
                from,
                to,
                reason,
            } => write!(
                f,
                "shard {shard}: give the log's {from}..{to} up, saving the messages in it that can be read ({reason})"
            ),
        }
    }
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Watcher for Findings {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        self.0.push(finding.clone());
        Ok(())
    }

    fn at(&mut self, _shard: ShardId, _min: u64, _position: u64, _end: u64) {}
}

/// Makes a plan for these shards; reads only.
///
/// # Errors
/// [`Stopped`]
pub fn plan(files: &StoreFiles, shards: &[ShardId]) -> Result<Plan, Stopped> {
    let mut plan = Plan::default();
    for &shard in shards {
        let mut findings = Findings::default();
        let counts = verify_shard(files, shard, &mut findings)?;
        let mut indexes = BTreeSet::new();
        for finding in findings.0 {
            match (finding.part, finding.from.zip(finding.to)) {
                (Part::ConsumeQueue, _) => _ = indexes.insert("consumequeue"),
                (Part::KeyIndex, _) => _ = indexes.insert("index"),
                (Part::Checkpoint, _) => plan.checkpoints(files, shard)?,
                (Part::Log, Some((from, to))) => plan.actions.push(Action::Quarantine {
                    shard: shard.get(),
                    from,
                    to,
                    reason: finding.reason,
                }),
                _ => plan.stays.push(finding),
            }
        }
        for name in indexes {
            let part = if name == "index" {
                Part::KeyIndex
            } else {
                Part::ConsumeQueue
            };
            plan.move_away(shard, part, files.shard_dir(shard).join(name));
        }
        if counts.torn_bytes > 0 {
            let (from, bytes) = (counts.end, counts.torn_bytes);
            plan.actions.push(Action::CutTail {
                shard: shard.get(),
                from,
                bytes,
            });
        }
    }
    Ok(plan)
}

impl Plan {
    fn move_away(&mut self, shard: ShardId, part: Part, path: PathBuf) {
        let action = Action::MoveAway {
            shard: shard.get(),
            part,
            path,
        };
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }

    fn checkpoints(&mut self, files: &StoreFiles, shard: ShardId) -> Result<(), Error> {
        for name in ["checkpoint", "checkpoint.previous"] {
            let path = files.shard_dir(shard).join(name);
            let Some(bytes) = read_if_there(&path)? else { continue };
            let is_ours =
                |found: &Checkpoint| found.store_id == files.description.store_id && found.shard == shard.get();
            if !Checkpoint::decode(&bytes).is_ok_and(|found| is_ours(&found)) {
                self.move_away(shard, Part::Checkpoint, path);
            }
        }
        Ok(())
    }
}

/// The lock that a broker holds while it has the store open.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the store's lock.
///
/// # Errors
/// [`Error::InUse`], [`Error::Io`].
pub fn lock(root: &Path) -> Result<Lock, Error> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = file.map_err(Error::io("open for writing", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse {
            directory: root.to_owned(),
        }),
        Err(fs::TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// Carries a plan out.
///
/// # Errors
/// [`Stopped`]: what was done until then is kept, and a new plan goes on from there.
pub fn apply(files: &StoreFiles, plan: &Plan, _held: &Lock, name: &str) -> Result<Done, Stopped> {
    let root = files.root();
    let kept_in = root.join(name);
    fs::create_dir_all(&kept_in).map_err(Error::io("make the directory", &kept_in))?;
    let mut done = Done {
        kept_in: kept_in.clone(),
        saved_messages: 0,
    };
    for action in &plan.actions {
        match action {
            Action::MoveAway { shard, path, .. } => {
                let directory = shard_directory(&kept_in, *shard)?;
                let to = directory.join(path.file_name().unwrap_or_default());
                fs::rename(path, &to).map_err(Error::io("move", path))?;
                sync_directory(&directory)?;
                sync_directory(path.parent().unwrap_or(root))?;
            }
            Action::CutTail { shard, from, bytes } => {
                let id = shard_id(files, *shard)?;
                let copy = shard_directory(&kept_in, *shard)?.join(format!("tail-{from}"));
                let mut window = Window::new(files.log(id)?);
                copy_range(&mut window, *from, from.saturating_add(*bytes), &copy)?;
                wipe(&window, *from, from.saturating_add(*bytes))?;
            }
            Action::Quarantine {
                shard,
                from,
                to,
                reason,
            } => {
                let directory = shard_directory(&kept_in, *shard)?;
                let id = shard_id(files, *shard)?;
                let mut window = Window::new(files.log(id)?);
                copy_range(&mut window, *from, *to, &directory.join(format!("log-{from}-{to}")))?;
                let records = directory.join(format!("records-{from}-{to}"));
                done.saved_messages += save_messages(&mut window, id, (*from, *to), &records)?;
                let range = LostRange {
                    shard: *shard,
                    from: *from,
                    to: *to,
                    crc32: crc_of_range(&mut window, *from, *to),
                    reason: reason.clone(),
                    kept_in: format!("{name}/shard-{shard:02}"),
                };
                note(root, range)?;
            }
        }
    }
    Ok(done)
}

fn shard_id(files: &StoreFiles, shard: u8) -> Result<ShardId, Error> {
    let shards = files.description.shards;
    let mut all = shards.shards();
    all.find(|id| id.get() == shard).ok_or(Error::NoSuchShard {
        shard,
        shards: shards.get(),
    })
}

fn shard_directory(kept_in: &Path, shard: u8) -> Result<PathBuf, Error> {
    let directory = kept_in.join(format!("shard-{shard:02}"));
    fs::create_dir_all(&directory).map_err(Error::io("make the directory", &directory))?;
    Ok(directory)
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("sync the directory", directory))
}

/// Copies what can be read of a range; what cannot be stays zero in the copy.
fn copy_range(window: &mut Window, from: u64, to: u64, path: &Path) -> Result<(), Error> {
    let file = File::create_new(path).map_err(Error::io("make the file", path))?;
    let copied: io::Result<()> = visit_range(window, from, to, |position, bytes| {
        file.write_all_at(bytes, position - from)
    });
    copied.and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

fn wipe(window: &Window, from: u64, to: u64) -> Result<(), Error> {
    let mut position = from;
    while position < to {
        let end = window.log.end_of(position).min(to);
        if let Some(path) = window.log.path_of(position) {
            let base = window.log.base_of(position);
            let file = OpenOptions::new()
                .write(true)
                .open(&path)
                .map_err(Error::io("open for writing", &path))?;
            let zeros = vec![0; usize::try_from(end - position).unwrap_or(0)];
            let wiped = file
                .write_all_at(&zeros, position - base)
                .and_then(|()| file.sync_all());
            wiped.map_err(Error::io("wipe the tail of", &path))?;
        }
        position = end;
    }
    Ok(())
}

/// Writes the messages of a damaged range whose own position and body are sound to a file, as `extract` does. Returns how many.
fn save_messages(window: &mut Window, shard: ShardId, (from, to): (u64, u64), path: &Path) -> Result<u64, Error> {
    let mut content = Vec::new();
    let read: Result<(), std::convert::Infallible> = visit_range(window, from, to, |position, bytes| {
        let at = usize::try_from(position - from).unwrap_or(SEARCH_MAX);
        if at < SEARCH_MAX {
            content.resize(at, 0);
            content.extend_from_slice(bytes);
        }
        Ok(())
    });
    let Ok(()) = read;
    let (mut saved, mut at, mut file) = (0, 0, None);
    while let Some(rest) = content.get(at..).filter(|rest| !rest.is_empty()) {
        let here = PhysicalOffset::new(shard, from + at as u64);
        let record = RecordView::decode(rest)
            .ok()
            .filter(|record| record.physical_offset == here);
        let Some(record) = record.filter(|record| record.check_body().is_ok()) else {
            at += 1;
            continue;
        };
        let file = match &mut file {
            Some(file) => file,
            none => none.insert(File::create_new(path).map_err(Error::io("make the file", path))?),
        };
        file.write_all(record.bytes).map_err(Error::io("write", path))?;
        saved += 1;
        at += record.size();
    }
    if let Some(file) = file {
        file.sync_all().map_err(Error::io("sync", path))?;
    }
    Ok(saved)
}

/// Adds a range to the quarantine.
fn note(root: &Path, range: LostRange) -> Result<(), Error> {
    let mut quarantine = Quarantine::read(root)?;
    quarantine
        .ranges
        .retain(|known| (known.shard, known.from, known.to) != (range.shard, range.from, range.to));
    quarantine.ranges.push(range);
    let (path, new) = (quarantine::path(root), root.join("quarantine.json.new"));
    let text = serde_json::to_vec_pretty(&quarantine).map_err(io::Error::other);
    let written = text.and_then(|text| {
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    });
    written.map_err(Error::io("write", &path))?;
    sync_directory(root)
}
