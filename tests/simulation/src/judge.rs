//! After the faults: everything must work again within a bounded time, and everything is read back.

use crate::cluster::Cluster;
use crate::consumers::drain;
use crate::plan::Plan;
use crate::producers::{TOPIC, every_queue_takes_a_message, queues_of};
use crate::recorder::Shared;
use std::rc::Rc;
use std::time::Duration;

/// Virtual time within which brokers that are well are up again.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Virtual time within which every queue takes messages again. A client keeps a route for 30 s.
const SEND_LIMIT: Duration = Duration::from_secs(60);
/// How often slaves are looked at before they must be well, and how long it is between two looks.
const SETTLE_LOOKS: u32 = 20;
const SETTLE_PAUSE: Duration = Duration::from_millis(500);
/// Virtual time for the reading of one queue.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// Waits for the healed cluster to work and reads everything back; gives what is wrong.
///
/// # Errors
/// In words.
pub fn heal_and_drain(cluster: &Cluster, plan: &Plan, recorder: &Shared) -> Result<(), String> {
    let simulation = &cluster.simulation;
    let healthy = |damaged: bool| move |broker: &&crate::cluster::BrokerNode| broker.plan.damaged() == damaged;
    let up = || {
        cluster
            .brokers
            .iter()
            .filter(healthy(false))
            .all(crate::cluster::BrokerNode::is_readable)
    };
    simulation.run_until(up, START_LIMIT).map_err(|stopped| {
        let failures: Vec<_> = cluster
            .brokers
            .iter()
            .map(|broker| (broker.name.clone(), broker.state.failure.borrow().clone()))
            .collect();
        format!("the brokers are not up {START_LIMIT:?} after everything was mended: {failures:?}; {stopped}")
    })?;
    settle(cluster);
    if plan.brokers.iter().any(crate::plan::BrokerPlan::damaged) {
        // One whose store is damaged may refuse to start, and then says why.
        simulation.run_for(Duration::from_secs(5));
        for broker in cluster.brokers.iter().filter(healthy(true)) {
            let silent = !broker.state.ready.get() && broker.state.failure.borrow().is_none();
            if silent {
                return Err(format!(
                    "{} has a damaged store and neither starts nor says why",
                    broker.name
                ));
            }
        }
    }
    let names: Vec<String> = cluster
        .brokers
        .iter()
        .filter(healthy(false))
        .filter(|broker| !broker.is_lost())
        .map(|broker| broker.name.clone())
        .collect();
    let sending = every_queue_takes_a_message(Rc::clone(recorder), names, SEND_LIMIT);
    let deaf = simulation
        .block_on(cluster.producers, sending, SEND_LIMIT * 3)
        .map_err(|stopped| format!("sends after the faults do not end: {stopped}"))?;
    if !deaf.is_empty() {
        return Err(format!(
            "these take no message {SEND_LIMIT:?} after everything was mended: {deaf:?}"
        ));
    }
    recorder.stopping.set(true);
    // Requests that are under way end, one way or the other.
    simulation.run_for(Duration::from_secs(10));
    read_back(cluster, recorder)
}

/// Lets slaves come to terms with their masters: one that must cut its log ends for that, and its supervisor starts it again.
fn settle(cluster: &Cluster) {
    let simulation = &cluster.simulation;
    let slaves: Vec<_> = cluster
        .brokers
        .iter()
        .filter_map(|broker| broker.slave.as_ref())
        .collect();
    if slaves.is_empty() {
        return;
    }
    for _look in 0..SETTLE_LOOKS {
        simulation.run_for(SETTLE_PAUSE);
        for slave in &slaves {
            if !simulation.is_running(slave.node) {
                simulation.restart(slave.node);
            }
        }
    }
}

fn read_back(cluster: &Cluster, recorder: &Shared) -> Result<(), String> {
    {
        let mut history = recorder.history.borrow_mut();
        history.drain_began();
    }
    let brokers: Vec<(String, bool)> = cluster
        .brokers
        .iter()
        .filter(|broker| broker.is_readable())
        .map(|broker| (broker.name.clone(), broker.plan.damaged()))
        .collect();
    let queues = brokers.len() * queues_of("", TOPIC).count();
    let limit = DRAIN_LIMIT * u32::try_from(queues + 1).unwrap_or(u32::MAX);
    let damaged: Vec<String> = brokers
        .iter()
        .filter(|broker| broker.1)
        .map(|broker| broker.0.clone())
        .collect();
    let reading = drain(Rc::clone(recorder), brokers, DRAIN_LIMIT);
    let failures = cluster
        .simulation
        .block_on(cluster.consumers, reading, limit)
        .map_err(|stopped| format!("the reading of everything does not end: {stopped}"))?;
    let failures: Vec<String> = failures
        .into_iter()
        .filter(|failure| !damaged.iter().any(|name| failure.contains(name.as_str())))
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("queues that cannot be read: {failures:?}"))
    }
}
