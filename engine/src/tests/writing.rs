//! Appending, committing, and what happens when the disk says no.

use super::*;

#[test]
fn what_is_appended_in_one_turn_is_one_group_commit_and_readable_when_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let commits = Commits::default();
        let (shard, recovered) = open_with(&options(directory.path()), commits.hooks()).await;
        assert!(recovered.clean && recovered.end == 0);
        let first = shard.append(&message(&shard, "t", 0, b"body 0")).unwrap();
        let second = shard.append(&message(&shard, "t", 0, b"body 1")).unwrap();
        let other = shard.append(&message(&shard, "t", 1, b"other")).unwrap();
        assert_eq!(
            (first.queue_offset.0, second.queue_offset.0, other.queue_offset.0),
            (0, 1, 0)
        );
        assert_eq!((first.batch, other.batch), (second.batch, second.batch));
        let behind_first = first.physical_offset.position() + first.size as u64;
        assert_eq!(second.physical_offset.position(), behind_first);
        let (_, max) = shard.bounds(shard.queue("t", 0).unwrap());
        assert_eq!(max.0, 0, "nothing is visible before its commit");
        shard.committed(first.batch).await.unwrap();
        assert_eq!(*commits.0.borrow(), [(first.batch.0, true, 3)]);
        let result = shard.read_hot(&request(&shard, "t", 0, 0)).unwrap();
        assert_eq!((result.status, result.next.0, result.max.0), (ReadStatus::Found, 2, 2));
        assert_eq!(bodies(&result), numbered(2));
        assert_eq!(result.records.len(), 1, "records that follow each other are one part");
        let record = shard.record_at(other.physical_offset).await.unwrap().unwrap();
        let view = RecordView::decode(&record).unwrap();
        assert_eq!(
            (view.body, view.physical_offset),
            (&b"other"[..], other.physical_offset)
        );
    });
}

#[test]
fn a_batch_of_messages_is_one_group_commit_even_where_a_segment_ends() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        let body = vec![7; 9_000];
        for _ in 0..20 {
            let messages: Vec<_> = (0..3).map(|_| message(&shard, "t", 0, &body)).collect();
            let appended = loop {
                match shard.append_all(&messages) {
                    Ok(appended) => break appended,
                    Err(AppendError::Busy { .. }) => runtime::sleep(Duration::from_millis(1)).await,
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(appended.iter().all(|one| one.batch == appended[0].batch));
            let segments: Vec<u64> = appended
                .iter()
                .map(|one| one.physical_offset.position() >> 16)
                .collect();
            assert!(segments.iter().all(|segment| *segment == segments[0]), "{segments:?}");
            shard.committed(appended[0].batch).await.unwrap();
        }
        assert_eq!(read_all(&shard, "t", 0).await.len(), 60);
    });
}

#[test]
fn a_refused_message_uses_no_offset_up() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        send(&shard, "t", 0, b"body 0").await;
        let end = shard.stats().end;
        let large = vec![0; 70_000];
        let error = shard.append(&message(&shard, "t", 0, &large)).unwrap_err();
        assert!(
            matches!(error, AppendError::TooLarge { size_max, .. } if size_max < 65_536),
            "{error}"
        );
        let properties = "p".repeat(40_000);
        let unfit = NewMessage {
            properties: &properties,
            ..message(&shard, "t", 0, b"x")
        };
        assert!(matches!(shard.append(&unfit), Err(AppendError::Unfit(_))));
        let both = [message(&shard, "t", 0, b"good"), message(&shard, "t", 0, &large)];
        assert!(shard.append_all(&both).is_err());
        assert_eq!((shard.stats().end, shard.next_queue_offset(both[0].queue).0), (end, 1));
        assert_eq!(shard.stats().put_refused, 3);
        assert_eq!(send(&shard, "t", 0, b"body 1").await.queue_offset.0, 1);
        assert_eq!(read_all(&shard, "t", 0).await, numbered(2));
    });
}

#[test]
fn the_log_rolls_over_segments_and_every_message_of_any_size_stays_whole() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        let mut sent = Vec::new();
        for number in 0..300_usize {
            let body = vec![u8::try_from(number % 251).unwrap(); (number * 977) % 40_000];
            let appended = send(&shard, "t", 0, &body).await;
            let position = appended.physical_offset.position();
            assert_eq!(
                position >> 16,
                (position + appended.size as u64 - 1) >> 16,
                "split over segments"
            );
            sent.push((i64::try_from(number).unwrap(), body));
        }
        let largest = vec![1; 65_536 - 168 - 91 - 1 - 7];
        sent.push((300, largest.clone()));
        send(&shard, "t", 0, &largest).await;
        assert_eq!(read_all(&shard, "t", 0).await, sent);
        assert!(shard.stats().segments > 80, "{:?}", shard.stats());
        drop(shard);
    });
    run(async {
        let (shard, recovered) = open(&options(directory.path())).await;
        assert!(!recovered.clean && recovered.damage.is_empty(), "{recovered:?}");
        assert_eq!(read_all(&shard, "t", 0).await.len(), 301);
    });
}

#[test]
fn sync_flush_acknowledges_and_shows_nothing_before_the_sync_and_gathers_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let options = StoreOptions {
            flush: FlushMode::Sync,
            write_path: WritePath::Buffered,
            ..options(directory.path())
        };
        let commits = Commits::default();
        let written = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&written);
        let hooks = Hooks {
            on_written: Box::new(move |batch| seen.borrow_mut().push(batch)),
            ..commits.hooks()
        };
        let (shard, _) = open_with(&options, hooks).await;
        faults::SYNCS_HANG.set(true);
        let first = append(&shard, "t", 0, b"body 0").await;
        until_a_sync_hangs().await;
        assert_eq!(*written.borrow(), [first.batch]);
        assert!(commits.0.borrow().is_empty());
        assert_eq!(shard.bounds(shard.queue("t", 0).unwrap()).1.0, 0);
        for number in 1..10 {
            append(&shard, "t", 0, format!("body {number}").as_bytes()).await;
            runtime::yield_now().await;
        }
        let syncs = faults::SYNCS.get();
        faults::SYNCS_HANG.set(false);
        shard.committed(BatchId(first.batch.0 + 1)).await.unwrap();
        assert_eq!(*commits.0.borrow(), [(1, true, 1), (2, true, 9)]);
        assert_eq!(faults::SYNCS.get() - syncs, 2, "one sync a commit");
        assert_eq!(read_all(&shard, "t", 0).await, numbered(10));
        assert_eq!(shard.stats().flushed, shard.stats().end);
    });
}

#[test]
fn a_failed_sync_fences_the_shard_for_good_and_reads_go_on() {
    for mode in [FlushMode::Sync, FlushMode::Async] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let options = StoreOptions {
                flush: mode,
                write_path: WritePath::Buffered,
                flush_interval: Duration::from_millis(5),
                ..options(directory.path())
            };
            let commits = Commits::default();
            let (shard, _) = open_with(&options, commits.hooks()).await;
            send(&shard, "t", 0, b"body 0").await;
            shard.flush().await.unwrap();
            commits.0.borrow_mut().clear();
            faults::SYNCS_FAIL.set(true);
            let syncs = faults::SYNCS.get();
            let second = append(&shard, "t", 0, b"body 1").await;
            runtime::sleep(Duration::from_millis(50)).await;
            faults::SYNCS_FAIL.set(false);
            let stats = shard.stats();
            let reason = stats.fenced.clone().expect("it is fenced");
            assert!(
                reason.action == "sync" && reason.answer.contains("injected"),
                "{reason}"
            );
            assert_eq!(faults::SYNCS.get() - syncs, 1, "a failed sync is never tried again");
            let refused = shard.append(&message(&shard, "t", 0, b"body 2")).unwrap_err();
            assert_eq!(refused, AppendError::Fenced(reason));
            let acknowledged = mode == FlushMode::Async;
            assert_eq!(
                *commits.0.borrow(),
                [(second.batch.0, acknowledged, usize::from(acknowledged))]
            );
            assert_eq!(shard.committed(second.batch).await.is_ok(), acknowledged);
            assert_eq!(read_all(&shard, "t", 0).await.len(), if acknowledged { 2 } else { 1 });
            assert!(shard.flush().await.is_err() && shard.checkpoint().await.is_err());
            assert!(shard.close().await.is_err());
        });
    }
}

#[test]
fn a_failed_write_fails_all_that_wait_in_order_and_those_behind_them() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let commits = Commits::default();
        let options = StoreOptions {
            flush: FlushMode::Sync,
            ..options(directory.path())
        };
        let (shard, _) = open_with(&options, commits.hooks()).await;
        send(&shard, "t", 0, b"body 0").await;
        faults::SYNCS_HANG.set(true);
        append(&shard, "t", 0, b"in flight").await;
        until_a_sync_hangs().await;
        append(&shard, "t", 0, b"behind it").await;
        faults::WRITES_FAIL.set(true);
        faults::SYNCS_HANG.set(false);
        let error = shard.committed(BatchId(3)).await.unwrap_err();
        assert!(
            matches!(&error, AppendError::Fenced(reason) if reason.action == "write to"),
            "{error}"
        );
        assert_eq!(*commits.0.borrow(), [(1, true, 1), (2, true, 1), (3, false, 0)]);
        faults::WRITES_FAIL.set(false);
        assert!(shard.append(&message(&shard, "t", 0, b"later")).is_err());
        assert_eq!(read_all(&shard, "t", 0).await.len(), 2);
    });
    run(async {
        let (shard, recovered) = open(&options(directory.path())).await;
        assert!(recovered.damage.is_empty(), "{recovered:?}");
        assert_eq!(read_all(&shard, "t", 0).await.len(), 2);
    });
}

#[test]
fn appends_are_refused_as_busy_while_too_much_waits_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let options = StoreOptions {
            flush: FlushMode::Sync,
            staged_bytes_max: 8 << 10,
            ..options(directory.path())
        };
        let (shard, _) = open(&options).await;
        faults::SYNCS_HANG.set(true);
        let mut accepted = 0;
        let error = loop {
            match shard.append(&message(&shard, "t", 0, &[1; 1000])) {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
            runtime::yield_now().await;
        };
        assert!(matches!(error, AppendError::Busy { limit: 8192, .. }), "{error}");
        assert!((7..=9).contains(&accepted), "{accepted}");
        faults::SYNCS_HANG.set(false);
        send(&shard, "t", 0, b"again").await;
        assert_eq!(read_all(&shard, "t", 0).await.len(), accepted + 1);
    });
}

#[test]
fn a_full_disk_refuses_messages_without_using_offsets_and_resumes_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        send(&shard, "t", 0, b"body 0").await;
        faults::DISK_FULL.set(true);
        let mut sent = 1;
        let error = loop {
            match shard.append(&message(&shard, "t", 0, &[1; 5000])) {
                Ok(appended) => {
                    sent += 1;
                    shard.committed(appended.batch).await.unwrap();
                }
                Err(AppendError::Busy { .. }) => runtime::sleep(Duration::from_millis(1)).await,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("commitlog"), "{error}");
        assert!(shard.stats().disk_full);
        let queue = shard.queue("t", 0).unwrap();
        assert_eq!(shard.next_queue_offset(queue).0, sent);
        assert_eq!(
            i64::try_from(read_all(&shard, "t", 0).await.len()).unwrap(),
            sent,
            "reads go on"
        );
        faults::DISK_FULL.set(false);
        let resumed = loop {
            match shard.append(&message(&shard, "t", 0, &[1; 5000])) {
                Ok(appended) => break appended,
                Err(_) => runtime::sleep(Duration::from_millis(50)).await,
            }
        };
        assert_eq!(resumed.queue_offset.0, sent);
        shard.committed(resumed.batch).await.unwrap();
        while shard.stats().disk_full {
            runtime::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn half_messages_are_in_the_log_only() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        let half = NewMessage {
            sys_flag: protocol::message::sys_flag::TRANSACTION_PREPARED,
            in_consume_queue: false,
            ..message(&shard, "t", 0, b"half")
        };
        let appended = shard.append(&half).unwrap();
        shard.committed(appended.batch).await.unwrap();
        assert_eq!((appended.queue_offset.0, read_all(&shard, "t", 0).await.len()), (0, 0));
        assert!(shard.record_at(appended.physical_offset).await.unwrap().is_some());
    });
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        assert_eq!(read_all(&shard, "t", 0).await.len(), 0, "nor after a restart");
    });
}

#[test]
fn a_deleted_topic_starts_again_at_zero_and_never_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    for ends_well in [true, false] {
        run(async {
            let (shard, _) = open(&options(directory.path())).await;
            send(&shard, "t", 0, b"old 0").await;
            send(&shard, "t", 0, b"old 1").await;
            send(&shard, "other", 0, b"kept").await;
            shard.delete_queues("t").unwrap();
            // Appended by the old handle, in the same batch as the deletion.
            let fresh = send(&shard, "t", 0, b"body 0").await;
            assert_eq!(fresh.queue_offset.0, 0);
            assert_eq!(read_all(&shard, "t", 0).await, numbered(1));
            if ends_well {
                shard.close().await.unwrap();
            }
        });
        run(async {
            let (shard, recovered) = open(&options(directory.path())).await;
            assert_eq!(recovered.clean, ends_well);
            assert_eq!(read_all(&shard, "t", 0).await, numbered(1));
            assert!(!read_all(&shard, "other", 0).await.is_empty());
            shard.committed(shard.delete_queues("t").unwrap()).await.unwrap();
            assert_eq!(shard.find_queue("t", 0), None);
            assert_eq!(
                shard.queue_name(shard.find_queue("other", 0).unwrap()),
                ("other".into(), 0)
            );
        });
    }
}

#[test]
fn metadata_comes_back_as_the_snapshot_and_then_what_was_logged_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let snapshot = || MetaRecord {
        kind: 7,
        payload: b"all so far".to_vec(),
    };
    let logged = |number: u8| MetaRecord {
        kind: 8,
        payload: vec![number],
    };
    let hooks = || Hooks {
        snapshot: Box::new(move || vec![snapshot()]),
        ..Hooks::default()
    };
    run(async {
        let (shard, recovered) = open_with(&options(directory.path()), hooks()).await;
        assert!(recovered.metadata.is_empty());
        for number in 0..3 {
            shard
                .committed(shard.append_metadata(8, &[number]).unwrap())
                .await
                .unwrap();
        }
    });
    run(async {
        let (shard, recovered) = open_with(&options(directory.path()), hooks()).await;
        assert_eq!(recovered.metadata, [logged(0), logged(1), logged(2)]);
        shard.committed(shard.append_metadata(8, &[3]).unwrap()).await.unwrap();
        shard.checkpoint().await.unwrap();
        shard.committed(shard.append_metadata(8, &[4]).unwrap()).await.unwrap();
    });
    // A start that ends before the broker has done anything takes nothing away.
    for _ in 0..2 {
        run(async {
            let (shard, recovered) = open(&options(directory.path())).await;
            // From a little before the snapshot on.
            assert_eq!(recovered.metadata, [snapshot(), logged(3), logged(4)]);
            shard.close().await.unwrap();
        });
    }
}

#[test]
fn closing_commits_what_was_appended_and_refuses_what_comes_later() {
    let directory = tempfile::tempdir().unwrap();
    let end = run(async {
        let commits = Commits::default();
        let (shard, _) = open_with(&options(directory.path()), commits.hooks()).await;
        shard.append(&message(&shard, "t", 0, b"body 0")).unwrap();
        shard.close().await.unwrap();
        assert_eq!(*commits.0.borrow(), [(1, true, 1)]);
        assert_eq!(shard.append(&message(&shard, "t", 0, b"x")), Err(AppendError::Closing));
        shard.close().await.unwrap();
        shard.stats().end
    });
    run(async {
        let (shard, recovered) = open(&options(directory.path())).await;
        assert!(recovered.clean && recovered.end == end, "{recovered:?}");
        assert_eq!(recovered.bytes_read, 0, "a clean start reads nothing of the log");
        assert_eq!(read_all(&shard, "t", 0).await, numbered(1));
        assert_eq!(send(&shard, "t", 0, b"body 1").await.queue_offset.0, 1);
    });
    run(async {
        let (shard, recovered) = open(&options(directory.path())).await;
        assert!(!recovered.clean, "the log grew since it was closed");
        assert_eq!(read_all(&shard, "t", 0).await, numbered(2));
    });
}

/// Prints what an append, a commit and a read cost: `cargo test --release -p engine -- --ignored --nocapture figures`.
#[test]
#[ignore = "prints figures; run with --release -- --ignored --nocapture"]
fn figures() {
    let directory = tempfile::tempdir().unwrap();
    for (turn, flush) in [
        (1, FlushMode::Async),
        (64, FlushMode::Async),
        (1024, FlushMode::Async),
        (64, FlushMode::Sync),
    ] {
        let root = directory.path().join(format!("{turn}-{flush:?}"));
        run(async {
            let options = StoreOptions {
                flush,
                ..StoreOptions::new(root, 1)
            };
            let (shard, _) = open(&options).await;
            let body = [7; 1024];
            let messages: Vec<_> = (0..8).map(|queue| message(&shard, "topic", queue, &body)).collect();
            let keys = ["7F0000010000000000000000000000000001"];
            let keyed: Vec<_> = messages
                .iter()
                .map(|message| NewMessage {
                    keys: &keys,
                    ..*message
                })
                .collect();
            let started = runtime::Instant::now();
            let mut appending = Duration::ZERO;
            let mut count = 0_u32;
            while started.elapsed() < Duration::from_secs(3) {
                let before = runtime::Instant::now();
                let mut last = None;
                for number in 0..turn {
                    last = shard.append(&keyed[number % 8]).ok().or(last);
                    count += 1;
                }
                appending += before.elapsed();
                match last {
                    Some(last) => shard.committed(last.batch).await.unwrap(),
                    None => runtime::sleep(Duration::from_millis(1)).await,
                }
            }
            let stats = shard.stats();
            let took = started.elapsed();
            let request = request(&shard, "topic", 0, shard.bounds(messages[0].queue).1.0 - 40);
            let before = runtime::Instant::now();
            for _ in 0..100_000 {
                assert!(shard.read_hot(&request).is_some());
            }
            println!(
                "{turn} a turn, {flush:?}: append {:?}, append and commit {:?} a message; {} refused; slowest commit {:?}; \
                 read of 32 from memory {:?}; segments {}",
                appending / count,
                took / count,
                stats.put_refused,
                stats.commit_time_max,
                before.elapsed() / 100_000,
                stats.segments,
            );
        });
    }
}
