//! Finding single messages: by physical offset on the shard's core, by key on every core.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::offset::queue_of;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use bytes::Bytes;
use engine::{KeyRequest, KeyResult};
use protocol::body::stats::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use protocol::header::Header;
use protocol::header::query::{
    QueryConsumeQueueRequest, QueryMessageRequest, QueryMessageResponse, UNIQUE_KEY_QUERY, ViewMessageRequest,
};
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, QueueOffset};
use std::rc::Rc;
use std::sync::Arc;

/// Entries of a consume queue that one request is given at most.
const ENTRIES_MAX: usize = 1024;

/// VIEW_MESSAGE_BY_ID: the record at a physical offset.
pub async fn view(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = ViewMessageRequest::decode(request.frame.ext())?;
    let missing = || Error::System(format!("can not find message by the offset, {}", header.offset));
    let place = PhysicalOffset::from_wire(header.offset).ok_or_else(missing)?;
    let shard = core.shard(place.shard()).cloned().ok_or_else(missing)?;
    let record = shard
        .engine
        .record_at(place)
        .await
        .map_err(|error| Error::store("reading the message", &error))?;
    Ok(Answer::body(record.ok_or_else(missing)?))
}

/// QUERY_MESSAGE: messages of a topic with a key or unique key, stored in a span of time; newest first.
pub async fn query(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = QueryMessageRequest::decode(request.frame.ext())?;
    let by_unique_key = request
        .frame
        .ext()
        .get(UNIQUE_KEY_QUERY)
        .is_some_and(|value| value.to_cow().eq_ignore_ascii_case("true"));
    let settings = core.settings();
    let asked = usize::try_from(header.max_num).unwrap_or(0);
    let max = if by_unique_key {
        settings.query_max
    } else {
        asked.min(settings.query_max_by_key)
    };
    let (topic, key): (Arc<str>, Arc<str>) = (header.topic.into(), header.key.into());
    let store_time_ms = (header.begin_timestamp, header.end_timestamp);
    // A topic's queues are spread over all shards, and so are its keys.
    let found = core
        .ask_all(move |core| {
            let (topic, key) = (Arc::clone(&topic), Arc::clone(&key));
            async move {
                query_core(
                    &core,
                    &KeyRequest {
                        topic: &topic,
                        key: &key,
                        store_time_ms,
                        max,
                    },
                )
                .await
            }
        })
        .await;
    let mut records: Vec<(i64, Bytes)> = Vec::new();
    let (mut last_timestamp, mut last_offset) = (0, 0);
    for one in found {
        let one = one?;
        if one.index_last_timestamp > last_timestamp {
            (last_timestamp, last_offset) = (one.index_last_timestamp, one.index_last_offset);
        }
        records.extend(one.records.into_iter().map(|record| (store_time(&record), record)));
    }
    if records.is_empty() {
        return Err(Error::NotFound(
            "can not find message, maybe time range not correct".to_owned(),
        ));
    }
    records.sort_by_key(|(stored, _record)| std::cmp::Reverse(*stored));
    records.truncate(max.max(1));
    let fields = QueryMessageResponse {
        index_last_update_timestamp: last_timestamp,
        index_last_update_phyoffset: last_offset,
    };
    Ok(Answer::header(fields).with_parts(records.into_iter().map(|(_stored, record)| record).collect()))
}

async fn query_core(core: &Core, request: &KeyRequest<'_>) -> Result<KeyResult, Error> {
    let mut all = KeyResult::default();
    for shard in core.own_shards() {
        let found = shard
            .engine
            .query(request)
            .await
            .map_err(|error| Error::store("searching by key", &error))?;
        if found.index_last_timestamp > all.index_last_timestamp {
            all.index_last_timestamp = found.index_last_timestamp;
            all.index_last_offset = found.index_last_offset;
        }
        all.records.extend(found.records);
    }
    Ok(all)
}

fn store_time(record: &Bytes) -> i64 {
    RecordView::decode(record).map_or(0, |view| view.store_timestamp)
}

/// QUERY_CONSUME_QUEUE: the entries of a consume queue as they are.
pub async fn consume_queue(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = QueryConsumeQueueRequest::decode(request.frame.ext())?;
    let topic = header.topic.unwrap_or_default();
    let (shard, queue_id) = queue_of(&core, &topic, header.queue_id)?;
    let queue = shard.engine.find_queue(&topic, queue_id.get());
    let queue = queue.ok_or_else(|| Error::System(format!("{}@{topic} is not exist!", queue_id.get())))?;
    let (min, max) = shard.engine.bounds(queue);
    let from = QueueOffset(header.index.clamp(min.0, max.0));
    let count = usize::try_from(header.count).unwrap_or(0).min(ENTRIES_MAX);
    let entries = shard.engine.entries(queue, from, count).await;
    let entries = entries.map_err(|error| Error::store("reading the consume queue", &error))?;
    let data = entries
        .iter()
        .map(|entry| ConsumeQueueData {
            physic_offset: PhysicalOffset::new(shard.id, entry.position).to_wire(),
            physic_size: i32::try_from(entry.record_size).unwrap_or(i32::MAX),
            tags_code: entry.tag_hash,
            eval: true,
            ..ConsumeQueueData::default()
        })
        .collect();
    let body = QueryConsumeQueueResponseBody {
        max_queue_index: max.0,
        min_queue_index: min.0,
        queue_data: Some(data),
        ..QueryConsumeQueueResponseBody::default()
    };
    Ok(Answer::body(protocol::body::json::to_java_json(&body)))
}
