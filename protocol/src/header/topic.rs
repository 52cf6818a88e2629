//! Topics of a broker: codes 17, 21, 202, 215, 351.

use crate::header::headers;

headers! {
    /// 17: create or change a topic.
    CreateTopicRequest {
        topic "topic": String,
        default_topic "defaultTopic": String,
        read_queue_nums "readQueueNums": i32,
        write_queue_nums "writeQueueNums": i32,
        perm "perm": i32,
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type "topicFilterType": String,
        topic_sys_flag "topicSysFlag": Option<i32>,
        order "order": bool,
        /// Edits, joined by commas: `+key=value`, `-key`.
        attributes "attributes": Option<String>,
        force "force": Option<bool>,
    }

    /// 215: drop a topic from this broker.
    DeleteTopicRequest {
        topic "topic": String,
    }

    /// 351: settings of one topic.
    GetTopicConfigRequest {
        topic "topic": String,
    }

    /// 202: offsets of a topic, queue by queue.
    GetTopicStatsInfoRequest {
        topic "topic": String,
    }

    /// 21: one page of the topics.
    GetAllTopicConfigRequest {
        /// First topic of the page; clients before 5.3.4 send no field at all and want every topic.
        topic_seq "topicSeq": Option<i32>,
        /// JSON of the version that the asker has.
        data_version "dataVersion": Option<String>,
        max_topic_num "maxTopicNum": Option<i32>,
    }

    /// Answer to 21.
    GetAllTopicConfigResponse {
        /// Java must see it; brokers before 5.3.4 leave it out.
        total_topic_num "totalTopicNum": i32 = 0,
    }
}
