package org.edgeproof.lib.engine;

import java.io.Closeable;
import java.util.List;
import org.edgeproof.lib.job.Request;

/** What answers a job's requests, in the lines of the evidence: the probe program, or a host app's engine. */
public interface Computer extends Closeable {
    /** What computes. */
    Report report();

    /** Scores: one line. */
    String score(Request request, int[] context) throws RunException;

    /** Continues up to {@link #MOST} contexts: a line each. */
    List<String> generate(List<Request> requests, List<int[]> contexts) throws RunException;

    /** The model's tokens of a text, with markers parsed; no BOS is added. */
    int[] tokenize(String text) throws RunException;

    /** The bytes of tokens. */
    byte[] spell(int[] tokens, boolean special) throws RunException;

    Usage usage() throws RunException;

    /** The run is complete and its evidence written: no other run takes its answers up. */
    void finish() throws RunException;

    @Override
    void close();

    /** Generations side by side. */
    int MOST = 8;
}
