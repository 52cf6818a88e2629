//! A whole cluster in a simulated world, from a seed: name servers, brokers with all their cores, producers and consumers,
//! while disks, network, clocks and machines fail; then a time without faults; then the verdict of the checker.
//!
//! [`run`] plays one seed: [`cluster`] builds the world, [`producers`] and [`consumers`] use it and record what happens,
//! [`nemesis`] breaks it, [`judge`] heals it, reads everything back and checks. What a seed breaks is drawn from it
//! ([`plan`]): each kind of fault is on in half of the seeds.

pub mod cluster;
pub mod consumers;
pub mod coverage;
pub mod judge;
pub mod nemesis;
pub mod plan;
pub mod producers;
pub mod recorder;
pub mod regressions;
pub mod run;
pub mod totals;

pub use plan::{Options, Plan};
pub use run::{Outcome, run};
