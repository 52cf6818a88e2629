//! What a run did, in numbers, and what it never came by.

use crate::sim::FaultKind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts of one run, or of many added up by [`Report::add`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs in it.
    pub seeds: u64,
    /// Everything that was mixed into the trace hash.
    pub happenings: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Hits of coverage marks, by name.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Adds the counts of other runs.
    pub fn add(&mut self, other: &Report) {
        self.seeds += other.seeds;
        self.happenings += other.happenings;
        self.polls += other.polls;
        self.virtual_time += other.virtual_time;
        for (kind, count) in &other.faults {
            *self.faults.entry(*kind).or_insert(0) += count;
        }
        for (mark, count) in &other.marks {
            *self.marks.entry(mark).or_insert(0) += count;
        }
    }

    /// The kinds of faults and the marks that should have been hit and never were.
    #[must_use]
    pub fn missing(&self, kinds: &[FaultKind], marks: &[&str]) -> Vec<String> {
        let kinds = kinds
            .iter()
            .filter(|kind| !self.faults.contains_key(kind))
            .map(|kind| format!("fault {kind}"));
        let marks = marks
            .iter()
            .filter(|mark| !self.marks.contains_key(*mark))
            .map(|mark| format!("mark {mark:?}"));
        kinds.chain(marks).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds, {} happenings, {} polls, {:.1} s of virtual time; faults:",
            self.seeds,
            self.happenings,
            self.polls,
            self.virtual_time.as_secs_f64()
        )?;
        for (kind, count) in &self.faults {
            write!(f, " {kind} {count}")?;
        }
        f.write_str("; marks:")?;
        for (mark, count) in &self.marks {
            write!(f, " {mark} {count}")?;
        }
        Ok(())
    }
}
