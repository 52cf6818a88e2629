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
        keys: &[],
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
    });
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
    assert!(text(&output.stderr).contains("store.json"), "{}", text(&output.stderr));
}

#[test]
fn mqstore_opens_nothing_for_writing_and_takes_no_lock() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI needs strace for this test");
        eprintln!("skipped: there is no strace on this machine");
        return;
    }
    with_open_store(|root| {
        for command in ["verify", "dump"] {
            let trace = tempfile::NamedTempFile::new().unwrap();
            let output = Command::new("strace")
                .args(["-f", "-o", trace.path().to_str().unwrap()])
                .args([MQSTORE, command, root.to_str().unwrap()])
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let calls = std::fs::read_to_string(trace.path()).unwrap();
            let name = root.to_str().unwrap();
            let of_store: Vec<&str> = calls.lines().filter(|call| call.contains(name)).collect();
            assert!(of_store.iter().any(|call| call.contains("commitlog/0000")), "{calls}");
            // execve names the store as an argument.
            let others = of_store.iter().filter(|call| !call.contains("execve("));
            for call in others {
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
                assert!(!calls.contains(forbidden), "{command} calls {forbidden}");
            }
        }
    });
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
