//! Apache's own classes read what our types write: `tests/golden/README.md` tells how.

use std::process::Command;
use std::time::Duration;
use tests::harness::{Process, build_maven, workspace};

/// A build of one small example, or a JVM's start, on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);
/// Headers in two forms, bodies, records, batch, ids: fewer checks mean that some were not reached.
const CHECKS_MIN: u32 = 300;

#[test]
fn apaches_classes_read_what_ours_write() {
    let ours = tempfile::tempdir().expect("a temporary folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(workspace())
        .args([
            "run",
            "--quiet",
            "--package",
            "protocol",
            "--example",
            "golden_out",
            "--",
        ])
        .arg(ours.path());
    let (status, lines) = Process::start("golden_out", &mut cargo).finish(LIMIT);
    assert!(
        status.success(),
        "golden_out ended with {status}:\n{}",
        lines.join("\n")
    );

    let built = build_maven("golden data", "tests/golden/java", "golden", "golden.jar");
    let mut java = Command::new("java");
    java.arg("-cp")
        .arg(format!("{0}/golden.jar:{0}/lib/*", built.display()))
        .args(["golden.Golden", "check"])
        .arg(workspace().join("tests/golden/data"))
        .arg(ours.path());
    let (status, lines) = Process::start("golden check", &mut java).finish(LIMIT);
    assert!(status.success(), "{status}:\n{}", lines.join("\n"));
    let passed: Option<u32> = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("golden check: ")?.split(' ').next()?.parse().ok());
    assert!(
        passed.is_some_and(|passed| passed >= CHECKS_MIN),
        "{passed:?} checks:\n{}",
        lines.join("\n")
    );
}
