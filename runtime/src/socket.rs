//! TCP sockets of one core.

use bytes::BytesMut;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

/// A listening socket. With `shared`, every core binds the same address and the kernel spreads connections over them.
#[derive(Debug)]
pub struct TcpListener(tokio::net::TcpListener);

impl TcpListener {
    /// Listens on `address`. `shared`: other sockets of this process may listen there too (SO_REUSEPORT).
    ///
    /// # Errors
    /// When the address is taken or not of this machine.
    pub fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        Ok(TcpListener(tokio::net::TcpListener::from_std(socket.into())?))
    }

    /// The next connection and where it comes from.
    ///
    /// # Errors
    /// As accept(2): some errors (no file descriptor left) pass, so callers wait and go on.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((TcpStream(stream), peer))
    }

    /// The address it listens on, with the port that was given for port 0.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection. Reading and writing take `&self`, so that one task can read while another writes.
#[derive(Debug)]
pub struct TcpStream(tokio::net::TcpStream);

impl TcpStream {
    /// Connects to `address`.
    ///
    /// # Errors
    /// As connect(2). Callers set their own time limit.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(TcpStream(stream))
    }

    /// Appends what has arrived to the spare capacity of `buffer` (which must not be zero) and returns how many bytes
    /// that was; 0 when the peer has closed its side.
    ///
    /// # Errors
    /// As read(2).
    pub async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.readable().await?,
                done => return done,
            }
        }
    }

    /// Writes as much of `parts` as the socket takes now and returns how many bytes that was.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing: await [`TcpStream::writable`]; else as writev(2).
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    /// Waits until the socket may take bytes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    /// The other end.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// This end.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Ends both directions; what the peer sends after that is lost.
    pub fn shut_down(&self) {
        // The peer may have gone first, and there is nobody left to tell.
        let _gone_already = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}
