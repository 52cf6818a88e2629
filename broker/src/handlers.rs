//! What the broker does for each request, one file a family, and the table of those that core 0 serves.

pub mod send;

use crate::core::Core;
use crate::error::Error;
use crate::request::ReplyTo;
use bytes::Bytes;
use protocol::header::Header;
use protocol::header_writer::HeaderWriter;
use protocol::response_code::ResponseCode;
use std::fmt;

type Fill = Box<dyn FnOnce(&mut HeaderWriter<'_>)>;

/// What a handler answers.
pub struct Answer {
    code: ResponseCode,
    remark: Option<String>,
    fill: Option<Fill>,
    body: Vec<Bytes>,
}

impl Answer {
    /// Done, and nothing to say.
    #[must_use]
    pub fn done() -> Answer {
        Answer { code: ResponseCode::SUCCESS, remark: None, fill: None, body: Vec::new() }
    }

    /// Done; these are the fields of the answer.
    #[must_use]
    pub fn header(header: impl Header + 'static) -> Answer {
        Answer::done().with_fields(move |out| header.encode(out))
    }

    /// Done; this is the body of the answer.
    #[must_use]
    pub fn body(body: impl Into<Bytes>) -> Answer {
        Answer { body: vec![body.into()], ..Answer::done() }
    }

    /// Adds fields.
    #[must_use]
    pub fn with_fields(self, fill: impl FnOnce(&mut HeaderWriter<'_>) + 'static) -> Answer {
        Answer { fill: Some(Box::new(fill)), ..self }
    }

    /// Replaces the body by several parts, sent one after the other.
    #[must_use]
    pub fn with_parts(self, body: Vec<Bytes>) -> Answer {
        Answer { body, ..self }
    }

    /// Replaces code and remark.
    #[must_use]
    pub fn with_code(self, code: ResponseCode, remark: impl Into<String>) -> Answer {
        Answer { code, remark: Some(remark.into()), ..self }
    }

    /// Sends it.
    pub fn send(self, core: &Core, to: &ReplyTo) {
        let Answer { code, remark, fill, body } = self;
        let write = |header: &mut HeaderWriter<'_>| {
            if let Some(fill) = fill {
                fill(header);
            }
            if let Some(remark) = &remark {
                header.set_remark(remark);
            }
        };
        core.reply(to, code, write, body);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("code", &self.code).field("remark", &self.remark).finish_non_exhaustive()
    }
}

/// What a handler comes to.
pub type Outcome = Result<Answer, Error>;
