//! The broker process.

pub mod config;
pub mod held_pulls;
pub mod incoming;
pub mod preflight;
pub mod replies;
pub mod request;
