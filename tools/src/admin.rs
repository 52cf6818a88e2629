//! mqadmin: questions to a cluster and changes to it, under Apache's names and letters and in a modern spelling.
//!
//! `cli` has the command line, `spelling` brings Apache's ways of writing it into that form, the other files one family of
//! commands each. Every command takes a [`context::Context`] and writes to what it is given, a table with Apache's columns or
//! JSON. Exit codes: 0 done, 1 failed (Apache's mqadmin exits with 0 then), 2 the command line is wrong.

mod broker;
mod cli;
mod cluster;
mod consumer;
mod context;
mod error;
mod json_text;
mod message;
mod spelling;
mod time_text;
mod topic;

pub use cli::run;
