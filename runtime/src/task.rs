//! Tasks of one core. They never leave their thread, so they need not be `Send`.

use crate::world::{is_simulated, simulated};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A task that was spawned. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct JoinHandle<T>(Inner<T>);

#[derive(Debug)]
enum Inner<T> {
    Real(tokio::task::JoinHandle<T>),
    Simulated(crate::sim::task::Join<T>),
}

impl<T> JoinHandle<T> {
    pub(crate) fn simulated(join: crate::sim::task::Join<T>) -> Self {
        JoinHandle(Inner::Simulated(join))
    }

    /// Ends the task at its next suspension point.
    pub fn abort(&self) {
        match &self.0 {
            Inner::Real(handle) => handle.abort(),
            Inner::Simulated(handle) => handle.abort(),
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Inner::Real(handle) => handle.is_finished(),
            Inner::Simulated(handle) => handle.is_finished(),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    /// `None` when the task was aborted. A panic in a task is passed on: a broken task must not be mistaken for a slow one.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut self.0 {
            Inner::Real(handle) => Pin::new(handle).poll(cx).map(|joined| match joined {
                Ok(value) => Some(value),
                Err(error) if error.is_cancelled() => None,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }),
            Inner::Simulated(handle) => handle.poll(cx),
        }
    }
}

/// Starts a task on this core.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    JoinHandle(match simulated() {
        Some(here) => Inner::Simulated(here.world.spawn(here.place, task)),
        None => Inner::Real(tokio::task::spawn_local(task)),
    })
}

/// Lets the other ready tasks of this core run first: work that wants to see everything of this loop turn waits here.
pub async fn yield_now() {
    if is_simulated() {
        crate::sim::task::yield_now().await;
    } else {
        tokio::task::yield_now().await;
    }
}

/// Runs `work`, which may block, on the core's small thread pool.
///
/// Only for work with no place on the ring: directory listings, one-off reads at start, compression of admin bodies.
pub async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if is_simulated() {
        return crate::sim::task::blocking(work).await;
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
