//! One connection: frames in, answers out, and the bounds on both.
//!
//! In: one task reads into a buffer, splits it into frames and gives each request to the [`Handler`] at once, so a request
//! costs no task, no future and no allocation. Answers to requests of our own find these by opaque. The buffer follows the
//! sizes of the reads, and an idle connection holds next to nothing.
//! Out: whatever is sent in one turn of the event loop goes into the output queue and is written once, by the core's
//! flusher, when the tasks that were ready in this turn have run.
//!
//! Bounds: requests in flight (the reader stops until answers have gone: the peer feels it through TCP), output queued
//! (a peer that does not read is closed), silence (an idle connection is closed), and for all connections of the core the
//! memory of large frames that are not whole yet ([`reading`]). Whatever breaks the protocol closes this
//! connection with one line in the log, and no other connection notices.

use crate::connections::{Core, Limits};
use crate::output::{Output, Written};
use crate::pending::{Invocation, Pending, RequestError};
use crate::sniff::OtherProtocol;
use bytes::{Bytes, BytesMut};
use protocol::frame::{FLAG_ONEWAY, Frame, FrameError, Serialize};
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use runtime::TcpStream;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

mod reading;

/// What a process does with the requests of its peers. All calls come on the core of the connection.
pub trait Handler {
    /// A connection was made.
    fn on_open(&self, _connection: &Rc<Connection>) {}

    /// A request came. It is answered now or later by [`Connection::reply`], or, if it is oneway
    /// ([`Frame::is_oneway`]), never. It must not block. A frame shares the memory of up to 64 KiB around it: what is kept
    /// for long should be copied out.
    fn on_request(&self, connection: &Rc<Connection>, request: Frame);

    /// The connection has ended; its id finds nothing any more. Comes once for each [`Handler::on_open`].
    fn on_close(&self, _connection: &Rc<Connection>, _reason: &CloseReason) {}
}

/// A connection's name within its core. It is never given twice, so an answer that comes late finds no other connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub(crate) key: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// The same as one number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.key)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, self.generation)
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer closed it.
    #[error("the peer closed it")]
    Peer,
    /// The network broke it.
    #[error("it broke: {0}")]
    Broken(String),
    /// The peer sent something that is no frame.
    #[error("{0}")]
    Malformed(FrameError),
    /// The peer speaks another protocol.
    #[error("{0}")]
    OtherProtocol(OtherProtocol),
    /// Nothing was read or written for this long.
    #[error("nothing was read or written for {0:?}")]
    Idle(Duration),
    /// The peer holds room that others wait for.
    #[error("a large frame is not whole after {0:?}, and others wait for its room")]
    SlowSender(Duration),
    /// The peer takes its answers too slowly.
    #[error("the peer does not read: {queued} bytes wait for it")]
    SlowReader {
        /// Bytes that waited.
        queued: usize,
    },
    /// This side wanted it so.
    #[error("closed by this side: {0}")]
    Ours(&'static str),
}

/// A flag that one task waits for.
#[derive(Debug, Default)]
struct Signal(RefCell<Option<Waker>>);

impl Signal {
    fn listen(&self, waker: &Waker) {
        let mut slot = self.0.borrow_mut();
        if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    fn raise(&self) {
        if let Some(waker) = self.0.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A connection of this core.
pub struct Connection {
    id: ConnectionId,
    peer: SocketAddr,
    local: SocketAddr,
    stream: TcpStream,
    limits: Limits,
    core: Weak<Core>,
    output: RefCell<Output>,
    /// In the flusher's list.
    dirty: Cell<bool>,
    /// A task waits until the socket takes bytes again; the flusher leaves this connection alone.
    draining: Cell<bool>,
    /// Close as soon as the output is written.
    closing: RefCell<Option<CloseReason>>,
    closed: RefCell<Option<CloseReason>>,
    pending: RefCell<Pending>,
    in_flight: Cell<usize>,
    /// Tick of the sweeper since which a large frame has room and is not whole.
    large_since: Cell<Option<u32>>,
    reader: Signal,
    drainer: Signal,
    /// Ticks of the sweeper at the last read or write, and at the last progress of the output.
    active_at: Cell<u32>,
    progress_at: Cell<u32>,
    /// The sweeper wants the buffers given back, and has not asked for it since the last read.
    release: Cell<bool>,
    released: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        stream: TcpStream,
        peer: SocketAddr,
        core: &Rc<Core>,
    ) -> io::Result<Connection> {
        Ok(Connection {
            id,
            peer,
            local: stream.local_address()?,
            stream,
            limits: core.limits.clone(),
            core: Rc::downgrade(core),
            output: RefCell::default(),
            dirty: Cell::new(false),
            draining: Cell::new(false),
            closing: RefCell::new(None),
            closed: RefCell::new(None),
            pending: RefCell::default(),
            in_flight: Cell::new(0),
            large_since: Cell::new(None),
            reader: Signal::default(),
            drainer: Signal::default(),
            active_at: Cell::new(core.tick.get()),
            progress_at: Cell::new(core.tick.get()),
            release: Cell::new(false),
            released: Cell::new(false),
        })
    }

    /// Its name within this core.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end: tells which of a server's ports the peer came to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Why it was closed; `None` while it is open.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.closed.borrow().clone()
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.borrow().is_some()
    }

    /// Requests of the peer that were accepted and not yet answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Requests of ours that wait for the peer's answers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.borrow().count()
    }

    /// Bytes that wait for the peer to read.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.borrow().size()
    }

    /// Answers a request: `write` appends the frame. Ends the request as [`Connection::finish_request`] does.
    pub fn reply(self: &Rc<Self>, write: impl FnOnce(&mut BytesMut)) {
        self.finish_request();
        self.send(write);
    }

    /// Answers a request whose body is `parts`, in order; they are not copied unless they are small. The header that `write`
    /// appends has to count them.
    pub fn reply_parts(self: &Rc<Self>, write: impl FnOnce(&mut BytesMut), parts: impl IntoIterator<Item = Bytes>) {
        self.finish_request();
        self.send_parts(write, parts);
    }

    /// Says that a request is no longer in flight: it needs no answer, or is held for long (then its answer is sent
    /// by [`Connection::send`]). Held requests must not use up the bound that protects from a flood.
    pub fn finish_request(&self) {
        let in_flight = self.in_flight.get();
        self.in_flight.set(in_flight.saturating_sub(1));
        if in_flight >= self.limits.in_flight_max {
            self.reader.raise();
        }
    }

    /// Queues what `write` appends; it goes out when the tasks of this loop turn have run. Nothing happens if the connection
    /// is closed.
    pub fn send(self: &Rc<Self>, write: impl FnOnce(&mut BytesMut)) {
        self.send_parts(write, []);
    }

    /// As [`Connection::send`], with `parts` behind it.
    pub fn send_parts(self: &Rc<Self>, write: impl FnOnce(&mut BytesMut), parts: impl IntoIterator<Item = Bytes>) {
        // The closure cannot fail, so neither can the call.
        let _always_ok: Result<(), FrameError> = self.try_send_parts(
            |out| {
                write(out);
                Ok(())
            },
            parts,
        );
    }

    /// As [`Connection::send_parts`], for a `write` that can refuse; it must then leave the buffer as it was.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_send_parts<E>(
        self: &Rc<Self>,
        write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
        parts: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), E> {
        if self.is_closed() {
            return Ok(());
        }
        let mut output = self.output.borrow_mut();
        let was_empty = output.size() == 0;
        write(output.tail())?;
        for part in parts {
            output.push(part);
        }
        let queued = output.size();
        drop(output);
        let Some(core) = self.core.upgrade() else { return Ok(()) };
        if was_empty {
            self.progress_at.set(core.tick.get());
        }
        if queued > self.limits.output_max {
            self.close(CloseReason::SlowReader { queued });
        } else if !self.draining.get() && !self.dirty.replace(true) {
            core.mark_dirty(Rc::clone(self));
        }
        Ok(())
    }

    /// Sends a request; `header` adds its fields. The answer is awaited on what is returned.
    ///
    /// # Errors
    /// When the connection is closed, too many requests wait, or the frame would be too long.
    pub fn request(
        self: &Rc<Self>,
        code: RequestCode,
        header: impl FnOnce(&mut HeaderWriter<'_>),
        body: Bytes,
    ) -> Result<Invocation, RequestError> {
        self.request_parts(code, header, body.len(), [body])
    }

    /// As [`Connection::request`], for a body of several parts, `body_size` bytes in all.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn request_parts(
        self: &Rc<Self>,
        code: RequestCode,
        header: impl FnOnce(&mut HeaderWriter<'_>),
        body_size: usize,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<Invocation, RequestError> {
        let write = |out: &mut BytesMut, opaque| {
            let mut writer = HeaderWriter::request(out, Serialize::Json, code, opaque, 0);
            header(&mut writer);
            writer.finish(body_size)
        };
        Invocation::start(self, write, body)
    }

    /// Sends a request and waits for its answer, at most `limit`.
    ///
    /// # Errors
    /// As [`Connection::request`]; and when the answer does not come in time or the connection ends first.
    pub async fn invoke(
        self: &Rc<Self>,
        code: RequestCode,
        header: impl FnOnce(&mut HeaderWriter<'_>),
        body: Bytes,
        limit: Duration,
    ) -> Result<Frame, RequestError> {
        let answer = self.request(code, header, body)?;
        match runtime::timeout(limit, answer).await {
            Ok(answered) => answered,
            Err(_elapsed) => Err(RequestError::TimedOut { limit }),
        }
    }

    /// Sends a oneway request: nobody answers it.
    ///
    /// # Errors
    /// When the connection is closed or the frame would be too long.
    pub fn notify(
        self: &Rc<Self>,
        code: RequestCode,
        header: impl FnOnce(&mut HeaderWriter<'_>),
        body: Bytes,
    ) -> Result<(), RequestError> {
        if let Some(reason) = self.close_reason() {
            return Err(RequestError::Closed {
                peer: self.peer,
                reason,
            });
        }
        let body_size = body.len();
        let write = |out: &mut BytesMut| {
            let mut writer = HeaderWriter::request(out, Serialize::Json, code, 0, FLAG_ONEWAY);
            header(&mut writer);
            writer.finish(body_size)
        };
        self.try_send_parts(write, [body]).map_err(RequestError::Frame)
    }

    /// Ends the connection at once; what is queued is dropped. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        *self.closed.borrow_mut() = Some(reason);
        self.stream.shut_down();
        self.output.borrow_mut().clear();
        self.pending.borrow_mut().wake_all();
        self.reader.raise();
        self.drainer.raise();
    }

    /// Ends the connection when what is queued has been written; requests that come meanwhile are not read.
    pub fn close_after_output(self: &Rc<Self>, reason: CloseReason) {
        if self.output.borrow().size() == 0 {
            self.close(reason);
            return;
        }
        self.closing.borrow_mut().get_or_insert(reason);
        self.reader.raise();
    }

    pub(crate) fn pending(&self) -> &RefCell<Pending> {
        &self.pending
    }

    /// Writes what is queued; called by the flusher once a loop turn.
    pub(crate) fn flush(self: &Rc<Self>, tick: u32) {
        self.dirty.set(false);
        if self.draining.get() || self.is_closed() {
            return;
        }
        if self.write(tick) == Flushed::Blocked {
            self.draining.set(true);
            runtime::spawn(drain(Rc::clone(self)));
        }
    }

    fn write(&self, tick: u32) -> Flushed {
        let written = self.output.borrow_mut().write_to(&self.stream);
        match written {
            Ok(Written::All) => {
                self.active_at.set(tick);
                self.progress_at.set(tick);
                if let Some(reason) = self.closing.borrow_mut().take() {
                    self.close(reason);
                }
                Flushed::Done
            }
            Ok(Written::Some(count)) => {
                if count > 0 {
                    self.active_at.set(tick);
                    self.progress_at.set(tick);
                }
                Flushed::Blocked
            }
            Err(error) => {
                self.close(CloseReason::Broken(error.to_string()));
                Flushed::Done
            }
        }
    }

    /// One look of the sweeper: closes a silent or stuck connection, and frees the buffers of a quiet one. `wanted`: others wait
    /// for the room of large frames.
    pub(crate) fn sweep(&self, tick: u32, period: Duration, wanted: bool) {
        if self.is_closed() {
            return;
        }
        let since = |then: u32| period.saturating_mul(tick.wrapping_sub(then));
        let queued = self.queued();
        if queued > 0 && since(self.progress_at.get()) >= self.limits.stall {
            self.close(CloseReason::SlowReader { queued });
        } else if since(self.active_at.get()) >= self.limits.idle {
            self.close(CloseReason::Idle(self.limits.idle));
        } else if wanted
            && !self.is_full()
            && self
                .large_since
                .get()
                .is_some_and(|then| since(then) >= self.limits.slow_frame)
        {
            self.close(CloseReason::SlowSender(self.limits.slow_frame));
        } else if tick.wrapping_sub(self.active_at.get()) > 1 && !self.released.replace(true) {
            self.output.borrow_mut().release();
            self.release.set(true);
            self.reader.raise();
        }
    }

    fn is_full(&self) -> bool {
        self.in_flight.get() >= self.limits.in_flight_max
    }

    fn tick(&self) -> u32 {
        self.core.upgrade().map_or(0, |core| core.tick.get())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    Done,
    Blocked,
}

/// Writes on while the socket takes bytes only now and then; ends when the output is empty.
async fn drain(connection: Rc<Connection>) {
    while !connection.is_closed() {
        let mut writable = pin!(connection.stream.writable());
        let ready = std::future::poll_fn(|cx: &mut Context<'_>| {
            if connection.is_closed() {
                return Poll::Ready(Ok(()));
            }
            connection.drainer.listen(cx.waker());
            writable.as_mut().poll(cx)
        })
        .await;
        if let Err(error) = ready {
            connection.close(CloseReason::Broken(error.to_string()));
        } else if !connection.is_closed() && connection.write(connection.tick()) == Flushed::Done {
            break;
        }
    }
    connection.draining.set(false);
}

/// The life of a connection, from the first byte to the last call of the handler.
pub(crate) async fn run(connection: Rc<Connection>, handler: Rc<dyn Handler>) {
    handler.on_open(&connection);
    let reason = match reading::read_frames(&connection, &*handler).await {
        Ok(()) => CloseReason::Ours("it was closed while it was read"),
        Err(reason) => reason,
    };
    connection.close(reason);
    let reason = connection.close_reason().unwrap_or(CloseReason::Peer);
    log_end(&connection, &reason);
    if let Some(core) = connection.core.upgrade() {
        core.forget(connection.id);
    }
    handler.on_close(&connection, &reason);
}

fn log_end(connection: &Connection, reason: &CloseReason) {
    let peer = connection.peer;
    match reason {
        CloseReason::Malformed(_)
        | CloseReason::OtherProtocol(_)
        | CloseReason::SlowReader { .. }
        | CloseReason::SlowSender(_) => {
            tracing::warn!(%peer, cause = %reason, "connection closed");
        }
        CloseReason::Peer | CloseReason::Broken(_) | CloseReason::Idle(_) | CloseReason::Ours(_) => {
            tracing::debug!(%peer, cause = %reason, "connection closed");
        }
    }
}
