//! The simulated world, tested from outside: what a scenario may rely on.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error it does not expect has failed"
)]

mod determinism;
mod disk;
mod execution;
mod ledger;
mod network;

use runtime::sim::{Faults, NodeId, Options, Simulation};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Long enough for anything a test waits for.
const LIMIT: Duration = Duration::from_secs(600);

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

fn options(faults: Faults) -> Options {
    Options {
        faults,
        ..Options::default()
    }
}

/// A world with one node whose process only waits to be stopped; tests start their tasks in it.
fn one_node(seed: u64, faults: Faults) -> (Simulation, NodeId) {
    let simulation = Simulation::new(seed, options(faults));
    let node = simulation.node("one", address(1));
    simulation.start(node, wait_for_stop);
    (simulation, node)
}

async fn wait_for_stop() {
    runtime::signal::terminated().await.unwrap();
}
