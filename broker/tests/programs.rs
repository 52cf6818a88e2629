//! The program as a process: what it prints, its exit codes.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const MQBROKER: &str = env!("CARGO_BIN_EXE_mqbroker");

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("programs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(MQBROKER)
        .args(arguments)
        .env_remove("NAMESRV_ADDR")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_broken_file_is_refused_at_once_with_253() {
    let folder = Folder::new("broken");
    let file = folder.path("broker.conf");
    std::fs::write(&file, "brokerName=broker-a\nlistenPort=10921x\nbrokerIp1=10.0.0.1\n").unwrap();
    let best = (0..5)
        .map(|_round| {
            let start = Instant::now();
            let output = run(&["-c", &file]);
            assert_eq!(output.status.code(), Some(253));
            assert_eq!(text(&output.stdout), "");
            let errors = text(&output.stderr);
            assert_eq!(errors.lines().count(), 2, "{errors}");
            assert!(
                errors.contains("line 2 is not a number") && errors.contains("did you mean brokerIP1?"),
                "{errors}"
            );
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_millis(100), "took {best:?}");
}

#[test]
fn printing_ends_with_0_and_bad_arguments_with_1() {
    assert_eq!(run(&["-p"]).status.code(), Some(0));
    assert_eq!(run(&["-h"]).status.code(), Some(0));
    assert_eq!(run(&["--nonsense"]).status.code(), Some(1));
    assert_eq!(run(&["--enable-proxy"]).status.code(), Some(1));
}
