//! Whole shards on the real disk: what is acknowledged is there after any end, and nothing else is served.

use crate::error::AppendError;
use crate::message::{Commit, MetaRecord};
use crate::segmented_log::faults;
use crate::*;
use protocol::message::record::{RecordView, Records};
use protocol::model::{PhysicalOffset, QueueId, QueueOffset, ShardId};
use runtime::probe::{IoPath, Refusal};
use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

mod crash;
mod crash_buffer;
mod direct;
mod disk;
mod imported;
mod reading;
mod recycled;
mod replica;
mod rot;
mod simulated;
mod writing;

/// Runs a test on an event loop of its own; what is still running at the end is dropped, as by a crash.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), test).unwrap()
}

/// A small store: segments of 64 KiB, so that tests roll often. How full the machine's disk is, is not the test's business.
fn options(root: &Path) -> StoreOptions {
    StoreOptions {
        segment_size: 64 << 10,
        // Tests of how the log is written are about the writes; those of this memory ask for it.
        crash_buffer_bytes: 0,
        // How full this machine's disk is must not matter.
        retention: Retention {
            clean_ratio: 1.0,
            force_ratio: None,
            stop_ratio: 1.0,
            ..Retention::default()
        },
        ..StoreOptions::new(root, 1)
    }
}

async fn open(options: &StoreOptions) -> (Shard, Recovered) {
    open_with(options, Hooks::default()).await
}

async fn open_with(options: &StoreOptions, hooks: Hooks) -> (Shard, Recovered) {
    let layout = prepare_store(options).await.unwrap();
    Shard::open(&layout, ShardId::ZERO, hooks).await.unwrap()
}

fn message<'a>(shard: &Shard, topic: &'a str, queue_id: u32, body: &'a [u8]) -> NewMessage<'a> {
    NewMessage {
        queue: shard.queue(topic, queue_id).unwrap(),
        topic,
        queue_id: QueueId::new(queue_id).unwrap(),
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "127.0.0.1:1000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: "TAGS\u{1}a\u{2}",
        tag_hash: i64::from(b'a'),
        keys: &[],
        in_consume_queue: true,
    }
}

/// Appends, when there is room.
async fn append(shard: &Shard, topic: &str, queue_id: u32, body: &[u8]) -> Appended {
    loop {
        match shard.append(&message(shard, topic, queue_id, body)) {
            Ok(appended) => return appended,
            Err(AppendError::Busy { .. }) => runtime::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until the write or sync that was told to hang does.
async fn until_a_sync_hangs() {
    while !faults::SYNC_HANGS.get() {
        runtime::sleep(Duration::from_millis(1)).await;
    }
}

/// Appends and waits for the commit.
async fn send(shard: &Shard, topic: &str, queue_id: u32, body: &[u8]) -> Appended {
    let appended = append(shard, topic, queue_id, body).await;
    shard.committed(appended.batch).await.unwrap();
    appended
}

fn request(shard: &Shard, topic: &str, queue_id: u32, from: i64) -> ReadRequest {
    ReadRequest {
        queue: shard.queue(topic, queue_id).unwrap(),
        from: QueueOffset(from),
        max_messages: 1000,
        max_bytes: None,
        filter: None,
    }
}

/// Queue offset and body of every message of a queue.
async fn read_all(shard: &Shard, topic: &str, queue_id: u32) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    let (min, max) = shard.bounds(shard.queue(topic, queue_id).unwrap());
    let mut from = min.0;
    while from < max.0 {
        let result = shard.read(&request(shard, topic, queue_id, from)).await.unwrap();
        assert!(result.next.0 > from, "a read gets nowhere: {result:?}");
        all.extend(bodies(&result));
        from = result.next.0;
    }
    all
}

fn bodies(result: &ReadResult) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    for part in &result.records {
        for record in Records::new(part) {
            let record = record.unwrap();
            found.push((record.queue_offset.0, record.body.to_vec()));
        }
    }
    assert_eq!(found.len(), result.count);
    found
}

fn numbered(count: i64) -> Vec<(i64, Vec<u8>)> {
    (0..count)
        .map(|number| (number, format!("body {number}").into_bytes()))
        .collect()
}

/// Commits that a shard told of: batch, whether it went well, arrivals.
#[derive(Clone, Debug, Default)]
struct Commits(Rc<RefCell<Vec<(u64, bool, usize)>>>);

impl Commits {
    fn hooks(&self) -> Hooks {
        let commits = Rc::clone(&self.0);
        Hooks {
            on_commit: Box::new(move |commit: &Commit<'_>| {
                let commit = (commit.batch.0, commit.result.is_ok(), commit.arrivals.len());
                commits.borrow_mut().push(commit);
            }),
            ..Hooks::default()
        }
    }
}
