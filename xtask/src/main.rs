//! Chores: `cargo xtask test` runs everything that guards this project, `cargo xtask lint` what reads it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod faults;
mod requirements;
mod run;
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
    /// Break disks, clocks and processes under real servers, at length, and count what is lost. Needs root.
    #[command(
        after_help = "Examples:\n  cargo xtask faults --minutes 10\n  cargo xtask faults --only sync-error-zram,sync-error-fuse --against apache --apache-lib DIR\n\nA fault that this machine has no means for is skipped and says so: FUSE, loop devices, zram, fsfreeze, libfaketime (Debian's\npackage libfaketime). `cargo test --package tests --test faults -- --list` names every fault."
    )]
    Faults(faults::Options),
    /// Formatting, clippy with warnings denied, and cargo-deny.
    Lint,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Test { quick } => tests::run(quick),
        Chore::Faults(options) => faults::run(&options),
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
