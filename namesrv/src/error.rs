//! Why a name server cannot start, and why it refuses a request.

use crate::kv_config;
use crate::route_table::RouteError;
use protocol::body::BodyError;
use protocol::header::HeaderError;
use protocol::response_code::ResponseCode;
use remoting::config_table::ConfigError;
use std::io;
use std::net::SocketAddr;

/// Why a name server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that cannot be made out.
    #[error("{key}={value}: the environment variable at its start is not set; set it, or give a whole path")]
    Path {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A file that cannot be read or written.
    #[error("{what} {path}: {error}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// A KV config that is none.
    #[error("the KV config {path} cannot be read: {error}; mend it or move it away")]
    KvConfig {
        /// The file.
        path: String,
        /// What is wrong.
        error: BodyError,
    },
    /// `bindAddress` is no IP address.
    #[error("bindAddress={value} is not an IP address")]
    BindAddress {
        /// As written.
        value: String,
    },
    /// The port is taken, or the address is not of this machine.
    #[error("cannot listen on {address}: {error}; is another name server running? set listenPort to a free port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Header(#[from] HeaderError),
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("{0}")]
    Route(#[from] RouteError),
    #[error("{0}")]
    KvFull(#[from] kv_config::Full),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("the change cannot be saved to {path}: {error}")]
    Save { path: String, error: io::Error },
    #[error("{remark}")]
    Rule { code: ResponseCode, remark: String },
}

impl Refusal {
    pub(crate) fn rule(code: ResponseCode, remark: impl Into<String>) -> Refusal {
        Refusal::Rule {
            code,
            remark: remark.into(),
        }
    }

    /// The code that RocketMQ's name server answers with.
    pub(crate) fn code(&self) -> ResponseCode {
        match self {
            Refusal::Rule { code, .. } => *code,
            Refusal::Config(ConfigError::NotUpdatable { .. }) => ResponseCode::NO_PERMISSION,
            _ => ResponseCode::SYSTEM_ERROR,
        }
    }
}
