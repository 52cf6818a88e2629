//! Checks of the storage, each a command: `crash-states`, `bit-flips`, `museum`. Run them by `cargo xtask`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod bit_flips;
mod crash_states;
mod examine;
mod fates;
mod history;
mod messages;
#[cfg(feature = "museum")]
mod museum;
mod scan;
mod stale;
mod store;
mod workload;

use bit_flips::{FlipId, Flips};
use clap::{Parser, Subcommand};
use crash_states::{Disks, Extent, StateId, Totals};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Debug, Parser)]
#[command(
    name = "storage-checks",
    about = "What the engine leaves on a disk, and what it makes of it"
)]
struct Arguments {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Recover from every kind of crash of recorded workloads.
    CrashStates {
        /// States to look at, at least.
        #[arg(long, default_value_t = 5_000)]
        states: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Only this state, SEED:LIFE:NUMBER, as a failure names it.
        #[arg(long)]
        replay: Option<StateId>,
        /// Threads; all cores without it.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Harm a store anywhere, at rest and while it is open, and read everything.
    BitFlips {
        /// Flips to make, at least.
        #[arg(long, default_value_t = 2_000)]
        flips: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Only this flip, SEED:NUMBER, as a failure names it.
        #[arg(long)]
        replay: Option<FlipId>,
        /// Threads; all cores without it.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Plant old bugs in the engine and find each.
    #[cfg(feature = "museum")]
    Museum {
        /// Seeds that each check may take for one bug.
        #[arg(long, default_value_t = 16)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().check {
        Check::CrashStates { replay: Some(id), .. } => replay(id),
        Check::BitFlips { replay: Some(id), .. } => replay_flip(id),
        Check::BitFlips { flips, from, jobs, .. } => bit_flips(flips, from, jobs.unwrap_or_else(cores)),
        #[cfg(feature = "museum")]
        Check::Museum { seeds } => museum::run(seeds),
        Check::CrashStates { states, from, jobs, .. } => crash_states(states, from, jobs.unwrap_or_else(cores)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("storage-checks: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Seeds of a control run: with a disk that lies, some must lose acknowledged messages.
const CONTROL_SEEDS: u64 = 4;
/// Failures after which a run ends.
const FAILURES_MAX: usize = 10;

fn replay(id: StateId) -> Result<(), String> {
    let totals = crash_states::run_seed(id.seed, Disks::Honest, Extent::Only(id));
    match totals.failures.first() {
        Some(failure) => Err(failure.clone()),
        None if totals.count() == 0 => Err(format!("there is no state {id}")),
        None => {
            println!("state {id}: nothing wrong, {:?}", totals.states);
            Ok(())
        }
    }
}

fn crash_states(states: u64, from: u64, jobs: usize) -> Result<(), String> {
    let started = Instant::now();
    let totals = run_seeds(from, jobs, Disks::Honest, |totals| {
        totals.count() >= states || totals.failures.len() >= FAILURES_MAX
    });
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} states of {} seeds in {seconds:.1} s ({:.0} a second, {jobs} threads): {:?}",
        totals.count(),
        totals.seeds,
        per_second(totals.count(), seconds),
        totals.states,
    );
    println!(
        "{} acknowledged messages had to be there over all states, {} messages were found, {} states had lost something that \
         may be lost; {} failures",
        totals.sure,
        totals.found,
        totals.shortened,
        totals.failures.len(),
    );
    for failure in &totals.failures {
        println!("FAILED {failure}");
    }
    if !totals.failures.is_empty() {
        return Err("to repeat one state: cargo xtask crash-states --replay SEED:LIFE:NUMBER".to_owned());
    }
    let control = run_seeds(from, jobs, Disks::Lying, |totals| {
        totals.seeds >= CONTROL_SEEDS || !totals.failures.is_empty()
    });
    println!(
        "control, a disk whose syncs do nothing: {} of {} states failed",
        control.failures.len(),
        control.count() + control.failures.len() as u64,
    );
    if control.failures.is_empty() {
        return Err("a disk that lies was not found out: this check cannot fail".to_owned());
    }
    Ok(())
}

fn per_second(count: u64, seconds: f64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds.max(0.001)
}

fn replay_flip(id: FlipId) -> Result<(), String> {
    let flips = bit_flips::run_seed(id.seed, Some(id.number));
    match flips.failures.first() {
        Some(failure) => Err(failure.clone()),
        None if flips.count() == 0 => Err(format!("there is no flip {id}")),
        None => {
            println!("flip {id}: nothing wrong, {:?}", flips.outcomes);
            Ok(())
        }
    }
}

fn bit_flips(flips: u64, from: u64, jobs: usize) -> Result<(), String> {
    let started = Instant::now();
    let done = |found: &Flips| found.count() >= flips || found.failures.len() >= FAILURES_MAX;
    let found = run_all(from, jobs, |seed| bit_flips::run_seed(seed, None), Flips::add, done);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} flips in {} stores in {seconds:.1} s ({:.0} a second, {jobs} threads): {:?}",
        found.count(),
        found.seeds,
        per_second(found.count(), seconds),
        found.kinds,
    );
    println!(
        "what came of them: {:?}; {} messages served as they were sent, {} refused with an error, 0 wrong; {} failures",
        found.outcomes,
        found.served,
        found.refused,
        found.failures.len(),
    );
    for failure in &found.failures {
        println!("FAILED {failure}");
    }
    if found.failures.is_empty() {
        Ok(())
    } else {
        Err("to repeat one flip: cargo xtask bit-flips --replay SEED:NUMBER".to_owned())
    }
}

fn run_seeds(from: u64, jobs: usize, disks: Disks, done: impl Fn(&Totals) -> bool + Sync) -> Totals {
    let run = |seed| crash_states::run_seed(seed, disks, Extent::All);
    run_all(from, jobs, run, Totals::add, done)
}

/// Takes seed after seed on all threads until `done`.
fn run_all<T: Default + Send>(
    from: u64,
    jobs: usize,
    run: impl Fn(u64) -> T + Sync,
    add: impl Fn(&mut T, T) + Sync,
    done: impl Fn(&T) -> bool + Sync,
) -> T {
    let next = AtomicU64::new(from);
    let totals = Mutex::new(T::default());
    std::thread::scope(|threads| {
        for _ in 0..jobs {
            threads.spawn(|| {
                loop {
                    if totals.lock().is_ok_and(|totals| done(&totals)) {
                        return;
                    }
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let of_seed = run(seed);
                    if let Ok(mut totals) = totals.lock() {
                        add(&mut totals, of_seed);
                    }
                }
            });
        }
    });
    totals.into_inner().unwrap_or_default()
}
