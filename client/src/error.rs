//! Why a call did not do what it was asked for.

use protocol::body::BodyError;
use protocol::frame::Frame;
use protocol::header::HeaderError;
use protocol::message::batch::BatchError;
use protocol::message::id::IdError;
use protocol::message::record::RecordError;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::RequestError;
use std::time::Duration;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no answer.
    #[error("{request} to {address}: {error}")]
    NoAnswer {
        /// What was asked.
        request: RequestCode,
        /// Who was asked.
        address: String,
        /// What happened instead.
        error: RequestError,
    },
    /// The server says no.
    #[error("{request} to {address} was answered with {code}: {remark}")]
    Refused {
        /// What was asked.
        request: RequestCode,
        /// Who was asked.
        address: String,
        /// The server's code.
        code: ResponseCode,
        /// The server's reason.
        remark: String,
    },
    /// An answer without a field that it must have.
    #[error("the answer of {address} to {request}: {error}")]
    BadHeader {
        /// What was asked.
        request: RequestCode,
        /// Who answered.
        address: String,
        /// What is wrong.
        error: HeaderError,
    },
    /// An answer with a body that is none.
    #[error("the answer of {address} to {request}: {error}")]
    BadBody {
        /// What was asked.
        request: RequestCode,
        /// Who answered.
        address: String,
        /// What is wrong.
        error: BodyError,
    },
    /// An answer with records that are none.
    #[error("a record that the broker sent: {0}")]
    BadRecord(#[from] RecordError),
    /// No name server is known.
    #[error("no name server is given; give namesrvAddr as host:port, several parted by ;")]
    NoNameServer,
    /// The topic has no queue that this could go to.
    #[error("topic {topic} has no queue that can be {wanted}")]
    NoQueue {
        /// The topic.
        topic: String,
        /// `written` or `read`.
        wanted: &'static str,
    },
    /// No broker of that name has an address.
    #[error("no address is known for broker {broker_name}")]
    NoBroker {
        /// The name.
        broker_name: String,
    },
    /// No master is registered, so nobody can make a topic.
    #[error("the name server knows no master; is a broker running and registered?")]
    NoMaster,
    /// A topic that was made stays unknown to the name servers.
    #[error("topic {topic} was made, and {limit:?} later no name server knows it")]
    TopicNotSeen {
        /// The topic.
        topic: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A batch that cannot be one.
    #[error("these messages cannot be sent as a batch: {0}")]
    BadBatch(String),
    /// An id that is none.
    #[error(transparent)]
    BadId(#[from] IdError),
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        Error::BadBatch(error.to_string())
    }
}

impl Error {
    /// The code that a server refused with.
    #[must_use]
    pub fn code(&self) -> Option<ResponseCode> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn refused(request: RequestCode, address: &str, answer: &Frame) -> Error {
        Error::Refused {
            request,
            address: address.to_owned(),
            code: answer.response_code(),
            remark: answer.remark().map(std::borrow::Cow::into_owned).unwrap_or_default(),
        }
    }
}
