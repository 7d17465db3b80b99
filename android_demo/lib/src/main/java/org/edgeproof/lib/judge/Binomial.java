package org.edgeproof.lib.judge;

/**
 * Exact bounds of a binomial share, without a library: eval/stats/shares.py.
 *
 * <p>With whole numbers the regularized incomplete beta function is a sum of binomial probabilities: I_x(k, n − k + 1) =
 * P(X ≥ k). Each probability is computed by Loader's saddle-point form (Fast and Accurate Computation of Binomial
 * Probabilities, 2000), which keeps its digits for any n; a sum of positive numbers keeps them.
 */
public final class Binomial {
    private static final double TWO_PI = 2 * Math.PI;

    /** log n! minus Stirling's formula, n = 0 … 15. */
    private static final double[] STIRLING = {
        0.0, 0.08106146679532726, 0.04134069595540929, 0.02767792568499834, 0.02079067210376509, 0.016644691189821192,
        0.013876128823070748, 0.01189670994589177, 0.010411265261972096, 0.009255462182712733, 0.00833056343336287,
        0.007573675487951841, 0.006942840107209530, 0.006408994188004207, 0.0059513701127588475, 0.005554733551962801,
    };

    private Binomial() {}

    /** Clopper-Pearson's upper bound at level 1 − alpha: the share at which P(X ≤ hits) = alpha. */
    public static double upper(int hits, int trials, double alpha) {
        check(hits, trials);
        if (hits == trials) {
            return 1;
        }
        return hits == 0 ? -Math.expm1(Math.log(alpha) / trials) : solve(hits, trials, alpha, false);
    }

    /** Clopper-Pearson's lower bound at level 1 − alpha: the share at which P(X ≥ hits) = alpha. */
    public static double lower(int hits, int trials, double alpha) {
        check(hits, trials);
        if (hits == 0) {
            return 0;
        }
        return hits == trials ? Math.exp(Math.log(alpha) / trials) : solve(hits, trials, alpha, true);
    }

    /** The p-value against "the share is at most {@code limit}": P(X ≥ hits) at the limit. */
    public static double above(int hits, int trials, double limit) {
        check(hits, trials);
        return hits == 0 ? 1 : atLeast(hits, trials, limit);
    }

    /**
     * The probability that an answer comes out at least once in {@code queries} samples: 1 − (1 − e^s)^queries, computed
     * so that it keeps its digits where the answer is rare.
     */
    public static double extraction(double sumLogprob, long queries) {
        if (sumLogprob >= 0) {
            return 1;
        }
        double logMiss =
                sumLogprob > -Math.log(2) ? Math.log(-Math.expm1(sumLogprob)) : Math.log1p(-Math.exp(sumLogprob));
        return -Math.expm1(queries * logMiss);
    }

    private static double solve(int hits, int trials, double alpha, boolean rising) {
        double low = 0;
        double high = 1;
        while (true) {
            double middle = low + (high - low) / 2;
            if (middle <= low || middle >= high) {
                return high;
            }
            double tail = rising ? atLeast(hits, trials, middle) : atMost(hits, trials, middle);
            if (rising == tail < alpha) {
                low = middle;
            } else {
                high = middle;
            }
        }
    }

    /** P(X ≥ hits), summed away from the mean, where the terms fall. */
    private static double atLeast(int hits, int trials, double share) {
        if (hits <= trials * share) {
            return 1 - atMost(hits - 1, trials, share);
        }
        double term = probability(hits, trials, share);
        double odds = share / (1 - share);
        double sum = 0;
        for (int count = hits; count <= trials && sum + term != sum; count++) {
            sum += term;
            term *= (double) (trials - count) / (count + 1) * odds;
        }
        return sum;
    }

    /** P(X ≤ hits). */
    private static double atMost(int hits, int trials, double share) {
        if (hits < 0) {
            return 0;
        }
        if (hits > trials * share) {
            return 1 - atLeast(hits + 1, trials, share);
        }
        double term = probability(hits, trials, share);
        double odds = (1 - share) / share;
        double sum = 0;
        for (int count = hits; count >= 0 && sum + term != sum; count--) {
            sum += term;
            term *= (double) count / (trials - count + 1) * odds;
        }
        return sum;
    }

    private static double probability(int hits, int trials, double share) {
        if (hits == 0) {
            return Math.exp(trials * Math.log1p(-share));
        }
        if (hits == trials) {
            return Math.exp(trials * Math.log(share));
        }
        double log =
                stirling(trials)
                        - stirling(hits)
                        - stirling(trials - hits)
                        - deviance(hits, trials * share)
                        - deviance(trials - hits, trials * (1 - share));
        return Math.exp(log) / Math.sqrt(TWO_PI * hits * ((double) (trials - hits) / trials));
    }

    private static double stirling(int n) {
        if (n < STIRLING.length) {
            return STIRLING[n];
        }
        double square = (double) n * n;
        return (1 / 12.0 - (1 / 360.0 - (1 / 1260.0 - (1 / 1680.0 - 1 / 1188.0 / square) / square) / square) / square)
                / n;
    }

    /** x·log(x/m) + m − x, without losing digits where x is near m. */
    private static double deviance(double x, double mean) {
        double difference = x - mean;
        if (Math.abs(difference) < 0.1 * (x + mean)) {
            double ratio = difference / (x + mean);
            double sum = difference * ratio;
            double term = 2 * x * ratio;
            for (int power = 3; ; power += 2) {
                term *= ratio * ratio;
                double next = sum + term / power;
                if (next == sum) {
                    return next;
                }
                sum = next;
            }
        }
        return x * Math.log(x / mean) + mean - x;
    }

    private static void check(int hits, int trials) {
        if (trials < 1 || hits < 0 || hits > trials) {
            throw new IllegalArgumentException(hits + " hits of " + trials + " trials have no share");
        }
    }
}
