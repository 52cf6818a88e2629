//! Groups, their clients and their offsets.

use super::Admin;
use crate::core::NoFields;
use crate::error::Error;
use bytes::Bytes;
use protocol::body::group::{
    ConsumerConnection, GetConsumerListByGroupResponseBody, ProducerConnection, SubscriptionGroupConfig,
    SubscriptionGroupList, SubscriptionGroupWrapper,
};
use protocol::body::offset::{ConsumeStats, ConsumeStatsList, ResetOffsetBody};
use protocol::body::queue::WireQueue;
use protocol::body::running_info::ConsumerRunningInfo;
use protocol::body::stats::ConsumeMessageDirectlyResult;
use protocol::body::to_java_json;
use protocol::body::topic::TopicList;
use protocol::header::admin::GetConsumeStatsInBrokerRequest;
use protocol::header::group::{
    ConsumeMessageDirectlyRequest, DeleteSubscriptionGroupRequest, GetConsumeStatsRequest,
    GetConsumerConnectionListRequest, GetConsumerListByGroupRequest, GetConsumerRunningInfoRequest,
    GetProducerConnectionListRequest, GetSubscriptionGroupConfigRequest, QueryTopicsByConsumerRequest,
};
use protocol::header::offset::{
    ResetOffsetRequest, SearchOffsetRequest, SearchOffsetResponse, UpdateConsumerOffsetRequest,
};
use protocol::request_code::RequestCode;
use std::collections::{BTreeMap, BTreeSet};

/// Where a consumer group is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTarget {
    /// To the first messages stored at this time or later, milliseconds since 1970.
    Time(i64),
    /// To the end of every queue.
    End,
    /// To this offset of one queue.
    Offset {
        /// The queue's number.
        queue_id: i32,
        /// The queue offset.
        offset: i64,
    },
}

impl Admin {
    /// Creates or changes a subscription group on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn create_group(&self, broker: &str, group: &SubscriptionGroupConfig) -> Result<(), Error> {
        let body = to_java_json(group).into();
        self.0
            .ask(
                broker,
                RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
                &NoFields,
                body,
            )
            .await
            .map(drop)
    }

    /// Creates or changes many subscription groups on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn create_groups(&self, broker: &str, groups: &[SubscriptionGroupConfig]) -> Result<(), Error> {
        let list = SubscriptionGroupList {
            group_config_list: groups.to_vec(),
        };
        let request = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST;
        self.0
            .ask(broker, request, &NoFields, to_java_json(&list).into())
            .await
            .map(drop)
    }

    /// Deletes a subscription group on a broker, with its offsets if wanted.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn delete_group(&self, broker: &str, group: &str, clean_offset: bool) -> Result<(), Error> {
        let header = DeleteSubscriptionGroupRequest {
            group_name: group.to_owned(),
            clean_offset,
        };
        self.0
            .ask(broker, RequestCode::DELETE_SUBSCRIPTIONGROUP, &header, Bytes::new())
            .await
            .map(drop)
    }

    /// Settings of a subscription group on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn group_config(&self, broker: &str, group: &str) -> Result<SubscriptionGroupConfig, Error> {
        let header = GetSubscriptionGroupConfigRequest {
            group: group.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &header)
            .await
    }

    /// Settings of all subscription groups of a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn all_group_config(&self, broker: &str) -> Result<SubscriptionGroupWrapper, Error> {
        self.0
            .ask_for_body(broker, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &NoFields)
            .await
    }

    /// How far a consumer group is, queue by queue.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn consume_stats(&self, broker: &str, group: &str, topic: Option<&str>) -> Result<ConsumeStats, Error> {
        let (consumer_group, topic) = (group.to_owned(), topic.map(str::to_owned));
        let header = GetConsumeStatsRequest {
            consumer_group,
            topic,
            topic_list: None,
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_CONSUME_STATS, &header)
            .await
    }

    /// The clients of a consumer group with their subscriptions.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask); CONSUMER_NOT_ONLINE if there are none.
    pub async fn consumer_connection(&self, broker: &str, group: &str) -> Result<ConsumerConnection, Error> {
        let header = GetConsumerConnectionListRequest {
            consumer_group: group.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_CONSUMER_CONNECTION_LIST, &header)
            .await
    }

    /// The clients of a producer group.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn producer_connection(&self, broker: &str, group: &str) -> Result<ProducerConnection, Error> {
        let header = GetProducerConnectionListRequest {
            producer_group: group.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_PRODUCER_CONNECTION_LIST, &header)
            .await
    }

    /// The names of a consumer group's clients.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn consumer_ids(&self, broker: &str, group: &str) -> Result<Vec<String>, Error> {
        let header = GetConsumerListByGroupRequest {
            consumer_group: group.to_owned(),
        };
        let request = RequestCode::GET_CONSUMER_LIST_BY_GROUP;
        let list: GetConsumerListByGroupResponseBody = self.0.ask_for_body(broker, request, &header).await?;
        Ok(list.consumer_id_list)
    }

    /// The topics that a consumer group has offsets in.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn topics_of_group(&self, broker: &str, group: &str) -> Result<BTreeSet<String>, Error> {
        let header = QueryTopicsByConsumerRequest {
            group: group.to_owned(),
        };
        let list: TopicList = self
            .0
            .ask_for_body(broker, RequestCode::QUERY_TOPICS_BY_CONSUMER, &header)
            .await?;
        Ok(list.topic_list)
    }

    /// Moves a consumer group within a topic, and returns where it is then.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn reset_offset(
        &self,
        broker: &str,
        group: &str,
        topic: &str,
        to: ResetTarget,
    ) -> Result<BTreeMap<WireQueue, i64>, Error> {
        let (queue_id, offset, timestamp) = match to {
            ResetTarget::Time(timestamp) => (-1, None, timestamp),
            ResetTarget::End => (-1, None, -1),
            ResetTarget::Offset { queue_id, offset } => (queue_id, Some(offset), 0),
        };
        let header = ResetOffsetRequest {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queue_id,
            offset,
            timestamp,
            is_force: true,
        };
        let request = RequestCode::INVOKE_BROKER_TO_RESET_OFFSET;
        let body: ResetOffsetBody = self.0.ask_for_body(broker, request, &header).await?;
        Ok(body.offset_table)
    }

    /// Saves how far a group is in a queue.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn update_offset(&self, broker: &str, group: &str, queue: &WireQueue, offset: i64) -> Result<(), Error> {
        let header = UpdateConsumerOffsetRequest {
            consumer_group: group.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        self.0
            .ask(broker, RequestCode::UPDATE_CONSUMER_OFFSET, &header, Bytes::new())
            .await
            .map(drop)
    }

    /// Offset of the first message of a queue that was stored at that time (milliseconds since 1970) or later.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn search_offset(&self, broker: &str, topic: &str, queue_id: i32, timestamp: i64) -> Result<i64, Error> {
        let header = SearchOffsetRequest {
            topic: topic.to_owned(),
            lite_topic: None,
            queue_id,
            timestamp,
            boundary_type: None,
        };
        let request = RequestCode::SEARCH_OFFSET_BY_TIMESTAMP;
        let answer: SearchOffsetResponse = self.0.ask_for_fields(broker, request, &header).await?;
        Ok(answer.offset)
    }

    /// How far every group of a broker is, queue by queue, in one answer.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn broker_consume_stats(&self, broker: &str, is_order: bool) -> Result<ConsumeStatsList, Error> {
        let header = GetConsumeStatsInBrokerRequest { is_order };
        self.0
            .ask_for_body(broker, RequestCode::GET_BROKER_CONSUME_STATS, &header)
            .await
    }

    /// What a consumer says of itself, asked through a broker that it is connected to.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn running_info(
        &self,
        broker: &str,
        group: &str,
        client_id: &str,
        jstack: bool,
    ) -> Result<ConsumerRunningInfo, Error> {
        let header = GetConsumerRunningInfoRequest {
            consumer_group: group.to_owned(),
            client_id: client_id.to_owned(),
            jstack_enable: jstack,
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_CONSUMER_RUNNING_INFO, &header)
            .await
    }

    /// Lets one consumer handle a message now; `message_id` is an offset message id.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn consume_directly(
        &self,
        broker: &str,
        group: &str,
        client_id: &str,
        (topic, message_id): (&str, &str),
    ) -> Result<ConsumeMessageDirectlyResult, Error> {
        let header = ConsumeMessageDirectlyRequest {
            consumer_group: group.to_owned(),
            client_id: Some(client_id.to_owned()),
            msg_id: Some(message_id.to_owned()),
            topic: Some(topic.to_owned()),
            broker_name: None,
            topic_sys_flag: None,
            group_sys_flag: None,
        };
        self.0
            .ask_for_body(broker, RequestCode::CONSUME_MESSAGE_DIRECTLY, &header)
            .await
    }
}
