//! Monotonic and wall-clock time.
//!
//! Leases, timeouts and latencies use [`Instant`]; only what users see or RocketMQ stores (born and store timestamps,
//! delivery times, retention) uses the wall clock, which may jump.

use crate::world::simulated;
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::Duration;

/// A point of monotonic time, in nanoseconds since the process (or the simulated world) started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Now, by the monotonic clock.
    #[must_use]
    pub fn now() -> Instant {
        if let Some(here) = simulated() {
            return Instant(here.world.now());
        }
        Instant(u64::try_from(process_start().elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Time since `self`; zero if `self` lies in the future.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }

    /// Nanoseconds since the start of this world.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    pub(crate) fn to_tokio(self) -> tokio::time::Instant {
        tokio::time::Instant::from_std(process_start() + Duration::from_nanos(self.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, delay: Duration) -> Instant {
        Instant(
            self.0
                .saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since 1970 by the wall clock, as RocketMQ stores them.
#[must_use]
pub fn wall_clock_ms() -> i64 {
    if let Some(here) = simulated() {
        return here.wall_clock_ms();
    }
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn process_start() -> std::time::Instant {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    *START.get_or_init(std::time::Instant::now)
}
