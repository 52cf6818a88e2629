//! Breaks things by a seed's plan, and mends each after a while.

use crate::cluster::{BrokerNode, Cluster, SlaveNode};
use crate::plan::Plan;
use crate::recorder::Shared;
use engine::FlushMode;
use runtime::sim::{FaultKind, Faults, MILLION, NodeId};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a process may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How much more than the flush interval may be gone after a power cut: the time that a flush itself takes, on a disk that
/// stalls or in a process that stands still.
const FLUSH_SLACK: Duration = Duration::from_secs(8);
/// How long a batch may be the last one while clients send.
const NEXT_BATCH: Duration = Duration::from_secs(1);

/// What comes to an end later.
#[derive(Clone, Copy, Debug)]
enum Mending {
    Restart(NodeId),
    Resume(NodeId),
    Heal(NodeId, NodeId),
    Space(NodeId),
}

/// Breaks one cluster.
#[derive(Debug)]
pub struct Nemesis<'a> {
    cluster: &'a Cluster,
    plan: &'a Plan,
    recorder: Shared,
    /// What is broken, and until when in virtual nanoseconds.
    broken: Vec<(u64, Mending)>,
    /// Brokers that may have lost something that they had acknowledged.
    cut: RefCell<BTreeSet<String>>,
}

impl<'a> Nemesis<'a> {
    /// One that has broken nothing yet.
    #[must_use]
    pub fn new(cluster: &'a Cluster, plan: &'a Plan, recorder: &Shared) -> Nemesis<'a> {
        Nemesis {
            cluster,
            plan,
            recorder: recorder.clone(),
            broken: Vec::new(),
            cut: RefCell::default(),
        }
    }

    /// Runs the world while things fail.
    pub fn rage(&mut self) {
        let simulation = &self.cluster.simulation;
        for node in &self.cluster.name_servers {
            simulation.set_faults(*node, self.plan.name_servers.clone());
        }
        for broker in &self.cluster.brokers {
            simulation.set_faults(broker.node, broker.plan.faults.clone());
            if let Some(slave) = &broker.slave {
                simulation.set_faults(slave.node, slave.plan.faults.clone());
            }
        }
        simulation.set_faults(self.cluster.producers, self.plan.clients.clone());
        simulation.set_faults(self.cluster.consumers, self.plan.clients.clone());
        let end = self.now() + nanos(self.plan.faults_for);
        while self.now() < end {
            simulation.run_for(Duration::from_millis(20 + simulation.draw(230)));
            self.mend_what_is_due();
            self.restart_what_has_ended();
            self.disturb();
        }
    }

    /// Ends all faults, and starts every server anew, since a fenced shard stays so until then.
    pub fn mend_everything(&mut self) {
        let simulation = &self.cluster.simulation;
        simulation.set_all_faults(&Faults::none());
        simulation.heal_all();
        self.broken.clear();
        for node in self.cluster.nodes() {
            simulation.resume(node);
            simulation.set_disk_capacity(node, 1 << 30);
        }
        for node in &self.cluster.name_servers {
            if !simulation.is_running(*node) {
                simulation.restart(*node);
            }
        }
        for broker in &self.cluster.brokers {
            if let Some(slave) = &broker.slave {
                self.note_forgotten_pages_of_slave(broker, slave);
                simulation.kill(slave.node);
                slave.registers.set(broker.is_lost());
                simulation.restart(slave.node);
            }
            if broker.is_lost() {
                // With its disk. If it had lost the end of its log and gone on, the slave may have the old end still: another history.
                if self.cut.borrow().contains(&broker.name) {
                    self.note_loss(broker, u64::MAX);
                }
                simulation.kill(broker.node);
                continue;
            }
            if simulation.draw(2) == 0 {
                self.stop(broker);
            } else {
                self.kill(broker);
            }
            simulation.restart(broker.node);
        }
    }

    fn now(&self) -> u64 {
        self.cluster.simulation.now().as_nanos()
    }

    fn rolls(&self, faults: &Faults, kind: FaultKind) -> bool {
        self.cluster.simulation.draw(u64::from(MILLION)) < u64::from(faults.get(kind)) / 4
    }

    fn disturb(&mut self) {
        for broker in &self.cluster.brokers {
            self.disturb_broker(broker);
            if let Some(slave) = &broker.slave {
                self.disturb_slave(broker, slave);
            }
        }
        let name_servers = &self.plan.name_servers;
        for &node in &self.cluster.name_servers {
            if !self.cluster.simulation.is_running(node) {
                continue;
            }
            if self.rolls(name_servers, FaultKind::PowerCut) {
                self.cluster.simulation.crash(node);
                self.later(Mending::Restart(node));
            } else if self.rolls(name_servers, FaultKind::Kill) {
                self.cluster.simulation.kill(node);
                self.later(Mending::Restart(node));
            }
        }
        let faults = |node: &NodeId| {
            let broker = self.cluster.brokers.iter().find(|broker| broker.node == *node);
            let slaves = self.cluster.brokers.iter().filter_map(|broker| broker.slave.as_ref());
            let slave = slaves.into_iter().find(|slave| slave.node == *node);
            match (broker, slave) {
                (Some(broker), _) => broker.plan.faults.clone(),
                (_, Some(slave)) => slave.plan.faults.clone(),
                _ if self.cluster.name_servers.contains(node) => self.plan.name_servers.clone(),
                _ => self.plan.clients.clone(),
            }
        };
        let nodes: Vec<(NodeId, Faults)> = self.cluster.nodes().iter().map(|node| (*node, faults(node))).collect();
        for (node, faults) in &nodes {
            self.disturb_any(*node, faults);
        }
    }

    fn disturb_broker(&mut self, broker: &BrokerNode) {
        let simulation = &self.cluster.simulation;
        let (faults, node) = (&broker.plan.faults, broker.node);
        if !simulation.is_running(node) {
            return;
        }
        if self.rolls(faults, FaultKind::PowerCut) {
            self.note_power_cut(broker);
            simulation.crash(node);
            self.later(Mending::Restart(node));
        } else if self.rolls(faults, FaultKind::Kill) {
            if simulation.draw(3) == 0 {
                self.stop(broker);
            } else {
                self.kill(broker);
            }
            self.later(Mending::Restart(node));
        }
        if self.rolls(faults, FaultKind::DiskFull) {
            simulation.set_disk_capacity(node, 0);
            self.later(Mending::Space(node));
        }
    }

    fn disturb_slave(&mut self, broker: &BrokerNode, slave: &SlaveNode) {
        let simulation = &self.cluster.simulation;
        let (faults, node) = (&slave.plan.faults, slave.node);
        if !simulation.is_running(node) {
            return;
        }
        if self.rolls(faults, FaultKind::PowerCut) {
            // It gets from its master what it loses, if that still is there.
            if slave.plan.master_is_lost && slave.plan.flush == FlushMode::Async {
                let window = nanos(slave.plan.flush_interval + FLUSH_SLACK);
                self.note_loss(broker, window);
            }
            simulation.crash(node);
            self.later(Mending::Restart(node));
        } else if self.rolls(faults, FaultKind::Kill) {
            self.note_forgotten_pages_of_slave(broker, slave);
            simulation.kill(node);
            self.later(Mending::Restart(node));
        }
        if self.rolls(faults, FaultKind::DiskFull) {
            simulation.set_disk_capacity(node, 0);
            self.later(Mending::Space(node));
        }
    }

    fn disturb_any(&mut self, node: NodeId, faults: &Faults) {
        let simulation = &self.cluster.simulation;
        if self.rolls(faults, FaultKind::Pause) && simulation.is_running(node) {
            simulation.pause(node);
            self.later(Mending::Resume(node));
        }
        if self.rolls(faults, FaultKind::ClockJump) {
            let hour = 3_600_000;
            let by = i64::try_from(simulation.draw(2 * hour)).unwrap_or(0) - 3_600_000;
            simulation.shift_wall_clock(node, by);
        }
        for kind in [FaultKind::Partition, FaultKind::OneWayPartition] {
            if self.rolls(faults, kind) {
                self.cut_off(node, kind);
            }
        }
    }

    /// Cuts a machine off from another one.
    fn cut_off(&mut self, node: NodeId, kind: FaultKind) {
        let (simulation, nodes) = (&self.cluster.simulation, self.cluster.nodes());
        let place = simulation.draw(u64::try_from(nodes.len()).unwrap_or(1));
        let other = nodes[usize::try_from(place).unwrap_or(0)];
        if other == node {
            return;
        }
        match (kind, simulation.draw(2)) {
            (FaultKind::Partition, _) => simulation.partition(node, other),
            (_, 0) => simulation.partition_one_way(node, other),
            (_, _) => simulation.partition_one_way(other, node),
        }
        self.later(Mending::Heal(node, other));
    }

    fn later(&mut self, mending: Mending) {
        let longest = nanos(self.plan.outage).max(1);
        let until = self.now() + self.cluster.simulation.draw(longest);
        self.broken.push((until, mending));
    }

    fn mend_what_is_due(&mut self) {
        let (now, simulation) = (self.now(), &self.cluster.simulation);
        let (due, later) = self.broken.drain(..).partition(|(until, _mending)| *until <= now);
        self.broken = later;
        let due: Vec<(u64, Mending)> = due;
        for (_until, mending) in due {
            match mending {
                Mending::Restart(node) if !simulation.is_running(node) => simulation.restart(node),
                // It was started meanwhile.
                Mending::Restart(_) => {}
                Mending::Resume(node) => simulation.resume(node),
                Mending::Heal(one, other) => simulation.heal(one, other),
                Mending::Space(node) => simulation.set_disk_capacity(node, 1 << 30),
            }
        }
    }

    /// What a supervisor does with a server that could not start or gave up.
    fn restart_what_has_ended(&mut self) {
        let broken = |node: NodeId| {
            let waits = |mending: &Mending| matches!(mending, Mending::Restart(broken) if *broken == node);
            self.broken.iter().any(|(_until, mending)| waits(mending))
        };
        let servers = self.cluster.servers().chain(self.cluster.name_servers.iter().copied());
        let ended: Vec<NodeId> = servers
            .filter(|node| !self.cluster.simulation.is_running(*node) && !broken(*node))
            .collect();
        for node in ended {
            self.later(Mending::Restart(node));
        }
    }

    fn stop(&self, broker: &BrokerNode) {
        let simulation = &self.cluster.simulation;
        simulation.stop(broker.node);
        // One that is paused, or whose disk stalls, does not stop in time and is killed.
        let _in_time = simulation.run_until(|| !simulation.is_running(broker.node), STOP_LIMIT);
        if simulation.is_running(broker.node) {
            simulation.kill(broker.node);
        }
        // Not before its end: until then it may still give out what the kernel is going to forget.
        self.note_forgotten_pages(broker);
    }

    fn kill(&self, broker: &BrokerNode) {
        self.note_forgotten_pages(broker);
        self.note_fresh_rot(broker);
        self.cluster.simulation.kill(broker.node);
    }

    /// The loss that asynchronous flush allows.
    fn note_power_cut(&self, broker: &BrokerNode) {
        if broker.plan.flush == FlushMode::Async {
            self.note_loss(broker, nanos(broker.plan.flush_interval + FLUSH_SLACK));
        }
    }

    /// What was acknowledged within so many nanoseconds before now may be gone. Where a slave has that and can be asked for it, only what was
    /// not acknowledged may go, though it could be read already.
    fn note_loss(&self, broker: &BrokerNode, window: u64) {
        let is_calm = broker.slave.as_ref().is_some_and(|slave| slave.plan.calm);
        let window = if is_calm { 0 } else { window };
        self.cut.borrow_mut().insert(broker.name.clone());
        let mut history = self.recorder.history.borrow_mut();
        history.power_cut(&broker.name, self.now(), window);
    }

    fn note_forgotten_pages_of_slave(&self, broker: &BrokerNode, slave: &SlaveNode) {
        let forgets = slave.plan.flush == FlushMode::Async && slave.plan.faults.get(FaultKind::SyncError) > 0;
        if slave.plan.master_is_lost && forgets {
            self.note_loss(broker, u64::MAX);
        }
    }

    /// That a batch was durable is said by the seal of a later one, written after the sync. Until then rot in it looks like a write that
    /// the kill has ended, and the log is cut there: with the message its place is gone.
    fn note_fresh_rot(&self, broker: &BrokerNode) {
        if broker.plan.damaged() {
            self.note_loss(broker, nanos(broker.plan.flush_interval + NEXT_BATCH));
        }
    }

    /// After a failed sync the kernel forgets what it has not written, power or not; the shard is fenced then.
    fn note_forgotten_pages(&self, broker: &BrokerNode) {
        if broker.plan.flush == FlushMode::Async && broker.plan.faults.get(FaultKind::SyncError) > 0 {
            self.note_loss(broker, u64::MAX);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
