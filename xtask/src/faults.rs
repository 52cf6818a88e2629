//! Real faults under real servers: builds what they need, and runs `tests/faults` at length.

use crate::run;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only these; separated by commas.
    #[arg(long)]
    only: Option<String>,
    /// Run the same script against another broker: its counts are printed and not judged.
    #[arg(long, value_enum, requires = "apache_lib")]
    against: Option<Peer>,
    /// The folder of Apache RocketMQ's jars.
    #[arg(long, env = "RINGMQ_TEST_APACHE_LIB")]
    apache_lib: Option<String>,
    /// About how long each fault may take.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    Apache,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    run::check("cargo", &["build", "--release", "--workspace", "--bins"])?;
    let minutes = options.minutes.to_string();
    let library = match (options.against, &options.apache_lib) {
        (Some(Peer::Apache), Some(library)) => format!("RINGMQ_TEST_APACHE_LIB={library}"),
        // Set for other commands: without --against it is ours that is tested.
        _ => "--unset=RINGMQ_TEST_APACHE_LIB".to_owned(),
    };
    let mut arguments = vec![
        library.as_str(),
        "cargo",
        "test",
        "--release",
        "--package",
        "tests",
        "--test",
        "faults",
    ];
    arguments.extend(["--", "--minutes", &minutes]);
    if let Some(only) = &options.only {
        arguments.extend(["--only", only]);
    }
    run::check("env", &arguments)
}

#[derive(Debug, Args)]
pub(crate) struct ChaosOptions {
    /// How long things are broken; without it, some seconds.
    #[arg(long)]
    minutes: Option<u64>,
    /// What is drawn: a run that failed names its seed.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn chaos(options: &ChaosOptions) -> Result<(), String> {
    run::check("cargo", &["build", "--release", "--workspace", "--bins"])?;
    let numbers = [("--minutes", options.minutes), ("--seed", options.seed)];
    let given = numbers
        .iter()
        .filter_map(|(name, number)| Some([(*name).to_owned(), number.as_ref()?.to_string()]));
    let given: Vec<String> = given.flatten().collect();
    let mut arguments = vec!["test", "--release", "--package", "tests", "--test", "chaos", "--"];
    arguments.extend(given.iter().map(String::as_str));
    run::check("cargo", &arguments)
}
