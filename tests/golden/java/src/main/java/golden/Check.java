package golden;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/** Reads with Apache's classes what ours wrote from the golden data, and compares with that data. */
final class Check {
    private final Path golden;
    private final Path ours;
    private int passed;
    private int failed;

    Check(Path golden, Path ours) {
        this.golden = golden;
        this.ours = ours;
    }

    boolean all() throws Exception {
        headers();
        bodies();
        records();
        batch();
        ids();
        System.out.println("golden check: " + passed + " passed, " + failed + " failed");
        return failed == 0 && passed > 0;
    }

    private void same(String what, Object expected, Object found) {
        if (String.valueOf(expected).equals(String.valueOf(found))) {
            passed++;
        } else {
            failed++;
            System.out.println("FAILED " + what + "\n  expected " + expected + "\n  found    " + found);
        }
    }

    private List<String> lines(Path directory, String name) throws Exception {
        return Files.readAllLines(directory.resolve(name), StandardCharsets.UTF_8);
    }

    private static RemotingCommand command(String hex) throws Exception {
        byte[] bytes = Write.HEX.parseHex(hex);
        return RemotingCommand.decode(ByteBuffer.wrap(bytes, 4, bytes.length - 4).slice());
    }

    private static Map<String, String> fields(RemotingCommand command, Class<?> type) throws Exception {
        @SuppressWarnings("unchecked")
        var header = command.decodeCommandCustomHeader((Class<? extends CommandCustomHeader>) type);
        Map<String, String> fields = new TreeMap<>();
        for (var field : Filler.fields(type)) {
            field.setAccessible(true);
            fields.put(field.getName(), String.valueOf(field.get(header)));
        }
        return fields;
    }

    private void headers() throws Exception {
        List<String> expected = lines(golden, "header_frames.txt");
        List<String> found = lines(ours, "header_frames.txt");
        same("number of headers", expected.size(), found.size());
        for (int i = 0; i < Math.min(expected.size(), found.size()); i++) {
            String[] e = expected.get(i).split(" ");
            String[] f = found.get(i).split(" ");
            String what = e[0] + " " + e[1];
            Class<?> type = Classes.named(Classes.HEADERS, e[0]);
            RemotingCommand theirs = command(e[2]);
            RemotingCommand own = command(f[2]);
            same(what, fields(theirs, type), fields(own, type));
            same(what + " ext", new TreeMap<>(theirs.getExtFields()), new TreeMap<>(own.getExtFields()));
            same(what + " frame", theirs.getCode() + " " + theirs.getOpaque() + " " + theirs.getFlag() + " "
                + theirs.getLanguage() + " " + theirs.getVersion() + " " + new String(theirs.getBody(), StandardCharsets.UTF_8),
                own.getCode() + " " + own.getOpaque() + " " + own.getFlag() + " "
                + own.getLanguage() + " " + own.getVersion() + " " + new String(own.getBody(), StandardCharsets.UTF_8));
        }
    }

    private void bodies() throws Exception {
        List<String> expected = lines(golden, "bodies.txt");
        List<String> found = lines(ours, "bodies.txt");
        int at = 0;
        String lastName = "";
        for (String line : found) {
            String name = line.substring(0, line.indexOf(' '));
            while (!expected.get(at).startsWith(name + " ")) {
                at++;
            }
            Class<?> type = Classes.named(Classes.BODIES, name);
            String theirs = expected.get(at++).substring(name.length() + 1);
            String own = line.substring(name.length() + 1);
            Object read = RemotingSerializable.decode(own.getBytes(StandardCharsets.UTF_8), type);
            // A class's second line is a new object: where Java has null, ours may be empty, so it only has to be readable.
            if (name.equals(lastName)) {
                same(name + " of a new object", true, read != null);
                continue;
            }
            lastName = name;
            Object again = RemotingSerializable.decode(theirs.getBytes(StandardCharsets.UTF_8), type);
            same(name, RemotingSerializable.toJson(again, false), RemotingSerializable.toJson(read, false));
        }
    }

    private void records() throws Exception {
        for (String line : lines(ours, "records.txt")) {
            String[] f = line.split(" ");
            MessageExt message = MessageDecoder.decode(ByteBuffer.wrap(Write.HEX.parseHex(f[9])), true, false, false, false, true);
            same(f[0] + " decoded", true, message != null);
            if (message == null) {
                continue;
            }
            same(f[0] + " topic", f[1], message.getTopic());
            same(f[0] + " body length", f[2], message.getBody() == null ? 0 : message.getBody().length);
            same(f[0] + " sysFlag", f[3], message.getSysFlag());
            var born = (java.net.InetSocketAddress) message.getBornHost();
            var store = (java.net.InetSocketAddress) message.getStoreHost();
            same(f[0] + " born host", f[4], born.getAddress().getHostAddress() + "/" + born.getPort());
            same(f[0] + " store host", f[5], store.getAddress().getHostAddress() + "/" + store.getPort());
            same(f[0] + " offsets", f[6] + " " + f[7], message.getQueueOffset() + " " + message.getCommitLogOffset());
            String properties = new String(Write.HEX.parseHex(f[8]), StandardCharsets.UTF_8);
            same(f[0] + " properties", new TreeMap<>(MessageDecoder.string2messageProperties(properties)),
                new TreeMap<>(message.getProperties()));
        }
    }

    private void batch() throws Exception {
        ByteBuffer theirs = ByteBuffer.wrap(Write.HEX.parseHex(lines(golden, "batch.txt").get(0)));
        ByteBuffer own = ByteBuffer.wrap(Write.HEX.parseHex(lines(ours, "batch.txt").get(0)));
        List<Message> expected = MessageDecoder.decodeMessages(theirs);
        List<Message> found = MessageDecoder.decodeMessages(own);
        same("batch", expected, found);
    }

    private void ids() throws Exception {
        for (String line : lines(ours, "ids.txt")) {
            String[] f = line.split(" ");
            if (f[0].equals("offset")) {
                MessageId id = MessageDecoder.decodeMessageId(f[4]);
                var address = (java.net.InetSocketAddress) id.getAddress();
                same("offset id", f[1] + " " + f[2] + " " + f[3],
                    address.getAddress().getHostAddress() + " " + address.getPort() + " " + id.getOffset());
            }
        }
    }
}
