//! broker

pub mod consumer_offsets;
pub mod meta;
pub mod queue_locks;
