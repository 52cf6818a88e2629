//! `ringmq`: what there is for people beside RocketMQ's programs.

use broker::program::BAD_ARGUMENTS;
use broker::start::{complain, say};
use broker::up;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RingMQ: a message broker that RocketMQ's clients and tools use as they are
#[derive(Debug, Parser)]
#[command(name = "ringmq", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a name server and a broker in this process, and send one message through them
    Up(up::Options),
}

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(error) if error.use_stderr() => {
            complain(&error.render().to_string());
            return ExitCode::from(BAD_ARGUMENTS);
        }
        Err(help) => {
            say(&help.render().to_string());
            return ExitCode::SUCCESS;
        }
    };
    let Command::Up(options) = command;
    match up::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.text);
            ExitCode::from(failure.code)
        }
    }
}
