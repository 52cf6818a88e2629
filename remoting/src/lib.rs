//! Frames over sockets, for every process that speaks RocketMQ's remoting protocol.
//!
//! All of it belongs to one core and never leaves its thread: [`Connections`] holds the connections of a core,
//! [`serve`] takes new ones in, a [`Handler`] gets their requests, [`Connection`] takes the answers,
//! and [`RpcClient`] keeps connections to other servers.

pub mod address;
pub mod config_table;
mod connection;
mod connections;
mod output;
mod pending;
pub mod properties_file;
mod rpc_client;
mod server;
mod sniff;

pub use connection::{CloseReason, Connection, ConnectionId, Handler};
pub use connections::{Connections, Limits, Statistics};
pub use pending::{Invocation, RequestError};
pub use rpc_client::{NoRequests, RpcClient};
pub use server::serve;
pub use sniff::OtherProtocol;

#[cfg(test)]
mod connection_tests;
