//! `simulate`: plays seeds on several processes, prints what they did, and fails when one of them does.
//!
//! A seed plays in a worker process, since a release build ends at a panic: the first process reads what its workers print,
//! counts a worker that dies as a failure of the seed it was at, and starts another behind it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod arguments;
mod shrink;
mod team;
mod worker;

use arguments::Arguments;
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.worker, arguments.shrink) {
        (Some(worker), _) => worker::work(&arguments, worker),
        (None, Some(seed)) => shrink::shrink(&arguments, seed),
        (None, None) => team::play(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("simulate: {problem}");
            ExitCode::FAILURE
        }
    }
}
