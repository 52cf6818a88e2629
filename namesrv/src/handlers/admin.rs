//! What people ask: cluster 106, permissions 205 and 327, topic lists 206, 224, 304, 311 to 313, topics 216, configuration
//! 318 and 319.

use crate::dispatch::Answer;
use crate::error::Refusal;
use crate::name_server::NameServer;
use crate::route_table::UnitFlags;
use protocol::body::to_java_json;
use protocol::body::topic::TopicList;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::name_server::{
    AddWritePermOfBrokerRequest, AddWritePermOfBrokerResponse, DeleteTopicFromNamesrvRequest,
    GetTopicsByClusterRequest, WipeWritePermOfBrokerRequest, WipeWritePermOfBrokerResponse,
};
use protocol::response_code::ResponseCode;
use remoting::Connection;

pub(crate) fn cluster_info(server: &NameServer) -> Answer {
    Answer::body(to_java_json(&server.routes().borrow().cluster_info()))
}

pub(crate) fn wipe_write_perm(
    server: &NameServer,
    connection: &Connection,
    request: &Frame,
) -> Result<Answer, Refusal> {
    let header = WipeWritePermOfBrokerRequest::decode(request.ext())?;
    let topics = server.routes().borrow_mut().wipe_write_perm(&header.broker_name);
    tracing::info!(broker_name = header.broker_name, topics, peer = %connection.peer(), "write permission wiped");
    Ok(Answer::header(WipeWritePermOfBrokerResponse {
        wipe_topic_count: count(topics),
    }))
}

pub(crate) fn add_write_perm(server: &NameServer, connection: &Connection, request: &Frame) -> Result<Answer, Refusal> {
    let header = AddWritePermOfBrokerRequest::decode(request.ext())?;
    let topics = server.routes().borrow_mut().add_write_perm(&header.broker_name);
    tracing::info!(broker_name = header.broker_name, topics, peer = %connection.peer(), "write permission added");
    Ok(Answer::header(AddWritePermOfBrokerResponse {
        add_topic_count: count(topics),
    }))
}

fn count(topics: usize) -> i32 {
    i32::try_from(topics).unwrap_or(i32::MAX)
}

pub(crate) fn all_topics(server: &NameServer) -> Result<Answer, Refusal> {
    allowed(server, "enableAllTopicList")?;
    Ok(list(&server.routes().borrow().all_topics()))
}

pub(crate) fn topics_by_cluster(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = GetTopicsByClusterRequest::decode(request.ext())?;
    allowed(server, "enableTopicList")?;
    Ok(list(&server.routes().borrow().topics_of_cluster(&header.cluster)))
}

pub(crate) fn system_topics(server: &NameServer) -> Answer {
    list(&server.routes().borrow().system_topics())
}

pub(crate) fn unit_topics(server: &NameServer) -> Result<Answer, Refusal> {
    topics_with_flag(server, UnitFlags::UNIT, UnitFlags::NONE)
}

pub(crate) fn unit_sub_topics(server: &NameServer) -> Result<Answer, Refusal> {
    topics_with_flag(server, UnitFlags::UNIT_SUB, UnitFlags::NONE)
}

pub(crate) fn unit_sub_ununit_topics(server: &NameServer) -> Result<Answer, Refusal> {
    topics_with_flag(server, UnitFlags::UNIT_SUB, UnitFlags::UNIT)
}

fn topics_with_flag(server: &NameServer, set: UnitFlags, unset: UnitFlags) -> Result<Answer, Refusal> {
    allowed(server, "enableTopicList")?;
    Ok(list(&server.routes().borrow().topics_with_flag(set, unset)))
}

fn allowed(server: &NameServer, key: &str) -> Result<(), Refusal> {
    if server.settings().bool(key) {
        return Ok(());
    }
    Err(Refusal::rule(ResponseCode::SYSTEM_ERROR, "disable"))
}

fn list(topics: &TopicList) -> Answer {
    Answer::body(to_java_json(topics))
}

pub(crate) fn delete_topic(server: &NameServer, connection: &Connection, request: &Frame) -> Result<Answer, Refusal> {
    let header = DeleteTopicFromNamesrvRequest::decode(request.ext())?;
    let cluster = header.cluster_name.as_deref().filter(|cluster| !cluster.is_empty());
    server.routes().borrow_mut().delete_topic(&header.topic, cluster);
    tracing::info!(topic = header.topic, cluster, peer = %connection.peer(), "topic deleted");
    Ok(Answer::default())
}

pub(crate) fn get_config(server: &NameServer) -> Answer {
    Answer::body(server.settings().to_text().into_bytes())
}

pub(crate) async fn update_config(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let not_text = || Refusal::rule(ResponseCode::SYSTEM_ERROR, "the body is not UTF-8 text");
    let text = std::str::from_utf8(request.body()).map_err(|_error| not_text())?;
    let changes = server.settings().check_update(text)?;
    if !changes.is_empty() {
        server.change_settings(&changes).await?;
    }
    Ok(Answer::default())
}
