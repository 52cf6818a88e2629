//! Tells every name server that this broker is there, and with which topics.
//!
//! Registered in full every registerNameServerPeriod and whenever a topic has changed (changes of one moment share a
//! registration). That also keeps the route alive: a name server drops a broker after four such periods of silence, or when its
//! connection breaks. A connection that breaks is seen here too, and its name server is tried every brokerHeartbeatInterval until it has
//! taken the registration; while all is well there is no timer but that of the period. With enableSlaveActingMaster there are
//! heartbeats in between, as RocketMQ's, so that a master that hangs is replaced after brokerNotActiveTimeoutMillis too. Name servers are
//! equals: each is told on its own, and one that does not answer delays no other.

use crate::config::BrokerConfig;
use crate::control::Control;
use crate::core::Core;
use crate::settings::Settings;
use bytes::Bytes;
use protocol::body::register::{RegisterBrokerBody, body_crc32};
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::name_server::{
    BrokerHeartbeatRequest, RegisterBrokerRequest, RegisterBrokerResponse, UnregisterBrokerRequest,
};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{CloseReason, Connection, Handler, NoRequests, RpcClient};
use runtime::sync::Notify;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// RocketMQ's bounds of registerNameServerPeriod.
const PERIOD_MIN: Duration = Duration::from_secs(10);
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// How often a slave asks while no name server knows its master.
const MASTER_PERIOD: Duration = Duration::from_secs(1);
/// How long leaving may take: a broker that stops does not wait for a name server that is gone.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// How long the first round may delay "boot success" when a name server does not answer.
const FIRST_ROUND_LIMIT: Duration = Duration::from_secs(3);

/// The registration of a broker; lives on core 0.
#[derive(Debug)]
pub struct Registration {
    core: Rc<Core>,
    control: Rc<Control>,
    rpc: RpcClient,
    /// By name server: whether the last registration went well.
    registered: RefCell<BTreeMap<String, bool>>,
    first: Notify,
    /// A name server may have to be told again.
    lost: Rc<Notify>,
}

/// The broker's end of its connections to name servers.
struct NameServerEnd {
    lost: Rc<Notify>,
}

impl Handler for NameServerEnd {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        NoRequests.on_request(connection, request);
    }

    fn on_close(&self, _connection: &Rc<Connection>, _reason: &CloseReason) {
        self.lost.notify_one();
    }
}

/// Starts to register, and goes on until [`Registration::leave`].
#[must_use]
pub fn start(core: &Rc<Core>, control: &Rc<Control>) -> Rc<Registration> {
    let lost = Rc::new(Notify::new());
    let end = NameServerEnd { lost: Rc::clone(&lost) };
    let registration = Rc::new(Registration {
        core: Rc::clone(core),
        control: Rc::clone(control),
        rpc: RpcClient::new(core.connections.clone(), Rc::new(end)),
        registered: RefCell::default(),
        first: Notify::new(),
        lost,
    });
    runtime::spawn(Rc::clone(&registration).run());
    runtime::spawn(Rc::clone(&registration).mend());
    if core.settings().config.enable_slave_acting_master {
        runtime::spawn(Rc::clone(&registration).beat());
    }
    registration
}

impl Registration {
    /// Waits until every name server was told once, or has had its time.
    pub async fn first_round(&self) {
        let _late = runtime::timeout(FIRST_ROUND_LIMIT, self.first.notified()).await;
    }

    /// Leaves all name servers, so that clients go to other brokers.
    pub async fn leave(&self) {
        let settings = self.core.settings();
        let leave = settings.config.name_servers().into_iter().map(|address| {
            let rpc = self.rpc.clone();
            let header = UnregisterBrokerRequest {
                broker_name: settings.config.broker_name.clone(),
                broker_addr: settings.store_host.to_string(),
                cluster_name: settings.config.broker_cluster_name.clone(),
                broker_id: settings.config.broker_id,
            };
            runtime::spawn(async move {
                let fill = |out: &mut protocol::header_writer::HeaderWriter<'_>| header.encode(out);
                let left = rpc
                    .invoke(
                        &address,
                        RequestCode::UNREGISTER_BROKER,
                        fill,
                        Bytes::new(),
                        LEAVE_LIMIT,
                    )
                    .await;
                if let Err(error) = left {
                    tracing::warn!(name_server = address, %error, "could not leave");
                }
            })
        });
        let leaving: Vec<_> = leave.collect();
        for one in leaving {
            let _ended = one.await;
        }
    }

    async fn run(self: Rc<Self>) {
        loop {
            self.register_everywhere().await;
            self.first.notify_one();
            let settings = self.core.settings();
            let period = if settings.is_slave() && self.core.master_ha_address().is_none() {
                MASTER_PERIOD
            } else {
                period(&settings.config)
            };
            let changed = self.control.registration_wanted.notified();
            let _whichever = runtime::timeout(period, changed).await;
        }
    }

    /// Registers with every name server at the same time.
    async fn register_everywhere(self: &Rc<Self>) {
        let settings = self.core.settings();
        let body = Bytes::from(self.body(&settings));
        self.tell(settings.config.name_servers(), &body).await;
    }

    async fn tell(self: &Rc<Self>, addresses: Vec<String>, body: &Bytes) {
        let told: Vec<_> = addresses
            .into_iter()
            .map(|address| {
                let (this, body) = (Rc::clone(self), body.clone());
                runtime::spawn(async move { this.register(address, body).await })
            })
            .collect();
        for one in told {
            let _ended = one.await;
        }
    }

    fn body(&self, settings: &Settings) -> Vec<u8> {
        let body = RegisterBrokerBody {
            topic_config_serialize_wrapper: self.control.topics_to_register(settings),
            ..RegisterBrokerBody::default()
        };
        body.encode(settings.config.compressed_register)
    }

    async fn register(&self, address: String, body: Bytes) {
        let settings = self.core.settings();
        let outcome = register_once(&settings, &self.rpc, &address, body).await;
        let before = self.registered.borrow_mut().insert(address.clone(), outcome.is_ok());
        if outcome.is_err() {
            // Whatever does not answer is not used again: the connection may be half open.
            self.rpc.disconnect(&address);
            self.lost.notify_one();
        }
        match outcome {
            Ok(answer) => {
                if before != Some(true) {
                    tracing::info!(name_server = address, "registered");
                }
                if settings.is_slave() {
                    self.note_master(answer);
                }
            }
            Err(error) if before != Some(false) => tracing::warn!(name_server = address, error, "not registered"),
            Err(_again) => {}
        }
    }

    /// Tells every core where the master is, when that is news.
    fn note_master(&self, answer: RegisterBrokerResponse) {
        if let Some(address) = answer.master_addr.filter(|address| !address.is_empty()) {
            self.core.set_master_broker_address(address);
        }
        let Some(address) = answer.ha_server_addr.filter(|address| !address.is_empty()) else {
            return;
        };
        if self.core.master_ha_address().as_ref() == Some(&address) {
            return;
        }
        tracing::info!(master = address, "the name servers know the master");
        for core in 0..self.core.map.cores() {
            let address = address.clone();
            self.core.run_on(core, move |core| core.set_master_ha_address(address));
        }
    }

    /// Tells the name servers all the time that this broker lives.
    async fn beat(self: Rc<Self>) {
        loop {
            let settings = self.core.settings();
            let config = &settings.config;
            runtime::sleep(Duration::from_millis(config.broker_heartbeat_interval_ms)).await;
            let header = BrokerHeartbeatRequest {
                cluster_name: config.broker_cluster_name.clone(),
                broker_addr: settings.store_host.to_string(),
                broker_name: config.broker_name.clone(),
                broker_id: Some(config.broker_id),
                heartbeat_timeout_mills: Some(silence_ms(config)),
                epoch: None,
                max_offset: None,
                confirm_offset: None,
                election_priority: None,
            };
            for address in config.name_servers() {
                // One that has no connection is told by the registration that makes one.
                if self.rpc.open_connection(&address).is_some() {
                    let fill = |out: &mut protocol::header_writer::HeaderWriter<'_>| header.encode(out);
                    let told = self
                        .rpc
                        .notify(&address, RequestCode::BROKER_HEARTBEAT, fill, Bytes::new())
                        .await;
                    if let Err(error) = told {
                        tracing::debug!(name_server = address, %error, "no heartbeat");
                    }
                }
            }
        }
    }

    /// Registers again with name servers that were restarted or could not be reached. It waits without a timer while there is none.
    async fn mend(self: Rc<Self>) {
        loop {
            self.lost.notified().await;
            let mut lacking = self.lacking();
            while !lacking.is_empty() {
                let settings = self.core.settings();
                runtime::sleep(Duration::from_millis(settings.config.broker_heartbeat_interval_ms)).await;
                let body = Bytes::from(self.body(&settings));
                self.tell(self.lacking(), &body).await;
                lacking = self.lacking();
            }
        }
    }

    /// The name servers that do not know this broker, or have lost the connection that its registration belongs to.
    fn lacking(&self) -> Vec<String> {
        let registered = self.registered.borrow();
        let mut addresses = self.core.settings().config.name_servers();
        addresses.retain(|address| {
            let known = registered.get(address).copied();
            // Not yet in the table: the round that tells it first is on its way.
            known == Some(false) || (known == Some(true) && self.rpc.open_connection(address).is_none())
        });
        addresses
    }
}

async fn register_once(
    settings: &Settings,
    rpc: &RpcClient,
    address: &str,
    body: Bytes,
) -> Result<RegisterBrokerResponse, String> {
    let header = register_header(settings, &body);
    let limit = Duration::from_millis(settings.config.register_broker_timeout_ms);
    let fill = |out: &mut protocol::header_writer::HeaderWriter<'_>| header.encode(out);
    let answer = rpc
        .invoke(address, RequestCode::REGISTER_BROKER, fill, body, limit)
        .await;
    let frame = answer.map_err(|error| error.to_string())?;
    if frame.response_code() != ResponseCode::SUCCESS {
        let remark = frame.remark();
        return Err(format!(
            "{}: {}",
            frame.response_code(),
            remark.as_deref().unwrap_or("no remark")
        ));
    }
    RegisterBrokerResponse::decode(frame.ext()).map_err(|error| error.to_string())
}

/// Registers a slave that has nothing yet, to learn from the answer where the HA port of its master is.
///
/// # Errors
/// What the name server says.
pub async fn ask_for_master(settings: &Settings, rpc: &RpcClient, address: &str) -> Result<Option<Master>, String> {
    let body = Bytes::from(RegisterBrokerBody::default().encode(settings.config.compressed_register));
    let answer = register_once(settings, rpc, address, body).await?;
    let ha = answer.ha_server_addr.filter(|address| !address.is_empty());
    Ok(ha.map(|ha| Master {
        ha,
        broker: answer.master_addr.filter(|address| !address.is_empty()),
    }))
}

/// Where a name server says that the master of a slave is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its HA port.
    pub ha: String,
    /// Its broker's port.
    pub broker: Option<String>,
}

/// How long name servers are to wait for a sign of life: not less than four registrations, so that a late one does no harm. With
/// RocketMQ's period of 30 s that is its name server's own limit, 120 s.
fn silence_ms(config: &BrokerConfig) -> i64 {
    let asked = Duration::from_millis(config.broker_not_active_timeout_ms);
    let silence = if config.enable_slave_acting_master {
        // There are heartbeats in between.
        asked
    } else {
        asked.max(4 * period(config))
    };
    i64::try_from(silence.as_millis()).unwrap_or(i64::MAX)
}

fn period(config: &BrokerConfig) -> Duration {
    Duration::from_millis(config.register_name_server_period_ms).clamp(PERIOD_MIN, PERIOD_MAX)
}

fn register_header(settings: &Settings, body: &[u8]) -> RegisterBrokerRequest {
    let config = &settings.config;
    RegisterBrokerRequest {
        broker_name: config.broker_name.clone(),
        broker_addr: settings.store_host.to_string(),
        cluster_name: config.broker_cluster_name.clone(),
        ha_server_addr: settings.ha_host.to_string(),
        broker_id: config.broker_id,
        heartbeat_timeout_millis: Some(silence_ms(config)),
        enable_acting_master: Some(config.enable_slave_acting_master),
        compressed: config.compressed_register,
        body_crc32: body_crc32(body),
    }
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
