//! Stores in Apache's layout, small enough to be written here, whole and damaged. That Apache itself writes them so is proven by
//! `tests/system`.

use super::consume_queue::{QueueKind, QueueName, Slot};
use super::key_index::key_hash;
use super::record_walk::Step;
use super::{ApacheStore, Checkpoint};
use bytes::BytesMut;
use protocol::message::record::{RecordFields, put_blank};
use protocol::message::sys_flag;
use protocol::model::{PhysicalOffset, QueueId, QueueOffset, tag_hash};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) const SEGMENT_SIZE: usize = 4096;
const QUEUE_FILE_SIZE: usize = 20 * 16;
const INDEX_SLOTS: usize = 20;

/// A message to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue_id: u32,
    pub(crate) tag: &'a str,
    pub(crate) key: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) sys_flag: i32,
}

impl<'a> Sent<'a> {
    pub(crate) fn new(topic: &'a str, queue_id: u32, body: &'a [u8]) -> Sent<'a> {
        let (tag, key, sys_flag) = ("a", "k", 0);
        Sent {
            topic,
            queue_id,
            tag,
            key,
            body,
            sys_flag,
        }
    }
}

/// A store in Apache's layout.
pub(crate) struct TestStore {
    pub(crate) directory: tempfile::TempDir,
    log: BytesMut,
    queues: BTreeMap<(String, u32), Vec<u8>>,
    index: Vec<(u32, u64)>,
    /// Where each message lies.
    pub(crate) messages: Vec<Range<u64>>,
}

impl TestStore {
    pub(crate) fn new() -> TestStore {
        TestStore {
            directory: tempfile::tempdir().unwrap(),
            log: BytesMut::new(),
            queues: BTreeMap::new(),
            index: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Messages of two topics over three segments, then the files.
    pub(crate) fn filled() -> TestStore {
        let mut store = TestStore::new();
        for number in 0..60_u32 {
            let topic = if number % 3 == 0 { "Orders" } else { "Bills" };
            let key = format!("key-{number}");
            store.send(Sent {
                key: &key,
                ..Sent::new(topic, number % 2, &[b'x'; 60])
            });
        }
        store.write();
        store
    }

    pub(crate) fn send(&mut self, sent: Sent<'_>) {
        let in_queue = sent.sys_flag & sys_flag::TRANSACTION_COMMIT == sent.sys_flag & sys_flag::TRANSACTION_ROLLBACK;
        let queue = self.queues.entry((sent.topic.to_owned(), sent.queue_id)).or_default();
        let properties = format!("TAGS\u{1}{}\u{2}KEYS\u{1}{}\u{2}", sent.tag, sent.key);
        let fields = |position: usize| RecordFields {
            queue_id: QueueId::new(sent.queue_id).unwrap(),
            flag: 0,
            queue_offset: QueueOffset(i64::try_from(queue.len() / 20).unwrap()),
            physical_offset: PhysicalOffset::from_wire(i64::try_from(position).unwrap()).unwrap(),
            sys_flag: sent.sys_flag,
            born_timestamp: 1_000,
            born_host: "127.0.0.1:1000".parse().unwrap(),
            store_timestamp: 1_700_000_000_000 + i64::try_from(position).unwrap(),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: sent.body,
            topic: sent.topic,
            properties: &properties,
        };
        let size = fields(0).encoded_size().unwrap();
        let rest = SEGMENT_SIZE - self.log.len() % SEGMENT_SIZE;
        if size + 8 > rest {
            let end = self.log.len() + rest;
            put_blank(&mut self.log, i32::try_from(rest).unwrap());
            self.log.resize(end, 0);
        }
        let position = self.log.len();
        fields(position).encode(&mut self.log).unwrap();
        let start = u64::try_from(position).unwrap();
        self.messages.push(start..start + size as u64);
        if in_queue {
            queue.extend(start.to_be_bytes());
            queue.extend(u32::try_from(size).unwrap().to_be_bytes());
            queue.extend(tag_hash(Some(sent.tag)).to_be_bytes());
        }
        self.index.push((key_hash(sent.topic, sent.key), start));
    }

    /// As when a topic is deleted.
    pub(crate) fn forget_queue(&mut self, topic: &str, queue_id: u32) {
        self.queues.remove(&(topic.to_owned(), queue_id));
    }

    pub(crate) fn write(&self) {
        write_files(&self.path("commitlog"), &self.log, SEGMENT_SIZE);
        for ((topic, queue_id), entries) in &self.queues {
            write_files(
                &self.path(&format!("consumequeue/{topic}/{queue_id}")),
                entries,
                QUEUE_FILE_SIZE,
            );
        }
        self.write_index();
        let mut checkpoint = vec![0; 4096];
        for (number, value) in [11_u64, 12, 13, 14, 15].iter().enumerate() {
            checkpoint[number * 8..number * 8 + 8].copy_from_slice(&value.to_be_bytes());
        }
        fs::write(self.path("checkpoint"), checkpoint).unwrap();
    }

    fn write_index(&self) {
        let mut slots = [0_u32; INDEX_SLOTS];
        let mut entries = vec![0; 20];
        for (number, (hash, position)) in (1_u32..).zip(&self.index) {
            let slot = &mut slots[*hash as usize % INDEX_SLOTS];
            entries.extend(hash.to_be_bytes());
            entries.extend(position.to_be_bytes());
            entries.extend([0; 4]);
            entries.extend(slot.to_be_bytes());
            *slot = number;
        }
        let used = slots.iter().filter(|slot| **slot > 0).count();
        let mut file = Vec::new();
        for value in [0, 0, 0, self.index.last().map_or(0, |(_, position)| *position)] {
            file.extend(value.to_be_bytes());
        }
        file.extend(u32::try_from(used).unwrap().to_be_bytes());
        file.extend(u32::try_from(self.index.len() + 1).unwrap().to_be_bytes());
        slots.iter().for_each(|slot| file.extend(slot.to_be_bytes()));
        // As many slots as Apache's file of this length would have.
        entries.resize(INDEX_SLOTS * 4 * 20, 0);
        file.extend(entries);
        fs::create_dir_all(self.path("index")).unwrap();
        fs::write(self.path("index/20260101000000000"), file).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn open(&self) -> ApacheStore {
        ApacheStore::open(self.directory.path(), &[]).unwrap()
    }

    /// Writes bytes over the log.
    pub(crate) fn overwrite(&self, position: u64, bytes: &[u8]) {
        let base = position - position % SEGMENT_SIZE as u64;
        let path = self.path(&format!("commitlog/{base:020}"));
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, position - base).unwrap();
    }

    pub(crate) fn byte_at(&self, position: u64) -> u8 {
        self.log[usize::try_from(position).unwrap()]
    }
}

fn write_files(directory: &Path, content: &[u8], file_size: usize) {
    fs::create_dir_all(directory).unwrap();
    for (number, part) in content.chunks(file_size).enumerate() {
        let mut part = part.to_vec();
        part.resize(file_size, 0);
        fs::write(directory.join(format!("{:020}", number * file_size)), part).unwrap();
    }
}

/// The positions of the records that a walk gives, what is damaged, and where it ends.
fn walk(store: &ApacheStore) -> (Vec<u64>, Vec<Range<u64>>, u64) {
    let mut walk = store.walk().unwrap();
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    loop {
        match walk.step().unwrap() {
            Step::Record(place) => {
                assert_eq!(walk.record(place).unwrap().size(), place.size);
                records.push(place.position);
            }
            Step::Damage(range) => damage.push(range.from..range.to),
            Step::End(end) => return (records, damage, end.torn_bytes),
        }
    }
}

#[test]
fn a_walk_gives_every_record_over_the_files_ends() {
    let store = TestStore::filled();
    let expected: Vec<u64> = store.messages.iter().map(|range| range.start).collect();
    assert!(store.messages.last().unwrap().end > 2 * SEGMENT_SIZE as u64);
    assert_eq!(walk(&store.open()), (expected, Vec::new(), 0));
}

#[test]
fn a_flipped_bit_in_what_frames_a_record_costs_that_record_alone() {
    let store = TestStore::filled();
    for (number, field) in [(0, 3), (0, 5), (5, 30), (20, 87), (20, 35), (59, 2)] {
        let position = store.messages[number].start + field;
        store.overwrite(position, &[store.byte_at(position) ^ 1]);
        let (records, damage, torn) = walk(&store.open());
        assert_eq!(records.len(), 59, "record {number}, byte {field}");
        // Behind the last record nothing tells damage from a write that was cut short.
        let expected = if number == 59 {
            vec![]
        } else {
            vec![store.messages[number].clone()]
        };
        // A record at a file's end is damaged up to the next file.
        assert_eq!(
            damage.iter().map(|range| range.start).collect::<Vec<_>>(),
            expected.iter().map(|r| r.start).collect::<Vec<_>>()
        );
        assert_eq!(torn > 0, number == 59);
        store.overwrite(position, &[store.byte_at(position)]);
    }
    assert_eq!(walk(&store.open()).0.len(), 60);
}

#[test]
fn a_hole_and_a_missing_file_are_damage_and_a_missing_first_file_is_retention() {
    let store = TestStore::filled();
    store.overwrite(1000, &[0; 1024]);
    let (records, damage, _) = walk(&store.open());
    let lost = store
        .messages
        .iter()
        .filter(|range| range.start < 2024 && range.end > 1000);
    assert_eq!(records.len() + lost.count(), 60);
    assert_eq!(damage.len(), 1);

    fs::remove_file(store.path(&format!("commitlog/{SEGMENT_SIZE:020}"))).unwrap();
    let damage = walk(&store.open()).1;
    assert_eq!(damage[1], SEGMENT_SIZE as u64..2 * SEGMENT_SIZE as u64);

    fs::remove_file(store.path(&format!("commitlog/{:020}", 0))).unwrap();
    let (records, damage, _) = walk(&store.open());
    assert_eq!((records[0], damage.len()), (2 * SEGMENT_SIZE as u64, 0));
}

#[test]
fn segments_may_be_spread_over_directories() {
    let store = TestStore::filled();
    let other = tempfile::tempdir().unwrap();
    let name = format!("{SEGMENT_SIZE:020}");
    fs::rename(store.path("commitlog").join(&name), other.path().join(&name)).unwrap();
    let directories = [store.path("commitlog"), other.path().to_owned()];
    let spread = ApacheStore::open(store.directory.path(), &directories).unwrap();
    assert_eq!(walk(&spread).0.len(), 60);
}

#[test]
fn queues_index_checkpoint_and_configuration_are_read_as_they_are() {
    let store = TestStore::filled();
    let apache = store.open();
    let queues = apache.queues().unwrap();
    let names: Vec<(&str, u32)> = queues.iter().map(|name| (name.topic.as_str(), name.queue_id)).collect();
    assert_eq!(names, [("Bills", 0), ("Bills", 1), ("Orders", 0), ("Orders", 1)]);
    let name = QueueName {
        topic: "Bills".to_owned(),
        queue_id: 0,
        kind: QueueKind::Single,
    };
    let mut queue = apache.consume_queue(&name).unwrap();
    assert_eq!(
        (queue.first_slot(), queue.end().unwrap(), queue.slots_end()),
        (0, 20, 32)
    );
    let Slot::Entry(entry) = queue.slots(19).unwrap()[0] else {
        panic!("no entry")
    };
    assert_eq!(entry.position, store.messages[58].start);
    assert_eq!(queue.tag_hash(&entry).unwrap(), Some(tag_hash(Some("a"))));
    assert_eq!(queue.slots(20).unwrap()[0], Slot::Empty);
    assert_eq!(queue.slots(32).unwrap(), []);

    let index = &apache.index_files().unwrap()[0];
    assert_eq!((index.slots, index.header.unwrap().next_entry), (20, 61));
    let entries = index.entries(1).unwrap();
    assert_eq!((entries.len(), entries[59].position), (60, store.messages[59].start));
    assert_eq!(entries[59].key_hash, key_hash("Bills", "key-59"));

    let checkpoint = apache.checkpoint().unwrap().unwrap();
    let expected = Checkpoint {
        physic_msg_timestamp: 11,
        logics_msg_timestamp: 12,
        index_msg_timestamp: 13,
        master_flushed_offset: 14,
        confirm_phy_offset: 15,
    };
    assert_eq!(checkpoint, expected);
    assert!(!apache.was_not_closed());

    type Offsets = BTreeMap<String, BTreeMap<String, BTreeMap<i32, i64>>>;
    fs::create_dir(store.path("config")).unwrap();
    assert!(apache.config::<Offsets>("consumerOffset.json").unwrap().is_none());
    fs::write(store.path("config/consumerOffset.json"), "{\"offsetTable\":").unwrap();
    assert!(apache.config::<Offsets>("consumerOffset.json").is_err());
    fs::write(
        store.path("config/consumerOffset.json.bak"),
        "{\"offsetTable\":{\"T@G\":{0:12,1:3}}}",
    )
    .unwrap();
    let offsets = apache.config::<Offsets>("consumerOffset.json").unwrap().unwrap();
    assert_eq!(offsets.value["offsetTable"]["T@G"][&0], 12);
    assert!(offsets.path.ends_with("consumerOffset.json.bak"));
}

#[test]
fn a_tag_hash_may_stand_beside_the_queue() {
    let store = TestStore::filled();
    let path = store.path("consumequeue/Orders/0/00000000000000000000");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&(i64::MIN + 30).to_be_bytes(), 12).unwrap();
    let mut unit = vec![0; 30];
    unit.extend(20_i16.to_be_bytes());
    unit.extend(77_i64.to_be_bytes());
    unit.extend([0; 40]);
    write_files(&store.path("consumequeue_ext/Orders/0"), &unit, 80);
    let name = QueueName {
        topic: "Orders".to_owned(),
        queue_id: 0,
        kind: QueueKind::Single,
    };
    let mut queue = store.open().consume_queue(&name).unwrap();
    let Slot::Entry(entry) = queue.slots(0).unwrap()[0] else {
        panic!("no entry")
    };
    assert_eq!(queue.tag_hash(&entry).unwrap(), Some(77));
    let nowhere = super::consume_queue::Entry {
        tag_hash: i64::MIN + 50,
        ..entry
    };
    assert_eq!(queue.tag_hash(&nowhere).unwrap(), None);
}
