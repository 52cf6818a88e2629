//! One broker: what it is made of, in the order in which it starts and stops.
//!
//! Start: the store is locked; every core opens its shards and takes its own metadata back; core 0 takes the control
//! tables back (an empty store takes those of Apache's files) and gives every core its replica; every core listens; core 0 registers with the name servers.
//! Stop: core 0 leaves the name servers, so that clients go elsewhere; every core stops listening, lets the requests that
//! are under way end, and closes its shards with a clean checkpoint.

use crate::control::Control;
use crate::core::{CONTROL_CORE, Core, CoreMessage, ShardMap};
use crate::delayed_messages;
use crate::dispatch::Service;
use crate::handlers::pull;
use crate::registration;
use crate::replicas::Replicas;
use crate::replication::agree::Comparison;
use crate::replication::reclaim::{EndedBadly, reclaim};
use crate::replication::{self, apache, follower, leader};
use crate::settings::Settings;
use crate::shard::CoreShard;
use crate::shard_metadata;
use crate::table_files::{TableFiles, import};
use engine::{Hooks, LogPosition, Recovered, Shard, StoreLayout};
use protocol::model::ShardId;
use remoting::{Connections, Limits, NoRequests, RpcClient};
use runtime::TcpListener;
use runtime::mailbox::Mailboxes;
use runtime::sync::Notify;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Requests that one core may be behind with before others answer its clients `[OVERLOAD]`.
const MAILBOX_CAPACITY: usize = 65_536;
/// How long a start may take to compare a slave's log with its master's.
const COMPARE_LIMIT: Duration = Duration::from_secs(10);
/// How long connections get to take their last answers when the broker stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] engine::Error),
    /// What the store's metadata says cannot be read.
    #[error("the metadata of shard {shard} cannot be read: {cause}")]
    Metadata {
        /// The shard.
        shard: ShardId,
        /// What is wrong.
        cause: String,
    },
    /// Files of another broker that were to be taken into an empty store.
    #[error("{0}")]
    Import(#[from] import::ImportError),
    /// An Apache master's place could not be taken.
    #[error("this broker cannot take over from the Apache master: {0}")]
    TakeOver(String),
    /// A port.
    #[error("cannot listen on {address}: {source}; is another broker running? listenPort={} and the port two below are needed", address.port())]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// All that the cores of one broker share: it crosses threads, nothing else of the broker does.
#[derive(Debug)]
pub struct Broker {
    settings: Arc<Settings>,
    layout: StoreLayout,
    map: ShardMap,
    mailboxes: Mailboxes<CoreMessage>,
    /// Cores that have opened their shards; cores that listen; cores that have stopped.
    opened: Steps,
    listening: Steps,
    stopped: Steps,
    stop: Notify,
    /// A start could not ask the master, and does not try again for each shard.
    master_away: AtomicBool,
    /// It is to be run once more after it has stopped.
    again: AtomicBool,
    ready: Notify,
    /// Whether any shard's log holds anything.
    has_history: AtomicBool,
    origin: Origin,
}

/// A core's shards, each at its number, and those of them that did not end in good order.
type OpenedShards = (Vec<Option<Rc<CoreShard>>>, Vec<EndedBadly>);

/// Where a broker's messages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From clients: it is a master.
    Clients,
    /// From the log of its master.
    Master,
    /// From an Apache master, whose place it is to take.
    ApacheMaster,
}

impl Broker {
    /// A broker on a store that has been prepared, to run on `cores` cores.
    #[must_use]
    pub fn new(settings: Settings, layout: StoreLayout, cores: usize) -> Arc<Broker> {
        let origin = if settings.is_slave() {
            Origin::Master
        } else {
            Origin::Clients
        };
        Broker::with_origin(settings, layout, cores, origin)
    }

    /// The same, of a slave whose master may be Apache's.
    #[must_use]
    pub fn with_origin(settings: Settings, layout: StoreLayout, cores: usize, origin: Origin) -> Arc<Broker> {
        let map = ShardMap::new(layout.shards(), cores);
        Arc::new(Broker {
            settings: Arc::new(settings),
            layout,
            map,
            mailboxes: Mailboxes::new(cores, MAILBOX_CAPACITY),
            opened: Steps::default(),
            listening: Steps::default(),
            stopped: Steps::default(),
            stop: Notify::new(),
            master_away: AtomicBool::new(false),
            again: AtomicBool::new(false),
            ready: Notify::new(),
            has_history: AtomicBool::new(false),
            origin,
        })
    }

    /// Asks the broker to stop; [`Broker::run_core`] then returns on every core.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Stops, to be prepared and run once more: a slave's log is to be cut, which only a start does.
    pub fn start_again(&self) {
        self.again.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether it has stopped to be run once more.
    #[must_use]
    pub fn starts_again(&self) -> bool {
        self.again.load(Ordering::Acquire)
    }

    /// Waits until the broker serves and has told the name servers so. For one waiter.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Runs one core until the broker stops. All cores must run, each on an event loop of its own.
    ///
    /// # Errors
    /// When the shards cannot be opened or the ports are taken: the other cores then wait for ever, so the process must
    /// end.
    pub async fn run_core(self: Arc<Self>, index: usize) -> Result<(), StartError> {
        let control = (index == CONTROL_CORE).then(|| Control::new(&self.settings));
        let connections = Connections::new(self.limits());
        let post = self.mailboxes.post(index);
        let core = Core::new(
            self.map,
            &self.settings,
            post,
            connections,
            Replicas::default(),
            control.clone(),
        );
        runtime::spawn(run_post(Rc::clone(&core)));
        runtime::spawn(Rc::clone(&core).run_inbox());
        let (shards, ended_badly) = self.open_shards(&core).await?;
        core.set_shards(shards);
        if self.origin == Origin::Clients {
            reclaim(&self.settings, self.layout.identity().store_id, &ended_badly).await;
            if core.own_shards().any(|shard| shard.engine.log_end().position > 0) {
                self.has_history.store(true, Ordering::Release);
            }
        }
        self.opened.done(&core, self.map.cores()).await;
        if let Some(control) = &control {
            // A slave takes everything from its master.
            let empty = !self.has_history.load(Ordering::Acquire) && !self.settings.is_slave();
            import::into_empty_store(&core, control, empty).await?;
            if self.origin == Origin::Clients {
                apache::takeover::take_over(&core, control)
                    .await
                    .map_err(StartError::TakeOver)?;
            }
            control.publish_all(&core);
        }
        // Deltas of the control tables are ahead of this in every mailbox.
        self.listening.done(&core, self.map.cores()).await;
        self.listen(&core)?;
        runtime::spawn(pull::expire_held_pulls(Rc::clone(&core)));
        Arc::clone(&self).start_role(&core)?;
        if let Some(control) = control {
            let files = TableFiles::new(&core, &control);
            runtime::spawn(Rc::clone(&files).keep());
            self.run_control(&core, &control).await;
            files.write_changed().await;
        }
        self.stopped.done(&core, self.map.cores()).await;
        close(&core).await
    }

    /// A slave copies its master; a master lets slaves in, delivers what is due, and keeps what its consumers say.
    fn start_role(self: Arc<Self>, core: &Rc<Core>) -> Result<(), StartError> {
        match self.origin {
            Origin::Master => {
                let store_id = self.layout.identity().store_id;
                for shard in core.own_shards() {
                    let (core, shard, this) = (Rc::clone(core), Rc::clone(shard), Arc::clone(&self));
                    runtime::spawn(follower::follow(core, shard, store_id, this));
                }
                // Its master wants the log, should that come back without the end of its own.
                if let Err(error) = self.serve_log(core) {
                    tracing::warn!(%error, "a master that loses the end of its log cannot have it from this slave");
                }
                return Ok(());
            }
            Origin::ApacheMaster => {
                for shard in core.own_shards() {
                    runtime::spawn(Rc::clone(shard).keep_consumer_offsets());
                }
                if let Some(control) = core.control() {
                    runtime::spawn(apache::copy::follow(Rc::clone(core)));
                    runtime::spawn(apache::tables::keep(Rc::clone(core), Rc::clone(control)));
                }
                return Ok(());
            }
            Origin::Clients => {}
        }
        self.serve_log(core)?;
        delayed_messages::start(core);
        for shard in core.own_shards() {
            runtime::spawn(Rc::clone(shard).keep_consumer_offsets());
        }
        Ok(())
    }

    /// Lets others copy the log, on the HA port.
    fn serve_log(&self, core: &Rc<Core>) -> Result<(), StartError> {
        let config = &self.settings.config;
        let listener = bind(&config.bind_address, config.ha_listen_port)?;
        runtime::spawn(leader::serve(Rc::clone(core), listener, self.layout.identity()));
        Ok(())
    }

    async fn run_control(&self, core: &Rc<Core>, control: &Rc<Control>) {
        let registration = registration::start(core, control);
        control.start_upkeep(core);
        registration.first_round().await;
        self.ready.notify_one();
        self.stop.notified().await;
        registration.leave().await;
    }

    /// Opens the shards of a core and takes back what their metadata says.
    async fn open_shards(&self, core: &Rc<Core>) -> Result<OpenedShards, StartError> {
        let mut ended_badly = Vec::new();
        let mut shards: Vec<Option<Rc<CoreShard>>> = self.map.shards().shards().map(|_shard| None).collect();
        for id in self.map.shards_of(core.index) {
            let opened: Rc<OnceCell<Weak<CoreShard>>> = Rc::default();
            let hooks = || hooks(&Rc::downgrade(core), &opened, &self.settings);
            let (engine, recovered) = self.open_shard(id, hooks).await?;
            let shard = CoreShard::new(id, engine, self.layout.options().in_memory_distance);
            shard_metadata::take_back(core, &shard, &recovered.metadata)
                .map_err(|cause| StartError::Metadata { shard: id, cause })?;
            if recovered.end > 0 || !recovered.metadata.is_empty() {
                self.has_history.store(true, Ordering::Release);
            }
            match self.origin {
                Origin::Clients => {}
                Origin::Master => shard.engine.follow(),
                Origin::ApacheMaster => shard.engine.set_importing(true),
            }
            for damage in &recovered.damage {
                tracing::error!(shard = id.get(), from = %damage.from, to = %damage.to, reason = damage.reason, "the store is damaged");
            }
            if self.origin == Origin::Master {
                shard_metadata::take_told_offsets(&self.settings, &shard).await;
            }
            let first = opened.set(Rc::downgrade(&shard));
            assert!(first.is_ok(), "shard {id} was opened twice");
            ended_badly.extend(EndedBadly::if_so(&shard, &recovered));
            if let Some(place) = shards.get_mut(id.index()) {
                *place = Some(shard);
            }
        }
        Ok((shards, ended_badly))
    }

    /// Opens a shard; that of a slave with an end that its master has lost is cut first.
    async fn open_shard(&self, id: ShardId, hooks: impl Fn() -> Hooks) -> Result<(Shard, Recovered), StartError> {
        let (shard, recovered) = Shard::open(&self.layout, id, hooks()).await?;
        let Some(at) = self.where_to_cut(&shard).await else {
            return Ok((shard, recovered));
        };
        shard.close().await?;
        drop(shard);
        let cut = engine::cut_log(&self.layout, id, at).await?;
        tracing::error!(
            shard = id.get(),
            position = at.position,
            bytes = cut.bytes,
            kept_in = %cut.kept_in.display(),
            "the end of the log was cut: the master has lost it and gone on; messages in it are in that file alone"
        );
        Ok(Shard::open(&self.layout, id, hooks()).await?)
    }

    /// Where the log of a slave must be cut, if its master can be asked now and says so.
    async fn where_to_cut(&self, shard: &Shard) -> Option<LogPosition> {
        let config = &self.settings.config;
        let away = self.master_away.load(Ordering::Acquire);
        if self.origin != Origin::Master || away || shard.log_end() == LogPosition::default() {
            return None;
        }
        let ask = async {
            let rpc = RpcClient::new(Connections::new(self.limits()), Rc::new(NoRequests));
            let found = replication::find(&self.settings, &rpc).await;
            let master = found
                .inspect_err(|_unknown| self.master_away.store(true, Ordering::Release))?
                .ha;
            let comparison = Comparison {
                master: &master,
                store_id: self.layout.identity().store_id,
                broker_id: u32::try_from(config.broker_id).unwrap_or(u32::MAX),
            };
            let found = comparison.where_to_cut(shard).await;
            found.map_err(|error| error.to_string())
        };
        match runtime::timeout(COMPARE_LIMIT, ask).await {
            Ok(Ok(at)) => at,
            // What is wrong is told when the copying begins.
            Ok(Err(problem)) => {
                tracing::info!(shard = shard.id().get(), problem, "not compared with the master yet");
                None
            }
            Err(_late) => {
                self.master_away.store(true, Ordering::Release);
                None
            }
        }
    }

    fn listen(&self, core: &Rc<Core>) -> Result<(), StartError> {
        let config = &self.settings.config;
        for (port, fast) in [(config.listen_port, false), (config.vip_port(), true)] {
            let listener = bind(&config.bind_address, port)?;
            let service = Service::new(Rc::clone(core), fast);
            runtime::spawn(remoting::serve(listener, core.connections.clone(), service));
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        let idle = Duration::from_secs(self.settings.config.server_channel_max_idle_time_seconds);
        Limits {
            idle,
            ..Limits::default()
        }
    }
}

/// A port that every core listens on.
fn bind(host: &str, port: u16) -> Result<TcpListener, StartError> {
    let address = format!("{host}:{port}");
    let address: SocketAddr = address
        .parse()
        .map_err(|error| StartError::Config(format!("bindAddress makes {address}: {error}")))?;
    TcpListener::bind(address, true).map_err(|source| StartError::Listen { address, source })
}

/// Cores that wait for each other.
#[derive(Debug, Default)]
struct Steps {
    cores: AtomicUsize,
    all: Notify,
}

impl Steps {
    /// This core is here; returns when all are. The last one wakes the others through their mailboxes' order.
    async fn done(&self, _core: &Core, cores: usize) {
        let waiting = self.all.notified();
        if self.cores.fetch_add(1, Ordering::AcqRel) + 1 == cores {
            self.all.notify_waiters();
        } else if self.cores.load(Ordering::Acquire) < cores {
            waiting.await;
        }
    }
}

async fn run_post(core: Rc<Core>) {
    core.run_post().await;
}

/// What the engine tells the broker about a shard. The core and the shard are there only after the shard is open. The engine's
/// shard holds the hooks and is held by the broker's: a strong handle here would keep both for ever.
fn hooks(core: &Weak<Core>, opened: &Rc<OnceCell<Weak<CoreShard>>>, settings: &Arc<Settings>) -> Hooks {
    let (commit_core, commit_shard) = (core.clone(), Rc::clone(opened));
    let (written_core, written_shard) = (core.clone(), Rc::clone(opened));
    let (copied_core, copied_shard) = (core.clone(), Rc::clone(opened));
    let (snapshot_core, snapshot_shard) = (core.clone(), Rc::clone(opened));
    let settings = Arc::clone(settings);
    Hooks {
        on_commit: Box::new(move |commit| {
            if let (Some(core), Some(shard)) = (commit_core.upgrade(), upgraded(&commit_shard)) {
                shard.on_commit(&core, commit);
            }
        }),
        on_written: Box::new(move |batch| {
            if let (Some(core), Some(shard)) = (written_core.upgrade(), upgraded(&written_shard)) {
                shard.on_written(&core, batch);
            }
        }),
        on_copied_metadata: Box::new(move |record| {
            if let (Some(core), Some(shard)) = (copied_core.upgrade(), upgraded(&copied_shard)) {
                shard_metadata::take_copied(&core, &shard, &record);
            }
        }),
        snapshot: Box::new(move || match (snapshot_core.upgrade(), upgraded(&snapshot_shard)) {
            (Some(core), Some(shard)) => shard_metadata::snapshot(&core, &shard),
            _ => Vec::new(),
        }),
        tag_hash: Box::new(move |record| delayed_messages::tag_hash_of(&settings, record)),
    }
}

fn upgraded(opened: &OnceCell<Weak<CoreShard>>) -> Option<Rc<CoreShard>> {
    opened.get()?.upgrade()
}

async fn close(core: &Rc<Core>) -> Result<(), StartError> {
    for shard in core.own_shards() {
        if shard.engine.follows()
            && let Err(error) = shard_metadata::keep_told_offsets(&core.settings(), shard).await
        {
            tracing::warn!(shard = shard.id.get(), %error, "what consumers have told this slave is not kept");
        }
        // What the last commits of consumers said must last too.
        if let Err(error) = shard.save_consumer_offsets().await {
            tracing::warn!(shard = shard.id.get(), %error, "consumer offsets were not saved at the end");
        }
    }
    for shard in core.own_shards() {
        // Sends under way get their answers.
        if let Err(error) = shard.engine.flush().await {
            tracing::warn!(shard = shard.id.get(), %error, "the last messages were not made durable");
        }
    }
    core.connections.close_all("the broker stops", DRAIN_LIMIT).await;
    for shard in core.own_shards() {
        shard.engine.close().await?;
    }
    Ok(())
}
