//! Tasks of one core. They never leave their thread, so they need not be `Send`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A task that was spawned. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct JoinHandle<T>(tokio::task::JoinHandle<T>);

impl<T> JoinHandle<T> {
    /// Ends the task at its next suspension point.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for JoinHandle<T> {
    /// `None` when the task was aborted. A panic in a task is passed on: a broken task must not be mistaken for a slow one.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(|joined| match joined {
            Ok(value) => Some(value),
            Err(error) if error.is_cancelled() => None,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        })
    }
}

/// Starts a task on this core.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    JoinHandle(tokio::task::spawn_local(task))
}

/// Lets the other ready tasks of this core run first: work that wants to see everything of this loop turn waits here.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Runs `work`, which may block, on the core's small thread pool.
///
/// Only for work with no place on the ring: directory listings, one-off reads at start, compression of admin bodies.
pub async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
