//! How a slave finds its master: by haMasterAddress, or by asking the name servers; and which store it is to copy.

use crate::config::BrokerConfig;
use crate::registration;
use crate::replication::apache;
use crate::replication::wire::{Answer, Hello, Line, Purpose, Verdict};
use crate::settings::Settings;
use engine::{LogPosition, StoreIdentity};
use remoting::{Connections, Limits, NoRequests, RpcClient};
use runtime::TcpStream;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long a connection may take to come about, and its hello to be answered.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// What a new slave is to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// The log of a RingMQ master.
    Store(StoreIdentity),
    /// The messages of an Apache master.
    Apache,
}

/// Waits for the master, and says what a new slave is to copy.
///
/// # Errors
/// A configuration without any way to a master.
pub async fn join(settings: &Settings) -> Result<Original, String> {
    let config = &settings.config;
    if config.ha_master_address.is_none() && config.name_servers().is_empty() {
        return Err("brokerRole=SLAVE has no way to its master; fix: set namesrvAddr, or haMasterAddress".to_owned());
    }
    let rpc = RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests));
    let mut said = String::new();
    loop {
        match original(settings, &rpc).await {
            Ok(original) => return Ok(original),
            // Told once, not at every try.
            Err(problem) if problem != said => {
                tracing::warn!("waiting for the master of {}: {problem}", config.broker_name);
                said = problem;
            }
            Err(_same) => {}
        }
        runtime::sleep(PAUSE).await;
    }
}

async fn original(settings: &Settings, rpc: &RpcClient) -> Result<Original, String> {
    let found = find(settings, rpc).await?;
    if let Some(broker) = found.broker
        && apache::is_apache(rpc, &broker).await?
    {
        return Ok(Original::Apache);
    }
    let described = describe(&found.ha).await;
    described.map(Original::Store).map_err(|error| error.to_string())
}

/// Where a master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its HA port.
    pub ha: String,
    /// Its broker's port, if a name server has said it.
    pub broker: Option<String>,
}

/// Where the master is, by the configuration or by what name servers say now.
///
/// # Errors
/// Why nobody knows.
pub async fn find(settings: &Settings, rpc: &RpcClient) -> Result<Found, String> {
    let configured = configured(&settings.config);
    if let Some(ha) = &configured
        && settings.config.name_servers().is_empty()
    {
        return Ok(Found {
            ha: ha.clone(),
            broker: None,
        });
    }
    let mut problem = String::new();
    for address in settings.config.name_servers() {
        match registration::ask_for_master(settings, rpc, &address).await {
            Ok(Some(master)) => {
                return Ok(Found {
                    ha: configured.unwrap_or(master.ha),
                    broker: master.broker,
                });
            }
            Ok(None) => problem = format!("name server {address} knows no master of this brokerName"),
            Err(error) => problem = format!("name server {address}: {error}"),
        }
    }
    match configured {
        Some(ha) => Ok(Found { ha, broker: None }),
        None => Err(problem),
    }
}

/// haMasterAddress, if it is set.
pub fn configured(config: &BrokerConfig) -> Option<String> {
    config.ha_master_address.clone().filter(|address| !address.is_empty())
}

async fn describe(address: &str) -> io::Result<StoreIdentity> {
    let mut line = connect(address).await?;
    let hello = Hello {
        purpose: Purpose::Describe,
        shard: 0,
        store_id: 0,
        end: LogPosition::default(),
        broker_id: 0,
        ha_port: 0,
    };
    let answer = greet(&mut line, &hello).await?;
    match answer.verdict {
        Verdict::Welcome => Ok(answer.store),
        Verdict::Refused | Verdict::Diverged => Err(io::Error::other(answer.remark)),
    }
}

/// A connection to a master's HA port.
pub(super) async fn connect(address: &str) -> io::Result<Line> {
    open(address).await.map(Line::new)
}

/// The connection itself.
pub(super) async fn open(address: &str) -> io::Result<TcpStream> {
    let connect = async { TcpStream::connect(remoting::address::resolve(address).await?).await };
    let stream = runtime::timeout(CONNECT_LIMIT, connect).await;
    let stream = stream
        .map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))
        .flatten();
    stream.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("the master's HA port {address} cannot be reached: {error}"),
        )
    })
}

/// Says hello and waits for the answer.
pub(super) async fn greet(line: &mut Line, hello: &Hello) -> io::Result<Answer> {
    let answer = runtime::timeout(CONNECT_LIMIT, line.say_hello(hello)).await;
    answer
        .map_err(|_late| io::Error::new(io::ErrorKind::TimedOut, "the master does not answer"))
        .flatten()
}
