//! What a broker keeps beside messages, asked of an Apache master again and again: topics, subscription groups, consumer offsets, and how
//! far delay levels are.
//!
//! Offsets only move forward, and no further than the messages that are here: consumers may have told this broker more than the
//! master, which may have been told of messages that have not come yet. Topics and groups that the master deletes stay.

use super::ask;
use crate::control::Control;
use crate::core::Core;
use crate::delayed_messages;
use crate::meta::Meta;
use crate::table_files::DelayOffsetsFile;
use crate::table_files::import::{self, Kept};
use bytes::Bytes;
use protocol::body::lenient;
use protocol::request_code::RequestCode;
use remoting::{NoRequests, RpcClient};
use std::rc::Rc;
use std::time::Duration;

/// How often the master is asked. (Apache's own slaves ask every 10 s; what is newer is lost with the master.)
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps the tables of the master, for ever; on core 0.
pub async fn keep(core: Rc<Core>, control: Rc<Control>) {
    let rpc = RpcClient::new(core.connections.clone(), Rc::new(NoRequests));
    let mut said: Option<String> = None;
    loop {
        if let Some(master) = core.master_broker_address() {
            match take(&core, &control, &rpc, &master).await {
                Ok(counts) if said.as_deref() != Some("") => {
                    tracing::info!(
                        master,
                        topics = counts.topics,
                        groups = counts.groups,
                        offsets = counts.offsets,
                        "the tables of the Apache master are here"
                    );
                    said = Some(String::new());
                }
                Ok(_again) => {}
                Err(problem) if said.as_ref() == Some(&problem) => {}
                Err(problem) => {
                    tracing::warn!(
                        problem,
                        "the tables of the Apache master are not known now; trying again"
                    );
                    said = Some(problem);
                }
            }
        }
        runtime::sleep(PERIOD).await;
    }
}

/// How many changes, and how many offsets there are.
pub(super) struct Counts {
    topics: usize,
    groups: usize,
    offsets: usize,
}

/// Takes them once; their changes are in the log of this broker then, or on the way there.
pub(super) async fn take(core: &Rc<Core>, control: &Control, rpc: &RpcClient, master: &str) -> Result<Counts, String> {
    let now_ms = runtime::wall_clock_ms();
    let topics = text(ask(rpc, master, RequestCode::GET_ALL_TOPIC_CONFIG).await?)?;
    let topics = control.topics.borrow_mut().import(&topics, now_ms);
    let topics = topics.map_err(|error| error.to_string())?;
    let groups = text(ask(rpc, master, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG).await?)?;
    let groups = control.subscription_groups.borrow_mut().import(&groups, now_ms);
    let groups = groups.map_err(|error| error.to_string())?;
    let counts = (topics.len(), groups.len());
    for change in topics.into_iter().map(Meta::Topic).chain(groups) {
        control.record(core, &change).map_err(|error| error.to_string())?;
    }
    let offsets = ask(rpc, master, RequestCode::GET_ALL_CONSUMER_OFFSET).await?;
    let offsets = import::readable_offsets(&offsets).map_err(|error| error.to_string())?;
    let counted = offsets.len();
    let kept = import::store_offsets(core, offsets, Kept::Furthest).await;
    kept.map_err(|error| error.to_string())?;
    let delays = ask(rpc, master, RequestCode::GET_ALL_DELAY_OFFSET).await?;
    let delays: DelayOffsetsFile =
        lenient::from_slice(&delays).map_err(|error| format!("the progress of delay levels: {error}"))?;
    delayed_messages::advance_everywhere(core, delays.offset_table).await;
    Ok(Counts {
        topics: counts.0,
        groups: counts.1,
        offsets: counted,
    })
}

fn text(body: Bytes) -> Result<String, String> {
    String::from_utf8(body.to_vec()).map_err(|error| format!("a table of the master's is no UTF-8: {error}"))
}
