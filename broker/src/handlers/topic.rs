//! Topics: making, changing, deleting, listing. On core 0.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::meta::Meta;
use crate::request::Request;
use protocol::body::json::to_java_json;
use protocol::body::topic::{CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper};
use protocol::header::Header;
use protocol::header::topic::{
    CreateTopicRequest, DeleteTopicRequest, GetAllTopicConfigRequest, GetAllTopicConfigResponse, GetTopicConfigRequest,
};
use std::collections::BTreeMap;
use std::rc::Rc;

/// UPDATE_AND_CREATE_TOPIC.
pub async fn update(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = CreateTopicRequest::decode(request.frame.ext())?;
    let attributes = crate::attributes::parse_edits(header.attributes.as_deref().unwrap_or_default())?;
    let wanted = TopicConfig {
        attributes,
        order: header.order,
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type: header.topic_filter_type,
        topic_name: header.topic,
        topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
        write_queue_nums: header.write_queue_nums,
    };
    let change = control.topics.borrow_mut().update(wanted, runtime::wall_clock_ms())?;
    if let Some(change) = change {
        control.record_and_wait(&core, &Meta::Topic(change)).await?;
    }
    Ok(Answer::done())
}

/// UPDATE_AND_CREATE_TOPIC_LIST.
pub async fn update_all(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let body: CreateTopicListRequestBody = super::body(&request, "UPDATE_AND_CREATE_TOPIC_LIST")?;
    let changes = control
        .topics
        .borrow_mut()
        .update_all(body.topic_config_list, runtime::wall_clock_ms())?;
    for change in changes {
        control.record_and_wait(&core, &Meta::Topic(change)).await?;
    }
    Ok(Answer::done())
}

/// DELETE_TOPIC_IN_BROKER: the topic, its queues on every shard, and what groups had consumed of it.
pub async fn delete(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = DeleteTopicRequest::decode(request.frame.ext())?;
    let gone = control
        .topics
        .borrow_mut()
        .delete(&header.topic, runtime::wall_clock_ms())?;
    if let Some(gone) = gone {
        control.record_and_wait(&core, &Meta::TopicGone(gone)).await?;
    }
    let topic = header.topic.clone();
    let deleted = core
        .ask_all(move |core| {
            let topic = topic.clone();
            async move { delete_queues(&core, &topic).await }
        })
        .await;
    for outcome in deleted {
        outcome?;
    }
    control.stats.borrow_mut().forget_topic(&header.topic);
    Ok(Answer::done())
}

async fn delete_queues(core: &Core, topic: &str) -> Result<(), Error> {
    let failed = |error: engine::AppendError| Error::NotAvailable(format!("the deletion does not last: {error}"));
    for shard in core.own_shards() {
        let removed = shard.consumer_offsets.borrow_mut().remove_topic(topic);
        if let Some(removed) = removed {
            let record = Meta::ConsumerOffsetsRemoved(removed).to_record();
            shard
                .engine
                .append_metadata(record.kind, &record.payload)
                .map_err(failed)?;
        }
        let batch = shard.engine.delete_queues(topic).map_err(failed)?;
        shard.engine.committed(batch).await.map_err(failed)?;
    }
    Ok(())
}

/// GET_TOPIC_CONFIG.
pub async fn get(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetTopicConfigRequest::decode(request.frame.ext())?;
    let config = control.topics.borrow().get(&header.topic).cloned();
    let config = config.ok_or(Error::TopicNotExist(header.topic))?;
    Ok(Answer::body(to_java_json(&*config)))
}

/// GET_ALL_TOPIC_CONFIG: all of them, or a page.
pub async fn get_all(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetAllTopicConfigRequest::decode(request.frame.ext())?;
    let topics = control.topics.borrow();
    let known = header
        .data_version
        .as_deref()
        .and_then(|text| protocol::body::lenient::from_slice(text.as_bytes()).ok());
    let (from, count) = super::page(&core, header.topic_seq, header.max_topic_num);
    let page = topics.page(known, from, count);
    let table: BTreeMap<String, TopicConfig> = page.topics;
    let body = TopicConfigAndMappingSerializeWrapper {
        data_version: topics.version(),
        topic_config_table: table,
        ..TopicConfigAndMappingSerializeWrapper::default()
    };
    let total = i32::try_from(page.total).unwrap_or(i32::MAX);
    let fields = GetAllTopicConfigResponse { total_topic_num: total };
    Ok(Answer::header(fields).with_parts(vec![to_java_json(&body).into()]))
}
