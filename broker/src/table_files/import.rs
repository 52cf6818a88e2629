//! Taking Apache's files over: an operator copies the folder `config` of an Apache broker into the directory of a new store
//! and starts the broker on it.
//!
//! Only a store whose logs are empty takes them, whatever a log says is newer; and one that `mqstore import` has just filled with the messages. All files are read before anything of them is
//! taken, and one that cannot be read stops the start. The file [`UNFINISHED`] stands in the folder while they are taken, so that a
//! crash meanwhile is followed by taking them again: nobody is served before that is done.
//!
//! Offsets are taken no further than the end of each queue, those of delay levels too. Without the messages that they speak of, a group that stood
//! at 1000 would miss the first thousand that come: so it begins at the begin of every queue that it had consumed, whatever it says
//! itself, and misses none.

use super::{CONSUMER_OFFSETS, DELAY_OFFSETS, DelayOffsetsFile, GROUPS, TOPICS, folder};
use crate::consumer_offsets::{ImportedOffset, OffsetsFile};
use crate::control::Control;
use crate::core::Core;
use crate::delayed_messages;
use crate::error::Error;
use crate::meta::Meta;
use protocol::body::lenient;
use runtime::file;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Stands in the folder while its files are taken.
const UNFINISHED: &str = "import-unfinished";
/// Records that are appended before their group commit is waited for.
const RECORDS_AT_ONCE: usize = 256;
/// Offsets that a core is given at once.
const OFFSETS_AT_ONCE: usize = 16_384;

/// Why files were not taken. The start stops then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file says what cannot be.
    #[error("{}: {cause}; mend the file, or move it away to start without what it holds", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        cause: String,
    },
    /// The store did not take what the files say.
    #[error("cannot take over the files in {}: {cause}", folder.display())]
    NotStored {
        /// Their folder.
        folder: PathBuf,
        /// Why.
        cause: String,
    },
}

/// What counts where a group has an offset already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The one that is imported.
    Imported,
    /// The one that is further.
    Furthest,
}

/// What the files hold. A file that is not there holds nothing.
#[derive(Debug, Default)]
struct Found {
    topics: Option<String>,
    groups: Option<String>,
    offsets: Vec<ImportedOffset>,
    delays: BTreeMap<i32, i64>,
    any: bool,
}

/// Takes the files in the store's folder `config`, if the store is empty or was when a start before began to take them.
///
/// # Errors
/// A file that cannot be read or says what cannot be, or a log that takes no records.
pub async fn into_empty_store(core: &Rc<Core>, control: &Control, empty: bool) -> Result<(), ImportError> {
    let folder = folder(&core.settings().config.store_path_root_dir);
    let unfinished = folder.join(UNFINISHED);
    if !empty && !file::exists(&unfinished).await {
        return Ok(());
    }
    let found = read_all(&folder).await?;
    if !found.any {
        return Ok(());
    }
    let not_stored = |cause: String| ImportError::NotStored {
        folder: folder.clone(),
        cause,
    };
    let marked = file::replace(&unfinished, Vec::new()).await;
    marked.map_err(|error| not_stored(format!("cannot write {}: {error}", unfinished.display())))?;
    let changes = take_tables(control, &folder, &found)?;
    let (topics, groups) = count(&changes);
    store_tables(core, control, &changes)
        .await
        .map_err(|error| not_stored(error.to_string()))?;
    let offsets = found.offsets.len();
    let groups_with_offsets: BTreeSet<String> = found.offsets.iter().map(|one| one.consumer_group.clone()).collect();
    store_offsets(core, found.offsets, Kept::Imported)
        .await
        .map_err(|error| not_stored(error.to_string()))?;
    delayed_messages::advance_everywhere(core, found.delays).await;
    let removed = async {
        file::remove(&unfinished).await?;
        file::sync_directory(&folder).await
    };
    removed
        .await
        .map_err(|error| not_stored(format!("cannot remove {}: {error}", unfinished.display())))?;
    tracing::info!(
        folder = %folder.display(),
        topics,
        groups,
        offsets,
        groups_with_offsets = groups_with_offsets.len(),
        "tables were taken from files; consumer groups stand no further than the messages that are in this store"
    );
    Ok(())
}

async fn read_all(folder: &Path) -> Result<Found, ImportError> {
    let mut found = Found {
        topics: read(folder, TOPICS).await?,
        groups: read(folder, GROUPS).await?,
        ..Found::default()
    };
    found.any = found.topics.is_some() || found.groups.is_some();
    if let Some(text) = read(folder, CONSUMER_OFFSETS).await? {
        found.any = true;
        let offsets = readable_offsets(text.as_bytes());
        found.offsets = offsets.map_err(|error| bad(folder, CONSUMER_OFFSETS, &error))?;
    }
    if let Some(text) = read(folder, DELAY_OFFSETS).await? {
        let file: Result<DelayOffsetsFile, _> = lenient::from_slice(text.as_bytes());
        found.delays = file.map_err(|error| bad(folder, DELAY_OFFSETS, &error))?.offset_table;
    }
    Ok(found)
}

/// The offsets of a consumerOffset.json, without those that cannot be.
///
/// # Errors
/// A text that is no such file.
pub fn readable_offsets(text: &[u8]) -> Result<Vec<ImportedOffset>, Error> {
    let (offsets, refused) = OffsetsFile::parse(text)?.offsets();
    for key in refused {
        tracing::warn!(
            key,
            "consumerOffset.json names what cannot be a group in a topic; left out"
        );
    }
    Ok(offsets)
}

async fn read(folder: &Path, name: &str) -> Result<Option<String>, ImportError> {
    let path = folder.join(name);
    if !file::exists(&path).await {
        return Ok(None);
    }
    let bytes = match file::read(&path).await {
        Ok(bytes) => bytes,
        Err(source) => return Err(ImportError::Unreadable { path, source }),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let cause = format!("it is no UTF-8 at byte {at}");
            Err(ImportError::Bad { path, cause })
        }
    }
}

fn bad(folder: &Path, name: &str, error: &impl std::fmt::Display) -> ImportError {
    ImportError::Bad {
        path: folder.join(name),
        cause: error.to_string(),
    }
}

/// Takes topics and groups into the tables; gives what makes that last.
fn take_tables(control: &Control, folder: &Path, found: &Found) -> Result<Vec<Meta>, ImportError> {
    let now_ms = runtime::wall_clock_ms();
    let mut changes = Vec::new();
    if let Some(text) = &found.topics {
        let topics = control.topics.borrow_mut().import(text, now_ms);
        let topics = topics.map_err(|error| bad(folder, TOPICS, &error))?;
        changes.extend(topics.into_iter().map(Meta::Topic));
    }
    if let Some(text) = &found.groups {
        let groups = control.subscription_groups.borrow_mut().import(text, now_ms);
        changes.extend(groups.map_err(|error| bad(folder, GROUPS, &error))?);
    }
    Ok(changes)
}

fn count(changes: &[Meta]) -> (usize, usize) {
    let of = |wanted: fn(&Meta) -> bool| changes.iter().filter(|change| wanted(change)).count();
    (
        of(|change| matches!(change, Meta::Topic(_))),
        of(|change| matches!(change, Meta::SubscriptionGroup(_))),
    )
}

async fn store_tables(core: &Core, control: &Control, changes: &[Meta]) -> Result<(), Error> {
    for some in changes.chunks(RECORDS_AT_ONCE) {
        let Some((last, others)) = some.split_last() else {
            continue;
        };
        for change in others {
            control.record(core, change)?;
        }
        control.record_and_wait(core, last).await?;
    }
    Ok(())
}

/// Gives every offset to the home shard of its queue.
///
/// # Errors
/// A log that takes no records.
pub async fn store_offsets(core: &Core, offsets: Vec<ImportedOffset>, kept: Kept) -> Result<(), Error> {
    let mut by_core: Vec<Vec<ImportedOffset>> = (0..core.map.cores()).map(|_core| Vec::new()).collect();
    for offset in offsets {
        let home = core.map.home(&offset.topic, offset.queue_id);
        if let Some(own) = by_core.get_mut(core.map.core_of(home)) {
            own.push(offset);
        }
    }
    for (other, own) in by_core.into_iter().enumerate() {
        for some in own.chunks(OFFSETS_AT_ONCE) {
            let some = some.to_vec();
            let taken = core.ask(other, move |core| async move { take_offsets(&core, &some, kept).await });
            taken.await.ok_or_else(Error::stopping)??;
        }
    }
    Ok(())
}

async fn take_offsets(core: &Core, offsets: &[ImportedOffset], kept: Kept) -> Result<(), Error> {
    for offset in offsets {
        let ImportedOffset {
            topic,
            consumer_group,
            queue_id,
            queue_offset,
        } = offset;
        let home = core.map.home(topic, *queue_id);
        let shard = core.shard(home).ok_or_else(Error::stopping)?;
        let queue = shard.engine.find_queue(topic, queue_id.get());
        let end = queue.map_or(0, |queue| shard.engine.bounds(queue).1.0);
        let queue_offset = (*queue_offset).min(end);
        let mut table = shard.consumer_offsets.borrow_mut();
        let there = table.offset(topic, consumer_group, *queue_id);
        if kept == Kept::Furthest && there.is_some_and(|there| there >= queue_offset) {
            continue;
        }
        table.commit(topic, consumer_group, *queue_id, queue_offset);
    }
    for shard in core.own_shards() {
        shard.save_consumer_offsets().await?;
    }
    Ok(())
}
