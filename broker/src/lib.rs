//! broker

pub mod config;
pub mod preflight;
