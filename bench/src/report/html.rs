//! One page that needs nothing else: no scripts, no fonts, no network. It follows the reader's light or dark setting.

use crate::measure::{number, percentile_ms};
use crate::report::plot::{Axis, Chart, Line, Scale, Stroke};
use crate::report::summary::{LatencyMs, Summary};
use crate::report::{Entry, Findings, table};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// Runs that get a colour of their own; further ones begin again.
pub const COLOURS: usize = 6;

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2230;--soft:#5b6475;--grid:#e3e7ee;--card:#f7f8fb;--line:#d4d9e3;
--c0:#1f66d0;--c1:#c65d00;--c2:#1d7f4e;--c3:#8440c4;--c4:#c02f3e;--c5:#0d7f94}
@media(prefers-color-scheme:dark){:root{--bg:#12151c;--fg:#e6e9f0;--soft:#9aa4b8;--grid:#2a303d;--card:#1a1e28;--line:#343b4a;
--c0:#6ea8ff;--c1:#ffab5e;--c2:#62d196;--c3:#c39bff;--c4:#ff8b94;--c5:#5fd3e4}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1240px;padding:24px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem}p.sub,figcaption{color:var(--soft);margin:.2rem 0 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}
th,td{padding:.35rem .45rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}td.text{text-align:left;white-space:normal}
figure{margin:0 0 1.2rem;padding:14px 14px 10px;background:var(--card);border:1px solid var(--line);border-radius:8px}
figure h3{margin:0 0 .4rem;font-size:1rem}svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px}svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--soft)}
svg path{fill:none;stroke-width:2;stroke-linejoin:round}svg .dash{stroke-dasharray:6 4}svg .dots{stroke-dasharray:2 4}
svg circle.hit{fill:transparent;stroke:none}svg circle.hit:hover{fill:currentColor;opacity:.5}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.2rem 0 .8rem}.legend span{display:inline-flex;align-items:center;gap:.45rem}
.legend i{width:1.4rem;height:3px;border-radius:2px}.good{color:var(--c2)}.bad{color:var(--c4);font-weight:600}
.warn{border-left:4px solid var(--c1);padding:.4rem .8rem;background:var(--card);margin:.5rem 0}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem;font-size:13px}
";

/// The page.
#[must_use]
pub fn page(findings: &Findings, summaries: &[Summary]) -> String {
    let entries = &findings.entries;
    let title = match summaries {
        [one] => format!("mqbench {}", one.mode),
        several => format!("mqbench: {} runs", several.len()),
    };
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _head = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}{}</style></head><body>\
         <h1>{title}</h1><p class=\"sub\">{}</p>",
        colours(),
        escape(&findings.origin.command.join(" ")),
    );
    warnings(&mut page, summaries);
    if findings.comparison.is_some() || findings.sweep.is_some() {
        let _result = write!(
            page,
            "<h2>Result</h2><pre>{}</pre>",
            escape(&table::text(findings, summaries))
        );
    }
    figures(&mut page, summaries);
    checks(&mut page, summaries);
    page.push_str("<h2>Latency and course</h2>");
    legend(&mut page, entries);
    for chart in charts(findings) {
        page.push_str(&chart.figure());
    }
    origin(&mut page, findings);
    page.push_str("</body></html>\n");
    page
}

fn colours() -> String {
    (0..COLOURS)
        .map(|number| {
            format!(
                ".k{number}{{stroke:var(--c{number});color:var(--c{number})}}.b{number}{{background:var(--c{number})}}"
            )
        })
        .collect()
}

/// The colour of each run: rounds of one broker share one.
fn colour_of(entries: &[Entry], place: usize) -> usize {
    let name = |entry: &Entry| {
        entry
            .name
            .rsplit_once(" #")
            .map_or(entry.name.clone(), |(name, _round)| name.to_owned())
    };
    let mut names: Vec<String> = Vec::new();
    for entry in entries.iter().take(place + 1) {
        if !names.contains(&name(entry)) {
            names.push(name(entry));
        }
    }
    (names.len().max(1) - 1) % COLOURS
}

fn legend(page: &mut String, entries: &[Entry]) {
    page.push_str("<div class=\"legend\">");
    let mut last = None;
    for (place, entry) in entries.iter().enumerate() {
        let colour = colour_of(entries, place);
        let name = entry
            .name
            .rsplit_once(" #")
            .map_or(entry.name.as_str(), |(name, _round)| name);
        if last.replace(name) != Some(name) {
            let _item = write!(page, "<span><i class=\"b{colour}\"></i>{}</span>", escape(name));
        }
    }
    page.push_str("</div>");
}

fn warnings(page: &mut String, summaries: &[Summary]) {
    for summary in summaries {
        for warning in &summary.warnings {
            let _line = write!(
                page,
                "<p class=\"warn\"><b>{}</b>: {}</p>",
                escape(&summary.name),
                escape(warning)
            );
        }
    }
}

fn figures(page: &mut String, summaries: &[Summary]) {
    page.push_str(
        "<h2>Figures</h2><div class=\"wide\"><table><tr><th>run</th><th>messages/s</th><th>MB/s</th><th>time</th><th>p50 ms</th>\
         <th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th><th>max</th><th>errors</th><th>server us/msg</th>\
         <th>msg/s a core</th></tr>",
    );
    let optional =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for summary in summaries {
        let server = summary.server.as_ref();
        let costs = [
            optional(server.and_then(|cost| cost.cpu_us_per_message), 2),
            optional(server.and_then(|cost| cost.messages_per_second_per_core), 0),
        ];
        let tracks = [
            ("response", &summary.response_ms),
            ("service", &summary.service_ms),
            ("delivery", &summary.delivery_ms),
            ("generator's own delay", &summary.generator_lag_ms),
        ];
        for (place, (track, latency)) in tracks
            .iter()
            .filter_map(|(name, of)| Some((*name, of.as_ref()?)))
            .enumerate()
        {
            let run = if place == 0 {
                escape(&summary.name)
            } else {
                String::new()
            };
            let rates = if place == 0 {
                [summary.messages_per_second, summary.megabytes_per_second].map(|value| format!("{value:.0}"))
            } else {
                [String::new(), String::new()]
            };
            let rest = if place == 0 {
                [summary.errors.to_string(), costs[0].clone(), costs[1].clone()]
            } else {
                [String::new(), String::new(), String::new()]
            };
            let _row = write!(
                page,
                "<tr><td>{run}</td><td>{}</td><td>{}</td><td>{track}</td>{}<td>{}</td><td>{}</td><td>{}</td></tr>",
                rates[0],
                rates[1],
                cells(latency),
                rest[0],
                rest[1],
                rest[2],
            );
        }
    }
    page.push_str("</table></div>");
}

fn cells(latency: &LatencyMs) -> String {
    let values = [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p99_9,
        latency.p99_99,
        latency.max,
    ];
    values.map(|value| format!("<td>{value:.3}</td>")).concat()
}

fn checks(page: &mut String, summaries: &[Summary]) {
    let mut rows = String::new();
    for summary in summaries {
        for objective in &summary.objectives {
            let (class, met) = if objective.met {
                ("good", "met")
            } else {
                ("bad", "missed")
            };
            let _row = write!(
                rows,
                "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text {class}\">{met} with {:.3}</td></tr>",
                escape(&summary.name),
                escape(&objective.objective),
                objective.value,
            );
        }
        for (cause, count) in &summary.errors_by_cause {
            let _row = write!(
                rows,
                "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text bad\">{count} times</td></tr>",
                escape(&summary.name),
                escape(cause),
            );
        }
        for line in summary.verify.iter().flat_map(crate::verify::Verdict::lines) {
            let class = if summary.is_verified() { "good" } else { "bad" };
            let _row = write!(
                rows,
                "<tr><td>{}</td><td class=\"text\">verify</td><td class=\"text {class}\">{}</td></tr>",
                escape(&summary.name),
                escape(&line),
            );
        }
    }
    if !rows.is_empty() {
        let _table = write!(page, "<h2>Checks</h2><div class=\"wide\"><table>{rows}</table></div>");
    }
}

fn origin(page: &mut String, findings: &Findings) {
    let origin = &findings.origin;
    let machine = &origin.machine;
    let mut rows = vec![
        (
            "processor",
            format!(
                "{}, {} CPUs used, {}",
                machine.processor, machine.cpus, machine.architecture
            ),
        ),
        ("memory", format!("{:.1} GB", number(machine.memory_bytes) / 1e9)),
        ("kernel", machine.kernel.clone()),
        ("mqbench commit", origin.commit.to_owned()),
    ];
    for (address, version) in &origin.brokers {
        rows.push(("broker", format!("{address}: {version}")));
    }
    if let Some(ceilings) = &origin.ceilings {
        rows.push((
            "self-test",
            format!(
                "disk {:.0} MB/s and {:.0} syncs/s; loopback {:.0} MB/s and {:.0} round trips/s",
                ceilings.disk_write_mb_per_second,
                ceilings.disk_syncs_per_second,
                ceilings.loopback_mb_per_second,
                ceilings.loopback_round_trips_per_second
            ),
        ));
    }
    page.push_str("<h2>Where this comes from</h2><div class=\"wide\"><table>");
    for (name, value) in rows {
        let _row = write!(
            page,
            "<tr><td>{name}</td><td class=\"text\">{}</td></tr>",
            escape(&value)
        );
    }
    page.push_str("</table></div>");
}

fn charts(findings: &Findings) -> Vec<Chart> {
    let entries = &findings.entries;
    let mut charts = Vec::new();
    if let Some(sweep) = &findings.sweep {
        let mut points: Vec<(f64, f64)> = sweep.steps.iter().map(|step| (step.rate, step.p99_ms)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        charts.push(Chart {
            title: "p99 of the response time by rate".to_owned(),
            caption: "Each point is an open-loop run.".to_owned(),
            x: Axis::new("messages due a second", Scale::Linear),
            y: Axis::new("milliseconds", Scale::Log),
            lines: vec![Line::new("p99", 0, Stroke::Solid, points)],
        });
    }
    charts.push(by_percentile(entries));
    charts.push(rates(entries));
    charts.push(over_time(entries));
    charts.retain(|chart| chart.lines.iter().any(|line| !line.points.is_empty()));
    charts
}

/// The tracks of a run that have something to show. In a closed loop service time is response time.
fn tracks(entry: &Entry) -> Vec<(&'static str, Stroke, &Histogram<u64>)> {
    let total = &entry.measured.total;
    let paced = entry.options.pace.rate > 0.0;
    let all = [
        ("response", Stroke::Solid, &total.response, true),
        ("service", Stroke::Dashed, &total.service, paced),
        ("delivery", Stroke::Dotted, &total.delivery, true),
    ];
    all.into_iter()
        .filter(|(_name, _stroke, histogram, shown)| *shown && !histogram.is_empty())
        .map(|(name, stroke, histogram, _shown)| (name, stroke, histogram))
        .collect()
}

fn by_percentile(entries: &[Entry]) -> Chart {
    let mut lines = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        for (track, stroke, histogram) in tracks(entry) {
            let points = histogram.iter_quantiles(4).filter_map(|step| {
                let left = 1.0 - step.quantile_iterated_to();
                // The maximum stands where the one message that it is would be.
                let inverse = 1.0 / left.max(1.0 / number(histogram.len()));
                inverse
                    .is_finite()
                    .then(|| (inverse, number(step.value_iterated_to()) / 1000.0))
            });
            let name = format!("{} {track}", entry.name);
            lines.push(Line::new(&name, colour_of(entries, place), stroke, points.collect()));
        }
    }
    Chart {
        title: "Latency by percentile".to_owned(),
        caption: "Solid: response time, from when a message was due. Dashed: service time, from when it was sent. \
                  Dotted: delivery time, from due to read. The right end is the slowest message."
            .to_owned(),
        x: Axis::new("percentile", Scale::Percentile),
        y: Axis::new("milliseconds", Scale::Log),
        lines,
    }
}

fn rates(entries: &[Entry]) -> Chart {
    let mut lines = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let colour = colour_of(entries, place);
        let of = |count: fn(&crate::measure::Tally) -> u64| {
            let intervals = entry.measured.intervals.iter();
            let points: Vec<(f64, f64)> = intervals
                .map(|one| {
                    (
                        one.begin + one.seconds / 2.0,
                        number(count(&one.tally)) / one.seconds.max(1e-9),
                    )
                })
                .collect();
            points
        };
        if entry.measured.total.sent > 0 {
            lines.push(Line::new(
                &format!("{} sent", entry.name),
                colour,
                Stroke::Solid,
                of(|tally| tally.sent),
            ));
        }
        if entry.measured.total.received > 0 {
            lines.push(Line::new(
                &format!("{} read", entry.name),
                colour,
                Stroke::Dotted,
                of(|tally| tally.received),
            ));
        }
    }
    Chart {
        title: "Messages a second over time".to_owned(),
        caption: "Solid: acknowledged with SEND_OK. Dotted: read.".to_owned(),
        x: Axis::new("seconds", Scale::Linear),
        y: Axis::new("messages a second", Scale::Linear),
        lines,
    }
}

fn over_time(entries: &[Entry]) -> Chart {
    let mut lines = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let colour = colour_of(entries, place);
        for (name, percentile, stroke) in [("p99", 99.0, Stroke::Solid), ("p50", 50.0, Stroke::Dashed)] {
            let points = entry.measured.intervals.iter().filter_map(|one| {
                let value = percentile_ms(entry.measured.headline(&one.tally), percentile);
                (!value.is_nan()).then_some((one.begin + one.seconds / 2.0, value))
            });
            lines.push(Line::new(
                &format!("{} {name}", entry.name),
                colour,
                stroke,
                points.collect(),
            ));
        }
    }
    Chart {
        title: "Latency over time".to_owned(),
        caption: "Solid: p99 of each interval. Dashed: its median.".to_owned(),
        x: Axis::new("seconds", Scale::Linear),
        y: Axis::new("milliseconds", Scale::Log),
        lines,
    }
}

/// Text as it may stand in HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        assert_eq!(escape("<b>&\"x\""), "&lt;b&gt;&amp;&quot;x&quot;");
    }
}
