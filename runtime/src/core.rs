//! Event loops: one a core for servers, one on the calling thread for tools.

use crate::probe::IoPath;
use crate::ring;
use std::future::Future;
use std::io;
use std::sync::Arc;

/// The CPUs this process may run on (a container may have been given only some), lowest first.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    if let Some(here) = crate::world::simulated() {
        return (0..here.cores()).collect();
    }
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
/// The calling thread waits meanwhile, so a simulated node cannot call this: [`crate::sim::Simulation::start_cores`] takes
/// the same closure and makes each core a group of tasks of the node.
///
/// # Errors
/// When a thread or an event loop cannot be made; `Unsupported` inside a simulated node.
pub fn run_cores<T, F, W>(options: &CoreOptions, work: W) -> io::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = T>,
    W: Fn(usize) -> F + Send + Sync + 'static,
{
    refuse_in_simulation()?;
    let work = Arc::new(work);
    let cpus = allowed_cpus();
    let threads = (0..options.cores)
        .map(|core| {
            let work = Arc::clone(&work);
            let cpu = options.pin.then(|| cpus[core % cpus.len()]);
            let io = options.io.clone();
            std::thread::Builder::new().name(format!("core-{core}")).spawn(move || {
                if let Some(cpu) = cpu {
                    pin(cpu);
                }
                run(&io, async move { work(core).await })
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
/// When the event loop cannot be made; `Unsupported` inside a simulated node, whose event loop runs already.
pub fn run_here<F: Future>(io: &IoPath, work: F) -> io::Result<F::Output> {
    refuse_in_simulation()?;
    run(io, work)
}

fn refuse_in_simulation() -> io::Result<()> {
    if crate::world::is_simulated() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a simulated node has its event loop already; start it by Simulation::start or Simulation::start_cores",
        ));
    }
    Ok(())
}

/// Runs `work` on a new event loop of this thread, with a ring beside it if `io` says so.
fn run<F: Future>(io: &IoPath, work: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let _ring = match io {
            IoPath::Ring => Some(ring::install()?),
            IoPath::Blocking(_refusal) => None,
        };
        Ok(work.await)
    }))
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "cannot stay on one CPU");
    }
}
