//! The broker process.

pub mod attributes;
pub mod config;
pub mod consumer_offsets;
pub mod held_pulls;
pub mod incoming;
pub mod meta;
pub mod preflight;
pub mod queue_locks;
pub mod replies;
pub mod request;
pub mod stats;
