//! Ways for tasks of one core to wait for each other. They hold no clock and no randomness, so both worlds share them.

pub use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

/// The outcome of [`race`].
#[derive(Debug)]
pub enum Either<A, B> {
    /// The first future was ready (it wins when both are).
    First(A),
    /// The second future was ready.
    Second(B),
}

/// Waits for whichever of two futures is ready first; the first wins a tie, so a run can be repeated.
pub async fn race<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(value) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(value));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
