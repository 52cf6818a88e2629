//! mqadmin: questions to a cluster and changes to it, under Apache's names and letters and in a modern spelling.
//!
//! `registry` has what a command is; `cli` makes the command line of all of them, `spelling` brings Apache's ways of writing it into
//! that form; the other files hold one family of commands each. Every command takes a [`context::Context`] and writes to what it is
//! given: a table with Apache's columns, or a document. Exit codes: 0 done, 1 failed (Apache's mqadmin exits with 0 then), 2 the
//! command line is wrong.

/// The line that names a table's columns, unless it is not wanted.
macro_rules! heading {
    ($context:expr, $out:expr, $($text:tt)*) => {
        if $context.headers { writeln!($out, $($text)*) } else { Ok(()) }
    };
}

mod args;
mod broker;
mod cli;
mod clients;
mod cluster;
mod consumer;
mod context;
mod doctor;
mod error;
mod export;
mod files;
mod format;
mod group;
mod ha;
mod json_text;
mod message;
mod message_query;
mod message_read;
mod message_text;
mod missing;
mod name_server;
mod offset;
mod own;
mod probes;
mod registry;
mod spelling;
mod stats;
mod time_text;
mod top;
mod topic;
mod topic_settings;
mod trace;
mod version_text;

pub use cli::run;
