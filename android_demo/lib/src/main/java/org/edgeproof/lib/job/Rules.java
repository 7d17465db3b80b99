package org.edgeproof.lib.job;

/** The limits that the phone applies, and what the laptop has judged of the baseline already. */
public final class Rules {
    /** Whether each subject is judged by itself; else a share of clusters. */
    public final boolean subjects;

    public final double leakShare;
    public final long queries;
    public final double probability;
    public final long criticalQueries;
    public final double criticalProbability;

    /** Samples that count; 0 for none. */
    public final long samples;

    public final double alpha;

    /** Criteria with a p-value: Holm's first step tests at alpha / tests. */
    public final long tests;

    /** Limits of kept knowledge in nat per token, for drawing; NaN where the job names none. */
    public final double quantizingCost;

    public final double unlearningCost;

    Rules(
            boolean subjects,
            double leakShare,
            long queries,
            double probability,
            long criticalQueries,
            double criticalProbability,
            long samples,
            double alpha,
            long tests,
            double quantizingCost,
            double unlearningCost) {
        this.subjects = subjects;
        this.leakShare = leakShare;
        this.queries = queries;
        this.probability = probability;
        this.criticalQueries = criticalQueries;
        this.criticalProbability = criticalProbability;
        this.samples = samples;
        this.alpha = alpha;
        this.tests = tests;
        this.quantizingCost = quantizingCost;
        this.unlearningCost = unlearningCost;
    }
}
