//! Files that the tools of HdrHistogram read: interval logs, percentile distributions.

use crate::measure::number;
use crate::report::Entry;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An interval log of runs: values in microseconds; tags `response`, `service` and `delivery`, with the run's name in front
/// if there are several. The column of maxima is in milliseconds.
///
/// # Errors
/// When a histogram cannot be written; writing to memory, that would be a bug of the format.
pub fn interval_log(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let began = entries.iter().map(|entry| entry.measured.began_ms).min().unwrap_or(0);
    let base = wall_clock(began);
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[mqbench: histograms of microseconds, maxima in milliseconds]")
        .with_start_time(base)
        .with_base_time(base)
        .with_max_value_divisor(1000.0);
    let mut log = builder.begin_log_with(&mut out, &mut serializer)?;
    for entry in entries {
        let offset = Duration::from_millis(u64::try_from(entry.measured.began_ms - began).unwrap_or(0));
        for interval in &entry.measured.intervals {
            let tally = &interval.tally;
            let tracks = [
                ("response", &tally.response),
                ("service", &tally.service),
                ("delivery", &tally.delivery),
            ];
            for (track, histogram) in tracks.into_iter().filter(|(_track, histogram)| !histogram.is_empty()) {
                let tag = tag(entries.len(), &entry.name, track);
                let start = offset + Duration::from_secs_f64(interval.begin);
                let length = Duration::from_secs_f64(interval.seconds);
                log.write_histogram(histogram, start, length, Tag::new(&tag))
                    .map_err(|error| io::Error::other(format!("interval log: {error:?}")))?;
            }
        }
    }
    drop(log);
    Ok(out)
}

/// A tag may hold neither blanks nor commas.
fn tag(runs: usize, name: &str, track: &str) -> String {
    if runs < 2 {
        return track.to_owned();
    }
    let clean: String = name
        .chars()
        .map(|letter| {
            if letter.is_whitespace() || letter == ',' {
                '_'
            } else {
                letter
            }
        })
        .collect();
    format!("{clean}.{track}")
}

fn wall_clock(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The percentile distribution, as the Java library prints it; values are divided by `divisor`.
#[must_use]
pub fn percentile_distribution(histogram: &Histogram<u64>, divisor: f64) -> String {
    const TICKS_PER_HALF_DISTANCE: u32 = 5;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _head = writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let value = number(step.value_iterated_to()) / divisor;
        let quantile = step.quantile_iterated_to();
        let count = histogram.count_between(0, step.value_iterated_to());
        let _row = if quantile < 1.0 {
            writeln!(
                text,
                "{value:12.3} {quantile:2.12} {count:10} {:14.2}",
                1.0 / (1.0 - quantile)
            )
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10}")
        };
    }
    let _foot = write!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        histogram.mean() / divisor,
        histogram.stdev() / divisor,
        number(histogram.max()) / divisor,
        histogram.len(),
        buckets(histogram),
        sub_buckets(histogram),
    );
    text
}

/// Sub-buckets for the digits that are kept: the power of two that holds twice 10 to their number.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}

/// Buckets that are needed up to the highest value that can be told apart; each doubles the span of the one before.
fn buckets(histogram: &Histogram<u64>) -> u32 {
    let spans = (histogram.high() / sub_buckets(histogram)).max(1);
    spans.ilog2() + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Interval, Measured, Tally};
    use crate::options::Options;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use clap::{Args, FromArgMatches};
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn entry(name: &str, began_ms: i64, values: &[u64]) -> Entry {
        let command = Options::augment_args(clap::Command::new("test"));
        let options = Options::from_arg_matches(&command.get_matches_from(["test"])).unwrap();
        let mut tally = Tally::default();
        for value in values {
            tally.response.record(*value).unwrap();
        }
        let interval = Interval {
            begin: 2.0,
            seconds: 1.0,
            tally,
        };
        let measured = Measured {
            intervals: vec![interval],
            began_ms,
            ..Measured::default()
        };
        Entry {
            name: name.to_owned(),
            mode: "produce",
            options,
            measured,
        }
    }

    #[test]
    fn a_reader_of_interval_logs_finds_every_histogram_with_its_tag_and_time() {
        let entries = [
            entry("ours", 1_700_000_000_000, &[100, 200, 90_000]),
            entry("their one", 1_700_000_005_000, &[7]),
        ];
        let log = interval_log(&entries).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        let tags: Vec<_> = intervals
            .iter()
            .map(|interval| interval.tag().unwrap().as_str())
            .collect();
        assert_eq!(tags, ["ours.response", "their_one.response"]);
        assert_eq!(intervals[0].start_timestamp(), Duration::from_secs(2));
        assert_eq!(intervals[1].start_timestamp(), Duration::from_secs(7));
        assert!(
            (intervals[0].max() - 90.0).abs() < 0.1,
            "in milliseconds: {}",
            intervals[0].max()
        );
        let bytes = BASE64_STANDARD.decode(intervals[0].encoded_histogram()).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(read, entries[0].measured.intervals[0].tally.response);
    }

    #[test]
    fn a_percentile_distribution_has_the_columns_and_the_foot_of_the_java_library() {
        let mut histogram = crate::measure::histogram();
        (1..=1000).for_each(|value| histogram.record(value * 1000).unwrap());
        let text = percentile_distribution(&histogram, 1000.0);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|field| field.parse().unwrap()).collect())
            .collect();
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!(
            (median[0] - 500.0).abs() < 1.0 && (median[2] - 500.0).abs() < 2.0 && median[3] == 2.0,
            "{median:?}"
        );
        let last = rows.last().unwrap();
        assert_eq!(
            (last.len(), last[1], last[2]),
            (3, 1.0, 1000.0),
            "the last row has no fourth column"
        );
        assert!(
            text.contains("#[Max     =     1000.") && text.contains("Total count    =         1000]"),
            "{text}"
        );
    }
}
