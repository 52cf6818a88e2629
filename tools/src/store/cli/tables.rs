//! Statistics and comparisons, for people and for programs.

use crate::output::{Format, json_document};
use crate::store::diff::{Compared, Piece};
use crate::store::stats::{Share, Stats};
use engine::inspect::Metadata;
use protocol::message::record::RecordView;
use protocol::model::ShardId;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Prints statistics; with `by_queue`, a line for each queue.
pub(super) fn stats(out: &mut dyn Write, format: Format, stats: &Stats, by_queue: bool) -> io::Result<()> {
    if format == Format::Json {
        return stats_json(out, stats);
    }
    let total = stats.log_bytes.max(1);
    writeln!(
        out,
        "{:<48} {:>7} {:>12} {:>16} {:>6}",
        "TOPIC", "QUEUES", "MESSAGES", "BYTES", "SHARE"
    )?;
    for (topic, queues, share) in stats.topics() {
        let (topic, percent) = (topic.escape_debug().to_string(), percent(share.bytes, total));
        writeln!(
            out,
            "{topic:<48} {queues:>7} {:>12} {:>16} {percent:>6}",
            share.records, share.bytes
        )?;
    }
    if by_queue {
        writeln!(
            out,
            "\n{:<48} {:>7} {:>12} {:>16} OFFSETS",
            "TOPIC", "QUEUE", "MESSAGES", "BYTES"
        )?;
        for ((topic, queue_id), queue) in &stats.queues {
            let topic = topic.escape_debug().to_string();
            let (share, min, max) = (&queue.share, queue.min_offset, queue.max_offset);
            writeln!(
                out,
                "{topic:<48} {queue_id:>7} {:>12} {:>16} {min}..{max}",
                share.records, share.bytes
            )?;
        }
    }
    writeln!(
        out,
        "\n{:<48} {:>7} {:>12} {:>16} {:>6}",
        "NOT FOR CONSUMERS", "", "RECORDS", "BYTES", "SHARE"
    )?;
    for (name, share) in garbage(stats) {
        let percent = percent(share.bytes, total);
        writeln!(
            out,
            "{name:<48} {:>7} {:>12} {:>16} {percent:>6}",
            "", share.records, share.bytes
        )?;
    }
    writeln!(
        out,
        "\n{:<20} {:>12}    {:<20} {:>12}",
        "SIZE BELOW", "RECORDS", "YOUNGER THAN", "RECORDS"
    )?;
    let (sizes, ages) = (stats.sizes(), stats.ages());
    for line in 0..sizes.len().max(ages.len()) {
        let cell = |found: Option<&(u64, u64)>, unit: fn(u64) -> String| {
            found.map_or((String::new(), String::new()), |(below, count)| {
                (unit(*below), count.to_string())
            })
        };
        let (size, records) = cell(sizes.get(line), |below| format!("{below} B"));
        let (age, of_age) = cell(ages.get(line), duration);
        let text = format!("{size:<20} {records:>12}    {age:<20} {of_age:>12}");
        writeln!(out, "{}", text.trim_end())?;
    }
    writeln!(out, "\n{} bytes of log in all", stats.log_bytes)
}

fn garbage(stats: &Stats) -> [(&'static str, Share); 7] {
    let garbage = &stats.garbage;
    let unused = Share {
        records: 0,
        bytes: garbage.unused,
    };
    [
        ("seals", garbage.seals.clone()),
        ("metadata records", garbage.metadata.clone()),
        ("half and rolled back messages", garbage.half.clone()),
        ("messages that waited for their time", garbage.delayed.clone()),
        ("messages of deleted topics", garbage.deleted_topics.clone()),
        ("damaged", garbage.damaged.clone()),
        ("unused ends of segments", unused),
    ]
}

fn stats_json(out: &mut dyn Write, stats: &Stats) -> io::Result<()> {
    let counts = |counts: Vec<(u64, u64)>| -> Vec<Value> {
        counts
            .into_iter()
            .map(|(below, records)| json!({"below": below, "records": records}))
            .collect()
    };
    let queues: Vec<Value> = stats
        .queues
        .iter()
        .map(|((topic, queue_id), queue)| {
            let mut line = json!(queue);
            if let Some(object) = line.as_object_mut() {
                object.insert("topic".to_owned(), json!(topic));
                object.insert("queueId".to_owned(), json!(queue_id));
            }
            line
        })
        .collect();
    let document = json!({
        "logBytes": stats.log_bytes,
        "queues": queues,
        "notForConsumers": stats.garbage,
        "sizes": counts(stats.sizes()),
        "agesInSeconds": counts(stats.ages()),
    });
    json_document(out, &document)
}

fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Prints how a shard of two stores compares.
pub(super) fn compared(out: &mut dyn Write, format: Format, shard: ShardId, found: &Compared) -> io::Result<()> {
    let shard = shard.get();
    if format == Format::Json {
        let difference = found.difference.as_ref().map(|(position, pieces)| {
            json!({"position": position, "first": pieces[0].as_ref().map(describe), "second": pieces[1].as_ref().map(describe)})
        });
        return crate::output::json_line(
            out,
            &json!({
                "shard": shard, "same": found.difference.is_none(), "from": found.from, "sameTo": found.same_to,
                "records": found.records, "ends": found.ends, "segments": found.segments, "difference": difference,
            }),
        );
    }
    for segment in &found.segments {
        writeln!(
            out,
            "shard {shard}: segment {:020}: {} records of {} bytes are the same",
            segment.base, segment.records, segment.bytes
        )?;
    }
    if let Some((position, pieces)) = &found.difference {
        writeln!(out, "shard {shard}: DIFFERENT from {position} on")?;
        for (number, piece) in pieces.iter().enumerate() {
            let name = if number == 0 { "first " } else { "second" };
            writeln!(
                out,
                "  {name}: {}",
                piece.as_ref().map_or("nothing begins there".to_owned(), describe)
            )?;
        }
        if let [Some(Piece::Message(one)), Some(Piece::Message(other))] = pieces {
            let byte = one
                .iter()
                .zip(other)
                .position(|(one, other)| one != other)
                .unwrap_or(one.len().min(other.len()));
            writeln!(out, "  they differ from byte {byte} of the record on")?;
        }
        return Ok(());
    }
    let [one, other] = found.ends;
    writeln!(
        out,
        "shard {shard}: the same from {} to {}, {} records",
        found.from, found.same_to, found.records
    )?;
    match one.cmp(&other) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => writeln!(out, "shard {shard}: the first is {} bytes behind", other - one),
        std::cmp::Ordering::Greater => writeln!(out, "shard {shard}: the second is {} bytes behind", one - other),
    }
}

fn describe(piece: &Piece) -> String {
    match piece {
        Piece::Message(bytes) => match RecordView::decode(bytes) {
            Ok(record) => format!(
                "message of {} bytes, number {} of queue {} of topic {}, stored at {}, body CRC {:08x}{}",
                bytes.len(),
                record.queue_offset.0,
                record.queue_id,
                record.topic.escape_debug(),
                record.store_timestamp,
                record.body_crc,
                if record.check_body().is_ok() {
                    ""
                } else {
                    " (which its body does not have)"
                }
            ),
            Err(error) => format!("message of {} bytes: {error}", bytes.len()),
        },
        Piece::Metadata(bytes) => match Metadata::decode(bytes) {
            Some(metadata) => format!("metadata record of kind {} and {} bytes", metadata.kind, bytes.len()),
            None => format!("metadata record of {} bytes that does not parse", bytes.len()),
        },
        Piece::Seal(seal) => format!(
            "seal {:08x} of {} records from {} on, epoch {}, made at {}",
            seal.crc, seal.records, seal.start, seal.epoch, seal.wall_clock_ms
        ),
        Piece::Damage(to, reason) => format!("damage up to {to}: {reason}"),
    }
}
