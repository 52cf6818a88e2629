package ringmq.interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Function;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** One scenario's view of the cluster: names of its own, clients that end with it, and the calls that every scenario makes. */
final class World implements AutoCloseable {
    /** What all scenarios of one program share: an admin client, a reader and the number of the run, which makes names new. */
    static final class Cluster implements AutoCloseable {
        final String namesrv;
        final String run = Long.toString(System.currentTimeMillis(), 36);
        final DefaultMQAdminExt admin;
        final DefaultMQPullConsumer reader;
        final BrokerData broker;

        Cluster(String namesrv) throws Exception {
            this.namesrv = namesrv;
            System.setProperty("rocketmq.namesrv.addr", namesrv);
            admin = new DefaultMQAdminExt(10_000);
            admin.setInstanceName("interop-admin-" + run);
            admin.setNamesrvAddr(namesrv);
            admin.start();
            reader = new DefaultMQPullConsumer("it_reader");
            reader.setInstanceName("interop-reader-" + run);
            reader.setNamesrvAddr(namesrv);
            reader.start();
            // A broker says that it has started before the name server has heard of it.
            Check.eventually(30_000, () -> "a broker registered at " + namesrv, () -> firstBroker().isPresent());
            broker = firstBroker().orElseThrow();
        }

        private Optional<BrokerData> firstBroker() throws Exception {
            return admin.examineBrokerClusterInfo().getBrokerAddrTable().values().stream().min(Comparator.comparing(BrokerData::getBrokerName));
        }

        @Override
        public void close() {
            reader.shutdown();
            admin.shutdown();
        }
    }

    final Cluster cluster;
    private final String scenario;
    private final List<Runnable> endings = new ArrayList<>();
    private int clients;

    World(Cluster cluster, String scenario) {
        this.cluster = cluster;
        this.scenario = scenario;
    }

    @Override
    public void close() {
        for (int i = endings.size() - 1; i >= 0; i--) {
            endings.get(i).run();
        }
    }

    String name(String suffix) {
        return "it_" + scenario + "_" + cluster.run + (suffix.isEmpty() ? "" : "_" + suffix);
    }

    String brokerAddr() {
        return cluster.broker.getBrokerAddrs().get(0L);
    }

    String brokerName() {
        return cluster.broker.getBrokerName();
    }

    // ---- topics

    String topic(int queues) throws Exception {
        return topic("", queues);
    }

    /** Creates a topic on the first broker and waits until its route is known. */
    String topic(String suffix, int queues) throws Exception {
        String topic = name(suffix);
        cluster.admin.createAndUpdateTopicConfig(brokerAddr(), new TopicConfig(topic, queues, queues, 6));
        awaitRoute(topic);
        return topic;
    }

    void awaitRoute(String topic) throws Exception {
        awaitRouteWithin(topic, 10_000);
    }

    void awaitRouteWithin(String topic, long limitMs) throws Exception {
        Check.eventually(limitMs, () -> "a route of topic " + topic, () -> {
            try {
                return !cluster.admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
            } catch (org.apache.rocketmq.client.exception.MQClientException e) {
                return false;
            }
        });
    }

    MessageQueue queue(String topic, int queueId) {
        return new MessageQueue(topic, brokerName(), queueId);
    }

    // ---- clients: each with a connection of its own, ended with the scenario

    private void common(ClientConfig client) {
        client.setNamesrvAddr(cluster.namesrv);
        client.setInstanceName(name("client" + clients++));
        client.setPollNameServerInterval(1_000);
    }

    /**
     * The client's own heartbeat interval, for consumers that leave within a scenario: Apache's broker registers the
     * consumer of a heartbeat that it handles after the connection has closed, and then keeps it for two minutes.
     */
    static final int RARE_HEARTBEATS = 30_000;

    /**
     * A push consumer whose second heartbeat, the one after its first rebalance, meets another one skips it, and is told
     * until the next that its subscription is not the latest. That happens against Apache's broker; a second keeps it short.
     */
    private static final int FREQUENT_HEARTBEATS = 1_000;

    DefaultMQProducer producer() throws Exception {
        return producer(p -> { });
    }

    interface Setup<T> {
        void on(T client) throws Exception;
    }

    DefaultMQProducer producer(Setup<DefaultMQProducer> setup) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(name("p" + clients));
        common(producer);
        producer.setSendMsgTimeout(10_000);
        setup.on(producer);
        producer.start();
        endings.add(producer::shutdown);
        return producer;
    }

    /** A push consumer that keeps what it gets in {@code into}, from the first message on; not started. */
    DefaultMQPushConsumer pushConsumer(String group, Collection<MessageExt> into) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        common(consumer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(FREQUENT_HEARTBEATS);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            into.addAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        endings.add(consumer::shutdown);
        return consumer;
    }

    /**
     * Lets a consumer of the group come and go, so that the broker knows the group and its retry topic has a route. The
     * first consumer of a group that is new looks at its retry topic only at the next rebalance, up to 20 s later.
     */
    void knownGroup(String group, String topic) throws Exception {
        DefaultMQPushConsumer first = pushConsumer(group, new ConcurrentLinkedQueue<>());
        first.setHeartbeatBrokerInterval(RARE_HEARTBEATS);
        first.subscribe(topic, "*");
        first.start();
        awaitRoute("%RETRY%" + group);
        first.shutdown();
    }

    DefaultLitePullConsumer litePullConsumer(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        common(consumer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPullThreadNums(4);
        endings.add(() -> {
            if (consumer.isRunning()) {
                consumer.shutdown();
            }
        });
        return consumer;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        common(consumer);
        consumer.start();
        endings.add(consumer::shutdown);
        return consumer;
    }

    /** One request outside the client's own checks. */
    RemotingCommand raw(String address, RemotingCommand request) throws Exception {
        return cluster.reader.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory().getMQClientAPIImpl()
            .getRemotingClient().invokeSync(address, request, 5_000);
    }

    // ---- messages

    /** 16 bytes in hex, or 28 where the client's address is an IPv6 one. */
    static boolean isUniqueKey(String id) {
        return id.matches("[0-9A-F]{32}|[0-9A-F]{56}");
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(Message message) {
        return message.getBody() == null ? "" : new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** Bytes that do not compress, the same ones for the same seed. */
    static byte[] noise(int length, long seed) {
        byte[] noise = new byte[length];
        new Random(seed).nextBytes(noise);
        return noise;
    }

    static SendResult sent(SendResult result) {
        Check.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        return result;
    }

    /** Sends messages with bodies prefix0, prefix1, ... round robin over the queues. */
    static void sendNumbered(DefaultMQProducer producer, String topic, String prefix, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            sent(producer.send(new Message(topic, bytes(prefix + i))));
        }
    }

    static List<String> numbered(String prefix, int count) {
        List<String> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(prefix + i);
        }
        return all;
    }

    /** Everything in the topic, read by the old pull consumer, once {@code count} messages are there. */
    List<MessageExt> readAll(String topic, int count) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        Map<MessageQueue, Long> next = new ConcurrentHashMap<>();
        Check.eventually(20_000, () -> count + " messages in " + topic + ", read " + all.size(), () -> {
            for (MessageQueue queue : cluster.reader.fetchSubscribeMessageQueues(topic)) {
                readOn(queue, next, all);
            }
            return all.size() >= count;
        });
        Check.equal(count, all.size(), "messages in " + topic);
        return all;
    }

    private void readOn(MessageQueue queue, Map<MessageQueue, Long> next, List<MessageExt> into) throws Exception {
        long from = next.containsKey(queue) ? next.get(queue) : cluster.reader.minOffset(queue);
        while (true) {
            PullResult result = cluster.reader.pull(queue, "*", from, 32, 10_000);
            switch (result.getPullStatus()) {
                case FOUND -> into.addAll(result.getMsgFoundList());
                case NO_MATCHED_MSG, OFFSET_ILLEGAL -> { }
                default -> {
                    next.put(queue, from);
                    return;
                }
            }
            Check.that(result.getNextBeginOffset() != from, "pull of %s at %d moves on after %s", queue, from, result);
            from = result.getNextBeginOffset();
        }
    }

    static <T> ConcurrentLinkedQueue<T> concurrentList() {
        return new ConcurrentLinkedQueue<>();
    }

    /** The texts of what came, sorted, so that two of them compare as multisets. */
    static <M extends Message> List<String> texts(Collection<M> messages) {
        return sorted(messages, World::text);
    }

    static <M> List<String> sorted(Collection<M> messages, Function<M, String> by) {
        List<String> texts = new ArrayList<>();
        for (M message : messages) {
            texts.add(by.apply(message));
        }
        texts.sort(Comparator.naturalOrder());
        return texts;
    }

    static List<String> sortedTexts(List<String> texts) {
        List<String> copy = new ArrayList<>(texts);
        copy.sort(Comparator.naturalOrder());
        return copy;
    }

    /** Waits until at least as many messages came as sent, a little longer for any too many, then compares as multisets. */
    static void awaitExactly(Collection<MessageExt> got, List<String> expected, String what) throws Exception {
        Check.eventually(30_000, () -> what + ": " + expected.size() + " messages, got " + got.size(),
            () -> got.size() >= expected.size());
        Thread.sleep(300);
        List<String> seen = texts(got);
        Check.equal(expected.size(), seen.size(), what + ": number of messages");
        Check.equal(sortedTexts(expected), seen, what);
    }
}
