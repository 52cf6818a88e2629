//! Tables for people.

use crate::report::Findings;
use crate::report::summary::{Cost, LatencyMs, Summary};
use std::fmt::Write;

/// Everything a command found.
#[must_use]
pub fn text(findings: &Findings, summaries: &[Summary]) -> String {
    let mut text = String::new();
    if let Some(sweep) = &findings.sweep {
        text += &sweep.text();
    } else if let Some(comparison) = &findings.comparison {
        text += &comparison.text();
    } else {
        for summary in summaries {
            text += &one(summary);
        }
    }
    for summary in summaries.iter().filter(|_one| summaries.len() > 1) {
        for warning in &summary.warnings {
            row(&mut text, "warning", &format!("{}: {warning}", summary.name));
        }
    }
    text
}

fn row(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _written = writeln!(text, "{name:<28}{value}");
}

/// One run.
fn one(summary: &Summary) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: String| row(&mut text, name, &value);
    put("messages a second", format!("{:.0}", summary.messages_per_second));
    put("MB a second", format!("{:.1}", summary.megabytes_per_second));
    if summary.received_messages > 0 && summary.received_messages != summary.messages {
        put("messages read a second", format!("{:.0}", summary.received_per_second));
    }
    if let Some(seconds) = summary.caught_up_after_seconds {
        put("caught up after", format!("{seconds:.2} s"));
    }
    let latency = &summary.latency_ms;
    put("latency p50", format!("{:.3} ms", latency.p50));
    put("latency p99", format!("{:.3} ms", latency.p99));
    put("latency p99.9", format!("{:.3} ms", latency.p99_9));
    put("latency max", format!("{:.3} ms", latency.max));
    put("errors", summary.errors.to_string());
    for (why, count) in &summary.errors_by_cause {
        put("", format!("{count} x {why}"));
    }
    if let Some(cpu) = summary.server_cpu_seconds_per_million {
        put("server CPU s a million", format!("{cpu:.2}"));
    }
    if let Some(cpu) = summary.generator_cpu_seconds_per_million {
        put("generator CPU s a million", format!("{cpu:.2}"));
    }
    latencies(&mut text, summary);
    if let Some(server) = &summary.server {
        cost(&mut text, server);
    }
    checks(&mut text, summary);
    for warning in &summary.warnings {
        row(&mut text, "warning", warning);
    }
    text
}

/// All distributions side by side, when there are several.
fn latencies(text: &mut String, summary: &Summary) {
    let all = [
        ("response (from due)", &summary.response_ms),
        ("service (from sent)", &summary.service_ms),
        ("delivery (due to read)", &summary.delivery_ms),
        ("generator's own delay", &summary.generator_lag_ms),
    ];
    let known: Vec<(&str, &LatencyMs)> = all
        .iter()
        .filter_map(|(name, of)| Some((*name, of.as_ref()?)))
        .collect();
    if known.len() < 2 {
        return;
    }
    let head = ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"].map(|name| format!("{name:>10}"));
    row(text, "milliseconds", &head.concat());
    for (name, of) in known {
        let values = [of.mean, of.p50, of.p90, of.p99, of.p99_9, of.p99_99, of.max];
        row(
            text,
            &format!("  {name}"),
            &values.map(|value| format!("{value:>10.3}")).concat(),
        );
    }
}

fn cost(text: &mut String, cost: &Cost) {
    let all = [
        ("server CPU us a message", cost.cpu_us_per_message, 2),
        ("server CPUs busy", cost.cpus_busy, 2),
        ("messages/s a server core", cost.messages_per_second_per_core, 0),
        ("read/write calls a message", cost.io_calls_per_message, 3),
        ("switches a message", cost.context_switches_per_message, 3),
        ("bytes written a body byte", cost.write_amplification, 2),
        ("disk flushes a message", cost.disk_flushes_per_message, 4),
    ];
    for (name, value, digits) in all {
        if let Some(value) = value {
            row(text, name, &format!("{value:.digits$}"));
        }
    }
}

fn checks(text: &mut String, summary: &Summary) {
    if let Some(percent) = &summary.percent_of_ceiling {
        let value = format!("{:.0} % of its write rate", percent.disk_write);
        row(text, "disk", &value);
        row(text, "loopback", &format!("{:.0} % of one stream", percent.loopback));
    }
    for objective in &summary.objectives {
        let met = if objective.met { "met" } else { "MISSED" };
        let value = format!("{:<18}{met} with {:.3}", objective.objective, objective.value);
        row(text, "objective", &value);
    }
    if let Some(verdict) = &summary.verify {
        for line in verdict.lines() {
            row(text, "verify", &line);
        }
    }
}
