//! Handles of simulated sockets. They hold only numbers; the state is the network's.

use crate::sim::Here;
use crate::sim::network::ConnectionId;
use crate::world::simulated;
use bytes::BytesMut;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::Poll;

#[derive(Debug)]
pub(crate) struct SimListener {
    number: u64,
}

#[derive(Debug)]
pub(crate) struct SimStream {
    connection: ConnectionId,
    side: usize,
}

impl SimListener {
    pub(crate) fn bind(here: &Here, address: SocketAddr, shared: bool) -> io::Result<SimListener> {
        here.check_alive()?;
        let own = here.node_address();
        let number = here.world.network.borrow_mut().bind(here.place, own, address, shared)?;
        Ok(SimListener { number })
    }

    pub(crate) async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        poll_fn(|cx| {
            let here = expect_here();
            let polled = here.world.network.borrow_mut().poll_accept(self.number, cx);
            polled.map_ok(|(connection, peer)| (SimStream { connection, side: 1 }, peer))
        })
        .await
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        expect_here().world.network.borrow().listener_address(self.number)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if let Some(here) = simulated() {
            here.world.network.borrow_mut().close_listener(&here.world, self.number);
        }
    }
}

impl SimStream {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<SimStream> {
        // Made before the wait: dropping it closes the half-made connection.
        let stream = SimStream::start(&expect_here(), address)?;
        poll_fn(|cx| {
            let here = expect_here();
            here.world.network.borrow_mut().poll_connected(stream.connection, cx)
        })
        .await?;
        Ok(stream)
    }

    fn start(here: &Here, address: SocketAddr) -> io::Result<SimStream> {
        here.check_alive()?;
        let target = here.node_at(address.ip());
        let connection =
            here.world
                .network
                .borrow_mut()
                .connect(&here.world, here.place, here.node_address(), address, target);
        Ok(SimStream { connection, side: 0 })
    }

    pub(crate) async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|cx| {
            let here = expect_here();
            let mut network = here.world.network.borrow_mut();
            network.poll_read(&here.world, self.connection, self.side, buffer, cx)
        })
        .await
    }

    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let here = expect_here();
        let mut network = here.world.network.borrow_mut();
        network.try_write(&here.world, self.connection, self.side, parts)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let here = expect_here();
            let mut network = here.world.network.borrow_mut();
            match network.poll_writable(&here.world, self.connection, self.side, cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        expect_here()
            .world
            .network
            .borrow()
            .address(self.connection, 1 - self.side)
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        expect_here().world.network.borrow().address(self.connection, self.side)
    }

    pub(crate) fn shut_down(&self) {
        let here = expect_here();
        here.world
            .network
            .borrow_mut()
            .shut_down(&here.world, self.connection, self.side);
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if let Some(here) = simulated() {
            here.world
                .network
                .borrow_mut()
                .close(&here.world, self.connection, self.side);
        }
    }
}

fn expect_here() -> Here {
    simulated().expect("a simulated socket is used by its own simulation")
}
