//! How a slave's log and its master's come to be the same again, when they have gone separate ways.
//!
//! A master that lost power may come back without the end of its log that its disk did not have, which its slave has. The slave then
//! looks for the last place where both logs are the same, by comparing the chains of seals, and cuts its own end there: but only if no
//! seal in that end says that the master had already made durable what would go. Otherwise the master has lost more than a power cut
//! takes (another disk, an old copy), and people have to say which of the two logs is to be kept.
//!
//! The cut is made while the shard is closed: at a start, before anything of it is used. A slave that finds out while it runs starts again.

use crate::replication::join;
use crate::replication::wire::{Hello, Purpose, Verdict};
use engine::{LogPosition, Shard};
use std::io;

/// Who compares with whom.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The master's HA port.
    pub master: &'a str,
    /// Of both stores.
    pub store_id: u64,
    /// The slave's.
    pub broker_id: u32,
}

impl Comparison<'_> {
    /// Whether the master's log is the same before this place.
    async fn same_at(&self, shard: &Shard, place: LogPosition) -> io::Result<bool> {
        let mut line = join::connect(self.master).await?;
        let hello = Hello {
            purpose: Purpose::Compare,
            shard: shard.id().get(),
            store_id: self.store_id,
            end: place,
            broker_id: self.broker_id,
            ha_port: 0,
        };
        let answer = join::greet(&mut line, &hello).await?;
        match answer.verdict {
            Verdict::Welcome => Ok(true),
            Verdict::Diverged => Ok(false),
            Verdict::Refused => Err(io::Error::other(answer.remark)),
        }
    }

    /// The last of these places, which are in order, where both logs are the same.
    async fn last_same(&self, shard: &Shard, places: &[LogPosition]) -> io::Result<Option<LogPosition>> {
        // All below `low` are the same; from `high` on none is.
        let (mut low, mut high) = (0, places.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(place) = places.get(middle) else { break };
            if self.same_at(shard, *place).await? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1).and_then(|last| places.get(last).copied()))
    }

    /// Where this log must be cut to go on as the master's does; `None` if it need not be.
    ///
    /// # Errors
    /// A master that cannot be asked; or why it must not be cut.
    pub async fn where_to_cut(&self, shard: &Shard) -> io::Result<Option<LogPosition>> {
        let end = LogPosition {
            position: shard.committed_position(),
            chain: shard.log_end().chain,
        };
        if end == LogPosition::default() || self.same_at(shard, end).await? {
            return Ok(None);
        }
        let mut coarse = Vec::new();
        for place in shard.places_to_compare() {
            if let Some(chain) = shard.chain_at(place).await.map_err(io::Error::other)? {
                coarse.push(LogPosition { position: place, chain });
            }
        }
        let Some(near) = self.last_same(shard, &coarse).await? else {
            return Err(io::Error::other(
                "the two logs have nothing in common; fix: look which of the two is to be kept, and move the other one's store away",
            ));
        };
        let next = coarse.iter().find(|place| place.position > near.position);
        let next = next.map_or(end.position, |place| place.position);
        let fine = shard
            .batch_begins(near.position, next)
            .await
            .map_err(io::Error::other)?;
        let at = self.last_same(shard, &fine).await?.unwrap_or(near);
        let synced = shard.called_synced_from(at.position).await.map_err(io::Error::other)?;
        if synced > at.position {
            return Err(io::Error::other(format!(
                "the two logs differ from {} on, and the part of this one that the master lacks was durable there once, up to {synced}: the \
                 master has lost more than a power cut takes; fix: look which of the two logs is to be kept, and move the other one's store away",
                at.position
            )));
        }
        Ok(Some(at))
    }
}
