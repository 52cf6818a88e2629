package ringmq.interop;

import static ringmq.interop.World.bytes;
import static ringmq.interop.World.sent;
import static ringmq.interop.World.text;
import static ringmq.interop.World.texts;

import java.util.List;
import java.util.TreeSet;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Finding messages by key, by offset id and by unique key. */
final class Querying {
    private Querying() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("query_by_key", Querying::byKey),
            Scenario.of("query_by_key_time_window", Querying::timeWindow),
            Scenario.of("query_by_key_hash_collision", Querying::hashCollision),
            Scenario.of("query_by_key_unknown", Querying::unknownKey),
            Scenario.of("query_by_offset_id", Querying::byOffsetId),
            Scenario.of("query_by_unique_key", Querying::byUniqueKey));
    }

    /** The index follows the log, so a query right after a send may come too early. */
    private static List<MessageExt> query(World w, String topic, String key, int count) throws Exception {
        List<List<MessageExt>> found = new java.util.ArrayList<>(List.of(List.of()));
        Check.eventually(10_000, () -> count + " messages with key " + key + ", found " + texts(found.get(0)), () -> {
            try {
                found.set(0, w.cluster.admin.queryMessage(topic, key, 64, 0, Long.MAX_VALUE).getMessageList());
            } catch (MQClientException e) {
                found.set(0, List.of());
            }
            return found.get(0).size() >= count;
        });
        Check.equal(count, found.get(0).size(), "messages with key " + key);
        return found.get(0);
    }

    private static void byKey(World w) throws Exception {
        String topic = w.topic(4);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 12; i++) {
            sent(producer.send(new Message(topic, "tag", "order-" + (i % 3) + " 客户" + (i % 2), bytes("m" + i))));
        }
        Check.equal(List.of("m0", "m3", "m6", "m9"), texts(query(w, topic, "order-0", 4)), "order-0");
        Check.equal(List.of("m1", "m11", "m3", "m5", "m7", "m9"), texts(query(w, topic, "客户1", 6)), "a second key, not ASCII");
        String other = w.topic("other", 1);
        sent(producer.send(new Message(other, "tag", "order-0", bytes("elsewhere"))));
        Check.equal(List.of("elsewhere"), texts(query(w, other, "order-0", 1)), "the same key in another topic");
        Check.equal(4, query(w, topic, "order-0", 4).size(), "order-0 again");
        MessageExt found = query(w, topic, "order-2", 4).get(0);
        Check.equal(topic, found.getTopic(), "topic");
        Check.that(World.isUniqueKey(found.getMsgId()), "message id is the unique one: %s", found.getMsgId());
    }

    private static void timeWindow(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        long start = System.currentTimeMillis();
        sent(producer.send(new Message(topic, "t", "k", bytes("m"))));
        query(w, topic, "k", 1);
        long end = System.currentTimeMillis();
        // The index keeps whole seconds, so the window is a little wider than the message.
        QueryResult inside = w.cluster.admin.queryMessage(topic, "k", 10, start - 2_000, end + 2_000);
        Check.equal(1, inside.getMessageList().size(), "inside the window");
        Check.refused(MQClientException.class, "an hour before", () -> w.cluster.admin.queryMessage(topic, "k", 10, start - 7_200_000, start - 3_600_000));
        Check.refused(MQClientException.class, "an hour after", () -> w.cluster.admin.queryMessage(topic, "k", 10, end + 3_600_000, end + 7_200_000));
    }

    private static void hashCollision(World w) throws Exception {
        String topic = w.topic(1);
        DefaultMQProducer producer = w.producer();
        Check.equal((topic + "#AaAa").hashCode(), (topic + "#BBBB").hashCode(), "hash codes");
        for (int i = 0; i < 4; i++) {
            sent(producer.send(new Message(topic, "t", i % 2 == 0 ? "AaAa" : "BBBB", bytes("m" + i))));
        }
        Check.equal(List.of("m0", "m2"), texts(query(w, topic, "AaAa", 2)), "AaAa");
        Check.equal(List.of("m1", "m3"), texts(query(w, topic, "BBBB", 2)), "BBBB");
    }

    private static void unknownKey(World w) throws Exception {
        String topic = w.topic(1);
        sent(w.producer().send(new Message(topic, "t", "known", bytes("m"))));
        MQClientException none = Check.refused(MQClientException.class, "an unknown key",
            () -> w.cluster.admin.queryMessage(topic, "unknown", 10, 0, Long.MAX_VALUE));
        Check.equal(org.apache.rocketmq.remoting.protocol.ResponseCode.NO_MESSAGE, none.getResponseCode(), "code of " + none.getMessage());
    }

    private static void byOffsetId(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        for (int i = 0; i < 6; i++) {
            SendResult result = sent(producer.send(new Message(topic, "tag", "key" + i, bytes("m" + i))));
            MessageExt found = producer.viewMessage(topic, result.getOffsetMsgId());
            Check.equal("m" + i, text(found), "body");
            Check.equal(result.getMsgId(), found.getMsgId(), "message id");
            Check.equal(result.getQueueOffset(), found.getQueueOffset(), "queue offset");
            Check.equal(result.getMessageQueue().getQueueId(), found.getQueueId(), "queue");
            Check.equal("key" + i, found.getKeys(), "key");
        }
        // An id of the same shape that no send gave out.
        String id = sent(producer.send(new Message(topic, bytes("last")))).getOffsetMsgId();
        String beyond = id.substring(0, 16) + "00FFFFFFFFFFFF00";
        Check.refused(Exception.class, "offset id " + beyond, () -> w.cluster.admin.viewMessage(topic, beyond));
    }

    private static void byUniqueKey(World w) throws Exception {
        String topic = w.topic(2);
        DefaultMQProducer producer = w.producer();
        TreeSet<String> ids = new TreeSet<>();
        for (int i = 0; i < 6; i++) {
            ids.add(sent(producer.send(new Message(topic, bytes("m" + i)))).getMsgId());
        }
        for (String id : ids) {
            Check.eventually(10_000, () -> "message by unique key " + id, () -> {
                try {
                    return w.cluster.admin.viewMessage(topic, id) != null;
                } catch (Exception e) {
                    return false;
                }
            });
            MessageExt found = producer.viewMessage(topic, id);
            Check.equal(id, found.getMsgId(), "message id");
        }
    }
}
