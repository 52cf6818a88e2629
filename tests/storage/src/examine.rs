//! Opens the store of a disk image and looks at everything in it by every way a reader has.

use crate::messages::{Content, Message, QUEUES, QueueName, TOPICS, metadata, metadata_number, recognise};
use crate::scan;
use engine::{
    AppendError, Hooks, KeyRequest, MetaRecord, ReadRequest, Recovered, Shard, ShardStats, StoreOptions, prepare_store,
};
use protocol::message::record::Records;
use protocol::model::{PhysicalOffset, QueueOffset, ShardId};
use runtime::sim::{CrashPoint, DiskImage, Faults, NodeId, Options, Simulation};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Virtual time within which a store must be open and read.
const OPEN_MAX: Duration = Duration::from_secs(600);

/// What is in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) min: u64,
    pub(crate) end: u64,
    pub(crate) messages: BTreeMap<u32, Message>,
    pub(crate) metadata: BTreeSet<u32>,
}

impl Contents {
    /// What another look found otherwise, in short.
    pub(crate) fn difference(&self, other: &Contents) -> String {
        let missing: Vec<u32> = self
            .messages
            .keys()
            .filter(|number| !other.messages.contains_key(number))
            .copied()
            .collect();
        let new: Vec<u32> = other
            .messages
            .keys()
            .filter(|number| !self.messages.contains_key(number))
            .copied()
            .collect();
        format!(
            "min {} and {}, end {} and {}, messages missing {missing:?}, new {new:?}, metadata {} and {}",
            self.min,
            other.min,
            self.end,
            other.end,
            self.metadata.len(),
            other.metadata.len()
        )
    }
}

/// A store that was opened, read and left as by a crash.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) contents: Contents,
    /// The disk as it was left.
    pub(crate) left: CrashPoint,
    /// Moments of the recovery at which it could have been cut short, if they were asked for.
    pub(crate) moments: Vec<CrashPoint>,
}

/// A machine with this disk and no process yet.
pub(crate) fn machine(disk: DiskImage, seed: u64) -> (Simulation, NodeId) {
    let options = Options {
        faults: Faults::none(),
        ..Options::default()
    };
    let simulation = Simulation::new(seed, options);
    let node = simulation.node("broker", std::net::IpAddr::from([10, 0, 0, 1]));
    simulation.set_disk(node, disk);
    (simulation, node)
}

/// Opens the store and checks that all its parts agree; with `appends`, that it goes on where it ended.
pub(crate) fn examine(
    disk: DiskImage,
    options: &StoreOptions,
    observes: bool,
    appends: bool,
) -> Result<Examined, String> {
    let (simulation, node) = machine(disk, 1);
    let moments: Rc<RefCell<Vec<CrashPoint>>> = Rc::default();
    if observes {
        let seen = Rc::clone(&moments);
        simulation.observe_disk(node, move |point| seen.borrow_mut().push(point));
    }
    simulation.start(node, std::future::pending::<()>);
    let buffered = !options
        .write_path
        .is_direct(options.flush, options.crash_buffer_bytes > 0);
    let options = options.clone();
    let look = async move {
        let (shard, recovered) = open(&options).await?;
        let contents = read_everything(&shard, &recovered).await?;
        Ok::<_, String>((shard, recovered, contents))
    };
    let looked = simulation
        .block_on(node, look, OPEN_MAX)
        .map_err(|error| error.to_string())?;
    let (shard, recovered, contents) = looked?;
    let left = simulation.crash_point(node);
    let moments = moments.take();
    if buffered {
        nothing_behind(&simulation.disk(node), contents.end)?;
    }
    let read = simulation.on(node, || compare(&simulation.disk(node), &shard, &recovered, &contents))?;
    let entries = async move {
        for (queue, expected) in read {
            check_entries(&shard, queue, &expected).await?;
        }
        if appends { go_on(&shard).await } else { Ok(()) }
    };
    simulation
        .block_on(node, entries, OPEN_MAX)
        .map_err(|error| error.to_string())??;
    Ok(Examined {
        contents,
        left,
        moments,
    })
}

/// Opens the store's only shard, as a broker that keeps the metadata it is given.
pub(crate) async fn open(options: &StoreOptions) -> Result<(Shard, Recovered), String> {
    let layout = prepare_store(options).await.map_err(|error| error.to_string())?;
    let known: Rc<RefCell<Vec<MetaRecord>>> = Rc::default();
    let snapshot = Rc::clone(&known);
    let hooks = Hooks {
        snapshot: Box::new(move || snapshot.borrow().clone()),
        ..Hooks::default()
    };
    let opened = Shard::open(&layout, ShardId::ZERO, hooks).await;
    let (shard, recovered) = opened.map_err(|error| error.to_string())?;
    known.borrow_mut().extend(recovered.metadata.iter().cloned());
    Ok((shard, recovered))
}

pub(crate) fn request(shard: &Shard, queue: QueueName, from: i64) -> Result<ReadRequest, String> {
    Ok(ReadRequest {
        queue: shard
            .queue(TOPICS[queue.0], queue.1)
            .map_err(|error| error.to_string())?,
        from: QueueOffset(from),
        max_messages: 64,
        max_bytes: None,
        filter: None,
    })
}

pub(crate) fn all_queues() -> impl Iterator<Item = QueueName> {
    (0..TOPICS.len()).flat_map(|topic| (0..QUEUES).map(move |queue| (topic, queue)))
}

async fn read_everything(shard: &Shard, recovered: &Recovered) -> Result<Contents, String> {
    if let Some(damage) = recovered.damage.first() {
        return Err(format!("damage is reported where nothing rots: {damage:?}"));
    }
    let mut contents = Contents {
        min: recovered.min,
        end: recovered.end,
        ..Contents::default()
    };
    for record in &recovered.metadata {
        contents.metadata.insert(metadata_number(record)?);
    }
    for queue in all_queues() {
        let slot = request(shard, queue, 0)?.queue;
        let (min, max) = shard.bounds(slot);
        let mut next = min.0;
        while next < max.0 {
            let result = shard.read(&request(shard, queue, next)?).await;
            let result = result.map_err(|error| format!("queue {queue:?} at {next}: {error}"))?;
            for part in &result.records {
                for record in Records::new(part) {
                    let record = record.map_err(|error| error.to_string())?;
                    let message = recognise(record.bytes)?;
                    if (message.queue, message.offset) != (queue, next) {
                        return Err(format!("queue {queue:?} gives {message:?} at {next}"));
                    }
                    if contents.messages.insert(message.number, message).is_some() {
                        return Err(format!("message {} is there twice", message.number));
                    }
                    next += 1;
                }
            }
            if result.next.0 != next || result.count == 0 {
                return Err(format!("queue {queue:?} gets from {next} to {}", result.next.0));
            }
        }
    }
    for message in contents.messages.values() {
        check_by_position_and_key(shard, message).await?;
    }
    Ok(contents)
}

async fn check_by_position_and_key(shard: &Shard, message: &Message) -> Result<(), String> {
    let at = PhysicalOffset::new(ShardId::ZERO, message.position);
    let record = shard.record_at(at).await.map_err(|error| error.to_string())?;
    let record = record.ok_or_else(|| format!("no record is at the position of {message:?}"))?;
    if recognise(&record)? != *message {
        return Err(format!("another record is at the position of {message:?}"));
    }
    let content = Content::of(message.number);
    for key in &content.keys {
        let found = by_key(shard, message.queue, key).await?;
        if !found.contains(message) {
            return Err(format!("the key {key} does not lead to {message:?}, only to {found:?}"));
        }
    }
    Ok(())
}

/// All messages that a key leads to; each has it.
pub(crate) async fn by_key(shard: &Shard, queue: QueueName, key: &str) -> Result<Vec<Message>, String> {
    let request = KeyRequest {
        topic: TOPICS[queue.0],
        key,
        store_time_ms: (0, i64::MAX),
        max: 100_000,
    };
    let result = shard.query(&request).await.map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for record in &result.records {
        let message = recognise(record)?;
        if message.queue.0 != queue.0 || !Content::of(message.number).keys.iter().any(|own| own == key) {
            return Err(format!("the key {key} of {queue:?} leads to {message:?}"));
        }
        found.push(message);
    }
    Ok(found)
}

/// Compares what was read with a scan of the log; returns the entries that each queue must have.
fn compare(
    disk: &DiskImage,
    shard: &Shard,
    recovered: &Recovered,
    contents: &Contents,
) -> Result<BTreeMap<QueueName, Vec<Message>>, String> {
    check_positions(&shard.stats(), recovered)?;
    let scanned = scan::scan(disk, contents.min, contents.end)?.queues;
    for queue in all_queues() {
        let read = contents.messages.values().filter(|message| message.queue == queue);
        let mut read: Vec<Message> = read.copied().collect();
        read.sort_by_key(|message| message.offset);
        let expected = scanned.get(&queue).cloned().unwrap_or_default();
        if read != expected {
            return Err(format!("queue {queue:?} gives {read:?}, the log holds {expected:?}"));
        }
        for pair in expected.windows(2) {
            if pair[1].offset != pair[0].offset + 1 {
                return Err(format!("queue {queue:?}: {:?} is followed by {:?}", pair[0], pair[1]));
            }
        }
    }
    Ok(scanned)
}

/// A log that is written through the page cache has fresh segments: what an unfinished write has left must be gone.
fn nothing_behind(disk: &DiskImage, end: u64) -> Result<(), String> {
    for (base, path) in scan::segments(disk) {
        let bytes = disk.file(&path).unwrap_or_default();
        let from = usize::try_from(end.saturating_sub(base))
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        if let Some(at) = bytes[from..].iter().position(|byte| *byte != 0) {
            return Err(format!(
                "the log ends at {end}, and bytes are left at {}",
                base + (from + at) as u64
            ));
        }
    }
    Ok(())
}

fn check_positions(stats: &ShardStats, recovered: &Recovered) -> Result<(), String> {
    let order = [stats.min, stats.confirmed, stats.written, stats.end];
    let in_order = order.is_sorted() && stats.flushed <= stats.written;
    let as_recovered = (stats.min, stats.end) == (recovered.min, recovered.end);
    if in_order && as_recovered {
        Ok(())
    } else {
        Err(format!(
            "min, confirmed, written, end, flushed: {stats:?} after {recovered:?}"
        ))
    }
}

async fn check_entries(shard: &Shard, queue: QueueName, expected: &[Message]) -> Result<(), String> {
    let slot = request(shard, queue, 0)?.queue;
    let mut next = shard.bounds(slot).0;
    let mut entries = Vec::new();
    while entries.len() < expected.len() {
        let more = shard
            .entries(slot, next, 1_000)
            .await
            .map_err(|error| error.to_string())?;
        if more.is_empty() {
            break;
        }
        next.0 += i64::try_from(more.len()).unwrap_or(i64::MAX);
        entries.extend(more);
    }
    let agree = entries.len() == expected.len()
        && entries.iter().zip(expected).all(|(entry, message)| {
            (entry.position, entry.record_size) == (message.position, message.size)
                && entry.tag_hash == Content::of(message.number).tag_hash()
        });
    if agree {
        Ok(())
    } else {
        Err(format!(
            "the entries of {queue:?} are {entries:?}, the log holds {expected:?}"
        ))
    }
}

/// Number that no workload uses.
const NEXT_NUMBER: u32 = u32::MAX;

/// The store takes messages, right behind what it has.
async fn go_on(shard: &Shard) -> Result<(), String> {
    let queue = (0, 0);
    let slot = request(shard, queue, 0)?.queue;
    let (expected, end) = (shard.bounds(slot).1, shard.stats().end);
    let content = Content::of(NEXT_NUMBER);
    let keys: Vec<&str> = content.keys.iter().map(String::as_str).collect();
    let appended = loop {
        match shard.append(&content.message(slot, queue, &keys)) {
            Err(AppendError::Busy { .. }) => runtime::sleep(Duration::from_millis(1)).await,
            other => break other.map_err(|error| error.to_string())?,
        }
    };
    let batch = shard.append_metadata(1, &metadata(NEXT_NUMBER).payload);
    batch.map_err(|error| error.to_string())?;
    shard
        .committed(appended.batch)
        .await
        .map_err(|error| error.to_string())?;
    if appended.queue_offset != expected || appended.physical_offset.position() < end {
        return Err(format!("after {expected} at {end} comes {appended:?}"));
    }
    let read = shard.read(&request(shard, queue, expected.0)?).await;
    let read = read.map_err(|error| error.to_string())?;
    match read.records.first().map(|record| recognise(record)) {
        Some(Ok(message)) if message.number == NEXT_NUMBER => Ok(()),
        other => Err(format!("what was appended last reads as {other:?}")),
    }
}
