//! Answers to sends that wait for their group commit.
//!
//! A send is answered when the batch that its record lies in has been committed, which many sends share. What the answer
//! will say is kept in one vector and one text buffer a batch, so that a waiting send costs no allocation of its own.

use crate::request::ReplyTo;
use bytes::BytesMut;
use protocol::field_name;
use protocol::header_writer::HeaderWriter;
use protocol::response_code::ResponseCode;
use runtime::Instant;
use std::collections::VecDeque;
use std::ops::Range;

/// What all answers to sends of one broker share.
#[derive(Clone, Debug)]
pub struct SendReplyFields {
    /// `regionId`: Java's client wants `MSG_REGION` in every answer.
    pub region: String,
    /// `traceOn`.
    pub trace_on: bool,
}

impl SendReplyFields {
    /// Writes the fields of an answer to a send. `place` is queue and queue offset, of a batch those of the first message.
    pub fn write(&self, header: &mut HeaderWriter<'_>, message_id: &str, place: (i32, i64), unique_id: &str) {
        header.put_named(field_name!("msgId"), message_id);
        header.put_named_i64(field_name!("queueId"), i64::from(place.0));
        header.put_named_i64(field_name!("queueOffset"), place.1);
        if !unique_id.is_empty() {
            header.put_named(field_name!("transactionId"), unique_id);
        }
        header.put_named(field_name!("MSG_REGION"), &self.region);
        header.put_named_bool(field_name!("TRACE_ON"), self.trace_on);
    }
}

/// One send that waits.
#[derive(Clone, Debug)]
pub struct WaitingSend {
    /// How to answer.
    pub to: ReplyTo,
    /// The queue it went to.
    pub queue_id: i32,
    /// Its queue offset; of a batch, that of the first message.
    pub queue_offset: i64,
    /// When the request was accepted: for the latency statistics.
    pub accepted: Instant,
    /// The answer waits for flush and slaves (property WAIT).
    pub wait: bool,
    message_id: Range<usize>,
    unique_id: Range<usize>,
}

impl WaitingSend {
    /// Appends the answer to a send whose batch could not be stored.
    pub fn write_failure(&self, remark: &str, out: &mut BytesMut) {
        let mut header = HeaderWriter::response(
            out,
            self.to.serialize,
            ResponseCode::SERVICE_NOT_AVAILABLE,
            self.to.opaque,
        );
        header.set_remark(remark);
        let written = header.finish(0);
        debug_assert!(written.is_ok(), "an error does not fit into a frame: {written:?}");
    }
}

/// The sends of one group commit.
#[derive(Debug)]
pub struct WaitingBatch {
    /// The engine's number of the group commit.
    pub batch: u64,
    /// When the first of them was accepted.
    pub since: Instant,
    text: String,
    sends: Vec<WaitingSend>,
}

impl WaitingBatch {
    /// The sends, in the order in which they were appended.
    #[must_use]
    pub fn sends(&self) -> &[WaitingSend] {
        &self.sends
    }

    /// Takes its sends out that do not wait for flush and slaves; `None` if there are none.
    pub fn take_unwaiting(&mut self) -> Option<WaitingBatch> {
        if self.sends.iter().all(|send| send.wait) {
            return None;
        }
        Some(WaitingBatch {
            batch: self.batch,
            since: self.since,
            text: self.text.clone(),
            sends: self.sends.extract_if(.., |send| !send.wait).collect(),
        })
    }

    /// Appends the answer to one of its sends. `code` is a send status: success, or one of the "stored, but" codes.
    pub fn write(&self, send: &WaitingSend, code: ResponseCode, fields: &SendReplyFields, out: &mut BytesMut) {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        let mut header = HeaderWriter::response(out, send.to.serialize, code, send.to.opaque);
        fields.write(
            &mut header,
            text(&send.message_id),
            (send.queue_id, send.queue_offset),
            text(&send.unique_id),
        );
        // The fields of this answer are a few hundred bytes, far below what a frame may hold.
        let written = header.finish(0);
        debug_assert!(
            written.is_ok(),
            "an answer to a send does not fit into a frame: {written:?}"
        );
    }
}

/// The sends of one shard that wait, oldest batch first.
#[derive(Debug, Default)]
pub struct WaitingSends {
    batches: VecDeque<WaitingBatch>,
    /// Buffers of a batch that was answered, to be used again.
    spare: Option<(String, Vec<WaitingSend>)>,
}

impl WaitingSends {
    /// Remembers a send. `message_ids` and `unique_id` write what the answer will call it.
    pub fn push(
        &mut self,
        batch: u64,
        to: ReplyTo,
        (queue_id, queue_offset): (i32, i64),
        (accepted, wait): (Instant, bool),
        write_message_ids: impl FnOnce(&mut String),
        unique_id: &str,
    ) {
        if self.batches.back().is_none_or(|last| last.batch != batch) {
            let (text, sends) = self.spare.take().unwrap_or_default();
            self.batches.push_back(WaitingBatch {
                batch,
                since: accepted,
                text,
                sends,
            });
        }
        let Some(waiting) = self.batches.back_mut() else { return };
        let start = waiting.text.len();
        write_message_ids(&mut waiting.text);
        let middle = waiting.text.len();
        waiting.text.push_str(unique_id);
        let end = waiting.text.len();
        waiting.sends.push(WaitingSend {
            to,
            queue_id,
            queue_offset,
            accepted,
            wait,
            message_id: start..middle,
            unique_id: middle..end,
        });
    }

    /// Takes out the oldest batch if it is `batch` or older.
    pub fn take_until(&mut self, batch: u64) -> Option<WaitingBatch> {
        self.batches.front().filter(|oldest| oldest.batch <= batch)?;
        self.batches.pop_front()
    }

    /// Takes the sends of a batch out that do not wait for flush and slaves; `None` if there are none.
    pub fn take_unwaiting(&mut self, batch: u64) -> Option<WaitingBatch> {
        let waiting = self.batches.iter_mut().find(|waiting| waiting.batch == batch)?;
        waiting.take_unwaiting()
    }

    /// Takes out the oldest batch if it has waited since before `limit`.
    pub fn take_older_than(&mut self, limit: Instant) -> Option<WaitingBatch> {
        self.batches.front().filter(|oldest| oldest.since < limit)?;
        self.batches.pop_front()
    }

    /// Since when the oldest batch waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.batches.front().map(|oldest| oldest.since)
    }

    /// Gives the buffers of an answered batch back.
    pub fn recycle(&mut self, answered: WaitingBatch) {
        let WaitingBatch {
            mut text, mut sends, ..
        } = answered;
        // One huge batch must not keep its buffers for ever.
        if text.capacity() <= 256 * 1024 {
            text.clear();
            sends.clear();
            self.spare = Some((text, sends));
        }
    }
}
