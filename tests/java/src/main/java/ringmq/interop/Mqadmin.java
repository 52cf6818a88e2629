package ringmq.interop;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs the published mqadmin's subcommands from a table, in this one JVM: {@code Mqadmin TABLE --namesrv HOST:PORT [--only NAME] [--show true]}.
 * The table's lines: {@code case NAME} begins a row; {@code run ARGS...} calls mqadmin (several in a row are one output);
 * {@code for MS} ends commands that go on for ever after so long; {@code retry N} tries a row again, a second apart, for
 * what the broker shows a little later; {@code want REGEX} must be found in the output, {@code deny REGEX} must not;
 * {@code set NAME REGEX} keeps group 1 of a match for later rows. {@code ${NAME}} stands for a value of {@link #prepare}.
 * Lines that begin with {@code ours} are for our own mqadmin and left out here; {@code apache} is for this one alone.
 * An exception in the output fails every row, since mqadmin itself exits with 0 then.
 */
public final class Mqadmin {
    private static final class Row {
        String name;
        long limitMs = 30_000;
        boolean endless;
        int tries = 1;
        final List<String> runs = new ArrayList<>();
        final List<String> wants = new ArrayList<>();
        final List<String> denies = new ArrayList<>();
        final Map<String, String> sets = new HashMap<>();
    }

    private static final Pattern TROUBLE = Pattern.compile(
        "(?m)^\\s*(?:Caused by: )?(?:[\\w$]+\\.)+[\\w$]*(?:Exception|Error)\\b.*|^\\s+at org\\.apache\\.rocketmq\\..*|^Error: .*|^The sub command .* not exist.*");

    /** Some commands hold a client that starts once only, so every run gets new ones. */
    private static final class Fresh extends MQAdminStartup {
        static void main0(String[] arguments) {
            SUB_COMMANDS.clear();
            MQAdminStartup.main0(arguments, null);
        }
    }

    private final Map<String, String> values = new HashMap<>();
    private final PrintStream console = System.out;

    private Mqadmin() {
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 1; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        List<Row> rows = read(Path.of(arguments[0]));
        int failed;
        try (World.Cluster cluster = new World.Cluster(options.get("namesrv")); World world = new World(cluster, "mqadmin")) {
            failed = new Mqadmin().run(rows, world, options);
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    private static List<Row> read(Path table) throws IOException {
        List<Row> rows = new ArrayList<>();
        Row row = null;
        for (String line : Files.readAllLines(table)) {
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            String[] parts = line.strip().split("\\s+", 2);
            if (parts[0].equals("ours")) {
                continue;
            }
            if (parts[0].equals("apache")) {
                parts = parts[1].split("\\s+", 2);
            }
            if (parts[0].equals("case")) {
                row = new Row();
                row.name = parts[1];
                rows.add(row);
                continue;
            }
            switch (parts[0]) {
                case "run" -> row.runs.add(parts[1]);
                case "for" -> {
                    row.limitMs = Long.parseLong(parts[1]);
                    row.endless = true;
                }
                case "retry" -> row.tries = Integer.parseInt(parts[1]);
                case "want" -> row.wants.add(parts[1]);
                case "deny" -> row.denies.add(parts[1]);
                case "set" -> row.sets.put(parts[1].split("\\s+", 2)[0], parts[1].split("\\s+", 2)[1]);
                default -> throw new IllegalArgumentException("unknown line in the table: " + line);
            }
        }
        return rows;
    }

    /** A topic of 4 queues with 8 messages, an online consumer group that has consumed them, and an online producer. */
    private void prepare(World world) throws Exception {
        String topic = world.topic(4);
        DefaultMQProducer producer = world.producer();
        ConcurrentLinkedQueue<MessageExt> got = World.concurrentList();
        String group = world.name("g");
        DefaultMQPushConsumer consumer = world.pushConsumer(group, got);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.subscribe(topic, "*");
        consumer.start();
        SendResult last = null;
        for (int i = 0; i < 8; i++) {
            last = World.sent(producer.send(new Message(topic, "tag" + i, "key" + i, World.bytes("body" + i))));
        }
        World.awaitExactly(got, World.numbered("body", 8), "messages of the prepared topic");
        producer.getDefaultMQProducerImpl().getMqClientFactory().sendHeartbeatToAllBrokerWithLock();
        values.put("namesrv", world.cluster.namesrv);
        values.put("cluster", world.cluster.broker.getCluster());
        values.put("broker", world.brokerAddr());
        values.put("brokerName", world.brokerName());
        values.put("topic", topic);
        values.put("group", group);
        values.put("producerGroup", producer.getProducerGroup());
        values.put("producerClient", producer.buildMQClientId());
        values.put("consumerClient", consumer.buildMQClientId());
        values.put("offsetId", last.getOffsetMsgId());
        values.put("uniqueKey", last.getMsgId());
        values.put("queueId", Integer.toString(last.getMessageQueue().getQueueId()));
        values.put("queueOffset", Long.toString(last.getQueueOffset()));
        values.put("new", world.name("new"));
        values.put("run", world.cluster.run);
    }

    private int run(List<Row> rows, World world, Map<String, String> options) throws Exception {
        prepare(world);
        long start = System.nanoTime();
        int passed = 0;
        int failed = 0;
        for (Row row : rows) {
            if (options.containsKey("only") && !row.name.equals(options.get("only"))) {
                continue;
            }
            long rowStart = System.nanoTime();
            String output = "";
            String reason = null;
            for (int i = 0; i < row.tries; i++) {
                if (i > 0) {
                    Thread.sleep(1_000);
                }
                output = output(row);
                reason = judge(row, output);
                if (reason == null) {
                    break;
                }
            }
            if (Boolean.parseBoolean(options.get("show"))) {
                console.printf("---- %s%n%s%n", row.name, output);
            }
            if (reason == null) {
                passed++;
                console.printf("PASS %s (%d)%n", row.name, (System.nanoTime() - rowStart) / 1_000_000);
            } else {
                failed++;
                console.printf("FAIL %s: %s%n", row.name, reason.replaceAll("\\s+", " "));
            }
        }
        console.printf("TOTAL passed=%d failed=%d ms=%d%n", passed, failed, (System.nanoTime() - start) / 1_000_000);
        return failed;
    }

    private String output(Row row) throws InterruptedException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream into = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        PrintStream error = System.err;
        System.setOut(into);
        System.setErr(into);
        try {
            for (String run : row.runs) {
                String[] arguments = fill(run).split("\\s+");
                Thread command = new Thread(() -> Fresh.main0(arguments), "mqadmin " + row.name);
                command.start();
                command.join(row.limitMs);
                if (command.isAlive()) {
                    if (!row.endless) {
                        into.println("Error: not done after " + row.limitMs + " ms");
                    }
                    // What a command prints about being interrupted is not part of its output.
                    System.setOut(new PrintStream(PrintStream.nullOutputStream()));
                    System.setErr(System.out);
                    command.interrupt();
                    command.join(10_000);
                    System.setOut(into);
                    System.setErr(into);
                }
            }
        } finally {
            System.setOut(console);
            System.setErr(error);
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    private String judge(Row row, String output) {
        Matcher trouble = TROUBLE.matcher(output);
        if (trouble.find()) {
            return "trouble in the output: " + cut(output.substring(trouble.start()));
        }
        for (String want : row.wants) {
            if (!Pattern.compile("(?m)" + fill(want)).matcher(output).find()) {
                return "no match of /" + fill(want) + "/ in: " + cut(output);
            }
        }
        for (String deny : row.denies) {
            if (Pattern.compile("(?m)" + fill(deny)).matcher(output).find()) {
                return "a match of /" + fill(deny) + "/ in: " + cut(output);
            }
        }
        for (Map.Entry<String, String> set : row.sets.entrySet()) {
            Matcher found = Pattern.compile("(?m)" + fill(set.getValue())).matcher(output);
            if (!found.find()) {
                return "no match of /" + set.getValue() + "/ for " + set.getKey() + " in: " + cut(output);
            }
            values.put(set.getKey(), found.group(1));
        }
        return null;
    }

    private static String cut(String text) {
        String line = text.strip();
        return line.length() > 700 ? line.substring(0, 700) + "..." : line;
    }

    private String fill(String text) {
        Matcher names = Pattern.compile("\\$\\{(\\w+)\\}").matcher(text);
        StringBuilder filled = new StringBuilder();
        while (names.find()) {
            String value = values.get(names.group(1));
            if (value == null) {
                throw new IllegalArgumentException("the table names ${" + names.group(1) + "}, which nothing sets");
            }
            names.appendReplacement(filled, Matcher.quoteReplacement(value));
        }
        names.appendTail(filled);
        return filled.toString();
    }
}
