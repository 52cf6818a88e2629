//! A master that did not end in good order takes the end of its log from its slaves, before it serves anybody.
//!
//! With ASYNC_FLUSH a power cut takes what the disk did not have yet. The slaves have it, and with SYNC_MASTER it was answered SEND_OK. A
//! slave serves its log on its HA port as a master does: one whose log goes on where this one ends gives the rest, and each batch is
//! checked as a slave checks it. One whose log ends earlier or is another one gives nothing.
//!
//! Each slave is asked once. Only where something may be gone that was answered (SYNC_MASTER, ASYNC_FLUSH, a power cut) are they waited for.

use crate::config::{BrokerConfig, BrokerRole, FlushDiskType};
use crate::replication::leader::SILENCE_MAX;
use crate::replication::wire::{Hello, Part, Progress, Purpose, Verdict, Word};
use crate::replication::{follower, join, known_slaves};
use crate::settings::Settings;
use crate::shard::CoreShard;
use engine::Recovered;
use runtime::Instant;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long a slave may take to let this master in.
const HELLO_LIMIT: Duration = Duration::from_secs(2);
/// How long slaves are waited for.
const SLAVES_LIMIT: Duration = Duration::from_secs(10);
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// A shard whose log may lack its end.
#[derive(Debug)]
pub struct EndedBadly {
    shard: Rc<CoreShard>,
    lost_power: bool,
}

impl EndedBadly {
    /// The shard, if it did not end in good order.
    #[must_use]
    pub fn if_so(shard: &Rc<CoreShard>, recovered: &Recovered) -> Option<EndedBadly> {
        (!recovered.clean).then(|| EndedBadly {
            shard: Rc::clone(shard),
            lost_power: !recovered.same_boot,
        })
    }
}

/// Whether slaves may have messages that were answered SEND_OK and that this broker's disk never had.
fn answers_before_its_disk(config: &BrokerConfig) -> bool {
    config.broker_role == BrokerRole::SyncMaster && config.flush_disk_type == FlushDiskType::AsyncFlush
}

/// Takes from the slaves what these shards of a core lack.
pub async fn reclaim(settings: &Settings, store_id: u64, ended_badly: &[EndedBadly]) {
    if ended_badly.is_empty() {
        return;
    }
    let (slaves, path) = known_slaves::of_store(&settings.config.store_path_root_dir).await;
    if slaves.is_empty() {
        return;
    }
    let deadline = Instant::now() + SLAVES_LIMIT;
    for EndedBadly { shard, lost_power } in ended_badly {
        let waits = *lost_power && answers_before_its_disk(&settings.config);
        let until = if waits { deadline } else { Instant::now() };
        shard.engine.follow();
        for (broker_id, address) in &slaves {
            let Err(error) = ask(shard, store_id, *address, until).await else {
                continue;
            };
            let shard = shard.id.get();
            if waits {
                runtime::mark!("served without what a slave may have");
                tracing::error!(
                    shard, broker_id, slave = %address, %error,
                    "this master lost power and goes on without asking this slave, which may have messages that were answered SEND_OK; \
                     if it is gone for good, remove it from {}",
                    path.display()
                );
            } else {
                tracing::info!(shard, broker_id, slave = %address, %error, "not asked for the end of the log");
            }
        }
        if let Err(error) = shard.engine.flush().await {
            tracing::error!(shard = shard.id.get(), %error, "what came from slaves is not durable");
        }
        shard.engine.lead();
    }
}

/// Takes from one slave what it has and this shard lacks; tries again until then.
async fn ask(shard: &CoreShard, store_id: u64, slave: SocketAddr, until: Instant) -> io::Result<()> {
    loop {
        let before = shard.engine.log_end().position;
        let taken = take(shard, store_id, slave).await;
        let bytes = shard.engine.log_end().position - before;
        if bytes > 0 {
            runtime::mark!("end of the log taken back from a slave");
            tracing::warn!(
                shard = shard.id.get(),
                from = before,
                bytes,
                %slave,
                "the end of the log was lost here, and came back from a slave"
            );
        }
        if taken.is_ok() || Instant::now() >= until || shard.engine.is_stopping() {
            return taken;
        }
        runtime::sleep(PAUSE).await;
    }
}

async fn take(shard: &CoreShard, store_id: u64, slave: SocketAddr) -> io::Result<()> {
    let hello = Hello {
        purpose: Purpose::Copy,
        shard: shard.id.get(),
        store_id,
        end: shard.engine.log_end(),
        broker_id: 0,
        ha_port: 0,
    };
    let greet = async {
        let mut line = join::connect(&slave.to_string()).await?;
        let answer = join::greet(&mut line, &hello).await?;
        Ok::<_, io::Error>((line, answer))
    };
    let greeted = runtime::timeout(HELLO_LIMIT, greet).await;
    let (mut line, answer) = greeted.map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))??;
    match answer.verdict {
        Verdict::Welcome if answer.begin == hello.end => {}
        // It does not have the place where this log ends: it is behind, or another log.
        Verdict::Welcome | Verdict::Diverged => return Ok(()),
        Verdict::Refused => return Err(io::Error::other(answer.remark)),
    }
    let (mut receiver, sender) = line.split();
    loop {
        let part = runtime::timeout(SILENCE_MAX, receiver.part()).await;
        let (part, confirmed) = part.map_err(|_silent| io::Error::from(io::ErrorKind::TimedOut))??;
        match part {
            Part::Batches(batches) => follower::take(shard, batches).await.map_err(io::Error::other)?,
            Part::Hole(to) => {
                // What lies behind may be taken by people, when they have seen what is missing.
                return Err(io::Error::other(format!(
                    "the slave's log is damaged before {}, and nothing behind that was taken",
                    to.position
                )));
            }
            Part::Alive | Part::OffsetsTaken(_) | Part::Metadata { .. } => {}
        }
        let end = shard.engine.log_end().position;
        if end >= confirmed {
            return Ok(());
        }
        // Says that this master is alive; nobody at a slave waits for how far it is.
        let progress = Progress {
            committed: hello.end.position,
            synced: hello.end.position,
        };
        sender.word(&Word::Progress(progress)).await?;
    }
}
