package org.edgeproof.lib.engine;

import java.io.Closeable;
import java.io.File;
import java.util.List;

/**
 * A host app's own engine. An app that computes on its GPU or NPU implements this, so that the probes go through the very
 * code that its users' questions go through.
 *
 * <p>Calls come one after the other, from one thread. Tokens are ids of the model's own vocabulary. A method that cannot
 * do what is asked throws {@link RunException}; it never answers something else.
 */
public interface Engine extends Closeable {
    /**
     * Loads the model.
     *
     * @param model the file, whose sha256 has been compared with the job's
     * @param context tokens of the longest request
     */
    EngineInfo open(File model, int context) throws RunException;

    /**
     * Scores {@code continuation} after {@code context}. Called only if {@link EngineInfo#scores}.
     *
     * @return for each token of the continuation its log-probability
     */
    Score score(int[] context, int[] continuation) throws RunException;

    /**
     * Continues {@code context} until the model ends, a stop string comes, or {@code maxTokens}.
     *
     * @param stop texts that end the answer; it may go on behind them
     * @param temperature 0 for the most probable token each time; else samples from softmax(logits / temperature)
     * @param uniforms for each token a number in [0, 1): the token at this quantile of the distribution, in the order of
     *     ids, is the sample. An engine with random numbers of its own may use those
     * @param special whether texts of special tokens count when looking for stop strings
     */
    Generation generate(
            int[] context, int maxTokens, List<String> stop, double temperature, double[] uniforms, boolean special)
            throws RunException;

    @Override
    void close();
}
