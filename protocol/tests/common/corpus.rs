//! Every decoder against broken copies of the golden data: whatever the bytes, it answers with a value or an error and never panics.
//!
//! The rounds are the same each time (a fixed seed), and as many as fit a few seconds; `PROTOCOL_CORPUS_ROUNDS` sets another number
//! for a long run.

use bytes::BytesMut;
use protocol::body::lenient::Value;
use protocol::body::register::RegisterBrokerBody;
use protocol::body::topic::TopicConfig;
use protocol::body::{properties_text, to_java_json};
use protocol::frame::{Serialize, split_frame};
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::BatchItems;
use protocol::message::id::{OffsetMessageId, UniqueId};
use protocol::message::properties;
use protocol::message::record::Records;
use protocol::request_code::RequestCode;
use protocol::version::Version;

use crate::golden_data::{self, from_hex};

/// Marsaglia's xorshift: few lines, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[5]
    }

    /// Breaks bytes in one to four places: bits flipped, bytes replaced by ones that matter, cut, doubled, lengths made extreme.
    fn mutate(&mut self, original: &[u8]) -> Vec<u8> {
        const TELLING: &[u8] = b"\x00\x01\x02\x7f\x80\xff\"\\{}[]:,'u-9eL";
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return bytes;
            }
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
                    bytes
                        .iter_mut()
                        .skip(at)
                        .zip(extreme)
                        .for_each(|(byte, new)| *byte = new);
                }
                _ => bytes[at] = self.byte(),
            }
        }
        bytes
    }
}

fn rounds() -> usize {
    std::env::var("PROTOCOL_CORPUS_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(40)
}

/// Runs a decoder over broken copies of each original; it counts as tried only if some are refused and some are not.
fn try_broken(originals: &[Vec<u8>], mut decode: impl FnMut(&[u8]) -> bool) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut taken, mut refused) = (0_u32, 0_u32);
    for original in originals {
        decode(original);
        for _ in 0..rounds() {
            let broken = random.mutate(original);
            if decode(&broken) { taken += 1 } else { refused += 1 }
        }
    }
    assert!(
        taken > 0 && refused > 0,
        "{taken} broken copies were taken, {refused} refused"
    );
}

/// The frame of a header's bytes, with true lengths, so that the header itself is tried.
fn framed(serialize: u8, header: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.extend_from_slice(&u32::try_from(header.len() + 4).unwrap().to_be_bytes());
    out.extend_from_slice(&(u32::from(serialize) << 24 | u32::try_from(header.len()).unwrap()).to_be_bytes());
    out.extend_from_slice(header);
    out
}

#[test]
fn broken_frames_are_refused_or_read() {
    let frames: Vec<_> = golden_data::header_frames().map(|(_, _, bytes)| bytes).collect();
    try_broken(&frames, |bytes| {
        let mut bytes = BytesMut::from(bytes);
        matches!(split_frame(&mut bytes), Ok(Some(_)))
    });
}

#[test]
fn broken_headers_are_refused_or_read_by_every_type() {
    for (class, serialize, frame) in golden_data::header_frames() {
        let header = &frame[8..frame.len() - 4];
        let form = u8::from(serialize == Serialize::Binary);
        let mut random = Random(0xD1B5_4A32_D192_ED03);
        for _ in 0..rounds() {
            let broken = random.mutate(header);
            let Ok(Some(frame)) = split_frame(&mut framed(form, &broken)) else {
                continue;
            };
            let mut out = BytesMut::new();
            let mut writer = HeaderWriter::request(&mut out, serialize, RequestCode(frame.code()), 1, 0);
            if let Some(remark) = frame.remark() {
                writer.set_remark(&remark);
            }
            if golden_data::copy_header(class, frame.ext(), &mut writer).is_ok() {
                writer.finish(0).unwrap();
                // What was read from broken bytes and written again is sound.
                assert!(split_frame(&mut out).unwrap().is_some(), "{class}");
            }
        }
    }
}

#[test]
fn broken_bodies_are_refused_or_read_by_every_type() {
    let bodies: Vec<_> = golden_data::bodies()
        .map(|(_, json)| json.as_bytes().to_vec())
        .collect();
    try_broken(&bodies, |bytes| {
        golden_data::read_body_as_all(bytes);
        Value::parse(bytes).is_ok()
    });
}

#[test]
fn broken_records_are_refused_or_read_within_their_bytes() {
    let records: Vec<_> = golden_data::RECORDS
        .lines()
        .map(|line| from_hex(line.rsplit(' ').next().unwrap()))
        .collect();
    try_broken(&records, |bytes| {
        let mut sound = false;
        for record in Records::new(bytes) {
            let Ok(view) = record else { break };
            sound = view.check_body().is_ok();
            assert!(view.size() <= bytes.len());
            properties::iter(view.properties).for_each(drop);
            // The family bits belong to the hosts, so a record that was read is a record that can be written.
            assert_eq!(golden_data::copy_record(&view).len(), view.size());
        }
        sound
    });
}

#[test]
fn broken_batches_ids_lines_and_registrations_are_refused_or_read() {
    let batch = from_hex(golden_data::BATCH.trim());
    try_broken(&[batch.repeat(20)], |bytes| {
        BatchItems::new(bytes).collect_all().is_ok()
    });

    let ids: Vec<_> = golden_data::IDS
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().as_bytes().to_vec())
        .collect();
    try_broken(&ids, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let is_unique = UniqueId::decode(&text).is_ok();
        OffsetMessageId::decode(&text).is_ok() || is_unique
    });

    let lines: Vec<_> = include_str!("../../../tests/golden/data/topic_config.txt")
        .lines()
        .map(Vec::from)
        .collect();
    try_broken(&lines, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = properties_text::parse(&text);
        TopicConfig::from_text(&text).is_some()
    });

    let mut lines = include_str!("../../../tests/golden/data/register_compressed.txt").lines();
    let compressed = from_hex(lines.nth(1).unwrap());
    let read = RegisterBrokerBody::decode(&compressed, true, Version::V5_5_0).unwrap();
    assert!(!to_java_json(&read).is_empty());
    // A broken stream mostly fails its checksum, so many copies are wanted until one passes.
    try_broken(&vec![compressed; 100], |bytes| {
        RegisterBrokerBody::decode(bytes, true, Version::V5_5_0).is_ok()
    });
}
