//! One process: plays its seeds one after the other and prints a line when each begins.

use crate::arguments::Arguments;
use simulation::totals::Totals;
use simulation::{Outcome, run};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// The line before a seed.
pub(crate) const BEGIN: &str = "SEED";
/// The line after a seed that failed; more lines say why, up to [`END`].
pub(crate) const FAILED: &str = "FAILED";
/// The last line of a failure.
pub(crate) const END: &str = "END";

/// Plays seeds `from`, `from + stride` and so on below `from + seeds`.
///
/// # Errors
/// When one failed.
pub(crate) fn work(arguments: &Arguments, stride: u64) -> Result<(), String> {
    if arguments.log {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_timer(VirtualTime)
            .init();
    }
    let limit = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let (start, options) = (Instant::now(), arguments.options());
    let mut totals = Totals::default();
    let end = arguments.from.saturating_add(arguments.seeds);
    let mut seed = arguments.from;
    while seed < end && limit.is_none_or(|limit| start.elapsed() < limit) {
        println!("{BEGIN} {seed}");
        let mut outcome = run(seed, &options);
        if arguments.twice {
            compare(&mut outcome, run(seed, &options).trace_hash);
        }
        if let Some(failure) = &outcome.failure {
            println!("{FAILED} {seed}\n{failure}\n{END}");
        }
        totals.add(&outcome);
        seed = seed.saturating_add(stride.max(1));
    }
    println!("{}", totals.to_line());
    if totals.get("failed") == 0 {
        Ok(())
    } else {
        Err(format!("{} seeds failed", totals.get("failed")))
    }
}

/// Seconds of the simulated world.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let micros = runtime::Instant::now().as_nanos() / 1_000;
        write!(writer, "{:4}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

fn compare(outcome: &mut Outcome, again: u64) {
    if outcome.trace_hash != again {
        let hash = outcome.trace_hash;
        outcome.failure = Some(format!("it does not repeat: trace hash {hash:016x}, then {again:016x}"));
    }
}
