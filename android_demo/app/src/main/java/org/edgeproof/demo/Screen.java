package org.edgeproof.demo;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.edgeproof.lib.Listener;
import org.edgeproof.lib.Outcome;
import org.edgeproof.lib.Progress;
import org.edgeproof.lib.engine.Report;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.Usage;
import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.ProbeFacts;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonWriter;
import org.edgeproof.lib.judge.Judgement;
import org.edgeproof.lib.judge.Leak;

/** What the page shows, in the words of page.js. Android-free. */
final class Screen {
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
        try {
            JsonObject left = JsonObject.read(read(state), "state.json");
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
        told.put("model", job == null ? null : model(job));
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
        told.put("computes", report == null ? "" : computes());
        told.put("leak", job == null || judgement == null ? null : leak(job));
        told.put("costs", job == null || judgement == null ? new ArrayList<Object>() : costs(job));
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

    private static Map<String, Object> model(Job job) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("name", job.artifact.name);
        told.put("format", job.artifact.format);
        told.put("bytes", job.artifact.bytes);
        told.put("sha256", job.artifact.sha256);
        return told;
    }

    private String computes() {
        String device = report.engine.computed.equals("unknown") ? "unknown" : report.engine.computed.toUpperCase(Locale.ROOT);
        String variant = report.variant.isEmpty() ? "" : ", " + report.variant;
        return device + variant + (report.threads == 0 ? "" : ", " + report.threads + " threads");
    }

    private Map<String, Object> leak(Job job) {
        boolean all = stage.equals(Progress.Stage.DONE.word);
        int critical = 0;
        for (ProbeFacts probe : job.probes) {
            critical += probe.critical && probe.role.equals("forget") ? 1 : 0;
        }
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("leaking", judgement.shares.leaking);
        told.put("known", judgement.shares.of);
        told.put("share", judgement.shares.of == 0 ? 0.0 : (double) judgement.shares.leaking / judgement.shares.of);
        told.put("upper", all ? (Object) judgement.shares.upper : null);
        told.put("limit", job.rules.leakShare);
        told.put("critical", critical);
        told.put("critical_leaking", judgement.counts.criticalLeaking);
        return told;
    }

    private List<Object> costs(Job job) {
        List<Object> told = new ArrayList<>();
        cost(told, "Against the merged model before quantization", judgement.utility.quantizing, job.rules.quantizingCost);
        cost(told, "Against the original in this format", judgement.utility.unlearning, job.rules.unlearningCost);
        return told;
    }

    private static void cost(List<Object> told, String name, double seen, double limit) {
        if (Double.isNaN(seen) || Double.isNaN(limit)) {
            return;
        }
        Map<String, Object> one = new LinkedHashMap<>();
        one.put("name", name);
        one.put("seen", seen);
        one.put("limit", limit);
        told.add(one);
    }

    private static String read(File file) throws IOException {
        try (InputStream in = new FileInputStream(file)) {
            ByteArrayOutputStream whole = new ByteArrayOutputStream();
            byte[] part = new byte[4096];
            for (int got = in.read(part); got >= 0; got = in.read(part)) {
                whole.write(part, 0, got);
            }
            return whole.toString("US-ASCII");
        }
    }
}
