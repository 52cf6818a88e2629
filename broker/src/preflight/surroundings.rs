//! What a broker stands on beside its ports and disks: the kernel's I/O, open files, the clock, its name servers.

use super::about;
use crate::config::{BrokerConfig, BrokerRole, Finding, IoPathChoice, Severity};
use bytes::Bytes;
use protocol::body::from_slice;
use protocol::body::route::ClusterInfo;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connections, Limits, NoRequests, RpcClient};
use runtime::machine;
use runtime::probe::IoPath;
use std::rc::Rc;
use std::time::Duration;

/// How long a name server is waited for: a check is to take less than a tenth of a second.
const NAME_SERVER_LIMIT: Duration = Duration::from_millis(60);
/// Every client and every segment takes one. With fewer a broker stops taking clients in on its first busy day.
const OPEN_FILES_MIN: u64 = 10_000;
/// No machine of today is before this: 2026-01-01.
const NOT_BEFORE_MS: i64 = 1_767_225_600_000;
/// Clocks of file systems and of machines that share them may differ by so much.
const CLOCK_SLACK_MS: i64 = 60_000;

/// What there is to know.
#[derive(Debug)]
pub struct Surroundings {
    /// What the kernel offers; not asked if the configuration wants blocking threads.
    pub io: Option<IoPath>,
    /// Files that this process may have open, sockets among them.
    pub open_files: u64,
    /// The wall clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// The last change of anything in the store.
    pub newest_change_ms: Option<i64>,
    /// Each name server with what came from it.
    pub name_servers: Vec<(String, NameServerState)>,
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServerState {
    /// Brokers that it knows.
    Knows(ClusterInfo),
    /// An answer that no name server gives.
    Other(String),
    /// Nothing, and why.
    Silent(String),
}

/// Asks the machine and the name servers.
pub(super) async fn look(config: &BrokerConfig) -> Surroundings {
    Surroundings {
        io: (config.io_path != IoPathChoice::Blocking).then(runtime::probe::probe),
        open_files: machine::open_files_max(),
        now_ms: runtime::wall_clock_ms(),
        newest_change_ms: machine::newest_change_ms(&config.store_path_root_dir),
        name_servers: ask_name_servers(config.name_servers()).await,
    }
}

async fn ask_name_servers(addresses: Vec<String>) -> Vec<(String, NameServerState)> {
    let rpc = RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests));
    let asked: Vec<_> = addresses
        .into_iter()
        .map(|address| {
            let rpc = rpc.clone();
            runtime::spawn(async move {
                let state = ask(&rpc, &address).await;
                (address, state)
            })
        })
        .collect();
    let mut states = Vec::new();
    for one in asked {
        states.extend(one.await);
    }
    states
}

async fn ask(rpc: &RpcClient, address: &str) -> NameServerState {
    let code = RequestCode::GET_BROKER_CLUSTER_INFO;
    let asked = rpc.invoke(address, code, |_no_fields| {}, Bytes::new(), NAME_SERVER_LIMIT);
    // The limit of a request does not hold for the look-up of a name.
    let answer = match runtime::timeout(NAME_SERVER_LIMIT, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return NameServerState::Silent(error.to_string()),
        Err(_late) => {
            let waited = NAME_SERVER_LIMIT.as_millis();
            return NameServerState::Silent(format!("no answer within {waited} ms"));
        }
    };
    if answer.response_code() != ResponseCode::SUCCESS {
        return NameServerState::Other(answer.response_code().to_string());
    }
    match from_slice(answer.body()) {
        Ok(known) => NameServerState::Knows(known),
        Err(error) => NameServerState::Other(error.to_string()),
    }
}

/// Decides what is wrong.
pub(super) fn judge(config: &BrokerConfig, facts: &Surroundings, found: &mut Vec<Finding>) {
    judge_io(config, facts, found);
    judge_open_files(facts, found);
    judge_clock(config, facts, found);
    for (address, state) in &facts.name_servers {
        judge_name_server(config, address, state, found);
    }
    judge_master(config, facts, found);
}

fn judge_io(config: &BrokerConfig, facts: &Surroundings, found: &mut Vec<Finding>) {
    let Some(IoPath::Blocking(refusal)) = &facts.io else {
        return;
    };
    let text = refusal.to_string();
    let (reason, fix) = text.split_once("; fix: ").unwrap_or((&text, "ask the kernel's log"));
    let (severity, what) = match config.io_path {
        IoPathChoice::Ring => (Severity::Stop, "cannot be had"),
        IoPathChoice::Auto | IoPathChoice::Blocking => (Severity::Warning, "means blocking threads here"),
    };
    found.push(about(config, severity, "ioPath", format_args!("{what}: {reason}"), fix));
}

fn judge_open_files(facts: &Surroundings, found: &mut Vec<Finding>) {
    if facts.open_files < OPEN_FILES_MIN {
        found.push(Finding::new(
            Severity::Warning,
            format_args!(
                "RLIMIT_NOFILE={} lets this broker have no more clients and files than that; \
                 fix: LimitNOFILE=655350 in the unit, or ulimit -Hn 655350",
                facts.open_files
            ),
        ));
    }
}

fn judge_clock(config: &BrokerConfig, facts: &Surroundings, found: &mut Vec<Finding>) {
    let fix = "set the clock (chronyc makestep, or date -s) before messages are stamped with it";
    if facts.now_ms < NOT_BEFORE_MS {
        let days = (NOT_BEFORE_MS - facts.now_ms) / 86_400_000;
        let text = format!("the clock of this machine stands {days} days before 2026: retention and delays go by it");
        found.push(Finding::new(Severity::Warning, format_args!("{text}; fix: {fix}")));
    }
    if let Some(newest) = facts.newest_change_ms
        && newest > facts.now_ms + CLOCK_SLACK_MS
    {
        let seconds = (newest - facts.now_ms) / 1000;
        found.push(about(
            config,
            Severity::Warning,
            "storePathRootDir",
            format_args!(
                "was changed {seconds} s later than the clock of this machine says it is: one of them is wrong"
            ),
            fix,
        ));
    }
}

fn judge_name_server(config: &BrokerConfig, address: &str, state: &NameServerState, found: &mut Vec<Finding>) {
    let mut warn = |key: &str, what: String, fix: &str| found.push(about(config, Severity::Warning, key, what, fix));
    match state {
        NameServerState::Silent(why) => warn(
            "namesrvAddr",
            format!("has {address}, which does not answer ({why}): no client finds this broker there"),
            "start mqnamesrv there, or correct host and port",
        ),
        NameServerState::Other(why) => warn(
            "namesrvAddr",
            format!("has {address}, which answers, but not as a name server does ({why})"),
            "write the port of mqnamesrv (9876), not that of a broker",
        ),
        NameServerState::Knows(known) => {
            let group = known.broker_addr_table.get(&config.broker_name);
            let holder = group.and_then(|group| group.broker_addrs.get(&config.broker_id));
            if let Some(holder) = holder.filter(|holder| **holder != config.broker_address()) {
                let (id, own) = (config.broker_id, config.broker_address());
                warn(
                    "brokerName",
                    format!(
                        "with brokerId={id} is {holder} for name server {address}, and this broker is {own}: it would take its place"
                    ),
                    "give every master a brokerName of its own, and every slave of a master a brokerId of its own; \
                     nothing if this broker has moved",
                );
            }
        }
    }
}

/// A slave that belongs to nobody waits in silence.
fn judge_master(config: &BrokerConfig, facts: &Surroundings, found: &mut Vec<Finding>) {
    if config.broker_role != BrokerRole::Slave || config.ha_master_address.as_deref().is_some_and(|a| !a.is_empty()) {
        return;
    }
    let mut answers = facts.name_servers.iter().filter_map(|(_address, state)| match state {
        NameServerState::Knows(known) => Some(known),
        NameServerState::Other(_) | NameServerState::Silent(_) => None,
    });
    let master = |known: &ClusterInfo| {
        let group = known.broker_addr_table.get(&config.broker_name);
        group.is_some_and(|group| group.broker_addrs.contains_key(&0))
    };
    let mut none = false;
    for known in answers.by_ref() {
        if master(known) {
            return;
        }
        none = true;
    }
    if none {
        found.push(about(
            config,
            Severity::Warning,
            "brokerName",
            "has no master that a name server knows: this slave waits until there is one",
            "start the master, or write the brokerName of the master that it is to copy",
        ));
    }
}
