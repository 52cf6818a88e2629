//! Diff: two replicas of a log beside each other. Of stores of ours the seals are compared, each of which covers its batch and, by the
//! chain, all before it; where two differ, the records of their batches. Of Apache's, the records.
//!
//! Compared is what both have: a replica may have deleted old segments already, or not have copied the newest yet.

use super::open::Store;
use super::scan::Item;
use super::verify::Stopped;
use engine::inspect::Seal;
use protocol::model::ShardId;
use serde::Serialize;

/// What a replica has at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A message's record.
    Message(Vec<u8>),
    /// A metadata record.
    Metadata(Vec<u8>),
    /// A seal.
    Seal(Seal),
    /// Damage, up to there.
    Damage(u64, String),
}

/// How two logs compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Where both begin.
    pub from: u64,
    /// The same up to there.
    pub same_to: u64,
    /// Records that are the same.
    pub records: u64,
    /// By segment, the same records and bytes.
    pub segments: Vec<SegmentCompared>,
    /// Where each ends.
    pub ends: [u64; 2],
    /// The first place at which they are not the same, and what each has there; nothing where it has none.
    pub difference: Option<(u64, [Option<Piece>; 2])>,
}

/// A segment that both have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentCompared {
    /// Its first position.
    pub base: u64,
    /// Records that are the same.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// One of the two.
struct Side<'a> {
    scan: super::scan::LogScan,
    pieces: std::collections::VecDeque<(u64, Piece)>,
    end: Option<u64>,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Side<'_> {
    /// What comes next, without taking it.
    fn peek(&mut self) -> Result<Option<&(u64, Piece)>, Stopped> {
        while self.pieces.is_empty() && self.end.is_none() {
            let pieces = &mut self.pieces;
            let ended = self.scan.next(&mut |position, item| {
                pieces.push_back((
                    position,
                    match item {
                        Item::Message(bytes) => Piece::Message(bytes.to_vec()),
                        Item::Metadata(bytes) => Piece::Metadata(bytes.to_vec()),
                        Item::Seal(batch) => Piece::Seal(batch.seal),
                        Item::Damage(range) => Piece::Damage(range.to, range.reason.clone()),
                    },
                ));
                Ok(())
            })?;
            (self.progress)(self.scan.position(), self.scan.about_end());
            self.end = ended.map(|end| end.position);
        }
        Ok(self.pieces.front())
    }

    fn take(&mut self) -> Option<(u64, Piece)> {
        self.pieces.pop_front()
    }

    fn end(&mut self) -> Result<u64, Stopped> {
        loop {
            if let Some(end) = self.end {
                return Ok(end);
            }
            self.end = self.scan.next(&mut |_, _| Ok(()))?.map(|end| end.position);
            (self.progress)(self.scan.position(), self.scan.about_end());
        }
    }
}

/// Compares a shard of two stores of one kind.
///
/// # Errors
/// [`Stopped`]
pub fn compare(
    stores: [&Store; 2],
    shard: ShardId,
    segment_size: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compared, Stopped> {
    let mut quiet = |_, _| {};
    let [mut one, mut other] = [
        Side {
            scan: stores[0].scan(shard)?,
            pieces: Default::default(),
            end: None,
            progress,
        },
        Side {
            scan: stores[1].scan(shard)?,
            pieces: Default::default(),
            end: None,
            progress: &mut quiet,
        },
    ];
    let from = one.scan.position().max(other.scan.position());
    one.scan.skip_to_segment_of(from);
    other.scan.skip_to_segment_of(from);
    let mut compared = Compared {
        from,
        same_to: from,
        records: 0,
        segments: Vec::new(),
        ends: [0, 0],
        difference: None,
    };
    loop {
        let (a, b) = (one.peek()?, other.peek()?);
        let is_same = match (a, b) {
            // One has not got there yet.
            (None, _) | (_, None) => break,
            (Some(a), Some(b)) => a == b && !matches!(a.1, Piece::Damage(..)),
        };
        let position = a
            .map_or(0, |(position, _)| *position)
            .min(b.map_or(0, |(position, _)| *position));
        if !is_same {
            // Who has something further on only has nothing here.
            let here = |piece: Option<(u64, Piece)>| piece.filter(|(at, _)| *at == position).map(|(_, piece)| piece);
            compared.difference = Some((position, [here(one.take()), here(other.take())]));
            break;
        }
        if let Some((_, piece)) = one.take() {
            compared.count(position, &piece, segment_size);
        }
        other.take();
    }
    compared.ends = [one.end()?, other.end()?];
    Ok(compared)
}

impl Compared {
    fn count(&mut self, position: u64, piece: &Piece, segment_size: u64) {
        let size = match piece {
            Piece::Message(bytes) | Piece::Metadata(bytes) => bytes.len(),
            Piece::Seal(_) => engine::inspect::SEAL_SIZE,
            Piece::Damage(..) => 0,
        };
        self.records += 1;
        self.same_to = position + size as u64;
        let base = position - position % segment_size.max(1);
        if self.segments.last().is_none_or(|segment| segment.base != base) {
            self.segments.push(SegmentCompared {
                base,
                ..SegmentCompared::default()
            });
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.records += 1;
            segment.bytes += size as u64;
        }
    }
}
