//! The log of an Apache master: taken as it comes, dealt out to the home shards of its queues, acknowledged when all of them have written it.
//!
//! Runs on core 0. Each shard notes in its own log, together with the records, up to where it has the master's ([`engine::Shard::source_position`]).
//! A copy begins at the least of these; records that a shard has already are passed over. There is no other state.

use super::ha::{self, Incoming};
use super::{empty_queues, figures_of};
use crate::core::Core;
use bytes::Bytes;
use engine::{AppendError, BatchId, ImportError};
use protocol::message::commitlog::without_property_crc;
use protocol::message::record::RecordView;
use protocol::message::sys_flag;
use protocol::model::ShardId;
use remoting::{NoRequests, RpcClient};
use runtime::sync::{Either, Notify, race};
use runtime::{Instant, TcpStream};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// Pause before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause while the disk has no room for what came.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// haSendHeartbeatInterval: how often the master hears of this slave when nothing changes.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often a copy that is behind says so.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// What one shard gets of a part of the master's log.
struct Part {
    shard: ShardId,
    /// From where to where, without what the shard has already.
    positions: Range<u64>,
    /// The records, in the order of the log.
    records: Vec<Bytes>,
}

/// Copies the master, for ever.
pub async fn follow(core: Rc<Core>) {
    let rpc = RpcClient::new(core.connections.clone(), Rc::new(NoRequests));
    // The first registration says where the master is.
    for _try in 0..25 {
        if core.master_broker_address().is_some() {
            break;
        }
        runtime::sleep(PAUSE / 10).await;
    }
    let mut said = String::new();
    while !is_stopping(&core) {
        if let Err(problem) = copy(&core, &rpc).await
            && problem != said
        {
            // Told once, not every second.
            tracing::warn!(problem, "not copying the Apache master; trying again");
            said = problem;
        }
        runtime::sleep(PAUSE).await;
    }
}

fn is_stopping(core: &Core) -> bool {
    core.own_shards().any(|shard| shard.engine.is_stopping())
}

async fn copy(core: &Rc<Core>, rpc: &RpcClient) -> Result<(), String> {
    let unknown = "no name server knows the master of this brokerName";
    let address = core.master_ha_address().ok_or(unknown)?;
    let master = core.master_broker_address().ok_or(unknown)?;
    // Before the messages: who sees that the log is here may stop the master, and its tables are here then as well.
    if let Some(control) = core.control() {
        super::tables::take(core, control, rpc, &master).await?;
    }
    let bounds = Bounds::of(rpc, &master).await?;
    let positions = positions(core).await?;
    let begin = begin_at(&positions, bounds)?;
    note_begin(core, &positions, begin).await?;
    let stream = crate::replication::join::open(&address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    tracing::info!(master, begin, end = bounds.max, "copying the Apache master");
    let copying = Copying {
        core: Rc::clone(core),
        has_already: positions
            .iter()
            .map(|(shard, at)| (*shard, at.unwrap_or(0).max(begin)))
            .collect(),
        acknowledged: Rc::new(Acknowledged {
            position: Cell::new(begin),
            changed: Notify::new(),
            grown: Notify::new(),
        }),
        told: RefCell::new(Told::new(bounds.max)),
    };
    let working = race(copying.take(&stream, begin), copying.report(&stream));
    let beside = async {
        if let Err(problem) = empty_queues::go_on(core, rpc, &master, &copying.acknowledged, bounds.max).await {
            tracing::warn!(problem, "queues that are empty here may begin at 0 again");
        }
        std::future::pending::<()>().await;
    };
    match race(working, beside).await {
        Either::First(Either::First(ended)) => ended,
        Either::First(Either::Second(ended)) => {
            ended.map_err(|error| format!("the master's HA port {address}: {error}"))
        }
        Either::Second(()) => Ok(()),
    }
}

/// What the master's log holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    min: u64,
    pub(super) max: u64,
}

impl Bounds {
    pub(super) async fn of(rpc: &RpcClient, master: &str) -> Result<Bounds, String> {
        let figures = figures_of(rpc, master).await?;
        let figure = |key: &str| {
            let text = figures.table.get(key).map_or("", String::as_str);
            // An empty log may say -1.
            let number = text.parse::<i64>().map(|number| u64::try_from(number).unwrap_or(0));
            number.map_err(|_no_number| format!("the master at {master} says {key}={text:?}, which is no offset"))
        };
        Ok(Bounds {
            min: figure("commitLogMinOffset")?,
            max: figure("commitLogMaxOffset")?,
        })
    }
}

/// How far each shard is with the master's log, when all that came is committed.
async fn positions(core: &Core) -> Result<Vec<(ShardId, Option<u64>)>, String> {
    let asked = core.ask_all(|core| async move {
        let mut found = Vec::new();
        for shard in core.own_shards() {
            let end = shard.engine.log_end().position;
            while shard.engine.committed_position() < end {
                if shard.engine.is_stopping() {
                    return None;
                }
                shard.engine.grown_beyond(shard.engine.committed_position()).await;
            }
            found.push((shard.id, shard.engine.source_position()));
        }
        Some(found)
    });
    let found: Option<Vec<_>> = asked.await.into_iter().collect();
    Ok(found
        .ok_or("the store takes nothing more")?
        .into_iter()
        .flatten()
        .collect())
}

/// Where the copy begins.
fn begin_at(positions: &[(ShardId, Option<u64>)], bounds: Bounds) -> Result<u64, String> {
    let furthest = positions.iter().filter_map(|(_shard, at)| *at).max();
    if let Some(furthest) = furthest.filter(|furthest| *furthest > bounds.max) {
        return Err(format!(
            "the master's log ends at {}, before {furthest}, up to where it was copied: it has lost messages, or is another broker. \
             fix: give this broker an empty directory to copy it anew, or start it as the master",
            bounds.max
        ));
    }
    let least = positions.iter().map(|(_shard, at)| at.unwrap_or(0)).min().unwrap_or(0);
    if furthest.is_some() && least < bounds.min {
        tracing::error!(
            from = least,
            to = bounds.min,
            "the master has deleted a part of its log before it was copied: its messages are not here"
        );
    }
    Ok(least.max(bounds.min))
}

/// Shards that have never seen the master's log note where it begins for them, so that a later start knows.
async fn note_begin(core: &Rc<Core>, positions: &[(ShardId, Option<u64>)], begin: u64) -> Result<(), String> {
    let behind = positions.iter().filter(|(_shard, at)| at.is_none_or(|at| at < begin));
    let parts = behind.map(|(shard, at)| Part {
        shard: *shard,
        positions: at.unwrap_or(0)..begin,
        records: Vec::new(),
    });
    let batches = append_everywhere(core, parts.collect()).await?;
    await_commits(core, batches).await
}

/// Up to where all shards have the master's log.
pub(super) struct Acknowledged {
    position: Cell<u64>,
    /// For the one that reports.
    changed: Notify,
    /// For all others.
    grown: Notify,
}

impl Acknowledged {
    /// Waits until all shards have the master's log up to there.
    pub(super) async fn reached(&self, position: u64) {
        loop {
            let grown = self.grown.notified();
            if self.position.get() >= position {
                return;
            }
            grown.await;
        }
    }
}

struct Copying {
    core: Rc<Core>,
    /// What each shard had when the copy began: what lies below is passed over.
    has_already: BTreeMap<ShardId, u64>,
    acknowledged: Rc<Acknowledged>,
    told: RefCell<Told>,
}

impl Copying {
    async fn take(&self, stream: &TcpStream, begin: u64) -> Result<(), String> {
        let mut incoming = Incoming::new(begin);
        let mut from = begin;
        loop {
            incoming.read(stream).await.map_err(|error| error.to_string())?;
            let mut records: BTreeMap<ShardId, Vec<Bytes>> = BTreeMap::new();
            while let Some((position, bytes)) = incoming.log.next_record().map_err(|error| error.to_string())? {
                self.deal_out(position, bytes, &mut records)?;
            }
            let to = incoming.log.position();
            if to == from {
                continue;
            }
            let new = self.has_already.iter().filter(|(_shard, has)| **has < to);
            let parts = new.map(|(shard, has)| Part {
                shard: *shard,
                positions: from.max(*has)..to,
                records: records.remove(shard).unwrap_or_default(),
            });
            let batches = append_everywhere(&self.core, parts.collect()).await?;
            self.acknowledge_when_committed(batches, to);
            self.told.borrow_mut().tell(to);
            from = to;
        }
    }

    /// Gives a record to the home shard of its queue.
    fn deal_out(&self, position: u64, bytes: Bytes, records: &mut BTreeMap<ShardId, Vec<Bytes>>) -> Result<(), String> {
        let unreadable = |error| format!("the record at {position} of the master's log: {error}");
        let view = RecordView::decode(&bytes).map_err(unreadable)?;
        let home = self.core.map.home(view.topic, view.queue_id);
        if position < self.has_already.get(&home).copied().unwrap_or(0) {
            return Ok(());
        }
        if view.sys_flag & (sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP) != 0 {
            tracing::error!(
                topic = view.topic,
                queue_id = view.queue_id.get(),
                position,
                "an inner batch or a message of several queues is not copied: this broker has no such queues"
            );
            return Ok(());
        }
        if let Err(error) = view.check_body() {
            tracing::error!(topic = view.topic, position, %error, "a message is damaged in the master's log, and so in the copy");
        }
        let stripped = without_property_crc(&view).map_err(unreadable)?;
        records.entry(home).or_default().push(stripped.unwrap_or(bytes));
        Ok(())
    }

    fn acknowledge_when_committed(&self, batches: Vec<(ShardId, BatchId)>, to: u64) {
        let (core, acknowledged) = (Rc::clone(&self.core), Rc::clone(&self.acknowledged));
        runtime::spawn(async move {
            match await_commits(&core, batches).await {
                Ok(()) => {
                    // Commits of a shard end in order, but those who wait for them may be woken in any.
                    acknowledged.position.set(acknowledged.position.get().max(to));
                    acknowledged.changed.notify_one();
                    acknowledged.grown.notify_waiters();
                }
                Err(problem) => tracing::error!(problem, "what came from the Apache master was not stored"),
            }
        });
    }

    async fn report(&self, stream: &TcpStream) -> io::Result<()> {
        loop {
            ha::report(stream, self.acknowledged.position.get()).await?;
            let _whichever = runtime::timeout(REPORT_INTERVAL, self.acknowledged.changed.notified()).await;
        }
    }
}

/// Has every shard's core append what is its own.
async fn append_everywhere(core: &Rc<Core>, parts: Vec<Part>) -> Result<Vec<(ShardId, BatchId)>, String> {
    let mut by_core: BTreeMap<usize, Vec<Part>> = BTreeMap::new();
    for part in parts {
        by_core.entry(core.map.core_of(part.shard)).or_default().push(part);
    }
    let mut batches = Vec::new();
    for (other, parts) in by_core {
        let appended = core.ask(other, move |core| async move { append(&core, &parts).await });
        batches.extend(appended.await.ok_or("the broker is stopping")??);
    }
    Ok(batches)
}

async fn append(core: &Core, parts: &[Part]) -> Result<Vec<(ShardId, BatchId)>, String> {
    let mut batches = Vec::new();
    for part in parts {
        let shard = core.shard(part.shard).ok_or("the shard is on another core")?;
        let records: Vec<&[u8]> = part.records.iter().map(|record| &record[..]).collect();
        let done = loop {
            match shard.engine.append_imported(&records, part.positions.clone()) {
                Err(ImportError::Refused(AppendError::Busy { .. } | AppendError::DiskFull { .. })) => {
                    runtime::sleep(BUSY_PAUSE).await;
                }
                other => break other.map_err(|error| error.to_string())?,
            }
        };
        if done.missing > 0 || done.passed > 0 {
            tracing::warn!(
                shard = part.shard.get(),
                missing = done.missing,
                left_out = done.passed,
                "the master's log has holes in its queues, or messages at queue offsets that were taken"
            );
        }
        batches.push((part.shard, done.batch));
    }
    Ok(batches)
}

async fn await_commits(core: &Core, batches: Vec<(ShardId, BatchId)>) -> Result<(), String> {
    let mut by_core: BTreeMap<usize, Vec<(ShardId, BatchId)>> = BTreeMap::new();
    for batch in batches {
        by_core.entry(core.map.core_of(batch.0)).or_default().push(batch);
    }
    for (other, batches) in by_core {
        let committed = core.ask(other, move |core| async move {
            for (id, batch) in batches {
                let shard = core.shard(id).ok_or("the shard is on another core")?;
                shard.engine.committed(batch).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        committed.await.ok_or("the broker is stopping")??;
    }
    Ok(())
}

/// What the log was told of the copy's progress.
struct Told {
    /// Where the master's log ended when the copy began.
    target: u64,
    caught_up: bool,
    last: Instant,
}

impl Told {
    fn new(target: u64) -> Told {
        Told {
            target,
            caught_up: false,
            last: Instant::now(),
        }
    }

    fn tell(&mut self, position: u64) {
        if self.caught_up {
            return;
        }
        if position >= self.target {
            self.caught_up = true;
            tracing::info!(
                position,
                "the Apache master's log is here up to where it ended when the copy began"
            );
        } else if self.last.elapsed() >= TELL_INTERVAL {
            self.last = Instant::now();
            tracing::info!(position, target = self.target, "copying the Apache master");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[Option<u64>], min: u64, max: u64) -> Result<u64, String> {
        let positions: Vec<_> = (0..)
            .map(|id| ShardId::new(id).unwrap())
            .zip(positions.iter().copied())
            .collect();
        begin_at(&positions, Bounds { min, max })
    }

    #[test]
    fn a_copy_begins_with_the_shard_that_is_least_far_and_not_before_the_masters_log() {
        assert_eq!(at(&[None, None], 0, 100), Ok(0));
        assert_eq!(at(&[None, None], 50, 100), Ok(50));
        assert_eq!(at(&[Some(70), Some(60)], 50, 100), Ok(60));
        // A crash came between the first notes of two shards.
        assert_eq!(at(&[Some(50), None], 50, 100), Ok(50));
        // Retention was faster.
        assert_eq!(at(&[Some(70), Some(60)], 65, 100), Ok(65));
    }

    #[test]
    fn a_master_whose_log_is_shorter_than_the_copy_is_refused() {
        assert_eq!(at(&[Some(100), Some(90)], 0, 100), Ok(90));
        let refused = at(&[Some(101), Some(90)], 0, 100).unwrap_err();
        assert!(refused.contains("ends at 100, before 101"), "{refused}");
    }
}
