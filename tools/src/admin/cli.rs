//! The command line of mqadmin, made of the commands in [`registry`]. Apache's names are hidden from the overview, but each has its
//! own help.

use super::context::{Context, NAMESRV_DEFAULT};
use super::error::Error;
use super::format::Format;
use super::registry::{self, Does, Entry, NOUNS};
use super::spelling::normalize;
use crate::output;
use clap::builder::{EnumValueParser, RangedU64ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};
use runtime::probe::{IoPath, Refusal};
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

const AFTER_HELP: &str = "Examples:
  mqadmin cluster list -n 127.0.0.1:9876        or  mqadmin clusterList -n 127.0.0.1:9876
  mqadmin topic create -t Orders -c DefaultCluster -r 8 -w 8
  mqadmin group progress -g Billing --watch     lag of a consumer group, queue by queue, every 2 s
  mqadmin message send -t Orders -p 'hello' -k order-17 -c TagA
  mqadmin doctor                                what is wrong here, and how to mend it

Apache's names and letters work as they are: `mqadmin commands` lists all of them beside ours, `mqadmin NAME --help` explains one.
Name servers: -n, else NAMESRV_ADDR, else 127.0.0.1:9876. Every command takes -o table|wide|json|yaml (--output where
-o is a letter of Apache's) and --watch. Exit codes: 0 done, 1 failed, 2 usage.";

/// The whole command line.
pub(super) fn command_line() -> Command {
    let mut top = Command::new("mqadmin")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Questions to a RocketMQ-compatible cluster and changes to it")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .after_help(AFTER_HELP);
    let mut nouns: Vec<Command> = NOUNS
        .iter()
        .map(|(noun, about)| {
            Command::new(*noun)
                .about(*about)
                .subcommand_required(true)
                .arg_required_else_help(true)
        })
        .collect();
    for entry in registry::entries() {
        if !entry.apache.is_empty() {
            top = top.subcommand(one(entry, entry.apache).hide(true));
        }
        match entry.modern.split_once(' ') {
            Some((noun, verb)) => {
                if let Some(place) = nouns.iter_mut().find(|command| command.get_name() == noun) {
                    *place = std::mem::take(place).subcommand(one(entry, verb));
                }
            }
            None if !entry.modern.is_empty() => top = top.subcommand(one(entry, entry.modern)),
            None => {}
        }
    }
    top.subcommands(nouns)
}

fn one(entry: &Entry, name: &'static str) -> Command {
    let command = Command::new(name).about(entry.about);
    match entry.does {
        Does::Missing(feature) => command.after_help(format!("Not there yet: {feature}.")).arg(
            Arg::new("anything")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .hide(true),
        ),
        Does::Run { arguments, .. } => {
            let lines = entry
                .command_lines()
                .fold("Examples:".to_owned(), |text, line| text + "\n  " + &line);
            // Arguments that are flattened bring words of their own.
            with_common(arguments(command)).about(entry.about).after_help(lines)
        }
    }
}

/// Adds what every command takes; `-o` only where the command has no such letter itself, as Apache's letters come first.
fn with_common(command: Command) -> Command {
    let letter_is_taken = command
        .get_arguments()
        .any(|argument| argument.get_short() == Some('o'));
    let output = Arg::new("output-format")
        .long("output")
        .value_name("FORMAT")
        .value_parser(EnumValueParser::<Format>::new())
        .default_value("table")
        .hide_possible_values(true)
        .help("How to print: table, wide, json or yaml");
    let seconds = |last| RangedU64ValueParser::<u64>::new().range(1..=last);
    let common = [
        Arg::new("namesrv-addresses")
            .short('n')
            .long("namesrvAddr")
            .alias("namesrv")
            .value_name("ADDRS")
            .help("Name servers, HOST:PORT, several parted by ';' [default: NAMESRV_ADDR, else 127.0.0.1:9876]"),
        if letter_is_taken { output } else { output.short('o') },
        Arg::new("watch-interval")
            .long("watch")
            .value_name("S")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("2")
            .value_parser(seconds(86_400))
            .help("Print again every S seconds (2 if not given), until stopped"),
        Arg::new("no-headers")
            .long("no-headers")
            .action(ArgAction::SetTrue)
            .help("Tables without the line that names the columns"),
        Arg::new("request-timeout")
            .long("timeout")
            .value_name("S")
            .default_value("3")
            .value_parser(seconds(3_600))
            .help("Seconds to wait for an answer"),
    ];
    command.args(common.map(|argument| argument.help_heading("For every command").display_order(1_000)))
}

/// Runs mqadmin with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = command_line();
    let arguments = normalize(&command, arguments);
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return output::usage(&error),
    };
    let Some((entry, matches)) = chosen(&matches) else {
        return ExitCode::from(output::USAGE);
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let no_files = IoPath::Blocking(Refusal::Configured);
    let done = runtime::core::run_here(&no_files, perform(entry, matches, &mut out));
    // What was found before something failed is told too.
    let flushed = out.flush().map_err(Error::from);
    match done.map_err(Error::from).and_then(|done| done).and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Told) => ExitCode::from(output::FAILED),
        Err(Error::Usage(error)) => output::usage(&error),
        Err(error) => output::failure(&error),
    }
}

/// The entry that a command line has chosen, with its arguments.
fn chosen(matches: &ArgMatches) -> Option<(&'static Entry, &ArgMatches)> {
    let (name, matches) = matches.subcommand()?;
    if let Some((verb, matches)) = matches.subcommand() {
        let modern = format!("{name} {verb}");
        return registry::entries()
            .find(|entry| entry.modern == modern)
            .map(|entry| (entry, matches));
    }
    let entry = registry::entries().find(|entry| entry.apache == name || entry.modern == name);
    entry.map(|entry| (entry, matches))
}

async fn perform(entry: &Entry, matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Error> {
    let run = match entry.does {
        Does::Run { run, .. } => run,
        Does::Missing(feature) => {
            let cause = format!("{} is not there yet: {feature}", entry.apache);
            return Err(Error::other(
                cause,
                "`mqadmin commands` shows what is; the published mqadmin asks an Apache cluster",
            ));
        }
    };
    let context = context_of(matches)?;
    let Some(&interval) = matches.get_one::<u64>("watch-interval") else {
        return run(matches, &context, out).await;
    };
    loop {
        let mut text = Vec::new();
        let done = run(matches, &context, &mut text).await;
        if io::stdout().is_terminal() {
            // The cursor goes home and what was there goes away.
            write!(out, "\x1b[H\x1b[2J")?;
        }
        out.write_all(&text)?;
        out.flush()?;
        match done {
            Ok(()) | Err(Error::Told) => {}
            Err(error @ (Error::Output(_) | Error::Usage(_))) => return Err(error),
            // A broker that is away for a while does not end the watch.
            Err(error) => writeln!(io::stderr().lock(), "error: {error}")?,
        }
        runtime::sleep(Duration::from_secs(interval)).await;
    }
}

fn context_of(matches: &ArgMatches) -> Result<Context, Error> {
    let of_environment = || {
        std::env::var("NAMESRV_ADDR")
            .ok()
            .filter(|addresses| !addresses.trim().is_empty())
    };
    let given = matches.get_one::<String>("namesrv-addresses").cloned();
    let addresses = given
        .or_else(of_environment)
        .unwrap_or_else(|| NAMESRV_DEFAULT.to_owned());
    let seconds = matches.get_one::<u64>("request-timeout").copied().unwrap_or(3);
    let format = matches.get_one::<Format>("output-format").copied().unwrap_or_default();
    let headers = !matches.get_flag("no-headers");
    Context::new(&addresses, Duration::from_secs(seconds), format, headers)
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
