//! Records of another broker's log: in their places, once each, and as far as the shard says, after any end.

use super::*;
use crate::imported::ImportError;
use protocol::message::record::RecordFields;
use runtime::sim::{FaultKind, Faults, Options, Simulation};
use std::cell::Cell;
use std::collections::BTreeMap;

const STORED_MS: i64 = 1_600_000_000_000;

/// A record as another broker has it: at `position` of its log, in a place of its own.
fn record(position: u64, topic: &str, queue_id: u32, queue_offset: i64, body: &[u8]) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    let fields = RecordFields {
        queue_id: QueueId::new(queue_id).unwrap(),
        flag: 7,
        queue_offset: QueueOffset(queue_offset),
        physical_offset: PhysicalOffset::from_wire(position.cast_signed()).unwrap(),
        sys_flag: 0,
        born_timestamp: 11,
        born_host: "[::1]:1000".parse().unwrap(),
        store_timestamp: STORED_MS + queue_offset,
        store_host: "10.1.1.1:10911".parse().unwrap(),
        reconsume_times: 3,
        prepared_transaction_offset: 99,
        body,
        topic,
        properties: "TAGS\u{1}a\u{2}UNIQ_KEY\u{1}unique\u{2}",
    };
    fields.encode(&mut out).unwrap();
    out.to_vec()
}

fn take(shard: &Shard, records: &[Vec<u8>], to: u64) -> Result<Imported, ImportError> {
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let from = shard.0.imported_to.get().unwrap_or(0);
    shard.append_imported(&records, from..to)
}

async fn import(shard: &Shard, records: &[Vec<u8>], to: u64) -> Imported {
    loop {
        match take(shard, records, to) {
            Ok(done) => {
                shard.committed(done.batch).await.unwrap();
                return done;
            }
            Err(ImportError::Refused(AppendError::Busy { .. })) => runtime::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn bounds(shard: &Shard, queue_id: u32) -> (i64, i64) {
    let (min, max) = shard.bounds(shard.queue("t", queue_id).unwrap());
    (min.0, max.0)
}

#[test]
fn imported_records_keep_all_but_their_physical_offset_and_own_messages_follow_them() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (mut shard, _) = open(&options(directory.path())).await;
        assert_eq!(shard.source_position(), None);
        shard.set_importing(true);
        let refused = shard.append(&message(&shard, "t", 0, b"own"));
        assert_eq!(refused, Err(AppendError::Follows));
        // The other broker has deleted the first thousand.
        let theirs: Vec<Vec<u8>> = (1000..1003)
            .map(|offset| record(5000, "t", 0, offset, b"body"))
            .collect();
        let done = import(&shard, &theirs, 6000).await;
        assert_eq!((done.taken, done.missing, done.passed, done.begun_again), (3, 0, 0, 0));
        assert_eq!((bounds(&shard, 0), shard.source_position()), ((1000, 1003), Some(6000)));
        for restarted in [false, true] {
            if restarted {
                shard.close().await.unwrap();
                drop(shard);
                (shard, _) = open(&options(directory.path())).await;
            }
            let found = shard.read(&request(&shard, "t", 0, 1000)).await.unwrap();
            let parts: Vec<u8> = found.records.iter().flat_map(|part| part.to_vec()).collect();
            let mut count = 0;
            for (view, theirs) in Records::new(&parts).zip(&theirs) {
                let view = view.unwrap();
                assert_eq!(
                    shard.record_at(view.physical_offset).await.unwrap().unwrap(),
                    view.bytes
                );
                let mut as_theirs = view.bytes.to_vec();
                as_theirs[28..36].copy_from_slice(&theirs[28..36]);
                assert_eq!(as_theirs, *theirs);
                count += 1;
            }
            assert_eq!((count, shard.source_position()), (3, Some(6000)));
            let by_time = shard.offset_by_time(shard.queue("t", 0).unwrap(), STORED_MS + 1002, Boundary::Lower);
            assert_eq!(by_time.await.unwrap().0, 1002);
            if restarted {
                let own = send(&shard, "t", 0, b"own").await;
                assert_eq!(own.queue_offset.0, 1003);
            }
        }
    });
}

#[test]
fn holes_are_counted_taken_offsets_left_out_and_a_topic_made_again_begins_again() {
    let directory = tempfile::tempdir().unwrap();
    let expected = vec![(0, b"new 0".to_vec()), (1, b"new 1".to_vec())];
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        shard.set_importing(true);
        let at = |offset, body: &[u8]| record(0, "t", 0, offset, body);
        let done = import(&shard, &[at(0, b"0"), at(1, b"1"), at(4, b"4"), at(3, b"late")], 10).await;
        assert_eq!((done.taken, done.missing, done.passed), (3, 2, 1));
        assert_eq!(bounds(&shard, 0), (0, 5));
        let found = shard.read(&request(&shard, "t", 0, 4)).await.unwrap();
        assert_eq!(bodies(&found), [(4, b"4".to_vec())]);
        let other = record(0, "t", 1, 0, b"other");
        import(&shard, &[other, at(5, b"5")], 20).await;
        let again = import(&shard, &[at(0, b"new 0"), at(1, b"new 1")], 30).await;
        assert_eq!((again.taken, again.begun_again), (2, 1));
        assert_eq!(read_all(&shard, "t", 0).await, expected);
        assert_eq!(bounds(&shard, 1), (0, 0));
    });
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        assert_eq!(read_all(&shard, "t", 0).await, expected);
        assert_eq!((bounds(&shard, 1), shard.source_position()), ((0, 0), Some(30)));
    });
}

#[test]
fn what_cannot_be_taken_is_refused_whole_and_half_messages_are_in_no_queue() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (shard, _) = open(&options(directory.path())).await;
        shard.set_importing(true);
        let mut cut = record(0, "t", 0, 1, b"1");
        cut.pop();
        let refused = take(&shard, &[record(0, "t", 0, 0, b"0"), cut], 10);
        assert!(
            matches!(refused, Err(ImportError::Unreadable { index: 1, .. })),
            "{refused:?}"
        );
        let large = take(&shard, &[record(0, "t", 0, 0, &[1; 100_000])], 10);
        assert!(
            matches!(large, Err(ImportError::Refused(AppendError::TooLarge { .. }))),
            "{large:?}"
        );
        assert_eq!((bounds(&shard, 0), shard.source_position()), ((0, 0), None));
        let mut half = record(0, "t", 0, 0, b"half");
        half[36..40].copy_from_slice(&0x14_i32.to_be_bytes());
        let done = import(&shard, &[half, record(0, "t", 0, 0, b"0")], 10).await;
        assert_eq!((done.taken, done.begun_again), (2, 0));
        assert_eq!(read_all(&shard, "t", 0).await, [(0, b"0".to_vec())]);
        let next = record(0, "t", 0, 1, b"1");
        for from in [0, 9, 11] {
            let not_next = shard.append_imported(&[&next], from..20);
            assert!(
                matches!(not_next, Err(ImportError::NotNext { imported: 10, .. })),
                "{not_next:?}"
            );
        }
        assert_eq!(shard.append_imported(&[&next], 10..20).unwrap().taken, 1);
    });
}

#[test]
fn a_queue_without_messages_goes_on_where_it_was_after_any_end() {
    let directory = tempfile::tempdir().unwrap();
    let expected = ((1000, 1000), (5, 6), (7, 7));
    let all_bounds = |shard: &Shard| (bounds(shard, 0), bounds(shard, 1), bounds(shard, 2));
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        shard.set_importing(true);
        import(&shard, &[record(0, "t", 1, 5, b"5")], 10).await;
        for (queue_id, next) in [(0, 1000), (1, 1000), (2, 7)] {
            let begun = shard.begin_queue("t", queue_id, QueueOffset(next)).unwrap();
            assert_eq!(begun.is_some(), queue_id != 1, "queue {queue_id}");
            if let Some(batch) = begun {
                shard.committed(batch).await.unwrap();
            }
        }
        assert_eq!(all_bounds(&shard), expected);
    });
    // First from the log, then from the consume queues alone.
    for _start in 0..3 {
        run(async {
            let (shard, _) = open(&options(directory.path())).await;
            assert_eq!(all_bounds(&shard), expected);
            shard.close().await.unwrap();
        });
    }
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        assert_eq!(send(&shard, "t", 0, b"own").await.queue_offset.0, 1000);
        shard.set_importing(true);
        let done = import(&shard, &[record(0, "t", 2, 7, b"7"), record(0, "t", 2, 6, b"6")], 20).await;
        assert_eq!((done.taken, done.missing, done.passed), (1, 0, 1));
        assert_eq!(shard.begin_queue("t", 0, QueueOffset(5000)).unwrap(), None);
        assert_eq!(read_all(&shard, "t", 0).await, [(1000, b"own".to_vec())]);
    });
}

/// Records of the other broker's log.
const SOURCE_END: u64 = 2000;

/// The other broker's log, the same at each look: record `n` begins at position `100 * n`.
fn source(number: u64) -> (u32, i64, Vec<u8>) {
    let queue_id = u32::try_from(number % 3).unwrap();
    let body = number.to_be_bytes().repeat(usize::try_from(number % 97).unwrap() + 1);
    // Queue 2 begins further up.
    let first = if queue_id == 2 { 500 } else { 0 };
    (queue_id, first + i64::try_from(number / 3).unwrap(), body)
}

/// Opens the store, checks that all below the position is there once, and goes on from there.
async fn importer(store: StoreOptions, seed: u64, reached: Rc<Cell<u64>>) {
    let Ok(layout) = prepare_store(&store).await else {
        return;
    };
    let Ok((shard, recovered)) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await else {
        return;
    };
    assert!(recovered.metadata.is_empty(), "{:?}", recovered.metadata);
    shard.set_importing(true);
    let mut next = shard.source_position().unwrap_or(0) / 100;
    let mut expected: BTreeMap<u32, Vec<(i64, Vec<u8>)>> = BTreeMap::new();
    for (queue_id, queue_offset, body) in (0..next).map(source) {
        expected.entry(queue_id).or_default().push((queue_offset, body));
    }
    for queue_id in 0..3 {
        let found = read_all(&shard, "t", queue_id).await;
        let wanted = expected.remove(&queue_id).unwrap_or_default();
        assert_eq!(found, wanted, "seed {seed}, queue {queue_id}, {next} imported");
    }
    reached.set(reached.get().max(next));
    while next < SOURCE_END {
        let some: Vec<Vec<u8>> = (next..SOURCE_END.min(next + 1 + runtime::rng::random_below(40)))
            .map(|number| (number, source(number)))
            .map(|(number, (queue_id, offset, body))| record(number * 100, "t", queue_id, offset, &body))
            .collect();
        match take(&shard, &some, (next + some.len() as u64) * 100) {
            Ok(done) => {
                next += some.len() as u64;
                assert_eq!((done.missing, done.passed, done.begun_again), (0, 0, 0), "seed {seed}");
            }
            Err(ImportError::Refused(AppendError::Busy { .. })) => runtime::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        if runtime::rng::random_below(2) == 0 {
            runtime::sleep(Duration::from_micros(runtime::rng::random_below(20_000))).await;
        }
        if runtime::rng::random_below(30) == 0 {
            let _taken = shard.checkpoint().await;
        }
    }
    shard.close().await.unwrap();
}

#[test]
fn an_import_that_is_cut_short_anywhere_goes_on_without_loss_or_repetition() {
    let mut imported = 0;
    for seed in simulated::seeds() {
        let kinds = [
            FaultKind::DroppedWrite,
            FaultKind::ReorderedWrite,
            FaultKind::TornWrite,
            FaultKind::LostLength,
            FaultKind::LostName,
        ];
        let faults = Faults::swarm(seed, &kinds);
        let simulated = Options {
            faults,
            ..Options::default()
        };
        let simulation = Simulation::new(seed, simulated);
        let node = simulation.node("broker", "10.0.0.1".parse().unwrap());
        let store = StoreOptions {
            write_path: if seed % 2 == 0 {
                WritePath::Direct
            } else {
                WritePath::Buffered
            },
            tail_cache_bytes: 40_000,
            staged_bytes_max: 100_000,
            checkpoint_bytes: 60_000,
            ..options(Path::new("/store"))
        };
        let reached: Rc<Cell<u64>> = Rc::default();
        let shared = Rc::clone(&reached);
        simulation.start(node, move || importer(store.clone(), seed, Rc::clone(&shared)));
        for _ in 0..5 {
            simulation.run_for(Duration::from_millis(20 + simulation.draw(300)));
            if simulation.draw(2) == 0 {
                simulation.crash(node);
            } else {
                simulation.kill(node);
            }
            simulation.restart(node);
        }
        simulation.run_for(Duration::from_secs(2));
        imported += reached.get();
    }
    assert!(imported > 1000, "{imported} records are too few to say anything");
}
