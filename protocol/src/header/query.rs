//! Finding single messages and looking into queues: codes 12, 33, 321.

use crate::header::headers;

/// Ext field of 12 that makes the key a unique key: `true`.
pub const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";

headers! {
    /// 12: messages with a key, stored between two times.
    QueryMessageRequest {
        topic "topic": String,
        key "key": String,
        max_num "maxNum": i32,
        /// Milliseconds since 1970.
        begin_timestamp "beginTimestamp": i64,
        end_timestamp "endTimestamp": i64,
        /// `K`, `U` or `T` of Apache's RocksDB index.
        index_type "indexType": Option<String>,
        last_key "lastKey": Option<String>,
    }

    /// Answer to 12; the body holds records.
    QueryMessageResponse {
        index_last_update_timestamp "indexLastUpdateTimestamp": i64,
        index_last_update_phyoffset "indexLastUpdatePhyoffset": i64,
    }

    /// 33: the message at a physical offset.
    ViewMessageRequest {
        topic "topic": Option<String>,
        offset "offset": i64,
    }

    /// 321: entries of a consume queue.
    QueryConsumeQueueRequest {
        topic "topic": Option<String>,
        queue_id "queueId": i32 = 0,
        index "index": i64 = 0,
        count "count": i32 = 0,
        consumer_group "consumerGroup": Option<String>,
    }
}
