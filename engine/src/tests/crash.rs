//! Ends of all kinds, and what the next start makes of them.

use super::*;
use std::fs;
use std::path::PathBuf;

/// A store that was killed after `count` messages, each in a batch of its own; says where each lies.
fn killed_store(root: &Path, count: i64) -> Vec<Appended> {
    run(async {
        let (shard, _) = open(&options(root)).await;
        let mut appended = Vec::new();
        for number in 0..count {
            appended.push(send(&shard, "t", 0, format!("body {number}").as_bytes()).await);
        }
        appended
    })
}

pub(super) fn segment(root: &Path, base: u64) -> PathBuf {
    root.join(format!("shard-00/commitlog/{base:020}"))
}

pub(super) fn copy_store(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_store(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn zero(path: &Path, range: std::ops::Range<u64>) {
    let mut bytes = fs::read(path).unwrap();
    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
    bytes[range].fill(0);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_and_offsets_go_on() {
    let directory = tempfile::tempdir().unwrap();
    for start in 0..4 {
        run(async {
            let (shard, recovered) = open(&options(directory.path())).await;
            assert!(
                recovered.torn_bytes == 0 && recovered.damage.is_empty(),
                "{recovered:?}"
            );
            assert_eq!(
                recovered.same_boot,
                start > 0 && !crate::recovery::boot_id().await.is_empty() && recovered.end > 0
            );
            for number in start * 50..(start + 1) * 50 {
                let appended = send(&shard, "t", 0, format!("body {number}").as_bytes()).await;
                assert_eq!(appended.queue_offset.0, number);
            }
            // Not waited for: it may be there or not, but whole.
            shard.append(&message(&shard, "other", 0, b"unknown")).unwrap();
        });
    }
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        assert_eq!(read_all(&shard, "t", 0).await, numbered(200));
        assert!(
            read_all(&shard, "other", 0)
                .await
                .iter()
                .all(|(_, body)| body == b"unknown")
        );
    });
}

#[test]
fn wherever_an_unfinished_write_ends_the_log_ends_before_it_and_grows_again() {
    let original = tempfile::tempdir().unwrap();
    let appended = killed_store(original.path(), 6);
    let [.., before, last] = &appended[..] else {
        unreachable!()
    };
    let batch_end = |one: &Appended| one.physical_offset.position() + one.size as u64 + 80;
    let from = batch_end(before);
    let to = batch_end(last);
    for cut in (from..to).step_by(7).chain([to - 1]) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        copy_store(original.path(), root);
        zero(&segment(root, 0), cut..to);
        run(async {
            let (shard, recovered) = open(&options(root)).await;
            // The last bytes of a seal are zeros anyway.
            let is_whole = cut >= to - 4;
            assert_eq!(recovered.end, if is_whole { to } else { from }, "cut at {cut}");
            assert!(recovered.damage.is_empty(), "{recovered:?}");
            let kept = if is_whole { 6 } else { 5 };
            assert_eq!(read_all(&shard, "t", 0).await, numbered(kept));
            assert_eq!(
                send(&shard, "t", 0, format!("body {kept}").as_bytes())
                    .await
                    .queue_offset
                    .0,
                kept
            );
        });
        run(async {
            let (shard, recovered) = open(&options(root)).await;
            assert!(
                recovered.torn_bytes == 0 && recovered.damage.is_empty(),
                "{recovered:?}"
            );
            assert!(read_all(&shard, "t", 0).await.len() >= 6);
        });
    }
}

#[test]
fn batches_behind_a_torn_one_are_gone_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let appended = killed_store(root, 10);
    // Nothing was synced: the disk wrote batch 5 too late, and those behind it in time.
    let torn = appended[5].physical_offset.position();
    flip(&segment(root, 0), torn + 20);
    fs::remove_file(root.join("shard-00/checkpoint")).ok();
    run(async {
        let (shard, recovered) = open(&options(root)).await;
        assert_eq!((recovered.end, recovered.damage.len()), (torn, 0), "{recovered:?}");
        assert!(recovered.torn_bytes > 0);
        assert_eq!(read_all(&shard, "t", 0).await, numbered(5));
        // The same sizes as before: each new batch ends exactly where an old one began.
        send(&shard, "t", 0, b"BODY 5").await;
    });
    run(async {
        let (shard, recovered) = open(&options(root)).await;
        assert_eq!(recovered.torn_bytes, 0, "{recovered:?}");
        let bodies = read_all(&shard, "t", 0).await;
        assert_eq!((bodies.len(), &bodies[5].1[..]), (6, &b"BODY 5"[..]));
    });
}

#[test]
fn rot_below_the_synced_mark_costs_its_batch_only_and_nothing_is_cut() {
    // A bit in a record, in a record's size, in a seal; each in the middle of what a checkpoint calls synced.
    for (what, offset) in [("body", 88_i64), ("size", 3), ("seal", -40)] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let appended = run(async {
            let (shard, _) = open(&options(root)).await;
            let mut appended = Vec::new();
            for number in 0..20 {
                appended.push(send(&shard, "t", 0, format!("body {number}").as_bytes()).await);
                if number == 14 {
                    shard.flush().await.unwrap();
                }
            }
            appended
        });
        let seal_end = appended[8].physical_offset.position();
        let at = if offset < 0 {
            seal_end
        } else {
            appended[7].physical_offset.position()
        };
        flip(&segment(root, 0), at.checked_add_signed(offset).unwrap());
        let before = fs::read(segment(root, 0)).unwrap();
        for start in 0..2 {
            run(async {
                let (shard, recovered) = open(&options(root)).await;
                assert_eq!(
                    (recovered.damage.len(), recovered.torn_bytes),
                    (1, 0),
                    "{what} {start}: {recovered:?}"
                );
                let damage = &recovered.damage[0];
                assert_eq!(damage.from, appended[7].physical_offset, "{what}");
                assert_eq!(damage.to.position(), seal_end, "{what}");
                let mut found = Vec::new();
                let mut from = 0;
                let mut lost = Vec::new();
                while from < 20 {
                    match shard.read(&request(&shard, "t", 0, from)).await {
                        Ok(result) => {
                            found.extend(bodies(&result));
                            from = result.next.0;
                        }
                        Err(ReadError::Damaged { .. }) => {
                            lost.push(from);
                            from += 1;
                        }
                        Err(ReadError::Lost { queue_offsets, .. }) => {
                            lost.extend(queue_offsets.clone());
                            from = queue_offsets.end;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                assert_eq!(lost, [7], "{what}");
                let mut expected = numbered(20);
                expected.remove(7);
                assert_eq!(found, expected, "{what}");
                assert_eq!(shard.stats().damaged_ranges, 1);
            });
        }
        let after = fs::read(segment(root, 0)).unwrap();
        assert!(before == after, "the log was changed: {what}");
    }
}

#[test]
fn any_flipped_bit_in_a_synced_log_is_found_and_nothing_wrong_is_served() {
    let original = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(original.path())).await;
        for number in 0..8 {
            send(&shard, "t", 0, format!("body {number}").as_bytes()).await;
        }
        shard.close().await.unwrap();
    });
    fs::remove_file(original.path().join("shard-00/checkpoint")).unwrap();
    fs::remove_file(original.path().join("shard-00/checkpoint.previous")).ok();
    for queues in [true, false] {
        for at in (0..8 * 180).step_by(37) {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            copy_store(original.path(), root);
            if !queues {
                fs::remove_dir_all(root.join("shard-00/consumequeue")).unwrap();
            }
            flip(&segment(root, 0), at);
            run(async {
                let (shard, recovered) = open(&options(root)).await;
                let expected = numbered(8);
                let queue = shard.queue("t", 0).unwrap();
                let (min, max) = shard.bounds(queue);
                let mut from = min.0;
                while from < max.0 {
                    match shard.read(&request(&shard, "t", 0, from)).await {
                        Ok(result) => {
                            for message in bodies(&result) {
                                assert!(expected.contains(&message), "{message:?} was never sent (byte {at})");
                            }
                            from = result.next.0;
                        }
                        Err(_) => from += 1,
                    }
                }
                assert!(max.0 <= 8, "{recovered:?}");
            });
        }
    }
}

#[test]
fn a_segment_that_vanished_is_reported_and_the_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async {
        let (shard, _) = open(&options(root)).await;
        for _ in 0..30 {
            send(&shard, "t", 0, &[7; 20_000]).await;
        }
        shard.flush().await.unwrap();
        assert!(shard.stats().segments > 8);
    });
    fs::remove_file(segment(root, 3 << 16)).unwrap();
    fs::remove_file(root.join("shard-00/checkpoint")).ok();
    run(async {
        let (shard, recovered) = open(&options(root)).await;
        assert_eq!(recovered.damage.len(), 1, "{recovered:?}");
        assert_eq!(recovered.damage[0].from.position(), 3 << 16);
        assert_eq!(recovered.damage[0].to.position(), 4 << 16);
        let (_, max) = shard.bounds(shard.queue("t", 0).unwrap());
        assert_eq!(max.0, 30);
        let last = shard.read(&request(&shard, "t", 0, 29)).await.unwrap();
        assert_eq!(last.count, 1);
        assert_eq!(send(&shard, "t", 0, b"next").await.queue_offset.0, 30);
    });
}

#[test]
fn a_log_that_is_gone_as_a_whole_goes_on_behind_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async {
        let (shard, _) = open(&options(root)).await;
        for _ in 0..10 {
            send(&shard, "t", 0, &[7; 20_000]).await;
        }
        shard.close().await.unwrap();
    });
    fs::remove_dir_all(root.join("shard-00/commitlog")).unwrap();
    run(async {
        let (shard, recovered) = open(&options(root)).await;
        assert!(!recovered.reports.is_empty(), "{recovered:?}");
        let appended = send(&shard, "t", 0, b"next").await;
        assert!(
            appended.physical_offset.position() >= 200_000,
            "offsets are not given out twice"
        );
        assert_eq!(appended.queue_offset.0, 10);
        assert_eq!(read_all(&shard, "t", 0).await, [(10, b"next".to_vec())]);
    });
}

#[test]
fn lost_or_damaged_indexes_and_checkpoints_cost_no_message() {
    let original = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(original.path())).await;
        for number in 0..500 {
            append(&shard, "t", 0, format!("body {number}").as_bytes()).await;
            if number % 100 == 99 {
                runtime::sleep(Duration::from_millis(1)).await;
                shard.checkpoint().await.unwrap();
            }
        }
        shard.close().await.unwrap();
    });
    let shard_dir = |root: &Path| root.join("shard-00");
    let harms: [fn(&Path); 5] = [
        |shard| fs::remove_dir_all(shard.join("consumequeue")).unwrap(),
        |shard| fs::remove_file(shard.join("checkpoint")).unwrap(),
        |shard| fs::write(shard.join("checkpoint"), b"rubbish").unwrap(),
        |shard| {
            fs::remove_file(shard.join("checkpoint")).unwrap();
            fs::remove_file(shard.join("checkpoint.previous")).unwrap();
        },
        |shard| {
            fs::remove_dir_all(shard.join("consumequeue")).unwrap();
            fs::remove_file(shard.join("checkpoint")).unwrap();
            fs::remove_file(shard.join("checkpoint.previous")).unwrap();
        },
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        copy_store(original.path(), directory.path());
        harm(&shard_dir(directory.path()));
        run(async {
            let (shard, recovered) = open(&options(directory.path())).await;
            assert!(recovered.damage.is_empty(), "harm {number}: {recovered:?}");
            assert_eq!(read_all(&shard, "t", 0).await, numbered(500), "harm {number}");
            assert_eq!(send(&shard, "t", 0, b"x").await.queue_offset.0, 500);
        });
    }
}

/// The checkpoint of a good end is kept as the one before by the start that follows it, and the log grows on.
#[test]
fn a_log_does_not_end_where_the_checkpoint_before_a_damaged_one_says() {
    let original = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(original.path())).await;
        for number in 0..100 {
            send(&shard, "t", 0, format!("body {number}").as_bytes()).await;
        }
        shard.close().await.unwrap();
    });
    run(async {
        let (shard, _) = open(&options(original.path())).await;
        for number in 100..200 {
            send(&shard, "t", 0, format!("body {number}").as_bytes()).await;
        }
        // Killed.
    });
    let harms: [fn(&Path); 2] = [
        |checkpoint| flip(checkpoint, 30),
        |checkpoint| fs::remove_file(checkpoint).unwrap(),
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        copy_store(original.path(), directory.path());
        harm(&directory.path().join("shard-00/checkpoint"));
        run(async {
            let (shard, recovered) = open(&options(directory.path())).await;
            assert!(recovered.damage.is_empty(), "harm {number}: {recovered:?}");
            assert_eq!(read_all(&shard, "t", 0).await, numbered(200), "harm {number}");
            assert_eq!(send(&shard, "t", 0, b"x").await.queue_offset.0, 200);
        });
    }
}

#[test]
fn a_restart_reads_what_came_after_the_checkpoint_not_the_whole_log() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let options = StoreOptions {
        segment_size: 1 << 20,
        staged_bytes_max: 1 << 20,
        unsynced_bytes_max: 1 << 20,
        ..options(root)
    };
    run(async {
        let (shard, _) = open(&options).await;
        for _ in 0..4_000 {
            append(&shard, "t", 0, &[7; 10_000]).await;
            runtime::yield_now().await;
        }
        shard.committed(shard.append_metadata(1, b"").unwrap()).await.unwrap();
        shard.checkpoint().await.unwrap();
        shard.checkpoint().await.unwrap();
        send(&shard, "t", 0, b"after").await;
        assert!(shard.stats().end > 40_000_000);
    });
    run(async {
        let (shard, recovered) = open(&options).await;
        assert!(recovered.bytes_read < 12_000_000, "{}", recovered.bytes_read);
        let (_, max) = shard.bounds(shard.queue("t", 0).unwrap());
        assert_eq!(max.0, 4_001);
    });
}

#[test]
fn starts_of_a_broker_that_is_killed_again_and_again_do_not_read_more_and_more() {
    const LIFE: u64 = 40_000;
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        checkpoint_bytes: 50_000,
        ..options(directory.path())
    };
    let mut read = Vec::new();
    for life in 0..20 {
        // No life is long enough for a checkpoint of its own.
        run(async {
            let (shard, recovered) = open(&options).await;
            read.push(recovered.bytes_read);
            for _ in 0..LIFE / 4_000 {
                send(&shard, "t", 0, &[7; 4_000]).await;
            }
            let wanted = shard
                .stats()
                .end
                .saturating_sub(LIFE + options.checkpoint_bytes + 10_000);
            for _ in 0..2_000 {
                if shard.stats().checkpoint >= wanted {
                    break;
                }
                runtime::sleep(Duration::from_millis(1)).await;
            }
            let start = shard.stats().checkpoint;
            assert!(
                start >= wanted,
                "life {life}: a start would walk from {start}, and at most from {wanted}"
            );
        });
    }
    // What lies behind the checkpoint is read more than once.
    assert!(read.iter().all(|bytes| *bytes < 400_000), "{read:?}");
}

#[test]
fn random_work_with_random_ends_keeps_every_acknowledged_message_once_and_in_order() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut acknowledged: Vec<Vec<(i64, Vec<u8>)>> = vec![Vec::new(); 5];
    for round in 0..25_u64 {
        run(async {
            let flush = if random(2) == 0 {
                FlushMode::Sync
            } else {
                FlushMode::Async
            };
            let write_path = if random(2) == 0 {
                WritePath::Direct
            } else {
                WritePath::Buffered
            };
            let options = StoreOptions {
                flush,
                write_path,
                tail_cache_bytes: 20_000,
                checkpoint_bytes: 30_000,
                ..options(root)
            };
            let (shard, recovered) = open(&options).await;
            assert!(recovered.damage.is_empty(), "round {round}: {recovered:?}");
            for (queue, expected) in (0_u32..).zip(&acknowledged) {
                let found = read_all(&shard, "t", queue).await;
                assert!(
                    found.starts_with(expected),
                    "round {round} queue {queue}: {} of {}",
                    found.len(),
                    expected.len()
                );
            }
            for (queue, expected) in (0_u32..).zip(&mut acknowledged) {
                // What was not acknowledged and is there anyhow is there for good.
                *expected = read_all(&shard, "t", queue).await;
            }
            for message in 0..random(60) {
                let queue = u32::try_from(random(5)).unwrap();
                let body = vec![u8::try_from(message).unwrap(); usize::try_from(random(6_000)).unwrap()];
                let appended = append(&shard, "t", queue, &body).await;
                shard.committed(appended.batch).await.unwrap();
                acknowledged[queue as usize].push((appended.queue_offset.0, body));
                if random(40) == 0 {
                    shard.checkpoint().await.unwrap();
                }
            }
            match random(3) {
                0 => shard.close().await.unwrap(),
                1 => drop(append(&shard, "t", 0, b"unknown").await),
                _ => {}
            }
        });
    }
}

#[test]
fn rot_anywhere_in_a_record_is_not_served_by_a_cold_read_and_the_scrubber_reports_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let options = StoreOptions {
        tail_cache_bytes: 1,
        cold_cache_bytes: 1,
        ..options(root)
    };
    run(async {
        let (shard, _) = open(&options).await;
        let mut appended = Vec::new();
        for number in 0..10 {
            appended.push(send(&shard, "t", 0, format!("body {number}").as_bytes()).await);
        }
        shard.flush().await.unwrap();
        // The properties are at a record's end; no checksum of the record itself covers them.
        let harmed = &appended[3];
        flip(
            &segment(root, 0),
            harmed.physical_offset.position() + harmed.size as u64 - 2,
        );
        let read = shard.read(&request(&shard, "t", 0, 3)).await;
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
        let by_position = shard.record_at(harmed.physical_offset).await;
        assert!(matches!(by_position, Err(ReadError::Damaged { .. })), "{by_position:?}");
        assert_eq!((shard.scrub().await, shard.scrub().await), (1, 0));
        let damage = shard.damage();
        assert_eq!(damage[0].from, harmed.physical_offset);
        assert_eq!(damage[0].to, appended[4].physical_offset);
        let after = shard.read(&request(&shard, "t", 0, 4)).await.unwrap();
        assert_eq!(bodies(&after), numbered(10)[4..]);
        shard.close().await.unwrap();
    });
    run(async {
        let (_shard, recovered) = open(&options).await;
        assert_eq!(recovered.damage.len(), 1, "a checkpoint remembers it: {recovered:?}");
    });
}

#[test]
fn a_description_with_a_wrong_digit_is_refused_and_one_without_a_checksum_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async { open(&options(root)).await.0.close().await.unwrap() });
    let path = root.join("store.json");
    let text = fs::read_to_string(&path).unwrap();
    let id = text.find("storeId").unwrap() + "storeId\": \"".len();
    let digit = if text.as_bytes()[id] == b'0' { "1" } else { "0" };
    let mut wrong = text.clone();
    wrong.replace_range(id..=id, digit);
    fs::write(&path, &wrong).unwrap();
    run(async {
        let refused = prepare_store(&options(root)).await;
        assert!(matches!(refused, Err(Error::BadDescription { .. })), "{refused:?}");
    });
    let checksum = text.find(",\n  \"checksum\"").unwrap();
    fs::write(&path, format!("{}\n}}", &text[..checksum])).unwrap();
    run(async { assert!(prepare_store(&options(root)).await.is_ok()) });
}
