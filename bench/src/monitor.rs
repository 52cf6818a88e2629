//! Adds up what the event loops report, and shows how the run goes meanwhile.

use crate::measure::{Interval, Measured, Report, Tally, number, percentile_ms};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Intervals that are kept: when there are more, two become one, so that a run of days fits the memory and the plot.
const INTERVALS_MAX: usize = 600;

/// What is shown while a run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    Quiet,
    /// A line that changes, under this name.
    Live(String),
    /// A line each so often.
    Lines(Duration),
}

impl Progress {
    /// What the options ask for.
    #[must_use]
    pub fn of(output: &crate::options::Output, name: &str) -> Progress {
        if output.quiet {
            Progress::Quiet
        } else if output.report_interval > 0 {
            Progress::Lines(Duration::from_millis(output.report_interval))
        } else if std::io::stderr().is_terminal() {
            Progress::Live(name.to_owned())
        } else {
            Progress::Quiet
        }
    }
}

/// Adds the reports of `loops` event loops up until the last of them has ended. `expected` is how long the run will last.
#[must_use]
pub fn add_up(
    reports: &Receiver<Report>,
    loops: usize,
    interval: Duration,
    expected: Option<Duration>,
    progress: Progress,
) -> Measured {
    let mut series = Series::default();
    let mut display = Display::new(progress, interval, expected);
    let mut present: BTreeMap<u32, (usize, Tally)> = BTreeMap::new();
    while let Ok(report) = reports.recv() {
        let (reported, tally) = present.entry(report.interval).or_default();
        *reported += 1;
        tally.add(&report.tally);
        // The intervals end in their order at each loop, so the first is complete first.
        while let Some(entry) = present.first_entry().filter(|entry| entry.get().0 >= loops) {
            let (number, (_loops, tally)) = entry.remove_entry();
            display.show(number, &tally);
            series.push(tally);
        }
    }
    // A loop that ended early has not reported every interval.
    for (_reported, tally) in present.into_values() {
        series.push(tally);
    }
    display.end();
    let seconds = interval.as_secs_f64() * number(series.each as u64);
    let mut measured = Measured::default();
    for (place, tally) in series.tallies.into_iter().enumerate() {
        measured.total.add(&tally);
        measured.intervals.push(Interval {
            begin: number(place as u64) * seconds,
            seconds,
            tally,
        });
    }
    measured
}

/// Tallies of equal spans; they grow longer when there are too many.
#[derive(Debug)]
struct Series {
    tallies: Vec<Tally>,
    /// Intervals in each.
    each: usize,
    /// Intervals in all.
    count: usize,
}

impl Default for Series {
    fn default() -> Series {
        Series {
            tallies: Vec::new(),
            each: 1,
            count: 0,
        }
    }
}

impl Series {
    fn push(&mut self, tally: Tally) {
        if self.count.is_multiple_of(self.each) {
            self.tallies.push(tally);
        } else if let Some(last) = self.tallies.last_mut() {
            last.add(&tally);
        }
        self.count += 1;
        if self.tallies.len() > INTERVALS_MAX {
            let pairs = self.tallies.chunks(2).map(|pair| {
                let mut sum = Tally::default();
                pair.iter().for_each(|tally| sum.add(tally));
                sum
            });
            self.tallies = pairs.collect();
            self.each *= 2;
        }
    }
}

/// The live line, or lines.
struct Display {
    bar: Option<ProgressBar>,
    every: Option<Duration>,
    interval: Duration,
    /// What was measured since the last line.
    since: Tally,
    intervals: u32,
}

impl Display {
    fn new(progress: Progress, interval: Duration, expected: Option<Duration>) -> Display {
        let (bar, every) = match progress {
            Progress::Quiet => (None, None),
            Progress::Lines(every) => (None, Some(every)),
            Progress::Live(name) => (Some(live(name, interval, expected)), None),
        };
        Display {
            bar,
            every,
            interval,
            since: Tally::default(),
            intervals: 0,
        }
    }

    fn show(&mut self, number: u32, tally: &Tally) {
        if let Some(bar) = &self.bar {
            bar.set_message(line(tally, self.interval));
            bar.set_position(u64::from(number) + 1);
        }
        let Some(every) = self.every else { return };
        self.since.add(tally);
        self.intervals += 1;
        let span = self.interval * self.intervals;
        if span >= every {
            let at = self.interval * (number + 1);
            print_line(&format!("{:>7.1} s  {}", at.as_secs_f64(), line(&self.since, span)));
            self.since = Tally::default();
            self.intervals = 0;
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress is for whoever started the tool")]
fn print_line(text: &str) {
    eprintln!("{text}");
}

fn live(name: String, interval: Duration, expected: Option<Duration>) -> ProgressBar {
    let intervals = expected.map(|length| length.as_secs_f64() / interval.as_secs_f64().max(1e-9));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of intervals"
    )]
    let length = intervals.map(|count| count.round() as u64);
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    let template = if length.is_some() {
        "{prefix} {wide_bar} {percent:>3}% {msg}"
    } else {
        "{prefix} {spinner} {elapsed_precise} {msg}"
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    let bar = bar.with_prefix(name).with_message("warming up");
    bar.tick();
    bar
}

/// Rate, p99 and failures of a span.
fn line(tally: &Tally, span: Duration) -> String {
    let seconds = span.as_secs_f64().max(1e-9);
    let mut parts = Vec::new();
    if tally.sent > 0 || tally.received == 0 {
        parts.push(format!("{:.0} sent/s", number(tally.sent) / seconds));
    }
    if tally.received > 0 {
        parts.push(format!("{:.0} read/s", number(tally.received) / seconds));
    }
    for (name, histogram) in [("sends", &tally.response), ("reads", &tally.delivery)] {
        if !histogram.is_empty() {
            parts.push(format!("{name} p99 {:.3} ms", percentile_ms(histogram, 99.0)));
        }
    }
    if tally.errors() > 0 {
        parts.push(format!("{} errors", tally.errors()));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn tally(sent: u64) -> Tally {
        Tally {
            sent,
            ..Tally::default()
        }
    }

    #[test]
    fn a_run_of_days_keeps_few_intervals_and_every_message() {
        let mut series = Series::default();
        for _second in 0..INTERVALS_MAX * 13 {
            series.push(tally(1));
        }
        assert!(series.tallies.len() <= INTERVALS_MAX);
        assert_eq!(series.tallies.iter().map(|tally| tally.sent).sum::<u64>(), 600 * 13);
        assert!(
            series
                .tallies
                .iter()
                .rev()
                .skip(1)
                .all(|tally| tally.sent == series.each as u64)
        );
    }

    #[test]
    fn the_loops_intervals_are_added_by_number_however_they_come() {
        let (to, from) = channel();
        for (interval, sent) in [(0, 1), (1, 10), (0, 2), (1, 20), (2, 100)] {
            let tally = tally(sent);
            to.send(Report { interval, tally }).unwrap();
        }
        drop(to);
        let measured = add_up(&from, 2, Duration::from_millis(500), None, Progress::Quiet);
        let sums: Vec<u64> = measured.intervals.iter().map(|interval| interval.tally.sent).collect();
        assert_eq!(sums, [3, 30, 100]);
        assert_eq!(measured.total.sent, 133);
        assert!((measured.intervals[2].begin - 1.0).abs() < 1e-9);
    }
}
