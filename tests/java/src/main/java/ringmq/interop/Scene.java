package ringmq.interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Producers and a push consumer with the client's own retries, as an application has them, while somebody ends brokers:
 * {@code Scene --namesrv A:P;B:P --topic T [--threads 4] [--gap 5]}. Commands come on standard input: {@code count} answers
 * {@code COUNT ..}, {@code hold} and {@code go} stop and resume consuming, {@code stop} ends the producers, waits until all that
 * was acknowledged is consumed, and answers {@code RESULT ..} with the same words.
 */
public final class Scene {
    private static final long CONSUME_LIMIT_MS = 60_000;

    private final Map<String, String> options;
    private final String topic;
    /** With the broker that has it. */
    private final Map<String, String> acknowledged = new ConcurrentHashMap<>();
    private final Map<String, Integer> consumed = new ConcurrentHashMap<>();
    private final Map<String, AtomicLong> sentTo = new ConcurrentHashMap<>();
    private final Map<String, AtomicLong> consumedOf = new ConcurrentHashMap<>();
    private final Map<String, Long> furthest = new ConcurrentHashMap<>();
    private final Map<String, AtomicLong> failures = new ConcurrentHashMap<>();
    private final AtomicLong failed = new AtomicLong();
    private final AtomicLong notOk = new AtomicLong();
    private final AtomicLong back = new AtomicLong();
    private final AtomicLong slowestMs = new AtomicLong();
    private volatile boolean stopped;

    private Scene(Map<String, String> options) {
        this.options = options;
        this.topic = options.get("topic");
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        new Scene(options).run();
        System.exit(0);
    }

    private void run() throws Exception {
        String namesrv = options.get("namesrv");
        try (World.Cluster cluster = new World.Cluster(namesrv); World world = new World(cluster, "scene")) {
            int masters = 0;
            for (var broker : cluster.admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
                String master = broker.getBrokerAddrs().get(0L);
                if (master != null) {
                    masters++;
                    cluster.admin.createAndUpdateTopicConfig(master, new TopicConfig(topic, 4, 4, 6));
                }
            }
            int wanted = masters;
            Check.eventually(10_000, () -> "routes of " + wanted + " masters", () ->
                cluster.admin.examineTopicRouteInfo(topic).getQueueDatas().size() == wanted);
        }
        DefaultMQPushConsumer consumer = consumer(namesrv);
        DefaultMQProducer producer = new DefaultMQProducer("scene_producers");
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(1_000);
        producer.setSendLatencyFaultEnable(true);
        producer.setSendMsgTimeout(3_000);
        producer.start();
        List<Thread> running = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(options.getOrDefault("threads", "4")); i++) {
            int id = i;
            Thread thread = new Thread(() -> send(producer, id));
            thread.start();
            running.add(thread);
        }
        System.out.println("STARTED");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command = commands.readLine(); command != null && !command.equals("stop"); command = commands.readLine()) {
            switch (command) {
                case "hold" -> consumer.suspend();
                case "go" -> consumer.resume();
                default -> { }
            }
            System.out.println("COUNT " + figures());
        }
        stopped = true;
        for (Thread thread : running) {
            thread.join();
        }
        long end = System.currentTimeMillis() + CONSUME_LIMIT_MS;
        while (System.currentTimeMillis() < end && !consumed.keySet().containsAll(acknowledged.keySet())) {
            Thread.sleep(50);
        }
        System.out.println("RESULT " + figures());
        producer.shutdown();
        consumer.shutdown();
    }

    private DefaultMQPushConsumer consumer(String namesrv) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("scene_consumers");
        consumer.setNamesrvAddr(namesrv);
        consumer.setPollNameServerInterval(1_000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(this::consume);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private void consume(MessageExt message) {
        consumed.merge(new String(message.getBody(), StandardCharsets.UTF_8), 1, Integer::sum);
        count(consumedOf, message.getBrokerName());
        // The client hands a queue's batches to several threads, so only a step back over many says something.
        String queue = message.getBrokerName() + "/" + message.getQueueId();
        long furthestBefore = furthest.merge(queue, message.getQueueOffset(), Math::max);
        if (message.getQueueOffset() < furthestBefore - 1_000) {
            back.incrementAndGet();
        }
    }

    private void send(DefaultMQProducer producer, int id) {
        long gap = Long.parseLong(options.getOrDefault("gap", "5"));
        for (int number = 0; !stopped; number++) {
            String body = id + "-" + number;
            long begin = System.nanoTime();
            try {
                SendResult result = producer.send(new Message(topic, body.getBytes(StandardCharsets.UTF_8)));
                String broker = result.getMessageQueue().getBrokerName();
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    acknowledged.put(body, broker);
                } else {
                    // Stored at the master, and no slave has said that it has it.
                    notOk.incrementAndGet();
                }
                count(sentTo, broker);
                Thread.sleep(gap);
            } catch (InterruptedException e) {
                return;
            } catch (Exception e) {
                failed.incrementAndGet();
                count(failures, e.getClass().getSimpleName() + " " + String.valueOf(e.getMessage()).replaceAll("\\s+", " ").replaceAll("[0-9]+", "N"));
            }
            slowestMs.accumulateAndGet((System.nanoTime() - begin) / 1_000_000, Math::max);
        }
    }

    private static void count(Map<String, AtomicLong> counts, String name) {
        counts.computeIfAbsent(name, n -> new AtomicLong()).incrementAndGet();
    }

    private static long of(Map<String, AtomicLong> counts, String name) {
        AtomicLong count = counts.get(name);
        return count == null ? 0 : count.get();
    }

    private long missing(String broker) {
        return acknowledged.entrySet().stream()
            .filter(sent -> sent.getValue().startsWith(broker) && !consumed.containsKey(sent.getKey()))
            .count();
    }

    private String figures() {
        long twice = consumed.values().stream().mapToLong(count -> count - 1).sum();
        return "acknowledged=" + acknowledged.size() + " failed=" + failed + " not_ok=" + notOk + " sent_a=" + of(sentTo, "broker-a")
            + " sent_b=" + of(sentTo, "broker-b") + " consumed_a=" + of(consumedOf, "broker-a") + " consumed_b=" + of(consumedOf, "broker-b")
            + " missing=" + missing("") + " missing_a=" + missing("broker-a") + " twice=" + twice + " back=" + back + " slowest_ms=" + slowestMs + " failures=" + failures;
    }
}
