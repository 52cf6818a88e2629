//! Dump: what lies in the log, in its order, as lines of a table or of JSON, or byte by byte. Only what is sound; damage is a line
//! of its own.

mod entries;

use super::filter::Filter;
use super::open::Store;
use super::scan::{Item, LogScan};
use super::verify::Stopped;
use super::walk::{Batch, DamagedRange};
use crate::output::json_line;
use engine::inspect::Metadata;
use protocol::message::properties::{self, names};
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, ShardId};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// How often a log that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes in a line of hexadecimal digits.
const HEX_LINE: usize = 16;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Columns for people.
    #[default]
    Table,
    /// A JSON object a line.
    Json,
    /// As the table, and the bytes of each record below its line.
    Hex,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A message.
    Message,
    /// A metadata record (a store of ours).
    Metadata,
    /// A seal (a store of ours).
    Seal,
    /// An entry of a consume queue; only where it is asked for.
    Entry,
}

/// Writes lines.
pub struct Dump<'a> {
    /// Where to.
    pub out: &'a mut dyn Write,
    /// How.
    pub form: Form,
    /// Which messages.
    pub filter: Filter,
    /// Only such records.
    pub kinds: Vec<Kind>,
    /// Bodies and payloads too.
    pub bodies: bool,
    /// Lines of records at most.
    pub limit: u64,
}

impl std::fmt::Debug for Dump<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump")
            .field("form", &self.form)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// What a line says before its details.
#[derive(Clone, Copy, Debug)]
struct Head {
    shard: ShardId,
    position: u64,
    kind: &'static str,
    size: usize,
    time: i64,
}

impl Dump<'_> {
    /// The table's first line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn heading(&mut self) -> io::Result<()> {
        writeln!(
            self.out,
            "{:<5} {:>20} {:<8} {:>9} {:<13} DETAILS",
            "SHARD", "POSITION", "KIND", "SIZE", "TIME(ms)"
        )
    }

    /// Writes what the shards hold; whether all of it was sound. With `follow`, goes on with what is written meanwhile until the
    /// limit is reached, or for ever.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn run(&mut self, store: &Store, shards: &[ShardId], follow: bool) -> Result<bool, Stopped> {
        let mut sound = true;
        let mut scans = Vec::new();
        let only_entries = !self.kinds.is_empty() && self.kinds.iter().all(|kind| *kind == Kind::Entry);
        for &shard in shards {
            if self.kinds.contains(&Kind::Entry) {
                self.entries(store, shard)?;
            }
            if only_entries {
                continue;
            }
            let mut scan = store.scan(shard)?;
            if let Some(positions) = &self.filter.positions {
                scan.skip_to_segment_of(positions.start);
            }
            sound &= self.scan(&mut scan, shard)?;
            scans.push((shard, scan));
        }
        while follow && self.limit > 0 && !scans.is_empty() {
            self.out.flush()?;
            std::thread::sleep(FOLLOW_INTERVAL);
            for (shard, scan) in &mut scans {
                if scan.has_more()? {
                    sound &= self.scan(scan, *shard)?;
                }
            }
        }
        Ok(sound)
    }

    /// Up to the end of a log, the limit, or the last position that is wanted.
    fn scan(&mut self, scan: &mut LogScan, shard: ShardId) -> Result<bool, Stopped> {
        let mut sound = true;
        let end = self
            .filter
            .positions
            .as_ref()
            .map_or(u64::MAX, |positions| positions.end);
        while self.limit > 0 && scan.position() < end {
            let ended = scan.next(&mut |position, item| match item {
                Item::Message(bytes) if self.wants_kind(Kind::Message) => self.message(shard, position, bytes),
                Item::Metadata(bytes) if self.wants_kind(Kind::Metadata) => self.metadata(shard, position, bytes),
                Item::Seal(batch) if self.wants_kind(Kind::Seal) => self.seal(shard, batch),
                Item::Damage(range) => {
                    sound = false;
                    self.damage(shard, range)
                }
                _ => Ok(()),
            })?;
            if ended.is_some() {
                break;
            }
        }
        Ok(sound)
    }

    fn wants_kind(&self, kind: Kind) -> bool {
        let by_kind = self.kinds.is_empty() || self.kinds.contains(&kind);
        by_kind && (kind == Kind::Message || !self.filter.is_of_messages())
    }

    fn damage(&mut self, shard: ShardId, range: &DamagedRange) -> Result<(), Stopped> {
        let (shard, from, to, reason) = (shard.get(), range.from, range.to, &range.reason);
        if self.form == Form::Json {
            let line = json!({"kind": "damage", "shard": shard, "from": from, "to": to, "reason": reason});
            return Ok(json_line(self.out, &line)?);
        }
        let (kind, size) = ("DAMAGE", to - from);
        writeln!(
            self.out,
            "{shard:<5} {from:>20} {kind:<8} {size:>9} {:<13} {reason}",
            ""
        )?;
        Ok(())
    }

    fn message(&mut self, shard: ShardId, position: u64, bytes: &[u8]) -> Result<(), Stopped> {
        // The batch is sound, so this is what was written; what it says may still be nonsense.
        let record = match RecordView::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                let head = Head {
                    shard,
                    position,
                    kind: "message",
                    size: bytes.len(),
                    time: 0,
                };
                return self.line(head, &[("error", json!(error.to_string()))], bytes);
            }
        };
        if !self.filter.wants(&record, position) {
            return Ok(());
        }
        let text = |name| properties::get(record.properties, name).unwrap_or_default();
        let mut details = vec![
            ("topic", json!(record.topic)),
            ("queueId", json!(record.queue_id.get())),
            ("queueOffset", json!(record.queue_offset.0)),
            ("tag", json!(text(names::TAGS))),
            ("keys", json!(text(names::KEYS))),
            ("bodySize", json!(record.body.len())),
        ];
        if self.form == Form::Json {
            details.extend([
                ("physicalOffset", json!(PhysicalOffset::new(shard, position).to_wire())),
                ("bodyCrc", json!(record.body_crc)),
                ("flag", json!(record.flag)),
                ("sysFlag", json!(record.sys_flag)),
                ("bornTimestamp", json!(record.born_timestamp)),
                ("bornHost", json!(record.born_host.to_string())),
                ("storeHost", json!(record.store_host.to_string())),
                ("reconsumeTimes", json!(record.reconsume_times)),
                ("preparedTransactionOffset", json!(record.prepared_transaction_offset)),
                ("properties", all_properties(record.properties)),
            ]);
        }
        if self.bodies {
            details.push(("body", body(record.body)));
        }
        if record.check_body().is_err() {
            details.push(("bodyDamaged", json!(true)));
        }
        let (size, time) = (bytes.len(), record.store_timestamp);
        self.line(
            Head {
                shard,
                position,
                kind: "message",
                size,
                time,
            },
            &details,
            bytes,
        )
    }

    fn metadata(&mut self, shard: ShardId, position: u64, bytes: &[u8]) -> Result<(), Stopped> {
        let Some(metadata) = Metadata::decode(bytes) else {
            let head = Head {
                shard,
                position,
                kind: "metadata",
                size: bytes.len(),
                time: 0,
            };
            return self.line(head, &[("error", json!("it does not parse"))], bytes);
        };
        if !self.filter.wants_place(position, metadata.wall_clock_ms) {
            return Ok(());
        }
        let mut details = vec![
            ("metadataKind", json!(metadata.kind)),
            ("payloadSize", json!(metadata.payload.len())),
        ];
        if self.bodies {
            details.push(("payload", body(metadata.payload)));
        }
        let (size, time) = (bytes.len(), metadata.wall_clock_ms);
        self.line(
            Head {
                shard,
                position,
                kind: "metadata",
                size,
                time,
            },
            &details,
            bytes,
        )
    }

    fn seal(&mut self, shard: ShardId, batch: &Batch) -> Result<(), Stopped> {
        let (seal, position) = (&batch.seal, batch.seal_position);
        if !self.filter.wants_place(position, seal.wall_clock_ms) {
            return Ok(());
        }
        let details = [
            ("records", json!(seal.records)),
            ("batchStart", json!(seal.start)),
            ("batchLength", json!(seal.length)),
            ("batchCrc", json!(format!("{:08x}", seal.batch_crc))),
            ("previousCrc", json!(format!("{:08x}", seal.previous))),
            ("crc", json!(format!("{:08x}", seal.crc))),
            ("epoch", json!(seal.epoch)),
            ("confirmOffset", json!(seal.confirm_offset)),
            ("syncedTo", json!(seal.synced_to)),
            ("endsSegment", json!(seal.ends_segment)),
        ];
        let (size, time) = (engine::inspect::SEAL_SIZE, seal.wall_clock_ms);
        self.line(
            Head {
                shard,
                position,
                kind: "seal",
                size,
                time,
            },
            &details,
            &[],
        )
    }

    fn line(&mut self, head: Head, details: &[(&str, Value)], bytes: &[u8]) -> Result<(), Stopped> {
        if self.limit == 0 {
            return Ok(());
        }
        self.limit -= 1;
        let Head {
            shard,
            position,
            kind,
            size,
            time,
        } = head;
        let shard = shard.get();
        if self.form == Form::Json {
            let mut object = Map::new();
            object.insert("kind".to_owned(), json!(kind));
            object.insert("shard".to_owned(), json!(shard));
            object.insert("position".to_owned(), json!(position));
            object.insert("size".to_owned(), json!(size));
            object.insert("timestamp".to_owned(), json!(time));
            object.extend(details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            return Ok(json_line(self.out, &object)?);
        }
        write!(self.out, "{shard:<5} {position:>20} {kind:<8} {size:>9} {time:<13}")?;
        for (name, value) in details.iter().filter(|(_, value)| *value != json!("")) {
            match value {
                // Whatever somebody has put in a name must not be taken for the table, nor reach the terminal as commands.
                Value::String(text) => write!(self.out, " {name}={}", text.escape_debug())?,
                value => write!(self.out, " {name}={value}")?,
            }
        }
        writeln!(self.out)?;
        if self.form == Form::Hex {
            self.hex(position, bytes)?;
        }
        Ok(())
    }

    fn hex(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        for (number, line) in bytes.chunks(HEX_LINE).enumerate() {
            let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
            let text: String = line
                .iter()
                .map(|byte| if is_shown(byte) { char::from(*byte) } else { '.' })
                .collect();
            let at = position + (number * HEX_LINE) as u64;
            writeln!(self.out, "  {at:>20}  {:<47}  {text}", digits.join(" "))?;
        }
        Ok(())
    }
}

fn all_properties(text: &str) -> Value {
    let pairs = properties::iter(text).map(|(name, value)| (name.to_owned(), json!(value)));
    Value::Object(pairs.collect())
}

/// Text as it is, other bytes as hexadecimal digits.
fn body(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!(format!(
            "0x{}",
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        )),
    }
}
