//! What a core has received: one vector behind a short lock, and the waker of who waits for it.
//!
//! Invariants, which `tests/loom.rs` checks over the orders of threads: a receiver that waits is woken by the next
//! `put`; messages of one sender stay in order; none is lost or doubled.

use super::primitives::{AtomicUsize, AtomicWaker, Mutex, MutexGuard, Ordering};
use std::task::{Context, Poll};

pub(super) struct Inbox<M> {
    messages: Mutex<Vec<M>>,
    /// A copy of `messages.len()` that senders read without the lock.
    length: AtomicUsize,
    receiver: AtomicWaker,
}

impl<M> Default for Inbox<M> {
    fn default() -> Self {
        Inbox {
            messages: Mutex::new(Vec::new()),
            length: AtomicUsize::new(0),
            receiver: AtomicWaker::new(),
        }
    }
}

impl<M> Inbox<M> {
    /// How many messages wait, as far as this thread knows.
    pub(super) fn length(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// Moves all of `messages` in, and leaves it empty.
    pub(super) fn put(&self, messages: &mut Vec<M>) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            std::mem::swap(&mut *waiting, messages);
        } else {
            waiting.append(messages);
        }
        self.length.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        self.receiver.wake();
    }

    /// Moves everything to the end of `into`; pending when there is nothing.
    pub(super) fn poll_take(&self, into: &mut Vec<M>, cx: &Context<'_>) -> Poll<()> {
        if self.take(into) {
            return Poll::Ready(());
        }
        self.receiver.register(cx.waker());
        // A message may have come between the look and the registration.
        if self.take(into) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn take(&self, into: &mut Vec<M>) -> bool {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return false;
        }
        if into.is_empty() {
            std::mem::swap(&mut *waiting, into);
        } else {
            into.append(&mut waiting);
        }
        self.length.store(0, Ordering::Relaxed);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<M>> {
        // Nothing that can panic runs under the lock, so a poisoned lock still guards a whole vector.
        self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
