//! A shard under power cuts, kills and a failing disk, from seeds: what was acknowledged and made durable is there, whole and
//! in its place; what was never sent is not.

use super::*;
use runtime::sim::{FaultKind, Faults, Options, Simulation};
use std::cell::Cell;
use std::collections::BTreeMap;

const QUEUES: u32 = 3;

/// What may be found at one queue offset.
#[derive(Debug, Default)]
struct Place {
    possible: Vec<Vec<u8>>,
    acknowledged: Option<Vec<u8>>,
    /// No power cut may take it away.
    durable: bool,
}

#[derive(Debug, Default)]
struct Model {
    queues: BTreeMap<(u32, i64), Place>,
    /// Metadata by number: whether it is durable.
    metadata: BTreeMap<u32, bool>,
    sent: u32,
    opened: u32,
    lost_power: bool,
    messages_checked: u64,
    fenced: u32,
    refused: Vec<String>,
}

type Shared = Rc<RefCell<Model>>;

impl Model {
    /// Everything acknowledged in a process is durable if the mode says so.
    fn acknowledge(&mut self, queue: u32, offset: i64, body: &[u8], durable: bool) {
        let place = self.queues.entry((queue, offset)).or_default();
        place.acknowledged = Some(body.to_vec());
        place.durable |= durable;
    }

    fn check_queue(&mut self, queue: u32, found: &[(i64, Vec<u8>)], seed: u64) {
        for (expected, (offset, body)) in (0..).zip(found) {
            assert_eq!(*offset, expected, "seed {seed}: a gap in queue {queue}");
            let place = self.queues.entry((queue, *offset)).or_default();
            assert!(
                place.possible.contains(body),
                "seed {seed}: {offset} of queue {queue} was never sent"
            );
            if let Some(acknowledged) = &place.acknowledged {
                assert_eq!(
                    acknowledged, body,
                    "seed {seed}: {offset} of queue {queue} is another message now"
                );
            }
            // What a start has found stays.
            place.acknowledged = Some(body.clone());
            place.durable = true;
            self.messages_checked += 1;
        }
        let max = i64::try_from(found.len()).unwrap();
        let lost_power = self.lost_power;
        let gone = self.queues.range((queue, max)..(queue + 1, 0));
        for ((_, offset), place) in gone {
            let kept = place.durable || (place.acknowledged.is_some() && !lost_power);
            assert!(
                !kept,
                "seed {seed}: {offset} of queue {queue} is gone, power cut: {lost_power}"
            );
        }
        self.queues
            .retain(|(number, offset), _| *number != queue || *offset < max);
    }

    fn check_metadata(&mut self, found: &[u32], seed: u64) {
        for (number, durable) in &self.metadata {
            let kept = *durable || !self.lost_power;
            assert!(
                found.contains(number) || !kept,
                "seed {seed}: metadata {number} is gone"
            );
        }
        self.metadata = found.iter().map(|number| (*number, true)).collect();
    }
}

fn number_of(record: &MetaRecord) -> u32 {
    u32::from_be_bytes(record.payload[..].try_into().unwrap())
}

/// The process of the node: opens the store, checks it against the model, and works until something ends it.
async fn process(model: Shared, options: StoreOptions, seed: u64) {
    let Ok(layout) = prepare_store(&options).await else {
        return;
    };
    let state: Rc<RefCell<Vec<u32>>> = Rc::default();
    let snapshot = Rc::clone(&state);
    let record = |number: &u32| MetaRecord {
        kind: 1,
        payload: number.to_be_bytes().to_vec(),
    };
    let hooks = Hooks {
        snapshot: Box::new(move || snapshot.borrow().iter().map(record).collect()),
        ..Hooks::default()
    };
    let opened = Shard::open(&layout, ShardId::ZERO, hooks).await;
    if let Err(error) = &opened {
        model.borrow_mut().refused.push(error.to_string());
    }
    let Ok((shard, recovered)) = opened else { return };
    if std::env::var("RINGMQ_SEED").is_ok() {
        let short = Recovered {
            metadata: Vec::new(),
            ..recovered.clone()
        };
        println!(
            "{short:?} {:?} {:?}",
            recovered.metadata.iter().map(number_of).collect::<Vec<_>>(),
            shard.stats()
        );
    }
    assert!(
        recovered.damage.is_empty(),
        "seed {seed}: {:?}",
        (&recovered.damage, &recovered.reports, recovered.end)
    );
    let mut numbers: Vec<u32> = recovered.metadata.iter().map(number_of).collect();
    numbers.dedup();
    state.replace(numbers);
    model.borrow_mut().check_metadata(&state.borrow(), seed);
    for queue in 0..QUEUES {
        let Some(found) = read_patiently(&shard, queue).await else {
            return;
        };
        model.borrow_mut().check_queue(queue, &found, seed);
    }
    model.borrow_mut().opened += 1;
    model.borrow_mut().lost_power = false;
    let durable = options.flush == FlushMode::Sync || (layout.is_direct() && layout.crash_buffer_bytes().is_none());
    let _ended = work(&shard, &model, &state, durable).await;
    if shard.stats().fenced.is_some() {
        model.borrow_mut().fenced += 1;
    }
}

/// As `read_all`, over a disk that fails at times.
async fn read_patiently(shard: &Shard, queue: u32) -> Option<Vec<(i64, Vec<u8>)>> {
    let mut all = Vec::new();
    let (min, max) = shard.bounds(shard.queue("t", queue).ok()?);
    let mut from = min.0;
    let mut failures = 0;
    while from < max.0 {
        match shard.read(&request(shard, "t", queue, from)).await {
            Ok(result) => {
                all.extend(bodies(&result));
                from = result.next.0;
            }
            Err(_) if failures < 20 => failures += 1,
            Err(error) => panic!("{error}"),
        }
    }
    Some(all)
}

async fn work(shard: &Shard, model: &Shared, state: &Rc<RefCell<Vec<u32>>>, durable: bool) -> Result<(), AppendError> {
    loop {
        let number = {
            let mut model = model.borrow_mut();
            model.sent += 1;
            model.sent
        };
        if runtime::rng::random_below(10) == 0 {
            let batch = retry(|| shard.append_metadata(1, &number.to_be_bytes())).await?;
            shard.committed(batch).await?;
            state.borrow_mut().push(number);
            model.borrow_mut().metadata.insert(number, durable);
        } else {
            let queue = u32::try_from(runtime::rng::random_below(u64::from(QUEUES))).unwrap();
            let size = usize::try_from(runtime::rng::random_below(6_000)).unwrap();
            let mut body = number.to_be_bytes().to_vec();
            body.resize(4 + size, u8::try_from(number % 251).unwrap());
            let appended = retry(|| shard.append(&message(shard, "t", queue, &body))).await?;
            let offset = appended.queue_offset.0;
            let possible = body.clone();
            model
                .borrow_mut()
                .queues
                .entry((queue, offset))
                .or_default()
                .possible
                .push(possible);
            let (model, waiting) = (Rc::clone(model), shard.clone());
            let acknowledged = async move {
                if waiting.committed(appended.batch).await.is_ok() {
                    model.borrow_mut().acknowledge(queue, offset, &body, durable);
                }
            };
            if runtime::rng::random_below(3) == 0 {
                acknowledged.await;
            } else {
                runtime::spawn(acknowledged);
            }
        }
        if runtime::rng::random_below(50) == 0 {
            // Failures end in a fence or are tried again.
            let _taken = shard.checkpoint().await;
        }
        if runtime::rng::random_below(4) == 0 {
            runtime::sleep(Duration::from_micros(runtime::rng::random_below(20_000))).await;
        }
    }
}

async fn retry<T>(append: impl Fn() -> Result<T, AppendError>) -> Result<T, AppendError> {
    loop {
        match append() {
            Err(AppendError::Busy { .. } | AppendError::DiskFull { .. }) => {
                runtime::sleep(Duration::from_millis(10)).await;
            }
            other => return other,
        }
    }
}

/// Several lives of one store, ended as the seed says. Returns what the model saw.
fn lives(seed: u64, flush: FlushMode, faults: &Faults) -> Shared {
    let simulation = Simulation::new(
        seed,
        Options {
            faults: faults.clone(),
            ..Options::default()
        },
    );
    let node = simulation.node("broker", "10.0.0.1".parse().unwrap());
    let model = Shared::default();
    // Any two seeds that follow each other have both flush modes, any four both write paths.
    let write_path = if (seed / 2).is_multiple_of(2) {
        WritePath::Direct
    } else {
        WritePath::Buffered
    };
    let options = StoreOptions {
        flush,
        write_path,
        // None, less than some batches have, more than what waits.
        crash_buffer_bytes: [256 << 10, 0, 8 << 10, 64 << 10][usize::try_from(seed / 4 % 4).unwrap()],
        tail_cache_bytes: 40_000,
        staged_bytes_max: 100_000,
        unsynced_bytes_max: 200_000,
        checkpoint_bytes: 60_000,
        flush_interval: Duration::from_millis(50),
        ..options(Path::new("/store"))
    };
    let shared = Rc::clone(&model);
    simulation.start(node, move || process(Rc::clone(&shared), options.clone(), seed));
    for _ in 0..6 {
        simulation.run_for(Duration::from_millis(20 + simulation.draw(400)));
        let cut = simulation.draw(2) == 0;
        // After a failed sync the kernel forgets what it has not written, power or not.
        let async_buffered = flush == FlushMode::Async && write_path == WritePath::Buffered;
        let forgets = async_buffered && faults.get(FaultKind::SyncError) > 0;
        model.borrow_mut().lost_power |= cut || forgets;
        if cut {
            simulation.crash(node);
        } else {
            simulation.kill(node);
        }
        simulation.restart(node);
    }
    // At the end the disk is well, and what is left must be there.
    simulation.set_all_faults(&Faults::none());
    simulation.kill(node);
    let async_buffered = flush == FlushMode::Async && write_path == WritePath::Buffered;
    model.borrow_mut().lost_power |= async_buffered && faults.get(FaultKind::SyncError) > 0;
    let before = model.borrow().opened;
    simulation.restart(node);
    let opened = Rc::new(Cell::new(0));
    let (seen, shared) = (Rc::clone(&opened), Rc::clone(&model));
    let done = move || {
        seen.set(shared.borrow().opened);
        seen.get() > before
    };
    simulation
        .run_until(done, Duration::from_secs(60))
        .unwrap_or_else(|stopped| panic!("seed {seed}: {stopped}"));
    drop(simulation);
    model
}

pub(super) fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("RINGMQ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGMQ_SEEDS").unwrap_or(40),
    }
}

#[test]
fn power_cuts_and_kills_take_nothing_that_was_durable_in_either_mode() {
    let mut checked = 0;
    for seed in seeds() {
        let flush = if seed % 2 == 0 {
            FlushMode::Sync
        } else {
            FlushMode::Async
        };
        let model = lives(seed, flush, &Faults::power_cuts_only());
        checked += model.borrow().messages_checked;
        assert!(
            model.borrow().refused.is_empty(),
            "seed {seed}: {:?}",
            model.borrow().refused
        );
    }
    assert!(checked > 1_000, "{checked} messages are too few to say anything");
}

#[test]
fn a_disk_that_fails_takes_nothing_that_was_durable_in_either_mode() {
    let kinds = [
        FaultKind::DroppedWrite,
        FaultKind::ReorderedWrite,
        FaultKind::TornWrite,
        FaultKind::LostLength,
        FaultKind::LostName,
        FaultKind::ReadError,
        FaultKind::WriteError,
        FaultKind::SyncError,
        FaultKind::DiskFull,
        FaultKind::DiskStall,
    ];
    let (mut checked, mut fenced) = (0, 0);
    for seed in seeds() {
        let flush = if seed % 2 == 0 {
            FlushMode::Sync
        } else {
            FlushMode::Async
        };
        let model = lives(seed, flush, &Faults::swarm(seed, &kinds));
        checked += model.borrow().messages_checked;
        fenced += model.borrow().fenced;
    }
    assert!(checked > 500 && fenced > 0, "{checked} messages, {fenced} fences");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out_so_the_other_tests_can_fail() {
    let faults = Faults::power_cuts_only().with(FaultKind::LyingSync, runtime::sim::MILLION / 2);
    let found_out = |seed: &u64| std::panic::catch_unwind(|| lives(*seed, FlushMode::Sync, &faults)).is_err();
    // Seeds 0, 1, 4, 5 and so on write directly.
    for first in [0, 2] {
        let seeds = (first..20).step_by(4).flat_map(|seed| [seed, seed + 1]);
        let count = seeds.filter(found_out).count();
        assert!(count >= 5, "found out in {count} of 10 seeds from {first}");
    }
}
