//! Offsets of queues and of consumer groups in them; all on the home core of the queue.

use crate::consumer_offsets::{OffsetAnswer, QueueStart};
use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use crate::shard::CoreShard;
use engine::{Boundary, QueueSlot};
use protocol::header::Header;
use protocol::header::offset::{
    GetEarliestMsgStoretimeRequest, GetEarliestMsgStoretimeResponse, GetMaxOffsetRequest, GetMaxOffsetResponse,
    GetMinOffsetRequest, GetMinOffsetResponse, QueryConsumerOffsetRequest, QueryConsumerOffsetResponse,
    SearchOffsetRequest, SearchOffsetResponse, UpdateConsumerOffsetRequest,
};
use protocol::model::{QueueId, QueueOffset, check_group, check_topic};
use protocol::response_code::ResponseCode;
use std::rc::Rc;

/// UPDATE_CONSUMER_OFFSET: a group says how far it is. A two-way request is answered when that lasts.
pub async fn update(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = UpdateConsumerOffsetRequest::decode(request.frame.ext())?;
    check_group(&header.consumer_group)?;
    if !core.is_group(&header.consumer_group).await {
        return Err(Error::SubscriptionGroupNotExist(header.consumer_group));
    }
    if core.replicas.borrow().topic(&header.topic).is_none() {
        return Err(Error::TopicNotExist(header.topic));
    }
    let (shard, queue_id) = queue_of(&core, &header.topic, header.queue_id)?;
    core.commit_consumer_offset(
        &shard,
        &header.consumer_group,
        &header.topic,
        queue_id,
        header.commit_offset,
    );
    if !request.frame.is_oneway() {
        shard.save_consumer_offsets().await?;
    }
    Ok(Answer::done())
}

/// QUERY_CONSUMER_OFFSET: how far a group is.
pub async fn query(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = QueryConsumerOffsetRequest::decode(request.frame.ext())?;
    let (shard, queue_id) = queue_of(&core, &header.topic, header.queue_id)?;
    let bounds = shard
        .engine
        .find_queue(&header.topic, queue_id.get())
        .map(|queue| shard.engine.bounds(queue));
    let min_offset = bounds.map_or(0, |(min, _max)| min.0);
    let start = QueueStart {
        set_zero_if_not_found: header.set_zero_if_not_found,
        min_offset,
        zero_in_memory: shard.is_in_memory(&header.topic, queue_id, QueueOffset(0)).await,
    };
    let answer = shard
        .consumer_offsets
        .borrow()
        .answer(&header.topic, &header.consumer_group, queue_id, start);
    Ok(match answer {
        OffsetAnswer::At(offset) => Answer::header(QueryConsumerOffsetResponse { offset }),
        OffsetAnswer::NotFound(remark) => Answer::done().with_code(ResponseCode::QUERY_NOT_FOUND, remark),
    })
}

/// GET_MAX_OFFSET: one more than the newest message of a queue.
pub async fn max(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = GetMaxOffsetRequest::decode(request.frame.ext())?;
    let (shard, queue) = found_queue(&core, &header.topic, header.queue_id)?;
    let offset = queue.map_or(0, |queue| {
        if header.committed {
            shard.engine.bounds(queue).1.0
        } else {
            shard.engine.next_queue_offset(queue).0
        }
    });
    Ok(Answer::header(GetMaxOffsetResponse { offset }))
}

/// GET_MIN_OFFSET: the oldest message of a queue.
pub async fn min(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = GetMinOffsetRequest::decode(request.frame.ext())?;
    let (shard, queue) = found_queue(&core, &header.topic, header.queue_id)?;
    let offset = queue.map_or(0, |queue| shard.engine.bounds(queue).0.0);
    Ok(Answer::header(GetMinOffsetResponse { offset }))
}

/// SEARCH_OFFSET_BY_TIMESTAMP: the first message stored at a time or later, or the last at that time or earlier.
pub async fn search(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = SearchOffsetRequest::decode(request.frame.ext())?;
    let (shard, queue) = found_queue(&core, &header.topic, header.queue_id)?;
    let boundary = match header.boundary_type.as_deref() {
        Some(text) if text.eq_ignore_ascii_case("upper") => Boundary::Upper,
        _ => Boundary::Lower,
    };
    let Some(queue) = queue else {
        return Ok(Answer::header(SearchOffsetResponse { offset: 0 }));
    };
    let found = shard.engine.offset_by_time(queue, header.timestamp, boundary).await;
    let offset = found.map_err(|error| Error::store("searching by time", &error))?.0;
    Ok(Answer::header(SearchOffsetResponse { offset }))
}

/// GET_EARLIEST_MSG_STORETIME: when the oldest message of a queue was stored; -1 if there is none.
pub async fn earliest(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = GetEarliestMsgStoretimeRequest::decode(request.frame.ext())?;
    let (shard, queue) = found_queue(&core, &header.topic, header.queue_id)?;
    let mut timestamp = -1;
    if let Some(queue) = queue {
        let (min, _max) = shard.engine.bounds(queue);
        let time = shard.engine.store_time_of(queue, min).await;
        timestamp = time
            .map_err(|error| Error::store("reading the oldest message", &error))?
            .unwrap_or(-1);
    }
    Ok(Answer::header(GetEarliestMsgStoretimeResponse { timestamp }))
}

/// The home shard of a queue, which must be on this core.
pub fn queue_of(core: &Core, topic: &str, queue_id: i32) -> Result<(Rc<CoreShard>, QueueId), Error> {
    check_topic(topic)?;
    let queue_id = QueueId::from_wire(queue_id)
        .ok_or_else(|| Error::InvalidParameter(format!("queueId {queue_id} is negative")))?;
    let home = core.map.home(topic, queue_id);
    let shard = core.shard(home).cloned();
    let shard = shard.ok_or_else(|| Error::System(format!("shard {} is not on this core", home.get())))?;
    Ok((shard, queue_id))
}

fn found_queue(core: &Core, topic: &str, queue_id: i32) -> Result<(Rc<CoreShard>, Option<QueueSlot>), Error> {
    let (shard, queue_id) = queue_of(core, topic, queue_id)?;
    let queue = shard.engine.find_queue(topic, queue_id.get());
    Ok((shard, queue))
}
