//! `ringmq status`: the services of a cluster, and how they are.

use crate::Failure;
use crate::layout::{self, Kind};
use crate::services::{Cluster, Service};
use broker::start::say;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Options of `ringmq status`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The data directory that `ringmq up` was given
    #[arg(long, value_name = "DIR", default_value = "ringmq-data")]
    data: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Nothing was started.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let data = layout::absolute(&options.data)?;
    let Some(cluster) = Cluster::load(&data)? else {
        return Err(format!(
            "no cluster was started with {}; --data names another directory",
            data.display()
        )
        .into());
    };
    say(&if options.json {
        format!("{:#}\n", as_json(&cluster))
    } else {
        table(&cluster.services)
    });
    let all_run = cluster.services.iter().all(Service::is_running);
    Ok(if all_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::NameServer => "name server",
        Kind::Master => "master",
        Kind::Slave => "slave",
    }
}

fn as_json(cluster: &Cluster) -> serde_json::Value {
    let services: Vec<serde_json::Value> = cluster
        .services
        .iter()
        .map(|service| {
            json!({
                "name": service.name, "kind": service.kind, "address": service.address, "pid": service.pid,
                "running": service.is_running(), "residentBytes": service.resident(),
                "upSeconds": service.age().map(|age| age.as_secs()), "log": service.log,
            })
        })
        .collect();
    json!({"nameServers": cluster.name_servers, "services": services})
}

/// The services as lines for people.
pub(crate) fn table(services: &[Service]) -> String {
    let head = ["service", "kind", "address", "state", "pid", "up", "memory"].map(str::to_owned);
    let rows = services.iter().map(|service| {
        let running = service.is_running();
        let blank = String::new;
        [
            service.name.clone(),
            kind(service.kind).to_owned(),
            service.address.clone(),
            if running { "running" } else { "ended" }.to_owned(),
            if running { service.pid.to_string() } else { blank() },
            service.age().filter(|_age| running).map_or_else(blank, duration),
            service
                .resident()
                .filter(|_bytes| running)
                .map_or_else(blank, |bytes| format!("{} MB", bytes >> 20)),
        ]
    });
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `42 s`, `3 min`, `5 h`, `2 d`: the largest unit that fits.
fn duration(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_with_a_letter() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned);
        let text = columns(&[row(["service", "up"]), row(["a", ""]), row(["broker-long", "2 h"])]);
        assert_eq!(text, "service      up\na\nbroker-long  2 h\n");
    }

    #[test]
    fn ages_are_told_in_the_largest_unit_that_fits() {
        let text = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(
            [text(0), text(119), text(120), text(7200), text(172_800)],
            ["0 s", "119 s", "2 min", "2 h", "2 d"]
        );
    }
}
