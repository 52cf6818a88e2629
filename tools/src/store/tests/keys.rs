//! The entries of the key index against the log.

use super::super::key_pages::{KeyRuns, manifest};
use super::*;
use engine::inspect::{KEY_PAGE_SIZE, key_page_entries, key_run_pages};

const ENTRY_SIZE: usize = 20;
/// Where the head of a run has the number of its entries.
const ENTRIES_AT: usize = 16;

impl TestStore {
    /// What is wrong, all of it in the key index.
    fn key_findings(&self) -> Vec<String> {
        let findings = self.verify().1;
        assert!(
            findings.iter().all(|finding| finding.part == Part::KeyIndex),
            "{findings:?}"
        );
        findings.into_iter().map(|finding| finding.reason).collect()
    }

    /// One thing is wrong, in the key index, and its reason says so.
    fn assert_only_finding(&self, part_of_reason: &str) {
        let reasons = self.key_findings();
        assert!(
            matches!(&reasons[..], [reason] if reason.contains(part_of_reason)),
            "{reasons:?}"
        );
    }

    /// Moves the key index away and has a start make it again.
    fn repair_keys(&self) {
        let root = self.directory.path();
        let plan = repair(root, "repair-keys").0;
        let path = self.path("index");
        let part = Part::KeyIndex;
        assert_eq!(
            (plan.actions, plan.stays),
            (vec![Action::MoveAway { shard: 0, part, path }], vec![])
        );
        bodies_after_a_start(root, "Orders", 0);
        let (counts, findings) = self.verify();
        assert_eq!((findings, counts.index_entries), (Vec::new(), counts.messages));
    }
}

/// A run whose pages can be changed, with checksums that match.
struct ChangedRun {
    path: PathBuf,
    bytes: Vec<u8>,
    sequence: u64,
    /// The first page with entries.
    page: usize,
}

impl ChangedRun {
    fn new(store: &TestStore, sequence: u64) -> ChangedRun {
        let path = store.path(&format!("index/{sequence:020}.run"));
        let bytes = fs::read(&path).unwrap();
        let head = &bytes[..KEY_PAGE_SIZE];
        assert!(key_run_pages(head, 0, sequence).is_some());
        let pages = (0_u32..).zip(bytes.chunks_exact(KEY_PAGE_SIZE));
        let mut pages = pages.filter(|(number, page)| key_page_entries(head, *number, page).next().is_some());
        let page = usize::try_from(pages.next().unwrap().0).unwrap();
        ChangedRun {
            path,
            bytes,
            sequence,
            page,
        }
    }

    fn page(&mut self, number: usize) -> &mut [u8] {
        &mut self.bytes[number * KEY_PAGE_SIZE..][..KEY_PAGE_SIZE]
    }

    fn entries(&mut self) -> &mut [u8] {
        let number = self.page;
        self.page(number)
    }

    /// How many there are. A slow machine spreads those of a store over some runs.
    fn count(&mut self) -> u32 {
        let count = &self.page(0)[ENTRIES_AT..ENTRIES_AT + 4];
        u32::from_be_bytes(count.try_into().unwrap())
    }

    /// Where the last one of a run with a single page of them is: all are still in order if it grows.
    fn last(&mut self) -> usize {
        usize::try_from(self.count() - 1).unwrap() * ENTRY_SIZE
    }

    fn write(mut self) {
        for number in [0, self.page] {
            let mut crc = crc32fast::Hasher::new();
            crc.update(&self.sequence.to_be_bytes());
            crc.update(&u64::try_from(number).unwrap().to_be_bytes());
            let (content, checksum) = self.page(number).split_at_mut(KEY_PAGE_SIZE - 4);
            crc.update(content);
            checksum.copy_from_slice(&crc.finalize().to_be_bytes());
        }
        fs::write(self.path, self.bytes).unwrap();
    }
}

#[test]
fn every_key_of_every_message_is_looked_for() {
    let store = TestStore::new();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.index_entries), (Vec::new(), 162));
}

/// What is done to an entry.
type Change = fn(&mut [u8]);

/// Adds one to the number of 8 bytes at `at`.
fn add_one(entry: &mut [u8], at: usize) {
    let number = u64::from_be_bytes(entry[at..at + 8].try_into().unwrap());
    entry[at..at + 8].copy_from_slice(&(number + 1).to_be_bytes());
}

#[test]
fn an_entry_that_was_changed_is_found_though_its_page_is_sound_and_a_repair_mends_it() {
    let changes: [(&str, Change); 3] = [
        ("hash", |entry| add_one(entry, 0)),
        ("position", |entry| add_one(entry, 8)),
        ("store time", |entry| entry[16] |= 0x80),
    ];
    for (name, change) in changes {
        let store = TestStore::new();
        let mut run = ChangedRun::new(&store, 0);
        let last = run.last();
        change(&mut run.entries()[last..][..ENTRY_SIZE]);
        run.write();
        let reasons = store.key_findings();
        let [lacking, stray] = &reasons[..] else {
            panic!("{name}: {reasons:?}");
        };
        assert!(lacking.contains("no run has 1 of the entries"), "{name}: {lacking}");
        assert!(stray.contains("1 entries are of no key"), "{name}: {stray}");
        store.repair_keys();
    }
}

#[test]
fn entries_out_of_order_are_found() {
    let store = TestStore::new();
    let mut run = ChangedRun::new(&store, 0);
    run.entries()[0] = 0xff;
    run.write();
    store.assert_only_finding("not in order");
}

#[test]
fn an_entry_that_was_removed_is_found_and_a_repair_mends_it() {
    let store = TestStore::new();
    let mut run = ChangedRun::new(&store, 0);
    let count = run.count();
    run.entries().copy_within(ENTRY_SIZE..KEY_PAGE_SIZE - 4, 0);
    run.page(0)[ENTRIES_AT..ENTRIES_AT + 4].copy_from_slice(&(count - 1).to_be_bytes());
    run.write();
    store.assert_only_finding("no run has 1 of the entries");
    store.repair_keys();
}

/// Appends a message of topic `Orders` that is in a run of the key index before it is committed: no manifest vouches for its entry.
async fn send_and_index_early(shard: &Shard) -> Range<u64> {
    // A table becomes a run when it holds something from before the last checkpoint.
    send(shard, "Orders", 0, b"before").await;
    shard.checkpoint().await.unwrap();
    let appended = append(shard, ("Orders", 0), b"early", "early");
    shard.checkpoint().await.unwrap();
    committed(shard, &appended).await
}

/// A store that was killed behind such a message, and where that lies.
fn killed() -> (TestStore, Range<u64>) {
    // On a busy machine the message may be committed before the checkpoint begins.
    for _ in 0..100 {
        let directory = tempfile::tempdir().unwrap();
        let early = run(async { send_and_index_early(&open(directory.path()).await).await });
        let messages = Vec::new();
        let store = TestStore { directory, messages };
        let manifest = manifest(&store.path("index"), ShardId::ZERO).unwrap().unwrap().unwrap();
        if (manifest.rebuilt_from, manifest.runs) == (early.start, vec![0]) {
            return (store, early);
        }
    }
    panic!("no checkpoint was faster than a commit");
}

#[test]
fn a_killed_store_is_clean_before_and_after_a_start_that_adds_entries_again() {
    let (store, _early) = killed();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.messages, counts.index_entries), (Vec::new(), 2, 1));
    bodies_after_a_start(store.directory.path(), "Orders", 0);
    let (counts, findings) = store.verify();
    // One of them twice.
    assert_eq!((findings, counts.messages, counts.index_entries), (Vec::new(), 2, 3));

    // One of the two is another one's: nothing is missing, but it leads nowhere.
    let mut run = ChangedRun::new(&store, 1);
    run.entries()[7] ^= 1;
    run.write();
    store.assert_only_finding("1 entries are of no key");
    store.repair_keys();
}

#[test]
fn entries_of_a_tail_that_was_cut_are_no_damage() {
    let (store, early) = killed();
    // As after a power cut: the run was durable, the message was not, and no checkpoint was taken since.
    for name in ["checkpoint", "checkpoint.previous"] {
        fs::remove_file(store.path(name)).unwrap();
    }
    let segment = store.path(&format!("commitlog/{:020}", 0));
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(&[0; 4096], early.start).unwrap();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.messages, counts.end), (Vec::new(), 1, early.start));
    // Store times have seconds in the index, and no machine starts in one.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    run(async {
        let shard = open(store.directory.path()).await;
        assert_eq!(send(&shard, "Orders", 0, b"another").await.start, early.start);
        shard.close().await.unwrap();
    });
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.messages, counts.index_entries), (Vec::new(), 2, 3));
}

#[test]
fn runs_that_are_merged_away_meanwhile_are_read_to_the_end() {
    let store = TestStore::new();
    let mut findings = Vec::new();
    let runs = KeyRuns::open(&store.path("index"), ShardId::ZERO, &mut findings)
        .unwrap()
        .unwrap();
    fs::remove_file(store.path("index/00000000000000000000.run")).unwrap();
    let mut entries = 0;
    let checked = runs.check(&mut findings, &mut |_run, _entry| entries += 1).unwrap();
    assert_eq!((entries, checked.is_whole, findings.len()), (162, true, 0));
    // Without it, while the manifest still names it, it is damage.
    let reasons = store.key_findings();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}

#[test]
fn damage_in_the_log_and_what_retention_took_are_not_missed_in_the_runs() {
    let store = TestStore::new();
    store.flip_in_log(store.messages[20].start + 200);
    fs::remove_file(store.path(&format!("commitlog/{SEGMENT_SIZE:020}"))).unwrap();
    let findings = store.verify().1;
    assert!(
        findings.iter().all(|finding| finding.part != Part::KeyIndex),
        "{findings:?}"
    );

    let store = TestStore::new();
    fs::remove_file(store.path(&format!("commitlog/{:020}", 0))).unwrap();
    let (counts, findings) = store.verify();
    assert_eq!((findings, counts.index_entries), (Vec::new(), counts.messages));
}

#[test]
fn beside_a_shard_that_merges_runs_and_deletes_segments_nothing_is_found() {
    const ROUNDS: usize = 150;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(async { open(root).await.close().await.unwrap() });
    let write = || {
        let mut options = StoreOptions::new(root, 1);
        options.segment_size = SEGMENT_SIZE;
        options.crash_buffer_bytes = 0;
        options.retention.reserved = std::time::Duration::ZERO;
        run(async {
            let layout = prepare_store(&options).await.unwrap();
            let shard = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap().0;
            for round in 0..ROUNDS {
                for queue_id in 0..10 {
                    send(&shard, "Orders", queue_id, &[b'x'; 900]).await;
                }
                shard.checkpoint().await.unwrap();
                if round % 16 == 15 {
                    shard.clean_expired().await.unwrap();
                }
            }
            shard.close().await.unwrap();
        });
    };
    let mut compared = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(write);
        while !writer.is_finished() {
            let (counts, findings) = verify(root);
            assert_eq!(findings, [], "{counts:?}");
            compared += counts.index_entries;
        }
    });
    let manifest = manifest(&root.join("shard-00/index"), ShardId::ZERO)
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        compared > 0 && manifest.runs.len() < ROUNDS / 2,
        "{compared}, {manifest:?}"
    );
    let (counts, findings) = verify(root);
    assert!(findings.is_empty() && counts.min > 0, "{findings:?}");
    assert_eq!(counts.index_entries, counts.messages);
}
