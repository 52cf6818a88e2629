//! Queues of an Apache master whose messages are all deleted there: nothing in its log says how far they were, and a queue that began at 0 again
//! would have offsets that its consumers have passed.
//!
//! So, once the copy has come to where the log ended when it began, the master is asked how far every queue is, and then where its log ends. When
//! the copy is there, a queue that has no message here had none left at the master either, and goes on where the master said.

use super::copy::{Acknowledged, Bounds};
use super::{ANSWER_LIMIT, ask};
use crate::core::Core;
use bytes::Bytes;
use protocol::body::lenient;
use protocol::body::topic::{TopicConfigAndMappingSerializeWrapper, TopicStatsTable};
use protocol::header::Header;
use protocol::header::topic::GetTopicStatsInfoRequest;
use protocol::header_writer::HeaderWriter;
use protocol::model::{QueueId, QueueOffset};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::RpcClient;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a queue of the master's ends.
#[derive(Clone, Debug)]
struct QueueEnd {
    topic: String,
    queue_id: QueueId,
    end: i64,
}

/// Lets queues that are empty here go on where they are at the master.
pub(super) async fn go_on(
    core: &Rc<Core>,
    rpc: &RpcClient,
    master: &str,
    acknowledged: &Acknowledged,
    log_end: u64,
) -> Result<(), String> {
    acknowledged.reached(log_end).await;
    let ends = queue_ends(rpc, master).await?;
    let log_end = Bounds::of(rpc, master).await?.max;
    acknowledged.reached(log_end).await;
    let mut by_core: BTreeMap<usize, Vec<QueueEnd>> = BTreeMap::new();
    for end in ends {
        let home = core.map.home(&end.topic, end.queue_id);
        by_core.entry(core.map.core_of(home)).or_default().push(end);
    }
    for (other, ends) in by_core {
        let begun = core.ask(other, move |core| async move { begin_queues(&core, &ends) });
        begun.await.ok_or("the broker is stopping")??;
    }
    Ok(())
}

async fn queue_ends(rpc: &RpcClient, master: &str) -> Result<Vec<QueueEnd>, String> {
    let body = ask(rpc, master, RequestCode::GET_ALL_TOPIC_CONFIG).await?;
    let topics: TopicConfigAndMappingSerializeWrapper =
        lenient::from_slice(&body).map_err(|error| format!("the topics of {master}: {error}"))?;
    let mut ends = Vec::new();
    for topic in topics.topic_config_table.into_keys() {
        let Some(stats) = stats_of(rpc, master, &topic).await? else {
            continue;
        };
        for (queue, offsets) in stats.offset_table {
            if let Some(queue_id) = QueueId::from_wire(queue.queue_id)
                && offsets.max_offset > 0
            {
                ends.push(QueueEnd {
                    topic: topic.clone(),
                    queue_id,
                    end: offsets.max_offset,
                });
            }
        }
    }
    Ok(ends)
}

/// `None` when the topic was deleted meanwhile.
async fn stats_of(rpc: &RpcClient, master: &str, topic: &str) -> Result<Option<TopicStatsTable>, String> {
    let header = GetTopicStatsInfoRequest {
        topic: topic.to_owned(),
    };
    let fill = |out: &mut HeaderWriter<'_>| header.encode(out);
    let code = RequestCode::GET_TOPIC_STATS_INFO;
    let answer = rpc.invoke(master, code, fill, Bytes::new(), ANSWER_LIMIT).await;
    let answer = answer.map_err(|error| format!("the master at {master} does not answer {code}: {error}"))?;
    match answer.response_code() {
        ResponseCode::SUCCESS => lenient::from_slice(answer.body())
            .map(Some)
            .map_err(|error| format!("how far the queues of topic {topic} are: {error}")),
        ResponseCode::TOPIC_NOT_EXIST => Ok(None),
        other => Err(format!(
            "the master at {master} answers {code} for topic {topic} with {other}"
        )),
    }
}

fn begin_queues(core: &Core, ends: &[QueueEnd]) -> Result<(), String> {
    for QueueEnd { topic, queue_id, end } in ends {
        let home = core.map.home(topic, *queue_id);
        let shard = core.shard(home).ok_or("the shard is on another core")?;
        let begun = shard.engine.begin_queue(topic, queue_id.get(), QueueOffset(*end));
        if begun.map_err(|error| error.to_string())?.is_some() {
            tracing::info!(
                topic,
                queue_id = queue_id.get(),
                end,
                "a queue without messages goes on where it is at the master"
            );
        }
    }
    Ok(())
}
