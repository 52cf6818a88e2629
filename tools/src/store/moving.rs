//! The command lines of `mqstore import` and `mqstore export`.

use super::cli::progress_bar;
use super::export::{self, Export};
use super::import::{self, Import};
use super::verify::Stopped;
use crate::output::{Format, json_line};
use clap::Args;
use protocol::message::delay_levels::{self, DelayLevels};
use std::io::{self, Write};
use std::path::PathBuf;

/// Of `mqstore import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The Apache store: storePathRootDir of its broker
    #[arg(value_name = "APACHE_DIR")]
    from: PathBuf,
    /// The directory of the new store
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Directory of Apache's commitlog, where it is not in the store (storePathCommitLog)
    #[arg(long, value_name = "DIR")]
    commitlog: Option<PathBuf>,
    /// Shards of the new store; without it as many as this machine has cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=128))]
    shards: Option<u8>,
    /// Bytes of a commitlog file of the new store
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    segment_size: u64,
    /// messageDelayLevel of the Apache broker, if it is not the default
    #[arg(long, value_name = "LEVELS", value_parser = DelayLevels::parse, default_value = delay_levels::DEFAULT)]
    delay_levels: DelayLevels,
    /// Import what a broker has written that was killed: bytes at the end that are no whole record are left out
    #[arg(long)]
    after_crash: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Without the progress bar
    #[arg(long)]
    quiet: bool,
}

/// Of `mqstore export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The store: the directory that holds store.json
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// The directory of the new Apache store
    #[arg(value_name = "APACHE_DIR")]
    to: PathBuf,
    /// Directory of the commitlogs, where it is not in the store (the broker's storePathCommitLog)
    #[arg(long, value_name = "DIR")]
    commitlog: Option<PathBuf>,
    /// Bytes of a commitlog file: mappedFileSizeCommitLog of the Apache broker
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    file_size: u64,
    /// messageDelayLevel of the broker, if it is not the default
    #[arg(long, value_name = "LEVELS", value_parser = DelayLevels::parse, default_value = delay_levels::DEFAULT)]
    delay_levels: DelayLevels,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Without the progress bar
    #[arg(long)]
    quiet: bool,
}

/// Runs `mqstore import`.
///
/// # Errors
/// What stopped it.
pub fn import(arguments: &ImportArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let import = Import {
        from: arguments.from.clone(),
        from_commitlog: arguments.commitlog.clone(),
        to: arguments.to.clone(),
        shards: arguments.shards.unwrap_or(u8::try_from(cores).unwrap_or(128).min(128)),
        segment_size: arguments.segment_size,
        delay_levels: arguments.delay_levels.clone(),
        after_crash: arguments.after_crash,
    };
    let bar = progress_bar(arguments.quiet);
    let summary = import.run(&mut |step, position, end| {
        bar.set_message(step);
        bar.set_length(end);
        bar.set_position(position);
    });
    bar.finish_and_clear();
    let summary = summary?;
    if arguments.output == Format::Json {
        json_line(out, &summary)?;
    } else {
        tell_import(&summary, &arguments.to, out)?;
    }
    Ok(true)
}

fn tell_import(summary: &import::Summary, to: &std::path::Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "imported and verified: {} messages in {} queues, the log from {} to {}",
        summary.messages, summary.queues, summary.from, summary.to
    )?;
    let notes = [
        (
            summary.empty_queues as u64,
            "queues have no messages left and go on where they were",
        ),
        (
            summary.outside_of_queues,
            "records are in no queue: half messages and rolled back ones of old versions",
        ),
        (
            summary.not_supported,
            "records were left out: inner batches and messages of several queues",
        ),
        (
            summary.passed,
            "records were left out: their queue offset was taken, so Apache's broker did not serve them either",
        ),
        (summary.missing, "queue offsets are missing in Apache's log"),
    ];
    for (count, what) in notes.iter().filter(|(count, _what)| *count > 0) {
        writeln!(out, "{count} {what}")?;
    }
    writeln!(
        out,
        "next: start mqbroker with storePathRootDir={}; it takes in {}",
        to.display(),
        summary.tables.join(", ")
    )
}

/// Runs `mqstore export`; false if messages could not be read.
///
/// # Errors
/// What stopped it.
pub fn export(arguments: &ExportArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let export = Export {
        from: arguments.from.clone(),
        from_commitlog: arguments.commitlog.clone(),
        to: arguments.to.clone(),
        file_size: arguments.file_size,
        delay_levels: arguments.delay_levels.clone(),
    };
    let bar = progress_bar(arguments.quiet);
    let summary = export.run(&mut |messages, all| {
        bar.set_message("writing");
        bar.set_length(all);
        bar.set_position(messages);
    });
    bar.finish_and_clear();
    let summary = summary?;
    if arguments.output == Format::Json {
        json_line(out, &summary)?;
    } else {
        tell_export(&summary, arguments, out)?;
    }
    Ok(summary.lost == 0)
}

fn tell_export(summary: &export::Summary, arguments: &ExportArgs, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "exported: {} messages of {} queues, {} bytes of commitlog in {} files",
        summary.messages, summary.queues, summary.bytes, summary.files
    )?;
    if summary.lost > 0 {
        writeln!(out, "{} messages could not be read and are not there", summary.lost)?;
    }
    if summary.empty_queues > 0 {
        writeln!(
            out,
            "{} queues have no messages left and begin at offset 0 again with Apache's broker",
            summary.empty_queues
        )?;
    }
    writeln!(
        out,
        "next: start Apache's broker with storePathRootDir={} and mappedFileSizeCommitLog={}",
        arguments.to.display(),
        arguments.file_size
    )
}
