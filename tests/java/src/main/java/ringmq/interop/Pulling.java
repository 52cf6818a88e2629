package ringmq.interop;

import static ringmq.interop.World.bytes;
import static ringmq.interop.World.numbered;
import static ringmq.interop.World.sendNumbered;
import static ringmq.interop.World.sent;
import static ringmq.interop.World.sortedTexts;
import static ringmq.interop.World.texts;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The lite pull consumer, the old pull consumer, and the offset queries behind both. */
final class Pulling {
    private Pulling() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("lite_assign", Pulling::assign),
            Scenario.of("lite_subscribe", Pulling::subscribe),
            Scenario.of("lite_subscribe_tags", Pulling::subscribeTags),
            Scenario.of("lite_two_consumers", Pulling::twoConsumers),
            Scenario.of("lite_seek", Pulling::seek),
            Scenario.of("lite_seek_begin_end", Pulling::seekBeginEnd),
            Scenario.of("lite_offset_for_timestamp", Pulling::offsetForTimestamp),
            Scenario.of("lite_commit_restart", Pulling::commitRestart),
            Scenario.of("lite_pause_resume", Pulling::pauseResume),
            Scenario.of("pull_statuses", Pulling::statuses),
            Scenario.of("pull_tag_statuses", Pulling::tagStatuses),
            Scenario.of("pull_batch_limits", Pulling::batchLimits),
            Scenario.of("pull_offsets_stored", Pulling::offsetsStored),
            Scenario.of("pull_min_max_search_offset", Pulling::minMaxSearch),
            Scenario.alone("pull_block_wakes", Pulling::blockWakes),
            Scenario.of("pull_block_times_out", Pulling::blockTimesOut));
    }

    /** Polls until {@code count} messages came or ten seconds passed, and one short time more for any too many. */
    private static List<MessageExt> poll(DefaultLitePullConsumer consumer, int count) {
        List<MessageExt> got = new ArrayList<>();
        long end = System.nanoTime() + 10_000_000_000L;
        while (got.size() < count && System.nanoTime() < end) {
            got.addAll(consumer.poll(100));
        }
        got.addAll(consumer.poll(200));
        return got;
    }

    private static DefaultLitePullConsumer assigned(World w, String topic, int queues) throws Exception {
        DefaultLitePullConsumer consumer = w.litePullConsumer(w.name("g"));
        consumer.setAutoCommit(false);
        consumer.start();
        Collection<MessageQueue> all = consumer.fetchMessageQueues(topic);
        Check.equal(queues, all.size(), "queues of " + topic);
        consumer.assign(all);
        return consumer;
    }

    private static void assign(World w) throws Exception {
        String topic = w.topic(4);
        sendNumbered(w.producer(), topic, "m", 40);
        // No seek: one that meets a pull on its way brings that pull's messages twice.
        DefaultLitePullConsumer consumer = assigned(w, topic, 4);
        Check.equal(sortedTexts(numbered("m", 40)), texts(poll(consumer, 40)), "messages");
    }

    private static void subscribe(World w) throws Exception {
        String topic = w.topic(4);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "m", 40);
        DefaultLitePullConsumer consumer = w.litePullConsumer(w.name("g"));
        consumer.subscribe(topic, "*");
        consumer.start();
        Check.equal(sortedTexts(numbered("m", 40)), texts(poll(consumer, 40)), "messages");
        sendNumbered(producer, topic, "n", 40);
        Check.equal(sortedTexts(numbered("n", 40)), texts(poll(consumer, 40)), "later messages");
        Check.equal(4, consumer.assignment().size(), "queues assigned");
    }

    private static void subscribeTags(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 20; i++) {
            sent(producer.send(new Message(topic, "in", bytes("in" + i))));
            sent(producer.send(new Message(topic, "out", bytes("out" + i))));
        }
        DefaultLitePullConsumer consumer = w.litePullConsumer(w.name("g"));
        consumer.subscribe(topic, "in || other");
        consumer.start();
        Check.equal(sortedTexts(numbered("in", 20)), texts(poll(consumer, 20)), "messages");
    }

    private static void twoConsumers(World w) throws Exception {
        String topic = w.topic(4);
        List<DefaultLitePullConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultLitePullConsumer consumer = w.litePullConsumer(w.name("g"));
            consumer.subscribe(topic, "*");
            consumer.start();
            consumers.add(consumer);
        }
        Check.eventually(12_000, () -> "2 queues each", () -> consumers.get(0).assignment().size() == 2 && consumers.get(1).assignment().size() == 2);
        Set<MessageQueue> both = new HashSet<>(consumers.get(0).assignment());
        both.addAll(consumers.get(1).assignment());
        Check.equal(4, both.size(), "queues of both together");
        sendNumbered(w.producer(), topic, "m", 40);
        List<MessageExt> got = new ArrayList<>(poll(consumers.get(0), 20));
        got.addAll(poll(consumers.get(1), 20));
        Check.equal(sortedTexts(numbered("m", 40)), texts(got), "messages");
    }

    private static void seek(World w) throws Exception {
        String topic = w.topic(1);
        sendNumbered(w.producer(), topic, "m", 20);
        DefaultLitePullConsumer consumer = assigned(w, topic, 1);
        // Everything is read first: a seek that meets a pull on its way brings that pull's messages too (a race of the client).
        Check.equal(sortedTexts(numbered("m", 20)), texts(poll(consumer, 20)), "before any seek");
        consumer.seek(w.queue(topic, 0), 15);
        Check.equal(List.of("m15", "m16", "m17", "m18", "m19"), texts(poll(consumer, 5)), "from 15");
        consumer.seek(w.queue(topic, 0), 18);
        Check.equal(List.of("m18", "m19"), texts(poll(consumer, 2)), "from 18");
        Check.refused(Exception.class, "seek past the end", () -> {
            consumer.seek(w.queue(topic, 0), 1000);
            return null;
        });
    }

    private static void seekBeginEnd(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "m", 10);
        DefaultLitePullConsumer consumer = assigned(w, topic, 1);
        // Everything is read first: a seek that meets a pull on its way brings that pull's messages too (a race of the client).
        Check.equal(numbered("m", 10), texts(poll(consumer, 10)), "before any seek");
        consumer.seekToEnd(w.queue(topic, 0));
        Check.equal(List.of(), texts(consumer.poll(300)), "after seekToEnd");
        sendNumbered(producer, topic, "n", 5);
        Check.equal(numbered("n", 5), texts(poll(consumer, 5)), "new ones");
        consumer.seekToBegin(w.queue(topic, 0));
        Check.equal(15, poll(consumer, 15).size(), "after seekToBegin");
    }

    private static void offsetForTimestamp(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        long start = System.currentTimeMillis();
        sendNumbered(producer, topic, "m", 5);
        Thread.sleep(50);
        long middle = System.currentTimeMillis();
        Thread.sleep(50);
        sendNumbered(producer, topic, "n", 5);
        DefaultLitePullConsumer consumer = assigned(w, topic, 1);
        MessageQueue queue = w.queue(topic, 0);
        Check.equal(0L, consumer.offsetForTimestamp(queue, start - 60_000), "a minute before the first");
        Check.equal(5L, consumer.offsetForTimestamp(queue, middle), "between the fifth and the sixth");
        Check.equal(10L, consumer.offsetForTimestamp(queue, System.currentTimeMillis() + 60_000), "a minute after the last");
    }

    private static void commitRestart(World w) throws Exception {
        String topic = w.topic(2);
        String group = w.name("g");
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "m", 20);
        DefaultLitePullConsumer consumer = w.litePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        Check.equal(20, poll(consumer, 20).size(), "messages");
        consumer.commitSync();
        for (MessageQueue queue : consumer.assignment()) {
            Check.equal(10L, consumer.committed(queue), "committed offset as this client knows it");
        }
        consumer.shutdown();
        // The client sends what was committed every 5 s and at its end, oneway, so the broker may have it a moment later.
        Check.eventually(5_000, () -> "offset 10 in both queues at the broker", () -> w.cluster.admin.examineConsumeStats(group, topic)
            .getOffsetTable().values().stream().filter(o -> o.getConsumerOffset() == 10).count() == 2);
        sendNumbered(producer, topic, "n", 20);
        DefaultLitePullConsumer again = w.litePullConsumer(group);
        again.subscribe(topic, "*");
        again.start();
        Check.equal(sortedTexts(numbered("n", 20)), texts(poll(again, 20)), "after the restart");
    }

    private static void pauseResume(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        DefaultLitePullConsumer consumer = assigned(w, topic, 2);
        consumer.pause(List.of(w.queue(topic, 1)));
        // A pull that is held already still brings its messages, so the paused queue gets them after that pull has ended.
        Thread.sleep(300);
        for (int i = 0; i < 5; i++) {
            sent(producer.send(new Message(topic, bytes("run" + i)), w.queue(topic, 0)));
        }
        Check.equal(numbered("run", 5), texts(poll(consumer, 5)), "the queue that runs");
        for (int i = 0; i < 5; i++) {
            sent(producer.send(new Message(topic, bytes("paused" + i)), w.queue(topic, 1)));
        }
        consumer.resume(List.of(w.queue(topic, 1)));
        Check.equal(numbered("paused", 5), texts(poll(consumer, 5)), "after resume");
    }

    /** Which status each kind of offset gets, and where the reply sends the reader next. */
    private static void statuses(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 10; i++) {
            sent(producer.send(new Message(topic, bytes("m" + i)), w.queue(topic, 0)));
        }
        DefaultMQPullConsumer consumer = w.pullConsumer(w.name("g"));
        MessageQueue full = w.queue(topic, 0);
        MessageQueue empty = w.queue(topic, 1);
        expect(consumer.pull(full, "*", 0, 32), PullStatus.FOUND, 10, 0, 10, 10);
        expect(consumer.pull(full, "*", 4, 3), PullStatus.FOUND, 7, 0, 10, 3);
        expect(consumer.pull(full, "*", 10, 32), PullStatus.NO_NEW_MSG, 10, 0, 10, 0);
        expect(consumer.pull(full, "*", 11, 32), PullStatus.OFFSET_ILLEGAL, 10, 0, 10, 0);
        expect(consumer.pull(full, "*", 5000, 32), PullStatus.OFFSET_ILLEGAL, 10, 0, 10, 0);
        expect(consumer.pull(empty, "*", 0, 32), PullStatus.NO_NEW_MSG, 0, 0, 0, 0);
        expect(consumer.pull(empty, "*", 7, 32), PullStatus.OFFSET_ILLEGAL, 0, 0, 0, 0);
    }

    private static void expect(PullResult seen, PullStatus status, long next, long min, long max, int count) {
        String what = "pull " + seen;
        Check.equal(status, seen.getPullStatus(), what + ": status");
        Check.equal(next, seen.getNextBeginOffset(), what + ": next offset");
        Check.equal(min, seen.getMinOffset(), what + ": min offset");
        Check.equal(max, seen.getMaxOffset(), what + ": max offset");
        Check.equal(count, seen.getMsgFoundList() == null ? 0 : seen.getMsgFoundList().size(), what + ": messages");
    }

    private static void tagStatuses(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 10; i++) {
            sent(producer.send(new Message(topic, i < 8 ? "early" : "late", bytes("m" + i))));
        }
        DefaultMQPullConsumer consumer = w.pullConsumer(w.name("g"));
        MessageQueue queue = w.queue(topic, 0);
        expect(consumer.pull(queue, "none", 0, 32), PullStatus.NO_MATCHED_MSG, 10, 0, 10, 0);
        PullResult late = consumer.pull(queue, "late", 0, 32);
        expect(late, PullStatus.FOUND, 10, 0, 10, 2);
        Check.equal(List.of("m8", "m9"), texts(late.getMsgFoundList()), "late");
        expect(consumer.pull(queue, "early || late", 0, 32), PullStatus.FOUND, 10, 0, 10, 10);
    }

    /** A pull brings at most as many messages as asked, and one large message even when it alone is over the byte limit. */
    private static void batchLimits(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "m", 100);
        DefaultMQPullConsumer consumer = w.pullConsumer(w.name("g"));
        MessageQueue queue = w.queue(topic, 0);
        Check.equal(1, consumer.pull(queue, "*", 0, 1).getMsgFoundList().size(), "asked for 1");
        Check.equal(32, consumer.pull(queue, "*", 0, 32).getMsgFoundList().size(), "asked for 32");
        int many = consumer.pull(queue, "*", 0, 100).getMsgFoundList().size();
        Check.that(many >= 32 && many <= 100, "asked for 100, got %d", many);
        sent(producer.send(new Message(topic, World.noise(1024 * 1024, 1))));
        sent(producer.send(new Message(topic, World.noise(1024 * 1024, 2))));
        PullResult large = consumer.pull(queue, "*", 100, 32);
        Check.equal(PullStatus.FOUND, large.getPullStatus(), "large message");
        Check.equal(1024 * 1024, large.getMsgFoundList().get(0).getBody().length, "size of the large one");
    }

    private static void offsetsStored(World w) throws Exception {
        String topic = w.topic(1);
        sendNumbered(w.producer(), topic, "m", 10);
        String group = w.name("g");
        MessageQueue queue = w.queue(topic, 0);
        DefaultMQPullConsumer consumer = w.pullConsumer(group);
        // A first pull makes the group known; a commit of an unknown one is refused.
        consumer.pull(queue, "*", 0, 1);
        // A group that never committed on a queue whose offset 0 is still there: 0, not "none".
        Check.equal(0L, consumer.fetchConsumeOffset(queue, true), "offset of a new group");
        consumer.updateConsumeOffset(queue, 7);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 7, false);
        Check.equal(7L, consumer.fetchConsumeOffset(queue, true), "offset after the commit");
        Check.equal(7L, w.pullConsumer(group).fetchConsumeOffset(queue, true), "offset seen by another client");
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 3, false);
        Check.equal(3L, consumer.fetchConsumeOffset(queue, true), "offset after a commit that goes back");
    }

    private static void minMaxSearch(World w) throws Exception {
        String topic = w.topic(2);
        MessageQueue queue = w.queue(topic, 0);
        MessageQueue empty = w.queue(topic, 1);
        DefaultMQProducer producer = w.producer();
        long start = System.currentTimeMillis();
        for (int i = 0; i < 10; i++) {
            sent(producer.send(new Message(topic, bytes("m" + i)), queue));
        }
        DefaultMQPullConsumer consumer = w.pullConsumer(w.name("g"));
        Check.equal(0L, consumer.minOffset(queue), "min offset");
        Check.equal(10L, consumer.maxOffset(queue), "max offset");
        Check.equal(0L, consumer.minOffset(empty), "min offset of the empty queue");
        Check.equal(0L, consumer.maxOffset(empty), "max offset of the empty queue");
        Check.equal(0L, consumer.searchOffset(queue, 0), "search for time 0");
        Check.equal(0L, consumer.searchOffset(queue, start - 1000), "search before the first");
        Check.equal(10L, consumer.searchOffset(queue, System.currentTimeMillis() + 60_000), "search after the last");
        Check.equal(0L, consumer.searchOffset(empty, start), "search in the empty queue");
        Check.between(start - 5, System.currentTimeMillis() + 5, consumer.earliestMsgStoreTime(queue), "earliest store time");
        Check.equal(-1L, consumer.earliestMsgStoreTime(empty), "earliest store time of the empty queue");
        for (MessageExt message : consumer.pull(queue, "*", 0, 32).getMsgFoundList()) {
            long found = consumer.searchOffset(queue, message.getStoreTimestamp());
            Check.that(found <= message.getQueueOffset(), "first at or after the store time of %d: %d", message.getQueueOffset(), found);
        }
    }

    private static void blockWakes(World w) throws Exception {
        String topic = w.topic(1);
        MessageQueue queue = w.queue(topic, 0);
        DefaultMQPullConsumer consumer = w.pullConsumer(w.name("g"));
        DefaultMQProducer producer = w.producer();
        sendNumbered(producer, topic, "warm", 2);
        List<Long> took = new ArrayList<>();
        for (int i = 2; i < 11; i++) {
            int from = i;
            CompletableFuture<PullResult> held = CompletableFuture.supplyAsync(() -> {
                try {
                    return consumer.pullBlockIfNotFound(queue, "*", from, 32);
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            Thread.sleep(300);
            Check.that(!held.isDone(), "the pull at %d is held", from);
            long sentAt = System.nanoTime();
            sent(producer.send(new Message(topic, bytes("m" + i))));
            PullResult result = held.get(5, TimeUnit.SECONDS);
            took.add((System.nanoTime() - sentAt) / 1_000_000);
            expect(result, PullStatus.FOUND, from + 1, 0, from + 1, 1);
        }
        Check.prompt(took);
    }

    private static void blockTimesOut(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQPullConsumer consumer = w.pullConsumer(w.name("g"));
        consumer.setBrokerSuspendMaxTimeMillis(1_500);
        long start = System.nanoTime();
        PullResult result = consumer.pullBlockIfNotFound(w.queue(topic, 0), "*", 0, 32);
        long ms = (System.nanoTime() - start) / 1_000_000;
        expect(result, PullStatus.NO_NEW_MSG, 0, 0, 0, 0);
        // The broker may look only every 5 s for pulls whose time is over.
        Check.between(1_400, 8_000, ms, "held for ms");
    }
}
