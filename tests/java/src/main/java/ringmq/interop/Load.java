package ringmq.interop;

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Sends while somebody kills the broker, then reads everything back: {@code Load --namesrv HOST:PORT --topic T --recording FILE [--threads 8] [--queues 8] [--size 512]}.
 * Commands come on standard input. {@code count} answers {@code ACKED n}. {@code stop} ends the senders, reads the topic and answers {@code RECORDED}.
 * It judges nothing: what it sent and what it was given stands in the recording, for the queue checker.
 * A sender numbers its messages and sends each once, waiting for the answer: SEND_OK is acknowledged, everything else is unsure,
 * and may be there or not. Sender s always sends to queue s mod queues, so per queue the numbers of a sender only grow.
 *
 * <p>The recording, big-endian: topic (i32 size, bytes), i32 senders, i32 queues, i64 origin of times (ns). Then records by their first byte:
 * S (i32 sender, i32 number, i64 began, i64 ended, i64 queue offset or -1);
 * P (i32 queue, i64 began, i64 ended, i64 from, i64 next, i64 least, i64 end, i32 messages, each i64 queue offset, i32 size, body); E at the end.
 */
public final class Load {
    private static final int HEADER_BYTES = 40;
    private static final byte[] MAGIC = "RMQCHECK".getBytes(StandardCharsets.US_ASCII);

    private final Map<String, String> options;
    private final String topic;
    private final int size;
    private final DataOutputStream recording;
    private final AtomicLong acknowledged = new AtomicLong();
    private volatile boolean stopped;

    private Load(Map<String, String> options) throws IOException {
        this.options = options;
        this.topic = options.get("topic");
        this.size = Integer.parseInt(options.getOrDefault("size", "512"));
        this.recording = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(options.get("recording")), 1 << 20));
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
        byte[] name = World.bytes(topic);
        recording.writeInt(name.length);
        recording.write(name);
        recording.writeInt(threads);
        recording.writeInt(queues);
        recording.writeLong(System.nanoTime());
        DefaultMQProducer producer = new DefaultMQProducer("it_load");
        producer.setNamesrvAddr(options.get("namesrv"));
        producer.setSendMsgTimeout(2_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        List<Thread> running = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            int sender = i;
            MessageQueue queue = new MessageQueue(topic, brokerName, i % queues);
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
        readBack();
        recording.writeByte('E');
        recording.close();
        System.out.println("RECORDED");
    }

    private void send(DefaultMQProducer producer, int sender, MessageQueue queue) {
        for (int number = 0; !stopped; number++) {
            long began = System.nanoTime();
            long queueOffset = -1;
            try {
                SendResult result = producer.send(new Message(topic, body(sender, number)), queue);
                queueOffset = result.getSendStatus() == SendStatus.SEND_OK ? result.getQueueOffset() : -1;
            } catch (Exception e) {
                // Unsure, as the recording says.
            }
            recordSend(sender, number, began, queueOffset);
            if (queueOffset >= 0) {
                acknowledged.incrementAndGet();
            } else {
                pause(20);
            }
        }
    }

    private void recordSend(int sender, int number, long began, long queueOffset) {
        long ended = System.nanoTime();
        synchronized (recording) {
            try {
                recording.writeByte('S');
                recording.writeInt(sender);
                recording.writeInt(number);
                recording.writeLong(began);
                recording.writeLong(ended);
                recording.writeLong(queueOffset);
            } catch (IOException e) {
                throw new java.io.UncheckedIOException("the recording cannot be written", e);
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

    /** The body of a checked message, as the checker's module `body` lays it out. */
    private byte[] body(int sender, int number) {
        byte[] body = World.noise(Math.max(size, HEADER_BYTES), sender * 1_000_003L + number);
        ByteBuffer header = ByteBuffer.wrap(body);
        header.put(MAGIC).putInt(body.length).putInt(0);
        header.putInt(sender).putInt(-1).putLong(number).putInt(checksum(World.bytes(topic))).putInt(0);
        return header.putInt(12, checksum(body)).array();
    }

    private static int checksum(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return (int) crc.getValue();
    }

    private void readBack() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("it_load_reader");
        consumer.setNamesrvAddr(options.get("namesrv"));
        consumer.start();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            long end = consumer.maxOffset(queue);
            long from = consumer.minOffset(queue);
            while (from < end) {
                long began = System.nanoTime();
                PullResult result = consumer.pull(queue, "*", from, 32, 10_000);
                if (result.getPullStatus() != PullStatus.FOUND) {
                    System.out.println("UNREAD " + queue + " from " + from + ": " + result);
                    break;
                }
                recordPull(queue.getQueueId(), began, from, result);
                from = result.getNextBeginOffset();
            }
        }
        consumer.shutdown();
    }

    private void recordPull(int queueId, long began, long from, PullResult result) throws IOException {
        recording.writeByte('P');
        recording.writeInt(queueId);
        recording.writeLong(began);
        recording.writeLong(System.nanoTime());
        recording.writeLong(from);
        recording.writeLong(result.getNextBeginOffset());
        recording.writeLong(result.getMinOffset());
        recording.writeLong(result.getMaxOffset());
        recording.writeInt(result.getMsgFoundList().size());
        for (MessageExt message : result.getMsgFoundList()) {
            recording.writeLong(message.getQueueOffset());
            recording.writeInt(message.getBody().length);
            recording.write(message.getBody());
        }
    }
}
