//! Apache's HA protocol, the slave's side. Numbers are big-endian.
//!
//! ```text
//! slave to master, 8 bytes: how far the slave is. The first one says from where to send, the others acknowledge.
//! master to slave: physical offset u64 | bytes u32, then so many bytes of the commitlog; none: the line is alive
//! ```
//! A slave that asks from 0 is sent the last file alone. To have all, a copy that begins at 0 asks from 1: the missing byte is the highest of the
//! first record's size, which is 0, since no record has 16 MiB.

use crate::replication::wire;
use bytes::{Buf as _, BytesMut};
use protocol::message::commitlog::CommitlogStream;
use runtime::TcpStream;
use std::io;
use std::time::Duration;

const HEAD_SIZE: usize = 12;
/// A master sends 32 KiB at most unless haTransferBatchSize says otherwise.
const PART_MAX: usize = 64 << 20;
const READ_SIZE: usize = 256 << 10;
/// haHousekeepingInterval of a master, which says that it is alive every 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The stream that a master sends.
pub(super) struct Incoming {
    arrived: BytesMut,
    /// Bytes of the present part that have not come yet.
    rest: usize,
    /// Where the next byte of the log lies.
    next: u64,
    /// Its records.
    pub(super) log: CommitlogStream,
}

/// What to ask for, to have the log from `begin` on.
pub(super) fn asked_for(begin: u64) -> u64 {
    begin.max(1)
}

impl Incoming {
    pub(super) fn new(begin: u64) -> Incoming {
        let mut log = CommitlogStream::new(begin);
        if begin == 0 {
            log.push(&[0]);
        }
        Incoming {
            arrived: BytesMut::new(),
            rest: 0,
            next: asked_for(begin),
            log,
        }
    }

    /// Reads what comes next into the log.
    pub(super) async fn read(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.arrived.reserve(READ_SIZE);
        let read = runtime::timeout(SILENCE_MAX, stream.read(&mut self.arrived)).await;
        let read = read.map_err(|_silent| io::Error::new(io::ErrorKind::TimedOut, "the master is silent"))??;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the master has closed the connection",
            ));
        }
        self.unpack()
    }

    fn unpack(&mut self) -> io::Result<()> {
        loop {
            let here = self.rest.min(self.arrived.len());
            self.log.push(self.arrived.get(..here).unwrap_or_default());
            self.arrived.advance(here);
            self.rest -= here;
            self.next += here as u64;
            if self.rest > 0 || self.arrived.len() < HEAD_SIZE {
                return Ok(());
            }
            let (offset, size) = (self.arrived.get_u64(), self.arrived.get_u32());
            if offset != self.next {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the master sends its log from {offset}, but {} comes next", self.next),
                ));
            }
            self.rest = usize::try_from(size)
                .ok()
                .filter(|size| *size <= PART_MAX)
                .ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("the master announces {size} bytes at once"),
                    )
                })?;
        }
    }
}

/// Says how far this slave is.
pub(super) async fn report(stream: &TcpStream, position: u64) -> io::Result<()> {
    wire::write_all(stream, &[&asked_for(position).to_be_bytes()]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(offset: u64, bytes: &[u8]) -> Vec<u8> {
        let size = u32::try_from(bytes.len()).unwrap();
        [&offset.to_be_bytes()[..], &size.to_be_bytes(), bytes].concat()
    }

    fn unpacked(begin: u64, sent: &[u8], piece: usize) -> io::Result<u64> {
        let mut incoming = Incoming::new(begin);
        for part in sent.chunks(piece) {
            incoming.arrived.extend_from_slice(part);
            incoming.unpack()?;
        }
        Ok(incoming.log.end())
    }

    #[test]
    fn parts_are_joined_however_they_are_cut_and_a_copy_from_0_asks_from_1() {
        let sent = [part(100, b"abc"), part(103, b""), part(103, &[7; 50_000])].concat();
        for piece in [1, 12, 13, 1000, 100_000] {
            assert_eq!(unpacked(100, &sent, piece).unwrap(), 50_103);
        }
        assert_eq!(asked_for(0), 1);
        assert_eq!(unpacked(0, &part(1, b"abc"), 100).unwrap(), 4);
    }

    #[test]
    fn a_part_from_elsewhere_or_of_impossible_size_ends_the_connection() {
        let elsewhere = unpacked(100, &part(101, b"abc"), 100).unwrap_err();
        assert!(
            elsewhere.to_string().contains("from 101, but 100 comes next"),
            "{elsewhere}"
        );
        let mut huge = part(100, b"");
        huge[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
        assert!(unpacked(100, &huge, 100).is_err());
    }
}
