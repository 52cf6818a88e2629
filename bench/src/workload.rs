//! What is to be done, as the command line says it.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Options of every mode.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Name servers, separated by ';'.
    #[arg(long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    pub namesrv: String,
    /// The topic; made with --queues if it is not there.
    #[arg(long, default_value = "BenchmarkTest")]
    pub topic: String,
    /// Queues of a topic that has to be made.
    #[arg(long, default_value_t = 8)]
    pub queues: u32,
    /// Bytes of a body.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Connections in all.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1)]
    pub depth: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    pub duration: u64,
    /// Seconds before that, not measured.
    #[arg(long, default_value_t = 2)]
    pub warmup: u64,
    /// Messages a second in all, evenly spaced; latency then counts from when a message was due. 0 sends as fast as answers come.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Server processes, separated by ',', whose CPU time is told per million messages.
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Event loops of the generator; 0 takes one for each CPU.
    #[arg(long, default_value_t = 0)]
    pub cores: usize,
    /// The result as JSON into this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// A name for the run in the result.
    #[arg(long, default_value = "")]
    pub label: String,
}

impl Options {
    /// The name servers.
    #[must_use]
    pub fn name_servers(&self) -> Vec<String> {
        self.namesrv
            .split(';')
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// How long is measured.
    #[must_use]
    pub fn measured(&self) -> Duration {
        Duration::from_secs(self.duration.max(1))
    }

    /// Event loops: never more than connections.
    #[must_use]
    pub fn loops(&self) -> usize {
        let cores = if self.cores == 0 {
            runtime::core::allowed_cpus().len()
        } else {
            self.cores
        };
        cores.clamp(1, self.connections.max(1))
    }

    /// Connections of one event loop: they are dealt out evenly.
    #[must_use]
    pub fn connections_of(&self, index: usize) -> usize {
        let loops = self.loops();
        self.connections.max(1) / loops + usize::from(index < self.connections.max(1) % loops)
    }
}
