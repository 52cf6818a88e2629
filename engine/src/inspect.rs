//! The store's formats for tools that read a store they have not opened: decoders alone, no file is touched here. Each is the
//! one that the engine itself uses.
//!
//! What counts when: a log is trusted batch by batch, each up to its [`Seal`]; a consume queue only below the durable end of
//! its [`Manifest`]; what a broker will not look at again is said by its [`Checkpoint`].

pub use crate::consume_queue::inspect::{Manifest, Page, PageRun, RunContent, decode_directory};
use crate::control_record as control;
pub use crate::key_index::inspect::{
    KEY_MANIFEST_NAME, KEY_PAGE_SIZE, KeyEntry, KeyManifest, key_entries_of, key_manifest, key_page_entries,
    key_page_is_sound, key_run_pages, key_runs,
};
use crate::message::index_keys;
use crate::{Damage, MetaRecord, checkpoint, store};
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, ShardCount, ShardId};

/// Bytes of a seal.
pub const SEAL_SIZE: usize = control::SEAL_SIZE;
/// Bytes of a consume queue page.
pub const PAGE_SIZE: usize = crate::consume_queue::inspect::PAGE_SIZE;
/// Most bytes of a record: what says that it is longer is no record.
pub const RECORD_SIZE_MAX: usize = crate::staging::RECORD_SIZE_MAX;
/// Kind of the metadata record after which the queues of a topic, its payload, begin at 0 again.
pub const KIND_DELETE_TOPIC: u16 = control::KIND_DELETE_TOPIC;

/// What `store.json` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Tells this store's data from any other's.
    pub store_id: u64,
    /// How many shards it has.
    pub shards: ShardCount,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Description {
    /// From the file's text; else what is wrong with it.
    ///
    /// # Errors
    /// It is no JSON, of another format, or a number in it cannot be.
    pub fn decode(text: &[u8]) -> Result<Description, String> {
        store::inspect(text)
    }
}

/// Bytes of a shard's log that a broker which was killed had acknowledged and not written: they are in memory that outlives it, by
/// the shard's file `crash-memory`, and the broker's next start writes them. 0 while a broker has the store open.
#[must_use]
pub fn left_in_memory(handle: &[u8], store_id: u64, shard: ShardId) -> u64 {
    let owner = crate::crash_buffer::Owner {
        store_id,
        shard: shard.get(),
    };
    crate::crash_buffer::left_in_memory(handle, owner)
}

/// What lies at a position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A message, half messages too.
    Message,
    /// A record of the broker's own or of the engine's.
    Metadata,
    /// The end of a batch.
    Seal,
}

fn inner(kind: RecordKind) -> control::Kind {
    match kind {
        RecordKind::Message => control::Kind::Message,
        RecordKind::Metadata => control::Kind::Meta,
        RecordKind::Seal => control::Kind::Seal,
    }
}

/// Kind and size in bytes of the record that begins with these 8 bytes, if its size can be.
#[must_use]
pub fn kind_and_size(header: &[u8]) -> Option<(RecordKind, usize)> {
    let (kind, size) = control::kind_and_size(header)?;
    let kind = match kind {
        control::Kind::Message => RecordKind::Message,
        control::Kind::Meta => RecordKind::Metadata,
        control::Kind::Seal => RecordKind::Seal,
    };
    (size <= RECORD_SIZE_MAX).then_some((kind, size))
}

/// The physical offset that a message or metadata record says it has; seals say it by [`Seal::position`].
#[must_use]
pub fn own_offset(kind: RecordKind, record: &[u8]) -> Option<PhysicalOffset> {
    control::own_offset(inner(kind), record)
}

/// What a seal says of the batch before it. Positions are bytes in the shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The rest of the segment is not used.
    pub ends_segment: bool,
    /// The shard.
    pub shard: ShardId,
    /// Number of the master's reign.
    pub epoch: u32,
    /// The store.
    pub store_id: u64,
    /// Position of the batch's first byte.
    pub start: u64,
    /// Bytes of the batch, without the seal.
    pub length: u32,
    /// Records of the batch, without the seal.
    pub records: u32,
    /// What readers might see when it was made.
    pub confirm_offset: u64,
    /// Below it the log was durable when it was made: damage there is rot, not a write that was cut short.
    pub synced_to: u64,
    /// Milliseconds since 1970.
    pub wall_clock_ms: i64,
    /// CRC of the seal before.
    pub previous: u32,
    /// CRC-32 of the batch's bytes.
    pub batch_crc: u32,
    /// CRC-32 of this seal: what the next one calls `previous`.
    pub crc: u32,
}

impl Seal {
    /// The seal that `bytes` begin with, if they are one and its own checksum matches. Nothing is said of the batch.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Seal> {
        let seal = control::Seal::decode(bytes)?;
        Some(Seal {
            ends_segment: seal.ends_segment,
            shard: seal.shard,
            epoch: seal.epoch,
            store_id: seal.store_id,
            start: seal.start,
            length: seal.length,
            records: seal.records,
            confirm_offset: seal.confirm_offset,
            synced_to: seal.synced_to,
            wall_clock_ms: seal.wall_clock_ms,
            previous: seal.previous,
            batch_crc: seal.batch_crc,
            crc: seal.crc,
        })
    }

    /// Where the seal itself starts; `None` for a start that no log has.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.start.checked_add(u64::from(self.length))
    }
}

/// What a metadata record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Milliseconds since 1970.
    pub wall_clock_ms: i64,
    /// Its kind: the broker's up to [`crate::META_KIND_MAX`], above it the engine's.
    pub kind: u16,
    /// Its content.
    pub payload: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// The record that `bytes` are, and no more.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Metadata<'a>> {
        let meta = control::Meta::decode(bytes)?;
        Some(Metadata {
            wall_clock_ms: meta.wall_clock_ms,
            kind: meta.kind,
            payload: meta.payload,
        })
    }
}

/// The keys that a record is found by: its unique id and the words of its keys.
pub fn keys<'a>(record: &RecordView<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    index_keys(record)
}

/// What a checkpoint says, as far as it is of use to others. Positions are bytes in the shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The shard.
    pub shard: u8,
    /// The store.
    pub store_id: u64,
    /// The shard was closed in good order, and its log ends at `end`.
    pub clean: bool,
    /// Where a start begins to read.
    pub start: u64,
    /// Below it the log is durable.
    pub synced: u64,
    /// Where the log ended.
    pub end: u64,
    /// Bytes behind what is durable that may have been written when everything stops.
    pub unsynced_max: u64,
    /// Damage that earlier starts have found.
    pub damage: Vec<Damage>,
    /// The snapshot of the broker's metadata.
    pub metadata: Vec<MetaRecord>,
}

impl Checkpoint {
    /// From the file's bytes; else what is wrong with it.
    ///
    /// # Errors
    /// Too short, of another kind or format, or its checksum does not match.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, &'static str> {
        let found = checkpoint::Checkpoint::decode(bytes)?;
        let shard = ShardId::new(found.shard).ok_or("it is of no shard that can be")?;
        let physical = |position: u64| PhysicalOffset::new(shard, position.min(PhysicalOffset::POSITION_MAX));
        Ok(Checkpoint {
            shard: found.shard,
            store_id: found.store_id,
            clean: found.clean,
            start: found.start,
            synced: found.synced,
            end: found.end,
            unsynced_max: found.unsynced_max,
            damage: found.damage.iter().map(|range| range.to_damage(physical)).collect(),
            metadata: found.metadata,
        })
    }
}
