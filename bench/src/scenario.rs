//! What a command does: one run, runs in turn against several brokers, runs at growing rates.

mod comparison;
mod sweep;

pub use comparison::{Comparison, Contender, Ratio, Ratios};
pub use sweep::{Step, Sweep};

use crate::consume::ReadFrom;
use crate::error::Error;
use crate::machine::{COMMIT, Machine, brokers};
use crate::monitor::Progress;
use crate::options::Options;
use crate::report::summary::Origin;
use crate::report::{Entry, Findings};
use crate::run::{Plan, run};
use crate::self_test;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Sending.
    Produce,
    /// Reading what others send, or a backlog from its beginning.
    Consume {
        /// Begin at the oldest message.
        from_first: bool,
    },
    /// Sending and reading at once: the latency is that from when a message was due to its arrival at the reader.
    EndToEnd,
    /// Sending and reading at once: the latency is that of the sends.
    Mixed,
    /// Reading a backlog as fast as it goes, while messages are sent at --rate, if one is given.
    CatchUp {
        /// Messages that are sent before; 0 takes what is there.
        backlog: u64,
    },
}

impl Mode {
    /// What results call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Produce => "produce",
            Mode::Consume { .. } => "consume",
            Mode::EndToEnd => "e2e",
            Mode::Mixed => "mixed",
            Mode::CatchUp { .. } => "catch-up",
        }
    }

    fn sends(self, options: &Options) -> bool {
        match self {
            Mode::Produce | Mode::EndToEnd | Mode::Mixed => true,
            Mode::Consume { .. } => false,
            Mode::CatchUp { .. } => options.pace.rate > 0.0,
        }
    }

    fn reads(self) -> Option<ReadFrom> {
        match self {
            Mode::Produce => None,
            Mode::Consume { from_first: true } => Some(ReadFrom::Begin),
            Mode::Consume { from_first: false } | Mode::EndToEnd | Mode::Mixed => Some(ReadFrom::End),
            Mode::CatchUp { .. } => Some(ReadFrom::Backlog),
        }
    }
}

/// Does what a mode is about, against one broker or, in rounds, against several.
///
/// # Errors
/// When a run cannot be made.
pub fn measure(mode: Mode, options: &Options) -> Result<Findings, Error> {
    let origin = origin(options)?;
    let (entries, comparison) = if options.output.against.is_empty() {
        (vec![one(mode, options, mode.name())?], None)
    } else {
        let (entries, comparison) = comparison::rounds(mode, options)?;
        (entries, Some(comparison))
    };
    Ok(Findings {
        entries,
        comparison,
        sweep: None,
        origin,
    })
}

/// Looks for the highest rate at which the objectives are met.
///
/// # Errors
/// When a run cannot be made.
pub fn sweep(options: &Options, from: f64, precision: f64) -> Result<Findings, Error> {
    let origin = origin(options)?;
    let (entries, sweep) = sweep::find_knee(options, from, precision)?;
    Ok(Findings {
        entries,
        comparison: None,
        sweep: Some(sweep),
        origin,
    })
}

/// One run of a mode.
fn one(mode: Mode, options: &Options, name: &str) -> Result<Entry, Error> {
    let follows = options.checks.verify;
    if follows && !mode.sends(options) {
        return Err(Error::Arguments(
            "--verify follows messages that this run sends; use it with produce, e2e or mixed".to_owned(),
        ));
    }
    let progress = Progress::of(&options.output, name);
    if let Mode::CatchUp { backlog } = mode {
        pile_up(options, backlog, &progress)?;
    }
    let plan = Plan {
        options: options.clone(),
        sends: mode.sends(options),
        reads: mode.reads(),
        follows,
    };
    let mut measured = run(plan, progress)?;
    measured.leads_with_delivery = mode == Mode::EndToEnd;
    Ok(Entry {
        name: name.to_owned(),
        mode: mode.name(),
        options: options.clone(),
        measured,
    })
}

/// Sends the messages that a catch-up run will read.
fn pile_up(options: &Options, backlog: u64, progress: &Progress) -> Result<(), Error> {
    if backlog == 0 {
        return Ok(());
    }
    let mut before = options.clone();
    before.quantity = backlog;
    before.pace.rate = 0.0;
    before.pace.open_loop = false;
    before.duration = None;
    before.depth = before.depth.max(8);
    let plan = Plan {
        options: before,
        sends: true,
        reads: None,
        follows: false,
    };
    let piled = run(plan, progress.clone())?;
    match piled.total.causes().next() {
        None => Ok(()),
        Some((cause, count)) => Err(Error::Arguments(format!(
            "the backlog could not be sent: {count} requests ended with {cause}"
        ))),
    }
}

fn origin(options: &Options) -> Result<Origin, Error> {
    let ceilings = options
        .output
        .self_test
        .as_deref()
        .map(self_test::measure)
        .transpose()?;
    let mut versions = brokers(&options.namesrv);
    for target in &options.output.against {
        versions.extend(brokers(&target.namesrv));
    }
    Ok(Origin {
        machine: Machine::here(),
        commit: COMMIT,
        brokers: versions,
        command: std::env::args().collect(),
        ceilings,
    })
}
