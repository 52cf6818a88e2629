//! Directories, locks, and the end of old segments.

use super::*;
use std::fs;

async fn fill(shard: &Shard, count: usize) {
    for _ in 0..count {
        send(shard, "t", 0, &[7; 20_000]).await;
    }
}

#[test]
fn a_store_that_is_open_cannot_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let layout = prepare_store(&options(directory.path())).await.unwrap();
        let error = prepare_store(&options(directory.path())).await.unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        assert!(error.to_string().contains("in use"), "{error}");
        drop(layout);
        prepare_store(&options(directory.path())).await.unwrap();
    });
}

#[test]
fn a_store_keeps_its_shards_and_segment_size_and_knows_its_own_directories() {
    let directory = tempfile::tempdir().unwrap();
    let logs = tempfile::tempdir().unwrap();
    run(async {
        let mut wanted = StoreOptions {
            commitlog_dir: Some(logs.path().to_owned()),
            ..options(directory.path())
        };
        let layout = prepare_store(&wanted).await.unwrap();
        let (shard, _) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap();
        send(&shard, "t", 0, b"x").await;
        assert!(logs.path().join("shard-00/00000000000000000000").exists());
        shard.close().await.unwrap();
        let id = layout.store_id();
        drop((shard, layout));
        wanted.shards = 4;
        wanted.segment_size = 1 << 20;
        let layout = prepare_store(&wanted).await.unwrap();
        assert_eq!(
            (layout.shards().get(), layout.segment_size(), layout.store_id()),
            (1, 64 << 10, id)
        );
        let missing = Shard::open(&layout, ShardId::new(1).unwrap(), Hooks::default())
            .await
            .unwrap_err();
        assert!(matches!(missing, Error::NoSuchShard { shards: 1, .. }), "{missing}");
        drop(layout);
        let other = tempfile::tempdir().unwrap();
        wanted.root = other.path().to_owned();
        let mixed = prepare_store(&wanted).await.unwrap_err();
        assert!(matches!(mixed, Error::MixedStores { .. }), "{mixed}");
    });
}

#[test]
fn what_is_not_a_store_of_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async {
        fs::create_dir(root.join("commitlog")).unwrap();
        let foreign = prepare_store(&options(root)).await.unwrap_err();
        assert!(matches!(foreign, Error::ForeignStore { .. }), "{foreign}");
        fs::remove_dir(root.join("commitlog")).unwrap();
        drop(open(&options(root)).await);
        let text = fs::read_to_string(root.join("store.json")).unwrap();
        fs::write(root.join("store.json"), text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    });
    run(async {
        let newer = prepare_store(&options(root)).await.unwrap_err();
        assert!(newer.to_string().contains("its format is 9"), "{newer}");
        fs::remove_file(root.join("store.json")).unwrap();
        let lost = prepare_store(&options(root)).await.unwrap_err();
        assert!(
            matches!(lost, Error::BadDescription { .. }),
            "a lost description must not make a new store: {lost}"
        );
        let bad = StoreOptions {
            segment_size: 5,
            ..options(root)
        };
        assert!(matches!(prepare_store(&bad).await, Err(Error::BadOption { .. })));
    });
}

#[test]
fn old_segments_go_and_readers_see_the_new_minimum() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.retention.reserved = Duration::ZERO;
    options.retention.delete_hours = Vec::new();
    let bounds = run(async {
        let (shard, _) = open(&options).await;
        fill(&shard, 30).await;
        assert_eq!(
            shard.clean_expired().await.unwrap(),
            0,
            "nothing goes that a restart still needs"
        );
        shard.checkpoint().await.unwrap();
        shard.checkpoint().await.unwrap();
        shard.checkpoint().await.unwrap();
        let deleted = shard.clean_expired().await.unwrap();
        let stats = shard.stats();
        assert!(deleted >= 3, "{deleted} {stats:?}");
        assert_eq!(stats.min, u64::try_from(deleted).unwrap() << 16);
        let queue = shard.queue("t", 0).unwrap();
        let (min, max) = shard.bounds(queue);
        assert!(min.0 >= 3 && max.0 == 30, "{min} {max}");
        let result = shard.read(&request(&shard, "t", 0, 0)).await.unwrap();
        assert_eq!((result.status, result.next), (ReadStatus::OffsetTooSmall, min));
        assert_eq!(
            read_all(&shard, "t", 0).await.len(),
            usize::try_from(max.0 - min.0).unwrap()
        );
        let gone = PhysicalOffset::new(ShardId::ZERO, 0);
        assert_eq!(shard.record_at(gone).await.unwrap(), None);
        assert!(shard.earliest_store_time().await.unwrap().is_some());
        (min, max)
    });
    run(async {
        let (shard, recovered) = open(&options).await;
        assert!(recovered.damage.is_empty() && recovered.min > 0, "{recovered:?}");
        assert_eq!(shard.bounds(shard.queue("t", 0).unwrap()), bounds);
    });
}

#[test]
fn segments_that_are_not_old_enough_stay_whatever_the_hour() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.retention.delete_hours = (0..24).collect();
    options.retention.interval = Duration::from_millis(5);
    options.retention.reserved = Duration::from_secs(3600);
    run(async {
        let (shard, _) = open(&options).await;
        fill(&shard, 20).await;
        for _ in 0..3 {
            shard.checkpoint().await.unwrap();
        }
        runtime::sleep(Duration::from_millis(50)).await;
        assert_eq!((shard.clean_expired().await.unwrap(), shard.stats().min), (0, 0));
    });
}

#[test]
fn a_full_disk_by_ratio_deletes_the_oldest_and_refuses_messages_until_it_is_better() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.retention.interval = Duration::from_millis(5);
    run(async {
        let (shard, _) = open(&options).await;
        fill(&shard, 20).await;
        for _ in 0..3 {
            shard.checkpoint().await.unwrap();
        }
        assert_eq!(shard.stats().min, 0);
        shard.close().await.unwrap();
    });
    options.retention.force_ratio = Some(0.0);
    options.retention.stop_ratio = 0.0;
    run(async {
        let (shard, _) = open(&options).await;
        while !shard.stats().disk_full {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        assert!(shard.stats().min > 0, "{:?}", shard.stats());
        let error = shard.append(&message(&shard, "t", 0, b"x")).unwrap_err();
        assert!(matches!(error, AppendError::DiskFull { .. }), "{error}");
        assert!(!read_all(&shard, "t", 0).await.is_empty());
    });
}

#[test]
fn a_full_disk_that_takes_no_messages_is_freed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    // No checkpoint comes by itself.
    options.checkpoint_interval = Duration::from_secs(3600);
    options.checkpoint_bytes = u64::MAX;
    run(async {
        let (shard, _) = open(&options).await;
        fill(&shard, 20).await;
        let forced = Retention {
            force_ratio: Some(0.0),
            ..options.retention.clone()
        };
        // Looked at at once, not after the interval.
        shard.set_retention(forced);
        let freed = async {
            while shard.stats().min == 0 {
                runtime::sleep(Duration::from_millis(5)).await;
            }
        };
        runtime::timeout(Duration::from_secs(5), freed).await.unwrap();
        assert!(!read_all(&shard, "t", 0).await.is_empty());
    });
}

#[test]
fn a_disk_above_the_clean_ratio_loses_what_is_past_its_time_at_any_hour_and_nothing_else() {
    for (reserved, may_go) in [(Duration::from_secs(3600), false), (Duration::ZERO, true)] {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        run(async {
            let (shard, _) = open(&options).await;
            fill(&shard, 20).await;
            shard.set_retention(Retention {
                reserved,
                clean_ratio: 0.0,
                delete_hours: Vec::new(),
                ..options.retention.clone()
            });
            let freed = async {
                while shard.stats().min == 0 {
                    runtime::sleep(Duration::from_millis(5)).await;
                }
            };
            // That nothing happens can only be seen by waiting a little.
            let limit = if may_go { 5000 } else { 200 };
            let freed = runtime::timeout(Duration::from_millis(limit), freed).await;
            assert_eq!(freed.is_ok(), may_go, "kept for {reserved:?}");
        });
    }
}
