//! Bounded messages between cores, handed over once a loop turn.
//!
//! A sender puts messages into a plain vector of its own, one for each receiving core; no lock, no atomic. When the tasks
//! that were ready in this loop turn have run, the sender's flusher task moves each vector into the receiver's inbox: one
//! short lock and at most one wake-up a turn and receiver, however many messages there are.
//!
//! Order: messages of one sender to one receiver arrive in the order they were sent.
//! Bound: [`Post::try_send`] refuses when the receiver is `capacity` messages behind. [`Post::send`] never does: it is for
//! answers, whose number is bounded by the requests that were let in.

use atomic_waker::AtomicWaker;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The mailboxes of all cores; made once, then one [`Post`] is given to each core.
pub struct Mailboxes<M> {
    inboxes: Arc<[Inbox<M>]>,
    capacity: usize,
}

impl<M: Send> Mailboxes<M> {
    /// Mailboxes for `cores` cores that let a receiver fall `capacity` messages behind.
    #[must_use]
    pub fn new(cores: usize, capacity: usize) -> Self {
        let inboxes = (0..cores).map(|_core| Inbox::default()).collect();
        Mailboxes { inboxes, capacity }
    }

    /// The end of one core. Each core takes its own, on its own thread.
    #[must_use]
    pub fn post(&self, core: usize) -> Post<M> {
        assert!(
            core < self.inboxes.len(),
            "core {core} of {} has no mailbox",
            self.inboxes.len()
        );
        Post {
            core,
            inboxes: Arc::clone(&self.inboxes),
            capacity: self.capacity,
            outgoing: RefCell::new(self.inboxes.iter().map(|_inbox| Vec::new()).collect()),
            flusher: RefCell::new(None),
            pending: Cell::new(false),
        }
    }
}

impl<M> Clone for Mailboxes<M> {
    fn clone(&self) -> Self {
        Mailboxes {
            inboxes: Arc::clone(&self.inboxes),
            capacity: self.capacity,
        }
    }
}

/// One core's end: it sends to every core (also to itself) and receives what was sent to it.
pub struct Post<M> {
    core: usize,
    inboxes: Arc<[Inbox<M>]>,
    capacity: usize,
    /// What this loop turn has for each receiver.
    outgoing: RefCell<Vec<Vec<M>>>,
    flusher: RefCell<Option<Waker>>,
    pending: Cell<bool>,
}

impl<M: Send> Post<M> {
    /// The core this end belongs to.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }

    /// How many cores there are.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.inboxes.len()
    }

    /// Sends an answer: never refused, see the head of this file.
    pub fn send(&self, to: usize, message: M) {
        self.outgoing.borrow_mut()[to].push(message);
        if !self.pending.replace(true)
            && let Some(flusher) = self.flusher.borrow().as_ref()
        {
            flusher.wake_by_ref();
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Hands the message back when the receiver is `capacity` messages behind.
    pub fn try_send(&self, to: usize, message: M) -> Result<(), M> {
        let behind = self.inboxes[to].length.load(Ordering::Relaxed) + self.outgoing.borrow()[to].len();
        if behind >= self.capacity {
            return Err(message);
        }
        self.send(to, message);
        Ok(())
    }

    /// Hands over what each loop turn sent, for ever. Every core runs this as a task of its own.
    pub async fn run_flusher(&self) {
        std::future::poll_fn(|cx: &mut Context<'_>| {
            let mut flusher = self.flusher.borrow_mut();
            if flusher.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *flusher = Some(cx.waker().clone());
            }
            drop(flusher);
            self.flush();
            Poll::<()>::Pending
        })
        .await;
    }

    /// Moves everything received so far to the end of `into`; waits until there is something.
    pub async fn receive(&self, into: &mut Vec<M>) {
        let inbox = &self.inboxes[self.core];
        std::future::poll_fn(|cx: &mut Context<'_>| {
            if inbox.take(into) {
                return Poll::Ready(());
            }
            inbox.receiver.register(cx.waker());
            // A message may have come between the look and the registration.
            if inbox.take(into) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Hands over everything that was sent in this loop turn so far.
    pub fn flush(&self) {
        if !self.pending.replace(false) {
            return;
        }
        let mut outgoing = self.outgoing.borrow_mut();
        for (inbox, messages) in self.inboxes.iter().zip(outgoing.iter_mut()) {
            if !messages.is_empty() {
                inbox.put(messages);
            }
        }
    }
}

struct Inbox<M> {
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
    fn put(&self, messages: &mut Vec<M>) {
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
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for Mailboxes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailboxes")
            .field("cores", &self.inboxes.len())
            .field("capacity", &self.capacity)
            .finish()
    }
}

impl<M> fmt::Debug for Post<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("core", &self.core).finish_non_exhaustive()
    }
}
