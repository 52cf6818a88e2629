//! `ringmq check`: what is wrong with brokers' configuration files, alone and side by side.

use crate::Failure;
use broker::config::{BrokerConfig, Finding, Machine, Severity};
use broker::preflight::judge_together;
use broker::program::{self, BAD_CONFIGURATION, Look};
use broker::start::say;
use std::path::{Path, PathBuf};

/// Options of `ringmq check`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Configuration files of brokers that are to run on this machine
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// # Errors
/// When one of the brokers could not start; what there is to say has been said.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let configs = read(&options.files, &mut findings);
    findings.extend(together(&configs));
    let stops = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Stop)
        .count();
    for finding in &findings {
        say(&format!("{}: {finding}\n", finding.severity));
    }
    if stops == 0 {
        say(&format!("{} can start side by side\n", count(options.files.len())));
        return Ok(());
    }
    Err(Failure {
        text: format!("ringmq: {stops} of these stop a start\n"),
        code: BAD_CONFIGURATION,
    })
}

fn count(brokers: usize) -> String {
    match brokers {
        1 => "the broker".to_owned(),
        more => format!("all {more} brokers"),
    }
}

/// Reads each file, as a start of its broker would; what there is to say goes to `findings`, and who could not start is left out.
pub(crate) fn read(files: &[PathBuf], findings: &mut Vec<Finding>) -> Vec<(PathBuf, BrokerConfig)> {
    let machine = Machine::here();
    let mut configs = Vec::new();
    for file in files {
        match program::configure(Some(file), &[], &machine, Look::AtOnce) {
            Ok((config, said)) => {
                findings.extend(said);
                configs.push((file.clone(), config));
            }
            Err(said) => findings.extend(said),
        }
    }
    configs
}

/// What is wrong between any two.
pub(crate) fn together(configs: &[(PathBuf, BrokerConfig)]) -> Vec<Finding> {
    let brokers: Vec<(&Path, &BrokerConfig)> = configs.iter().map(|(file, config)| (file.as_path(), config)).collect();
    judge_together(&brokers)
}
