//! A master's side: slaves are let in on any core, and served on the core of the shard that they copy. A slave serves its log in the same
//! way, to a master that comes back without the end of its own (`reclaim`).

use crate::core::{CONTROL_CORE, Core};
use crate::replication::followers::Follower;
use crate::replication::wire::{Answer, Hello, Line, Part, Purpose, Verdict, Word};
use crate::shard::CoreShard;
use crate::shard_metadata;
use bytes::Bytes;
use engine::{LogPosition, MetaRecord, ReadError, StoreIdentity};
use protocol::model::ShardId;
use runtime::sync::{Notify, race};
use runtime::{Detached, TcpListener};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long a new connection may take to say what it wants.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of the log that are sent at once, about.
const PART_BYTES: usize = 256 << 10;
/// How often a line without messages is said to be alive. RocketMQ's haSendHeartbeatInterval.
pub(super) const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A line on which nothing has come for so long is dead. RocketMQ's haHousekeepingInterval.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Pause after an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lets slaves in, for ever.
pub async fn serve(core: Rc<Core>, listener: TcpListener, store: StoreIdentity) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (core, line) = (Rc::clone(&core), Line::new(stream));
                runtime::spawn(async move {
                    if let Err(error) = let_in(&core, line, peer, store).await {
                        tracing::warn!(%peer, %error, "a connection to the HA port was closed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection is taken on the HA port");
                runtime::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn let_in(core: &Rc<Core>, mut line: Line, peer: SocketAddr, store: StoreIdentity) -> io::Result<()> {
    let hello = runtime::timeout(HELLO_LIMIT, line.hear_hello()).await;
    let hello = hello.map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))??;
    let refusal = if hello.purpose == Purpose::Describe {
        Some((Verdict::Welcome, String::new()))
    } else if hello.store_id != store.store_id {
        let remark = format!(
            "this master's store is {:016x}, the slave's is {:016x}",
            store.store_id, hello.store_id
        );
        Some((Verdict::Refused, remark))
    } else if hello.shard >= store.shards {
        Some((
            Verdict::Refused,
            format!("there is no shard {} of {}", hello.shard, store.shards),
        ))
    } else {
        None
    };
    if let Some((verdict, remark)) = refusal {
        let answer = Answer {
            verdict,
            store,
            begin: LogPosition::default(),
            remark,
        };
        return line.answer(&answer).await;
    }
    let shard = ShardId::new(hello.shard).unwrap_or(ShardId::ZERO);
    let detached = line.detach()?;
    core.run_on(core.map.core_of(shard), move |home| {
        let home = Rc::clone(home);
        runtime::spawn(async move {
            match serve_shard(&home, detached, &hello, peer, store).await {
                Ok(()) => tracing::info!(shard = hello.shard, %peer, "a slave has left"),
                Err(error) => tracing::warn!(shard = hello.shard, %peer, %error, "the connection to a slave has ended"),
            }
        });
    });
    Ok(())
}

async fn serve_shard(
    core: &Rc<Core>,
    detached: Detached,
    hello: &Hello,
    peer: SocketAddr,
    store: StoreIdentity,
) -> io::Result<()> {
    let mut line = Line::new(detached.attach()?);
    let shard = ShardId::new(hello.shard).and_then(|id| core.shard(id)).cloned();
    let shard = shard.ok_or_else(|| io::Error::other("its shard is not on this core"))?;
    let (verdict, begin, remark) = match begin(&shard, hello).await {
        Ok(begin) => (Verdict::Welcome, begin, String::new()),
        Err((verdict, remark)) => (verdict, LogPosition::default(), remark),
    };
    let answer = Answer {
        verdict,
        store,
        begin,
        remark,
    };
    // A slave that is let in counts from now on.
    if verdict == Verdict::Welcome && hello.purpose != Purpose::Compare {
        note_slave(core, hello, peer).await;
    }
    line.answer(&answer).await?;
    if hello.purpose == Purpose::Compare {
        return Ok(());
    }
    if verdict != Verdict::Welcome {
        tracing::warn!(shard = hello.shard, broker_id = hello.broker_id, %peer, remark = answer.remark, "a slave is refused");
        return Ok(());
    }
    tracing::info!(shard = hello.shard, broker_id = hello.broker_id, %peer, position = begin.position, "a slave copies this shard");
    // What older segments said of topics, groups and offsets is in no batch that follows.
    let metadata = if begin == hello.end && hello.purpose == Purpose::Copy {
        Vec::new()
    } else {
        shard_metadata::snapshot(core, &shard)
    };
    let name = shard
        .followers
        .add(Follower::new(hello.broker_id, peer, begin.position));
    let ended = stream(core, &shard, &mut line, begin.position, metadata, name).await;
    shard.followers.remove(name);
    ended
}

/// Keeps where the slave serves its log, before anything is answered because the slave has it.
async fn note_slave(core: &Rc<Core>, hello: &Hello, peer: SocketAddr) {
    let (broker_id, address) = (hello.broker_id, SocketAddr::new(peer.ip(), hello.ha_port));
    if hello.ha_port == 0 {
        return;
    }
    let noted = core.ask(CONTROL_CORE, move |core| async move {
        let control = core.control().cloned();
        match control {
            Some(control) => control.known_slaves.note(broker_id, address).await,
            None => Ok(()),
        }
    });
    if let Some(Err(error)) = noted.await {
        tracing::warn!(broker_id, %address, %error, "where this slave is could not be kept: after a power cut it is not asked");
    }
}

/// From where batches follow, for a slave whose log ends there; or why it cannot follow.
async fn begin(shard: &CoreShard, hello: &Hello) -> Result<LogPosition, (Verdict, String)> {
    let end = hello.end;
    let refused = |remark: String| (Verdict::Refused, remark);
    let (min, confirmed) = shard.engine.physical_bounds();
    let (min, confirmed) = (min.position(), confirmed.position());
    let chain = |position| shard.engine.chain_at(position);
    let unreadable = |error: engine::ReadError| refused(format!("this master cannot read its log there: {error}"));
    if end == LogPosition::default() && hello.purpose != Purpose::Compare {
        // A new slave begins where the log does.
        let chain = chain(min).await.map_err(unreadable)?;
        let chain = chain.ok_or_else(|| refused(format!("this master's log cannot be read at its begin, {min}")))?;
        // The very first batch follows nothing.
        return Ok(LogPosition {
            position: min,
            chain: if min == 0 { 0 } else { chain },
        });
    }
    if end.position < min {
        return Err(refused(format!(
            "this slave's log ends at {}, and the master's begins at {min} by now: what is between is deleted; fix: stop the slave, move its \
             store away and start it again, so that it copies what there is",
            end.position
        )));
    }
    let diverged = |remark| (Verdict::Diverged, remark);
    if end.position > confirmed {
        return Err(diverged(format!(
            "this slave's log reaches {}, and the master's only {confirmed}: the slave has what the master has lost",
            end.position
        )));
    }
    match chain(end.position).await.map_err(unreadable)? {
        Some(chain) if chain == end.chain => Ok(end),
        _ => Err(diverged(format!(
            "this slave's log and the master's differ before position {}: they have gone separate ways",
            end.position
        ))),
    }
}

/// Consumer offsets of a slave that are in this log now, and which of them it has been told of.
#[derive(Debug, Default)]
struct OffsetsTaken {
    taken: Cell<u64>,
    told: Cell<u64>,
    news: Notify,
}

impl OffsetsTaken {
    fn take(&self, number: u64) {
        self.taken.set(number);
        self.news.notify_one();
    }

    fn untold(&self) -> Option<u64> {
        let taken = self.taken.get();
        (self.told.replace(taken) != taken).then_some(taken)
    }
}

async fn stream(
    core: &Rc<Core>,
    shard: &CoreShard,
    line: &mut Line,
    begin: u64,
    metadata: Vec<MetaRecord>,
    name: u64,
) -> io::Result<()> {
    let (mut receiver, sender) = line.split();
    let offsets = OffsetsTaken::default();
    let send = async {
        // Says at once how far this log is.
        sender.part(&Part::Alive, shard.engine.committed_position()).await?;
        for record in metadata {
            let part = Part::Metadata {
                kind: record.kind,
                payload: Bytes::from(record.payload),
            };
            sender.part(&part, begin).await?;
        }
        let mut position = begin;
        loop {
            let batches = match shard.engine.batches_from(position, PART_BYTES).await {
                Ok(batches) => batches,
                Err(error @ ReadError::Damaged { .. }) => {
                    let behind = shard.engine.behind_damage(position).await;
                    let behind = behind.ok_or_else(|| io::Error::other(error.to_string()))?;
                    tracing::error!(
                        shard = shard.id.get(),
                        from = position,
                        to = behind.position,
                        "a slave does not get what is damaged here"
                    );
                    shard.followers.note_sent(name, behind.position);
                    sender
                        .part(&Part::Hole(behind), shard.engine.committed_position())
                        .await?;
                    position = behind.position;
                    continue;
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            let confirmed = shard.engine.committed_position();
            for (part, next) in batches {
                // Said before it goes: a slave may tell that it has it before this task goes on.
                shard.followers.note_sent(name, next);
                sender.part(&Part::Batches(part), confirmed).await?;
                position = next;
            }
            if position < shard.engine.committed_position() {
                continue;
            }
            if shard.engine.is_stopping() {
                return Ok(());
            }
            if let Some(number) = offsets.untold() {
                sender
                    .part(&Part::OffsetsTaken(number), shard.engine.committed_position())
                    .await?;
                continue;
            }
            let news = race(shard.engine.grown_beyond(position), offsets.news.notified());
            if runtime::timeout(ALIVE_INTERVAL, news).await.is_err() {
                sender.part(&Part::Alive, shard.engine.committed_position()).await?;
            }
        }
    };
    let hear = async {
        loop {
            let word = runtime::timeout(SILENCE_MAX, receiver.word()).await;
            let word = word.map_err(|_silent| io::Error::from(io::ErrorKind::TimedOut))??;
            match word {
                Word::Progress(progress) => {
                    let noted = shard.followers.note_progress(name, progress);
                    noted.map_err(|impossible| io::Error::new(io::ErrorKind::InvalidData, impossible))?;
                    shard.on_slave_progress(core);
                }
                Word::Offsets { number, payload } => {
                    shard_metadata::merge_offsets(shard, &payload)
                        .await
                        .map_err(io::Error::other)?;
                    offsets.take(number);
                }
            }
        }
    };
    match race(send, hear).await {
        runtime::sync::Either::First(ended) | runtime::sync::Either::Second(ended) => ended,
    }
}
