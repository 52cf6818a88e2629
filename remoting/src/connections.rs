//! The connections of one core: by id, all of them, and the two tasks that serve them together.
//!
//! The flusher writes, once in a turn of the event loop, everything that was queued in it, connection by connection. The
//! sweeper looks at every connection a few times within the shortest of the time limits; 40,000 connections cost it a
//! millisecond each few seconds and no timers.

use crate::connection::{self, CloseReason, Connection, ConnectionId, Handler};
use runtime::sync::{Notify, Semaphore};
use runtime::{JoinHandle, TcpStream};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Bounds on one connection, and on their number in one core.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of one core.
    pub connections_max: usize,
    /// Requests of one connection accepted and not yet answered; beyond it nothing more is read from it.
    pub in_flight_max: usize,
    /// Bytes that may wait for one peer to read them; beyond it the connection is closed.
    pub output_max: usize,
    /// Bytes of large frames (above 64 KiB) that are not whole yet, all connections of the core together; beyond it their
    /// connections are read no further until there is room.
    pub large_frames_max: usize,
    /// A large frame that is not whole after this long, while others wait for its room, costs its peer the connection.
    pub slow_frame: Duration,
    /// A connection whose output makes no progress for this long is closed.
    pub stall: Duration,
    /// A connection on which nothing is read or written for this long is closed: `serverChannelMaxIdleTimeSeconds`.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 100_000,
            in_flight_max: 1024,
            output_max: 64 * 1024 * 1024,
            large_frames_max: 64 * 1024 * 1024,
            slow_frame: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// How often the sweeper looks, so that a limit is overrun by a twelfth at most, and that of slow frames by a half.
    fn sweep_period(&self) -> Duration {
        let shortest = self.idle.min(self.stall).min(self.slow_frame.saturating_mul(6));
        (shortest / 12).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }
}

/// Counts of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections that are open.
    pub open: usize,
    /// Connections made since the start.
    pub made: u64,
    /// Connections refused because there were [`Limits::connections_max`].
    pub refused: u64,
    /// Bytes that wait for peers to read them.
    pub queued: usize,
}

/// What the connections and tasks of a core share.
pub(crate) struct Core {
    pub(crate) limits: Limits,
    /// Number of the sweeper's last look: a clock that costs nothing to read.
    pub(crate) tick: Cell<u32>,
    connections: RefCell<Slab<Rc<Connection>>>,
    generation: Cell<u32>,
    made: Cell<u64>,
    refused: Cell<u64>,
    /// Bytes that large frames may still take, and how many connections wait for some.
    pub(crate) large_room: Semaphore,
    pub(crate) large_waiting: Cell<usize>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    flusher: RefCell<Option<Waker>>,
    /// There is something to sweep, or one connection less.
    changed: Notify,
}

impl Core {
    pub(crate) fn mark_dirty(&self, connection: Rc<Connection>) {
        let mut dirty = self.dirty.borrow_mut();
        dirty.push(connection);
        if dirty.len() == 1
            && let Some(flusher) = self.flusher.borrow().as_ref()
        {
            flusher.wake_by_ref();
        }
    }

    pub(crate) fn forget(&self, id: ConnectionId) {
        let key = usize::try_from(id.key).unwrap_or(usize::MAX);
        let mut connections = self.connections.borrow_mut();
        if connections.get(key).is_some_and(|connection| connection.id() == id) {
            connections.remove(key);
        }
        drop(connections);
        self.changed.notify_waiters();
    }

    fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty()
    }

    fn all(&self) -> Vec<Rc<Connection>> {
        self.connections
            .borrow()
            .iter()
            .map(|(_key, connection)| Rc::clone(connection))
            .collect()
    }
}

/// The connections of one core. Cloning gives the same ones; they end when the last clone is dropped.
#[derive(Clone)]
pub struct Connections(Rc<Owner>);

struct Owner {
    core: Rc<Core>,
    tasks: [JoinHandle<()>; 2],
}

impl Connections {
    /// No connections yet. Must be called on the core they will live on.
    #[must_use]
    pub fn new(limits: Limits) -> Connections {
        let core = Rc::new(Core {
            large_room: Semaphore::new(limits.large_frames_max),
            large_waiting: Cell::new(0),
            limits,
            tick: Cell::new(0),
            connections: RefCell::default(),
            generation: Cell::new(0),
            made: Cell::new(0),
            refused: Cell::new(0),
            dirty: RefCell::default(),
            flusher: RefCell::new(None),
            changed: Notify::new(),
        });
        let tasks = [
            runtime::spawn(flush(Rc::clone(&core))),
            runtime::spawn(sweep(Rc::clone(&core))),
        ];
        Connections(Rc::new(Owner { core, tasks }))
    }

    /// Takes in a connection that was accepted or made, and reads from it from now on.
    ///
    /// # Errors
    /// When there are [`Limits::connections_max`] already, or the socket is broken.
    pub fn adopt(&self, stream: TcpStream, peer: SocketAddr, handler: Rc<dyn Handler>) -> io::Result<Rc<Connection>> {
        let core = &self.0.core;
        let mut connections = core.connections.borrow_mut();
        if connections.len() >= core.limits.connections_max {
            core.refused.set(core.refused.get() + 1);
            let problem = format!("this core has {} connections, its limit", connections.len());
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, problem));
        }
        let entry = connections.vacant_entry();
        let key = u32::try_from(entry.key()).map_err(io::Error::other)?;
        let generation = core.generation.get().wrapping_add(1);
        core.generation.set(generation);
        core.made.set(core.made.get() + 1);
        let connection = Rc::new(Connection::new(ConnectionId { key, generation }, stream, peer, core)?);
        entry.insert(Rc::clone(&connection));
        drop(connections);
        core.changed.notify_waiters();
        runtime::spawn(connection::run(Rc::clone(&connection), handler));
        Ok(connection)
    }

    /// Connects to `address`. The peer's requests go to `handler`.
    ///
    /// # Errors
    /// When that fails; callers set their own time limit.
    pub async fn connect(&self, address: SocketAddr, handler: Rc<dyn Handler>) -> io::Result<Rc<Connection>> {
        let stream = TcpStream::connect(address).await?;
        self.adopt(stream, address, handler)
    }

    /// The connection of that name, if it is still there.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let connections = self.0.core.connections.borrow();
        let connection = connections.get(usize::try_from(id.key).ok()?)?;
        (connection.id() == id).then(|| Rc::clone(connection))
    }

    /// Every connection, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Rc<Connection>> {
        self.0.core.all()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.core.connections.borrow().len()
    }

    /// The counts of this core. Goes through all connections.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let core = &self.0.core;
        let connections = core.connections.borrow();
        Statistics {
            open: connections.len(),
            made: core.made.get(),
            refused: core.refused.get(),
            queued: connections.iter().map(|(_key, connection)| connection.queued()).sum(),
        }
    }

    /// Bytes that large frames may still take.
    #[cfg(test)]
    pub(crate) fn large_room(&self) -> usize {
        self.0.core.large_room.available_permits()
    }

    /// Lets every peer have what is queued for it, at most for `grace`, and ends all connections.
    pub async fn close_all(&self, reason: &'static str, grace: Duration) {
        for connection in self.all() {
            connection.close_after_output(CloseReason::Ours(reason));
        }
        let _late = runtime::timeout(grace, self.empty()).await;
        for connection in self.all() {
            connection.close(CloseReason::Ours(reason));
        }
        self.empty().await;
    }

    async fn empty(&self) {
        while !self.0.core.is_empty() {
            self.0.core.changed.notified().await;
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for connection in self.core.all() {
            connection.close(CloseReason::Ours("its core has ended"));
        }
    }
}

/// Writes what each loop turn queued, for ever.
async fn flush(core: Rc<Core>) {
    let mut turn = Vec::new();
    std::future::poll_fn(|cx: &mut Context<'_>| {
        let mut flusher = core.flusher.borrow_mut();
        if flusher.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *flusher = Some(cx.waker().clone());
        }
        drop(flusher);
        std::mem::swap(&mut turn, &mut *core.dirty.borrow_mut());
        for connection in turn.drain(..) {
            connection.flush(core.tick.get());
        }
        Poll::<()>::Pending
    })
    .await;
}

/// Looks at every connection once a period, for ever.
async fn sweep(core: Rc<Core>) {
    let period = core.limits.sweep_period();
    loop {
        while core.is_empty() {
            // An idle process has no timer that wakes it.
            core.changed.notified().await;
        }
        runtime::sleep(period).await;
        let tick = core.tick.get().wrapping_add(1);
        core.tick.set(tick);
        let wanted = core.large_waiting.get() > 0;
        for (_key, connection) in core.connections.borrow().iter() {
            connection.sweep(tick, period, wanted);
        }
    }
}
