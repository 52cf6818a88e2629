//! Why a request is refused. Only [`crate::dispatch`] turns these into response codes.

use protocol::header::HeaderError;
use protocol::model::NameError;
use protocol::request_code::RequestCode;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The body cannot be read.
    #[error("the body of {request} cannot be read: {cause}")]
    Body {
        /// Name of the request.
        request: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// A topic or group has no valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A value that the request may not have.
    #[error("{0}")]
    InvalidParameter(String),
    /// The topic is not there.
    #[error("topic[{0}] not exist, apply first please!")]
    TopicNotExist(String),
    /// The subscription group is not there, and may not be made.
    #[error("subscription group [{0}] does not exist")]
    SubscriptionGroupNotExist(String),
    /// No consumer of the group has told what it wants.
    #[error("the consumer's subscription not exist: group {0}")]
    SubscriptionNotExist(String),
    /// The consumer has changed its subscription and the heartbeat that says so has not come yet.
    #[error("the consumer's subscription not latest: group {0}")]
    SubscriptionNotLatest(String),
    /// A filter expression cannot be read.
    #[error("parse the consumer's subscription failed: {0}")]
    SubscriptionParse(String),
    /// Broker, topic or group do not allow this.
    #[error("{0}")]
    NoPermission(String),
    /// The message cannot be stored as it is.
    #[error("{0}")]
    MessageIllegal(String),
    /// The store takes no messages now.
    #[error("{0}")]
    NotAvailable(String),
    /// Something is full; it passes.
    #[error("{0}")]
    Busy(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// Nobody of the group is connected.
    #[error("{0}")]
    ConsumerNotOnline(String),
    /// A client that was asked did not answer in time.
    #[error("{0}")]
    ClientTimeout(String),
    /// This broker has no handler for the code.
    #[error(" request type {} not supported{}", .0.0, crate::handlers::why_not(*.0))]
    NotSupported(RequestCode),
    /// Anything else that went wrong here.
    #[error("{0}")]
    System(String),
}

impl Error {
    /// An error of the store while it was asked for something.
    #[must_use]
    pub fn store(what: &str, error: &impl std::fmt::Display) -> Error {
        Error::System(format!("{what} failed: {error}"))
    }

    /// The broker is stopping: another core did not answer.
    #[must_use]
    pub fn stopping() -> Error {
        Error::NotAvailable("the broker is stopping; send to another one".to_owned())
    }
}
