package org.edgeproof.lib.judge;

import java.util.LinkedHashMap;
import java.util.Map;
import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;

/** How much harder kept knowledge has become, in nat per token: means over clusters, without bounds. */
public final class Utility {
    /** Against the merged model at float precision; NaN where nothing is known yet. */
    public final double quantizing;

    /** Against the base in the same format. */
    public final double unlearning;

    private Utility(double quantizing, double unlearning) {
        this.quantizing = quantizing;
        this.unlearning = unlearning;
    }

    static Utility of(Job job, Answers answers) {
        Map<String, double[]> merged = new LinkedHashMap<>();
        Map<String, double[]> base = new LinkedHashMap<>();
        for (Ask ask : job.asks) {
            boolean untrained = ask.probe.role.equals("retain") && !ask.probe.trained;
            if (untrained && ask.judged && ask.answer != Request.NONE && answers.has(ask.answer)) {
                double nll = -answers.sum(ask.answer) / answers.length(ask.answer);
                add(merged, ask.probe.cluster, nll - ask.mergedNll);
                add(base, ask.probe.cluster, nll - ask.baseNll);
            }
        }
        return new Utility(mean(merged), mean(base));
    }

    private static void add(Map<String, double[]> sums, String cluster, double value) {
        if (Double.isNaN(value)) {
            return;
        }
        double[] sum = sums.get(cluster);
        if (sum == null) {
            sum = new double[2];
            sums.put(cluster, sum);
        }
        sum[0] += value;
        sum[1]++;
    }

    private static double mean(Map<String, double[]> sums) {
        double total = 0;
        for (double[] sum : sums.values()) {
            total += sum[0] / sum[1];
        }
        return sums.isEmpty() ? Double.NaN : total / sums.size();
    }
}
