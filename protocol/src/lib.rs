//! RocketMQ's wire and record formats: bytes to values and back. No I/O, no clock, no threads, no panic on what a peer sends.
//!
//! A connection's bytes become a [`frame::Frame`]; its ext fields become one of the types in [`header`], its body one of those in
//! [`body`] or a run of records ([`message::record`]). [`header_writer::HeaderWriter`] goes the other way.

pub mod body;
pub(crate) mod codes;
pub mod ext;
pub mod frame;
pub mod header;
mod header_binary;
mod header_json;
pub mod header_writer;
pub mod language;
pub mod message;
pub mod model;
pub mod request_code;
pub mod response_code;
pub mod version;
