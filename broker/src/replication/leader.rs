//! A master's side: slaves are let in on any core, and served on the core of the shard that they copy.

use crate::core::Core;
use crate::replication::wire::{Answer, Hello, Line, Part, Progress, Verdict};
use crate::shard::CoreShard;
use bytes::Bytes;
use engine::{LogPosition, MetaRecord, StoreIdentity};
use protocol::model::ShardId;
use runtime::sync::race;
use runtime::{Detached, TcpListener};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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

/// A slave that copies a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its brokerId.
    pub broker_id: u32,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// What has been sent to it.
    pub sent: u64,
    /// How far it says that it is.
    pub progress: Progress,
}

/// The slaves of one shard.
#[derive(Debug, Default)]
pub struct Followers {
    next: Cell<u64>,
    all: RefCell<BTreeMap<u64, Follower>>,
}

impl Followers {
    /// All of them, as they are now.
    #[must_use]
    pub fn list(&self) -> Vec<Follower> {
        self.all.borrow().values().copied().collect()
    }

    fn add(&self, follower: Follower) -> u64 {
        let name = self.next.replace(self.next.get() + 1);
        self.all.borrow_mut().insert(name, follower);
        name
    }

    fn update(&self, name: u64, change: impl FnOnce(&mut Follower)) {
        if let Some(follower) = self.all.borrow_mut().get_mut(&name) {
            change(follower);
        }
    }

    fn remove(&self, name: u64) {
        self.all.borrow_mut().remove(&name);
    }
}

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
    let refusal = if hello.describe {
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
    let (verdict, begin, remark) = match begin(&shard, hello.end).await {
        Ok(begin) => (Verdict::Welcome, begin, String::new()),
        Err(remark) => (Verdict::Refused, LogPosition::default(), remark),
    };
    let answer = Answer {
        verdict,
        store,
        begin,
        remark,
    };
    line.answer(&answer).await?;
    if verdict == Verdict::Refused {
        tracing::warn!(shard = hello.shard, broker_id = hello.broker_id, %peer, remark = answer.remark, "a slave is refused");
        return Ok(());
    }
    tracing::info!(shard = hello.shard, broker_id = hello.broker_id, %peer, position = begin.position, "a slave copies this shard");
    // What older segments said of topics, groups and offsets is in no batch that follows.
    let metadata = if begin == hello.end {
        Vec::new()
    } else {
        crate::shard_metadata::snapshot(core, &shard)
    };
    let name = shard.followers.add(Follower {
        broker_id: hello.broker_id,
        peer,
        sent: begin.position,
        progress: Progress::default(),
    });
    let ended = stream(&shard, &mut line, begin.position, metadata, name).await;
    shard.followers.remove(name);
    ended
}

/// From where batches follow, for a slave whose log ends at `end`; or why it cannot follow.
async fn begin(shard: &CoreShard, end: LogPosition) -> Result<LogPosition, String> {
    let (min, confirmed) = shard.engine.physical_bounds();
    let (min, confirmed) = (min.position(), confirmed.position());
    let chain = |position| shard.engine.chain_at(position);
    let unreadable = |error: engine::ReadError| format!("this master cannot read its log there: {error}");
    if end == LogPosition::default() {
        // A new slave begins where the log does.
        let chain = chain(min).await.map_err(unreadable)?;
        let chain = chain.ok_or_else(|| format!("this master's log cannot be read at its begin, {min}"))?;
        // The very first batch follows nothing.
        return Ok(LogPosition {
            position: min,
            chain: if min == 0 { 0 } else { chain },
        });
    }
    if end.position < min {
        return Err(format!(
            "this slave's log ends at {}, and the master's begins at {min} by now: what is between is deleted; fix: stop the slave, move its \
             store away and start it again, so that it copies what there is",
            end.position
        ));
    }
    if end.position > confirmed {
        return Err(format!(
            "this slave's log reaches {}, and the master's only {confirmed}: the slave has what the master has lost; fix: look which of \
             the two is to be kept, and move the other one's store away",
            end.position
        ));
    }
    match chain(end.position).await.map_err(unreadable)? {
        Some(chain) if chain == end.chain => Ok(end),
        _ => Err(format!(
            "this slave's log and the master's differ before position {}: they have gone separate ways; fix: look which of the two is to be \
             kept, and move the other one's store away",
            end.position
        )),
    }
}

async fn stream(
    shard: &CoreShard,
    line: &mut Line,
    begin: u64,
    metadata: Vec<MetaRecord>,
    name: u64,
) -> io::Result<()> {
    let (mut receiver, sender) = line.split();
    let send = async {
        for record in metadata {
            let part = Part::Metadata {
                kind: record.kind,
                payload: Bytes::from(record.payload),
            };
            sender.part(&part, begin).await?;
        }
        let mut position = begin;
        loop {
            let batches = shard
                .engine
                .batches_from(position, PART_BYTES)
                .await
                .map_err(io::Error::other)?;
            let confirmed = shard.engine.committed_position();
            for (part, next) in batches {
                sender.part(&Part::Batches(part), confirmed).await?;
                position = next;
                shard.followers.update(name, |follower| follower.sent = position);
            }
            if position < shard.engine.committed_position() {
                continue;
            }
            if shard.engine.is_stopping() {
                return Ok(());
            }
            if runtime::timeout(ALIVE_INTERVAL, shard.engine.grown_beyond(position))
                .await
                .is_err()
            {
                sender.part(&Part::Alive, shard.engine.committed_position()).await?;
            }
        }
    };
    let hear = async {
        loop {
            let progress = runtime::timeout(SILENCE_MAX, receiver.progress()).await;
            let progress = progress.map_err(|_silent| io::Error::from(io::ErrorKind::TimedOut))??;
            if progress.committed > shard.engine.committed_position() {
                // Whoever has more than there is copies something else.
                return Err(io::Error::other("a slave says that it has more than there is"));
            }
            shard.followers.update(name, |follower| follower.progress = progress);
        }
    };
    match race(send, hear).await {
        runtime::sync::Either::First(ended) | runtime::sync::Either::Second(ended) => ended,
    }
}
