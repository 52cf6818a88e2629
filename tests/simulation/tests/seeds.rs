//! A few seeds of the whole cluster, wherever tests run; `cargo xtask sim` plays many.

use checker::Cause;
use runtime::sim::FaultKind;
use simulation::{Options, plan, regressions, run};

fn assert_well(seed: u64, options: &Options) {
    let outcome = run(seed, options);
    assert_eq!(outcome.failure, None, "cargo xtask sim --from {seed} --seeds 1");
    assert!(outcome.messages.acknowledged > 0, "seed {seed} has sent nothing");
}

#[test]
fn seeds_keep_every_promise() {
    (0..6).for_each(|seed| assert_well(seed, &Options::default()));
}

#[test]
fn seeds_with_slaves_keep_every_promise() {
    let options = Options {
        replicated: true,
        ..Options::default()
    };
    (0..4).for_each(|seed| {
        let outcome = run(seed, &options);
        assert_eq!(
            outcome.failure, None,
            "cargo xtask sim --replicated --from {seed} --seeds 1"
        );
        assert!(outcome.messages.acknowledged > 0, "seed {seed} has sent nothing");
    });
}

#[test]
fn seeds_that_once_failed_do_not_fail_again() {
    for (seed, found) in regressions::SEEDS {
        println!("seed {seed}: {found}");
        assert_well(seed, &Options::default());
    }
}

#[test]
fn without_faults_nothing_is_stored_twice() {
    let options = Options {
        off: plan::kinds().into_iter().collect(),
        ..Options::default()
    };
    let outcome = run(3, &options);
    assert_eq!(outcome.failure, None);
    // The mending at the end kills or stops every broker; all else is off.
    let faults = &outcome.world.faults;
    assert!(faults.keys().all(|kind| *kind == FaultKind::Kill), "{faults:?}");
    assert!(
        outcome
            .messages
            .duplicates
            .keys()
            .all(|cause| *cause != Cause::SendRetry),
        "{}",
        outcome.messages
    );
    assert!(outcome.messages.acknowledged > 500, "{}", outcome.messages);
}

#[test]
fn a_seed_repeats_and_seeds_differ() {
    let hash = |seed| run(seed, &Options::default()).trace_hash;
    let hashes: Vec<u64> = (10..14).map(hash).collect();
    assert_eq!(hashes, (10..14).map(hash).collect::<Vec<u64>>());
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "{hashes:x?}");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let options = Options {
        canary: true,
        ..Options::default()
    };
    let found_out = |place: &u64| {
        let outcome = run(plan::CANARY_EVERY * (place + 1) - 1, &options);
        outcome.failure.is_some()
    };
    let count = (0..8).filter(found_out).count();
    assert!(count >= 4, "found out in {count} of 8 seeds");
}
