//! Side by side: RingMQ and Apache RocketMQ on this machine, one after the other in alternating rounds, with the Java load client and with `mqbench`.
//!
//! Apache and the Java client are started by a `peer.sh` (see `--help`). Give both servers and clients the same standing on a crowded machine by running all of it
//! under `chrt -r 1`; children inherit it. In the rows of `mqbench` a bare echo takes its turn as well (see [`echo`]): what it costs is what
//! this hour of this machine asks of any broker.
#![expect(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod echo;
mod rows;
mod server;
mod table;

use clap::Parser;
use rows::{Load, Row};
use server::{Kind, Server};
use std::path::PathBuf;
use table::Table;
use tests::harness::FlushMode;

#[derive(Debug, Parser)]
#[command(
    name = "compare",
    about = "Measures RingMQ and Apache RocketMQ side by side, and prints medians",
    after_help = "Examples:\n  compare --peer ../shared/peers/rocketmq/peer.sh\n  \
                  chrt -r 1 compare --peer peer.sh --rounds 5 --seconds 8 --rows java-64,depth-16,sync-depth-1\n\n\
                  Rows: java-T (T synchronous Java senders over one connection), depth-D (mqbench, 64 connections, D messages\n\
                  in flight on each); sync- in front means SYNC_FLUSH. Build first: cargo build --release, peer.sh build.\n\n\
                  Echo reads, appends the bodies to a file and answers, and does nothing else: the floor of this hour and machine."
)]
struct Arguments {
    /// The script that starts Apache and the Java load client: takes start KIND, stop, wipe, load MODE.
    #[arg(long)]
    peer: PathBuf,
    /// How often each server is measured; the two take turns.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of each row's measured window.
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// What runs before each window and is not counted.
    #[arg(long, default_value_t = 5)]
    warmup: u32,
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "java-1,java-8,java-64,depth-1,depth-16,depth-64,sync-java-64,sync-depth-1,sync-depth-16"
    )]
    rows: Vec<Row>,
    /// Leave Apache out.
    #[arg(long)]
    ours_only: bool,
    /// Every round's figures, as JSON lines.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() {
    if let Some(served) = echo::asked_for() {
        served.unwrap_or_else(|e| panic!("the echo has ended: {e}"));
        return;
    }
    let arguments = Arguments::parse();
    let kinds = if arguments.ours_only {
        &Kind::ALL[..2]
    } else {
        &Kind::ALL
    };
    let mut table = Table::new(arguments.json.as_deref());
    for round in 0..arguments.rounds {
        // Whoever is measured second meets a warmer machine: so they take turns.
        let turn = round as usize % kinds.len();
        for &kind in kinds[turn..].iter().chain(&kinds[..turn]) {
            for flush in [FlushMode::Async, FlushMode::Sync] {
                measure(&arguments, round, kind, flush, &mut table);
            }
        }
    }
    print!("{table}");
}

fn measure(arguments: &Arguments, round: u32, kind: Kind, flush: FlushMode, table: &mut Table) {
    let rows: Vec<Row> = arguments
        .rows
        .iter()
        .copied()
        .filter(|row| row.flush == flush && kind.takes(row.client))
        .collect();
    if rows.is_empty() {
        return;
    }
    let server = Server::start(kind, flush, &arguments.peer);
    let load = Load {
        peer: &arguments.peer,
        server: &server,
        seconds: arguments.seconds,
        warmup: arguments.warmup,
    };
    if kind != Kind::Echo {
        // "boot success" comes before the name server has heard of the broker.
        load.await_first_message();
    }
    for row in rows {
        let figures = load.run(row);
        println!("round {round} {kind:?} {row}: {figures}");
        table.add(round, kind, row, figures);
    }
    println!(
        "round {round} {kind:?} {flush:?}: RSS {} MB",
        server.resident_megabytes()
    );
}
