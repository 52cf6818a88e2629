//! Why a command failed: the cause, and what helps.

use client::Error as ClientError;
use protocol::response_code::ResponseCode;
use std::fmt;
use std::io;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Error {
    /// A server did not answer, or said no.
    Client(ClientError),
    /// The result cannot be written.
    Output(io::Error),
    /// The command line says what cannot be.
    Usage(Box<clap::Error>),
    /// What is wrong is in the result already.
    Told,
    /// Anything else: cause and fix.
    Other { cause: String, fix: String },
}

impl Error {
    pub(super) fn other(cause: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::Other {
            cause: cause.into(),
            fix: fix.into(),
        }
    }

    pub(super) fn code(&self) -> Option<ResponseCode> {
        match self {
            Error::Client(error) => error.code(),
            _ => None,
        }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Error {
        Error::Client(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Output(error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Client(error) => Some(error),
            Error::Output(error) => Some(error),
            Error::Usage(error) => Some(error),
            Error::Told | Error::Other { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Client(error) => write!(f, "{error}\nfix: {}", fix(error)),
            Error::Output(error) => write!(f, "cannot write the result: {error}"),
            Error::Usage(error) => write!(f, "{error}"),
            Error::Told => f.write_str("see above"),
            Error::Other { cause, fix } => write!(f, "{cause}\nfix: {fix}"),
        }
    }
}

fn fix(error: &ClientError) -> String {
    match error {
        ClientError::NoAnswer { address, .. } => format!(
            "see that a server listens on {address} and that this machine reaches it; name servers are given by -n HOST:PORT or NAMESRV_ADDR"
        ),
        ClientError::Refused { code, .. } if *code == ResponseCode::TOPIC_NOT_EXIST => {
            "`mqadmin topicList` shows the topics there are, `mqadmin updateTopic -c CLUSTER -t TOPIC` makes one"
                .to_owned()
        }
        ClientError::Refused { address, .. } => {
            format!("what the server says above is the reason; the log of {address} has more")
        }
        ClientError::NoQueue { topic, .. } => {
            format!(
                "`mqadmin topicRoute -t {topic}` shows its brokers and permissions; a broker group needs its master"
            )
        }
        ClientError::NoBroker { .. } => "`mqadmin clusterList` shows the brokers there are".to_owned(),
        _ => "see that client and server are of versions that know each other".to_owned(),
    }
}
