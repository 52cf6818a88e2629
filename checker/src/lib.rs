//! The queue checker: takes the history of a run (what was sent, what was answered, what was read) and says what was lost,
//! made up, given out of order, or damaged.
//!
//! It knows nothing of brokers and does no I/O: whoever drives a broker (the simulator, the kill loop, a load generator)
//! records into a [`History`] as things happen, and at the end asks [`History::check`]. Time is the recorder's: any number
//! that grows, the same for the whole history (here called a tick).
//!
//! A message is known by what its body says ([`body`]): producer, sequence, topic, sharding key, and a checksum over all.
//! Memory: about 40 bytes a message sent and 16 a message stored, whatever number of times it is read; checking is
//! O(n log n).

pub mod body;
mod check;
mod history;
mod pages;
mod queue;
mod reader;
mod report;

pub use body::{BodyError, Identity};
pub use history::{History, MessageId, Outcome, QueueIndex, Target, Tick};
pub use reader::{Cause, Poll, ReaderIndex};
pub use report::{Class, Report, Violation};
