package ringmq.interop;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/**
 * What a broker holds when it is moved, of every kind: {@code Moving write|read|count --namesrv HOST:PORT}. {@code write} sends and consumes
 * a part, and ends; {@code read}, against the broker that has it then, goes on and prints {@code RESULT name=count ..}; {@code count} counts and
 * sends one more.
 */
public final class Moving {
    private static final String[] TOPICS = {"mv_normal", "mv_batch", "mv_delay", "mv_trans", "mv_retry"};
    private static final int QUEUES = 4;
    private static final int NORMAL = 400;
    private static final int TRANSACTIONS = 10;
    /** Level 1 is a second, level 5 a minute. */
    private static final int SOON = 1;
    private static final int LATER = 5;

    private final World.Cluster cluster;
    private final World world;

    private Moving(World.Cluster cluster, World world) {
        this.cluster = cluster;
        this.world = world;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 1; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        try (World.Cluster cluster = new World.Cluster(options.get("namesrv")); World world = new World(cluster, "moving")) {
            Moving moving = new Moving(cluster, world);
            switch (arguments[0]) {
                case "write" -> moving.write();
                case "read" -> moving.read();
                default -> moving.count();
            }
        }
        System.exit(0);
    }

    // ---- before

    private void write() throws Exception {
        for (String topic : TOPICS) {
            cluster.admin.createAndUpdateTopicConfig(world.brokerAddr(), new TopicConfig(topic, QUEUES, QUEUES, 6));
            world.awaitRoute(topic);
        }
        for (String group : new String[] {"mv_half", "mv_all", "mv_retry_group"}) {
            SubscriptionGroupConfig config = new SubscriptionGroupConfig();
            config.setGroupName(group);
            cluster.admin.createAndUpdateSubscriptionGroupConfig(world.brokerAddr(), config);
        }
        DefaultMQProducer producer = new DefaultMQProducer("mv_producer");
        producer.setNamesrvAddr(cluster.namesrv);
        producer.start();
        for (int i = 0; i < NORMAL; i++) {
            producer.send(new Message("mv_normal", "tag" + i % 3, "key" + i, World.bytes("normal " + i)), world.queue("mv_normal", i % QUEUES));
        }
        for (int batch = 0; batch < 5; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                messages.add(new Message("mv_batch", World.bytes("batch " + batch + " " + i)));
            }
            producer.send(messages);
        }
        for (int level : new int[] {SOON, LATER}) {
            for (int i = 0; i < 5; i++) {
                Message message = new Message("mv_delay", World.bytes("level " + level + " " + i));
                message.setDelayTimeLevel(level);
                producer.send(message);
            }
        }
        for (int i = 0; i < 5; i++) {
            producer.send(new Message("mv_retry", World.bytes("retry " + i)));
        }
        producer.shutdown();
        transactions();
        for (int queue = 0; queue < QUEUES; queue++) {
            cluster.admin.updateConsumeOffset(world.brokerAddr(), "mv_half", world.queue("mv_normal", queue), NORMAL / QUEUES / 2);
            cluster.admin.updateConsumeOffset(world.brokerAddr(), "mv_all", world.queue("mv_normal", queue), NORMAL / QUEUES);
        }
        failOnce();
        System.out.println("WRITTEN");
    }

    /** As many are committed as rolled back and left open. */
    private void transactions() throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer("mv_transactions");
        producer.setNamesrvAddr(cluster.namesrv);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return (LocalTransactionState) argument;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.UNKNOW;
            }
        });
        producer.start();
        for (LocalTransactionState end : LocalTransactionState.values()) {
            for (int i = 0; i < TRANSACTIONS; i++) {
                producer.sendMessageInTransaction(new Message("mv_trans", World.bytes(end + " " + i)), end);
            }
        }
        // The last ends go oneway.
        Check.eventually(20_000, () -> "the committed messages", () -> all("mv_trans").size() == TRANSACTIONS);
        producer.shutdown();
    }

    /** A group gives all messages back once. */
    private void failOnce() throws Exception {
        AtomicInteger given = new AtomicInteger();
        DefaultMQPushConsumer consumer = push("mv_retry_group", "mv_retry", message -> {
            given.incrementAndGet();
            return false;
        });
        Check.eventually(20_000, () -> "five messages given back", () -> given.get() >= 5);
        Thread.sleep(1_500);
        consumer.shutdown();
    }

    // ---- after

    private void read() throws Exception {
        ConcurrentLinkedQueue<MessageExt> half = new ConcurrentLinkedQueue<>();
        ConcurrentLinkedQueue<MessageExt> done = new ConcurrentLinkedQueue<>();
        ConcurrentLinkedQueue<MessageExt> retried = new ConcurrentLinkedQueue<>();
        List<DefaultMQPushConsumer> consumers = List.of(
            push("mv_half", "mv_normal", half::add),
            push("mv_all", "mv_normal", done::add),
            push("mv_retry_group", "mv_retry", retried::add));
        Check.eventually(30_000, () -> half.size() + " of the second half of the messages", () -> half.size() >= NORMAL / 2);
        Check.eventually(90_000, () -> "ten delayed messages", () -> all("mv_delay").size() >= 10);
        Check.eventually(90_000, () -> retried.size() + " retried messages", () -> retried.size() >= 5);
        // What comes too often comes a little later.
        Thread.sleep(2_000);
        consumers.forEach(DefaultMQPushConsumer::shutdown);
        Set<String> rightHalf = new HashSet<>();
        for (MessageExt message : half) {
            int number = Integer.parseInt(text(message).split(" ")[1]);
            if (number / QUEUES == message.getQueueOffset() && message.getQueueOffset() >= NORMAL / QUEUES / 2 && number % QUEUES == message.getQueueId()) {
                rightHalf.add(message.getMsgId());
            }
        }
        long waited = all("mv_delay").stream()
            .filter(m -> text(m).startsWith("level " + LATER))
            .filter(m -> m.getStoreTimestamp() - m.getBornTimestamp() >= 60_000)
            .count();
        long committed = all("mv_trans").stream().filter(m -> text(m).startsWith("COMMIT")).count();
        long again = retried.stream().filter(m -> m.getReconsumeTimes() > 0).count();
        long byKey = cluster.admin.queryMessage("mv_normal", "key7", 10, 0, System.currentTimeMillis()).getMessageList().size();
        System.out.printf(
            "RESULT half=%d right_half=%d all=%d batch=%d committed=%d transactions=%d delayed=%d not_early=%d retried=%d again=%d by_key=%d normal=%d%n",
            half.size(), rightHalf.size(), done.size(), all("mv_batch").size(), committed, all("mv_trans").size(), all("mv_delay").size(), waited,
            retried.size(), again, byKey, all("mv_normal").size());
    }

    /** How many messages there are, where groups stand, and where the next message goes. */
    private void count() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("mv_producer");
        producer.setNamesrvAddr(cluster.namesrv);
        producer.start();
        long next = producer.send(new Message("mv_normal", World.bytes("one more")), world.queue("mv_normal", 1)).getQueueOffset();
        producer.shutdown();
        long lag = cluster.admin.examineConsumeStats("mv_half").getOffsetTable().values().stream()
            .mapToLong(o -> o.getBrokerOffset() - o.getConsumerOffset()).sum();
        System.out.printf("RESULT normal=%d batch=%d transactions=%d delayed=%d next=%d lag=%d%n",
            all("mv_normal").size(), all("mv_batch").size(), all("mv_trans").size(), all("mv_delay").size(), next, lag);
    }

    // ---- both

    private static String text(MessageExt message) {
        return new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8);
    }

    private DefaultMQPushConsumer push(String group, String topic, Function<MessageExt, Boolean> take) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(cluster.namesrv);
        consumer.setInstanceName(group + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            boolean well = true;
            for (MessageExt message : messages) {
                well &= take.apply(message);
            }
            return well ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        return consumer;
    }

    /** Every message of a topic. */
    private List<MessageExt> all(String topic) throws Exception {
        DefaultMQPullConsumer reader = cluster.reader;
        List<MessageExt> found = new ArrayList<>();
        for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
            long from = reader.minOffset(queue);
            while (true) {
                PullResult result = reader.pull(queue, "*", from, 32, 10_000);
                if (result.getPullStatus() != PullStatus.FOUND) {
                    break;
                }
                found.addAll(result.getMsgFoundList());
                from = result.getNextBeginOffset();
            }
        }
        return found;
    }
}
