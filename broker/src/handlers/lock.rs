//! Queue locks of orderly consumers, on core 0.

use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use protocol::body::group::{LockBatchRequestBody, LockBatchResponseBody};
use protocol::body::json::to_java_json;
use protocol::body::queue::WireQueue;
use protocol::model::MessageQueue;
use runtime::Instant;
use std::rc::Rc;

/// LOCK_BATCH_MQ: a consumer wants queues for itself; the answer says which it has.
pub async fn lock(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let body: LockBatchRequestBody = super::body(&request, "LOCK_BATCH_MQ")?;
    let queues = checked(body.mq_set)?;
    let mut locks = control.queue_locks.borrow_mut();
    let granted = locks.lock(&body.consumer_group, &body.client_id, queues, Instant::now());
    let lock_ok_mq_set = granted.iter().map(WireQueue::from).collect();
    Ok(Answer::body(to_java_json(&LockBatchResponseBody { lock_ok_mq_set })))
}

/// UNLOCK_BATCH_MQ: it gives queues back.
pub async fn unlock(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let body: LockBatchRequestBody = super::body(&request, "UNLOCK_BATCH_MQ")?;
    control
        .queue_locks
        .borrow_mut()
        .unlock(&body.consumer_group, &body.client_id, &checked(body.mq_set)?);
    Ok(Answer::done())
}

/// The queues of a request; those that cannot exist are left out, since nobody can hold them.
fn checked(queues: Vec<WireQueue>) -> Result<Vec<MessageQueue>, Error> {
    let mut checked = Vec::with_capacity(queues.len());
    for queue in queues {
        checked.extend(queue.check()?);
    }
    Ok(checked)
}
