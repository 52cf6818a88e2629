//! Arguments, and what `--help` says of them.

use crate::output::Format;
use crate::store::dump::{Form, Kind};
use crate::store::filter::{self, Filter};
use crate::store::moving::{ExportArgs, ImportArgs};
use clap::{Args, Parser, Subcommand};
use std::ops::Range;
use std::path::PathBuf;

/// Looks into the files of a store, of RingMQ or of Apache RocketMQ; which of them it is, is found out. Everything but
/// `repair --apply`, `import` and `export` opens them for reading only and takes no lock: it works beside a running broker.
#[derive(Debug, Parser)]
#[command(name = "mqstore", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  mqstore verify ~/store                        is all of it sound? (DIR is the broker's storePathRootDir)
  mqstore dump ~/store -t Orders -o json        the messages of a topic, a JSON object a line
  mqstore find ~/store order-17                 a message by its key or id, without an index
  mqstore stats ~/store                         what takes the space
  mqstore diff ~/store /mnt/replica/store       where two replicas part

Exit codes: 0 all is well, 1 damage or a difference was found (find: nothing was found), 2 the command line is wrong.")]
pub(super) struct CommandLine {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print what the log holds: messages, metadata records, seals; or the entries of consume queues
    #[command(after_help = "Examples:
  mqstore dump ~/store                                   every record, as a table
  mqstore dump ~/store -t Orders -q 3 -o json            messages of one queue, a JSON object a line
  mqstore dump ~/store -t Orders -k order-17 --bodies    messages with a key (or unique id), with their bodies
  mqstore dump ~/store --since 10m --tag paid            messages of the last ten minutes with a tag
  mqstore dump ~/store --positions 4096..8192 -o hex     every byte between two positions in the log
  mqstore dump ~/store --kind seal --shard 0             the seals of one shard
  mqstore dump ~/store --kind entry -t Orders            the consume queue entries of a topic
  mqstore dump ~/store -t Orders --follow                what a running broker writes, as it comes (Ctrl-C ends it)

Exit codes: 0 all of it was sound, 1 damage was met (a line of kind damage) or the store cannot be read, 2 usage.")]
    Dump(DumpArgs),
    /// Check everything that has a checksum or a rule; goes on behind damage
    #[command(after_help = "Examples:
  mqstore verify ~/store
  mqstore verify ~/store -o json | jq 'select(.type == \"damage\")'

What is checked in a store of RingMQ: every batch's records (size, magic, own position), its seal and the chain of seals;
every message's fields and body CRC; that queue offsets follow each other; consume queue pages and each entry against the
log; checkpoints; pages of the key index. Bytes behind the last seal are an unfinished write and no damage, unless the log
was durable further.

In a store of Apache RocketMQ: every record's size, magic, lengths, own position, body CRC and, where it has one, CRC
property; that queue offsets follow each other; each consume queue entry and key index entry against the log, and that none
is missing. Its checksum covers the body alone: of the other fields only those are sure that are written twice.

Exit codes: 0 clean, 1 damaged or not readable, 2 usage.")]
    Verify(VerifyArgs),
    /// Tell how the space divides among topics, queues, sizes, ages, and what no consumer gets
    #[command(after_help = "Examples:
  mqstore stats ~/store
  mqstore stats ~/store --queues
  mqstore stats ~/store -o json | jq '.notForConsumers'")]
    Stats(StatsArgs),
    /// Find messages by a key, a unique id or an offset message id, by reading all of the log
    #[command(after_help = "Examples:
  mqstore find ~/store order-17
  mqstore find ~/store 7F00000100002A9F0000000000001234 --bodies

Exit codes: 0 found, 1 not found or not readable, 2 usage.")]
    Find(FindArgs),
    /// Write the records of messages to a file, byte for byte; reads on behind damage
    #[command(after_help = "Examples:
  mqstore extract ~/store --to orders.records -t Orders --since 2026-11-27
  mqstore extract ~/broken-store --to saved.records        everything that can still be read

The file holds the records one behind the other, each with its size in its first four bytes, as a pull reply does.
Exit codes: 0 all that was read was sound, 1 parts were damaged (the rest is in the file), 2 usage.")]
    Extract(ExtractArgs),
    /// Compare two replicas of a store: the first record that differs
    #[command(after_help = "Examples:
  mqstore diff /data/master /data/slave
  mqstore diff /data/master /data/slave -o json

What both have is compared: a replica may have fewer old segments, or not have copied the newest yet.
Exit codes: 0 the same, 1 different or not readable, 2 usage.")]
    Diff(DiffArgs),
    /// Say what would mend a store (--plan), or do it (--apply)
    #[command(after_help = "Examples:
  mqstore repair ~/store --plan     what would be done; changes nothing, and works beside a running broker
  mqstore repair ~/store --apply    does it; the broker must be stopped

Damaged indexes and checkpoints are moved away (the broker's next start makes them again from the log), a torn tail is wiped,
rot in the log is given up: its bytes and every message in it that can be read are saved, and quarantine.json names its
range. Everything that is moved or given up is kept in the store, in repair-TIME/. Only stores of RingMQ.

Exit codes: 0 nothing to do, or all of it done, 1 there is something to do (--plan) or that cannot be mended, 2 usage.")]
    Repair(RepairArgs),
    /// Fill a new store with the messages, offsets, topics and groups of an Apache broker that is stopped
    #[command(after_help = "Examples:
  mqstore import /data/rocketmq/store /data/ringmq/store
  mqstore import /data/rocketmq/store /data/ringmq/store --commitlog /disk2/commitlog --shards 8

The Apache store is only read. Messages keep topic, queue, queue offset, keys, times and hosts; offset message ids change, unique
ids stay. Ended by anything, run it again: it goes on where it was. What is there is compared with what went in, queue by queue.
The broker takes topics, groups and offsets in at its first start on the new store; before the import is done none starts there.

Exit codes: 0 all is there, 1 not, 2 usage.")]
    Import(ImportArgs),
    /// Write the messages, offsets, topics and groups of a store, whose broker is stopped, as a store of Apache RocketMQ
    #[command(after_help = "Examples:
  mqstore export /data/ringmq/store /data/rocketmq/store

Writes commitlog files and config/*.json; Apache's broker makes its consume queues and index from them at its first start there.
After a failure delete the new directory and run it again.

Exit codes: 0 all is there, 1 not, 2 usage.")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct Where {
    /// The store: the broker's storePathRootDir
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Directory of the commitlog, where it is not in the store (storePathCommitLog); for a store of Apache's more than once, if it
    /// has several
    #[arg(long, value_name = "DIR")]
    pub(super) commitlog: Vec<PathBuf>,
    /// Only this shard
    #[arg(long, value_name = "N")]
    pub(super) shard: Option<u8>,
}

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only messages of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Only messages of queues with this number
    #[arg(short, long, value_name = "N")]
    queue: Option<u32>,
    /// Only messages with this key or unique id
    #[arg(short, long)]
    key: Option<String>,
    /// Only messages with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only the message with this unique id or offset message id
    #[arg(long)]
    id: Option<String>,
    /// Only what was stored then or later: a date, a time, milliseconds since 1970, or how long ago (10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = filter::time)]
    since: Option<i64>,
    /// Only what was stored before
    #[arg(long, value_name = "TIME", value_parser = filter::time)]
    until: Option<i64>,
    /// Only messages with these queue offsets: 100..200 (without 200), 100.., ..200 or 100
    #[arg(long, value_name = "RANGE", value_parser = filter::range)]
    offsets: Option<Range<u64>>,
    /// Only what lies at these positions in the log (physical offsets without the shard)
    #[arg(long, value_name = "RANGE", value_parser = filter::range)]
    positions: Option<Range<u64>>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            topic: self.topic.clone(),
            queue_id: self.queue,
            key: self.key.clone(),
            tag: self.tag.clone(),
            id: self.id.clone(),
            key_or_id: None,
            since: self.since,
            until: self.until,
            queue_offsets: self.offsets.clone(),
            positions: self.positions.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    #[command(flatten)]
    pub(super) place: Where,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Form,
    /// Only records of this kind; may be given more than once
    #[arg(long, value_enum)]
    pub(super) kind: Vec<Kind>,
    /// With bodies of messages and payloads of metadata: text as it is, other bytes in hexadecimal
    #[arg(long)]
    pub(super) bodies: bool,
    /// Records at most
    #[arg(short, long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// At the end, wait for what is written next
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Without the table's first line
    #[arg(long)]
    pub(super) no_headers: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) place: Where,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    /// Without the progress bar
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    pub(super) place: Where,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    /// A line for each queue too
    #[arg(long)]
    pub(super) queues: bool,
    /// Without the progress bar
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct FindArgs {
    #[command(flatten)]
    pub(super) place: Where,
    /// A key, a unique id, or an offset message id
    #[arg(value_name = "KEY_OR_ID")]
    pub(super) text: String,
    /// Only messages of this topic
    #[arg(short, long)]
    pub(super) topic: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Form,
    /// With bodies
    #[arg(long)]
    pub(super) bodies: bool,
    /// Stop after so many
    #[arg(short, long, value_name = "N")]
    pub(super) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct ExtractArgs {
    #[command(flatten)]
    pub(super) place: Where,
    /// The file to make; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// Without the progress bar
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// A replica
    #[arg(value_name = "DIR")]
    pub(super) first: PathBuf,
    /// The other
    #[arg(value_name = "OTHER")]
    pub(super) second: PathBuf,
    /// Directory of the first one's commitlog, where it is not in the store
    #[arg(long, value_name = "DIR")]
    pub(super) commitlog: Vec<PathBuf>,
    /// Directory of the other one's commitlog, where it is not in the store
    #[arg(long, value_name = "DIR")]
    pub(super) other_commitlog: Vec<PathBuf>,
    /// Only this shard
    #[arg(long, value_name = "N")]
    pub(super) shard: Option<u8>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    /// Without the progress bar
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("mode").required(true))]
pub(super) struct RepairArgs {
    #[command(flatten)]
    pub(super) place: Where,
    /// Say what would be done
    #[arg(long, group = "mode")]
    pub(super) plan: bool,
    /// Do it
    #[arg(long, group = "mode")]
    pub(super) apply: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}
