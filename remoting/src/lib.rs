//! Frames over sockets, for every process that speaks RocketMQ's remoting protocol.
//!
//! All of it belongs to one core and never leaves its thread: [`Connections`] holds the connections of a core,
//! [`serve`] takes new ones in, a [`Handler`] gets their requests, [`Connection`] takes the answers.

pub mod config_table;
mod connection;
mod connections;
mod output;
mod pending;
pub mod properties_file;
mod server;
mod sniff;

pub use connection::{CloseReason, Connection, ConnectionId, Handler};
pub use connections::{Connections, Limits, Statistics};
pub use pending::{Invocation, RequestError};
pub use server::serve;

#[cfg(test)]
mod connection_tests;
