//! mqstore: reads the files of a store, also beside a running broker, and never writes into it. `import` and `export` write stores of their own.

pub mod cli;
pub mod dump;
pub mod export;
pub mod files;
pub mod findings;
pub mod import;
mod intervals;
mod key_pages;
pub mod moving;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod walk;

pub use cli::run;
