//! Load generator: one event loop a core, each with its own connections and its own histogram.

pub mod consume;
pub mod cpu;
pub mod measure;
pub mod produce;
pub mod report;
pub mod route;
pub mod workload;
