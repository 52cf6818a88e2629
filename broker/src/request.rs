//! A request on its way through the cores, and the way back of its answer.

use protocol::frame::{Frame, Serialize};
use protocol::model::QueueId;
use protocol::request_code::RequestCode;
use remoting::ConnectionId;
use std::net::SocketAddr;

/// A request as it goes to its home core.
#[derive(Debug)]
pub struct Request {
    /// Where it came from.
    pub origin: Origin,
    /// What was sent.
    pub frame: Frame,
    /// The queue that the core it came by chose for a client that left it to the broker.
    pub chosen_queue: Option<QueueId>,
}

/// The connection a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The core that owns the connection.
    pub core: usize,
    /// Its name in that core.
    pub connection: ConnectionId,
    /// The client's address: becomes the born host of what it sends.
    pub peer: SocketAddr,
    /// It counts against the connection's bound of requests in flight until it is answered. Pulls do not: they may be held.
    pub counted: bool,
}

/// All that is needed to answer a request later.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo {
    /// The connection.
    pub origin: Origin,
    /// The number by which the client knows its request.
    pub opaque: i32,
    /// The form the client wrote its header in; the answer takes the same.
    pub serialize: Serialize,
    /// No answer is wanted.
    pub oneway: bool,
}

impl Request {
    /// How to answer it.
    #[must_use]
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo {
            origin: self.origin,
            opaque: self.frame.opaque(),
            serialize: self.frame.serialize(),
            oneway: self.frame.is_oneway(),
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> RequestCode {
        self.frame.request_code()
    }
}
