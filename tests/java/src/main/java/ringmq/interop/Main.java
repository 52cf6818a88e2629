package ringmq.interop;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs scenarios against a cluster: {@code Main SCENARIO... --namesrv HOST:PORT [--serializer JSON|ROCKETMQ] [--threads N] [--trace true]}.
 * SCENARIO is a name, a prefix that ends in {@code *}, or {@code all}; {@code Main list} names them.
 * Prints one line each, {@code PASS name (ms)} or {@code FAIL name: reason}, then {@code TOTAL passed=N failed=M ms=T}; exit status 1 when one failed.
 */
public final class Main {
    private static final long LIMIT_SECONDS = 90;

    private Main() {
    }

    static List<Scenario> scenarios() {
        List<Scenario> all = new ArrayList<>();
        all.addAll(Sending.scenarios());
        all.addAll(Consuming.scenarios());
        all.addAll(Pulling.scenarios());
        all.addAll(Retrying.scenarios());
        all.addAll(Ordering.scenarios());
        all.addAll(Querying.scenarios());
        all.addAll(Groups.scenarios());
        all.addAll(Wire.scenarios());
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new LinkedHashMap<>();
        List<String> names = new ArrayList<>();
        for (int i = 0; i < arguments.length; i++) {
            if (arguments[i].startsWith("--") && i + 1 < arguments.length) {
                options.put(arguments[i].substring(2), arguments[++i]);
            } else {
                names.add(arguments[i]);
            }
        }
        if (names.equals(List.of("list"))) {
            scenarios().forEach(s -> System.out.println(s.name()));
            return;
        }
        if (!options.containsKey("namesrv") || names.isEmpty()) {
            System.err.println("usage: Main SCENARIO...|all|list --namesrv HOST:PORT [--serializer JSON|ROCKETMQ] [--threads N]");
            System.exit(2);
        }
        // The client reads this once, when its classes load, so it comes before the first of them.
        System.setProperty("rocketmq.serialize.type", options.getOrDefault("serializer", "JSON"));
        List<Scenario> chosen = choose(names);
        boolean trace = Boolean.parseBoolean(options.get("trace"));
        int failed = run(chosen, options.get("namesrv"), Integer.parseInt(options.getOrDefault("threads", "24")), trace);
        System.exit(failed == 0 ? 0 : 1);
    }

    private static List<Scenario> choose(List<String> names) {
        List<Scenario> chosen = new ArrayList<>();
        for (String name : names) {
            int before = chosen.size();
            for (Scenario s : scenarios()) {
                boolean prefix = name.endsWith("*") && s.name().startsWith(name.substring(0, name.length() - 1));
                if (name.equals("all") || name.equals(s.name()) || prefix) {
                    chosen.add(s);
                }
            }
            if (chosen.size() == before) {
                System.err.println("no scenario is called " + name + "; `Main list` names them");
                System.exit(2);
            }
        }
        return chosen;
    }

    private static int run(List<Scenario> chosen, String namesrv, int threads, boolean trace) throws Exception {
        long start = System.nanoTime();
        int failed = 0;
        try (World.Cluster cluster = new World.Cluster(namesrv)) {
            ExecutorService pool = Executors.newCachedThreadPool();
            failed += runAll(chosen.stream().filter(s -> !s.alone()).toList(), cluster, pool, threads, trace);
            failed += runAll(chosen.stream().filter(Scenario::alone).toList(), cluster, pool, 1, trace);
            pool.shutdownNow();
        }
        System.out.printf("TOTAL passed=%d failed=%d ms=%d%n", chosen.size() - failed, failed, millisSince(start));
        return failed;
    }

    private static int runAll(List<Scenario> some, World.Cluster cluster, ExecutorService pool, int threads, boolean trace)
        throws Exception {
        ExecutorService lanes = Executors.newFixedThreadPool(threads);
        List<Future<Boolean>> results = new ArrayList<>();
        for (Scenario s : some) {
            results.add(lanes.submit(() -> runOne(s, cluster, pool, trace)));
        }
        int failed = 0;
        for (Future<Boolean> result : results) {
            failed += result.get() ? 0 : 1;
        }
        lanes.shutdown();
        return failed;
    }

    private static boolean runOne(Scenario scenario, World.Cluster cluster, ExecutorService pool, boolean trace) {
        long start = System.nanoTime();
        String reason = null;
        Future<?> body = pool.submit(() -> {
            try (World world = new World(cluster, scenario.name())) {
                scenario.body().run(world);
            }
            return null;
        });
        try {
            body.get(LIMIT_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            body.cancel(true);
            reason = "not done after " + LIMIT_SECONDS + " s";
        } catch (Exception e) {
            reason = reason(e.getCause() == null ? e : e.getCause(), trace);
        }
        if (reason == null) {
            System.out.printf("PASS %s (%d)%n", scenario.name(), millisSince(start));
        } else {
            System.out.printf("FAIL %s: %s%n", scenario.name(), reason);
        }
        return reason == null;
    }

    /** One line, unless the trace was asked for. */
    private static String reason(Throwable e, boolean trace) {
        if (trace) {
            StringWriter text = new StringWriter();
            e.printStackTrace(new PrintWriter(text));
            return text.toString();
        }
        String text = e instanceof Check.Failed ? e.getMessage() : e.toString();
        text = text.replaceAll("\\s+", " ");
        return text.length() > 600 ? text.substring(0, 600) + "..." : text;
    }

    private static long millisSince(long start) {
        return (System.nanoTime() - start) / 1_000_000;
    }
}
