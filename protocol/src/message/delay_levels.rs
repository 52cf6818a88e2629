//! Delay levels: how long a message waits in `SCHEDULE_TOPIC_XXXX`, one queue a level.

use crate::message::record::RecordView;
use crate::model::names;
use std::time::Duration;

/// messageDelayLevel, unless a configuration says otherwise.
pub const DEFAULT: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

/// The delay levels: level 1 is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels(Vec<Duration>);

impl DelayLevels {
    /// Reads messageDelayLevel: `1s 5s 10s 30s 1m … 2h`.
    ///
    /// # Errors
    /// Names the part that is no number with one of the units s, m, h, d.
    pub fn parse(text: &str) -> Result<DelayLevels, String> {
        let levels: Result<Vec<Duration>, String> = text.split_whitespace().map(parse_level).collect();
        let levels = levels?;
        if levels.is_empty() {
            Err("there is no level in it".to_owned())
        } else {
            Ok(DelayLevels(levels))
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    /// A level that exists: one above the highest means the highest.
    #[must_use]
    pub fn clamp(&self, level: i32) -> i32 {
        level.clamp(1, self.count())
    }

    /// How long messages of a level are delayed.
    #[must_use]
    pub fn delay(&self, level: i32) -> Duration {
        let index = usize::try_from(self.clamp(level) - 1).unwrap_or(0);
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl DelayLevels {
    /// When a record that waits at a level is due, in milliseconds since 1970; `None` for any other record. Its consume queue entry has this in place
    /// of the tag hash.
    #[must_use]
    pub fn due_ms(&self, record: &RecordView<'_>) -> Option<i64> {
        if record.topic != names::SCHEDULE_TOPIC {
            return None;
        }
        let level = record.queue_id.to_wire().saturating_add(1);
        let delay_ms = i64::try_from(self.delay(level).as_millis()).unwrap_or(i64::MAX);
        Some(record.store_timestamp.saturating_add(delay_ms))
    }
}

impl Default for DelayLevels {
    /// RocketMQ's.
    fn default() -> DelayLevels {
        DelayLevels::parse(DEFAULT).expect("RocketMQ's levels are levels")
    }
}

fn parse_level(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no delay; write a number and one of s, m, h, d, as in 30s");
    let (unit_at, unit) = text.char_indices().last().ok_or_else(wrong)?;
    let number: u64 = text
        .get(..unit_at)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rocketmqs_default_levels_are_read() {
        let levels = DelayLevels::default();
        assert_eq!(levels.count(), 18);
        assert_eq!(levels.delay(1), Duration::from_secs(1));
        assert_eq!(levels.delay(18), Duration::from_secs(7200));
        assert_eq!(
            levels.delay(99),
            levels.delay(18),
            "a level above the highest means the highest"
        );
    }

    #[test]
    fn a_level_that_is_no_delay_is_named() {
        assert!(DelayLevels::parse("1s 5x").unwrap_err().contains("5x"));
        assert!(DelayLevels::parse("").is_err());
        assert!(DelayLevels::parse("ä").is_err());
    }
}
