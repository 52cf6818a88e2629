//! KV config: codes 100, 101, 102, 219. A change is answered when it is in the file.

use crate::dispatch::Answer;
use crate::error::Refusal;
use crate::name_server::NameServer;
use protocol::body::to_java_json;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::name_server::{
    DeleteKvConfigRequest, GetKvConfigRequest, GetKvConfigResponse, GetKvListByNamespaceRequest, PutKvConfigRequest,
};
use protocol::response_code::ResponseCode;

pub(crate) async fn put(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = PutKvConfigRequest::decode(request.ext())?;
    server
        .kv()
        .borrow_mut()
        .put(&header.namespace, &header.key, &header.value)?;
    tracing::info!(namespace = header.namespace, key = header.key, "KV config set");
    server.save_kv().await?;
    Ok(Answer::default())
}

pub(crate) async fn delete(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = DeleteKvConfigRequest::decode(request.ext())?;
    server.kv().borrow_mut().delete(&header.namespace, &header.key);
    tracing::info!(namespace = header.namespace, key = header.key, "KV config deleted");
    server.save_kv().await?;
    Ok(Answer::default())
}

pub(crate) fn get(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = GetKvConfigRequest::decode(request.ext())?;
    match server.kv().borrow().get(&header.namespace, &header.key) {
        Some(value) => Ok(Answer::header(GetKvConfigResponse {
            value: Some(value.to_owned()),
        })),
        None => {
            let remark = format!("No config item, Namespace: {} Key: {}", header.namespace, header.key);
            Err(Refusal::rule(ResponseCode::QUERY_NOT_FOUND, remark))
        }
    }
}

pub(crate) fn list(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = GetKvListByNamespaceRequest::decode(request.ext())?;
    match server.kv().borrow().list(&header.namespace) {
        Some(table) => Ok(Answer::body(to_java_json(&table))),
        None => {
            let remark = format!("No config item, Namespace: {}", header.namespace);
            Err(Refusal::rule(ResponseCode::QUERY_NOT_FOUND, remark))
        }
    }
}
