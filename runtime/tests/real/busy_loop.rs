//! Disk operations while the event loop always has ready tasks, so that it never sleeps in epoll.

use crate::in_each_way;
use bytes::Bytes;
use runtime::{File, Instant, OpenOptions};
use std::time::Duration;

#[test]
fn a_sync_ends_while_the_loop_never_parks() {
    in_each_way(|directory| async move {
        let file = File::open(&directory.join("log"), OpenOptions::create_new())
            .await
            .unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        let spins = runtime::spawn(async move {
            while Instant::now() < end {
                runtime::yield_now().await;
            }
        });
        let mut times = Vec::new();
        for position in 0..20 {
            file.write_at(position * 4096, &[Bytes::from(vec![1; 4096])])
                .await
                .unwrap();
            let start = Instant::now();
            file.sync_data().await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        let finished_by_itself = spins.is_finished();
        println!(
            "20 syncs beside a spinning task: median {:?}, longest {:?}",
            times[10], times[19]
        );
        assert!(!finished_by_itself, "the syncs ended only when the spinning did");
        spins.abort();
    });
}
