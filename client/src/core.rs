//! The client itself: name servers, connections, routes.

use crate::error::Error;
use crate::route::Route;
use bytes::Bytes;
use protocol::body::heartbeat::{ConsumerData, HeartbeatData, ProducerData};
use protocol::body::route::TopicRouteData;
use protocol::body::{from_slice, to_java_json};
use protocol::ext::ExtFields;
use protocol::frame::Frame;
use protocol::header::name_server::GetRouteInfoRequest;
use protocol::header::{Header, HeaderError};
use protocol::header_writer::HeaderWriter;
use protocol::message::id::UniqueIdMaker;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::address::split_addresses;
use remoting::{Connections, Handler, Limits, NoRequests, RequestError, RpcClient};
use runtime::collections::{HashMap, hash_map};
use runtime::{Instant, JoinHandle};
use serde::de::DeserializeOwned;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// How long an answer is waited for, unless the client is told otherwise.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);
/// How long a route is used before it is asked for again: `pollNameServerInterval`.
const ROUTE_AGE_MAX: Duration = Duration::from_secs(30);
/// Time between heartbeats: `heartbeatBrokerInterval`.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// Routes that are kept.
const ROUTES_MAX: usize = 10_000;

/// The fields of a request that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoFields;

impl Header for NoFields {
    fn decode(_ext: ExtFields<'_>) -> Result<Self, HeaderError> {
        Ok(NoFields)
    }

    fn encode(&self, _writer: &mut HeaderWriter<'_>) {}
}

/// A client of a cluster. Cloning gives the same one.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    rpc: RpcClient,
    name_servers: Vec<String>,
    /// The name server that answered last.
    current: Cell<usize>,
    routes: RefCell<HashMap<String, (Instant, Rc<Route>)>>,
    limit: Cell<Duration>,
    unique_ids: RefCell<UniqueIdMaker>,
    client_id: String,
}

impl Client {
    /// A client of the cluster behind these name servers: `host:port`, several parted by `;`. Must be called on the core it
    /// will live on.
    ///
    /// # Errors
    /// [`Error::NoNameServer`] when none is given.
    pub fn new(namesrv_addr: &str) -> Result<Client, Error> {
        Client::with_handler(namesrv_addr, Rc::new(NoRequests))
    }

    /// The same, with somebody to take the requests that brokers send.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_handler(namesrv_addr: &str, handler: Rc<dyn Handler>) -> Result<Client, Error> {
        let name_servers = split_addresses(namesrv_addr);
        if name_servers.is_empty() {
            return Err(Error::NoNameServer);
        }
        // Random numbers stand for process id and loader: many clients of one process must not make equal ids.
        let [process, maker] = [runtime::rng::random_below(1 << 16), runtime::rng::random_below(1 << 32)]
            .map(|number| u32::try_from(number).unwrap_or(0));
        let ip = std::net::IpAddr::from([127, 0, 0, 1]);
        Ok(Client(Rc::new(Inner {
            rpc: RpcClient::new(Connections::new(Limits::default()), handler),
            name_servers,
            current: Cell::new(0),
            routes: RefCell::new(hash_map()),
            limit: Cell::new(REQUEST_LIMIT),
            unique_ids: RefCell::new(UniqueIdMaker::new(ip, process, maker)),
            client_id: format!("{ip}@{process}#{maker}"),
        })))
    }

    /// How long answers are waited for from now on.
    pub fn set_request_limit(&self, limit: Duration) {
        self.0.limit.set(limit);
    }

    /// How long answers are waited for.
    #[must_use]
    pub fn request_limit(&self) -> Duration {
        self.0.limit.get()
    }

    /// The name of this client in heartbeats.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// The connections to servers.
    #[must_use]
    pub fn rpc(&self) -> &RpcClient {
        &self.0.rpc
    }

    /// A new unique id of a message: 32 hexadecimal digits.
    #[must_use]
    pub fn unique_id(&self) -> String {
        self.0
            .unique_ids
            .borrow_mut()
            .make(runtime::wall_clock_ms())
            .to_string()
    }

    /// Sends a request to a server and gives its answer, whatever its code.
    ///
    /// # Errors
    /// [`Error::NoAnswer`].
    pub async fn ask_any(
        &self,
        address: &str,
        request: RequestCode,
        header: &impl Header,
        body: Bytes,
    ) -> Result<Frame, Error> {
        self.ask_within(address, request, header, body, self.request_limit())
            .await
    }

    pub(crate) async fn ask_within(
        &self,
        address: &str,
        request: RequestCode,
        header: &impl Header,
        body: Bytes,
        limit: Duration,
    ) -> Result<Frame, Error> {
        let answer = self
            .0
            .rpc
            .invoke(address, request, |writer| header.encode(writer), body, limit)
            .await;
        answer.map_err(|error| no_answer(request, address, error))
    }

    /// Sends a request to a server and gives its answer.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], and [`Error::Refused`] for any code but SUCCESS.
    pub async fn ask(
        &self,
        address: &str,
        request: RequestCode,
        header: &impl Header,
        body: Bytes,
    ) -> Result<Frame, Error> {
        success(request, address, self.ask_any(address, request, header, body).await?)
    }

    /// The same for an answer whose fields are wanted.
    ///
    /// # Errors
    /// As [`Client::ask`], and [`Error::BadHeader`].
    pub async fn ask_for_fields<A: Header>(
        &self,
        address: &str,
        request: RequestCode,
        header: &impl Header,
    ) -> Result<A, Error> {
        let answer = self.ask(address, request, header, Bytes::new()).await?;
        A::decode(answer.ext()).map_err(|error| Error::BadHeader {
            request,
            address: address.to_owned(),
            error,
        })
    }

    /// The same for an answer whose JSON body is wanted.
    ///
    /// # Errors
    /// As [`Client::ask`], and [`Error::BadBody`].
    pub async fn ask_for_body<A: DeserializeOwned>(
        &self,
        address: &str,
        request: RequestCode,
        header: &impl Header,
    ) -> Result<A, Error> {
        let answer = self.ask(address, request, header, Bytes::new()).await?;
        body_of(request, address, &answer)
    }

    /// Asks the name servers, one after the other, until one answers; it is asked first from then on.
    ///
    /// # Errors
    /// [`Error::Refused`] by the one that answered, or [`Error::NoAnswer`] of the last if none did.
    pub async fn ask_name_server(
        &self,
        request: RequestCode,
        header: &impl Header,
        body: Bytes,
    ) -> Result<(String, Frame), Error> {
        let (servers, first) = (&self.0.name_servers, self.0.current.get());
        let mut failure = Error::NoNameServer;
        for (place, address) in servers.iter().enumerate().cycle().skip(first).take(servers.len()) {
            match self.ask_any(address, request, header, body.clone()).await {
                Ok(answer) => {
                    self.0.current.set(place);
                    return Ok((address.clone(), success(request, address, answer)?));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Every name server's address.
    #[must_use]
    pub fn name_servers(&self) -> &[String] {
        &self.0.name_servers
    }

    /// The route of a topic, at most 30 s old.
    ///
    /// # Errors
    /// As [`Client::fresh_route`].
    pub async fn route(&self, topic: &str) -> Result<Rc<Route>, Error> {
        let known = self.0.routes.borrow().get(topic).cloned();
        match known {
            Some((when, route)) if when.elapsed() < ROUTE_AGE_MAX => Ok(route),
            _ => self.fresh_route(topic).await,
        }
    }

    /// The route of a topic, asked for now.
    ///
    /// # Errors
    /// [`Error::Refused`] with TOPIC_NOT_EXIST when no broker has the topic, and as [`Client::ask_name_server`].
    pub async fn fresh_route(&self, topic: &str) -> Result<Rc<Route>, Error> {
        let data = self.route_data(topic).await?;
        let route = Rc::new(Route::new(topic, &data, i32::MAX));
        self.keep_route(topic, &route);
        Ok(route)
    }

    /// Forgets the route of a topic, since it was wrong.
    pub fn forget_route(&self, topic: &str) {
        self.0.routes.borrow_mut().remove(topic);
    }

    pub(crate) fn keep_route(&self, topic: &str, route: &Rc<Route>) {
        let mut routes = self.0.routes.borrow_mut();
        if routes.len() >= ROUTES_MAX {
            routes.clear();
        }
        routes.insert(topic.to_owned(), (Instant::now(), Rc::clone(route)));
    }

    pub(crate) async fn route_data(&self, topic: &str) -> Result<TopicRouteData, Error> {
        let request = RequestCode::GET_ROUTEINFO_BY_TOPIC;
        let header = GetRouteInfoRequest {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
        };
        let (address, answer) = self.ask_name_server(request, &header, Bytes::new()).await?;
        body_of(request, &address, &answer)
    }

    /// Tells a broker which groups this client has.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn heartbeat(
        &self,
        address: &str,
        producer_groups: &[String],
        consumers: &[ConsumerData],
    ) -> Result<Frame, Error> {
        let data = HeartbeatData {
            client_id: self.0.client_id.clone(),
            producer_data_set: producer_groups
                .iter()
                .map(|name| ProducerData {
                    group_name: name.clone(),
                })
                .collect(),
            consumer_data_set: consumers.to_vec(),
            ..HeartbeatData::default()
        };
        self.ask(address, RequestCode::HEART_BEAT, &NoFields, to_java_json(&data).into())
            .await
    }

    /// Sends heartbeats to the masters of a topic until the handle is aborted.
    #[must_use]
    pub fn keep_alive(
        &self,
        topic: &str,
        producer_groups: Vec<String>,
        consumers: Vec<ConsumerData>,
    ) -> JoinHandle<()> {
        let (client, topic) = (self.clone(), topic.to_owned());
        runtime::spawn(async move {
            loop {
                if let Ok(route) = client.route(&topic).await {
                    for broker_name in route.brokers.keys() {
                        let Some(address) = route.master(broker_name) else {
                            continue;
                        };
                        if let Err(error) = client.heartbeat(address, &producer_groups, &consumers).await {
                            tracing::warn!(address, %error, "heartbeat failed");
                        }
                    }
                }
                runtime::sleep(HEARTBEAT_INTERVAL).await;
            }
        })
    }
}

pub(crate) fn no_answer(request: RequestCode, address: &str, error: RequestError) -> Error {
    Error::NoAnswer {
        request,
        address: address.to_owned(),
        error,
    }
}

pub(crate) fn success(request: RequestCode, address: &str, answer: Frame) -> Result<Frame, Error> {
    match answer.response_code() {
        ResponseCode::SUCCESS => Ok(answer),
        _ => Err(Error::refused(request, address, &answer)),
    }
}

pub(crate) fn body_of<A: DeserializeOwned>(request: RequestCode, address: &str, answer: &Frame) -> Result<A, Error> {
    from_slice(answer.body()).map_err(|error| Error::BadBody {
        request,
        address: address.to_owned(),
        error,
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name_servers", &self.0.name_servers)
            .finish_non_exhaustive()
    }
}
