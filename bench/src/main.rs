//! `mqbench`: load on any broker that speaks RocketMQ's remoting protocol, with latency histograms and the broker's CPU.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

use bench::{consume, produce, report, workload};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(
    name = "mqbench",
    version,
    about = "Load on a RocketMQ-compatible broker: rates, latency percentiles, broker CPU per message",
    after_help = "Examples:\n  \
        mqbench produce --namesrv 127.0.0.1:9876 --topic bench --queues 8 --connections 64 --depth 16 --duration 20\n  \
        mqbench produce --namesrv 127.0.0.1:9876 --topic bench --rate 5000 --json out.json     fixed rate: latency counts from when a message was due\n  \
        mqbench consume --namesrv 127.0.0.1:9876 --topic bench --connections 4 --duration 20 --pid $(pidof mqbroker)"
)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Send messages: closed loop, or at a fixed rate with --rate.
    Produce(workload::Options),
    /// Read messages as they come, or a backlog from its beginning with --from-first.
    Consume {
        #[command(flatten)]
        options: workload::Options,
        /// Begin at the oldest message instead of the next one.
        #[arg(long)]
        from_first: bool,
    },
}

fn main() -> ExitCode {
    let (options, outcome) = match Arguments::parse().mode {
        Mode::Produce(options) => {
            let outcome = produce::run(&options);
            (options, outcome)
        }
        Mode::Consume { options, from_first } => {
            let outcome = consume::run(&options, from_first);
            (options, outcome)
        }
    };
    match outcome.and_then(|measured| report::publish(&options, &measured)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("mqbench: {problem}");
            ExitCode::FAILURE
        }
    }
}
