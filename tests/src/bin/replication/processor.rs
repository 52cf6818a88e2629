//! Processor time of processes.

use std::fs::read_to_string;

/// Kernel ticks a second: always 100 on Linux where user space sees them.
const TICKS: f64 = 100.0;

/// User and system time of a process so far, in seconds.
pub(crate) fn seconds_of(pid: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|error| panic!("no process {pid}: {error}"));
    // The name may hold blanks and brackets; what follows it does not.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// The same of this process.
pub(crate) fn own_seconds() -> f64 {
    seconds_of(std::process::id())
}
