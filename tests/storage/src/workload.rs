//! One life of a store: it is opened, works for a while, and every moment of its disk is kept.

use crate::examine::{all_queues, request};
use crate::history::{Event, Expectation, History, Opened};
use crate::messages::{Content, Message, QUEUES, TOPICS, metadata, metadata_number, recognise};
use engine::{AppendError, FlushMode, Hooks, Retention, Shard, StoreOptions, prepare_store};
use protocol::message::record::Records;
use protocol::model::ShardId;
use runtime::rng::random_below;
use runtime::sim::{CrashPoint, DiskImage, Faults, Simulation};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Things that one life does.
const STEPS: u64 = 60;
/// Virtual time that a life may take.
const LIFE_MAX: Duration = Duration::from_secs(3_600);

/// A moment of a life, and how many events had happened.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) at: CrashPoint,
    pub(crate) events: usize,
}

/// A life that is over.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) history: History,
    pub(crate) points: Vec<Point>,
}

/// How a store is kept so that little work shows all that a large one does.
pub(crate) fn options(flush: FlushMode) -> StoreOptions {
    StoreOptions {
        segment_size: 64 << 10,
        flush,
        tail_cache_bytes: 40_000,
        cold_cache_bytes: 512 << 10,
        queue_cache_bytes: 64 << 10,
        staged_bytes_max: 100_000,
        crash_buffer_bytes: 128 << 10,
        unsynced_bytes_max: 200_000,
        checkpoint_bytes: 60_000,
        flush_interval: Duration::from_millis(50),
        ..StoreOptions::new("/store", 1)
    }
}

/// Lets a store live on `disk`; `first_number` is of the first message it may send.
pub(crate) fn live(
    seed: u64,
    disk: Option<DiskImage>,
    baseline: Expectation,
    options: &StoreOptions,
    faults: &Faults,
    first_number: u32,
) -> Result<Life, String> {
    let world = runtime::sim::Options {
        faults: faults.clone(),
        ..runtime::sim::Options::default()
    };
    let simulation = Simulation::new(seed, world);
    let node = simulation.node("broker", std::net::IpAddr::from([10, 0, 0, 1]));
    if let Some(disk) = disk {
        simulation.set_disk(node, disk);
    }
    let worker = Rc::new(Worker {
        history: RefCell::new(History {
            baseline,
            events: Vec::new(),
            sync_flush: options.flush == FlushMode::Sync,
        }),
        options: options.clone(),
        number: Cell::new(first_number),
        metadata: Rc::default(),
    });
    let points: Rc<RefCell<Vec<Point>>> = Rc::default();
    let (seen, told) = (Rc::clone(&points), Rc::clone(&worker));
    simulation.observe_disk(node, move |at| {
        let events = told.history.borrow().events.len();
        seen.borrow_mut().push(Point { at, events });
    });
    simulation.start(node, std::future::pending::<()>);
    let work = Rc::clone(&worker);
    let ended = simulation.block_on(node, async move { work.run().await }, LIFE_MAX);
    let at = simulation.crash_point(node);
    drop(simulation);
    ended.map_err(|error| error.to_string())??;
    let history = worker.history.take();
    let mut points = points.take();
    points.push(Point {
        at,
        events: history.events.len(),
    });
    Ok(Life { history, points })
}

struct Worker {
    history: RefCell<History>,
    options: StoreOptions,
    number: Cell<u32>,
    /// What the broker's snapshot says.
    metadata: Rc<RefCell<BTreeSet<u32>>>,
}

impl Worker {
    fn note(&self, event: Event) {
        self.history.borrow_mut().events.push(event);
    }

    fn next_number(&self) -> u32 {
        self.number.replace(self.number.get() + 1)
    }

    /// Opens and works. An error is a finding; a disk that fails ends the life early.
    async fn run(self: Rc<Self>) -> Result<(), String> {
        let Ok(layout) = prepare_store(&self.options).await else {
            return Ok(());
        };
        let known = Rc::clone(&self.metadata);
        let hooks = Hooks {
            snapshot: Box::new(move || known.borrow().iter().map(|number| metadata(*number)).collect()),
            ..Hooks::default()
        };
        let Ok((shard, recovered)) = Shard::open(&layout, ShardId::ZERO, hooks).await else {
            return Ok(());
        };
        let mut found = Opened {
            min: recovered.min,
            end: recovered.end,
            ..Opened::default()
        };
        for record in &recovered.metadata {
            found.metadata.insert(metadata_number(record)?);
        }
        self.metadata.borrow_mut().clone_from(&found.metadata);
        for queue in all_queues() {
            let mut next = shard.bounds(request(&shard, queue, 0)?.queue).0.0;
            while next < shard.bounds(request(&shard, queue, 0)?.queue).1.0 {
                let result = shard.read(&request(&shard, queue, next)?).await;
                let result = result.map_err(|error| error.to_string())?;
                for record in result.records.iter().flat_map(|part| Records::new(part)) {
                    let record = record.map_err(|error| error.to_string())?;
                    found.messages.insert(recognise(record.bytes)?.number);
                }
                next = result.next.0;
            }
        }
        self.note(Event::Opened(found));
        // Failures of the disk end the work; whether they lost something is for the states to show.
        let _ended = self.work(&shard).await;
        Ok(())
    }

    async fn work(self: &Rc<Self>, shard: &Shard) -> Result<(), AppendError> {
        for _ in 0..STEPS {
            match random_below(100) {
                0..4 => {
                    let _taken = shard.checkpoint().await;
                }
                4..6 => self.delete_topic(shard).await?,
                6..8 => self.clean(shard).await,
                8..10 => {
                    let _flushed = shard.flush().await;
                }
                10..20 => self.write_metadata(shard).await?,
                20..30 => {
                    let length = random_below(30_000);
                    runtime::sleep(Duration::from_micros(length)).await;
                }
                _ => self.send(shard).await?,
            }
            self.note(Event::Durable(shard.stats().flushed));
        }
        if random_below(4) == 0 {
            let _closed = shard.close().await;
            self.note(Event::Durable(shard.stats().flushed));
        }
        Ok(())
    }

    async fn send(self: &Rc<Self>, shard: &Shard) -> Result<(), AppendError> {
        let number = self.next_number();
        let content = Content::of(number);
        let below = |bound: usize| usize::try_from(random_below(bound as u64)).unwrap_or(0);
        let queue = (below(TOPICS.len()), u32::try_from(below(QUEUES as usize)).unwrap_or(0));
        let Ok(request) = request(shard, queue, 0) else {
            return Ok(());
        };
        let keys: Vec<&str> = content.keys.iter().map(String::as_str).collect();
        let appended = patiently(|| shard.append(&content.message(request.queue, queue, &keys))).await?;
        self.note(Event::Sent(Message {
            number,
            queue,
            offset: appended.queue_offset.0,
            position: appended.physical_offset.position(),
            size: u32::try_from(appended.size).unwrap_or(u32::MAX),
        }));
        let (worker, waiting) = (Rc::clone(self), shard.clone());
        let acknowledged = async move {
            if waiting.committed(appended.batch).await.is_ok() {
                worker.note(Event::Acknowledged(number));
            }
        };
        if random_below(3) == 0 {
            acknowledged.await;
        } else {
            runtime::spawn(acknowledged);
        }
        Ok(())
    }

    async fn write_metadata(&self, shard: &Shard) -> Result<(), AppendError> {
        let number = self.next_number();
        let batch = patiently(|| shard.append_metadata(1, &metadata(number).payload)).await?;
        self.note(Event::MetadataSent(number));
        shard.committed(batch).await?;
        self.metadata.borrow_mut().insert(number);
        self.note(Event::MetadataAcknowledged(number));
        Ok(())
    }

    async fn delete_topic(&self, shard: &Shard) -> Result<(), AppendError> {
        let topic = 1;
        let batch = patiently(|| shard.delete_queues(TOPICS[topic])).await?;
        self.note(Event::DeletionSent(topic, self.next_number()));
        shard.committed(batch).await?;
        self.note(Event::DeletionAcknowledged(topic));
        Ok(())
    }

    async fn clean(&self, shard: &Shard) {
        shard.set_retention(Retention {
            reserved: Duration::ZERO,
            ..Retention::default()
        });
        self.note(Event::CleanBegins);
        let _cleaned = shard.clean_expired().await;
        self.note(Event::CleanEnds(shard.stats().min));
    }
}

async fn patiently<T>(append: impl Fn() -> Result<T, AppendError>) -> Result<T, AppendError> {
    loop {
        match append() {
            Err(AppendError::Busy { .. } | AppendError::DiskFull { .. }) => {
                runtime::sleep(Duration::from_millis(1)).await;
            }
            other => return other,
        }
    }
}
