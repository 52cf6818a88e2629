//! A file system on which every write waits.

use super::{must, run, text};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A frozen file system; thawed with the value, in a panic too. A process of its own thaws it when this one is killed.
#[derive(Debug)]
pub struct Frozen {
    at: PathBuf,
    watchdog: Child,
}

impl Frozen {
    /// Freezes it for at most so long.
    pub fn freeze(at: &Path, limit: Duration) -> Frozen {
        let script = format!("sleep {}; exec fsfreeze -u \"$1\"", limit.as_secs());
        let watchdog = Command::new("sh")
            .args(["-c", &script, "thaw", text(at)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        let frozen = Frozen {
            at: at.to_owned(),
            watchdog,
        };
        must("fsfreeze", &["-f", text(at)]);
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(problem) = run("fsfreeze", &["-u", text(&self.at)]) {
            eprintln!("{problem}");
        }
        // It sleeps, or has done its work: either way it may go.
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
    }
}
