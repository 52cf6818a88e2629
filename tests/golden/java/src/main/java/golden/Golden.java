package golden;

import java.nio.file.Path;

/** {@code Golden write DIR} writes golden files; {@code Golden check GOLDEN OURS} has Apache's classes read what ours wrote. */
public final class Golden {
    private Golden() {
    }

    public static void main(String[] args) throws Exception {
        System.setProperty("rocketmq.remoting.version", "513");
        if (args.length == 2 && args[0].equals("write")) {
            new Write(Path.of(args[1])).all();
        } else if (args.length == 3 && args[0].equals("check")) {
            System.exit(new Check(Path.of(args[1]), Path.of(args[2])).all() ? 0 : 1);
        } else {
            System.err.println("usage: Golden write DIR | Golden check GOLDEN OURS");
            System.exit(2);
        }
    }
}
