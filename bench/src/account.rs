//! What processes cost, from /proc: CPU time, system calls, context switches, bytes written, flushes of the disks.
//!
//! What the kernel does not let us read is `None`, never 0. `/proc/PID/io` counts the read and write families only: work
//! that goes through io_uring makes no such calls.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// Clock ticks a second in /proc: fixed by Linux' interface to programs.
const TICKS_A_SECOND: u64 = 100;

/// What processes have used: since they began, or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Option<Duration>,
    /// System calls of the read and write families.
    pub io_calls: Option<u64>,
    /// Times that a thread gave its CPU up or had it taken.
    pub context_switches: Option<u64>,
    /// Bytes that went towards the disks.
    pub written_bytes: Option<u64>,
    /// Flushes that the machine's disks did, whoever asked for them.
    pub disk_flushes: Option<u64>,
}

impl Usage {
    /// Of these processes until now; what one of them does not show is not known of all.
    #[must_use]
    pub fn of(pids: &[u32]) -> Usage {
        let sum = |one: fn(u32) -> Option<u64>| {
            let all: Option<u64> = pids.iter().map(|&pid| one(pid)).sum();
            all.filter(|_sum| !pids.is_empty())
        };
        Usage {
            cpu: sum(cpu_ticks).map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)),
            io_calls: sum(|pid| Some(io_field(pid, "syscr")? + io_field(pid, "syscw")?)),
            context_switches: sum(context_switches),
            written_bytes: sum(|pid| io_field(pid, "write_bytes")),
            disk_flushes: fs::read_to_string("/proc/diskstats")
                .ok()
                .and_then(|text| flushes(&text)),
        }
    }
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        let count = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Usage {
            cpu: self
                .cpu
                .zip(earlier.cpu)
                .map(|(now, before)| now.saturating_sub(before)),
            io_calls: count(self.io_calls, earlier.io_calls),
            context_switches: count(self.context_switches, earlier.context_switches),
            written_bytes: count(self.written_bytes, earlier.written_bytes),
            disk_flushes: count(self.disk_flushes, earlier.disk_flushes),
        }
    }
}

fn cpu_ticks(pid: u32) -> Option<u64> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// utime + stime: fields 14 and 15, counted from the name, which may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_name, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn io_field(pid: u32, name: &str) -> Option<u64> {
    value_of(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?, name)
}

/// Both kinds of switches of all threads; a thread that ends meanwhile is left out.
fn context_switches(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let status = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let counts = status.filter_map(|text| {
        Some(value_of(&text, "voluntary_ctxt_switches")? + value_of(&text, "nonvoluntary_ctxt_switches")?)
    });
    Some(counts.sum())
}

/// The number in a line `name: number`.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line?.trim().parse().ok()
}

/// Flushes of whole disks: column 19 since Linux 5.5. Partitions count with their disk.
fn flushes(diskstats: &str) -> Option<u64> {
    let counts = diskstats.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(18)?.parse::<u64>().ok()
    });
    // Only disks count flushes: a partition's column is 0.
    counts.reduce(|sum, count| sum + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn our_own_usage_can_be_read_and_grows() {
        let before = Usage::of(&[std::process::id()]);
        let path = std::env::temp_dir();
        for _look in 0..100 {
            fs::read_dir(&path)
                .expect("the folder for temporary files")
                .for_each(drop);
            fs::read_to_string("/proc/self/stat").expect("our own stat");
        }
        let used = Usage::of(&[std::process::id()]) - before;
        assert!(used.cpu.is_some() && used.context_switches.is_some());
        assert!(used.io_calls.is_none_or(|calls| calls >= 100), "{used:?}");
    }

    #[test]
    fn a_missing_process_says_so_and_no_process_is_nothing() {
        assert_eq!(Usage::of(&[u32::MAX]).cpu, None);
        assert_eq!(Usage::of(&[]).cpu, None);
    }

    #[test]
    fn flushes_are_read_from_the_last_but_one_column() {
        let disk = "252 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 77 16";
        let partition = "252 1 vda1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0 0";
        assert_eq!(flushes(&format!("{disk}\n{partition}\n")), Some(77));
        assert_eq!(
            flushes("8 0 sda 1 2 3 4 5 6 7 8 9 10 11"),
            None,
            "an old kernel counts none"
        );
    }
}
