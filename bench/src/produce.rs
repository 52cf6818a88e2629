//! Sending: every connection keeps `depth` messages unanswered.
//!
//! Closed loop: the next message goes when an answer comes, and latency counts from the send. At a fixed rate each of the
//! `connections * depth` senders has its own evenly spaced schedule, and latency counts from when the message was due, so
//! a broker that stalls shows in every message that it delayed.

use crate::measure::{Measured, Recorder};
use crate::route::{self, Queue, Use};
use crate::workload::Options;
use crate::{cpu, measure};
use bytes::Bytes;
use protocol::header::send::SendHeader;
use protocol::header_writer::HeaderWriter;
use protocol::message::id::UniqueIdMaker;
use protocol::message::properties::{self, names};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Connections, Limits, NoRequests};
use runtime::core::{CoreOptions, run_cores, run_here};
use runtime::probe::{IoPath, Refusal};
use runtime::{Instant, sleep_until};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the last answers when the time is up.
const LAST_ANSWERS_LIMIT: Duration = Duration::from_secs(10);

/// Sends, and tells what was measured.
///
/// # Errors
/// When the topic's queues cannot be found or no connection can be made.
pub fn run(options: &Options) -> Result<Measured, String> {
    let io = no_files();
    let queues = run_here(&io, async {
        route::queues(&options.name_servers(), &options.topic, options.queues, Use::Write).await
    })
    .map_err(|error| format!("no event loop: {error}"))??;
    if queues.is_empty() {
        return Err(format!("topic {} has no queue that takes messages", options.topic));
    }
    run_loops(options, move |plan, index| send_loop(plan, index, queues.clone()))
}

/// What every loop needs.
#[derive(Debug)]
pub struct Plan {
    /// The command line.
    pub options: Options,
    /// Measured from here.
    pub from: Instant,
    /// Measured until here.
    pub until: Instant,
}

/// Runs one event loop a core and adds up what they measured; watches the CPU meanwhile.
pub(crate) fn run_loops<F>(
    options: &Options,
    work: impl Fn(Arc<Plan>, usize) -> F + Clone + Send + Sync + 'static,
) -> Result<Measured, String>
where
    F: Future<Output = Result<Recorder, String>>,
{
    let from = Instant::now() + Duration::from_secs(options.warmup);
    let until = from + options.measured();
    let plan = Arc::new(Plan {
        options: options.clone(),
        from,
        until,
    });
    let watch = watch_cpu(options.pid.clone(), from, until);
    let cores = CoreOptions {
        cores: options.loops(),
        pin: false,
        io: no_files(),
    };
    let loops = run_cores(&cores, move |index| work(Arc::clone(&plan), index))
        .map_err(|error| format!("no event loop: {error}"))?;
    let recorders = loops.into_iter().collect::<Result<Vec<Recorder>, String>>()?;
    let mut measured = measure::Measured::of(recorders, options.measured());
    let (server, own) = watch.join().unwrap_or_default();
    (measured.server_cpu, measured.own_cpu) = (server, own);
    Ok(measured)
}

type CpuTimes = (Option<Duration>, Option<Duration>);

/// Reads the CPU times at both ends of the measured span, from a thread that does nothing else.
fn watch_cpu(pids: Vec<u32>, from: Instant, until: Instant) -> std::thread::JoinHandle<CpuTimes> {
    std::thread::spawn(move || {
        let own = [std::process::id()];
        std::thread::sleep(from - Instant::now());
        let before = (cpu::time_of(&pids), cpu::time_of(&own));
        std::thread::sleep(until - Instant::now());
        let after = (cpu::time_of(&pids), cpu::time_of(&own));
        let used = |after: Option<Duration>, before: Option<Duration>| Some(after?.saturating_sub(before?));
        let watched = used(after.0, before.0).filter(|_time| !pids.is_empty());
        (watched, used(after.1, before.1))
    })
}

/// The generator reads and writes no files.
pub(crate) fn no_files() -> IoPath {
    IoPath::Blocking(Refusal::Configured)
}

/// The senders of one loop.
struct Senders {
    plan: Arc<Plan>,
    queues: Vec<Queue>,
    recorder: RefCell<Recorder>,
    ids: RefCell<UniqueIdMaker>,
    body: Bytes,
    /// Time between two messages of one sender at a fixed rate.
    interval: Option<Duration>,
}

async fn send_loop(plan: Arc<Plan>, index: usize, queues: Vec<Queue>) -> Result<Recorder, String> {
    let options = &plan.options;
    let senders = options.connections.max(1) * options.depth.max(1);
    #[expect(clippy::cast_precision_loss, reason = "there are fewer senders than 2^52")]
    let interval = (options.rate > 0.0).then(|| Duration::from_secs_f64(senders as f64 / options.rate));
    let maker = u32::try_from(index).unwrap_or(0);
    let all = Rc::new(Senders {
        recorder: RefCell::new(Recorder::new(plan.from, plan.until)),
        ids: RefCell::new(UniqueIdMaker::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            std::process::id(),
            maker,
        )),
        body: body(options.size),
        interval,
        queues,
        plan: Arc::clone(&plan),
    });
    let connections = Connections::new(Limits::default());
    let mut tasks = Vec::new();
    for number in 0..options.connections_of(index) {
        let first = all
            .queues
            .get((index + number * options.loops()) % all.queues.len())
            .ok_or("no queue")?;
        let connection = connect(&connections, &first.address).await?;
        for slot in 0..options.depth.max(1) {
            let sender = index + options.loops() * (number * options.depth.max(1) + slot);
            tasks.push(runtime::spawn(send_until_end(
                Rc::clone(&all),
                Rc::clone(&connection),
                sender,
            )));
        }
    }
    for task in tasks {
        task.await;
    }
    let recorder = all.recorder.borrow().clone();
    Ok(recorder)
}

pub(crate) async fn connect(connections: &Connections, address: &str) -> Result<Rc<Connection>, String> {
    let socket = address
        .parse()
        .map_err(|error| format!("broker address {address}: {error}"))?;
    let connecting = connections.connect(socket, Rc::new(NoRequests));
    let connected = runtime::timeout(Duration::from_secs(5), connecting).await;
    let connected = connected.map_err(|_late| format!("no connection to {address} within 5 s"))?;
    connected.map_err(|error| format!("no connection to {address}: {error}"))
}

/// Repeatable bytes that do not compress to nothing.
fn body(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let next = std::iter::from_fn(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        Some(b'0' + u8::try_from(state % 64).unwrap_or(0))
    });
    next.take(size).collect()
}

/// One sender: a message, its answer, the next message.
async fn send_until_end(all: Rc<Senders>, connection: Rc<Connection>, sender: usize) {
    let own: Vec<&Queue> = all
        .queues
        .iter()
        .filter(|queue| queue.address == connection.peer().to_string())
        .collect();
    let own = if own.is_empty() {
        all.queues.iter().collect()
    } else {
        own
    };
    let start = Instant::now();
    let senders = all.plan.options.connections.max(1) * all.plan.options.depth.max(1);
    let mut number: u32 = 0;
    while Instant::now() < all.plan.until {
        let due = match all.interval {
            None => Instant::now(),
            Some(interval) => {
                // Senders begin evenly spread over the first interval.
                let offset = interval.mul_f64(fraction(sender, senders));
                let due = start + offset + interval.saturating_mul(number);
                sleep_until(due).await;
                due
            }
        };
        let place = sender + usize::try_from(number).unwrap_or(0);
        let Some(queue) = own.get(place % own.len()) else {
            return;
        };
        let failure = send_one(&all, &connection, queue).await.err();
        let now = Instant::now();
        let mut recorder = all.recorder.borrow_mut();
        match failure {
            None => recorder.done(now, now - due, 1, all.body.len() as u64),
            Some(why) => recorder.failed(now, &why),
        }
        drop(recorder);
        if connection.is_closed() {
            return;
        }
        number = number.wrapping_add(1);
    }
}

fn fraction(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer senders than 2^52")]
    let share = part as f64 / whole.max(1) as f64;
    share
}

async fn send_one(all: &Senders, connection: &Rc<Connection>, queue: &Queue) -> Result<(), String> {
    let now_ms = runtime::wall_clock_ms();
    let mut text = String::with_capacity(64);
    properties::push(
        &mut text,
        names::UNIQ_KEY,
        &all.ids.borrow_mut().make(now_ms).to_string(),
    );
    properties::push(&mut text, names::WAIT, "true");
    let fill = |out: &mut HeaderWriter<'_>| {
        let header = SendHeader {
            producer_group: "mqbench".into(),
            topic: all.plan.options.topic.as_str().into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id: queue.queue_id,
            sys_flag: 0,
            born_timestamp: now_ms,
            flag: 0,
            properties: Some(protocol::ext::ExtText::Plain(&text)),
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: Some(queue.broker_name.as_str().into()),
        };
        header.encode_v2(out);
    };
    let answer = connection
        .request(RequestCode::SEND_MESSAGE_V2, fill, all.body.clone())
        .map_err(|error| error.to_string())?;
    let answer = if Instant::now() + LAST_ANSWERS_LIMIT < all.plan.until {
        // A timer for each message would cost as much as the message; a broker that hangs is noticed at the end.
        answer.await
    } else {
        let left = (all.plan.until - Instant::now()) + LAST_ANSWERS_LIMIT;
        runtime::timeout(left, answer)
            .await
            .map_err(|_late| "no answer".to_owned())?
    };
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.response_code() {
        ResponseCode::SUCCESS => Ok(()),
        other => Err(format!("{other} {}", answer.remark().unwrap_or_default())),
    }
}
