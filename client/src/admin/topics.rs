//! Topics: creating, deleting and listing them, their routes, offsets and queues.

use super::Admin;
use crate::core::NoFields;
use crate::error::Error;
use bytes::Bytes;
use protocol::body::group::GroupList;
use protocol::body::route::TopicRouteData;
use protocol::body::to_java_json;
use protocol::body::topic::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicList, TopicStatsTable,
};
use protocol::header::group::QueryTopicConsumeByWhoRequest;
use protocol::header::name_server::{DeleteTopicFromNamesrvRequest, GetTopicsByClusterRequest};
use protocol::header::topic::{
    CreateTopicRequest, DeleteTopicRequest, GetTopicConfigRequest, GetTopicStatsInfoRequest,
};
use protocol::model::names::AUTO_CREATE_TOPIC;
use protocol::request_code::RequestCode;
use std::collections::BTreeSet;

impl Admin {
    /// Every topic that a name server knows.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`](crate::Client::ask_name_server).
    pub async fn topics(&self) -> Result<BTreeSet<String>, Error> {
        let request = RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER;
        let list: TopicList = self.body_from_name_server(request, &NoFields).await?;
        Ok(list.topic_list)
    }

    /// The topics of a cluster.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`](crate::Client::ask_name_server).
    pub async fn topics_of_cluster(&self, cluster: &str) -> Result<BTreeSet<String>, Error> {
        let header = GetTopicsByClusterRequest {
            cluster: cluster.to_owned(),
        };
        let list: TopicList = self
            .body_from_name_server(RequestCode::GET_TOPICS_BY_CLUSTER, &header)
            .await?;
        Ok(list.topic_list)
    }

    /// The route of a topic.
    ///
    /// # Errors
    /// As [`Client::fresh_route`](crate::Client::fresh_route).
    pub async fn topic_route(&self, topic: &str) -> Result<TopicRouteData, Error> {
        self.0.route_data(topic).await
    }

    /// Creates or changes a topic on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn create_topic(&self, broker: &str, topic: &TopicConfig) -> Result<(), Error> {
        let attributes: Vec<String> = topic
            .attributes
            .iter()
            .map(|(key, value)| match value.as_str() {
                // An edit that removes an attribute has no value.
                "" if key.starts_with('-') => key.clone(),
                value => format!("{key}={value}"),
            })
            .collect();
        let header = CreateTopicRequest {
            topic: topic.topic_name.clone(),
            default_topic: AUTO_CREATE_TOPIC.to_owned(),
            read_queue_nums: topic.read_queue_nums,
            write_queue_nums: topic.write_queue_nums,
            perm: topic.perm,
            topic_filter_type: topic.topic_filter_type.clone(),
            topic_sys_flag: Some(topic.topic_sys_flag),
            order: topic.order,
            attributes: Some(attributes.join(",")),
            force: None,
        };
        self.0
            .ask(broker, RequestCode::UPDATE_AND_CREATE_TOPIC, &header, Bytes::new())
            .await?;
        self.0.forget_route(&topic.topic_name);
        Ok(())
    }

    /// Creates or changes many topics on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn create_topics(&self, broker: &str, topics: &[TopicConfig]) -> Result<(), Error> {
        let list = CreateTopicListRequestBody {
            topic_config_list: topics.to_vec(),
        };
        let body = to_java_json(&list).into();
        self.0
            .ask(broker, RequestCode::UPDATE_AND_CREATE_TOPIC_LIST, &NoFields, body)
            .await?;
        for topic in topics {
            self.0.forget_route(&topic.topic_name);
        }
        Ok(())
    }

    /// Topics that a broker counts among its own.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn system_topics(&self, broker: &str) -> Result<BTreeSet<String>, Error> {
        let request = RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER;
        let list: TopicList = self.0.ask_for_body(broker, request, &NoFields).await?;
        Ok(list.topic_list)
    }

    /// Deletes a topic on every master of a cluster and at every name server.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask), at the first that fails.
    pub async fn delete_topic(&self, cluster: &str, topic: &str) -> Result<(), Error> {
        let header = DeleteTopicRequest {
            topic: topic.to_owned(),
        };
        for broker in self.masters(cluster).await? {
            self.0
                .ask(&broker, RequestCode::DELETE_TOPIC_IN_BROKER, &header, Bytes::new())
                .await?;
        }
        let cluster_name = Some(cluster.to_owned());
        let header = DeleteTopicFromNamesrvRequest {
            topic: topic.to_owned(),
            cluster_name,
        };
        self.ask_every_name_server(RequestCode::DELETE_TOPIC_IN_NAMESRV, &header, Bytes::new())
            .await?;
        self.0.forget_route(topic);
        Ok(())
    }

    /// Settings of a topic on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn topic_config(&self, broker: &str, topic: &str) -> Result<TopicConfig, Error> {
        let header = GetTopicConfigRequest {
            topic: topic.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_TOPIC_CONFIG, &header)
            .await
    }

    /// Settings of all topics of a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn all_topic_config(&self, broker: &str) -> Result<TopicConfigAndMappingSerializeWrapper, Error> {
        self.0
            .ask_for_body(broker, RequestCode::GET_ALL_TOPIC_CONFIG, &NoFields)
            .await
    }

    /// Begin and end of a topic's queues on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn topic_stats(&self, broker: &str, topic: &str) -> Result<TopicStatsTable, Error> {
        let header = GetTopicStatsInfoRequest {
            topic: topic.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_TOPIC_STATS_INFO, &header)
            .await
    }

    /// The consumer groups that have offsets in a topic on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn groups_of_topic(&self, broker: &str, topic: &str) -> Result<BTreeSet<String>, Error> {
        let header = QueryTopicConsumeByWhoRequest {
            topic: topic.to_owned(),
        };
        let list: GroupList = self
            .0
            .ask_for_body(broker, RequestCode::QUERY_TOPIC_CONSUME_BY_WHO, &header)
            .await?;
        Ok(list.group_list)
    }
}
