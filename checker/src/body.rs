//! The body of a checked message: who sent it, as what, and whether it is whole.
//!
//! Layout, big-endian; [`HEADER_BYTES`] bytes and then filler up to the wanted size:
//!
//! | byte | what |
//! |---|---|
//! | 0 | magic `RMQCHECK` |
//! | 8 | size of the whole body, u32 |
//! | 12 | CRC32 of the whole body with these four bytes zero, u32 |
//! | 16 | producer, u32 |
//! | 20 | sharding key, u32; `u32::MAX`: none |
//! | 24 | sequence of the producer, u64 |
//! | 32 | CRC32 of the topic's name, u32 |
//! | 36 | CRC32 of the properties that the producer set, u32; 0: it does not say |
//! | 40 | filler: bytes drawn from producer and sequence, so that no two bodies look alike |

use crate::history::MessageId;

/// Bytes of the fixed part, and so the smallest body.
pub const HEADER_BYTES: usize = 40;

const MAGIC: u64 = u64::from_be_bytes(*b"RMQCHECK");
const CHECKSUM: std::ops::Range<usize> = 12..16;
const NO_KEY: u32 = u32::MAX;

/// What a body says about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who sent it, and as which of its messages.
    pub id: MessageId,
    /// The key by which the producer chose the queue.
    pub sharding_key: Option<u32>,
    /// [`name_checksum`] of the topic it was sent to.
    pub topic: u32,
    /// [`name_checksum`] of the properties that it was sent with; 0 when the producer does not say.
    pub properties: u32,
}

/// Why bytes are not the body of a checked message, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Too short to be one.
    #[error("a body of {size} bytes is shorter than the {HEADER_BYTES} bytes that every checked body has")]
    Short {
        /// Its size.
        size: usize,
    },
    /// It begins with something else.
    #[error("the body begins with {found:#018x} and not with the magic {MAGIC:#018x}")]
    Magic {
        /// What is there instead.
        found: u64,
    },
    /// Cut or joined.
    #[error("the body has {found} bytes and says that it has {expected}")]
    Size {
        /// What it says.
        expected: u32,
        /// What it has.
        found: usize,
    },
    /// Some bit is wrong.
    #[error("the body's checksum is {expected:#010x} and its bytes make {found:#010x}")]
    Checksum {
        /// What it says.
        expected: u32,
        /// What its bytes make.
        found: u32,
    },
    /// The body is whole and its properties are others.
    #[error("the body says that the properties' checksum is {expected:#010x} and they make {found:#010x}")]
    Properties {
        /// What it says.
        expected: u32,
        /// What the properties that came with it make.
        found: u32,
    },
}

/// The checksum by which a body names a topic or its properties.
#[must_use]
pub fn name_checksum(text: &[u8]) -> u32 {
    crc32fast::hash(text)
}

/// A body of `size` bytes, or of [`HEADER_BYTES`] when that is less.
///
/// # Panics
/// When `size` is no u32.
#[must_use]
pub fn encode(identity: &Identity, size: usize) -> Vec<u8> {
    let mut filler = Vec::with_capacity(size.saturating_sub(HEADER_BYTES));
    fill(&mut filler, identity.id, size.saturating_sub(HEADER_BYTES));
    let mut body = header(identity, &[&filler]).to_vec();
    body.extend_from_slice(&filler);
    body
}

/// The fixed part of a body whose filler is the caller's: these parts, one behind the other. For load generators, which
/// have no time to make bytes.
///
/// # Panics
/// When the body's size is no u32.
#[must_use]
pub fn header(identity: &Identity, filler: &[&[u8]]) -> [u8; HEADER_BYTES] {
    let size = HEADER_BYTES + filler.iter().map(|part| part.len()).sum::<usize>();
    let mut header = without_checksum(identity, size);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header);
    filler.iter().for_each(|part| hasher.update(part));
    header[CHECKSUM].copy_from_slice(&hasher.finalize().to_be_bytes());
    header
}

/// Bytes of the header and of what [`header_before`] reads: a whole block for the checksum, which is slow by the byte.
const BLOCK: usize = 64;
/// Bytes that [`header_before`] reads.
pub const BEGIN_BYTES: usize = BLOCK - HEADER_BYTES;

/// As [`header`] for the filler `begin` and behind it an ending with this checksum and of the size that `joint` is for. For
/// load generators whose bodies end with the same bytes again and again.
///
/// # Panics
/// When the body's size is no u32.
#[must_use]
pub fn header_before(identity: &Identity, begin: &[u8; BEGIN_BYTES], joint: &Joint, ending: u32) -> [u8; HEADER_BYTES] {
    let mut header = without_checksum(identity, BLOCK + joint.size);
    let mut block = [0; BLOCK];
    let (header_part, begin_part) = block.split_at_mut(HEADER_BYTES);
    header_part.copy_from_slice(&header);
    begin_part.copy_from_slice(begin);
    let all = joint.join(crc32fast::hash(&block), ending);
    header[CHECKSUM].copy_from_slice(&all.to_be_bytes());
    header
}

/// The bytes of the checksum are zero.
fn without_checksum(identity: &Identity, size: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC.to_be_bytes());
    header[8..12].copy_from_slice(&u32::try_from(size).expect("a body is below 4 GiB").to_be_bytes());
    header[16..20].copy_from_slice(&identity.id.producer.to_be_bytes());
    header[20..24].copy_from_slice(&identity.sharding_key.unwrap_or(NO_KEY).to_be_bytes());
    header[24..32].copy_from_slice(&identity.id.sequence.to_be_bytes());
    header[32..36].copy_from_slice(&identity.topic.to_be_bytes());
    header[36..40].copy_from_slice(&identity.properties.to_be_bytes());
    header
}

/// Makes the checksum of two byte strings out of theirs, the second of a size that is known before.
///
/// What bytes behind it do to a checksum is linear in its bits: a table for each of its bytes holds what they come to.
#[derive(Clone, Debug)]
pub struct Joint {
    size: usize,
    tables: Box<[[u32; 256]; 4]>,
}

impl Joint {
    /// For second strings of `size` bytes.
    #[must_use]
    pub fn new(size: usize) -> Joint {
        let shifted = |crc: u32| {
            let mut hasher = crc32fast::Hasher::new_with_initial_len(crc, 0);
            hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, size as u64));
            hasher.finalize()
        };
        let mut tables = Box::new([[0; 256]; 4]);
        for (table, byte) in tables.iter_mut().zip(0..) {
            let bits: [u32; 8] = std::array::from_fn(|bit| shifted(1 << (byte * 8 + bit)));
            for (entry, value) in table.iter_mut().zip(0_u32..) {
                let set = bits.iter().zip(0..).filter(|(_bit, place)| value >> place & 1 == 1);
                *entry = set.fold(0, |all, (bit, _place)| all ^ bit);
            }
        }
        Joint { size, tables }
    }

    /// Bytes of the second strings.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    fn join(&self, first: u32, second: u32) -> u32 {
        let bytes = self.tables.iter().zip(first.to_le_bytes());
        bytes.fold(second, |all, (table, byte)| all ^ table[usize::from(byte)])
    }
}

/// What a body says, when it is whole.
///
/// # Errors
/// When it is no body of a checked message, or not the bytes that were sent.
pub fn decode(body: &[u8]) -> Result<Identity, BodyError> {
    if body.len() < HEADER_BYTES {
        return Err(BodyError::Short { size: body.len() });
    }
    let found = u64::from_be_bytes(field(body, 0));
    if found != MAGIC {
        return Err(BodyError::Magic { found });
    }
    let expected = u32::from_be_bytes(field(body, 8));
    if usize::try_from(expected) != Ok(body.len()) {
        return Err(BodyError::Size {
            expected,
            found: body.len(),
        });
    }
    let expected = u32::from_be_bytes(field(body, CHECKSUM.start));
    let found = checksum(body);
    if expected != found {
        return Err(BodyError::Checksum { expected, found });
    }
    let sharding_key = u32::from_be_bytes(field(body, 20));
    Ok(Identity {
        id: MessageId {
            producer: u32::from_be_bytes(field(body, 16)),
            sequence: u64::from_be_bytes(field(body, 24)),
        },
        sharding_key: (sharding_key != NO_KEY).then_some(sharding_key),
        topic: u32::from_be_bytes(field(body, 32)),
        properties: u32::from_be_bytes(field(body, 36)),
    })
}

/// The same for a message with these properties, in the form in which its producer took their checksum.
///
/// # Errors
/// As [`decode`], and [`BodyError::Properties`] when the producer says something else about them.
pub fn decode_with(body: &[u8], properties: &[u8]) -> Result<Identity, BodyError> {
    let identity = decode(body)?;
    let (expected, found) = (identity.properties, name_checksum(properties));
    if expected != 0 && expected != found {
        return Err(BodyError::Properties { expected, found });
    }
    Ok(identity)
}

fn field<const N: usize>(body: &[u8], at: usize) -> [u8; N] {
    body[at..at + N].try_into().expect("the slice has N bytes")
}

fn checksum(body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&body[..CHECKSUM.start]);
    hasher.update(&[0; CHECKSUM.end - CHECKSUM.start]);
    hasher.update(&body[CHECKSUM.end..]);
    hasher.finalize()
}

/// Appends filler up to `size`: a xorshift generator that starts at the message's identity.
fn fill(body: &mut Vec<u8>, id: MessageId, size: usize) {
    let mut state = (u64::from(id.producer) << 32 ^ id.sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while body.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bytes = state.to_be_bytes();
        body.extend_from_slice(&bytes[..bytes.len().min(size - body.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        id: MessageId {
            producer: 7,
            sequence: 1 << 40,
        },
        sharding_key: Some(3),
        topic: 0x1234_5678,
        properties: 9,
    };

    #[test]
    fn a_body_of_any_size_says_what_it_was_made_of() {
        for size in [0, HEADER_BYTES, 41, 47, 48, 1_000, 70_001] {
            let body = encode(&IDENTITY, size);
            assert_eq!(body.len(), size.max(HEADER_BYTES));
            assert_eq!(decode(&body), Ok(IDENTITY));
        }
        let keyless = Identity {
            sharding_key: None,
            ..IDENTITY
        };
        assert_eq!(decode(&encode(&keyless, 100)), Ok(keyless));
    }

    #[test]
    fn a_header_before_a_filler_in_parts_makes_a_whole_body() {
        let mut body = header(&IDENTITY, &[b"abc", b"", b"defgh"]).to_vec();
        body.extend_from_slice(b"abcdefgh");
        assert_eq!(decode(&body), Ok(IDENTITY));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let body = encode(&IDENTITY, 90);
        for bit in 0..body.len() * 8 {
            let mut wrong = body.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&wrong).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_is_the_same_whether_the_ending_is_read_or_its_checksum_is_joined() {
        for size in [0, 1, 7, 1000, 70_000] {
            let ending: Vec<u8> = (0..size).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
            let joined = header_before(
                &IDENTITY,
                &[7; BEGIN_BYTES],
                &Joint::new(size),
                crc32fast::hash(&ending),
            );
            assert_eq!(joined, header(&IDENTITY, &[&[7; BEGIN_BYTES], &ending]), "{size}");
        }
    }

    #[test]
    fn a_cut_body_and_a_foreign_one_are_named() {
        let body = encode(&IDENTITY, 90);
        assert_eq!(
            decode(&body[..89]),
            Err(BodyError::Size {
                expected: 90,
                found: 89
            })
        );
        assert_eq!(decode(&body[..39]), Err(BodyError::Short { size: 39 }));
        assert!(matches!(decode(&[b'x'; 60]), Err(BodyError::Magic { .. })));
    }

    #[test]
    fn other_properties_than_were_sent_are_noticed() {
        let said = Identity {
            properties: name_checksum(b"TAGS=a"),
            ..IDENTITY
        };
        let (body, silent) = (encode(&said, 90), encode(&Identity { properties: 0, ..said }, 90));
        assert_eq!(decode_with(&body, b"TAGS=a"), Ok(said));
        assert!(matches!(
            decode_with(&body, b"TAGS=b"),
            Err(BodyError::Properties { .. })
        ));
        assert!(decode_with(&silent, b"TAGS=b").is_ok());
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let body = encode(&IDENTITY, 40);
        assert_eq!(&body[..12], b"RMQCHECK\0\0\0\x28");
        assert_eq!(body[16..20], 7_u32.to_be_bytes());
        assert_eq!(body[20..24], 3_u32.to_be_bytes());
        assert_eq!(body[24..32], (1_u64 << 40).to_be_bytes());
        assert_eq!(body[32..36], 0x1234_5678_u32.to_be_bytes());
    }
}
