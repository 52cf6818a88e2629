//! Checks of the storage, each a command: `crash-states`, `bit-flips`, `museum`. Run them by `cargo xtask`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod crash_states;
mod examine;
mod fates;
mod history;
mod messages;
mod scan;
mod workload;

use clap::{Parser, Subcommand};
use crash_states::{Disks, StateId, Totals};
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
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().check {
        Check::CrashStates { replay: Some(id), .. } => replay(id),
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
    let totals = crash_states::run_seed(id.seed, Disks::Honest, Some(id));
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

/// Takes seed after seed on all threads until `done`.
fn run_seeds(from: u64, jobs: usize, disks: Disks, done: impl Fn(&Totals) -> bool + Sync) -> Totals {
    let next = AtomicU64::new(from);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|threads| {
        for _ in 0..jobs {
            threads.spawn(|| {
                loop {
                    if totals.lock().is_ok_and(|totals| done(&totals)) {
                        return;
                    }
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let of_seed = crash_states::run_seed(seed, disks, None);
                    if let Ok(mut totals) = totals.lock() {
                        totals.add(of_seed);
                    }
                }
            });
        }
    });
    totals.into_inner().unwrap_or_default()
}
