//! What bench, tools and tests call: producers, pull consumers and admin requests, in the real and in the simulated world.
//!
//! A [`Client`] belongs to one core. It knows name servers, keeps routes and one connection to each server; [`Producer`],
//! [`PullConsumer`] and [`Admin`] are thin parts over it. None of them has a task of its own that outlives a call, except
//! the heartbeats that [`Client::keep_alive`] is asked for.

mod admin;
mod core;
mod error;
mod message;
mod producer;
mod pull_consumer;
mod route;
mod topic_setup;

pub use crate::core::{Client, NoFields};
pub use admin::{Admin, KeyQuery, ResetTarget};
pub use error::Error;
pub use message::{Message, ReceivedMessage};
pub use producer::{Prepared, Producer, SendResult, SendStatus};
pub use pull_consumer::{PullConsumer, PullOptions, PullResult, PullStatus};
pub use route::{Route, RouteQueue};

#[cfg(test)]
mod broker_tests;
#[cfg(test)]
mod client_tests;
