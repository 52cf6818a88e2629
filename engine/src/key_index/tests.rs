//! The key index against a model: all that the log holds, looked through.

use super::*;
use proptest::prelude::*;
use std::path::Path;

const RECORD_SIZE: u64 = 100;

#[derive(Clone, Debug)]
struct Record {
    position: u64,
    topic: &'static str,
    keys: Vec<String>,
    store_time_ms: i64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    records: Vec<Record>,
    begin: u64,
    end: u64,
    /// Runs may hold entries beyond a cut, so that the index knows its last entry only roughly.
    was_cut: bool,
}

impl Model {
    fn append(&mut self, keys: Vec<String>) -> Record {
        let number = self.end / RECORD_SIZE;
        let record = Record {
            position: self.end,
            topic: if number.is_multiple_of(3) { "TopicA" } else { "b" },
            keys,
            store_time_ms: 1_700_000_000_000 + i64::try_from(number).unwrap() * 300,
        };
        self.end += RECORD_SIZE;
        self.records.push(record.clone());
        record
    }

    fn find(&self, query: &KeyQuery<'_>) -> Vec<u64> {
        let records = self.records.iter().rev();
        let has_key = |record: &&Record| record.topic == query.topic && record.keys.iter().any(|key| key == query.key);
        let in_time =
            |record: &&Record| (query.store_time_ms.0..=query.store_time_ms.1).contains(&record.store_time_ms);
        let found = records.filter(has_key).filter(in_time).map(|record| record.position);
        found
            .filter(|position| *position < query.below)
            .take(query.max)
            .collect()
    }

    /// As the shard does: drops the candidates that the log does not confirm, and asks again below the last if too few are left.
    async fn verified(&self, index: &KeyIndex, query: KeyQuery<'_>) -> Vec<u64> {
        let at = |position: u64| {
            let found = self
                .records
                .binary_search_by_key(&position, |record| record.position)
                .ok()?;
            self.records.get(found)
        };
        let mut found = Vec::new();
        let mut query = KeyQuery {
            max: query.max,
            ..query
        };
        let wanted = query.max;
        loop {
            let candidates = index.query(query).await;
            assert!(candidates.len() <= query.max && candidates.is_sorted_by(|one, next| one > next));
            found.extend(candidates.iter().filter(|position| {
                at(**position).is_some_and(|record| {
                    record.topic == query.topic
                        && record.keys.iter().any(|key| key == query.key)
                        && (query.store_time_ms.0..=query.store_time_ms.1).contains(&record.store_time_ms)
                })
            }));
            match candidates.last() {
                Some(&last) if found.len() < wanted => query.below = last,
                _ => break,
            }
        }
        found.truncate(wanted);
        found
    }
}

fn on_a_loop<T>(work: impl Future<Output = T>) -> T {
    runtime::core::run_here(&runtime::probe::probe(), work).unwrap()
}

fn options(directory: &Path) -> KeyIndexOptions {
    KeyIndexOptions {
        directory: directory.join("index"),
        shard: 5,
        table_entries: 300,
        cache_bytes: 10 * 4096,
        merge_bytes_per_second: 1 << 40,
    }
}

fn add(index: &KeyIndex, record: &Record) {
    for key in &record.keys {
        index.add(record.topic, key, record.position, record.store_time_ms);
    }
}

async fn start(directory: &Path, model: &Model) -> (KeyIndex, Vec<String>) {
    let opened = KeyIndex::open(options(directory)).await.unwrap();
    let mut rebuilt_from = opened.rebuilt_from;
    if opened.end_position > model.end {
        rebuilt_from = opened.index.truncate(model.end).await.unwrap();
    }
    assert!(rebuilt_from <= model.end);
    for record in model.records.iter().filter(|record| record.position >= rebuilt_from) {
        add(&opened.index, record);
    }
    opened.index.drop_below(model.begin).await.unwrap();
    (opened.index, opened.reports)
}

fn feed_missing(index: &KeyIndex, model: &Model) -> usize {
    let missing = index.missing();
    for range in &missing {
        model
            .records
            .iter()
            .filter(|record| range.contains(&record.position))
            .for_each(|record| add(index, record));
        index.refed(range);
    }
    assert!(index.missing().is_empty());
    missing.len()
}

async fn check(index: &KeyIndex, model: &Model, seed: u64) {
    let from = 1_700_000_000_000;
    for n in 0..8 {
        let number = (seed.wrapping_mul(31) + n * 7) % (model.end / RECORD_SIZE + 1);
        let key =
            [format!("unique-{number}"), format!("shared-{}", number % 5)][usize::try_from(n % 2).unwrap()].clone();
        for topic in ["TopicA", "b"] {
            let time = from + i64::try_from(number).unwrap() * 150;
            for store_time_ms in [(0, i64::MAX), (time, time + 40_000)] {
                let below = if n % 3 == 0 { model.end / 2 } else { u64::MAX };
                let query = KeyQuery {
                    topic,
                    key: &key,
                    store_time_ms,
                    below,
                    max: 12,
                };
                assert_eq!(model.verified(index, query).await, model.find(&query), "{query:?}");
            }
        }
    }
    if let Some(last) = model.records.last() {
        let (time, position) = index.last().unwrap();
        if !model.was_cut {
            assert_eq!((time, position), (last.store_time_ms / 1000 * 1000, last.position));
        }
        assert!(position < model.end, "an entry beyond the log's end");
    }
}

/// What tools see: below `rebuilt_from`, and where nothing is missing, the runs hold the entries of the records and no others.
fn check_files(directory: &Path, model: &Model) {
    use super::inspect::{KEY_PAGE_SIZE, key_manifest, key_page_entries, key_page_is_sound, key_run_pages};
    let directory = options(directory).directory;
    let manifest = key_manifest(&std::fs::read(directory.join(MANIFEST_NAME)).unwrap(), 5).unwrap();
    let covered = model.begin..manifest.rebuilt_from.min(model.end);
    let is_covered = |entry: &KeyEntry| {
        let is_missing = manifest.missing.iter().any(|range| range.contains(&entry.position));
        covered.contains(&entry.position) && !is_missing
    };
    let mut found = BTreeSet::new();
    for &sequence in &manifest.runs {
        let bytes = std::fs::read(run::path(&directory, sequence)).unwrap();
        let (head, pages) = (&bytes[..KEY_PAGE_SIZE], bytes.chunks_exact(KEY_PAGE_SIZE));
        assert_eq!(key_run_pages(head, 5, sequence).map(index), Some(pages.len()));
        for (number, page) in (0..).zip(pages) {
            assert!(key_page_is_sound(sequence, number, page));
            found.extend(key_page_entries(head, number, page).filter(is_covered));
        }
    }
    let all = model.records.iter().flat_map(|record| {
        let keys = record.keys.iter();
        keys.map(|key| entry(record.topic, key, record.position, record.store_time_ms))
    });
    assert!(found == all.filter(is_covered).collect(), "{manifest:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Append { count: usize },
    Write,
    Checkpoint { lag: u64 },
    Merge,
    Drop { share: u64 },
    Restart,
    CutAndRestart { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..600_usize).prop_map(|count| Step::Append { count }),
        2 => Just(Step::Write),
        3 => prop_oneof![Just(0_u64), 0..20_000_u64].prop_map(|lag| Step::Checkpoint { lag }),
        3 => Just(Step::Merge),
        1 => (1..100_u64).prop_map(|share| Step::Drop { share }),
        1 => Just(Step::Restart),
        1 => (0..30_000_u64).prop_map(|by| Step::CutAndRestart { by }),
    ]
}

async fn run_step(index: KeyIndex, model: &mut Model, directory: &Path, step: &Step) -> KeyIndex {
    match step {
        Step::Append { count } => {
            for _ in 0..*count {
                let number = model.end / RECORD_SIZE;
                add(
                    &index,
                    &model.append(vec![format!("unique-{number}"), format!("shared-{}", number % 5)]),
                );
            }
        }
        Step::Write => {
            index.write_runs().await.unwrap();
            assert!(!index.wants_write());
        }
        Step::Checkpoint { lag } => {
            let target = model.end.saturating_sub(*lag);
            let rebuilt_from = index.checkpoint(target, model.end).await.unwrap();
            assert!(
                (target..=model.end).contains(&rebuilt_from),
                "{rebuilt_from} for {target}"
            );
        }
        Step::Merge => while index.merge().await.unwrap() {},
        Step::Drop { share } => {
            model.begin += (model.end - model.begin) * share / 100 / 100 * 100;
            let begin = model.begin;
            model.records.retain(|record| record.position >= begin);
            index.drop_below(model.begin).await.unwrap();
        }
        Step::Restart => {
            drop(index);
            let (index, reports) = start(directory, model).await;
            assert!(reports.is_empty(), "{reports:?}");
            return index;
        }
        Step::CutAndRestart { by } => {
            drop(index);
            model.end = (model.end.saturating_sub(*by) / 100 * 100).max(model.begin);
            let end = model.end;
            model.was_cut = true;
            model.records.retain(|record| record.position < end);
            let (index, reports) = start(directory, model).await;
            assert!(reports.is_empty(), "{reports:?}");
            return index;
        }
    }
    index
}

async fn run_steps(steps: &[Step], directory: &Path) -> (KeyIndex, Model) {
    let mut model = Model::default();
    let (mut index, _) = start(directory, &model).await;
    for (seed, step) in (0..).zip(steps) {
        index = run_step(index, &mut model, directory, step).await;
        check(&index, &model, seed).await;
        check_files(directory, &model);
        assert!(index.missing().is_empty(), "after {step:?}");
    }
    (index, model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_query_finds_what_the_log_holds_whatever_happens(steps in prop::collection::vec(step(), 1..25)) {
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(async { drop(run_steps(&steps, directory.path()).await) });
    }

    #[test]
    fn damage_anywhere_is_noticed_and_made_good(
        steps in prop::collection::vec(step(), 1..20),
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        kind in 0..3_u8,
    ) {
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(async {
            let (index, model) = run_steps(&steps, directory.path()).await;
            drop(index);
            damage(directory.path(), file.index(1 << 20), at.index(1 << 30), kind).await;
            let (index, _) = start(directory.path(), &model).await;
            feed_missing(&index, &model);
            // Damage inside of a run is noticed by who comes across it; then the range is missing, and fed again. A page may hold
            // entries of one topic alone.
            let unique = (0..model.end / RECORD_SIZE).map(|number| (format!("unique-{number}"), 1));
            let shared = (0..5).map(|number| (format!("shared-{number}"), 1 << 20));
            for (key, max) in unique.chain(shared) {
                for topic in ["TopicA", "b"] {
                    let query = KeyQuery { topic, key: &key, store_time_ms: (0, i64::MAX), below: u64::MAX, max };
                    index.query(query).await;
                }
            }
            feed_missing(&index, &model);
            check(&index, &model, 1).await;
            index.checkpoint(model.end, model.end).await.unwrap();
            drop(index);
            let (index, reports) = start(directory.path(), &model).await;
            assert!(reports.is_empty() && index.missing().is_empty());
            check(&index, &model, 2).await;
        });
    }
}

async fn damage(directory: &Path, file: usize, at: usize, kind: u8) {
    let paths = file::list(&options(directory).directory).await.unwrap();
    let path = &paths[file % paths.len()];
    let mut bytes = file::read(path).await.unwrap();
    match kind {
        0 => bytes.clear(),
        1 => bytes.truncate(at % bytes.len()),
        _ => {
            let bit = at % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    file::replace(path, bytes).await.unwrap();
}

#[test]
fn a_damaged_run_that_is_not_fed_again_before_a_restart_is_still_missing_after_it() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let steps = [Step::Append { count: 1000 }, Step::Write, Step::Checkpoint { lag: 0 }];
        let (index, model) = run_steps(&steps, directory.path()).await;
        drop(index);
        damage(directory.path(), 0, 4096, 1).await;
        for _ in 0..3 {
            let (index, _) = start(directory.path(), &model).await;
            assert_eq!(index.missing(), vec![Range { start: 0, end: 14_901 }]);
            index.checkpoint(model.end, model.end).await.unwrap();
        }
        let (index, reports) = start(directory.path(), &model).await;
        assert!(reports.is_empty(), "reported once, by the start that found it");
        assert_eq!(feed_missing(&index, &model), 1);
        drop(index);
        let (index, _) = start(directory.path(), &model).await;
        assert_eq!(index.missing().len(), 1, "what was fed again was not durable yet");
        feed_missing(&index, &model);
        index.checkpoint(model.end, model.end).await.unwrap();
        drop(index);
        let (index, _) = start(directory.path(), &model).await;
        assert!(index.missing().is_empty());
        check(&index, &model, 3).await;
    });
}

#[test]
fn merging_keeps_the_number_of_runs_small() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let mut model = Model::default();
        let (mut index, _) = start(directory.path(), &model).await;
        for round in 0..100_u64 {
            let count = usize::try_from(1 + round * 37 % 400).unwrap();
            index = run_step(index, &mut model, directory.path(), &Step::Append { count }).await;
            index.checkpoint(model.end, model.end).await.unwrap();
            while index.merge().await.unwrap() {}
            assert!(index.stats().runs <= 3 * 9, "{:?}", index.stats());
        }
        check(&index, &model, 1).await;
        let files = file::list(&options(directory.path()).directory).await.unwrap();
        assert_eq!(files.len(), index.stats().runs + 1, "files that no manifest names");
    });
}

#[test]
fn merging_keeps_to_its_budget() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let options = KeyIndexOptions {
            merge_bytes_per_second: 2_000_000,
            ..options(directory.path())
        };
        let index = KeyIndex::open(options).await.unwrap().index;
        for n in 0..40_000_u64 {
            index.add("T", &n.to_string(), n, 0);
            if n % 10_000 == 9_999 {
                index.checkpoint(n + 1, n + 1).await.unwrap();
            }
        }
        while index.stats().runs > 3 {
            let before: u64 = index.stats().disk_bytes;
            let began = runtime::Instant::now();
            if !index.merge().await.unwrap() {
                break;
            }
            let written = before.min(300 * 20 * 4);
            assert!(began.elapsed().as_secs_f64() > written as f64 / 2_000_000.0 / 2.0);
        }
    });
}

#[test]
fn a_filter_lets_few_hashes_through_that_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let index = KeyIndex::open(KeyIndexOptions {
            table_entries: 1 << 20,
            ..options(directory.path())
        })
        .await
        .unwrap()
        .index;
        (0..20_000_u64).for_each(|n| index.add("T", &n.to_string(), n, 0));
        index.checkpoint(20_000, 20_000).await.unwrap();
        let run = Rc::clone(&index.state.borrow().runs[0]);
        let mut passed = 0;
        for n in 20_000..40_000_u64 {
            let may_hold = run.may_hold(hash("T", &n.to_string()), &index.cache).await.unwrap();
            passed += usize::from(may_hold);
        }
        assert!(
            passed < 500,
            "{passed} of 20000 passed; a filter of 10 bits a key lets about 1 in 70 through"
        );
    });
}

#[test]
#[ignore = "prints figures; run with --release -- --ignored --nocapture"]
fn figures() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let options = KeyIndexOptions {
            table_entries: 1 << 19,
            cache_bytes: 16 << 20,
            ..options(directory.path())
        };
        let index = KeyIndex::open(options).await.unwrap().index;
        let count = 4_000_000_u64;
        let keys: Vec<String> = (0..1000).map(|n| format!("7F0000010B5C18B4AAC2{n:012X}")).collect();
        let began = runtime::Instant::now();
        for n in 0..count {
            index.add("TopicA", &keys[usize::try_from(n % 1000).unwrap()], n * 1000, 0);
        }
        println!("add: {:.0} ns each", began.elapsed().as_secs_f64() * 1e9 / count as f64);
        let began = runtime::Instant::now();
        index.checkpoint(u64::MAX, count * 1000).await.unwrap();
        println!("write {} runs: {:?}", index.stats().runs, began.elapsed());
        let began = runtime::Instant::now();
        while index.merge().await.unwrap() {}
        println!("merge to {:?}: {:?}", index.stats(), began.elapsed());
        for n in count..count + 2_000_000 {
            index.add("TopicA", &format!("other-{n}"), n * 1000, 0);
        }
        index.checkpoint(u64::MAX, (count + 2_000_000) * 1000).await.unwrap();
        let began = runtime::Instant::now();
        for n in 0..2000_u64 {
            let key = format!("other-{}", count + n * 997);
            let query = KeyQuery {
                topic: "TopicA",
                key: &key,
                store_time_ms: (0, i64::MAX),
                below: u64::MAX,
                max: 32,
            };
            assert_eq!(index.query(query).await, [(count + n * 997) * 1000]);
        }
        println!(
            "query of a unique key in {} runs: {:?}",
            index.stats().runs,
            began.elapsed() / 2000
        );
    });
}
