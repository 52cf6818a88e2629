//! The recording of the load in Java: what it sent and what it read back, for the queue checker to judge.

use super::{History, Options, Pull, check};
use checker::Report;
use checker::body::decode;
use std::fs::File;
use std::io::{self, BufReader, Error, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};

/// Larger than any body of the load.
const BODY_MAX: u32 = 4 << 20;

/// Judges the file that `ringmq.interop.Load` has written; its layout stands there.
///
/// # Errors
/// When the file cannot be read, breaks off, or is no recording.
pub fn judge_recording(file: &Path) -> io::Result<Report> {
    let mut file = Recording(BufReader::new(File::open(file)?));
    let topic = file.text()?;
    let (senders, queues) = (file.u32()?, file.u32()?);
    let mut history = History::new(&Options {
        senders,
        queues,
        ..Options::new(&topic)
    });
    // Java's time has an origin of its own; only differences count.
    let origin = (Instant::now(), file.u64()?);
    let time = |nanos: u64| origin.0 + Duration::from_nanos(nanos.saturating_sub(origin.1));
    let mut pulls = Vec::new();
    loop {
        match file.byte()? {
            b'S' => {
                let (sender, number) = (file.u32()?, file.u32()?);
                let times = (time(file.u64()?), time(file.u64()?));
                let answer = match file.i64()? {
                    -1 => Err("not acknowledged".to_owned()),
                    queue_offset => Ok(queue_offset.unsigned_abs()),
                };
                history.note(times, sender, number, answer);
            }
            b'P' => pulls.push(file.pull(&time)?),
            b'E' => break,
            other => return Err(Error::new(ErrorKind::InvalidData, format!("a record of kind {other}"))),
        }
    }
    Ok(check(&history, None, &pulls))
}

/// Big-endian, as Java's DataOutputStream writes.
struct Recording(BufReader<File>);

impl Recording {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.bytes::<1>()?[0])
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_be_bytes(self.bytes()?))
    }

    fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.bytes()?))
    }

    fn block(&mut self) -> io::Result<Vec<u8>> {
        let size = self.u32()?;
        if size > BODY_MAX {
            return Err(Error::new(ErrorKind::InvalidData, format!("a body of {size} bytes")));
        }
        let mut block = vec![0; size as usize];
        self.0.read_exact(&mut block)?;
        Ok(block)
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.block()?).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }

    fn pull(&mut self, time: &impl Fn(u64) -> Instant) -> io::Result<Pull> {
        let queue_id = self.u32()?;
        let (began, ended) = (time(self.u64()?), time(self.u64()?));
        let (from, next) = (self.u64()?, self.u64()?);
        let (queue_begin, queue_end) = (self.u64()?, self.u64()?);
        let messages = (0..self.u32()?).map(|_| Ok((self.u64()?, decode(&self.block()?))));
        Ok(Pull {
            queue_id,
            began,
            ended,
            from,
            next,
            queue_begin,
            queue_end,
            messages: messages.collect::<io::Result<_>>()?,
        })
    }
}
