//! Load generator: one event loop a core, each with its own connections and its own histograms.
//!
//! A [`run`] is made of [`produce`] and [`consume`] on the same event loops; [`measure`] says what is counted, [`pace`] when
//! something is due. A [`scenario`] is one or several runs; [`report`] writes what they showed.

pub mod account;
pub mod apache;
pub mod compose;
pub mod consume;
pub mod error;
pub mod filler;
pub mod lane;
pub mod machine;
pub mod measure;
pub mod monitor;
pub mod options;
pub mod pace;
pub mod produce;
pub mod report;
pub mod run;
pub mod scenario;
pub mod self_test;
pub mod sizes;
pub mod slo;
pub mod verify;
pub mod zipf;

pub use error::Error;
