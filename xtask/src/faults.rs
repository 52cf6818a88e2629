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
