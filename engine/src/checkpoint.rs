//! Checkpoint of a shard: what a start need not look at again. Replaced as a whole; the one before is kept beside it as
//! `checkpoint.previous`. Everything it promises was made durable before it is written.
//!
//! ```text
//! magic u32 | CRC-32 of the rest u32 | format u8 | shard u8 | flags u16 (1: closed in good order; 2: it copies another log)
//! store id u64 | epoch u32 | CRC of the seal before `start` u32 | start u64 | synced u64 | end u64 | snapshot position u64
//! newest record's store time ms i64 | unsynced bytes at most u64
//! boot id: length u16, bytes | damaged ranges: count u32, each from u64, to u64, reason: length u16, bytes
//! metadata: count u32, each kind u16, length u32, bytes
//! ```
//! Numbers are big-endian. `start` is where a walk over the log begins: below it nothing is missing in any index, and all
//! metadata is in the snapshot. `snapshot position`: metadata records from there on are not all in the snapshot. `end` is where
//! the log ends, and counts only when the shard was closed in good order.

use crate::error::Error;
use crate::index_file::{Reader, seal, unseal};
use crate::message::MetaRecord;
use crate::planted::{self, Bug};
use bytes::BufMut;
use protocol::model::PhysicalOffset;
use runtime::file;
use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: u32 = u32::from_be_bytes(*b"RQcp");
const FORMAT: u8 = 1;
const FLAG_CLEAN: u16 = 1;
const FLAG_COPIES: u16 = 2;

/// What a checkpoint file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) shard: u8,
    pub(crate) clean: bool,
    /// What was written since is another log's: its seals say what was durable there, not here.
    pub(crate) copies: bool,
    pub(crate) store_id: u64,
    pub(crate) epoch: u32,
    pub(crate) start_crc: u32,
    pub(crate) start: u64,
    pub(crate) synced: u64,
    pub(crate) end: u64,
    pub(crate) snapshot_position: u64,
    pub(crate) newest_ms: i64,
    /// Bytes behind what is durable that may have been written when everything stops.
    pub(crate) unsynced_max: u64,
    pub(crate) boot_id: Vec<u8>,
    pub(crate) damage: Vec<DamagedRange>,
    pub(crate) metadata: Vec<MetaRecord>,
}

/// A damaged part of the log that an earlier start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DamagedRange {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) reason: String,
}

/// Where the last checkpoint of an open shard stands.
#[derive(Debug)]
pub(crate) struct CheckpointState {
    /// The last one, as written; its metadata is kept only until the broker has given a snapshot.
    pub(crate) last: RefCell<Checkpoint>,
    /// Confirm offset when it was taken.
    pub(crate) taken_at: Cell<u64>,
    /// Where a walk from the checkpoint before it begins: segments below may be deleted, since either may be used.
    pub(crate) deletable_to: Cell<u64>,
    /// Something was committed since.
    pub(crate) dirty: Cell<bool>,
    /// Something was committed since the shard was opened, so the broker knows the metadata that it was given then.
    pub(crate) used: Cell<bool>,
}

impl CheckpointState {
    pub(crate) fn new(last: Checkpoint, end: u64) -> CheckpointState {
        CheckpointState {
            deletable_to: Cell::new(last.start),
            last: RefCell::new(last),
            taken_at: Cell::new(end),
            dirty: Cell::default(),
            used: Cell::default(),
        }
    }
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(FORMAT);
        out.put_u8(self.shard);
        let clean = if self.clean { FLAG_CLEAN } else { 0 };
        out.put_u16(if self.copies { clean | FLAG_COPIES } else { clean });
        out.put_u64(self.store_id);
        out.put_u32(self.epoch);
        out.put_u32(self.start_crc);
        for position in [self.start, self.synced, self.end, self.snapshot_position] {
            out.put_u64(position);
        }
        out.put_i64(self.newest_ms);
        out.put_u64(self.unsynced_max);
        put_short(&mut out, &self.boot_id);
        out.put_u32(crate::index_file::count_u32(self.damage.len()));
        for range in &self.damage {
            out.put_u64(range.from);
            out.put_u64(range.to);
            put_short(&mut out, range.reason.as_bytes());
        }
        out.put_u32(crate::index_file::count_u32(self.metadata.len()));
        for record in &self.metadata {
            out.put_u16(record.kind);
            out.put_u32(crate::index_file::count_u32(record.payload.len()));
            out.put_slice(&record.payload);
        }
        seal(MAGIC, &out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Checkpoint, &'static str> {
        let mut reader = unseal(MAGIC, bytes)?;
        Self::decode_fields(&mut reader).ok_or("it is of another format")
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Checkpoint> {
        if reader.u8()? != FORMAT {
            return None;
        }
        let shard = reader.u8()?;
        let flags = reader.u16()?;
        let mut checkpoint = Checkpoint {
            shard,
            clean: flags & FLAG_CLEAN != 0,
            copies: flags & FLAG_COPIES != 0,
            store_id: reader.u64()?,
            epoch: reader.u32()?,
            start_crc: reader.u32()?,
            start: reader.u64()?,
            synced: reader.u64()?,
            end: reader.u64()?,
            snapshot_position: reader.u64()?,
            newest_ms: reader.i64()?,
            unsynced_max: reader.u64()?,
            boot_id: take_short(reader)?,
            ..Checkpoint::default()
        };
        for _ in 0..reader.u32()? {
            checkpoint.damage.push(DamagedRange {
                from: reader.u64()?,
                to: reader.u64()?,
                reason: String::from_utf8(take_short(reader)?).ok()?,
            });
        }
        for _ in 0..reader.u32()? {
            let kind = reader.u16()?;
            let length = usize::try_from(reader.u32()?).ok()?;
            let payload = reader.take(length)?.to_vec();
            checkpoint.metadata.push(MetaRecord { kind, payload });
        }
        checkpoint.is_possible().then_some(checkpoint)
    }

    /// Whether a log can have all places that it names.
    fn is_possible(&self) -> bool {
        let places = [self.start, self.synced, self.end, self.snapshot_position];
        let mut damage = self.damage.iter();
        places.iter().all(|place| *place <= PhysicalOffset::POSITION_MAX)
            && damage.all(|range| range.from <= range.to && range.to <= PhysicalOffset::POSITION_MAX)
    }

    /// Replaces the checkpoint in `directory`; the present one becomes the previous one.
    pub(crate) async fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = current(directory);
        if planted::is(Bug::CheckpointInPlace) {
            return self.write_in_place(&path).await;
        }
        match file::rename(&path, &previous(directory)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("rename", &path)(error)),
            _ => {}
        }
        file::replace(&path, self.encode())
            .await
            .map_err(Error::io("write", &path))
    }

    /// As Apache's brokers write theirs: over the old bytes, in no order with anything.
    async fn write_in_place(&self, path: &Path) -> Result<(), Error> {
        let write = async {
            let file = runtime::File::open(path, runtime::OpenOptions::read_write()).await?;
            file.write_at(0, &[self.encode().into()]).await
        };
        write.await.map_err(Error::io("write", path))
    }

    /// The newest checkpoint in `directory` that is sound and of this shard; what is wrong with others goes to `reports`. The one
    /// before never says that the log ends: a start has followed it, and the log may have grown since.
    ///
    /// A newest one that is not sound is put aside as `checkpoint.damaged`: the next that is written would otherwise take the
    /// place of the one before with it, and a crash at that moment would leave none.
    pub(crate) async fn read(
        directory: &Path,
        store_id: u64,
        shard: u8,
        reports: &mut Vec<String>,
    ) -> Result<Option<Checkpoint>, Error> {
        let mut damaged: Option<PathBuf> = None;
        for path in [current(directory), previous(directory)] {
            let bytes = match file::read(&path).await {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // It may be sound: to go on without it would be to forget what was durable.
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            match Checkpoint::decode(&bytes) {
                Ok(mut checkpoint) if checkpoint.store_id == store_id && checkpoint.shard == shard => {
                    checkpoint.clean &= path == current(directory);
                    if let Some(damaged) = damaged {
                        let aside = directory.join("checkpoint.damaged");
                        let moved = file::rename(&damaged, &aside).await;
                        moved.map_err(Error::io("rename", &damaged))?;
                    }
                    return Ok(Some(checkpoint));
                }
                Ok(_) => reports.push(format!("{} is of another store or shard; not used", path.display())),
                Err(reason) => {
                    reports.push(format!("{} is damaged ({reason}); not used", path.display()));
                    damaged = Some(path);
                }
            }
        }
        Ok(None)
    }
}

fn current(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

fn previous(directory: &Path) -> PathBuf {
    directory.join("checkpoint.previous")
}

/// Text that is cut where it is longer than its length can say.
fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut end = bytes.len().min(4096);
    // Reasons are UTF-8: not cut inside of a character.
    while bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    let bytes = bytes.get(..end).unwrap_or_default();
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(0));
    out.put_slice(bytes);
}

fn take_short(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let length = reader.u16()?;
    reader.take(usize::from(length)).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            shard: 3,
            clean: true,
            copies: true,
            store_id: 4,
            epoch: 5,
            start_crc: 6,
            start: 7,
            synced: 8,
            end: 9,
            snapshot_position: 10,
            newest_ms: -1,
            unsynced_max: 20,
            boot_id: b"boot".to_vec(),
            damage: vec![DamagedRange {
                from: 11,
                to: 12,
                reason: "rot".to_owned(),
            }],
            metadata: vec![MetaRecord {
                kind: 13,
                payload: b"topic".to_vec(),
            }],
        }
    }

    #[test]
    fn a_checkpoint_of_places_that_no_log_has_is_none() {
        let far = PhysicalOffset::POSITION_MAX;
        let is_one = |checkpoint: Checkpoint| Checkpoint::decode(&checkpoint.encode()).is_ok();
        let damage = |from, to| {
            let reason = "rot".to_owned();
            vec![DamagedRange { from, to, reason }]
        };
        assert!(is_one(Checkpoint {
            end: far,
            damage: damage(1, far),
            ..checkpoint()
        }));
        assert!(!is_one(Checkpoint {
            end: far + 1,
            ..checkpoint()
        }));
        assert!(!is_one(Checkpoint {
            damage: damage(1, far + 1),
            ..checkpoint()
        }));
        assert!(!is_one(Checkpoint {
            damage: damage(2, 1),
            ..checkpoint()
        }));
    }

    #[test]
    fn a_checkpoint_reads_back_and_any_flipped_bit_is_noticed() {
        let bytes = checkpoint().encode();
        assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_damaged_checkpoint_gives_way_to_the_one_before_and_is_reported() {
        crate::tests::run(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path();
            let mut checkpoint = checkpoint();
            checkpoint.write(path).await.unwrap();
            checkpoint.start = 70;
            checkpoint.write(path).await.unwrap();
            let mut reports = Vec::new();
            let newest = Checkpoint::read(path, 4, 3, &mut reports).await.unwrap().unwrap();
            assert_eq!((newest.start, reports.len()), (70, 0));
            file::replace(&path.join("checkpoint"), b"rubbish".to_vec())
                .await
                .unwrap();
            let before = Checkpoint::read(path, 4, 3, &mut reports).await.unwrap().unwrap();
            assert_eq!((before.start, reports.len()), (7, 1), "{reports:?}");
            checkpoint.write(path).await.unwrap();
            let kept = file::read(&path.join("checkpoint.previous")).await.unwrap();
            let kept = Checkpoint::decode(&kept).unwrap();
            assert_eq!(
                kept.start, 7,
                "the damaged one has not taken the place of the sound one"
            );
            assert!(Checkpoint::read(path, 5, 3, &mut reports).await.unwrap().is_none());
        });
    }
}
