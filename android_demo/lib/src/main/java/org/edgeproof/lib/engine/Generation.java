package org.edgeproof.lib.engine;

/** Generated tokens. */
public final class Generation {
    public final int[] tokens;

    /** Why it ended: "eos", "stop" or "length". */
    public final String finish;

    public Generation(int[] tokens, String finish) {
        this.tokens = tokens;
        this.finish = finish;
    }
}
