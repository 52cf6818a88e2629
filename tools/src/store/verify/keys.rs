//! The key index: its pages, and its entries against the log.
//!
//! Runs may hold entries that no message asks for: of what retention has deleted, until a merge drops them; one entry twice, since a start
//! after a kill adds again what no manifest vouches for; and of messages that were cut off the log's end before all of it was durable. Where
//! those lay, younger records lie now.

use super::super::files::Error;
use super::super::findings::Part;
use super::super::key_pages::KeyRuns;
use super::super::key_sums::{Covered, KeySums};
use super::super::walk::{LogWalk, Step};
use super::{Stopped, Verify};
use engine::inspect::{Checkpoint, KeyEntry, KeyManifest, Metadata, RecordKind, key_entries_of};
use protocol::message::record::RecordView;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Entries that are looked at one by one at once, a bound on memory: as many as a start after a kill adds again.
const ENTRIES_AT_ONCE: usize = 1 << 20;

/// What records in a part of the log ask for, and how old they are.
#[derive(Debug)]
struct Asked {
    /// And whether a run has them.
    entries: BTreeMap<KeyEntry, bool>,
    /// Position and store time in seconds of each record, in the log's order.
    records: Vec<(u64, i64)>,
    /// What was found damaged on the way is left out.
    covered: Covered,
    from: u64,
    to: u64,
}

/// What runs hold that nobody asks for.
#[derive(Debug, Default)]
struct Strays {
    count: u64,
    first: Option<(PathBuf, u64)>,
}

impl Strays {
    fn add(&mut self, run: &Path, entry: KeyEntry) {
        self.count += 1;
        self.first.get_or_insert_with(|| (run.to_owned(), entry.position));
    }
}

impl Asked {
    fn is_full(&self) -> bool {
        self.entries.len().max(self.records.len()) >= ENTRIES_AT_ONCE
    }

    fn record(&mut self, sums: &KeySums, kind: RecordKind, position: u64, bytes: &[u8]) {
        let last = position + (bytes.len() as u64).saturating_sub(1);
        if position < self.from || !(sums.differ_at(position) || sums.differ_at(last)) {
            return;
        }
        match kind {
            RecordKind::Message => {
                let Ok(record) = RecordView::decode(bytes) else { return };
                self.records.push((position, record.store_timestamp.div_euclid(1000)));
                if self.covered.holds(position) {
                    let entries = key_entries_of(&record, position);
                    self.entries.extend(entries.map(|entry| (entry, false)));
                }
            }
            RecordKind::Metadata => {
                let time = Metadata::decode(bytes).map(|metadata| metadata.wall_clock_ms.div_euclid(1000));
                self.records.extend(time.map(|second| (position, second)));
            }
            RecordKind::Seal => {}
        }
    }

    /// Whether an entry can be of a message that was cut off the log's end: what was written there since is younger.
    fn may_be_cut(&self, entry: KeyEntry) -> bool {
        let behind = self
            .records
            .partition_point(|(position, _)| *position <= entry.position);
        let there = behind.checked_sub(1).and_then(|at| self.records.get(at));
        there.is_some_and(|(_, second)| i64::from(entry.second) < *second)
    }

    /// Looks for an entry of a run among those that are asked for.
    fn meet(&mut self, covered: &Covered, run: &Path, entry: KeyEntry, strays: &mut Strays) {
        if !(self.from..self.to).contains(&entry.position) || !covered.holds(entry.position) {
            return;
        }
        if let Some(is_there) = self.entries.get_mut(&entry) {
            *is_there = true;
        } else if !self.may_be_cut(entry) {
            strays.add(run, entry);
        }
    }

    /// What is asked for and was not met, in words.
    fn lacking(&self, covered: &Covered) -> Option<String> {
        let lacking = self.entries.iter().filter(|(_, is_there)| !**is_there);
        let positions = lacking.map(|(entry, _)| entry.position);
        let positions = positions.filter(|position| covered.holds(*position));
        let count = positions.clone().count();
        let (first, last) = (positions.clone().min()?, positions.max()?);
        Some(format!(
            "no run has {count} of the entries that messages at {first} to {last} ask for"
        ))
    }
}

impl Verify<'_> {
    fn key_dir(&self) -> PathBuf {
        self.files.shard_dir(self.shard).join("index")
    }

    /// What must be in runs by the manifest as it is when the log is not looked at yet; a broker only adds to that.
    pub(super) fn covered_keys(&self, checkpoint: Option<&Checkpoint>) -> Result<Covered, Stopped> {
        let manifest = super::key_pages::manifest(&self.key_dir(), self.shard)?.and_then(Result::ok);
        let mut covered = manifest.as_ref().map_or_else(Covered::default, Covered::by);
        // A start feeds nothing of what it knows to be damaged, even if it can be read by now.
        for damage in checkpoint.map_or(&[][..], |checkpoint| &checkpoint.damage) {
            covered.leave_out(&(damage.from.position()..damage.to.position()));
        }
        Ok(covered)
    }

    pub(super) fn key_index(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), Stopped> {
        let mut findings = Vec::new();
        if let Some(runs) = KeyRuns::open(&self.key_dir(), self.shard, &mut findings)? {
            let covered = self.still_covered(&self.covered, &runs.manifest)?;
            let (mut sums, mut entries) = (std::mem::take(&mut self.key_sums), 0);
            let checked = runs.check(&mut findings, &mut |_run, entry| {
                if covered.holds(entry.position) {
                    entries += 1;
                    sums.take(entry);
                }
            })?;
            (self.counts.key_pages, self.counts.index_entries) = (checked.pages, entries);
            // All that a damaged run holds would be missed.
            if checked.is_whole {
                self.keys_one_by_one(&sums, checkpoint, &mut findings)?;
            }
        }
        for (path, reason) in findings {
            self.found_in_file(Part::KeyIndex, &path, &reason)?;
        }
        Ok(())
    }

    /// What is covered, without what retention has taken since. Runs are opened before: they lack only what was deleted by then.
    fn still_covered(&self, covered: &Covered, manifest: &KeyManifest) -> Result<Covered, Error> {
        let min = self.files.log(self.shard)?.min().unwrap_or(self.counts.end);
        let mut covered = covered.clone();
        covered.narrow(manifest, &(min..self.counts.end));
        Ok(covered)
    }

    /// Looks up the entries of those stretches that do not have the same sum in the runs and in the log, as far as to the first in which
    /// something is wrong.
    fn keys_one_by_one(
        &self,
        sums: &KeySums,
        checkpoint: Option<&Checkpoint>,
        findings: &mut Vec<(PathBuf, String)>,
    ) -> Result<(), Stopped> {
        let mut next = sums.differing_from(0);
        while let Some(from) = next {
            let mut asked = self.asked(sums, from, checkpoint)?;
            let Some(runs) = KeyRuns::open(&self.key_dir(), self.shard, findings)? else {
                return Ok(());
            };
            let covered = self.still_covered(&asked.covered, &runs.manifest)?;
            let mut strays = Strays::default();
            let checked = runs.check(findings, &mut |run, entry| {
                if sums.differ_at(entry.position) {
                    asked.meet(&covered, run, entry, &mut strays);
                }
            })?;
            if !checked.is_whole {
                return Ok(());
            }
            let wrong = self.wrong(&asked, &covered, strays, sums.count_differing_from(asked.to));
            next = wrong.is_empty().then(|| sums.differing_from(asked.to)).flatten();
            findings.extend(wrong);
        }
        Ok(())
    }

    /// What is wrong with the entries that were looked at, in words; `more` stretches were not.
    fn wrong(&self, asked: &Asked, covered: &Covered, strays: Strays, more: usize) -> Vec<(PathBuf, String)> {
        let lacking = asked.lacking(covered).map(|reason| (self.key_dir(), reason));
        let mut wrong: Vec<(PathBuf, String)> = lacking.into_iter().collect();
        if let Some((run, position)) = strays.first {
            let count = strays.count;
            let reason =
                format!("{count} entries are of no key of the message that they point to, the first to {position}");
            wrong.push((run, reason));
        }
        if !wrong.is_empty() && more > 0 {
            let from = asked.to;
            let reason = format!("{more} more parts of the log from {from} on may not agree with it either");
            wrong.push((self.key_dir(), reason));
        }
        wrong
    }

    /// Reads again what lies in stretches that differ, from `from` on, as far as memory may hold it.
    fn asked(&self, sums: &KeySums, from: u64, checkpoint: Option<&Checkpoint>) -> Result<Asked, Stopped> {
        let mut walk = LogWalk::new(
            self.files.log(self.shard)?,
            self.shard,
            self.files.description.store_id,
            checkpoint,
        );
        let mut asked = Asked {
            entries: BTreeMap::new(),
            records: Vec::new(),
            covered: self.covered.clone(),
            from,
            to: u64::MAX,
        };
        while let Some(next) = sums.differing_from(walk.position().max(from)) {
            if asked.is_full() {
                asked.to = walk.position();
                break;
            }
            walk.skip_to_segment_of(next);
            match walk.step()? {
                Step::Batch(batch) => walk.records::<Stopped>(&batch, |kind, position, bytes| {
                    asked.record(sums, kind, position, bytes);
                    Ok(())
                })?,
                Step::Damage(range) => asked.covered.leave_out(&(range.from..range.to)),
                Step::End(end) => {
                    asked.covered.leave_out(&(end.position..u64::MAX));
                    break;
                }
            }
        }
        Ok(asked)
    }
}
