//! What a shard's log knows beside messages: written as records, taken back at a start, taken over from a master.

use crate::core::Core;
use crate::meta::Meta;
use crate::shard::CoreShard;
use engine::MetaRecord;
use protocol::model::ShardId;
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

/// Takes what belongs to the shard alone; gives back what belongs to the control tables.
fn take_own(shard: &CoreShard, meta: Meta) -> Option<Meta> {
    match meta {
        Meta::ConsumerOffsets(changes) => shard.consumer_offsets.borrow_mut().apply(&changes),
        Meta::ConsumerOffsetsRemoved(removed) => shard.consumer_offsets.borrow_mut().apply_removed(&removed),
        Meta::DelayProgress(levels) => shard.delayed.apply(&levels),
        table => return Some(table),
    }
    None
}
