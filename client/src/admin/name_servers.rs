//! What name servers know and keep.

use super::{Admin, properties_of};
use crate::core::NoFields;
use crate::error::Error;
use bytes::Bytes;
use protocol::body::route::ClusterInfo;
use protocol::body::stats::KvTable;
use protocol::body::topic::TopicList;
use protocol::header::Header;
use protocol::header::name_server::{
    AddWritePermOfBrokerRequest, AddWritePermOfBrokerResponse, DeleteKvConfigRequest, GetKvConfigRequest,
    GetKvConfigResponse, GetKvListByNamespaceRequest, PutKvConfigRequest, WipeWritePermOfBrokerRequest,
    WipeWritePermOfBrokerResponse,
};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::properties_file;
use std::collections::{BTreeMap, BTreeSet};

impl Admin {
    /// Every broker and cluster.
    ///
    /// # Errors
    /// As [`Client::ask_name_server`](crate::Client::ask_name_server), like all of these.
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

    /// A name server's configuration.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn name_server_config(&self, name_server: &str) -> Result<BTreeMap<String, String>, Error> {
        let request = RequestCode::GET_NAMESRV_CONFIG;
        Ok(properties_of(
            &self.0.ask(name_server, request, &NoFields, Bytes::new()).await?,
        ))
    }

    /// Every broker and cluster, as one name server knows them.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn cluster_info_of(&self, name_server: &str) -> Result<ClusterInfo, Error> {
        self.0
            .ask_for_body(name_server, RequestCode::GET_BROKER_CLUSTER_INFO, &NoFields)
            .await
    }

    /// Every topic that one name server knows.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn topics_of_name_server(&self, name_server: &str) -> Result<BTreeSet<String>, Error> {
        let request = RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER;
        let list: TopicList = self.0.ask_for_body(name_server, request, &NoFields).await?;
        Ok(list.topic_list)
    }

    /// Changes keys of the configuration of every name server.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask), at the first that fails.
    pub async fn update_name_server_config(&self, changes: &[(&str, &str)]) -> Result<(), Error> {
        let body = properties_file::to_text(changes.iter().copied()).into();
        self.ask_every_name_server(RequestCode::UPDATE_NAMESRV_CONFIG, &NoFields, body)
            .await
    }

    /// Takes write permission from a broker group at one name server; of how many topics.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn wipe_write_perm(&self, name_server: &str, broker_name: &str) -> Result<i32, Error> {
        let header = WipeWritePermOfBrokerRequest {
            broker_name: broker_name.to_owned(),
        };
        let request = RequestCode::WIPE_WRITE_PERM_OF_BROKER;
        let answer: WipeWritePermOfBrokerResponse = self.0.ask_for_fields(name_server, request, &header).await?;
        Ok(answer.wipe_topic_count)
    }

    /// Gives write permission back to a broker group at one name server; of how many topics.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask).
    pub async fn add_write_perm(&self, name_server: &str, broker_name: &str) -> Result<i32, Error> {
        let header = AddWritePermOfBrokerRequest {
            broker_name: broker_name.to_owned(),
        };
        let request = RequestCode::ADD_WRITE_PERM_OF_BROKER;
        let answer: AddWritePermOfBrokerResponse = self.0.ask_for_fields(name_server, request, &header).await?;
        Ok(answer.add_topic_count)
    }

    /// Sets a text of the KV config at every name server.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask), at the first that fails.
    pub async fn put_kv(&self, namespace: &str, key: &str, value: &str) -> Result<(), Error> {
        let [namespace, key, value] = [namespace, key, value].map(str::to_owned);
        let header = PutKvConfigRequest { namespace, key, value };
        self.ask_every_name_server(RequestCode::PUT_KV_CONFIG, &header, Bytes::new())
            .await
    }

    /// Removes a text of the KV config at every name server.
    ///
    /// # Errors
    /// As [`Client::ask`](crate::Client::ask), at the first that fails.
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
    /// As [`Client::ask_name_server`](crate::Client::ask_name_server).
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
    /// As [`Client::ask_name_server`](crate::Client::ask_name_server).
    pub async fn kv_list(&self, namespace: &str) -> Result<BTreeMap<String, String>, Error> {
        let header = GetKvListByNamespaceRequest {
            namespace: namespace.to_owned(),
        };
        let table: KvTable = self
            .body_from_name_server(RequestCode::GET_KVLIST_BY_NAMESPACE, &header)
            .await?;
        Ok(table.table)
    }
}
