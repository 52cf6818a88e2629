//! Reading: every queue has one pull after the other, on connections that the queues share.
//!
//! Latency of a message is the time from its birth at the producer to its arrival here, by the wall clocks of both.

use crate::measure::{Measured, Recorder};
use crate::produce::{Plan, connect, no_files, run_loops};
use crate::route::{self, Queue, Use};
use crate::workload::Options;
use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::offset::{GetMaxOffsetRequest, GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse};
use protocol::header::pull::{PullHeader, PullResponse, pull_flag};
use protocol::header_writer::HeaderWriter;
use protocol::message::record::Records;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Connections, Limits};
use runtime::Instant;
use runtime::core::run_here;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long the broker may hold a pull.
const HOLD_MS: i64 = 1_000;
const LIMIT: Duration = Duration::from_secs(10);
const GROUP: &str = "mqbench-consumer";

/// Reads, and tells what was measured.
///
/// # Errors
/// When the topic's queues cannot be found or no connection can be made.
pub fn run(options: &Options, from_first: bool) -> Result<Measured, String> {
    let queues = run_here(&no_files(), async {
        route::queues(&options.name_servers(), &options.topic, options.queues, Use::Read).await
    })
    .map_err(|error| format!("no event loop: {error}"))??;
    if queues.is_empty() {
        return Err(format!("topic {} has no queue that can be read", options.topic));
    }
    run_loops(options, move |plan, index| {
        read_loop(plan, index, queues.clone(), from_first)
    })
}

async fn read_loop(plan: Arc<Plan>, index: usize, queues: Vec<Queue>, from_first: bool) -> Result<Recorder, String> {
    let options = &plan.options;
    let recorder = Rc::new(RefCell::new(Recorder::new(plan.from, plan.until)));
    let connections = Connections::new(Limits::default());
    let mut opened: BTreeMap<(String, usize), Rc<Connection>> = BTreeMap::new();
    let mut tasks = Vec::new();
    let own = queues.into_iter().skip(index).step_by(options.loops());
    for (number, queue) in own.enumerate() {
        let key = (queue.address.clone(), number % options.connections_of(index).max(1));
        let connection = match opened.get(&key) {
            Some(connection) => Rc::clone(connection),
            None => {
                let connection = connect(&connections, &queue.address).await?;
                opened.insert(key, Rc::clone(&connection));
                connection
            }
        };
        tasks.push(runtime::spawn(read_queue(
            Arc::clone(&plan),
            connection,
            queue,
            from_first,
            Rc::clone(&recorder),
        )));
    }
    for task in tasks {
        if let Some(outcome) = task.await {
            outcome?;
        }
    }
    let recorded = recorder.borrow().clone();
    Ok(recorded)
}

async fn read_queue(
    plan: Arc<Plan>,
    connection: Rc<Connection>,
    queue: Queue,
    from_first: bool,
    recorder: Rc<RefCell<Recorder>>,
) -> Result<(), String> {
    let mut next = first_offset(&connection, &plan.options.topic, queue.queue_id, from_first).await?;
    while Instant::now() < plan.until {
        let answer = pull(&connection, &plan.options.topic, queue.queue_id, next).await;
        let now = Instant::now();
        match answer {
            Ok((code, fields, frame)) => {
                next = fields.next_begin_offset;
                match code {
                    ResponseCode::SUCCESS => count(&mut recorder.borrow_mut(), now, &frame),
                    ResponseCode::PULL_NOT_FOUND
                    | ResponseCode::PULL_RETRY_IMMEDIATELY
                    | ResponseCode::PULL_OFFSET_MOVED => {}
                    other => recorder.borrow_mut().failed(now, &other.to_string()),
                }
            }
            Err(why) => {
                recorder.borrow_mut().failed(now, &why);
                if connection.is_closed() {
                    return Ok(());
                }
                runtime::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Ok(())
}

fn count(recorder: &mut Recorder, now: Instant, frame: &Frame) {
    let now_ms = runtime::wall_clock_ms();
    for record in Records::new(frame.body()) {
        match record {
            Ok(record) => {
                let age = u64::try_from(now_ms.saturating_sub(record.born_timestamp)).unwrap_or(0);
                recorder.done(now, Duration::from_millis(age), 1, record.size() as u64);
            }
            Err(error) => {
                recorder.failed(now, &format!("a record cannot be read: {error}"));
                return;
            }
        }
    }
}

async fn first_offset(
    connection: &Rc<Connection>,
    topic: &str,
    queue_id: i32,
    from_first: bool,
) -> Result<i64, String> {
    let topic = topic.to_owned();
    let broken = |error: protocol::header::HeaderError| error.to_string();
    if from_first {
        let header = GetMinOffsetRequest { topic, queue_id };
        let answer = ask(connection, RequestCode::GET_MIN_OFFSET, |out| header.encode(out)).await?;
        Ok(GetMinOffsetResponse::decode(answer.ext()).map_err(broken)?.offset)
    } else {
        let header = GetMaxOffsetRequest {
            topic,
            queue_id,
            committed: true,
        };
        let answer = ask(connection, RequestCode::GET_MAX_OFFSET, |out| header.encode(out)).await?;
        Ok(GetMaxOffsetResponse::decode(answer.ext()).map_err(broken)?.offset)
    }
}

async fn pull(
    connection: &Rc<Connection>,
    topic: &str,
    queue_id: i32,
    queue_offset: i64,
) -> Result<(ResponseCode, PullResponse, Frame), String> {
    let header = PullHeader {
        consumer_group: GROUP.into(),
        topic: topic.into(),
        queue_id,
        queue_offset,
        max_msg_nums: 32,
        sys_flag: pull_flag::SUSPEND | pull_flag::SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: HOLD_MS,
        subscription: Some(protocol::ext::ExtText::Plain("*")),
        sub_version: 0,
        expression_type: Some("TAG".into()),
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
        lite_topic: None,
        broker_name: None,
    };
    let answer = ask(connection, RequestCode::PULL_MESSAGE, |out| header.encode(out)).await?;
    let code = answer.response_code();
    let fields = PullResponse::decode(answer.ext())
        .map_err(|error| format!("{code} {}: {error}", answer.remark().unwrap_or_default()))?;
    Ok((code, fields, answer))
}

async fn ask(
    connection: &Rc<Connection>,
    code: RequestCode,
    fill: impl FnOnce(&mut HeaderWriter<'_>),
) -> Result<Frame, String> {
    connection
        .invoke(code, fill, Bytes::new(), LIMIT)
        .await
        .map_err(|error| error.to_string())
}
