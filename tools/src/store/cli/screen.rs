//! What verify tells while it looks, and progress.

use crate::output::{Format, json_line};
use crate::store::findings::{Counts, Finding};
use crate::store::verify::Watcher;
use indicatif::{ProgressBar, ProgressStyle};
use protocol::model::ShardId;
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// Tells what verify finds while it looks.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    format: Format,
    bar: ProgressBar,
    is_apache: bool,
}

/// A bar on standard error, if that is a terminal.
pub(in crate::store) fn progress_bar(quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, format: Format, quiet: bool, is_apache: bool) -> Screen<'a> {
        Screen {
            out,
            format,
            bar: progress_bar(quiet),
            is_apache,
        }
    }

    pub(super) fn shard(&mut self, counts: &Counts) -> io::Result<()> {
        self.bar.finish_and_clear();
        if self.format == Format::Json {
            let mut line = json!(counts);
            if let Some(object) = line.as_object_mut() {
                object.insert("type".to_owned(), json!("shard"));
            }
            return json_line(self.out, &line);
        }
        let result = if counts.findings == 0 { "clean" } else { "DAMAGED" };
        if self.is_apache {
            return self.apache_log(result, counts);
        }
        writeln!(
            self.out,
            "shard {}: {result}; log {}..{} (durable up to {}), {} batches, {} messages, {} metadata records, \
             {} consume queue pages with {} entries, {} key index pages with {} entries",
            counts.shard,
            counts.min,
            counts.end,
            counts.synced,
            counts.batches,
            counts.messages,
            counts.metadata,
            counts.pages,
            counts.entries,
            counts.key_pages,
            counts.index_entries
        )?;
        if counts.quarantined > 0 {
            writeln!(
                self.out,
                "shard {}: {} damaged ranges were given up by a repair; quarantine.json names them",
                counts.shard, counts.quarantined
            )?;
        }
        if counts.torn_bytes > 0 {
            writeln!(
                self.out,
                "shard {}: {} bytes behind the last seal are an unfinished write; the next start cuts them",
                counts.shard, counts.torn_bytes
            )?;
        }
        self.out.flush()
    }

    fn apache_log(&mut self, result: &str, counts: &Counts) -> io::Result<()> {
        writeln!(
            self.out,
            "{result}; commitlog {}..{}, {} messages, {} consume queue entries, {} key index entries",
            counts.min, counts.end, counts.messages, counts.entries, counts.index_entries
        )?;
        if counts.undispatched > 0 {
            writeln!(
                self.out,
                "{} messages are not in their consume queues yet; the broker puts them there, at its next start at the latest",
                counts.undispatched
            )?;
        }
        if counts.torn_bytes > 0 {
            writeln!(
                self.out,
                "{} bytes behind the last record are an unfinished write, or were cut off by a recovery",
                counts.torn_bytes
            )?;
        }
        self.out.flush()
    }

    pub(super) fn end(&mut self, findings: u64) -> io::Result<()> {
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
            let fix = if self.is_apache {
                writeln!(self.out, "damaged {part}{place}: {}", finding.reason)?;
                finding.part.fix_of_apache()
            } else {
                writeln!(self.out, "shard {shard}: damaged {part}{place}: {}", finding.reason)?;
                finding.part.fix()
            };
            writeln!(self.out, "         fix: {fix}")?;
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
