//! The real world, on the real kernel, in both ways to reach files.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error it does not expect has failed"
)]
#![expect(clippy::print_stdout, reason = "what was skipped or measured must be seen")]

mod busy_loop;
mod files;
mod loops;

use runtime::probe::{IoPath, Refusal, probe};
use std::future::Future;

/// The ways to reach files that this machine has; says so when the ring is refused.
fn paths() -> Vec<IoPath> {
    let pool = IoPath::Blocking(Refusal::Configured);
    match probe() {
        IoPath::Ring => vec![IoPath::Ring, pool],
        refused @ IoPath::Blocking(_) => {
            println!("SKIPPED for the ring: {refused}");
            vec![pool]
        }
    }
}

/// Runs `work` once in each way, each time in an empty directory of its own.
fn in_each_way<F: Future<Output = ()>>(work: impl Fn(std::path::PathBuf) -> F) {
    for path in paths() {
        println!("{path}");
        let directory = tempfile::tempdir().unwrap();
        runtime::core::run_here(&path, work(directory.path().to_owned())).unwrap();
    }
}
