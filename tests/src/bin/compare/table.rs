//! The figures of all rounds, as medians with their spread, and as ratios.

use crate::rows::{Figures, Row};
use crate::server::Kind;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

struct Entry {
    round: u32,
    kind: Kind,
    row: Row,
    figures: Figures,
}

pub(crate) struct Table {
    entries: Vec<Entry>,
    json: Option<File>,
}

impl Table {
    pub(crate) fn new(json: Option<&Path>) -> Table {
        let json =
            json.map(|path| File::create(path).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display())));
        Table {
            entries: Vec::new(),
            json,
        }
    }

    pub(crate) fn add(&mut self, round: u32, kind: Kind, row: Row, figures: Figures) {
        if let Some(json) = &mut self.json {
            let line = serde_json::json!({
                "round": round, "server": format!("{kind:?}"), "row": row.to_string(), "messages_per_second": figures.rate,
                "p50_ms": figures.p50, "p99_ms": figures.p99, "p99.9_ms": figures.p999,
                "server_cpu_seconds_per_million": figures.cpu, "errors": figures.errors,
            });
            writeln!(json, "{line}").expect("the JSON file can be written");
        }
        self.entries.push(Entry {
            round,
            kind,
            row,
            figures,
        });
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for entry in &self.entries {
            if !rows.contains(&entry.row) {
                rows.push(entry.row);
            }
        }
        rows
    }

    fn values(&self, kind: Kind, row: Row, figure: fn(&Figures) -> f64) -> Vec<f64> {
        let of_row = self
            .entries
            .iter()
            .filter(|entry| entry.kind == kind && entry.row == row);
        let mut values: Vec<f64> = of_row.map(|entry| figure(&entry.figures)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// One's CPU a message divided by the other's, in each round that has both.
    fn ratios(&self, row: Row, of: Kind, by: Kind) -> Vec<f64> {
        let cpu = |round, kind| {
            let mut of_round = self.entries.iter();
            let entry = of_round.find(|e| e.round == round && e.kind == kind && e.row == row);
            entry.map(|entry| entry.figures.cpu)
        };
        let last = self.entries.iter().map(|entry| entry.round).max().unwrap_or(0);
        let mut ratios: Vec<f64> = (0..=last)
            .filter_map(|round| Some(cpu(round, of)? / cpu(round, by)?))
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => f64::NAN,
        _ if sorted.len() % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// `median (least to most)`.
fn cell(sorted: &[f64], decimals: usize) -> String {
    let (least, most) = (sorted.first().copied(), sorted.last().copied());
    let (least, most) = (least.unwrap_or(f64::NAN), most.unwrap_or(f64::NAN));
    format!(
        "{:.decimals$} ({least:.decimals$} to {most:.decimals$})",
        median(sorted)
    )
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| row | server | msg/s | p50 ms | p99 ms | p99.9 ms | CPU s a million | errors |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in self.rows() {
            for kind in Kind::ALL {
                let rates = self.values(kind, row, |figures| figures.rate);
                if rates.is_empty() {
                    continue;
                }
                writeln!(
                    f,
                    "| {row} | {kind:?} | {} | {:.3} | {:.2} | {} | {} | {} |",
                    cell(&rates, 0),
                    median(&self.values(kind, row, |figures| figures.p50)),
                    median(&self.values(kind, row, |figures| figures.p99)),
                    cell(&self.values(kind, row, |figures| figures.p999), 2),
                    cell(&self.values(kind, row, |figures| figures.cpu), 2),
                    self.values(kind, row, |figures| figures.errors).iter().sum::<f64>(),
                )?;
            }
            for (what, of, by) in [
                ("Apache's CPU by ours", Kind::Apache, Kind::Ours),
                ("our CPU by the echo's", Kind::Ours, Kind::Echo),
            ] {
                let ratios = self.ratios(row, of, by);
                if !ratios.is_empty() {
                    writeln!(f, "| {row} | {what} | | | | | {} | |", cell(&ratios, 2))?;
                }
            }
        }
        Ok(())
    }
}
