//! Event loops: one a core for servers, one on the calling thread for tools.

use crate::probe::IoPath;
use crate::ring;
use crate::world::FileAccess;
use std::future::Future;
use std::io;
use std::sync::Arc;

/// The CPUs this process may run on (a container may have been given only some), lowest first.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return vec![0];
    };
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

/// How the event loops of a server run.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// How many.
    pub cores: usize,
    /// Each loop stays on one of the allowed CPUs.
    pub pin: bool,
    /// How files are reached: from [`crate::probe::probe`], or `Blocking` when the configuration says so.
    pub io: IoPath,
}

/// Runs `work(core)` on an event loop of its own for each core, and returns when all have ended, with their outcomes in
/// the order of the cores.
///
/// # Errors
/// When a thread or an event loop cannot be made.
pub fn run_cores<T, F, W>(options: &CoreOptions, work: W) -> io::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = T>,
    W: Fn(usize) -> F + Send + Sync + 'static,
{
    let work = Arc::new(work);
    let cpus = allowed_cpus();
    let threads = (0..options.cores)
        .map(|core| {
            let work = Arc::clone(&work);
            let cpu = options.pin.then(|| cpus[core % cpus.len()]);
            let access = access(&options.io);
            std::thread::Builder::new().name(format!("core-{core}")).spawn(move || {
                if let Some(cpu) = cpu {
                    pin(cpu);
                }
                ring::run(access, async move { work(core).await })
            })
        })
        .collect::<io::Result<Vec<_>>>()?;
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        .collect()
}

/// Runs `work` on an event loop of the calling thread: name server, tools, tests.
///
/// # Errors
/// When the event loop cannot be made.
pub fn run_here<F: Future>(io: &IoPath, work: F) -> io::Result<F::Output> {
    ring::run(access(io), work)
}

fn access(io: &IoPath) -> FileAccess {
    match io {
        IoPath::Ring => FileAccess::Ring,
        IoPath::Blocking(_refusal) => FileAccess::Blocking,
    }
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "cannot stay on one CPU");
    }
}
