//! What a workload did, event by event, and what must and may be found on the disk after a crash at any point of it.

use crate::messages::Message;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Sent(Message),
    Acknowledged(u32),
    MetadataSent(u32),
    MetadataAcknowledged(u32),
    /// The shard says that its log is durable up to here.
    Durable(u64),
    /// The deletion of a topic was given to the shard after messages up to this number.
    DeletionSent(usize, u32),
    DeletionAcknowledged(usize),
    /// Old segments are being deleted.
    CleanBegins,
    /// The log begins here now.
    CleanEnds(u64),
    /// A process has opened the store: this is there, and the rest is not, for good.
    Opened(Opened),
}

/// What the process of the workload found when it opened the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    pub(crate) messages: BTreeSet<u32>,
    pub(crate) metadata: BTreeSet<u32>,
    pub(crate) min: u64,
    pub(crate) end: u64,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// kill -9: the page cache lives on.
    Killed,
    /// Only what was durable is sure to be there.
    PowerCut,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    acknowledged: bool,
    durable: bool,
}

/// What is known of everything that was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectation {
    pub(crate) messages: BTreeMap<u32, (Message, Standing)>,
    pub(crate) metadata: BTreeMap<u32, Standing>,
    /// By topic: deleted after this message number, and whether that was acknowledged.
    deletions: BTreeMap<usize, Vec<(u32, bool)>>,
    /// Old segments may be gone up to here.
    pub(crate) trimmed_to: u64,
    durable_to: u64,
}

/// What one life of the store began with, and did.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) baseline: Expectation,
    pub(crate) events: Vec<Event>,
    /// An acknowledgement says that the message is durable.
    pub(crate) sync_flush: bool,
}

impl History {
    /// What is expected of a crash after the first `length` events.
    pub(crate) fn expectation(&self, length: usize) -> Expectation {
        let mut expectation = self.baseline.clone();
        for event in self.events.iter().take(length) {
            expectation.apply(event, self.sync_flush);
        }
        let begun = self.events.iter().take(length);
        let cleaning = begun.rev().find_map(|event| match event {
            Event::CleanBegins => Some(true),
            Event::CleanEnds(_) => Some(false),
            _ => None,
        });
        if cleaning == Some(true) {
            // How far it was to go is known only from its end.
            let ends = self.events.iter().skip(length).find_map(|event| match event {
                Event::CleanEnds(min) => Some(*min),
                _ => None,
            });
            expectation.trimmed_to = ends.unwrap_or(u64::MAX);
        }
        expectation
    }
}

impl Expectation {
    fn apply(&mut self, event: &Event, sync_flush: bool) {
        match event {
            Event::Sent(message) => {
                self.messages.insert(message.number, (*message, Standing::default()));
            }
            Event::Acknowledged(number) => {
                if let Some((message, standing)) = self.messages.get_mut(number) {
                    let below = message.position + u64::from(message.size) <= self.durable_to;
                    *standing = Standing {
                        acknowledged: true,
                        durable: sync_flush || below,
                    };
                }
            }
            Event::MetadataSent(number) => {
                self.metadata.insert(*number, Standing::default());
            }
            Event::MetadataAcknowledged(number) => {
                let standing = Standing {
                    acknowledged: true,
                    durable: sync_flush,
                };
                self.metadata.insert(*number, standing);
            }
            Event::Durable(to) => {
                self.durable_to = self.durable_to.max(*to);
                for (message, standing) in self.messages.values_mut() {
                    standing.durable |=
                        standing.acknowledged && message.position + u64::from(message.size) <= self.durable_to;
                }
            }
            Event::DeletionSent(topic, after) => {
                self.deletions.entry(*topic).or_default().push((*after, false));
            }
            Event::DeletionAcknowledged(topic) => {
                for (_, acknowledged) in self.deletions.entry(*topic).or_default() {
                    *acknowledged = true;
                }
            }
            Event::CleanBegins => {}
            Event::CleanEnds(min) => self.trimmed_to = self.trimmed_to.max(*min),
            Event::Opened(found) => self.open(found),
        }
    }

    fn open(&mut self, found: &Opened) {
        let sure = Standing {
            acknowledged: true,
            durable: true,
        };
        self.messages.retain(|number, _| found.messages.contains(number));
        for (_, standing) in self.messages.values_mut() {
            *standing = sure;
        }
        self.metadata = found.metadata.iter().map(|number| (*number, sure)).collect();
        // What a deletion has taken was not found, and what was found is not taken by an old one.
        self.deletions.clear();
        self.trimmed_to = found.min;
        self.durable_to = found.end;
    }

    /// What is expected of the next life after this end.
    pub(crate) fn after(mut self, end: End) -> Expectation {
        let standings = self.messages.values_mut().map(|(_, standing)| standing);
        for standing in standings.chain(self.metadata.values_mut()) {
            standing.acknowledged = standing.is_sure(end);
        }
        self
    }

    /// Whether a message may have gone with its topic, and whether it must have.
    fn deleted(&self, message: &Message) -> (bool, bool) {
        let deletions = self.deletions.get(&message.queue.0).into_iter().flatten();
        let of_it: Vec<bool> = deletions
            .filter(|(after, _)| *after >= message.number)
            .map(|(_, acknowledged)| *acknowledged)
            .collect();
        (!of_it.is_empty(), of_it.contains(&true))
    }

    /// Checks that `found`, of a log that begins at `min`, is what may be there after such an end; returns how many messages had
    /// to be.
    pub(crate) fn check(
        &self,
        end: End,
        min: u64,
        found: &BTreeMap<u32, Message>,
        metadata: &BTreeSet<u32>,
    ) -> Result<u64, String> {
        let mut sure = 0;
        if min > self.trimmed_to {
            return Err(format!(
                "the log begins at {min}, segments were deleted only up to {}",
                self.trimmed_to
            ));
        }
        for message in found.values() {
            match self.messages.get(&message.number) {
                None => return Err(format!("message {} was never sent, or was lost before", message.number)),
                Some((sent, _)) if sent != message => return Err(format!("{sent:?} is {message:?} now")),
                Some(_) if self.deleted(message).1 => {
                    return Err(format!("message {} is of a topic that was deleted", message.number));
                }
                Some(_) => {}
            }
        }
        for (message, standing) in self.messages.values() {
            let may_be_gone = message.position < min || self.deleted(message).0 || !standing.is_sure(end);
            sure += u64::from(!may_be_gone);
            if !may_be_gone && !found.contains_key(&message.number) {
                return Err(format!("{message:?} was acknowledged ({standing:?}) and is lost"));
            }
        }
        for (number, standing) in &self.metadata {
            if standing.is_sure(end) && !metadata.contains(number) {
                return Err(format!("metadata {number} was acknowledged ({standing:?}) and is lost"));
            }
        }
        match metadata.iter().find(|number| !self.metadata.contains_key(number)) {
            Some(number) => Err(format!("metadata {number} was never written, or was lost before")),
            None => Ok(sure),
        }
    }
}

impl Standing {
    fn is_sure(self, end: End) -> bool {
        self.durable || (self.acknowledged && end == End::Killed)
    }
}
