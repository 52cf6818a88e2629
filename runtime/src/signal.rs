//! Signals that ask the process to stop.

use std::io;

/// Waits for SIGTERM or SIGINT and names the one that came.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn terminated() -> io::Result<&'static str> {
    if crate::world::is_simulated() {
        crate::sim::task::terminated().await;
        return Ok("SIGTERM");
    }
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let came = crate::sync::race(terminate.recv(), interrupt.recv()).await;
    Ok(match came {
        crate::sync::Either::First(_) => "SIGTERM",
        crate::sync::Either::Second(_) => "SIGINT",
    })
}
