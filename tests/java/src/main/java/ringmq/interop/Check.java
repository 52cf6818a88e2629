package ringmq.interop;

import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.Supplier;

/** Assertions that say what was expected and what came, and bounded waits. */
final class Check {
    private Check() {
    }

    static final class Failed extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Failed(String reason) {
            super(reason);
        }
    }

    static void that(boolean holds, String what, Object... seen) {
        if (!holds) {
            throw new Failed(String.format(what, seen));
        }
    }

    static void equal(Object expected, Object seen, String what) {
        that(Objects.equals(expected, seen), "%s: expected <%s>, got <%s>", what, expected, seen);
    }

    static void between(double low, double high, double seen, String what) {
        that(seen >= low && seen <= high, "%s: expected %.0f to %.0f, got %.0f", what, low, high, seen);
    }

    /** Most within 200 ms, and none so late that a sweep rather than the message woke it. A crowded machine delays some. */
    static void prompt(java.util.Collection<Long> latenciesMs) {
        java.util.List<Long> sorted = latenciesMs.stream().sorted().toList();
        that(sorted.get(sorted.size() / 2) < 200 && sorted.get(sorted.size() - 1) < 1_000,
            "half within 200 ms and all within a second: %s", sorted);
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    /** Polls until the condition holds; fails with {@code what} (evaluated at the end) after {@code limitMs}. */
    static void eventually(long limitMs, Supplier<String> what, Condition condition) throws Exception {
        long end = System.nanoTime() + limitMs * 1_000_000L;
        while (!condition.holds()) {
            that(System.nanoTime() < end, "not within %d ms: %s", limitMs, what.get());
            Thread.sleep(10);
        }
    }

    /** Runs something that has to be refused and returns the refusal. */
    static <E extends Exception> E refused(Class<E> by, String what, Callable<?> call) throws Exception {
        Object result;
        try {
            result = call.call();
        } catch (Exception e) {
            that(by.isInstance(e), "%s: expected %s, got %s", what, by.getSimpleName(), e);
            return by.cast(e);
        }
        throw new Failed(what + ": not refused, answered " + result);
    }
}
