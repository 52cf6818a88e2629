//! What a shard's log knows beside messages: written as records, taken back at a start, taken over from a master.

use crate::core::Core;
use crate::meta::Meta;
use crate::settings::Settings;
use crate::shard::CoreShard;
use engine::MetaRecord;
use protocol::model::{QueueId, ShardId};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

/// The metadata of one shard as records; shard 0 has the control tables too.
#[must_use]
pub fn snapshot(core: &Core, shard: &CoreShard) -> Vec<MetaRecord> {
    let mut records: Vec<Meta> = shard
        .consumer_offsets
        .borrow()
        .snapshot()
        .into_iter()
        .map(Meta::ConsumerOffsets)
        .collect();
    records.push(Meta::DelayProgress(shard.delayed.progress()));
    if shard.id == ShardId::ZERO
        && let Some(control) = core.control()
    {
        records.extend(control.snapshot());
    }
    records.iter().map(Meta::to_record).collect()
}

/// Takes back what a shard's metadata says, in its order; for a start.
///
/// # Errors
/// A record that cannot be read, or stands in the wrong shard.
pub fn take_back(core: &Rc<Core>, shard: &CoreShard, records: &[MetaRecord]) -> Result<(), String> {
    for record in records {
        let meta = Meta::decode(record.kind, &record.payload).map_err(|error| error.to_string())?;
        if let Some(table) = take_own(shard, meta) {
            let control = core.control();
            let control = control.ok_or("a control table stands outside of shard 0's core")?;
            control.take_back(table);
        }
    }
    Ok(())
}

/// Takes over what a record of the master's says, which has just come, and tells the other cores.
pub fn take_copied(core: &Rc<Core>, shard: &CoreShard, record: &MetaRecord) {
    let meta = match Meta::decode(record.kind, &record.payload) {
        Ok(meta) => meta,
        Err(error) => {
            tracing::error!(shard = shard.id.get(), %error, "a metadata record of the master cannot be read: is it of a newer version?");
            return;
        }
    };
    if let Some(table) = take_own(shard, meta)
        && let Some(control) = core.control()
    {
        control.spread(core, &table);
        control.take_back(table);
    }
}

/// Takes over where consumers are that went to a slave while this master was away: never further back than they are here. Returns when
/// that lasts.
///
/// # Errors
/// What is no record of consumer offsets, or a log that takes none.
pub async fn merge_offsets(shard: &CoreShard, payload: &[u8]) -> Result<(), String> {
    let meta = Meta::decode(crate::meta::OFFSETS_KIND, payload).map_err(|error| error.to_string())?;
    let Meta::ConsumerOffsets(changes) = meta else {
        return Err("a slave's consumer offsets are a record of another kind".to_owned());
    };
    shard.consumer_offsets.borrow_mut().merge(&changes);
    shard.save_consumer_offsets().await.map_err(|error| error.to_string())
}

/// Where a slave that stops keeps what consumers have told it and its master does not know yet.
fn told_offsets_file(settings: &Settings, shard: ShardId) -> PathBuf {
    let name = format!("offsetsForMaster-{:02}", shard.get());
    settings.config.store_path_root_dir.join("config").join(name)
}

/// Keeps, when a slave stops, what consumers have told it and its master does not know yet.
///
/// # Errors
/// The file system's.
pub async fn keep_told_offsets(settings: &Settings, shard: &CoreShard) -> io::Result<()> {
    let changes = shard.consumer_offsets.borrow().pending_changes();
    if changes.is_empty() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    for change in changes {
        let record = Meta::ConsumerOffsets(change).to_record();
        bytes.extend_from_slice(&u32::try_from(record.payload.len()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&record.payload);
    }
    let path = told_offsets_file(settings, shard.id);
    runtime::file::create_directory(path.parent().unwrap_or(&path)).await?;
    runtime::file::replace(&path, bytes).await
}

/// Takes that back at a start. An offset never lies beyond the end of its queue here, which may have been cut.
pub async fn take_told_offsets(settings: &Settings, shard: &CoreShard) {
    let path = told_offsets_file(settings, shard.id);
    let Ok(bytes) = runtime::file::read(&path).await else {
        return;
    };
    let mut rest = &bytes[..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((payload, after)) = after.split_at_checked(length) else {
            break;
        };
        rest = after;
        let Ok(Meta::ConsumerOffsets(changes)) = Meta::decode(crate::meta::OFFSETS_KIND, payload) else {
            tracing::warn!(path = %path.display(), "a record of consumer offsets cannot be read and is left out");
            continue;
        };
        let end_of = |topic: &str, queue_id: QueueId| {
            let queue = shard.engine.find_queue(topic, queue_id.get());
            queue.map_or(0, |queue| shard.engine.bounds(queue).1.0)
        };
        shard.consumer_offsets.borrow_mut().merge(&changes.clamped(end_of));
    }
    // They count once: later the master may know better.
    if let Err(error) = runtime::file::remove(&path).await {
        tracing::warn!(path = %path.display(), %error, "consumer offsets that were taken back cannot be forgotten");
    }
}

/// Takes what belongs to the shard alone; gives back what belongs to the control tables.
fn take_own(shard: &CoreShard, meta: Meta) -> Option<Meta> {
    match meta {
        Meta::ConsumerOffsets(changes) if shard.engine.follows() => {
            shard.consumer_offsets.borrow_mut().apply_of_master(&changes);
        }
        Meta::ConsumerOffsets(changes) => shard.consumer_offsets.borrow_mut().apply(&changes),
        Meta::ConsumerOffsetsRemoved(removed) => shard.consumer_offsets.borrow_mut().apply_removed(&removed),
        Meta::DelayProgress(levels) => shard.delayed.apply(&levels),
        table => return Some(table),
    }
    None
}
