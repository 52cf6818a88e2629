//! Segments of a direct log that are used again, under power cuts and kills from seeds: what they held before never comes
//! back, and what was acknowledged since is there. All messages have one size, so that old records lie wherever a new one is
//! to come.

use super::simulated::seeds;
use super::*;
use runtime::sim::{Faults, Options, Simulation};
use std::collections::BTreeMap;

const BODY_SIZE: usize = 3_000;

#[derive(Debug, Default)]
struct Model {
    /// By queue offset: bodies that were sent.
    possible: BTreeMap<i64, Vec<Vec<u8>>>,
    acknowledged: BTreeMap<i64, Vec<u8>>,
    /// Retention may have dropped what lies below.
    droppable: i64,
    sent: u32,
    dropped: usize,
    checked: usize,
    spares_seen: usize,
}

type Shared = Rc<RefCell<Model>>;

impl Model {
    fn check(&mut self, min: i64, found: &[(i64, Vec<u8>)], seed: u64) {
        assert!(
            min <= self.droppable,
            "seed {seed}: {min} is the first, up to {} may go",
            self.droppable
        );
        for (expected, (offset, body)) in (min..).zip(found) {
            assert_eq!(*offset, expected, "seed {seed}: a gap");
            let possible = self.possible.get(offset).is_some_and(|bodies| bodies.contains(body));
            assert!(possible, "seed {seed}: the message at {offset} was not sent as that");
        }
        let found: BTreeMap<i64, Vec<u8>> = found.iter().cloned().collect();
        for (offset, body) in self.acknowledged.range(min..) {
            assert_eq!(
                found.get(offset),
                Some(body),
                "seed {seed}: the acknowledged message at {offset}"
            );
        }
        self.checked += found.len();
        // What a start has found stays.
        self.acknowledged = found;
    }
}

async fn process(model: Shared, options: StoreOptions, seed: u64) {
    let layout = prepare_store(&options).await.unwrap();
    let logs = options.root.join("shard-00/commitlog");
    if let Ok(names) = runtime::file::list(&logs).await {
        let spares = names.iter().filter(|name| name.extension().is_some());
        model.borrow_mut().spares_seen += spares.count();
    }
    let (shard, recovered) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap();
    assert!(recovered.damage.is_empty(), "seed {seed}: {recovered:?}");
    // Not the whole of a recycled segment: what was under way and no more.
    let reach = options.staged_bytes_max + 2 * BODY_SIZE;
    assert!(
        recovered.torn_bytes <= reach as u64,
        "seed {seed}: {}",
        recovered.torn_bytes
    );
    let found = read_all(&shard, "t", 0).await;
    let (min, _) = shard.bounds(shard.queue("t", 0).unwrap());
    model.borrow_mut().check(min.0, &found, seed);
    work(&shard, &model).await;
}

async fn work(shard: &Shard, model: &Shared) {
    loop {
        let body = {
            let mut model = model.borrow_mut();
            model.sent += 1;
            model.sent.to_be_bytes().repeat(BODY_SIZE / 4)
        };
        let appended = append(shard, "t", 0, &body).await;
        let offset = appended.queue_offset.0;
        model
            .borrow_mut()
            .possible
            .entry(offset)
            .or_default()
            .push(body.clone());
        let (shared, waiting) = (Rc::clone(model), shard.clone());
        let acknowledged = async move {
            if waiting.committed(appended.batch).await.is_ok() {
                shared.borrow_mut().acknowledged.insert(offset, body);
            }
        };
        if runtime::rng::random_below(3) == 0 {
            acknowledged.await;
        } else {
            runtime::spawn(acknowledged);
        }
        if runtime::rng::random_below(60) == 0 {
            model.borrow_mut().droppable = shard.bounds(shard.queue("t", 0).unwrap()).1.0;
            for _ in 0..2 {
                shard.checkpoint().await.unwrap();
            }
            let dropped = shard.clean_expired().await.unwrap();
            model.borrow_mut().dropped += dropped;
        }
        if runtime::rng::random_below(8) == 0 {
            runtime::sleep(Duration::from_micros(runtime::rng::random_below(10_000))).await;
        }
    }
}

#[test]
fn what_a_recycled_segment_held_before_never_comes_back() {
    let (mut dropped, mut checked, mut spares) = (0, 0, 0);
    for seed in seeds() {
        let simulation = Simulation::new(
            seed,
            Options {
                faults: Faults::power_cuts_only(),
                ..Options::default()
            },
        );
        let node = simulation.node("broker", "10.0.0.1".parse().unwrap());
        let model = Shared::default();
        let mut options = StoreOptions {
            flush: if seed % 2 == 0 {
                FlushMode::Sync
            } else {
                FlushMode::Async
            },
            write_path: WritePath::Direct,
            tail_cache_bytes: 20_000,
            staged_bytes_max: 50_000,
            ..options(Path::new("/store"))
        };
        options.retention.reserved = Duration::ZERO;
        options.retention.delete_hours = Vec::new();
        let shared = Rc::clone(&model);
        simulation.start(node, move || process(Rc::clone(&shared), options.clone(), seed));
        for _ in 0..6 {
            simulation.run_for(Duration::from_millis(50 + simulation.draw(400)));
            if simulation.draw(2) == 0 {
                simulation.crash(node);
            } else {
                simulation.kill(node);
            }
            simulation.restart(node);
        }
        simulation.run_for(Duration::from_millis(300));
        drop(simulation);
        let model = model.borrow();
        dropped += model.dropped;
        checked += model.checked;
        spares += model.spares_seen;
    }
    assert!(
        dropped > 100 && checked > 1_000 && spares > 20,
        "{dropped} segments dropped, {checked} messages checked, {spares} spares seen: too few to say anything"
    );
}
