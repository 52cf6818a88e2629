package ringmq.interop;

import static ringmq.interop.World.awaitExactly;
import static ringmq.interop.World.bytes;
import static ringmq.interop.World.numbered;
import static ringmq.interop.World.sendNumbered;
import static ringmq.interop.World.sent;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** Push consumers: clustering, broadcast, rebalancing, filters, where a new group begins, and how soon a message arrives. */
final class Consuming {
    private Consuming() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("push_clustering", Consuming::clustering),
            Scenario.of("push_batches", Consuming::batches),
            Scenario.of("push_broadcast", Consuming::broadcast),
            Scenario.of("push_rebalance", Consuming::rebalance),
            Scenario.of("push_tag_filter", Consuming::tagFilter),
            Scenario.of("push_tag_hash_collision", Consuming::tagHashCollision),
            Scenario.of("push_two_topics", Consuming::twoTopics),
            Scenario.of("push_from_first", Consuming::fromFirst),
            Scenario.of("push_from_last", Consuming::fromLast),
            Scenario.of("push_from_timestamp", Consuming::fromTimestamp),
            Scenario.of("push_young_topic_starts_at_0", Consuming::youngTopic),
            Scenario.of("push_restart_continues", Consuming::restartContinues),
            Scenario.of("push_large_bodies", Consuming::largeBodies),
            Scenario.of("push_heartbeat_v2", Consuming::heartbeatV2),
            Scenario.of("push_vip_channel", Consuming::vipChannel),
            Scenario.alone("push_long_polling_latency", Consuming::longPollingLatency));
    }

    private static DefaultMQPushConsumer started(World w, String group, String topic, String tags, ConcurrentLinkedQueue<MessageExt> into)
        throws Exception {
        DefaultMQPushConsumer consumer = w.pushConsumer(group, into);
        consumer.subscribe(topic, tags);
        consumer.start();
        return consumer;
    }

    private static void clustering(World w) throws Exception {
        String topic = w.topic(8);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "m", 200);
        ConcurrentLinkedQueue<MessageExt> first = World.concurrentList();
        ConcurrentLinkedQueue<MessageExt> second = World.concurrentList();
        started(w, w.name("g1"), topic, "*", first);
        started(w, w.name("g2"), topic, "*", second);
        for (int i = 200; i < 400; i++) {
            sent(producer.send(new Message(topic, bytes("m" + i))));
        }
        awaitExactly(first, numbered("m", 400), "group 1");
        awaitExactly(second, numbered("m", 400), "group 2");
    }

    private static void batches(World w) throws Exception {
        String topic = w.topic(2);
        sendNumbered(w.producer(), topic, "m", 100);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        ConcurrentLinkedQueue<Integer> sizes = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), got);
        consumer.setConsumeMessageBatchMaxSize(10);
        consumer.setPullBatchSize(64);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            sizes.add(messages.size());
            got.addAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        awaitExactly(got, numbered("m", 100), "messages");
        Check.that(sizes.stream().anyMatch(s -> s > 1), "several messages a call: %s", sizes);
    }

    private static void broadcast(World w) throws Exception {
        String topic = w.topic(4);
        String group = w.name("g");
        List<ConcurrentLinkedQueue<MessageExt>> got = List.of(World.concurrentList(), World.concurrentList());
        for (ConcurrentLinkedQueue<MessageExt> into : got) {
            DefaultMQPushConsumer consumer = w.pushConsumer(group, into);
            consumer.setMessageModel(MessageModel.BROADCASTING);
            consumer.subscribe(topic, "*");
            consumer.start();
        }
        sendNumbered(w.producer(), topic, "m", 100);
        awaitExactly(got.get(0), numbered("m", 100), "consumer 1");
        awaitExactly(got.get(1), numbered("m", 100), "consumer 2");
    }

    private static Set<MessageQueue> held(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> held = new HashSet<>();
        consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().forEach((queue, process) -> {
            if (queue.getTopic().equals(topic) && !process.isDropped()) {
                held.add(queue);
            }
        });
        return held;
    }

    /**
     * A joining and a leaving consumer move half of the queues at once, since the broker tells the others; a client
     * that only asks every 20 s would not make the limit. Nothing is lost, and nothing comes thrice.
     */
    private static void rebalance(World w) throws Exception {
        String topic = w.topic(8);
        String group = w.name("g");
        DefaultMQProducer producer = w.producer();
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        DefaultMQPushConsumer a = started(w, group, topic, "*", got);
        Check.eventually(5_000, () -> "A alone holds 8 queues, holds " + held(a, topic).size(), () -> held(a, topic).size() == 8);
        sendNumbered(producer, topic, "1-", 80);
        DefaultMQPushConsumer b = w.pushConsumer(group, got);
        b.setHeartbeatBrokerInterval(World.RARE_HEARTBEATS);
        b.subscribe(topic, "*");
        b.start();
        Check.eventually(12_000, () -> "A and B hold 4 queues each, hold " + held(a, topic).size() + " and " + held(b, topic).size(),
            () -> held(a, topic).size() == 4 && held(b, topic).size() == 4);
        Set<MessageQueue> both = held(a, topic);
        both.addAll(held(b, topic));
        Check.equal(8, both.size(), "queues held by A and B together");
        sendNumbered(producer, topic, "2-", 80);
        b.shutdown();
        Check.eventually(12_000, () -> "A holds all 8 queues again, holds " + held(a, topic).size(), () -> held(a, topic).size() == 8);
        sendNumbered(producer, topic, "3-", 80);
        Set<String> expected = new HashSet<>(numbered("1-", 80));
        expected.addAll(numbered("2-", 80));
        expected.addAll(numbered("3-", 80));
        Check.eventually(15_000, () -> "all 240 messages, got " + new HashSet<>(World.texts(got)).size(),
            () -> new HashSet<>(World.texts(got)).equals(expected));
        Check.that(got.size() <= 2 * expected.size(), "%d deliveries of 240 messages", got.size());
    }

    private static void tagFilter(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        ConcurrentLinkedQueue<MessageExt> red = World.concurrentList();
        ConcurrentLinkedQueue<MessageExt> redOrBlue = World.concurrentList();
        started(w, w.name("g1"), topic, "red", red);
        started(w, w.name("g2"), topic, "red || blue", redOrBlue);
        String[] tags = {"red", "green", "blue", null};
        for (int i = 0; i < 80; i++) {
            Message message = new Message(topic, bytes(tags[i % 4] + (i / 4)));
            message.setTags(tags[i % 4]);
            sent(producer.send(message));
        }
        List<String> expected = new ArrayList<>(numbered("red", 20));
        awaitExactly(red, expected, "red");
        expected.addAll(numbered("blue", 20));
        awaitExactly(redOrBlue, expected, "red || blue");
    }

    /** "AaAa" and "BBBB" have the same Java hash: the broker lets both through, the client takes its own. */
    private static void tagHashCollision(World w) throws Exception {
        Check.equal("AaAa".hashCode(), "BBBB".hashCode(), "hash codes");
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        started(w, w.name("g"), topic, "AaAa", got);
        for (int i = 0; i < 20; i++) {
            sent(producer.send(new Message(topic, "BBBB", bytes("wrong" + i))));
            sent(producer.send(new Message(topic, "AaAa", bytes("right" + i))));
        }
        awaitExactly(got, numbered("right", 20), "AaAa");
    }

    private static void twoTopics(World w) throws Exception {
        String one = w.topic("one", 2);
        String two = w.topic("two", 2);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), got);
        consumer.subscribe(one, "*");
        consumer.start();
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, one, "one", 20);
        consumer.subscribe(two, "*");
        sendNumbered(producer, two, "two", 20);
        List<String> expected = new ArrayList<>(numbered("one", 20));
        expected.addAll(numbered("two", 20));
        awaitExactly(got, expected, "both topics");
    }

    private static void fromFirst(World w) throws Exception {
        String topic = w.topic(2);
        sendNumbered(w.producer(), topic, "m", 20);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        started(w, w.name("g"), topic, "*", got);
        awaitExactly(got, numbered("m", 20), "from the first");
    }

    /** A broadcasting consumer keeps its own offsets, so where it begins is up to it and the broker's offset queries. */
    private static void fromWhere(World w, String topic, ConsumeFromWhere where, String timestamp, ConcurrentLinkedQueue<MessageExt> got)
        throws Exception {
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), got);
        consumer.setMessageModel(MessageModel.BROADCASTING);
        consumer.setConsumeFromWhere(where);
        if (timestamp != null) {
            consumer.setConsumeTimestamp(timestamp);
        }
        consumer.subscribe(topic, "*");
        consumer.start();
        int queues = w.cluster.reader.fetchSubscribeMessageQueues(topic).size();
        Check.eventually(5_000, () -> "all queues are held", () -> held(consumer, topic).size() == queues);
        // A queue is held a moment before its first pull has fixed the offset.
        Thread.sleep(500);
    }

    private static void fromLast(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "old", 20);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        fromWhere(w, topic, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, null, got);
        sendNumbered(producer, topic, "new", 20);
        awaitExactly(got, numbered("new", 20), "from the last");
    }

    private static void fromTimestamp(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "old", 20);
        // The client gives the time in whole seconds.
        Thread.sleep(2_100);
        String now = UtilAll.timeMillisToHumanString3(System.currentTimeMillis());
        sendNumbered(producer, topic, "new", 20);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        fromWhere(w, topic, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, now, got);
        awaitExactly(got, numbered("new", 20), "from " + now);
    }

    /** A new clustering group on a topic that still has its offset 0 begins there, whatever it asked for. */
    private static void youngTopic(World w) throws Exception {
        String topic = w.topic(2);
        sendNumbered(w.producer(), topic, "old", 20);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), got);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        awaitExactly(got, numbered("old", 20), "from 0 despite CONSUME_FROM_LAST_OFFSET");
    }

    private static void restartContinues(World w) throws Exception {
        String topic = w.topic(4);
        String group = w.name("g");
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "first", 40);
        ConcurrentLinkedQueue<MessageExt> before = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(group, before);
        consumer.setHeartbeatBrokerInterval(World.RARE_HEARTBEATS);
        consumer.subscribe(topic, "*");
        consumer.start();
        Check.eventually(10_000, () -> "4 queues are held", () -> held(consumer, topic).size() == 4);
        Thread.sleep(500);
        // In case the heartbeat after the rebalance was skipped.
        Check.eventually(5_000, () -> "a heartbeat", () -> consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock());
        awaitExactly(before, numbered("first", 40), "before the restart");
        consumer.shutdown();
        sendNumbered(producer, topic, "second", 40);
        ConcurrentLinkedQueue<MessageExt> after = World.concurrentList();
        started(w, group, topic, "*", after);
        awaitExactly(after, numbered("second", 40), "after the restart");
    }

    private static void largeBodies(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 12; i++) {
            sent(producer.send(new Message(topic, World.noise(1024 * 1024, i))));
        }
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        started(w, w.name("g"), topic, "*", got);
        Check.eventually(20_000, () -> "12 messages of 1 MiB, got " + got.size(), () -> got.size() >= 12);
        Check.equal(12, got.size(), "messages");
        for (MessageExt message : got) {
            Check.that(java.util.Arrays.equals(World.noise(1024 * 1024, message.getQueueOffset()), message.getBody()), "body %d differs", message.getQueueOffset());
        }
    }

    private static void heartbeatV2(World w) throws Exception {
        String topic = w.topic(4);
        String group = w.name("g");
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = w.pushConsumer(group, got);
            consumer.setUseHeartbeatV2(true);
            consumer.subscribe(topic, "*");
            consumer.start();
            consumers.add(consumer);
        }
        Check.eventually(12_000, () -> "2 queues each, " + held(consumers.get(0), topic).size() + " and " + held(consumers.get(1), topic).size(),
            () -> consumers.stream().allMatch(c -> held(c, topic).size() == 2));
        // The rebalance changes the version of the subscription a moment after it has taken the queues.
        Thread.sleep(1_000);
        for (DefaultMQPushConsumer consumer : consumers) {
            // When the heartbeat of the rebalance meets another one it is skipped, and with version 2 never made up for:
            // the later ones carry the fingerprint only, and the broker calls the subscription outdated for good.
            Check.eventually(5_000, () -> "a full heartbeat", () -> consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLockV2(true));
        }
        DefaultMQProducer producer = w.producer(p -> p.setUseHeartbeatV2(true));
        sendNumbered(producer, topic, "m", 40);
        // Two fingerprint-only heartbeats later everything still works.
        Thread.sleep(2_200);
        sendNumbered(producer, topic, "n", 40);
        List<String> expected = new ArrayList<>(numbered("m", 40));
        expected.addAll(numbered("n", 40));
        awaitExactly(got, expected, "messages");
        var connections = w.cluster.admin.examineConsumerConnectionInfo(group);
        Check.equal(2, connections.getConnectionSet().size(), "connections of the group after several heartbeats");
        Check.that(connections.getSubscriptionTable().containsKey(topic), "subscription of %s: %s", topic, connections.getSubscriptionTable().keySet());
    }

    private static void vipChannel(World w) throws Exception {
        String topic = w.topic(2);
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), got);
        consumer.setVipChannelEnabled(true);
        consumer.subscribe(topic, "*");
        consumer.start();
        sendNumbered(w.producer(p -> p.setVipChannelEnabled(true)), topic, "m", 20);
        awaitExactly(got, numbered("m", 20), "messages");
    }

    /** A message wakes the pull that waits for it: it comes promptly, not at the next sweep or pull. */
    private static void longPollingLatency(World w) throws Exception {
        String topic = w.topic(1);
        ConcurrentLinkedQueue<Long> latencies = World.concurrentList();
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), World.concurrentList());
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            long now = System.currentTimeMillis();
            messages.forEach(m -> latencies.add(now - m.getBornTimestamp()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        Check.eventually(5_000, () -> "the queue is held", () -> held(consumer, topic).size() == 1);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "warm", 5);
        Check.eventually(5_000, () -> "warm-up", () -> latencies.size() == 5);
        latencies.clear();
        for (int i = 0; i < 20; i++) {
            Thread.sleep(100);
            sent(producer.send(new Message(topic, bytes("m" + i))));
        }
        Check.eventually(5_000, () -> "20 messages, got " + latencies.size(), () -> latencies.size() == 20);
        Check.prompt(new ArrayList<>(latencies));
    }
}
