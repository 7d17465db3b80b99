package org.edgeproof.demo;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.Listener;
import org.edgeproof.lib.Outcome;
import org.edgeproof.lib.Progress;
import org.edgeproof.lib.engine.Report;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.Usage;
import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonWriter;
import org.edgeproof.lib.judge.Judgement;
import org.edgeproof.lib.judge.Leak;

/** What the page shows, in the words of page.js. Android-free. */
final class Screen {
    private static final int LARGEST_STATE = 1 << 20;

    private final List<String> rows = new ArrayList<>();
    private int runs;
    private String trouble = "";
    private long copied;
    private long copying;
    private String stage = "";
    private long done;
    private String verdict = "";
    private Judgement judgement;
    private Usage usage;
    private Report report;

    synchronized void trouble(String why) {
        trouble = why;
    }

    synchronized void copying(long bytes, long of) {
        copied = bytes;
        copying = of;
    }

    /** Shows another job, as its last run left it. */
    synchronized void opened(File state) {
        forget();
        rows.clear();
        runs++;
        if (!state.isFile()) {
            return;
        }
        try (InputStream in = new FileInputStream(state)) {
            String text = new String(Intake.read(in, LARGEST_STATE), StandardCharsets.US_ASCII);
            JsonObject left = JsonObject.read(text, "state.json");
            done = left.whole("done", 0);
            stage = left.text("stage");
            verdict = left.has("verdict") ? left.text("verdict") : "";
        } catch (IOException | JsonException unreadable) {
            forget(); // only for the screen: a run begins with what its journal holds
        }
        if (stage.equals("opening") || stage.equals("running")) {
            stage = "cancelled"; // its process was ended
        }
    }

    /** Hears of a new run. */
    synchronized Listener listener(final Job job) {
        forget();
        rows.clear();
        runs++;
        stage = Progress.Stage.OPENING.word;
        return new Listener() {
            @Override
            public void progress(Progress progress) {
                heard(progress);
            }

            @Override
            public void asked(Ask ask, Leak leak, String reply) {
                heard(ask, leak, reply);
            }
        };
    }

    synchronized void outcome(Outcome outcome) {
        judgement = outcome.judgement;
        usage = outcome.usage;
        report = outcome.report;
    }

    synchronized void ended(RunException why) {
        boolean cancelled = why.reason() == RunException.Reason.CANCELLED;
        stage = (cancelled ? Progress.Stage.CANCELLED : Progress.Stage.FAILED).word;
        trouble = cancelled ? "" : why.getMessage();
    }

    /** What the page shows, as JSON. */
    synchronized String state(Job job, boolean ready, boolean evidence, Map<String, Object> chat) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("stage", stage);
        told.put("model", job == null ? null : Figures.model(job));
        told.put("job", job == null ? "" : job.id);
        told.put("ready", ready);
        told.put("copying", copying == 0 ? null : copying());
        told.put("trouble", trouble);
        told.put("verdict", verdict);
        told.put("reasons", judgement == null ? new ArrayList<String>() : judgement.reasons);
        told.put("done", done);
        told.put("total", job == null ? 0 : job.requests.size());
        told.put("tokens_per_second", usage == null ? 0.0 : usage.tokensPerSecond);
        told.put("peak_rss", usage == null ? 0 : usage.peakRss);
        told.put("memory", job == null ? 0 : job.memory);
        told.put("computes", report == null ? "" : Figures.computes(report));
        told.put("leak", job == null || judgement == null ? null : Figures.leak(job, judgement, stage.equals(Progress.Stage.DONE.word)));
        told.put("costs", job == null || judgement == null ? new ArrayList<Object>() : Figures.costs(job, judgement));
        told.put("evidence", evidence);
        told.put("chat", chat);
        told.put("run", stage.isEmpty() ? "" : String.valueOf(runs));
        return JsonWriter.write(told);
    }

    /** What has been answered, from the given place on. */
    synchronized String rows(int from) {
        StringBuilder out = new StringBuilder("[");
        for (int at = Math.max(0, from); at < rows.size(); at++) {
            out.append(out.length() == 1 ? "" : ",").append(rows.get(at));
        }
        return out.append("]").toString();
    }

    private synchronized void heard(Progress progress) {
        stage = progress.stage.word;
        done = progress.done;
        if (progress.usage != null) {
            usage = progress.usage;
        }
        if (progress.judgement != null) {
            judgement = progress.judgement;
            verdict = judgement.verdict.word;
        }
    }

    private synchronized void heard(Ask ask, Leak leak, String reply) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("ask", ask.index);
        row.put("role", ask.probe.role);
        row.put("surface", ask.surface);
        row.put("question", ask.probe.question);
        row.put("answer", ask.probe.answer);
        row.put("reply", reply != null ? reply : leak.right ? ask.probe.answer : null);
        row.put("leaks", ask.canLeak() && leak.leaks());
        row.put("right", leak.right);
        row.put("base", ask.probe.role.equals("retain") ? ask.baseRight : ask.baseLeaks);
        rows.add(JsonWriter.write(row));
    }

    private void forget() {
        stage = "";
        done = 0;
        verdict = "";
        judgement = null;
        usage = null;
        report = null;
        trouble = "";
    }

    private Map<String, Object> copying() {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("bytes", copied);
        told.put("total", copying);
        return told;
    }
}
