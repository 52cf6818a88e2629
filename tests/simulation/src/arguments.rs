//! The command line.

use clap::Parser;
use runtime::sim::FaultKind;
use simulation::Options;

/// Plays a whole cluster in a simulated world, seed after seed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "simulate",
    after_help = "Examples:\n  simulate --seeds 2000           two thousand seeds from 0 on\n  simulate --from 77 --seeds 1    seed 77 alone\n  \
                  simulate --from 77 --seeds 1 --log    the same, and what the servers log\n  simulate --shrink 77            what of seed 77 is needed to fail"
)]
pub(crate) struct Arguments {
    /// How many seeds are played.
    #[arg(long, default_value_t = 100)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
    /// Stop after so many minutes, even if seeds are left.
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// Processes at a time; as many as there are CPUs if it is not given.
    #[arg(long)]
    pub(crate) jobs: Option<u64>,
    /// A kind of fault that never happens, for example PowerCut. May be given several times.
    #[arg(long = "off", value_parser = fault_kind)]
    pub(crate) off: Vec<FaultKind>,
    /// The share of the usual length of a seed.
    #[arg(long, default_value_t = 100)]
    pub(crate) length_percent: u64,
    /// Give each broker a slave; of some synchronous masters the disk is lost in the end, and the slave is read.
    #[arg(long)]
    pub(crate) replicated: bool,
    /// Let the disks of rare seeds lie: the run must fail, or failures do not get through.
    #[arg(long)]
    pub(crate) canary: bool,
    /// Play every seed twice and compare what happened.
    #[arg(long)]
    pub(crate) twice: bool,
    /// Write what the servers log to standard error.
    #[arg(long)]
    pub(crate) log: bool,
    /// Make this failing seed smaller: switch off what it does not need to fail.
    #[arg(long)]
    pub(crate) shrink: Option<u64>,
    /// Play every so many-th seed, in this process.
    #[arg(long, hide = true)]
    pub(crate) worker: Option<u64>,
}

fn fault_kind(text: &str) -> Result<FaultKind, String> {
    let found = FaultKind::ALL.into_iter().find(|kind| kind.to_string() == text);
    found.ok_or_else(|| {
        let known: Vec<String> = FaultKind::ALL.iter().map(ToString::to_string).collect();
        format!("there is no such kind of fault; there are {}", known.join(", "))
    })
}

impl Arguments {
    /// What they mean for one seed.
    pub(crate) fn options(&self) -> Options {
        Options {
            off: self.off.iter().copied().collect(),
            length_percent: self.length_percent,
            replicated: self.replicated,
            canary: self.canary,
        }
    }

    /// Arguments that give a seed the same options.
    pub(crate) fn option_words(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .off
            .iter()
            .flat_map(|kind| ["--off".to_owned(), kind.to_string()])
            .collect();
        if self.length_percent != 100 {
            words.extend(["--length-percent".to_owned(), self.length_percent.to_string()]);
        }
        words.extend(self.replicated.then(|| "--replicated".to_owned()));
        words.extend(self.canary.then(|| "--canary".to_owned()));
        words
    }
}
