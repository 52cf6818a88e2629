//! Request code to handler: the whole table. What is not in it is answered as RocketMQ does, with code 3.

use crate::error::Refusal;
use crate::handlers::{admin, broker, kv, route};
use crate::name_server::NameServer;
use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::Connection;
use std::rc::Rc;

/// Writes the fields of an answer.
type WriteFields = Box<dyn FnOnce(&mut HeaderWriter<'_>)>;

/// An answer to a request that was done.
#[derive(Default)]
pub(crate) struct Answer {
    fields: Option<WriteFields>,
    body: Bytes,
}

impl Answer {
    pub(crate) fn body(body: Vec<u8>) -> Answer {
        Answer {
            fields: None,
            body: body.into(),
        }
    }

    pub(crate) fn header(header: impl Header + 'static) -> Answer {
        Answer {
            fields: Some(Box::new(move |writer| header.encode(writer))),
            body: Bytes::new(),
        }
    }

    pub(crate) fn with_body(self, body: Vec<u8>) -> Answer {
        Answer {
            body: body.into(),
            ..self
        }
    }
}

/// Handles a request and answers it, unless it is oneway.
pub(crate) fn dispatch(server: &Rc<NameServer>, connection: &Rc<Connection>, request: Frame) {
    match request.request_code() {
        // These write files, so their answers come later.
        RequestCode::PUT_KV_CONFIG | RequestCode::DELETE_KV_CONFIG | RequestCode::UPDATE_NAMESRV_CONFIG => {
            let (server, connection) = (Rc::clone(server), Rc::clone(connection));
            runtime::spawn(async move {
                let done = save(&server, &request).await;
                answer(&connection, &request, done);
            });
        }
        _ => answer(connection, &request, handle(server, connection, &request)),
    }
}

async fn save(server: &Rc<NameServer>, request: &Frame) -> Result<Answer, Refusal> {
    match request.request_code() {
        RequestCode::PUT_KV_CONFIG => kv::put(server, request).await,
        RequestCode::DELETE_KV_CONFIG => kv::delete(server, request).await,
        _ => admin::update_config(server, request).await,
    }
}

fn handle(server: &Rc<NameServer>, connection: &Connection, request: &Frame) -> Result<Answer, Refusal> {
    match request.request_code() {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => route::get_route(server, request),
        RequestCode::REGISTER_BROKER => broker::register(server, connection, request),
        RequestCode::UNREGISTER_BROKER => broker::unregister(server, connection, request),
        RequestCode::BROKER_HEARTBEAT => broker::heartbeat(server, connection, request),
        RequestCode::QUERY_DATA_VERSION => broker::query_data_version(server, connection, request),
        RequestCode::GET_BROKER_MEMBER_GROUP => broker::member_group(server, request),
        RequestCode::REGISTER_TOPIC_IN_NAMESRV => broker::register_topic(server, request),
        RequestCode::GET_KV_CONFIG => kv::get(server, request),
        RequestCode::GET_KVLIST_BY_NAMESPACE => kv::list(server, request),
        RequestCode::GET_BROKER_CLUSTER_INFO => Ok(admin::cluster_info(server)),
        RequestCode::WIPE_WRITE_PERM_OF_BROKER => admin::wipe_write_perm(server, connection, request),
        RequestCode::ADD_WRITE_PERM_OF_BROKER => admin::add_write_perm(server, connection, request),
        RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => admin::all_topics(server),
        RequestCode::DELETE_TOPIC_IN_NAMESRV => admin::delete_topic(server, connection, request),
        RequestCode::GET_TOPICS_BY_CLUSTER => admin::topics_by_cluster(server, request),
        RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => Ok(admin::system_topics(server)),
        RequestCode::GET_UNIT_TOPIC_LIST => admin::unit_topics(server),
        RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST => admin::unit_sub_topics(server),
        RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => admin::unit_sub_ununit_topics(server),
        RequestCode::GET_NAMESRV_CONFIG => Ok(admin::get_config(server)),
        other => {
            let remark = format!(" request type {} not supported", other.0);
            Err(Refusal::rule(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark))
        }
    }
}

fn answer(connection: &Rc<Connection>, request: &Frame, done: Result<Answer, Refusal>) {
    if let Err(refusal) = &done {
        tracing::debug!(peer = %connection.peer(), code = %request.request_code(), cause = %refusal, "request refused");
    }
    if request.is_oneway() {
        return;
    }
    let (code, remark, answer) = match done {
        Ok(answer) => (ResponseCode::SUCCESS, None, answer),
        Err(refusal) => (refusal.code(), Some(refusal.to_string()), Answer::default()),
    };
    let body = answer.body;
    let body_size = body.len();
    connection.finish_request();
    let write = |out: &mut bytes::BytesMut| {
        let mut writer = HeaderWriter::response(out, request.serialize(), code, request.opaque());
        if let Some(remark) = &remark {
            writer.set_remark(remark);
        }
        if let Some(fields) = answer.fields {
            fields(&mut writer);
        }
        writer.finish(body_size)
    };
    if let Err(error) = connection.try_send_parts(write, [body]) {
        // More than a frame holds: better a clear refusal than a client that waits until its time limit.
        tracing::warn!(peer = %connection.peer(), code = %request.request_code(), %error, "answer too long");
        let refuse = |out: &mut bytes::BytesMut| {
            let code = ResponseCode::SYSTEM_ERROR;
            let writer = HeaderWriter::response(out, request.serialize(), code, request.opaque());
            writer.remark("the answer is longer than a frame may be").finish(0)
        };
        if let Err(error) = connection.try_send_parts(refuse, []) {
            tracing::error!(%error, "a short answer does not fit a frame");
        }
    }
}
