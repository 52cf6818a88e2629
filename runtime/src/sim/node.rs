//! Life of a simulated node: power, process, pauses, clock.

use crate::sim::world::{Event, Main, State, Trace, World};
use crate::sim::{Here, NodeId, Place};
use crate::world::enter;
use std::rc::Rc;

/// How a process comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The machine loses power: peers hear nothing, the disk loses what was not synced.
    PowerCut,
    /// The kernel lives on: it closes the sockets and keeps the page cache.
    Process,
}

impl World {
    /// Starts the process of a node that has none.
    pub(crate) fn start(self: &Rc<Self>, id: NodeId, cores: usize, main: Main) {
        {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[id.0];
            assert!(
                node.state != State::Running,
                "node {} runs already; stop, kill or crash it first",
                node.name
            );
            node.cores = cores;
            node.main = Some(main);
        }
        self.start_again(id);
    }

    /// Starts what the node was started with before; ends a running process first.
    pub(crate) fn start_again(self: &Rc<Self>, id: NodeId) {
        self.end(id, End::Process);
        let (main, cores, incarnation) = {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[id.0];
            let Some(main) = node.main.clone() else {
                panic!("node {} was never started", node.name);
            };
            node.state = State::Running;
            node.incarnation += 1;
            node.cores_running = node.cores;
            node.stop_requested = false;
            node.rng = fastrand::Rng::with_seed(self.below(u64::MAX));
            (main, node.cores, node.incarnation)
        };
        self.trace(Trace::Node, id.0 as u64, u64::from(incarnation));
        let place = move |core| Place {
            node: id,
            incarnation,
            core,
        };
        let work = {
            let _entered = enter(Here {
                world: Rc::clone(self),
                place: place(0),
            });
            main()
        };
        for core in 0..cores {
            let (work, world) = (Rc::clone(&work), Rc::downgrade(self));
            let _runs_on = self.spawn(place(core), async move {
                work(core).await;
                if let Some(world) = world.upgrade() {
                    world.core_ended(place(core));
                }
            });
        }
    }

    fn core_ended(&self, place: Place) {
        let mut nodes = self.nodes.borrow_mut();
        let node = &mut nodes[place.node.0];
        if node.incarnation == place.incarnation {
            node.cores_running = node.cores_running.saturating_sub(1);
            if node.cores_running == 0 {
                self.schedule(self.now(), Event::Exited(place.node, place.incarnation));
            }
        }
    }

    pub(crate) fn process_ended(self: &Rc<Self>, id: NodeId, incarnation: u32) {
        if self.nodes.borrow()[id.0].incarnation == incarnation {
            self.end(id, End::Process);
        }
    }

    /// Ends the process of a node, if there is one, and cuts the power if asked.
    pub(crate) fn end(self: &Rc<Self>, id: NodeId, end: End) {
        let held = {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[id.0];
            if end == End::Process && node.state != State::Running {
                return;
            }
            node.state = if end == End::PowerCut { State::Off } else { State::Idle };
            // From here on everything of this start is dead: files, sockets and tasks check the number.
            node.incarnation += 1;
            node.paused = false;
            (std::mem::take(&mut node.held), std::mem::take(&mut node.stop_waiters))
        };
        drop(held);
        self.trace(Trace::Node, id.0 as u64, u64::MAX - u64::from(end == End::PowerCut));
        self.network.borrow_mut().node_ended(self, id, end);
        self.drop_tasks(id);
        let mut disks = self.disks.borrow_mut();
        disks[id.0].process_ended();
        if end == End::PowerCut {
            disks[id.0].power_cut(self, id);
        }
    }

    pub(crate) fn request_stop(&self, id: NodeId) {
        let waiters = {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[id.0];
            node.stop_requested = true;
            std::mem::take(&mut node.stop_waiters)
        };
        self.trace(Trace::Node, id.0 as u64, 1 << 40);
        for waiter in waiters {
            waiter.wake();
        }
    }

    pub(crate) fn pause(&self, id: NodeId) {
        self.nodes.borrow_mut()[id.0].paused = true;
        self.trace(Trace::Node, id.0 as u64, 1 << 41);
    }

    pub(crate) fn resume(&self, id: NodeId) {
        let held = {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[id.0];
            node.paused = false;
            std::mem::take(&mut node.held)
        };
        self.trace(Trace::Node, id.0 as u64, 1 << 42);
        self.release(held);
    }
}
