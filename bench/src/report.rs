//! What comes out of runs: a table for people, JSON for programs, HdrHistogram files, a page with plots.

pub mod hdr;
pub mod html;
pub mod plot;
pub mod summary;
pub mod table;

use crate::error::Error;
use crate::measure::Measured;
use crate::options::{Format, Options};
use crate::scenario::{Comparison, Sweep};
use serde::Serialize;
use std::path::Path;
use summary::{Origin, Summary};

/// A run and what it showed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What plots and tables call it.
    pub name: String,
    /// What was done: `produce`, `consume`...
    pub mode: &'static str,
    /// The command line, with what is this run's own put in.
    pub options: Options,
    /// What was measured.
    pub measured: Measured,
}

/// Everything that a command found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The runs in their order.
    pub entries: Vec<Entry>,
    /// What `--against` is about.
    pub comparison: Option<Comparison>,
    /// What a sweep is about.
    pub sweep: Option<Sweep>,
    /// Where the figures come from.
    pub origin: Origin,
}

/// The JSON of several runs.
#[derive(Serialize)]
struct Several<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a Comparison>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<&'a Sweep>,
    runs: &'a [Summary],
    origin: &'a Origin,
}

/// The JSON of one run.
#[derive(Serialize)]
struct Single<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    origin: &'a Origin,
}

/// Writes the files that were asked for; gives what is to be printed, and whether every check was met.
///
/// # Errors
/// When a file cannot be written.
pub fn publish(findings: &Findings, output: &crate::options::Output) -> Result<(String, bool), Error> {
    let summaries: Vec<Summary> = findings
        .entries
        .iter()
        .map(|entry| Summary::of(entry, findings.origin.ceilings.as_ref()))
        .collect();
    let json = json(findings, &summaries);
    if let Some(path) = &output.json {
        write(path, &json)?;
    }
    if let Some(path) = &output.html {
        write(path, &html::page(findings, &summaries))?;
    }
    if let Some(path) = &output.hlog {
        let log = hdr::interval_log(&findings.entries).map_err(|error| Error::file(path, error))?;
        std::fs::write(path, log).map_err(|error| Error::file(path, error))?;
    }
    if let Some(path) = &output.hgrm {
        // Of several runs the last: what --hgrm is for has one curve in a file.
        let text = findings.entries.last().map(|entry| {
            let of = entry.measured.headline(&entry.measured.total);
            hdr::percentile_distribution(of, 1000.0)
        });
        write(path, &text.unwrap_or_default())?;
    }
    let text = match output.output {
        Format::Json => json,
        Format::Table => table::text(findings, &summaries),
    };
    // A sweep looks for the rate at which the objectives are missed: that it finds one is no failure.
    let good = summaries
        .iter()
        .all(|summary| summary.is_verified() && (findings.sweep.is_some() || summary.meets_objectives()));
    Ok((text, good))
}

fn json(findings: &Findings, summaries: &[Summary]) -> String {
    let origin = &findings.origin;
    let text = match summaries {
        [summary] if findings.comparison.is_none() && findings.sweep.is_none() => {
            serde_json::to_string_pretty(&Single { summary, origin })
        }
        runs => serde_json::to_string_pretty(&Several {
            comparison: findings.comparison.as_ref(),
            sweep: findings.sweep.as_ref(),
            runs,
            origin,
        }),
    };
    text.expect("figures and texts are always JSON") + "\n"
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|error| Error::file(path, error))
}
