//! One connection to a broker that is made again when it breaks.

use crate::error::Error;
use remoting::{Connection, Connections, Limits, NoRequests};
use runtime::Instant;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two attempts to connect again.
const PAUSE: Duration = Duration::from_millis(50);

/// Bounds for a load generator: what a stalled server does not read waits here, and is measured.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        output_max: 1 << 30,
        stall: Duration::from_secs(24 * 3600),
        ..Limits::default()
    }
}

/// A connection and where it leads to.
#[derive(Debug)]
pub struct Lane {
    address: SocketAddr,
    connections: Connections,
    connection: RefCell<Rc<Connection>>,
}

impl Lane {
    /// A new connection.
    ///
    /// # Errors
    /// [`Error::BadAddress`] and [`Error::NoConnection`].
    pub async fn open(connections: &Connections, address: &str) -> Result<Lane, Error> {
        let socket = address.parse().map_err(|error| Error::BadAddress {
            address: address.to_owned(),
            error,
        })?;
        let connection = connect(connections, socket).await?;
        Ok(Lane {
            address: socket,
            connections: connections.clone(),
            connection: RefCell::new(connection),
        })
    }

    /// The connection as it is now.
    #[must_use]
    pub fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection.borrow())
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.connection.borrow().is_closed()
    }

    /// Makes the connection again if it is broken, trying until `until`. Whether there is one.
    pub async fn reopen(&self, until: Instant) -> bool {
        while self.is_closed() && Instant::now() < until {
            match connect(&self.connections, self.address).await {
                // Of several tasks that share the lane, one makes the connection that all use.
                Ok(connection) if self.is_closed() => *self.connection.borrow_mut() = connection,
                Ok(_second) => {}
                Err(_refused) => runtime::sleep(PAUSE).await,
            }
        }
        !self.is_closed()
    }
}

async fn connect(connections: &Connections, address: SocketAddr) -> Result<Rc<Connection>, Error> {
    let no_connection = |why: String| Error::NoConnection {
        address: address.to_string(),
        why,
    };
    let attempt = runtime::timeout(CONNECT_LIMIT, connections.connect(address, Rc::new(NoRequests))).await;
    match attempt {
        Ok(connected) => connected.map_err(|error| no_connection(error.to_string())),
        Err(_late) => Err(no_connection(format!("no answer within {CONNECT_LIMIT:?}"))),
    }
}
