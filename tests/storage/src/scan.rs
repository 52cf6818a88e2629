//! The log of a shard read by nothing but its format: what the engine's answers are compared with.

use crate::messages::{Message, QueueName, TOPICS, recognise};
use protocol::message::record::{MAGIC_BLANK, MAGIC_V1, MAGIC_V2, decode_size_and_magic};
use runtime::sim::DiskImage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MAGIC_SEAL: i32 = i32::from_be_bytes(*b"RQsl");
const MAGIC_META: i32 = i32::from_be_bytes(*b"RQmd");
/// After a metadata record of this kind the queues of a topic, its payload, begin at 0 again.
const KIND_DELETE_TOPIC: [u8; 2] = [0xff, 0x01];

/// Where the only shard's files are.
pub(crate) const SHARD: &str = "/store/shard-00";

/// Segments of the log with their first positions.
pub(crate) fn segments(disk: &DiskImage) -> Vec<(u64, PathBuf)> {
    let directory = Path::new(SHARD).join("commitlog");
    let files = disk.files().into_iter().filter_map(|(path, _)| {
        let is_segment = path.parent() == Some(&directory);
        let base = path.file_name()?.to_str()?.parse().ok()?;
        is_segment.then_some((base, path))
    });
    files.collect()
}

/// What is between two positions of a log.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The messages of every queue, in order.
    pub(crate) queues: BTreeMap<QueueName, Vec<Message>>,
    /// Messages whose topic was deleted after them: in no queue, but still found by key and position.
    pub(crate) of_deleted_topics: Vec<Message>,
}

/// Reads a sound log.
pub(crate) fn scan(disk: &DiskImage, min: u64, end: u64) -> Result<Scan, String> {
    let mut found = Scan::default();
    for (base, path) in segments(disk) {
        let bytes = disk.file(&path).unwrap_or_default();
        let mut at = usize::try_from(min.saturating_sub(base)).unwrap_or(0).min(bytes.len());
        while base + (at as u64) < end && at < bytes.len() {
            let position = base + at as u64;
            let rest = &bytes[at..];
            let (size, magic) = decode_size_and_magic(rest).ok_or("a segment ends inside of a record")?;
            let size = usize::try_from(size).map_err(|_| format!("a record of {size} bytes at {position}"))?;
            let record = rest
                .get(..size)
                .filter(|record| record.len() >= 8)
                .ok_or_else(|| format!("a record of {size} bytes at {position} leads out of its segment"))?;
            match magic {
                MAGIC_V1 | MAGIC_V2 => {
                    let message = recognise(record).map_err(|error| format!("at {position}: {error}"))?;
                    if message.position != position {
                        return Err(format!("{message:?} lies at {position}"));
                    }
                    found.queues.entry(message.queue).or_default().push(message);
                }
                MAGIC_META if record.get(24..26) == Some(&KIND_DELETE_TOPIC) => {
                    let deleted = |topic: usize| Some(TOPICS[topic].as_bytes()) == record.get(32..);
                    let gone = found.queues.extract_if(.., |(topic, _), _| deleted(*topic));
                    found.of_deleted_topics.extend(gone.flat_map(|(_, messages)| messages));
                }
                // The rest of the segment is a blank record, which a power cut may have taken: the seal before it counts.
                MAGIC_SEAL if record.get(8..10) == Some(&[0, 1]) => break,
                MAGIC_META | MAGIC_SEAL | MAGIC_BLANK => {}
                _ => return Err(format!("no record begins at {position}, the log ends at {end}")),
            }
            at += size;
        }
    }
    Ok(found)
}

/// A batch of the log: its first byte, its seal's, and the byte behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) start: u64,
    pub(crate) seal: u64,
    pub(crate) end: u64,
}

/// The batches of a sound log between two positions.
pub(crate) fn batches(disk: &DiskImage, min: u64, end: u64) -> Vec<Batch> {
    let mut found = Vec::new();
    for (base, path) in segments(disk) {
        let bytes = disk.file(&path).unwrap_or_default();
        let mut at = usize::try_from(min.saturating_sub(base)).unwrap_or(0).min(bytes.len());
        let mut start = base + at as u64;
        while base + (at as u64) < end
            && let Some((size, magic)) = decode_size_and_magic(&bytes[at..])
            && let Ok(size) = usize::try_from(size)
            && size >= 8
        {
            let position = base + at as u64;
            at += size;
            if magic == MAGIC_SEAL {
                let end = base + at as u64;
                found.push(Batch {
                    start,
                    seal: position,
                    end,
                });
                start = end;
            }
        }
    }
    found
}
