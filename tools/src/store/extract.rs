//! Extract: records that are wanted, into a file, as a pull reply holds them: one behind the other, byte for byte. What can be read of
//! a damaged store is saved so.

use super::filter::Filter;
use super::open::Store;
use super::scan::Item;
use super::stats::{Progress, Share};
use super::verify::Stopped;
use protocol::message::record::RecordView;
use protocol::model::ShardId;
use std::io::Write;

/// Writes the messages of these shards that `filter` wants to `out`. Returns how many, and whether all that was read was sound.
///
/// # Errors
/// [`Stopped`]
pub fn extract(
    store: &Store,
    shards: &[ShardId],
    filter: &Filter,
    out: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<(Share, bool), Stopped> {
    let (mut written, mut sound) = (Share::default(), true);
    for &shard in shards {
        let mut scan = store.scan(shard)?;
        if let Some(positions) = &filter.positions {
            scan.skip_to_segment_of(positions.start);
        }
        let about_end = scan.about_end();
        let end = filter.positions.as_ref().map_or(u64::MAX, |positions| positions.end);
        while scan.position() < end {
            let ended = scan.next(&mut |position, item| {
                match item {
                    Item::Message(bytes) => {
                        let record = RecordView::decode(bytes);
                        if record.is_ok_and(|record| filter.wants(&record, position)) {
                            out.write_all(bytes)?;
                            written.records += 1;
                            written.bytes += bytes.len() as u64;
                        }
                    }
                    Item::Damage(_) => sound = false,
                    Item::Metadata(_) | Item::Seal(_) => {}
                }
                Ok(())
            })?;
            progress(shard, scan.position(), about_end);
            if ended.is_some() {
                break;
            }
        }
    }
    Ok((written, sound))
}
