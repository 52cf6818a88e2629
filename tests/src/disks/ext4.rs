//! ext4 on a device of its own.

use super::{must, text, until_released};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Whether the file system keeps a journal. Without one a failing device does not make it read-only at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    With,
    Without,
}

/// A mounted ext4; unmounted with the value. End the processes that use it first.
#[derive(Debug)]
pub struct Ext4 {
    device: PathBuf,
    at: PathBuf,
    mounted: bool,
}

impl Ext4 {
    /// Makes a file system on the device and mounts it.
    pub fn make(device: &Path, at: &Path, journal: Journal) -> Ext4 {
        let mut arguments = vec![
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        ];
        if journal == Journal::Without {
            arguments.extend(["-O", "^has_journal"]);
        }
        arguments.push(text(device));
        must("mkfs.ext4", &arguments);
        Ext4::mount(device, at)
    }

    /// Mounts what is on the device.
    pub fn mount(device: &Path, at: &Path) -> Ext4 {
        std::fs::create_dir_all(at).unwrap_or_else(|error| panic!("cannot make {}: {error}", at.display()));
        let mut ext4 = Ext4 {
            device: device.to_owned(),
            at: at.to_owned(),
            mounted: false,
        };
        ext4.mount_again();
        ext4
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Mounts it after [`Ext4::unmount`]; a journal is replayed.
    pub fn mount_again(&mut self) {
        must("mount", &["-t", "ext4", text(&self.device), text(&self.at)]);
        self.mounted = true;
    }

    pub fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let outcome = until_released("umount", &[text(&self.at)]);
            outcome.unwrap_or_else(|problem| panic!("{problem}"));
        }
    }

    /// Cuts the file system off as a power cut would: what is not on the device by now never gets there, neither data nor
    /// journal, and every call after it fails.
    pub fn pull_the_plug(&self) {
        let top = File::open(&self.at).unwrap_or_else(|error| panic!("cannot open {}: {error}", self.at.display()));
        shut_down(&top).unwrap_or_else(|error| panic!("cannot shut {} down: {error}", self.at.display()));
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if self.mounted
            && let Err(problem) = until_released("umount", &[text(&self.at)])
        {
            eprintln!("{problem}");
        }
    }
}

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: no program of the base system sends it.
#[expect(
    unsafe_code,
    reason = "ioctls have no safe form, and nothing else cuts off a live file system"
)]
fn shut_down(top: &File) -> io::Result<()> {
    const NO_LOG_FLUSH: u32 = 2;
    const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
    // SAFETY: the kernel's ext4.h defines this number with a pointer to one u32, which it only reads.
    let request = unsafe { rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH) };
    // SAFETY: the request above is complete, and a file that is not on ext4 refuses it with ENOTTY.
    unsafe { rustix::ioctl::ioctl(top, request) }.map_err(io::Error::from)
}
