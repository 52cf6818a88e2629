//! Requests that we sent over a connection and whose answers have not come.
//!
//! The opaque of a request is its place in a slab (low 16 bits) under a generation (upper 15), so an answer finds its request
//! without hashing, and one that comes after the request gave up finds nothing instead of a later request.

use crate::connection::{CloseReason, Connection};
use bytes::BytesMut;
use protocol::frame::{Frame, FrameError};
use runtime::timer::Elapsed;
use slab::Slab;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Requests without an answer that one connection may have: what the low bits of an opaque tell apart.
pub(crate) const PENDING_MAX: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 16;
const GENERATION_MAX: i32 = 0x7fff;

/// Why a request to a peer got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// The connection ended before the answer came.
    #[error("the connection to {peer} ended before the answer came: {reason}")]
    Closed {
        /// The other end.
        peer: std::net::SocketAddr,
        /// Why it ended.
        reason: CloseReason,
    },
    /// The answer did not come in time.
    #[error("no answer within {limit:?}")]
    TimedOut {
        /// How long it was waited for.
        limit: std::time::Duration,
    },
    /// Too many requests wait for answers on this connection.
    #[error("{PENDING_MAX} requests wait for answers on the connection to {peer} already")]
    TooMany {
        /// The other end.
        peer: std::net::SocketAddr,
    },
    /// The request is longer than a frame may be.
    #[error("the request cannot be written: {0}")]
    Frame(#[from] FrameError),
}

impl From<(Elapsed, std::time::Duration)> for RequestError {
    fn from((Elapsed, limit): (Elapsed, std::time::Duration)) -> Self {
        RequestError::TimedOut { limit }
    }
}

/// A request: it waits until its answer is here. Not boxed, as that would cost an allocation an answer.
#[derive(Debug)]
struct Slot {
    opaque: i32,
    waker: Option<Waker>,
    answer: Option<Frame>,
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Slab<Slot>,
    generation: i32,
}

impl Pending {
    /// Makes room for one more request; `None` when there are too many.
    pub(crate) fn start(&mut self) -> Option<(usize, i32)> {
        let entry = self.slots.vacant_entry();
        let place = entry.key();
        let low = i32::try_from(place).ok().filter(|_| place < PENDING_MAX)?;
        self.generation = if self.generation == GENERATION_MAX {
            0
        } else {
            self.generation + 1
        };
        let opaque = (self.generation << PLACE_BITS) | low;
        entry.insert(Slot {
            opaque,
            waker: None,
            answer: None,
        });
        Some((place, opaque))
    }

    /// Hands an answer to its request. False if no request waits for it.
    pub(crate) fn complete(&mut self, answer: Frame) -> bool {
        let opaque = answer.opaque();
        let place = usize::try_from(opaque).map(|opaque| opaque & (PENDING_MAX - 1));
        let Some(slot) = place.ok().and_then(|place| self.slots.get_mut(place)) else {
            return false;
        };
        if slot.opaque != opaque || slot.answer.is_some() {
            return false;
        }
        slot.answer = Some(answer);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        true
    }

    /// Requests that wait.
    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Wakes everything that waits, since the connection is closed.
    pub(crate) fn wake_all(&mut self) {
        for (_place, slot) in &mut self.slots {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn poll(&mut self, place: usize, closed: bool, waker: &Waker) -> Poll<Option<Frame>> {
        let Some(slot) = self.slots.get_mut(place) else {
            return Poll::Ready(None);
        };
        if slot.answer.is_some() || closed {
            return Poll::Ready(self.slots.remove(place).answer);
        }
        if slot.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            slot.waker = Some(waker.clone());
        }
        Poll::Pending
    }

    fn give_up(&mut self, place: usize) {
        self.slots.try_remove(place);
    }
}

/// A request under way; gives its answer. Dropping it gives the request up.
#[derive(Debug)]
pub struct Invocation {
    connection: Rc<Connection>,
    /// `None` once the answer was handed out.
    place: Option<usize>,
}

impl Invocation {
    pub(crate) fn start(
        connection: &Rc<Connection>,
        write: impl FnOnce(&mut BytesMut, i32) -> Result<(), FrameError>,
        body: impl IntoIterator<Item = bytes::Bytes>,
    ) -> Result<Invocation, RequestError> {
        if let Some(reason) = connection.close_reason() {
            return Err(RequestError::Closed {
                peer: connection.peer(),
                reason,
            });
        }
        let Some((place, opaque)) = connection.pending().borrow_mut().start() else {
            return Err(RequestError::TooMany {
                peer: connection.peer(),
            });
        };
        // Owned from here on, so that an early return gives the place back.
        let invocation = Invocation {
            connection: Rc::clone(connection),
            place: Some(place),
        };
        connection.try_send_parts(|out| write(out, opaque), body)?;
        Ok(invocation)
    }
}

impl Future for Invocation {
    type Output = Result<Frame, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = self.connection.close_reason();
        let polled = match self.place {
            Some(place) => self
                .connection
                .pending()
                .borrow_mut()
                .poll(place, closed.is_some(), cx.waker()),
            None => Poll::Ready(None),
        };
        polled.map(|answer| {
            self.place = None;
            answer.ok_or_else(|| RequestError::Closed {
                peer: self.connection.peer(),
                reason: closed.unwrap_or(CloseReason::Ours("the answer was taken already")),
            })
        })
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.connection.pending().borrow_mut().give_up(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::{Serialize, split_frame};
    use protocol::header_writer::HeaderWriter;
    use protocol::response_code::ResponseCode;

    fn answer(opaque: i32) -> Frame {
        let mut bytes = BytesMut::new();
        HeaderWriter::response(&mut bytes, Serialize::Json, ResponseCode::SUCCESS, opaque)
            .finish(0)
            .unwrap();
        split_frame(&mut bytes).unwrap().unwrap()
    }

    #[test]
    fn an_answer_finds_its_request_and_only_once() {
        let mut pending = Pending::default();
        let (first, first_opaque) = pending.start().unwrap();
        let (second, second_opaque) = pending.start().unwrap();
        assert!(pending.complete(answer(second_opaque)));
        assert!(!pending.complete(answer(second_opaque)), "a second answer is dropped");
        assert!(pending.poll(first, false, Waker::noop()).is_pending());
        let Poll::Ready(Some(frame)) = pending.poll(second, false, Waker::noop()) else {
            panic!("not answered")
        };
        assert_eq!(frame.opaque(), second_opaque);
        assert!(pending.complete(answer(first_opaque)));
        assert_eq!(pending.count(), 1);
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_request_in_the_same_place() {
        let mut pending = Pending::default();
        let (place, late) = pending.start().unwrap();
        pending.give_up(place);
        let (again, _opaque) = pending.start().unwrap();
        assert_eq!(place, again);
        assert!(!pending.complete(answer(late)));
        assert!(pending.poll(again, false, Waker::noop()).is_pending());
    }

    #[test]
    fn answers_nobody_asked_for_are_dropped() {
        let mut pending = Pending::default();
        for opaque in [0, 1, -1, i32::MIN, i32::MAX] {
            assert!(!pending.complete(answer(opaque)));
        }
    }

    #[test]
    fn requests_beyond_the_bound_are_refused() {
        let mut pending = Pending::default();
        for _request in 0..PENDING_MAX {
            assert!(pending.start().is_some());
        }
        assert!(pending.start().is_none());
        pending.give_up(7);
        assert!(pending.start().is_some());
    }
}
