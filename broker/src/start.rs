//! From a checked configuration to a broker that runs, and to its end.

use crate::broker::{Broker, Origin};
use crate::config::{BrokerConfig, Finding, Machine};
use crate::core::CONTROL_CORE;
use crate::plan;
use crate::program::{self, START_FAILED, Task};
use crate::replication::{self, Original, apache};
use crate::settings::Settings;
use engine::{StoreLayout, StoreOptions};
use runtime::core::CoreOptions;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The program `mqbroker`, from its arguments (the first is its name) to its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match program::task(arguments, &Machine::here()) {
        Task::End(ending) => {
            say(&ending.output);
            complain(&ending.errors);
            ExitCode::from(ending.code)
        }
        Task::Start(config, findings) => match serve(*config, &findings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                complain(&format!("mqbroker: {problem}\n"));
                ExitCode::from(START_FAILED)
            }
        },
    }
}

fn serve(config: BrokerConfig, findings: &[Finding]) -> Result<(), String> {
    log_to_standard_error();
    if let Err(error) = runtime::machine::raise_open_files() {
        tracing::warn!(%error, "cannot have more files open than at the start");
    }
    program::log(findings);
    let boot_line = program::boot_line(&config);
    prepare(config)?.run(move |broker| {
        let boot_line = boot_line.clone();
        async move {
            runtime::spawn(stop_on_signal(broker.clone()));
            broker.ready().await;
            say(&boot_line);
            runtime::service_manager::ready(boot_line.trim_end());
        }
    })
}

/// Opens the store of a broker or makes it. A new slave waits for its master first, and learns what it is to copy.
///
/// # Errors
/// A store that is in use, of another format, or in a directory that cannot be used.
pub async fn open_store(settings: &Settings, store: &mut StoreOptions) -> Result<(StoreLayout, Origin), String> {
    let root = store.root.clone();
    let cannot = |error: io::Error| format!("{}: {error}", root.display());
    let is_new = !runtime::file::exists(&store.root.join("store.json")).await;
    if settings.is_slave() && is_new {
        match replication::join(settings).await? {
            // It will have the shards, the segments and the name of its master's.
            Original::Store(identity) => store.copy_of = Some(identity),
            Original::Apache => apache::mark(&root).await.map_err(cannot)?,
        }
    }
    let layout = engine::prepare_store(store).await.map_err(|error| error.to_string())?;
    let origin = origin_of(settings, &root).await;
    Ok((layout, origin))
}

/// Where the messages of a broker come from.
async fn origin_of(settings: &Settings, root: &Path) -> Origin {
    if !settings.is_slave() {
        Origin::Clients
    } else if apache::is_marked(root).await {
        Origin::ApacheMaster
    } else {
        Origin::Master
    }
}

/// A broker whose store is locked and whose cores do not run yet.
#[derive(Debug)]
pub struct Prepared {
    config: BrokerConfig,
    broker: Arc<Broker>,
    cores: CoreOptions,
}

/// Opens the store of a broker.
///
/// # Errors
/// A store that is in use, of another format, or in a directory that cannot be used; an I/O path that cannot be had.
pub fn prepare(config: BrokerConfig) -> Result<Prepared, String> {
    if let Err(error) = runtime::machine::use_small_pages() {
        tracing::warn!(%error, "cannot do without transparent huge pages: more memory may stay in use than is needed");
    }
    let cores = plan::core_options(&config)?;
    tracing::info!("{}", cores.io);
    let mut store = plan::store_options(&config, cores.cores);
    let settings = Settings::new(config.clone())?;
    let (layout, origin) = runtime::core::run_here(&cores.io, open_store(&settings, &mut store))
        .map_err(|error| format!("cannot make an event loop: {error}"))??;
    let (shards, each) = (u64::from(layout.shards().get()), store.memory_max());
    tracing::info!("{}", plan::memory_line(shards, each));
    Ok(Prepared {
        config,
        broker: Broker::with_origin(settings, layout, cores.cores, origin),
        cores,
    })
}

impl Prepared {
    /// Runs the broker, and again as often as it asks for that, until somebody calls [`Broker::stop`]; `beside` runs beside it, on the core that owns the control tables.
    /// When a core fails the process ends, since the others cannot go on without it.
    ///
    /// # Errors
    /// When an event loop cannot be made.
    pub fn run<F>(self, beside: impl Fn(Arc<Broker>) -> F + Send + Sync + 'static) -> Result<(), String>
    where
        F: Future<Output = ()> + 'static,
    {
        let (beside, mut prepared) = (Arc::new(beside), self);
        loop {
            let config = prepared.config.clone();
            if !prepared.run_once(&beside)? {
                return Ok(());
            }
            prepared = prepare(config)?;
        }
    }

    /// Says whether it is to be run again.
    fn run_once<F>(self, beside: &Arc<impl Fn(Arc<Broker>) -> F + Send + Sync + 'static>) -> Result<bool, String>
    where
        F: Future<Output = ()> + 'static,
    {
        let Prepared { broker, cores, .. } = self;
        let (beside, kept) = (Arc::clone(beside), Arc::clone(&broker));
        let work = move |core| {
            let broker = Arc::clone(&broker);
            let beside = (core == CONTROL_CORE).then(|| beside(Arc::clone(&broker)));
            async move {
                if let Some(beside) = beside {
                    runtime::spawn(beside);
                }
                if let Err(error) = broker.run_core(core).await {
                    complain(&format!("mqbroker: core {core}: {error}\n"));
                    std::process::exit(START_FAILED.into());
                }
            }
        };
        let ended = runtime::core::run_cores(&cores, work);
        ended.map_err(|error| format!("cannot make an event loop: {error}"))?;
        Ok(kept.starts_again())
    }
}

/// Stops a broker when the process is asked to stop.
pub async fn stop_on_signal(broker: Arc<Broker>) {
    match runtime::signal::terminated().await {
        Ok(signal) => {
            tracing::info!(signal, "the broker stops");
            runtime::service_manager::stopping();
        }
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals: the broker can be ended by SIGKILL alone");
            return;
        }
    }
    broker.stop();
}

/// Logs to standard error, from `info` on.
pub fn log_to_standard_error() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .init();
}

/// Writes to standard output.
pub fn say(text: &str) {
    let mut out = std::io::stdout();
    // Nobody may be reading any more, which is no reason to end.
    let _closed_pipe = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error.
pub fn complain(text: &str) {
    let _closed_pipe = std::io::stderr().write_all(text.as_bytes());
}
