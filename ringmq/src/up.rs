//! `ringmq up`: what was asked for, a look or a cluster.

use crate::layout::{self, Layout, Place};
use crate::{Failure, cluster, deploy, single};
use std::net::IpAddr;
use std::path::PathBuf;

/// Options of `ringmq up`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// A cluster, each service a process of its own: 2m2s, 3m3s, 2m-noslave...; without it, one broker in this process
    layout: Option<Layout>,
    /// Where all data lies
    #[arg(long, value_name = "DIR", default_value = "ringmq-data")]
    pub(crate) data: PathBuf,
    /// Port of the name server; of the first one of a cluster
    #[arg(long, value_name = "PORT", default_value_t = 9876, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) namesrv_port: u16,
    /// Port of the broker, the port two below is served too; of the first one of a cluster, the others follow in steps of 20
    #[arg(long, value_name = "PORT", default_value_t = 10911, value_parser = clap::value_parser!(u16).range(3..))]
    pub(crate) port: u16,
    /// Address that clients reach this machine by; any but a loopback address opens the ports to everybody who can reach it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Name servers of a cluster
    #[arg(long, value_name = "N", default_value_t = 1, requires = "layout", value_parser = clap::value_parser!(u16).range(1..=9))]
    name_servers: u16,
    /// End when the cluster is ready, and leave it running
    #[arg(long, requires = "layout")]
    detach: bool,
    /// Start nothing: write the configuration files, and a systemd unit for each service into this directory
    #[arg(long, value_name = "DIR", requires = "layout", conflicts_with_all = ["detach", "compose"])]
    systemd: Option<PathBuf>,
    /// Start nothing: write the configuration files, and a compose file with its seccomp profile into this directory
    #[arg(long, value_name = "DIR", requires = "layout", conflicts_with = "detach")]
    compose: Option<PathBuf>,
}

/// Runs until a signal, or with `--detach` until all is ready.
///
/// # Errors
/// What keeps a service from starting.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let Some(layout) = options.layout else {
        return single::run(options);
    };
    let place = Place {
        data: layout::absolute(&options.data)?,
        host: options.host,
        namesrv_port: options.namesrv_port,
        port: options.port,
        name_servers: options.name_servers,
    };
    if let Some(directory) = &options.systemd {
        return deploy::systemd(layout, &place, &layout::absolute(directory)?);
    }
    if let Some(directory) = &options.compose {
        return deploy::compose(layout, &place, &layout::absolute(directory)?);
    }
    cluster::up(layout, &place, options.detach)
}
