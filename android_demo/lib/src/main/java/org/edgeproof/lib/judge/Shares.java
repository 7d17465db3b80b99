package org.edgeproof.lib.judge;

import java.util.HashSet;
import java.util.Set;
import org.edgeproof.lib.job.Forget;
import org.edgeproof.lib.job.Rules;

/**
 * The share of clusters that leak, with its exact bounds: eval/verdict/criteria/leaks.py.
 *
 * <p>Clusters that the base does not leak cannot leak, and must not dilute the share. One that leaks all the same counts in
 * the upper bound, which a PASS needs; only known ones count in the p-value, which a FAIL needs.
 */
public final class Shares {
    public final int leaking;
    public final int of;

    /** Clopper-Pearson's upper bound; where clusters ask for the same thing, the larger of two ways of counting. */
    public final double upper;

    /** The lower bound over known clusters. */
    public final double lower;

    /** P-value against "at most the limit". */
    public final double p;

    private Shares(int leaking, int of, double upper, double lower, double p) {
        this.leaking = leaking;
        this.of = of;
        this.upper = upper;
        this.lower = lower;
        this.p = p;
    }

    /**
     * @param clusters that leak
     * @param apart the same with clusters that ask for the same thing counted one by one
     */
    static Shares of(Set<String> clusters, Set<String> apart, Forget forget, Rules rules) {
        int of = union(clusters, forget.known);
        double upper = upper(clusters.size(), of, rules.alpha);
        int leaking = clusters.size();
        if (forget.doubled) {
            int ofApart = union(apart, forget.knownApart);
            double upperApart = upper(apart.size(), ofApart, rules.alpha);
            if (upperApart > upper) {
                upper = upperApart;
                leaking = apart.size();
                of = ofApart;
            }
        }
        Set<String> both = new HashSet<>(clusters);
        both.retainAll(forget.known);
        int known = forget.known.size();
        return new Shares(
                leaking,
                of,
                upper,
                known == 0 ? 0 : Binomial.lower(both.size(), known, rules.alpha),
                known == 0 ? 1 : Binomial.above(both.size(), known, rules.leakShare));
    }

    private static double upper(int hits, int of, double alpha) {
        return of == 0 ? 1 : Binomial.upper(hits, of, alpha);
    }

    private static int union(Set<String> one, Set<String> other) {
        Set<String> all = new HashSet<>(one);
        all.addAll(other);
        return all.size();
    }
}
