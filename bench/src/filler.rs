//! Bytes that bodies are cut from: as compressible as asked for, and not the same bytes in each body.
//!
//! Bodies are slices of one pool at places that change from message to message, so that nothing is copied and nothing that
//! remembers earlier messages has an easy time.

use bytes::Bytes;

/// Bytes of the pool beyond the largest body. It stays in the second-level cache.
const SPARE: usize = 64 * 1024;
/// Constant and random bytes alternate within runs of this many bytes, so that every cut has its share of both.
const RUN: usize = 64;
/// Bodies begin at multiples of this.
const STEP: usize = 64;

/// The pool.
#[derive(Clone, Debug)]
pub struct Filler {
    pool: Bytes,
    places: usize,
    next: usize,
    /// By place: size and checksum of the last body that was cut there.
    checksums: Vec<(usize, u32)>,
}

impl Filler {
    /// A pool for bodies of up to `size_max` bytes, of which a compressor should save the share `compressible`, 0 to 1.
    #[must_use]
    pub fn new(size_max: usize, compressible: f64, seed: u64) -> Filler {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of 64"
        )]
        let constant = (compressible.clamp(0.0, 1.0) * RUN as f64).round() as usize;
        let mut state = seed | 1;
        let bytes = (0..size_max + SPARE).map(|at| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [random, ..] = state.to_le_bytes();
            if at % RUN < constant { b'.' } else { random }
        });
        Filler {
            pool: bytes.collect(),
            places: SPARE / STEP,
            next: 0,
            checksums: vec![(0, 0); SPARE / STEP],
        }
    }

    /// The next body of that size.
    pub fn cut(&mut self, size: usize) -> Bytes {
        let from = self.next * STEP;
        // 7 is prime to the number of places, so that all of them have their turn and neighbours do not overlap much.
        self.next = (self.next + 7) % self.places;
        self.pool.slice(from..from + size)
    }

    /// As [`Filler::cut`], with the CRC32 of the bytes behind the first `without`, which is reckoned once for each place as
    /// long as sizes stay the same. `without` is the same at each call.
    pub fn cut_with_checksum(&mut self, size: usize, without: usize) -> (Bytes, u32) {
        let place = self.next;
        let bytes = self.cut(size);
        let known = &mut self.checksums[place];
        if known.0 != size {
            *known = (size, crc32fast::hash(&bytes[without..]));
        }
        (bytes, known.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn deflated(bytes: &[u8]) -> f64 {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().len() as f64 / bytes.len() as f64
    }

    #[test]
    fn a_compressor_saves_the_share_that_was_asked_for() {
        for share in [0.0, 0.25, 0.5, 0.75, 0.9] {
            let body = Filler::new(16_384, share, 7).cut(16_384);
            let left = deflated(&body);
            assert!((left - (1.0 - share)).abs() < 0.08, "{share} asked for, {left} left");
        }
    }

    #[test]
    fn checksums_are_those_of_the_bytes_whatever_was_cut_before() {
        let mut filler = Filler::new(300, 0.0, 7);
        for number in 0..3 * SPARE / STEP {
            let (bytes, checksum) = filler.cut_with_checksum(100 + number / 700 * 100 % 300, 8);
            assert_eq!(checksum, crc32fast::hash(&bytes[8..]), "body {number}");
        }
    }

    #[test]
    fn bodies_differ_and_have_their_size() {
        let mut filler = Filler::new(100, 0.0, 7);
        let (first, second) = (filler.cut(100), filler.cut(60));
        assert_eq!((first.len(), second.len()), (100, 60));
        assert_ne!(first.slice(..60), second);
    }
}
