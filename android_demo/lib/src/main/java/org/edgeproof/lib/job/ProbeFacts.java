package org.edgeproof.lib.job;

/** A question of the pack. */
public final class ProbeFacts {
    public final String id;

    /** "forget", "retain" or "holdout". */
    public final String role;

    /** What counts as one. */
    public final String cluster;

    /** The name under which it counts, where clusters that ask for the same thing are counted one by one. */
    public final String apart;

    public final boolean critical;
    public final boolean trained;

    /** For the screen alone. */
    public final String question;

    /** For the screen alone. */
    public final String answer;

    ProbeFacts(
            String id,
            String role,
            String cluster,
            String apart,
            boolean critical,
            boolean trained,
            String question,
            String answer) {
        this.id = id;
        this.role = role;
        this.cluster = cluster;
        this.apart = apart;
        this.critical = critical;
        this.trained = trained;
        this.question = question;
        this.answer = answer;
    }
}
