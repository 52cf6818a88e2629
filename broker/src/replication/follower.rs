//! A slave's side: one task a shard, which connects, takes batches, and begins again when the connection breaks.

use crate::core::Core;
use crate::replication::leader::{ALIVE_INTERVAL, SILENCE_MAX};
use crate::replication::wire::{Hello, Part, Progress, Receiver, Sender, Verdict};
use crate::shard::CoreShard;
use bytes::Bytes;
use engine::{AppendError, CopyError, MetaRecord};
use runtime::sync::{Either, race};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Pause before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause while the disk has no room for what came.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// Copies a shard of the master's, for ever.
pub async fn follow(core: Rc<Core>, shard: Rc<CoreShard>, store_id: u64) {
    let mut said = String::new();
    while !shard.engine.is_stopping() {
        let ended = match core.master_ha_address() {
            None => Err(io::Error::other(
                "no name server knows a master of this brokerName, and haMasterAddress is not set",
            )),
            Some(address) => copy(&core, &shard, store_id, &address).await,
        };
        if let Err(error) = ended {
            let text = error.to_string();
            // Told once, not every second.
            if text != said {
                tracing::warn!(
                    shard = shard.id.get(),
                    error = text,
                    "not copying the master; trying again"
                );
                said = text;
            }
        } else {
            said.clear();
        }
        runtime::sleep(PAUSE).await;
    }
}

async fn copy(core: &Rc<Core>, shard: &Rc<CoreShard>, store_id: u64, address: &str) -> io::Result<()> {
    let mut line = super::join::connect(address).await?;
    let end = shard.engine.log_end();
    let hello = Hello {
        describe: false,
        shard: shard.id.get(),
        store_id,
        end,
        broker_id: u32::try_from(core.settings().config.broker_id).unwrap_or(u32::MAX),
    };
    let answer = super::join::greet(&mut line, &hello).await?;
    if answer.verdict == Verdict::Refused {
        return Err(io::Error::other(format!(
            "the master at {address} refuses: {}",
            answer.remark
        )));
    }
    if answer.begin != end {
        shard.engine.begin_at(answer.begin).map_err(io::Error::other)?;
    }
    tracing::info!(
        shard = shard.id.get(),
        master = address,
        position = answer.begin.position,
        "copying the master"
    );
    let (mut receiver, sender) = line.split();
    match race(take_all(core, shard, &mut receiver), tell(shard, sender)).await {
        Either::First(ended) | Either::Second(ended) => ended,
    }
}

async fn take_all(core: &Rc<Core>, shard: &Rc<CoreShard>, receiver: &mut Receiver<'_>) -> io::Result<()> {
    loop {
        let part = runtime::timeout(SILENCE_MAX, receiver.part()).await;
        let (part, _confirmed) = part.map_err(|_silent| io::Error::from(io::ErrorKind::TimedOut))??;
        match part {
            Part::Alive => {}
            Part::Batches(batches) => take(shard, batches).await.map_err(io::Error::other)?,
            Part::Metadata { kind, payload } => {
                let record = MetaRecord {
                    kind,
                    payload: payload.to_vec(),
                };
                crate::shard_metadata::take_copied(core, shard, &record);
            }
        }
    }
}

/// Gives batches to the shard, as soon as it has room.
async fn take(shard: &CoreShard, mut batches: Bytes) -> Result<(), CopyError> {
    loop {
        match shard.engine.append_copied(&mut batches) {
            Err(CopyError::Refused(AppendError::Busy { .. } | AppendError::DiskFull { .. })) => {
                runtime::sleep(BUSY_PAUSE).await;
            }
            taken => return taken,
        }
    }
}

/// Says how far the shard is, as often as that changes, and that it is alive.
async fn tell(shard: &CoreShard, sender: Sender<'_>) -> io::Result<()> {
    loop {
        let progress = Progress {
            committed: shard.engine.committed_position(),
            synced: shard.engine.synced_position(),
        };
        sender.progress(progress).await?;
        if shard.engine.is_stopping() {
            return Ok(());
        }
        // Either way there is something to say then.
        let _grown = runtime::timeout(ALIVE_INTERVAL, shard.engine.grown_beyond(progress.committed)).await;
    }
}
