package ringmq.interop;

import static ringmq.interop.World.bytes;
import static ringmq.interop.World.sent;
import static ringmq.interop.World.text;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.body.LockBatchResponseBody;
import org.apache.rocketmq.remoting.protocol.body.UnlockBatchRequestBody;

/** Orderly consumption and the queue locks behind it. */
final class Ordering {
    private Ordering() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("orderly_per_queue", Ordering::perQueue),
            Scenario.of("orderly_suspend_and_retry", Ordering::suspend),
            Scenario.of("orderly_hand_over", Ordering::handOver),
            Scenario.of("orderly_locks", Ordering::locks));
    }

    private static DefaultMQPushConsumer orderly(World w, String topic, MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = w.pushConsumer(w.name("g"), new ConcurrentLinkedQueue<>());
        consumer.setMessageListener(listener);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    private static void sendOrdered(World w, DefaultMQProducer producer, String topic, int queues, int from, int to) throws Exception {
        for (int i = from; i < to; i++) {
            for (int q = 0; q < queues; q++) {
                sent(producer.send(new Message(topic, bytes(Integer.toString(i))), w.queue(topic, q)));
            }
        }
    }

    private static void perQueue(World w) throws Exception {
        String topic = w.topic(4);
        Map<Integer, List<Integer>> seen = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = orderly(w, topic, (messages, context) -> {
            for (MessageExt message : messages) {
                seen.computeIfAbsent(message.getQueueId(), q -> Collections.synchronizedList(new ArrayList<>())).add(Integer.parseInt(text(message)));
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        sendOrdered(w, w.producer(), topic, 4, 0, 50);
        Check.eventually(20_000, () -> "200 messages, got " + total(seen), () -> total(seen) >= 200);
        for (int q = 0; q < 4; q++) {
            Check.equal(IntStream.range(0, 50).boxed().toList(), new ArrayList<>(seen.get(q)), "order of queue " + q);
        }
    }

    private static int total(Map<Integer, List<Integer>> seen) {
        return seen.values().stream().mapToInt(List::size).sum();
    }

    /** A message that fails is tried again before its successors in the same queue. */
    private static void suspend(World w) throws Exception {
        String topic = w.topic(1);
        List<Integer> seen = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger failures = new AtomicInteger();
        DefaultMQPushConsumer consumer = orderly(w, topic, (messages, context) -> {
            int number = Integer.parseInt(text(messages.get(0)));
            if (number == 3 && failures.incrementAndGet() <= 3) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            seen.add(number);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.start();
        sendOrdered(w, w.producer(), topic, 1, 0, 10);
        Check.eventually(15_000, () -> "10 messages, got " + seen, () -> seen.size() >= 10);
        Check.equal(IntStream.range(0, 10).boxed().toList(), new ArrayList<>(seen), "order");
        Check.equal(4, failures.get(), "tries of message 3");
    }

    /** When a second consumer takes over queues, each message of a queue still comes after its predecessors. */
    private static void handOver(World w) throws Exception {
        String topic = w.topic(4);
        Map<Integer, List<Integer>> seen = new ConcurrentHashMap<>();
        Set<String> parties = ConcurrentHashMap.newKeySet();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (int c = 0; c < 2; c++) {
            String party = "c" + c;
            consumers.add(orderly(w, topic, (messages, context) -> {
                for (MessageExt message : messages) {
                    parties.add(party);
                    seen.computeIfAbsent(message.getQueueId(), q -> Collections.synchronizedList(new ArrayList<>())).add(Integer.parseInt(text(message)));
                }
                return ConsumeOrderlyStatus.SUCCESS;
            }));
        }
        DefaultMQProducer producer = w.producer();
        consumers.get(0).start();
        sendOrdered(w, producer, topic, 4, 0, 20);
        Check.eventually(10_000, () -> "80 messages, got " + total(seen), () -> total(seen) >= 80);
        consumers.get(1).start();
        // The client may take up to 20 s to lock what another held; messages go on meanwhile.
        for (int i = 20; i < 260 && parties.size() < 2; i++) {
            sendOrdered(w, producer, topic, 4, i, i + 1);
            Thread.sleep(100);
        }
        Check.equal(2, parties.size(), "consumers that got messages");
        sendOrdered(w, producer, topic, 4, 1000, 1020);
        Check.eventually(15_000, () -> "the last message in each queue", () -> seen.values().stream().allMatch(s -> s.contains(1019)));
        seen.forEach((queue, numbers) -> {
            // A hand-over may repeat what was not committed, so first sights are compared.
            List<Integer> first = new ArrayList<>(numbers).stream().distinct().toList();
            Check.equal(first.stream().sorted().toList(), first, "order of queue " + queue);
        });
    }

    /** Lock and unlock by request: one client holds a queue, another gets it only after the unlock. */
    private static void locks(World w) throws Exception {
        String topic = w.topic(2);
        Set<MessageQueue> queues = Set.of(w.queue(topic, 0), w.queue(topic, 1));
        Check.equal(queues, lock(w, "one", queues), "first client");
        Check.equal(queues, lock(w, "one", queues), "first client again");
        Check.equal(Set.of(), lock(w, "two", queues), "second client");
        UnlockBatchRequestBody unlock = new UnlockBatchRequestBody();
        unlock.setConsumerGroup(w.name("g"));
        unlock.setClientId("one");
        unlock.setMqSet(Set.of(w.queue(topic, 0)));
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.UNLOCK_BATCH_MQ, null);
        request.setBody(unlock.encode());
        Check.equal(ResponseCode.SUCCESS, w.raw(w.brokerAddr(), request).getCode(), "unlock");
        Check.equal(Set.of(w.queue(topic, 0)), lock(w, "two", queues), "second client after the unlock of queue 0");
    }

    private static Set<MessageQueue> lock(World w, String client, Set<MessageQueue> queues) throws Exception {
        LockBatchRequestBody body = new LockBatchRequestBody();
        body.setConsumerGroup(w.name("g"));
        body.setClientId(client);
        body.setMqSet(queues);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.LOCK_BATCH_MQ, null);
        request.setBody(body.encode());
        RemotingCommand response = w.raw(w.brokerAddr(), request);
        Check.equal(ResponseCode.SUCCESS, response.getCode(), "lock");
        return RemotingSerializable.decode(response.getBody(), LockBatchResponseBody.class).getLockOKMQSet();
    }
}
