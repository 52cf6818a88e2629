//! The name server's requests: routes, registration of brokers, KV config; codes 100 to 105, 205, 216, 217, 219, 224, 322, 327, 901, 904, 905.

use crate::header::headers;

headers! {
    /// 105: where is a topic?
    GetRouteInfoRequest {
        topic "topic": String,
        /// Whether the answer must be JSON that any parser takes.
        accept_standard_json_only "acceptStandardJsonOnly": Option<bool>,
    }

    /// 103: a broker and its topics are here.
    RegisterBrokerRequest {
        broker_name "brokerName": String,
        broker_addr "brokerAddr": String,
        cluster_name "clusterName": String,
        ha_server_addr "haServerAddr": String,
        broker_id "brokerId": i64,
        /// After how long without a heartbeat the broker counts as gone.
        heartbeat_timeout_millis "heartbeatTimeoutMillis": Option<i64>,
        enable_acting_master "enableActingMaster": Option<bool>,
        /// Whether the body is deflated.
        compressed "compressed": bool = false,
        /// CRC32 of the body as sent; 0 means unchecked.
        body_crc32 "bodyCrc32": i32 = 0,
    }

    /// Answer to 103: the master, as a slave needs it.
    RegisterBrokerResponse {
        ha_server_addr "haServerAddr": Option<String>,
        master_addr "masterAddr": Option<String>,
    }

    /// 104: a broker leaves.
    UnregisterBrokerRequest {
        broker_name "brokerName": String,
        broker_addr "brokerAddr": String,
        cluster_name "clusterName": String,
        broker_id "brokerId": i64,
    }

    /// 322: does the name server have this version of a broker's topics?
    QueryDataVersionRequest {
        broker_name "brokerName": String,
        broker_addr "brokerAddr": String,
        cluster_name "clusterName": String,
        broker_id "brokerId": i64,
    }

    /// Answer to 322; the body holds the version that the name server has.
    QueryDataVersionResponse {
        changed "changed": bool,
    }

    /// 904: a broker lives.
    BrokerHeartbeatRequest {
        cluster_name "clusterName": String,
        broker_addr "brokerAddr": String,
        broker_name "brokerName": String,
        broker_id "brokerId": Option<i64>,
        epoch "epoch": Option<i32>,
        max_offset "maxOffset": Option<i64>,
        confirm_offset "confirmOffset": Option<i64>,
        heartbeat_timeout_mills "heartbeatTimeoutMills": Option<i64>,
        election_priority "electionPriority": Option<i32>,
    }

    /// 905: the smallest live broker id of a broker name is another one now.
    NotifyMinBrokerIdChangeRequest {
        min_broker_id "minBrokerId": Option<i64>,
        broker_name "brokerName": Option<String>,
        min_broker_addr "minBrokerAddr": Option<String>,
        offline_broker_addr "offlineBrokerAddr": Option<String>,
        ha_broker_addr "haBrokerAddr": Option<String>,
    }

    /// 901: addresses of the brokers of one name.
    GetBrokerMemberGroupRequest {
        cluster_name "clusterName": String,
        broker_name "brokerName": String,
    }

    /// 217: one topic of a broker, with its route as body.
    RegisterTopicRequest {
        topic "topic": String,
    }

    /// 216: forget a topic.
    DeleteTopicFromNamesrvRequest {
        topic "topic": String,
        cluster_name "clusterName": Option<String>,
    }

    /// 224: topics of a cluster.
    GetTopicsByClusterRequest {
        cluster "cluster": String,
    }

    /// 100: set a value.
    PutKvConfigRequest {
        namespace "namespace": String,
        key "key": String,
        value "value": String,
    }

    /// 101: get a value.
    GetKvConfigRequest {
        namespace "namespace": String,
        key "key": String,
    }

    /// Answer to 101.
    GetKvConfigResponse {
        value "value": Option<String>,
    }

    /// 102: remove a value.
    DeleteKvConfigRequest {
        namespace "namespace": String,
        key "key": String,
    }

    /// 219: every value of a namespace.
    GetKvListByNamespaceRequest {
        namespace "namespace": String,
    }

    /// 205: producers shall leave a broker.
    WipeWritePermOfBrokerRequest {
        broker_name "brokerName": String,
    }

    /// Answer to 205.
    WipeWritePermOfBrokerResponse {
        wipe_topic_count "wipeTopicCount": i32,
    }

    /// 327: producers may use a broker again.
    AddWritePermOfBrokerRequest {
        broker_name "brokerName": String,
    }

    /// Answer to 327.
    AddWritePermOfBrokerResponse {
        add_topic_count "addTopicCount": i32,
    }
}
