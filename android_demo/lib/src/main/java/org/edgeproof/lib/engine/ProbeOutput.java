package org.edgeproof.lib.engine;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What the probe program writes, read by threads of their own so that it never waits for a reader. */
final class ProbeOutput {
    /** Comes after the last line. */
    static final String END = new String("the end");

    static final int LAST_WORDS = 400;
    private static final int LONGEST_LINE = 1 << 24;

    private final LinkedBlockingQueue<String> lines = new LinkedBlockingQueue<>();
    private final StringBuilder words = new StringBuilder();
    private final Thread complaints;

    ProbeOutput(final Process process) {
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

    /** The next line, {@link #END}, or null if there is none within {@code millis}. */
    String line(long millis) throws InterruptedException {
        return lines.poll(millis, TimeUnit.MILLISECONDS);
    }

    /** What it complained of last, when it has ended. */
    String lastWords(long millis) throws InterruptedException {
        complaints.join(millis);
        synchronized (words) {
            return words.length() == 0 ? "none" : words.toString().trim().replace('\n', '|');
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
