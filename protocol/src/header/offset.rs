//! Offsets of queues and of consumer groups: codes 14, 15, 29, 30, 31, 32, 222 and the client's side of 220 and 221.

use crate::header::headers;

headers! {
    /// 14: how far has a consumer group consumed a queue?
    QueryConsumerOffsetRequest {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        /// Absent means yes.
        set_zero_if_not_found "setZeroIfNotFound": Option<bool>,
    }

    /// Answer to 14.
    QueryConsumerOffsetResponse {
        offset "offset": i64,
    }

    /// 15: a consumer group has consumed a queue up to here.
    UpdateConsumerOffsetRequest {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        commit_offset "commitOffset": i64,
    }

    /// 29: which queue offset was stored at a time?
    SearchOffsetRequest {
        topic "topic": String,
        lite_topic "liteTopic": Option<String>,
        queue_id "queueId": i32,
        /// Milliseconds since 1970.
        timestamp "timestamp": i64,
        /// `LOWER` (also if absent) or `UPPER`.
        boundary_type "boundaryType": Option<String>,
    }

    /// Answer to 29.
    SearchOffsetResponse {
        offset "offset": i64,
    }

    /// 30: where does a queue end?
    GetMaxOffsetRequest {
        topic "topic": String,
        queue_id "queueId": i32,
        /// Whether the end of what consumers see is meant, or the next offset to be given.
        committed "committed": bool = true,
    }

    /// Answer to 30.
    GetMaxOffsetResponse {
        offset "offset": i64,
    }

    /// 31: where does a queue begin?
    GetMinOffsetRequest {
        topic "topic": String,
        queue_id "queueId": i32,
    }

    /// Answer to 31.
    GetMinOffsetResponse {
        offset "offset": i64,
    }

    /// 32: when was a queue's first message stored?
    GetEarliestMsgStoretimeRequest {
        topic "topic": String,
        queue_id "queueId": i32,
    }

    /// Answer to 32.
    GetEarliestMsgStoretimeResponse {
        /// Milliseconds since 1970.
        timestamp "timestamp": i64,
    }

    /// 222 to the broker, 220 to the client: consume from another place.
    ResetOffsetRequest {
        group "group": String,
        topic "topic": String,
        /// -1 means every queue.
        queue_id "queueId": i32 = -1,
        /// Where to go; without it the timestamp says.
        offset "offset": Option<i64>,
        /// Milliseconds since 1970.
        timestamp "timestamp": i64,
        is_force "isForce": bool,
    }

    /// 223 to the broker, 221 to the client: the offsets that a client holds.
    GetConsumerStatusRequest {
        topic "topic": String,
        group "group": String,
        client_addr "clientAddr": Option<String>,
    }
}
