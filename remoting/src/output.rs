//! What is queued for one peer: finished parts, then a tail into which small things are encoded.
//!
//! On the wire: every part in order, then the tail. A large body is queued as it is and never copied; what is shorter than
//! [`COPY_MAX`] is copied into the tail, because an entry of its own in the vectored write costs more than the copy.

use bytes::{Buf, Bytes, BytesMut};
use runtime::TcpStream;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Longest body that is copied into the tail, in bytes.
const COPY_MAX: usize = 2048;
/// Parts given to one vectored write.
const SLICES_MAX: usize = 64;
/// A drained tail larger than this is given back at once, not only when the connection falls quiet.
const TAIL_KEPT_MAX: usize = 64 * 1024;

/// Outcome of [`Output::write_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing is queued any more.
    All,
    /// The socket takes no more now; this much it has taken.
    Some(usize),
}

/// The output queue of a connection.
#[derive(Debug, Default)]
pub(crate) struct Output {
    parts: VecDeque<Bytes>,
    parts_size: usize,
    tail: BytesMut,
}

impl Output {
    /// Bytes queued.
    pub(crate) fn size(&self) -> usize {
        self.parts_size + self.tail.len()
    }

    /// Where small answers are encoded; only append to it.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Queues `part` behind everything else.
    pub(crate) fn push(&mut self, part: Bytes) {
        if part.len() <= COPY_MAX {
            self.tail.extend_from_slice(&part);
            return;
        }
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            self.push_part(sealed);
        }
        self.push_part(part);
    }

    fn push_part(&mut self, part: Bytes) {
        self.parts_size += part.len();
        self.parts.push_back(part);
    }

    /// Drops everything queued.
    pub(crate) fn clear(&mut self) {
        *self = Output::default();
    }

    /// Gives unused memory back.
    pub(crate) fn release(&mut self) {
        if self.size() == 0 {
            self.clear();
        }
    }

    /// Writes until nothing is left or the socket takes no more.
    pub(crate) fn write_to(&mut self, stream: &TcpStream) -> io::Result<Written> {
        let mut taken = 0;
        while self.size() > 0 {
            match self.write_once(stream) {
                Ok(count) => {
                    taken += count;
                    self.advance(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Some(taken)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.tail.capacity() > TAIL_KEPT_MAX {
            self.clear();
        }
        Ok(Written::All)
    }

    fn write_once(&self, stream: &TcpStream) -> io::Result<usize> {
        if self.parts.is_empty() {
            return stream.try_write(&[IoSlice::new(&self.tail)]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let all = self.parts.iter().map(|part| &part[..]).chain([&self.tail[..]]);
        let mut used = 0;
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        stream.try_write(slices.get(..used).unwrap_or_default())
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                self.parts_size -= count;
                return;
            }
            count -= part.len();
            self.parts_size -= part.len();
            self.parts.pop_front();
        }
        if count == self.tail.len() {
            // Not advance(): a cleared tail starts again at the front of its memory.
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(output: &Output) -> Vec<u8> {
        let mut all: Vec<u8> = output.parts.iter().flat_map(|part| part.iter().copied()).collect();
        all.extend_from_slice(&output.tail);
        all
    }

    #[test]
    fn order_on_the_wire_is_the_order_of_queueing() {
        let mut output = Output::default();
        let large = Bytes::from(vec![b'L'; COPY_MAX + 1]);
        output.tail().extend_from_slice(b"first");
        output.push(large.clone());
        output.tail().extend_from_slice(b"third");
        output.push(Bytes::from_static(b"small"));
        let mut expected = b"first".to_vec();
        expected.extend_from_slice(&large);
        expected.extend_from_slice(b"thirdsmall");
        assert_eq!(bytes_of(&output), expected);
        assert_eq!(output.size(), expected.len());
        assert_eq!(output.parts.len(), 2, "the small one is copied, the large one is not");
    }

    #[test]
    fn any_split_of_the_writes_leaves_the_rest() {
        let mut whole = Output::default();
        whole.tail().extend_from_slice(b"head");
        whole.push(Bytes::from(vec![b'A'; 3000]));
        whole.push(Bytes::from(vec![b'B'; 2500]));
        whole.tail().extend_from_slice(b"tail");
        let expected = bytes_of(&whole);
        for cut in 0..=expected.len() {
            let mut output = Output::default();
            output.tail().extend_from_slice(b"head");
            output.push(Bytes::from(vec![b'A'; 3000]));
            output.push(Bytes::from(vec![b'B'; 2500]));
            output.tail().extend_from_slice(b"tail");
            output.advance(cut);
            assert_eq!(bytes_of(&output), expected[cut..], "cut at {cut}");
            assert_eq!(output.size(), expected.len() - cut);
        }
    }
}
