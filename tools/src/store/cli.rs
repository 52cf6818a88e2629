//! The command line of mqstore.
//!
//! Exit codes: 0 all is well, 1 damage or a difference was found, nothing was found, or the store cannot be read, 2 the command line
//! is wrong.

mod arguments;
mod screen;
mod side_by_side;
mod tables;

use super::diff;
use super::dump::{Dump, Form};
use super::extract::extract;
use super::filter::Filter;
use super::moving;
use super::open::Store;
use super::repair;
use super::stats::Stats;
use super::verify::Stopped;
use super::verify_apache::verify_apache;
use crate::output::{self, FAILED, Format};
use arguments::{
    Command, CommandLine, DiffArgs, DumpArgs, ExtractArgs, FindArgs, RepairArgs, StatsArgs, VerifyArgs, Where,
};
use clap::Parser;
use protocol::model::ShardId;
use screen::Screen;
pub(super) use screen::progress_bar;
use side_by_side::verify_all;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

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
        Command::Stats(arguments) => stats(arguments, &mut out),
        Command::Find(arguments) => find(arguments, &mut out),
        Command::Extract(arguments) => extract_to(arguments, &mut out),
        Command::Diff(arguments) => compare(arguments, &mut out),
        Command::Repair(arguments) => mend(arguments, &mut out),
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

fn open(place: &Where) -> Result<(Store, Vec<ShardId>), Stopped> {
    let store = Store::find(&place.directory, &place.commitlog)?;
    let shards = store.shards(place.shard)?;
    if let Store::Own(files) = &store
        && let Err(note) = files.check_memory()
    {
        // What is in the files can be read all the same.
        let _nobody_listens = writeln!(io::stderr().lock(), "note: {note}");
    }
    Ok((store, shards))
}

/// Whether all was sound.
fn dump(arguments: &DumpArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let (store, shards) = open(&arguments.place)?;
    let mut dump = Dump {
        out,
        form: arguments.output,
        filter: arguments.filter.filter(),
        kinds: arguments.kind.clone(),
        bodies: arguments.bodies,
        limit: arguments.limit.unwrap_or(u64::MAX),
    };
    if arguments.output != Form::Json && !arguments.no_headers {
        dump.heading()?;
    }
    dump.run(&store, &shards, arguments.follow)
}

/// Whether all was sound.
fn verify(arguments: &VerifyArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let (store, shards) = open(&arguments.place)?;
    let is_apache = matches!(store, Store::Apache(_));
    let mut screen = Screen::new(out, arguments.output, arguments.quiet, is_apache);
    let mut findings = 0;
    let all = match &store {
        Store::Own(files) => verify_all(files, &shards, &mut screen)?,
        Store::Apache(store) => vec![verify_apache(store, &mut screen)?],
    };
    for counts in all {
        findings += counts.findings;
        screen.shard(&counts)?;
    }
    screen.end(findings)?;
    Ok(findings == 0)
}

fn stats(arguments: &StatsArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let (store, shards) = open(&arguments.place)?;
    let bar = progress_bar(arguments.quiet);
    let now = jiff::Timestamp::now().as_millisecond();
    let stats = Stats::collect(&store, &shards, now, &mut |_, position, end| {
        bar.set_length(end);
        bar.set_position(position);
    })?;
    bar.finish_and_clear();
    tables::stats(out, arguments.output, &stats, arguments.queues)?;
    Ok(stats.garbage.damaged.bytes == 0)
}

/// Whether something was found.
fn find(arguments: &FindArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let (store, shards) = open(&arguments.place)?;
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let mut dump = Dump {
        out,
        form: arguments.output,
        filter: Filter {
            key_or_id: Some(arguments.text.clone()),
            topic: arguments.topic.clone(),
            ..Filter::default()
        },
        kinds: Vec::new(),
        bodies: arguments.bodies,
        limit,
    };
    if arguments.output != Form::Json {
        dump.heading()?;
    }
    dump.run(&store, &shards, false)?;
    Ok(dump.limit < limit)
}

/// Whether all that was read was sound.
fn extract_to(arguments: &ExtractArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let (store, shards) = open(&arguments.place)?;
    let cannot = |source| super::files::Error::Io {
        action: "make the file",
        path: arguments.to.clone(),
        source,
    };
    let file = File::create_new(&arguments.to).map_err(cannot)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let bar = progress_bar(arguments.quiet);
    let (written, sound) = extract(
        &store,
        &shards,
        &arguments.filter.filter(),
        &mut file,
        &mut |_, position, end| {
            bar.set_length(end);
            bar.set_position(position);
        },
    )?;
    file.flush()?;
    file.get_ref().sync_all()?;
    bar.finish_and_clear();
    let path = arguments.to.display();
    writeln!(out, "{} records of {} bytes to {path}", written.records, written.bytes)?;
    if !sound {
        writeln!(
            out,
            "parts of the log are damaged: what could be read is there (mqstore verify names the parts)"
        )?;
    }
    Ok(sound)
}

/// Whether there is no difference.
fn compare(arguments: &DiffArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let first = Store::find(&arguments.first, &arguments.commitlog)?;
    let second = Store::find(&arguments.second, &arguments.other_commitlog)?;
    let segment_size = match (&first, &second) {
        (Store::Own(one), Store::Own(other)) => {
            let (one, other) = (&one.description, &other.description);
            if one.store_id != other.store_id {
                let found = (one.store_id, other.store_id);
                return Err(super::files::Error::NotReplicas { found }.into());
            }
            one.segment_size
        }
        (Store::Apache(one), Store::Apache(_)) => one.log()?.segment_size(),
        (one, other) => {
            let found = (one.kind(), other.kind());
            return Err(super::files::Error::KindsDiffer { found }.into());
        }
    };
    let bar = progress_bar(arguments.quiet);
    let mut same = true;
    for shard in first.shards(arguments.shard)? {
        let found = diff::compare([&first, &second], shard, segment_size, &mut |position, end| {
            bar.set_length(end);
            bar.set_position(position);
        })?;
        bar.finish_and_clear();
        tables::compared(out, arguments.output, shard, &found)?;
        same &= found.difference.is_none();
    }
    if arguments.output == Format::Table {
        writeln!(out, "{}", if same { "the same" } else { "DIFFERENT" })?;
    }
    Ok(same)
}

/// Whether nothing is left to be done.
fn mend(arguments: &RepairArgs, out: &mut dyn Write) -> Result<bool, Stopped> {
    let (store, shards) = open(&arguments.place)?;
    let Store::Own(files) = &store else {
        let directory = arguments.place.directory.clone();
        return Err(super::files::Error::NotOurs { directory }.into());
    };
    // Before the plan is made: what a broker writes meanwhile would not be in it.
    let lock = arguments.apply.then(|| repair::lock(files.root())).transpose()?;
    if lock.is_some() {
        files.check_memory()?;
    }
    let plan = repair::plan(files, &shards)?;
    if arguments.output == Format::Json {
        output::json_document(out, &plan)?;
    } else {
        for action in &plan.actions {
            writeln!(out, "{action}")?;
        }
        for finding in &plan.stays {
            writeln!(out, "shard {}: stays as it is: {}", finding.shard, finding.reason)?;
        }
        if plan.actions.is_empty() {
            writeln!(out, "nothing to repair")?;
        }
    }
    let Some(lock) = lock.filter(|_| !plan.actions.is_empty()) else {
        return Ok(plan.actions.is_empty() && plan.stays.is_empty());
    };
    let now = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::system());
    let name = now.strftime("repair-%Y%m%dT%H%M%S").to_string();
    let done = repair::apply(files, &plan, &lock, &name)?;
    let (kept_in, saved) = (done.kept_in.display(), done.saved_messages);
    if arguments.output == Format::Table {
        writeln!(
            out,
            "done; what was moved or given up is in {kept_in}, with {saved} messages saved from damaged ranges"
        )?;
    }
    Ok(plan.stays.is_empty())
}
