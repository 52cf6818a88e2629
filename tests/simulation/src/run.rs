//! One seed from its begin to its verdict.

use crate::cluster::Cluster;
use crate::nemesis::Nemesis;
use crate::plan::{Options, Plan};
use crate::producers::{QUEUES, TOPIC, new_client, topic_config};
use crate::recorder::{Recorder, Shared};
use crate::{consumers, judge, producers};
use client::Admin;
use runtime::sim::Report as WorldReport;
use std::rc::Rc;
use std::time::Duration;

/// Virtual time for a cluster without faults to come up.
const SETUP_LIMIT: Duration = Duration::from_secs(30);

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// What the world did.
    pub world: WorldReport,
    /// What the checker says.
    pub messages: checker::Report,
    /// Equal in two runs of one seed.
    pub trace_hash: u64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Plays one seed.
///
/// # Panics
/// When code of the cluster does: that is a failure too.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let plan = Plan::new(seed, options);
    let recorder = Rc::<Recorder>::default();
    let cluster = Cluster::new(&plan);
    let verdict = play(&cluster, &plan, &recorder);
    let (world, trace_hash) = (cluster.simulation.report(), cluster.simulation.trace_hash());
    // The world's tasks hold the recorder.
    drop(cluster);
    let recorder = Rc::try_unwrap(recorder).expect("nothing of the world outlives it");
    let complaints = recorder.complaints.into_inner();
    let messages = recorder.history.into_inner().check();
    let mut failures: Vec<String> = verdict.err().into_iter().collect();
    failures.extend(complaints);
    if !messages.is_ok() {
        failures.push(messages.to_string());
    }
    Outcome {
        world,
        messages,
        trace_hash,
        failure: (!failures.is_empty()).then(|| failures.join("\n")),
    }
}

fn play(cluster: &Cluster, plan: &Plan, recorder: &Shared) -> Result<(), String> {
    set_up(cluster, plan, recorder)?;
    let names: Vec<String> = cluster.brokers.iter().map(|broker| broker.name.clone()).collect();
    let simulation = &cluster.simulation;
    simulation.on(cluster.producers, || producers::start(recorder, plan));
    simulation.on(cluster.consumers, || consumers::start(recorder, &names));
    let mut nemesis = Nemesis::new(cluster, plan, recorder);
    nemesis.rage();
    nemesis.mend_everything();
    judge::heal_and_drain(cluster, plan, recorder)
}

/// Lets the cluster come up, makes the topic, and tells the history what this seed's promises are.
fn set_up(cluster: &Cluster, plan: &Plan, recorder: &Shared) -> Result<(), String> {
    let simulation = &cluster.simulation;
    simulation
        .run_until(|| cluster.all_ready(), SETUP_LIMIT)
        .map_err(|stopped| format!("the cluster does not come up: {stopped}"))?;
    let addresses: Vec<String> = cluster.brokers.iter().map(|broker| broker.address.clone()).collect();
    let creating = async move {
        let admin = Admin::new(&new_client());
        for address in addresses {
            admin.create_topic(&address, &topic_config(TOPIC)).await?;
        }
        Ok::<(), client::Error>(())
    };
    simulation
        .block_on(cluster.producers, creating, SETUP_LIMIT)
        .map_err(|stopped| format!("topics are not made: {stopped}"))?
        .map_err(|error| format!("topics are not made: {error}"))?;
    // Then they are durable in asynchronous flush too.
    simulation.run_for(Duration::from_secs(2));
    let mut history = recorder.history.borrow_mut();
    for broker in &cluster.brokers {
        if broker.plan.damaged() {
            history.allow_damage(&broker.name);
        }
        for queue_id in 0..QUEUES.unsigned_abs() {
            let queue = history.queue(&broker.name, TOPIC, queue_id);
            if plan.retention {
                history.allow_retention(queue);
            }
        }
    }
    Ok(())
}
