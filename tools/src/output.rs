//! How results leave: as a table for people or as JSON for programs, and exit codes that say how it went.

use std::io::{self, Write};
use std::process::ExitCode;

/// The form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people; in mqadmin those of Apache's.
    #[default]
    Table,
    /// JSON: one document, or one a line where there may be many.
    Json,
}

/// It did not work, or something is damaged.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;

/// Prints what a command line that does not parse deserves: help and version are no error.
#[must_use]
pub fn usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    match error.exit_code() {
        0 if shown.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::from(USAGE),
    }
}

/// One line of JSON.
///
/// # Errors
/// It cannot be written.
pub fn json_line(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A JSON document for people and programs.
///
/// # Errors
/// It cannot be written.
pub fn json_document(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The exit code for an error, which is told on standard error. A reader that has heard enough is none.
#[must_use]
pub fn failure(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut source = Some(error);
    while let Some(found) = source {
        let kind = found.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        source = found.source();
    }
    let _nobody_listens = writeln!(io::stderr().lock(), "error: {error}");
    ExitCode::from(FAILED)
}
