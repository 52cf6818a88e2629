//! Running a broker: its figures, its configuration, upkeep on demand, its slaves.

use super::{Admin, properties_of};
use crate::core::NoFields;
use crate::error::Error;
use bytes::Bytes;
use protocol::body::group::ProducerTableInfo;
use protocol::body::ha::HaRuntimeInfo;
use protocol::body::stats::{BrokerStatsData, KvTable};
use protocol::header::admin::ViewBrokerStatsDataRequest;
use protocol::request_code::RequestCode;
use remoting::properties_file;
use std::collections::BTreeMap;

impl Admin {
    /// Every figure that a broker tells of itself.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn runtime_info(&self, broker: &str) -> Result<BTreeMap<String, String>, Error> {
        let table: KvTable = self
            .0
            .ask_for_body(broker, RequestCode::GET_BROKER_RUNTIME_INFO, &NoFields)
            .await?;
        Ok(table.table)
    }

    /// A broker's configuration.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn broker_config(&self, broker: &str) -> Result<BTreeMap<String, String>, Error> {
        let answer = self
            .0
            .ask(broker, RequestCode::GET_BROKER_CONFIG, &NoFields, Bytes::new())
            .await?;
        Ok(properties_of(&answer))
    }

    /// Changes keys of a broker's configuration.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn update_broker_config(&self, broker: &str, changes: &[(&str, &str)]) -> Result<(), Error> {
        let body = properties_file::to_text(changes.iter().copied()).into();
        self.0
            .ask(broker, RequestCode::UPDATE_BROKER_CONFIG, &NoFields, body)
            .await
            .map(drop)
    }

    /// Drops consume queue entries whose messages are gone.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask), like all of these.
    pub async fn clean_expired_consume_queues(&self, broker: &str) -> Result<(), Error> {
        self.command(broker, RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE).await
    }

    /// Deletes the part of the commitlog that is past its time, now.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn delete_expired_commitlog(&self, broker: &str) -> Result<(), Error> {
        self.command(broker, RequestCode::DELETE_EXPIRED_COMMITLOG).await
    }

    /// Drops queues of topics that are not there any more.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn clean_unused_topics(&self, broker: &str) -> Result<(), Error> {
        self.command(broker, RequestCode::CLEAN_UNUSED_TOPIC).await
    }

    async fn command(&self, broker: &str, request: RequestCode) -> Result<(), Error> {
        self.0.ask(broker, request, &NoFields, Bytes::new()).await.map(drop)
    }

    /// A statistic of a broker, such as `TOPIC_PUT_NUMS` of a topic.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask); a statistic that has counted nothing yet is refused.
    pub async fn stats(&self, broker: &str, name: &str, key: &str) -> Result<BrokerStatsData, Error> {
        let header = ViewBrokerStatsDataRequest {
            stats_name: name.to_owned(),
            stats_key: key.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::VIEW_BROKER_STATS_DATA, &header)
            .await
    }

    /// The producers of a broker, by group.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn all_producers(&self, broker: &str) -> Result<ProducerTableInfo, Error> {
        self.0
            .ask_for_body(broker, RequestCode::GET_ALL_PRODUCER_INFO, &NoFields)
            .await
    }

    /// What a broker says of its slaves, or of its master.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn ha_status(&self, broker: &str) -> Result<HaRuntimeInfo, Error> {
        self.0
            .ask_for_body(broker, RequestCode::GET_BROKER_HA_STATUS, &NoFields)
            .await
    }
}
