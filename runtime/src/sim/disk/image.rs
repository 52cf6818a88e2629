//! A disk taken out of its machine: its files can be looked at and harmed, and it can be put into another one.

use super::{Disk, Entry, plain};
use std::io;
use std::path::{Path, PathBuf};

/// All that is on a disk. Copies share what neither has changed.
#[derive(Clone, Debug)]
pub struct DiskImage(pub(crate) Disk);

impl DiskImage {
    /// Every file and its length in bytes, by path.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let files = self.0.names.iter().filter_map(|(path, entry)| match entry {
            Entry::File(inode) => Some((path.clone(), self.0.inodes.get(inode)?.cached.length)),
            Entry::Directory => None,
        });
        files.collect()
    }

    /// The bytes of a file.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.peek(path)
    }

    /// Flips one bit of a file, on the disk and in the page cache.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `InvalidInput` when it is shorter.
    pub fn flip_bit(&mut self, path: &Path, position: u64, bit: u64) -> io::Result<()> {
        self.0.flip_bit(path, position, bit)
    }

    /// Puts other bytes into a file, on the disk and in the page cache.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `InvalidInput` when it is shorter.
    pub fn overwrite(&mut self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(Entry::File(inode)) = self.0.entry(&plain(path)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let file = self.0.inode(inode)?;
        if position + bytes.len() as u64 > file.cached.length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.cached.write(position, bytes);
        file.durable.write(position, bytes);
        Ok(())
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.0.remove(path)?;
        let path = plain(path);
        self.0.pending_names.retain(|(_, change)| !change.is_removal_of(&path));
        self.0.durable_names.remove(&path);
        Ok(())
    }
}
