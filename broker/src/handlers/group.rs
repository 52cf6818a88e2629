//! Subscription groups: making, changing, deleting, listing. On core 0.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::meta::Meta;
use crate::request::Request;
use protocol::body::group::{SubscriptionGroupConfig, SubscriptionGroupList};
use protocol::body::json::to_java_json;
use protocol::header::Header;
use protocol::header::group::{
    DeleteSubscriptionGroupRequest, GetAllSubscriptionGroupRequest, GetAllSubscriptionGroupResponse,
    GetSubscriptionGroupConfigRequest, UpdateGroupForbiddenRequest,
};
use std::rc::Rc;
use std::sync::Arc;

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
pub async fn update(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let wanted: SubscriptionGroupConfig = super::body(&request, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP")?;
    let change = control
        .subscription_groups
        .borrow_mut()
        .update(wanted, runtime::wall_clock_ms())?;
    if let Some(change) = change {
        control.record_and_wait(&core, &Meta::SubscriptionGroup(change)).await?;
    }
    Ok(Answer::done())
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
pub async fn update_all(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let list: SubscriptionGroupList = super::body(&request, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST")?;
    let now_ms = runtime::wall_clock_ms();
    let changes = control
        .subscription_groups
        .borrow_mut()
        .update_all(list.group_config_list, now_ms)?;
    for change in changes {
        control.record_and_wait(&core, &Meta::SubscriptionGroup(change)).await?;
    }
    Ok(Answer::done())
}

/// DELETE_SUBSCRIPTIONGROUP, and, if asked for, what the group has consumed.
pub async fn delete(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = DeleteSubscriptionGroupRequest::decode(request.frame.ext())?;
    let gone = control
        .subscription_groups
        .borrow_mut()
        .delete(&header.group_name, runtime::wall_clock_ms());
    if let Some(gone) = gone {
        control
            .record_and_wait(&core, &Meta::SubscriptionGroupGone(gone))
            .await?;
    }
    if header.clean_offset {
        let group: Arc<str> = Arc::from(header.group_name.as_str());
        let removed = core
            .ask_all(move |core| {
                let group = Arc::clone(&group);
                async move { forget_offsets(&core, &group).await }
            })
            .await;
        for outcome in removed {
            outcome?;
        }
    }
    control.stats.borrow_mut().forget_group(&header.group_name);
    Ok(Answer::done())
}

async fn forget_offsets(core: &Core, group: &str) -> Result<(), Error> {
    let failed = |error: engine::AppendError| Error::NotAvailable(format!("the deletion does not last: {error}"));
    for shard in core.own_shards() {
        let removed = shard.consumer_offsets.borrow_mut().remove_group(group);
        if let Some(removed) = removed {
            let record = Meta::ConsumerOffsetsRemoved(removed).to_record();
            let batch = shard
                .engine
                .append_metadata(record.kind, &record.payload)
                .map_err(failed)?;
            shard.engine.committed(batch).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// GET_SUBSCRIPTIONGROUP_CONFIG.
pub async fn get(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetSubscriptionGroupConfigRequest::decode(request.frame.ext())?;
    let config = control.subscription_groups.borrow().get(&header.group).cloned();
    let config = config.ok_or(Error::SubscriptionGroupNotExist(header.group))?;
    Ok(Answer::body(to_java_json(&*config)))
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG: all of them, or a page.
pub async fn get_all(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetAllSubscriptionGroupRequest::decode(request.frame.ext())?;
    let known = header.data_version.as_deref();
    let known = known.and_then(|text| protocol::body::lenient::from_slice(text.as_bytes()).ok());
    let (from, count) = super::page(&core, header.group_seq, header.max_group_num);
    let page = control.subscription_groups.borrow().page(known, from, count);
    let total = i32::try_from(page.total).unwrap_or(i32::MAX);
    let fields = GetAllSubscriptionGroupResponse { total_group_num: total };
    Ok(Answer::header(fields).with_parts(vec![to_java_json(&page.groups).into()]))
}

/// UPDATE_AND_GET_GROUP_FORBIDDEN: a group may (not) read a topic.
pub async fn forbid(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = UpdateGroupForbiddenRequest::decode(request.frame.ext())?;
    if let Some(readable) = header.readable {
        let now_ms = runtime::wall_clock_ms();
        let change =
            control
                .subscription_groups
                .borrow_mut()
                .set_readable(&header.group, &header.topic, readable, now_ms)?;
        if let Some(change) = change {
            control.record_and_wait(&core, &Meta::GroupForbidden(change)).await?;
        }
    }
    let readable = control
        .subscription_groups
        .borrow()
        .is_readable(&header.group, &header.topic);
    let body = serde_json::json!({ "topic": header.topic, "group": header.group, "readable": readable });
    Ok(Answer::body(body.to_string()))
}
