package org.edgeproof.lib.job;

import java.util.Set;

/** What the baseline says of the clusters that had to be forgotten. */
public final class Forget {
    /** Clusters that the base leaks in this format. */
    public final Set<String> known;

    /** The same with clusters that ask for the same thing counted one by one. */
    public final Set<String> knownApart;

    /** Whether there are such clusters. */
    public final boolean doubled;

    /** Whether the merged model leaks beyond the limit: unlearning never worked. */
    public final boolean unlearnedMissed;

    Forget(Set<String> known, Set<String> knownApart, boolean doubled, boolean unlearnedMissed) {
        this.known = known;
        this.knownApart = knownApart;
        this.doubled = doubled;
        this.unlearnedMissed = unlearnedMissed;
    }
}
