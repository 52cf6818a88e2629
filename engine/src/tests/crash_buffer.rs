//! What is committed and only in memory yet: a kill takes none of it, and nothing is promised that a disk may never take.

use super::*;
use runtime::sim::{Faults, NodeId, Options, Simulation};

const LIMIT: Duration = Duration::from_secs(60);
/// Less than the writer of such bytes waits for more.
const SOON: Duration = Duration::from_millis(5);

/// A machine whose process opens no store by itself.
fn machine() -> (Simulation, NodeId) {
    let world = Options {
        faults: Faults::none(),
        ..Options::default()
    };
    let simulation = Simulation::new(1, world);
    let node = simulation.node("broker", "10.0.0.1".parse().unwrap());
    simulation.start(node, std::future::pending::<()>);
    (simulation, node)
}

fn kept_in_memory() -> StoreOptions {
    StoreOptions {
        crash_buffer_bytes: 256 << 10,
        ..options(Path::new("/store"))
    }
}

/// Opens the store in `node` and does something with it.
fn with_shard<F: Future + 'static>(
    (simulation, node): (&Simulation, NodeId),
    options: StoreOptions,
    work: impl FnOnce(Shard, Recovered) -> F + 'static,
) -> F::Output
where
    F::Output: 'static,
{
    let task = async move {
        let (shard, recovered) = open(&options).await;
        work(shard, recovered).await
    };
    simulation.block_on(node, task, LIMIT).unwrap()
}

/// Sends ten messages, the last of them while nothing of it can have been written.
async fn send_ten(shard: Shard, _recovered: Recovered) -> ShardStats {
    for (_, body) in numbered(9) {
        send(&shard, "t", 0, &body).await;
    }
    runtime::sleep(Duration::from_secs(1)).await;
    let before = runtime::Instant::now();
    send(&shard, "t", 0, b"body 9").await;
    assert!(before.elapsed() < SOON, "a commit takes {:?}", before.elapsed());
    assert_eq!(read_all(&shard, "t", 0).await, numbered(10), "readers see it at once");
    shard.stats()
}

#[test]
fn a_kill_takes_nothing_that_was_acknowledged_from_memory_and_a_power_cut_what_was_not_written() {
    for power_cut in [false, true] {
        let (simulation, node) = machine();
        let stats = with_shard((&simulation, node), kept_in_memory(), send_ten);
        assert!(0 < stats.written && stats.written < stats.confirmed, "{stats:?}");
        if power_cut {
            simulation.crash(node);
        } else {
            simulation.kill(node);
        }
        simulation.restart(node);
        let (found, end) = with_shard((&simulation, node), kept_in_memory(), |shard, recovered| async move {
            (read_all(&shard, "t", 0).await, recovered.end)
        });
        let expected = if power_cut {
            (9, stats.written)
        } else {
            (10, stats.confirmed)
        };
        assert_eq!(
            (found, end),
            (numbered(expected.0), expected.1),
            "power cut: {power_cut}"
        );
    }
}

#[test]
fn what_was_kept_is_found_whichever_way_the_next_start_writes() {
    let (simulation, node) = machine();
    let stats = with_shard((&simulation, node), kept_in_memory(), send_ten);
    simulation.kill(node);
    simulation.restart(node);
    let buffered = StoreOptions {
        write_path: WritePath::Buffered,
        ..kept_in_memory()
    };
    let found = with_shard(
        (&simulation, node),
        buffered.clone(),
        move |shard, recovered| async move {
            assert_eq!(recovered.end, stats.confirmed);
            send(&shard, "t", 0, b"body 10").await;
            read_all(&shard, "t", 0).await
        },
    );
    assert_eq!(found, numbered(11));
    simulation.kill(node);
    simulation.restart(node);
    let found = with_shard((&simulation, node), buffered, |shard, _recovered| async move {
        read_all(&shard, "t", 0).await
    });
    assert_eq!(found, numbered(11), "what was taken from memory is not taken twice");
}

#[test]
fn a_shard_that_is_closed_leaves_nothing_in_memory() {
    let (simulation, node) = machine();
    let stats = with_shard((&simulation, node), kept_in_memory(), |shard, _recovered| async move {
        send(&shard, "t", 0, b"body 0").await;
        shard.close().await.unwrap();
        assert!(!runtime::file::exists(Path::new("/store/shard-00/crash-memory")).await);
        shard.stats()
    });
    assert_eq!(stats.written, stats.confirmed);
    // Its disk is all that is left of it.
    simulation.crash(node);
    simulation.restart(node);
    let found = with_shard((&simulation, node), kept_in_memory(), |shard, recovered| async move {
        assert!(recovered.clean);
        read_all(&shard, "t", 0).await
    });
    assert_eq!(found, numbered(1));
}

#[test]
fn a_disk_that_stands_still_for_longer_than_a_flush_interval_stops_acknowledgements() {
    let (simulation, node) = machine();
    let interval = Duration::from_millis(200);
    let options = StoreOptions {
        flush_interval: interval,
        ..kept_in_memory()
    };
    with_shard((&simulation, node), options, move |shard, _recovered| async move {
        faults::SYNCS_HANG.set(true);
        send(&shard, "t", 0, b"body 0").await;
        runtime::sleep(interval / 2).await;
        send(&shard, "t", 0, b"body 1").await;
        runtime::sleep(interval).await;
        let waits = append(&shard, "t", 0, b"body 2").await;
        runtime::sleep(interval * 10).await;
        assert_eq!(
            read_all(&shard, "t", 0).await,
            numbered(2),
            "the disk has stood still for long"
        );
        faults::SYNCS_HANG.set(false);
        shard.committed(waits.batch).await.unwrap();
        assert_eq!(read_all(&shard, "t", 0).await, numbered(3));
        shard.close().await.unwrap();
    });
}

#[test]
fn when_memory_is_full_a_commit_waits_for_the_disk_and_nothing_is_refused() {
    let (simulation, node) = machine();
    let options = StoreOptions {
        crash_buffer_bytes: 8 << 10,
        tail_cache_bytes: 4 << 10,
        ..kept_in_memory()
    };
    let found = with_shard((&simulation, node), options.clone(), |shard, _recovered| async move {
        for number in 0..200_u32 {
            // Some of them have more bytes than all of the memory.
            let body = vec![u8::try_from(number).unwrap(); if number % 10 == 0 { 20_000 } else { 1_500 }];
            let appended = append(&shard, "t", 0, &body).await;
            if number % 7 == 0 {
                shard.committed(appended.batch).await.unwrap();
            }
        }
        shard.flush().await.unwrap();
        let all = read_all(&shard, "t", 0).await;
        assert_eq!(all.len(), 200);
        assert!(
            shard.stats().tail_cache_bytes < 64 << 10,
            "what is written leaves the tail cache"
        );
        send(&shard, "t", 0, b"last").await;
        all
    });
    simulation.kill(node);
    simulation.restart(node);
    let again = with_shard((&simulation, node), options, |shard, _recovered| async move {
        read_all(&shard, "t", 0).await
    });
    assert_eq!(again[..200], found);
    assert_eq!(again[200].1, b"last");
}

#[test]
fn a_topic_that_is_deleted_is_deleted_on_the_disk() {
    let (simulation, node) = machine();
    with_shard((&simulation, node), kept_in_memory(), |shard, _recovered| async move {
        send(&shard, "t", 0, b"body 0").await;
        let deleted = shard.delete_queues("t").unwrap();
        shard.committed(deleted).await.unwrap();
        let stats = shard.stats();
        assert_eq!(stats.flushed, stats.confirmed);
    });
    simulation.crash(node);
    simulation.restart(node);
    let bounds = with_shard((&simulation, node), kept_in_memory(), |shard, _recovered| async move {
        shard.bounds(shard.queue("t", 0).unwrap())
    });
    assert_eq!(bounds, (QueueOffset(0), QueueOffset(0)));
}

#[test]
fn a_write_that_fails_fences_the_shard_and_what_was_acknowledged_is_there_at_the_next_start() {
    let (simulation, node) = machine();
    with_shard((&simulation, node), kept_in_memory(), |shard, _recovered| async move {
        faults::WRITES_FAIL.set(true);
        send(&shard, "t", 0, b"body 0").await;
        runtime::sleep(Duration::from_secs(1)).await;
        let refused = shard.append(&message(&shard, "t", 0, b"body 1")).unwrap_err();
        assert!(matches!(refused, AppendError::Fenced(_)), "{refused}");
        assert_eq!(read_all(&shard, "t", 0).await, numbered(1), "it can still be read");
        shard.close().await.unwrap_err();
        faults::WRITES_FAIL.set(false);
    });
    simulation.kill(node);
    simulation.restart(node);
    let found = with_shard((&simulation, node), kept_in_memory(), |shard, _recovered| async move {
        read_all(&shard, "t", 0).await
    });
    assert_eq!(found, numbered(1));
}

#[test]
fn what_a_fenced_shard_has_in_memory_is_written_when_the_disk_takes_it_or_when_the_shard_is_closed() {
    for closes in [false, true] {
        let (simulation, node) = machine();
        with_shard(
            (&simulation, node),
            kept_in_memory(),
            move |shard, _recovered| async move {
                faults::WRITES_FAIL.set(true);
                send(&shard, "t", 0, b"body 0").await;
                runtime::sleep(Duration::from_secs(1)).await;
                let stats = shard.stats();
                assert!(stats.fenced.is_some() && stats.flushed < stats.confirmed, "{stats:?}");
                faults::WRITES_FAIL.set(false);
                if closes {
                    shard.close().await.unwrap_err();
                } else {
                    runtime::sleep(Duration::from_secs(5)).await;
                }
                assert_eq!(shard.stats().flushed, stats.confirmed, "closes: {closes}");
            },
        );
        simulation.crash(node);
        simulation.restart(node);
        let found = with_shard((&simulation, node), kept_in_memory(), |shard, _recovered| async move {
            read_all(&shard, "t", 0).await
        });
        assert_eq!(found, numbered(1), "closes: {closes}");
    }
}

#[test]
fn a_write_over_two_segments_that_fails_in_the_second_goes_on_there() {
    let bodies: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 3_000]).collect();
    let mut between = 0;
    for writes in 1..4 {
        let (simulation, node) = machine();
        let sent = bodies.clone();
        let written = with_shard((&simulation, node), kept_in_memory(), move |shard, _| async move {
            let (first, later) = sent.split_first().unwrap();
            send(&shard, "t", 0, first).await;
            shard.flush().await.unwrap();
            // What is written next begins in the middle of a block.
            faults::WRITES_LEFT.set(Some(writes));
            for body in later {
                append(&shard, "t", 0, body).await;
            }
            runtime::sleep(Duration::from_secs(1)).await;
            let written = shard.stats().written;
            faults::WRITES_LEFT.set(None);
            runtime::sleep(Duration::from_secs(5)).await;
            let stats = shard.stats();
            assert_eq!(stats.flushed, stats.confirmed, "after {writes} writes");
            written
        });
        between += u32::from(written == 64 << 10);
        simulation.crash(node);
        simulation.restart(node);
        let found = with_shard((&simulation, node), kept_in_memory(), |shard, _| async move {
            read_all(&shard, "t", 0).await
        });
        let found: Vec<Vec<u8>> = found.into_iter().map(|(_, body)| body).collect();
        assert_eq!(found, bodies, "after {writes} writes");
    }
    assert!(between > 0, "no write has failed between two segments");
}

/// On this machine's own memory, where it outlives a process.
#[test]
fn memory_that_was_removed_is_told_and_the_machine_counts_as_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        crash_buffer_bytes: 1 << 20,
        ..options(dir.path())
    };
    if let Some(reason) = runtime::crash_memory::refusal(1 << 20) {
        println!("skipped: {reason}");
        return;
    }
    run(async {
        let (shard, _) = open(&options).await;
        send(&shard, "t", 0, b"body 0").await;
        shard.checkpoint().await.unwrap();
    });
    run(async {
        let (shard, recovered) = open(&options).await;
        assert!(recovered.same_boot && recovered.reports.is_empty(), "{recovered:?}");
        send(&shard, "t", 0, b"body 1").await;
        shard.checkpoint().await.unwrap();
    });
    let handle = std::fs::read(dir.path().join("shard-00/crash-memory")).unwrap();
    let id = i32::from_be_bytes(handle[8..12].try_into().unwrap());
    runtime::CrashMemory::attach(id).unwrap().unwrap().remove().unwrap();
    run(async {
        let (shard, recovered) = open(&options).await;
        assert!(!recovered.same_boot);
        assert!(recovered.reports[0].contains("is gone"), "{:?}", recovered.reports);
        assert_eq!(read_all(&shard, "t", 0).await, numbered(2), "all of it was written");
        shard.close().await.unwrap();
    });
}
