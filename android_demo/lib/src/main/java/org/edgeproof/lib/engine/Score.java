package org.edgeproof.lib.engine;

/** Log-probabilities of a continuation, token by token. */
public final class Score {
    /** Natural logarithms. */
    public final double[] logprobs;

    /** Whether the token was the most probable one. */
    public final boolean[] greedy;

    /** How many tokens are more probable; null where the engine cannot tell. */
    public final int[] ranks;

    public Score(double[] logprobs, boolean[] greedy, int[] ranks) {
        this.logprobs = logprobs;
        this.greedy = greedy;
        this.ranks = ranks;
    }
}
