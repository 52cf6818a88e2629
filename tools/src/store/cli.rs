//! The command line of mqstore.
//!
//! Exit codes: 0 all is well, 1 damage was found or the store cannot be read, 2 the command line is wrong.

use super::dump::{Dump, Filter, Kind};
use super::files::StoreFiles;
use super::findings::{Counts, Finding};
use super::moving::{self, ExportArgs, ImportArgs};
use super::verify::{Stopped, Watcher, verify_shard};
use crate::output::{self, FAILED, Format, json_line};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::model::ShardId;
use serde_json::json;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks into the files of a RingMQ store, and moves messages from and to stores of Apache RocketMQ. What looks opens files for reading only and
/// takes no lock: it works beside a running broker.
#[derive(Debug, Parser)]
#[command(name = "mqstore", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what the log holds: messages, metadata records, seals.
    #[command(after_help = "Examples:
  mqstore dump ~/store                                   every record, as a table
  mqstore dump ~/store -t Orders -q 3 -o json            messages of one queue, a JSON object a line
  mqstore dump ~/store -t Orders -k order-17 --bodies    messages with a key (or unique id), with their bodies
  mqstore dump ~/store --kind seal --shard 0             the seals of one shard

Exit codes: 0 all of it was sound, 1 damage was met (a line of kind damage) or the store cannot be read, 2 usage.")]
    Dump(DumpArgs),
    /// Check everything that has a checksum or a rule; goes on behind damage.
    #[command(after_help = "Examples:
  mqstore verify ~/store
  mqstore verify ~/store -o json | jq 'select(.type == \"damage\")'

What is checked: every batch's records (size, magic, own position), its seal and the chain of seals; every message's fields
and body CRC; that queue offsets follow each other; consume queue pages and each entry against the log; checkpoints; pages
of the key index. Bytes behind the last seal are an unfinished write and no damage, unless the log was durable further.

Exit codes: 0 clean, 1 damaged or not readable, 2 usage.")]
    Verify(VerifyArgs),
    /// Fill a new store with the messages, offsets, topics and groups of an Apache broker that is stopped.
    #[command(after_help = "Examples:
  mqstore import /data/rocketmq/store /data/ringmq/store
  mqstore import /data/rocketmq/store /data/ringmq/store --commitlog /disk2/commitlog --shards 8

The Apache store is only read. Messages keep topic, queue, queue offset, keys, times and hosts; offset message ids change, unique
ids stay. Ended by anything, run it again: it goes on where it was. What is there is compared with what went in, queue by queue.
The broker takes topics, groups and offsets in at its first start on the new store; before the import is done none starts there.

Exit codes: 0 all is there, 1 not, 2 usage.")]
    Import(ImportArgs),
    /// Write the messages, offsets, topics and groups of a store, whose broker is stopped, as a store of Apache RocketMQ.
    #[command(after_help = "Examples:
  mqstore export /data/ringmq/store /data/rocketmq/store

Writes commitlog files and config/*.json; Apache's broker makes its consume queues and index from them at its first start there.
After a failure delete the new directory and run it again.

Exit codes: 0 all is there, 1 not, 2 usage.")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct Where {
    /// The store: the directory that holds store.json (the broker's storePathRootDir)
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Directory of the commitlogs, where it is not in the store (the broker's storePathCommitLog)
    #[arg(long, value_name = "DIR")]
    commitlog: Option<PathBuf>,
    /// Only this shard
    #[arg(long, value_name = "N")]
    shard: Option<u8>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
struct DumpArgs {
    #[command(flatten)]
    place: Where,
    /// Only messages of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Only messages of queues with this number
    #[arg(short, long, value_name = "N")]
    queue: Option<u32>,
    /// Only messages with this key or unique id
    #[arg(short, long)]
    key: Option<String>,
    /// Only records of this kind; may be given more than once
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// With bodies of messages and payloads of metadata: text as it is, other bytes in hexadecimal
    #[arg(long)]
    bodies: bool,
    /// Records at most
    #[arg(short, long, value_name = "N")]
    limit: Option<u64>,
    /// Without the table's first line
    #[arg(long)]
    no_headers: bool,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    place: Where,
    /// Without the progress bar
    #[arg(long)]
    quiet: bool,
}

/// Runs mqstore with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(error) => return output::usage(&error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let sound = match &command_line.command {
        Command::Dump(arguments) => dump(arguments, &mut out),
        Command::Verify(arguments) => verify(arguments, &mut out),
        Command::Import(arguments) => moving::import(arguments, &mut out),
        Command::Export(arguments) => moving::export(arguments, &mut out),
    };
    let sound = sound.and_then(|sound| {
        out.flush()?;
        Ok(sound)
    });
    match sound {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => output::failure(&error),
    }
}

/// Whether all was sound.
fn dump(arguments: &DumpArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let place = &arguments.place;
    let files = StoreFiles::find(&place.directory, place.commitlog.as_deref())?;
    let mut dump = Dump {
        out,
        format: place.output,
        filter: Filter {
            topic: arguments.topic.clone(),
            queue_id: arguments.queue,
            key: arguments.key.clone(),
            kinds: arguments.kind.clone(),
        },
        bodies: arguments.bodies,
        limit: arguments.limit.unwrap_or(u64::MAX),
    };
    if place.output == Format::Table && !arguments.no_headers {
        dump.heading()?;
    }
    let mut sound = true;
    for shard in files.shards(place.shard)? {
        sound &= dump.shard(&files, shard)?;
    }
    Ok(sound)
}

/// Whether all was sound.
fn verify(arguments: &VerifyArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let place = &arguments.place;
    let files = StoreFiles::find(&place.directory, place.commitlog.as_deref())?;
    let mut screen = Screen::new(out, place.output, arguments.quiet);
    let mut findings = 0;
    for shard in files.shards(place.shard)? {
        let counts = verify_shard(&files, shard, &mut screen)?;
        findings += counts.findings;
        screen.shard(&counts)?;
    }
    screen.end(findings)?;
    Ok(findings == 0)
}

/// Tells what verify finds while it looks.
struct Screen<'a> {
    out: &'a mut dyn Write,
    format: Format,
    bar: ProgressBar,
}

impl<'a> Screen<'a> {
    fn new(out: &'a mut dyn Write, format: Format, quiet: bool) -> Screen<'a> {
        let bar = if quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(0)
        };
        let style = ProgressStyle::with_template("{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        Screen { out, format, bar }
    }

    fn shard(&mut self, counts: &Counts) -> io::Result<()> {
        self.bar.finish_and_clear();
        if self.format == Format::Json {
            let mut line = json!(counts);
            if let Some(object) = line.as_object_mut() {
                object.insert("type".to_owned(), json!("shard"));
            }
            return json_line(self.out, &line);
        }
        let result = if counts.findings == 0 { "clean" } else { "DAMAGED" };
        writeln!(
            self.out,
            "shard {}: {result}; log {}..{} (durable up to {}), {} batches, {} messages, {} metadata records, \
             {} consume queue pages with {} entries, {} key index pages",
            counts.shard,
            counts.min,
            counts.end,
            counts.synced,
            counts.batches,
            counts.messages,
            counts.metadata,
            counts.pages,
            counts.entries,
            counts.key_pages
        )?;
        if counts.torn_bytes > 0 {
            writeln!(
                self.out,
                "shard {}: {} bytes behind the last seal are an unfinished write; the next start cuts them",
                counts.shard, counts.torn_bytes
            )?;
        }
        self.out.flush()
    }

    fn end(&mut self, findings: u64) -> io::Result<()> {
        match self.format {
            Format::Json => json_line(
                self.out,
                &json!({"type": "summary", "clean": findings == 0, "findings": findings}),
            ),
            Format::Table if findings == 0 => writeln!(self.out, "clean"),
            Format::Table => writeln!(self.out, "DAMAGED: {findings} findings"),
        }
    }
}

impl Watcher for Screen<'_> {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        if self.format == Format::Json {
            let mut line = json!(finding);
            if let Some(object) = line.as_object_mut() {
                object.insert("type".to_owned(), json!("damage"));
            }
            return json_line(self.out, &line);
        }
        let place = match (finding.from, finding.to) {
            (Some(from), Some(to)) => format!(" {from}..{to}"),
            _ => String::new(),
        };
        let bar = self.bar.clone();
        bar.suspend(|| {
            let (shard, part) = (finding.shard, finding.part.name());
            writeln!(self.out, "shard {shard}: damaged {part}{place}: {}", finding.reason)?;
            writeln!(self.out, "         fix: {}", finding.part.fix())?;
            self.out.flush()
        })
    }

    fn at(&mut self, shard: ShardId, min: u64, position: u64, end: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_message(format!("shard {shard}"));
        self.bar.set_length(end.saturating_sub(min));
        self.bar.set_position(position.saturating_sub(min));
    }
}
