//! Every target over its corpus, the seeds, and bounded broken copies of both: what `cargo test` runs where libFuzzer is not built.
//!
//! `FUZZ_TEST_INPUTS` sets how many broken copies are tried for each target.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and says which input it was"
)]

use fuzz::{Random, TARGETS, Target, seeds};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Targets that build a world for each input take tens of microseconds to milliseconds; the others less.
const INPUTS: usize = 100;
const INPUTS_OF_A_WORLD: usize = 20;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let Ok(entries) = fs::read_dir(&directory) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let kept = std::env::temp_dir().join(format!("fuzz-{}-{:08x}", target.name, input.len()));
        fs::write(&kept, input).unwrap();
        eprintln!(
            "the input is in {}; again: cargo xtask fuzz --target {} --replay FILE",
            kept.display(),
            target.name
        );
        std::panic::resume_unwind(panic);
    }
}

fn check(target: &Target, inputs: usize) {
    let inputs = std::env::var("FUZZ_TEST_INPUTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(inputs);
    let mut originals = seeds(target.name);
    assert!(!originals.is_empty(), "{} has no seeds", target.name);
    originals.extend(corpus(target));
    originals.iter().for_each(|input| run(target, input));
    let mut random = Random::new(1);
    for _ in 0..inputs {
        let original = &originals[random.below(originals.len())];
        run(target, &random.mutate(original));
    }
}

#[test]
fn decoders_keep_their_claims_on_the_corpus_and_broken_copies_of_it() {
    let decoders = TARGETS.iter().filter(|target| !target.is_world());
    decoders.for_each(|target| check(target, INPUTS));
}

#[test]
fn recovery_keeps_its_claims_on_the_corpus_and_broken_copies_of_it() {
    check(fuzz::find("recovery").unwrap(), INPUTS_OF_A_WORLD);
}

#[test]
fn a_server_keeps_its_claims_on_the_corpus_and_broken_copies_of_it() {
    check(fuzz::find("connection").unwrap(), INPUTS_OF_A_WORLD);
}
