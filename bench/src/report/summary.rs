//! The figures of one run, as they stand in tables and JSON.

use crate::account::Usage;
use crate::machine::Machine;
use crate::measure::{Measured, number, percentile_ms};
use crate::report::Entry;
use crate::self_test::Ceilings;
use crate::sizes::Sizes;
use crate::slo::{Figure, Slo};
use crate::verify::Verdict;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The generator fell behind when one in a hundred of its sends came later than this after it could.
pub const LAG_MAX_MS: f64 = 1.0;
/// The generator is at its limit when it uses more than this share of its event loops' CPUs.
const BUSY_MAX: f64 = 0.9;

/// Where figures come from.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The generator's machine.
    pub machine: Machine,
    /// The generator's commit.
    pub commit: &'static str,
    /// Versions of the brokers by address.
    pub brokers: BTreeMap<String, String>,
    /// The command line.
    pub command: Vec<String>,
    /// What disk and loopback can do at best.
    pub ceilings: Option<Ceilings>,
}

/// A latency distribution, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "percentiles")]
pub struct LatencyMs {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    #[serde(rename = "p99.99")]
    pub p99_99: f64,
    pub max: f64,
}

impl LatencyMs {
    /// Of a histogram of microseconds; zeros if it is empty, as JSON has no NaN.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> LatencyMs {
        let at = |percentile| {
            let value = percentile_ms(histogram, percentile);
            if value.is_nan() { 0.0 } else { value }
        };
        LatencyMs {
            mean: histogram.mean() / 1000.0,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            p99_99: at(99.99),
            max: number(histogram.max()) / 1000.0,
        }
    }

    fn of_any(histogram: &Histogram<u64>) -> Option<LatencyMs> {
        (!histogram.is_empty()).then(|| LatencyMs::of(histogram))
    }
}

/// What a process cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// CPU time for a message, microseconds.
    pub cpu_us_per_message: Option<f64>,
    /// CPUs that it kept busy.
    pub cpus_busy: Option<f64>,
    /// Messages for each second of CPU time: what a core does.
    pub messages_per_second_per_core: Option<f64>,
    /// System calls of the read and write families for a message; io_uring makes none.
    pub io_calls_per_message: Option<f64>,
    /// Context switches for a message.
    pub context_switches_per_message: Option<f64>,
    /// Bytes that went towards the disks for each byte of a message.
    pub write_amplification: Option<f64>,
    /// Flushes of the machine's disks for a message, whoever asked for them.
    pub disk_flushes_per_message: Option<f64>,
}

impl Cost {
    fn of(usage: Usage, measured: &Measured) -> Cost {
        let messages = number(measured.messages());
        let bytes = number(measured.bytes());
        let per = |count: Option<u64>, of: f64| count.filter(|_count| of > 0.0).map(|count| number(count) / of);
        let cpu = usage.cpu.filter(|_cpu| messages > 0.0).map(|cpu| cpu.as_secs_f64());
        Cost {
            cpu_us_per_message: cpu.map(|cpu| cpu * 1e6 / messages),
            cpus_busy: usage
                .cpu
                .map(|cpu| cpu.as_secs_f64() / measured.time.as_secs_f64().max(1e-9)),
            messages_per_second_per_core: cpu.filter(|cpu| *cpu > 0.0).map(|cpu| messages / cpu),
            io_calls_per_message: per(usage.io_calls, messages),
            context_switches_per_message: per(usage.context_switches, messages),
            write_amplification: per(usage.written_bytes, bytes),
            disk_flushes_per_message: per(usage.disk_flushes, messages),
        }
    }
}

/// An objective and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Objective {
    /// What was asked for.
    pub objective: String,
    /// What was measured.
    pub value: f64,
    /// Whether it is good enough.
    pub met: bool,
}

/// A size in JSON: a number, or the text of a range or histogram.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "either form of a size")]
pub enum SizeText {
    Bytes(usize),
    Text(String),
}

/// Shares of the machine's ceilings that a run reached, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CeilingPercent {
    /// Of sequential writing, by the bytes of the bodies.
    pub disk_write: f64,
    /// Of one stream over loopback, by the bytes of the bodies.
    pub loopback: f64,
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names say what they are, with their units; docs/mqbench.md explains each"
)]
pub struct Summary {
    pub name: String,
    pub label: String,
    pub mode: &'static str,
    pub topic: String,
    pub topics: usize,
    pub size: SizeText,
    pub batch: usize,
    pub connections: usize,
    pub depth: usize,
    pub rate: f64,
    pub open_loop: bool,
    pub began_ms: i64,
    pub seconds: f64,
    pub messages: u64,
    pub messages_per_second: f64,
    pub megabytes_per_second: f64,
    pub received_messages: u64,
    pub received_per_second: f64,
    pub caught_up_after_seconds: Option<f64>,
    /// The response time, or the delivery time if nothing was sent.
    pub latency_ms: LatencyMs,
    pub response_ms: Option<LatencyMs>,
    pub service_ms: Option<LatencyMs>,
    pub delivery_ms: Option<LatencyMs>,
    pub generator_lag_ms: Option<LatencyMs>,
    pub generator_fell_behind: bool,
    pub held_back_requests: u64,
    pub errors: u64,
    pub errors_by_cause: BTreeMap<String, u64>,
    pub statuses: BTreeMap<String, u64>,
    pub server_cpu_seconds_per_million: Option<f64>,
    pub generator_cpu_seconds_per_million: Option<f64>,
    pub server: Option<Cost>,
    pub generator: Option<Cost>,
    pub percent_of_ceiling: Option<CeilingPercent>,
    pub objectives: Vec<Objective>,
    pub verify: Option<Verdict>,
    pub warnings: Vec<String>,
}

impl Summary {
    /// Of a run.
    #[must_use]
    pub fn of(entry: &Entry, ceilings: Option<&Ceilings>) -> Summary {
        let (options, measured) = (&entry.options, &entry.measured);
        let total = &measured.total;
        let seconds = measured.time.as_secs_f64().max(1e-9);
        let [server, generator] =
            [measured.server, measured.own].map(|usage| usage.map(|usage| Cost::of(usage, measured)));
        let megabytes = number(measured.bytes()) / seconds / 1e6;
        let lag = LatencyMs::of_any(&total.lag);
        let warnings = warnings(entry, lag.as_ref(), generator.as_ref());
        Summary {
            name: entry.name.clone(),
            label: options.output.label.clone(),
            mode: entry.mode,
            topic: options.topic.clone(),
            topics: options.topics,
            size: match &options.messages.size {
                Sizes::Constant(size) => SizeText::Bytes(*size),
                other => SizeText::Text(other.to_string()),
            },
            batch: options.messages.batch,
            connections: options.connections,
            depth: options.depth,
            rate: options.pace.rate,
            open_loop: options.pace.open_loop,
            began_ms: measured.began_ms,
            seconds,
            messages: measured.messages(),
            messages_per_second: measured.rate(),
            megabytes_per_second: megabytes,
            received_messages: total.received,
            received_per_second: number(total.received) / seconds,
            caught_up_after_seconds: measured.caught_up_after,
            latency_ms: LatencyMs::of(measured.headline(total)),
            response_ms: LatencyMs::of_any(&total.response),
            // In a closed loop it is the response time.
            service_ms: LatencyMs::of_any(&total.service).filter(|_service| options.pace.rate > 0.0),
            delivery_ms: LatencyMs::of_any(&total.delivery),
            generator_fell_behind: lag.is_some_and(|lag| lag.p99 > LAG_MAX_MS),
            generator_lag_ms: lag,
            held_back_requests: total.held_back,
            errors: total.errors(),
            errors_by_cause: total.causes().map(|(cause, count)| (cause.to_owned(), count)).collect(),
            statuses: total.statuses.clone(),
            server_cpu_seconds_per_million: server.and_then(|cost| cost.cpu_us_per_message),
            generator_cpu_seconds_per_million: generator.and_then(|cost| cost.cpu_us_per_message),
            server,
            generator,
            percent_of_ceiling: ceilings.map(|ceilings| CeilingPercent {
                disk_write: 100.0 * megabytes / ceilings.disk_write_mb_per_second,
                loopback: 100.0 * megabytes / ceilings.loopback_mb_per_second,
            }),
            objectives: options.checks.slo.iter().map(|slo| objective(slo, measured)).collect(),
            verify: measured.verdict.clone(),
            warnings,
        }
    }

    /// Whether every objective is met.
    #[must_use]
    pub fn meets_objectives(&self) -> bool {
        self.objectives.iter().all(|objective| objective.met)
    }

    /// Whether nothing that was followed went wrong.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verify.as_ref().is_none_or(Verdict::is_good)
    }
}

fn objective(slo: &Slo, measured: &Measured) -> Objective {
    let value = value(slo, measured);
    Objective {
        objective: slo.to_string(),
        value: if value.is_nan() { 0.0 } else { value },
        met: slo.is_met_by(value),
    }
}

/// The figure that an objective is about.
#[must_use]
pub fn value(slo: &Slo, measured: &Measured) -> f64 {
    match slo.figure {
        Figure::Percentile(percentile) => percentile_ms(measured.headline(&measured.total), percentile),
        Figure::Rate => measured.rate(),
        Figure::Errors => number(measured.total.errors()),
    }
}

/// What makes the figures say less than they seem to.
fn warnings(entry: &Entry, lag: Option<&LatencyMs>, generator: Option<&Cost>) -> Vec<String> {
    let mut warnings = Vec::new();
    let (options, total) = (&entry.options, &entry.measured.total);
    if let Some(lag) = lag.filter(|lag| lag.p99 > LAG_MAX_MS) {
        warnings.push(format!(
            "the generator fell behind its schedule: p99 of its own delay is {:.3} ms, which the response times contain; \
             give it idle CPUs or a lower --rate",
            lag.p99
        ));
    }
    if total.held_back > 0 {
        warnings.push(if options.pace.open_loop {
            format!(
                "{} requests waited since {} were under way (--in-flight-max): from there on the loop was not open",
                total.held_back, options.pace.in_flight_max
            )
        } else {
            format!(
                "{} requests waited since {} were under way (--connections x --depth); their response times count from \
                 when they were due",
                total.held_back,
                options.connections.max(1) * options.depth.max(1)
            )
        });
    }
    let loops = number(options.loops() as u64);
    if let Some(busy) = generator
        .and_then(|cost| cost.cpus_busy)
        .filter(|busy| *busy > BUSY_MAX * loops)
    {
        warnings.push(format!(
            "the generator was at its own limit: {busy:.2} CPUs busy with {loops} event loops; the server may be faster \
             than this shows"
        ));
    }
    if total.delivery.is_empty() && total.response.is_empty() {
        warnings.push("nothing was measured".to_owned());
    }
    if entry.measured.time < Duration::from_secs(1) {
        warnings.push("less than a second was measured".to_owned());
    }
    warnings
}
