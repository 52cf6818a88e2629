//! Groups and their members: codes 35, 38, 40, 200, 203, 204, 207, 208, 300, 303, 307, 309, 343, 345, 352.
//! Heartbeat (34) and queue locks (41, 42) carry all they say in the body.

use crate::header::headers;

/// Ext fields of the answer to a heartbeat.
pub mod heartbeat_response {
    /// `true`: the client may leave its subscriptions out of later heartbeats.
    pub const SUPPORTS_V2: &str = "IS_SUPPORT_HEART_BEAT_V2";
    /// `true`: the client must send its subscriptions again.
    pub const SUBSCRIPTION_CHANGED: &str = "IS_SUB_CHANGE";
}

headers! {
    /// 35: a client leaves.
    UnregisterClientRequest {
        client_id "clientID": String,
        producer_group "producerGroup": Option<String>,
        consumer_group "consumerGroup": Option<String>,
    }

    /// 38: which clients are in a consumer group?
    GetConsumerListByGroupRequest {
        consumer_group "consumerGroup": String,
    }

    /// 40: members of a consumer group came or went.
    NotifyConsumerIdsChangedRequest {
        consumer_group "consumerGroup": String,
    }

    /// 203: connections of a consumer group.
    GetConsumerConnectionListRequest {
        consumer_group "consumerGroup": String,
    }

    /// 204: connections of a producer group.
    GetProducerConnectionListRequest {
        producer_group "producerGroup": String,
    }

    /// 207: drop a subscription group.
    DeleteSubscriptionGroupRequest {
        group_name "groupName": String,
        clean_offset "cleanOffset": bool = false,
    }

    /// 201: one page of the subscription groups.
    GetAllSubscriptionGroupRequest {
        /// First group of the page; clients before 5.3.4 send no field at all and want every group.
        group_seq "groupSeq": Option<i32>,
        /// JSON of the version that the asker has.
        data_version "dataVersion": Option<String>,
        max_group_num "maxGroupNum": Option<i32>,
    }

    /// Answer to 201.
    GetAllSubscriptionGroupResponse {
        /// Java must see it; brokers before 5.3.4 leave it out.
        total_group_num "totalGroupNum": i32 = 0,
    }

    /// 352: settings of one subscription group.
    GetSubscriptionGroupConfigRequest {
        group "group": String,
    }

    /// 208: lag of a consumer group, queue by queue.
    GetConsumeStatsRequest {
        consumer_group "consumerGroup": String,
        topic "topic": Option<String>,
        /// Topics, each ended by a semicolon.
        topic_list "topicList": Option<String>,
    }

    /// 300: which consumer groups have offsets in a topic?
    QueryTopicConsumeByWhoRequest {
        topic "topic": String,
    }

    /// 303: times of the messages that a group is at.
    QueryConsumeTimeSpanRequest {
        topic "topic": String,
        group "group": String,
    }

    /// 307: what a client is doing.
    GetConsumerRunningInfoRequest {
        consumer_group "consumerGroup": String,
        client_id "clientId": String,
        jstack_enable "jstackEnable": bool = false,
    }

    /// 309: have a client consume one message now.
    ConsumeMessageDirectlyRequest {
        consumer_group "consumerGroup": String,
        client_id "clientId": Option<String>,
        msg_id "msgId": Option<String>,
        broker_name "brokerName": Option<String>,
        topic "topic": Option<String>,
        topic_sys_flag "topicSysFlag": Option<i32>,
        group_sys_flag "groupSysFlag": Option<i32>,
    }

    /// 343: which topics has a consumer group offsets in?
    QueryTopicsByConsumerRequest {
        group "group": String,
    }

    /// 345: the subscription of a live consumer group.
    QuerySubscriptionByConsumerRequest {
        group "group": String,
        topic "topic": Option<String>,
    }

    /// 314: copy offsets from one consumer group to another.
    CloneGroupOffsetRequest {
        src_group "srcGroup": String,
        dest_group "destGroup": String,
        topic "topic": Option<String>,
        offline "offline": bool = false,
    }

    /// 308: compare offsets of consumer groups.
    QueryCorrectionOffsetRequest {
        filter_groups "filterGroups": Option<String>,
        compare_group "compareGroup": String,
        topic "topic": String,
    }

    /// 353: forbid or allow a group to read a topic.
    UpdateGroupForbiddenRequest {
        group "group": String,
        topic "topic": String,
        readable "readable": Option<bool>,
    }
}
