//! Files of a store by the decoders that recovery and `mqstore` use. Their checksums are made right where the first byte asks
//! for it: else nothing behind a checksum would ever be reached.

use crate::choose;
use engine::inspect::{
    Checkpoint, Description, KEY_PAGE_SIZE, Manifest, Metadata, PAGE_SIZE, Page, RecordKind, RunContent, SEAL_SIZE,
    Seal, decode_directory, key_page_is_sound, key_run_pages, key_runs, kind_and_size, own_offset,
};

/// Behind the magic number of a sealed file or a page of the consume queue.
const CHECKSUM_AT: usize = 4;
/// Of a seal.
const SEAL_CHECKSUM_AT: usize = 72;

/// Kind of the file and whether to mend its checksum, then the file.
pub(crate) fn store_file(input: &[u8]) {
    let Some((choice, input)) = choose(input, 16) else {
        return;
    };
    let mend = choice % 2 == 1;
    let mut bytes = input.to_vec();
    let mend_sealed = |bytes: &mut Vec<u8>| {
        if mend {
            mend_checksum(bytes, CHECKSUM_AT, CHECKSUM_AT + 4);
        }
    };
    match choice / 2 {
        0 => control_records(&mut bytes, mend),
        1 => {
            mend_sealed(&mut bytes);
            if let Ok(checkpoint) = Checkpoint::decode(&bytes) {
                assert!(checkpoint.metadata.len() <= bytes.len() && checkpoint.damage.len() <= bytes.len());
            }
        }
        2 => {
            mend_sealed(&mut bytes);
            if let Ok(manifest) = Manifest::decode(&bytes) {
                assert!(manifest.files.len() <= bytes.len() / 4);
            }
        }
        3 => {
            mend_sealed(&mut bytes);
            if let Ok(runs) = decode_directory(&bytes, 0, 0) {
                assert!(runs <= bytes.len());
            }
        }
        4 => queue_page(&mut bytes, mend),
        5 => {
            mend_sealed(&mut bytes);
            if let Ok(runs) = key_runs(&bytes, 0) {
                assert!(runs.len() <= bytes.len() / 8);
            }
        }
        6 => key_page(&bytes),
        _ => {
            if let Ok(description) = Description::decode(&bytes) {
                assert!(description.segment_size > 0);
            }
        }
    }
}

/// Writes the CRC-32 of what is from `from` on to `at`.
fn mend_checksum(bytes: &mut [u8], at: usize, from: usize) {
    if bytes.len() >= from {
        let crc = crc32fast::hash(&bytes[from..]);
        bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Makes the checksums of all seals right that stand where a record ends: of the batch, of the seal before, of the seal.
pub(crate) fn mend_log(log: &mut [u8]) {
    const PREVIOUS_AT: usize = 64;
    const BATCH_CRC_AT: usize = 68;
    let (mut at, mut batch_start, mut previous) = (0, 0, None::<[u8; 4]>);
    while let Some((kind, size)) = log.get(at..).and_then(kind_and_size) {
        if size == 0 || size > log.len() - at {
            return;
        }
        if kind == RecordKind::Seal && size == SEAL_SIZE {
            let batch_crc = crc32fast::hash(&log[batch_start..at]);
            let seal = &mut log[at..at + SEAL_SIZE];
            if let Some(previous) = previous {
                seal[PREVIOUS_AT..BATCH_CRC_AT].copy_from_slice(&previous);
            }
            seal[BATCH_CRC_AT..SEAL_CHECKSUM_AT].copy_from_slice(&batch_crc.to_be_bytes());
            let crc = crc32fast::hash(&seal[..SEAL_CHECKSUM_AT]).to_be_bytes();
            seal[SEAL_CHECKSUM_AT..SEAL_CHECKSUM_AT + 4].copy_from_slice(&crc);
            (batch_start, previous) = (at + size, Some(crc));
        }
        at += size;
    }
}

fn control_records(bytes: &mut [u8], mend: bool) {
    if mend {
        mend_log(bytes);
    }
    let mut at = 0;
    while let Some((kind, size)) = kind_and_size(&bytes[at..]) {
        assert!(size > 0, "a record of no bytes at {at}");
        let Some(record) = bytes.get(at..at + size) else { return };
        let _offset = own_offset(kind, record);
        match kind {
            RecordKind::Message => {}
            RecordKind::Metadata => {
                if let Some(metadata) = Metadata::decode(record) {
                    assert!(metadata.payload.len() < record.len());
                }
            }
            RecordKind::Seal => {
                if let Some(seal) = Seal::decode(record) {
                    assert!(seal.position().is_none_or(|position| position >= seal.start));
                }
            }
        }
        at += size;
    }
}

fn queue_page(bytes: &mut Vec<u8>, mend: bool) {
    if mend {
        bytes.resize(PAGE_SIZE, 0);
        mend_checksum(bytes, CHECKSUM_AT, CHECKSUM_AT + 4);
    }
    let Ok(page) = Page::check(bytes, 0, 0) else { return };
    let entries = page.runs().map(|run| match run.content {
        RunContent::Entries(entries) => entries.len(),
        RunContent::Floor { .. } | RunContent::Deleted { .. } => 0,
    });
    assert!(
        entries.sum::<usize>() <= PAGE_SIZE / 20,
        "more entries than a page has room for"
    );
}

fn key_page(bytes: &[u8]) {
    let _pages = key_run_pages(bytes, 0, 0);
    let mut page = bytes.to_vec();
    page.resize(KEY_PAGE_SIZE, 0);
    let sealed = key_page_is_sound(0, 0, &page);
    page[KEY_PAGE_SIZE - 1] ^= 1;
    assert!(!(sealed && key_page_is_sound(0, 0, &page)), "a flipped bit passes");
}
