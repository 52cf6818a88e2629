//! A store to be harmed: several segments, queues with pages, runs of keys, metadata, and the true bytes of every message.

use crate::examine::{Contents, examine, machine, open};
use crate::history::Expectation;
use crate::messages::Message;
use crate::scan::{self, Batch};
use crate::workload::{live, options};
use engine::{FlushMode, StoreOptions};
use runtime::sim::{DiskImage, Faults};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lives that fill the store, each ended by a kill.
const LIVES: u32 = 3;
/// Message numbers of one life.
const NUMBERS_OF_LIFE: u32 = 10_000;

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: DiskImage,
    pub(crate) options: StoreOptions,
    pub(crate) contents: Contents,
    /// By number: every message of the log, those of deleted topics too.
    pub(crate) in_log: BTreeMap<u32, Message>,
    /// By number: a message's record, byte for byte.
    pub(crate) records: BTreeMap<u32, Vec<u8>>,
    pub(crate) batches: Vec<Batch>,
}

/// Makes the store of a seed; every second one was closed in good order.
pub(crate) fn make(seed: u64) -> Result<Store, String> {
    // Caches that hold next to nothing: what is read is read from the disk.
    let options = StoreOptions {
        cold_cache_bytes: 1,
        queue_cache_bytes: 1,
        ..options(FlushMode::Sync)
    };
    let mut disk = None;
    for life in 0..LIVES {
        let first = life * NUMBERS_OF_LIFE + 1;
        let salt = seed * u64::from(LIVES) + u64::from(life);
        let lived = live(salt, disk, Expectation::default(), &options, &Faults::none(), first)?;
        disk = lived.points.last().map(|point| point.at.killed());
    }
    let disk = disk.ok_or("a store has at least one life")?;
    let disk = if seed.is_multiple_of(2) {
        close(disk, &options)?
    } else {
        disk
    };
    let examined = examine(disk, &options, false, false)?;
    let disk = if seed.is_multiple_of(2) {
        close(examined.left.killed(), &options)?
    } else {
        examined.left.killed()
    };
    let contents = examined.contents;
    let mut in_log = scan::scan(&disk, contents.min, contents.end)?.of_deleted_topics;
    in_log.extend(contents.messages.values());
    let records = in_log.iter().map(|message| record(&disk, message));
    Ok(Store {
        records: records.collect::<Result<_, String>>()?,
        in_log: in_log.into_iter().map(|message| (message.number, message)).collect(),
        batches: scan::batches(&disk, contents.min, contents.end),
        disk,
        options,
        contents,
    })
}

/// Opens and closes.
fn close(disk: DiskImage, options: &StoreOptions) -> Result<DiskImage, String> {
    let (simulation, node) = machine(disk, 1);
    simulation.start(node, std::future::pending::<()>);
    let options = options.clone();
    let work = async move {
        let (shard, _) = open(&options).await?;
        shard.close().await.map_err(|error| error.to_string())
    };
    let closed = simulation.block_on(node, work, Duration::from_secs(600));
    closed.map_err(|error| error.to_string())??;
    Ok(simulation.crash_point(node).killed())
}

fn record(disk: &DiskImage, message: &Message) -> Result<(u32, Vec<u8>), String> {
    for (base, path) in scan::segments(disk).into_iter().rev() {
        if base <= message.position {
            let from = usize::try_from(message.position - base).map_err(|error| error.to_string())?;
            let bytes = disk.file(&path).unwrap_or_default();
            let record = bytes.get(from..from + message.size as usize);
            return record
                .map(|record| (message.number, record.to_vec()))
                .ok_or_else(|| format!("{message:?} leads out of its segment"));
        }
    }
    Err(format!("{message:?} is in no segment"))
}
