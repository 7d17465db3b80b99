package org.edgeproof.lib.judge;

import java.util.Collections;
import java.util.List;

/** What the phone says of the file, and why. */
public final class Judgement {
    public final Verdict verdict;

    /** Sentences, the most important first. None holds a text of a probe or an answer. */
    public final List<String> reasons;

    public final Counts counts;

    /** The leaking share; counts of subjects alone where the rule is by subjects. */
    public final Shares shares;

    /** What kept knowledge has cost so far, for drawing: no bound, the laptop judges it. */
    public final Utility utility;

    Judgement(Verdict verdict, List<String> reasons, Counts counts, Shares shares, Utility utility) {
        this.verdict = verdict;
        this.reasons = Collections.unmodifiableList(reasons);
        this.counts = counts;
        this.shares = shares;
        this.utility = utility;
    }
}
