//! `ringmq`: what there is for people beside RocketMQ's programs: a broker or a whole cluster with one command.

mod check;
mod cluster;
mod deploy;
mod first_message;
mod layout;
mod services;
mod single;
mod status;
mod up;

use broker::program::BAD_ARGUMENTS;
use broker::start::{complain, say};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RingMQ: a message broker that RocketMQ's clients and tools use as they are
#[derive(Debug, Parser)]
#[command(name = "ringmq", version, about, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a broker and a name server, or a cluster of them, and send a message through each broker
    #[command(after_help = UP_EXAMPLES)]
    Up(up::Options),
    /// Show the services of a cluster that `ringmq up LAYOUT` started
    #[command(after_help = "Exit code: 0 when all of them run, 1 when one does not.")]
    Status(status::Options),
    /// Stop the services of a cluster that `ringmq up LAYOUT` started; the data stays
    Down(cluster::DownOptions),
    /// Say what is wrong with configuration files of brokers, each alone and all of them on one machine
    #[command(after_help = CHECK_EXAMPLES)]
    Check(check::Options),
    /// mqnamesrv and mqbroker, for the processes that `up` starts
    #[command(hide = true, subcommand)]
    Serve(Serve),
}

#[derive(Debug, Subcommand)]
enum Serve {
    #[command(disable_help_flag = true)]
    Namesrv {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(disable_help_flag = true)]
    Broker {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

const EXAMPLES: &str = "\
Examples:
  ringmq up                                 a name server and a broker, to try things with
  ringmq up 2m2s --detach                   two masters with a slave each, and back to the shell
  ringmq status; ringmq down
  ringmq check broker-a.properties broker-b-s.properties

`ringmq COMMAND --help` has more of each.";

const UP_EXAMPLES: &str = "\
Examples:
  ringmq up                                a name server and a broker in this process
  ringmq up 2m2s                           two masters, a slave each, a name server; each a process of its own, until Ctrl-C
  ringmq up 3m-noslave --name-servers 3 --detach
  ringmq up 2m2s --systemd units           writes a unit for each service, and starts nothing
  ringmq status
  ringmq down

With a layout, each service gets a folder in --data with a configuration file, which is yours to edit and is not written
again. `up` once more starts what does not run.";

const CHECK_EXAMPLES: &str = "\
Examples:
  ringmq check broker-a.properties
  ringmq check broker-a.properties broker-b.properties

Nothing is started. Exit code: 0 when all of them could start side by side, 253 when not.";

/// Why a command ended.
#[derive(Debug)]
struct Failure {
    /// For standard error.
    text: String,
    /// Exit code, as of mqbroker.
    code: u8,
}

impl From<String> for Failure {
    fn from(problem: String) -> Failure {
        Failure {
            text: format!("ringmq: {problem}\n"),
            code: broker::program::START_FAILED,
        }
    }
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
    let ended = match command {
        Command::Up(options) => up::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Status(options) => status::run(&options),
        Command::Down(options) => cluster::down(&options).map(|()| ExitCode::SUCCESS),
        Command::Check(options) => check::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Serve(Serve::Namesrv { arguments }) => return namesrv::program::main(named("mqnamesrv", arguments)),
        Command::Serve(Serve::Broker { arguments }) => return broker::start::main(named("mqbroker", arguments)),
    };
    ended.unwrap_or_else(|failure| {
        complain(&failure.text);
        ExitCode::from(failure.code)
    })
}

fn named(program: &str, arguments: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(program)).chain(arguments)
}
