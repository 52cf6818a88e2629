//! One run: event loops that send and read, the thread that keeps the schedule, the thread that adds up.
//!
//! ```text
//! every event loop prepares (routes, connections, offsets) and waits; when the last is ready, the clock starts
//!   warm-up | measured span: what is due in it counts | answers to what is under way, at most ANSWERS_LIMIT
//! ```

use crate::account::Usage;
use crate::consume::{ReadFrom, Readers};
use crate::error::Error;
use crate::measure::{Measured, Recorder, Report, Window};
use crate::monitor::{self, Progress};
use crate::options::Options;
use crate::pace::{self, Schedule};
use crate::produce::Senders;
use crate::verify::{self, Ends, Ledger};
use runtime::core::{CoreOptions, run_cores};
use runtime::probe::{IoPath, Refusal};
use runtime::sync::Notify;
use runtime::{Instant, sleep_until};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

/// Longest wait for answers and deliveries when the time is up.
pub const ANSWERS_LIMIT: Duration = Duration::from_secs(10);
/// Intervals in which the course of a run is kept.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The command line.
    pub options: Options,
    /// Whether it sends.
    pub sends: bool,
    /// Whether it reads, and from where.
    pub reads: Option<ReadFrom>,
    /// Whether every message is followed.
    pub follows: bool,
}

impl Plan {
    /// Whether the run ends when its work is done, not when its time is up.
    #[must_use]
    pub fn ends_by_itself(&self) -> bool {
        self.options.quantity > 0 || self.reads == Some(ReadFrom::Backlog)
    }
}

/// What the event loops of a run share.
#[derive(Debug)]
pub struct Shared {
    /// What is to be done.
    pub plan: Plan,
    /// Tells this run's messages from others'.
    pub number: u64,
    /// Wakes the senders of each loop when something is due.
    pub wakes: Vec<Notify>,
    /// Where the queues ended before the run, when messages are followed.
    pub ends_before: OnceLock<Ends>,
    /// Event loops that still send.
    pub sending: AtomicUsize,
    /// Event loops that still read.
    pub reading: AtomicUsize,
    /// Messages that have been read.
    read: AtomicU64,
    /// The work is done before the time is up.
    stop: AtomicBool,
    failed: AtomicBool,
    ready: Barrier,
    clock: OnceLock<Clock>,
}

/// The times of a run, known when every event loop is ready.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Sending begins: warm-up.
    pub start: Instant,
    /// The measured span.
    pub window: Window,
    /// The same begin by the wall clock, milliseconds since 1970.
    pub began_ms: i64,
}

impl Clock {
    /// A moment of this run that a message carries as nanoseconds of our clock.
    #[must_use]
    pub fn at(&self, nanos: u64) -> Instant {
        self.start + Duration::from_nanos(nanos.saturating_sub(self.start.as_nanos()))
    }
}

impl Shared {
    /// Whether senders should go on.
    #[must_use]
    pub fn goes_on(&self, clock: &Clock, now: Instant) -> bool {
        now < clock.window.until && !self.stop.load(Ordering::Relaxed)
    }

    /// Whether the work is done before the time is up.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Counts messages that were read. Where nothing is sent, a quantity of them ends the run.
    pub fn note_read(&self, messages: u64) {
        let read = self.read.fetch_add(messages, Ordering::Relaxed) + messages;
        let wanted = self.plan.options.quantity;
        if !self.plan.sends && wanted > 0 && read >= wanted {
            self.stop();
        }
    }

    /// Ends the run before its time is up.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wakes.iter().for_each(Notify::notify_one);
    }

    /// Waits for the other event loops. Nothing else runs on this one yet, so its thread may block.
    fn begin(&self, prepared: bool) -> Result<Clock, Error> {
        if !prepared {
            self.failed.store(true, Ordering::Relaxed);
        }
        self.ready.wait();
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::CalledOff);
        }
        Ok(*self.clock.get_or_init(|| {
            let start = Instant::now();
            let itself = self.plan.ends_by_itself();
            let from = start + self.plan.options.warmup(itself);
            let until = from + self.plan.options.measured(itself);
            let warmup = i64::try_from((from - start).as_millis()).unwrap_or(0);
            Clock {
                start,
                window: Window { from, until },
                began_ms: runtime::wall_clock_ms() + warmup,
            }
        }))
    }
}

/// What one event loop brings home beside its reports.
#[derive(Debug)]
struct Outcome {
    ended: Instant,
    ledger: Option<Ledger>,
}

/// Makes a run.
///
/// # Errors
/// When routes, connections or threads cannot be had.
pub fn run(plan: Plan, progress: Progress) -> Result<Measured, Error> {
    plan.options.check()?;
    let loops = plan.options.loops();
    let shared = Arc::new(Shared {
        number: runtime::rng::random_u64(),
        ends_before: OnceLock::new(),
        wakes: (0..loops).map(|_index| Notify::new()).collect(),
        sending: AtomicUsize::new(if plan.sends { loops } else { 0 }),
        reading: AtomicUsize::new(if plan.reads.is_some() { loops } else { 0 }),
        read: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        // The event loops, the watcher of processes, the schedule and the adder.
        ready: Barrier::new(loops + 3),
        clock: OnceLock::new(),
        plan,
    });
    let (reports, incoming) = channel();
    let (ended, end) = channel();
    let adder = spawn_adder(&shared, incoming, progress);
    let watcher = spawn_watcher(&shared, end);
    let pacer = spawn_pacer(&shared);
    let work = Arc::clone(&shared);
    let cores = CoreOptions {
        cores: loops,
        pin: false,
        io: no_files(),
    };
    let outcomes = run_cores(&cores, move |index| one_loop(Arc::clone(&work), index, reports.clone()));
    shared.stop();
    drop(ended);
    let joined = (adder.join(), watcher.join(), pacer.join());
    let outcomes = first_cause(outcomes.map_err(Error::Loops)?)?;
    let (Ok(Ok(mut measured)), Ok((server, own)), Ok(())) = joined else {
        return Err(Error::CalledOff);
    };
    let clock = shared.clock.get().ok_or(Error::CalledOff)?;
    (measured.server, measured.own) = (server, own);
    measured.began_ms = clock.began_ms;
    let last = outcomes.iter().map(|outcome| outcome.ended).max();
    let last = last.unwrap_or(clock.window.until).min(clock.window.until);
    let by_itself = shared.plan.ends_by_itself();
    let end = if by_itself { last } else { clock.window.until };
    measured.time = end - clock.window.from;
    if shared.plan.reads == Some(ReadFrom::Backlog) {
        measured.caught_up_after = Some(measured.time.as_secs_f64());
    }
    let ledgers: Vec<Ledger> = outcomes.into_iter().filter_map(|outcome| outcome.ledger).collect();
    if shared.plan.follows {
        let begins = shared.ends_before.get().ok_or(Error::CalledOff)?;
        measured.verdict = Some(verify::check(&shared.plan.options, ledgers, begins)?);
    }
    Ok(measured)
}

/// The error of the loop that failed first, not of those that were called off for it.
fn first_cause(outcomes: Vec<Result<Outcome, Error>>) -> Result<Vec<Outcome>, Error> {
    let mut good = Vec::new();
    let mut cause = None;
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => good.push(outcome),
            Err(error) if matches!(cause, None | Some(Error::CalledOff)) => cause = Some(error),
            Err(_another) => {}
        }
    }
    cause.map_or(Ok(good), Err)
}

fn spawn_adder(
    shared: &Arc<Shared>,
    incoming: Receiver<Report>,
    progress: Progress,
) -> std::thread::JoinHandle<Result<Measured, Error>> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let clock = shared.begin(true)?;
        let loops = shared.wakes.len();
        let length = clock.window.until - clock.window.from;
        let expected = (!shared.plan.ends_by_itself()).then_some(length);
        Ok(monitor::add_up(
            &incoming,
            loops,
            interval_of(length),
            expected,
            progress,
        ))
    })
}

/// Short runs have at least ten intervals.
fn interval_of(length: Duration) -> Duration {
    INTERVAL.min(length / 10)
}

type Used = (Option<Usage>, Option<Usage>);

/// Looks at the processes at both ends of the measured span, from a thread that does nothing else.
fn spawn_watcher(shared: &Arc<Shared>, end: Receiver<()>) -> std::thread::JoinHandle<Used> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let Ok(clock) = shared.begin(true) else {
            return (None, None);
        };
        let (pids, own) = (&shared.plan.options.pid, [std::process::id()]);
        let look = || (Usage::of(pids), Usage::of(&own));
        if wait(&end, clock.window.from) == Waited::Ended {
            return (None, None);
        }
        let before = look();
        wait(&end, clock.window.until);
        let after = look();
        let server = (!pids.is_empty()).then(|| after.0 - before.0);
        (server, Some(after.1 - before.1))
    })
}

#[derive(PartialEq, Eq)]
enum Waited {
    InTime,
    Ended,
}

fn wait(end: &Receiver<()>, until: Instant) -> Waited {
    match end.recv_timeout(until - Instant::now()) {
        Err(RecvTimeoutError::Timeout) => Waited::InTime,
        Ok(()) | Err(RecvTimeoutError::Disconnected) => Waited::Ended,
    }
}

fn spawn_pacer(shared: &Arc<Shared>) -> std::thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let Ok(clock) = shared.begin(true) else { return };
        if let Some(schedule) = schedule(&shared, &clock) {
            pace::keep(schedule, clock.window.until, &shared.wakes, || shared.is_stopped());
        }
    })
}

/// The schedule of a run that has one.
pub fn schedule(shared: &Shared, clock: &Clock) -> Option<Schedule> {
    let rate = shared
        .plan
        .options
        .requests_a_second()
        .filter(|_rate| shared.plan.sends)?;
    Some(Schedule::new(clock.start, rate, shared.wakes.len()))
}

/// The generator reads and writes no files while it measures.
#[must_use]
pub fn no_files() -> IoPath {
    IoPath::Blocking(Refusal::Configured)
}

async fn one_loop(shared: Arc<Shared>, index: usize, reports: Sender<Report>) -> Result<Outcome, Error> {
    let prepared = prepare(&shared, index).await;
    let clock = shared.begin(prepared.is_ok());
    let (senders, readers) = prepared?;
    let clock = clock?;
    let interval = interval_of(clock.window.until - clock.window.from);
    let recorder = Rc::new(RefCell::new(Recorder::new(clock.window, interval, reports)));
    let turning = runtime::spawn(turn(Rc::clone(&recorder)));
    let sending = senders.map(|senders| {
        let (shared, recorder) = (Arc::clone(&shared), Rc::clone(&recorder));
        runtime::spawn(async move {
            let done = senders.send(clock, recorder).await;
            shared.sending.fetch_sub(1, Ordering::AcqRel);
            if shared.sending.load(Ordering::Acquire) == 0 && shared.plan.reads.is_none() {
                shared.stop();
            }
            done
        })
    });
    let reading = readers.map(|readers| {
        let (shared, recorder) = (Arc::clone(&shared), Rc::clone(&recorder));
        runtime::spawn(async move {
            let done = readers.read(clock, recorder).await;
            if shared.reading.fetch_sub(1, Ordering::AcqRel) == 1 && shared.plan.reads == Some(ReadFrom::Backlog) {
                shared.stop();
            }
            done
        })
    });
    let mut ended = Vec::new();
    let mut ledger = None;
    if let Some(reading) = reading {
        ended.extend(reading.await);
    }
    if let Some(Some((at, kept))) = optional(sending).await {
        ended.push(at);
        ledger = kept;
    }
    turning.abort();
    recorder.borrow_mut().turn();
    Ok(Outcome {
        ended: ended.into_iter().max().unwrap_or(clock.window.until),
        ledger,
    })
}

async fn optional<F: Future>(work: Option<F>) -> Option<F::Output> {
    match work {
        Some(work) => Some(work.await),
        None => None,
    }
}

async fn prepare(shared: &Arc<Shared>, index: usize) -> Result<(Option<Rc<Senders>>, Option<Rc<Readers>>), Error> {
    if shared.plan.follows && index == 0 {
        // No event loop sends before this one is ready, too.
        let ends = verify::ends(&shared.plan.options).await?;
        let _first = shared.ends_before.set(ends);
    }
    let senders = match shared.plan.sends {
        true => Some(Rc::new(Senders::prepare(Arc::clone(shared), index).await?)),
        false => None,
    };
    let readers = match shared.plan.reads {
        Some(from) => Some(Rc::new(Readers::prepare(Arc::clone(shared), index, from).await?)),
        None => None,
    };
    Ok((senders, readers))
}

/// Ends the recorder's intervals in time, also while no answer comes.
async fn turn(recorder: Rc<RefCell<Recorder>>) {
    loop {
        let (end, until) = {
            let recorder = recorder.borrow();
            (recorder.interval_end(), recorder.window().until)
        };
        // The last interval takes what comes late, too.
        if end >= until {
            return;
        }
        sleep_until(end).await;
        recorder.borrow_mut().turn();
    }
}
