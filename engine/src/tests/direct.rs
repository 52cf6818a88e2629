//! Logs that are written past the page cache: whole blocks on the disk, dense positions in the log, recycled segments.

use super::*;
use std::fs;

/// `None`, and a line that says so, where the temporary directory's file system has no direct writes.
async fn direct_store(root: &Path, flush: FlushMode) -> Option<StoreOptions> {
    let mut options = StoreOptions {
        flush,
        write_path: WritePath::Direct,
        tail_cache_bytes: 1_000,
        ..options(root)
    };
    options.retention.reserved = Duration::ZERO;
    options.retention.delete_hours = Vec::new();
    match runtime::direct_refusal(root).await.unwrap() {
        None => Some(options),
        Some(refusal) => {
            println!("SKIPPED: {refusal}");
            None
        }
    }
}

fn files(root: &Path, suffix: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root.join("shard-00/commitlog"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(suffix))
        .collect();
    names.sort();
    names
}

#[test]
fn messages_of_any_size_come_back_from_the_disk_whichever_way_the_log_was_written_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut sent = Vec::new();
    let mut number = 0_usize;
    for (round, write_path) in [
        WritePath::Direct,
        WritePath::Buffered,
        WritePath::Direct,
        WritePath::Direct,
    ]
    .into_iter()
    .enumerate()
    {
        run(async {
            let Some(direct) = direct_store(directory.path(), FlushMode::Async).await else {
                return;
            };
            let options = StoreOptions { write_path, ..direct };
            let (shard, recovered) = open(&options).await;
            assert!(
                recovered.damage.is_empty() && recovered.end == recovered.end.max(1) * u64::from(round > 0),
                "{round}: {recovered:?}"
            );
            assert!(read_all(&shard, "t", 0).await == sent, "round {round}");
            for _ in 0..150 {
                let body = vec![u8::try_from(number % 251).unwrap(); (number * 977) % 30_000];
                send(&shard, "t", 0, &body).await;
                sent.push((i64::try_from(number).unwrap(), body));
                number += 1;
            }
            assert!(read_all(&shard, "t", 0).await == sent, "round {round}");
            let stats = shard.stats();
            if write_path == WritePath::Direct {
                assert_eq!(stats.flushed, stats.end, "what is written directly is durable");
            }
            if round == 2 {
                shard.close().await.unwrap();
            }
        });
    }
}

#[test]
fn what_comes_while_a_direct_write_is_under_way_is_the_next_one_and_nothing_is_told_before_its_end() {
    for flush in [FlushMode::Async, FlushMode::Sync] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let Some(options) = direct_store(directory.path(), flush).await else {
                return;
            };
            let commits = Commits::default();
            let (shard, _) = open_with(&options, commits.hooks()).await;
            faults::SYNCS_HANG.set(true);
            append(&shard, "t", 0, b"body 0").await;
            until_a_sync_hangs().await;
            for number in 1..10 {
                append(&shard, "t", 0, format!("body {number}").as_bytes()).await;
                runtime::yield_now().await;
            }
            assert!(commits.0.borrow().is_empty());
            assert_eq!(shard.bounds(shard.queue("t", 0).unwrap()).1.0, 0);
            faults::SYNCS_HANG.set(false);
            shard.committed(BatchId(2)).await.unwrap();
            assert_eq!(*commits.0.borrow(), [(1, true, 1), (2, true, 9)]);
            assert_eq!(read_all(&shard, "t", 0).await, numbered(10));
        });
    }
}

#[test]
fn a_failed_direct_write_fences_the_shard_in_both_modes_and_tells_nobody_that_it_was_stored() {
    for flush in [FlushMode::Async, FlushMode::Sync] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let Some(options) = direct_store(directory.path(), flush).await else {
                return;
            };
            let commits = Commits::default();
            let (shard, _) = open_with(&options, commits.hooks()).await;
            send(&shard, "t", 0, b"body 0").await;
            faults::SYNCS_FAIL.set(true);
            let failed = append(&shard, "t", 0, b"body 1").await;
            let error = shard.committed(failed.batch).await.unwrap_err();
            faults::SYNCS_FAIL.set(false);
            assert!(
                matches!(&error, AppendError::Fenced(reason) if reason.action == "write to"),
                "{error}"
            );
            assert_eq!(*commits.0.borrow(), [(1, true, 1), (2, false, 0)]);
            assert!(shard.append(&message(&shard, "t", 0, b"later")).is_err());
            assert_eq!(read_all(&shard, "t", 0).await, numbered(1));
        });
    }
}

/// Waits until as many segments are ready as there should be: 8 behind that of the log's end.
async fn all_is_prepared(shard: &Shard) {
    let inner = &shard.0;
    let ready = async {
        while inner.positions.prepared.get() < inner.log.base_of(inner.end()) + 9 * inner.layout.segment_size() {
            runtime::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = runtime::timeout(Duration::from_secs(30), ready).await;
    assert!(in_time.is_ok(), "the preparer makes no segments");
}

#[test]
fn segments_that_retention_drops_are_used_again_and_what_they_held_never_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut number = 0_i64;
    for round in 0..6 {
        run(async {
            let Some(options) = direct_store(root, FlushMode::Async).await else {
                return;
            };
            let (shard, recovered) = open(&options).await;
            assert!(
                recovered.damage.is_empty() && recovered.torn_bytes == 0,
                "round {round}: {recovered:?}"
            );
            let queue = shard.queue("t", 0).unwrap();
            assert_eq!(shard.bounds(queue).1.0, number);
            let spares = files(root, ".spare");
            for _ in 0..20 {
                // All of one size: an old record lies wherever a new one is to come.
                let body = format!("{number:05}").repeat(2_000);
                send(&shard, "t", 0, body.as_bytes()).await;
                number += 1;
            }
            all_is_prepared(&shard).await;
            if round > 0 {
                assert!(!spares.is_empty(), "round {round}");
                assert!(
                    spares.iter().all(|spare| !files(root, ".spare").contains(spare)),
                    "{spares:?} are used"
                );
            }
            for _ in 0..3 {
                shard.checkpoint().await.unwrap();
            }
            assert!(shard.clean_expired().await.unwrap() > 0);
            let spares = files(root, ".spare");
            assert_eq!(spares.len(), 2, "two were kept: {spares:?}");
            let (min, max) = shard.bounds(queue);
            let found = read_all(&shard, "t", 0).await;
            assert_eq!((max.0, i64::try_from(found.len()).unwrap()), (number, max.0 - min.0));
            for (offset, body) in found {
                assert!(body == format!("{offset:05}").repeat(2_000).as_bytes(), "{offset}");
            }
            if round % 2 == 1 {
                shard.close().await.unwrap();
            }
        });
    }
}

#[test]
fn a_buffered_log_takes_no_spares_and_leaves_none_behind() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async {
        let (shard, _) = open(&options(root)).await;
        send(&shard, "t", 0, b"body 0").await;
        fs::write(root.join("shard-00/commitlog/00000000000000000000.spare"), b"old").unwrap();
    });
    run(async {
        let (shard, _) = open(&options(root)).await;
        assert_eq!(files(root, ".spare"), Vec::<String>::new());
        assert_eq!(read_all(&shard, "t", 0).await, numbered(1));
    });
}

#[test]
fn a_spare_that_was_cut_short_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async {
        let Some(options) = direct_store(root, FlushMode::Async).await else {
            return;
        };
        drop(open(&options).await);
    });
    run(async {
        let Some(options) = direct_store(root, FlushMode::Async).await else {
            return;
        };
        let logs = root.join("shard-00/commitlog");
        for spare in files(root, ".spare") {
            fs::remove_file(logs.join(spare)).unwrap();
        }
        fs::write(logs.join("99999999999999999999.spare"), [7; 5_000]).unwrap();
        let (shard, _) = open(&options).await;
        for _ in 0..12 {
            send(&shard, "t", 0, &[7; 60_000]).await;
        }
        // No segment is half made any more.
        shard.close().await.unwrap();
        for name in files(root, "0") {
            assert_eq!(fs::metadata(logs.join(&name)).unwrap().len(), 64 << 10, "{name}");
        }
        assert_eq!(files(root, "9.spare"), Vec::<String>::new());
    });
}

#[test]
fn where_direct_writes_cannot_be_had_the_log_is_buffered() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let odd = StoreOptions {
            write_path: WritePath::Direct,
            segment_size: (64 << 10) + 1,
            ..options(directory.path())
        };
        let layout = prepare_store(&odd).await.unwrap();
        assert!(!layout.is_direct(), "a segment is no whole number of blocks");
    });
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        println!("SKIPPED for tmpfs: there is no /dev/shm");
        return;
    }
    let directory = tempfile::tempdir_in(memory).unwrap();
    run(async {
        let wanted = StoreOptions {
            write_path: WritePath::Direct,
            ..options(directory.path())
        };
        let refusal = runtime::direct_refusal(directory.path()).await.unwrap();
        assert!(refusal.is_some_and(|refusal| refusal.to_string().contains("fix: ")));
        let layout = prepare_store(&wanted).await.unwrap();
        assert!(!layout.is_direct());
        let (shard, _) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap();
        send(&shard, "t", 0, b"body 0").await;
        assert_eq!(read_all(&shard, "t", 0).await, numbered(1));
    });
}

#[test]
fn wherever_power_tears_the_rewrite_of_a_block_what_was_acknowledged_is_there() {
    const SECTOR: usize = 512;
    let original = tempfile::tempdir().unwrap();
    let log = |root: &Path| root.join("shard-00/commitlog").join(format!("{:020}", 0));
    let mut images = Vec::new();
    run(async {
        let Some(options) = direct_store(original.path(), FlushMode::Sync).await else {
            return;
        };
        let (shard, _) = open(&options).await;
        for number in 0..12 {
            send(&shard, "t", 0, format!("body {number}").as_bytes()).await;
        }
        images.push(fs::read(log(original.path())).unwrap());
        // Over the rest of the block and two more.
        send(&shard, "t", 0, &[7; 6_000]).await;
        images.push(fs::read(log(original.path())).unwrap());
    });
    let [before, after] = &images[..] else { return };
    let changed: Vec<usize> = (0..before.len())
        .step_by(SECTOR)
        .filter(|at| before[*at..at + SECTOR] != after[*at..at + SECTOR])
        .collect();
    assert!(changed.len() > 8, "{changed:?}");
    assert_ne!(
        changed[0] % runtime::BLOCK_SIZE,
        0,
        "acknowledged bytes are in the block as well"
    );
    // Sectors up to one, from one on, and all but one.
    let ways: [fn(usize, usize) -> bool; 3] = [|at, edge| at < edge, |at, edge| at >= edge, |at, edge| at != edge];
    for edge in &changed {
        for way in ways {
            let directory = tempfile::tempdir().unwrap();
            crash::copy_store(original.path(), directory.path());
            let mut torn = before.clone();
            for at in changed.iter().filter(|at| way(**at, *edge)) {
                torn[*at..at + SECTOR].copy_from_slice(&after[*at..at + SECTOR]);
            }
            let is_whole = torn == *after;
            fs::write(log(directory.path()), torn).unwrap();
            run(async {
                let options = direct_store(directory.path(), FlushMode::Sync).await.unwrap();
                let (shard, recovered) = open(&options).await;
                assert!(recovered.damage.is_empty(), "torn at {edge}: {recovered:?}");
                let found = read_all(&shard, "t", 0).await;
                assert_eq!(found[..12], numbered(12), "torn at {edge}");
                assert_eq!(found.len(), if is_whole { 13 } else { 12 }, "torn at {edge}");
                let next = send(&shard, "t", 0, b"next").await;
                assert_eq!(
                    read_all(&shard, "t", 0).await.last(),
                    Some(&(next.queue_offset.0, b"next".to_vec()))
                );
            });
        }
    }
}

#[test]
fn whole_batches_of_the_segment_that_a_file_was_before_are_no_batches_of_the_one_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let segment = |base: u64| root.join("shard-00/commitlog").join(format!("{base:020}"));
    run(async {
        let Some(options) = direct_store(root, FlushMode::Sync).await else {
            return;
        };
        let (shard, _) = open(&options).await;
        for number in 0..10_u8 {
            send(&shard, "t", 0, &[number; 20_000]).await;
        }
        assert_eq!(shard.stats().end >> 16, 3, "three messages a segment");
    });
    if !segment(0).exists() {
        return;
    }
    // Power went before anything was written into a file that had been the first segment.
    fs::copy(segment(0), segment(3 << 16)).unwrap();
    for kept in [9, 10] {
        run(async {
            let (shard, recovered) = open(&direct_store(root, FlushMode::Sync).await.unwrap()).await;
            assert!(
                recovered.damage.is_empty() && recovered.torn_bytes == 0,
                "{recovered:?}"
            );
            let found = read_all(&shard, "t", 0).await;
            assert!(
                found.len() == kept
                    && found
                        .iter()
                        .all(|(offset, body)| *body == [u8::try_from(*offset).unwrap(); 20_000])
            );
            if kept == 9 {
                assert_eq!(recovered.end, 3 << 16);
                assert_eq!(send(&shard, "t", 0, &[9; 20_000]).await.queue_offset.0, 9);
            }
        });
    }
}

/// The parts of the first segment that the file system has data of.
async fn written(root: &Path) -> Vec<std::ops::Range<u64>> {
    let path = root.join("shard-00/commitlog").join(format!("{:020}", 0));
    let file = runtime::File::open(&path, runtime::OpenOptions::read_write()).await;
    file.unwrap().data_ranges(0..1 << 20).await.unwrap()
}

#[test]
fn space_ahead_of_the_log_is_written_once_before_the_log_comes_and_never_over_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (round, flush) in (0..).zip([FlushMode::Sync, FlushMode::Async]) {
        run(async {
            let Some(options) = direct_store(root, flush).await else {
                return;
            };
            let options = StoreOptions {
                segment_size: 1 << 20,
                ..options
            };
            let (shard, recovered) = open(&options).await;
            assert!(
                recovered.damage.is_empty() && recovered.torn_bytes == 0,
                "{recovered:?}"
            );
            // At once, so that messages and zeros are under way together.
            for number in round * 40..(round + 1) * 40 {
                send(&shard, "t", 0, format!("body {number}").as_bytes()).await;
            }
            let whole = async {
                while !matches!(&written(root).await[..], [all] if *all == (0..1 << 20)) {
                    runtime::sleep(Duration::from_millis(1)).await;
                }
            };
            let all = runtime::timeout(Duration::from_secs(30), whole).await;
            assert!(
                all.is_ok(),
                "what is ahead was never written: {:?}",
                written(root).await
            );
            assert_eq!(read_all(&shard, "t", 0).await, numbered((round + 1) * 40));
            if round == 0 {
                shard.close().await.unwrap();
            }
        });
    }
}
