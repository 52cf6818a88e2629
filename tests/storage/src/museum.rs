//! Plants one old bug after the other in the engine; a check that finds none of them would find no new one either.

use crate::bit_flips;
use crate::crash_states::{self, Disks};
use engine::planted::{Bug, plant};
use std::time::Instant;

/// The check that is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    CrashStates,
    BitFlips,
}

/// Every bug, with the row of the reliability reference that it is of.
const BUGS: [(&str, Bug, Layer); 16] = [
    ("S1", Bug::AckAfterFailedSync, Layer::CrashStates),
    ("S1", Bug::AckBeforeSync, Layer::CrashStates),
    ("S2", Bug::NoFeed, Layer::CrashStates),
    ("S2", Bug::NoCut, Layer::CrashStates),
    ("S2", Bug::NoChain, Layer::CrashStates),
    ("S3", Bug::FeedLastSegment, Layer::CrashStates),
    ("S4", Bug::UncheckedHeaders, Layer::BitFlips),
    ("S4", Bug::UncheckedBatches, Layer::BitFlips),
    ("S5", Bug::EarlyCheckpoint, Layer::CrashStates),
    ("S5", Bug::EarlySyncedMark, Layer::CrashStates),
    ("S7", Bug::CheckpointInPlace, Layer::CrashStates),
    ("S7", Bug::NoMetadataReplay, Layer::CrashStates),
    ("S1", Bug::NoRewrite, Layer::CrashStates),
    ("S6", Bug::NoIndexCut, Layer::CrashStates),
    ("S4", Bug::RotIsTorn, Layer::BitFlips),
    ("S3", Bug::NoNameSync, Layer::CrashStates),
];

/// Plants each and looks for it, with so many seeds a check.
pub(crate) fn run(seeds: u64) -> Result<(), String> {
    let mut missed = Vec::new();
    for (row, bug, first) in BUGS {
        let started = Instant::now();
        plant(Some(bug));
        let found = match first {
            Layer::CrashStates => by_crash_states(seeds).or_else(|| by_bit_flips(seeds)),
            Layer::BitFlips => by_bit_flips(seeds).or_else(|| by_crash_states(seeds)),
        };
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
        let totals = crash_states::run_seed(seed, Disks::Honest, crash_states::Extent::FirstFailure);
        states += totals.count();
        if let Some(failure) = totals.failures.first() {
            return Some(format!(
                "crash states, at seed {} after {states} states: {}",
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
