//! Block devices made of files.

use super::{must, run, text};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A loop device; detached with the value.
#[derive(Debug)]
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    /// A device of a new, sparse file.
    pub fn of_new_file(file: &Path, size: u64) -> Loop {
        let made = File::create(file).and_then(|made| made.set_len(size));
        made.unwrap_or_else(|error| panic!("cannot make {} of {size} bytes: {error}", file.display()));
        Loop::of(file, false)
    }

    /// A device of a file that is there. With `direct`, what the device is told to flush reaches the file's own file system
    /// without the page cache between them.
    pub fn of(file: &Path, direct: bool) -> Loop {
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        let device = must("losetup", &["--find", "--show", direct, text(file)]);
        Loop { device: device.into() }
    }

    pub fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(problem) = run("losetup", &["--detach", text(&self.device)]) {
            eprintln!("{problem}");
        }
    }
}
