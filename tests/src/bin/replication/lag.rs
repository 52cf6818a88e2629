//! How far a slave is behind while its master works: the master is asked over and over.

use ::tests::load::on_a_loop;
use client::{Admin, Client};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two questions: what is told of times is no finer.
const PAUSE: Duration = Duration::from_millis(1);

/// What the master said at a moment, in bytes of its log.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    end: i64,
    acknowledged: i64,
}

/// Asks until it is told to end.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

/// How far the slave was behind.
pub(crate) struct Lag {
    samples: usize,
    bytes: [i64; 2],
    times: [Duration; 2],
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "behind by p50 {} p99 {} KiB, p50 {:.1} p99 {:.1} ms ({} looks)",
            self.bytes[0] >> 10,
            self.bytes[1] >> 10,
            self.times[0].as_secs_f64() * 1e3,
            self.times[1].as_secs_f64() * 1e3,
            self.samples
        )
    }
}

impl Watch {
    pub(crate) fn start(namesrv: String, master: String) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || on_a_loop(ask_until(&stopped, &namesrv, &master)));
        Watch { stop, thread }
    }

    pub(crate) fn end(self) -> Lag {
        self.stop.store(true, Ordering::Relaxed);
        Lag::of(&self.thread.join().expect("the watch has not panicked"))
    }
}

async fn ask_until(stopped: &AtomicBool, namesrv: &str, master: &str) -> Vec<Sample> {
    let client = Client::new(namesrv).expect("a name server is given");
    let admin = Admin::new(&client);
    let mut samples = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let at = Instant::now();
        let status = admin.ha_status(master).await.expect("a master tells of its slaves");
        let slave = status.ha_connection_info.first();
        samples.push(Sample {
            at,
            end: status.master_commit_log_max_offset,
            acknowledged: slave.map_or(0, |slave| slave.slave_ack_offset),
        });
        runtime::sleep(PAUSE).await;
    }
    samples
}

impl Lag {
    /// In bytes: what the slave lacked at each look. In time: from a look to the first one at which the slave had all that
    /// the master had at the former; what it never came to have within the samples is left out.
    fn of(samples: &[Sample]) -> Lag {
        let mut bytes: Vec<i64> = samples.iter().map(|sample| sample.end - sample.acknowledged).collect();
        let mut times = Vec::new();
        let mut later = 0;
        for sample in samples {
            while samples.get(later).is_some_and(|there| there.acknowledged < sample.end) {
                later += 1;
            }
            times.extend(
                samples
                    .get(later)
                    .map(|there| there.at.saturating_duration_since(sample.at)),
            );
        }
        bytes.sort_unstable();
        times.sort_unstable();
        Lag {
            samples: samples.len(),
            bytes: [50, 99].map(|percent| at(&bytes, percent)),
            times: [50, 99].map(|percent| at(&times, percent)),
        }
    }
}

fn at<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_from_when_the_master_had_it_to_when_the_slave_had() {
        let begin = Instant::now();
        let sample = |ms: i64, end, acknowledged| Sample {
            at: begin + Duration::from_millis(ms.unsigned_abs()),
            end,
            acknowledged,
        };
        // Each position is acknowledged two looks later, 10 ms apart.
        let samples: Vec<Sample> = (0..100)
            .map(|n| sample(n * 10, n * 1024, (n - 2).max(0) * 1024))
            .collect();
        let lag = Lag::of(&samples);
        assert_eq!(lag.bytes, [2048, 2048]);
        assert_eq!(lag.times, [Duration::from_millis(20); 2]);
        assert_eq!(lag.samples, 100);
    }
}
