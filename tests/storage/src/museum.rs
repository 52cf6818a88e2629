//! Plants one old bug after the other in the engine; a check that finds none of them would find no new one either.

use crate::bit_flips;
use crate::crash_states::{self, Disks};
use engine::planted::{Bug, plant};
use std::time::Instant;

/// Every bug, with the row of the reliability reference that it is of.
const BUGS: [(&str, Bug); 16] = [
    ("S1", Bug::AckAfterFailedSync),
    ("S1", Bug::AckBeforeSync),
    ("S2", Bug::NoFeed),
    ("S2", Bug::NoCut),
    ("S3", Bug::FeedLastSegment),
    ("S4", Bug::UncheckedHeaders),
    ("S4", Bug::UncheckedBatches),
    ("S5", Bug::EarlyCheckpoint),
    ("S5", Bug::EarlySyncedMark),
    ("S7", Bug::CheckpointInPlace),
    ("S7", Bug::NoMetadataReplay),
    ("S1", Bug::NoRewrite),
    ("S2", Bug::NoChain),
    ("S6", Bug::NoIndexCut),
    ("S4", Bug::RotIsTorn),
    ("S3", Bug::NoNameSync),
];

/// Plants each and looks for it, with so many seeds a check.
pub(crate) fn run(seeds: u64) -> Result<(), String> {
    let mut missed = Vec::new();
    for (row, bug) in BUGS {
        let started = Instant::now();
        plant(Some(bug));
        let found = by_crash_states(seeds).or_else(|| by_bit_flips(seeds));
        plant(None);
        let seconds = started.elapsed().as_secs_f64();
        match found {
            Some(how) => println!("{row} {bug:?}: found in {seconds:.1} s by {how}"),
            None => {
                println!("{row} {bug:?}: NOT FOUND in {seconds:.1} s");
                missed.push(format!("{bug:?}"));
            }
        }
    }
    println!("{} of {} planted bugs found", BUGS.len() - missed.len(), BUGS.len());
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("not found: {}", missed.join(", ")))
    }
}

fn by_crash_states(seeds: u64) -> Option<String> {
    let mut states = 0;
    for seed in 0..seeds {
        let totals = crash_states::run_seed(seed, Disks::Honest, None);
        states += totals.count();
        if let Some(failure) = totals.failures.first() {
            return Some(format!(
                "crash states, after {} seeds and {states} states: {}",
                seed + 1,
                short(failure)
            ));
        }
    }
    None
}

fn by_bit_flips(seeds: u64) -> Option<String> {
    let mut count = 0;
    for seed in 0..seeds {
        let flips = bit_flips::run_seed(seed, None);
        count += flips.count();
        if let Some(failure) = flips.failures.first() {
            return Some(format!(
                "bit flips, after {} stores and {count} flips: {}",
                seed + 1,
                short(failure)
            ));
        }
    }
    None
}

fn short(failure: &str) -> String {
    failure.chars().take(160).collect()
}
