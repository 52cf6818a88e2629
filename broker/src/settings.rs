//! What handlers need of the configuration, worked out once. Replaced as a whole when the configuration changes.

use crate::incoming::AddedProperties;
use crate::replicas::{PERM_READ, PERM_WRITE};
use crate::replies::SendReplyFields;
use std::net::SocketAddr;
use std::time::Duration;

/// What handlers need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// brokerName.
    pub broker_name: String,
    /// brokerClusterName.
    pub cluster: String,
    /// brokerId: 0 is the master.
    pub broker_id: i64,
    /// brokerIP1 and listenPort: where clients reach this broker, and part of every message id.
    pub store_host: SocketAddr,
    /// brokerIP2 and haListenPort.
    pub ha_host: SocketAddr,
    /// brokerPermission.
    pub permission: i32,
    /// maxMessageSize, in bytes.
    pub max_message_size: usize,
    /// What every stored message gets.
    pub added_properties: AddedProperties,
    /// What every answer to a send has.
    pub send_reply: SendReplyFields,
    /// syncFlushTimeout.
    pub sync_flush_timeout: Duration,
    /// litePullMessageEnable.
    pub lite_pull_enable: bool,
    /// longPollingEnable.
    pub long_polling_enable: bool,
    /// shortPollingTimeMills.
    pub short_polling_time: Duration,
    /// autoCreateTopicEnable.
    pub auto_create_topic: bool,
    /// autoCreateSubscriptionGroup.
    pub auto_create_subscription_group: bool,
    /// startAcceptSendRequestTimeStamp, milliseconds since 1970.
    pub accept_sends_from_ms: i64,
    /// messageDelayLevel.
    pub delay_levels: DelayLevels,
    /// notifyConsumerIdsChangedEnable.
    pub notify_consumer_ids_changed: bool,
    /// defaultQueryMaxNum: most messages that a query by unique key gives.
    pub query_max: usize,
    /// maxMsgsNumBatch: most messages that a query by key gives.
    pub query_max_by_key: usize,
    /// channelExpiredTimeout: a client that is silent for this long is gone.
    pub client_expiry: Duration,
    /// rocketmq.broker.rebalance.lockMaxLiveTime.
    pub queue_lock_expiry: Duration,
}

impl Settings {
    /// Whether this broker takes messages (brokerPermission).
    #[must_use]
    pub fn writable(&self) -> bool {
        self.permission & PERM_WRITE != 0
    }

    /// Whether this broker gives messages (brokerPermission).
    #[must_use]
    pub fn readable(&self) -> bool {
        self.permission & PERM_READ != 0
    }
}

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
        if levels.is_empty() { Err("there is no level in it".to_owned()) } else { Ok(DelayLevels(levels)) }
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

fn parse_level(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no delay; write a number and one of s, m, h, d, as in 30s");
    let (unit_at, unit) = text.char_indices().last().ok_or_else(wrong)?;
    let number: u64 = text.get(..unit_at).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
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
        let levels = DelayLevels::parse("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h").unwrap();
        assert_eq!(levels.count(), 18);
        assert_eq!(levels.delay(1), Duration::from_secs(1));
        assert_eq!(levels.delay(18), Duration::from_secs(7200));
        assert_eq!(levels.delay(99), levels.delay(18), "a level above the highest means the highest");
    }

    #[test]
    fn a_level_that_is_no_delay_is_named() {
        assert!(DelayLevels::parse("1s 5x").unwrap_err().contains("5x"));
        assert!(DelayLevels::parse("").is_err());
        assert!(DelayLevels::parse("ä").is_err());
    }
}
