//! The consume queues against a model: a list of what a log holds.

use super::*;
use proptest::prelude::*;
use runtime::file;
use std::collections::BTreeMap;
use std::path::Path;

type Name = (usize, u32);
const TOPICS: [&str; 3] = ["TopicA", "%RETRY%a_consumer_group_with_a_longer_name", "b"];
const RECORD_SIZE: u32 = 100;

#[derive(Clone, Debug)]
enum Record {
    Message {
        name: Name,
        queue_offset: i64,
        entry: Entry,
    },
    Deletion {
        topic: usize,
        position: u64,
    },
}

impl Record {
    fn position(&self) -> u64 {
        match self {
            Record::Message { entry, .. } => entry.position,
            Record::Deletion { position, .. } => *position,
        }
    }
}

/// The log, and what the queues must hold.
#[derive(Clone, Debug, Default)]
struct Model {
    records: Vec<Record>,
    begin: u64,
    end: u64,
    /// A cut took a deletion back, and no checkpoint has written all of the queues since. The queues that came back are known by their
    /// records alone until then, so those without records may be as before the deletion or after it when the log is cut.
    undone: bool,
    /// Per queue: its entries, and the next offset.
    queues: BTreeMap<Name, (BTreeMap<i64, Entry>, i64)>,
}

impl Model {
    fn message(&mut self, name: Name, seed: i64) -> Record {
        let (entries, next) = self.queues.entry(name).or_default();
        let entry = Entry {
            position: self.end,
            record_size: RECORD_SIZE,
            tag_hash: seed,
        };
        let record = Record::Message {
            name,
            queue_offset: *next,
            entry,
        };
        entries.insert(*next, entry);
        *next += 1;
        self.push(record)
    }

    fn deletion(&mut self, topic: usize) -> Record {
        self.queues.retain(|name, _| name.0 != topic);
        self.push(Record::Deletion {
            topic,
            position: self.end,
        })
    }

    fn push(&mut self, record: Record) -> Record {
        self.end += u64::from(RECORD_SIZE);
        self.records.push(record.clone());
        record
    }

    fn drop_below(&mut self, begin: u64) {
        self.begin = self.begin.max(begin);
        self.records.retain(|record| record.position() >= self.begin);
        for (entries, _) in self.queues.values_mut() {
            entries.retain(|_, entry| entry.position >= self.begin);
        }
    }

    /// After a cut: takes the next offsets of queues without records from the queues, when it cannot know them.
    fn take_next_offsets(&mut self, queues: &ConsumeQueues) {
        if !self.undone {
            return;
        }
        self.queues.retain(|_, (entries, _)| !entries.is_empty());
        queues.for_each(|_, topic, queue_id, bounds| {
            let topic = TOPICS.iter().position(|name| *name == &**topic).unwrap();
            self.queues
                .entry((topic, queue_id))
                .or_insert((BTreeMap::new(), bounds.end));
        });
    }

    /// The log is cut: what it held before is what it holds now. Deletions that are cut did not happen.
    fn cut(&self, end: u64) -> Model {
        let mut cut = Model {
            begin: self.begin,
            end,
            ..Model::default()
        };
        cut.records.clone_from(&self.records);
        cut.records.retain(|record| record.position() < end);
        let mut gone = self.records.iter().filter(|record| record.position() >= end);
        cut.undone = self.undone || gone.any(|record| matches!(record, Record::Deletion { .. }));
        for (name, (_, next)) in &self.queues {
            cut.queues.insert(*name, (BTreeMap::new(), *next));
        }
        for record in &self.records {
            if let Record::Message { name, queue_offset, .. } = record {
                let next = &mut cut.queues.entry(*name).or_insert((BTreeMap::new(), i64::MAX)).1;
                *next = (*next).min(*queue_offset);
            }
        }
        for record in &cut.records.clone() {
            match record {
                Record::Message {
                    name,
                    queue_offset,
                    entry,
                } => {
                    let queue = cut.queues.entry(*name).or_default();
                    queue.0.insert(*queue_offset, *entry);
                    queue.1 = queue_offset + 1;
                }
                Record::Deletion { topic, .. } => cut.queues.retain(|name, _| name.0 != *topic),
            }
        }
        cut
    }
}

fn on_a_loop<T>(work: impl Future<Output = T>) -> T {
    runtime::core::run_here(&runtime::probe::probe(), work).unwrap()
}

fn options(directory: &Path) -> ConsumeQueueOptions {
    ConsumeQueueOptions {
        directory: directory.join("consumequeue"),
        shard: 5,
        file_pages: 4,
        cache_bytes: 6 * 4096,
    }
}

fn add(queues: &ConsumeQueues, record: &Record) {
    match record {
        Record::Message {
            name,
            queue_offset,
            entry,
        } => {
            let slot = queues.queue(TOPICS[name.0], name.1).unwrap();
            queues.append(slot, *queue_offset, *entry).unwrap();
        }
        Record::Deletion { topic, position } => queues.delete_topic(TOPICS[*topic], *position),
    }
}

/// Starts on what is on disk, as a shard does after any end of the process before.
async fn start(directory: &Path, model: &Model) -> (ConsumeQueues, Vec<String>) {
    let opened = ConsumeQueues::open(options(directory), model.begin).await.unwrap();
    let mut rebuilt_from = opened.rebuilt_from;
    if opened.end_position > model.end {
        rebuilt_from = opened.queues.truncate(model.end).await.unwrap();
    }
    assert!(rebuilt_from <= model.end, "records would be missing");
    for record in model.records.iter().filter(|record| record.position() >= rebuilt_from) {
        match record {
            Record::Message {
                name,
                queue_offset,
                entry,
            } => {
                let fed = opened
                    .queues
                    .feed(TOPICS[name.0], name.1, *queue_offset, *entry)
                    .await
                    .unwrap();
                assert!(
                    matches!(fed, Fed::Added | Fed::AlreadyThere | Fed::NotWanted),
                    "{fed:?} for {record:?}"
                );
            }
            Record::Deletion { topic, position } => opened.queues.delete_topic(TOPICS[*topic], *position),
        }
    }
    (opened.queues, opened.reports)
}

/// All entries of a queue; holes are filled from the log as the shard does.
async fn read_all(queues: &ConsumeQueues, slot: QueueSlot, model: &Model, holes: &mut usize) -> Vec<(i64, Entry)> {
    let mut all = Vec::new();
    let bounds = queues.bounds(slot);
    let mut next = bounds.start;
    while next < bounds.end {
        let mut out = Vec::new();
        match queues.entries(slot, next, 32, &mut out).await {
            Ok(count) => {
                assert!(count > 0 && count <= 32 && count == out.len());
                all.extend((next..).zip(out));
                next += i64::try_from(count).unwrap();
            }
            Err(IndexError::Hole(hole)) => {
                *holes += 1;
                assert!(*holes < 1000, "{hole} comes again");
                let found: Vec<(i64, Entry)> = model
                    .records
                    .iter()
                    .filter_map(|record| match record {
                        Record::Message {
                            name,
                            queue_offset,
                            entry,
                        } if TOPICS[name.0] == hole.topic
                            && name.1 == hole.queue_id
                            && hole.positions.contains(&entry.position) =>
                        {
                            Some((*queue_offset, *entry))
                        }
                        _ => None,
                    })
                    .collect();
                queues.fill(&hole, &found).await.unwrap();
                next = next.max(queues.bounds(slot).start);
            }
            Err(error) => panic!("{error}"),
        }
    }
    all
}

async fn check(queues: &ConsumeQueues, model: &Model, also_empty: bool) -> usize {
    let mut holes = 0;
    let mut seen = 0;
    for (name, (entries, next)) in &model.queues {
        if entries.is_empty() && (*next == 0 || !also_empty) {
            let slot = queues.find(TOPICS[name.0], name.1);
            seen += usize::from(slot.is_some_and(|slot| queues.bounds(slot).end > 0));
            continue;
        }
        let slot = queues
            .find(TOPICS[name.0], name.1)
            .unwrap_or_else(|| panic!("queue {name:?} is gone"));
        seen += 1;
        let min = entries.first_key_value().map_or(*next, |(first, _)| *first);
        // Where a page was damaged, the min offset is known once the hole is filled.
        let read = read_all(queues, slot, model, &mut holes).await;
        assert_eq!(queues.bounds(slot), min..*next, "bounds of {name:?}");
        let expected: Vec<(i64, Entry)> = entries
            .iter()
            .map(|(queue_offset, entry)| (*queue_offset, *entry))
            .collect();
        assert_eq!(read, expected, "entries of {name:?}");
        assert_eq!(queues.entries(slot, *next, 1, &mut Vec::new()).await.unwrap(), 0);
        assert_eq!(queues.entries(slot, min - 1, 1, &mut Vec::new()).await.unwrap(), 0);
    }
    let (mut there, mut with_entries) = (0, 0);
    queues.for_each(|_, _, _, bounds| {
        there += 1;
        with_entries += usize::from(bounds.end > 0);
    });
    assert_eq!(with_entries, seen, "queues that should not be there");
    assert_eq!(there, queues.stats().queues);
    holes
}

#[derive(Clone, Debug)]
enum Step {
    Append { name: Name, count: usize },
    Spread { count: usize },
    Write,
    Checkpoint { lag: u64 },
    Drop { share: u64 },
    Delete { topic: usize },
    Restart,
    CutAndRestart { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..4_u32, 1..700_usize)
            .prop_map(|(topic, queue, count)| Step::Append { name: (topic, queue), count }),
        4 => (1..200_usize).prop_map(|count| Step::Spread { count }),
        1 => Just(Step::Write),
        4 => prop_oneof![Just(0_u64), 0..20_000_u64].prop_map(|lag| Step::Checkpoint { lag }),
        2 => (1..100_u64).prop_map(|share| Step::Drop { share }),
        1 => (0..3_usize).prop_map(|topic| Step::Delete { topic }),
        2 => Just(Step::Restart),
        1 => (0..30_000_u64).prop_map(|by| Step::CutAndRestart { by }),
    ]
}

async fn run_step(queues: ConsumeQueues, model: &mut Model, directory: &Path, step: &Step) -> ConsumeQueues {
    match step {
        Step::Append { name, count } => (0..*count).for_each(|_| add(&queues, &model.message(*name, 7))),
        Step::Spread { count } => {
            for n in 0..*count {
                let queue = u32::try_from(n * 7 % 40).unwrap();
                add(&queues, &model.message((n % 3, queue), i64::from(queue)));
            }
        }
        Step::Write => queues.write_pages().await.unwrap(),
        Step::Checkpoint { lag } => {
            let target = model.end.saturating_sub(*lag);
            let rebuilt_from = queues.checkpoint(target, model.end).await.unwrap();
            assert!(
                (target..=model.end).contains(&rebuilt_from),
                "{rebuilt_from} for {target}"
            );
            model.undone &= *lag > 0;
        }
        Step::Drop { share } => {
            let begin = model.begin + (model.end - model.begin) * share / 100 / 100 * 100;
            queues.checkpoint(begin, model.end).await.unwrap();
            model.drop_below(begin);
            queues.drop_below(model.begin).await.unwrap();
        }
        Step::Delete { topic } => add(&queues, &model.deletion(*topic)),
        Step::Restart => {
            drop(queues);
            let (queues, reports) = start(directory, model).await;
            assert!(reports.is_empty(), "{reports:?}");
            return queues;
        }
        Step::CutAndRestart { by } => {
            drop(queues);
            let end = (model.end.saturating_sub(*by) / 100 * 100).max(model.begin);
            *model = model.cut(end);
            let (queues, reports) = start(directory, model).await;
            assert!(reports.is_empty(), "{reports:?}");
            model.take_next_offsets(&queues);
            return queues;
        }
    }
    queues
}

async fn run_steps(steps: &[Step], directory: &Path) -> Model {
    let mut model = Model::default();
    let (mut queues, _) = start(directory, &model).await;
    for step in steps {
        queues = run_step(queues, &mut model, directory, step).await;
        assert_eq!(check(&queues, &model, true).await, 0, "holes after {step:?}");
    }
    model
}

async fn flip_a_bit(directory: &Path, file: usize, bit: usize) {
    let paths = file::list(&options(directory).directory).await.unwrap();
    let path = &paths[file % paths.len()];
    let mut bytes = file::read(path).await.unwrap();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    file::replace(path, bytes).await.unwrap();
}

async fn cut_a_file(directory: &Path, file: usize, length: usize) {
    let paths = file::list(&options(directory).directory).await.unwrap();
    let path = &paths[file % paths.len()];
    let mut bytes = file::read(path).await.unwrap();
    bytes.truncate(length % (bytes.len() + 1));
    if bytes.is_empty() {
        file::remove(path).await.unwrap()
    } else {
        file::replace(path, bytes).await.unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queues_hold_what_the_log_holds_whatever_happens(steps in prop::collection::vec(step(), 1..25)) {
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(run_steps(&steps, directory.path()));
    }

    #[test]
    fn a_flipped_bit_anywhere_costs_nothing(
        steps in prop::collection::vec(step(), 1..20),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(async {
            let mut model = run_steps(&steps, directory.path()).await;
            for (flip, (file, bit)) in flips.into_iter().enumerate() {
                // The next offset of a queue without records is kept twice. Damage that nobody has read yet may pile up.
                let only_one = flip == 0;
                flip_a_bit(directory.path(), file.index(1 << 20), bit.index(1 << 30)).await;
                let (queues, _) = start(directory.path(), &model).await;
                check(&queues, &model, only_one).await;
                add(&queues, &model.message((0, 0), 1));
                queues.checkpoint(model.end, model.end).await.unwrap();
                check(&queues, &model, only_one).await;
                drop(queues);
                // Mended for good: holes were filled, the rest was made again.
                let (queues, _) = start(directory.path(), &model).await;
                check(&queues, &model, only_one).await;
            }
        });
    }

    #[test]
    fn a_file_cut_anywhere_or_gone_costs_no_entry_that_the_log_has(
        steps in prop::collection::vec(step(), 1..20),
        file in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(async {
            let model = run_steps(&steps, directory.path()).await;
            cut_a_file(directory.path(), file.index(1 << 20), length.index(1 << 16)).await;
            let (queues, _) = start(directory.path(), &model).await;
            check(&queues, &model, false).await;
        });
    }
}

fn entry(position: u64) -> Entry {
    Entry {
        position,
        record_size: RECORD_SIZE,
        tag_hash: 0,
    }
}

#[test]
fn an_entry_that_is_not_the_next_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let (queues, _) = start(directory.path(), &Model::default()).await;
        let slot = queues.queue("T", 0).unwrap();
        queues.append(slot, 0, entry(0)).unwrap();
        for wrong in [0, 2, -1, i64::MAX] {
            let refused = queues.append(slot, wrong, entry(100));
            assert!(matches!(refused, Err(IndexError::NotNext { expected: 1, found, .. }) if found == wrong));
        }
        assert_eq!(queues.bounds(slot), 0..1);
    });
}

#[test]
fn feeding_tells_gaps_and_entries_that_differ() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let (queues, _) = start(directory.path(), &Model::default()).await;
        assert_eq!(queues.feed("T", 0, 5, entry(500)).await.unwrap(), Fed::Added);
        assert_eq!(queues.feed("T", 0, 5, entry(500)).await.unwrap(), Fed::AlreadyThere);
        assert_eq!(queues.feed("T", 0, 4, entry(400)).await.unwrap(), Fed::NotWanted);
        assert_eq!(
            queues.feed("T", 0, 9, entry(900)).await.unwrap(),
            Fed::AddedAfterGap { missing: 6..9 }
        );
        assert_eq!(
            queues.feed("T", 0, 5, entry(505)).await.unwrap(),
            Fed::Replaced { old: entry(500) }
        );
        let slot = queues.find("T", 0).unwrap();
        assert_eq!(queues.bounds(slot), 5..10);
        let mut out = Vec::new();
        assert_eq!(queues.entries(slot, 5, 9, &mut out).await.unwrap(), 1);
        assert_eq!(out, [entry(505)]);
        let Err(IndexError::Hole(hole)) = queues.entries(slot, 7, 9, &mut out).await else {
            panic!()
        };
        assert_eq!((hole.queue_offsets.clone(), hole.positions.clone()), (6..9, 605..900));
        queues
            .fill(&hole, &[(6, entry(605)), (8, entry(800)), (9, entry(1))])
            .await
            .unwrap();
        out.clear();
        assert_eq!(queues.entries(slot, 8, 9, &mut out).await.unwrap(), 2);
        assert_eq!(out, [entry(800), entry(900)]);
        assert!(matches!(
            queues.entries(slot, 7, 9, &mut out).await,
            Err(IndexError::Hole(_))
        ));
    });
}

#[test]
fn a_deleted_topic_begins_at_zero_and_stays_deleted_after_a_start_from_before() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let mut model = Model::default();
        let (queues, _) = start(directory.path(), &model).await;
        (0..500).for_each(|_| add(&queues, &model.message((0, 0), 1)));
        let slot = queues.find(TOPICS[0], 0).unwrap();
        add(&queues, &model.deletion(0));
        assert_eq!(queues.find(TOPICS[0], 0), None);
        (0..300).for_each(|_| add(&queues, &model.message((0, 0), 2)));
        assert_eq!(
            queues.find(TOPICS[0], 0),
            Some(slot),
            "a queue made again has its old slot"
        );
        queues.checkpoint(model.end, model.end).await.unwrap();
        drop(queues);
        let opened = ConsumeQueues::open(options(directory.path()), 0).await.unwrap();
        let fed = opened.queues.feed(TOPICS[0], 0, 499, entry(49_900)).await.unwrap();
        assert_eq!(fed, Fed::NotWanted);
        check(&opened.queues, &model, true).await;
    });
}

#[test]
fn a_queue_whose_first_pages_are_gone_begins_where_the_log_has_it() {
    let steps = [
        Step::Spread { count: 30 },
        Step::Append {
            name: (1, 0),
            count: 640,
        },
        Step::Spread { count: 133 },
        Step::Spread { count: 123 },
        Step::Checkpoint { lag: 0 },
        Step::Append {
            name: (2, 0),
            count: 416,
        },
        Step::Drop { share: 53 },
    ];
    for cut in 0..96 {
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(async {
            let model = run_steps(&steps, directory.path()).await;
            cut_a_file(directory.path(), cut % 8, cut / 8 * 337).await;
            let (queues, _) = start(directory.path(), &model).await;
            check(&queues, &model, true).await;
        });
    }
}

#[test]
fn what_a_cut_brings_back_goes_with_the_next_cut_if_no_checkpoint_comes_between() {
    let brought_back = [
        Step::Append {
            name: (0, 0),
            count: 45,
        },
        Step::Drop { share: 3 },
        Step::Delete { topic: 0 },
        Step::Checkpoint { lag: 0 },
        Step::CutAndRestart { by: 1 },
    ];
    let cut_away = Step::CutAndRestart { by: 4301 };
    for (between, end) in [(None, None), (Some(Step::Checkpoint { lag: 0 }), Some(1..1))] {
        let steps: Vec<Step> = brought_back
            .iter()
            .cloned()
            .chain(between)
            .chain([cut_away.clone()])
            .collect();
        let directory = tempfile::tempdir().unwrap();
        on_a_loop(async {
            let model = run_steps(&steps, directory.path()).await;
            let (queues, _) = start(directory.path(), &model).await;
            let bounds = queues.find(TOPICS[0], 0).map(|slot| queues.bounds(slot));
            assert_eq!(bounds, end, "after {steps:?}");
        });
    }
}

#[test]
fn a_deletion_whose_page_turns_to_zeros_is_no_deletion_undone() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let mut model = Model::default();
        let (queues, _) = start(directory.path(), &model).await;
        for _ in 0..20 {
            add(&queues, &model.message((0, 1), 7));
        }
        queues.checkpoint(model.end, model.end).await.unwrap();
        add(&queues, &model.deletion(0));
        queues.checkpoint(model.end, model.end).await.unwrap();
        drop(queues);
        // The deletion is all that the second page says.
        let path = options(directory.path()).directory.join(format!("{:020}", 0));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..8192].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let (queues, reports) = start(directory.path(), &model).await;
        assert_eq!(reports.len(), 1, "{reports:?}");
        check(&queues, &model, true).await;
    });
}

#[test]
fn an_append_while_a_checkpoint_waits_for_the_disk_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let mut model = Model::default();
        let (queues, _) = start(directory.path(), &model).await;
        for round in 0..20 {
            let indexed_to = model.end;
            let appending = async {
                for _ in 0..150 {
                    for queue in 0..3 {
                        add(&queues, &model.message((0, queue), round));
                    }
                    runtime::yield_now().await;
                }
            };
            let both = async {
                let mut checkpoint = std::pin::pin!(queues.checkpoint(indexed_to, indexed_to));
                let mut appending = std::pin::pin!(appending);
                match runtime::sync::race(&mut checkpoint, &mut appending).await {
                    runtime::sync::Either::First(done) => {
                        appending.await;
                        done
                    }
                    runtime::sync::Either::Second(()) => checkpoint.await,
                }
            };
            assert_eq!(both.await.unwrap(), indexed_to);
        }
        drop(queues);
        let (queues, reports) = start(directory.path(), &model).await;
        assert!(reports.is_empty());
        assert_eq!(check(&queues, &model, true).await, 0);
    });
}

#[test]
fn a_checkpoint_that_is_dropped_halfway_takes_nothing_with_it() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let mut model = Model::default();
        let (queues, _) = start(directory.path(), &model).await;
        for polls in 1..40 {
            (0..90).for_each(|_| add(&queues, &model.message((0, 0), polls)));
            {
                let mut checkpoint = std::pin::pin!(queues.checkpoint(model.end, model.end));
                for _ in 0..polls {
                    let ready = runtime::sync::race(&mut checkpoint, runtime::yield_now()).await;
                    if matches!(ready, runtime::sync::Either::First(_)) {
                        break;
                    }
                }
            }
            if polls % 7 == 0 {
                assert_eq!(queues.checkpoint(model.end, model.end).await.unwrap(), model.end);
            }
        }
        drop(queues);
        let (queues, reports) = start(directory.path(), &model).await;
        assert!(reports.is_empty());
        assert_eq!(check(&queues, &model, true).await, 0);
    });
}

#[test]
fn files_go_with_the_log_and_max_offsets_stay() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let mut model = Model::default();
        let (mut queues, _) = start(directory.path(), &model).await;
        add(&queues, &model.message((2, 9), 1));
        for _ in 0..12 {
            (0..3000).for_each(|n| add(&queues, &model.message((0, n % 3), 1)));
            queues.checkpoint(model.end, model.end).await.unwrap();
            model.drop_below(model.end - 100_000);
            queues.drop_below(model.begin).await.unwrap();
            assert!(queues.stats().files <= 8, "{:?}", queues.stats());
            check(&queues, &model, true).await;
            queues = start(directory.path(), &model).await.0;
            check(&queues, &model, true).await;
        }
        let slot = queues.find(TOPICS[2], 9).unwrap();
        assert_eq!(queues.bounds(slot), 1..1);
    });
}

#[test]
#[ignore = "prints figures; run with --release -- --ignored --nocapture"]
fn figures() {
    let directory = tempfile::tempdir().unwrap();
    on_a_loop(async {
        let options = ConsumeQueueOptions {
            file_pages: 4096,
            cache_bytes: 64 << 20,
            ..options(directory.path())
        };
        let queues = ConsumeQueues::open(options.clone(), 0).await.unwrap().queues;
        let slots: Vec<QueueSlot> = (0..8).map(|queue| queues.queue("TopicA", queue).unwrap()).collect();
        let began = runtime::Instant::now();
        let count = 4_000_000_u32;
        for n in 0..count {
            let slot = slots[(n % 8) as usize];
            queues
                .append(slot, i64::from(n / 8), entry(u64::from(n) * 1000))
                .unwrap();
            if n % 100_000 == 0 {
                queues.write_pages().await.unwrap();
            }
        }
        println!(
            "append: {:.0} ns each",
            began.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        );
        let began = runtime::Instant::now();
        queues.checkpoint(u64::MAX, u64::from(count) * 1000).await.unwrap();
        println!("checkpoint: {:?}", began.elapsed());
        let mut out = Vec::with_capacity(32);
        let began = runtime::Instant::now();
        for n in 0..100_000_i64 {
            out.clear();
            queues.entries_hot(slots[0], 490_000 + n % 9_000, 32, &mut out);
            assert_eq!(out.len(), 32);
        }
        println!("32 entries from memory: {:.0} ns", began.elapsed().as_secs_f64() * 1e4);
        drop(queues);
        let began = runtime::Instant::now();
        let opened = ConsumeQueues::open(options.clone(), 0).await.unwrap();
        println!("open with {count} entries: {:?}", began.elapsed());
        let began = runtime::Instant::now();
        let before = opened.queues.memory_bytes();
        let idle = 1_000_000_u32;
        let end = u64::from(count) * 1000;
        for n in 0..idle {
            let slot = opened.queues.queue("Idle", n).unwrap();
            opened.queues.append(slot, 0, entry(end + u64::from(n))).unwrap();
        }
        println!("a million queues of one entry: {:?}, {} bytes each", began.elapsed(), {
            (opened.queues.memory_bytes() - before) / idle as usize
        });
        for _ in 0..2 {
            let began = runtime::Instant::now();
            let end = end + u64::from(idle);
            opened.queues.checkpoint(end, end).await.unwrap();
            println!("checkpoint: {:?}, {} bytes each", began.elapsed(), {
                (opened.queues.memory_bytes() - before) / idle as usize
            });
        }
        let began = runtime::Instant::now();
        let opened = ConsumeQueues::open(options, 0).await.unwrap();
        println!(
            "open with a million queues: {:?}, {:?}",
            began.elapsed(),
            opened.queues.stats()
        );
    });
}
