//! `mqbench`: load on any broker that speaks RocketMQ's remoting protocol, and the truth about how it was borne.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

use bench::Error;
use bench::apache::{Letters, translate};
use bench::options::{Format, Options};
use bench::report::{Findings, publish};
use bench::scenario::{self, Mode};
use bench::self_test;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a run that went well and missed an objective or found a message wrong.
const CHECK_FAILED: u8 = 3;

const EXAMPLES: &str = "Examples:
  mqbench produce --topic bench --connections 64 --depth 16 --duration 20
          as fast as answers come: throughput
  mqbench produce --topic bench --open-loop --rate 5000 --slo 'p99<5ms' --html run.html
          5,000 messages a second whatever the broker does: latency; exit code 3 if p99 is 5 ms or more
  mqbench sweep --slo 'p99<10ms' --from 10000
          the highest rate with p99 below 10 ms
  mqbench e2e --rate 1000 --open-loop            from when a message was due to its arrival at a reader
  mqbench catch-up --backlog 1000000 --rate 5000 how fast a backlog is read, and what sends suffer meanwhile
  mqbench produce --against ours=127.0.0.1:9876@4711,apache=127.0.0.1:9877@4712 --rounds 5
  mqbench produce --verify                       names every message that was lost, doubled, reordered or changed

Name servers come from --namesrv or NAMESRV_ADDR. Exit codes: 0 good, 1 the run failed, 2 wrong arguments,
3 an objective was missed or a message is wrong. How to measure honestly: docs/mqbench.md.";

#[derive(Debug, Parser)]
#[command(
    name = "mqbench",
    version,
    about = "Load on a RocketMQ-compatible broker: rates, latency percentiles, broker CPU per message",
    after_help = EXAMPLES
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send messages: closed loop, or by a schedule with --rate.
    #[command(after_help = EXAMPLES)]
    Produce {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        letters: Letters,
    },
    /// Read messages as they come, or a backlog from its beginning with --from-first.
    Consume {
        #[command(flatten)]
        options: Options,
        /// Begin at the oldest message instead of the next one.
        #[arg(long)]
        from_first: bool,
    },
    /// Send and read at once; latency is from when a message was due to its arrival at a reader.
    E2e {
        #[command(flatten)]
        options: Options,
    },
    /// Send and read at once; latency is that of the sends.
    Mixed {
        #[command(flatten)]
        options: Options,
    },
    /// Pile messages up, then read them as fast as it goes, while more are sent if --rate is given.
    CatchUp {
        #[command(flatten)]
        options: Options,
        /// Messages that are piled up first; 0 reads what is there.
        #[arg(long, default_value_t = 0)]
        backlog: u64,
    },
    /// Find the knee: the highest rate at which every --slo is met (p99<10ms if none is given).
    Sweep {
        #[command(flatten)]
        options: Options,
        /// Messages a second of the first run.
        #[arg(long, default_value_t = 1000.0)]
        from: f64,
        /// How near to each other the last good and the first bad rate have to be: 0.05 is 5 %.
        #[arg(long, default_value_t = 0.05)]
        precision: f64,
    },
    /// Measure what this machine's disk and loopback can do at best.
    SelfTest {
        /// A directory on the disk to be measured.
        directory: PathBuf,
        /// What is printed: a table or JSON.
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(translate(std::env::args()));
    match execute(arguments.command) {
        Ok((text, good)) => {
            print!("{text}");
            if good {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(CHECK_FAILED)
            }
        }
        Err(problem) => {
            eprintln!("mqbench: {problem}");
            match problem {
                Error::Arguments(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn execute(command: Command) -> Result<(String, bool), Error> {
    let measured = |mode, options: Options| {
        let findings = scenario::measure(mode, &options)?;
        shown(&findings, &options)
    };
    match command {
        Command::Produce { mut options, letters } => {
            letters.apply(&mut options)?;
            measured(Mode::Produce, options)
        }
        Command::Consume { options, from_first } => measured(Mode::Consume { from_first }, options),
        Command::E2e { options } => measured(Mode::EndToEnd, options),
        Command::Mixed { options } => measured(Mode::Mixed, options),
        Command::CatchUp { options, backlog } => measured(Mode::CatchUp { backlog }, options),
        Command::Sweep {
            options,
            from,
            precision,
        } => {
            if !(from > 0.0 && precision > 0.0) {
                return Err(Error::Arguments(
                    "--from and --precision must be more than 0".to_owned(),
                ));
            }
            let findings = scenario::sweep(&options, from, precision)?;
            shown(&findings, &options)
        }
        Command::SelfTest { directory, output } => Ok((self_test::measure(&directory)?.text(output), true)),
    }
}

fn shown(findings: &Findings, options: &Options) -> Result<(String, bool), Error> {
    publish(findings, &options.output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn produce(line: &str) -> Result<(Options, Letters), clap::Error> {
        let arguments = translate(line.split_whitespace().map(str::to_owned));
        match Arguments::try_parse_from(arguments)?.command {
            Command::Produce { options, letters } => Ok((options, letters)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_command_line_of_the_first_version_is_taken() {
        let line = "mqbench produce --namesrv a:1 --topic T --queues 4 --size 1024 --connections 8 --depth 2 --duration 20 \
                    --rate 100 --pid 1,2 --json out.json --warmup 1 --cores 1 --label x";
        let (options, _letters) = produce(line).unwrap();
        assert_eq!((options.queues, options.depth, options.pid), (4, 2, vec![1, 2]));
    }

    #[test]
    fn the_letters_of_apaches_producer_mean_what_they_mean_there() {
        let line = "mqbench produce -n a:1 -t T -w 32 -s 128 -q 1000 -k true -l 3 -p 20 -y true -d true -e 2 -m false -a false -ri 500";
        let (mut options, letters) = produce(line).unwrap();
        letters.apply(&mut options).unwrap();
        assert_eq!((options.namesrv.as_str(), options.topic.as_str()), ("a:1", "T"));
        assert_eq!((options.connections, options.quantity, options.depth), (32, 1000, 64));
        let messages = &options.messages;
        assert_eq!(
            (messages.size.max(), messages.tags, messages.property_size),
            (128, 3, 20)
        );
        assert!(messages.keys > 0 && messages.delay_level == 2 && options.output.report_interval == 500);
    }

    #[test]
    fn a_letter_that_asks_for_what_is_not_done_is_refused_with_the_way_out() {
        let (mut options, letters) = produce("mqbench produce -c true").unwrap();
        let error = letters.apply(&mut options).unwrap_err().to_string();
        assert!(error.contains("--compressible"), "{error}");
    }
}
