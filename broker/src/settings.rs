//! What handlers need of the configuration, worked out once. Replaced as a whole when the configuration changes.

use crate::config::{BrokerConfig, BrokerRole};
use crate::incoming::AddedProperties;
use crate::replicas::{PERM_READ, PERM_WRITE};
use crate::replication::slave_waits::SlaveRule;
use crate::replies::SendReplyFields;
use protocol::message::delay_levels::DelayLevels;
use std::net::SocketAddr;
use std::time::Duration;

/// What handlers need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration itself.
    pub config: BrokerConfig,
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
    /// What sends to a SYNC_MASTER wait for, beside its own disk.
    pub slave_rule: Option<SlaveRule>,
    /// shortPollingTimeMills.
    pub short_polling_time: Duration,
    /// messageDelayLevel.
    pub delay_levels: DelayLevels,
    /// defaultQueryMaxNum: most messages that a query by unique key gives.
    pub query_max: usize,
    /// maxMsgsNumBatch: most messages that a query by key gives.
    pub query_max_by_key: usize,
    /// channelExpiredTimeout: a client that is silent for this long is gone.
    pub client_expiry: Duration,
}

impl Settings {
    /// Works a configuration out.
    ///
    /// # Errors
    /// An address or a list of delay levels that is none; the configuration's own checks find that earlier.
    pub fn new(config: BrokerConfig) -> Result<Settings, String> {
        let address = |key: &str, text: String| {
            text.parse::<SocketAddr>()
                .map_err(|error| format!("{key} makes the address {text}, which is none: {error}"))
        };
        let ms = Duration::from_millis;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Settings {
            store_host: address("brokerIP1", config.broker_address())?,
            ha_host: address("brokerIP2", config.ha_server_address())?,
            permission: i32::try_from(config.broker_permission).unwrap_or(0),
            max_message_size: count(config.max_message_size),
            added_properties: AddedProperties::new(&config.region_id, config.trace_on, &config.broker_cluster_name),
            send_reply: SendReplyFields {
                region: config.region_id.clone(),
                trace_on: config.trace_on,
            },
            sync_flush_timeout: ms(config.sync_flush_timeout_ms),
            slave_rule: slave_rule(&config),
            short_polling_time: ms(config.short_polling_time_ms),
            delay_levels: DelayLevels::parse(&config.message_delay_level)
                .map_err(|error| format!("messageDelayLevel={}: {error}", config.message_delay_level))?,
            query_max: count(config.default_query_max_num),
            query_max_by_key: count(config.max_msgs_num_batch),
            client_expiry: ms(config.channel_expired_timeout_ms),
            config,
        })
    }

    /// Whether this broker copies a master.
    #[must_use]
    pub fn is_slave(&self) -> bool {
        self.config.broker_role == BrokerRole::Slave
    }

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

/// inSyncReplicas and its kin. RocketMQ's own default waits for no slave, whatever the role is called; here SYNC_MASTER waits for one.
fn slave_rule(config: &BrokerConfig) -> Option<SlaveRule> {
    if config.broker_role != BrokerRole::SyncMaster {
        return None;
    }
    let copies = match config.in_sync_replicas {
        0 => 2,
        copies => copies,
    };
    Some(SlaveRule {
        copies,
        timeout: Duration::from_millis(config.slave_timeout_ms),
        refuses: config.enable_slave_acting_master,
        copies_min: config
            .enable_auto_in_sync_replicas
            .then_some(config.min_in_sync_replicas),
        gap: config.ha_max_gap_not_in_sync,
    })
}
