//! Answers that wait for slaves: the sends of a group commit are stored here, and must be on so many slaves before they are answered
//! SEND_OK (SYNC_MASTER with inSyncReplicas).
//!
//! They wait as they came, one entry a group commit, in the order of the log. When a slave says how far it is, those that it completes are
//! answered together; when slaveTimeout is over, the rest is answered FLUSH_SLAVE_TIMEOUT: stored here, and nobody knows yet where else.

use crate::replies::WaitingBatch;
use runtime::Instant;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

/// The rule of SYNC_MASTER, as Apache's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlaveRule {
    /// Copies that are to be there, this broker's included.
    pub copies: usize,
    /// slaveTimeout.
    pub timeout: Duration,
    /// With enableSlaveActingMaster: sends are refused while fewer slaves keep up than are needed.
    pub refuses: bool,
    /// With enableAutoInSyncReplicas: fewer copies will do while slaves are behind, but not fewer than this.
    pub copies_min: Option<usize>,
    /// haMaxGapNotInSync: a slave that is so many bytes behind does not keep up.
    pub gap: u64,
}

impl SlaveRule {
    /// How many slaves a send waits for while so many keep up; `None` if it is to be refused.
    #[must_use]
    pub fn slaves(&self, in_sync: usize) -> Option<usize> {
        if !self.refuses {
            return Some(self.copies.saturating_sub(1));
        }
        let there = in_sync + 1;
        let copies = self
            .copies_min
            .map_or(self.copies, |min| self.copies.min(there).max(min));
        (copies <= there).then(|| copies.saturating_sub(1))
    }
}

/// The sends of a group commit that wait for slaves.
#[derive(Debug)]
pub struct SlaveWait {
    /// Slaves must have the log up to here.
    pub end: u64,
    /// So many of them.
    pub slaves: usize,
    /// Until then.
    pub deadline: Instant,
    /// The sends.
    pub batch: WaitingBatch,
}

/// All sends of a shard that wait for slaves, oldest first.
#[derive(Debug, Default)]
pub struct SlaveWaits(RefCell<VecDeque<SlaveWait>>);

impl SlaveWaits {
    /// One more, behind the others.
    pub fn push(&self, wait: SlaveWait) {
        self.0.borrow_mut().push_back(wait);
    }

    /// Takes out the oldest if that is so of it.
    pub fn take_if(&self, ready: impl FnOnce(&SlaveWait) -> bool) -> Option<WaitingBatch> {
        let mut waits = self.0.borrow_mut();
        waits.front().filter(|oldest| ready(oldest))?;
        waits.pop_front().map(|oldest| oldest.batch)
    }

    /// When the oldest one's time is up.
    #[must_use]
    pub fn first_deadline(&self) -> Option<Instant> {
        self.0.borrow().front().map(|oldest| oldest.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_apaches() {
        let plain = SlaveRule {
            copies: 3,
            timeout: Duration::from_secs(3),
            refuses: false,
            copies_min: None,
            gap: 1,
        };
        assert_eq!(plain.slaves(0), Some(2), "it waits, and its time runs out");
        let refusing = SlaveRule { refuses: true, ..plain };
        assert_eq!(refusing.slaves(1), None);
        assert_eq!(refusing.slaves(2), Some(2));
        let fewer = SlaveRule {
            copies_min: Some(2),
            ..refusing
        };
        assert_eq!(
            (fewer.slaves(2), fewer.slaves(1), fewer.slaves(0)),
            (Some(2), Some(1), None)
        );
        let alone = SlaveRule {
            copies_min: Some(1),
            ..refusing
        };
        assert_eq!(alone.slaves(0), Some(0), "nobody is waited for");
    }
}
