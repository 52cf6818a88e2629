package golden;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.message.MessageVersion;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.annotation.CFNotNull;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.SerializeType;
import org.apache.rocketmq.remoting.protocol.body.RegisterBrokerBody;
import org.apache.rocketmq.remoting.protocol.filter.FilterAPI;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.remoting.protocol.route.QueueData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.store.MessageExtEncoder;
import org.apache.rocketmq.store.config.MessageStoreConfig;

/** Writes the golden files. */
final class Write {
    static final HexFormat HEX = HexFormat.of();
    private final Path directory;

    Write(Path directory) {
        this.directory = directory;
    }

    void all() throws Exception {
        headers();
        frames();
        bodies();
        records();
        batches();
        ids();
        texts();
    }

    private void file(String name, List<String> lines) throws IOException {
        Files.write(directory.resolve(name), lines, StandardCharsets.UTF_8);
    }

    private void headers() throws Exception {
        List<String> fields = new ArrayList<>();
        List<String> frames = new ArrayList<>();
        for (Class<?> type : Classes.HEADERS) {
            for (var field : Filler.fields(type)) {
                String need = field.isAnnotationPresent(CFNotNull.class) ? "notnull" : "nullable";
                fields.add(String.join(" ", type.getSimpleName(), field.getName(), field.getType().getSimpleName(), need));
            }
            for (SerializeType serialize : SerializeType.values()) {
                RemotingCommand command = RemotingCommand.createRequestCommand(77, (CommandCustomHeader) Filler.fill(type));
                frames.add(type.getSimpleName() + " " + serialize + " " + frame(command, serialize, "body"));
            }
        }
        file("header_fields.txt", fields);
        file("header_frames.txt", frames);
    }

    private static String frame(RemotingCommand command, SerializeType serialize, String body) {
        command.setOpaque(4711);
        command.setSerializeTypeCurrentRPC(serialize);
        if (body != null) {
            command.setBody(body.getBytes(StandardCharsets.UTF_8));
        }
        ByteBuffer buffer = command.encode();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return HEX.formatHex(bytes);
    }

    /** Frames without a header class: remarks, escapes, empty and missing maps. */
    private void frames() throws Exception {
        List<String> lines = new ArrayList<>();
        StringBuilder controls = new StringBuilder();
        for (char c = 0; c < 0x20; c++) {
            controls.append(c);
        }
        Map<String, String> remarks = new LinkedHashMap<>();
        remarks.put("none", null);
        remarks.put("plain", "system busy");
        remarks.put("controls", controls.toString());
        remarks.put("quotes", "\"quoted\" \\back\\slash/");
        remarks.put("unicode", "gr\u00fc\u00dfe \u4e2d\u6587 \ud83d\ude00 \u007f \u2028");
        for (SerializeType serialize : SerializeType.values()) {
            for (var remark : remarks.entrySet()) {
                RemotingCommand response = RemotingCommand.createResponseCommand(2, remark.getValue());
                lines.add("response-" + remark.getKey() + " " + serialize + " " + frame(response, serialize, null));
                RemotingCommand request = RemotingCommand.createRequestCommand(34, null);
                request.markOnewayRPC();
                request.addExtField("empty", "");
                request.addExtField("value", remark.getValue() == null ? "null" : remark.getValue());
                lines.add("oneway-" + remark.getKey() + " " + serialize + " " + frame(request, serialize, "{}"));
            }
        }
        file("frames.txt", lines);
    }

    private void bodies() throws Exception {
        List<String> lines = new ArrayList<>();
        for (Class<?> type : Classes.BODIES) {
            lines.add(type.getSimpleName() + " " + RemotingSerializable.toJson(Filler.fill(type), false));
            // A new data version carries the time; the files shall be the same at any time.
            String empty = RemotingSerializable.toJson(Filler.create(type), false);
            lines.add(type.getSimpleName() + " " + empty.replaceAll("\"timestamp\":[0-9]+", "\"timestamp\":1700000000000"));
        }
        TopicRouteData route = new TopicRouteData();
        QueueData queue = new QueueData();
        queue.setBrokerName("broker-a");
        queue.setPerm(6);
        queue.setReadQueueNums(4);
        queue.setWriteQueueNums(4);
        java.util.HashMap<Long, String> addresses = new java.util.HashMap<>();
        addresses.put(0L, "10.0.0.1:10911");
        addresses.put(1L, "10.0.0.2:10911");
        route.setQueueDatas(List.of(queue));
        route.setBrokerDatas(List.of(new BrokerData("DefaultCluster", "broker-a", addresses)));
        route.setFilterServerTable(new java.util.HashMap<>());
        file("route_default.json", List.of(new String(route.encode(), StandardCharsets.UTF_8)));
        byte[] standard = route.encode(com.alibaba.fastjson2.JSONWriter.Feature.BrowserCompatible,
            com.alibaba.fastjson2.JSONWriter.Feature.WriteNonStringKeyAsString,
            com.alibaba.fastjson2.JSONWriter.Feature.MapSortField);
        file("route_standard.json", List.of(new String(standard, StandardCharsets.UTF_8)));
        file("bodies.txt", lines);

        List<String> subscriptions = new ArrayList<>();
        for (String expression : new String[] {"*", "", "TagA", "TagA || TagB", " TagA||TagB ||  TagC", "TagA||", "||TagA", " ", "\u6807\u7b7e"}) {
            var data = FilterAPI.buildSubscriptionData("T", expression);
            data.setSubVersion(1);
            subscriptions.add("[" + expression + "] " + RemotingSerializable.toJson(data, false));
        }
        file("subscriptions.txt", subscriptions);
    }

    private static MessageExtBrokerInner message(String topic, String bornIp, String storeIp, byte[] body) throws Exception {
        MessageExtBrokerInner message = new MessageExtBrokerInner();
        message.setTopic(topic);
        message.setBody(body);
        message.setFlag(77);
        message.setQueueId(3);
        message.setBornTimestamp(1_700_000_000_001L);
        message.setBornHost(new InetSocketAddress(InetAddress.getByName(bornIp), 40_123));
        message.setStoreTimestamp(1_700_000_000_002L);
        message.setStoreHost(new InetSocketAddress(InetAddress.getByName(storeIp), 10_911));
        message.setReconsumeTimes(2);
        message.setPreparedTransactionOffset(99);
        if (bornIp.contains(":")) {
            message.setBornHostV6Flag();
        }
        if (storeIp.contains(":")) {
            message.setStoreHostAddressV6Flag();
        }
        message.setTags("TagA");
        message.setKeys(List.of("key1", "key2"));
        message.putUserProperty("user", "gr\u00fc\u00dfe");
        message.setVersion(topic.length() > 127 ? MessageVersion.MESSAGE_VERSION_V2 : MessageVersion.MESSAGE_VERSION_V1);
        message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
        return message;
    }

    /** Each line: name, topic, body length, sysFlag, born host, store host, queue and physical offset, properties (hex), record (hex). */
    private void records() throws Exception {
        List<String> lines = new ArrayList<>();
        byte[] body = "hello, \u4e16\u754c".getBytes(StandardCharsets.UTF_8);
        byte[] large = new byte[6000];
        for (int i = 0; i < large.length; i++) {
            large[i] = (byte) (i % 61);
        }
        String longTopic = "%RETRY%" + "g".repeat(150);
        stored(lines, "v1", message("TopicTest", "10.0.0.7", "10.0.0.1", body));
        stored(lines, "v1-empty-body", message("TopicTest", "10.0.0.7", "10.0.0.1", new byte[0]));
        stored(lines, "v1-large", message("TopicTest", "10.0.0.7", "10.0.0.1", large));
        stored(lines, "v1-topic-127", message("t".repeat(127), "10.0.0.7", "10.0.0.1", body));
        stored(lines, "v2-topic-128", message("%RETRY%" + "t".repeat(121), "10.0.0.7", "10.0.0.1", body));
        stored(lines, "v2", message(longTopic, "10.0.0.7", "10.0.0.1", body));
        stored(lines, "v1-born-ipv6", message("TopicTest", "2001:db8::7", "10.0.0.1", body));
        stored(lines, "v1-store-ipv6", message("TopicTest", "10.0.0.7", "2001:db8::1", body));
        stored(lines, "v2-ipv6", message(longTopic, "2001:db8::7", "2001:db8::1", body));
        for (CompressionType type : CompressionType.values()) {
            MessageExtBrokerInner message = message("TopicTest", "10.0.0.7", "10.0.0.1",
                org.apache.rocketmq.common.compression.CompressorFactory.getCompressor(type).compress(large, 5));
            message.setSysFlag(message.getSysFlag() | MessageSysFlag.COMPRESSED_FLAG | type.getCompressionFlag());
            stored(lines, "compressed-" + type, message);
        }
        MessageExtBrokerInner half = message("TopicTest", "10.0.0.7", "10.0.0.1", body);
        half.setSysFlag(half.getSysFlag() | MessageSysFlag.TRANSACTION_PREPARED_TYPE);
        stored(lines, "half", half);

        MessageExt ext = message("TopicTest", "10.0.0.7", "10.0.0.1", body);
        ext.setQueueOffset(12);
        ext.setCommitLogOffset(3456);
        ext.setBodyCRC(UtilAll.crc32(body));
        ext.setStoreSize(0);
        line(lines, "client-encoded", ext, MessageDecoder.encode(ext, false));
        file("records.txt", lines);
    }

    private static void stored(List<String> lines, String name, MessageExtBrokerInner message) throws Exception {
        // The commitlog sets this one before it encodes.
        message.setBodyCRC(UtilAll.crc32(message.getBody()));
        MessageExtEncoder encoder = new MessageExtEncoder(1 << 20, new MessageStoreConfig());
        if (encoder.encode(message) != null) {
            throw new IllegalStateException(name + " was not encoded");
        }
        ByteBuffer buffer = encoder.getEncoderBuffer();
        // The buffer is as large as the largest message; the record says how much of it is in use.
        byte[] record = new byte[buffer.getInt(0)];
        buffer.get(0, record);
        // The commitlog fills these two in when it appends, at 20 and 28 in every version.
        message.setQueueOffset(12);
        message.setCommitLogOffset(3456);
        ByteBuffer.wrap(record).putLong(20, 12).putLong(28, 3456);
        line(lines, name, message, record);
    }

    private static void line(List<String> lines, String name, MessageExt message, byte[] record) {
        InetSocketAddress born = (InetSocketAddress) message.getBornHost();
        InetSocketAddress store = (InetSocketAddress) message.getStoreHost();
        String properties = MessageDecoder.messageProperties2String(message.getProperties());
        lines.add(String.join(" ", name, message.getTopic(), "" + message.getBody().length, "" + message.getSysFlag(),
            born.getAddress().getHostAddress() + "/" + born.getPort(), store.getAddress().getHostAddress() + "/" + store.getPort(),
            "" + message.getQueueOffset(), "" + message.getCommitLogOffset(),
            HEX.formatHex(properties.getBytes(StandardCharsets.UTF_8)), HEX.formatHex(record)));
    }

    private void batches() throws Exception {
        List<Message> messages = new ArrayList<>();
        for (String text : new String[] {"one", "", "three, \u4e09"}) {
            Message message = new Message("TopicTest", "TagA", "key", text.getBytes(StandardCharsets.UTF_8));
            message.setFlag(text.length());
            messages.add(message);
        }
        file("batch.txt", List.of(HEX.formatHex(MessageDecoder.encodeMessages(messages))));
    }

    private void ids() throws Exception {
        List<String> lines = new ArrayList<>();
        for (String ip : new String[] {"10.0.0.1", "2001:db8::1"}) {
            for (long offset : new long[] {0, 3456, Long.MAX_VALUE}) {
                InetAddress address = InetAddress.getByName(ip);
                String id = MessageDecoder.createMessageId(new InetSocketAddress(address, 10_911), offset);
                lines.add(String.join(" ", "offset", address.getHostAddress(), "10911", "" + offset, id));
            }
        }
        for (String id : new String[] {"0A0000011F9018B4AAC29097656D7F30", "20010DB8000000000000000000000001282830946E097656D7F4FFFF"}) {
            lines.add(String.join(" ", "unique", InetAddress.getByAddress(MessageClientIDSetter.getIPFromID(id)).getHostAddress(),
                "" + MessageClientIDSetter.getPidFromID(id), id));
        }
        file("ids.txt", lines);
    }

    private void texts() throws Exception {
        List<String> hashes = new ArrayList<>();
        for (String text : new String[] {"TagA", "TagB", "polygenelubricants", "\u6807\u7b7e", "\ud83d\ude00", "a", "%RETRY%group"}) {
            hashes.add(text + " " + text.hashCode());
        }
        file("hash_codes.txt", hashes);

        List<String> topics = new ArrayList<>();
        TopicConfig plain = new TopicConfig("TopicTest", 8, 16, 6);
        TopicConfig attributes = new TopicConfig("TopicTest", 8, 16, 6);
        attributes.setAttributes(new TreeMap<>(Map.of("message.type", "FIFO", "queue.type", "SimpleCQ")));
        topics.add(plain.encode());
        topics.add(attributes.encode());
        file("topic_config.txt", topics);

        RegisterBrokerBody body = Filler.fill(RegisterBrokerBody.class);
        file("register_compressed.txt", List.of(RemotingSerializable.toJson(body, false), HEX.formatHex(body.encode(true))));

        List<String> properties = new ArrayList<>();
        for (String text : new String[] {"a\u0001b\u0002", "a\u0001b\u0002c\u0001d", "a\u0001\u0002c\u0001d\u0002", "\u0001b\u0002c\u0001d\u0002",
            "nothing\u0002c\u0001d\u0002", "c\u0001d\u0001e\u0002", "\u0002\u0002c\u0001d", "a\u0001b\u0002a\u0001c\u0002", "a", "ab\u0001", "a\u0001b"}) {
            String map = RemotingSerializable.toJson(new TreeMap<>(MessageDecoder.string2messageProperties(text)), false);
            properties.add(HEX.formatHex(text.getBytes(StandardCharsets.UTF_8)) + " " + map);
        }
        file("properties.txt", properties);
    }
}
