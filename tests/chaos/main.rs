//! Kills, pauses and partitions of real processes on the hosts of a rehearsal, while the simulator's own producers and consumers
//! use the cluster over real sockets; then a time without faults, everything is read back, and the checker judges.
//!
//! Two masters, a slave each, three name servers, on three hosts. `cargo xtask chaos --minutes 10` runs it at length; without
//! `--minutes` it is a matter of seconds. What is drawn, and when, follows from the seed; what the machine makes of it does not.
#![expect(clippy::print_stdout, reason = "a test program talks to its user")]

mod nemesis;
mod traffic;

use clap::Parser;
use nemesis::Nemesis;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests::servers_on_hosts::Rehearsal;
use traffic::Traffic;

/// How long the short form breaks things.
const SHORT: Duration = Duration::from_secs(7);
/// Between two events on average: a hundred in ten minutes, and more in the short form.
const INTERVAL: Duration = Duration::from_secs(6);
const SHORT_INTERVAL: Duration = Duration::from_millis(700);

#[derive(Debug, Parser)]
#[command(about = "Kills, pauses and cuts off real brokers and name servers, and counts what is lost")]
struct Arguments {
    /// The long form: so many minutes of faults.
    #[arg(long)]
    minutes: Option<u64>,
    /// What is drawn; another one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Accepted for the sake of callers that pass it to every test program.
    #[arg(long, short, hide = true)]
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begin = Instant::now();
    let servers = match Rehearsal::new(traffic::CLIENTS) {
        Ok(servers) => servers,
        Err(why) => {
            println!("chaos ... skipped: {why}\ntest result: ok. 0 passed; 0 failed; 1 ignored; finished in 0.0s");
            return ExitCode::SUCCESS;
        }
    };
    let seed = arguments.seed.unwrap_or_else(tests::harness::seed);
    let (length, interval) = match arguments.minutes {
        Some(minutes) => (Duration::from_secs(minutes * 60), INTERVAL),
        None => (SHORT, SHORT_INTERVAL),
    };
    let played = catch_unwind(AssertUnwindSafe(|| play(&servers, seed, length, interval)));
    let failure = match played {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_panic) => Some("it could not be played to its end".to_owned()),
    };
    let took = begin.elapsed().as_secs_f64();
    match failure {
        None => {
            println!("test result: ok. 1 passed; 0 failed; 0 ignored; finished in {took:.1}s");
            ExitCode::SUCCESS
        }
        Some(failure) => {
            println!("chaos ... FAILED: {failure}\nagain: cargo xtask chaos --seed {seed}");
            println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; finished in {took:.1}s");
            ExitCode::FAILURE
        }
    }
}

fn play(servers: &Rehearsal, seed: u64, length: Duration, interval: Duration) -> Result<(), String> {
    println!("chaos with seed {seed} for {length:?}");
    let mut nemesis = Nemesis::new(servers, seed);
    let traffic = Traffic::start(servers)?;
    nemesis.rage(length, interval);
    nemesis.mend_everything();
    let verdict = traffic.judge();
    println!("{}", nemesis.figures());
    nemesis.check_processes()?;
    verdict
}
