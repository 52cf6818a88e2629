//! Who is connected: heartbeats, unregistering, members of groups, and telling them of each other. On core 0.

use crate::clients::{Channel, Client};
use crate::consumer_groups::{Beat, Changes};
use crate::control::{Control, publish};
use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::meta::Meta;
use crate::request::Request;
use crate::topics::GroupTopic;
use protocol::body::group::GetConsumerListByGroupResponseBody;
use protocol::body::heartbeat::{CheckClientRequestBody, ConsumeType, ConsumerData, HeartbeatData};
use protocol::body::json::to_java_json;
use protocol::body::subscription;
use protocol::header::Header;
use protocol::header::group::{
    GetConsumerListByGroupRequest, NotifyConsumerIdsChangedRequest, UnregisterClientRequest, heartbeat_response,
};
use protocol::message::sys_flag::topic_flag;
use protocol::model::{check_group, names as topics};
use protocol::request_code::RequestCode;
use remoting::{CloseReason, ConnectionId};
use runtime::Instant;
use std::rc::Rc;
use std::sync::Arc;

/// HEART_BEAT: a client lives, and these are its groups. The groups and retry topics that it needs are made.
pub async fn heartbeat(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let beat: HeartbeatData = super::body(&request, "HEART_BEAT")?;
    let client = Client {
        channel: Channel {
            core: request.origin.core,
            connection: request.origin.connection,
        },
        client_id: Arc::from(beat.client_id.as_str()),
        address: request.origin.peer,
        language: request.frame.language(),
        version: request.frame.version(),
    };
    let mut subscription_changed = false;
    for data in beat.consumer_data_set {
        if core.settings().config.reject_pull_consumer_enable && data.consume_type == ConsumeType::Actively {
            continue;
        }
        check_group(&data.group_name)?;
        let notify = prepare_group(&core, &control, &data).await?;
        let (fingerprint, without_sub) = (beat.heartbeat_fingerprint, beat.without_sub);
        let beat = Beat {
            client: &client,
            data,
            fingerprint,
            without_sub,
            notify,
        };
        let registered = control.consumer_groups.borrow_mut().on_heartbeat(beat, Instant::now());
        subscription_changed |= registered.subscription_changed;
        follow(&core, registered.changes);
    }
    if core.settings().config.enable_register_producer {
        for data in beat.producer_data_set {
            check_group(&data.group_name)?;
            control
                .producer_groups
                .borrow_mut()
                .on_heartbeat(&data.group_name, &client, Instant::now());
        }
    }
    Ok(Answer::done().with_fields(move |header| {
        header.put(heartbeat_response::SUPPORTS_V2, "true");
        header.put_bool(heartbeat_response::SUBSCRIPTION_CHANGED, subscription_changed);
    }))
}

/// Makes a consumer's group and its retry topic if they are not there. Whether its members are told of each other.
async fn prepare_group(core: &Rc<Core>, control: &Control, data: &ConsumerData) -> Result<bool, Error> {
    let now_ms = runtime::wall_clock_ms();
    let used = control
        .subscription_groups
        .borrow_mut()
        .for_consumer(&data.group_name, now_ms)?;
    if let Some(change) = used.change() {
        control
            .record_and_wait(core, &Meta::SubscriptionGroup(change.clone()))
            .await?;
    }
    let config = used.config();
    if config.retry_queue_nums > 0 {
        let retry_topic = topics::retry_topic(&data.group_name);
        let queues = u32::try_from(config.retry_queue_nums).unwrap_or(1);
        let order = {
            let topics = control.topics.borrow();
            data.subscription_data_set
                .iter()
                .any(|subscription| topics.is_order(&subscription.topic))
        };
        let wanted = GroupTopic {
            order,
            sys_flag: if data.unit_mode { topic_flag::UNIT_SUB } else { 0 },
            ..GroupTopic::new(&retry_topic, queues)
        };
        control.ensure_group_topic(core, wanted).await?;
    }
    Ok(config.notify_consumer_ids_changed_enable && core.settings().config.notify_consumer_ids_changed_enable)
}

/// UNREGISTER_CLIENT: a client leaves its groups.
pub async fn unregister(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = UnregisterClientRequest::decode(request.frame.ext())?;
    let channel = Channel {
        core: request.origin.core,
        connection: request.origin.connection,
    };
    if let Some(group) = header.producer_group {
        control.producer_groups.borrow_mut().unregister(&group, channel);
    }
    if let Some(group) = header.consumer_group {
        let changes = control.consumer_groups.borrow_mut().unregister(&group, channel);
        follow(&core, changes);
    }
    Ok(Answer::done())
}

/// GET_CONSUMER_LIST_BY_GROUP: the members of a group; consumers share its queues out by this list.
pub async fn members(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = GetConsumerListByGroupRequest::decode(request.frame.ext())?;
    let members = control.consumer_groups.borrow().client_ids(&header.consumer_group);
    let members = members.filter(|members| !members.is_empty());
    let consumer_id_list =
        members.ok_or_else(|| Error::System(format!("no consumer for this group, {}", header.consumer_group)))?;
    Ok(Answer::body(to_java_json(&GetConsumerListByGroupResponseBody {
        consumer_id_list,
    })))
}

/// CHECK_CLIENT_CONFIG: whether this broker can filter as a consumer wants it to.
pub async fn check(_core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let body: CheckClientRequestBody = super::body(&request, "CHECK_CLIENT_CONFIG")?;
    match body.subscription_data {
        Some(data) if !subscription::is_tag_type(&data.expression_type) => {
            let kind = data.expression_type;
            Err(Error::System(format!(
                "The broker does not support consumer to filter message by {kind}"
            )))
        }
        _ => Ok(Answer::done()),
    }
}

/// A connection has ended: its clients have left.
pub fn disconnected(core: &Rc<Core>, of_core: usize, connection: ConnectionId) {
    let Some(control) = core.control() else { return };
    let channel = Channel {
        core: of_core,
        connection,
    };
    control.producer_groups.borrow_mut().on_close(channel);
    let changes = control.consumer_groups.borrow_mut().on_close(channel);
    follow(core, changes);
}

/// Forgets clients that have been silent for too long and closes their connections, so that a client that lives after all finds out
/// and begins anew; looks a few times within that time.
pub async fn expire(core: Rc<Core>, control: Rc<Control>) {
    loop {
        let limit = core.settings().client_expiry;
        runtime::sleep(limit / 12).await;
        let now = Instant::now();
        let (changes, silent) = control.consumer_groups.borrow_mut().expire(now, limit);
        follow(&core, changes);
        let producers = control.producer_groups.borrow_mut().expire(now, limit);
        for client in silent.iter().chain(&producers) {
            tracing::warn!(client = %client.client_id, address = %client.address, "a client has been silent for too long");
            let connection = client.channel.connection;
            core.run_on(client.channel.core, move |core| {
                if let Some(connection) = core.connections.get(connection) {
                    connection.close(CloseReason::Ours("its client sent no heartbeat for too long"));
                }
            });
        }
        control.queue_locks.borrow_mut().forget_expired(now);
    }
}

/// Does what follows from a change of members: replicas, then notices.
fn follow(core: &Core, changes: Changes<Channel>) {
    for update in &changes.updates {
        publish(core, update);
    }
    for notice in changes.notices {
        for channel in notice.channels {
            let group = Arc::clone(&notice.consumer_group);
            core.run_on(channel.core, move |core| notify(core, channel.connection, &group));
        }
    }
}

fn notify(core: &Core, connection: ConnectionId, group: &str) {
    let Some(connection) = core.connections.get(connection) else {
        return;
    };
    let header = NotifyConsumerIdsChangedRequest {
        consumer_group: group.to_owned(),
    };
    let fill = |out: &mut protocol::header_writer::HeaderWriter<'_>| header.encode(out);
    if let Err(error) = connection.notify(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED, fill, bytes::Bytes::new()) {
        tracing::debug!(%error, group, "a consumer was not told that the members of its group have changed");
    }
}
