//! What is wrong with a cluster and with this machine, each finding with its fix.
//!
//! [`look`] asks everybody once and at the same time, [`judge`] decides from what was answered, [`machine`] looks around here. A
//! question that nobody answers is a finding, never the end.

mod judge;
mod look;
mod machine;

use super::context::Context;
use super::error::Error;
use super::registry::{Entry, Run};
use super::time_text::local;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<Doctor>(
        ("", "doctor"),
        "What is wrong with this cluster and this machine, each finding with its fix",
        &["-n 127.0.0.1:9876", "--lag 100000 -o json", "--config broker.conf"],
    ),
    Entry::new::<StartMonitoring>(
        ("startMonitoring", "monitor"),
        "Look again and again, and tell when something begins or ends to be wrong",
        &["", "--every 10 --lag 100000"],
    ),
];

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Something does not work.
    Error,
    /// Something will not work, or not well.
    Warning,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Finding {
    severity: Severity,
    /// Whose trouble it is.
    about: String,
    cause: String,
    fix: String,
}

fn error(about: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Error,
        about: about.into(),
        cause: cause.into(),
        fix: fix.into(),
    }
}

fn warning(about: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..error(about, cause, fix)
    }
}

/// From where on something is wrong.
#[derive(Clone, Copy, Debug, Args)]
struct Limits {
    /// Messages that a consumer group may be behind
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    lag: i64,
    /// Bytes that a slave may be behind
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    slave_lag: i64,
    /// Percent of a disk that may be used
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
    disk: u8,
    /// Milliseconds that clocks may be apart
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    clock: i64,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    limits: Limits,
    /// Also check this configuration file of a broker; may be given more than once
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Look at the cluster alone, not at this machine
    #[arg(long)]
    no_machine: bool,
}

impl Run for Doctor {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let seen = look::look(context).await;
        let mut findings = judge::judge(&seen, &self.limits);
        if !self.no_machine {
            findings.extend(machine::findings());
        }
        for file in &self.config {
            findings.extend(machine::of_config(file));
        }
        findings.sort();
        if context.wants_document() {
            context.document(out, &findings)?;
        } else {
            for finding in &findings {
                tell(finding, out)?;
            }
            writeln!(out, "{}: looked at {}", count(findings.len()), seen.summary())?;
        }
        if findings.is_empty() { Ok(()) } else { Err(Error::Told) }
    }
}

fn count(findings: usize) -> String {
    match findings {
        0 => "nothing is wrong".to_owned(),
        1 => "1 finding".to_owned(),
        more => format!("{more} findings"),
    }
}

fn tell(finding: &Finding, out: &mut dyn Write) -> Result<(), Error> {
    let word = match finding.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
    };
    writeln!(out, "{word:<8} {}: {}", finding.about, finding.cause)?;
    Ok(writeln!(out, "{:<8} fix: {}", "", finding.fix)?)
}

#[derive(Debug, Args)]
pub(super) struct StartMonitoring {
    #[command(flatten)]
    limits: Limits,
    /// Seconds between looks
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every: u64,
    /// Looks; without it, until stopped
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
}

impl Run for StartMonitoring {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        // What a finding is about stays, while its figures change from look to look.
        let name = |finding: &Finding| (finding.about.clone(), finding.fix.clone());
        let mut known = BTreeSet::new();
        let mut round = 0;
        loop {
            let findings = judge::judge(&look::look(context).await, &self.limits);
            let now = local(runtime::wall_clock_ms());
            for finding in findings.iter().filter(|finding| !known.contains(&name(finding))) {
                write!(out, "{now} ")?;
                tell(finding, out)?;
            }
            let present: BTreeSet<_> = findings.iter().map(name).collect();
            for (about, _fix) in known.difference(&present) {
                writeln!(out, "{now} OK       {about}: no more")?;
            }
            out.flush()?;
            known = present;
            round += 1;
            if self.rounds.is_some_and(|rounds| round >= rounds) {
                return if known.is_empty() { Ok(()) } else { Err(Error::Told) };
            }
            runtime::sleep(Duration::from_secs(self.every)).await;
        }
    }
}
