package org.edgeproof.lib.engine;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonWriter;

/** The probe program as a child process: one JSON object a line in, one a line out. */
final class ProbeProcess implements Closeable {
    private static final int LONGEST_LINE = 1 << 24;
    private static final int LAST_WORDS = 400;
    private static final int SIGNALLED = 128;
    private static final int KILL = 9;
    private static final int TOO_LARGE = 25;
    private static final long EXIT_MILLIS = 5_000;
    private static final String END = new String("the end");

    private final Process process;
    private final OutputStream in;
    private final LinkedBlockingQueue<String> lines = new LinkedBlockingQueue<>();
    private final StringBuilder words = new StringBuilder();
    private final Beat beat;
    private final long patience;
    private final Thread complaints;

    /**
     * Starts it.
     *
     * @param patience milliseconds that one line may take
     * @param beat called while a line is waited for
     */
    ProbeProcess(List<String> command, long patience, Beat beat) throws RunException {
        this.patience = patience;
        this.beat = beat;
        try {
            process = new ProcessBuilder(command).start();
        } catch (IOException wrong) {
            String program = command.get(command.size() - 1);
            throw new RunException(
                    Reason.PROCESSOR, "cannot start the probe program " + program + ": install the app again", wrong);
        }
        in = process.getOutputStream();
        thread("answers of the probe", new Runnable() {
            @Override
            public void run() {
                readLines(process.getInputStream());
            }
        });
        complaints = thread("complaints of the probe", new Runnable() {
            @Override
            public void run() {
                drain(process.getErrorStream());
            }
        });
    }

    /** Ends it; doing it twice does no harm. */
    @Override
    public void close() {
        process.destroy();
    }

    /** Sends one line and returns the one that answers it. */
    String ask(Object line) throws RunException {
        send(line);
        return receive();
    }

    /** Sends one line. */
    void send(Object line) throws RunException {
        try {
            in.write((JsonWriter.write(line) + "\n").getBytes(StandardCharsets.US_ASCII));
            in.flush();
        } catch (IOException gone) {
            receive(); // throws what it said before it ended
            throw died();
        }
    }

    /** Waits for the next line, which is no error. */
    String receive() throws RunException {
        String line = next();
        if (line == END) {
            throw died();
        }
        JsonObject found = parsed(line);
        if (found.has("error")) {
            throw refused(found);
        }
        return line;
    }

    /** Reads a line that is one object. */
    static JsonObject parsed(String line) throws RunException {
        try {
            return JsonObject.read(line, "the probe's answer");
        } catch (JsonException wrong) {
            throw new RunException(
                    Reason.ENGINE,
                    "the probe sent a line of " + line.length() + " characters that is no JSON object",
                    wrong);
        }
    }

    private String next() throws RunException {
        long waited = 0;
        while (true) {
            beat.beat();
            try {
                String line = lines.poll(500, TimeUnit.MILLISECONDS);
                if (line != null) {
                    return line;
                }
            } catch (InterruptedException stop) {
                close();
                throw new RunException(Reason.CANCELLED, "the run was interrupted", stop);
            }
            waited += 500;
            if (waited >= patience) {
                close();
                throw new RunException(
                        Reason.ENGINE, "the probe gave no answer within " + patience / 1000 + " s: run it again");
            }
        }
    }

    private RunException refused(JsonObject found) {
        String what;
        try {
            what = found.text("error");
        } catch (JsonException wrong) {
            what = "an error without words";
        }
        what = what.substring(0, Math.min(LAST_WORDS, what.length()));
        if (what.contains("No space left") || what.contains("File too large")) {
            return full("the probe: " + what);
        }
        return new RunException(reason(what), "the probe: " + what);
    }

    private static RunException full(String what) {
        return new RunException(
                Reason.STORAGE,
                "the storage is full (" + what + "). Free some, and run again: it goes on where it stopped");
    }

    private static Reason reason(String what) {
        if (what.contains("load the model") || what.contains("open the model") || what.contains("read the model")) {
            return Reason.MODEL;
        }
        if (what.contains("memory")) {
            return Reason.MEMORY;
        }
        if (what.contains("this processor")) {
            return Reason.PROCESSOR;
        }
        return what.contains("the journal") ? Reason.STORAGE : Reason.ENGINE;
    }

    private RunException died() throws RunException {
        int status;
        long until = System.currentTimeMillis() + EXIT_MILLIS;
        while (true) {
            try {
                status = process.exitValue();
                complaints.join(EXIT_MILLIS);
                break;
            } catch (IllegalThreadStateException going) {
                if (System.currentTimeMillis() > until) {
                    return new RunException(Reason.ENGINE, "the probe closed its output but goes on");
                }
                beat.beat();
                pause();
            } catch (InterruptedException stop) {
                return new RunException(Reason.CANCELLED, "the run was interrupted", stop);
            }
        }
        beat.beat(); // a person may have ended it
        if (status == SIGNALLED + KILL || status == KILL) {
            return new RunException(
                    Reason.MEMORY,
                    "the system killed the probe (signal 9), as a rule for want of memory; from Android 12 on also for"
                            + " its limit on child processes. Close other apps and run again: it goes on where it"
                            + " stopped");
        }
        if (status == SIGNALLED + TOO_LARGE) {
            return full("its journal is larger than a file may be");
        }
        String last;
        synchronized (words) {
            last = words.length() == 0 ? "none" : words.toString().trim().replace('\n', '|');
        }
        return new RunException(
                Reason.ENGINE,
                "the probe ended in the middle of its work with status " + status + "; its last words: " + last);
    }

    private static void pause() {
        try {
            Thread.sleep(50);
        } catch (InterruptedException stop) {
            Thread.currentThread().interrupt();
        }
    }

    private void readLines(InputStream out) {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        byte[] part = new byte[1 << 16];
        try {
            for (int count = out.read(part); count >= 0; count = out.read(part)) {
                for (int place = 0; place < count; place++) {
                    if (part[place] == '\n') {
                        lines.add(new String(line.toByteArray(), StandardCharsets.US_ASCII));
                        line.reset();
                    } else if (line.size() < LONGEST_LINE) {
                        line.write(part[place]);
                    }
                }
            }
        } catch (IOException gone) {
            line.reset(); // the process was ended: what it said last is not whole
        } finally {
            lines.add(END);
        }
    }

    /** Reads what the program complains of, so that it never waits for a reader; keeps the end. */
    private void drain(InputStream error) {
        byte[] part = new byte[4096];
        try {
            for (int count = error.read(part); count >= 0; count = error.read(part)) {
                synchronized (words) {
                    words.append(new String(part, 0, count, StandardCharsets.UTF_8));
                    words.delete(0, Math.max(0, words.length() - LAST_WORDS));
                }
            }
        } catch (IOException gone) {
            synchronized (words) {
                words.append("(closed)");
            }
        }
    }

    private static Thread thread(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }
}
