//! Which code goes to which core and which handler, and which error becomes which response code.
//!
//! [`Service`] takes a frame from a connection and finds its home core; [`run_here`] is the table of all requests that are
//! served, run on that core.

use crate::core::{CONTROL_CORE, Core};
use crate::error::Error;
use crate::handlers::{self, Answer};
use crate::request::{Origin, ReplyTo, Request};
use protocol::frame::Frame;
use protocol::model::{PhysicalOffset, QueueId};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{CloseReason, Connection, Handler};
use std::future::Future;
use std::rc::Rc;

/// Takes the requests of a core's connections.
#[derive(Debug)]
pub struct Service {
    core: Rc<Core>,
    /// The fast port (listenPort - 2) serves no pulls, as in RocketMQ.
    fast_port: bool,
}

impl Service {
    /// The service of one port.
    #[must_use]
    pub fn new(core: Rc<Core>, fast_port: bool) -> Rc<Service> {
        Rc::new(Service { core, fast_port })
    }
}

impl Handler for Service {
    fn on_request(&self, connection: &Rc<Connection>, frame: Frame) {
        let code = frame.request_code();
        let is_pull = matches!(code, RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE);
        let origin = Origin {
            core: self.core.index,
            connection: connection.id(),
            peer: connection.peer(),
            counted: !is_pull,
        };
        if is_pull {
            // It may be held for long, and must not use up what protects from a flood meanwhile.
            connection.finish_request();
        }
        let request = Request {
            origin,
            frame,
            chosen_queue: None,
        };
        if is_pull && self.fast_port {
            return refuse(&self.core, &request.reply_to(), &Error::NotSupported(code));
        }
        send_home(&self.core, request);
    }

    fn on_close(&self, connection: &Rc<Connection>, _reason: &CloseReason) {
        let (core, id) = (self.core.index, connection.id());
        self.core.run_on(CONTROL_CORE, move |control| {
            handlers::clients::disconnected(control, core, id)
        });
    }
}

/// Runs a request at home, wherever that is.
pub fn send_home(core: &Rc<Core>, mut request: Request) {
    let home = home_core(core, &mut request);
    if home == core.index {
        run_here(core, request);
    } else {
        core.forward(home, request);
    }
}

/// The core on which a request runs: that of its queue's home shard, or the one with the control tables.
fn home_core(core: &Core, request: &mut Request) -> usize {
    let shard = match request.code() {
        RequestCode::SEND_MESSAGE => queue_home(core, request, "topic", "queueId"),
        RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => queue_home(core, request, "b", "e"),
        RequestCode::PULL_MESSAGE
        | RequestCode::LITE_PULL_MESSAGE
        | RequestCode::QUERY_CONSUMER_OFFSET
        | RequestCode::UPDATE_CONSUMER_OFFSET
        | RequestCode::GET_MAX_OFFSET
        | RequestCode::GET_MIN_OFFSET
        | RequestCode::SEARCH_OFFSET_BY_TIMESTAMP
        | RequestCode::GET_EARLIEST_MSG_STORETIME
        | RequestCode::QUERY_CONSUME_QUEUE => queue_home(core, request, "topic", "queueId"),
        RequestCode::VIEW_MESSAGE_BY_ID | RequestCode::CONSUMER_SEND_MSG_BACK => record_home(core, request),
        _ => None,
    };
    shard.map_or(CONTROL_CORE, |shard| core.map.core_of(shard))
}

fn queue_home(
    core: &Core,
    request: &mut Request,
    topic_field: &str,
    queue_field: &str,
) -> Option<protocol::model::ShardId> {
    let (mut topic, mut queue_id) = (None, None);
    for (key, value) in request.frame.ext().raw() {
        if key.is(topic_field) {
            topic = Some(value.text().into_cow());
        } else if key.is(queue_field) {
            queue_id = value.number::<i64>();
        }
        if topic.is_some() && queue_id.is_some() {
            break;
        }
    }
    let (topic, queue_id) = (topic?, queue_id?);
    let queue_id = match i32::try_from(queue_id).ok().and_then(QueueId::from_wire) {
        Some(queue_id) => queue_id,
        None => {
            // The client leaves the queue to the broker.
            let queues = core.replicas.borrow().topic(&topic)?.write_queues;
            let chosen = QueueId::new(u32::try_from(runtime::rng::random_below(u64::from(queues))).ok()?)?;
            request.chosen_queue = Some(chosen);
            chosen
        }
    };
    Some(core.map.home(&topic, queue_id))
}

fn record_home(core: &Core, request: &Request) -> Option<protocol::model::ShardId> {
    let offset = request.frame.ext().get("offset")?;
    let shard = PhysicalOffset::from_wire(offset.to_cow().parse().ok()?)?.shard();
    (shard.get() < core.map.shards().get()).then_some(shard)
}

/// Runs a request on this core, its home.
pub fn run_here(core: &Rc<Core>, request: Request) {
    match request.code() {
        // Each shard's own: no waiting, or a wait that the handler arranges itself.
        RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
            handlers::send::serve(core, request);
        }
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => handlers::pull::pull(core, request),
        RequestCode::UPDATE_CONSUMER_OFFSET => task(core, request, handlers::offset::update),
        RequestCode::QUERY_CONSUMER_OFFSET => task(core, request, handlers::offset::query),
        RequestCode::GET_MAX_OFFSET => task(core, request, handlers::offset::max),
        RequestCode::GET_MIN_OFFSET => task(core, request, handlers::offset::min),
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => task(core, request, handlers::offset::search),
        RequestCode::GET_EARLIEST_MSG_STORETIME => task(core, request, handlers::offset::earliest),
        RequestCode::VIEW_MESSAGE_BY_ID => task(core, request, handlers::query::view),
        RequestCode::CONSUMER_SEND_MSG_BACK => task(core, request, handlers::send_back::send_back),
        RequestCode::QUERY_CONSUME_QUEUE => task(core, request, handlers::query::consume_queue),
        code if changes_tables(code) && core.settings().is_slave() => {
            let error =
                Error::NotAvailable("this broker is a slave: its master's tables count; ask the master".to_owned());
            refuse(core, &request.reply_to(), &error);
        }
        _ => handlers::control(core, request),
    }
}

/// Requests by which people change what a broker keeps: a slave has that from its master.
fn changes_tables(code: RequestCode) -> bool {
    matches!(
        code,
        RequestCode::UPDATE_AND_CREATE_TOPIC
            | RequestCode::UPDATE_AND_CREATE_TOPIC_LIST
            | RequestCode::DELETE_TOPIC_IN_BROKER
            | RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
            | RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
            | RequestCode::DELETE_SUBSCRIPTIONGROUP
            | RequestCode::UPDATE_AND_GET_GROUP_FORBIDDEN
            | RequestCode::INVOKE_BROKER_TO_RESET_OFFSET
            | RequestCode::CLONE_GROUP_OFFSET
            | RequestCode::CLEAN_UNUSED_TOPIC
    )
}

/// Runs a handler that may wait, and answers with what it comes to.
pub fn task<F>(core: &Rc<Core>, request: Request, handler: impl FnOnce(Rc<Core>, Rc<Request>) -> F)
where
    F: Future<Output = Result<Answer, Error>> + 'static,
{
    let to = request.reply_to();
    let work = handler(Rc::clone(core), Rc::new(request));
    let core = Rc::clone(core);
    runtime::spawn(async move {
        match work.await {
            Ok(answer) => answer.send(&core, &to),
            Err(error) => refuse(&core, &to, &error),
        }
    });
}

/// Answers with an error.
pub fn refuse(core: &Core, to: &ReplyTo, error: &Error) {
    core.refuse(to, response_code(error), &error.to_string());
}

/// The response code of each error: the one on which RocketMQ's clients do the right thing.
fn response_code(error: &Error) -> ResponseCode {
    match error {
        Error::Header(_) | Error::Body { .. } | Error::System(_) => ResponseCode::SYSTEM_ERROR,
        Error::Name(_) | Error::InvalidParameter(_) => ResponseCode::INVALID_PARAMETER,
        Error::TopicNotExist(_) => ResponseCode::TOPIC_NOT_EXIST,
        Error::SubscriptionGroupNotExist(_) => ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        Error::SubscriptionNotExist(_) => ResponseCode::SUBSCRIPTION_NOT_EXIST,
        Error::SubscriptionNotLatest(_) => ResponseCode::SUBSCRIPTION_NOT_LATEST,
        Error::SubscriptionParse(_) => ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        Error::NoPermission(_) => ResponseCode::NO_PERMISSION,
        Error::MessageIllegal(_) => ResponseCode::MESSAGE_ILLEGAL,
        Error::NotAvailable(_) => ResponseCode::SERVICE_NOT_AVAILABLE,
        Error::Busy(_) => ResponseCode::SYSTEM_BUSY,
        Error::NotFound(_) => ResponseCode::QUERY_NOT_FOUND,
        Error::ConsumerNotOnline(_) => ResponseCode::CONSUMER_NOT_ONLINE,
        Error::ClientTimeout(_) => ResponseCode::CONSUME_MSG_TIMEOUT,
        Error::NotSupported(_) => ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
    }
}
