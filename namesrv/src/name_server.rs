//! What one name server is made of, its start and its stop.

use crate::config::{duration, rules};
use crate::dispatch::dispatch;
use crate::error::{Error, Refusal};
use crate::kv_config::KvConfig;
use crate::liveness;
use crate::route_table::{MinIdChange, RouteTable, Rules, Source};
use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::request_code::RequestCode;
use remoting::config_table::{Key, Origin, Settings};
use remoting::{CloseReason, Connection, Connections, Handler, Limits, NoRequests, RpcClient, properties_file, serve};
use runtime::machine;
use runtime::sync::{Notify, Semaphore};
use runtime::{Instant, JoinHandle, TcpListener, file, spawn};
use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// How long a stop waits for answers under way.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A running name server. It lives on one core.
pub struct NameServer {
    settings: RefCell<Settings>,
    /// Where changes of the settings are kept.
    settings_file: PathBuf,
    kv_file: PathBuf,
    /// Held by whoever writes a file.
    writing: Semaphore,
    kv: RefCell<KvConfig>,
    routes: RefCell<RouteTable>,
    brokers_changed: Notify,
    connections: Connections,
    brokers: RpcClient,
    address: SocketAddr,
    started: Instant,
    /// A route was found since the start, so brokers have registered.
    route_found: Cell<bool>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl NameServer {
    /// Starts a name server on this core. `config_file` is what `-c` named: changes at run time are kept there; `variable`
    /// gives environment variables, for paths that start with one.
    ///
    /// # Errors
    /// A port that is taken, paths that cannot be used, a KV config that cannot be read.
    pub async fn start(
        settings: Settings,
        config_file: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Rc<NameServer>, Error> {
        let kv_file = path(&settings, "kvConfigPath", &variable)?;
        let settings_file = match config_file {
            Some(file) => file,
            None => path(&settings, "configStorePath", &variable)?,
        };
        let kv = load_kv(&kv_file).await?;
        let listener = listen(&settings).await?;
        let address = listener.local_address().map_err(|error| Error::File {
            what: "cannot read the address of",
            path: "the listening socket".to_owned(),
            error,
        })?;
        let idle = duration(&settings, "serverChannelMaxIdleTimeSeconds", Duration::from_secs(1));
        let connections = Connections::new(Limits {
            idle,
            ..Limits::default()
        });
        let server = Rc::new(NameServer {
            settings: RefCell::new(settings),
            settings_file,
            kv_file,
            writing: Semaphore::new(1),
            kv: RefCell::new(kv),
            routes: RefCell::default(),
            brokers_changed: Notify::new(),
            brokers: RpcClient::new(connections.clone(), Rc::new(NoRequests)),
            connections,
            address,
            started: Instant::now(),
            route_found: Cell::new(false),
            tasks: RefCell::default(),
        });
        let handler = Rc::new(Requests(Rc::clone(&server)));
        let serving = serve(listener, server.connections.clone(), handler);
        server.tasks.borrow_mut().extend([
            spawn(async move {
                serving.await;
            }),
            spawn(liveness::watch(Rc::clone(&server))),
        ]);
        Ok(server)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new connections, answers under way are sent, all connections are closed.
    pub async fn stop(&self) {
        for task in self.tasks.take() {
            task.abort();
        }
        self.connections.close_all("the name server stops", STOP_LIMIT).await;
    }

    pub(crate) fn settings(&self) -> Ref<'_, Settings> {
        self.settings.borrow()
    }

    pub(crate) fn rules(&self) -> Rules {
        rules(&self.settings())
    }

    pub(crate) fn routes(&self) -> &RefCell<RouteTable> {
        &self.routes
    }

    pub(crate) fn kv(&self) -> &RefCell<KvConfig> {
        &self.kv
    }

    /// Whether routes are given out: brokers must have had time to register, if so configured.
    pub(crate) fn is_ready(&self) -> bool {
        let settings = self.settings();
        let wait = duration(&settings, "waitSecondsForService", Duration::from_secs(1));
        !settings.bool("needWaitForService") || self.route_found.get() || self.started.elapsed() >= wait
    }

    pub(crate) fn note_route_found(&self) {
        self.route_found.set(true);
    }

    pub(crate) fn brokers_changed(&self) {
        self.brokers_changed.notify_waiters();
    }

    pub(crate) async fn until_brokers_change(&self) {
        self.brokers_changed.notified().await;
    }

    /// Tells brokers of a new smallest id, if so configured. Nobody waits for it.
    pub(crate) fn notify_min_id_change(self: &Rc<Self>, change: Option<MinIdChange>) {
        let Some(change) = change.filter(|_change| self.settings().bool("notifyMinBrokerIdChanged")) else {
            return;
        };
        for address in change.tell {
            let (brokers, header) = (self.brokers.clone(), change.header.clone());
            spawn(async move {
                let code = RequestCode::NOTIFY_MIN_BROKER_ID_CHANGE;
                let told = brokers
                    .notify(&address, code, |writer| header.encode(writer), Bytes::new())
                    .await;
                if let Err(error) = told {
                    tracing::warn!(address, %error, "cannot tell a broker of a new smallest broker id");
                }
            });
        }
    }

    /// Writes the KV config to its file.
    pub(crate) async fn save_kv(&self) -> Result<(), Refusal> {
        // Never closed, so this waits for its turn and cannot fail.
        let _turn = self.writing.acquire().await;
        let bytes = self.kv.borrow().to_bytes();
        save(&self.kv_file, bytes).await
    }

    /// Changes settings that were checked, and keeps them.
    pub(crate) async fn change_settings(&self, changes: &[(&'static Key, String)]) -> Result<(), Refusal> {
        let _turn = self.writing.acquire().await;
        // A file that is not there yet is an empty one.
        let before = file::read(&self.settings_file).await.unwrap_or_default();
        let mut text = String::from_utf8_lossy(&before).into_owned();
        let broken = |error: properties_file::SyntaxError| Refusal::Save {
            path: self.settings_file.display().to_string(),
            error: std::io::Error::other(error),
        };
        for (key, value) in changes {
            text = properties_file::with_value(&text, key.name, value).map_err(broken)?;
        }
        save(&self.settings_file, text.into_bytes()).await?;
        for (key, value) in changes {
            self.settings.borrow_mut().set(key.name, value, Origin::Update)?;
            tracing::info!(key = key.name, value, "configuration changed");
        }
        Ok(())
    }
}

fn path(settings: &Settings, key: &'static str, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
    let found = settings.path(key, variable).map(PathBuf::from);
    found.ok_or_else(|| Error::Path {
        key,
        value: settings.text(key).to_owned(),
    })
}

async fn listen(settings: &Settings) -> Result<TcpListener, Error> {
    let bind = settings.text("bindAddress");
    let ip: IpAddr = bind
        .parse()
        .map_err(|_error| Error::BindAddress { value: bind.to_owned() })?;
    let address = SocketAddr::new(ip, settings.number("listenPort"));
    machine::when_free(machine::PORT_PATIENCE, || TcpListener::bind(address, false))
        .await
        .map_err(|error| Error::Listen { address, error })
}

async fn load_kv(path: &Path) -> Result<KvConfig, Error> {
    if !file::exists(path).await {
        return Ok(KvConfig::default());
    }
    let shown = || path.display().to_string();
    let bytes = file::read(path).await.map_err(|error| Error::File {
        what: "cannot read",
        path: shown(),
        error,
    })?;
    KvConfig::from_bytes(&bytes).map_err(|error| Error::KvConfig { path: shown(), error })
}

async fn save(path: &Path, bytes: Vec<u8>) -> Result<(), Refusal> {
    let work = async {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            file::create_directory(folder).await?;
        }
        file::replace(path, bytes).await
    };
    work.await.map_err(|error| Refusal::Save {
        path: path.display().to_string(),
        error,
    })
}

/// Takes the requests of all connections.
struct Requests(Rc<NameServer>);

impl Handler for Requests {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        dispatch(&self.0, connection, request);
    }

    fn on_close(&self, connection: &Rc<Connection>, _reason: &CloseReason) {
        let changes = self.0.routes.borrow_mut().close(Source(connection.id().as_u64()));
        changes
            .into_iter()
            .for_each(|change| self.0.notify_min_id_change(Some(change)));
    }
}

impl fmt::Debug for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
