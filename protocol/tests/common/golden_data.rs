//! Golden data by name: which of our types reads a line that Java wrote, and what it writes in its place.

use bytes::BytesMut;
use protocol::body::lenient::BodyError;
use protocol::body::{from_slice, to_java_json};
use protocol::ext::ExtFields;
use protocol::frame::{Frame, Serialize, split_frame};
use protocol::header::{Header, HeaderError, admin, group, name_server, offset, pull, query, send, topic, transaction};
use protocol::header_writer::HeaderWriter;
use protocol::message::id::OffsetMessageId;
use protocol::message::record::RecordView;

pub(crate) const BATCH: &str = include_str!("../../../tests/golden/data/batch.txt");
pub(crate) const BODIES: &str = include_str!("../../../tests/golden/data/bodies.txt");
pub(crate) const HEADER_FRAMES: &str = include_str!("../../../tests/golden/data/header_frames.txt");
pub(crate) const IDS: &str = include_str!("../../../tests/golden/data/ids.txt");
pub(crate) const RECORDS: &str = include_str!("../../../tests/golden/data/records.txt");

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "hex has two digits a byte");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn only_frame(bytes: &[u8]) -> Frame {
    let mut bytes = BytesMut::from(bytes);
    let frame = split_frame(&mut bytes).unwrap().expect("the frame is complete");
    assert!(bytes.is_empty(), "nothing follows the frame");
    frame
}

/// Lines of `header_frames.txt`: class, form, frame.
pub(crate) fn header_frames() -> impl Iterator<Item = (&'static str, Serialize, Vec<u8>)> {
    HEADER_FRAMES.lines().map(|line| {
        let parts: Vec<_> = line.split(' ').collect();
        let [class, form, hex] = parts[..] else {
            panic!("three parts in {line}")
        };
        let serialize = if form == "JSON" {
            Serialize::Json
        } else {
            Serialize::Binary
        };
        (class, serialize, from_hex(hex))
    })
}

macro_rules! header_classes {
    ($($class:literal $($type:ident)::+,)*) => {
        /// Classes that [`copy_header`] knows.
        pub(crate) const HEADER_CLASSES: &[&str] = &[
            "SendMessageRequestHeader",
            "SendMessageRequestHeaderV2",
            "SendMessageResponseHeader",
            "PullMessageRequestHeader",
            "PullMessageResponseHeader",
            $($class,)*
        ];
        /// Reads ext fields as the type that stands for a Java class and writes them again.
        pub(crate) fn copy_header(class: &str, ext: ExtFields<'_>, writer: &mut HeaderWriter<'_>) -> Result<(), HeaderError> {
            match class {
                "SendMessageRequestHeader" => send::SendHeader::decode(ext)?.encode_v1(writer),
                "SendMessageRequestHeaderV2" => send::SendHeader::decode(ext)?.encode_v2(writer),
                "SendMessageResponseHeader" => send::SendResponse::decode(ext)?.encode(writer),
                "PullMessageRequestHeader" => pull::PullHeader::decode(ext)?.encode(writer),
                "PullMessageResponseHeader" => pull::PullResponse::decode(ext)?.encode(writer),
                $($class => $($type)::+::decode(ext)?.encode(writer),)*
                _ => panic!("no type stands for {class}"),
            }
            Ok(())
        }
        /// Fields that our type has; `None` for those that are written by hand.
        pub(crate) fn header_fields(class: &str) -> Option<&'static [&'static str]> {
            match class { $($class => Some($($type)::+::FIELDS),)* _ => None }
        }
    };
}

header_classes! {
    "ReplyMessageRequestHeader" send::ReplyMessageRequest,
    "ConsumerSendMsgBackRequestHeader" send::SendBackRequest,
    "QueryConsumerOffsetRequestHeader" offset::QueryConsumerOffsetRequest,
    "QueryConsumerOffsetResponseHeader" offset::QueryConsumerOffsetResponse,
    "UpdateConsumerOffsetRequestHeader" offset::UpdateConsumerOffsetRequest,
    "SearchOffsetRequestHeader" offset::SearchOffsetRequest,
    "SearchOffsetResponseHeader" offset::SearchOffsetResponse,
    "GetMaxOffsetRequestHeader" offset::GetMaxOffsetRequest,
    "GetMaxOffsetResponseHeader" offset::GetMaxOffsetResponse,
    "GetMinOffsetRequestHeader" offset::GetMinOffsetRequest,
    "GetMinOffsetResponseHeader" offset::GetMinOffsetResponse,
    "GetEarliestMsgStoretimeRequestHeader" offset::GetEarliestMsgStoretimeRequest,
    "GetEarliestMsgStoretimeResponseHeader" offset::GetEarliestMsgStoretimeResponse,
    "ResetOffsetRequestHeader" offset::ResetOffsetRequest,
    "GetConsumerStatusRequestHeader" offset::GetConsumerStatusRequest,
    "UnregisterClientRequestHeader" group::UnregisterClientRequest,
    "GetConsumerListByGroupRequestHeader" group::GetConsumerListByGroupRequest,
    "NotifyConsumerIdsChangedRequestHeader" group::NotifyConsumerIdsChangedRequest,
    "GetConsumerConnectionListRequestHeader" group::GetConsumerConnectionListRequest,
    "GetProducerConnectionListRequestHeader" group::GetProducerConnectionListRequest,
    "DeleteSubscriptionGroupRequestHeader" group::DeleteSubscriptionGroupRequest,
    "GetAllSubscriptionGroupRequestHeader" group::GetAllSubscriptionGroupRequest,
    "GetAllSubscriptionGroupResponseHeader" group::GetAllSubscriptionGroupResponse,
    "GetSubscriptionGroupConfigRequestHeader" group::GetSubscriptionGroupConfigRequest,
    "GetConsumeStatsRequestHeader" group::GetConsumeStatsRequest,
    "QueryTopicConsumeByWhoRequestHeader" group::QueryTopicConsumeByWhoRequest,
    "QueryConsumeTimeSpanRequestHeader" group::QueryConsumeTimeSpanRequest,
    "GetConsumerRunningInfoRequestHeader" group::GetConsumerRunningInfoRequest,
    "ConsumeMessageDirectlyResultRequestHeader" group::ConsumeMessageDirectlyRequest,
    "QueryTopicsByConsumerRequestHeader" group::QueryTopicsByConsumerRequest,
    "QuerySubscriptionByConsumerRequestHeader" group::QuerySubscriptionByConsumerRequest,
    "CloneGroupOffsetRequestHeader" group::CloneGroupOffsetRequest,
    "QueryCorrectionOffsetHeader" group::QueryCorrectionOffsetRequest,
    "UpdateGroupForbiddenRequestHeader" group::UpdateGroupForbiddenRequest,
    "CreateTopicRequestHeader" topic::CreateTopicRequest,
    "DeleteTopicRequestHeader" topic::DeleteTopicRequest,
    "GetTopicConfigRequestHeader" topic::GetTopicConfigRequest,
    "GetTopicStatsInfoRequestHeader" topic::GetTopicStatsInfoRequest,
    "GetAllTopicConfigRequestHeader" topic::GetAllTopicConfigRequest,
    "GetAllTopicConfigResponseHeader" topic::GetAllTopicConfigResponse,
    "QueryMessageRequestHeader" query::QueryMessageRequest,
    "QueryMessageResponseHeader" query::QueryMessageResponse,
    "ViewMessageRequestHeader" query::ViewMessageRequest,
    "QueryConsumeQueueRequestHeader" query::QueryConsumeQueueRequest,
    "GetRouteInfoRequestHeader" name_server::GetRouteInfoRequest,
    "RegisterBrokerRequestHeader" name_server::RegisterBrokerRequest,
    "RegisterBrokerResponseHeader" name_server::RegisterBrokerResponse,
    "UnRegisterBrokerRequestHeader" name_server::UnregisterBrokerRequest,
    "QueryDataVersionRequestHeader" name_server::QueryDataVersionRequest,
    "QueryDataVersionResponseHeader" name_server::QueryDataVersionResponse,
    "BrokerHeartbeatRequestHeader" name_server::BrokerHeartbeatRequest,
    "NotifyMinBrokerIdChangeRequestHeader" name_server::NotifyMinBrokerIdChangeRequest,
    "GetBrokerMemberGroupRequestHeader" name_server::GetBrokerMemberGroupRequest,
    "RegisterTopicRequestHeader" name_server::RegisterTopicRequest,
    "DeleteTopicFromNamesrvRequestHeader" name_server::DeleteTopicFromNamesrvRequest,
    "GetTopicsByClusterRequestHeader" name_server::GetTopicsByClusterRequest,
    "PutKVConfigRequestHeader" name_server::PutKvConfigRequest,
    "GetKVConfigRequestHeader" name_server::GetKvConfigRequest,
    "GetKVConfigResponseHeader" name_server::GetKvConfigResponse,
    "DeleteKVConfigRequestHeader" name_server::DeleteKvConfigRequest,
    "GetKVListByNamespaceRequestHeader" name_server::GetKvListByNamespaceRequest,
    "WipeWritePermOfBrokerRequestHeader" name_server::WipeWritePermOfBrokerRequest,
    "WipeWritePermOfBrokerResponseHeader" name_server::WipeWritePermOfBrokerResponse,
    "AddWritePermOfBrokerRequestHeader" name_server::AddWritePermOfBrokerRequest,
    "AddWritePermOfBrokerResponseHeader" name_server::AddWritePermOfBrokerResponse,
    "GetBrokerConfigResponseHeader" admin::GetBrokerConfigResponse,
    "ViewBrokerStatsDataRequestHeader" admin::ViewBrokerStatsDataRequest,
    "GetConsumeStatsInBrokerHeader" admin::GetConsumeStatsInBrokerRequest,
    "ExchangeHAInfoRequestHeader" admin::ExchangeHaInfo,
    "ResetMasterFlushOffsetHeader" admin::ResetMasterFlushOffsetRequest,
    "EndTransactionRequestHeader" transaction::EndTransactionRequest,
    "CheckTransactionStateRequestHeader" transaction::CheckTransactionStateRequest,
}

/// A frame of Java's, written again by us.
pub(crate) fn copy_frame(class: &str, frame: &Frame) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut writer = HeaderWriter::request(
        &mut out,
        frame.serialize(),
        frame.request_code(),
        frame.opaque(),
        frame.flag(),
    );
    copy_header(class, frame.ext(), &mut writer).unwrap_or_else(|e| panic!("{class}: {e}"));
    writer.finish(frame.body().len()).unwrap();
    out.extend_from_slice(frame.body());
    out.to_vec()
}

macro_rules! body_classes {
    ($($class:literal $($type:ident)::+,)*) => {
        /// Classes that [`copy_body`] knows.
        pub(crate) const BODY_CLASSES: &[&str] = &[$($class,)*];
        /// A body, read by the type that stands for its class and written again by us; `None` for those that are only relayed.
        pub(crate) fn copy_body(class: &str, body: &[u8]) -> Option<Result<Vec<u8>, BodyError>> {
            Some(match class {
                $($class => from_slice::<protocol::body::$($type)::+>(body).map(|read| to_java_json(&read)),)*
                "ConsumerRunningInfo" => return None,
                _ => panic!("no type stands for {class}"),
            })
        }
    };
}

body_classes! {
    "TopicRouteData" route::TopicRouteData,
    "ClusterInfo" route::ClusterInfo,
    "GetBrokerMemberGroupResponseBody" route::GetBrokerMemberGroupResponseBody,
    "HeartbeatData" heartbeat::HeartbeatData,
    "CheckClientRequestBody" heartbeat::CheckClientRequestBody,
    "LockBatchRequestBody" group::LockBatchRequestBody,
    "LockBatchResponseBody" group::LockBatchResponseBody,
    "UnlockBatchRequestBody" group::UnlockBatchRequestBody,
    "GetConsumerListByGroupResponseBody" group::GetConsumerListByGroupResponseBody,
    "ConsumerConnection" group::ConsumerConnection,
    "ProducerConnection" group::ProducerConnection,
    "ProducerTableInfo" group::ProducerTableInfo,
    "GroupList" group::GroupList,
    "QuerySubscriptionResponseBody" group::QuerySubscriptionResponseBody,
    "SubscriptionGroupConfig" group::SubscriptionGroupConfig,
    "SubscriptionGroupWrapper" group::SubscriptionGroupWrapper,
    "SubscriptionGroupList" group::SubscriptionGroupList,
    "TopicList" topic::TopicList,
    "TopicStatsTable" topic::TopicStatsTable,
    "TopicConfig" topic::TopicConfig,
    "CreateTopicListRequestBody" topic::CreateTopicListRequestBody,
    "TopicConfigAndMappingSerializeWrapper" topic::TopicConfigAndMappingSerializeWrapper,
    "DataVersion" topic::DataVersion,
    "RegisterBrokerBody" register::RegisterBrokerBody,
    "KVTable" stats::KvTable,
    "BrokerStatsData" stats::BrokerStatsData,
    "QueryConsumeQueueResponseBody" stats::QueryConsumeQueueResponseBody,
    "ConsumeMessageDirectlyResult" stats::ConsumeMessageDirectlyResult,
    "ConsumeStats" offset::ConsumeStats,
    "ConsumeStatsList" offset::ConsumeStatsList,
    "ResetOffsetBody" offset::ResetOffsetBody,
    "ResetOffsetBodyForC" offset::ResetOffsetBodyForC,
    "GetConsumerStatusBody" offset::GetConsumerStatusBody,
    "ConsumerOffsetSerializeWrapper" offset::ConsumerOffsetSerializeWrapper,
    "QueryConsumeTimeSpanBody" offset::QueryConsumeTimeSpanBody,
    "QueryCorrectionOffsetBody" offset::QueryCorrectionOffsetBody,
}

/// Lines of `bodies.txt`: class and JSON.
pub(crate) fn bodies() -> impl Iterator<Item = (&'static str, &'static str)> {
    BODIES
        .lines()
        .map(|line| line.split_once(' ').expect("a class and a body"))
}

/// A record, written again by us.
pub(crate) fn copy_record(view: &RecordView<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    view.fields().encode(&mut out).unwrap();
    out.to_vec()
}

/// An offset message id, written again by us.
pub(crate) fn copy_offset_id(id: &str) -> String {
    OffsetMessageId::decode(id).unwrap().to_string()
}
