//! Arguments that several commands share.

use super::context::Target;
use super::error::Error;
use clap::Args;

/// One broker, or the brokers of a cluster.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct OfBrokers {
    /// The broker at this address
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// All brokers of this cluster
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster_name: Option<String>,
}

impl OfBrokers {
    pub(super) fn target(&self) -> Result<Target, Error> {
        match (&self.broker_addr, &self.cluster_name) {
            (Some(address), _) => Ok(Target::Broker(address.trim().to_owned())),
            (None, Some(cluster)) => Ok(Target::Cluster(cluster.trim().to_owned())),
            (None, None) => Err(Error::other("neither a broker nor a cluster is given", "give -b or -c")),
        }
    }
}

/// One broker, the brokers of a cluster, or all brokers there are.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct OfSomeBrokers {
    /// The broker at this address
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// All brokers of this cluster; without -b and -c, of every cluster
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster_name: Option<String>,
}

impl OfSomeBrokers {
    pub(super) fn target(&self) -> Target {
        match (&self.broker_addr, &self.cluster_name) {
            (Some(address), _) => Target::Broker(address.trim().to_owned()),
            (None, Some(cluster)) => Target::Cluster(cluster.trim().to_owned()),
            (None, None) => Target::Everywhere,
        }
    }
}

/// `+KEY=VALUE` sets an attribute, `-KEY` removes one.
pub(super) fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.len() > 1 && key.starts_with('+') => Ok((key.to_owned(), value.to_owned())),
        None if text.len() > 1 && text.starts_with('-') => Ok((text.to_owned(), String::new())),
        _ => Err("write +KEY=VALUE to set an attribute, -KEY to remove one".to_owned()),
    }
}
