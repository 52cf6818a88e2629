//! Sleeping and time limits.

use crate::clock::Instant;
use std::future::Future;
use std::time::Duration;

/// The time limit passed before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time limit has passed")]
pub struct Elapsed;

/// Waits for `delay`.
pub async fn sleep(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// Waits until `deadline`; returns at once if it has passed.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.to_tokio()).await;
}

/// Runs `work` for at most `limit`; drops it then.
///
/// # Errors
/// [`Elapsed`] when the limit passed first.
pub async fn timeout<F: Future>(limit: Duration, work: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(limit, work).await.map_err(|_elapsed| Elapsed)
}
