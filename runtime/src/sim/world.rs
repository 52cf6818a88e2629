//! The state of one simulation, and its main loop: due events, then one task, then the next point of time.
//!
//! Everything that happens is mixed into the trace hash: polls, timers, disk operations, packets, faults. Two runs of one
//! seed are equal if their hashes are.

use crate::sim::disk::Disk;
use crate::sim::disk::states::{CrashPoint, Moment};
use crate::sim::executor::{self, Drawn, Executor, Join, LocalFuture, TaskId};
use crate::sim::fault::{FaultKind, Faults, MILLION};
use crate::sim::network::{ConnectionId, Network};
use crate::sim::{Here, NodeId, Options, Place, Report};
use crate::world::enter;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the trace hash is told, one code a kind of happening.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Trace {
    Poll = 1,
    Timer,
    Deliver,
    Fault,
    DiskRead,
    DiskWrite,
    DiskSync,
    DiskName,
    Node,
    Random,
    Mark,
}

/// What happens at a point of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Timer(u64),
    /// Packets of a connection, sent by this end, arrive.
    Deliver(ConnectionId, usize),
    /// All that the process of this start was to do has ended.
    Exited(NodeId, u32),
    Restart(NodeId),
    Resume(NodeId),
    Heal(NodeId, NodeId),
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No power: nothing answers.
    Off,
    /// The machine answers, but no process runs.
    Idle,
    Running,
}

/// Makes what the cores of one start share, and gives the work of each core.
pub(crate) type Main = Rc<dyn Fn() -> CoreWork>;
pub(crate) type CoreWork = Rc<dyn Fn(usize) -> LocalFuture>;

/// See [`crate::sim::Simulation::observe_disk`].
pub(crate) type DiskObserver = Rc<dyn Fn(CrashPoint)>;

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) state: State,
    /// Counts the starts; whatever belongs to an earlier one is dead.
    pub(crate) incarnation: u32,
    pub(crate) cores: usize,
    pub(crate) cores_running: usize,
    pub(crate) main: Option<Main>,
    pub(crate) paused: bool,
    pub(crate) held: Vec<TaskId>,
    pub(crate) wall_clock_offset_ms: i64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) stop_requested: bool,
    pub(crate) stop_waiters: Vec<Waker>,
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ran,
    /// The next thing to happen lies after the limit; it is the limit's time now.
    Limit,
    /// Nothing will ever happen again by itself.
    Idle,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) options: Options,
    now: Cell<u64>,
    rng: RefCell<fastrand::Rng>,
    trace: Cell<u64>,
    happenings: Cell<u64>,
    polls: Cell<u64>,
    fault_counts: RefCell<BTreeMap<FaultKind, u64>>,
    mark_counts: RefCell<BTreeMap<&'static str, u64>>,
    events: RefCell<BinaryHeap<Reverse<(u64, u64, Event)>>>,
    event_count: Cell<u64>,
    timers: RefCell<BTreeMap<u64, Waker>>,
    executor: RefCell<Executor>,
    pub(crate) nodes: RefCell<Vec<Node>>,
    pub(crate) faults: RefCell<Vec<Faults>>,
    pub(crate) disks: RefCell<Vec<Disk>>,
    /// Who is told of every change of one node's disk, and before every sync.
    pub(crate) disk_observer: RefCell<Option<(NodeId, DiskObserver)>>,
    pub(crate) network: RefCell<Network>,
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Rc<World> {
        Rc::new(World {
            seed,
            options,
            now: Cell::new(0),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            trace: Cell::new(seed),
            happenings: Cell::new(0),
            polls: Cell::new(0),
            fault_counts: RefCell::default(),
            mark_counts: RefCell::default(),
            events: RefCell::default(),
            event_count: Cell::new(0),
            timers: RefCell::default(),
            executor: RefCell::default(),
            nodes: RefCell::default(),
            faults: RefCell::default(),
            disks: RefCell::default(),
            disk_observer: RefCell::default(),
            network: RefCell::default(),
        })
    }

    pub(crate) fn with_disk<T>(&self, node: NodeId, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.disks.borrow_mut()[node.0])
    }

    /// Nanoseconds since the simulation began.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn set_now(&self, now: u64) {
        self.now.set(self.now.get().max(now));
    }

    /// A random number below `bound`; 0 when `bound` is 0. Drawn by the world, never handed to a node.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.rng.borrow_mut().u64(..bound)
        }
    }

    pub(crate) fn below_usize(&self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    pub(crate) fn chance(&self, per_million: u32) -> bool {
        per_million > 0 && self.below(u64::from(MILLION)) < u64::from(per_million)
    }

    /// Nanoseconds between two lengths of time.
    pub(crate) fn between(&self, least: Duration, most: Duration) -> u64 {
        let (least, most) = (nanos(least), nanos(most));
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// Whether a fault of this kind happens on this node now; counts it if so.
    pub(crate) fn roll(&self, node: NodeId, kind: FaultKind) -> bool {
        let per_million = self.faults.borrow().get(node.0).map_or(0, |faults| faults.get(kind));
        let hit = self.chance(per_million);
        if hit {
            self.count_fault(kind);
        }
        hit
    }

    /// The same without counting: for kinds of which a draw alone does no harm yet.
    pub(crate) fn allows(&self, node: NodeId, kind: FaultKind) -> bool {
        let per_million = self.faults.borrow().get(node.0).map_or(0, |faults| faults.get(kind));
        self.chance(per_million)
    }

    pub(crate) fn count_fault(&self, kind: FaultKind) {
        self.trace(Trace::Fault, kind as u64, 0);
        *self.fault_counts.borrow_mut().entry(kind).or_insert(0) += 1;
    }

    pub(crate) fn count_mark(&self, name: &'static str) {
        self.trace(Trace::Mark, name.len() as u64, 0);
        *self.mark_counts.borrow_mut().entry(name).or_insert(0) += 1;
    }

    pub(crate) fn trace(&self, kind: Trace, first: u64, second: u64) {
        self.happenings.set(self.happenings.get() + 1);
        let mut hash = self.trace.get();
        for word in [kind as u64, self.now.get(), first, second] {
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        self.trace.set(hash);
    }

    pub(crate) fn trace_hash(&self) -> u64 {
        self.trace.get()
    }

    pub(crate) fn report(&self) -> Report {
        Report {
            seeds: 1,
            happenings: self.happenings.get(),
            polls: self.polls.get(),
            virtual_time: Duration::from_nanos(self.now.get()),
            faults: self.fault_counts.borrow().clone(),
            marks: self.mark_counts.borrow().clone(),
        }
    }

    /// Tells the observer of this node's disk, if there is one.
    pub(crate) fn disk_moment(&self, node: NodeId, moment: Moment) {
        let observer = self.disk_observer.borrow().clone();
        if let Some((_, observer)) = observer.filter(|(observed, _)| *observed == node) {
            let point = CrashPoint::new(&self.disks.borrow()[node.0], moment);
            observer(point);
        }
    }

    pub(crate) fn schedule(&self, at: u64, event: Event) {
        let count = self.event_count.get() + 1;
        self.event_count.set(count);
        self.events.borrow_mut().push(Reverse((at, count, event)));
    }

    /// Registers a wake-up; its number is for [`World::renew_timer`] and [`World::cancel_timer`].
    pub(crate) fn add_timer(&self, at: u64, waker: Waker) -> u64 {
        let number = self.event_count.get() + 1;
        self.timers.borrow_mut().insert(number, waker);
        self.schedule(at, Event::Timer(number));
        number
    }

    pub(crate) fn renew_timer(&self, number: u64, waker: &Waker) {
        if let Some(old) = self.timers.borrow_mut().get_mut(&number) {
            old.clone_from(waker);
        }
    }

    pub(crate) fn cancel_timer(&self, number: u64) {
        let waker = self.timers.borrow_mut().remove(&number);
        drop(waker);
    }

    /// Starts a task; without effect (the handle says "aborted") when the node's process has ended.
    pub(crate) fn spawn<F>(self: &Rc<Self>, place: Place, task: F) -> Join<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (future, mut join) = executor::joined(task);
        join.attach(self.add_task(place, future));
        join
    }

    pub(crate) fn add_task(self: &Rc<Self>, place: Place, future: LocalFuture) -> Option<Arc<executor::TaskWaker>> {
        if self.is_alive(place) {
            return Some(self.executor.borrow_mut().add(place, future));
        }
        self.drop_future(place, future);
        None
    }

    /// Whether the process that `place` belongs to still runs.
    pub(crate) fn is_alive(&self, place: Place) -> bool {
        self.nodes
            .borrow()
            .get(place.node.0)
            .is_some_and(|node| node.state == State::Running && node.incarnation == place.incarnation)
    }

    pub(crate) fn step(self: &Rc<Self>, limit: u64) -> Step {
        self.fire_due();
        let drawn = self.executor.borrow_mut().next(|bound| self.below(bound));
        if let Some(id) = drawn {
            self.run(id);
            return Step::Ran;
        }
        match self.next_event_time() {
            None => Step::Idle,
            Some(at) if at > limit => {
                self.set_now(limit);
                Step::Limit
            }
            Some(at) => {
                self.set_now(at);
                Step::Ran
            }
        }
    }

    fn run(self: &Rc<Self>, id: TaskId) {
        let paused = |place: Place| self.nodes.borrow().get(place.node.0).is_some_and(|node| node.paused);
        let drawn = self.executor.borrow_mut().take(id, paused);
        match drawn {
            Drawn::Gone => {}
            Drawn::Held(place) => {
                if let Some(node) = self.nodes.borrow_mut().get_mut(place.node.0) {
                    node.held.push(id);
                }
            }
            Drawn::Drop(place, future) => self.drop_future(place, future),
            Drawn::Poll(place, future, waker) => self.poll(place, future, &waker),
        }
    }

    fn poll(self: &Rc<Self>, place: Place, mut future: LocalFuture, task: &Arc<executor::TaskWaker>) {
        self.polls.set(self.polls.get() + 1);
        self.trace(Trace::Poll, task.serial(), place.node.0 as u64);
        // Work takes time: a task that never waits must not stop the clocks.
        let cost = 1 + self.below(nanos(self.options.poll_time_max));
        self.set_now(self.now() + cost);
        let _entered = enter(Here {
            world: Rc::clone(self),
            place,
        });
        let waker = Waker::from(Arc::clone(task));
        executor::set_polled(Some(Arc::clone(task)));
        let ended = future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
        executor::set_polled(None);
        let left = if ended {
            self.executor.borrow_mut().remove(task);
            Some(future)
        } else {
            self.executor.borrow_mut().put_back(task, future)
        };
        // Dropped here, inside its node and outside every borrow.
        drop(left);
    }

    fn drop_future(self: &Rc<Self>, place: Place, future: LocalFuture) {
        let _entered = enter(Here {
            world: Rc::clone(self),
            place,
        });
        drop(future);
    }

    /// Drops all tasks of a node.
    pub(crate) fn drop_tasks(self: &Rc<Self>, of: NodeId) {
        let removed = self.executor.borrow_mut().remove_all(|place| place.node == of);
        for (place, future) in removed {
            self.drop_future(place, future);
        }
    }

    pub(crate) fn release(&self, tasks: Vec<TaskId>) {
        self.executor.borrow_mut().release(tasks);
    }

    /// How many tasks each node has, by name.
    pub(crate) fn tasks_by_node(&self) -> BTreeMap<String, usize> {
        let nodes = self.nodes.borrow();
        let mut counts = BTreeMap::new();
        for place in self.executor.borrow().places() {
            if let Some(node) = nodes.get(place.node.0) {
                *counts.entry(node.name.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    fn fire_due(self: &Rc<Self>) {
        loop {
            let due = {
                let mut events = self.events.borrow_mut();
                match events.peek() {
                    Some(Reverse((at, _count, _event))) if *at <= self.now() => events.pop(),
                    _ => None,
                }
            };
            let Some(Reverse((_at, _count, event))) = due else {
                return;
            };
            self.fire(event);
        }
    }

    fn fire(self: &Rc<Self>, event: Event) {
        match event {
            Event::Timer(number) => {
                let waker = self.timers.borrow_mut().remove(&number);
                if let Some(waker) = waker {
                    self.trace(Trace::Timer, number, 0);
                    waker.wake();
                }
            }
            Event::Deliver(connection, from) => self.network.borrow_mut().deliver(self, connection, from),
            Event::Exited(node, incarnation) => self.process_ended(node, incarnation),
            Event::Restart(node) => self.start_again(node),
            Event::Resume(node) => self.resume(node),
            Event::Heal(one, other) => self.network.borrow_mut().heal(one, other),
        }
    }

    /// When the next event is that still matters.
    fn next_event_time(&self) -> Option<u64> {
        let mut events = self.events.borrow_mut();
        while let Some(Reverse((at, _count, event))) = events.peek() {
            match event {
                Event::Timer(number) if !self.timers.borrow().contains_key(number) => {
                    events.pop();
                }
                _ => return Some(*at),
            }
        }
        None
    }
}

/// Nanoseconds, as many as fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
