//! Real faults under real processes on a real kernel: kills, power cuts, failing, full and stalled disks, clocks that jump.
//!
//! `cargo xtask faults` runs the long forms, `cargo test --package tests --test faults` the short ones. A fault for which
//! the machine lacks the means is skipped and says so; the last line has the form of Rust's own test runner.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test program talks to its user"
)]

mod clock;
mod disk_full;
mod kill;
mod pause;
mod power_cut;
mod replay;
mod stall;
mod start;
mod sync_error;

use clap::Parser;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests::disks::{self, Means};

#[derive(Debug, Parser)]
#[command(about = "Breaks disks, clocks and processes under real servers, and counts what is lost")]
pub(crate) struct Plan {
    /// Run only these; separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The long form: about so many minutes for each fault.
    #[arg(long)]
    minutes: Option<u64>,
    /// Name every fault and end.
    #[arg(long)]
    list: bool,
    /// Accepted for the sake of callers that pass it to every test program.
    #[arg(long, short, hide = true)]
    quiet: bool,
}

impl Plan {
    /// One of two values: for the short form, or for the long one.
    pub(crate) fn choose<T>(&self, short: T, long: T) -> T {
        if self.minutes.is_some() { long } else { short }
    }

    /// When a long form is over.
    pub(crate) fn end(&self) -> Option<Instant> {
        let minutes = self.minutes?;
        Some(Instant::now() + Duration::from_secs(minutes * 60))
    }
}

/// Whether this run is against Apache's broker: then counts are printed and nothing is asserted of them.
pub(crate) fn against_apache() -> bool {
    std::env::var_os("RINGMQ_TEST_APACHE_LIB").is_some()
}

struct Fault {
    name: &'static str,
    what: &'static str,
    means: &'static [Means],
    run: fn(&Plan),
}

const FAULTS: [Fault; 12] = [
    Fault {
        name: "kill-async",
        what: "kill -9 under load, async flush",
        means: &[],
        run: kill::in_async_flush,
    },
    Fault {
        name: "kill-sync",
        what: "kill -9 under load, sync flush",
        means: &[],
        run: kill::in_sync_flush,
    },
    Fault {
        name: "power-cut",
        what: "ext4 is cut off from its device under load",
        means: &[Means::LoopExt4],
        run: power_cut::run,
    },
    Fault {
        name: "sync-error-fuse",
        what: "the device of a sync flush broker fails every write",
        means: &[Means::LoopExt4, Means::Fuse],
        run: sync_error::on_fuse,
    },
    Fault {
        name: "sync-error-zram",
        what: "the device of a sync flush broker fails: zram at its limit",
        means: &[Means::LoopExt4, Means::Zram],
        run: sync_error::on_zram,
    },
    Fault {
        name: "disk-full",
        what: "the disk fills and is emptied again",
        means: &[Means::LoopExt4],
        run: disk_full::run,
    },
    Fault {
        name: "stall",
        what: "the file system is frozen for a while",
        means: &[Means::LoopExt4, Means::Freeze],
        run: stall::run,
    },
    Fault {
        name: "replay",
        what: "power cuts at any point of a disk's life, from a record of its writes",
        means: &[Means::LoopExt4, Means::Fuse],
        run: replay::run,
    },
    Fault {
        name: "clock",
        what: "the broker's wall clock jumps by hours",
        means: &[Means::FakeTime],
        run: clock::run,
    },
    Fault {
        name: "cold-start",
        what: "no fault: time to the first message, memory at rest and under load",
        means: &[],
        run: start::cold,
    },
    Fault {
        name: "large-log",
        what: "kill -9 on a large log, time to the next message",
        means: &[],
        run: start::large_log,
    },
    Fault {
        name: "pause",
        what: "the broker stands still (SIGSTOP) for a while",
        means: &[],
        run: pause::run,
    },
];

fn main() -> ExitCode {
    let plan = Plan::parse();
    if plan.list {
        for fault in &FAULTS {
            println!("{:18} {}", fault.name, fault.what);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = plan.only.iter().find(|name| FAULTS.iter().all(|f| f.name != **name)) {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        println!("no fault is called {unknown}; there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let start = Instant::now();
    let wanted = |fault: &&Fault| plan.only.is_empty() || plan.only.iter().any(|name| name == fault.name);
    for fault in FAULTS.iter().filter(wanted) {
        let begin = Instant::now();
        if let Some(lack) = disks::missing(fault.means) {
            println!("fault {} ... skipped: {lack}", fault.name);
            skipped += 1;
            continue;
        }
        // Everything that a fault breaks is mended by guards on its stack, so the next one starts whole.
        match catch_unwind(AssertUnwindSafe(|| (fault.run)(&plan))) {
            Ok(()) => {
                println!("fault {} ... ok ({:.1} s)", fault.name, begin.elapsed().as_secs_f64());
                passed += 1;
            }
            Err(_) => {
                println!(
                    "fault {} ... FAILED ({:.1} s)",
                    fault.name,
                    begin.elapsed().as_secs_f64()
                );
                failed += 1;
            }
        }
    }
    println!(
        "test result: {}. {passed} passed; {failed} failed; {skipped} ignored; finished in {:.1}s",
        if failed == 0 { "ok" } else { "FAILED" },
        start.elapsed().as_secs_f64()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
