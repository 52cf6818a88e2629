//! The broker process.

pub mod attributes;
pub mod config;
pub mod consumer_offsets;
pub mod error;
pub mod held_pulls;
pub mod incoming;
pub mod meta;
pub mod plan;
pub mod preflight;
pub mod program;
pub mod queue_locks;
pub mod replicas;
pub mod replies;
pub mod request;
pub mod stats;
pub mod subscription_groups;
pub mod topics;
