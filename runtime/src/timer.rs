//! Sleeping and time limits.

use crate::clock::Instant;
use crate::sim::time::Sleep;
use crate::sync::Either;
use crate::world::is_simulated;
use std::future::Future;
use std::time::Duration;

/// The time limit passed before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time limit has passed")]
pub struct Elapsed;

/// Waits for `delay`.
pub async fn sleep(delay: Duration) {
    if is_simulated() {
        Sleep::until((Instant::now() + delay).as_nanos()).await;
    } else {
        tokio::time::sleep(delay).await;
    }
}

/// Waits until `deadline`; returns at once if it has passed.
pub async fn sleep_until(deadline: Instant) {
    if is_simulated() {
        Sleep::until(deadline.as_nanos()).await;
    } else {
        tokio::time::sleep_until(deadline.to_tokio()).await;
    }
}

/// Runs `work` for at most `limit`; drops it then.
///
/// # Errors
/// [`Elapsed`] when the limit passed first.
pub async fn timeout<F: Future>(limit: Duration, work: F) -> Result<F::Output, Elapsed> {
    if is_simulated() {
        let over = Sleep::until((Instant::now() + limit).as_nanos());
        match crate::sync::race(work, over).await {
            Either::First(value) => Ok(value),
            Either::Second(()) => Err(Elapsed),
        }
    } else {
        tokio::time::timeout(limit, work).await.map_err(|_elapsed| Elapsed)
    }
}
