//! Reading: statuses, limits, filters, memory against disk, time.

use super::*;

#[test]
fn each_place_outside_of_a_queue_has_its_status() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        let status = |from| {
            let result = shard.read_hot(&request(&shard, "t", 0, from)).unwrap();
            (result.status, result.next.0, result.min.0, result.max.0)
        };
        assert_eq!(status(0), (ReadStatus::NoMessageInQueue, 0, 0, 0));
        assert_eq!(status(5), (ReadStatus::NoMessageInQueue, 0, 0, 0));
        send(&shard, "t", 0, b"body 0").await;
        send(&shard, "t", 0, b"body 1").await;
        assert_eq!(status(2), (ReadStatus::OffsetOverflowOne, 2, 0, 2));
        assert_eq!(status(3), (ReadStatus::OffsetOverflowBadly, 2, 0, 2));
        assert_eq!(status(-1), (ReadStatus::OffsetTooSmall, 0, 0, 2));
        assert_eq!(status(1), (ReadStatus::Found, 2, 0, 2));
    });
}

#[test]
fn the_filter_skips_and_says_where_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        for number in 0..2_000_i64 {
            let tagged = NewMessage {
                tag_hash: number % 1000,
                ..message(&shard, "t", 0, b"")
            };
            while shard.append(&tagged).is_err() {
                runtime::sleep(Duration::from_millis(1)).await;
            }
        }
        shard.committed(shard.append_metadata(1, b"").unwrap()).await.unwrap();
        let filtered = |from, tag: i64| ReadRequest {
            filter: Some([tag, -5].into()),
            ..request(&shard, "t", 0, from)
        };
        let result = shard.read(&filtered(0, 3)).await.unwrap();
        assert_eq!(
            (bodies(&result), result.status),
            (vec![(3, Vec::new())], ReadStatus::Found)
        );
        let result = shard.read(&filtered(0, 999)).await.unwrap();
        assert_eq!((result.count, result.status), (0, ReadStatus::NoMatchedMessage));
        assert!(result.next.0 >= 800 && result.next.0 < 999, "{}", result.next);
        let result = shard.read(&filtered(result.next.0, 999)).await.unwrap();
        assert_eq!(bodies(&result), [(999, Vec::new())]);
    });
}

#[test]
fn a_read_ends_at_its_limits_and_always_gives_the_first_message() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let mut options = StoreOptions {
            limit_in_memory: TransferLimit {
                bytes: 10_000,
                messages: 5,
            },
            limit_on_disk: TransferLimit {
                bytes: 1_900,
                messages: 2,
            },
            ..options(directory.path())
        };
        options.in_memory_distance = 30_000;
        let (shard, _) = open(&options).await;
        for _ in 0..60 {
            send(&shard, "t", 0, &[1; 900]).await;
        }
        send(&shard, "t", 0, &[1; 20_000]).await;
        let count = async |request: ReadRequest| shard.read(&request).await.unwrap().count;
        let from = |from| request(&shard, "t", 0, from);
        assert_eq!(count(from(0)).await, 1, "2 records are more than 1,900 bytes");
        assert_eq!(count(from(55)).await, 5);
        assert_eq!(count(from(57)).await, 3, "the large one does not fit");
        assert_eq!(count(from(60)).await, 1, "but it comes alone");
        assert_eq!(
            count(ReadRequest {
                max_messages: 2,
                ..from(55)
            })
            .await,
            2
        );
        assert_eq!(
            count(ReadRequest {
                max_messages: 0,
                ..from(55)
            })
            .await,
            1
        );
        assert_eq!(
            count(ReadRequest {
                max_bytes: Some(2_500),
                ..from(55)
            })
            .await,
            2
        );
        assert_eq!(
            count(ReadRequest {
                max_bytes: Some(1),
                ..from(60)
            })
            .await,
            1
        );
        let behind = shard.read(&from(0)).await.unwrap().behind;
        assert!(behind > 60_000, "{behind}");
    });
}

#[test]
fn memory_and_disk_give_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let options = StoreOptions {
            tail_cache_bytes: 1,
            cold_cache_bytes: 300_000,
            ..options(directory.path())
        };
        let (shard, _) = open(&options).await;
        let mut positions = Vec::new();
        let mut sent = Vec::new();
        for number in 0..200_usize {
            let body = vec![u8::try_from(number).unwrap(); (number * 131) % 9_000];
            let appended = send(&shard, "t", 0, &body).await;
            positions.push(appended);
            let hot = shard
                .read_hot(&request(&shard, "t", 0, appended.queue_offset.0))
                .expect("the newest is in memory");
            assert_eq!(bodies(&hot), [(appended.queue_offset.0, body.clone())]);
            sent.push((appended.queue_offset.0, body));
        }
        assert!(shard.read_hot(&request(&shard, "t", 0, 0)).is_none());
        assert_eq!(read_all(&shard, "t", 0).await, sent);
        let stats = shard.stats();
        assert!(
            stats.read_cold > 190 && stats.cold_cache_bytes <= 300_000 && stats.cold_cache_bytes > 0,
            "{stats:?}"
        );
        for appended in positions {
            let record = shard.record_at(appended.physical_offset).await.unwrap().unwrap();
            assert_eq!(record.len(), appended.size);
        }
    });
}

#[test]
fn a_physical_offset_that_somebody_made_up_gives_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for tail_cache_bytes in [1, 1 << 20] {
        run(async {
            let (shard, _) = open(&StoreOptions {
                tail_cache_bytes,
                ..options(directory.path())
            })
            .await;
            // A record inside of a body: bytes that look like one, but lie elsewhere.
            let inner = send(&shard, "t", 0, b"inner").await;
            let bytes = shard.record_at(inner.physical_offset).await.unwrap().unwrap();
            let outer = send(&shard, "t", 0, &bytes).await;
            send(&shard, "t", 0, b"last").await;
            let first = outer.physical_offset.position();
            for position in
                (first + 1..first + outer.size as u64).chain([u64::from(u32::MAX), PhysicalOffset::POSITION_MAX])
            {
                let found = shard
                    .record_at(PhysicalOffset::new(ShardId::ZERO, position))
                    .await
                    .unwrap();
                assert_eq!(found, None, "at {position}");
            }
            let elsewhere = PhysicalOffset::new(ShardId::new(5).unwrap(), first);
            assert_eq!(shard.record_at(elsewhere).await.unwrap(), None);
        });
    }
}

#[test]
fn a_damaged_record_on_the_disk_is_never_served_and_the_rest_is() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let options = StoreOptions {
            tail_cache_bytes: 1,
            cold_cache_bytes: 1,
            ..options(directory.path())
        };
        let (shard, _) = open(&options).await;
        let mut appended = Vec::new();
        for number in 0..10 {
            appended.push(send(&shard, "t", 0, format!("body {number}").as_bytes()).await);
        }
        send(&shard, "t", 1, &[0; 60_000]).await;
        let path = directory.path().join("shard-00/commitlog/00000000000000000000");
        let mut log = std::fs::read(&path).unwrap();
        let at = usize::try_from(appended[4].physical_offset.position()).unwrap();
        log[at + 90] ^= 1;
        std::fs::write(&path, log).unwrap();
        let result = shard.read(&request(&shard, "t", 0, 0)).await.unwrap();
        assert_eq!(bodies(&result), numbered(4), "what lies before it");
        let error = shard.read(&request(&shard, "t", 0, 4)).await.unwrap_err();
        let ReadError::Damaged {
            physical_offset, next, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (*physical_offset, *next),
            (appended[4].physical_offset, Some(QueueOffset(5)))
        );
        let result = shard.read(&request(&shard, "t", 0, 5)).await.unwrap();
        assert_eq!(bodies(&result), numbered(10).split_off(5));
        assert!(shard.record_at(appended[4].physical_offset).await.is_err());
    });
}

#[test]
fn a_time_finds_the_first_message_at_it_or_the_last() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        let mut times = Vec::new();
        for number in 0..12 {
            times.push(send(&shard, "t", 0, b"x").await.store_timestamp);
            if number % 3 == 2 {
                runtime::sleep(Duration::from_millis(3)).await;
            }
        }
        let queue = shard.queue("t", 0).unwrap();
        for time in times[0] - 2..=times[11] + 2 {
            let lower = shard.offset_by_time(queue, time, Boundary::Lower).await.unwrap().0;
            let upper = shard.offset_by_time(queue, time, Boundary::Upper).await.unwrap().0;
            let first = times.iter().position(|stored| *stored >= time).unwrap_or(12);
            let last = times.iter().rposition(|stored| *stored <= time).unwrap_or(0);
            assert_eq!(
                (usize::try_from(lower).unwrap(), usize::try_from(upper).unwrap()),
                (first, last),
                "at {time}"
            );
        }
        assert_eq!(
            shard.store_time_of(queue, QueueOffset(11)).await.unwrap(),
            Some(times[11])
        );
        assert_eq!(shard.store_time_of(queue, QueueOffset(12)).await.unwrap(), None);
        let earliest = shard.earliest_store_time().await.unwrap().unwrap();
        assert!((earliest - times[0]).abs() < 100, "{earliest} {}", times[0]);
    });
}

/// Sends a message with a unique key and others, as the broker does.
async fn send_with_keys(shard: &Shard, topic: &str, unique: &str, keys: &str) -> Appended {
    let properties = format!("UNIQ_KEY\u{1}{unique}\u{2}KEYS\u{1}{keys}\u{2}");
    let mut all = vec![unique];
    all.extend(keys.split(' '));
    let keyed = NewMessage {
        properties: &properties,
        keys: &all,
        ..message(shard, topic, 0, unique.as_bytes())
    };
    let appended = shard.append(&keyed).unwrap();
    shard.committed(appended.batch).await.unwrap();
    appended
}

#[test]
fn messages_are_found_by_each_of_their_keys_the_newest_first_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let found = async |shard: &Shard, topic, key, max| {
        let request = KeyRequest {
            topic,
            key,
            store_time_ms: (0, i64::MAX),
            max,
        };
        let result = shard.query(&request).await.unwrap();
        let body =
            |record: &bytes::Bytes| String::from_utf8(RecordView::decode(record).unwrap().body.to_vec()).unwrap();
        result.records.iter().map(body).collect::<Vec<_>>()
    };
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        for number in 0..40 {
            send_with_keys(&shard, "t", &format!("u{number}"), &format!("all k{}", number % 4)).await;
        }
        let last = send_with_keys(&shard, "other", "u1", "all").await;
        assert_eq!(found(&shard, "t", "u1", 10).await, ["u1"]);
        assert_eq!(found(&shard, "t", "k3", 3).await, ["u39", "u35", "u31"]);
        let request = KeyRequest {
            topic: "t",
            key: "all",
            store_time_ms: (0, 5),
            max: 9,
        };
        let result = shard.query(&request).await.unwrap();
        assert!(result.records.is_empty(), "none was stored so early");
        assert_eq!(result.index_last_offset, last.physical_offset.to_wire());
        shard.checkpoint().await.unwrap();
        send_with_keys(&shard, "t", "u40", "all").await;
    });
    for lost in [false, true] {
        if lost {
            std::fs::remove_dir_all(directory.path().join("shard-00/index")).unwrap();
        }
        run(async {
            let (shard, _) = open(&options(directory.path())).await;
            assert_eq!(found(&shard, "t", "all", 100).await.len(), 41);
            assert_eq!(found(&shard, "t", "u40", 100).await, ["u40"]);
            assert_eq!(found(&shard, "other", "all", 100).await, ["u1"]);
            assert!(found(&shard, "nothing", "all", 100).await.is_empty());
            assert!(found(&shard, "t", "al", 100).await.is_empty());
        });
    }
}

#[test]
fn the_key_index_has_nothing_of_what_was_rolled_back_neither_at_once_nor_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        let rolled_back = NewMessage {
            sys_flag: protocol::message::sys_flag::TRANSACTION_ROLLBACK,
            properties: "UNIQ_KEY\u{1}u1\u{2}KEYS\u{1}k1\u{2}",
            keys: &["u1", "k1"],
            in_consume_queue: false,
            ..message(&shard, "t", 0, b"x")
        };
        let appended = shard.append(&rolled_back).unwrap();
        shard.committed(appended.batch).await.unwrap();
        assert_eq!(shard.stats().keys.unwrap().unwritten_entries, 0);
        send_with_keys(&shard, "t", "u2", "k2").await;
    });
    run(async {
        let (shard, _) = open(&options(directory.path())).await;
        assert_eq!(shard.stats().keys.unwrap().unwritten_entries, 2);
    });
}

#[test]
fn a_batch_that_is_larger_than_the_cache_is_read_cold() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        segment_size: 4 << 20,
        tail_cache_bytes: 1,
        cold_cache_bytes: 1,
        ..options(directory.path())
    };
    run(async {
        let (shard, _) = open(&options).await;
        let body = vec![b'x'; 60_000];
        let batch: Vec<NewMessage<'_>> = (0..20).map(|_| message(&shard, "t", 0, &body)).collect();
        let appended = shard.append_all(&batch).unwrap();
        shard.committed(appended.last().unwrap().batch).await.unwrap();
        // Enough behind it for the batch to leave memory.
        for _ in 0..40 {
            send(&shard, "other", 0, &body).await;
        }
        assert_eq!(read_all(&shard, "t", 0).await.len(), 20);
        assert!(shard.stats().read_cold >= 20, "{:?}", shard.stats());
        for one in appended {
            assert!(shard.record_at(one.physical_offset).await.unwrap().is_some());
        }
    });
}
