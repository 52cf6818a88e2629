//! Waiting times from a seed, so that a run can be repeated, and settings of the environment.

use std::time::Duration;

/// An xorshift generator.
#[derive(Clone, Debug)]
pub struct Waits(u64);

impl Waits {
    pub fn new(seed: u64) -> Waits {
        Waits(seed.max(1))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A time below `bound`, in whole milliseconds.
    pub fn wait(&mut self, bound: Duration) -> Duration {
        let ms = u64::try_from(bound.as_millis()).expect("a short time");
        Duration::from_millis(self.below(ms))
    }
}

/// `RINGMQ_TEST_SEED`, else one that differs from run to run.
pub fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    setting("RINGMQ_TEST_SEED", now.map_or(1, |d| u64::from(d.subsec_nanos())))
}

/// A number of the environment.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => otherwise,
    }
}
