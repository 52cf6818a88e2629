//! The schedule of an open loop, and the thread that keeps it.
//!
//! Request n of a run is due at `start + n * interval`, and belongs to event loop n modulo their number. Timers of an event
//! loop tick once a millisecond, so they are not used: a thread sleeps until the next request is due and wakes the event
//! loops whose turn it is. It wakes at most 10,000 times a second; at higher rates several requests go at a time.

use crate::measure::number;
use runtime::Instant;
use runtime::sync::Notify;
use std::time::Duration;

/// Shortest sleep of the thread.
const TICK_MIN: Duration = Duration::from_micros(100);
/// Longest sleep of the thread: it looks whether the run was stopped.
const TICK_MAX: Duration = Duration::from_millis(20);

/// When requests are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// When request 0 is due.
    pub start: Instant,
    interval_ns: f64,
    loops: u64,
}

impl Schedule {
    /// So many requests a second, dealt out to `loops` event loops.
    #[must_use]
    pub fn new(start: Instant, requests_a_second: f64, loops: usize) -> Schedule {
        Schedule {
            start,
            // A fraction: at 300,000 a second, whole nanoseconds would be wrong by one in 10,000.
            interval_ns: (1e9 / requests_a_second).max(1.0),
            loops: loops.max(1) as u64,
        }
    }

    /// When request `request` of the run is due.
    #[must_use]
    pub fn due(&self, request: u64) -> Instant {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a run lasts less than 2^63 nanoseconds"
        )]
        let nanos = (number(request) * self.interval_ns) as u64;
        self.start + Duration::from_nanos(nanos)
    }

    /// When request `request` of event loop `index` is due.
    #[must_use]
    pub fn due_in(&self, index: usize, request: u64) -> Instant {
        self.due(request * self.loops + index as u64)
    }

    /// Requests of event loop `index` that are due before a moment.
    #[must_use]
    pub fn requests_before(&self, index: usize, until: Instant) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a quotient of two positive numbers, far below 2^63"
        )]
        let all =
            (number((until - self.start).as_nanos().try_into().unwrap_or(u64::MAX)) / self.interval_ns).ceil() as u64;
        all.saturating_sub(index as u64).div_ceil(self.loops)
    }
}

/// Wakes the event loops when something is due, until `until` or until `stopped` says so. Blocks its thread.
pub fn keep(schedule: Schedule, until: Instant, wakes: &[Notify], stopped: impl Fn() -> bool) {
    let mut next = 0_u64;
    while Instant::now() < until && !stopped() {
        let due = schedule.due(next);
        let now = Instant::now();
        if due > now {
            std::thread::sleep((due - now).clamp(TICK_MIN, TICK_MAX));
        } else {
            std::thread::sleep(TICK_MIN);
        }
        let now = Instant::now();
        let from = next;
        while schedule.due(next) <= now {
            next += 1;
        }
        for request in from..next.min(from + schedule.loops) {
            let index = usize::try_from(request % schedule.loops).unwrap_or(0);
            if let Some(wake) = wakes.get(index) {
                wake.notify_one();
            }
        }
    }
    // They see for themselves that the time is up.
    wakes.iter().for_each(Notify::notify_one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_loops_share_one_even_schedule() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100.0, 3);
        assert_eq!(schedule.due_in(0, 0) - start, Duration::ZERO);
        assert_eq!(schedule.due_in(2, 0) - start, Duration::from_millis(20));
        assert_eq!(schedule.due_in(1, 4) - start, Duration::from_millis(130));
    }

    #[test]
    fn what_is_due_before_the_end_is_counted_by_loop() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100.0, 3);
        // 0, 10, 20, ... 90 ms: ten requests, of which the first loop has four.
        let until = start + Duration::from_millis(100);
        let counts = [0, 1, 2].map(|index| schedule.requests_before(index, until));
        assert_eq!(counts, [4, 3, 3]);
    }

    #[test]
    fn a_rate_that_is_no_whole_number_of_nanoseconds_does_not_drift() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 300_000.0, 2);
        let hour = schedule.due(300_000 * 3600) - start;
        assert!(
            hour.abs_diff(Duration::from_secs(3600)) < Duration::from_millis(1),
            "{hour:?}"
        );
    }
}
