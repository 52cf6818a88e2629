//! Disks that can be filled, frozen, cut off and broken: loop devices, small file systems, zram, a disk of our own by FUSE.
//!
//! They need root and devices that not every machine has: [`missing`] says what is not there. Whatever is made is undone when
//! its value goes, in a panic too.

mod ext4;
mod frozen;
mod loops;
mod ram;
mod recorded;

pub use ext4::{Ext4, Journal};
pub use frozen::Frozen;
pub use loops::Loop;
pub use ram::{Filler, Zram};
pub use recorded::{Fate, RecordedDisk, Recording};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the kernel may take to let go of what a killed process held.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);

/// What a fault needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Root, and loop devices with ext4 on them.
    LoopExt4,
    /// `fsfreeze`.
    Freeze,
    /// `/dev/fuse`.
    Fuse,
    /// zram devices.
    Zram,
    /// The library that fakes the wall clock.
    FakeTime,
}

/// Why the machine cannot do this, if it cannot.
pub fn missing(means: &[Means]) -> Option<String> {
    let lacks = |means: &Means| match means {
        Means::LoopExt4 if !rustix::process::geteuid().is_root() => Some("root"),
        Means::LoopExt4 if !Path::new("/dev/loop-control").exists() => Some("loop devices"),
        Means::LoopExt4 if !runs("mkfs.ext4", &["-V"]) => Some("mkfs.ext4"),
        Means::Freeze if !runs("fsfreeze", &["--version"]) => Some("fsfreeze"),
        Means::Fuse if !Path::new("/dev/fuse").exists() => Some("FUSE"),
        Means::Zram if !Path::new("/sys/class/zram-control").exists() => Some("zram"),
        Means::FakeTime if faketime().is_none() => Some("libfaketime"),
        _ => None,
    };
    let lacking: Vec<&str> = means.iter().filter_map(lacks).collect();
    (!lacking.is_empty()).then(|| format!("no {}", lacking.join(", no ")))
}

/// Where libfaketime's library for programs with threads is.
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let libraries = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists())
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs a program to its end and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!(
        "{program} {} ended with {}: {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

fn must(program: &str, arguments: &[&str]) -> String {
    run(program, arguments).unwrap_or_else(|problem| panic!("{problem}"))
}

/// Runs it again until the kernel does it: files of a killed process with a ring close a little after its end.
fn until_released(program: &str, arguments: &[&str]) -> Result<(), String> {
    let end = Instant::now() + RELEASE_LIMIT;
    loop {
        match run(program, arguments) {
            Ok(_) => return Ok(()),
            Err(problem) if Instant::now() >= end => return Err(problem),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}
