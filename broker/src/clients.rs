//! Clients as the group tables know them: who they are, and by which connection they can be reached.

use protocol::body::group::Connection;
use protocol::language::Language;
use protocol::version::Version;
use remoting::ConnectionId;
use runtime::Instant;
use runtime::collections::{HashSet, hash_set};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

/// A client's connection: the core that owns it and its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    /// The core.
    pub core: usize,
    /// The connection's name in that core.
    pub connection: ConnectionId,
}

/// What the tables want of a name of a connection: a [`Channel`], or a number in tests.
pub trait ChannelName: Copy + Eq + Hash + Debug {}

impl<C: Copy + Eq + Hash + Debug> ChannelName for C {}

/// A client at one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<C = Channel> {
    /// How it is reached.
    pub channel: C,
    /// Its id, mostly `ip@pid#nanos`. Two connections may claim the same: a client that has just reconnected.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub address: SocketAddr,
    /// What it is written in.
    pub language: Language,
    /// Its RocketMQ version.
    pub version: Version,
}

impl<C> Client<C> {
    /// As lists of connections show it.
    #[must_use]
    pub fn to_connection(&self) -> Connection {
        Connection {
            client_addr: self.address.to_string(),
            client_id: self.client_id.to_string(),
            language: self.language,
            version: self.version.0,
        }
    }
}

/// A client in a group.
#[derive(Clone, Debug)]
pub(crate) struct Member<C> {
    pub(crate) client: Client<C>,
    pub(crate) last_seen: Instant,
}

/// How many ended connections are remembered: far more than end while one heartbeat waits for the log.
const ENDED_MAX: usize = 4096;

/// Connections that have ended lately. A heartbeat may wait for the log, to make a group or a topic, and its connection may
/// end meanwhile; without this its client would count as a member until it expired, and hold queues that nobody consumes.
#[derive(Debug)]
pub(crate) struct EndedChannels<C> {
    set: HashSet<C>,
    oldest_first: VecDeque<C>,
}

impl<C: ChannelName> Default for EndedChannels<C> {
    fn default() -> Self {
        EndedChannels {
            set: hash_set(),
            oldest_first: VecDeque::new(),
        }
    }
}

impl<C: ChannelName> EndedChannels<C> {
    pub(crate) fn note(&mut self, channel: C) {
        if !self.set.insert(channel) {
            return;
        }
        self.oldest_first.push_back(channel);
        if self.oldest_first.len() > ENDED_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.set.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, channel: C) -> bool {
        self.set.contains(&channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ended_connections_are_remembered_and_no_more() {
        let mut ended = EndedChannels::default();
        for channel in 0..=ENDED_MAX {
            ended.note(channel);
            ended.note(channel);
        }
        assert!(!ended.contains(0) && ended.contains(1) && ended.contains(ENDED_MAX));
        assert_eq!((ended.set.len(), ended.oldest_first.len()), (ENDED_MAX, ENDED_MAX));
    }
}
