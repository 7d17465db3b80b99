package org.edgeproof.lib.engine;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonWriter;

/** The probe program as a child process: one JSON object a line in, one a line out. */
final class ProbeProcess implements Closeable {
    private static final int SIGNALLED = 128;
    private static final int KILL = 9;
    private static final int TOO_LARGE = 25;
    private static final long EXIT_MILLIS = 5_000;

    private final Process process;
    private final OutputStream in;
    private final ProbeOutput output;
    private final Beat beat;
    private final long patience;

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
        output = new ProbeOutput(process);
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
        if (line == ProbeOutput.END) {
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
                String line = output.line(500);
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
        what = what.substring(0, Math.min(ProbeOutput.LAST_WORDS, what.length()));
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
        try {
            int status = status();
            beat.beat(); // a person may have ended it
            if (status == SIGNALLED + KILL || status == KILL) {
                return new RunException(
                        Reason.MEMORY,
                        "the system killed the probe (signal 9), as a rule for want of memory; from Android 12 on also"
                                + " for its limit on child processes. Close other apps and run again: it goes on where"
                                + " it stopped");
            }
            if (status == SIGNALLED + TOO_LARGE) {
                return full("its journal is larger than a file may be");
            }
            return new RunException(
                    Reason.ENGINE,
                    "the probe ended in the middle of its work with status " + status + "; its last words: "
                            + output.lastWords(EXIT_MILLIS));
        } catch (InterruptedException stop) {
            return new RunException(Reason.CANCELLED, "the run was interrupted", stop);
        }
    }

    private int status() throws RunException, InterruptedException {
        long until = System.currentTimeMillis() + EXIT_MILLIS;
        while (true) {
            try {
                return process.exitValue();
            } catch (IllegalThreadStateException going) {
                if (System.currentTimeMillis() > until) {
                    throw new RunException(Reason.ENGINE, "the probe closed its output but goes on", going);
                }
                beat.beat();
                Thread.sleep(50);
            }
        }
    }
}
