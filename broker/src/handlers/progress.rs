//! How far consumers are, for people and tools: gathered from all shards by core 0.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use crate::shard::CoreShard;
use protocol::body::group::GroupList;
use protocol::body::json::to_java_json;
use protocol::body::offset::{
    ConsumeStats, ConsumeStatsList, ConsumerOffsetSerializeWrapper, OffsetWrapper, QueryConsumeTimeSpanBody,
    QueryCorrectionOffsetBody, QueueTimeSpan,
};
use protocol::body::queue::WireQueue;
use protocol::body::topic::{TopicList, TopicOffset, TopicStatsTable};
use protocol::header::Header;
use protocol::header::group::{
    CloneGroupOffsetRequest, GetConsumeStatsRequest, QueryConsumeTimeSpanRequest, QueryCorrectionOffsetRequest,
    QueryTopicConsumeByWhoRequest, QueryTopicsByConsumerRequest,
};
use protocol::header::topic::GetTopicStatsInfoRequest;
use protocol::model::{QueueId, QueueOffset};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// A queue as one shard sees it.
#[derive(Clone, Debug)]
struct QueueState {
    queue_id: QueueId,
    min: QueueOffset,
    max: QueueOffset,
    /// Store time of the newest message, milliseconds since 1970; 0 if there is none.
    newest_ms: i64,
}

/// A queue of a topic with what one group has consumed of it.
#[derive(Clone, Debug)]
struct GroupState {
    queue: QueueState,
    consumer_offset: i64,
    /// Store time of the last message consumed; 0 if there is none.
    consumed_ms: i64,
}

/// GET_TOPIC_STATS_INFO: bounds of every queue of a topic.
pub async fn topic_stats(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetTopicStatsInfoRequest::decode(request.frame.ext())?;
    let config = control.topics.borrow().get(&header.topic).cloned();
    let config = config.ok_or_else(|| Error::TopicNotExist(header.topic.clone()))?;
    let queues = config.write_queue_nums.max(config.read_queue_nums);
    let broker_name = core.settings().config.broker_name.clone();
    let states = queues_of(&core, &header.topic, queues).await?;
    let mut table = TopicStatsTable::default();
    for state in states {
        let queue = wire_queue(&broker_name, &header.topic, state.queue_id);
        let offset = TopicOffset {
            last_update_timestamp: state.newest_ms,
            max_offset: state.max.0,
            min_offset: state.min.0,
        };
        table.offset_table.insert(queue, offset);
    }
    table.topic_put_tps = control.stats.borrow().topic_put_tps(&header.topic);
    Ok(Answer::body(to_java_json(&table)))
}

/// GET_CONSUME_STATS: how far a group is, in one topic or in all that it consumes.
pub async fn consume_stats(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = GetConsumeStatsRequest::decode(request.frame.ext())?;
    let asked = header.topic.filter(|topic| !topic.is_empty()).map(|topic| vec![topic]);
    let listed = header
        .topic_list
        .map(|list| list.split(';').map(str::to_owned).collect::<Vec<_>>());
    let topics = match asked.or(listed) {
        Some(topics) => topics,
        None => topics_of_group(&core, &header.consumer_group).await,
    };
    let mut stats = ConsumeStats::default();
    for topic in topics {
        stats_of_topic(&core, &header.consumer_group, &topic, &mut stats).await?;
    }
    Ok(Answer::body(to_java_json(&stats)))
}

/// GET_BROKER_CONSUME_STATS: the same for every group.
pub async fn all_consume_stats(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = protocol::header::admin::GetConsumeStatsInBrokerRequest::decode(request.frame.ext())?;
    let groups: Vec<_> = control.subscription_groups.borrow().iter().cloned().collect();
    let mut list = ConsumeStatsList {
        broker_addr: core.settings().store_host.to_string(),
        ..ConsumeStatsList::default()
    };
    for group in groups
        .iter()
        .filter(|group| group.consume_message_orderly == header.is_order || !header.is_order)
    {
        let mut all = Vec::new();
        for topic in topics_of_group(&core, &group.group_name).await {
            let mut stats = ConsumeStats::default();
            stats_of_topic(&core, &group.group_name, &topic, &mut stats).await?;
            let diff = stats
                .offset_table
                .values()
                .map(|offsets| offsets.broker_offset - offsets.consumer_offset);
            list.total_diff += diff.sum::<i64>();
            let inflight = stats
                .offset_table
                .values()
                .map(|offsets| offsets.pull_offset - offsets.consumer_offset);
            list.total_inflight_diff += inflight.sum::<i64>();
            all.push(stats);
        }
        if !all.is_empty() {
            list.consume_stats_list
                .push(BTreeMap::from([(group.group_name.clone(), all)]));
        }
    }
    Ok(Answer::body(to_java_json(&list)))
}

async fn stats_of_topic(core: &Rc<Core>, group: &str, topic: &str, stats: &mut ConsumeStats) -> Result<(), Error> {
    let control = super::control_of(core)?;
    let config = control.topics.borrow().get(topic).cloned();
    let Some(config) = config else { return Ok(()) };
    // A subscription that was given up leaves offsets behind; Apache's tools do not want to see them.
    let online = control.consumer_groups.borrow().is_online(group);
    if online && control.consumer_groups.borrow().subscription(group, topic).is_none() {
        return Ok(());
    }
    let broker_name = core.settings().config.broker_name.clone();
    for state in group_states(core, group, topic, config.read_queue_nums).await? {
        let queue = wire_queue(&broker_name, topic, state.queue.queue_id);
        let offsets = OffsetWrapper {
            broker_offset: state.queue.max.0,
            consumer_offset: state.consumer_offset.max(0),
            last_timestamp: state.consumed_ms,
            pull_offset: state.consumer_offset.max(0),
        };
        stats.offset_table.insert(queue, offsets);
    }
    stats.consume_tps += control.stats.borrow().group_get_tps(group, topic);
    Ok(())
}

/// QUERY_TOPIC_CONSUME_BY_WHO: the groups that consume a topic, online or not.
pub async fn groups_of_topic(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = QueryTopicConsumeByWhoRequest::decode(request.frame.ext())?;
    let mut groups: BTreeSet<String> = control
        .consumer_groups
        .borrow()
        .subscribers(&header.topic)
        .map(|group| group.to_string())
        .collect();
    let topic: Arc<str> = header.topic.into();
    let offline = core
        .ask_all(move |core| {
            let topic = Arc::clone(&topic);
            async move {
                let mut groups: BTreeSet<String> = BTreeSet::new();
                for shard in core.own_shards() {
                    groups.extend(shard.consumer_offsets.borrow().groups_of(&topic).map(str::to_owned));
                }
                groups
            }
        })
        .await;
    groups.extend(offline.into_iter().flatten());
    Ok(Answer::body(to_java_json(&GroupList { group_list: groups })))
}

/// QUERY_TOPICS_BY_CONSUMER: the topics of which a group has consumed something.
pub async fn topics_by_group(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = QueryTopicsByConsumerRequest::decode(request.frame.ext())?;
    let topics = topics_of_group(&core, &header.group).await;
    let list = TopicList {
        broker_addr: Some(core.settings().store_host.to_string()),
        topic_list: topics.into_iter().collect(),
    };
    Ok(Answer::body(to_java_json(&list)))
}

/// QUERY_CONSUME_TIME_SPAN: oldest, newest and last consumed message of every queue, by time.
pub async fn time_span(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = QueryConsumeTimeSpanRequest::decode(request.frame.ext())?;
    let config = control.topics.borrow().get(&header.topic).cloned();
    let config = config.ok_or_else(|| Error::TopicNotExist(header.topic.clone()))?;
    let broker_name = core.settings().config.broker_name.clone();
    let mut body = QueryConsumeTimeSpanBody::default();
    let now = runtime::wall_clock_ms();
    for state in group_states(&core, &header.group, &header.topic, config.write_queue_nums).await? {
        let caught_up = state.consumer_offset >= state.queue.max.0;
        let consumed = if state.consumed_ms > 0 {
            state.consumed_ms
        } else {
            state.queue.newest_ms
        };
        body.consume_time_span_set.push(QueueTimeSpan {
            consume_time_stamp: consumed,
            delay_time: if caught_up { 0 } else { now.saturating_sub(consumed) },
            max_time_stamp: state.queue.newest_ms,
            message_queue: wire_queue(&broker_name, &header.topic, state.queue.queue_id),
            min_time_stamp: oldest_ms(&core, &header.topic, state.queue.queue_id).await?,
        });
    }
    Ok(Answer::body(to_java_json(&body)))
}

async fn oldest_ms(core: &Rc<Core>, topic: &str, queue_id: QueueId) -> Result<i64, Error> {
    let home = core.map.home(topic, queue_id);
    let topic = topic.to_owned();
    let asked = core.ask(core.map.core_of(home), move |core| async move {
        let shard = core.shard(home).cloned().ok_or_else(Error::stopping)?;
        let Some(queue) = shard.engine.find_queue(&topic, queue_id.get()) else {
            return Ok(0);
        };
        let (min, _max) = shard.engine.bounds(queue);
        let time = shard.engine.store_time_of(queue, min).await;
        time.map(|time| time.unwrap_or(0))
            .map_err(|error| Error::store("reading a queue", &error))
    });
    asked.await.unwrap_or_else(|| Err(Error::stopping()))
}

/// GET_ALL_CONSUMER_OFFSET: every consumer offset, in the layout of consumerOffset.json.
pub async fn all_offsets(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let tables = core
        .ask_all(|core| async move {
            let mut table = BTreeMap::new();
            for shard in core.own_shards() {
                shard.consumer_offsets.borrow().export_into(&mut table);
            }
            table
        })
        .await;
    let mut wrapper = ConsumerOffsetSerializeWrapper::default();
    for (key, queues) in tables.into_iter().flatten() {
        wrapper.offset_table.entry(key).or_default().extend(queues);
    }
    Ok(Answer::body(to_java_json(&wrapper)))
}

/// CLONE_GROUP_OFFSET: a group begins where another one is.
pub async fn clone_group(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = CloneGroupOffsetRequest::decode(request.frame.ext())?;
    let asked = header.topic.filter(|topic| !topic.is_empty());
    let topics = match asked {
        Some(topic) => vec![topic],
        None => topics_of_group(&core, &header.src_group).await,
    };
    let (from, to): (Arc<str>, Arc<str>) = (header.src_group.into(), header.dest_group.into());
    let topics: Arc<[String]> = topics.into();
    let done = core
        .ask_all(move |core| {
            let (from, to, topics) = (Arc::clone(&from), Arc::clone(&to), Arc::clone(&topics));
            async move {
                for shard in core.own_shards() {
                    for topic in topics.iter() {
                        shard.consumer_offsets.borrow_mut().clone_group(topic, &from, &to);
                    }
                    shard.save_consumer_offsets().await?;
                }
                Ok::<(), Error>(())
            }
        })
        .await;
    for outcome in done {
        outcome?;
    }
    Ok(Answer::done())
}

/// QUERY_CORRECTION_OFFSET: where a group would have to begin so that it misses nothing that others have not consumed.
pub async fn correction(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let header = QueryCorrectionOffsetRequest::decode(request.frame.ext())?;
    let filters: BTreeSet<String> = header
        .filter_groups
        .unwrap_or_default()
        .split(',')
        .filter(|group| !group.is_empty())
        .map(str::to_owned)
        .collect();
    let (topic, compare): (Arc<str>, Arc<str>) = (header.topic.into(), header.compare_group.into());
    let filters = Arc::new(filters);
    let found = core
        .ask_all(move |core| {
            let (topic, compare, filters) = (Arc::clone(&topic), Arc::clone(&compare), Arc::clone(&filters));
            async move {
                let mut least: BTreeMap<i32, i64> = BTreeMap::new();
                for shard in core.own_shards() {
                    let offsets = shard.consumer_offsets.borrow();
                    for (queue_id, offset) in offsets.offsets_of(&topic, &compare) {
                        least.insert(queue_id.to_wire(), offset);
                    }
                    for group in offsets.groups_of(&topic).filter(|group| filters.contains(*group)) {
                        for (queue_id, offset) in offsets.offsets_of(&topic, group) {
                            least
                                .entry(queue_id.to_wire())
                                .and_modify(|least| *least = (*least).min(offset))
                                .or_insert(offset);
                        }
                    }
                }
                least
            }
        })
        .await;
    let correction_offsets = found.into_iter().flatten().collect();
    Ok(Answer::body(to_java_json(&QueryCorrectionOffsetBody {
        correction_offsets,
    })))
}

/// The topics of which a group has consumed something, on any shard.
pub async fn topics_of_group(core: &Rc<Core>, group: &str) -> Vec<String> {
    let group: Arc<str> = group.into();
    let topics = core
        .ask_all(move |core| {
            let group = Arc::clone(&group);
            async move {
                let mut topics: BTreeSet<String> = BTreeSet::new();
                for shard in core.own_shards() {
                    topics.extend(shard.consumer_offsets.borrow().topics_of(&group).map(str::to_owned));
                }
                topics
            }
        })
        .await;
    let all: BTreeSet<String> = topics.into_iter().flatten().collect();
    all.into_iter().collect()
}

async fn queues_of(core: &Rc<Core>, topic: &str, queues: i32) -> Result<Vec<QueueState>, Error> {
    let topic: Arc<str> = topic.into();
    let states = core
        .ask_all(move |core| {
            let topic = Arc::clone(&topic);
            async move {
                let mut states = Vec::new();
                for (shard, queue_id) in own_queues(&core, &topic, queues) {
                    states.push(queue_state(&shard, &topic, queue_id).await?);
                }
                Ok::<_, Error>(states)
            }
        })
        .await;
    let states = states.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(states.into_iter().flatten().collect())
}

async fn group_states(core: &Rc<Core>, group: &str, topic: &str, queues: i32) -> Result<Vec<GroupState>, Error> {
    let (group, topic): (Arc<str>, Arc<str>) = (group.into(), topic.into());
    let states = core
        .ask_all(move |core| {
            let (group, topic) = (Arc::clone(&group), Arc::clone(&topic));
            async move {
                let mut states = Vec::new();
                for (shard, queue_id) in own_queues(&core, &topic, queues) {
                    states.push(group_state(&shard, &group, &topic, queue_id).await?);
                }
                Ok::<_, Error>(states)
            }
        })
        .await;
    let states = states.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(states.into_iter().flatten().collect())
}

/// The queues of a topic whose home is on this core.
fn own_queues(core: &Core, topic: &str, queues: i32) -> Vec<(Rc<CoreShard>, QueueId)> {
    let all = (0..queues).filter_map(QueueId::from_wire);
    all.filter_map(|queue_id| {
        core.shard(core.map.home(topic, queue_id))
            .cloned()
            .map(|shard| (shard, queue_id))
    })
    .collect()
}

async fn queue_state(shard: &CoreShard, topic: &str, queue_id: QueueId) -> Result<QueueState, Error> {
    let none = QueueState {
        queue_id,
        min: QueueOffset(0),
        max: QueueOffset(0),
        newest_ms: 0,
    };
    let Some(queue) = shard.engine.find_queue(topic, queue_id.get()) else {
        return Ok(none);
    };
    let (min, max) = shard.engine.bounds(queue);
    let mut newest_ms = 0;
    if max > min {
        let time = shard.engine.store_time_of(queue, QueueOffset(max.0 - 1)).await;
        newest_ms = time
            .map_err(|error| Error::store("reading a queue", &error))?
            .unwrap_or(0);
    }
    Ok(QueueState {
        queue_id,
        min,
        max,
        newest_ms,
    })
}

async fn group_state(shard: &CoreShard, group: &str, topic: &str, queue_id: QueueId) -> Result<GroupState, Error> {
    let state = queue_state(shard, topic, queue_id).await?;
    let consumer_offset = shard
        .consumer_offsets
        .borrow()
        .offset(topic, group, queue_id)
        .unwrap_or(0);
    let mut consumed_ms = 0;
    if let Some(queue) = shard.engine.find_queue(topic, queue_id.get())
        && consumer_offset > state.min.0
    {
        let time = shard
            .engine
            .store_time_of(queue, QueueOffset(consumer_offset - 1))
            .await;
        consumed_ms = time
            .map_err(|error| Error::store("reading a queue", &error))?
            .unwrap_or(0);
    }
    Ok(GroupState {
        queue: state,
        consumer_offset,
        consumed_ms,
    })
}

fn wire_queue(broker_name: &str, topic: &str, queue_id: QueueId) -> WireQueue {
    WireQueue {
        broker_name: broker_name.to_owned(),
        queue_id: queue_id.to_wire(),
        topic: topic.to_owned(),
    }
}
