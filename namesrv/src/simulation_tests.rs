//! A name server and three brokers in a simulated world where the network and the machines fail.
//!
//! Claims: once faults have ceased, every running broker is found and nobody else is; a broker that dies for good is gone
//! within its heartbeat time-out; one that is restarted at once is found, whatever its last process still has to say; KV config that was answered for is there after power cuts; a run can be repeated.

use crate::NameServer;
use crate::config::TABLE;
use bytes::Bytes;
use protocol::body::register::RegisterBrokerBody;
use protocol::body::route::ClusterInfo;
use protocol::body::topic::TopicConfig;
use protocol::body::{from_slice, to_java_json};
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connections, Limits, NoRequests, RpcClient};
use runtime::sim::{FaultKind, Faults, NodeId, Options, Simulation};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

const NAME_SERVER: &str = "10.0.0.1:9876";
const LIMIT: Duration = Duration::from_secs(3);
const KINDS: [FaultKind; 14] = [
    FaultKind::PartialRead,
    FaultKind::PartialWrite,
    FaultKind::NetworkDelay,
    FaultKind::PacketLoss,
    FaultKind::ConnectionReset,
    FaultKind::DuplicateConnection,
    FaultKind::HalfOpen,
    FaultKind::Partition,
    FaultKind::OneWayPartition,
    FaultKind::PowerCut,
    FaultKind::Kill,
    FaultKind::Pause,
    FaultKind::ClockJump,
    FaultKind::TornWrite,
];

struct World {
    simulation: Simulation,
    name_server: NodeId,
    brokers: Vec<NodeId>,
    observer: NodeId,
    /// KV keys whose setting was answered with SUCCESS.
    kept: Rc<RefCell<BTreeSet<String>>>,
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

async fn name_server() {
    let mut settings = TABLE.defaults();
    let text = "kvConfigPath=/data/kv.json\nconfigStorePath=/data/n.properties\nscanNotActiveBrokerInterval=500\n";
    settings.read_file("simulated.conf", text).unwrap();
    let _server = NameServer::start(settings, None, |_name| None).await.unwrap();
    std::future::pending::<()>().await;
}

fn client() -> RpcClient {
    RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests))
}

/// A broker that registers as often.
async fn broker(number: u8, period: Duration) {
    let client = client();
    let silence_ms = i64::try_from(5 * period.as_millis()).unwrap();
    let mut body = RegisterBrokerBody::default();
    for topic in ["T", "U"] {
        let config = TopicConfig {
            topic_name: topic.into(),
            ..TopicConfig::default()
        };
        body.topic_config_serialize_wrapper
            .topic_config_table
            .insert(topic.into(), config);
    }
    let body = Bytes::from(to_java_json(&body));
    loop {
        let fields = |writer: &mut HeaderWriter<'_>| {
            writer.put("brokerName", &format!("b{number}"));
            writer.put("brokerAddr", &format!("10.0.1.{number}:10911"));
            writer.put("clusterName", "C");
            writer.put("haServerAddr", "");
            writer.put_i64("brokerId", 0);
            writer.put_i64("heartbeatTimeoutMillis", silence_ms);
        };
        if let Err(_failed) = client
            .invoke(NAME_SERVER, RequestCode::REGISTER_BROKER, fields, body.clone(), LIMIT)
            .await
        {
            // As a real broker's client does: what does not answer is not used again.
            client.disconnect(NAME_SERVER);
            runtime::sleep(Duration::from_secs(1)).await;
        } else {
            runtime::sleep(period).await;
        }
    }
}

/// Sets KV keys, one after the other, and remembers those that were answered for.
async fn writer(kept: Rc<RefCell<BTreeSet<String>>>) {
    let client = client();
    for number in 0.. {
        let key = format!("k{number}");
        let fields = |writer: &mut HeaderWriter<'_>| {
            writer.put("namespace", "n");
            writer.put("key", &key);
            writer.put("value", "v");
        };
        match client
            .invoke(NAME_SERVER, RequestCode::PUT_KV_CONFIG, fields, Bytes::new(), LIMIT)
            .await
        {
            Ok(answer) if answer.response_code() == ResponseCode::SUCCESS => {
                kept.borrow_mut().insert(key);
            }
            _ => client.disconnect(NAME_SERVER),
        }
        runtime::sleep(Duration::from_millis(300)).await;
    }
}

async fn ask(code: RequestCode, namespace: &'static str) -> Option<Bytes> {
    let client = client();
    let fields = move |writer: &mut HeaderWriter<'_>| writer.put("namespace", namespace);
    let answer = client
        .invoke(NAME_SERVER, code, fields, Bytes::new(), LIMIT)
        .await
        .ok()?;
    Some(answer.into_body())
}

/// The names of the brokers that the name server gives.
fn found(simulation: &Simulation, observer: NodeId) -> Vec<String> {
    let asked = ask(RequestCode::GET_BROKER_CLUSTER_INFO, "");
    let body = simulation.block_on(observer, asked, Duration::from_secs(30)).unwrap();
    let info: ClusterInfo = from_slice(&body.expect("the name server answers")).unwrap();
    info.broker_addr_table.into_keys().collect()
}

impl World {
    fn new(seed: u64) -> World {
        let faults = Faults::swarm(seed, &KINDS);
        let simulation = Simulation::new(
            seed,
            Options {
                faults,
                ..Options::default()
            },
        );
        let name_server_node = simulation.node("name-server", ip(1));
        simulation.start(name_server_node, name_server);
        let brokers = (1..=3)
            .map(|number| {
                let node = simulation.node(&format!("broker-{number}"), ip(10 + number));
                simulation.start(node, move || broker(number, Duration::from_secs(1)));
                node
            })
            .collect();
        let observer = simulation.node("observer", ip(2));
        let kept = Rc::new(RefCell::new(BTreeSet::new()));
        let shared = Rc::clone(&kept);
        simulation.start(observer, move || writer(Rc::clone(&shared)));
        World {
            simulation,
            name_server: name_server_node,
            brokers,
            observer,
            kept,
        }
    }

    fn run_with_faults(&self) {
        let mut nodes = self.brokers.clone();
        nodes.push(self.name_server);
        for _second in 0..20 {
            self.simulation.run_for(Duration::from_secs(1));
            self.simulation.disturb(&nodes, Duration::from_secs(4));
        }
    }

    fn mend(&self) {
        self.simulation.set_all_faults(&Faults::none());
        self.simulation.run_for(Duration::from_secs(10));
        self.simulation.heal_all();
        self.simulation.run_for(Duration::from_secs(150));
    }

    fn found(&self) -> Vec<String> {
        found(&self.simulation, self.observer)
    }

    fn check_kv(&self) {
        let asked = ask(RequestCode::GET_KVLIST_BY_NAMESPACE, "n");
        let body = self
            .simulation
            .block_on(self.observer, asked, Duration::from_secs(30))
            .unwrap();
        let table: protocol::body::stats::KvTable = from_slice(&body.expect("the name server answers")).unwrap();
        let lost: Vec<_> = self
            .kept
            .borrow()
            .iter()
            .filter(|key| !table.table.contains_key(*key))
            .cloned()
            .collect();
        assert!(lost.is_empty(), "seed {}: lost {lost:?}", self.simulation.seed());
    }
}

#[test]
fn after_any_faults_exactly_the_running_brokers_are_found() {
    let mut set = 0;
    for seed in 0..40 {
        let world = World::new(seed);
        world.run_with_faults();
        world.mend();
        assert_eq!(world.found(), ["b1", "b2", "b3"], "seed {seed}");
        world.check_kv();
        set += world.kept.borrow().len();
        world.simulation.kill(world.brokers[0]);
        world.simulation.run_for(Duration::from_secs(8));
        assert_eq!(world.found(), ["b2", "b3"], "seed {seed}");
    }
    assert!(set > 40 * 100, "the writer must get on: {set}");
}

/// What a process had sent when it was killed can arrive after the registration of the next one.
#[test]
fn a_broker_restarted_at_once_is_found_long_before_it_registers_again() {
    for seed in 0..100 {
        let faults = Faults::none().with(FaultKind::NetworkDelay, 500_000);
        let simulation = Simulation::new(
            seed,
            Options {
                faults,
                ..Options::default()
            },
        );
        simulation.start(simulation.node("name-server", ip(1)), name_server);
        let broker_node = simulation.node("broker", ip(11));
        simulation.start(broker_node, || broker(1, Duration::from_secs(60)));
        simulation.run_for(Duration::from_millis(simulation.draw(3_000)));
        simulation.kill(broker_node);
        simulation.restart(broker_node);
        // All that the last process sent arrives within two seconds.
        simulation.run_for(Duration::from_secs(2));
        let observer = simulation.node("observer", ip(2));
        simulation.start(observer, std::future::pending::<()>);
        simulation.set_all_faults(&Faults::none());
        simulation.run_for(Duration::from_secs(10));
        assert_eq!(found(&simulation, observer), ["b1"], "seed {seed}");
    }
}

#[test]
fn a_run_can_be_repeated() {
    let hash = |seed| {
        let world = World::new(seed);
        world.run_with_faults();
        world.simulation.trace_hash()
    };
    for seed in 0..10 {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    assert_ne!(hash(1), hash(2));
}
