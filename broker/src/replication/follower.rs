//! A slave's side: one task a shard, which connects, takes batches, and begins again when the connection breaks.

use crate::broker::Broker;
use crate::core::Core;
use crate::meta::{Meta, OffsetChanges};
use crate::replication::agree::Comparison;
use crate::replication::followers::Speed;
use crate::replication::leader::{ALIVE_INTERVAL, SILENCE_MAX};
use crate::replication::wire::{Hello, Part, Progress, Purpose, Receiver, Sender, Verdict, Word};
use crate::shard::CoreShard;
use bytes::Bytes;
use engine::{AppendError, CopyError, MetaRecord};
use runtime::Instant;
use runtime::sync::{Either, Notify, race};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause while the disk has no room for what came.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Consumer offsets that change within this time are told together.
const OFFSETS_GATHER: Duration = Duration::from_millis(50);

/// How the copying of a shard goes.
#[derive(Debug, Default)]
pub struct Copying {
    /// There is a connection to the master.
    pub connected: Cell<bool>,
    /// What the master has, as it last said.
    pub master_end: Cell<u64>,
    /// When it last said anything, milliseconds since 1970.
    pub last_read_ms: Cell<i64>,
    /// When it was last told how far this shard is.
    pub last_write_ms: Cell<i64>,
    /// What comes.
    pub speed: RefCell<Speed>,
}

/// Copies a shard of the master's, for ever.
pub async fn follow(core: Rc<Core>, shard: Rc<CoreShard>, store_id: u64, broker: Arc<Broker>) {
    let mut said = String::new();
    while !shard.engine.is_stopping() {
        let ended = match core.master_ha_address() {
            None => Err(io::Error::other(
                "no name server knows a master of this brokerName, and haMasterAddress is not set",
            )),
            Some(address) => copy(&core, &shard, store_id, &address, &broker).await,
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

async fn copy(core: &Rc<Core>, shard: &Rc<CoreShard>, store_id: u64, address: &str, broker: &Broker) -> io::Result<()> {
    let mut line = super::join::connect(address).await?;
    let end = shard.engine.log_end();
    let broker_id = u32::try_from(core.settings().config.broker_id).unwrap_or(u32::MAX);
    let metadata_wanted = shard.engine.metadata_wanted().await;
    let hello = Hello {
        purpose: if metadata_wanted {
            Purpose::CopyWithMetadata
        } else {
            Purpose::Copy
        },
        shard: shard.id.get(),
        store_id,
        end,
        broker_id,
        ha_port: core.settings().config.ha_listen_port,
    };
    let answer = super::join::greet(&mut line, &hello).await?;
    match answer.verdict {
        Verdict::Welcome => {}
        Verdict::Refused => {
            return Err(io::Error::other(format!(
                "the master at {address} refuses: {}",
                answer.remark
            )));
        }
        Verdict::Diverged => {
            drop(line);
            let comparison = Comparison {
                master: address,
                store_id,
                broker_id,
            };
            if let Some(at) = comparison.where_to_cut(&shard.engine).await? {
                tracing::warn!(
                    shard = shard.id.get(),
                    remark = answer.remark,
                    position = at.position,
                    "the end of this slave's log is to be cut: the broker starts again for that"
                );
                broker.start_again();
            }
            return Ok(());
        }
    }
    if answer.begin != end {
        shard.engine.want_metadata().await.map_err(io::Error::other)?;
        shard.engine.begin_at(answer.begin).map_err(io::Error::other)?;
    }
    let metadata_comes = metadata_wanted || answer.begin != end;
    tracing::info!(
        shard = shard.id.get(),
        master = address,
        position = answer.begin.position,
        "copying the master"
    );
    let (mut receiver, sender) = line.split();
    shard.copying.connected.set(true);
    let offsets = OffsetsSent::default();
    let ended = race(
        take_all(core, shard, &mut receiver, &offsets),
        race(tell(shard, sender, &offsets), keep_metadata(shard, metadata_comes)),
    )
    .await;
    shard.copying.connected.set(false);
    match ended {
        Either::First(ended) | Either::Second(Either::First(ended) | Either::Second(ended)) => ended,
    }
}

/// Keeps the metadata that comes before the first batch, once that is committed: the broker has it then.
async fn keep_metadata(shard: &CoreShard, comes: bool) -> io::Result<()> {
    if comes {
        shard.engine.grown_beyond(shard.engine.committed_position()).await;
        shard.engine.metadata_came().await.map_err(io::Error::other)?;
    }
    std::future::pending().await
}

async fn take_all(
    core: &Rc<Core>,
    shard: &Rc<CoreShard>,
    receiver: &mut Receiver<'_>,
    offsets: &OffsetsSent,
) -> io::Result<()> {
    loop {
        let part = runtime::timeout(SILENCE_MAX, receiver.part()).await;
        let (part, confirmed) = part.map_err(|_silent| io::Error::from(io::ErrorKind::TimedOut))??;
        let copying = &shard.copying;
        copying.master_end.set(confirmed);
        copying.last_read_ms.set(runtime::wall_clock_ms());
        match part {
            Part::Alive => {}
            Part::Hole(to) => {
                tracing::error!(
                    shard = shard.id.get(),
                    from = shard.engine.log_end().position,
                    to = to.position,
                    "the master has lost a part of its log, which is not copied"
                );
                shard.engine.skip_to(to).await.map_err(io::Error::other)?;
            }
            Part::OffsetsTaken(number) => offsets.taken(shard, number),
            Part::Batches(batches) => {
                copying.speed.borrow_mut().add(batches.len() as u64, Instant::now());
                take(shard, batches).await.map_err(io::Error::other)?;
            }
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
pub(super) async fn take(shard: &CoreShard, mut batches: Bytes) -> Result<(), CopyError> {
    loop {
        match shard.engine.append_copied(&mut batches) {
            Err(CopyError::Refused(AppendError::Busy { .. } | AppendError::DiskFull { .. })) => {
                runtime::sleep(BUSY_PAUSE).await;
            }
            taken => return taken,
        }
    }
}

/// Says how far the shard is, as often as that changes, and that it is alive; and where consumers are that have come here, until the
/// master has that in its log.
async fn tell(shard: &CoreShard, sender: Sender<'_>, offsets: &OffsetsSent) -> io::Result<()> {
    let mut told: Option<(Progress, Instant)> = None;
    let mut offsets_next = Instant::now();
    loop {
        let progress = Progress {
            committed: shard.engine.committed_position(),
            synced: shard.engine.synced_position(),
        };
        if told.is_none_or(|(told, at)| told != progress || at.elapsed() >= ALIVE_INTERVAL) {
            sender.word(&Word::Progress(progress)).await?;
            shard.copying.last_write_ms.set(runtime::wall_clock_ms());
            told = Some((progress, Instant::now()));
        }
        if shard.engine.is_stopping() {
            return Ok(());
        }
        let may_tell_offsets = offsets.all_taken() && Instant::now() >= offsets_next;
        if may_tell_offsets {
            offsets_next = Instant::now() + OFFSETS_GATHER;
            for word in offsets.next(shard) {
                sender.word(&word).await?;
            }
        }
        let more = shard.engine.grown_beyond(progress.committed);
        let limit = if shard.consumer_offsets.borrow().has_pending() && offsets.all_taken() {
            OFFSETS_GATHER
        } else {
            ALIVE_INTERVAL
        };
        let news = race(
            more,
            race(shard.offsets_changed.notified(), offsets.taken_news.notified()),
        );
        // Either way there may be something to say then.
        let _news = runtime::timeout(limit, news).await;
    }
}

/// Consumer offsets on their way to the master.
#[derive(Debug, Default)]
struct OffsetsSent {
    number: Cell<u64>,
    waiting: RefCell<VecDeque<(u64, OffsetChanges)>>,
    taken_news: Notify,
}

impl OffsetsSent {
    fn all_taken(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// What is to be told.
    fn next(&self, shard: &CoreShard) -> Vec<Word> {
        let changes = shard.consumer_offsets.borrow().pending_changes();
        let mut words = Vec::with_capacity(changes.len());
        for change in changes {
            let number = self.number.get() + 1;
            self.number.set(number);
            let record = Meta::ConsumerOffsets(change.clone()).to_record();
            words.push(Word::Offsets {
                number,
                payload: record.payload.into(),
            });
            self.waiting.borrow_mut().push_back((number, change));
        }
        words
    }

    /// The master has those up to this number.
    fn taken(&self, shard: &CoreShard, number: u64) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some((_number, change)) = waiting.pop_front_if(|(sent, _change)| *sent <= number) {
            shard.consumer_offsets.borrow_mut().confirm(&change);
        }
        self.taken_news.notify_one();
    }
}
