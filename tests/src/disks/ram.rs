//! Disks without room: filled by a file, or, unseen by their users, compressed in memory up to a limit.

use super::run;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file that takes all the room of a file system; gives it back with the value.
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
}

impl Filler {
    /// Takes room until none is left.
    pub fn fill(directory: &Path) -> Filler {
        let path = directory.join("filler");
        let file = File::create(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        let mut end = 0;
        for piece in [64 << 20, 1 << 20, 4096] {
            while fallocate(&file, FallocateFlags::empty(), end, piece).is_ok() {
                end += piece;
            }
        }
        Filler { path }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A compressed disk in memory with a limit that its users do not see: beyond it, writes fail with EIO.
#[derive(Debug)]
pub struct Zram {
    number: String,
}

impl Zram {
    pub fn new(size: u64) -> Zram {
        let control = "/sys/class/zram-control/hot_add";
        let number = std::fs::read_to_string(control).unwrap_or_else(|error| panic!("{control}: {error}"));
        let zram = Zram {
            number: number.trim().to_owned(),
        };
        zram.set("disksize", &size.to_string());
        zram
    }

    pub fn device(&self) -> PathBuf {
        format!("/dev/zram{}", self.number).into()
    }

    /// No more memory than is used now: the next new page is refused. Without a limit (`false`) there is room again.
    pub fn limit(&self, limited: bool) {
        self.set("mem_limit", if limited { "4096" } else { "0" });
    }

    fn set(&self, name: &str, value: &str) {
        let path = format!("/sys/block/zram{}/{name}", self.number);
        std::fs::write(&path, value).unwrap_or_else(|error| panic!("cannot write {value} to {path}: {error}"));
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let remove = format!("echo {} > /sys/class/zram-control/hot_remove", self.number);
        if let Err(problem) = run("sh", &["-c", &remove]) {
            eprintln!("{problem}");
        }
    }
}
