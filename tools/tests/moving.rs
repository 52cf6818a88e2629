//! `mqstore import` and `export`, on a store as Apache's broker writes it.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use bytes::BytesMut;
use protocol::message::record::{self, RecordFields, RecordView};
use protocol::model::{PhysicalOffset, QueueId, QueueOffset};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tools::store::export::{Export, Summary as Exported};
use tools::store::import::{Import, Summary};

const FILE_SIZE: usize = 1 << 20;
const SEGMENT_SIZE: u64 = 1 << 20;

/// A store of Apache's that grows.
struct ApacheStore {
    directory: tempfile::TempDir,
    log: Vec<u8>,
}

/// A message as it is in a queue: topic, queue, queue offset, body.
type Found = BTreeMap<(String, u32), Vec<(i64, Vec<u8>)>>;

impl ApacheStore {
    fn new() -> ApacheStore {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["commitlog", "config"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let offsets = "{\"offsetTable\":{\"t@g\":{0:7}}}";
        fs::write(directory.path().join("config/consumerOffset.json"), offsets).unwrap();
        // Apache's broker falls back on the copy of the version before.
        fs::write(directory.path().join("config/topics.json"), "").unwrap();
        fs::write(
            directory.path().join("config/topics.json.bak"),
            "{\"topicConfigTable\":{}}",
        )
        .unwrap();
        ApacheStore {
            directory,
            log: Vec::new(),
        }
    }

    fn put(&mut self, topic: &str, queue_id: u32, queue_offset: i64, body: &[u8]) {
        self.put_with(topic, queue_id, queue_offset, body, 0);
    }

    fn put_with(&mut self, topic: &str, queue_id: u32, queue_offset: i64, body: &[u8], sys_flag: i32) {
        let mut out = BytesMut::new();
        loop {
            out.clear();
            let fields = RecordFields {
                queue_id: QueueId::new(queue_id).unwrap(),
                flag: 0,
                queue_offset: QueueOffset(queue_offset),
                physical_offset: PhysicalOffset::from_wire(i64::try_from(self.log.len()).unwrap()).unwrap(),
                sys_flag,
                born_timestamp: 1,
                born_host: "10.0.0.1:1000".parse().unwrap(),
                store_timestamp: 1_700_000_000_000 + i64::try_from(self.log.len()).unwrap(),
                store_host: "10.0.0.2:10911".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body,
                topic,
                properties: "UNIQ_KEY\u{1}k\u{2}__CRC32#\u{1}0123456789\u{2}",
            };
            fields.encode(&mut out).unwrap();
            let rest = FILE_SIZE - self.log.len() % FILE_SIZE;
            if out.len() + 8 <= rest {
                break;
            }
            let mut blank = BytesMut::new();
            record::put_blank(&mut blank, i32::try_from(rest).unwrap());
            let end = self.log.len() + rest;
            self.log.extend_from_slice(&blank);
            self.log.resize(end, 0xcd);
        }
        self.log.extend_from_slice(&out);
    }

    /// As after a stop in good order: whole files, and one made ready.
    fn write(&self) -> &Path {
        let mut log = self.log.clone();
        log.resize(log.len().next_multiple_of(FILE_SIZE) + FILE_SIZE, 0);
        for (number, file) in log.chunks(FILE_SIZE).enumerate() {
            let name = format!("{:020}", number * FILE_SIZE);
            fs::write(self.directory.path().join("commitlog").join(name), file).unwrap();
        }
        self.directory.path()
    }

    /// A queue whose messages are all deleted, by its consume queue.
    fn put_queue_end(&self, topic: &str, queue_id: u32, end: usize) {
        let directory = self.directory.path().join(format!("consumequeue/{topic}/{queue_id}"));
        fs::create_dir_all(&directory).unwrap();
        let mut entries = vec![0; 20 * 300];
        for entry in entries.chunks_mut(20).take(end % 300) {
            entry[15] = 1;
        }
        let name = format!("{:020}", end / 300 * 300 * 20);
        fs::write(directory.join(name), entries).unwrap();
    }

    fn import(&self, to: &Path) -> Import {
        Import {
            from: self.directory.path().to_owned(),
            from_commitlog: None,
            to: to.to_owned(),
            shards: 3,
            segment_size: SEGMENT_SIZE,
            delay_levels: protocol::message::delay_levels::DelayLevels::default(),
            after_crash: false,
        }
    }
}

/// Every message of a store of ours, by an export: that reads queues as consumers do.
fn read_by_export(store: &Path) -> (Found, Exported, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("apache");
    let export = Export {
        from: store.to_owned(),
        from_commitlog: None,
        to: to.clone(),
        file_size: FILE_SIZE as u64,
        delay_levels: protocol::message::delay_levels::DelayLevels::default(),
    };
    let summary = export.run(&mut |_done, _all| {}).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(to.join("commitlog"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let log: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    assert!(log.len().is_multiple_of(FILE_SIZE));
    let mut stream = protocol::message::commitlog::CommitlogStream::new(0);
    stream.push(log.get(..usize::try_from(summary.bytes).unwrap()).unwrap());
    let mut found = Found::new();
    while let Some((_position, bytes)) = stream.next_record().unwrap() {
        let view = RecordView::decode(&bytes).unwrap();
        assert!(!view.properties.contains("__CRC32#"), "{}", view.properties);
        assert_eq!((view.store_host.port(), view.born_host.port()), (10911, 1000));
        let queue = found.entry((view.topic.to_owned(), view.queue_id.get())).or_default();
        queue.push((view.queue_offset.0, view.body.to_vec()));
    }
    (found, summary, to, directory)
}

#[test]
fn an_import_keeps_every_message_at_its_queue_offset_and_an_export_gives_them_back() {
    let mut apache = ApacheStore::new();
    let mut expected = Found::new();
    for number in 0..3000_i64 {
        let (queue_id, offset) = (u32::try_from(number % 4).unwrap(), number / 4);
        // Queue 3 has lost its first thousand to retention.
        let offset = if queue_id == 3 { offset + 1000 } else { offset };
        let body = number.to_be_bytes().repeat(usize::try_from(number % 200).unwrap());
        apache.put("t", queue_id, offset, &body);
        expected
            .entry(("t".to_owned(), queue_id))
            .or_default()
            .push((offset, body));
    }
    for (offset, body) in [(0, "old 0"), (1, "old 1"), (0, "new 0")] {
        apache.put("again", 0, offset, body.as_bytes());
    }
    expected.insert(("again".to_owned(), 0), vec![(0, b"new 0".to_vec())]);
    // A half message of an old version, and an inner batch.
    apache.put_with("t", 0, 0, b"half", record_flags::PREPARED);
    apache.put_with("t", 0, 750, b"batch", record_flags::INNER_BATCH);
    apache.put_queue_end("gone", 2, 777);
    apache.put_queue_end("t", 0, 750);
    let store = tempfile::tempdir().unwrap();
    let to = store.path().join("store");
    let from = apache.write().to_owned();
    let summary = apache.import(&to).run(&mut |_step, _at, _end| {}).unwrap();
    let wanted = Summary {
        from: 0,
        to: apache.log.len() as u64,
        messages: 3001,
        queues: 5,
        empty_queues: 1,
        outside_of_queues: 1,
        not_supported: 1,
        passed: 0,
        missing: 0,
        tables: vec!["topics.json".to_owned(), "consumerOffset.json".to_owned()],
    };
    assert_eq!(summary, wanted);
    assert!(
        to.join("config/import-unfinished").exists(),
        "the broker takes the tables in"
    );
    assert_eq!(
        fs::read(to.join("config/topics.json")).unwrap(),
        fs::read(from.join("config/topics.json.bak")).unwrap()
    );
    let (found, exported, again, _directory) = read_by_export(&to);
    assert_eq!(found, expected);
    assert_eq!(
        (exported.messages, exported.queues, exported.empty_queues, exported.lost),
        (3001, 5, 1, 0)
    );
    assert_eq!(
        fs::read(again.join("config/consumerOffset.json")).unwrap(),
        fs::read(from.join("config/consumerOffset.json")).unwrap()
    );
    // Neither goes into a directory that is in use.
    let refused = apache.import(&to).run(&mut |_step, _at, _end| {}).unwrap_err();
    assert!(refused.to_string().contains("holds a store already"), "{refused}");
}

mod record_flags {
    pub(super) const PREPARED: i32 = protocol::message::sys_flag::TRANSACTION_PREPARED;
    pub(super) const INNER_BATCH: i32 = protocol::message::sys_flag::INNER_BATCH;
}

fn mqstore(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqstore"));
    command.args(arguments);
    command
}

fn text_of(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .concat()
        .iter()
        .map(|byte| char::from(*byte))
        .collect()
}

#[test]
fn an_import_that_is_killed_anywhere_is_not_opened_and_goes_on_when_it_is_run_again() {
    let mut apache = ApacheStore::new();
    let mut count = 0_u64;
    while apache.log.len() < 6 << 20 {
        let queue_id = u32::try_from(count % 4).unwrap();
        let body = count.to_be_bytes().repeat(usize::try_from(count % 300).unwrap());
        apache.put("t", queue_id, i64::try_from(count / 4).unwrap(), &body);
        count += 1;
    }
    let from = apache.write().to_str().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("store").to_str().unwrap().to_owned();
    let run = || {
        let mut command = mqstore(&[
            "import",
            &from,
            &to,
            "--segment-size",
            "1048576",
            "--shards",
            "2",
            "-o",
            "json",
        ]);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command
    };
    let (mut killed, mut pause) = (0, Duration::from_millis(40));
    let last = loop {
        let mut import = run().spawn().unwrap();
        // Longer each time, so that it comes to its end at last.
        std::thread::sleep(pause);
        pause = pause * 3 / 2;
        if import.try_wait().unwrap().is_some() {
            break import.wait_with_output().unwrap();
        }
        import.kill().unwrap();
        import.wait().unwrap();
        killed += 1;
        let export_to = directory.path().join("no").to_str().unwrap().to_owned();
        if Path::new(&to).join("store.json").exists() {
            let refused = mqstore(&["export", &to, &export_to]).output().unwrap();
            assert!(
                text_of(&refused).contains("has not come to its end"),
                "{}",
                text_of(&refused)
            );
        }
    };
    assert!(killed > 2, "{killed} kills");
    let text = text_of(&last);
    assert!(last.status.success(), "after {killed} kills: {text}");
    assert!(text.contains(&format!("\"messages\":{count},")), "{text}");
    assert!(!text.contains("\"from\":0,"), "it began anew: {text}");
}

#[test]
fn what_cannot_be_imported_is_named_with_its_fix() {
    let mut apache = ApacheStore::new();
    apache.put("t", 0, 0, &[7; 1000]);
    apache.put("t", 0, 1, &[7; 1000]);
    let from = apache.write().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let import = |name: &str, after_crash: bool| {
        let import = Import {
            after_crash,
            ..apache.import(&directory.path().join(name))
        };
        import
            .run(&mut |_step, _at, _end| {})
            .map_err(|error| error.to_string())
    };
    fs::write(from.join("abort"), "1").unwrap();
    let running = import("a", false).unwrap_err();
    assert!(running.contains("stop it in good order first"), "{running}");
    assert_eq!(import("b", true).unwrap().messages, 2);
    fs::remove_file(from.join("abort")).unwrap();
    // A record's end that was never written, as after a power cut.
    let file = from.join(format!("commitlog/{:020}", 0));
    let mut torn = fs::read(&file).unwrap();
    let second = apache.log.len() / 2;
    torn[second + 20..].fill(0);
    fs::write(&file, &torn).unwrap();
    let damaged = import("c", false).unwrap_err();
    assert!(damaged.contains("the commitlog is damaged"), "{damaged}");
    assert_eq!(import("d", true).unwrap().messages, 1);
    let none = Import {
        from: directory.path().join("nothing"),
        ..apache.import(&directory.path().join("e"))
    };
    let none = none.run(&mut |_step, _at, _end| {}).unwrap_err().to_string();
    assert!(none.contains("holds no commitlog of Apache RocketMQ"), "{none}");
}
