//! The machines: two name servers, two brokers, producers, consumers.

use crate::plan::{BrokerPlan, Plan};
use broker::broker::Broker;
use broker::config::{BrokerConfig, Machine, Sources};
use broker::settings::Settings;
use engine::{Retention, StoreOptions};
use namesrv::NameServer;
use runtime::sim::{self, Faults, NodeId, Simulation};
use runtime::sync::{Either, Notify, race};
use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The name servers, as clients are told of them.
pub const NAME_SERVERS: &str = "10.0.0.1:9876;10.0.0.2:9876";
/// The cluster's name.
pub const CLUSTER: &str = "simulated";

/// A world with its machines.
#[derive(Debug)]
pub struct Cluster {
    /// The world.
    pub simulation: Simulation,
    /// Machines of name servers.
    pub name_servers: Vec<NodeId>,
    /// Machines of brokers.
    pub brokers: Vec<BrokerNode>,
    /// The producers' machine.
    pub producers: NodeId,
    /// The consumers' machine.
    pub consumers: NodeId,
}

/// A broker and its machine.
#[derive(Debug)]
pub struct BrokerNode {
    /// Its machine.
    pub node: NodeId,
    /// brokerName.
    pub name: String,
    /// Where clients reach it.
    pub address: String,
    /// What it is like.
    pub plan: BrokerPlan,
    /// How its process is.
    pub state: Rc<ProcessState>,
}

/// What is known of a broker's process.
#[derive(Debug, Default)]
pub struct ProcessState {
    /// It serves.
    pub ready: Cell<bool>,
    /// Why the last start failed.
    pub failure: RefCell<Option<String>>,
}

fn ip(network: u8, last: u8) -> IpAddr {
    IpAddr::from([10, 0, network, last])
}

impl Cluster {
    /// Machines that work, with processes that start.
    #[must_use]
    pub fn new(plan: &Plan) -> Cluster {
        let options = sim::Options {
            faults: Faults::none(),
            disk_capacity: 1 << 30,
            tcp_timeout: Duration::from_secs(10),
            ..sim::Options::default()
        };
        let simulation = Simulation::new(plan.seed, options);
        let name_servers = (1..=2)
            .map(|number| {
                let node = simulation.node(&format!("name-server-{number}"), ip(0, number));
                simulation.start(node, name_server);
                node
            })
            .collect();
        let brokers = (1_u8..)
            .zip(&plan.brokers)
            .map(|(number, broker)| BrokerNode::start(&simulation, number, broker, plan.retention))
            .collect();
        let client = |name, number| {
            let node = simulation.node(name, ip(2, number));
            simulation.start(node, runtime::signal::terminated);
            node
        };
        let (producers, consumers) = (client("producers", 1), client("consumers", 2));
        Cluster {
            simulation,
            name_servers,
            brokers,
            producers,
            consumers,
        }
    }

    /// Every machine.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.name_servers.clone();
        nodes.extend(self.brokers.iter().map(|broker| broker.node));
        nodes.extend([self.producers, self.consumers]);
        nodes
    }

    /// Whether every broker serves.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        self.brokers.iter().all(|broker| broker.state.ready.get())
    }
}

async fn name_server() {
    let mut settings = namesrv::config::TABLE.defaults();
    let text = "kvConfigPath=/data/kv.json\nconfigStorePath=/data/n.properties\nscanNotActiveBrokerInterval=1000\n";
    settings
        .read_file("simulated.conf", text)
        .expect("the simulated name server's configuration is one");
    // Its disk may fail: then the process ends, and is started again from outside.
    if let Ok(_server) = NameServer::start(settings, None, |_name| None).await {
        std::future::pending::<()>().await;
    }
}

/// What the cores of one process of a broker share.
#[derive(Default)]
struct Life {
    broker: OnceCell<Arc<Broker>>,
    prepared: Notify,
    failed: Notify,
}

impl BrokerNode {
    fn start(simulation: &Simulation, number: u8, plan: &BrokerPlan, retention: bool) -> BrokerNode {
        let address = ip(1, number);
        let name = format!("broker-{number}");
        let node = simulation.node(&name, address);
        let state = Rc::<ProcessState>::default();
        let (shared, config) = (Rc::clone(&state), config(&name, address, plan));
        let store = store_options(&config, plan, retention);
        simulation.start_cores(node, plan.cores, move || {
            shared.ready.set(false);
            let (life, shared) = (Rc::<Life>::default(), Rc::clone(&shared));
            let (config, store) = (config.clone(), store.clone());
            move |core| {
                run_core(
                    core,
                    Rc::clone(&life),
                    Rc::clone(&shared),
                    config.clone(),
                    store.clone(),
                )
            }
        });
        BrokerNode {
            node,
            name,
            address: format!("{address}:10911"),
            plan: plan.clone(),
            state,
        }
    }
}

/// One core of a broker. As in a real process, a core that fails ends them all.
async fn run_core(core: usize, life: Rc<Life>, state: Rc<ProcessState>, config: BrokerConfig, store: StoreOptions) {
    let failed = life.failed.notified();
    let prepared = life.prepared.notified();
    let work = async {
        if core == 0 {
            let cores = usize::from(config.cores);
            let layout = engine::prepare_store(&store).await.map_err(|error| error.to_string())?;
            let broker = Broker::new(Settings::new(config)?, layout, cores);
            assert!(life.broker.set(broker).is_ok(), "core 0 prepares the store once");
            life.prepared.notify_waiters();
        } else {
            prepared.await;
        }
        let broker = life.broker.get().expect("the broker is made before it is told of");
        if core == 0 {
            runtime::spawn(be_ready(Arc::clone(broker), Rc::clone(&state)));
            runtime::spawn(stop_when_asked(Arc::clone(broker)));
        }
        let ended = Arc::clone(broker).run_core(core).await;
        ended.map_err(|error| error.to_string())
    };
    let outcome: Either<Result<(), String>, ()> = race(work, failed).await;
    state.ready.set(false);
    if let Either::First(Err(error)) = outcome {
        *state.failure.borrow_mut() = Some(error);
        life.failed.notify_waiters();
    }
}

async fn be_ready(broker: Arc<Broker>, state: Rc<ProcessState>) {
    broker.ready().await;
    *state.failure.borrow_mut() = None;
    state.ready.set(true);
}

async fn stop_when_asked(broker: Arc<Broker>) {
    if runtime::signal::terminated().await.is_ok() {
        broker.stop();
    }
}

/// A configuration as a file would give it, so that what reads configurations is part of the run.
fn config(name: &str, address: IpAddr, plan: &BrokerPlan) -> BrokerConfig {
    let flush = match plan.flush {
        engine::FlushMode::Async => "ASYNC_FLUSH",
        engine::FlushMode::Sync => "SYNC_FLUSH",
    };
    let text = format!(
        "brokerName={name}\nbrokerClusterName={CLUSTER}\nbrokerIP1={address}\nnamesrvAddr={NAME_SERVERS}\n\
         storePathRootDir=/store\nflushDiskType={flush}\ncores={}\nflushIntervalCommitLog={}\n\
         registerNameServerPeriod=10000\nautoCreateTopicEnable=false\nflushConsumerOffsetInterval=1000\n",
        plan.cores,
        plan.flush_interval.as_millis()
    );
    let machine = Machine {
        cpus: plan.cores,
        host_name: name.to_owned(),
        home: PathBuf::from("/home"),
        address: Some(address),
        namesrv_addr: None,
        rocketmq_home: None,
    };
    let sources = Sources {
        file: Some((Path::new("simulated.conf"), text.as_bytes())),
        options: &[],
        machine: &machine,
    };
    match BrokerConfig::load(&sources) {
        Ok((config, _notices)) => config,
        Err(error) => panic!("the simulated broker's configuration is refused: {error:?}"),
    }
}

/// Sizes and times at which a run of seconds meets everything that a real broker meets in days.
fn store_options(config: &BrokerConfig, plan: &BrokerPlan, retention: bool) -> StoreOptions {
    let retention = Retention {
        reserved: if retention {
            Duration::from_secs(2)
        } else {
            Duration::from_secs(72 * 3600)
        },
        delete_hours: if retention { (0..24).collect() } else { Vec::new() },
        utc_offset_minutes: 0,
        force_ratio: None,
        interval: Duration::from_secs(1),
        ..Retention::default()
    };
    StoreOptions {
        segment_size: plan.segment_size,
        retention,
        tail_cache_bytes: 64 << 10,
        cold_cache_bytes: 64 << 10,
        queue_cache_bytes: 64 << 10,
        staged_bytes_max: 256 << 10,
        unsynced_bytes_max: 1 << 20,
        in_memory_distance: 64 << 10,
        checkpoint_bytes: 128 << 10,
        checkpoint_interval: Duration::from_secs(3),
        ..broker::plan::store_options(config, plan.cores)
    }
}
