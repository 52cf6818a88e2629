//! The programs as processes: exit codes, output that others parse, and that mqstore opens nothing for writing.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use engine::{Hooks, NewMessage, Shard, StoreOptions, prepare_store};
use protocol::model::{QueueId, ShardId};
use runtime::probe::{IoPath, Refusal};
use std::path::Path;
use std::process::{Command, Output};

const MQSTORE: &str = env!("CARGO_BIN_EXE_mqstore");
const MQADMIN: &str = env!("CARGO_BIN_EXE_mqadmin");

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("NAMESRV_ADDR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn send(shard: &Shard, topic: &str, properties: &str) {
    let keys: Vec<&str> = protocol::message::properties::keys(properties).collect();
    let message = NewMessage {
        queue: shard.queue(topic, 3).unwrap(),
        topic,
        queue_id: QueueId::new(3).unwrap(),
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "127.0.0.1:1000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"the body",
        properties,
        tag_hash: 0,
        keys: &keys,
        in_consume_queue: true,
    };
    let appended = shard.append(&message).unwrap();
    shard.committed(appended.batch).await.unwrap();
}

/// A store with two topics, while it is open.
fn with_open_store(look: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let done = runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), async {
        let options = StoreOptions {
            segment_size: 64 << 10,
            // What is committed is in the files at once.
            crash_buffer_bytes: 0,
            ..StoreOptions::new(directory.path(), 1)
        };
        let layout = prepare_store(&options).await.unwrap();
        let opened = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap();
        let shard = opened.0;
        send(&shard, "Orders", "KEYS\u{1}k1 k2\u{2}").await;
        send(&shard, "Orders", "KEYS\u{1}k3\u{2}").await;
        send(&shard, "Bills", "").await;
        shard.append_metadata(7, b"payload").unwrap();
        shard.checkpoint().await.unwrap();
        look(directory.path());
        shard.close().await.unwrap();
    });
    done.unwrap();
}

#[test]
fn dump_gives_what_the_filters_ask_for_as_json_lines() {
    with_open_store(|root| {
        let root = root.to_str().unwrap();
        let lines = |arguments: &[&str]| {
            let output = run(MQSTORE, &[&["dump", root, "-o", "json"], arguments].concat());
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
            text(&output.stdout).lines().map(parse).collect::<Vec<_>>()
        };
        let orders = lines(&["-t", "Orders", "-q", "3", "--bodies"]);
        assert_eq!(orders.len(), 2);
        assert_eq!(
            (&orders[1]["queueOffset"], &orders[1]["body"]),
            (&1.into(), &"the body".into())
        );
        assert_eq!(lines(&["-k", "k2"]).len(), 1);
        assert_eq!(lines(&["-q", "4"]).len(), 0);
        assert_eq!(lines(&["--kind", "metadata"]).len(), 1);
        assert_eq!(lines(&["--kind", "seal", "--limit", "2"]).len(), 2);
        assert_eq!(lines(&["-t", "Orders", "--offsets", "1.."])[0]["keys"], "k3");
        assert_eq!(lines(&["--tag", "none"]).len(), 0);
        assert_eq!(lines(&["--until", "2020-01-01"]).len(), 0);
        assert_eq!(lines(&["-t", "Orders", "--since", "1h"]).len(), 2);
        let second = orders[1]["position"].as_u64().unwrap();
        assert_eq!(lines(&["--positions", &second.to_string()])[0]["queueOffset"], 1);
        let hex = run(MQSTORE, &["dump", root, "-o", "hex", "-t", "Bills"]);
        assert!(text(&hex.stdout).contains("da a3 20 a7"), "{}", text(&hex.stdout));
    });
}

#[test]
fn find_stats_and_extract_read_the_log_without_an_index() {
    with_open_store(|root| {
        let root = root.to_str().unwrap();
        let found = run(MQSTORE, &["find", root, "k2", "-o", "json", "--bodies"]);
        assert_eq!(found.status.code(), Some(0));
        assert!(text(&found.stdout).contains("the body"));
        assert_eq!(run(MQSTORE, &["find", root, "no such key"]).status.code(), Some(1));

        let stats = run(MQSTORE, &["stats", root, "-o", "json"]);
        let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
        let orders = stats["queues"]
            .as_array()
            .unwrap()
            .iter()
            .find(|queue| queue["topic"] == "Orders")
            .unwrap();
        assert_eq!((&orders["records"], &orders["maxOffset"]), (&2.into(), &1.into()));
        assert_eq!(stats["notForConsumers"]["seals"]["records"], 4);

        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("saved.records");
        let arguments = ["extract", root, "-t", "Orders", "--to", to.to_str().unwrap()];
        assert_eq!(run(MQSTORE, &arguments).status.code(), Some(0));
        let bytes = std::fs::read(&to).unwrap();
        let records: Vec<_> = protocol::message::record::Records::new(&bytes)
            .map(Result::unwrap)
            .collect();
        assert_eq!((records.len(), records[1].queue_offset.0), (2, 1));
        // A file that is there is not written over.
        assert_eq!(run(MQSTORE, &arguments).status.code(), Some(1));
    });
}

#[test]
fn a_log_that_is_followed_is_printed_as_it_is_written() {
    use std::io::BufRead;
    let directory = tempfile::tempdir().unwrap();
    let done = runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), async {
        let options = StoreOptions {
            segment_size: 64 << 10,
            // What is committed is in the files at once.
            crash_buffer_bytes: 0,
            ..StoreOptions::new(directory.path(), 1)
        };
        let layout = prepare_store(&options).await.unwrap();
        let shard = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await.unwrap().0;
        send(&shard, "Orders", "KEYS\u{1}before\u{2}").await;
        let mut command = Command::new(MQSTORE);
        command.args([
            "dump",
            directory.path().to_str().unwrap(),
            "-t",
            "Orders",
            "-o",
            "json",
            "-f",
            "-l",
            "101",
        ]);
        let mut follower = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(follower.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("before"));
        // Over the end of a segment.
        let body = "x".repeat(1000);
        for _ in 0..100 {
            send(&shard, "Orders", &format!("KEYS\u{1}{body}\u{2}")).await;
        }
        assert_eq!(lines.map(Result::unwrap).count(), 100);
        assert!(follower.wait().unwrap().success());
        shard.close().await.unwrap();
    });
    done.unwrap();
}

#[test]
fn repair_plans_and_applies_and_refuses_an_open_store() {
    let copy = tempfile::tempdir().unwrap();
    with_open_store(|root| {
        let refused = run(MQSTORE, &["repair", root.to_str().unwrap(), "--apply"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            text(&refused.stderr).contains("stop it first"),
            "{}",
            text(&refused.stderr)
        );
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root.join("."))
            .arg(copy.path())
            .status();
        assert!(copied.unwrap().success());
    });
    let root = copy.path().to_str().unwrap();
    assert_eq!(run(MQSTORE, &["repair", root, "--plan"]).status.code(), Some(0));
    let segment = copy.path().join("shard-00/commitlog/00000000000000000000");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert_eq!(run(MQSTORE, &["repair", root, "--plan"]).status.code(), Some(1));
    assert_eq!(
        run(MQSTORE, &["verify", root]).status.code(),
        Some(1),
        "a plan changes nothing"
    );
    let applied = run(MQSTORE, &["repair", root, "--apply"]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied.stdout));
    assert_eq!(run(MQSTORE, &["verify", root]).status.code(), Some(0));
    assert_eq!(
        run(MQSTORE, &["repair", root]).status.code(),
        Some(2),
        "one of the two must be said"
    );
}

#[test]
fn verify_says_clean_damaged_or_usage_by_its_exit_code() {
    with_open_store(|root| {
        let output = run(MQSTORE, &["verify", root.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        assert!(text(&output.stdout).ends_with("clean\n"));
        let copy = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root.join("."))
            .arg(copy.path())
            .status();
        assert!(copied.unwrap().success());
        let segment = copy.path().join("shard-00/commitlog/00000000000000000000");
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&segment, bytes).unwrap();
        let output = run(MQSTORE, &["verify", copy.path().to_str().unwrap(), "-o", "json"]);
        assert_eq!(output.status.code(), Some(1));
        let first = text(&output.stdout).lines().next().unwrap().to_owned();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        assert_eq!(
            (&first["type"], &first["from"]),
            (&"damage".into(), &0.into()),
            "{first}"
        );
    });
    assert_eq!(run(MQSTORE, &["verify"]).status.code(), Some(2));
    let empty = tempfile::tempdir().unwrap();
    let output = run(MQSTORE, &["verify", empty.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    for kind in ["store.json", "commitlog"] {
        assert!(text(&output.stderr).contains(kind), "{}", text(&output.stderr));
    }
}

/// Runs mqstore on a store under strace. It has to read `part` of it, and to open, lock, change or remove nothing.
fn only_reads(root: &Path, command: &[&str], part: &str) {
    let name = root.to_str().unwrap();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-s", "512", "-o", trace.path().to_str().unwrap()])
        .args([MQSTORE, command[0], name])
        .args(&command[1..])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let calls = std::fs::read_to_string(trace.path()).unwrap();
    let of_store: Vec<&str> = calls.lines().filter(|call| call.contains(name)).collect();
    assert!(of_store.iter().any(|call| call.contains(part)), "{command:?}: {calls}");
    // execve names the store as an argument.
    for call in of_store.iter().filter(|call| !call.contains("execve(")) {
        let reads = call.contains("O_RDONLY") || call.contains("statx(") || call.contains("access(");
        let is_stat = call.contains("stat(") || call.contains("newfstatat(") || call.contains("readlink(");
        assert!(reads || is_stat, "{call}");
        assert!(!call.contains("O_CREAT") && !call.contains("O_TRUNC"), "{call}");
    }
    for forbidden in [
        "flock(",
        "F_SETLK",
        "F_OFD_SETLK",
        "fallocate(",
        "ftruncate(",
        "unlink",
        "rename",
    ] {
        assert!(!calls.contains(forbidden), "{command:?} calls {forbidden}");
    }
}

/// A store as Apache has it, with one message and nothing beside the log but an empty checkpoint.
fn apache_store() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut log = bytes::BytesMut::new();
    let fields = protocol::message::record::RecordFields {
        queue_id: QueueId::new(0).unwrap(),
        flag: 0,
        queue_offset: protocol::model::QueueOffset(0),
        physical_offset: protocol::model::PhysicalOffset::new(ShardId::ZERO, 0),
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "127.0.0.1:1000".parse().unwrap(),
        store_timestamp: 2,
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"the body",
        topic: "Orders",
        properties: "KEYS\u{1}k1\u{2}",
    };
    fields.encode(&mut log).unwrap();
    log.resize(4096, 0);
    std::fs::create_dir(directory.path().join("commitlog")).unwrap();
    std::fs::write(directory.path().join("commitlog/00000000000000000000"), log).unwrap();
    std::fs::write(directory.path().join("checkpoint"), [0; 4096]).unwrap();
    directory
}

#[test]
fn mqstore_opens_nothing_for_writing_and_takes_no_lock() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI needs strace for this test");
        eprintln!("skipped: there is no strace on this machine");
        return;
    }
    let apache = apache_store();
    let apache_name = apache.path().to_str().unwrap();
    with_open_store(|root| {
        let copy = tempfile::tempdir().unwrap();
        let to = copy.path().join("records");
        let (name, to) = (root.to_str().unwrap(), to.to_str().unwrap());
        let to_of_apache = format!("{to}.apache");
        for (root, name, to) in [(root, name, to), (apache.path(), apache_name, to_of_apache.as_str())] {
            for command in [
                &["verify"][..],
                &["dump"],
                &["stats"],
                &["find", "k1"],
                &["diff", name],
                &["extract", "--to", to],
            ] {
                only_reads(root, command, "commitlog/0000");
            }
            only_reads(root, &["dump", "--kind", "entry"], "consumequeue");
        }
        only_reads(root, &["repair", "--plan"], "commitlog/0000");
    });
    let refused = run(MQSTORE, &["repair", apache_name, "--apply"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("never written to"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn mqadmin_names_cause_and_fix_when_nobody_answers() {
    // Nothing listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for line in [["clusterList", "-n"], ["CLUSTERLIST", "-namesrvAddr"]] {
        let output = run(MQADMIN, &[&line[..], &[&address]].concat());
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains(&address) && error.contains("\nfix: "), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn mqadmin_tells_help_from_usage_by_its_exit_code() {
    let help = run(MQADMIN, &["topic", "create", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Examples:"));
    for wrong in [
        &["topicRoute"][..],
        &["noSuchCommand"],
        &["updateTopic", "-t", "T"],
        &[],
    ] {
        assert_eq!(run(MQADMIN, wrong).status.code(), Some(2), "{wrong:?}");
    }
}
