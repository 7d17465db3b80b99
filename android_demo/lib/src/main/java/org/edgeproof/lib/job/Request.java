package org.edgeproof.lib.job;

import java.util.Collections;
import java.util.List;

/** What is asked of the engine: the score of a continuation, or a generation. */
public final class Request {
    /** The id of no request. */
    public static final int NONE = -1;

    public final int id;

    /** Index of the context in the job, or -1 where it is made from an answer. */
    public final int context;

    /** Index of the splice that makes the context, or -1. */
    public final int splice;

    /** The tokens to score; null for a generation. */
    public final int[] continuation;

    public final int maxTokens;
    public final List<String> stop;
    public final double temperature;
    public final double[] uniforms;
    public final boolean special;

    /** A score: if every token of its continuation is the most probable one, this is not asked. -1 for none. */
    public final int unless;

    Request(
            int id,
            int context,
            int splice,
            int[] continuation,
            int maxTokens,
            List<String> stop,
            double temperature,
            double[] uniforms,
            boolean special,
            int unless) {
        this.id = id;
        this.context = context;
        this.splice = splice;
        this.continuation = continuation;
        this.maxTokens = maxTokens;
        this.stop = stop;
        this.temperature = temperature;
        this.uniforms = uniforms;
        this.special = special;
        this.unless = unless;
    }

    /** A greedy generation outside a job, for a chat; its context is given beside it. */
    public static Request generation(int id, int maxTokens) {
        List<String> none = Collections.emptyList();
        return new Request(id, NONE, NONE, null, maxTokens, none, 0, new double[0], false, NONE);
    }

    /** Whether it is a score. */
    public boolean isScore() {
        return continuation != null;
    }
}
