//! Requests to other servers, over one connection to each, which is made when it is needed and made again when it broke.
//!
//! Many requests share a connection; answers find them by opaque. Requests that come while a connection is being made wait
//! for that one attempt. After a failed attempt the address is left alone for a while, longer with each failure, so that a
//! server that is down costs its clients nothing; requests fail at once meanwhile, with the cause of the last failure.

use crate::address::resolve;
use crate::connection::{CloseReason, Connection, Handler};
use crate::connections::Connections;
use crate::pending::RequestError;
use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use runtime::Instant;
use runtime::collections::{HashMap, hash_map};
use runtime::sync::Semaphore;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Time limit of one attempt to connect: `connectTimeoutMillis`.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// First and longest pause after a failed attempt.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Servers that are remembered; beyond it, those without a connection are forgotten.
const SERVERS_MAX: usize = 4096;

/// Connections to other servers. Cloning gives the same ones.
#[derive(Clone)]
pub struct RpcClient(Rc<Inner>);

struct Inner {
    connections: Connections,
    handler: Rc<dyn Handler>,
    servers: RefCell<HashMap<String, Rc<Server>>>,
}

struct Server {
    /// Held by whoever makes the connection.
    gate: Semaphore,
    connection: RefCell<Option<Rc<Connection>>>,
    failures: Cell<u32>,
    failure: RefCell<Option<(Instant, RequestError)>>,
}

/// Answers nothing: for a client whose servers send no requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRequests;

impl Handler for NoRequests {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        tracing::debug!(peer = %connection.peer(), code = %request.request_code(), "request dropped");
        if !request.is_oneway() {
            connection.finish_request();
        }
    }
}

impl RpcClient {
    /// A client whose connections live in `connections`, and whose servers' own requests go to `handler`.
    #[must_use]
    pub fn new(connections: Connections, handler: Rc<dyn Handler>) -> RpcClient {
        RpcClient(Rc::new(Inner {
            connections,
            handler,
            servers: RefCell::new(hash_map()),
        }))
    }

    /// The connection to a server, made if there is none.
    ///
    /// # Errors
    /// [`RequestError::Connect`] when it cannot be made, or could not shortly before.
    pub async fn connection(&self, address: &str) -> Result<Rc<Connection>, RequestError> {
        let server = self.server(address);
        if let Some(connection) = server.open_connection() {
            return Ok(connection);
        }
        // Never closed, so this waits for the gate and cannot fail.
        let _gate = server.gate.acquire().await;
        if let Some(connection) = server.open_connection() {
            return Ok(connection);
        }
        server.check_pause()?;
        let attempt = self.connect(address).await;
        match &attempt {
            Ok(connection) => {
                server.failures.set(0);
                *server.connection.borrow_mut() = Some(Rc::clone(connection));
            }
            Err(error) => server.note_failure(error),
        }
        attempt
    }

    /// Sends a request to a server and waits for the answer, at most `limit`, connecting included.
    ///
    /// # Errors
    /// When the server cannot be reached, or the answer does not come in time or before the connection ends.
    pub async fn invoke(
        &self,
        address: &str,
        code: RequestCode,
        header: impl FnOnce(&mut HeaderWriter<'_>),
        body: Bytes,
        limit: Duration,
    ) -> Result<Frame, RequestError> {
        let work = async {
            let connection = self.connection(address).await?;
            connection.request(code, header, body)?.await
        };
        match runtime::timeout(limit, work).await {
            Ok(answered) => answered,
            Err(_elapsed) => Err(RequestError::TimedOut { limit }),
        }
    }

    /// Sends a oneway request to a server.
    ///
    /// # Errors
    /// When the server cannot be reached. That it went out does not say that it arrived.
    pub async fn notify(
        &self,
        address: &str,
        code: RequestCode,
        header: impl FnOnce(&mut HeaderWriter<'_>),
        body: Bytes,
    ) -> Result<(), RequestError> {
        self.connection(address).await?.notify(code, header, body)
    }

    /// The open connection to a server, if there is one.
    #[must_use]
    pub fn open_connection(&self, address: &str) -> Option<Rc<Connection>> {
        self.0
            .servers
            .borrow()
            .get(address)
            .and_then(|server| server.open_connection())
    }

    /// Ends the connection to a server; the next request makes a new one.
    pub fn disconnect(&self, address: &str) {
        if let Some(connection) = self.open_connection(address) {
            connection.close(CloseReason::Ours("the client disconnects"));
        }
    }

    /// The connections of this client's core.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.0.connections
    }

    fn server(&self, address: &str) -> Rc<Server> {
        let mut servers = self.0.servers.borrow_mut();
        if let Some(server) = servers.get(address) {
            return Rc::clone(server);
        }
        if servers.len() >= SERVERS_MAX {
            // A server that somebody is connecting to is also held by that task.
            servers.retain(|_address, server| server.open_connection().is_some() || Rc::strong_count(server) > 1);
        }
        let server = Rc::new(Server {
            gate: Semaphore::new(1),
            connection: RefCell::new(None),
            failures: Cell::new(0),
            failure: RefCell::new(None),
        });
        servers.insert(address.to_owned(), Rc::clone(&server));
        server
    }

    async fn connect(&self, address: &str) -> Result<Rc<Connection>, RequestError> {
        let refused = |cause: String| RequestError::Connect {
            address: address.to_owned(),
            cause,
        };
        let work = async {
            let peer = resolve(address).await?;
            self.0.connections.connect(peer, Rc::clone(&self.0.handler)).await
        };
        match runtime::timeout(CONNECT_LIMIT, work).await {
            Ok(made) => made.map_err(|error| refused(error.to_string())),
            Err(_elapsed) => Err(refused(format!("no answer within {CONNECT_LIMIT:?}"))),
        }
    }
}

impl Server {
    fn open_connection(&self) -> Option<Rc<Connection>> {
        let mut slot = self.connection.borrow_mut();
        if slot.as_ref().is_some_and(|connection| connection.is_closed()) {
            *slot = None;
        }
        slot.clone()
    }

    fn check_pause(&self) -> Result<(), RequestError> {
        match &*self.failure.borrow() {
            Some((until, error)) if Instant::now() < *until => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn note_failure(&self, error: &RequestError) {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        let pause = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
        *self.failure.borrow_mut() = Some((Instant::now() + pause, error.clone()));
    }
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient")
            .field("servers", &self.0.servers.borrow().len())
            .finish_non_exhaustive()
    }
}
