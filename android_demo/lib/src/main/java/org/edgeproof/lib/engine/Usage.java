package org.edgeproof.lib.engine;

/** Speed and memory so far; 0 where they are not known. */
public final class Usage {
    public final double tokensPerSecond;

    /** Bytes. */
    public final long peakRss;

    Usage(double tokensPerSecond, long peakRss) {
        this.tokensPerSecond = tokensPerSecond;
        this.peakRss = peakRss;
    }
}
