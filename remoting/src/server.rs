//! Takes connections in, for ever.

use crate::connection::Handler;
use crate::connections::Connections;
use runtime::{TcpListener, sleep};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// First and longest wait after an accept that failed for want of something, such as file descriptors.
const WAIT_MIN: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Accepts connections from `listener` and gives their requests to `handler`. Ends only by being dropped; connections that
/// were taken in live on in `connections`. Several listeners of a core may share one `connections`.
pub async fn serve(listener: TcpListener, connections: Connections, handler: Rc<dyn Handler>) -> Infallible {
    let mut wait = WAIT_MIN;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                wait = WAIT_MIN;
                if let Err(error) = connections.adopt(stream, peer, Rc::clone(&handler)) {
                    tracing::warn!(%peer, %error, "connection refused");
                }
            }
            Err(error) if concerns_one_peer(&error) => {
                tracing::debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                // Most likely no file descriptor is left; accepting at once again would only burn the core.
                tracing::warn!(%error, wait_ms = wait.as_millis(), "cannot accept connections");
                sleep(wait).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
    }
}

fn concerns_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}
