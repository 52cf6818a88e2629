//! mqstore: reads the files of a store, ours or Apache's, also beside a running broker. Only `repair --apply` writes to one;
//! `import` and `export` make stores of their own.

pub mod cli;
pub mod diff;
pub mod dump;
mod entry_sums;
pub mod export;
pub mod extract;
pub mod files;
pub mod filter;
pub mod findings;
pub mod import;
mod intervals;
mod key_pages;
mod key_sums;
pub mod moving;
pub mod open;
pub mod quarantine;
mod read_ahead;
pub mod repair;
pub mod scan;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod verify_apache;
pub mod walk;
pub mod window;

pub use cli::run;
