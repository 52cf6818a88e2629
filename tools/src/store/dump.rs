//! Dump: what lies in the log, in its order, as lines of a table or of JSON. Only what sound batches hold; damage is a
//! line of its own.

use super::files::{StoreFiles, read_if_there};
use super::verify::Stopped;
use super::walk::{Batch, LogWalk, Step};
use crate::output::{Format, json_line};
use engine::inspect::{Checkpoint, Metadata, RecordKind, keys};
use protocol::message::properties::{self, names};
use protocol::message::record::RecordView;
use protocol::model::{PhysicalOffset, ShardId};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Messages of this topic.
    pub topic: Option<String>,
    /// Messages of queues with this number.
    pub queue_id: Option<u32>,
    /// Messages with this key or unique id.
    pub key: Option<String>,
    /// Only such records.
    pub kinds: Vec<Kind>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A message.
    Message,
    /// A metadata record.
    Metadata,
    /// A seal.
    Seal,
}

impl Filter {
    fn wants_kind(&self, kind: Kind) -> bool {
        let of_messages = self.topic.is_some() || self.queue_id.is_some() || self.key.is_some();
        let by_kind = self.kinds.is_empty() || self.kinds.contains(&kind);
        by_kind && (kind == Kind::Message || !of_messages)
    }

    fn wants(&self, record: &RecordView<'_>) -> bool {
        let by_topic = self.topic.as_deref().is_none_or(|topic| topic == record.topic);
        let by_queue = self.queue_id.is_none_or(|queue_id| queue_id == record.queue_id.get());
        by_topic
            && by_queue
            && self
                .key
                .as_deref()
                .is_none_or(|key| keys(record).any(|found| found == key))
    }
}

/// Writes lines.
pub struct Dump<'a> {
    /// Where to.
    pub out: &'a mut dyn Write,
    /// How.
    pub format: Format,
    /// What.
    pub filter: Filter,
    /// Bodies and payloads too.
    pub bodies: bool,
    /// Lines of records at most.
    pub limit: u64,
}

impl std::fmt::Debug for Dump<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump")
            .field("format", &self.format)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
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

    /// Writes what a shard's log holds; whether all of it was sound.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn shard(&mut self, files: &StoreFiles, shard: ShardId) -> Result<bool, Stopped> {
        let checkpoint = read_if_there(&files.shard_dir(shard).join("checkpoint"))?;
        let checkpoint = checkpoint.and_then(|bytes| Checkpoint::decode(&bytes).ok());
        let mut walk = LogWalk::new(
            files.log(shard)?,
            shard,
            files.description.store_id,
            checkpoint.as_ref(),
        );
        let mut sound = true;
        while self.limit > 0 {
            match walk.step()? {
                Step::Batch(batch) => self.batch(&mut walk, shard, &batch)?,
                Step::Damage(range) => {
                    sound = false;
                    let (from, to) = (range.from, range.to);
                    match self.format {
                        Format::Json => json_line(
                            self.out,
                            &json!({"kind": "damage", "shard": shard.get(), "from": from, "to": to, "reason": range.reason}),
                        )?,
                        Format::Table => writeln!(
                            self.out,
                            "{:<5} {from:>20} {:<8} {:>9} {:<13} {}",
                            shard.get(),
                            "DAMAGE",
                            to - from,
                            "",
                            range.reason
                        )?,
                    }
                }
                Step::End(_) => break,
            }
        }
        Ok(sound)
    }

    fn batch(&mut self, walk: &mut LogWalk, shard: ShardId, batch: &Batch) -> Result<(), Stopped> {
        walk.records::<Stopped>(batch, |kind, position, bytes| match kind {
            RecordKind::Message if self.filter.wants_kind(Kind::Message) => self.message(shard, position, bytes),
            RecordKind::Metadata if self.filter.wants_kind(Kind::Metadata) => self.metadata(shard, position, bytes),
            _ => Ok(()),
        })?;
        if self.filter.wants_kind(Kind::Seal) {
            self.seal(shard, batch)?;
        }
        Ok(())
    }

    fn message(&mut self, shard: ShardId, position: u64, bytes: &[u8]) -> Result<(), Stopped> {
        // The batch is sound, so this is what was written; what it says may still be nonsense.
        let record = match RecordView::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                return self.line(
                    shard,
                    position,
                    ("message", bytes.len(), 0),
                    &[("error", json!(error.to_string()))],
                );
            }
        };
        if !self.filter.wants(&record) {
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
        if self.format == Format::Json {
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
        self.line(
            shard,
            position,
            ("message", bytes.len(), record.store_timestamp),
            &details,
        )
    }

    fn metadata(&mut self, shard: ShardId, position: u64, bytes: &[u8]) -> Result<(), Stopped> {
        let Some(metadata) = Metadata::decode(bytes) else {
            return self.line(
                shard,
                position,
                ("metadata", bytes.len(), 0),
                &[("error", json!("it does not parse"))],
            );
        };
        let mut details = vec![
            ("metadataKind", json!(metadata.kind)),
            ("payloadSize", json!(metadata.payload.len())),
        ];
        if self.bodies {
            details.push(("payload", body(metadata.payload)));
        }
        self.line(
            shard,
            position,
            ("metadata", bytes.len(), metadata.wall_clock_ms),
            &details,
        )
    }

    fn seal(&mut self, shard: ShardId, batch: &Batch) -> Result<(), Stopped> {
        let seal = &batch.seal;
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
        let size = engine::inspect::SEAL_SIZE;
        self.line(shard, batch.seal_position, ("seal", size, seal.wall_clock_ms), &details)
    }

    fn line(
        &mut self,
        shard: ShardId,
        position: u64,
        (kind, size, time): (&str, usize, i64),
        details: &[(&str, Value)],
    ) -> Result<(), Stopped> {
        if self.limit == 0 {
            return Ok(());
        }
        self.limit -= 1;
        if self.format == Format::Json {
            let mut object = Map::new();
            object.insert("kind".to_owned(), json!(kind));
            object.insert("shard".to_owned(), json!(shard.get()));
            object.insert("position".to_owned(), json!(position));
            object.insert("size".to_owned(), json!(size));
            object.insert("timestamp".to_owned(), json!(time));
            object.extend(details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            return Ok(json_line(self.out, &object)?);
        }
        write!(
            self.out,
            "{:<5} {position:>20} {kind:<8} {size:>9} {time:<13}",
            shard.get()
        )?;
        for (name, value) in details.iter().filter(|(_, value)| *value != json!("")) {
            match value {
                // Whatever somebody has put in a name must not be taken for the table, nor reach the terminal as commands.
                Value::String(text) => write!(self.out, " {name}={}", text.escape_debug())?,
                value => write!(self.out, " {name}={value}")?,
            }
        }
        Ok(writeln!(self.out)?)
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
