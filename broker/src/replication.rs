//! Slaves and their master: the log of each shard is copied, byte for byte, from the master's shard to the slave's.
//!
//! A slave opens one connection a shard to its master's HA port. The master pushes whole batches as they are committed, read from
//! memory while they are there and from the disk otherwise; the slave checks each against its seal and the end of its own
//! log, writes it through the same writer, and says how far it is. A connection that breaks is made again, and goes on where the
//! slave's log ends: there is no other state.
//!
//! Metadata travels in the same logs. A slave whose log begins later than its master's first segment, since that is gone, gets what the
//! older ones said as records of its own before the first batch.
//!
//! The master may also be Apache's: see [`apache`].

pub mod agree;
pub mod apache;
pub mod follower;
pub mod followers;
mod join;
pub mod known_slaves;
pub mod leader;
pub mod reclaim;
pub mod slave_waits;
mod wire;

pub use join::{Original, configured, find, join};
