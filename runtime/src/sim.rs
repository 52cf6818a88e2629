//! The simulated world: many nodes in one thread, under virtual time, from one seed.
//!
//! A [`Simulation`] owns nodes; each has an address, a disk that survives its crashes, a wall clock of its own and, while
//! its process runs, tasks on one or more cores. The code of a node is the code of a real server: it reaches this world
//! through the same types. What is drawn (the next task, delays, faults) is drawn from the seed, so a run repeats exactly;
//! [`Simulation::trace_hash`] says whether two runs were the same.
//!
//! Not covered: threads of one's own, `tokio` types with a clock or a socket, and whatever else goes past this crate.
//! `run_cores` and `run_here` block their thread, so they cannot run inside a node; a node's cores are started by
//! [`Simulation::start_cores`], with the same closure.
//!
//! A panic in a task is a failure of the run: it goes up through [`Simulation::run_until`], after the seed was printed.

mod disk;
mod executor;
mod fault;
pub(crate) mod file;
mod network;
mod node;
mod report;
pub(crate) mod socket;
pub(crate) mod task;
pub(crate) mod time;
mod world;

pub use disk::image::DiskImage;
pub use disk::states::{CrashPoint, Fate, Moment, Tear, Unsynced};
pub use fault::{FaultKind, Faults, MILLION};
pub use report::Report;

use crate::clock::Instant;
use crate::task::JoinHandle;
use crate::world::enter;
use node::End;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use world::{Event, Main, Node, State, Step, World, nanos};

/// One machine of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// A core of a process: tasks stay where they were spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) incarnation: u32,
    pub(crate) core: usize,
}

/// On whose behalf the thread runs.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) world: Rc<World>,
    pub(crate) place: Place,
}

impl Here {
    pub(crate) fn check_alive(&self) -> io::Result<()> {
        if self.world.is_alive(self.place) {
            Ok(())
        } else {
            Err(io::Error::other("the simulated process has ended"))
        }
    }

    pub(crate) fn node_address(&self) -> IpAddr {
        self.world.nodes.borrow()[self.place.node.0].address
    }

    pub(crate) fn node_at(&self, address: IpAddr) -> Option<NodeId> {
        if address.is_loopback() {
            return Some(self.place.node);
        }
        let nodes = self.world.nodes.borrow();
        nodes.iter().position(|node| node.address == address).map(NodeId)
    }

    pub(crate) fn wall_clock_ms(&self) -> i64 {
        let offset = self.world.nodes.borrow()[self.place.node.0].wall_clock_offset_ms;
        let passed = i64::try_from(self.world.now() / 1_000_000).unwrap_or(i64::MAX);
        self.world
            .options
            .wall_clock_start_ms
            .saturating_add(passed)
            .saturating_add(offset)
    }

    /// The node's own randomness: what it draws does not hang on what other nodes do.
    pub(crate) fn random(&self, draw: impl FnOnce(&mut fastrand::Rng) -> u64) -> u64 {
        let number = draw(&mut self.world.nodes.borrow_mut()[self.place.node.0].rng);
        self.world.trace(world::Trace::Random, number, 0);
        number
    }

    pub(crate) fn cores(&self) -> usize {
        self.world.nodes.borrow()[self.place.node.0].cores
    }
}

/// What a simulation is like, apart from its seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Faults of every node, until [`Simulation::set_faults`] changes one.
    pub faults: Faults,
    /// The longest time one poll of a task takes.
    pub poll_time_max: Duration,
    /// The shortest time a packet is under way between two nodes.
    pub network_delay_min: Duration,
    /// The longest, without a `NetworkDelay` fault.
    pub network_delay_max: Duration,
    /// Bytes that may be under way or unread in one direction of a connection.
    pub socket_buffer: usize,
    /// How long the kernel goes on sending a packet again before it breaks the connection.
    pub tcp_timeout: Duration,
    /// Bytes a node's disk holds.
    pub disk_capacity: u64,
    /// What wall clocks show when the simulation begins, in milliseconds since 1970.
    pub wall_clock_start_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            faults: Faults::power_cuts_only(),
            poll_time_max: Duration::from_micros(2),
            network_delay_min: Duration::from_micros(50),
            network_delay_max: Duration::from_millis(2),
            socket_buffer: 64 * 1024,
            tcp_timeout: Duration::from_secs(60),
            disk_capacity: 1 << 40,
            wall_clock_start_ms: 1_767_225_600_000,
        }
    }
}

/// Why [`Simulation::run_until`] came back without what it waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The deadline came first.
    #[error("the virtual deadline passed first; tasks by node: {0:?}")]
    Deadline(BTreeMap<String, usize>),
    /// No task is ready, no timer runs and no packet is under way: nothing will ever happen again.
    #[error("deadlock: nothing is ready and nothing will happen; tasks by node: {0:?}")]
    Deadlock(BTreeMap<String, usize>),
}

/// A simulated world. A scenario drives it from outside: it runs, disturbs, runs on, and checks.
pub struct Simulation {
    world: Rc<World>,
}

impl Drop for Simulation {
    /// Empties the world: its tasks refer to it.
    fn drop(&mut self) {
        let count = self.world.nodes.borrow().len();
        for node in (0..count).map(NodeId) {
            self.world.end(node, End::Process);
            self.world.drop_tasks(node);
            let main = self.world.nodes.borrow_mut()[node.0].main.take();
            drop(main);
        }
    }
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation")
            .field("seed", &self.world.seed)
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Simulation {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Simulation {
        Simulation {
            world: World::new(seed, options),
        }
    }

    /// Adds a machine with an empty disk. `address` must not be another node's.
    pub fn node(&self, name: &str, address: IpAddr) -> NodeId {
        let mut nodes = self.world.nodes.borrow_mut();
        assert!(
            nodes.iter().all(|node| node.address != address) && !address.is_loopback(),
            "{address} cannot be the address of node {name}: it is loopback or another node's"
        );
        nodes.push(Node {
            name: name.to_owned(),
            address,
            state: State::Idle,
            incarnation: 0,
            cores: 0,
            cores_running: 0,
            main: None,
            paused: false,
            held: Vec::new(),
            wall_clock_offset_ms: 0,
            rng: fastrand::Rng::with_seed(self.world.seed),
            stop_requested: false,
            stop_waiters: Vec::new(),
        });
        self.world.faults.borrow_mut().push(self.world.options.faults.clone());
        self.world
            .disks
            .borrow_mut()
            .push(disk::Disk::new(self.world.options.disk_capacity));
        NodeId(nodes.len() - 1)
    }

    /// Starts a node's process with one core. When the future ends, the process does. `main` is kept for restarts.
    ///
    /// # Panics
    /// When the node has a process.
    pub fn start<F>(&self, node: NodeId, main: impl Fn() -> F + 'static)
    where
        F: Future + 'static,
    {
        let main = Rc::new(main);
        self.start_cores(node, 1, move || {
            let main = Rc::clone(&main);
            move |_core| main()
        });
    }

    /// Starts a node's process with several cores. `process` is called once for each start, as the node, and makes what
    /// the cores share (mailboxes) and the closure that [`crate::core::run_cores`] would be given in a real process; that
    /// one is called once for each core. When all cores have ended, the process has. `process` is kept for restarts.
    ///
    /// # Panics
    /// When the node has a process.
    pub fn start_cores<W, F>(&self, node: NodeId, cores: usize, process: impl Fn() -> W + 'static)
    where
        W: Fn(usize) -> F + 'static,
        F: Future + 'static,
    {
        let main: Main = Rc::new(move || {
            let work = Rc::new(process());
            Rc::new(move |core| {
                let work = Rc::clone(&work);
                // The closure runs as part of the task, so that what it calls reaches this node.
                Box::pin(async move {
                    let _outcome = work(core).await;
                })
            })
        });
        self.world.start(node, cores, main);
    }

    /// Starts a task in a running process of `node`, from outside.
    pub fn spawn<F>(&self, node: NodeId, task: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let incarnation = self.world.nodes.borrow()[node.0].incarnation;
        let place = Place {
            node,
            incarnation,
            core: 0,
        };
        JoinHandle::simulated(self.world.spawn(place, task))
    }

    /// Cuts the power: all tasks are dropped, peers hear nothing, and of what was not synced the disk keeps what the seed
    /// says.
    pub fn crash(&self, node: NodeId) {
        self.world.count_fault(FaultKind::PowerCut);
        self.world.end(node, End::PowerCut);
    }

    /// Ends the process as kill -9 does: all tasks are dropped, the kernel closes the sockets and keeps the page cache.
    pub fn kill(&self, node: NodeId) {
        self.world.count_fault(FaultKind::Kill);
        self.world.end(node, End::Process);
    }

    /// Asks the process to stop: [`crate::signal::terminated`] returns in it.
    pub fn stop(&self, node: NodeId) {
        self.world.request_stop(node);
    }

    /// Lets a node stand still: none of its tasks runs, while its kernel and its disk go on.
    pub fn pause(&self, node: NodeId) {
        self.world.count_fault(FaultKind::Pause);
        self.world.pause(node);
    }

    /// Lets a paused node go on.
    pub fn resume(&self, node: NodeId) {
        self.world.resume(node);
    }

    /// Powers the node on if it was off, ends its process if one runs, and starts it as it was started before.
    ///
    /// # Panics
    /// When the node was never started.
    pub fn restart(&self, node: NodeId) {
        self.world.start_again(node);
    }

    /// Whether the node's process runs (a paused one does).
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        self.world.nodes.borrow()[node.0].state == State::Running
    }

    /// Loses all packets between two nodes, until [`Simulation::heal`].
    pub fn partition(&self, one: NodeId, other: NodeId) {
        self.world.count_fault(FaultKind::Partition);
        let mut network = self.world.network.borrow_mut();
        network.cut(one, other);
        network.cut(other, one);
    }

    /// Loses all packets from one node to the other, until [`Simulation::heal`].
    pub fn partition_one_way(&self, from: NodeId, to: NodeId) {
        self.world.count_fault(FaultKind::OneWayPartition);
        self.world.network.borrow_mut().cut(from, to);
    }

    /// Lets packets between two nodes through again.
    pub fn heal(&self, one: NodeId, other: NodeId) {
        self.world.network.borrow_mut().heal(one, other);
    }

    /// Lets all packets through again.
    pub fn heal_all(&self) {
        self.world.network.borrow_mut().heal_all();
    }

    /// Resets every connection between two nodes.
    pub fn reset_connections(&self, one: NodeId, other: NodeId) {
        self.world.network.borrow_mut().reset_between(&self.world, one, other);
    }

    /// Moves a node's wall clock, forwards or backwards; monotonic time is not touched.
    pub fn shift_wall_clock(&self, node: NodeId, by_ms: i64) {
        self.world.count_fault(FaultKind::ClockJump);
        let mut nodes = self.world.nodes.borrow_mut();
        nodes[node.0].wall_clock_offset_ms = nodes[node.0].wall_clock_offset_ms.saturating_add(by_ms);
    }

    /// Sets the faults of one node.
    pub fn set_faults(&self, node: NodeId, faults: Faults) {
        self.world.faults.borrow_mut()[node.0] = faults;
    }

    /// Sets the faults of all nodes: [`Faults::none`] lets a cluster settle before a check.
    pub fn set_all_faults(&self, faults: &Faults) {
        self.world.faults.borrow_mut().fill(faults.clone());
    }

    /// Sets how many bytes a node's disk holds.
    pub fn set_disk_capacity(&self, node: NodeId, bytes: u64) {
        self.world.disks.borrow_mut()[node.0].set_capacity(bytes);
    }

    /// Flips one bit of a file, on the disk and in the page cache.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `InvalidInput` when it is shorter.
    pub fn flip_bit(&self, node: NodeId, path: &Path, position: u64, bit: u64) -> io::Result<()> {
        self.world.count_fault(FaultKind::BitRot);
        self.world.disks.borrow_mut()[node.0].flip_bit(path, position, bit)
    }

    /// The bytes of a node's file as a process would read them now, for checkers.
    #[must_use]
    pub fn file(&self, node: NodeId, path: &Path) -> Option<Vec<u8>> {
        self.world.disks.borrow()[node.0].peek(path)
    }

    /// All that is on a node's disk now, with what is not durable yet.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> DiskImage {
        DiskImage(self.world.disks.borrow()[node.0].clone())
    }

    /// Puts another disk into a node, or its own with changes: files that are open stay open if it is its own.
    pub fn set_disk(&self, node: NodeId, image: DiskImage) {
        self.world.disks.borrow_mut()[node.0] = image.0;
    }

    /// This moment, for what a power cut now may leave.
    #[must_use]
    pub fn crash_point(&self, node: NodeId) -> CrashPoint {
        CrashPoint::new(&self.world.disks.borrow()[node.0], Moment::Changed)
    }

    /// `observer` is told of every change of this node's disk, just after it, and of every sync, just before it: the moments
    /// whose crash states differ. It must not use the simulation. One node can be observed.
    pub fn observe_disk(&self, node: NodeId, observer: impl Fn(CrashPoint) + 'static) {
        self.world.disk_observer.replace(Some((node, Rc::new(observer))));
    }

    /// Draws once whether each of `nodes` loses power, is killed, stands still, has its clock jump or is cut off from
    /// another, by its faults; what is broken comes back by itself within `outage`.
    pub fn disturb(&self, nodes: &[NodeId], outage: Duration) {
        let world = &self.world;
        for &node in nodes {
            let until = world.now() + world.below(nanos(outage).max(1));
            if world.allows(node, FaultKind::PowerCut) && self.is_running(node) {
                self.crash(node);
                world.schedule(until, Event::Restart(node));
            } else if world.allows(node, FaultKind::Kill) && self.is_running(node) {
                self.kill(node);
                world.schedule(until, Event::Restart(node));
            } else if world.allows(node, FaultKind::Pause) && self.is_running(node) {
                self.pause(node);
                world.schedule(until, Event::Resume(node));
            }
            if world.allows(node, FaultKind::ClockJump) {
                let hour = 3_600_000;
                let by = i64::try_from(world.below(2 * hour)).unwrap_or(0) - 3_600_000;
                self.shift_wall_clock(node, by);
            }
            let other = nodes[world.below_usize(nodes.len())];
            if other == node {
                continue;
            }
            if world.allows(node, FaultKind::Partition) {
                self.partition(node, other);
                world.schedule(until, Event::Heal(node, other));
            }
            if world.allows(node, FaultKind::OneWayPartition) {
                let (from, to) = if world.below(2) == 0 {
                    (node, other)
                } else {
                    (other, node)
                };
                self.partition_one_way(from, to);
                world.schedule(until, Event::Heal(node, other));
            }
        }
    }

    /// Runs until `done`, looked at between any two steps.
    ///
    /// # Errors
    /// When `limit` of virtual time passes first, or nothing will ever happen again.
    pub fn run_until(&self, mut done: impl FnMut() -> bool, limit: Duration) -> Result<(), Stopped> {
        let _announcer = SeedOnPanic(self.world.seed);
        let deadline = self.world.now().saturating_add(nanos(limit));
        while !done() {
            let stopped = match self.world.step(deadline) {
                Step::Ran if self.world.now() <= deadline => continue,
                Step::Ran | Step::Limit => Stopped::Deadline,
                Step::Idle => Stopped::Deadlock,
            };
            // The last step may have been the one that was waited for.
            if !done() {
                return Err(stopped(self.world.tasks_by_node()));
            }
        }
        Ok(())
    }

    /// Runs for a length of virtual time, also when nothing happens in it.
    pub fn run_for(&self, time: Duration) {
        let deadline = self.world.now().saturating_add(nanos(time));
        // Both outcomes are fine here: the time is over, or nothing more happens in it.
        let _over = self.run_until(|| false, time);
        self.world.set_now(deadline);
    }

    /// Runs `task` in the running process of `node` until it ends, and returns its outcome.
    ///
    /// # Errors
    /// As [`Simulation::run_until`].
    ///
    /// # Panics
    /// When the process of `node` ends before the task does.
    pub fn block_on<F>(&self, node: NodeId, task: F, limit: Duration) -> Result<F::Output, Stopped>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let outcome = Rc::new(std::cell::RefCell::new(None));
        let kept = Rc::clone(&outcome);
        let handle = self.spawn(node, async move {
            let value = task.await;
            *kept.borrow_mut() = Some(value);
        });
        self.run_until(|| handle.is_finished(), limit)?;
        let value = outcome.borrow_mut().take();
        Ok(value.unwrap_or_else(|| panic!("seed {}: the process of the task's node has ended", self.world.seed)))
    }

    /// Calls `work` as if the process of `node` did: for what need not wait.
    pub fn on<T>(&self, node: NodeId, work: impl FnOnce() -> T) -> T {
        let incarnation = self.world.nodes.borrow()[node.0].incarnation;
        let place = Place {
            node,
            incarnation,
            core: 0,
        };
        let _entered = enter(Here {
            world: Rc::clone(&self.world),
            place,
        });
        work()
    }

    /// Virtual time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.world.now())
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.world.seed
    }

    /// A number below `bound` from the seed, for what a scenario draws; 0 when `bound` is 0.
    #[must_use]
    pub fn draw(&self, bound: u64) -> u64 {
        self.world.below(bound)
    }

    /// A hash of everything that has happened: equal in two runs of one seed, or the run does not repeat.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world.trace_hash()
    }

    /// What happened so far, in numbers.
    #[must_use]
    pub fn report(&self) -> Report {
        self.world.report()
    }
}

/// Names the seed when a run panics: without it the failure cannot be repeated.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    #[expect(
        clippy::print_stderr,
        reason = "it goes with the panic's own message, to the same place"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation seed {} failed", self.0);
        }
    }
}
