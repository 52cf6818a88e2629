//! The machines: two name servers, two brokers, their slaves if they have any, producers, consumers.

use crate::plan::{BrokerPlan, Plan, SlavePlan};
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
    /// Its slave, if it has one.
    pub slave: Option<SlaveNode>,
}

/// A slave and its machine.
#[derive(Debug)]
pub struct SlaveNode {
    /// Its machine.
    pub node: NodeId,
    /// What it is like.
    pub plan: SlavePlan,
    /// How its process is.
    pub state: Rc<ProcessState>,
    /// From its next start on the name servers, and so the consumers, know of it. A slave that is behind its master shows an older
    /// queue, which nothing in a history tells apart from a queue that has lost something.
    pub registers: Rc<Cell<bool>>,
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
        nodes.extend(self.servers());
        nodes.extend([self.producers, self.consumers]);
        nodes
    }

    /// Machines of brokers and slaves.
    pub fn servers(&self) -> impl Iterator<Item = NodeId> {
        self.brokers.iter().flat_map(|broker| {
            let slave = broker.slave.iter().map(|slave| slave.node);
            std::iter::once(broker.node).chain(slave)
        })
    }

    /// Whether every broker serves.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        self.brokers.iter().all(|broker| {
            let slave = broker.slave.as_ref();
            broker.state.ready.get() && slave.is_none_or(|slave| slave.state.ready.get())
        })
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
        let config = config(&name, address, plan);
        let store = store_options(&config, (plan.segment_size, plan.cores), retention);
        start_process(simulation, node, &state, move || (config.clone(), store.clone()));
        let slave = plan
            .slave
            .as_ref()
            .map(|slave| SlaveNode::start(simulation, number, &name, plan, slave));
        BrokerNode {
            node,
            name,
            address: format!("{address}:10911"),
            plan: plan.clone(),
            state,
            slave,
        }
    }
}

impl BrokerNode {
    /// Whether this master and its disk are gone in the end, and its slave is read instead.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.slave.as_ref().is_some_and(|slave| slave.plan.master_is_lost)
    }

    /// Whether what is read in the end is up: the broker, or the slave of one that is lost.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match &self.slave {
            Some(slave) if self.is_lost() => slave.state.ready.get(),
            _ => self.state.ready.get(),
        }
    }
}

impl SlaveNode {
    fn start(simulation: &Simulation, number: u8, master: &str, broker: &BrokerPlan, plan: &SlavePlan) -> SlaveNode {
        let address = ip(3, number);
        let node = simulation.node(&format!("{master}-slave"), address);
        let (state, registers) = (Rc::<ProcessState>::default(), Rc::<Cell<bool>>::default());
        let hidden = slave_config(number, master, address, plan, false);
        let known = slave_config(number, master, address, plan, true);
        let shown = Rc::clone(&registers);
        let segment_size = broker.segment_size;
        start_process(simulation, node, &state, move || {
            let config = if shown.get() { &known } else { &hidden };
            let store = store_options(config, (segment_size, usize::from(config.cores)), false);
            (config.clone(), store)
        });
        SlaveNode {
            node,
            plan: plan.clone(),
            state,
            registers,
        }
    }
}

fn start_process(
    simulation: &Simulation,
    node: NodeId,
    state: &Rc<ProcessState>,
    configured: impl Fn() -> (BrokerConfig, StoreOptions) + 'static,
) {
    let shared = Rc::clone(state);
    let cores = usize::from(configured().0.cores);
    simulation.start_cores(node, cores, move || {
        shared.ready.set(false);
        let (life, shared) = (Rc::<Life>::default(), Rc::clone(&shared));
        let (config, store) = configured();
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
}

/// One core of a broker. As in a real process, a core that fails ends them all.
async fn run_core(core: usize, life: Rc<Life>, state: Rc<ProcessState>, config: BrokerConfig, mut store: StoreOptions) {
    let failed = life.failed.notified();
    let prepared = life.prepared.notified();
    let work = async {
        if core == 0 {
            let cores = usize::from(config.cores);
            let settings = Settings::new(config)?;
            let (layout, origin) = broker::start::open_store(&settings, &mut store).await?;
            let broker = Broker::with_origin(settings, layout, cores, origin);
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

fn config(name: &str, address: IpAddr, plan: &BrokerPlan) -> BrokerConfig {
    let role = match &plan.slave {
        Some(slave) if slave.synchronous => "SYNC_MASTER",
        _ => "ASYNC_MASTER",
    };
    let more = format!("namesrvAddr={NAME_SERVERS}\nbrokerRole={role}\nslaveTimeout=1000\n");
    load(name, address, (plan.flush, plan.cores, plan.flush_interval), &more)
}

fn slave_config(number: u8, master: &str, address: IpAddr, plan: &SlavePlan, registers: bool) -> BrokerConfig {
    let master_ip = ip(1, number);
    let mut more = format!("brokerRole=SLAVE\nbrokerId=1\nhaMasterAddress={master_ip}:10912\n");
    if registers {
        more = format!("{more}namesrvAddr={NAME_SERVERS}\n");
    }
    load(master, address, (plan.flush, plan.cores, plan.flush_interval), &more)
}

/// A configuration as a file would give it, so that what reads configurations is part of the run.
fn load(
    name: &str,
    address: IpAddr,
    (flush, cores, flush_interval): (engine::FlushMode, usize, Duration),
    more: &str,
) -> BrokerConfig {
    let flush = match flush {
        engine::FlushMode::Async => "ASYNC_FLUSH",
        engine::FlushMode::Sync => "SYNC_FLUSH",
    };
    let text = format!(
        "brokerName={name}\nbrokerClusterName={CLUSTER}\nbrokerIP1={address}\n\
         storePathRootDir=/store\nflushDiskType={flush}\ncores={cores}\nflushIntervalCommitLog={}\n\
         registerNameServerPeriod=10000\nautoCreateTopicEnable=false\nflushConsumerOffsetInterval=1000\n{more}",
        flush_interval.as_millis()
    );
    let machine = Machine {
        cpus: cores,
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
fn store_options(config: &BrokerConfig, (segment_size, cores): (u64, usize), retention: bool) -> StoreOptions {
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
        segment_size,
        retention,
        tail_cache_bytes: 64 << 10,
        cold_cache_bytes: 64 << 10,
        queue_cache_bytes: 64 << 10,
        staged_bytes_max: 256 << 10,
        crash_buffer_bytes: 512 << 10,
        unsynced_bytes_max: 1 << 20,
        in_memory_distance: 64 << 10,
        checkpoint_bytes: 128 << 10,
        checkpoint_interval: Duration::from_secs(3),
        ..broker::plan::store_options(config, cores)
    }
}
