//! Reads the next piece of a log while the one before is looked at, on a thread of its own, past the page cache where that is possible.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What direct reads have to be aligned to, in memory and in the file.
pub(super) const ALIGNMENT: usize = 4096;
/// Space before a piece for the end of the one before: for the batch that lies across both, which is 4 MiB at most unless one
/// record is larger.
pub(super) const HEADROOM: usize = 4 << 20;

/// Bytes of a log, somewhere in an allocation.
#[derive(Debug, Default)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Piece {
    pub(super) fn content(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.end = self.start;
    }

    /// Takes these bytes instead of its own.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        (self.start, self.end) = (0, bytes.len());
        self.bytes = bytes;
    }

    /// The allocation, to be read into; empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        (self.start, self.end) = (0, 0);
        std::mem::take(&mut self.bytes)
    }

    /// Puts bytes in front; nothing is changed if there is no space.
    pub(super) fn prepend(&mut self, before: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(before.len()) else {
            return false;
        };
        let Some(space) = self.bytes.get_mut(start..self.start) else {
            return false;
        };
        space.copy_from_slice(before);
        self.start = start;
        true
    }

    /// Reads up to `size` bytes of a file, aligned and with headroom.
    fn read(&mut self, file: &File, position: u64, size: usize) -> io::Result<()> {
        self.bytes.resize(HEADROOM + ALIGNMENT + size, 0);
        let aligned = self.bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        self.start = aligned + HEADROOM;
        self.end = self.start;
        let limit = self.start + size;
        while let Some(rest) = self.bytes.get_mut(self.end..limit).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, position + (self.end - self.start) as u64) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is to be read.
struct Wanted {
    file: Arc<File>,
    position: u64,
    size: usize,
    /// To be read into.
    piece: Piece,
}

/// The thread; it ends when this goes.
#[derive(Debug)]
pub(super) struct ReadAhead {
    wanted: Sender<Wanted>,
    read: Receiver<(Piece, io::Result<()>)>,
    spare: Option<Piece>,
    /// Position in the log of what is under way.
    pending: Option<u64>,
}

impl ReadAhead {
    pub(super) fn start() -> io::Result<ReadAhead> {
        let (wanted, requests) = channel::<Wanted>();
        let (done, read) = channel();
        std::thread::Builder::new()
            .name("read ahead".to_owned())
            .spawn(move || {
                while let Ok(mut wanted) = requests.recv() {
                    let result = wanted.piece.read(&wanted.file, wanted.position, wanted.size);
                    if done.send((wanted.piece, result)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(ReadAhead {
            wanted,
            read,
            spare: None,
            pending: None,
        })
    }

    /// Begins to read what lies at `log_position`, which is `position` in its file.
    pub(super) fn request(&mut self, file: Arc<File>, log_position: u64, position: u64, size: usize) {
        self.forget();
        let piece = self.spare.take().unwrap_or_default();
        if self
            .wanted
            .send(Wanted {
                file,
                position,
                size,
                piece,
            })
            .is_ok()
        {
            self.pending = Some(log_position);
        }
    }

    /// What was read of that place, if that was asked for and could be read.
    pub(super) fn take(&mut self, log_position: u64) -> Option<Piece> {
        if self.pending != Some(log_position) {
            return None;
        }
        self.pending = None;
        match self.read.recv().ok()? {
            (piece, Ok(())) if !piece.content().is_empty() => Some(piece),
            (piece, _) => {
                self.spare = Some(piece);
                None
            }
        }
    }

    /// Gives memory back to be used again.
    pub(super) fn give_back(&mut self, piece: Piece) {
        self.spare = Some(piece);
    }

    /// What is under way is not wanted.
    pub(super) fn forget(&mut self) {
        if self.pending.take().is_some()
            && let Ok((piece, _)) = self.read.recv()
        {
            self.spare = Some(piece);
        }
    }
}
