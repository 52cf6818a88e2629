//! Why a run could not be made or its result not be written.

use std::io;
use std::net::AddrParseError;
use std::path::{Path, PathBuf};

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to a name server or a broker failed.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(String),
    /// The threads or event loops cannot be made.
    #[error("the generator's event loops cannot start: {0}")]
    Loops(#[source] io::Error),
    /// A route that names a broker by something else than address and port.
    #[error("the route names the broker {address}, which is no address and port: {error}")]
    BadAddress {
        /// As the name server gives it.
        address: String,
        /// What is wrong.
        error: AddrParseError,
    },
    /// A broker that cannot be reached.
    #[error("no connection to the broker at {address}: {why}; is it running, and reachable from here?")]
    NoConnection {
        /// Where it should be.
        address: String,
        /// What happened.
        why: String,
    },
    /// A topic without a queue for this use.
    #[error("topic {topic} has no queue that can be {wanted}; give it queues, or another --topic")]
    NoQueue {
        /// The topic.
        topic: String,
        /// `written` or `read`.
        wanted: &'static str,
    },
    /// Another event loop could not start.
    #[error("the run was called off since another event loop could not start")]
    CalledOff,
    /// A file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Error {
    /// A file that cannot be read or written.
    #[must_use]
    pub fn file(path: &Path, error: io::Error) -> Error {
        Error::File {
            path: path.to_owned(),
            error,
        }
    }
}
