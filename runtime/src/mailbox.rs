//! Bounded messages between cores, handed over once a loop turn.
//!
//! A sender puts messages into a plain vector of its own, one for each receiving core; no lock, no atomic. When the tasks
//! that were ready in this loop turn have run, the sender's flusher task moves each vector into the receiver's inbox: one
//! short lock and at most one wake-up a turn and receiver, however many messages there are.
//!
//! Order: messages of one sender to one receiver arrive in the order they were sent.
//! Bound: [`Post::try_send`] refuses when the receiver is `capacity` messages behind. [`Post::send`] never does: it is for
//! answers, whose number is bounded by the requests that were let in.

mod inbox;
/// What an inbox is made of; the loom model has its own.
mod primitives {
    pub(super) use atomic_waker::AtomicWaker;
    pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
    pub(super) use std::sync::{Mutex, MutexGuard};
}

use inbox::Inbox;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
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
        let behind = self.inboxes[to].length() + self.outgoing.borrow()[to].len();
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
        std::future::poll_fn(|cx| inbox.poll_take(into, cx)).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct CountedWaker(AtomicUsize);

    impl Wake for CountedWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn received(post: &Post<u32>) -> Vec<u32> {
        let mut messages = Vec::new();
        let waker = Waker::from(Arc::new(CountedWaker::default()));
        let _ready = pin!(post.receive(&mut messages)).poll(&mut Context::from_waker(&waker));
        messages
    }

    #[test]
    fn messages_wait_for_the_flush_and_then_come_in_order() {
        let mailboxes = Mailboxes::new(2, 10);
        let (sender, receiver) = (mailboxes.post(0), mailboxes.post(1));
        for number in 0..5 {
            sender.send(1, number);
        }
        assert_eq!(received(&receiver), Vec::<u32>::new());
        sender.flush();
        sender.send(1, 5);
        sender.flush();
        assert_eq!(received(&receiver), [0, 1, 2, 3, 4, 5]);
        assert_eq!(received(&receiver), Vec::<u32>::new());
    }

    #[test]
    fn a_core_can_send_to_itself() {
        let post = Mailboxes::new(1, 10).post(0);
        post.send(0, 7);
        post.flush();
        assert_eq!(received(&post), [7]);
    }

    #[test]
    fn a_request_is_refused_when_the_receiver_is_behind_and_an_answer_never() {
        let mailboxes = Mailboxes::new(2, 3);
        let (sender, receiver) = (mailboxes.post(0), mailboxes.post(1));
        assert_eq!(sender.try_send(1, 0), Ok(()));
        sender.flush();
        assert_eq!(sender.try_send(1, 1), Ok(()));
        assert_eq!(sender.try_send(1, 2), Ok(()));
        assert_eq!(
            sender.try_send(1, 3),
            Err(3),
            "one in the inbox and two on their way are three"
        );
        sender.send(1, 4);
        sender.flush();
        assert_eq!(received(&receiver), [0, 1, 2, 4]);
        assert_eq!(sender.try_send(1, 5), Ok(()));
    }

    #[test]
    fn many_messages_of_a_turn_cost_the_receiver_one_wake_up() {
        let mailboxes = Mailboxes::new(2, 1000);
        let (sender, receiver) = (mailboxes.post(0), mailboxes.post(1));
        let wakes = Arc::new(CountedWaker::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut messages = Vec::new();
        {
            let mut receive = pin!(receiver.receive(&mut messages));
            assert!(receive.as_mut().poll(&mut cx).is_pending());
            for number in 0..500 {
                sender.send(1, number);
            }
            sender.flush();
            sender.flush();
            assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
            assert!(receive.poll(&mut cx).is_ready());
        }
        assert_eq!(messages.len(), 500);
    }

    #[test]
    fn a_send_wakes_the_flusher_once_a_turn() {
        let mailboxes = Mailboxes::<u32>::new(1, 1000);
        let post = mailboxes.post(0);
        let wakes = Arc::new(CountedWaker::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut flusher = pin!(post.run_flusher());
        assert!(flusher.as_mut().poll(&mut cx).is_pending());
        post.send(0, 1);
        post.send(0, 2);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(flusher.as_mut().poll(&mut cx).is_pending());
        assert_eq!(received(&post), [1, 2]);
        post.send(0, 3);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    #[should_panic(expected = "core 2 of 2 has no mailbox")]
    fn a_core_that_is_not_there_has_no_mailbox() {
        let _post = Mailboxes::<u32>::new(2, 10).post(2);
    }

    #[test]
    fn two_threads_exchange_a_million_messages_in_order() {
        const COUNT: usize = 1_000_000;
        let mailboxes = Mailboxes::new(2, 1 << 14);
        let sender = mailboxes.clone();
        let start = std::time::Instant::now();
        let sending = std::thread::spawn(move || {
            let post = sender.post(0);
            for number in 0..COUNT {
                while post.try_send(1, number).is_err() {
                    post.flush();
                    std::thread::yield_now();
                }
                if number % 64 == 0 {
                    post.flush();
                }
            }
            post.flush();
        });
        let receiver = mailboxes.post(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let in_order = runtime.block_on(async {
            let mut next = 0;
            let mut batch = Vec::new();
            while next < COUNT {
                receiver.receive(&mut batch).await;
                for number in batch.drain(..) {
                    if number != next {
                        return false;
                    }
                    next += 1;
                }
            }
            true
        });
        sending.join().unwrap();
        assert!(in_order);
        // Printed, not asserted: a loaded machine says what it likes.
        println!("{:.1} M messages/s", 1.0 / start.elapsed().as_secs_f64());
    }
}
