//! Rot in a log: what it may have held is not given out again.

use super::crash::{flip, segment};
use super::replica::Pair;
use super::*;

/// Ten messages each to three queues in turn, each in a batch of its own; then a process ends without closing. The last of
/// queue 0 and all of queue 9 rot, with all of the log known to be durable.
fn rotten_store(root: &Path) -> Vec<Appended> {
    let appended = run(async {
        let (shard, _) = open(&options(root)).await;
        let mut appended = vec![send(&shard, "t", 9, b"alone").await];
        for number in 0..30 {
            appended.push(send(&shard, "t", number % 3, b"body").await);
        }
        // A later seal says that all before it is durable.
        shard.flush().await.unwrap();
        send(&shard, "other", 0, b"last").await;
        appended
    });
    for rotten in [&appended[0], &appended[28]] {
        flip(&segment(root, 0), rotten.physical_offset.position() + 20);
    }
    // What the indexes have from the last process would name them.
    std::fs::remove_dir_all(root.join("shard-00/consumequeue")).unwrap();
    appended
}

#[test]
fn queue_offsets_that_damage_may_have_held_are_not_given_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    rotten_store(root);
    let mut next = Vec::new();
    for start in 0..3 {
        run(async {
            let (shard, recovered) = open(&options(root)).await;
            assert_eq!(recovered.damage.len(), 2, "{recovered:?}");
            // Newest message known and behind all damage: nothing is skipped.
            assert_eq!(shard.bounds(shard.queue("t", 2).unwrap()).1.0, 10);
            assert_eq!(shard.bounds(shard.queue("t", 1).unwrap()).1.0, 10);
            if start == 1 {
                // The damage lies behind the checkpoint from now on.
                shard.close().await.unwrap();
                return;
            }
            let skipped = send(&shard, "t", 0, b"new").await.queue_offset.0;
            assert!(skipped > 9, "offset 9 was acknowledged before: {skipped}");
            if start == 2 {
                // Nothing at all is known of this queue.
                let alone = send(&shard, "t", 9, b"new").await.queue_offset.0;
                assert!(alone > 0, "offset 0 was acknowledged before");
            }
            next.push(skipped);
            // A reader is told which are lost, goes on behind them and gets the new one.
            let mut found = Vec::new();
            let mut from = 9;
            while from < shard.bounds(shard.queue("t", 0).unwrap()).1.0 {
                match shard.read(&request(&shard, "t", 0, from)).await {
                    Ok(result) => {
                        found.extend(bodies(&result).into_iter().map(|(offset, _)| offset));
                        from = result.next.0;
                    }
                    Err(ReadError::Lost { queue_offsets, .. }) => from = queue_offsets.end,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(found, next);
        });
    }
    assert_eq!(next[1], next[0] + 1, "offsets are skipped once");
}

#[test]
fn a_follower_with_damage_takes_the_offsets_of_its_leader() {
    run(async {
        let pair = Pair::new(|_| {}).await;
        let mut appended = Vec::new();
        for number in 0..10 {
            appended.push(send(&pair.leader, "t", 0, format!("body {number}").as_bytes()).await);
        }
        pair.copy(usize::MAX).await;
        let rot = |root: &Path| {
            flip(&segment(root, 0), appended[9].physical_offset.position() + 20);
            std::fs::remove_dir_all(root.join("shard-00/consumequeue")).unwrap();
        };
        let pair = pair.reopen_follower(rot).await;
        let end = |shard: &Shard| shard.bounds(shard.queue("t", 0).unwrap()).1.0;
        assert!(end(&pair.follower) > 10, "on its own it would skip offsets");
        send(&pair.leader, "t", 0, b"body 10").await;
        pair.copy(usize::MAX).await;
        assert_eq!(end(&pair.follower), 11);
        let read = pair.follower.read(&request(&pair.follower, "t", 0, 10)).await.unwrap();
        assert_eq!(bodies(&read), numbered(11)[10..]);
    });
}
