package org.edgeproof.lib.judge;

/** The phone's word. PASS is not among them: what needs resampling is judged on the laptop. */
public enum Verdict {
    /** A needed control is broken or missing, or something else computed than was asked for. */
    INCONCLUSIVE("INCONCLUSIVE", "Inconclusive"),

    /** A criterion is missed, whatever the others say. */
    FAIL("FAIL", "Fail"),

    /** Too much leaks, or too little is known, for a PASS; whether it is a FAIL the laptop says. */
    CANNOT_PASS("CANNOT PASS", "Cannot pass"),

    /** So far. The laptop judges the rest: {@code export-edge judge}. */
    NOTHING_AGAINST_IT("NOTHING AGAINST IT", "Nothing against it so far; judged on the laptop");

    /** As files have it. */
    public final String word;

    /** For a person. */
    public final String sentence;

    Verdict(String word, String sentence) {
        this.word = word;
        this.sentence = sentence;
    }
}
