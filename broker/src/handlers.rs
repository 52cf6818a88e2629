//! What the broker does for each request, one file a family, and the table of those that core 0 serves.

pub mod admin;
pub mod clients;
pub mod connections;
pub mod group;
pub mod ha;
pub mod lock;
pub mod offset;
pub mod progress;
pub mod pull;
pub mod query;
pub mod reset;
pub mod send;
pub mod send_back;
pub mod topic;

use crate::control::Control;
use crate::core::Core;
use crate::dispatch::task;
use crate::error::Error;
use crate::request::{ReplyTo, Request};
use bytes::Bytes;
use protocol::header::Header;
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use serde::de::DeserializeOwned;
use std::fmt;
use std::rc::Rc;

type Fill = Box<dyn FnOnce(&mut HeaderWriter<'_>)>;

/// What a handler answers.
pub struct Answer {
    code: ResponseCode,
    remark: Option<String>,
    fill: Option<Fill>,
    body: Vec<Bytes>,
}

impl Answer {
    /// Done, and nothing to say.
    #[must_use]
    pub fn done() -> Answer {
        Answer {
            code: ResponseCode::SUCCESS,
            remark: None,
            fill: None,
            body: Vec::new(),
        }
    }

    /// Done; these are the fields of the answer.
    #[must_use]
    pub fn header(header: impl Header + 'static) -> Answer {
        Answer::done().with_fields(move |out| header.encode(out))
    }

    /// Done; this is the body of the answer.
    #[must_use]
    pub fn body(body: impl Into<Bytes>) -> Answer {
        Answer {
            body: vec![body.into()],
            ..Answer::done()
        }
    }

    /// Adds fields.
    #[must_use]
    pub fn with_fields(self, fill: impl FnOnce(&mut HeaderWriter<'_>) + 'static) -> Answer {
        Answer {
            fill: Some(Box::new(fill)),
            ..self
        }
    }

    /// Replaces the body by several parts, sent one after the other.
    #[must_use]
    pub fn with_parts(self, body: Vec<Bytes>) -> Answer {
        Answer { body, ..self }
    }

    /// Replaces code and remark.
    #[must_use]
    pub fn with_code(self, code: ResponseCode, remark: impl Into<String>) -> Answer {
        Answer {
            code,
            remark: Some(remark.into()),
            ..self
        }
    }

    /// Sends it.
    pub fn send(self, core: &Core, to: &ReplyTo) {
        let Answer {
            code,
            remark,
            fill,
            body,
        } = self;
        let write = |header: &mut HeaderWriter<'_>| {
            if let Some(fill) = fill {
                fill(header);
            }
            if let Some(remark) = &remark {
                header.set_remark(remark);
            }
        };
        core.reply(to, code, write, body);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("code", &self.code)
            .field("remark", &self.remark)
            .finish_non_exhaustive()
    }
}

/// What a handler comes to.
pub type Outcome = Result<Answer, Error>;

/// Runs a request that core 0 serves.
pub fn control(core: &Rc<Core>, request: Request) {
    match request.code() {
        RequestCode::HEART_BEAT => task(core, request, clients::heartbeat),
        RequestCode::UNREGISTER_CLIENT => task(core, request, clients::unregister),
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => task(core, request, clients::members),
        RequestCode::CHECK_CLIENT_CONFIG => task(core, request, clients::check),
        RequestCode::LOCK_BATCH_MQ => task(core, request, lock::lock),
        RequestCode::UNLOCK_BATCH_MQ => task(core, request, lock::unlock),
        RequestCode::QUERY_MESSAGE => task(core, request, query::query),
        RequestCode::UPDATE_AND_CREATE_TOPIC => task(core, request, topic::update),
        RequestCode::UPDATE_AND_CREATE_TOPIC_LIST => task(core, request, topic::update_all),
        RequestCode::DELETE_TOPIC_IN_BROKER => task(core, request, topic::delete),
        RequestCode::GET_TOPIC_CONFIG => task(core, request, topic::get),
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => task(core, request, group::update),
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => task(core, request, group::update_all),
        RequestCode::DELETE_SUBSCRIPTIONGROUP => task(core, request, group::delete),
        RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG => task(core, request, group::get),
        RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => task(core, request, group::get_all),
        RequestCode::UPDATE_AND_GET_GROUP_FORBIDDEN => task(core, request, group::forbid),
        RequestCode::GET_TOPIC_STATS_INFO => task(core, request, progress::topic_stats),
        RequestCode::GET_CONSUME_STATS => task(core, request, progress::consume_stats),
        RequestCode::GET_BROKER_CONSUME_STATS => task(core, request, progress::all_consume_stats),
        RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => task(core, request, progress::groups_of_topic),
        RequestCode::QUERY_TOPICS_BY_CONSUMER => task(core, request, progress::topics_by_group),
        RequestCode::QUERY_CONSUME_TIME_SPAN => task(core, request, progress::time_span),
        RequestCode::GET_ALL_CONSUMER_OFFSET => task(core, request, progress::all_offsets),
        RequestCode::CLONE_GROUP_OFFSET => task(core, request, progress::clone_group),
        RequestCode::QUERY_CORRECTION_OFFSET => task(core, request, progress::correction),
        RequestCode::GET_CONSUMER_CONNECTION_LIST => task(core, request, connections::consumers),
        RequestCode::GET_PRODUCER_CONNECTION_LIST => task(core, request, connections::producers),
        RequestCode::GET_ALL_PRODUCER_INFO => task(core, request, connections::all_producers),
        RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER => task(core, request, connections::subscription),
        RequestCode::GET_CONSUMER_RUNNING_INFO => task(core, request, connections::running_info),
        RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => task(core, request, connections::consumer_status),
        RequestCode::CONSUME_MESSAGE_DIRECTLY => task(core, request, connections::consume_directly),
        RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => task(core, request, reset::reset),
        RequestCode::GET_BROKER_RUNTIME_INFO => task(core, request, admin::runtime_info),
        RequestCode::VIEW_BROKER_STATS_DATA => task(core, request, admin::stats_data),
        RequestCode::GET_BROKER_CONFIG => task(core, request, admin::get_config),
        RequestCode::UPDATE_BROKER_CONFIG => task(core, request, admin::update_config),
        RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => task(core, request, admin::system_topics),
        RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE | RequestCode::DELETE_EXPIRED_COMMITLOG => {
            task(core, request, admin::clean_expired);
        }
        RequestCode::CLEAN_UNUSED_TOPIC => task(core, request, admin::clean_unused_topics),
        RequestCode::GET_ALL_DELAY_OFFSET => task(core, request, admin::delay_offsets),
        RequestCode::GET_BROKER_HA_STATUS => task(core, request, ha::status),
        RequestCode::NOTIFY_MIN_BROKER_ID_CHANGE => task(core, request, ha::group_changed),
        RequestCode::GET_ALL_TOPIC_CONFIG => task(core, request, topic::get_all),
        other => crate::dispatch::refuse(core, &request.reply_to(), &Error::NotSupported(other)),
    }
}

/// Why a request of RocketMQ's is not served, for people who read the refusal; empty for a code that nobody knows.
#[must_use]
pub fn why_not(code: RequestCode) -> &'static str {
    match code {
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => ": this port serves no pulls; use listenPort",
        RequestCode::POP_MESSAGE
        | RequestCode::ACK_MESSAGE
        | RequestCode::BATCH_ACK_MESSAGE
        | RequestCode::CHANGE_MESSAGE_INVISIBLETIME
        | RequestCode::PEEK_MESSAGE
        | RequestCode::NOTIFICATION
        | RequestCode::POLLING_INFO
        | RequestCode::QUERY_ASSIGNMENT
        | RequestCode::SET_MESSAGE_REQUEST_MODE
        | RequestCode::GET_ALL_MESSAGE_REQUEST_MODE => ": pop consumers are not served yet; consume by pull",
        RequestCode::END_TRANSACTION | RequestCode::RESUME_CHECK_HALF_MESSAGE => ": transactions are not served yet",
        RequestCode::RECALL_MESSAGE | RequestCode::GET_TIMER_CHECK_POINT | RequestCode::GET_TIMER_METRICS => {
            ": timer messages are not served yet; use delay levels"
        }
        RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => ": request and reply is not served yet",
        RequestCode::EXCHANGE_BROKER_HA_INFO => ": slaves learn all of that when they connect to the HA port",
        _ => "",
    }
}

/// The control tables; an error on any core but 0.
fn control_of(core: &Core) -> Result<Rc<Control>, Error> {
    core.control()
        .cloned()
        .ok_or_else(|| Error::System("the control tables are on core 0".to_owned()))
}

/// The body of a request, as fastjson writes it.
fn body<T: DeserializeOwned>(request: &Request, name: &'static str) -> Result<T, Error> {
    let body = protocol::body::lenient::from_slice(request.frame.body());
    body.map_err(|error| Error::Body {
        request: name,
        cause: error.to_string(),
    })
}

/// Which part of a table is asked for: from where, and how many.
fn page(core: &Core, from: Option<i32>, count: Option<i32>) -> (usize, usize) {
    let config = &core.settings().config;
    let Some(from) = from
        .and_then(|from| usize::try_from(from).ok())
        .filter(|_from| config.enable_split_metadata)
    else {
        return (0, usize::MAX);
    };
    let page_size = usize::try_from(config.split_metadata_size).unwrap_or(usize::MAX);
    let count = count
        .and_then(|count| usize::try_from(count).ok())
        .filter(|&count| count > 0);
    (from, count.unwrap_or(page_size).min(page_size))
}
