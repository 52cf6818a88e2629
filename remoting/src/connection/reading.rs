//! Bytes to frames.
//!
//! The buffer of a connection follows the sizes of its reads. A frame larger than that gets a buffer of its own once its
//! first part is here, and for that a claim on room that all connections of the core share: peers that send halves of large
//! frames hold no more memory than [`Limits::large_frames_max`](crate::Limits::large_frames_max). Who finds no room waits, and
//! its peer feels it through TCP; who keeps others waiting for long is closed by the sweeper.

use super::{CloseReason, Connection, Handler};
use crate::connections::Core;
use crate::sniff::other_protocol;
use bytes::BytesMut;
use protocol::frame::{frame_size, split_frame};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Room for a first read, and what an idle connection keeps, in bytes.
const READ_MIN: usize = 512;
/// Room for one read at most, in bytes. Larger frames need a claim.
const READ_MAX: usize = 64 * 1024;

/// What a wait for bytes ends with.
enum Arrived {
    Bytes(usize),
    Release,
    Closed,
}

pub(super) async fn read_frames(connection: &Rc<Connection>, handler: &dyn Handler) -> Result<(), CloseReason> {
    let mut buffer = BytesMut::new();
    let mut room = READ_MIN;
    let mut first = true;
    // For the frame at the buffer's begin.
    let mut claim: Option<Claim<'_>> = None;
    loop {
        let size = frame_size(&buffer).map_err(CloseReason::Malformed)?;
        if let Some(size) = size.filter(|size| *size > READ_MAX && buffer.len() >= READ_MAX / 2 && claim.is_none()) {
            claim = Claim::make(connection, size).await;
            if claim.is_none() {
                return Ok(());
            }
            buffer = moved(&buffer, size);
        }
        reserve(&mut buffer, size, room);
        let space = buffer.capacity() - buffer.len();
        let count = match arrival(connection, &mut buffer).await {
            Ok(Arrived::Bytes(count)) => count,
            Ok(Arrived::Closed) => return Ok(()),
            Ok(Arrived::Release) => {
                room = READ_MIN;
                if buffer.is_empty() {
                    buffer = BytesMut::new();
                }
                continue;
            }
            Err(error) => return Err(CloseReason::Broken(error.to_string())),
        };
        if count == 0 {
            return Err(CloseReason::Peer);
        }
        connection.active_at.set(connection.tick());
        connection.released.set(false);
        if first && let Some(other) = buffer.first().copied().and_then(other_protocol) {
            return Err(CloseReason::OtherProtocol(other));
        }
        first = false;
        let arrived = buffer.len();
        if !take_frames(connection, handler, &mut buffer).await? {
            return Ok(());
        }
        if buffer.len() < arrived {
            claim = None;
        }
        room = next_room(room, count);
        if count == space {
            // More may be waiting; a peer that never stops must not keep the others of this core from running.
            runtime::yield_now().await;
        }
    }
}

/// Room for one large frame; given back when it goes.
struct Claim<'a> {
    connection: &'a Connection,
    core: Rc<Core>,
    bytes: usize,
}

impl<'a> Claim<'a> {
    /// Waits for room. `None`: the connection was closed meanwhile.
    async fn make(connection: &'a Connection, size: usize) -> Option<Claim<'a>> {
        let core = connection.core.upgrade()?;
        // A frame above the bound takes all of it.
        let bytes = size.min(core.limits.large_frames_max);
        let permits = u32::try_from(bytes).ok()?;
        let others = &core.large_waiting;
        others.set(others.get() + 1);
        let mut acquired = pin!(core.large_room.acquire_many(permits));
        let claimed = std::future::poll_fn(|cx: &mut Context<'_>| {
            if connection.is_closed() {
                return Poll::Ready(false);
            }
            connection.reader.listen(cx.waker());
            acquired
                .as_mut()
                .poll(cx)
                .map(|permit| permit.map(|permit| permit.forget()).is_ok())
        })
        .await;
        others.set(others.get() - 1);
        if !claimed {
            return None;
        }
        connection.large_since.set(Some(core.tick.get()));
        Some(Claim {
            connection,
            core: Rc::clone(&core),
            bytes,
        })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.connection.large_since.set(None);
        self.core.large_room.add_permits(self.bytes);
    }
}

/// The same bytes with room for `size` in all. Memory that was not written to costs nothing yet.
fn moved(buffer: &BytesMut, size: usize) -> BytesMut {
    let mut whole = BytesMut::with_capacity(size.max(buffer.len()));
    whole.extend_from_slice(buffer);
    whole
}

/// Gives every whole frame in `buffer` to its receiver. False when the connection was closed meanwhile.
async fn take_frames(
    connection: &Rc<Connection>,
    handler: &dyn Handler,
    buffer: &mut BytesMut,
) -> Result<bool, CloseReason> {
    loop {
        if connection.is_full() || connection.closing.borrow().is_some() {
            room_in_flight(connection).await;
        }
        if connection.is_closed() {
            return Ok(false);
        }
        let Some(frame) = split_frame(buffer).map_err(CloseReason::Malformed)? else {
            return Ok(true);
        };
        if frame.is_response() {
            let opaque = frame.opaque();
            if !connection.pending.borrow_mut().complete(frame) {
                tracing::debug!(peer = %connection.peer, opaque, "an answer nobody waits for");
            }
            continue;
        }
        if !frame.is_oneway() {
            connection.in_flight.set(connection.in_flight.get() + 1);
        }
        handler.on_request(connection, frame);
    }
}

/// Waits until another request may be accepted, or the connection is closed.
async fn room_in_flight(connection: &Connection) {
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if connection.is_closed() || (!connection.is_full() && connection.closing.borrow().is_none()) {
            return Poll::Ready(());
        }
        connection.reader.listen(cx.waker());
        Poll::Pending
    })
    .await;
}

async fn arrival(connection: &Connection, buffer: &mut BytesMut) -> io::Result<Arrived> {
    let mut read = pin!(connection.stream.read(buffer));
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if connection.is_closed() {
            return Poll::Ready(Ok(Arrived::Closed));
        }
        if connection.release.replace(false) {
            return Poll::Ready(Ok(Arrived::Release));
        }
        match read.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.map(Arrived::Bytes)),
            Poll::Pending => {
                connection.reader.listen(cx.waker());
                Poll::Pending
            }
        }
    })
    .await
}

/// Makes room for the next read. For a frame of `size` bytes that is only partly here the room at most doubles with each
/// read, so a peer gets memory for what it sends, not for what it announces.
fn reserve(buffer: &mut BytesMut, size: Option<usize>, room: usize) {
    let missing = size.map_or(0, |size| size.saturating_sub(buffer.len()));
    let wanted = missing.min(buffer.len()).max(room);
    let space = buffer.capacity() - buffer.len();
    // The buffer of a large frame ends where the frame does.
    let ends_with_frame = size.is_some_and(|size| size > READ_MAX) && missing > 0 && space >= missing;
    if space >= wanted || ends_with_frame {
        return;
    }
    // Some frames' worth, so that frames still held do not cost a new buffer at each read.
    let spare = if buffer.is_empty() {
        room.saturating_mul(4).min(READ_MAX)
    } else {
        wanted
    };
    buffer.reserve(spare.max(wanted));
}

/// Room for the next read: grows when a read used all it had, shrinks when it used little.
fn next_room(room: usize, count: usize) -> usize {
    if count >= room {
        room.saturating_mul(2).min(READ_MAX)
    } else if count < room / 8 {
        (room / 2).max(READ_MIN)
    } else {
        room
    }
}
