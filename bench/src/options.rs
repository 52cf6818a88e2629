//! What is to be done, as the command line says it.

use crate::error::Error;
use crate::sizes::Sizes;
use crate::slo::Slo;
use clap::Args;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Seconds of warm-up unless they are given.
const WARMUP_S: f64 = 2.0;
/// Seconds that are measured unless they are given.
const DURATION_S: f64 = 10.0;
/// Seconds after which a run ends that should have ended by itself.
const UNBOUNDED_S: f64 = 7.0 * 24.0 * 3600.0;

/// Options of every mode.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Name servers, separated by ';'.
    #[arg(short, long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    pub namesrv: String,
    /// The topic; made with --queues if it is not there.
    #[arg(short, long, default_value = "BenchmarkTest")]
    pub topic: String,
    /// Queues of a topic that has to be made.
    #[arg(long, default_value_t = 8)]
    pub queues: i32,
    /// Topics: the second is named like the first with "-1" behind it, and so on.
    #[arg(long, default_value_t = 1)]
    pub topics: usize,
    /// Zipf exponent over the topics: 0 gives all the same load, 1 the first of 10 a third of it.
    #[arg(long, default_value_t = 0.0)]
    pub zipf: f64,
    /// Connections in all.
    #[arg(short = 'w', long, default_value_t = 64)]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1)]
    pub depth: usize,
    /// Seconds that are measured [default: 10, or until all is done with --quantity and catch-up].
    #[arg(long, value_parser = seconds)]
    pub duration: Option<f64>,
    /// Seconds before that, not measured [default: 2, or 0 with --quantity].
    #[arg(long, value_parser = seconds)]
    pub warmup: Option<f64>,
    /// Stop after so many messages.
    #[arg(short = 'q', long, default_value_t = 0)]
    pub quantity: u64,
    /// Messages that a pull may bring.
    #[arg(long, default_value_t = 32)]
    pub pull_max: i32,
    /// Consumer group that reads.
    #[arg(short = 'g', long, default_value = "mqbench-consumer")]
    pub group: String,
    /// Event loops of the generator; 0 takes one for each CPU.
    #[arg(long, default_value_t = 0)]
    pub cores: usize,
    /// Server processes, separated by ',', whose CPU time is told per message.
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    #[command(flatten)]
    pub messages: Messages,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub checks: Checks,
    #[command(flatten)]
    pub output: Output,
}

/// What is sent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
pub struct Messages {
    /// Bytes of a body: 1024, a range 100..2000, or a histogram SIZE:WEIGHT,... as in 128:80,65536:20.
    #[arg(short, long, default_value = "1024")]
    pub size: Sizes,
    /// Share of each body that a compressor can save, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub compressible: f64,
    /// Messages in a request.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Each message gets one of so many keys.
    #[arg(long, default_value_t = 0)]
    pub keys: u64,
    /// Each message gets one of so many tags.
    #[arg(short = 'l', long, default_value_t = 0)]
    pub tags: u64,
    /// Each message gets one of so many sharding keys; a key keeps its queue and its connection.
    #[arg(long, default_value_t = 0)]
    pub ordered_keys: u64,
    /// Bytes of a property beside those.
    #[arg(short = 'p', long, default_value_t = 0)]
    pub property_size: usize,
    /// Messages are delivered after the delay of this level, 1 to 18; 0 at once.
    #[arg(long, default_value_t = 0)]
    pub delay_level: u8,
}

/// How fast it is sent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pace")]
pub struct Pace {
    /// Messages a second in all, evenly spaced; response time counts from when a message was due. 0 sends as fast as answers
    /// come (closed loop).
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// With --rate: no answer is waited for before the next send, so that a slow server meets the same load as a fast one.
    /// Without it, connections x depth requests are under way at most.
    #[arg(long, requires = "rate")]
    pub open_loop: bool,
    /// Requests under way at most in an open loop; what is due beyond it waits, and the result says so.
    #[arg(long, default_value_t = 65_536)]
    pub in_flight_max: usize,
}

/// What makes the run a failure.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Checks")]
pub struct Checks {
    /// An objective, as 'p99<5ms', 'max<1s', 'rate>50000' or 'errors<1'; exit code 3 if it is missed. May be given again.
    #[arg(long)]
    pub slo: Vec<Slo>,
    /// Every message is followed: what was lost, doubled, reordered or changed is named; exit code 3 if anything was.
    #[arg(long)]
    pub verify: bool,
}

/// What comes out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// The result as JSON into this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// The result as one HTML page with plots into this file.
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// An HdrHistogram interval log into this file; values in microseconds, tags response, service and delivery.
    #[arg(long)]
    pub hlog: Option<PathBuf>,
    /// The percentile distribution of the response time (of the delivery time when only reading) into this file, in milliseconds.
    #[arg(long)]
    pub hgrm: Option<PathBuf>,
    /// What is printed: a table or JSON.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Milliseconds between two lines of progress on standard error; 0 shows a live line if that is a terminal.
    #[arg(long, default_value_t = 0)]
    pub report_interval: u64,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
    /// A name for the run in the result.
    #[arg(long, default_value = "")]
    pub label: String,
    /// Measures the disk that holds this directory, and loopback, before the run; the result is told in percent of them.
    #[arg(long, value_name = "DIR")]
    pub self_test: Option<PathBuf>,
    /// Brokers to compare, in interleaved rounds: NAME=NAMESRV[@PID+PID...],...; the first is what the others are compared with.
    #[arg(long, value_delimiter = ',', value_name = "NAME=ADDR")]
    pub against: Vec<Target>,
    /// Rounds of --against: each broker has its turn in each.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// A broker to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the result calls it.
    pub name: String,
    /// Its name servers.
    pub namesrv: String,
    /// Its processes.
    pub pids: Vec<u32>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let wrong = || format!("{text} is no NAME=NAMESRV[@PID+PID...], as in ours=127.0.0.1:9876@4711");
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (namesrv, pids) = match rest.split_once('@') {
            Some((namesrv, pids)) => (namesrv, pids.split('+').map(str::parse).collect()),
            None => (rest, Ok(Vec::new())),
        };
        let pids = pids.map_err(|_error: ParseIntError| wrong())?;
        if name.is_empty() || namesrv.is_empty() {
            return Err(wrong());
        }
        Ok(Target {
            name: name.to_owned(),
            namesrv: namesrv.to_owned(),
            pids,
        })
    }
}

/// A number of seconds that a clock can add up.
fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_error| format!("{text} is no number of seconds"))?;
    if (0.0..=1e8).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{text} s cannot be waited for"))
    }
}

impl Options {
    /// How long is measured at most. A run that `ends_by_itself` is only kept from lasting for ever.
    #[must_use]
    pub fn measured(&self, ends_by_itself: bool) -> Duration {
        let default = if ends_by_itself { UNBOUNDED_S } else { DURATION_S };
        Duration::from_secs_f64(self.duration.unwrap_or(default).max(0.1))
    }

    /// How long is not measured before.
    #[must_use]
    pub fn warmup(&self, ends_by_itself: bool) -> Duration {
        let default = if ends_by_itself { 0.0 } else { WARMUP_S };
        Duration::from_secs_f64(self.warmup.unwrap_or(default))
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

    /// All topics, the hottest first.
    #[must_use]
    pub fn topic_names(&self) -> Vec<String> {
        (0..self.topics.max(1))
            .map(|number| match number {
                0 => self.topic.clone(),
                _ => format!("{}-{number}", self.topic),
            })
            .collect()
    }

    /// Requests a second in all; `None` in a closed loop.
    #[must_use]
    pub fn requests_a_second(&self) -> Option<f64> {
        let batch = crate::measure::number(self.messages.batch.max(1) as u64);
        (self.pace.rate > 0.0).then(|| self.pace.rate / batch)
    }

    /// Requests that one event loop keeps under way at most.
    #[must_use]
    pub fn window_of(&self, index: usize) -> usize {
        if self.pace.open_loop {
            (self.pace.in_flight_max / self.loops()).max(1)
        } else {
            self.connections_of(index) * self.depth.max(1)
        }
    }

    /// Whether the arguments go together.
    ///
    /// # Errors
    /// What does not, and what would.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Arguments(text));
        let messages = &self.messages;
        if self.pace.open_loop && self.pace.rate <= 0.0 {
            return wrong("--open-loop follows a schedule; give it one, as in --rate 5000".to_owned());
        }
        if !self.pace.rate.is_finite() || self.pace.rate < 0.0 {
            return wrong(format!("--rate {} is no number of messages a second", self.pace.rate));
        }
        if !(0.0..=1.0).contains(&messages.compressible) {
            return wrong(format!(
                "--compressible {} is no share from 0 to 1",
                messages.compressible
            ));
        }
        if !(0.0..=10.0).contains(&self.zipf) {
            return wrong(format!("--zipf {} is no exponent from 0 to 10", self.zipf));
        }
        if messages.delay_level > 18 {
            return wrong(format!(
                "--delay-level {} is none; there are 1 to 18",
                messages.delay_level
            ));
        }
        if messages.batch > 1 && messages.delay_level > 0 {
            return wrong("a batch cannot be delayed: leave --batch or --delay-level out".to_owned());
        }
        if self.checks.verify && messages.delay_level > 0 {
            return wrong("--verify cannot wait for delayed messages: leave it or --delay-level out".to_owned());
        }
        if messages.batch > 1 && messages.ordered_keys > 0 {
            return wrong("a batch goes to one queue, keys to several: leave --batch or --ordered-keys out".to_owned());
        }
        if messages.batch.saturating_mul(messages.size.max() + 128) > crate::sizes::SIZE_MAX {
            return wrong(format!(
                "a batch of {} bodies of {} bytes does not fit a frame of 16 MiB",
                messages.batch,
                messages.size.max()
            ));
        }
        if messages.property_size > 30_000 {
            return wrong(format!(
                "--property-size {}: properties hold 32,767 bytes",
                messages.property_size
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_name_an_address_and_perhaps_processes() {
        let target: Target = "ours=127.0.0.1:9876;127.0.0.2:9876@42+43".parse().unwrap();
        assert_eq!(
            (target.name.as_str(), target.namesrv.as_str(), target.pids),
            ("ours", "127.0.0.1:9876;127.0.0.2:9876", vec![42, 43])
        );
        for text in ["ours", "=x", "ours=", "ours=x@y", "ours=x@1+", "ours=x@"] {
            assert!(text.parse::<Target>().is_err(), "{text} is taken");
        }
    }
}
