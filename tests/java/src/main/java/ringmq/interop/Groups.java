package ringmq.interop;

import static ringmq.interop.World.sendNumbered;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.LanguageCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.body.Connection;
import org.apache.rocketmq.remoting.protocol.body.ConsumerConnection;
import org.apache.rocketmq.remoting.protocol.body.ConsumerRunningInfo;
import org.apache.rocketmq.remoting.protocol.body.ProducerConnection;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumeType;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/** Who is connected, what the broker tells of them, and what remains when they leave. */
final class Groups {
    private Groups() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("group_producer_leaves", Groups::producerLeaves),
            Scenario.of("group_consumer_leaves", Groups::consumerLeaves),
            Scenario.of("group_consume_stats", Groups::consumeStats),
            Scenario.of("group_running_info", Groups::runningInfo),
            Scenario.of("group_consume_disabled", Groups::consumeDisabled),
            Scenario.of("group_reset_offset_online", Groups::resetOffset));
    }

    private static void producerLeaves(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        String group = producer.getProducerGroup();
        sendNumbered(producer, topic, "m", 1);
        producer.getDefaultMQProducerImpl().getMqClientFactory().sendHeartbeatToAllBrokerWithLock();
        ProducerConnection there = w.cluster.admin.examineProducerConnectionInfo(group, topic);
        Check.equal(1, there.getConnectionSet().size(), "connections");
        Connection connection = there.getConnectionSet().iterator().next();
        Check.equal(producer.buildMQClientId(), connection.getClientId(), "client id");
        Check.equal(LanguageCode.JAVA, connection.getLanguage(), "language");
        Check.equal(MQVersion.CURRENT_VERSION, connection.getVersion(), "version");
        Check.that(connection.getClientAddr().startsWith("127.0.0.1:"), "address %s", connection.getClientAddr());
        producer.shutdown();
        Check.eventually(5_000, () -> "producer group gone", () -> {
            try {
                return w.cluster.admin.examineProducerConnectionInfo(group, topic).getConnectionSet().isEmpty();
            } catch (MQBrokerException e) {
                return true;
            }
        });
    }

    private static void consumerLeaves(World w) throws Exception {
        String topic = w.topic(2);
        String group = w.name("g");
        DefaultMQPushConsumer consumer = w.pushConsumer(group, World.concurrentList());
        consumer.setHeartbeatBrokerInterval(World.RARE_HEARTBEATS);
        consumer.subscribe(topic, "a || b");
        consumer.start();
        Check.eventually(5_000, () -> "consumer group is online", () -> online(w, group));
        ConsumerConnection there = w.cluster.admin.examineConsumerConnectionInfo(group);
        Check.equal(ConsumeType.CONSUME_PASSIVELY, there.getConsumeType(), "consume type");
        Check.equal(MessageModel.CLUSTERING, there.getMessageModel(), "message model");
        Check.equal(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, there.getConsumeFromWhere(), "consume from where");
        Check.equal(Set.of(topic, "%RETRY%" + group), there.getSubscriptionTable().keySet(), "subscribed topics");
        Check.equal("a || b", there.getSubscriptionTable().get(topic).getSubString(), "expression");
        Check.equal(Set.of("a", "b"), there.getSubscriptionTable().get(topic).getTagsSet(), "tags");
        Check.equal(Set.of(group), new HashSet<>(w.cluster.admin.queryTopicConsumeByWho(topic).getGroupList()), "who consumes the topic");
        List<String> ids = w.cluster.reader.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory().getMQClientAPIImpl()
            .getConsumerIdListByGroup(w.brokerAddr(), group, 5_000);
        Check.equal(List.of(consumer.buildMQClientId()), ids, "consumer ids");
        consumer.shutdown();
        Check.eventually(5_000, () -> "consumer group gone", () -> !online(w, group));
        MQBrokerException gone = Check.refused(MQBrokerException.class, "connections of a group that left",
            () -> w.cluster.admin.examineConsumerConnectionInfo(group, w.brokerAddr()));
        Check.equal(ResponseCode.CONSUMER_NOT_ONLINE, gone.getResponseCode(), "code of " + gone.getErrorMessage());
    }

    private static boolean online(World w, String group) throws Exception {
        try {
            return !w.cluster.admin.examineConsumerConnectionInfo(group, w.brokerAddr()).getConnectionSet().isEmpty();
        } catch (MQBrokerException e) {
            return false;
        }
    }

    private static void consumeStats(World w) throws Exception {
        String topic = w.topic(2);
        String group = w.name("g");
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "m", 20);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(group, got);
        consumer.subscribe(topic, "*");
        consumer.start();
        World.awaitExactly(got, World.numbered("m", 20), "messages");
        consumer.shutdown();
        ConsumeStats stats = w.cluster.admin.examineConsumeStats(group, topic);
        Check.equal(2, stats.getOffsetTable().size(), "queues");
        stats.getOffsetTable().forEach((queue, offsets) -> {
            Check.equal(10L, offsets.getBrokerOffset(), "broker offset of " + queue);
            Check.equal(10L, offsets.getConsumerOffset(), "consumer offset of " + queue);
            Check.that(offsets.getLastTimestamp() > 0, "last time of %s", queue);
        });
        sendNumbered(producer, topic, "n", 6);
        // The broker's end of a queue follows its log.
        Check.eventually(5_000, () -> "a lag of 6 after 6 more", () -> w.cluster.admin.examineConsumeStats(group, topic).computeTotalDiff() == 6);
    }

    /** The broker asks the client itself and passes the answer on. */
    private static void runningInfo(World w) throws Exception {
        String topic = w.topic(2);
        String group = w.name("g");
        DefaultMQPushConsumer consumer = w.pushConsumer(group, World.concurrentList());
        consumer.subscribe(topic, "*");
        consumer.start();
        Check.eventually(5_000, () -> "consumer group is online", () -> online(w, group));
        w.awaitRoute("%RETRY%" + group);
        ConsumerRunningInfo info = w.cluster.admin.getConsumerRunningInfo(group, consumer.buildMQClientId(), false);
        Check.that(info.getSubscriptionSet().stream().anyMatch(s -> s.getTopic().equals(topic)), "subscription of %s", topic);
    }

    private static void consumeDisabled(World w) throws Exception {
        String topic = w.topic(1);
        String group = w.name("g");
        sendNumbered(w.producer(), topic, "m", 5);
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        config.setConsumeEnable(false);
        w.cluster.admin.createAndUpdateSubscriptionGroupConfig(w.brokerAddr(), config);
        var consumer = w.pullConsumer(group);
        MQBrokerException refusal = Check.refused(MQBrokerException.class, "pull of a disabled group", () -> consumer.pull(w.queue(topic, 0), "*", 0, 32));
        Check.equal(ResponseCode.NO_PERMISSION, refusal.getResponseCode(), "code of " + refusal.getErrorMessage());
        config.setConsumeEnable(true);
        w.cluster.admin.createAndUpdateSubscriptionGroupConfig(w.brokerAddr(), config);
        Check.equal(5, consumer.pull(w.queue(topic, 0), "*", 0, 32).getMsgFoundList().size(), "messages once it is enabled");
        Check.equal(true, w.cluster.admin.examineSubscriptionGroupConfig(w.brokerAddr(), group).isConsumeEnable(), "consumeEnable as read back");
    }

    /** A reset by time while the group consumes: everything comes again. */
    private static void resetOffset(World w) throws Exception {
        String topic = w.topic(2);
        String group = w.name("g");
        sendNumbered(w.producer(), topic, "m", 20);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(group, got);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.subscribe(topic, "*");
        consumer.start();
        World.awaitExactly(got, World.numbered("m", 20), "messages");
        Thread.sleep(1_200);
        got.clear();
        var offsets = w.cluster.admin.resetOffsetByTimestamp(topic, group, 0, true);
        Check.equal(2, offsets.size(), "queues reset");
        offsets.forEach((queue, offset) -> Check.equal(0L, offset, "offset of " + queue));
        Check.eventually(45_000, () -> "all 20 again, got " + new HashSet<>(World.texts(got)).size(), () -> new HashSet<>(World.texts(got)).size() == 20);
    }
}
