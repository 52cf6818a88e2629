//! A shard that follows another: the same bytes, the same queues, and nothing taken that is not the next batch.

use super::*;
use crate::replica::{CopyError, LogPosition};
use bytes::{Bytes, BytesMut};
use std::fs;

/// A leader, and a follower with a store of its own; metadata that came to the follower is in `metadata`.
pub(super) struct Pair {
    pub(super) leader: Shard,
    pub(super) follower: Shard,
    metadata: Rc<RefCell<Vec<MetaRecord>>>,
    layout: StoreLayout,
    directories: [tempfile::TempDir; 2],
}

impl Pair {
    pub(super) async fn new(change: impl Fn(&mut StoreOptions)) -> Pair {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut leading = options(directories[0].path());
        change(&mut leading);
        let layout = prepare_store(&leading).await.unwrap();
        let (leader, _) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap();
        let (follower, metadata) = Pair::follower(directories[1].path(), &layout).await;
        Pair {
            leader,
            follower,
            metadata,
            layout,
            directories,
        }
    }

    async fn follower(root: &Path, leader: &StoreLayout) -> (Shard, Rc<RefCell<Vec<MetaRecord>>>) {
        let following = StoreOptions {
            // What the original has counts.
            segment_size: 1 << 20,
            copy_of: Some(leader.identity()),
            ..StoreOptions::new(root, 7)
        };
        let metadata: Rc<RefCell<Vec<MetaRecord>>> = Rc::default();
        let came = Rc::clone(&metadata);
        let hooks = Hooks {
            on_copied_metadata: Box::new(move |record| came.borrow_mut().push(record)),
            ..Hooks::default()
        };
        let (follower, _) = open_with(&following, hooks).await;
        follower.follow();
        (follower, metadata)
    }

    /// Closes the follower, changes its directory and opens it again.
    pub(super) async fn reopen_follower(self, change: impl FnOnce(&Path)) -> Pair {
        self.follower.close().await.unwrap();
        drop(self.follower);
        change(self.directories[1].path());
        let (follower, metadata) = Pair::follower(self.directories[1].path(), &self.layout).await;
        Pair {
            follower,
            metadata,
            ..self
        }
    }

    /// Copies all that is committed, some bytes at a time.
    pub(super) async fn copy(&self, at_once: usize) {
        while self.follower.log_end().position < self.leader.committed_position() {
            let parts = self
                .leader
                .batches_from(self.follower.log_end().position, at_once)
                .await
                .unwrap();
            assert!(!parts.is_empty());
            for (part, next) in parts {
                take(&self.follower, &part).await;
                assert_eq!(self.follower.log_end().position, next);
            }
        }
        let end = self.follower.log_end().position;
        while self.follower.committed_position() < end {
            self.follower.grown_beyond(self.follower.committed_position()).await;
        }
        self.follower.flush().await.unwrap();
    }
}

/// Gives a follower batches, when it has room.
async fn take(follower: &Shard, batches: &Bytes) {
    let mut rest = batches.clone();
    while let Err(error) = follower.append_copied(&mut rest) {
        assert!(matches!(error, CopyError::Refused(AppendError::Busy { .. })), "{error}");
        runtime::sleep(Duration::from_millis(1)).await;
    }
}

fn log_bytes(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(root.join("shard-00/commitlog"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let mut bytes = fs::read(entry.path()).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
            (entry.file_name().into_string().unwrap(), bytes)
        })
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    files.sort();
    files
}

#[test]
fn a_follower_has_the_same_bytes_queues_and_metadata_and_keeps_them() {
    run(async {
        // From memory, from the disk, one batch at a time, many.
        for (tail_cache, at_once) in [(64 << 20, 1), (64 << 20, 200_000), (1, 1), (1, 200_000)] {
            let pair = Pair::new(|options| options.tail_cache_bytes = tail_cache).await;
            for number in 0..40 {
                let body = vec![number; 4_000];
                send(&pair.leader, "a", 0, &body).await;
                append(&pair.leader, "b", u32::from(number % 3), &[number]).await;
                let batch = pair.leader.append_metadata(5, &[number]).unwrap();
                pair.leader.committed(batch).await.unwrap();
                if number == 20 {
                    pair.leader
                        .committed(pair.leader.delete_queues("b").unwrap())
                        .await
                        .unwrap();
                }
            }
            pair.copy(at_once).await;
            pair.leader.flush().await.unwrap();
            assert_eq!(pair.follower.log_end(), pair.leader.log_end());
            let [leading, following] = &pair.directories;
            assert!(
                log_bytes(leading.path()) == log_bytes(following.path()),
                "the logs differ"
            );
            let payloads: Vec<u8> = pair.metadata.borrow().iter().map(|record| record.payload[0]).collect();
            assert_eq!(payloads, (0..40).collect::<Vec<u8>>());
            for (topic, queue) in [("a", 0), ("b", 0), ("b", 1), ("b", 2)] {
                let leads = read_all(&pair.leader, topic, queue).await;
                assert!(!leads.is_empty());
                assert_eq!(read_all(&pair.follower, topic, queue).await, leads, "{topic} {queue}");
            }
            // It is a store like any other: opened again it can lead.
            let expected = read_all(&pair.leader, "a", 0).await;
            pair.follower.close().await.unwrap();
            let identity = prepare_store(&options(leading.path())).await;
            assert!(matches!(identity, Err(Error::InUse { .. })));
            drop(pair.follower);
            let again = StoreOptions::new(following.path(), 1);
            let (promoted, recovered) = open(&again).await;
            assert!(
                recovered.damage.is_empty() && recovered.torn_bytes == 0,
                "{recovered:?}"
            );
            assert_eq!(read_all(&promoted, "a", 0).await, expected);
            let sent = send(&promoted, "a", 0, b"mine").await;
            assert_eq!(sent.queue_offset.0, 40);
        }
    });
}

#[test]
fn a_follower_takes_no_appends_and_no_batch_that_is_not_the_next_one() {
    run(async {
        let pair = Pair::new(|_| {}).await;
        send(&pair.leader, "a", 0, b"one").await;
        send(&pair.leader, "a", 0, b"two").await;
        let follower = &pair.follower;
        follower.queue("a", 0).unwrap();
        let refused = follower.append(&message(follower, "a", 0, b"own")).unwrap_err();
        assert!(matches!(refused, AppendError::Follows), "{refused}");
        assert!(matches!(follower.append_metadata(1, b"own"), Err(AppendError::Follows)));

        let batches = pair.leader.batches_from(0, 1 << 20).await.unwrap();
        let [(first, _), (second, _)] = &batches[..] else {
            panic!("{} batches", batches.len())
        };
        let early = follower.append_copied(&mut second.clone()).unwrap_err();
        assert!(matches!(early, CopyError::NotNext { .. }), "{early}");
        // Any flipped bit, and any end that is too early, is noticed.
        for at in 0..first.len() * 8 {
            let mut damaged = BytesMut::from(&first[..]);
            damaged[at / 8] ^= 1 << (at % 8);
            // The last four bytes of a seal say nothing.
            if at / 8 < first.len() - 4 {
                follower.append_copied(&mut damaged.freeze()).unwrap_err();
            }
        }
        for end in 1..first.len() {
            follower.append_copied(&mut first.slice(..end)).unwrap_err();
        }
        assert_eq!(follower.log_end(), LogPosition::default());
        take(follower, first).await;
        let twice = follower.append_copied(&mut first.clone()).unwrap_err();
        assert!(matches!(twice, CopyError::NotNext { .. }), "{twice}");
        take(follower, second).await;

        // Another store's log, though it begins at the same place.
        let other = Pair::new(|_| {}).await;
        send(&other.leader, "a", 0, b"one").await;
        let (mut foreign, _) = other.leader.batches_from(0, 1).await.unwrap().remove(0);
        let stranger = Pair::new(|_| {}).await;
        let refused = stranger.follower.append_copied(&mut foreign).unwrap_err();
        assert!(refused.to_string().contains("another store"), "{refused}");
    });
}

#[test]
fn two_logs_are_compared_by_the_seal_before_a_position() {
    run(async {
        let pair = Pair::new(|_| {}).await;
        let mut positions = vec![pair.leader.log_end()];
        for number in 0..30_u8 {
            send(&pair.leader, "a", 0, &vec![number; 5_000]).await;
            positions.push(pair.leader.log_end());
        }
        for known in &positions {
            assert_eq!(pair.leader.chain_at(known.position).await.unwrap(), Some(known.chain));
        }
        let end = pair.leader.committed_position();
        for nowhere in [1, positions[3].position + 8, end + 1, end + (1 << 30)] {
            assert_eq!(pair.leader.chain_at(nowhere).await.unwrap(), None, "{nowhere}");
        }
    });
}

#[test]
fn a_follower_of_a_log_whose_begin_is_gone_begins_where_it_begins() {
    run(async {
        let pair = Pair::new(|options| {
            options.retention.reserved = Duration::ZERO;
            options.retention.delete_hours = Vec::new();
        })
        .await;
        for number in 0..60_u8 {
            send(&pair.leader, "a", 0, &vec![number; 5_000]).await;
        }
        for _ in 0..3 {
            pair.leader.checkpoint().await.unwrap();
        }
        assert!(pair.leader.clean_expired().await.unwrap() > 0);
        let (min, _) = pair.leader.physical_bounds();
        let chain = pair.leader.chain_at(min.position()).await.unwrap().unwrap();
        let begin = LogPosition {
            position: min.position(),
            chain,
        };
        let middle = LogPosition {
            position: begin.position + 8,
            ..begin
        };
        pair.follower.begin_at(middle).unwrap_err();
        pair.follower.begin_at(begin).unwrap();
        pair.copy(100_000).await;
        pair.follower.begin_at(begin).unwrap_err();
        let expected = read_all(&pair.leader, "a", 0).await;
        assert!(expected.len() < 60 && !expected.is_empty());
        assert_eq!(read_all(&pair.follower, "a", 0).await, expected);
        let following = pair.directories[1].path().to_owned();
        pair.follower.close().await.unwrap();
        drop(pair.follower);
        let (again, recovered) = open(&StoreOptions::new(&following, 1)).await;
        assert!(recovered.damage.is_empty(), "{recovered:?}");
        assert_eq!(read_all(&again, "a", 0).await, expected);
    });
}

#[test]
fn a_store_that_is_no_copy_is_refused() {
    run(async {
        let pair = Pair::new(|_| {}).await;
        let directory = tempfile::tempdir().unwrap();
        let (own, _) = open(&options(directory.path())).await;
        own.close().await.unwrap();
        drop(own);
        let wanted = StoreOptions {
            copy_of: Some(pair.leader.0.layout.identity()),
            ..options(directory.path())
        };
        let refused = prepare_store(&wanted).await.unwrap_err();
        assert!(matches!(refused, Error::OtherStore { .. }), "{refused}");
    });
}
