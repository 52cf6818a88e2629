//! What many seeds did, added up over processes: each prints its own as one line, which the first one reads.

use crate::coverage::MARKS;
use crate::plan::kinds;
use crate::run::Outcome;
use checker::Class;
use std::collections::BTreeMap;
use std::fmt;

/// A worker's line with totals begins so.
pub const TOTALS: &str = "TOTALS";
/// Fewer seeds may miss a kind of fault or a mark by chance.
pub const COVERAGE_SEEDS: u64 = 2_000;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    counts: BTreeMap<String, u64>,
}

impl Totals {
    /// Adds what one seed did.
    pub fn add(&mut self, outcome: &Outcome) {
        let (world, messages) = (&outcome.world, &outcome.messages);
        let virtual_ms = u64::try_from(world.virtual_time.as_millis()).unwrap_or(u64::MAX);
        let lost = messages.count(Class::Lost);
        let plain = [
            ("seeds", 1),
            ("failed", u64::from(outcome.failure.is_some())),
            ("events", world.happenings),
            ("virtual-ms", virtual_ms),
            ("sent", messages.sent),
            ("acknowledged", messages.acknowledged),
            ("unknown", messages.unknown),
            ("reads", messages.reads),
            ("lost", lost),
            ("cut-off", messages.cut_off),
            ("expired", messages.expired),
            ("deleted", messages.deleted),
            ("damaged", messages.damaged),
        ];
        for (name, count) in plain {
            self.count(name, count);
        }
        for (kind, count) in &world.faults {
            self.count(&format!("fault:{kind}"), *count);
        }
        for (mark, count) in &world.marks {
            self.count(&format!("mark:{}", mark.replace(' ', "_")), *count);
        }
        for (cause, count) in &messages.duplicates {
            self.count(&format!("duplicate:{cause:?}"), *count);
        }
    }

    /// Adds to one count.
    pub fn count(&mut self, name: &str, more: u64) {
        *self.counts.entry(name.to_owned()).or_insert(0) += more;
    }

    /// One count.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Adds what another process printed; `line` is [`Totals::to_line`]'s.
    pub fn add_line(&mut self, line: &str) {
        for (name, count) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
            if let Ok(count) = count.parse() {
                self.count(name, count);
            }
        }
    }

    /// Everything in one line.
    #[must_use]
    pub fn to_line(&self) -> String {
        let words = self.counts.iter().map(|(name, count)| format!(" {name}={count}"));
        format!("{TOTALS}{}", words.collect::<String>())
    }

    /// Kinds of faults and marks that were never come by.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let kinds = kinds().into_iter().map(|kind| format!("fault:{kind}"));
        let marks = MARKS.iter().map(|mark| format!("mark:{}", mark.replace(' ', "_")));
        kinds.chain(marks).filter(|name| self.get(name) == 0).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} failed; {} events in {} s of virtual time",
            self.get("seeds"),
            self.get("failed"),
            self.get("events"),
            self.get("virtual-ms") / 1_000
        )?;
        for name in [
            "sent",
            "acknowledged",
            "unknown",
            "reads",
            "lost",
            "cut-off",
            "expired",
            "deleted",
            "damaged",
        ] {
            write!(f, "{name} {}  ", self.get(name))?;
        }
        for (title, prefix) in [("faults", "fault:"), ("marks", "mark:"), ("duplicates", "duplicate:")] {
            write!(f, "\n{title}:")?;
            for (name, count) in &self.counts {
                if let Some(name) = name.strip_prefix(prefix) {
                    write!(f, " {name} {count}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_processes_add_up_through_their_lines() {
        let mut one = Totals::default();
        one.count("seeds", 3);
        one.count("fault:Kill", 2);
        let mut all = Totals::default();
        all.add_line(&one.to_line());
        all.add_line(&one.to_line());
        assert_eq!((all.get("seeds"), all.get("fault:Kill")), (6, 4));
        let missing = all.missing();
        assert!(missing.contains(&"fault:Pause".to_owned()) && !missing.contains(&"fault:Kill".to_owned()));
    }
}
