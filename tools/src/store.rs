//! mqstore: reads the files of a store, also beside a running broker, and never writes.

pub mod cli;
pub mod dump;
pub mod files;
pub mod findings;
mod intervals;
mod key_pages;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod walk;
pub mod window;

pub use cli::run;
