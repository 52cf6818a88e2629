//! TCP between simulated nodes.
//!
//! A connection has two ends; each end has a line of packets on their way to the other. A packet arrives after its delay,
//! in order, if nothing cuts the two nodes apart; else it is sent again later, until the sender's kernel gives up and
//! breaks the sender's end with `TimedOut`. The other end is not told: it is half open, as with real TCP.
//!
//! Bounds: an end may have [`crate::sim::Options::socket_buffer`] bytes under way or unread at the peer.
//! Simplified: acknowledgements are not packets, so a one-way partition stops data but does not fill the sender's window.

use crate::sim::fault::FaultKind;
use crate::sim::node::End as NodeEnd;
use crate::sim::world::{Event, State, Trace, World, nanos};
use crate::sim::{NodeId, Place};
use bytes::{Buf, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) type ConnectionId = u64;

/// How long a listener lets connections wait for accept, in number.
const BACKLOG: usize = 1024;
/// When a packet that found no way is sent again.
const RETRANSMIT: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(crate) struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    listeners: BTreeMap<u64, Listener>,
    /// Pairs (from, to) between which packets are lost.
    cut: BTreeSet<(NodeId, NodeId)>,
    made: u64,
    next_port: u16,
}

struct Connection {
    ends: [End; 2],
    /// Nothing arrives any more, in either direction, and nobody is told.
    dead: bool,
    /// Which listener it was made for; the second end is nobody's until that listener has it.
    asked: SocketAddr,
}

struct End {
    node: NodeId,
    incarnation: u32,
    address: SocketAddr,
    phase: Phase,
    /// What has arrived and was not read.
    received: BytesMut,
    /// The peer has closed its side, and everything before that has arrived.
    ended: bool,
    broken: Option<io::ErrorKind>,
    shut_down: bool,
    /// Bytes sent by this end that the peer has not read.
    unread_by_peer: usize,
    line: VecDeque<Packet>,
    /// A delivery event for the head of the line is scheduled.
    delivering: bool,
    readers: Vec<Waker>,
    writers: Vec<Waker>,
}

impl Connection {
    /// What a server has when the first packet comes twice: a connection on which nobody will ever speak or listen.
    fn duplicate(&self) -> Connection {
        let [client, server] = &self.ends;
        Connection {
            ends: [
                End::new(client.node, client.incarnation, client.address, Phase::Closed),
                End::new(server.node, server.incarnation, server.address, Phase::Open),
            ],
            dead: true,
            asked: self.asked,
        }
    }
}

impl End {
    fn new(node: NodeId, incarnation: u32, address: SocketAddr, phase: Phase) -> End {
        End {
            node,
            incarnation,
            address,
            phase,
            received: BytesMut::new(),
            ended: false,
            broken: None,
            shut_down: false,
            unread_by_peer: 0,
            line: VecDeque::new(),
            delivering: false,
            readers: Vec::new(),
            writers: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client waits for the answer; the server has not heard of it.
    Connecting,
    Open,
    Closed,
}

struct Packet {
    sent: u64,
    arrives: u64,
    load: Load,
}

enum Load {
    Connect,
    Connected,
    Data(Vec<u8>),
    End,
    Reset,
}

struct Listener {
    node: NodeId,
    incarnation: u32,
    address: SocketAddr,
    shared: bool,
    backlog: VecDeque<ConnectionId>,
    waiters: Vec<Waker>,
}

impl Network {
    pub(crate) fn bind(
        &mut self,
        place: Place,
        node_address: IpAddr,
        address: SocketAddr,
        shared: bool,
    ) -> io::Result<u64> {
        let ip = address.ip();
        if !(ip.is_unspecified() || ip.is_loopback() || ip == node_address) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let address = match address.port() {
            0 => SocketAddr::new(ip, self.free_port()),
            _ => address,
        };
        let taken = self.listeners.values().any(|other| {
            other.node == place.node
                && other.address.port() == address.port()
                && (other.address.ip() == ip || other.address.ip().is_unspecified() || ip.is_unspecified())
                && !(other.shared && shared)
        });
        if taken {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.made += 1;
        self.listeners.insert(
            self.made,
            Listener {
                node: place.node,
                incarnation: place.incarnation,
                address,
                shared,
                backlog: VecDeque::new(),
                waiters: Vec::new(),
            },
        );
        Ok(self.made)
    }

    pub(crate) fn poll_accept(
        &mut self,
        listener: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(ConnectionId, SocketAddr)>> {
        let Some(socket) = self.listeners.get_mut(&listener) else {
            return Poll::Ready(Err(gone()));
        };
        while let Some(id) = socket.backlog.pop_front() {
            if let Some(connection) = self.connections.get(&id) {
                return Poll::Ready(Ok((id, connection.ends[0].address)));
            }
        }
        remember(&mut socket.waiters, cx.waker());
        Poll::Pending
    }

    pub(crate) fn listener_address(&self, listener: u64) -> io::Result<SocketAddr> {
        self.listeners
            .get(&listener)
            .map(|socket| socket.address)
            .ok_or_else(gone)
    }

    pub(crate) fn close_listener(&mut self, world: &World, listener: u64) {
        if let Some(socket) = self.listeners.remove(&listener) {
            for id in socket.backlog {
                self.abort(world, id, 1);
            }
        }
    }

    /// Sends the first packet of a connection from `place` to `to`.
    pub(crate) fn connect(
        &mut self,
        world: &World,
        place: Place,
        node_address: IpAddr,
        to: SocketAddr,
        target: Option<NodeId>,
    ) -> ConnectionId {
        let from_ip = if to.ip().is_loopback() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            node_address
        };
        let from = SocketAddr::new(from_ip, self.free_port());
        self.made += 1;
        let id = self.made;
        self.connections.insert(
            id,
            Connection {
                ends: [
                    End::new(place.node, place.incarnation, from, Phase::Connecting),
                    End::new(target.unwrap_or(NodeId(usize::MAX)), 0, to, Phase::Connecting),
                ],
                dead: target.is_none(),
                asked: to,
            },
        );
        self.send(world, id, 0, Load::Connect);
        id
    }

    pub(crate) fn poll_connected(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(end) = self.end_mut(id, 0) else {
            return Poll::Ready(Err(gone()));
        };
        match (end.broken, end.phase) {
            (Some(kind), _) => Poll::Ready(Err(kind.into())),
            (None, Phase::Connecting) => {
                remember(&mut end.readers, cx.waker());
                Poll::Pending
            }
            (None, _) => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        world: &World,
        id: ConnectionId,
        side: usize,
        into: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(end) = self.end_mut(id, side) else {
            return Poll::Ready(Err(gone()));
        };
        if end.received.is_empty() {
            if end.shut_down || (end.ended && end.broken.is_none()) {
                return Poll::Ready(Ok(0));
            }
            if let Some(kind) = end.broken {
                return Poll::Ready(Err(kind.into()));
            }
            remember(&mut end.readers, cx.waker());
            return Poll::Pending;
        }
        if into.capacity() == into.len() {
            into.reserve(64);
        }
        let most = end.received.len().min(into.capacity() - into.len());
        let count = if most > 1 && world.roll(end.node, FaultKind::PartialRead) {
            1 + world.below_usize(most - 1)
        } else {
            most
        };
        into.extend_from_slice(&end.received[..count]);
        end.received.advance(count);
        if let Some(peer) = self.end_mut(id, 1 - side) {
            peer.unread_by_peer = peer.unread_by_peer.saturating_sub(count);
            wake_all(&mut peer.writers);
        }
        Poll::Ready(Ok(count))
    }

    pub(crate) fn try_write(
        &mut self,
        world: &World,
        id: ConnectionId,
        side: usize,
        parts: &[io::IoSlice<'_>],
    ) -> io::Result<usize> {
        let end = self.end_mut(id, side).ok_or_else(gone)?;
        if let Some(kind) = end.broken {
            return Err(kind.into());
        }
        if end.shut_down {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        if wanted == 0 {
            return Ok(0);
        }
        let room = world.options.socket_buffer.saturating_sub(end.unread_by_peer);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = wanted.min(room);
        let count = if most > 1 && world.roll(end.node, FaultKind::PartialWrite) {
            1 + world.below_usize(most - 1)
        } else {
            most
        };
        let mut data = Vec::with_capacity(count);
        for part in parts {
            let take = part.len().min(count - data.len());
            data.extend_from_slice(&part[..take]);
        }
        end.unread_by_peer += count;
        let node = end.node;
        if world.roll(node, FaultKind::HalfOpen)
            && let Some(connection) = self.connections.get_mut(&id)
        {
            connection.dead = true;
        }
        self.send(world, id, side, Load::Data(data));
        Ok(count)
    }

    pub(crate) fn poll_writable(
        &mut self,
        world: &World,
        id: ConnectionId,
        side: usize,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(end) = self.end_mut(id, side) else {
            return Poll::Ready(());
        };
        let room = end.unread_by_peer < world.options.socket_buffer;
        if room || end.broken.is_some() || end.shut_down {
            return Poll::Ready(());
        }
        remember(&mut end.writers, cx.waker());
        Poll::Pending
    }

    pub(crate) fn address(&self, id: ConnectionId, side: usize) -> io::Result<SocketAddr> {
        self.connections
            .get(&id)
            .map(|connection| connection.ends[side].address)
            .ok_or_else(gone)
    }

    pub(crate) fn shut_down(&mut self, world: &World, id: ConnectionId, side: usize) {
        let Some(end) = self.end_mut(id, side) else { return };
        if end.shut_down || end.phase != Phase::Open {
            return;
        }
        end.shut_down = true;
        end.received.clear();
        wake_all(&mut end.readers);
        wake_all(&mut end.writers);
        self.send(world, id, side, Load::End);
    }

    /// The handle of one end was dropped.
    pub(crate) fn close(&mut self, world: &World, id: ConnectionId, side: usize) {
        let Some(end) = self.end_mut(id, side) else { return };
        let before = std::mem::replace(&mut end.phase, Phase::Closed);
        if before == Phase::Closed {
            return;
        }
        // As the kernel does: bytes that nobody will read turn the close into a reset.
        let load = if end.received.is_empty() {
            Load::End
        } else {
            Load::Reset
        };
        let told = end.shut_down || end.broken.is_some();
        end.received.clear();
        if !told {
            self.send(world, id, side, load);
        }
        self.forget_if_closed(id);
    }

    /// Resets a connection of which `side` is not in use yet.
    fn abort(&mut self, world: &World, id: ConnectionId, side: usize) {
        if let Some(end) = self.end_mut(id, side) {
            end.phase = Phase::Closed;
            self.send(world, id, side, Load::Reset);
        }
    }

    /// The process of a node has ended, and perhaps the machine with it.
    pub(crate) fn node_ended(&mut self, world: &World, node: NodeId, how: NodeEnd) {
        let listeners: Vec<u64> = self
            .listeners
            .iter()
            .filter(|(_id, listener)| listener.node == node)
            .map(|(id, _listener)| *id)
            .collect();
        for id in listeners {
            match how {
                NodeEnd::Process => self.close_listener(world, id),
                NodeEnd::PowerCut => {
                    self.listeners.remove(&id);
                }
            }
        }
        let ends: Vec<(ConnectionId, usize)> = self
            .connections
            .iter()
            .flat_map(|(id, connection)| [(*id, 0), (*id, 1)].map(|end| (end, &connection.ends[end.1])))
            .filter(|(_end, state)| state.node == node && state.phase != Phase::Closed)
            .map(|(end, _state)| end)
            .collect();
        for (id, side) in ends {
            match how {
                NodeEnd::Process => self.close(world, id, side),
                NodeEnd::PowerCut => {
                    if let Some(end) = self.end_mut(id, side) {
                        end.phase = Phase::Closed;
                        end.line.clear();
                    }
                    self.forget_if_closed(id);
                }
            }
        }
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self, one: NodeId, other: NodeId) {
        self.cut.remove(&(one, other));
        self.cut.remove(&(other, one));
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
    }

    /// Resets every connection between two nodes.
    pub(crate) fn reset_between(&mut self, world: &World, one: NodeId, other: NodeId) {
        let between: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_id, connection)| {
                let nodes = (connection.ends[0].node, connection.ends[1].node);
                nodes == (one, other) || nodes == (other, one)
            })
            .map(|(id, _connection)| *id)
            .collect();
        for id in between {
            world.count_fault(FaultKind::ConnectionReset);
            self.break_end(id, 0, io::ErrorKind::ConnectionReset);
            self.break_end(id, 1, io::ErrorKind::ConnectionReset);
        }
    }

    fn send(&mut self, world: &World, id: ConnectionId, side: usize, load: Load) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let local = connection.ends[0].node == connection.ends[1].node;
        let end = &mut connection.ends[side];
        let mut delay = if local {
            world.between(Duration::from_micros(5), Duration::from_micros(30))
        } else {
            world.between(world.options.network_delay_min, world.options.network_delay_max)
        };
        if !local && world.roll(end.node, FaultKind::NetworkDelay) {
            delay += world.between(Duration::from_millis(10), Duration::from_secs(2));
        }
        if !local && world.roll(end.node, FaultKind::PacketLoss) {
            delay += nanos(RETRANSMIT) + world.below(nanos(RETRANSMIT));
        }
        let sent = world.now();
        // In order: never before the packet in front of it.
        let arrives = end
            .line
            .back()
            .map_or(0, |before| before.arrives)
            .max(sent.saturating_add(delay));
        end.line.push_back(Packet { sent, arrives, load });
        if !end.delivering {
            end.delivering = true;
            world.schedule(arrives, Event::Deliver(id, side));
        }
    }

    /// Hands over what has arrived of the packets that `side` sent.
    pub(crate) fn deliver(&mut self, world: &World, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let blocked = blocked(world, &self.cut, connection, side);
        let end = &mut connection.ends[side];
        end.delivering = false;
        let Some(head) = end.line.front() else {
            self.forget_if_closed(id);
            return;
        };
        if blocked {
            if world.now().saturating_sub(head.sent) >= nanos(world.options.tcp_timeout) {
                end.line.clear();
                self.break_end(id, side, io::ErrorKind::TimedOut);
                self.forget_if_closed(id);
                return;
            }
            end.delivering = true;
            let again = world.now() + nanos(RETRANSMIT) + world.below(nanos(RETRANSMIT));
            world.schedule(again, Event::Deliver(id, side));
            return;
        }
        if head.arrives <= world.now()
            && let Some(packet) = end.line.pop_front()
        {
            self.arrive(world, id, 1 - side, packet.load);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let end = &mut connection.ends[side];
        match end.line.front() {
            Some(next) if !end.delivering => {
                end.delivering = true;
                let at = next.arrives;
                world.schedule(at, Event::Deliver(id, side));
            }
            Some(_) => {}
            None => self.forget_if_closed(id),
        }
    }

    /// A packet has come to the end `at`.
    fn arrive(&mut self, world: &World, id: ConnectionId, at: usize, load: Load) {
        world.trace(Trace::Deliver, id * 2 + at as u64, load.weight());
        if matches!(load, Load::Connect) {
            self.arrive_connect(world, id);
            return;
        }
        let reset = matches!(load, Load::Data(_))
            && self
                .end_mut(id, at)
                .is_some_and(|end| world.roll(end.node, FaultKind::ConnectionReset));
        if reset {
            self.break_end(id, 0, io::ErrorKind::ConnectionReset);
            self.break_end(id, 1, io::ErrorKind::ConnectionReset);
            return;
        }
        let Some(end) = self.end_mut(id, at) else { return };
        match load {
            Load::Reset => {
                let kind = if end.phase == Phase::Connecting {
                    io::ErrorKind::ConnectionRefused
                } else {
                    io::ErrorKind::ConnectionReset
                };
                self.break_end(id, at, kind);
            }
            // Nobody there to take it: the kernel answers for a process that has gone.
            Load::Data(_) | Load::Connected if end.phase == Phase::Closed || end.shut_down => {
                self.send(world, id, at, Load::Reset);
            }
            Load::Data(data) => {
                end.received.extend_from_slice(&data);
                wake_all(&mut end.readers);
            }
            Load::Connected => {
                end.phase = Phase::Open;
                wake_all(&mut end.readers);
            }
            Load::End => {
                end.ended = true;
                wake_all(&mut end.readers);
                wake_all(&mut end.writers);
            }
            Load::Connect => {}
        }
    }

    fn arrive_connect(&mut self, world: &World, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (node, asked) = (connection.ends[1].node, connection.asked);
        let mut open: Vec<u64> = Vec::new();
        for (number, listener) in &self.listeners {
            let ip = listener.address.ip();
            if listener.node == node
                && listener.address.port() == asked.port()
                && (ip == asked.ip() || ip.is_unspecified())
                && listener.backlog.len() < BACKLOG
            {
                open.push(*number);
            }
        }
        let chosen = match open.len() {
            0 => None,
            count => open.get(world.below_usize(count)),
        };
        let Some(listener) = chosen.and_then(|number| self.listeners.get_mut(number)) else {
            connection.ends[1].phase = Phase::Closed;
            self.send(world, id, 1, Load::Reset);
            return;
        };
        connection.ends[1].phase = Phase::Open;
        connection.ends[1].incarnation = listener.incarnation;
        listener.backlog.push_back(id);
        wake_all(&mut listener.waiters);
        if world.roll(node, FaultKind::DuplicateConnection) {
            let duplicate = connection.duplicate();
            self.made += 1;
            listener.backlog.push_back(self.made);
            self.connections.insert(self.made, duplicate);
        }
        self.send(world, id, 1, Load::Connected);
    }

    fn break_end(&mut self, id: ConnectionId, side: usize, kind: io::ErrorKind) {
        if let Some(end) = self.end_mut(id, side) {
            end.broken.get_or_insert(kind);
            end.line.clear();
            wake_all(&mut end.readers);
            wake_all(&mut end.writers);
        }
        self.forget_if_closed(id);
    }

    fn forget_if_closed(&mut self, id: ConnectionId) {
        let over = self.connections.get(&id).is_some_and(|connection| {
            let [client, server] = &connection.ends;
            let silent = client.line.is_empty() && server.line.is_empty();
            // A server that never heard of the connection holds no handle of it.
            silent && client.phase == Phase::Closed && server.phase != Phase::Open
        });
        if over {
            self.connections.remove(&id);
        }
    }

    fn end_mut(&mut self, id: ConnectionId, side: usize) -> Option<&mut End> {
        self.connections
            .get_mut(&id)
            .map(|connection| &mut connection.ends[side])
    }

    fn free_port(&mut self) -> u16 {
        // 16384 ports from 49152 on; a simulation has fewer connections at a time than that.
        self.next_port = (self.next_port + 1) % 16_384;
        49_152 + self.next_port
    }
}

impl Load {
    fn weight(&self) -> u64 {
        match self {
            Load::Connect => 1 << 40,
            Load::Connected => 2 << 40,
            Load::End => 3 << 40,
            Load::Reset => 4 << 40,
            Load::Data(data) => data.len() as u64,
        }
    }
}

fn blocked(world: &World, cut: &BTreeSet<(NodeId, NodeId)>, connection: &Connection, side: usize) -> bool {
    let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
    let off = world
        .nodes
        .borrow()
        .get(to.0)
        .is_none_or(|node| node.state == State::Off);
    connection.dead || off || cut.contains(&(from, to))
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket's process has ended")
}

fn remember(waiters: &mut Vec<Waker>, waker: &Waker) {
    if !waiters.iter().any(|known| known.will_wake(waker)) {
        waiters.push(waker.clone());
    }
}

fn wake_all(waiters: &mut Vec<Waker>) {
    for waiter in waiters.drain(..) {
        waiter.wake();
    }
}
