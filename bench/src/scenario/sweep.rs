//! The knee: the highest rate at which a broker still meets the objectives.
//!
//! The rate doubles from a first guess until a run misses them, then the gap is halved until it is narrow. Every run is an
//! open loop: a closed one would slow down with the server and never show the knee.

use super::{Mode, one};
use crate::error::Error;
use crate::measure::{number, percentile_ms};
use crate::options::Options;
use crate::report::Entry;
use crate::report::summary::{LAG_MAX_MS, value};
use crate::slo::Slo;
use serde::Serialize;
use std::fmt::Write;

/// The objective of a sweep that is given none.
const DEFAULT_OBJECTIVE: &str = "p99<10ms";
/// A rate is kept up when at least this share of it was answered in time.
const KEPT_UP: f64 = 0.98;
/// Runs at most.
const STEPS_MAX: usize = 40;

/// A run at one rate.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Messages a second that were due.
    pub rate: f64,
    /// Messages a second that were answered.
    pub answered: f64,
    /// Percentiles of the response time, milliseconds.
    pub p50_ms: f64,
    /// Percentiles of the response time, milliseconds.
    pub p99_ms: f64,
    /// p99 of the generator's own delay, milliseconds.
    pub generator_lag_p99_ms: f64,
    /// Requests that failed.
    pub errors: u64,
    /// Whether it is below the knee; if not, `why`.
    pub good: bool,
    /// What was missed.
    pub why: Option<String>,
}

/// What a sweep shows.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The objectives.
    pub objectives: Vec<String>,
    /// The runs in their order.
    pub steps: Vec<Step>,
    /// The highest rate at which they were met; `None` if they were at none.
    pub knee: Option<f64>,
    /// Whether a higher rate was tried and missed them.
    pub knee_is_certain: bool,
}

impl Sweep {
    /// A table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:>12}{:>12}{:>12}{:>12}{:>14}\n",
            "rate", "answered", "p50 ms", "p99 ms", "own lag p99"
        );
        for step in &self.steps {
            // Writing to a string cannot fail.
            let _row = writeln!(
                text,
                "{:>12.0}{:>12.0}{:>12.3}{:>12.3}{:>14.3}   {}",
                step.rate,
                step.answered,
                step.p50_ms,
                step.p99_ms,
                step.generator_lag_p99_ms,
                step.why.as_deref().unwrap_or("good"),
            );
        }
        let objectives = self.objectives.join(" and ");
        text += &match self.knee {
            Some(knee) if self.knee_is_certain => format!("knee: {knee:.0} messages a second with {objectives}\n"),
            Some(knee) => format!("no knee up to {knee:.0} messages a second with {objectives}\n"),
            None => format!("no rate met {objectives}; begin lower with --from\n"),
        };
        text
    }
}

/// Which rate to try next.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// The highest that was good.
    good: Option<f64>,
    /// The lowest that was not.
    bad: Option<f64>,
    precision: f64,
}

impl Search {
    fn note(&mut self, rate: f64, good: bool) {
        if good {
            self.good = Some(self.good.map_or(rate, |known| known.max(rate)));
        } else {
            self.bad = Some(self.bad.map_or(rate, |known| known.min(rate)));
        }
    }

    fn next(&self, first: f64) -> Option<f64> {
        match (self.good, self.bad) {
            (None, None) => Some(first),
            (Some(good), None) => Some(good * 2.0),
            // Nothing was good yet: look far below, but not for ever.
            (None, Some(bad)) => (bad > first / 1000.0).then_some(bad / 4.0),
            (Some(good), Some(bad)) => (bad / good > 1.0 + self.precision).then(|| f64::midpoint(good, bad)),
        }
    }
}

pub(super) fn find_knee(options: &Options, from: f64, precision: f64) -> Result<(Vec<Entry>, Sweep), Error> {
    if !options.output.against.is_empty() {
        let text = "a sweep looks at one broker: sweep each, and compare the knees".to_owned();
        return Err(Error::Arguments(text));
    }
    let mut options = options.clone();
    if options.checks.slo.is_empty() {
        options
            .checks
            .slo
            .push(DEFAULT_OBJECTIVE.parse().map_err(Error::Arguments)?);
    }
    options.pace.open_loop = true;
    let mut search = Search {
        good: None,
        bad: None,
        precision,
    };
    let (mut entries, mut steps) = (Vec::new(), Vec::new());
    while let Some(rate) = search.next(from).filter(|_rate| steps.len() < STEPS_MAX) {
        options.pace.rate = rate;
        let entry = one(Mode::Produce, &options, &format!("{rate:.0}/s"))?;
        let step = step(&entry, &options.checks.slo);
        search.note(rate, step.good);
        steps.push(step);
        entries.push(entry);
    }
    let sweep = Sweep {
        objectives: options.checks.slo.iter().map(Slo::to_string).collect(),
        steps,
        knee: search.good,
        knee_is_certain: search.bad.is_some(),
    };
    entries.sort_by(|a, b| a.options.pace.rate.total_cmp(&b.options.pace.rate));
    Ok((entries, sweep))
}

fn step(entry: &Entry, objectives: &[Slo]) -> Step {
    let measured = &entry.measured;
    let total = &measured.total;
    let (rate, answered) = (entry.options.pace.rate, measured.rate());
    let missed = objectives.iter().find(|slo| !slo.is_met_by(value(slo, measured)));
    let late = percentile_ms(&total.lag, 99.0) > LAG_MAX_MS;
    let why = if let Some(slo) = missed {
        // A knee of the generator must not be taken for one of the broker.
        let whose = if late {
            ", though the generator itself was late"
        } else {
            ""
        };
        Some(format!("misses {slo}{whose}"))
    } else if total.errors() > 0 {
        Some(format!("{} errors", total.errors()))
    } else if answered < KEPT_UP * rate {
        Some(format!("answers {:.0} % of it", 100.0 * answered / rate))
    } else {
        None
    };
    let at = |histogram, percentile| {
        let value = percentile_ms(histogram, percentile);
        if value.is_nan() { number(0) } else { value }
    };
    Step {
        rate,
        answered,
        p50_ms: at(&total.response, 50.0),
        p99_ms: at(&total.response, 99.0),
        generator_lag_p99_ms: at(&total.lag, 99.0),
        errors: total.errors(),
        good: why.is_none(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knee(first: f64, true_knee: f64) -> (Option<f64>, usize) {
        let mut search = Search {
            good: None,
            bad: None,
            precision: 0.05,
        };
        let mut steps = 0;
        while let Some(rate) = search.next(first).filter(|_rate| steps < STEPS_MAX) {
            search.note(rate, rate <= true_knee);
            steps += 1;
        }
        (search.good, steps)
    }

    #[test]
    fn the_search_ends_within_its_precision_from_below_and_from_above() {
        for first in [100.0, 7_777.0, 1_000_000.0] {
            let (found, steps) = knee(first, 123_456.0);
            let found = found.unwrap();
            assert!(found <= 123_456.0 && found > 123_456.0 / 1.05, "{found} from {first}");
            assert!(steps < 25, "{steps} steps from {first}");
        }
    }

    #[test]
    fn a_broker_that_is_never_good_enough_ends_the_search() {
        let (found, steps) = knee(1000.0, 0.0);
        assert_eq!(found, None);
        assert!(steps < 10);
    }
}
