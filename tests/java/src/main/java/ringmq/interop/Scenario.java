package ringmq.interop;

/** One claim about the broker, checked through the published client. A body returns when the claim holds and throws when not. */
record Scenario(String name, boolean alone, Body body) {
    interface Body {
        void run(World world) throws Exception;
    }

    /** May run beside any other scenario: uses topics and groups of its own. */
    static Scenario of(String name, Body body) {
        return new Scenario(name, false, body);
    }

    /** Measures time, so it runs when no other scenario does. */
    static Scenario alone(String name, Body body) {
        return new Scenario(name, true, body);
    }
}
