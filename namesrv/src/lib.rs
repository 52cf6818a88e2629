//! The name server: which brokers there are, and where topics are.
//!
//! Name servers know nothing of each other: brokers register with all of them, clients ask any.
//! Parts: [`route_table`] decides, `liveness` drops silent brokers, `handlers` turn requests into calls of these and answer,
//! [`kv_config`] keeps small texts in a file, [`config`] knows every key.

pub mod config;
mod dispatch;
mod error;
mod handlers;
pub mod kv_config;
mod liveness;
mod name_server;
pub mod program;
pub mod route_table;

pub use error::Error;
pub use name_server::NameServer;

#[cfg(test)]
mod name_server_tests;
#[cfg(test)]
mod simulation_tests;
