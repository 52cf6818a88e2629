//! Who is connected, for people and tools; and asking a consumer itself. On core 0.

use crate::clients::{Channel, Client};
use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use bytes::Bytes;
use protocol::body::group::QuerySubscriptionResponseBody;
use protocol::body::json::to_java_json;
use protocol::body::lenient;
use protocol::body::offset::GetConsumerStatusBody;
use protocol::body::queue::WireQueue;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::group::{
    ConsumeMessageDirectlyRequest, GetConsumerConnectionListRequest, GetConsumerRunningInfoRequest,
    GetProducerConnectionListRequest, QuerySubscriptionByConsumerRequest,
};
use protocol::header::offset::GetConsumerStatusRequest;
use protocol::header_writer::HeaderWriter;
use protocol::message::id::OffsetMessageId;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use runtime::Instant;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long a consumer that is asked may take.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);

/// GET_CONSUMER_CONNECTION_LIST.
pub async fn consumers(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetConsumerConnectionListRequest::decode(request.frame.ext())?;
    let connection = control.consumer_groups.borrow().connection(&header.consumer_group);
    let connection = connection
        .ok_or_else(|| Error::ConsumerNotOnline(format!("the consumer group[{}] not online", header.consumer_group)))?;
    Ok(Answer::body(to_java_json(&connection)))
}

/// GET_PRODUCER_CONNECTION_LIST.
pub async fn producers(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetProducerConnectionListRequest::decode(request.frame.ext())?;
    let connection = control.producer_groups.borrow().connection(&header.producer_group);
    let connection =
        connection.ok_or_else(|| Error::System(format!("the producer group[{}] not exist", header.producer_group)))?;
    Ok(Answer::body(to_java_json(&connection)))
}

/// GET_ALL_PRODUCER_INFO.
pub async fn all_producers(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let table = control
        .producer_groups
        .borrow()
        .table(Instant::now(), runtime::wall_clock_ms());
    Ok(Answer::body(to_java_json(&table)))
}

/// QUERY_SUBSCRIPTION_BY_CONSUMER.
pub async fn subscription(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = QuerySubscriptionByConsumerRequest::decode(request.frame.ext())?;
    let topic = header.topic.unwrap_or_default();
    let subscription_data = control
        .consumer_groups
        .borrow()
        .subscription(&header.group, &topic)
        .map(|data| (**data).clone());
    let body = QuerySubscriptionResponseBody {
        group: header.group,
        subscription_data,
        topic,
    };
    Ok(Answer::body(to_java_json(&body)))
}

/// GET_CONSUMER_RUNNING_INFO: what a consumer says of itself.
pub async fn running_info(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = GetConsumerRunningInfoRequest::decode(request.frame.ext())?;
    let client = client_of(&core, &header.consumer_group, &header.client_id)?;
    let fields = header.clone();
    let fill = move |out: &mut HeaderWriter<'_>| fields.encode(out);
    ask_client(
        &core,
        &client,
        RequestCode::GET_CONSUMER_RUNNING_INFO,
        fill,
        Bytes::new(),
    )
    .await
}

/// INVOKE_BROKER_TO_GET_CONSUMER_STATUS: where each member of a group, or the one that is named, is in the queues it holds; they
/// are asked themselves. One that does not answer is left out.
pub async fn consumer_status(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetConsumerStatusRequest::decode(request.frame.ext())?;
    let wanted = header
        .client_addr
        .as_deref()
        .filter(|client_id| !client_id.trim().is_empty());
    let clients: Vec<Client<Channel>> = control
        .consumer_groups
        .borrow()
        .clients(&header.group)
        .cloned()
        .collect();
    if clients.is_empty() {
        let group = &header.group;
        return Err(Error::System(format!(
            "No Any Consumer online in the consumer group: [{group}]"
        )));
    }
    let asked: Vec<_> = clients
        .into_iter()
        .filter(|client| wanted.is_none_or(|wanted| *client.client_id == *wanted))
        .map(|client| {
            let (core, header) = (Rc::clone(&core), header.clone());
            runtime::spawn(async move { (client.client_id.to_string(), status_of(&core, &client, header).await) })
        })
        .collect();
    let mut body = GetConsumerStatusBody::default();
    for one in asked {
        match one.await {
            Some((client_id, Ok(queues))) => drop(body.consumer_table.insert(client_id, queues)),
            Some((client_id, Err(error))) => {
                tracing::warn!(group = header.group, client_id, %error, "a consumer does not say where it is");
            }
            None => return Err(Error::stopping()),
        }
    }
    Ok(Answer::body(to_java_json(&body)))
}

async fn status_of(
    core: &Rc<Core>,
    client: &Client<Channel>,
    header: GetConsumerStatusRequest,
) -> Result<BTreeMap<WireQueue, i64>, Error> {
    let fill = move |out: &mut HeaderWriter<'_>| header.encode(out);
    let code = RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT;
    let answer = invoke(core, client, code, fill, Bytes::new()).await?;
    if answer.response_code() != ResponseCode::SUCCESS {
        return Err(Error::System(answer.remark().unwrap_or_default().into_owned()));
    }
    let body: GetConsumerStatusBody = lenient::from_slice(answer.body()).map_err(|error| Error::Body {
        request: "GET_CONSUMER_STATUS_FROM_CLIENT",
        cause: error.to_string(),
    })?;
    Ok(body.message_queue_table)
}

/// CONSUME_MESSAGE_DIRECTLY: a consumer handles one message now, wherever its group is.
pub async fn consume_directly(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = ConsumeMessageDirectlyRequest::decode(request.frame.ext())?;
    let client_id = header.client_id.clone().unwrap_or_default();
    let client = client_of(&core, &header.consumer_group, &client_id)?;
    let id = header.msg_id.clone().unwrap_or_default();
    let place = OffsetMessageId::decode(&id)
        .map_err(|error| Error::InvalidParameter(format!("msgId {id}: {error}")))?
        .physical_offset;
    let record = core
        .ask(core.map.core_of(place.shard()), move |core| async move {
            let shard = core.shard(place.shard()).cloned().ok_or_else(Error::stopping)?;
            shard
                .engine
                .record_at(place)
                .await
                .map_err(|error| Error::store("reading the message", &error))
        })
        .await
        .ok_or_else(Error::stopping)??;
    let record = record.ok_or_else(|| Error::System(format!("can not find message by the offset, {place}")))?;
    let fields = header.clone();
    let fill = move |out: &mut HeaderWriter<'_>| fields.encode(out);
    ask_client(&core, &client, RequestCode::CONSUME_MESSAGE_DIRECTLY, fill, record).await
}

fn client_of(core: &Core, group: &str, client_id: &str) -> Result<Client<Channel>, Error> {
    let control = super::control_of(core)?;
    let client = control.consumer_groups.borrow().client(group, client_id).cloned();
    client.ok_or_else(|| Error::System(format!("The Consumer <{group}> <{client_id}> not online")))
}

/// Asks a client and passes its answer on.
async fn ask_client(
    core: &Rc<Core>,
    client: &Client<Channel>,
    code: RequestCode,
    fill: impl FnOnce(&mut HeaderWriter<'_>) + Send + 'static,
    body: Bytes,
) -> Outcome {
    let answer = invoke(core, client, code, fill, body).await?;
    if answer.response_code() == ResponseCode::SUCCESS {
        return Ok(Answer::body(answer.into_body()));
    }
    let remark = answer.remark().unwrap_or_default().into_owned();
    Ok(Answer::done().with_code(answer.response_code(), remark))
}

/// Asks a client, on the core that has its connection.
async fn invoke(
    core: &Rc<Core>,
    client: &Client<Channel>,
    code: RequestCode,
    fill: impl FnOnce(&mut HeaderWriter<'_>) + Send + 'static,
    body: Bytes,
) -> Result<Frame, Error> {
    let (id, connection) = (client.client_id.clone(), client.channel.connection);
    let asked = core.ask(client.channel.core, move |core| async move {
        let connection = core.connections.get(connection)?;
        Some(
            connection
                .invoke(code, fill, body, CLIENT_LIMIT)
                .await
                .map_err(|error| error.to_string()),
        )
    });
    match asked.await.flatten() {
        None => Err(Error::ConsumerNotOnline(format!("the consumer <{id}> has just gone"))),
        Some(Err(error)) => Err(Error::ClientTimeout(format!("consumer <{id}>: {error}"))),
        Some(Ok(answer)) => Ok(answer),
    }
}
