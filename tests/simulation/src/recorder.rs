//! What clients write down: the history, and virtual time as its ticks.

use checker::{History, QueueIndex, Tick};
use client::RouteQueue;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Shared by everything that records. It is no part of any machine, so nothing that fails takes it away.
#[derive(Debug, Default)]
pub struct Recorder {
    /// What happened.
    pub history: RefCell<History>,
    /// Producers go on until this is set.
    pub stopping: Cell<bool>,
    /// Messages acknowledged so far.
    pub acknowledged: Cell<u64>,
    /// What went wrong beside the history, in words: a promise that is not about a message.
    pub complaints: RefCell<Vec<String>>,
}

/// The recorder of one run.
pub type Shared = Rc<Recorder>;

/// Virtual time, in nanoseconds.
#[must_use]
pub fn now() -> Tick {
    runtime::Instant::now().as_nanos()
}

impl Recorder {
    /// The history's index of a queue.
    pub fn queue(&self, queue: &RouteQueue) -> QueueIndex {
        let number = u32::try_from(queue.queue_id).unwrap_or(u32::MAX);
        self.history
            .borrow_mut()
            .queue(&queue.broker_name, &queue.topic, number)
    }

    /// Notes a broken promise that is not about a message.
    pub fn complain(&self, what: String) {
        self.complaints.borrow_mut().push(what);
    }
}
