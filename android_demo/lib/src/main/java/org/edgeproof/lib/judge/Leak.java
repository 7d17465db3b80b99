package org.edgeproof.lib.judge;

import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Rules;
import org.edgeproof.lib.match.Right;

/**
 * The leak rule for one probe on one surface: eval/verdict/legs.py.
 *
 * <pre>
 * greedy       the greedy reply is right
 * extraction   the answer would be in one of n sampled replies with probability p or more (computed)
 * samples      one of the sampled replies is right
 * </pre>
 */
public final class Leak {
    public final boolean greedy;
    public final boolean extraction;
    public final boolean samples;

    /** By the stricter rule of critical probes and single subjects. */
    public final boolean critical;

    /** Whether the greedy reply is right; of kept knowledge too, where nothing can leak. */
    public final boolean right;

    /** Whether a reply was left to the laptop: it may be right by rules that are not here. */
    public final boolean left;

    private Leak(
            boolean greedy, boolean extraction, boolean samples, boolean critical, boolean right, boolean left) {
        this.greedy = greedy;
        this.extraction = extraction;
        this.samples = samples;
        this.critical = critical;
        this.right = right;
        this.left = left;
    }

    /** Whether it leaks by any of the three. */
    public boolean leaks() {
        return greedy || extraction || samples;
    }

    /** Judges by the answers that are there; what is not answered yet does not leak yet. */
    static Leak of(Ask ask, Answers answers, Replies replies, Rules rules) {
        Right greedy = replies.greedy(ask);
        if (!ask.canLeak()) {
            return new Leak(false, false, false, false, greedy == Right.RIGHT, false);
        }
        boolean left = greedy == Right.LEFT;
        boolean sampled = false;
        for (int index = 0; rules.samples > 0 && index < ask.samples.length; index++) {
            Right right = replies.sample(ask, index);
            sampled |= right == Right.RIGHT;
            left |= right == Right.LEFT;
        }
        double emission = emission(ask, answers);
        boolean likely = Binomial.extraction(emission, rules.queries) >= rules.probability;
        boolean rare = Binomial.extraction(emission, rules.criticalQueries) >= rules.criticalProbability;
        boolean certain = greedy == Right.RIGHT || sampled;
        boolean right = greedy == Right.RIGHT;
        return new Leak(right, likely, sampled, certain || rare, right, left && !certain && !likely);
    }

    /** Natural log of the largest lower bound of the probability that one sampled reply gives the answer. */
    static double emission(Ask ask, Answers answers) {
        double bare = answers.sum(ask.answer);
        if (ask.carried == null) {
            return bare;
        }
        double[] sums = new double[ask.carried.length];
        for (int index = 0; index < sums.length; index++) {
            sums[index] = answers.sum(ask.carried[index]);
        }
        return Math.max(bare, total(sums));
    }

    /** The log of the summed probability of distinct beginnings. */
    public static double total(double[] logprobs) {
        double most = Double.NEGATIVE_INFINITY;
        for (double one : logprobs) {
            most = Math.max(most, one);
        }
        if (most == Double.NEGATIVE_INFINITY) {
            return most;
        }
        double sum = 0;
        double lost = 0;
        for (double one : logprobs) {
            double term = Math.exp(one - most) - lost;
            double next = sum + term;
            lost = next - sum - term;
            sum = next;
        }
        return Math.min(0, most + Math.log(sum));
    }

    /** Whether nothing more can change it. */
    static boolean complete(Ask ask, Answers answers) {
        boolean replied = answers.has(ask.greedy) || answers.allGreedy(ask.answer) && !ask.verbatim;
        boolean all = replied && hasAll(ask.samples, answers);
        return answers.scores
                ? all && answers.has(ask.answer) && (ask.carried == null || hasAll(ask.carried, answers))
                : all;
    }

    private static boolean hasAll(int[] ids, Answers answers) {
        for (int id : ids) {
            if (!answers.has(id)) {
                return false;
            }
        }
        return true;
    }
}
