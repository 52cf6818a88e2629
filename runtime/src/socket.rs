//! TCP sockets of one core.

use crate::sim::socket::{SimListener, SimStream};
use crate::world::{is_simulated, simulated};
use bytes::BytesMut;
use std::cell::RefCell;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A peer that vanished (power, cable, firewall) says nothing: the kernel asks a silent one after so long, then so often, and a
/// connection on which nothing was acknowledged for [`UNACKNOWLEDGED_MAX`] is broken. No process wakes up for any of it.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Makes the kernel notice within half a minute that the other end is gone. Connections inherit it from their listener.
fn notice_vanished_peers(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    use rustix::net::sockopt;
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE_MAX)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    let unacknowledged = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, unacknowledged)?;
    Ok(())
}

/// A listening socket. With `shared`, every core binds the same address and the kernel spreads connections over them.
#[derive(Debug)]
pub struct TcpListener(Listener);

#[derive(Debug)]
enum Listener {
    Real(tokio::net::TcpListener),
    Simulated(SimListener),
}

impl TcpListener {
    /// Listens on `address`. `shared`: other sockets of this process may listen there too (SO_REUSEPORT).
    ///
    /// # Errors
    /// When the address is taken or not of this machine.
    pub fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
        if let Some(here) = simulated() {
            return Ok(TcpListener(Listener::Simulated(SimListener::bind(
                &here, address, shared,
            )?)));
        }
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        notice_vanished_peers(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let listener = tokio::net::TcpListener::from_std(socket.into())?;
        Ok(TcpListener(Listener::Real(listener)))
    }

    /// The next connection and where it comes from.
    ///
    /// # Errors
    /// As accept(2): some errors (no file descriptor left) pass, so callers wait and go on.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            Listener::Real(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((TcpStream(Stream::real(stream)), peer))
            }
            Listener::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream(Stream::Simulated(stream)), peer))
            }
        }
    }

    /// The address it listens on, with the port that was given for port 0.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Listener::Real(listener) => listener.local_addr(),
            Listener::Simulated(listener) => listener.local_address(),
        }
    }
}

/// A connection. Reading and writing take `&self`, so that one task can read while another writes.
#[derive(Debug)]
pub struct TcpStream(Stream);

#[derive(Debug)]
enum Stream {
    Real {
        reader: RefCell<OwnedReadHalf>,
        writer: OwnedWriteHalf,
    },
    Simulated(SimStream),
}

impl Stream {
    fn real(stream: tokio::net::TcpStream) -> Stream {
        let (reader, writer) = stream.into_split();
        Stream::Real {
            reader: RefCell::new(reader),
            writer,
        }
    }
}

impl TcpStream {
    /// Connects to `address`.
    ///
    /// # Errors
    /// As connect(2). Callers set their own time limit.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        if is_simulated() {
            let stream = SimStream::connect(address).await?;
            return Ok(TcpStream(Stream::Simulated(stream)));
        }
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        notice_vanished_peers(&stream)?;
        Ok(TcpStream(Stream::real(stream)))
    }

    /// Appends what has arrived to the spare capacity of `buffer` (which must not be zero) and returns how many bytes
    /// that was; 0 when the peer has closed its side.
    ///
    /// # Errors
    /// As read(2).
    pub async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match &self.0 {
            // A read that does not fill its room has emptied the socket, and tokio's poll_read remembers that: the next
            // read waits at once, without a recv(2) that would only hear EAGAIN.
            Stream::Real { reader, .. } => {
                std::future::poll_fn(|cx| pin!(reader.borrow_mut().read_buf(buffer)).poll(cx)).await
            }
            Stream::Simulated(stream) => stream.read(buffer).await,
        }
    }

    /// Writes as much of `parts` as the socket takes now and returns how many bytes that was.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing: await [`TcpStream::writable`]; else as writev(2).
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Stream::Real { writer: stream, .. } => match parts {
                // send(2), a shorter way through the kernel: most answers are one part.
                [part] => stream.try_write(part),
                parts => stream.try_write_vectored(parts),
            },
            Stream::Simulated(stream) => stream.try_write(parts),
        }
    }

    /// Waits until the socket may take bytes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Real { writer: stream, .. } => stream.writable().await,
            Stream::Simulated(stream) => stream.writable().await,
        }
    }

    /// The other end.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Real { writer: stream, .. } => stream.peer_addr(),
            Stream::Simulated(stream) => stream.peer_address(),
        }
    }

    /// This end.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Real { writer: stream, .. } => stream.local_addr(),
            Stream::Simulated(stream) => stream.local_address(),
        }
    }

    /// Takes the connection out of this core, so that another one can [`Detached::attach`] it.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn detach(self) -> io::Result<Detached> {
        Ok(Detached(match self.0 {
            Stream::Real { reader, writer } => {
                let whole = reader.into_inner().reunite(writer).map_err(io::Error::other)?;
                DetachedStream::Real(whole.into_std()?)
            }
            Stream::Simulated(stream) => DetachedStream::Simulated(stream),
        }))
    }

    /// Ends both directions; what the peer sends after that is lost.
    pub fn shut_down(&self) {
        match &self.0 {
            Stream::Real { writer: stream, .. } => {
                // The peer may have gone first, and there is nobody left to tell.
                let _gone_already = rustix::net::shutdown(stream.as_ref(), rustix::net::Shutdown::Both);
            }
            Stream::Simulated(stream) => stream.shut_down(),
        }
    }
}

/// A connection on its way from one core to another.
#[derive(Debug)]
pub struct Detached(DetachedStream);

#[derive(Debug)]
enum DetachedStream {
    Real(std::net::TcpStream),
    Simulated(SimStream),
}

impl Detached {
    /// The connection, on this core from now on.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn attach(self) -> io::Result<TcpStream> {
        Ok(TcpStream(match self.0 {
            DetachedStream::Real(stream) => Stream::real(tokio::net::TcpStream::from_std(stream)?),
            DetachedStream::Simulated(stream) => Stream::Simulated(stream),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{IoPath, Refusal};
    use rustix::net::sockopt;

    #[test]
    fn both_ends_of_a_connection_notice_a_peer_that_vanished() {
        let options = |stream: &TcpStream| match &stream.0 {
            Stream::Real { writer, .. } => {
                let socket: &tokio::net::TcpStream = writer.as_ref();
                (
                    sockopt::socket_keepalive(socket).unwrap(),
                    sockopt::tcp_keepidle(socket).unwrap(),
                    sockopt::tcp_user_timeout(socket).unwrap(),
                )
            }
            Stream::Simulated(_) => panic!("this is the real world"),
        };
        let work = async {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
            let connecting = TcpStream::connect(listener.local_address().unwrap());
            let (accepted, connected) = tokio::join!(listener.accept(), connecting);
            (options(&accepted.unwrap().0), options(&connected.unwrap()))
        };
        let both = crate::core::run_here(&IoPath::Blocking(Refusal::Configured), work).unwrap();
        let expected = (true, SILENCE_MAX, 30_000);
        assert_eq!(both, (expected, expected));
    }
}
