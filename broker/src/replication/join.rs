//! How a slave finds its master: by haMasterAddress, or by asking the name servers; and which store it is to copy.

use crate::config::BrokerConfig;
use crate::registration;
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

/// Waits for the master, and says which store a new slave is to copy.
///
/// # Errors
/// A configuration without any way to a master.
pub async fn join(settings: &Settings) -> Result<StoreIdentity, String> {
    let config = &settings.config;
    if config.ha_master_address.is_none() && config.name_servers().is_empty() {
        return Err("brokerRole=SLAVE has no way to its master; fix: set namesrvAddr, or haMasterAddress".to_owned());
    }
    let rpc = RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests));
    let mut said = String::new();
    loop {
        let found = match find(settings, &rpc).await {
            Ok(address) => describe(&address).await.map_err(|error| error.to_string()),
            Err(problem) => Err(problem),
        };
        match found {
            Ok(identity) => return Ok(identity),
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

/// Where the master's HA port is, by the configuration or by what name servers say now.
///
/// # Errors
/// Why nobody knows.
pub async fn find(settings: &Settings, rpc: &RpcClient) -> Result<String, String> {
    if let Some(address) = configured(&settings.config) {
        return Ok(address);
    }
    let mut problem = String::new();
    for address in settings.config.name_servers() {
        match registration::ask_for_master(settings, rpc, &address).await {
            Ok(Some(master)) => return Ok(master),
            Ok(None) => problem = format!("name server {address} knows no master of this brokerName"),
            Err(error) => problem = format!("name server {address}: {error}"),
        }
    }
    Err(problem)
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
    };
    let answer = greet(&mut line, &hello).await?;
    match answer.verdict {
        Verdict::Welcome => Ok(answer.store),
        Verdict::Refused | Verdict::Diverged => Err(io::Error::other(answer.remark)),
    }
}

/// A connection to a master's HA port.
pub(super) async fn connect(address: &str) -> io::Result<Line> {
    let connect = async { TcpStream::connect(remoting::address::resolve(address).await?).await };
    let stream = runtime::timeout(CONNECT_LIMIT, connect).await;
    let stream = stream
        .map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))
        .flatten();
    stream.map(Line::new).map_err(|error| {
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
