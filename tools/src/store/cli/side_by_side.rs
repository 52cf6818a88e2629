//! Shards of a store of ours are verified side by side, as many at a time as there are processors: one thread checks about a gigabyte a
//! second, and disks give more.

use crate::store::files::StoreFiles;
use crate::store::findings::{Counts, Finding};
use crate::store::verify::{Stopped, Watcher, verify_shard};
use protocol::model::ShardId;
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Threads at most: each has some megabytes of its own.
const THREADS_MAX: usize = 8;
/// News that wait to be shown.
const NEWS_MAX: usize = 256;

enum News {
    Found(Finding),
    At(ShardId, (u64, u64, u64)),
    Done(ShardId, Result<Counts, Stopped>),
}

/// Passes on what a thread finds.
struct Teller(SyncSender<News>);

impl Watcher for Teller {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        let told = self.0.send(News::Found(finding.clone()));
        told.map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }

    fn at(&mut self, shard: ShardId, min: u64, position: u64, end: u64) {
        // Who has stopped listening ends the work at the next finding or shard.
        let _told = self.0.send(News::At(shard, (min, position, end)));
    }
}

/// Verifies these shards; what each is found to hold, in their order. `watcher` hears of all as one: bytes of all their logs.
///
/// # Errors
/// [`Stopped`], of the first shard that has one.
pub(super) fn verify_all(
    files: &StoreFiles,
    shards: &[ShardId],
    watcher: &mut dyn Watcher,
) -> Result<Vec<Counts>, Stopped> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(shards.iter());
    let (tell, news) = sync_channel(NEWS_MAX);
    std::thread::scope(|scope| {
        for _thread in 0..threads.min(THREADS_MAX).min(shards.len()) {
            let (tell, waiting) = (tell.clone(), &waiting);
            scope.spawn(move || {
                let next = || waiting.lock().ok()?.next().copied();
                while let Some(shard) = next() {
                    let outcome = verify_shard(files, shard, &mut Teller(tell.clone()));
                    if tell.send(News::Done(shard, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut places = BTreeMap::new();
        let mut done = BTreeMap::new();
        // A watcher that fails ends this, the channel with it, and so the threads.
        for one in news {
            match one {
                News::Found(finding) => watcher.found(&finding)?,
                News::At(shard, place) => {
                    places.insert(shard, place);
                    let sum = |part: fn(&(u64, u64, u64)) -> u64| places.values().map(part).sum();
                    watcher.at(shard, sum(|of| of.0), sum(|of| of.1), sum(|of| of.2));
                }
                News::Done(shard, outcome) => drop(done.insert(shard, outcome)),
            }
        }
        done.into_values().collect()
    })
}
