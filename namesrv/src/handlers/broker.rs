//! What brokers say: registration 103, leaving 104, topics 217, data version 322, group 901, heartbeat 904.

use crate::dispatch::Answer;
use crate::error::Refusal;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::name_server::NameServer;
use crate::route_table::{BrokerAddress, Registered, Registration, Source};
use protocol::body::register::{RegisterBrokerBody, body_crc32};
use protocol::body::route::{GetBrokerMemberGroupResponseBody, TopicRouteData};
use protocol::body::topic::DataVersion;
use protocol::body::{from_slice, to_java_json};
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::name_server::{
    BrokerHeartbeatRequest, GetBrokerMemberGroupRequest, QueryDataVersionRequest, QueryDataVersionResponse,
    RegisterBrokerRequest, RegisterBrokerResponse, RegisterTopicRequest, UnregisterBrokerRequest,
};
use protocol::response_code::ResponseCode;
use protocol::version::Version;
use remoting::Connection;
use runtime::Instant;
use std::rc::Rc;
use std::time::Duration;

/// Ext field of a registration: the zone of the broker.
const ZONE_NAME: &str = "__ZONE_NAME";

/// What a broker hears whose registration changes nothing.
const NO_MASTER: RegisterBrokerResponse = RegisterBrokerResponse {
    ha_server_addr: None,
    master_addr: None,
};

pub(crate) fn register(server: &Rc<NameServer>, connection: &Connection, request: &Frame) -> Result<Answer, Refusal> {
    let header = RegisterBrokerRequest::decode(request.ext())?;
    if header.body_crc32 != 0 && header.body_crc32 != body_crc32(request.body()) {
        tracing::warn!(peer = %connection.peer(), "registration with a wrong checksum");
        return Err(Refusal::rule(ResponseCode::SYSTEM_ERROR, "crc32 not match"));
    }
    let body = body_of(request, header.compressed)?;
    let registration = Registration {
        broker: BrokerAddress {
            cluster: header.cluster_name,
            address: header.broker_addr,
        },
        broker_name: header.broker_name,
        broker_id: header.broker_id,
        ha_address: header.ha_server_addr,
        zone_name: request.ext().get(ZONE_NAME).map(|zone| zone.into_cow().into_owned()),
        heartbeat_timeout: header.heartbeat_timeout_millis.and_then(milliseconds),
        enable_acting_master: header.enable_acting_master,
        body,
        source: source_of(connection),
    };
    let (broker_name, address) = (registration.broker_name.clone(), registration.broker.address.clone());
    let done = server
        .routes()
        .borrow_mut()
        .register(registration, server.rules(), Instant::now())?;
    let answer = match done {
        Registered::Accepted { answer, change } => {
            server.brokers_changed();
            server.notify_min_id_change(change);
            answer
        }
        Registered::OutOfDate => {
            tracing::warn!(
                broker_name,
                address,
                "registration ignored: another address holds the id with a newer state"
            );
            NO_MASTER
        }
        Registered::Late => {
            tracing::info!(broker_name, address, peer = %connection.peer(), "late registration ignored");
            NO_MASTER
        }
        Registered::NotRegisteredYet => {
            return Err(Refusal::rule(ResponseCode::SYSTEM_ERROR, "register broker failed"));
        }
    };
    let answer = Answer::header(answer);
    if !server.settings().bool("returnOrderTopicConfigToBroker") {
        return Ok(answer);
    }
    let order = server.kv().borrow().list(ORDER_TOPIC_CONFIG);
    Ok(match order {
        Some(table) => answer.with_body(to_java_json(&table)),
        None => answer,
    })
}

fn body_of(request: &Frame, compressed: bool) -> Result<RegisterBrokerBody, Refusal> {
    if request.body().is_empty() {
        return Ok(RegisterBrokerBody::default());
    }
    if request.version() < Version::V3_0_11 {
        // Brokers that old send the topics alone.
        let topic_config_serialize_wrapper = from_slice(request.body())?;
        return Ok(RegisterBrokerBody {
            topic_config_serialize_wrapper,
            ..RegisterBrokerBody::default()
        });
    }
    Ok(RegisterBrokerBody::decode(
        request.body(),
        compressed,
        request.version(),
    )?)
}

fn milliseconds(value: i64) -> Option<Duration> {
    u64::try_from(value).ok().map(Duration::from_millis)
}

fn source_of(connection: &Connection) -> Source {
    Source(connection.id().as_u64())
}

pub(crate) fn unregister(server: &Rc<NameServer>, connection: &Connection, request: &Frame) -> Result<Answer, Refusal> {
    let header = UnregisterBrokerRequest::decode(request.ext())?;
    let broker = BrokerAddress {
        cluster: header.cluster_name,
        address: header.broker_addr,
    };
    let (removed, change) =
        server
            .routes()
            .borrow_mut()
            .unregister(&broker, &header.broker_name, source_of(connection));
    if !removed {
        let (address, peer) = (broker.address, connection.peer());
        tracing::info!(broker_name = header.broker_name, address, %peer, "late unregister ignored");
    }
    server.notify_min_id_change(change);
    Ok(Answer::default())
}

pub(crate) fn heartbeat(server: &NameServer, connection: &Connection, request: &Frame) -> Result<Answer, Refusal> {
    let header = BrokerHeartbeatRequest::decode(request.ext())?;
    let broker = BrokerAddress {
        cluster: header.cluster_name,
        address: header.broker_addr,
    };
    server
        .routes()
        .borrow_mut()
        .heartbeat(&broker, source_of(connection), Instant::now());
    Ok(Answer::default())
}

pub(crate) fn query_data_version(
    server: &NameServer,
    connection: &Connection,
    request: &Frame,
) -> Result<Answer, Refusal> {
    let header = QueryDataVersionRequest::decode(request.ext())?;
    let asked: DataVersion = from_slice(request.body())?;
    let broker = BrokerAddress {
        cluster: header.cluster_name,
        address: header.broker_addr,
    };
    let mut routes = server.routes().borrow_mut();
    let known = routes.data_version(&broker);
    routes.heartbeat(&broker, source_of(connection), Instant::now());
    let answer = Answer::header(QueryDataVersionResponse {
        changed: known != Some(asked),
    });
    Ok(match known {
        Some(known) => answer.with_body(to_java_json(&known)),
        None => answer,
    })
}

pub(crate) fn member_group(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = GetBrokerMemberGroupRequest::decode(request.ext())?;
    let group = server
        .routes()
        .borrow()
        .member_group(&header.cluster_name, &header.broker_name);
    Ok(Answer::body(to_java_json(&GetBrokerMemberGroupResponseBody {
        broker_member_group: Some(group),
    })))
}

pub(crate) fn register_topic(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = RegisterTopicRequest::decode(request.ext())?;
    let route: TopicRouteData = from_slice(request.body())?;
    if !route.queue_datas.is_empty() {
        server
            .routes()
            .borrow_mut()
            .register_topic(&header.topic, &route.queue_datas)?;
    }
    Ok(Answer::default())
}
