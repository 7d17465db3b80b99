package org.edgeproof.demo;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.edgeproof.lib.engine.Beat;
import org.edgeproof.lib.engine.Computer;
import org.edgeproof.lib.engine.ProbeComputer;
import org.edgeproof.lib.engine.Programs;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;

/** A conversation with the shipped model, in the words of its chat template. Kept nowhere. Android-free. */
final class Chat {
    private static final int LONGEST_REPLY = 160;
    private static final int LONGEST_TALK = 2_000;
    private static final long PATIENCE_MILLIS = 240_000;

    private final Programs programs;
    private final int threads;
    private Computer model;
    private int closed;
    private String talk = "";
    private boolean busy;
    private int replies;
    private String reply = "";
    private String error = "";

    Chat(Programs programs, int threads) {
        this.programs = programs;
        this.threads = threads;
    }

    /** What the page shows; null where the model has no chat. */
    synchronized Map<String, Object> state(Job job, boolean free) {
        if (job == null || job.chat == null) {
            return null;
        }
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("free", free && !busy);
        told.put("busy", busy);
        told.put("replies", replies);
        told.put("reply", reply);
        told.put("error", error);
        return told;
    }

    /** Asks, in a thread of its own. */
    synchronized void ask(final Job job, final File file, final String question) {
        if (busy || job.chat == null) {
            return;
        }
        busy = true;
        new Thread("chat") {
            @Override
            public void run() {
                String said = "";
                String why = "";
                try {
                    said = answer(job, file, question);
                } catch (RunException wrong) {
                    why = wrong.getMessage();
                    close();
                }
                answered(said, why);
            }
        }.start();
    }

    /** Begins another conversation. */
    synchronized void anew() {
        talk = "";
    }

    /** Gives the model's memory back; the next question loads it again. */
    synchronized void close() {
        closed++;
        if (model != null) {
            model.close();
            model = null;
        }
    }

    private synchronized void answered(String said, String why) {
        busy = false;
        replies++;
        reply = said;
        error = why;
    }

    private String answer(Job job, File file, String question) throws RunException {
        Computer asked = opened(file);
        String text = text(job, question);
        int[] tokens = asked.tokenize(text);
        if (tokens.length > LONGEST_TALK) {
            anew();
            text = text(job, question);
            tokens = asked.tokenize(text);
        }
        int[] context = begun(tokens, job.bos);
        Request request = Request.generation(0, LONGEST_REPLY);
        String line = asked.generate(Collections.singletonList(request), Collections.singletonList(context)).get(0);
        try {
            int[] said = JsonObject.read(line, "the probe's answer").integers("tokens");
            String words = new String(asked.spell(said, false), StandardCharsets.UTF_8).trim();
            remember(text + words);
            return words;
        } catch (JsonException wrong) {
            throw new RunException(RunException.Reason.ENGINE, "what the probe says makes no sense", wrong);
        }
    }

    /** The conversation so far with another question; where the template gives no second turn, the question alone. */
    private synchronized String text(Job job, String question) {
        boolean first = talk.isEmpty() || job.chat.replied == null;
        return (first ? job.chat.start : talk + job.chat.replied) + question + job.chat.asked;
    }

    private synchronized void remember(String text) {
        talk = text;
    }

    private Computer opened(File file) throws RunException {
        int before;
        synchronized (this) {
            if (model != null) {
                return model;
            }
            before = closed;
        }
        Computer fresh = ProbeComputer.open(programs, file, null, "chat", threads, PATIENCE_MILLIS, new Beat() {
            @Override
            public void beat() {}
        });
        synchronized (this) {
            if (closed == before) {
                model = fresh;
                return fresh;
            }
        }
        fresh.close(); // a run needs the memory
        throw new RunException(RunException.Reason.CANCELLED, "a run began, and needs the memory");
    }

    /** The tokens behind one token that begins a text, where the model has one. */
    static int[] begun(int[] tokens, int bos) {
        if (bos < 0) {
            return tokens;
        }
        int skip = 0;
        while (skip < tokens.length && tokens[skip] == bos) {
            skip++;
        }
        int[] begun = new int[tokens.length - skip + 1];
        begun[0] = bos;
        System.arraycopy(tokens, skip, begun, 1, tokens.length - skip);
        return begun;
    }
}
