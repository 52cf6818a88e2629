package ringmq.interop;

import static ringmq.interop.World.bytes;
import static ringmq.interop.World.sent;
import static ringmq.interop.World.text;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that come back: failed consumption, the dead letter queue, delay levels. */
final class Retrying {
    private Retrying() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("retry_grows", Retrying::grows),
            Scenario.of("retry_then_dead_letter", Retrying::deadLetter),
            Scenario.of("retry_straight_to_dead_letter", Retrying::straightToDeadLetter),
            Scenario.of("retry_two_groups_apart", Retrying::twoGroups),
            Scenario.of("retry_topic_send", Retrying::sendToRetryTopic),
            Scenario.of("delay_level_1", w -> delayed(w, 1, 1_000)),
            Scenario.of("delay_level_2", w -> delayed(w, 2, 5_000)),
            Scenario.of("delay_record_fields", Retrying::delayedRecordFields));
    }

    /** A consumer that fails each message its first {@code failures} times, asking for the next try with {@code delayLevel}. */
    private static DefaultMQPushConsumer failing(World w, String group, String topic, int failures, int delayLevel, ConcurrentLinkedQueue<MessageExt> seen)
        throws Exception {
        w.knownGroup(group, topic);
        DefaultMQPushConsumer consumer = w.pushConsumer(group, seen);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            seen.addAll(messages);
            context.setDelayLevelWhenNextConsume(delayLevel);
            boolean fail = messages.get(0).getReconsumeTimes() < failures;
            return fail ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.subscribe(topic, "*");
        return consumer;
    }

    private static void grows(World w) throws Exception {
        String topic = w.topic(1);
        ConcurrentLinkedQueue<MessageExt> seen = World.concurrentList();
        failing(w, w.name("g"), topic, 2, 1, seen).start();
        SendResult result = sent(w.producer().send(new Message(topic, "tag", "key", bytes("again"))));
        Check.eventually(15_000, () -> "3 deliveries, got " + seen.size(), () -> seen.size() == 3);
        Thread.sleep(1_500);
        List<MessageExt> all = new ArrayList<>(seen);
        Check.equal(3, all.size(), "deliveries");
        for (int i = 0; i < 3; i++) {
            MessageExt message = all.get(i);
            Check.equal(i, message.getReconsumeTimes(), "reconsume times");
            Check.equal("again", text(message), "body");
            Check.equal("tag", message.getTags(), "tag");
            Check.equal("key", message.getKeys(), "key");
            Check.equal(topic, message.getTopic(), "topic as the listener sees it");
            Check.equal(result.getMsgId(), message.getMsgId(), "message id stays");
        }
        Check.equal(result.getOffsetMsgId(), all.get(2).getProperty("ORIGIN_MESSAGE_ID"), "ORIGIN_MESSAGE_ID");
        Check.equal(topic, all.get(2).getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
    }

    private static void deadLetter(World w) throws Exception {
        String topic = w.topic(1);
        String group = w.name("g");
        ConcurrentLinkedQueue<MessageExt> seen = World.concurrentList();
        DefaultMQPushConsumer consumer = failing(w, group, topic, Integer.MAX_VALUE, 1, seen);
        consumer.setMaxReconsumeTimes(2);
        consumer.start();
        SendResult result = sent(w.producer().send(new Message(topic, "tag", "key", bytes("hopeless"))));
        w.awaitRouteWithin("%DLQ%" + group, 20_000);
        MessageExt dead = w.readAll("%DLQ%" + group, 1).get(0);
        Check.equal(List.of(0, 1, 2), seen.stream().map(MessageExt::getReconsumeTimes).toList(), "reconsume times of the deliveries");
        Check.equal("hopeless", text(dead), "body");
        Check.equal("tag", dead.getTags(), "tag");
        Check.equal("key", dead.getKeys(), "key");
        Check.equal(3, dead.getReconsumeTimes(), "reconsume times");
        Check.equal(topic, dead.getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
        Check.equal(result.getOffsetMsgId(), dead.getProperty("ORIGIN_MESSAGE_ID"), "ORIGIN_MESSAGE_ID");
        Check.equal(result.getMsgId(), dead.getMsgId(), "message id");
    }

    private static void straightToDeadLetter(World w) throws Exception {
        String topic = w.topic(1);
        String group = w.name("g");
        ConcurrentLinkedQueue<MessageExt> seen = World.concurrentList();
        failing(w, group, topic, Integer.MAX_VALUE, -1, seen).start();
        sent(w.producer().send(new Message(topic, bytes("not again"))));
        w.awaitRouteWithin("%DLQ%" + group, 15_000);
        Check.equal(List.of("not again"), World.texts(w.readAll("%DLQ%" + group, 1)), "dead letters");
        Check.equal(1, seen.size(), "deliveries");
    }

    /** What one group fails, another that consumed it does not see again. */
    private static void twoGroups(World w) throws Exception {
        String topic = w.topic(1);
        ConcurrentLinkedQueue<MessageExt> fails = World.concurrentList();
        ConcurrentLinkedQueue<MessageExt> works = World.concurrentList();
        failing(w, w.name("g1"), topic, 1, 1, fails).start();
        failing(w, w.name("g2"), topic, 0, 1, works).start();
        World.sendNumbered(w.producer(), topic, "m", 10);
        Check.eventually(20_000, () -> "20 deliveries, got " + fails.size(), () -> fails.size() == 20);
        World.awaitExactly(works, World.numbered("m", 10), "deliveries to the group that works");
    }

    /** The retry topic of a group takes an ordinary send; the group gets the message. */
    private static void sendToRetryTopic(World w) throws Exception {
        String topic = w.topic(1);
        String group = w.name("g");
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        failing(w, group, topic, 0, 1, got).start();
        sent(w.producer().send(new Message("%RETRY%" + group, bytes("direct"))));
        Check.eventually(15_000, () -> "1 message, got " + got.size(), () -> got.size() == 1);
        Check.equal("direct", text(got.peek()), "body");
    }

    private static void delayed(World w, int level, long delayMs) throws Exception {
        String topic = w.topic(1);
        Map<String, Long> sentAt = new ConcurrentHashMap<>();
        List<Long> took = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), World.concurrentList());
        CountDownLatch ready = new CountDownLatch(1);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            long now = System.currentTimeMillis();
            for (MessageExt message : messages) {
                if (text(message).equals("ready")) {
                    ready.countDown();
                } else {
                    took.add(now - sentAt.get(text(message)));
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        DefaultMQProducer producer = w.producer();
        sent(producer.send(new Message(topic, bytes("ready"))));
        Check.that(ready.await(10, TimeUnit.SECONDS), "the consumer gets nothing");
        for (int i = 0; i < 10; i++) {
            Message message = new Message(topic, bytes("d" + i));
            message.setDelayTimeLevel(level);
            sentAt.put("d" + i, System.currentTimeMillis());
            sent(producer.send(message));
            Thread.sleep(50);
        }
        Check.eventually(delayMs + 8_000, () -> "10 messages, got " + took.size(), () -> took.size() == 10);
        for (long ms : took) {
            Check.between(delayMs - 5, delayMs + 1_000, ms, "delay of level " + level + " in ms");
        }
    }

    /** The delivered record has a new store time and offset id; its message id and born time stay; DELAY, REAL_TOPIC and REAL_QID stay in its properties. */
    private static void delayedRecordFields(World w) throws Exception {
        String topic = w.topic(2);
        Message message = new Message(topic, "tag", "key", bytes("later"));
        message.setDelayTimeLevel(1);
        SendResult result = sent(w.producer().send(message, w.queue(topic, 1)));
        Check.equal(topic, result.getMessageQueue().getTopic(), "topic of the reply");
        MessageExt got = w.readAll(topic, 1).get(0);
        Check.equal(result.getMsgId(), got.getMsgId(), "message id");
        Check.equal(1, got.getQueueId(), "queue");
        Check.equal(0L, got.getQueueOffset(), "queue offset");
        Check.equal("tag", got.getTags(), "tag");
        Check.equal("key", got.getKeys(), "key");
        Check.between(995, 2_500, got.getStoreTimestamp() - got.getBornTimestamp(), "stored after born, ms");
        Check.equal("1", got.getProperty("DELAY"), "DELAY");
        Check.equal(topic, got.getProperty("REAL_TOPIC"), "REAL_TOPIC");
        Check.equal("1", got.getProperty("REAL_QID"), "REAL_QID");
        Check.that(w.cluster.admin.queryMessage(topic, "key", 10, 0, Long.MAX_VALUE).getMessageList().size() == 1, "found by key once");
    }
}
