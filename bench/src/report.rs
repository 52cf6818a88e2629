//! The result: a table for people, JSON for programs.

use crate::measure::Measured;
use crate::workload::Options;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Percentiles of the latency, in milliseconds.
#[derive(Debug, Serialize)]
struct LatencyMs {
    p50: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    label: &'a str,
    topic: &'a str,
    size: usize,
    connections: usize,
    depth: usize,
    rate: f64,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    megabytes_per_second: f64,
    latency_ms: LatencyMs,
    errors: u64,
    errors_by_cause: &'a BTreeMap<String, u64>,
    server_cpu_seconds_per_million: Option<f64>,
    generator_cpu_seconds_per_million: Option<f64>,
}

/// Writes the JSON file, if one was asked for, and gives the table.
///
/// # Errors
/// When the file cannot be written.
pub fn publish(options: &Options, measured: &Measured) -> Result<String, String> {
    let summary = summarize(options, measured);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&summary).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(table(&summary))
}

fn summarize<'a>(options: &'a Options, measured: &'a Measured) -> Summary<'a> {
    let seconds = measured.time.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts of one run stay below 2^52")]
    let number = |count: u64| count as f64;
    let messages = number(measured.messages);
    let ms = |quantile: f64| number(measured.latency.value_at_quantile(quantile)) / 1000.0;
    let per_million = |time: std::time::Duration| time.as_secs_f64() * 1e6 / messages;
    Summary {
        label: &options.label,
        topic: &options.topic,
        size: options.size,
        connections: options.connections,
        depth: options.depth,
        rate: options.rate,
        seconds,
        messages: measured.messages,
        messages_per_second: messages / seconds,
        megabytes_per_second: number(measured.bytes) / seconds / 1e6,
        latency_ms: LatencyMs {
            p50: ms(0.5),
            p99: ms(0.99),
            p99_9: ms(0.999),
            max: number(measured.latency.max()) / 1000.0,
        },
        errors: measured.errors.values().sum(),
        errors_by_cause: &measured.errors,
        server_cpu_seconds_per_million: measured.server_cpu.filter(|_time| messages > 0.0).map(per_million),
        generator_cpu_seconds_per_million: measured.own_cpu.filter(|_time| messages > 0.0).map(per_million),
    }
}

fn table(summary: &Summary<'_>) -> String {
    let mut text = String::new();
    let latency = &summary.latency_ms;
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{name:<28}{value}");
    };
    row("messages a second", format!("{:.0}", summary.messages_per_second));
    row("MB a second", format!("{:.1}", summary.megabytes_per_second));
    row("latency p50", format!("{:.3} ms", latency.p50));
    row("latency p99", format!("{:.3} ms", latency.p99));
    row("latency p99.9", format!("{:.3} ms", latency.p99_9));
    row("latency max", format!("{:.3} ms", latency.max));
    row("errors", summary.errors.to_string());
    for (why, count) in summary.errors_by_cause {
        row("", format!("{count} x {why}"));
    }
    if let Some(cpu) = summary.server_cpu_seconds_per_million {
        row("server CPU s a million", format!("{cpu:.2}"));
    }
    if let Some(cpu) = summary.generator_cpu_seconds_per_million {
        row("generator CPU s a million", format!("{cpu:.2}"));
    }
    text
}
