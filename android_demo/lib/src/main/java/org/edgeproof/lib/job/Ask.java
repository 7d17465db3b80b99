package org.edgeproof.lib.job;

import org.edgeproof.lib.match.Rule;

/** A probe on a surface: the requests that ask it, and what the base in this format answers. */
public final class Ask {
    public final int index;
    public final ProbeFacts probe;
    public final String surface;
    public final String kind;

    /** Whether the verdict counts it. */
    public final boolean judged;

    /** By what a reply is right. */
    public final Rule rule;

    /** The kind of answer in the pack's words; "" for plain words. */
    public final String answerType;

    /** Id of the answer's score, or -1. */
    public final int answer;

    /** Scores of all beginnings that give the answer; null where none are asked. */
    public final int[] carried;

    /** Id of the greedy reply, or -1. */
    public final int greedy;

    /** Whether the answer itself, generated greedily, is right. */
    public final boolean rightIfGreedy;

    public final boolean verbatim;
    public final int[] samples;

    /** Whether the base leaks here; NaN numbers where the job does not say. */
    public final boolean baseLeaks;

    /** Whether the base answers rightly here. */
    public final boolean baseRight;

    public final double baseNll;
    public final double mergedNll;

    Ask(
            int index,
            ProbeFacts probe,
            String surface,
            String kind,
            boolean judged,
            Rule rule,
            String answerType,
            boolean verbatim,
            int answer,
            int[] carried,
            int greedy,
            boolean rightIfGreedy,
            int[] samples,
            boolean baseLeaks,
            boolean baseRight,
            double baseNll,
            double mergedNll) {
        this.index = index;
        this.probe = probe;
        this.surface = surface;
        this.kind = kind;
        this.judged = judged;
        this.rule = rule;
        this.answerType = answerType;
        this.verbatim = verbatim;
        this.answer = answer;
        this.carried = carried;
        this.greedy = greedy;
        this.rightIfGreedy = rightIfGreedy;
        this.samples = samples;
        this.baseLeaks = baseLeaks;
        this.baseRight = baseRight;
        this.baseNll = baseNll;
        this.mergedNll = mergedNll;
    }

    /** Whether an answer can leak here: among options nothing can. */
    public boolean canLeak() {
        return !kind.equals("choices") && !probe.role.equals("retain");
    }
}
