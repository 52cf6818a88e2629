//! Stores that the engine itself wrote, whole and damaged.

mod keys;

use super::diff::{self, Compared, Piece};
use super::files::StoreFiles;
use super::findings::{Counts, Finding, Part};
use super::open::Store;
use super::repair::{self, Action, Done, Plan};
use super::verify::{Watcher, verify_shard};
use engine::inspect::{PAGE_SIZE, SEAL_SIZE};
use engine::{Appended, Hooks, NewMessage, Shard, StoreOptions, prepare_store};
use protocol::model::{QueueId, ShardId};
use runtime::probe::{IoPath, Refusal};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SEGMENT_SIZE: u64 = 64 << 10;

fn run<F: Future>(test: F) -> F::Output {
    runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), test).unwrap()
}

/// What is committed is in the files at once.
async fn open(root: &Path) -> Shard {
    open_with(root, 0).await
}

async fn open_with(root: &Path, crash_buffer_bytes: usize) -> Shard {
    let options = StoreOptions {
        segment_size: SEGMENT_SIZE,
        crash_buffer_bytes,
        ..StoreOptions::new(root, 1)
    };
    let layout = prepare_store(&options).await.unwrap();
    Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap().0
}

/// Appends a message that has this key.
fn append(shard: &Shard, (topic, queue_id): (&str, u32), body: &[u8], key: &str) -> Appended {
    let message = NewMessage {
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
        properties: &format!("TAGS\u{1}a\u{2}KEYS\u{1}{key}\u{2}"),
        tag_hash: i64::from(b'a'),
        keys: &[key],
        in_consume_queue: true,
    };
    shard.append(&message).unwrap()
}

/// Waits for the commit of a message; returns where its record lies.
async fn committed(shard: &Shard, appended: &Appended) -> Range<u64> {
    shard.committed(appended.batch).await.unwrap();
    let position = appended.physical_offset.position();
    position..position + appended.size as u64
}

/// Appends a message and waits for its commit; returns where its record lies.
async fn send(shard: &Shard, topic: &str, queue_id: u32, body: &[u8]) -> Range<u64> {
    let appended = append(shard, (topic, queue_id), body, "k");
    committed(shard, &appended).await
}

struct TestStore {
    directory: tempfile::TempDir,
    /// Where each message lies, one a batch.
    messages: Vec<Range<u64>>,
}

impl TestStore {
    /// Messages over three segments, two topics of two queues, a metadata record and a deleted topic; closed in good order.
    fn new() -> TestStore {
        let directory = tempfile::tempdir().unwrap();
        let messages = run(async {
            let shard = open(directory.path()).await;
            let mut messages = Vec::new();
            for number in 0..160_u32 {
                let topic = if number % 3 == 0 { "Orders" } else { "Bills" };
                messages.push(send(&shard, topic, number % 2, &[b'x'; 700]).await);
                if number == 50 {
                    let batch = shard.append_metadata(7, b"payload").unwrap();
                    shard.committed(batch).await.unwrap();
                    send(&shard, "Gone", 0, b"gone").await;
                    let batch = shard.delete_queues("Gone").unwrap();
                    shard.committed(batch).await.unwrap();
                    send(&shard, "Gone", 0, b"begins at 0 again").await;
                }
            }
            shard.close().await.unwrap();
            messages
        });
        TestStore { directory, messages }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("shard-00").join(name)
    }

    fn flip(&self, path: &Path, at: u64) {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    }

    fn flip_in_log(&self, position: u64) {
        let base = position - position % SEGMENT_SIZE;
        self.flip(&self.path(&format!("commitlog/{base:020}")), position - base);
    }

    fn verify(&self) -> (Counts, Vec<Finding>) {
        verify(self.directory.path())
    }
}

#[derive(Default)]
struct Found(Vec<Finding>);

impl Watcher for Found {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        self.0.push(finding.clone());
        Ok(())
    }

    fn at(&mut self, _shard: ShardId, _min: u64, _position: u64, _end: u64) {}
}

fn verify(root: &Path) -> (Counts, Vec<Finding>) {
    let files = StoreFiles::find(root, None).unwrap();
    let mut found = Found::default();
    let counts = verify_shard(&files, ShardId::ZERO, &mut found).unwrap();
    (counts, found.0)
}

#[test]
fn what_the_engine_wrote_is_clean_and_all_of_it_is_looked_at() {
    let store = TestStore::new();
    let (counts, findings) = store.verify();
    assert_eq!(findings, []);
    assert_eq!((counts.messages, counts.metadata), (162, 2));
    assert!(counts.end > 2 * SEGMENT_SIZE, "{counts:?}");
    assert_eq!((counts.torn_bytes, counts.synced), (0, counts.end));
    // All but the deleted topic's entry, which its pages may or may not tell of.
    assert!((161..=162).contains(&counts.entries), "{counts:?}");
    assert!(counts.pages > 0 && counts.key_pages > 0, "{counts:?}");
}

#[test]
fn a_store_that_is_open_is_clean_too() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = open(directory.path()).await;
        for _ in 0..100 {
            send(&shard, "Orders", 0, &[b'x'; 900]).await;
        }
        let (counts, findings) = verify(directory.path());
        assert_eq!((findings, counts.messages), (Vec::new(), 100));
    });
}

#[test]
fn a_flipped_bit_in_any_field_of_a_message_or_a_seal_is_found_and_costs_that_batch_alone() {
    let store = TestStore::new();
    let clean = store.verify().0;
    let record = store.messages[20].clone();
    // Each byte of the head, some of body, topic and properties, then the seal but for its unused end.
    let head = record.start..record.start + 96;
    let rest = (record.start + 96..record.end).step_by(37);
    let seal = record.end..record.end + SEAL_SIZE as u64 - 4;
    for position in head.chain(rest).chain(seal) {
        store.flip_in_log(position);
        let (counts, findings) = store.verify();
        let in_log: Vec<&Finding> = findings.iter().filter(|finding| finding.part == Part::Log).collect();
        assert!(!in_log.is_empty(), "byte {}", position - record.start);
        assert_eq!(
            in_log[0].from,
            Some(record.start),
            "byte {}: {in_log:?}",
            position - record.start
        );
        assert!(
            counts.messages >= clean.messages - 2,
            "byte {}: {counts:?}",
            position - record.start
        );
        assert_eq!(counts.end, clean.end);
        store.flip_in_log(position);
    }
    assert_eq!(store.verify().1, []);
}

#[test]
fn a_flipped_bit_in_a_metadata_record_is_found() {
    let store = TestStore::new();
    let after = store.messages[50].end + SEAL_SIZE as u64;
    for at in 0..39 {
        store.flip_in_log(after + at);
        let findings = store.verify().1;
        assert!(
            findings.iter().any(|finding| finding.from == Some(after)),
            "byte {at}: {findings:?}"
        );
        store.flip_in_log(after + at);
    }
}

#[test]
fn a_flipped_bit_in_each_file_beside_the_log_is_found() {
    let store = TestStore::new();
    let files = [
        ("checkpoint", Part::Checkpoint),
        ("consumequeue/manifest", Part::ConsumeQueue),
        ("consumequeue/00000000000000000000", Part::ConsumeQueue),
        ("index/manifest", Part::KeyIndex),
        ("index/00000000000000000000.run", Part::KeyIndex),
    ];
    for (name, part) in files {
        let path = store.path(name);
        let size = fs::metadata(&path).unwrap().len().min(PAGE_SIZE as u64);
        for at in (0..size).step_by(7) {
            store.flip(&path, at);
            let findings = store.verify().1;
            assert!(
                findings.iter().any(|finding| finding.part == part),
                "{name}, byte {at}: {findings:?}"
            );
            store.flip(&path, at);
        }
    }
    assert_eq!(store.verify().1, []);
}

/// Where the first entry of a page begins: behind the page's 24 bytes come runs (their number at 18) of 20 bytes, the topic,
/// and entries of 20 bytes (kind 1) or a position.
fn first_entry(page: &[u8]) -> Option<usize> {
    let mut at = 24;
    for _ in 0..u16::from_be_bytes([page[18], page[19]]) {
        let topic_length = usize::from(u16::from_be_bytes([page[at + 2], page[at + 3]]));
        if page[at] == 1 {
            return Some(at + 20 + topic_length);
        }
        at += 20 + topic_length + 8;
    }
    None
}

/// Flips a bit in the first entry of a file of pages, and makes the page's checksum match: bytes 0 to 7 are magic and CRC-32
/// of the rest.
fn flip_in_first_entry(path: &Path, field: usize) {
    let mut bytes = fs::read(path).unwrap();
    let mut pages = bytes.chunks_exact_mut(PAGE_SIZE);
    let (page, at) = pages.find_map(|page| first_entry(page).map(|at| (page, at))).unwrap();
    page[at + field] ^= 1;
    let crc = crc32fast::hash(&page[8..]);
    page[4..8].copy_from_slice(&crc.to_be_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn entries_that_do_not_agree_with_the_log_are_found_though_their_page_is_sound() {
    for (name, field) in [("position", 7), ("size", 11), ("tag hash", 19)] {
        let store = TestStore::new();
        flip_in_first_entry(&store.path("consumequeue/00000000000000000000"), field);
        let findings = store.verify().1;
        assert_eq!(findings.len(), 1, "{name}: {findings:?}");
        assert_eq!(findings[0].part, Part::ConsumeQueue, "{name}");
    }
}

#[test]
fn messages_that_no_page_tells_of_are_found() {
    let store = TestStore::new();
    let path = store.path("consumequeue/00000000000000000000");
    let size = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    fs::write(&path, vec![0; size]).unwrap();
    let findings = store.verify().1;
    let lacks = |finding: &&Finding| finding.reason.contains("lacks the entries");
    // Two topics of two queues, and one that was deleted and begun again.
    assert_eq!(findings.iter().filter(lacks).count(), 5, "{findings:?}");
}

#[test]
fn a_torn_tail_is_no_damage_but_a_tail_lost_below_what_was_durable_is() {
    let store = TestStore::new();
    let end = store.verify().0.end;
    let base = end - end % SEGMENT_SIZE;
    let segment = store.path(&format!("commitlog/{base:020}"));
    // As after a kill: no checkpoint, and half a record behind the last seal.
    fs::remove_file(store.path("checkpoint")).unwrap();
    fs::remove_file(store.path("checkpoint.previous")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    let last = store.messages[159].clone();
    let offset = usize::try_from(last.start - base).unwrap();
    let half = fs::read(&segment).unwrap()[offset..offset + 300].to_vec();
    file.write_all_at(&half, end - base).unwrap();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.end, counts.torn_bytes), (Vec::new(), end, 300));

    // As above in a segment that was another one before: what that one held is no unfinished write.
    let before = fs::read(store.path(&format!("commitlog/{:020}", 0))).unwrap();
    let block = (end - base).next_multiple_of(4096);
    file.write_all_at(&before[usize::try_from(block).unwrap()..], block)
        .unwrap();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.end, counts.torn_bytes), (Vec::new(), end, 0));

    let store = TestStore::new();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(store.path(&format!("commitlog/{base:020}")))
        .unwrap();
    file.set_len(store.messages[155].start - base).unwrap();
    let (_, findings) = store.verify();
    let lost = findings.iter().find(|finding| finding.part == Part::Log).unwrap();
    assert_eq!((lost.from, lost.to), (Some(store.messages[155].start), Some(end)));
}

#[test]
fn a_missing_segment_in_the_middle_is_damage_and_a_first_one_is_retention() {
    let store = TestStore::new();
    fs::remove_file(store.path(&format!("commitlog/{SEGMENT_SIZE:020}"))).unwrap();
    let findings = store.verify().1;
    let missing = findings.iter().find(|finding| finding.part == Part::Log).unwrap();
    assert_eq!((missing.from, missing.to), (Some(SEGMENT_SIZE), Some(2 * SEGMENT_SIZE)));

    let store = TestStore::new();
    fs::remove_file(store.path(&format!("commitlog/{:020}", 0))).unwrap();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.min), (Vec::new(), SEGMENT_SIZE));
}

#[test]
fn bytes_of_any_kind_do_not_make_it_panic() {
    let store = TestStore::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    // Few rounds, since without its checkpoint a store may have a writer, which verify gives a second to finish.
    for _ in 0..6 {
        for file in [
            "commitlog/00000000000000000000",
            "consumequeue/00000000000000000000",
            "index/manifest",
            "checkpoint",
        ] {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let path = store.path(file);
            let mut bytes = fs::read(&path).unwrap();
            let at = usize::try_from(random >> 33).unwrap() % bytes.len();
            let end = (at + 40).min(bytes.len());
            bytes[at..end].fill(0xff);
            fs::write(&path, bytes).unwrap();
        }
        assert!(!store.verify().1.is_empty());
    }
}

/// What a repair plans and does; the lock is the broker's.
fn repair(root: &Path, name: &str) -> (Plan, Done) {
    let files = StoreFiles::find(root, None).unwrap();
    let lock = repair::lock(root).unwrap();
    let plan = repair::plan(&files, &[ShardId::ZERO]).unwrap();
    let done = repair::apply(&files, &plan, &lock, name).unwrap();
    (plan, done)
}

/// Starts the engine on the store, and reads a queue from its begin.
fn bodies_after_a_start(root: &Path, topic: &str, queue_id: u32) -> usize {
    run(async {
        let shard = open(root).await;
        let queue = shard.find_queue(topic, queue_id).unwrap();
        let (min, max) = shard.bounds(queue);
        let entries = shard.entries(queue, min, 1000).await.unwrap().len();
        assert_eq!(i64::try_from(entries).unwrap(), max.0 - min.0);
        shard.close().await.unwrap();
        entries
    })
}

#[test]
fn damaged_indexes_and_checkpoints_are_made_again_by_the_start_after_a_repair() {
    let store = TestStore::new();
    let root = store.directory.path();
    assert_eq!(repair(root, "nothing").0, Plan::default());
    let sound = bodies_after_a_start(root, "Bills", 1);
    for name in [
        "checkpoint",
        "consumequeue/00000000000000000000",
        "index/00000000000000000000.run",
    ] {
        store.flip(&store.path(name), 100);
    }
    let (plan, done) = repair(root, "repair-1");
    assert_eq!((plan.actions.len(), plan.stays), (3, Vec::new()));
    assert_eq!(store.verify().1, []);
    for name in ["checkpoint", "consumequeue/manifest", "index/manifest"] {
        assert!(done.kept_in.join("shard-00").join(name).exists(), "{name}");
    }
    assert_eq!(bodies_after_a_start(root, "Bills", 1), sound);
    let (counts, findings) = store.verify();
    assert_eq!(findings, []);
    assert!(counts.pages > 0 && counts.key_pages > 0, "made again: {counts:?}");
}

#[test]
fn rot_is_given_up_once_and_what_can_be_read_of_it_is_saved() {
    let store = TestStore::new();
    let root = store.directory.path();
    // In the seal behind it, so that the message itself can still be read; and in another one's body.
    store.flip_in_log(store.messages[20].end + 20);
    store.flip_in_log(store.messages[30].start + 200);
    let before = fs::read(store.path("commitlog/00000000000000000000")).unwrap();
    let (plan, done) = repair(root, "repair-1");
    assert!(plan.stays.is_empty(), "{plan:?}");
    assert_eq!(done.saved_messages, 1);
    assert!(
        fs::read(store.path("commitlog/00000000000000000000")).unwrap() == before,
        "the log is never changed"
    );
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.quarantined), (Vec::new(), 2));
    let saved = done.kept_in.join("shard-00");
    let names: Vec<String> = fs::read_dir(&saved)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names.iter().filter(|name| name.starts_with("log-")).count(),
        2,
        "{names:?}"
    );
    assert_eq!(repair(root, "repair-2").0, Plan::default());
    // The engine starts, and what it serves is what is left.
    bodies_after_a_start(root, "Bills", 0);
    assert_eq!(store.verify().1, []);
    // More damage in the same range is news.
    store.flip_in_log(store.messages[30].start + 300);
    assert_eq!(store.verify().1.len(), 1);
}

#[test]
fn a_torn_tail_is_wiped_and_kept() {
    let store = TestStore::new();
    let root = store.directory.path();
    let end = store.verify().0.end;
    let base = end - end % SEGMENT_SIZE;
    let segment = store.path(&format!("commitlog/{base:020}"));
    for name in ["checkpoint", "checkpoint.previous"] {
        fs::remove_file(store.path(name)).unwrap();
    }
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[7; 300], end - base).unwrap();
    let (plan, done) = repair(root, "repair-1");
    assert_eq!(
        plan.actions,
        [Action::CutTail {
            shard: 0,
            from: end,
            bytes: 300
        }]
    );
    assert_eq!(
        fs::read(done.kept_in.join(format!("shard-00/tail-{end}"))).unwrap(),
        [7; 300]
    );
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.torn_bytes, counts.end), (Vec::new(), 0, end));
    bodies_after_a_start(root, "Orders", 0);
    assert_eq!(store.verify().1, []);
}

#[test]
fn a_store_that_is_open_is_not_repaired() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let _shard = open(directory.path()).await;
        let refused = repair::lock(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("stop it first"), "{refused}");
    });
    repair::lock(directory.path()).unwrap();
}

fn copy_of(store: &TestStore) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = store.directory.path().join(".");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    copy
}

fn compare(one: &Path, other: &Path) -> Compared {
    let [one, other] = [one, other].map(|root| Store::find(root, &[]).unwrap());
    diff::compare([&one, &other], ShardId::ZERO, SEGMENT_SIZE, &mut |_, _| {}).unwrap()
}

#[test]
fn replicas_are_the_same_up_to_the_first_record_that_differs() {
    let store = TestStore::new();
    let copy = copy_of(&store);
    let same = compare(store.directory.path(), copy.path());
    assert_eq!((same.difference, same.same_to), (None, same.ends[0]));
    assert!(same.segments.len() > 2, "{:?}", same.segments);

    // A replica that has fewer old segments and is behind: no difference.
    run(async {
        let shard = open(store.directory.path()).await;
        send(&shard, "Orders", 0, b"not copied yet").await;
        shard.close().await.unwrap();
    });
    fs::remove_file(copy.path().join("shard-00/commitlog/00000000000000000000")).unwrap();
    let behind = compare(store.directory.path(), copy.path());
    assert_eq!((behind.difference, behind.from), (None, SEGMENT_SIZE));
    assert!(behind.ends[0] > behind.ends[1]);

    // Other messages from some place on: each is sound for itself.
    let other = copy_of(&store);
    for (root, body) in [(store.directory.path(), b"one"), (other.path(), b"two")] {
        run(async {
            let shard = open(root).await;
            send(&shard, "Orders", 0, body).await;
            shard.close().await.unwrap();
        });
    }
    let parted = compare(store.directory.path(), other.path());
    let (position, pieces) = parted.difference.unwrap();
    assert_eq!(position, behind.ends[0]);
    assert!(
        matches!(pieces, [Some(Piece::Message(_)), Some(Piece::Message(_))]),
        "{pieces:?}"
    );

    // One byte in one replica.
    store.flip_in_log(store.messages[100].start + 150);
    let rot = compare(store.directory.path(), other.path());
    let (position, pieces) = rot.difference.unwrap();
    assert_eq!(position, store.messages[100].start);
    assert!(
        matches!(pieces, [Some(Piece::Damage(..)), Some(Piece::Message(_))]),
        "{pieces:?}"
    );
}

#[test]
fn a_store_whose_end_is_in_memory_of_a_broker_that_was_killed_is_told_and_not_repaired() {
    if let Some(reason) = runtime::crash_memory::refusal(1 << 20) {
        println!("skipped: {reason}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    // The process ends right after the answer; on a slow machine all may have been written by then.
    let left = (0..20).find_map(|_| {
        run(async {
            let shard = open_with(root, 1 << 20).await;
            send(&shard, "Orders", 0, b"body").await;
        });
        StoreFiles::find(root, None).unwrap().check_memory().err()
    });
    let left = left.expect("an answer comes before the write").to_string();
    assert!(left.contains("start the broker once"), "{left}");
    run(async { open(root).await.close().await.unwrap() });
    StoreFiles::find(root, None).unwrap().check_memory().unwrap();
    assert!(verify(root).1.is_empty());
}
