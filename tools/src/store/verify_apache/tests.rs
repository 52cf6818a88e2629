//! Stores in Apache's layout, whole and with one thing wrong.

use super::verify_apache;
use crate::apache_store::tests::{Sent, TestStore};
use crate::store::findings::{Counts, Finding, Part};
use crate::store::verify::Watcher;
use protocol::message::sys_flag::TRANSACTION_PREPARED;
use protocol::model::ShardId;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

#[derive(Default)]
struct Found(Vec<Finding>);

impl Watcher for Found {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        self.0.push(finding.clone());
        Ok(())
    }

    fn at(&mut self, _shard: ShardId, _min: u64, _position: u64, _end: u64) {}
}

fn verify(store: &TestStore) -> (Counts, Vec<Finding>) {
    let mut found = Found::default();
    let counts = verify_apache(&store.open(), &mut found).unwrap();
    (counts, found.0)
}

fn parts(store: &TestStore) -> Vec<Part> {
    verify(store).1.iter().map(|finding| finding.part).collect()
}

fn overwrite(store: &TestStore, name: &str, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(store.path(name)).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn a_sound_store_is_clean_and_all_of_it_is_looked_at() {
    let mut store = TestStore::new();
    for number in 0..40 {
        store.send(Sent::new("Orders", number % 3, b"body"));
    }
    // Half messages have a place in the log, and entries of their keys, but none in a queue.
    store.send(Sent {
        sys_flag: TRANSACTION_PREPARED,
        ..Sent::new("Half", 0, b"half")
    });
    store.write();
    let (counts, findings) = verify(&store);
    assert_eq!(findings, []);
    assert_eq!((counts.messages, counts.entries, counts.index_entries), (41, 40, 41));
}

#[test]
fn a_flipped_bit_of_what_is_written_twice_is_found() {
    // Size, magic, CRC, queue id, queue offset, physical offset, body length, body, topic's length and text; the tag and the key.
    let fields = [3, 4, 9, 15, 27, 35, 87, 90, 148, 150, 165, 172];
    let store = TestStore::filled();
    assert_eq!(verify(&store).1, []);
    for field in fields {
        let position = store.messages[20].start + field;
        store.overwrite(position, &[store.byte_at(position) ^ 1]);
        assert!(!verify(&store).1.is_empty(), "byte {field}");
        store.overwrite(position, &[store.byte_at(position)]);
    }
    assert_eq!(verify(&store).1, []);
}

#[test]
fn each_field_of_an_entry_is_compared() {
    for (at, name) in [(7, "position"), (11, "size"), (19, "tag hash")] {
        let store = TestStore::filled();
        let path = "consumequeue/Bills/0/00000000000000000000";
        let byte = fs::read(store.path(path)).unwrap()[60 + at];
        overwrite(&store, path, 60 + at as u64, &[byte ^ 2]);
        assert!(parts(&store).contains(&Part::ConsumeQueue), "{name}");
    }
}

#[test]
fn a_missing_entry_is_damage_but_messages_behind_the_last_entry_of_all_queues_are_not() {
    let store = TestStore::filled();
    overwrite(&store, "consumequeue/Bills/1/00000000000000000000", 40, &[0; 20]);
    let findings = verify(&store).1;
    assert!(
        findings
            .iter()
            .any(|finding| finding.reason.contains("lacks the entries 2 to 2")),
        "{findings:?}"
    );

    // The last message of all is number 19 of its queue.
    let store = TestStore::filled();
    overwrite(&store, "consumequeue/Bills/1/00000000000000000320", 60, &[0; 20]);
    let (counts, findings) = verify(&store);
    assert_eq!((findings, counts.undispatched), (Vec::new(), 1));
}

#[test]
fn a_topic_that_was_deleted_and_begun_again_is_no_damage() {
    let mut store = TestStore::new();
    for _ in 0..3 {
        store.send(Sent::new("Gone", 0, b"before"));
    }
    store.forget_queue("Gone", 0);
    store.send(Sent::new("Gone", 0, b"after"));
    store.send(Sent::new("Gone", 0, b"after"));
    store.write();
    assert_eq!(verify(&store).1, []);
}

#[test]
fn the_index_is_compared_both_ways_and_its_table_too() {
    let name = "index/20260101000000000";
    let entry = |number: u64, field: u64| 40 + 20 * 4 + number * 20 + field;
    for (at, what) in [
        (entry(7, 3), "hash"),
        (entry(7, 11), "position"),
        (entry(30, 19), "chain"),
        (40 + 3, "slot"),
    ] {
        let store = TestStore::filled();
        let byte = fs::read(store.path(name)).unwrap()[usize::try_from(at).unwrap()];
        overwrite(&store, name, at, &[byte ^ 1]);
        assert!(parts(&store).contains(&Part::KeyIndex), "{what}");
    }
}

#[test]
fn a_torn_tail_is_damage_only_where_the_store_was_closed() {
    let store = TestStore::filled();
    let end = store.messages.last().unwrap().end;
    store.overwrite(end, b"half a record");
    assert_eq!(parts(&store), [Part::Log]);
    fs::write(store.path("abort"), "1").unwrap();
    let (counts, findings) = verify(&store);
    assert_eq!((findings, counts.torn_bytes), (Vec::new(), 13));
}

#[test]
fn bytes_of_any_kind_do_not_make_it_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..40 {
        let store = TestStore::filled();
        for name in [
            "commitlog/00000000000000000000",
            "consumequeue/Bills/0/00000000000000000000",
            "index/20260101000000000",
            "checkpoint",
        ] {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut bytes = fs::read(store.path(name)).unwrap();
            let at = usize::try_from(random >> 33).unwrap() % bytes.len();
            let end = (at + 40).min(bytes.len());
            bytes[at..end].fill((random & 0xff) as u8);
            fs::write(store.path(name), bytes).unwrap();
        }
        verify(&store);
    }
}
