//! What every command has: the cluster, and how its result is to look.

use super::error::Error;
use crate::output::Format;
use client::{Admin, Client};
use protocol::body::route::{BrokerData, ClusterInfo};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where `ringmq up` and a name server without configuration listen.
pub(super) const NAMESRV_DEFAULT: &str = "127.0.0.1:9876";

#[derive(Debug)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) admin: Admin,
    pub(super) format: Format,
}

/// The brokers that a command is for.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The broker at this address.
    Broker(String),
    /// The brokers of this cluster.
    Cluster(String),
}

impl Context {
    pub(super) fn new(name_servers: &str, timeout: Duration, format: Format) -> Result<Context, Error> {
        let client = Client::new(name_servers)?;
        client.set_request_limit(timeout);
        let admin = Admin::new(&client);
        Ok(Context { client, admin, format })
    }

    /// The brokers of a cluster, by name.
    pub(super) fn brokers_of<'a>(
        info: &'a ClusterInfo,
        cluster: &str,
    ) -> Result<BTreeMap<&'a str, &'a BrokerData>, Error> {
        let Some(names) = info.cluster_addr_table.get(cluster) else {
            let known: Vec<&str> = info.cluster_addr_table.keys().map(String::as_str).collect();
            let fix = if known.is_empty() {
                "no broker is registered; start one with -n or namesrvAddr".to_owned()
            } else {
                format!("the clusters there are: {}", known.join(", "))
            };
            return Err(Error::other(format!("there is no cluster {cluster}"), fix));
        };
        let brokers = names
            .iter()
            .filter_map(|name| info.broker_addr_table.get_key_value(name));
        Ok(brokers.map(|(name, data)| (name.as_str(), data)).collect())
    }

    /// Addresses of the masters that a command is for.
    pub(super) async fn masters(&self, target: &Target) -> Result<Vec<String>, Error> {
        let cluster = match target {
            Target::Broker(address) => return Ok(vec![address.clone()]),
            Target::Cluster(cluster) => cluster,
        };
        let info = self.admin.cluster_info().await?;
        let brokers = Context::brokers_of(&info, cluster)?;
        let masters: Vec<String> = brokers
            .values()
            .filter_map(|data| data.broker_addrs.get(&0).cloned())
            .collect();
        if masters.is_empty() {
            let fix = "start the master (brokerId 0) of at least one of its broker groups";
            return Err(Error::other(format!("cluster {cluster} has no master"), fix));
        }
        Ok(masters)
    }

    /// Addresses of all brokers that a command is for, slaves too.
    pub(super) async fn everyone(&self, target: &Target) -> Result<Vec<String>, Error> {
        let cluster = match target {
            Target::Broker(address) => return Ok(vec![address.clone()]),
            Target::Cluster(cluster) => cluster,
        };
        let info = self.admin.cluster_info().await?;
        let brokers = Context::brokers_of(&info, cluster)?;
        Ok(brokers
            .values()
            .flat_map(|data| data.broker_addrs.values().cloned())
            .collect())
    }
}
