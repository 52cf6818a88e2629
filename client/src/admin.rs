//! Requests of people and tools: topics, groups, offsets, messages by id and key, configuration, figures.
//!
//! Addresses are those of brokers (`ip:port`, from [`Admin::cluster_info`]); requests to name servers find theirs
//! themselves, and those that change something there go to all of them, since name servers do not tell each other.

use crate::core::{Client, NoFields, body_of};
use crate::error::Error;
use crate::message::ReceivedMessage;
use bytes::Bytes;
use protocol::body::group::{
    ConsumerConnection, GetConsumerListByGroupResponseBody, GroupList, ProducerConnection, SubscriptionGroupConfig,
    SubscriptionGroupWrapper,
};
use protocol::body::offset::{ConsumeStats, ResetOffsetBody};
use protocol::body::queue::WireQueue;
use protocol::body::route::{ClusterInfo, TopicRouteData};
use protocol::body::stats::KvTable;
use protocol::body::to_java_json;
use protocol::body::topic::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicList, TopicStatsTable};
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::group::{
    DeleteSubscriptionGroupRequest, GetConsumeStatsRequest, GetConsumerConnectionListRequest,
    GetConsumerListByGroupRequest, GetProducerConnectionListRequest, GetSubscriptionGroupConfigRequest,
    QueryTopicConsumeByWhoRequest, QueryTopicsByConsumerRequest,
};
use protocol::header::name_server::{
    AddWritePermOfBrokerRequest, AddWritePermOfBrokerResponse, DeleteKvConfigRequest, DeleteTopicFromNamesrvRequest,
    GetKvConfigRequest, GetKvConfigResponse, GetKvListByNamespaceRequest, GetTopicsByClusterRequest,
    PutKvConfigRequest, WipeWritePermOfBrokerRequest, WipeWritePermOfBrokerResponse,
};
use protocol::header::offset::ResetOffsetRequest;
use protocol::header::query::{QueryMessageRequest, UNIQUE_KEY_QUERY, ViewMessageRequest};
use protocol::header::topic::{
    CreateTopicRequest, DeleteTopicRequest, GetTopicConfigRequest, GetTopicStatsInfoRequest,
};
use protocol::header_writer::HeaderWriter;
use protocol::message::id::OffsetMessageId;
use protocol::message::record::Records;
use protocol::model::names::AUTO_CREATE_TOPIC;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::properties_file;
use std::collections::{BTreeMap, BTreeSet};

/// Admin requests of a client.
#[derive(Clone, Debug)]
pub struct Admin(pub(crate) Client);

/// Messages to look for by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// Their topic.
    pub topic: String,
    /// One of their keys.
    pub key: String,
    /// Whether the key is the unique id.
    pub by_unique_id: bool,
    /// Messages at most.
    pub max: i32,
    /// Stored at this time or later, milliseconds since 1970.
    pub begin: i64,
    /// Stored at this time or earlier, milliseconds since 1970.
    pub end: i64,
}

/// The fields of a query by key; the unique id's flag is a field of its own.
struct KeyQueryFields(QueryMessageRequest, bool);

impl Header for KeyQueryFields {
    fn decode(ext: protocol::ext::ExtFields<'_>) -> Result<Self, protocol::header::HeaderError> {
        let by_unique_id = ext
            .clone()
            .get(UNIQUE_KEY_QUERY)
            .is_some_and(|text| text.into_cow() == "true");
        Ok(KeyQueryFields(QueryMessageRequest::decode(ext)?, by_unique_id))
    }

    fn encode(&self, writer: &mut HeaderWriter<'_>) {
        self.0.encode(writer);
        if self.1 {
            writer.put(UNIQUE_KEY_QUERY, "true");
        }
    }
}

/// Clusters, brokers and name servers.
impl Admin {
    /// Admin requests of `client`.
    #[must_use]
    pub fn new(client: &Client) -> Admin {
        Admin(client.clone())
    }

    /// Every broker and cluster.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`], like all of these.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, Error> {
        self.body_from_name_server(RequestCode::GET_BROKER_CLUSTER_INFO, &NoFields)
            .await
    }

    /// The masters' addresses of a cluster.
    ///
    /// # Errors
    /// As [`Admin::cluster_info`].
    pub async fn masters(&self, cluster: &str) -> Result<Vec<String>, Error> {
        let info = self.cluster_info().await?;
        let of_cluster = info
            .broker_addr_table
            .values()
            .filter(|broker| broker.cluster == cluster);
        Ok(of_cluster
            .filter_map(|broker| broker.broker_addrs.get(&0).cloned())
            .collect())
    }

    /// Every figure that a broker tells of itself.
    ///
    /// # Errors
    /// As [`Client::ask`].
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
    /// As [`Client::ask`].
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
    /// As [`Client::ask`].
    pub async fn update_broker_config(&self, broker: &str, changes: &[(&str, &str)]) -> Result<(), Error> {
        let body = properties_file::to_text(changes.iter().copied()).into();
        self.0
            .ask(broker, RequestCode::UPDATE_BROKER_CONFIG, &NoFields, body)
            .await
            .map(drop)
    }

    /// A name server's configuration.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`].
    pub async fn name_server_config(&self) -> Result<BTreeMap<String, String>, Error> {
        let (_who, answer) = self
            .0
            .ask_name_server(RequestCode::GET_NAMESRV_CONFIG, &NoFields, Bytes::new())
            .await?;
        Ok(properties_of(&answer))
    }

    /// Changes keys of the configuration of every name server.
    ///
    /// # Errors
    /// As [`Client::ask`], at the first that fails.
    pub async fn update_name_server_config(&self, changes: &[(&str, &str)]) -> Result<(), Error> {
        let body = properties_file::to_text(changes.iter().copied()).into();
        self.ask_every_name_server(RequestCode::UPDATE_NAMESRV_CONFIG, &NoFields, body)
            .await
    }

    /// Takes write permission from a broker group at every name server; how many topics that were at the last.
    ///
    /// # Errors
    /// As [`Client::ask`], at the first that fails.
    pub async fn wipe_write_perm(&self, broker_name: &str) -> Result<i32, Error> {
        let header = WipeWritePermOfBrokerRequest {
            broker_name: broker_name.to_owned(),
        };
        let mut count = 0;
        for address in self.0.name_servers() {
            let request = RequestCode::WIPE_WRITE_PERM_OF_BROKER;
            let answer: WipeWritePermOfBrokerResponse = self.0.ask_for_fields(address, request, &header).await?;
            count = answer.wipe_topic_count;
        }
        Ok(count)
    }

    /// Gives write permission back to a broker group at every name server; how many topics that were at the last.
    ///
    /// # Errors
    /// As [`Client::ask`], at the first that fails.
    pub async fn add_write_perm(&self, broker_name: &str) -> Result<i32, Error> {
        let header = AddWritePermOfBrokerRequest {
            broker_name: broker_name.to_owned(),
        };
        let mut count = 0;
        for address in self.0.name_servers() {
            let request = RequestCode::ADD_WRITE_PERM_OF_BROKER;
            let answer: AddWritePermOfBrokerResponse = self.0.ask_for_fields(address, request, &header).await?;
            count = answer.add_topic_count;
        }
        Ok(count)
    }

    /// Sets a text of the KV config at every name server.
    ///
    /// # Errors
    /// As [`Client::ask`], at the first that fails.
    pub async fn put_kv(&self, namespace: &str, key: &str, value: &str) -> Result<(), Error> {
        let [namespace, key, value] = [namespace, key, value].map(str::to_owned);
        let header = PutKvConfigRequest { namespace, key, value };
        self.ask_every_name_server(RequestCode::PUT_KV_CONFIG, &header, Bytes::new())
            .await
    }

    /// Removes a text of the KV config at every name server.
    ///
    /// # Errors
    /// As [`Client::ask`], at the first that fails.
    pub async fn delete_kv(&self, namespace: &str, key: &str) -> Result<(), Error> {
        let header = DeleteKvConfigRequest {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
        };
        self.ask_every_name_server(RequestCode::DELETE_KV_CONFIG, &header, Bytes::new())
            .await
    }

    /// A text of the KV config; `None` if there is none.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`].
    pub async fn kv(&self, namespace: &str, key: &str) -> Result<Option<String>, Error> {
        let header = GetKvConfigRequest {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
        };
        let request = RequestCode::GET_KV_CONFIG;
        match self.0.ask_name_server(request, &header, Bytes::new()).await {
            Ok((address, answer)) => {
                let fields = GetKvConfigResponse::decode(answer.ext());
                Ok(fields
                    .map_err(|error| Error::BadHeader {
                        request,
                        address,
                        error,
                    })?
                    .value)
            }
            Err(error) if error.code() == Some(ResponseCode::QUERY_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All texts of a namespace.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`].
    pub async fn kv_list(&self, namespace: &str) -> Result<BTreeMap<String, String>, Error> {
        let header = GetKvListByNamespaceRequest {
            namespace: namespace.to_owned(),
        };
        let table: KvTable = self
            .body_from_name_server(RequestCode::GET_KVLIST_BY_NAMESPACE, &header)
            .await?;
        Ok(table.table)
    }

    async fn body_from_name_server<A: serde::de::DeserializeOwned>(
        &self,
        request: RequestCode,
        header: &impl Header,
    ) -> Result<A, Error> {
        let (address, answer) = self.0.ask_name_server(request, header, Bytes::new()).await?;
        body_of(request, &address, &answer)
    }

    async fn ask_every_name_server(
        &self,
        request: RequestCode,
        header: &impl Header,
        body: Bytes,
    ) -> Result<(), Error> {
        for address in self.0.name_servers() {
            self.0.ask(address, request, header, body.clone()).await?;
        }
        Ok(())
    }
}

/// Topics.
impl Admin {
    /// Every topic that a name server knows.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`].
    pub async fn topics(&self) -> Result<BTreeSet<String>, Error> {
        let request = RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER;
        let list: TopicList = self.body_from_name_server(request, &NoFields).await?;
        Ok(list.topic_list)
    }

    /// The topics of a cluster.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`].
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
    /// As [`Client::fresh_route`].
    pub async fn topic_route(&self, topic: &str) -> Result<TopicRouteData, Error> {
        self.0.route_data(topic).await
    }

    /// Creates or changes a topic on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`].
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

    /// Deletes a topic on every master of a cluster and at every name server.
    ///
    /// # Errors
    /// As [`Client::ask`], at the first that fails.
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
    /// As [`Client::ask`].
    pub async fn topic_config(&self, broker: &str, topic: &str) -> Result<TopicConfig, Error> {
        let header = GetTopicConfigRequest {
            topic: topic.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_TOPIC_CONFIG, &header)
            .await
    }

    /// Settings of all topics of a broker (the first page, if it answers in pages).
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn all_topic_config(&self, broker: &str) -> Result<TopicConfigAndMappingSerializeWrapper, Error> {
        self.0
            .ask_for_body(broker, RequestCode::GET_ALL_TOPIC_CONFIG, &FirstPage("topicSeq"))
            .await
    }

    /// Begin and end of a topic's queues on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`].
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
    /// As [`Client::ask`].
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

/// The header of a request for the first page of a table.
struct FirstPage(&'static str);

impl Header for FirstPage {
    fn decode(_ext: protocol::ext::ExtFields<'_>) -> Result<Self, protocol::header::HeaderError> {
        Ok(FirstPage("topicSeq"))
    }

    fn encode(&self, writer: &mut HeaderWriter<'_>) {
        writer.put_i64(self.0, 0);
    }
}

/// Groups and their offsets.
impl Admin {
    /// Creates or changes a subscription group on a broker.
    ///
    /// # Errors
    /// As [`Client::ask`].
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

    /// Deletes a subscription group on a broker, with its offsets if wanted.
    ///
    /// # Errors
    /// As [`Client::ask`].
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
    /// As [`Client::ask`].
    pub async fn group_config(&self, broker: &str, group: &str) -> Result<SubscriptionGroupConfig, Error> {
        let header = GetSubscriptionGroupConfigRequest {
            group: group.to_owned(),
        };
        self.0
            .ask_for_body(broker, RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &header)
            .await
    }

    /// Settings of all subscription groups of a broker (the first page, if it answers in pages).
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn all_group_config(&self, broker: &str) -> Result<SubscriptionGroupWrapper, Error> {
        self.0
            .ask_for_body(
                broker,
                RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
                &FirstPage("groupSeq"),
            )
            .await
    }

    /// How far a consumer group is, queue by queue.
    ///
    /// # Errors
    /// As [`Client::ask`].
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
    /// As [`Client::ask`]; CONSUMER_NOT_ONLINE if there are none.
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
    /// As [`Client::ask`].
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
    /// As [`Client::ask`].
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
    /// As [`Client::ask`].
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

    /// Moves a consumer group to the messages of a time (milliseconds since 1970; -1: the end), and returns where that is.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn reset_offset(
        &self,
        broker: &str,
        group: &str,
        topic: &str,
        timestamp: i64,
        force: bool,
    ) -> Result<BTreeMap<WireQueue, i64>, Error> {
        let header = ResetOffsetRequest {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queue_id: -1,
            offset: None,
            timestamp,
            is_force: force,
        };
        let request = RequestCode::INVOKE_BROKER_TO_RESET_OFFSET;
        let body: ResetOffsetBody = self.0.ask_for_body(broker, request, &header).await?;
        Ok(body.offset_table)
    }
}

/// Messages.
impl Admin {
    /// The message with that offset message id, from the broker that the id names.
    ///
    /// # Errors
    /// An id that is none, and as [`Client::ask`].
    pub async fn message_by_id(&self, topic: &str, offset_message_id: &str) -> Result<ReceivedMessage, Error> {
        let id = OffsetMessageId::decode(offset_message_id)?;
        let address = id.store_host.to_string();
        let header = ViewMessageRequest {
            topic: Some(topic.to_owned()),
            offset: id.physical_offset.to_wire(),
        };
        let answer = self
            .0
            .ask(&address, RequestCode::VIEW_MESSAGE_BY_ID, &header, Bytes::new())
            .await?;
        messages_of(&answer)?.pop().ok_or_else(|| Error::Refused {
            request: RequestCode::VIEW_MESSAGE_BY_ID,
            address,
            code: ResponseCode::SUCCESS,
            remark: "the answer holds no message".to_owned(),
        })
    }

    /// The messages with a key on a broker; none if there are none.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn messages_by_key(&self, broker: &str, query: &KeyQuery) -> Result<Vec<ReceivedMessage>, Error> {
        let fields = QueryMessageRequest {
            topic: query.topic.clone(),
            key: query.key.clone(),
            max_num: query.max,
            begin_timestamp: query.begin,
            end_timestamp: query.end,
            index_type: None,
            last_key: None,
        };
        let header = KeyQueryFields(fields, query.by_unique_id);
        match self
            .0
            .ask(broker, RequestCode::QUERY_MESSAGE, &header, Bytes::new())
            .await
        {
            Ok(answer) => messages_of(&answer),
            Err(error) if error.code() == Some(ResponseCode::QUERY_NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn messages_of(answer: &Frame) -> Result<Vec<ReceivedMessage>, Error> {
    let records = Records::new(answer.body());
    records
        .map(|record| Ok(ReceivedMessage::new(&record?, answer.body())))
        .collect()
}

fn properties_of(answer: &Frame) -> BTreeMap<String, String> {
    // Brokers of others may write what is no properties file in our reader's eyes; what is left out then is nothing to us.
    let text = String::from_utf8_lossy(answer.body());
    let entries = protocol::body::properties_text::parse(&text);
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}
