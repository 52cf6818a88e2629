package ringmq.interop;

import static ringmq.interop.World.bytes;

import java.util.List;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.header.GetMaxOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.remoting.protocol.header.namesrv.GetRouteInfoRequestHeader;

/** Requests that the client's own checks would not let out, and what the servers answer. */
final class Wire {
    private Wire() {
    }

    static List<Scenario> scenarios() {
        return List.of(
            Scenario.of("wire_unknown_code", Wire::unknownCode),
            Scenario.of("wire_illegal_topic_name", Wire::illegalTopic),
            Scenario.of("wire_system_topic", Wire::systemTopic),
            Scenario.of("wire_empty_body", Wire::emptyBody),
            Scenario.of("wire_send_v1", Wire::sendV1),
            Scenario.of("wire_queue_chosen_by_broker", Wire::anyQueue),
            Scenario.of("wire_unknown_topic", Wire::unknownTopic),
            Scenario.of("wire_pull_errors", Wire::pullErrors));
    }

    private static void unknownCode(World w) throws Exception {
        for (String address : List.of(w.brokerAddr(), w.cluster.namesrv)) {
            for (int code : new int[] {9_999, 32_767, 1_000_000}) {
                // The binary header has 16 bits for the code, so a larger one goes out as JSON only.
                if (code <= Short.MAX_VALUE || "JSON".equals(System.getProperty("rocketmq.serialize.type"))) {
                    RemotingCommand answer = w.raw(address, RemotingCommand.createRequestCommand(code, null));
                    Check.equal(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, answer.getCode(), "code " + code + " at " + address);
                }
            }
        }
    }

    private static SendMessageRequestHeader header(String topic, int queueId) {
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup("it_wire");
        header.setTopic(topic);
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(queueId);
        header.setSysFlag(0);
        header.setBornTimestamp(System.currentTimeMillis());
        header.setFlag(0);
        header.setProperties("");
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setBatch(false);
        return header;
    }

    private static RemotingCommand send(World w, String topic, int queueId, byte[] body) throws Exception {
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.SEND_MESSAGE_V2,
            SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(header(topic, queueId)));
        request.setBody(body);
        return w.raw(w.brokerAddr(), request);
    }

    private static void illegalTopic(World w) throws Exception {
        for (String topic : List.of("a b", "a.b", "ä", "a/../b", "x".repeat(128))) {
            RemotingCommand answer = send(w, topic, 0, bytes("x"));
            Check.equal(ResponseCode.INVALID_PARAMETER, answer.getCode(), "topic <" + topic + ">, " + answer.getRemark());
        }
        // The connection still answers.
        Check.equal(ResponseCode.SUCCESS, send(w, w.topic(1), 0, bytes("x")).getCode(), "a proper topic");
    }

    private static void systemTopic(World w) throws Exception {
        for (String topic : List.of("SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT")) {
            RemotingCommand answer = send(w, topic, 0, bytes("x"));
            Check.equal(ResponseCode.NO_PERMISSION, answer.getCode(), "topic " + topic + ", " + answer.getRemark());
        }
    }

    /**
     * The Java client refuses an empty body, others do not. Apache's broker trips over it and answers SYSTEM_ERROR; to
     * store it or to refuse it properly is as good, as long as it is answered, and readable when it was taken.
     */
    private static void emptyBody(World w) throws Exception {
        String topic = w.topic(1);
        int stored = 0;
        for (byte[] body : new byte[][] {new byte[0], null}) {
            RemotingCommand answer = send(w, topic, 0, body);
            Check.that(List.of(ResponseCode.SUCCESS, ResponseCode.SYSTEM_ERROR, ResponseCode.MESSAGE_ILLEGAL).contains(answer.getCode()),
                "answer to an empty body: %s", answer);
            stored += answer.getCode() == ResponseCode.SUCCESS ? 1 : 0;
        }
        Check.equal(ResponseCode.SUCCESS, send(w, topic, 0, bytes("x")).getCode(), "a proper body after it");
        for (MessageExt message : w.readAll(topic, stored + 1)) {
            Check.that(World.text(message).equals("x") || message.getBody() == null || message.getBody().length == 0, "body %s", World.text(message));
        }
    }

    private static void sendV1(World w) throws Exception {
        String topic = w.topic(2);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.SEND_MESSAGE, header(topic, 1));
        request.setBody(bytes("version one"));
        RemotingCommand answer = w.raw(w.brokerAddr(), request);
        Check.equal(ResponseCode.SUCCESS, answer.getCode(), "send, " + answer.getRemark());
        Check.equal("1", answer.getExtFields().get("queueId"), "queueId");
        Check.equal("0", answer.getExtFields().get("queueOffset"), "queueOffset");
        Check.equal(List.of("version one"), World.texts(w.readAll(topic, 1)), "messages");
        // No unique key was given, so the broker adds one.
        MessageExt got = w.readAll(topic, 1).get(0);
        Check.that(World.isUniqueKey(String.valueOf(got.getProperty("UNIQ_KEY"))), "UNIQ_KEY %s", got.getProperty("UNIQ_KEY"));
        Check.equal(got.getCommitLogOffset(), MessageDecoder.decodeMessageId(answer.getExtFields().get("msgId")).getOffset(), "physical offset of the id");
    }

    private static void anyQueue(World w) throws Exception {
        String topic = w.topic(4);
        for (int i = 0; i < 20; i++) {
            RemotingCommand answer = send(w, topic, -1, bytes("m" + i));
            Check.equal(ResponseCode.SUCCESS, answer.getCode(), "send, " + answer.getRemark());
            Check.between(0, 3, Integer.parseInt(answer.getExtFields().get("queueId")), "queue");
        }
        Check.equal(World.sortedTexts(World.numbered("m", 20)), World.texts(w.readAll(topic, 20)), "messages");
    }

    private static void unknownTopic(World w) throws Exception {
        GetRouteInfoRequestHeader route = new GetRouteInfoRequestHeader();
        route.setTopic(w.name("nowhere"));
        RemotingCommand answer = w.raw(w.cluster.namesrv, RemotingCommand.createRequestCommand(RequestCode.GET_ROUTEINFO_BY_TOPIC, route));
        Check.equal(ResponseCode.TOPIC_NOT_EXIST, answer.getCode(), "route, " + answer.getRemark());
        GetMaxOffsetRequestHeader max = new GetMaxOffsetRequestHeader();
        max.setTopic(w.name("nowhere"));
        max.setQueueId(0);
        RemotingCommand offset = w.raw(w.brokerAddr(), RemotingCommand.createRequestCommand(RequestCode.GET_MAX_OFFSET, max));
        Check.equal(ResponseCode.SUCCESS, offset.getCode(), "max offset of a queue that is not there, " + offset.getRemark());
        Check.equal("0", offset.getExtFields().get("offset"), "its max offset");
    }

    private static RemotingCommand pull(World w, String topic, int queueId, int sysFlag, String expression) throws Exception {
        PullMessageRequestHeader header = new PullMessageRequestHeader();
        header.setConsumerGroup(w.name("g"));
        header.setTopic(topic);
        header.setQueueId(queueId);
        header.setQueueOffset(0L);
        header.setMaxMsgNums(32);
        header.setSysFlag(sysFlag);
        header.setCommitOffset(0L);
        header.setSuspendTimeoutMillis(0L);
        header.setSubVersion(0L);
        header.setSubscription(expression);
        return w.raw(w.brokerAddr(), RemotingCommand.createRequestCommand(RequestCode.PULL_MESSAGE, header));
    }

    private static void pullErrors(World w) throws Exception {
        String topic = w.topic(2);
        int withSubscription = 4;
        Check.equal(ResponseCode.TOPIC_NOT_EXIST, pull(w, w.name("nowhere"), 0, withSubscription, "*").getCode(), "unknown topic");
        Check.equal(ResponseCode.INVALID_PARAMETER, pull(w, topic, 9, withSubscription, "*").getCode(), "queue 9 of 2");
        Check.equal(ResponseCode.SUBSCRIPTION_NOT_EXIST, pull(w, topic, 0, 0, null).getCode(), "no subscription in the request, none registered");
        Check.equal(ResponseCode.PULL_NOT_FOUND, pull(w, topic, 0, withSubscription, "*").getCode(), "empty queue");
        Check.equal(ResponseCode.PULL_NOT_FOUND, pull(w, topic, 0, withSubscription, "a || b").getCode(), "empty queue with tags");
        RemotingCommand answer = pull(w, topic, 0, withSubscription, "*");
        for (String field : List.of("suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset")) {
            Check.that(answer.getExtFields().containsKey(field), "%s is in the reply: %s", field, answer.getExtFields());
        }
    }
}
