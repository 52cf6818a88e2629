//! Plants what a log may hold behind its end: a whole batch of an older end, sound in itself, that follows nothing which is there now.

use crate::scan;
use protocol::message::record::{MAGIC_V1, MAGIC_V2, PHYSICAL_OFFSET_AT, decode_size_and_magic};
use runtime::sim::DiskImage;

/// Where a seal has its batch's begin, the checksum of the batch, and its own, which covers all before it.
const SEAL_START_AT: usize = 24;
const SEAL_BATCH_CRC_AT: usize = 68;
const SEAL_CRC_AT: usize = 72;
/// Where a metadata record says where it lies.
const META_OFFSET_AT: usize = 8;

/// Copies the last batch of a sound log, `min..end`, right behind its end, as it would be if it had been written there once. Only
/// the seal before it is not the one that is there. Says whether there was a batch, and room for it.
pub(crate) fn plant(disk: &mut DiskImage, min: u64, end: u64) -> Result<bool, String> {
    let Some(batch) = scan::batches(disk, min, end)
        .into_iter()
        .rfind(|batch| batch.seal > batch.start)
    else {
        return Ok(false);
    };
    let segments = scan::segments(disk);
    let segment_of = |position| segments.iter().rfind(|(base, _)| *base <= position);
    let (Some((from_base, from)), Some((base, path))) = (segment_of(batch.start), segment_of(end)) else {
        return Ok(false);
    };
    let bytes = disk.file(from).unwrap_or_default();
    let within = |position: u64| usize::try_from(position - from_base).unwrap_or(usize::MAX);
    let mut copy = bytes[within(batch.start)..within(batch.end)].to_vec();
    let seal_at = within(batch.seal) - within(batch.start);
    let length = disk.file(path).map_or(0, |file| file.len() as u64);
    let ends_segment = copy[seal_at + 8..seal_at + 10] != [0, 0];
    if ends_segment || end + copy.len() as u64 > base + length {
        return Ok(false);
    }
    move_records(&mut copy[..seal_at], end)?;
    let batch_crc = crc32fast::hash(&copy[..seal_at]);
    let seal = &mut copy[seal_at..];
    seal[SEAL_START_AT..SEAL_START_AT + 8].copy_from_slice(&end.to_be_bytes());
    seal[SEAL_BATCH_CRC_AT..SEAL_CRC_AT].copy_from_slice(&batch_crc.to_be_bytes());
    let crc = crc32fast::hash(&seal[..SEAL_CRC_AT]);
    seal[SEAL_CRC_AT..SEAL_CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    let done = disk.overwrite(path, end - base, &copy);
    done.map(|()| true).map_err(|error| error.to_string())
}

/// Lets every record say that it lies where it lies now: the first one at `position`.
fn move_records(records: &mut [u8], position: u64) -> Result<(), String> {
    let mut at = 0;
    while at < records.len() {
        let (size, magic) = decode_size_and_magic(&records[at..]).ok_or("a batch ends inside of a record")?;
        let own = at
            + match magic {
                MAGIC_V1 | MAGIC_V2 => PHYSICAL_OFFSET_AT,
                _ => META_OFFSET_AT,
            };
        records[own..own + 8].copy_from_slice(&(position + at as u64).to_be_bytes());
        at += usize::try_from(size).map_err(|error| error.to_string())?;
    }
    Ok(())
}
