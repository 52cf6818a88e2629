//! One seed is one run; and a scenario's check can fail.

use crate::ledger;
use runtime::sim::{FaultKind, Faults, MILLION, Report};

/// What a single disk may meet without losing what it acknowledged.
fn honest_kinds() -> Vec<FaultKind> {
    FaultKind::ALL
        .into_iter()
        .filter(|kind| !kind.breaks_promises())
        .collect()
}

#[test]
fn two_hundred_seeds_repeat_exactly() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let faults = Faults::swarm(seed, &FaultKind::ALL);
        let first = ledger::run(seed, faults.clone());
        assert_eq!(first, ledger::run(seed, faults), "seed {seed}");
        hashes.insert(first.trace_hash);
    }
    assert_eq!(hashes.len(), 200, "different seeds give different runs");
}

#[test]
fn an_honest_disk_loses_nothing_acknowledged_and_every_fault_is_met() {
    let mut total = Report::default();
    let mut acknowledged = 0;
    for seed in 0..300 {
        let outcome = ledger::run(seed, Faults::swarm(seed, &honest_kinds()));
        assert_eq!(outcome.lost, Vec::<u64>::new(), "seed {seed}");
        assert_eq!(outcome.report.marks.get("checkpoint ahead"), None, "seed {seed}");
        acknowledged += outcome.acknowledged.len();
        total.add(&outcome.report);
    }
    println!("{acknowledged} acknowledged, 0 lost; {total}");
    assert!(acknowledged > 10_000, "{acknowledged}");
    assert_eq!(
        total.missing(&honest_kinds(), &["fenced", "tail cut"]),
        Vec::<String>::new()
    );
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let faults = Faults::power_cuts_only()
        .with(FaultKind::LyingSync, MILLION)
        .with(FaultKind::PowerCut, MILLION / 10);
    let found = (0..50)
        .filter(|&seed| !ledger::run(seed, faults.clone()).lost.is_empty())
        .count();
    assert!(found > 25, "found in {found} of 50 seeds");
}
