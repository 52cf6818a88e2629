//! Broken copies of sound bytes, for the runs without libFuzzer: the same from the same seed.

/// Marsaglia's xorshift: few lines, and the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed; 0 is taken as another.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which counts as at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next_number() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.next_number().to_le_bytes()[5]
    }

    /// Breaks bytes in one to four places: bits flipped, bytes replaced by ones that matter, cut, doubled, lengths made extreme.
    pub fn mutate(&mut self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return bytes;
            }
            self.break_once(&mut bytes);
        }
        bytes
    }

    fn break_once(&mut self, bytes: &mut Vec<u8>) {
        const TELLING: &[u8] = b"\x00\x01\x02\x7f\x80\xff\"\\{}[]:,'u-9eL\n =";
        let at = self.below(bytes.len());
        match self.below(6) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = TELLING[self.below(TELLING.len())],
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + self.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let extreme = [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0; 4]][self.below(4)];
                let places = bytes.iter_mut().skip(at);
                places.zip(extreme).for_each(|(byte, new)| *byte = new);
            }
            _ => bytes[at] = self.byte(),
        }
    }
}
