//! Recovery of a shard from arbitrary bytes: the engine itself, over a simulated disk.
//!
//! Input: a mode, then either the bytes of a log (mode bit 0) or edits of the files of a sound store, five bytes each: file,
//! position u16, operation, value. With bit 1 the checksums of the log's batches are made right afterwards, so that what lies
//! behind them is reached; a log like that says what its writer meant, however odd.

use crate::store_files::mend_log;
use engine::inspect::KIND_DELETE_TOPIC;
use engine::{AppendError, Hooks, NewMessage, ReadRequest, Shard, StoreOptions, prepare_store};
use protocol::message::record::Records;
use protocol::model::{QueueId, QueueOffset, ShardId};
use runtime::file;
use runtime::sim::{Faults, NodeId, Options, Simulation};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

const ROOT: &str = "/store";
const SEGMENT_SIZE: usize = 64 << 10;
const EDITS_MAX: usize = 64;
/// Reads of one queue: a hostile log may claim offsets far apart.
const READS_MAX: usize = 300;
/// Virtual time in which a small store is open and read.
const LIMIT: Duration = Duration::from_secs(60);

/// Files of a store with their bytes up to the last that is not zero, and their lengths.
type Files = Vec<(PathBuf, Vec<u8>, usize)>;
/// Topic and queue to offset and body of each message.
type Contents = BTreeMap<(String, u32), Vec<(i64, Vec<u8>)>>;

pub(crate) fn recovery(input: &[u8]) {
    let Some((&mode, input)) = input.split_first() else {
        return;
    };
    let mut files = SOUND.clone();
    if mode & 1 == 0 {
        for edit in input.chunks_exact(5).take(EDITS_MAX) {
            apply(edit, &mut files);
        }
    } else {
        let (_, log, size) = files.iter_mut().find(|(path, ..)| is_log(path)).unwrap();
        *log = input[..input.len().min(*size)].to_vec();
        // What the indexes and the checkpoint say is of another log.
        files.retain(|(path, ..)| is_log(path) || path.ends_with("store.json"));
    }
    if mode & 2 != 0 {
        files
            .iter_mut()
            .filter(|(path, ..)| is_log(path))
            .for_each(|(_, log, _)| mend_log(log));
    }
    check(files, mode & 2 == 0);
}

/// Writes the files, opens, reads, appends, ends the process, opens and reads again.
fn check(files: Files, checksums_hold: bool) {
    let (simulation, node) = world();
    on(&simulation, node, write(files));
    let Some(first) = on(&simulation, node, open_and_read(checksums_hold, true)) else {
        return;
    };
    simulation.kill(node);
    simulation.restart(node);
    let second = on(&simulation, node, open_and_read(checksums_hold, false));
    let second = second.expect("a store that has opened opens again");
    assert_eq!(second, first, "a second start finds something else");
}

fn world() -> (Simulation, NodeId) {
    let options = Options {
        faults: Faults::none(),
        ..Options::default()
    };
    let simulation = Simulation::new(1, options);
    let node = simulation.node("broker", [10, 0, 0, 1].into());
    simulation.start(node, runtime::signal::terminated);
    (simulation, node)
}

fn on<T: 'static>(simulation: &Simulation, node: NodeId, task: impl Future<Output = T> + 'static) -> T {
    let outcome = simulation.block_on(node, task, LIMIT);
    outcome.unwrap_or_else(|stopped| panic!("it hangs: {stopped}"))
}

fn store_options() -> StoreOptions {
    StoreOptions {
        segment_size: SEGMENT_SIZE as u64,
        tail_cache_bytes: 4 << 10,
        crash_buffer_bytes: 0,
        ..StoreOptions::new(ROOT, 1)
    }
}

fn is_log(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with("commitlog"))
}

fn apply(edit: &[u8], files: &mut Files) {
    let &[file, high, low, operation, value] = edit else {
        return;
    };
    let count = files.len();
    if count == 0 {
        return;
    }
    let chosen = usize::from(file) % count;
    let (_, bytes, size) = &mut files[chosen];
    let at = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let fill = |bytes: &mut Vec<u8>, pattern: &[u8]| {
        let places = bytes.iter_mut().skip(at);
        places.zip(pattern).for_each(|(byte, new)| *byte = *new);
    };
    match operation % 8 {
        0 => fill(bytes, &[value]),
        1 => fill(bytes, &[value; 4]),
        2 => fill(bytes, &[0x7f, 0xff, 0xff, value]),
        3 => fill(bytes, &[0; 512]),
        4 => bytes.truncate(at),
        5 => *size = at,
        6 => {
            let piece: Vec<u8> = bytes.iter().skip(usize::from(value) * 16).take(128).copied().collect();
            fill(bytes, &piece);
        }
        _ => {
            files.remove(chosen);
        }
    }
    if let Some((_, bytes, size)) = files.get_mut(chosen) {
        bytes.truncate(*size);
    }
}

async fn write(files: Files) {
    for (path, mut bytes, size) in files {
        bytes.resize(size, 0);
        file::create_directory(path.parent().unwrap()).await.unwrap();
        file::replace(&path, bytes).await.unwrap();
    }
}

/// What the store holds; `None` if it does not open, which it may refuse.
async fn open_and_read(checksums_hold: bool, append_one: bool) -> Option<Contents> {
    let layout = prepare_store(&store_options()).await.ok()?;
    let (shard, _recovered) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.ok()?;
    if append_one {
        append_patiently(&shard, "new", 0, b"after the start").await;
    }
    let mut queues = Vec::new();
    shard.for_each_queue(|_, topic, queue_id, _| queues.push((topic.to_owned(), queue_id)));
    let mut contents = Contents::new();
    for (topic, queue_id) in queues {
        let messages = read_queue(&shard, &topic, queue_id, checksums_hold).await;
        if !messages.is_empty() {
            contents.insert((topic, queue_id), messages);
        }
    }
    if append_one {
        let appended = &contents[&("new".to_owned(), 0)];
        assert!(appended.iter().any(|(_, body)| body == b"after the start"));
    }
    Some(contents)
}

async fn read_queue(shard: &Shard, topic: &str, queue_id: u32, checksums_hold: bool) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    let queue = shard.queue(topic, queue_id).unwrap();
    let (min, max) = shard.bounds(queue);
    let mut from = min;
    for _ in 0..READS_MAX {
        if from >= max {
            break;
        }
        let request = ReadRequest {
            queue,
            from,
            max_messages: 100,
            max_bytes: None,
            filter: None,
        };
        // What is damaged is refused, with an error that says where.
        let Ok(result) = shard.read(&request).await else {
            from = QueueOffset(from.0 + 1);
            continue;
        };
        assert!(result.next > from, "a read gets nowhere: {result:?}");
        for part in &result.records {
            for record in Records::new(part) {
                let record = record.expect("what is served is a record");
                if checksums_hold {
                    record.check_body().expect("what is served is as it was written");
                }
                found.push((record.queue_offset.0, record.body.to_vec()));
            }
        }
        from = result.next;
    }
    found
}

async fn append_patiently(shard: &Shard, topic: &str, queue_id: u32, body: &[u8]) {
    let message = NewMessage {
        queue: shard.queue(topic, queue_id).unwrap(),
        topic,
        queue_id: QueueId::new(queue_id).unwrap(),
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "10.0.0.2:1000".parse().unwrap(),
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: "KEYS\u{1}k1 k2\u{2}TAGS\u{1}a\u{2}",
        tag_hash: i64::from(b'a'),
        keys: &["k1", "k2"],
        in_consume_queue: true,
    };
    loop {
        match shard.append(&message) {
            Ok(appended) => return shard.committed(appended.batch).await.unwrap(),
            Err(AppendError::Busy { .. }) => runtime::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("a store that opened takes no message: {error}"),
        }
    }
}

/// A store with messages before and after its checkpoint, metadata and a deleted topic.
static SOUND: LazyLock<Files> = LazyLock::new(|| {
    let (simulation, node) = world();
    on(&simulation, node, async {
        let layout = prepare_store(&store_options()).await.unwrap();
        let (shard, _) = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap();
        for number in 0_u8..12 {
            append_patiently(&shard, "t", u32::from(number % 2), &[number; 40]).await;
            match number {
                3 => drop(shard.append_metadata(1, b"metadata").unwrap()),
                5 => append_patiently(&shard, "gone", 0, b"deleted").await,
                7 => drop(shard.delete_queues("gone").unwrap()),
                8 => shard.checkpoint().await.unwrap(),
                _ => {}
            }
        }
        shard.flush().await.unwrap();
    });
    simulation.kill(node);
    simulation.restart(node);
    on(&simulation, node, read_all_files())
});
const _: () = assert!(
    KIND_DELETE_TOPIC > engine::META_KIND_MAX,
    "a deleted topic is a record of the engine's"
);

async fn read_all_files() -> Files {
    let mut files = Files::new();
    let mut directories = vec![PathBuf::from(ROOT)];
    while let Some(directory) = directories.pop() {
        for path in file::list(&directory).await.unwrap() {
            match file::read(&path).await {
                Ok(mut bytes) => {
                    let size = bytes.len();
                    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
                    files.push((path, bytes, size));
                }
                Err(_) => directories.push(path),
            }
        }
    }
    files.retain(|(path, ..)| !path.ends_with("lock"));
    files.sort();
    assert!(files.iter().any(|(path, ..)| is_log(path)), "{files:?}");
    files
}

/// The log of a sound store: what a raw input begins as.
pub(crate) fn sound_log() -> Vec<u8> {
    SOUND.iter().find(|(path, ..)| is_log(path)).unwrap().1.clone()
}

/// The small files of a sound store, to be read one by one.
pub(crate) fn sound_files() -> impl Iterator<Item = (&'static Path, &'static [u8])> {
    SOUND.iter().map(|(path, bytes, _)| (path.as_path(), &bytes[..]))
}
