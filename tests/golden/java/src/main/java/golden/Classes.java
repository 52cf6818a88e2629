package golden;

import java.util.List;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.admin.TopicStatsTable;
import org.apache.rocketmq.remoting.protocol.body.*;
import org.apache.rocketmq.remoting.protocol.header.*;
import org.apache.rocketmq.remoting.protocol.header.namesrv.*;
import org.apache.rocketmq.remoting.protocol.heartbeat.HeartbeatData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.remoting.protocol.DataVersion;

/** The classes of which golden data is made. */
final class Classes {
    static final List<Class<?>> HEADERS = List.of(
        SendMessageRequestHeader.class, SendMessageRequestHeaderV2.class, SendMessageResponseHeader.class,
        PullMessageRequestHeader.class, PullMessageResponseHeader.class, ReplyMessageRequestHeader.class,
        ConsumerSendMsgBackRequestHeader.class, QueryConsumerOffsetRequestHeader.class,
        QueryConsumerOffsetResponseHeader.class, UpdateConsumerOffsetRequestHeader.class,
        SearchOffsetRequestHeader.class, SearchOffsetResponseHeader.class, GetMaxOffsetRequestHeader.class,
        GetMaxOffsetResponseHeader.class, GetMinOffsetRequestHeader.class, GetMinOffsetResponseHeader.class,
        GetEarliestMsgStoretimeRequestHeader.class, GetEarliestMsgStoretimeResponseHeader.class,
        ResetOffsetRequestHeader.class, GetConsumerStatusRequestHeader.class, UnregisterClientRequestHeader.class,
        GetConsumerListByGroupRequestHeader.class, NotifyConsumerIdsChangedRequestHeader.class,
        GetConsumerConnectionListRequestHeader.class, GetProducerConnectionListRequestHeader.class,
        DeleteSubscriptionGroupRequestHeader.class, GetAllSubscriptionGroupRequestHeader.class,
        GetAllSubscriptionGroupResponseHeader.class, GetSubscriptionGroupConfigRequestHeader.class,
        GetConsumeStatsRequestHeader.class, QueryTopicConsumeByWhoRequestHeader.class,
        QueryConsumeTimeSpanRequestHeader.class, GetConsumerRunningInfoRequestHeader.class,
        ConsumeMessageDirectlyResultRequestHeader.class, QueryTopicsByConsumerRequestHeader.class,
        QuerySubscriptionByConsumerRequestHeader.class, CloneGroupOffsetRequestHeader.class,
        QueryCorrectionOffsetHeader.class, UpdateGroupForbiddenRequestHeader.class, CreateTopicRequestHeader.class,
        DeleteTopicRequestHeader.class, GetTopicConfigRequestHeader.class, GetTopicStatsInfoRequestHeader.class,
        GetAllTopicConfigRequestHeader.class, GetAllTopicConfigResponseHeader.class, QueryMessageRequestHeader.class,
        QueryMessageResponseHeader.class, ViewMessageRequestHeader.class, QueryConsumeQueueRequestHeader.class,
        GetRouteInfoRequestHeader.class, RegisterBrokerRequestHeader.class, RegisterBrokerResponseHeader.class,
        UnRegisterBrokerRequestHeader.class, QueryDataVersionRequestHeader.class, QueryDataVersionResponseHeader.class,
        BrokerHeartbeatRequestHeader.class, NotifyMinBrokerIdChangeRequestHeader.class,
        GetBrokerMemberGroupRequestHeader.class, RegisterTopicRequestHeader.class,
        DeleteTopicFromNamesrvRequestHeader.class, GetTopicsByClusterRequestHeader.class, PutKVConfigRequestHeader.class,
        GetKVConfigRequestHeader.class, GetKVConfigResponseHeader.class, DeleteKVConfigRequestHeader.class,
        GetKVListByNamespaceRequestHeader.class, WipeWritePermOfBrokerRequestHeader.class,
        WipeWritePermOfBrokerResponseHeader.class, AddWritePermOfBrokerRequestHeader.class,
        AddWritePermOfBrokerResponseHeader.class, GetBrokerConfigResponseHeader.class,
        ViewBrokerStatsDataRequestHeader.class, GetConsumeStatsInBrokerHeader.class, ExchangeHAInfoRequestHeader.class,
        ResetMasterFlushOffsetHeader.class, EndTransactionRequestHeader.class, CheckTransactionStateRequestHeader.class);

    static final List<Class<?>> BODIES = List.of(
        TopicRouteData.class, ClusterInfo.class, GetBrokerMemberGroupResponseBody.class, HeartbeatData.class,
        LockBatchRequestBody.class, LockBatchResponseBody.class, UnlockBatchRequestBody.class,
        GetConsumerListByGroupResponseBody.class, ConsumerConnection.class, ProducerConnection.class,
        ProducerTableInfo.class, GroupList.class, TopicList.class, KVTable.class, TopicStatsTable.class,
        ConsumeStats.class, ConsumeStatsList.class, ResetOffsetBody.class, ResetOffsetBodyForC.class,
        GetConsumerStatusBody.class, ConsumerOffsetSerializeWrapper.class, QueryConsumeTimeSpanBody.class,
        QueryConsumeQueueResponseBody.class, QuerySubscriptionResponseBody.class, QueryCorrectionOffsetBody.class,
        BrokerStatsData.class, SubscriptionGroupConfig.class, SubscriptionGroupWrapper.class,
        SubscriptionGroupList.class, TopicConfig.class, CreateTopicListRequestBody.class,
        TopicConfigAndMappingSerializeWrapper.class, RegisterBrokerBody.class, DataVersion.class,
        ConsumeMessageDirectlyResult.class, ConsumerRunningInfo.class, CheckClientRequestBody.class);

    private Classes() {
    }

    static Class<?> named(List<Class<?>> classes, String name) {
        return classes.stream().filter(c -> c.getSimpleName().equals(name)).findFirst()
            .orElseThrow(() -> new IllegalArgumentException("no class " + name));
    }
}
