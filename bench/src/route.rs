//! Where a topic's queues are, asked of the name servers; the topic is made where it is missing.

use bytes::Bytes;
use protocol::body::route::TopicRouteData;
use protocol::body::{lenient, route::ClusterInfo};
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::name_server::GetRouteInfoRequest;
use protocol::header::topic::CreateTopicRequest;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connections, Limits, NoRequests, RpcClient};
use std::rc::Rc;
use std::time::Duration;

/// How long an answer of an admin request may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a new topic may take to reach the name servers.
const TOPIC_LIMIT: Duration = Duration::from_secs(10);

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Address of the master that has it.
    pub address: String,
    /// Name of that master.
    pub broker_name: String,
    /// Its number.
    pub queue_id: i32,
}

/// Which queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Those that take messages.
    Write,
    /// Those that can be read.
    Read,
}

/// The queues of a topic on the masters; the topic is made on all of them if it is nowhere.
///
/// # Errors
/// When no name server answers, or the topic cannot be made.
pub async fn queues(name_servers: &[String], topic: &str, new_queues: u32, of: Use) -> Result<Vec<Queue>, String> {
    let rpc = RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests));
    if let Some(route) = route(&rpc, name_servers, topic).await? {
        return Ok(queues_of(&route, of));
    }
    create(&rpc, name_servers, topic, new_queues).await?;
    let known = async {
        loop {
            if let Some(route) = route(&rpc, name_servers, topic).await? {
                return Ok(queues_of(&route, of));
            }
            runtime::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = TOPIC_LIMIT;
    runtime::timeout(limit, known).await.unwrap_or_else(|_late| {
        Err(format!(
            "topic {topic} was made, and {limit:?} later no name server knows it"
        ))
    })
}

async fn route(rpc: &RpcClient, name_servers: &[String], topic: &str) -> Result<Option<TopicRouteData>, String> {
    let header = GetRouteInfoRequest {
        topic: topic.to_owned(),
        accept_standard_json_only: Some(true),
    };
    let answer = ask(rpc, name_servers, RequestCode::GET_ROUTEINFO_BY_TOPIC, &header).await?;
    match answer.response_code() {
        ResponseCode::SUCCESS => lenient::from_slice(answer.body())
            .map(Some)
            .map_err(|error| format!("route of {topic}: {error}")),
        ResponseCode::TOPIC_NOT_EXIST => Ok(None),
        other => Err(format!(
            "route of {topic}: {other} {}",
            answer.remark().unwrap_or_default()
        )),
    }
}

async fn create(rpc: &RpcClient, name_servers: &[String], topic: &str, queues: u32) -> Result<(), String> {
    let answer = ask(rpc, name_servers, RequestCode::GET_BROKER_CLUSTER_INFO, &Nothing).await?;
    let cluster: ClusterInfo = lenient::from_slice(answer.body()).map_err(|error| format!("cluster info: {error}"))?;
    let queues = i32::try_from(queues).map_err(|_error| format!("--queues {queues} is too many"))?;
    let header = CreateTopicRequest {
        topic: topic.to_owned(),
        default_topic: "TBW102".to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".to_owned(),
        topic_sys_flag: Some(0),
        order: false,
        attributes: None,
        force: None,
    };
    let masters: Vec<&String> = cluster
        .broker_addr_table
        .values()
        .filter_map(|broker| broker.broker_addrs.get(&0))
        .collect();
    if masters.is_empty() {
        return Err("the name server knows no master; is a broker running and registered?".to_owned());
    }
    for address in masters {
        let fill = |out: &mut protocol::header_writer::HeaderWriter<'_>| header.encode(out);
        let answer = rpc
            .invoke(address, RequestCode::UPDATE_AND_CREATE_TOPIC, fill, Bytes::new(), LIMIT)
            .await;
        let answer = answer.map_err(|error| format!("making topic {topic}: {error}"))?;
        if answer.response_code() != ResponseCode::SUCCESS {
            return Err(format!(
                "making topic {topic} on {address}: {}",
                answer.remark().unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Asks one name server after the other until one answers.
async fn ask(
    rpc: &RpcClient,
    name_servers: &[String],
    code: RequestCode,
    header: &impl Header,
) -> Result<Frame, String> {
    let mut problem = "no name server was given; use --namesrv or NAMESRV_ADDR".to_owned();
    for address in name_servers {
        let fill = |out: &mut protocol::header_writer::HeaderWriter<'_>| header.encode(out);
        match rpc.invoke(address, code, fill, Bytes::new(), LIMIT).await {
            Ok(answer) => return Ok(answer),
            Err(error) => problem = format!("name server {address}: {error}"),
        }
    }
    Err(problem)
}

/// A header without fields.
struct Nothing;

impl Header for Nothing {
    fn decode(_ext: protocol::ext::ExtFields<'_>) -> Result<Self, protocol::header::HeaderError> {
        Ok(Nothing)
    }

    fn encode(&self, _writer: &mut protocol::header_writer::HeaderWriter<'_>) {}
}

fn queues_of(route: &TopicRouteData, of: Use) -> Vec<Queue> {
    let mut queues = Vec::new();
    for data in &route.queue_datas {
        let broker = route
            .broker_datas
            .iter()
            .find(|broker| broker.broker_name == data.broker_name);
        let Some(address) = broker.and_then(|broker| broker.broker_addrs.get(&0)) else {
            continue;
        };
        let (count, wanted) = match of {
            Use::Write => (data.write_queue_nums, 2),
            Use::Read => (data.read_queue_nums, 4),
        };
        if data.perm & wanted == 0 {
            continue;
        }
        queues.extend((0..count).map(|queue_id| Queue {
            address: address.clone(),
            broker_name: data.broker_name.clone(),
            queue_id,
        }));
    }
    queues
}
