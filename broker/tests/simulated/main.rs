//! A whole broker in a simulated world: what takes minutes, a full disk or a damaged one, in milliseconds and the same every time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it should be"
)]

mod apache_master;
mod clients;
mod damage;
mod disk_full;
mod overload;
mod replication;
mod settings;
mod table_files;
mod world;
