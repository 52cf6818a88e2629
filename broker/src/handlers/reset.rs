//! INVOKE_BROKER_TO_RESET_OFFSET: an operator sends a group to another place of a topic.
//!
//! The target is kept with the group's offset until its next pull, which is answered with it; so it reaches consumers of
//! every language, online or not.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use engine::Boundary;
use protocol::body::json::to_java_json;
use protocol::body::offset::{ResetOffsetBody, ResetOffsetBodyForC};
use protocol::body::queue::WireQueue;
use protocol::header::Header;
use protocol::header::offset::ResetOffsetRequest;
use protocol::language::Language;
use protocol::model::QueueId;
use std::rc::Rc;
use std::sync::Arc;

/// Where a queue's group shall go.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// To this queue offset.
    Offset(i64),
    /// To the first message stored at this time or later.
    Time(i64),
    /// To the end.
    End,
}

/// Sets a group's offsets.
pub async fn reset(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = ResetOffsetRequest::decode(request.frame.ext())?;
    let config = control.topics.borrow().get(&header.topic).cloned();
    let config = config.ok_or_else(|| Error::TopicNotExist(header.topic.clone()))?;
    if control.subscription_groups.borrow().get(&header.group).is_none() {
        return Err(Error::SubscriptionGroupNotExist(header.group));
    }
    let queues = match header.queue_id {
        -1 => 0..config.read_queue_nums,
        queue_id if (0..config.read_queue_nums).contains(&queue_id) => queue_id..queue_id + 1,
        queue_id => {
            let count = config.read_queue_nums;
            return Err(Error::InvalidParameter(format!(
                "queue {queue_id} of topic {} is none of its {count}",
                header.topic
            )));
        }
    };
    let target = match header.offset {
        Some(offset) if offset >= 0 => Target::Offset(offset),
        _ if header.timestamp < 0 => Target::End,
        _ => Target::Time(header.timestamp),
    };
    let (group, topic): (Arc<str>, Arc<str>) = (header.group.into(), header.topic.into());
    let mut body = ResetOffsetBody::default();
    for queue_id in queues.filter_map(QueueId::from_wire) {
        let offset = reset_queue(&core, Arc::clone(&group), Arc::clone(&topic), queue_id, target).await?;
        let broker_name = core.settings().config.broker_name.clone();
        let queue = WireQueue {
            broker_name,
            queue_id: queue_id.to_wire(),
            topic: topic.to_string(),
        };
        body.offset_table.insert(queue, offset);
    }
    if request.frame.language() == Language::Cpp {
        return Ok(Answer::body(to_java_json(&ResetOffsetBodyForC::from(&body))));
    }
    Ok(Answer::body(to_java_json(&body)))
}

async fn reset_queue(
    core: &Rc<Core>,
    group: Arc<str>,
    topic: Arc<str>,
    queue_id: QueueId,
    target: Target,
) -> Result<i64, Error> {
    let home = core.map.home(&topic, queue_id);
    let done = core.ask(core.map.core_of(home), move |core| async move {
        let shard = core.shard(home).cloned().ok_or_else(Error::stopping)?;
        let queue = shard.engine.find_queue(&topic, queue_id.get());
        let (min, max) = queue.map_or((0, 0), |queue| {
            let (min, max) = shard.engine.bounds(queue);
            (min.0, max.0)
        });
        let offset = match (target, queue) {
            (Target::Offset(offset), _) if (min..=max + 1).contains(&offset) => offset,
            (Target::Offset(offset), _) => {
                let place = queue_id.get();
                return Err(Error::System(format!(
                    "offset {offset} of queue {place} is outside of {min} to {}",
                    max + 1
                )));
            }
            (Target::Time(time), Some(queue)) => {
                let found = shard.engine.offset_by_time(queue, time, Boundary::Lower).await;
                found.map_err(|error| Error::store("searching by time", &error))?.0
            }
            (Target::End | Target::Time(_), _) => max,
        };
        shard
            .consumer_offsets
            .borrow_mut()
            .reset(&topic, &group, queue_id, offset);
        shard.save_consumer_offsets().await?;
        Ok(offset)
    });
    done.await.unwrap_or_else(|| Err(Error::stopping()))
}
