package org.edgeproof.demo;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.edgeproof.lib.engine.Report;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.ProbeFacts;
import org.edgeproof.lib.judge.Judgement;

/** Figures that the page draws. Android-free. */
final class Figures {
    private Figures() {}

    /** The model that the job names. */
    static Map<String, Object> model(Job job) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("name", job.artifact.name);
        told.put("format", job.artifact.format);
        told.put("bytes", job.artifact.bytes);
        told.put("sha256", job.artifact.sha256);
        return told;
    }

    /** What computed. */
    static String computes(Report report) {
        String device = report.engine.computed.equals("unknown") ? "unknown" : report.engine.computed.toUpperCase(Locale.ROOT);
        String variant = report.variant.isEmpty() ? "" : ", " + report.variant;
        return device + variant + threads(report.threads);
    }

    private static String threads(long count) {
        return count == 0 ? "" : ", " + count + (count == 1 ? " thread" : " threads");
    }

    /** What came back; how far it may reach is told only of a complete run. */
    static Map<String, Object> leak(Job job, Judgement judgement, boolean complete) {
        int critical = 0;
        for (ProbeFacts probe : job.probes) {
            critical += probe.critical && probe.role.equals("forget") ? 1 : 0;
        }
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("leaking", judgement.shares.leaking);
        told.put("known", judgement.shares.of);
        told.put("share", judgement.shares.of == 0 ? 0.0 : (double) judgement.shares.leaking / judgement.shares.of);
        told.put("upper", complete ? judgement.shares.upper : null);
        told.put("limit", job.rules.leakShare);
        told.put("critical", critical);
        told.put("critical_leaking", judgement.counts.criticalLeaking);
        return told;
    }

    /** What kept knowledge costs, where the job names limits. */
    static List<Object> costs(Job job, Judgement judgement) {
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
}
