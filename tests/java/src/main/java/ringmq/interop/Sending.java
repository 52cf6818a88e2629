package ringmq.interop;

import static ringmq.interop.World.bytes;
import static ringmq.interop.World.noise;
import static ringmq.interop.World.numbered;
import static ringmq.interop.World.sent;
import static ringmq.interop.World.sortedTexts;
import static ringmq.interop.World.text;
import static ringmq.interop.World.texts;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.protocol.ResponseCode;

/** What producers do and what the topic then holds. */
final class Sending {
    private static final int LIMIT = 4 * 1024 * 1024;

    private Sending() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("send_sync", Sending::sync),
            Scenario.of("send_async", Sending::async),
            Scenario.of("send_oneway", Sending::oneway),
            Scenario.of("send_batch", Sending::batch),
            Scenario.of("send_batch_large", Sending::largeBatch),
            Scenario.of("send_keys_tags_properties", Sending::keysTagsProperties),
            Scenario.of("send_properties_over_limit", Sending::propertiesOverLimit),
            Scenario.of("send_compressed", Sending::compressed),
            Scenario.of("send_body_sizes", Sending::bodySizes),
            Scenario.of("send_body_over_limit", Sending::bodyOverLimit),
            Scenario.of("send_queue_selector", Sending::queueSelector),
            Scenario.of("send_fixed_queue", Sending::fixedQueue),
            Scenario.of("send_topic_auto_create", Sending::topicAutoCreate),
            Scenario.of("send_many_threads", Sending::manyThreads),
            Scenario.of("send_trace", Sending::trace),
            Scenario.of("send_vip_channel", Sending::vipChannel),
            Scenario.of("send_record_fields", Sending::recordFields));
    }

    /** Reply fields: unique ids, an offset id that names the broker and the record, and per queue offsets 0, 1, 2, ... */
    private static void sync(World w) throws Exception {
        String topic = w.topic(4);
        DefaultMQProducer producer = w.producer();
        Map<Integer, List<Long>> offsets = new TreeMap<>();
        Set<String> ids = new HashSet<>();
        Map<String, Long> physical = new TreeMap<>();
        for (int i = 0; i < 40; i++) {
            SendResult result = sent(producer.send(new Message(topic, bytes("s" + i))));
            ids.add(result.getMsgId());
            Check.equal(topic, result.getMessageQueue().getTopic(), "topic of the reply");
            Check.equal(w.brokerName(), result.getMessageQueue().getBrokerName(), "broker of the reply");
            offsets.computeIfAbsent(result.getMessageQueue().getQueueId(), q -> new ArrayList<>()).add(result.getQueueOffset());
            MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
            Check.that(w.brokerAddr().endsWith(":" + ((java.net.InetSocketAddress) id.getAddress()).getPort()),
                "offset id %s names %s, the broker is %s", result.getOffsetMsgId(), id.getAddress(), w.brokerAddr());
            physical.put("s" + i, id.getOffset());
            Check.that(result.isTraceOn(), "TRACE_ON is not false");
        }
        Check.equal(40, ids.size(), "distinct message ids");
        Check.equal(Set.of(0, 1, 2, 3), offsets.keySet(), "queues used");
        offsets.forEach((queue, seen) -> Check.equal(counted(seen.size()), seen, "offsets of queue " + queue));
        for (MessageExt message : w.readAll(topic, 40)) {
            Check.equal(physical.get(text(message)), message.getCommitLogOffset(), "physical offset of " + text(message));
        }
    }

    private static List<Long> counted(int count) {
        List<Long> numbers = new ArrayList<>();
        for (long i = 0; i < count; i++) {
            numbers.add(i);
        }
        return numbers;
    }

    private static void async(World w) throws Exception {
        String topic = w.topic(4);
        DefaultMQProducer producer = w.producer();
        CountDownLatch left = new CountDownLatch(200);
        ConcurrentLinkedQueue<String> wrong = World.concurrentList();
        for (int i = 0; i < 200; i++) {
            producer.send(new Message(topic, bytes("a" + i)), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    if (!World.isUniqueKey(result.getMsgId())) {
                        wrong.add("message id " + result.getMsgId());
                    }
                    left.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    wrong.add(e.toString());
                    left.countDown();
                }
            });
        }
        Check.that(left.await(20, TimeUnit.SECONDS), "%d callbacks missing", left.getCount());
        Check.that(wrong.isEmpty(), "failed: %s", wrong);
        Check.equal(sortedTexts(numbered("a", 200)), texts(w.readAll(topic, 200)), "messages");
    }

    private static void oneway(World w) throws Exception {
        String topic = w.topic(4);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 100; i++) {
            producer.sendOneway(new Message(topic, bytes("o" + i)));
        }
        Check.equal(sortedTexts(numbered("o", 100)), texts(w.readAll(topic, 100)), "messages");
        sent(producer.send(new Message(topic, bytes("the same connection still answers"))));
    }

    /** A batch lies in one queue in its order; ids come comma-joined, one a message. */
    private static void batch(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Message message = new Message(topic, "tag" + i, "key" + i, bytes("b" + i));
            message.putUserProperty("n", "v" + i);
            batch.add(message);
        }
        SendResult result = sent(producer.send(batch));
        String[] ids = result.getMsgId().split(",");
        String[] offsetIds = result.getOffsetMsgId().split(",");
        Check.equal(10, ids.length, "message ids in " + result.getMsgId());
        Check.equal(10, offsetIds.length, "offset ids in " + result.getOffsetMsgId());
        Check.equal(0L, result.getQueueOffset(), "queue offset of the first");
        List<MessageExt> all = w.readAll(topic, 10);
        for (int i = 0; i < 10; i++) {
            MessageExt message = all.get(i);
            Check.equal("b" + i, text(message), "order");
            Check.equal((long) i, message.getQueueOffset(), "queue offset");
            Check.equal("tag" + i, message.getTags(), "tag");
            Check.equal("key" + i, message.getKeys(), "key");
            Check.equal("v" + i, message.getUserProperty("n"), "property");
            Check.equal(ids[i], message.getMsgId(), "message id");
            Check.equal(MessageDecoder.decodeMessageId(offsetIds[i]).getOffset(), message.getCommitLogOffset(), "physical offset");
            Check.equal(text(message), text(w.cluster.admin.viewMessage(topic, offsetIds[i])), "message by offset id");
        }
        Check.equal(10L, sent(producer.send(new Message(topic, bytes("after")), all.get(0).getQueueId() == 0
            ? w.queue(topic, 0) : w.queue(topic, 1))).getQueueOffset(), "offset after the batch");
    }

    private static void largeBatch(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 3000; i++) {
            batch.add(new Message(topic, noise(1024, i)));
        }
        SendResult result = sent(producer.send(batch));
        Check.equal(3000, result.getOffsetMsgId().split(",").length, "offset ids");
        List<MessageExt> all = w.readAll(topic, 3000);
        for (int i = 0; i < 3000; i++) {
            Check.that(Arrays.equals(noise(1024, i), all.get(i).getBody()), "body %d differs", i);
        }
    }

    private static void keysTagsProperties(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        Message message = new Message(topic, "Étiquette-标签", "鍵1 key2 🔑", bytes("ünïcödé 消息 🚀"));
        message.setFlag(0x1234);
        message.putUserProperty("名", "值 mit Leerzeichen = & | \" ' \\ {} [] : ,");
        message.putUserProperty("one", "-");
        message.putUserProperty("large", "x".repeat(30_000));
        message.setWaitStoreMsgOK(false);
        sent(producer.send(message));
        sent(producer.send(new Message(topic, bytes("bare"))));
        List<MessageExt> all = w.readAll(topic, 2);
        MessageExt got = all.get(0);
        Check.equal("ünïcödé 消息 🚀", text(got), "body");
        Check.equal("Étiquette-标签", got.getTags(), "tag");
        Check.equal("鍵1 key2 🔑", got.getKeys(), "keys");
        Check.equal(0x1234, got.getFlag(), "flag");
        Check.equal("值 mit Leerzeichen = & | \" ' \\ {} [] : ,", got.getUserProperty("名"), "property");
        Check.equal("-", got.getUserProperty("one"), "short property");
        Check.equal(30_000, got.getUserProperty("large").length(), "large property");
        Check.equal(null, all.get(1).getTags(), "tag of the bare one");
        Check.equal(null, all.get(1).getKeys(), "keys of the bare one");
    }

    private static void propertiesOverLimit(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        Message message = new Message(topic, bytes("p"));
        message.putUserProperty("large", "x".repeat(33_000));
        MQBrokerException refusal = Check.refused(MQBrokerException.class, "33,000 bytes of properties", () -> producer.send(message));
        Check.equal(ResponseCode.MESSAGE_ILLEGAL, refusal.getResponseCode(), "code of " + refusal.getErrorMessage());
        sent(producer.send(new Message(topic, bytes("the same connection still answers"))));
    }

    private static void compressed(World w) throws Exception {
        String topic = w.topic(1);
        String body = "compressible ".repeat(2000);
        for (CompressionType type : CompressionType.values()) {
            DefaultMQProducer producer = w.producer(p -> p.setCompressType(type));
            sent(producer.send(new Message(topic, bytes(type + body))));
        }
        List<MessageExt> all = w.readAll(topic, CompressionType.values().length);
        for (int i = 0; i < all.size(); i++) {
            MessageExt got = all.get(i);
            Check.equal(CompressionType.values()[i] + body, text(got), "body");
            // The client takes the "compressed" flag away when it decompresses; the type's bits and the stored size tell.
            Check.that(got.getStoreSize() < 2000, "stored compressed, takes %d bytes", got.getStoreSize());
            Check.equal(CompressionType.values()[i], MessageSysFlag.getCompressionType(got.getSysFlag()), "compression type");
        }
    }

    private static void bodySizes(World w) throws Exception {
        String topic = w.topic(1);
        // Noise grows a little when it is "compressed", which would take the largest one over the limit.
        DefaultMQProducer producer = w.producer(p -> p.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE));
        MQClientException empty = Check.refused(MQClientException.class, "an empty body", () -> producer.send(new Message(topic, new byte[0])));
        Check.equal(ResponseCode.MESSAGE_ILLEGAL, empty.getResponseCode(), "code for an empty body");
        int[] sizes = {1, 1024, 65_536, LIMIT};
        for (int size : sizes) {
            sent(producer.send(new Message(topic, noise(size, size))));
        }
        List<MessageExt> all = w.readAll(topic, sizes.length);
        for (int i = 0; i < sizes.length; i++) {
            Check.that(Arrays.equals(noise(sizes[i], sizes[i]), all.get(i).getBody()), "body of %d bytes differs", sizes[i]);
        }
    }

    private static void bodyOverLimit(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer(p -> {
            p.setMaxMessageSize(2 * LIMIT);
            p.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        });
        for (int size : new int[] {LIMIT + 1, LIMIT + 1024 * 1024}) {
            MQBrokerException refusal = Check.refused(MQBrokerException.class, size + " bytes", () -> producer.send(new Message(topic, noise(size, 1))));
            Check.equal(ResponseCode.MESSAGE_ILLEGAL, refusal.getResponseCode(), "code of " + refusal.getErrorMessage());
        }
        sent(producer.send(new Message(topic, bytes("the same connection still answers"))));
        Check.equal(List.of("the same connection still answers"), texts(w.readAll(topic, 1)), "what is stored");
    }

    private static void queueSelector(World w) throws Exception {
        String topic = w.topic(8);
        DefaultMQProducer producer = w.producer();
        Map<Integer, Integer> queueOf = new TreeMap<>();
        for (int i = 0; i < 80; i++) {
            int key = i % 16;
            SendResult result = sent(producer.send(new Message(topic, bytes(key + "/" + i)), new SelectMessageQueueByHash(), key));
            int queue = result.getMessageQueue().getQueueId();
            Check.equal(queueOf.computeIfAbsent(key, k -> queue), queue, "queue of key " + key);
        }
        for (MessageExt message : w.readAll(topic, 80)) {
            int key = Integer.parseInt(text(message).split("/")[0]);
            Check.equal(queueOf.get(key), message.getQueueId(), "queue of " + text(message));
        }
    }

    private static void fixedQueue(World w) throws Exception {
        String topic = w.topic(4);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 8; i++) {
            Check.equal(3, sent(producer.send(new Message(topic, bytes("f" + i)), w.queue(topic, 3))).getMessageQueue().getQueueId(), "queue");
        }
        MQBrokerException refusal = Check.refused(MQBrokerException.class, "queue 99 of 4", () -> producer.send(new Message(topic, bytes("x")), w.queue(topic, 99)));
        Check.equal(ResponseCode.INVALID_PARAMETER, refusal.getResponseCode(), "code of " + refusal.getErrorMessage());
        List<MessageExt> all = w.readAll(topic, 8);
        all.sort(Comparator.comparing(MessageExt::getQueueOffset));
        for (int i = 0; i < 8; i++) {
            Check.equal("f" + i, text(all.get(i)), "order in the queue");
            Check.equal(3, all.get(i).getQueueId(), "queue");
        }
    }

    private static void topicAutoCreate(World w) throws Exception {
        String topic = w.name("");
        DefaultMQProducer producer = w.producer(p -> p.setDefaultTopicQueueNums(3));
        World.sendNumbered(producer, topic, "n", 6);
        w.awaitRoute(topic);
        var queues = w.cluster.admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
        Check.equal(3, queues.getWriteQueueNums(), "write queues");
        Check.equal(3, queues.getReadQueueNums(), "read queues");
        Check.equal(6, queues.getPerm(), "permission");
        Check.equal(numbered("n", 6), texts(w.readAll(topic, 6)), "messages");
    }

    private static void manyThreads(World w) throws Exception {
        String topic = w.topic(8);
        int threads = 16;
        int each = 125;
        DefaultMQProducer[] producers = {w.producer(), w.producer()};
        ExecutorService pool = Executors.newFixedThreadPool(2 * threads);
        List<Future<?>> running = new ArrayList<>();
        List<String> expected = new ArrayList<>();
        for (int t = 0; t < 2 * threads; t++) {
            String prefix = "t" + t + "-";
            DefaultMQProducer producer = producers[t % 2];
            expected.addAll(numbered(prefix, each));
            running.add(pool.submit(() -> {
                World.sendNumbered(producer, topic, prefix, each);
                return null;
            }));
        }
        for (Future<?> one : running) {
            one.get();
        }
        pool.shutdown();
        List<MessageExt> all = w.readAll(topic, expected.size());
        Check.equal(sortedTexts(expected), texts(all), "messages");
        Map<Integer, Set<Long>> offsets = new TreeMap<>();
        all.forEach(m -> Check.that(offsets.computeIfAbsent(m.getQueueId(), q -> new HashSet<>()).add(m.getQueueOffset()),
            "queue offset %d/%d twice", m.getQueueId(), m.getQueueOffset()));
        offsets.forEach((q, seen) -> Check.equal(new HashSet<>(counted(seen.size())), seen, "offsets of queue " + q));
    }

    /** With tracing on, the client writes a record a message into the trace topic; with it off, none. */
    private static void trace(World w) throws Exception {
        String topic = w.topic(1);
        String traceTopic = w.topic("trace", 1);
        DefaultMQProducer silent = w.producer();
        DefaultMQProducer traced = w.producer(p -> {
            p.setEnableTrace(true);
            p.setTraceTopic(traceTopic);
        });
        String silentId = sent(silent.send(new Message(topic, bytes("silent")))).getMsgId();
        String tracedId = sent(traced.send(new Message(topic, "t", "tracekey", bytes("traced")))).getMsgId();
        MessageExt record = w.readAll(traceTopic, 1).get(0);
        Check.that(text(record).contains(tracedId), "trace record has %s: %s", tracedId, text(record));
        Check.that(!text(record).contains(silentId), "trace record has %s: %s", silentId, text(record));
        Check.that((" " + record.getKeys() + " ").contains(" tracekey "), "keys of the trace record: %s", record.getKeys());
    }

    private static void vipChannel(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer(p -> p.setVipChannelEnabled(true));
        World.sendNumbered(producer, topic, "v", 20);
        Check.equal(sortedTexts(numbered("v", 20)), texts(w.readAll(topic, 20)), "messages");
    }

    /** Every field of a record that a client can see. */
    private static void recordFields(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        long before = System.currentTimeMillis();
        SendResult result = sent(producer.send(new Message(topic, "tag", "key", bytes("fields"))));
        long after = System.currentTimeMillis();
        MessageExt got = w.readAll(topic, 1).get(0);
        Check.equal(result.getMsgId(), got.getMsgId(), "message id");
        Check.between(before, after, got.getBornTimestamp(), "born time");
        Check.between(before - 5, after + 5, got.getStoreTimestamp(), "store time");
        Check.equal("127.0.0.1", got.getBornHostString(), "born host");
        String storeHost = ((java.net.InetSocketAddress) got.getStoreHost()).getAddress().getHostAddress() + ":" + ((java.net.InetSocketAddress) got.getStoreHost()).getPort();
        Check.equal(w.brokerAddr(), storeHost, "store host");
        Check.equal(org.apache.rocketmq.common.UtilAll.crc32(got.getBody()), got.getBodyCRC(), "body CRC");
        Check.equal(0, got.getReconsumeTimes(), "reconsume times");
        Check.equal(0L, got.getPreparedTransactionOffset(), "prepared transaction offset");
        Check.equal(result.getRegionId(), got.getProperty("MSG_REGION"), "region");
        Check.equal("true", got.getProperty("TRACE_ON"), "TRACE_ON");
        Check.equal(w.cluster.broker.getCluster(), got.getProperty("CLUSTER"), "cluster");
        Check.equal("0", got.getProperty("MIN_OFFSET"), "MIN_OFFSET set by the client from the reply");
        Check.equal("1", got.getProperty("MAX_OFFSET"), "MAX_OFFSET set by the client from the reply");
    }
}
