//! What a check found, in numbers and with examples.

use crate::history::{MessageId, Tick};
use crate::reader::Cause;
use std::collections::BTreeMap;
use std::fmt;

/// What can be wrong. `Duplicates` are not here: they are allowed, and counted in [`Report::duplicates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Acknowledged, and not there any more.
    Lost,
    /// A reader went past it while it was not given out; it was there later.
    LostThenReread,
    /// Nobody sent it, or it was refused.
    Phantom,
    /// One place in a queue with two messages.
    DuplicateOffset,
    /// One message, sent once, at two places, or not where the answer said.
    InconsistentOffset,
    /// A place in a queue that no message has.
    Gap,
    /// A message stands before one that was acknowledged before it was sent.
    Reorder,
    /// A reader was given what lies before where it had asked, or before what it had been given.
    NonMonotonicPoll,
    /// The end of a queue went back behind an acknowledged message.
    StaleEnd,
    /// The bytes are not those that were sent.
    CorruptBody,
    /// It lies in another topic or queue than it was sent to.
    WrongQueue,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub class: Class,
    /// In which queue: broker, topic and number.
    pub queue: String,
    /// Where in it, when that is known.
    pub queue_offset: u64,
    /// With which message, when that is known.
    pub id: Option<MessageId>,
    /// In words.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {} at {}", self.class, self.queue, self.queue_offset)?;
        if let Some(id) = self.id {
            write!(f, ", message {} of producer {}", id.sequence, id.producer)?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Examples that are kept of each class.
const EXAMPLES_MAX: u64 = 10;

/// What a history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages whose sending began.
    pub sent: u64,
    /// Of these: acknowledged.
    pub acknowledged: u64,
    /// Of these: refused for certain.
    pub rejected: u64,
    /// Of these: nobody knows.
    pub unknown: u64,
    /// Of the unknown: they are there.
    pub unknown_stored: u64,
    /// Messages given out, each time counted.
    pub reads: u64,
    /// Messages given out or stored once more than needed, by cause.
    pub duplicates: BTreeMap<Cause, u64>,
    /// Acknowledged and behind the place to which anybody has read.
    pub unseen: u64,
    /// Acknowledged and taken by retention.
    pub expired: u64,
    /// Acknowledged and gone with their topic.
    pub deleted: u64,
    /// Acknowledged and gone with a power cut whose loss was promised: recent, and nothing older than what is left.
    pub cut_off: u64,
    /// Of these: the longest time from an acknowledgement to the cut that took it.
    pub cut_off_window: Tick,
    /// Acknowledged and not given out by a broker whose medium was damaged; allowed where that was said before.
    pub damaged: u64,
    /// How often each class was found.
    pub violations: BTreeMap<Class, u64>,
    /// The first few of each class.
    pub examples: Vec<Violation>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }

    /// How often a class was found.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.violations.get(&class).copied().unwrap_or(0)
    }

    /// Adds what another history amounts to.
    pub fn add(&mut self, other: Report) {
        let counts = [
            (&mut self.sent, other.sent),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.rejected, other.rejected),
            (&mut self.unknown, other.unknown),
            (&mut self.unknown_stored, other.unknown_stored),
            (&mut self.reads, other.reads),
            (&mut self.unseen, other.unseen),
            (&mut self.expired, other.expired),
            (&mut self.deleted, other.deleted),
            (&mut self.cut_off, other.cut_off),
            (&mut self.damaged, other.damaged),
        ];
        for (count, more) in counts {
            *count += more;
        }
        self.cut_off_window = self.cut_off_window.max(other.cut_off_window);
        for (cause, more) in other.duplicates {
            *self.duplicates.entry(cause).or_insert(0) += more;
        }
        for (class, more) in other.violations {
            *self.violations.entry(class).or_insert(0) += more;
        }
        for example in other.examples {
            let alike = self.examples.iter().filter(|known| known.class == example.class);
            if (alike.count() as u64) < EXAMPLES_MAX {
                self.examples.push(example);
            }
        }
    }

    pub(crate) fn found(&mut self, violation: Violation) {
        let count = self.violations.entry(violation.class).or_insert(0);
        *count += 1;
        if *count <= EXAMPLES_MAX {
            self.examples.push(violation);
        }
    }

    pub(crate) fn duplicate(&mut self, cause: Cause) {
        *self.duplicates.entry(cause).or_insert(0) += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, acknowledged {}, rejected {}, unknown {} ({} stored), reads {}, unseen {}, expired {}, deleted {}, \
             cut off {}, damaged {}; duplicates:",
            self.sent,
            self.acknowledged,
            self.rejected,
            self.unknown,
            self.unknown_stored,
            self.reads,
            self.unseen,
            self.expired,
            self.deleted,
            self.cut_off,
            self.damaged
        )?;
        for (cause, count) in &self.duplicates {
            write!(f, " {cause:?} {count}")?;
        }
        f.write_str("; violations:")?;
        if self.is_ok() {
            f.write_str(" none")?;
        }
        for (class, count) in &self.violations {
            write!(f, " {class:?} {count}")?;
        }
        for example in &self.examples {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}
