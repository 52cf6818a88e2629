//! The broker process.

pub mod held_pulls;
pub mod incoming;
pub mod replies;
pub mod request;
