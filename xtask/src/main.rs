//! Chores: `cargo xtask test` runs everything that guards this project, `cargo xtask lint` what reads it,
//! `cargo xtask sim` plays seeds at length.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod dist;
mod faults;
mod fuzz;
mod leftovers;
mod requirements;
mod run;
mod simulation;
mod storage;
mod tests;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the RingMQ workspace")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what is missing, then run every test; the last line counts them all.
    #[command(
        after_help = "Examples:\n  cargo xtask test            everything, with real Java, Go, Rust and C++ clients\n  cargo xtask test --quick    what needs no other language's tools"
    )]
    Test {
        /// Leave out what needs Java, Go or Python.
        #[arg(long)]
        quick: bool,
    },
    /// Recover a store from recorded crashes: kills, and power cuts with every subset, tear and lost name.
    #[command(
        after_help = "Examples:\n  cargo xtask crash-states --states 50000\n  cargo xtask crash-states --replay 7:1:345   one state, as a failure names it"
    )]
    CrashStates {
        /// Handed on: --states N, --from SEED, --replay SEED:LIFE:NUMBER, --jobs N.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Harm a store anywhere, bit by bit or by the sector, and read everything in it.
    #[command(
        after_help = "Examples:\n  cargo xtask bit-flips --flips 20000\n  cargo xtask bit-flips --replay 7:45         one flip, as a failure names it"
    )]
    BitFlips {
        /// Handed on: --flips N, --from SEED, --replay SEED:NUMBER, --jobs N.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plant old bugs of message stores in the engine, one by one, and find each with the checks above.
    Museum {
        /// Handed on: --seeds N.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Play the whole cluster in a simulated world, seed after seed, while everything fails.
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  cargo xtask sim --seeds 2000    two thousand seeds\n  cargo xtask sim --shrink 77     what of seed 77 is needed to fail\n  cargo xtask sim --help          all options"
    )]
    Sim {
        /// Arguments of `simulate`: --seeds N, --from S, --minutes M, --shrink SEED, --canary, --twice, --log, --off KIND.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Break disks, clocks and processes under real servers, at length, and count what is lost. Needs root.
    #[command(
        after_help = "Examples:\n  cargo xtask faults --minutes 10\n  cargo xtask faults --only sync-error-zram,sync-error-fuse --against apache --apache-lib DIR\n\nA fault that this machine has no means for is skipped and says so: FUSE, loop devices, zram, fsfreeze, libfaketime (Debian's\npackage libfaketime). `cargo test --package tests --test faults -- --list` names every fault."
    )]
    Faults(faults::Options),
    /// Kill, pause and cut off real masters, slaves and name servers on three hosts, and count what is lost. Needs root.
    #[command(
        after_help = "Examples:\n  cargo xtask chaos --minutes 10\n  cargo xtask chaos --seed 7     some seconds, with what seed 7 draws"
    )]
    Chaos(faults::ChaosOptions),
    /// Hostile bytes for every decoder: libFuzzer on each target of the `fuzz` crate, 60 seconds in all if not told otherwise.
    #[command(
        after_help = "Examples:\n  cargo xtask fuzz --runs 20000000\n  cargo xtask fuzz --target recovery --seconds 600\n  cargo xtask fuzz --target frame --replay FILE"
    )]
    Fuzz(fuzz::Options),
    /// Programs for servers, built with what a load has told the compiler: `target/dist/ringmq-VERSION-TARGET.tar.gz`.
    #[command(
        after_help = "Examples:\n  cargo xtask dist                           two builds and half a minute of load in between\n  cargo xtask dist --only mqbroker --no-archive"
    )]
    Dist(dist::Options),
    /// Formatting, clippy with warnings denied, and cargo-deny.
    Lint,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Test { quick } => tests::run(quick),
        Chore::CrashStates { arguments } => storage::check("crash-states", &arguments),
        Chore::BitFlips { arguments } => storage::check("bit-flips", &arguments),
        Chore::Museum { arguments } => storage::museum(&arguments),
        Chore::Sim { arguments } => simulation::run(&arguments),
        Chore::Faults(options) => faults::run(&options),
        Chore::Chaos(options) => faults::chaos(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Dist(options) => dist::run(&options),
        Chore::Lint => lint(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn lint() -> Result<(), String> {
    run::check("cargo", &["fmt", "--all", "--check"])?;
    run::check(
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    )?;
    lint_bans()?;
    requirements::cargo_deny()?;
    run::check(
        "cargo",
        &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
    )
}

/// What the crates that decide about data may not call, by a configuration of its own: the root's would hold for tests,
/// tools and `runtime` too.
fn lint_bans() -> Result<(), String> {
    let mut arguments = vec!["CLIPPY_CONF_DIR=.ci/bans", "cargo", "clippy", "--no-deps", "--lib"];
    for package in ["protocol", "remoting", "engine", "namesrv", "broker"] {
        arguments.extend(["--package", package]);
    }
    arguments.extend([
        "--",
        "-D",
        "clippy::disallowed_types",
        "-D",
        "clippy::disallowed_methods",
    ]);
    run::check("env", &arguments)
}
