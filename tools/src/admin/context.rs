//! What every command has: the cluster, and how its result is to look.

use super::error::Error;
use super::format::{Format, yaml};
use crate::output::json_document;
use client::{Admin, Client};
use protocol::body::route::{BrokerData, ClusterInfo};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::time::Duration;

/// Where `ringmq up` and a name server without configuration listen.
pub(super) const NAMESRV_DEFAULT: &str = "127.0.0.1:9876";

#[derive(Debug)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) admin: Admin,
    pub(super) format: Format,
    /// Whether tables begin with the names of their columns.
    pub(super) headers: bool,
}

/// The brokers that a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The broker at this address.
    Broker(String),
    /// The brokers of this cluster.
    Cluster(String),
    /// The brokers of every cluster.
    Everywhere,
}

impl Context {
    pub(super) fn new(name_servers: &str, timeout: Duration, format: Format, headers: bool) -> Result<Context, Error> {
        let client = Client::new(name_servers)?;
        client.set_request_limit(timeout);
        let admin = Admin::new(&client);
        Ok(Context {
            client,
            admin,
            format,
            headers,
        })
    }

    /// Whether the result is to be one document rather than a table.
    pub(super) fn wants_document(&self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Whether a table is to have all that is known.
    pub(super) fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// Writes the result as one document.
    pub(super) fn document(&self, out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), Error> {
        let value = serde_json::to_value(value).map_err(std::io::Error::from)?;
        if self.format == Format::Yaml {
            return Ok(yaml(out, &value)?);
        }
        Ok(json_document(out, &value)?)
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

    async fn broker_groups(&self, target: &Target) -> Result<Vec<BrokerData>, Error> {
        let info = self.admin.cluster_info().await?;
        match target {
            Target::Cluster(cluster) => {
                let brokers = Context::brokers_of(&info, cluster)?;
                Ok(brokers.into_values().cloned().collect())
            }
            _ => Ok(info.broker_addr_table.into_values().collect()),
        }
    }

    /// Addresses of the masters that a command is for.
    pub(super) async fn masters(&self, target: &Target) -> Result<Vec<String>, Error> {
        if let Target::Broker(address) = target {
            return Ok(vec![address.clone()]);
        }
        let brokers = self.broker_groups(target).await?;
        let masters: Vec<String> = brokers
            .iter()
            .filter_map(|data| data.broker_addrs.get(&0).cloned())
            .collect();
        if masters.is_empty() {
            let fix = "start the master (brokerId 0) of at least one of its broker groups";
            let whose = match target {
                Target::Cluster(cluster) => format!("cluster {cluster} has no master"),
                _ => "no cluster has a master".to_owned(),
            };
            return Err(Error::other(whose, fix));
        }
        Ok(masters)
    }

    /// Addresses of all brokers that a command is for, slaves too.
    pub(super) async fn everyone(&self, target: &Target) -> Result<Vec<String>, Error> {
        if let Target::Broker(address) = target {
            return Ok(vec![address.clone()]);
        }
        let brokers = self.broker_groups(target).await?;
        Ok(brokers
            .iter()
            .flat_map(|data| data.broker_addrs.values().cloned())
            .collect())
    }
}

/// Asks all at the same time, so that one that is dead costs one timeout and not one for each; answers come in the order of the
/// questions.
pub(super) async fn ask_all<T, A, F>(
    questions: impl IntoIterator<Item = T>,
    ask: impl Fn(T) -> F,
) -> Vec<Result<A, Error>>
where
    F: Future<Output = Result<A, Error>> + 'static,
    A: 'static,
{
    let asked: Vec<_> = questions
        .into_iter()
        .map(|question| runtime::spawn(ask(question)))
        .collect();
    let mut answers = Vec::with_capacity(asked.len());
    for one in asked {
        let given_up = || Err(Error::other("the question was given up", "ask again"));
        answers.push(one.await.unwrap_or_else(given_up));
    }
    answers
}
