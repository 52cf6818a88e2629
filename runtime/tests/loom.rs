//! The inbox of a mailbox under loom: every order of its threads, with up to three preemptions.
//!
//! The file under test is the crate's own, compiled here with loom's primitives instead of the real ones.

#[path = "../src/mailbox/inbox.rs"]
mod inbox;

mod primitives {
    use std::task::Waker;

    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};
    pub(super) use loom::sync::{Mutex, MutexGuard};

    pub(super) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(super) fn new() -> Self {
            AtomicWaker(loom::future::AtomicWaker::new())
        }

        pub(super) fn register(&self, waker: &Waker) {
            self.0.register(waker.clone());
        }

        pub(super) fn wake(&self) {
            self.0.wake();
        }
    }
}

use inbox::Inbox;
use loom::sync::Arc;
use std::future::poll_fn;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// Receives `count` messages; loom calls it a deadlock if a wake-up is lost.
fn receive(inbox: &Inbox<u32>, count: usize) -> Vec<u32> {
    let mut received = Vec::new();
    while received.len() < count {
        let before = received.len();
        loom::future::block_on(poll_fn(|cx| inbox.poll_take(&mut received, cx)));
        assert!(received.len() > before, "a receive that ends has received");
    }
    received
}

#[test]
fn no_wake_up_is_lost_and_one_sender_keeps_its_order() {
    model(|| {
        let inbox = Arc::new(Inbox::default());
        let sender = Arc::clone(&inbox);
        let sending = loom::thread::spawn(move || {
            sender.put(&mut vec![1, 2]);
            sender.put(&mut vec![3]);
        });
        assert_eq!(receive(&inbox, 3), [1, 2, 3]);
        sending.join().unwrap();
        assert_eq!(inbox.length(), 0);
    });
}

#[test]
fn two_senders_lose_and_double_nothing_and_each_keeps_its_order() {
    model(|| {
        let inbox = Arc::new(Inbox::default());
        let senders: Vec<_> = [10, 20]
            .into_iter()
            .map(|from| {
                let sender = Arc::clone(&inbox);
                loom::thread::spawn(move || sender.put(&mut vec![from, from + 1]))
            })
            .collect();
        let received = receive(&inbox, 4);
        let of = |from: u32| {
            received
                .iter()
                .copied()
                .filter(|number| number / 10 == from / 10)
                .collect::<Vec<u32>>()
        };
        assert_eq!(of(10), [10, 11]);
        assert_eq!(of(20), [20, 21]);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}
