//! Harms one place of a store, at rest or while it is open, and reads everything by every way: nothing wrong may be served, what
//! is damaged must be reported, and what is not must be served.

use crate::crash_states::catch;
use crate::examine::{all_queues, machine, open, request};
use crate::messages::{Content, Message, TOPICS, metadata_number};
use crate::scan::{self, SHARD};
use crate::store::{Store, make};
use engine::{KeyRequest, ReadError, Recovered, Shard, StoreOptions};
use protocol::message::record::Records;
use protocol::model::{PhysicalOffset, ShardId};
use runtime::sim::DiskImage;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Flips of one store.
const FLIPS_OF_STORE: usize = 100;
const SECTOR: usize = 512;
const TIME_MAX: Duration = Duration::from_secs(3_600);

/// One flip: of this seed's store, so many down its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlipId {
    pub(crate) seed: u64,
    pub(crate) number: usize,
}

impl fmt::Display for FlipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seed, self.number)
    }
}

impl std::str::FromStr for FlipId {
    type Err = String;

    fn from_str(text: &str) -> Result<FlipId, String> {
        let wrong = || format!("{text:?} is no flip: one is SEED:NUMBER");
        let (seed, number) = text.split_once(':').ok_or_else(wrong)?;
        Ok(FlipId {
            seed: seed.parse().map_err(|_| wrong())?,
            number: number.parse().map_err(|_| wrong())?,
        })
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Flips {
    pub(crate) seeds: u64,
    /// Flips by what and when.
    pub(crate) kinds: BTreeMap<String, u64>,
    /// Flips by what came of them.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    pub(crate) served: u64,
    pub(crate) refused: u64,
    pub(crate) failures: Vec<String>,
}

impl Flips {
    pub(crate) fn count(&self) -> u64 {
        self.kinds.values().sum()
    }

    pub(crate) fn add(&mut self, other: Flips) {
        self.seeds += other.seeds;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.served += other.served;
        self.refused += other.refused;
        self.failures.extend(other.failures);
    }
}

/// What is done to the disk.
#[derive(Clone, Debug)]
struct Harm {
    kind: &'static str,
    path: PathBuf,
    position: u64,
    bytes: Vec<u8>,
}

impl Harm {
    /// Draws one that changes something.
    fn draw(disk: &DiskImage, random: &mut fastrand::Rng) -> Harm {
        let files: Vec<(PathBuf, u64)> = disk.files().into_iter().filter(|(_, length)| *length > 0).collect();
        loop {
            let (path, _) = &files[random.usize(..files.len())];
            let old = disk.file(path).unwrap_or_default();
            // Most of a segment is space that was never written; it gets its share, but no more.
            let used = old.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
            let reach = if random.u32(..20) == 0 { old.len() } else { used };
            let at = random.usize(..reach);
            let sector = at - at % SECTOR..(at - at % SECTOR + SECTOR).min(old.len());
            let (kind, range, bytes) = match random.u32(..10) {
                0..6 => ("bit", at..at + 1, vec![old[at] ^ (1 << random.u32(..8))]),
                6..8 => ("byte", at..at + 1, vec![random.u8(..)]),
                8 => ("sector zeroed", sector.clone(), vec![0; sector.len()]),
                _ => {
                    let other = random.usize(..old.len().div_ceil(SECTOR)) * SECTOR;
                    let mut bytes = old[other..(other + SECTOR).min(old.len())].to_vec();
                    bytes.resize(sector.len(), 0);
                    ("sector misplaced", sector.clone(), bytes)
                }
            };
            if old[range.clone()] != bytes {
                return Harm {
                    kind,
                    path: path.clone(),
                    position: range.start as u64,
                    bytes,
                };
            }
        }
    }

    fn apply(&self, disk: &mut DiskImage) -> Result<(), String> {
        let done = disk.overwrite(&self.path, self.position, &self.bytes);
        done.map_err(|error| format!("{self}: {error}"))
    }

    /// Positions of the log that it touches.
    fn in_log(&self) -> Option<Range<u64>> {
        let in_log = self.path.parent() == Some(&Path::new(SHARD).join("commitlog"));
        let base: u64 = self.path.file_name()?.to_str()?.parse().ok().filter(|_| in_log)?;
        Some(base + self.position..base + self.position + self.bytes.len() as u64)
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} of {}", self.kind, self.position, self.path.display())
    }
}

/// Makes all flips of one store, or one of them.
pub(crate) fn run_seed(seed: u64, only: Option<usize>) -> Flips {
    let mut flips = Flips {
        seeds: 1,
        ..Flips::default()
    };
    let store = match catch(|| make(seed)) {
        Ok(store) => Rc::new(store),
        Err(reason) => {
            flips.failures.push(format!("store {seed}: {reason}"));
            return flips;
        }
    };
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..FLIPS_OF_STORE {
        let harm = Harm::draw(&store.disk, &mut random);
        let while_open = random.bool();
        if only.is_some_and(|only| only != number) {
            continue;
        }
        let when = if while_open { "while open" } else { "at rest" };
        *flips.kinds.entry(format!("{} {when}", harm.kind)).or_default() += 1;
        match catch(|| try_flip(&store, &harm, while_open)) {
            Ok(outcome) => {
                *flips.outcomes.entry(outcome.name).or_default() += 1;
                flips.served += outcome.served;
                flips.refused += outcome.refused;
            }
            Err(reason) => {
                let id = FlipId { seed, number };
                flips.failures.push(format!("flip {id} ({harm}, {when}): {reason}"));
            }
        }
    }
    flips
}

#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    name: &'static str,
    served: u64,
    refused: u64,
}

/// One flip: harms the store, looks at it, and looks again after the next start.
fn try_flip(store: &Rc<Store>, harm: &Harm, while_open: bool) -> Result<Outcome, String> {
    let mut disk = store.disk.clone();
    if !while_open {
        harm.apply(&mut disk)?;
    }
    let (simulation, node) = machine(disk, 1);
    simulation.start(node, std::future::pending::<()>);
    let options = store.options.clone();
    let opened = simulation.block_on(node, async move { open(&options).await }, TIME_MAX);
    let (shard, recovered) = match opened.map_err(|error| error.to_string())? {
        Ok(opened) => opened,
        // The one file that tells what the store is: without it nothing is taken for granted.
        Err(error) if harm.path.ends_with("store.json") && error.contains("store.json") => {
            return Ok(Outcome {
                name: "the start is refused",
                ..Outcome::default()
            });
        }
        Err(error) => return Err(format!("the store does not open: {error}")),
    };
    if while_open {
        let mut disk = simulation.disk(node);
        // Files that a process replaces or deletes while it runs may be gone.
        if harm.apply(&mut disk).is_ok() {
            simulation.set_disk(node, disk);
        }
    }
    let look = Look {
        store: Rc::clone(store),
        harm: harm.clone(),
    };
    let again = look.clone();
    let looked = simulation.block_on(
        node,
        async move {
            let outcome = look.all(&shard, Some(&recovered).filter(|_| !while_open)).await?;
            shard
                .close()
                .await
                .map_err(|error| format!("it does not close: {error}"))?;
            Ok::<_, String>(outcome)
        },
        TIME_MAX,
    );
    let outcome = looked.map_err(|error| error.to_string())??;
    let disk = simulation.crash_point(node).killed();
    drop(simulation);
    look_again(disk, again, &store.options)?;
    Ok(outcome)
}

/// After the next start everything is as it was, and the indexes are whole.
fn look_again(disk: DiskImage, look: Look, options: &StoreOptions) -> Result<(), String> {
    let (simulation, node) = machine(disk, 2);
    simulation.start(node, std::future::pending::<()>);
    let options = options.clone();
    let work = async move {
        let (shard, recovered) = match open(&options).await {
            Err(error) if look.harm.path.ends_with("store.json") && error.contains("store.json") => return Ok(()),
            opened => opened?,
        };
        look.all(&shard, Some(&recovered)).await.map(drop)
    };
    let looked = simulation
        .block_on(node, work, TIME_MAX)
        .map_err(|error| error.to_string())?;
    looked.map_err(|error| format!("after the next start: {error}"))
}

/// What must be seen of a harmed store.
#[derive(Clone)]
struct Look {
    store: Rc<Store>,
    harm: Harm,
}

impl Look {
    async fn all(&self, shard: &Shard, recovered: Option<&Recovered>) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        self.by_queue(shard, &mut outcome).await?;
        self.by_position(shard).await?;
        let complete = self.by_key(shard).await?;
        let found = shard.scrub().await;
        let damage = shard.damage();
        if self.breaks_a_batch() && damage.is_empty() {
            return Err(format!("nothing is reported; the scrubber found {found} new ranges"));
        }
        if !self.breaks_a_batch() && !damage.is_empty() {
            return Err(format!("damage is reported where there is none: {damage:?}"));
        }
        if let Some(recovered) = recovered {
            self.metadata(recovered)?;
        }
        if !complete {
            // Runs that turned out damaged are made again in the background.
            shard.checkpoint().await.map_err(|error| error.to_string())?;
            runtime::sleep(Duration::from_secs(30)).await;
            if !self.by_key(shard).await? {
                return Err("keys that were lost with a damaged run are not found again".to_owned());
            }
        }
        // Everything once more, now that the damage is known.
        self.by_queue(shard, &mut Outcome::default()).await?;
        outcome.name = match (self.breaks_a_batch(), self.harm.in_log().is_some()) {
            (true, _) => "its batch is reported",
            (false, true) => "it hit no data of the log",
            (false, false) => "nothing is missing",
        };
        Ok(outcome)
    }

    /// Whether the harm is to bytes that a seal covers, or to a seal.
    fn breaks_a_batch(&self) -> bool {
        self.broken_batches().next().is_some()
    }

    fn broken_batches(&self) -> impl Iterator<Item = &scan::Batch> {
        let harmed = self.harm.in_log().unwrap_or(0..0);
        // The last four bytes of a seal mean nothing.
        let touches = move |batch: &&scan::Batch| harmed.start < batch.end - 4 && batch.start < harmed.end;
        self.store.batches.iter().filter(touches)
    }

    /// Whether a message's batch is harmed.
    fn may_be_refused(&self, message: &Message) -> bool {
        self.broken_batches()
            .any(|batch| (batch.start..batch.end).contains(&message.position))
    }

    /// The message that a record is, byte for byte.
    fn recognise(&self, record: &[u8]) -> Result<&Message, String> {
        let found = self.store.records.iter().find(|(_, bytes)| bytes.as_slice() == record);
        let number = found.map(|(number, _)| number).ok_or("WRONG BYTES are served")?;
        Ok(&self.store.in_log[number])
    }

    async fn by_queue(&self, shard: &Shard, outcome: &mut Outcome) -> Result<(), String> {
        for queue in all_queues() {
            let of_queue = self
                .store
                .contents
                .messages
                .values()
                .filter(|message| message.queue == queue);
            let expected: BTreeMap<i64, &Message> = of_queue.map(|message| (message.offset, message)).collect();
            let mut seen: BTreeSet<i64> = BTreeSet::new();
            let mut reported: BTreeSet<i64> = BTreeSet::new();
            let slot = request(shard, queue, 0)?.queue;
            let (min, max) = shard.bounds(slot);
            let mut next = min.0;
            while next < max.0 {
                match shard.read(&request(shard, queue, next)?).await {
                    Ok(result) => {
                        for record in result.records.iter().flat_map(|part| Records::new(part)) {
                            let record = record.map_err(|error| format!("WRONG BYTES are served: {error}"))?;
                            let message = self.recognise(record.bytes)?;
                            if expected.get(&message.offset) != Some(&message) {
                                return Err(format!("{queue:?} at {next} gives {message:?}"));
                            }
                            seen.insert(message.offset);
                        }
                        if result.next.0 <= next {
                            return Err(format!("{queue:?} gets no further than {next}: {:?}", result.status));
                        }
                        next = result.next.0;
                    }
                    Err(ReadError::Lost { queue_offsets, .. }) => {
                        reported.extend(queue_offsets.clone());
                        next = queue_offsets.end.max(next + 1);
                    }
                    Err(_) => {
                        reported.insert(next);
                        next += 1;
                    }
                }
            }
            outcome.served += seen.len() as u64;
            outcome.refused += reported.len() as u64;
            for (offset, message) in &expected {
                let refused = !seen.contains(offset);
                if refused && !self.may_be_refused(message) {
                    return Err(format!("{message:?} is not harmed and not served"));
                }
                // At the ends of a queue nothing of a lost message is left but what is reported of the log.
                let within = (min.0..max.0).contains(offset);
                if refused && within && !reported.contains(offset) {
                    return Err(format!("{message:?} is left out without an error"));
                }
            }
        }
        Ok(())
    }

    async fn by_position(&self, shard: &Shard) -> Result<(), String> {
        for message in self.store.contents.messages.values() {
            let at = PhysicalOffset::new(ShardId::ZERO, message.position);
            match shard.record_at(at).await {
                Ok(Some(record)) if self.recognise(&record)? == message => {}
                Ok(Some(_)) => return Err(format!("another message is at the position of {message:?}")),
                Ok(None) | Err(_) if self.may_be_refused(message) => {}
                other => return Err(format!("{message:?} is not harmed, its position gives {other:?}")),
            }
        }
        Ok(())
    }

    /// Whether every key leads to all that it should.
    async fn by_key(&self, shard: &Shard) -> Result<bool, String> {
        let mut complete = true;
        for message in self.store.contents.messages.values() {
            for key in Content::of(message.number).keys {
                let request = KeyRequest {
                    topic: TOPICS[message.queue.0],
                    key: &key,
                    store_time_ms: (0, i64::MAX),
                    max: 100_000,
                };
                let result = shard.query(&request).await.map_err(|error| error.to_string())?;
                let mut found = false;
                for record in &result.records {
                    let other = self.recognise(record)?;
                    if !Content::of(other.number).keys.contains(&key) {
                        return Err(format!("the key {key} leads to {other:?}"));
                    }
                    found |= other == message;
                }
                complete &= found || self.may_be_refused(message);
            }
        }
        Ok(complete)
    }

    fn metadata(&self, recovered: &Recovered) -> Result<(), String> {
        let mut found = BTreeSet::new();
        for record in &recovered.metadata {
            found.insert(metadata_number(record)?);
        }
        let expected = &self.store.contents.metadata;
        if !found.is_subset(expected) || (!self.breaks_a_batch() && found != *expected) {
            return Err(format!("metadata {found:?} is there, {expected:?} was written"));
        }
        Ok(())
    }
}
