//! Clients as the group tables know them: who they are, and by which connection they can be reached.

use protocol::body::group::Connection;
use protocol::language::Language;
use protocol::version::Version;
use remoting::ConnectionId;
use runtime::Instant;
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
