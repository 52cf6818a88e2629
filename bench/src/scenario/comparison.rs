//! Several brokers in interleaved rounds: each has its turn in each round, so that what changes on the machine meanwhile
//! (heat, neighbours, the disk's own housekeeping) meets all of them alike.

use super::{Mode, one};
use crate::error::Error;
use crate::measure::{Measured, percentile_ms};
use crate::options::{Options, Target};
use crate::report::Entry;
use serde::Serialize;
use std::fmt::Write;

/// One broker of a comparison: a figure for each round.
#[derive(Clone, Debug, Serialize)]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// Messages a second, by round.
    pub messages_per_second: Vec<f64>,
    /// p99 of the latency, by round.
    pub p99_ms: Vec<f64>,
    /// CPU microseconds of the server for a message, by round; empty without its PID.
    pub server_cpu_us_per_message: Vec<f64>,
    /// Failed requests, by round.
    pub errors: Vec<u64>,
    /// Compared with the first; `None` of the first itself.
    pub ratio: Option<Ratios>,
}

/// How a broker compares with the first.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratios {
    /// Of the messages a second: more is better.
    pub messages_per_second: Ratio,
    /// Of p99: less is better.
    pub p99: Ratio,
}

/// A ratio within each round, and its spread over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Ratio {
    /// Round by round, `these` to `those`. `None` if there is no round in which both are numbers.
    #[must_use]
    pub fn of(these: &[f64], those: &[f64]) -> Option<Ratio> {
        let ratios = these.iter().zip(those).map(|(this, that)| this / that);
        let mut ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        ratios.sort_by(f64::total_cmp);
        let (min, max) = (*ratios.first()?, *ratios.last()?);
        Some(Ratio {
            median: median(&ratios)?,
            min,
            max,
        })
    }
}

/// The middle one of sorted numbers; the mean of the two in the middle if there is none.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

fn median_of(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    median(&sorted).unwrap_or(f64::NAN)
}

/// What a comparison shows.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Rounds that were made.
    pub rounds: usize,
    /// The brokers; the first is what the others are compared with.
    pub contenders: Vec<Contender>,
}

impl Comparison {
    /// A table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _head = writeln!(
            text,
            "{:<16}{:>12}{:>12}{:>14}{:>8}   {:<26}ratio of p99",
            format!("{} rounds", self.rounds),
            "messages/s",
            "p99 ms",
            "server us/msg",
            "errors",
            "ratio of messages/s"
        );
        for one in &self.contenders {
            let cpu = median_of(&one.server_cpu_us_per_message);
            let cpu = if cpu.is_nan() {
                "-".to_owned()
            } else {
                format!("{cpu:.2}")
            };
            let ratios = one.ratio.map_or_else(
                || "1 (compared with)".to_owned(),
                |ratio| format!("{:<26}{}", show(ratio.messages_per_second), show(ratio.p99)),
            );
            let _row = writeln!(
                text,
                "{:<16}{:>12.0}{:>12.3}{:>14}{:>8}   {ratios}",
                one.name,
                median_of(&one.messages_per_second),
                median_of(&one.p99_ms),
                cpu,
                one.errors.iter().sum::<u64>(),
            );
        }
        text.push_str("medians of the rounds; ratios are taken within each round: median (least to most)\n");
        text
    }
}

fn show(ratio: Ratio) -> String {
    format!("{:.3} ({:.3} to {:.3})", ratio.median, ratio.min, ratio.max)
}

/// Runs the rounds. The brokers begin in turn, so that none is always the first after a pause.
pub(super) fn rounds(mode: Mode, options: &Options) -> Result<(Vec<Entry>, Comparison), Error> {
    let targets = &options.output.against;
    let rounds = options.output.rounds.max(1);
    let mut runs: Vec<Vec<Measured>> = vec![Vec::new(); targets.len()];
    let mut entries = Vec::new();
    for round in 0..rounds {
        for turn in 0..targets.len() {
            let place = (round + turn) % targets.len();
            let (Some(target), Some(runs)) = (targets.get(place), runs.get_mut(place)) else {
                continue;
            };
            let name = format!("{} #{}", target.name, round + 1);
            let entry = one(mode, &of_target(options, target), &name)?;
            runs.push(entry.measured.clone());
            entries.push(entry);
        }
    }
    let mut contenders: Vec<Contender> = targets
        .iter()
        .zip(&runs)
        .map(|(target, runs)| contender(&target.name, runs))
        .collect();
    if let Some((first, others)) = contenders.split_first_mut() {
        for other in others {
            let rate = Ratio::of(&other.messages_per_second, &first.messages_per_second);
            let p99 = Ratio::of(&other.p99_ms, &first.p99_ms);
            other.ratio = rate.zip(p99).map(|(messages_per_second, p99)| Ratios {
                messages_per_second,
                p99,
            });
        }
    }
    // Runs of one broker stand together in tables and plots.
    entries.sort_by_key(|entry| {
        let name = entry.name.rsplit_once(" #").map_or("", |(name, _round)| name);
        targets.iter().position(|target| target.name == name)
    });
    Ok((entries, Comparison { rounds, contenders }))
}

fn of_target(options: &Options, target: &Target) -> Options {
    let mut options = options.clone();
    options.namesrv.clone_from(&target.namesrv);
    options.pid.clone_from(&target.pids);
    options
}

fn contender(name: &str, runs: &[Measured]) -> Contender {
    let p99 = |run: &Measured| percentile_ms(run.headline(&run.total), 99.0);
    let cpu = |run: &Measured| {
        let used = run.server?.cpu?.as_secs_f64();
        (run.messages() > 0).then(|| used * 1e6 / crate::measure::number(run.messages()))
    };
    Contender {
        name: name.to_owned(),
        messages_per_second: runs.iter().map(Measured::rate).collect(),
        p99_ms: runs.iter().map(p99).collect(),
        server_cpu_us_per_message: runs.iter().filter_map(cpu).collect(),
        errors: runs.iter().map(|run| run.total.errors()).collect(),
        ratio: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was half as fast in the second round; the ratio of the medians over all would be 1.5.
        let ratio = Ratio::of(&[200.0, 100.0, 210.0], &[100.0, 50.0, 100.0]).unwrap();
        assert!((ratio.median - 2.0).abs() < 1e-9 && (ratio.min - 2.0).abs() < 1e-9 && (ratio.max - 2.1).abs() < 1e-9);
    }

    #[test]
    fn a_round_without_a_figure_is_left_out() {
        let ratio = Ratio::of(&[f64::NAN, 6.0, 8.0], &[1.0, 2.0, 2.0]).unwrap();
        assert!((ratio.median - 3.5).abs() < 1e-9);
        assert_eq!(Ratio::of(&[f64::NAN], &[1.0]), None);
        assert_eq!(Ratio::of(&[], &[]), None);
    }
}
