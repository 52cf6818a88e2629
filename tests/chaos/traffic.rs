//! The simulator's producers and consumers, on a host of their own, and what the checker says of what they saw.

use checker::Class;
use client::Admin;
use protocol::body::topic::TopicStatsTable;
use simulation::producers::{QUEUES, TOPIC, every_queue_takes_a_message, new_client, topic_config};
use simulation::recorder::{Recorder, Shared};
use simulation::{Options, Plan, consumers, producers};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::load::on_a_loop;
use tests::servers_on_hosts::Rehearsal;

/// The clients' host.
pub(crate) const CLIENTS: u8 = 4;
const MASTERS: [(&str, &str, &str); 2] = [
    ("broker-1", "10.0.0.2:10911", "10.0.0.3:10931"),
    ("broker-2", "10.0.0.3:10911", "10.0.0.2:10931"),
];
/// How soon every queue takes messages again after everything was mended. A client keeps a route for 30 s.
const SEND_LIMIT: Duration = Duration::from_secs(60);
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
const COPY_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Traffic {
    /// Makes the topic and begins; returns when messages are acknowledged.
    ///
    /// # Errors
    /// When none is within a minute.
    pub(crate) fn start(servers: &Rehearsal) -> Result<Traffic, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let (started, first) = channel();
        let stopped = Arc::clone(&stop);
        let prefix = servers.hosts.prefix(CLIENTS);
        let thread = std::thread::spawn(move || {
            tests::hosts::enter(&prefix);
            on_a_loop(async move {
                let recorder = Rc::<Recorder>::default();
                begin(&recorder).await?;
                while recorder.acknowledged.get() == 0 {
                    runtime::sleep(Duration::from_millis(10)).await;
                }
                started
                    .send(())
                    .map_err(|_gone| "nobody waits for the traffic".to_owned())?;
                let longest = watch(&recorder, &stopped).await;
                end(&recorder, longest).await
            })
        });
        match first.recv_timeout(Duration::from_secs(60)) {
            Ok(()) => Ok(Traffic { stop, thread }),
            Err(_late) if thread.is_finished() => Err(format!("the traffic has not begun: {:?}", thread.join())),
            Err(_late) => Err("no message was acknowledged within a minute".to_owned()),
        }
    }

    /// Ends the traffic, reads everything back and judges.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn judge(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| "the traffic panicked".to_owned())?
    }
}

async fn begin(recorder: &Shared) -> Result<(), String> {
    let admin = Admin::new(&new_client());
    for (_name, master, _slave) in MASTERS {
        let made = admin.create_topic(master, &topic_config(TOPIC)).await;
        made.map_err(|error| format!("the topic is not made: {error}"))?;
    }
    for (name, ..) in MASTERS {
        for queue_id in 0..QUEUES.unsigned_abs() {
            recorder.history.borrow_mut().queue(name, TOPIC, queue_id);
        }
    }
    let plan = Plan {
        pause_between_sends: Duration::from_millis(10),
        body_bytes_max: 1_000,
        ..Plan::new(0, &Options::default())
    };
    producers::start(recorder, &plan);
    consumers::start(recorder, &names());
    Ok(())
}

fn names() -> Vec<String> {
    MASTERS.iter().map(|(name, ..)| (*name).to_owned()).collect()
}

/// Until it is to stop; gives the longest time in which no message at all was acknowledged.
async fn watch(recorder: &Shared, stop: &AtomicBool) -> Duration {
    let (mut last, mut since, mut longest) = (0, Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let count = recorder.acknowledged.get();
        if count != last {
            (last, since) = (count, Instant::now());
        }
        longest = longest.max(since.elapsed());
        runtime::sleep(Duration::from_millis(2)).await;
    }
    longest
}

async fn end(recorder: &Shared, longest: Duration) -> Result<(), String> {
    let mended = Instant::now();
    let deaf = every_queue_takes_a_message(Rc::clone(recorder), names(), SEND_LIMIT).await;
    if !deaf.is_empty() {
        return Err(format!(
            "these take no message {SEND_LIMIT:?} after everything was mended: {deaf:?}"
        ));
    }
    let healed = mended.elapsed();
    recorder.stopping.set(true);
    // Requests under way end: an answer is waited for at most 1.5 s, a held pull somewhat longer.
    runtime::sleep(Duration::from_secs(3)).await;
    recorder.history.borrow_mut().drain_began();
    let brokers = names().into_iter().map(|name| (name, false)).collect();
    let unread = consumers::drain(Rc::clone(recorder), brokers, DRAIN_LIMIT).await;
    let copied = await_copies().await;
    let complaints = recorder.complaints.take();
    let report = recorder.history.take().check();
    println!(
        "every queue takes messages {healed:?} after the mending; longest time without an acknowledgement {longest:?}\n{report}"
    );
    // A slave that is behind says so, and that is not its master's end.
    let wrong: Vec<Class> = report
        .violations
        .keys()
        .copied()
        .filter(|class| *class != Class::StaleEnd)
        .collect();
    let mut failures = complaints;
    failures.extend(unread);
    failures.extend(copied.err());
    if !wrong.is_empty() {
        failures.push(format!("the checker found {wrong:?}"));
    }
    if report.acknowledged == 0 {
        failures.push("nothing was acknowledged".to_owned());
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// Waits until every slave has as much of each queue as its master.
async fn await_copies() -> Result<(), String> {
    let begin = Instant::now();
    for (name, master, slave) in MASTERS {
        let admin = Admin::new(&new_client());
        loop {
            let (of_master, of_slave) = (ends(&admin, master).await, ends(&admin, slave).await);
            match (&of_master, &of_slave) {
                (Ok(one), Ok(other)) if one == other => break,
                _ if begin.elapsed() > COPY_LIMIT => {
                    return Err(format!(
                        "the slave of {name} has {of_slave:?}, its master {of_master:?}"
                    ));
                }
                _ => runtime::sleep(Duration::from_millis(50)).await,
            }
        }
    }
    println!(
        "every slave has what its master has, {:?} after the reading",
        begin.elapsed()
    );
    Ok(())
}

async fn ends(admin: &Admin, broker: &str) -> Result<Vec<(i32, i64)>, client::Error> {
    let stats: TopicStatsTable = admin.topic_stats(broker, TOPIC).await?;
    let mut ends: Vec<(i32, i64)> = stats
        .offset_table
        .iter()
        .map(|(queue, offsets)| (queue.queue_id, offsets.max_offset))
        .collect();
    ends.sort_unstable();
    Ok(ends)
}
