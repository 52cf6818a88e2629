package ringmq.interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Sends while somebody kills the broker, then reads everything back: {@code Load --namesrv HOST:PORT --topic T [--threads 8] [--queues 8] [--size 512]}.
 * Commands come on standard input. {@code count} answers {@code ACKED n}. {@code stop} ends the senders, reads the topic and answers
 * {@code RESULT acknowledged=.. unsure=.. consumed=.. lost=.. duplicated=.. corrupt=.. made_up=.. out_of_order=..}.
 * A sender numbers its messages and sends each once, waiting for the answer: SEND_OK is acknowledged, everything else is unsure,
 * and may be there or not. Sender s always sends to queue s mod queues, so per queue the numbers of a sender only grow.
 */
public final class Load {
    private static final class Sender {
        final int id;
        final BitSet acknowledged = new BitSet();
        int sent;
        long unsure;

        Sender(int id) {
            this.id = id;
        }
    }

    private final Map<String, String> options;
    private final String topic;
    private final int size;
    private final AtomicLong acknowledged = new AtomicLong();
    private final List<Sender> senders = new ArrayList<>();
    private volatile boolean stopped;

    private Load(Map<String, String> options) {
        this.options = options;
        this.topic = options.get("topic");
        this.size = Integer.parseInt(options.getOrDefault("size", "512"));
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        new Load(options).run();
        System.exit(0);
    }

    private void run() throws Exception {
        int threads = Integer.parseInt(options.getOrDefault("threads", "8"));
        int queues = Integer.parseInt(options.getOrDefault("queues", "8"));
        String brokerName;
        try (World.Cluster cluster = new World.Cluster(options.get("namesrv")); World world = new World(cluster, "load")) {
            cluster.admin.createAndUpdateTopicConfig(world.brokerAddr(), new TopicConfig(topic, queues, queues, 6));
            world.awaitRoute(topic);
            brokerName = world.brokerName();
        }
        DefaultMQProducer producer = new DefaultMQProducer("it_load");
        producer.setNamesrvAddr(options.get("namesrv"));
        producer.setSendMsgTimeout(2_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        List<Thread> running = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            Sender sender = new Sender(i);
            MessageQueue queue = new MessageQueue(topic, brokerName, i % queues);
            senders.add(sender);
            Thread thread = new Thread(() -> send(producer, sender, queue));
            thread.start();
            running.add(thread);
        }
        System.out.println("STARTED");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command = commands.readLine(); command != null && !command.equals("stop"); command = commands.readLine()) {
            System.out.println("ACKED " + acknowledged.get());
        }
        stopped = true;
        for (Thread thread : running) {
            thread.join();
        }
        producer.shutdown();
        verify();
    }

    private void send(DefaultMQProducer producer, Sender sender, MessageQueue queue) {
        while (!stopped) {
            int number = sender.sent++;
            boolean ok;
            try {
                ok = producer.send(new Message(topic, body(sender.id, number)), queue).getSendStatus() == SendStatus.SEND_OK;
            } catch (Exception e) {
                ok = false;
            }
            if (ok) {
                sender.acknowledged.set(number);
                acknowledged.incrementAndGet();
            } else {
                sender.unsure++;
                pause(20);
            }
        }
    }

    private static void pause(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** "sender number " and bytes that follow from both, so that a body tells whose it is and whether it is whole. */
    private byte[] body(int sender, int number) {
        byte[] head = World.bytes(sender + " " + number + " ");
        byte[] body = World.noise(Math.max(size, head.length), sender * 1_000_003L + number);
        System.arraycopy(head, 0, body, 0, head.length);
        return body;
    }

    private void verify() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("it_load_reader");
        consumer.setNamesrvAddr(options.get("namesrv"));
        consumer.start();
        List<BitSet> seen = new ArrayList<>();
        senders.forEach(s -> seen.add(new BitSet()));
        long consumed = 0;
        long duplicated = 0;
        long corrupt = 0;
        long madeUp = 0;
        long outOfOrder = 0;
        Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(topic);
        for (MessageQueue queue : new HashSet<>(queues)) {
            int[] last = new int[senders.size()];
            java.util.Arrays.fill(last, -1);
            long from = consumer.minOffset(queue);
            while (true) {
                PullResult result = consumer.pull(queue, "*", from, 32, 10_000);
                if (result.getPullStatus() != PullStatus.FOUND) {
                    break;
                }
                for (MessageExt message : result.getMsgFoundList()) {
                    consumed++;
                    String[] head = new String(message.getBody(), StandardCharsets.ISO_8859_1).split(" ", 3);
                    int[] id = identity(head);
                    if (id == null || !java.util.Arrays.equals(body(id[0], id[1]), message.getBody())) {
                        corrupt++;
                    } else if (id[0] >= senders.size() || id[1] >= senders.get(id[0]).sent) {
                        madeUp++;
                    } else {
                        duplicated += seen.get(id[0]).get(id[1]) ? 1 : 0;
                        seen.get(id[0]).set(id[1]);
                        outOfOrder += id[1] < last[id[0]] ? 1 : 0;
                        last[id[0]] = Math.max(last[id[0]], id[1]);
                    }
                }
                from = result.getNextBeginOffset();
            }
            if (from < consumer.maxOffset(queue)) {
                System.out.println("UNREAD " + queue + " from " + from + " to " + consumer.maxOffset(queue));
                corrupt++;
            }
        }
        consumer.shutdown();
        long lost = 0;
        long unsure = 0;
        for (Sender sender : senders) {
            BitSet missing = (BitSet) sender.acknowledged.clone();
            missing.andNot(seen.get(sender.id));
            lost += missing.cardinality();
            unsure += sender.unsure;
            missing.stream().limit(5).forEach(n -> System.out.println("LOST sender " + sender.id + " number " + n));
        }
        System.out.printf("RESULT acknowledged=%d unsure=%d consumed=%d lost=%d duplicated=%d corrupt=%d made_up=%d out_of_order=%d%n",
            acknowledged.get(), unsure, consumed, lost, duplicated, corrupt, madeUp, outOfOrder);
    }

    private static int[] identity(String[] head) {
        try {
            return new int[] {Integer.parseInt(head[0]), Integer.parseInt(head[1])};
        } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
            return null;
        }
    }
}
