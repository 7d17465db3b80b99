package org.edgeproof.demo;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.edgeproof.lib.Phone;
import org.edgeproof.lib.engine.Programs;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonReader;
import org.edgeproof.lib.json.JsonWriter;

/**
 * The app without Android: JSON commands on stdin, a line of JSON for each on stdout.
 *
 * <pre>java org.edgeproof.demo.Drive ROOT MEMORY VARIANT=PROGRAM … [-- COMMAND …]</pre>
 */
public final class Drive {
    private final Session session;
    private CountDownLatch running = new CountDownLatch(0);

    private Drive(Session session) {
        this.session = session;
    }

    public static void main(String[] given) throws Exception {
        List<String> words = new ArrayList<>(Arrays.asList(given));
        int split = words.indexOf("--");
        List<String> before = split < 0 ? Collections.<String>emptyList() : words.subList(split + 1, words.size());
        List<String> variants = new ArrayList<>();
        List<File> programs = new ArrayList<>();
        for (String word : words.subList(2, split < 0 ? words.size() : split)) {
            variants.add(word.substring(0, word.indexOf('=')));
            programs.add(new File(word.substring(word.indexOf('=') + 1)));
        }
        Store store = new Store(new File(words.get(0)));
        Drive drive = new Drive(
                new Session(store, Programs.of(variants, programs, before), new Machine(Long.parseLong(words.get(1))), 1));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            System.out.println(JsonWriter.write(drive.done(JsonObject.read(line, "the command"))));
            System.out.flush();
        }
        System.exit(0);
    }

    private Object done(JsonObject asked) throws Exception {
        switch (asked.text("do")) {
            case "door":
                return door(asked);
            case "run":
                return run(asked);
            case "shared":
                File shared = session.store.shared(asked.text("name"));
                return shared == null ? null : shared.getPath();
            case "restore":
                session.restore();
                return state();
            case "state":
                return state();
            case "rows":
                return JsonReader.read(session.rows((int) asked.whole("from", 0)));
            case "take":
                return take(asked.flag("job"), new File(asked.text("path")));
            case "start":
                return start();
            case "wait":
                running.await();
                return state();
            case "cancel":
                session.cancel();
                running.await();
                return state();
            case "anew":
                session.anew();
                return state();
            case "ask":
                return ask(asked.text("text"));
            default:
                throw new IllegalArgumentException("no command of this name");
        }
    }

    private static Object door(JsonObject asked) throws JsonException {
        try {
            Door door = asked.has("loop")
                    ? Door.loop(number(asked.values().get("loop")), new File("/none"), new File(asked.text("folder")))
                    : Door.of(asked.object("extras").values());
            Map<String, Object> told = new LinkedHashMap<>();
            told.put("job", door.job);
            told.put("from", door.from == null ? null : door.from.getPath());
            return told;
        } catch (Intake.Refused wrong) {
            return Collections.singletonMap("refused", wrong.getMessage());
        }
    }

    /** Numbers of intents are 32 bits wide. */
    private static Object number(Object value) {
        return value instanceof Long ? (Object) ((Long) value).intValue() : value;
    }

    private Object run(JsonObject asked) throws Exception {
        final List<Object> states = new ArrayList<>();
        Door door = Door.of(asked.object("extras").values());
        File out = asked.has("out") ? new File(asked.text("out")) : null;
        Map<String, Object> result = new Automatic(session, out).run(door, new Automatic.Watcher() {
            @Override
            public void told(Map<String, Object> state) {
                states.add(state);
            }
        });
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("result", result);
        told.put("states", states);
        return told;
    }

    private Object take(boolean job, final File file) throws Exception {
        session.take(job, new Session.Source() {
            @Override
            public InputStream open() throws IOException {
                return new FileInputStream(file);
            }
        });
        while (session.taking()) {
            Thread.sleep(5);
        }
        return state();
    }

    private Object start() {
        final CountDownLatch over = new CountDownLatch(1);
        boolean started = session.start(new Runnable() {
            @Override
            public void run() {
                over.countDown();
            }
        });
        if (started) {
            running = over;
        }
        return started;
    }

    private Object ask(String text) throws Exception {
        session.ask(text);
        JsonObject chat = chat();
        while (chat != null && chat.flag("busy")) {
            Thread.sleep(5);
            chat = chat();
        }
        return chat == null ? null : chat.values();
    }

    private JsonObject chat() throws JsonException {
        JsonObject state = JsonObject.read(session.state(), "the state");
        return state.has("chat") ? state.object("chat") : null;
    }

    private Object state() throws JsonException {
        return JsonReader.read(session.state());
    }

    /** A phone with so much memory. */
    private static final class Machine implements Phone {
        private final long memory;

        Machine(long memory) {
            this.memory = memory;
        }

        @Override
        public Map<String, String> device() {
            Map<String, String> found = new LinkedHashMap<>();
            for (String name : new String[] {"manufacturer", "model", "android", "api", "build", "soc", "abi", "driver"}) {
                found.put(name, "");
            }
            return found;
        }

        @Override
        public long availableMemory() {
            return memory;
        }

        @Override
        public String app() {
            return "drive";
        }
    }
}
